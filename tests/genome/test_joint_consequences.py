"""Joint consequences of alleles of one haplotype, against protein changes written by hand.

The coding sequence is ``ATG GCT AAA CGT GGT TCT TAC CAT TGG GAA TAA``: M A K R G S Y H W E *.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.genome import consequences
from evo2_tasks.genome.consequences import annotate_compounds, annotate_consequences
from evo2_tasks.genome.csq import CsqError, Region
from evo2_tasks.genome.genes import Genes, read_genes
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.terms import Consequence
from evo2_tasks.genome.window_pairs import Edit

CODING = "ATGGCTAAACGTGGTTCTTACCATTGGGAATAA"
FLANK = "CCTGACCTGACCTGACCTGACCTGACCTGACCTGACCTGA"
INTRON = "GT" + "CCTCCTTCCTGACCTGACCTGA" * 3 + "AG"
COMPLEMENT = str.maketrans("ACGT", "TGCA")

Change = tuple[int, int, str]
"""First changed base of the coding sequence, number of replaced bases, and the new bases."""


class Gene:
    """A gene on one strand of a contig, with or without an intron within codon 5.

    Args:
        folder: Where its files are written.
        strand: Its strand.
        coding: Its coding sequence.
        intron: Whether an intron follows base 13 of the coding sequence.
        contig: Name of the contig.
    """

    def __init__(
        self,
        folder: Path,
        strand: str = "+",
        *,
        coding: str = CODING,
        intron: bool = False,
        contig: str = "c",
    ) -> None:
        cut = 13 if intron else len(coding)
        gap = INTRON if intron else ""
        bases = FLANK + coding[:cut] + gap + coding[cut:] + FLANK
        parts = [(len(FLANK), len(FLANK) + cut)]
        if intron:
            parts.append((len(FLANK) + cut + len(gap), len(bases) - len(FLANK)))
        self.length, self.strand, self.cut, self.gap = len(bases), strand, cut, len(gap)
        if strand == "-":
            bases = bases.translate(COMPLEMENT)[::-1]
            parts = [(len(bases) - end, len(bases) - start) for start, end in parts][::-1]
        (folder / "g.fa").write_text(f">{contig}\n{bases}\n")
        phases = [0, -cut % 3] if strand == "+" else [-cut % 3, 0]
        lines = [("mRNA", parts[0][0], parts[-1][1], ".", "ID=T;biotype=protein_coding")]
        for part, phase in zip(parts, phases if intron else [0], strict=True):
            lines += [("exon", *part, ".", "Parent=T"), ("CDS", *part, phase, "Parent=T")]
        text = "".join(
            f"{contig}\t.\t{kind}\t{start + 1}\t{end}\t.\t{strand}\t{phase}\t{names}\n"
            for kind, start, end, phase, names in lines
        )
        (folder / "g.gff3").write_text(f"##gff-version 3\n{text}")
        self.contig, self.folder = contig, folder
        self.reference = Reference(folder / "g.fa")
        self.genes: Genes = read_genes(folder / "g.gff3", self.reference)

    def edit(self, change: Change) -> Edit:
        """A change of the coding sequence as an edit of the contig."""
        start, num_ref, alt = change
        start += len(FLANK) + (self.gap if start >= self.cut else 0)
        if self.strand == "+":
            return Edit(start, num_ref, alt)
        return Edit(self.length - start - num_ref, num_ref, alt.translate(COMPLEMENT)[::-1])

    def annotate(
        self, compounds: Sequence[Sequence[Change]], code: int | None = None
    ) -> list[Consequence]:
        """The joint consequence of each group of changes."""
        edits = [(self.contig, sorted(map(self.edit, changes))) for changes in compounds]
        codes = {} if code is None else {self.contig: code}
        return list(
            annotate_compounds(
                edits, self.genes, self.reference, genetic_codes=codes, folder=self.folder
            )
        )


def describe(found: Consequence) -> tuple[str | None, str | None]:
    return found.consequence, found.amino_acids


JOINT: dict[str, tuple[list[Change], str, str]] = {
    # AAA to CCA.
    "two SNVs of a codon": ([(6, 1, "C"), (7, 1, "C")], "missense_variant", "K3P"),
    # AAA to TAT.
    "first and last base of a codon": ([(6, 1, "T"), (8, 1, "T")], "missense_variant", "K3Y"),
    # CGT to TAA.
    "a stop of SNVs": ([(9, 1, "T"), (10, 1, "A"), (11, 1, "A")], "stop_gained", "R4*"),
    # TAC to CAA; C>A alone makes the stop TAA.
    "a stop that is not made": ([(18, 1, "C"), (20, 1, "A")], "missense_variant", "Y7Q"),
    # CGT to AGA; C>A alone makes AGT, Ser.
    "a synonymous pair": ([(9, 1, "A"), (11, 1, "A")], "synonymous_variant", "R4R"),
    # AAA CGT to AAC GTC: one A less, and a C after five bases.
    "a repaired frameshift": ([(6, 1, ""), (12, 0, "C")], "missense_variant", "KR3NV"),
    # AAA CGT to CAC GTC: an SNV beside the deletion.
    "an SNV touches a deletion": (
        [(6, 1, "C"), (7, 1, ""), (12, 0, "C")], "missense_variant", "KR3HV",
    ),
    # AAA to AAATTA: an SNV before an insertion.
    "an SNV touches an insertion": (
        [(8, 1, "T"), (9, 0, "TTA")], "inframe_insertion", "K3NL",
    ),
    "two SNVs of two codons": ([(7, 1, "C"), (22, 1, "C")], "missense_variant", "K3T;H8P"),
    # ATG to ACG.
    "the start and another codon": ([(1, 1, "C"), (22, 1, "C")], "start_lost", "M1T;H8P"),
    # ATG to GTA.
    "a lost start": ([(0, 1, "G"), (2, 1, "A")], "start_lost", "M1V"),
    # TAA to TGG.
    "a lost stop": ([(31, 1, "G"), (32, 1, "G")], "stop_lost", "*11W"),
    # GAA to GAG, TAA to TGA.
    "a kept stop": ([(29, 1, "G"), (31, 1, "G")], "stop_retained_variant", "E10E;*11*"),
}  # fmt: skip


@pytest.mark.parametrize("strand", ["+", "-"])
def test_joint_changes_of_a_protein(tmp_path: Path, strand: str) -> None:
    found = Gene(tmp_path, strand).annotate([changes for changes, *_ in JOINT.values()])
    expected = {name: (term, change) for name, (_, term, change) in JOINT.items()}
    assert dict(zip(JOINT, map(describe, found), strict=True)) == expected


@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_codon_on_both_sides_of_an_intron(tmp_path: Path, strand: str) -> None:
    """GGT to TGA; alone, G>T is G5C and T>A changes nothing."""
    gene = Gene(tmp_path, strand, intron=True)
    one, other = (12, 1, "T"), (14, 1, "A")
    found = gene.annotate([[one, other], [one], [other]])
    assert [each.amino_acids for each in found] == ["G5*", "G5C", "G5G"]
    assert found[0].consequence == "stop_gained"
    assert found[0].consequences == ("splice_region_variant", "stop_gained")
    assert found[0].transcript == "T"


@pytest.mark.parametrize("strand", ["+", "-"])
def test_the_genetic_code_of_a_mitochondrion(tmp_path: Path, strand: str) -> None:
    """AGA is a stop there, and TGA is not; ATA is a start codon."""
    coding = CODING.replace("TGG", "TGA")
    gene = Gene(tmp_path, strand, coding=coding, contig="MT")
    compounds = [
        [(9, 1, "A"), (11, 1, "A")],  # CGT to AGA
        [(24, 1, "A"), (26, 1, "G")],  # TGA to AGG
        [(2, 1, "A"), (22, 1, "C")],  # ATG to ATA, CAT to CCT
    ]
    found = gene.annotate(compounds, code=2)
    assert [one.amino_acids for one in found] == ["R4*", "W9*", "M1M;H8P"]
    assert found[0].consequence == found[1].consequence == "stop_gained"
    assert found[2].consequences == ("missense_variant", "start_retained_variant")
    assert gene.annotate(compounds[:1])[0].consequence == "synonymous_variant"


@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_compound_of_a_codon_is_the_record_with_all_its_changes(
    tmp_path: Path, strand: str
) -> None:
    rng = random.Random(5)
    gene = Gene(tmp_path, strand, intron=True)
    compounds = []
    for start in range(0, len(CODING), 3):
        for _ in range(12):
            places = sorted(rng.sample(range(start, start + 3), rng.choice([2, 3])))
            if not (places[0] < 13 <= places[-1]):
                compounds.append([(one, 1, rng.choice("ACGT".replace(CODING[one], "")))
                                  for one in places])  # fmt: skip
    records = []
    for changes in compounds:
        edits = sorted(map(gene.edit, changes))
        first, last = edits[0].start, edits[-1].start + 1
        ref = gene.reference.fetch(gene.contig, first, last)
        alt = list(ref)
        for edit in edits:
            alt[edit.start - first] = edit.alt
        records.append(Variant(len(records), 1, gene.contig, first + 1, ref, "".join(alt), None))
    expected = annotate_consequences(
        records, gene.genes, gene.reference, genetic_codes={}, folder=tmp_path
    )
    found = gene.annotate(compounds)
    assert len(found) > 100
    for changes, one, other in zip(compounds, found, expected, strict=True):
        assert one == other, changes


def test_compounds_of_many_samples_are_one_and_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gene = Gene(tmp_path)
    changes = [one for one, *_ in JOINT.values()] * 3
    expected = gene.annotate(changes)
    assert expected[: len(JOINT)] == expected[len(JOINT) : 2 * len(JOINT)]
    random.Random(1).shuffle(order := [*range(len(changes))])
    for size in (1, 4):
        monkeypatch.setattr(consequences, "CHUNK_COMPOUNDS", size)
        found = gene.annotate([changes[n] for n in order])
        assert found == [expected[n] for n in order]


def test_what_is_in_no_coding_part(tmp_path: Path) -> None:
    gene = Gene(tmp_path, intron=True)
    intron = len(FLANK) + 13
    compounds = [
        ("c", [Edit(5, 1, "A"), Edit(7, 1, "C")]),
        ("c", [Edit(intron + 20, 1, "A"), Edit(intron + 22, 1, "A")]),
        ("c", [Edit(3, gene.length - 6, ""), Edit(gene.length - 2, 1, "G")]),
    ]
    found = annotate_compounds(
        compounds, gene.genes, gene.reference, genetic_codes={}, folder=tmp_path
    )
    terms = [one.consequence for one in found]
    assert terms == ["intergenic_variant", "intron_variant", "transcript_ablation"]


def test_an_allele_that_csq_fails_for_takes_its_compound_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gene = Gene(tmp_path)
    changes = [one for one, *_ in JOINT.values()]
    expected = gene.annotate(changes)
    call = consequences.call_joint_csq

    def failing(regions: Sequence[Region], *others: Any) -> dict[int, str]:
        if any(one.alt == "TTT" for region in regions for one in region.alleles):
            raise CsqError("ended with 1")
        return call(regions, *others)

    monkeypatch.setattr(consequences, "call_joint_csq", failing)
    found = gene.annotate(changes)
    broken = [*JOINT].index("an SNV touches an insertion")
    assert found[broken].consequence == "coding_sequence_variant"
    assert found[:broken] + found[broken + 1 :] == expected[:broken] + expected[broken + 1 :]


BASES = "TCAG"
AMINO_ACIDS = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
CODE = dict(zip(map("".join, product(BASES, repeat=3)), AMINO_ACIDS, strict=True))


def translate(changes: Sequence[Change]) -> str:
    bases = CODING
    for start, num_ref, alt in sorted(changes, reverse=True):
        bases = bases[:start] + alt + bases[start + num_ref :]
    return "".join(CODE[bases[n : n + 3]] for n in range(0, len(bases) - 2, 3))


def draw_changes(rng: random.Random) -> list[Change]:
    """Changes of bases 5 to 26 that do not overlap; they may touch each other."""
    changes: list[Change] = []
    place = 5 + rng.randrange(6)
    while place < 24 and len(changes) < 3:
        num_ref, size = rng.choice([(1, 1), (1, 1), (0, 1), (0, 3), (1, 0), (3, 0), (2, 2), (2, 1)])
        old = CODING[place : place + num_ref]
        alt = "".join(rng.choices("ACGT", k=size))
        if num_ref and size and (alt[0] == old[0] or alt[-1] == old[-1]):
            continue
        changes.append((place, num_ref, alt))
        place += max(1, num_ref) + rng.choice([0, 1, 2, 3, 5])
    return changes


@pytest.mark.parametrize("strand", ["+", "-"])
def test_random_changes_against_their_translation(tmp_path: Path, strand: str) -> None:
    """The stated change of the protein makes the protein that the changed bases are read as."""
    rng = random.Random(7)
    drawn = [(changes, translate(changes)) for changes in (draw_changes(rng) for _ in range(600))]
    kept = [
        (changes, protein)
        for changes, protein in drawn
        if len(changes) > 1 and protein.find("*") == len(protein) - 1
        if sum(len(alt) - num_ref for _, num_ref, alt in changes) % 3 == 0
    ]
    assert len(kept) > 150
    found = Gene(tmp_path, strand).annotate([changes for changes, _ in kept])
    for (changes, protein), one in zip(kept, found, strict=True):
        made = translate([])
        for text in reversed((one.amino_acids or "").split(";")):
            if text:
                before, number, after = re.fullmatch(r"(\D+)(\d+)(\D+)", text).groups()
                start = int(number) - 1
                assert made.startswith(before, start)
                made = made[:start] + after + made[start + len(before) :]
        assert made == protein, (changes, describe(one))


@pytest.mark.parametrize("strand", ["+", "-"])
def test_the_first_base_of_a_replacement_of_another_length(tmp_path: Path, strand: str) -> None:
    """AAA CGT to CA CGT: His, not the Asn of AA CGT. A record alone has the same as a compound."""
    gene = Gene(tmp_path, strand)
    start, num_ref, alt = gene.edit((6, 2, "C"))
    ref = gene.reference.fetch(gene.contig, start, start + num_ref)
    record = Variant(0, 1, gene.contig, start + 1, ref, alt, None)
    alone = annotate_consequences(
        [record], gene.genes, gene.reference, genetic_codes={}, folder=tmp_path
    )
    [found] = alone
    assert describe(found) == ("frameshift_variant", "K3Hfs")
    assert gene.annotate([[(6, 2, "C")]]) == [found]


@pytest.mark.parametrize("turn", [43, 46, 48, 60])
@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_gene_across_the_origin_of_a_circle(tmp_path: Path, strand: str, turn: int) -> None:
    gene = Gene(tmp_path, strand)
    size, bases = gene.length, gene.reference.fetch(gene.contig, 0, gene.length)
    folder = tmp_path / "turned"
    folder.mkdir()
    (folder / "g.fa").write_text(f">c\n{bases[turn:]}{bases[:turn]}\n")
    start = (len(FLANK) - turn) % size + 1  # both flanks have as many bases
    end = start + len(CODING) - 1
    assert start <= size < end or turn == 60
    lines = [("mRNA", ".", "ID=T;biotype=protein_coding"), ("CDS", 0, "Parent=T")]
    text = "".join(
        f"c\t.\t{kind}\t{start}\t{end}\t.\t{strand}\t{phase}\t{names}\n"
        for kind, phase, names in lines
    )
    (folder / "g.gff3").write_text(f"##gff-version 3\n{text}")
    reference = Reference(folder / "g.fa", circular_contigs=["c"])
    compounds = []
    for changes, *_ in JOINT.values():
        edits = [
            edit._replace(start=(edit.start - turn) % size)
            for edit in sorted(map(gene.edit, changes))
        ]
        compounds.append(("c", edits))
    found = annotate_compounds(
        compounds,
        read_genes(folder / "g.gff3", reference),
        reference,
        genetic_codes={},
        folder=folder,
    )
    expected = {name: (term, change) for name, (_, term, change) in JOINT.items()}
    assert dict(zip(JOINT, map(describe, found), strict=True)) == expected
