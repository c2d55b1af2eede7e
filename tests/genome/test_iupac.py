"""REF bases at ambiguous letters of the reference, by VCF 4.3 section 1.6.1."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import reverse_complement, strand_sequences
from evo2_tasks.genome.windows import PlacedAllele, WindowSettings, place_allele

# The letters of IUPAC and the bases that each stands for (Cornish-Bowden 1985).
BASES = {
    "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC",
    "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG",
}  # fmt: skip
LEFT = "ACGGTTACGATCCGATAGCTTGACCTGAAGTCATTGCCAGTACGGATCAAGCTTGACATGC"
RIGHT = "TTGACCAGTACGGATCCATTAGCAGGCTTAACGTCCATGACTGGATCCAATGCCGTACGAT"


@pytest.fixture
def make_reference(tmp_path: Path) -> Iterator[object]:
    def make(bases: str, *, circular: bool = False) -> Reference:
        fasta = tmp_path / "genome.fa"
        for file in (fasta, tmp_path / "genome.fa.fai"):
            file.unlink(missing_ok=True)
        fasta.write_text(f">c\n{bases}\n")
        return Reference(fasta, circular_contigs=["c"] if circular else [])

    return make


def place(reference: Reference, pos: int, ref: str, alt: str, **settings: object) -> PlacedAllele:
    variant = Variant(0, 1, "c", pos, ref, alt, None)
    return place_allele(variant, reference, WindowSettings(window_length=64, **settings))  # type: ignore[arg-type]


def windows_of(reference: Reference, placed: PlacedAllele, strand: str) -> tuple[str, str]:
    pair = placed.pair
    assert pair is not None
    length = placed.sizes[strand].length  # type: ignore[index]
    circular = reference.is_circular("c")
    found = strand_sequences(
        reference.fetch,
        pair,
        strand,
        length,
        reference.contigs["c"],
        circular,  # type: ignore[arg-type]
    )
    return found[0].decode(), found[1].decode()


@pytest.mark.parametrize("letter", BASES)
@pytest.mark.parametrize("base", "ACGT")
def test_the_first_base_of_a_letter_is_its_ref(make_reference, letter: str, base: str) -> None:
    reference = make_reference(LEFT + letter + RIGHT)
    alt = next(other for other in "ACGT" if other != base)
    placed = place(reference, len(LEFT) + 1, base, alt)
    if base == min(BASES[letter]):
        assert placed.status == "to_score"
        assert "iupac_ref" in placed.flags
    else:
        assert placed.status in ("ref_mismatch", "ref_alt_swapped")


@pytest.mark.parametrize("base", "ACGT")
def test_an_n_has_no_ref(make_reference, base: str) -> None:
    reference = make_reference(LEFT + "N" + RIGHT)
    placed = place(reference, len(LEFT) + 1, base, "T" if base != "T" else "A")
    assert placed.status == "ref_mismatch"


@pytest.mark.parametrize("strand", ["forward", "reverse"])
def test_the_reference_window_has_the_ref_base_and_its_neighbours_the_letters(
    make_reference, strand: str
) -> None:
    genome = LEFT + "R" + RIGHT[:3] + "Y" + RIGHT[4:]
    reference = make_reference(genome)
    at = len(LEFT)
    placed = place(reference, at + 1, "A", "C")
    ref_seq, alt_seq = windows_of(reference, placed, strand)
    start, end = placed.window_start, placed.window_end
    with_ref = genome[:at] + "A" + genome[at + 1 :]
    with_alt = genome[:at] + "C" + genome[at + 1 :]
    turn = reverse_complement if strand == "reverse" else str
    assert ref_seq == turn(with_ref[start:end])
    assert alt_seq == turn(with_alt[start:end])


def test_padding_keeps_the_letter_of_the_reference(make_reference) -> None:
    genome = LEFT + "R" + RIGHT
    reference = make_reference(genome)
    at = len(LEFT)
    other = "G" if RIGHT[0] != "G" else "C"
    # REF and ALT share the A, which stands for R: it is padding.
    placed = place(reference, at + 1, "A" + RIGHT[0], "A" + other)
    assert placed.status == "to_score"
    assert "iupac_ref" not in placed.flags
    plain = place(reference, at + 2, RIGHT[0], other)
    assert windows_of(reference, placed, "forward") == windows_of(reference, plain, "forward")
    assert "R" in windows_of(reference, placed, "forward")[0]


@given(
    st.text("ACGT", min_size=70, max_size=90),
    st.integers(5, 60),
    st.integers(1, 4),
    st.text("ACGT", max_size=4),
    st.sampled_from(sorted(BASES)),
    st.integers(0, 3),
    st.booleans(),
)
def test_windows_are_those_of_the_genome_in_which_the_letter_is_its_base(
    tmp_path_factory: pytest.TempPathFactory,
    genome: str,
    start: int,
    num_ref: int,
    inserted: str,
    letter: str,
    place_in_ref: int,
    circular: bool,
) -> None:
    """The oracle: the same variant in a FASTA in which that letter was replaced by its base."""
    at = start + min(place_in_ref, num_ref - 1)
    base = min(BASES[letter])
    resolved = genome[:at] + base + genome[at + 1 :]
    ref = resolved[start : start + num_ref]
    if ref == inserted:
        return
    folder = tmp_path_factory.mktemp("iupac")
    placed = []
    for name, bases in (
        ("with_letter", genome[:at] + letter + genome[at + 1 :]),
        ("with_base", resolved),
    ):
        (folder / f"{name}.fa").write_text(f">c\n{bases}\n")
        reference = Reference(folder / f"{name}.fa", circular_contigs=["c"] if circular else [])
        # One base of padding before, as VCF spells indels.
        one = place(reference, start, resolved[start - 1] + ref, resolved[start - 1] + inserted)
        placed.append((reference, one))
    (with_letter, found), (with_base, expected) = placed
    is_trimmed_away = "iupac_ref" not in found.flags
    if is_trimmed_away or found.status != "to_score":
        return
    assert expected.status == found.status
    assert expected.edit_start == found.edit_start
    assert expected.sizes == found.sizes
    for strand in ("forward", "reverse"):
        assert windows_of(with_letter, found, strand) == windows_of(with_base, expected, strand)
