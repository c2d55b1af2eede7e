"""Open reading frames against plain loops, NCBI's codes and the genes of human mitochondria."""

from pathlib import Path

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.config.schema import GENETIC_CODES
from evo2_tasks.genome.codons import START_CODONS
from evo2_tasks.genome.orfs import STOP_CODONS, Orf, find_orfs
from evo2_tasks.genome.window_pairs import reverse_complement

ROOT = Path(__file__).parent.parent


def test_stop_codons_are_those_of_ncbi() -> None:
    lines = (ROOT / "data" / "ncbi_stop_codons.txt").read_text().splitlines()
    of_ncbi = {
        int(line.split()[0]): frozenset(line.split()[1:])
        for line in lines
        if not line.startswith("#")
    }
    assert {*STOP_CODONS} == {*GENETIC_CODES}
    for code, stops in STOP_CODONS.items():
        assert stops == of_ncbi[code], code
        assert not stops & START_CODONS[code] - {"TTA"}, code


def find_plainly(bases: str, code: int, *, needs_start: bool) -> list[Orf]:
    """Read each frame codon by codon."""
    found = []
    for strand in ("forward", "reverse"):
        read = bases if strand == "forward" else reverse_complement(bases)
        for frame in range(3):
            first = None
            end = frame
            for place in range(frame, len(read) - 2, 3):
                codon = read[place : place + 3]
                end = place + 3
                if codon in STOP_CODONS[code]:
                    if first is not None and place > first:
                        found.append((strand, first, end, (place - first) // 3, True))
                    first = None
                elif first is None and (not needs_start or codon in START_CODONS[code]):
                    first = place
            if first is not None:
                found.append((strand, first, end, (end - first) // 3, False))
    orfs = []
    for strand, first, end, num, has_stop in found:
        if strand == "forward":
            orfs.append(Orf(first, end, "forward", num, has_stop))
        else:
            orfs.append(Orf(len(bases) - end, len(bases) - first, "reverse", num, has_stop))
    return sorted(orfs, key=lambda orf: (orf.start, orf.end, orf.strand))


@given(
    st.text("ATG", max_size=70) | st.text("ACGTN", max_size=50),
    st.sampled_from([1, 2, 11, 23]),
    st.booleans(),
)
def test_frames_are_those_of_a_plain_loop(bases: str, code: int, needs_start: bool) -> None:
    expected = find_plainly(bases, code, needs_start=needs_start)
    assert find_orfs(bases, code, needs_start=needs_start) == expected
    long = find_orfs(bases, code, needs_start=needs_start, min_codons=4)
    assert long == [orf for orf in expected if orf.num_codons >= 4]
    forward = find_orfs(bases, code, needs_start=needs_start, strands="forward")
    assert forward == [orf for orf in expected if orf.strand == "forward"]


@pytest.mark.parametrize(
    ("gene", "start", "end", "strand"),
    [
        ("MT-CO1", 5904, 7445, "forward"),
        ("MT-ATP8", 8366, 8572, "forward"),
        ("MT-ND5", 12337, 14148, "forward"),
        ("MT-ND6", 14149, 14673, "reverse"),
    ],
)
def test_genes_of_human_mitochondria_are_open(gene: str, start: int, end: int, strand: str) -> None:
    with pysam.FastaFile(str(ROOT.parent / "data" / "rCRS.fa")) as fasta:
        bases = fasta.fetch(fasta.references[0]).upper()
    orfs = [orf for orf in find_orfs(bases, 2) if orf.strand == strand and orf.has_stop]
    if strand == "forward":  # a start codon before the annotated one may be in the same frame
        assert [orf for orf in orfs if orf.end == end and orf.start <= start - 1], gene
    else:
        assert [orf for orf in orfs if orf.start == start - 1 and orf.end >= end], gene
    without = [orf for orf in find_orfs(bases, 1) if orf.strand == strand and orf.has_stop]
    inside = [orf.num_codons for orf in without if orf.start >= start - 1 and orf.end <= end]
    assert max(inside, default=0) < (end - start + 1) // 3 - 1  # code 1 stops at TGA
