"""Windows: laws that hold for every allele, and the corners of single rules."""

import random
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import merge_intervals, reverse_complement, strand_sequences
from evo2_tasks.genome.windows import PlacedAllele, WindowSettings, place_allele

W16 = WindowSettings(window_length=16)


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A line and a circle of 200 bases with repeats, and a circle shorter than the window."""
    rng = random.Random(8)
    bases = "".join(rng.choice(["A", "C", "AC" * 9, "ACG" * 5, "T" * 12, "G"]) for _ in range(80))
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text(f">line\n{bases[:200]}\n>circle\n{bases[50:250]}\n>small\n{bases[:23]}\n")
    return Reference(path, circular_contigs=["circle", "small"])


def place(
    reference: Reference, contig: str, start: int, ref: str, alt: str, chosen: WindowSettings = W16
) -> PlacedAllele:
    return place_allele(Variant(0, 1, contig, start + 1, ref, alt, None), reference, chosen)


def windows(reference: Reference, placed: PlacedAllele) -> dict[str, tuple[bytes, bytes]]:
    name = placed.reference_contig
    place = (reference.contigs[name], reference.is_circular(name))
    return {
        strand: strand_sequences(reference.fetch, placed.pair, strand, size.length, *place)
        for strand, size in placed.sizes.items()
    }


@st.composite
def alleles(draw: st.DrawFn, num_bases: int) -> tuple[int, int, str]:
    """Position, length of REF and ALT."""
    start = draw(st.integers(0, num_bases - 1))
    num_ref = draw(st.integers(1, min(8, num_bases - start)))
    return start, num_ref, draw(st.text("ACGT", min_size=1, max_size=8))


window_settings = st.builds(
    WindowSettings,
    window_length=st.sampled_from([16, 17, 32, 40]),
    window_placement=st.sampled_from(["centered", "tiled"]),
    horizon=st.one_of(st.none(), st.integers(1, 4)),
    prepend_bos=st.booleans(),
)


@given(data=st.data(), chosen=window_settings)
@settings(max_examples=300, deadline=None)
def test_spellings_of_one_haplotype_have_one_window(
    genome: Reference, data: st.DataObject, chosen: WindowSettings
) -> None:
    """Padded with bases of the reference, and moved within a repeat."""
    name = data.draw(st.sampled_from(["line", "circle", "small"]))
    bases = genome.fetch(name, 0, genome.contigs[name])
    start, num_ref, alt = data.draw(alleles(len(bases)))
    ref = bases[start : start + num_ref]
    assume(ref != alt)
    plain = place(genome, name, start, ref, alt, chosen)
    left = data.draw(st.integers(0, min(9, start)))
    right = data.draw(st.integers(0, min(9, len(bases) - start - num_ref)))
    before = bases[start - left : start]
    after = bases[start + num_ref : start + num_ref + right]
    padded = place(genome, name, start - left, before + ref + after, before + alt + after, chosen)
    flags = {"moved"}
    assert padded._replace(flags=()) == plain._replace(flags=())
    assert set(padded.flags) - flags == set(plain.flags) - flags


@given(data=st.data(), chosen=window_settings)
@settings(max_examples=300, deadline=None)
def test_what_holds_of_all_windows(
    genome: Reference, data: st.DataObject, chosen: WindowSettings
) -> None:
    name = data.draw(st.sampled_from(["line", "circle", "small"]))
    length, circular = genome.contigs[name], genome.is_circular(name)
    bases = genome.fetch(name, 0, length)
    start, num_ref, alt = data.draw(alleles(length))
    placed = place(genome, name, start, bases[start : start + num_ref], alt, chosen)
    assume(placed.window_start is not None)
    window_length = placed.window_end - placed.window_start
    assert window_length <= chosen.window_length
    offset = placed.edit_start - placed.window_start
    offset = offset % length if circular else offset
    assert 0 <= offset <= offset + placed.edit_ref <= window_length
    prefixes = {"forward": placed.prefix_fwd, "reverse": placed.prefix_rev}
    for strand, (ref_seq, alt_seq) in windows(genome, placed).items():
        prefix = prefixes[strand]
        assert len(ref_seq) == len(alt_seq) <= window_length
        assert ref_seq[:prefix] == alt_seq[:prefix]
        assert ref_seq[prefix] != alt_seq[prefix]
        assert prefix > 0 or chosen.prepend_bos
        first, last = (
            ref_seq[:1].decode(),
            genome.fetch(name, placed.window_end - 1, placed.window_end),
        )
        if strand == "forward":
            assert first == genome.fetch(name, placed.window_start, placed.window_start + 1)
        else:
            assert first == reverse_complement(last)
        if chosen.horizon is not None:
            assert len(ref_seq) - prefix <= chosen.horizon
    assert (placed.status == "to_score") == (len(windows(genome, placed)) == 2)
    assert not placed.flags or placed.status == "to_score"


def test_an_snv_lies_in_the_middle(genome: Reference) -> None:
    base = genome.fetch("line", 100, 101)
    placed = place(genome, "line", 100, base, "ACGT".replace(base, "")[0])
    assert (placed.window_start, placed.window_end) == (92, 108)
    assert (placed.prefix_fwd, placed.length_fwd) == (8, 16)
    assert (placed.prefix_rev, placed.length_rev) == (7, 16)


@pytest.mark.parametrize("strands", ["forward", "reverse"])
def test_a_strand_that_is_not_asked_has_no_numbers(genome: Reference, strands: str) -> None:
    base = genome.fetch("line", 100, 101)
    chosen = replace(W16, strands=strands)
    placed = place(genome, "line", 100, base, "ACGT".replace(base, "")[0], chosen)
    assert set(windows(genome, placed)) == {strands}


@pytest.mark.parametrize("status", ["filtered", "invalid_record"])
def test_what_reading_decided_stays(genome: Reference, status: str) -> None:
    keys = ("line", 1, "A", ".") if status == "filtered" else (None,) * 4
    placed = place_allele(Variant(0, 0, *keys, status), genome, W16)
    assert placed.status == status
    assert placed.window_start is None


def test_settings_that_cannot_hold_an_allele_are_refused() -> None:
    for wrong in (
        {"window_length": 0},
        {"window_step": 0},
        {"horizon": 0},
        {"max_allele_length": 9},
        {"window_placement": "tiled", "window_step": 4, "max_allele_length": 7},
        {"window_placement": "tiled", "window_step": 20},
    ):
        with pytest.raises(ValueError, match=next(reversed(wrong))):
            WindowSettings(**{"window_length": 16, **wrong})
    WindowSettings(window_length=16, max_allele_length=8)
    WindowSettings(window_length=16, window_placement="tiled", window_step=4, max_allele_length=6)


def test_iupac_letters_are_complemented_and_others_stay() -> None:
    assert reverse_complement("ACGTRYSWKMBDHVNU") == "ANBDHVKMWSRYACGT"
    assert reverse_complement("EX-") == "-XE"


@pytest.mark.parametrize(
    ("intervals", "max_length", "expected"),
    [
        ([], None, []),
        ([(5, 9), (0, 5), (20, 30), (22, 25), (7, 7)], None, [(0, 9), (20, 30)]),
        ([(3, 3)], None, []),
        ([(0, 10), (12, 14)], 4, [(0, 4), (4, 8), (8, 10), (12, 14)]),
    ],
)
def test_merged_intervals(intervals, max_length, expected) -> None:
    assert merge_intervals(intervals, max_length) == expected


def test_an_allele_without_windows_has_no_pair(genome: Reference) -> None:
    assert PlacedAllele("ref_mismatch").pair is None
    assert PlacedAllele("ref_mismatch").sizes == {}
    base = genome.fetch("line", 100, 101)
    one = replace(W16, strands="forward")
    placed = place(genome, "line", 100, base, "ACGT".replace(base, "")[0], one)
    assert placed.pair is not None
    assert set(placed.sizes) == {"forward"}
