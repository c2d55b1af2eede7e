"""The tokens of an allele on the genome, and SNVs in its window, against the windows themselves."""

from __future__ import annotations

import random

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome.explained import (
    Sequences,
    count_entries,
    find_contig,
    locate_tokens,
    make_nearby_snvs,
    make_sequences,
    parse_allele,
)
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import TO_SCORE, WindowSettings, place_allele
from evo2_tasks.scoring.profiles import Profile
from evo2_tasks.scoring.readouts import WindowOutput
from evo2_tasks.scoring.windows import WindowPair

SETTINGS = {
    "window_length": 64, "window_placement": "centered", "window_step": None, "strands": "both",
    "horizon": None, "max_allele_length": 16, "max_n_share": 0.5, "min_context": None,
    "prepend_bos": False,
}  # fmt: skip
COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A line and a circle with repeats, so that alleles can move."""
    rng = random.Random(3)
    bases = ["".join(rng.choices(["A", "C", "G", "T", "CAG", "AAAA"], k=90)) for _ in range(2)]
    file = tmp_path_factory.mktemp("genome") / "genome.fa"
    file.write_text(f">line\n{bases[0]}\n>circle\n{bases[1]}\n")
    pysam.faidx(str(file))
    return Reference(file, circular_contigs=("circle",))


@st.composite
def alleles(draw: st.DrawFn) -> tuple[str, int, int, str]:
    return (
        draw(st.sampled_from(["line", "circle"])),
        draw(st.integers(0, 80)),
        draw(st.integers(0, 5)),
        draw(st.text("ACGT", max_size=6)),
    )


def place(reference: Reference, one: tuple[str, int, int, str], **changed: object):  # type: ignore[no-untyped-def]
    contig, start, num_ref, alt = one
    bases = reference.fetch(contig, start, start + 1 + num_ref)
    variant = Variant(0, 1, contig, start + 1, bases, bases[0] + alt, None)
    return place_allele(variant, reference, WindowSettings(**{**SETTINGS, **changed}))


def len_of_profile(one: Sequences) -> int:
    """Number of entries of the profile that a model would give."""
    pair = WindowPair(0, one.strand, one.ref, one.alt, one.prefix, one.num_ref, one.num_alt)
    output = WindowOutput(np.zeros(len(one.ref) - 1, dtype=np.float32))
    record = Profile(10**6).read(pair, output, output, horizon=False)
    assert record is not None
    return len(record.values)


@given(one=alleles())
def test_each_entry_is_at_the_base_that_its_token_reads(
    reference: Reference, one: tuple[str, int, int, str]
) -> None:
    placed = place(reference, one)
    if placed.status != TO_SCORE:
        return
    contig = find_contig(placed, reference)
    for windows in make_sequences(placed, contig):
        number = len_of_profile(windows)
        places = locate_tokens(placed, contig, windows.strand, number)
        num_tokens = len(windows.ref) - windows.prefix
        assert sum(count_entries(num_tokens, windows.num_ref, windows.num_alt)) == number
        num_ref = min(windows.num_ref, num_tokens)
        num_allele = max(num_ref, min(windows.num_alt, num_tokens))
        num_common = num_tokens - num_allele
        kinds = [place.kind for place in places]
        num_end = number - num_allele - num_common
        assert kinds == ["allele"] * num_allele + ["downstream"] * num_common + ["end"] * num_end
        at_allele = [place for place in places[:num_allele] if place.pos is not None]
        assert len(at_allele) == num_ref
        read = [*at_allele, *places[num_allele : num_allele + num_common]]
        tokens = windows.ref[windows.prefix :][: len(read)]
        if windows.strand == "reverse":
            tokens = tokens.translate(COMPLEMENT)
        assert "".join(place.base for place in read).encode() == tokens
        for place_ in read:
            assert place_.pos is not None
            assert reference.fetch(contig.name, place_.pos - 1, place_.pos) == place_.base
        # The tokens of both windows are equal where they are aligned, for an alignment by genome.
        after = windows.alt[windows.prefix + windows.num_alt :][:num_common]
        assert after == windows.ref[windows.prefix + windows.num_ref :][:num_common]


@given(one=alleles(), horizon=st.sampled_from([None, 7]))
def test_the_snvs_are_all_changes_of_one_base_of_the_allele_s_window(
    reference: Reference, one: tuple[str, int, int, str], horizon: int | None
) -> None:
    placed = place(reference, one, horizon=horizon)
    if placed.status != TO_SCORE:
        return
    contig = find_contig(placed, reference)
    whole = {
        own.strand: own.ref for own in make_sequences(place(reference, one, horizon=None), contig)
    }
    snvs = [*make_nearby_snvs(placed, contig, distance=10, horizon=horizon, prepend_bos=False)]
    near = {(placed.edit_start + step) % contig.length for step in range(-10, 11)}
    assert {snv.pos - 1 for snv in snvs} <= near
    if contig.circular or 10 <= placed.edit_start < contig.length - 11:
        assert len(snvs) == 63
    assert len({(snv.pos, snv.alt) for snv in snvs}) == len(snvs)
    for snv in snvs:
        assert reference.fetch(contig.name, snv.pos - 1, snv.pos) == snv.ref != snv.alt
        for own in snv.windows:
            differing = [i for i, pair in enumerate(zip(own.ref, own.alt, strict=True))
                         if pair[0] != pair[1]]  # fmt: skip
            assert differing == [own.prefix]
            assert own.prefix > 0
            if horizon is not None:
                assert len(own.ref) - own.prefix <= horizon
            shared = min(len(own.ref), len(whole[own.strand]))
            assert own.ref[:shared] == whole[own.strand][:shared]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("chr17:43045712:A:G", ("chr17", 43_045_712, "A", "G")),
        ("chr17:43,045,712:a:gt", ("chr17", 43_045_712, "A", "GT")),
        ("HLA:1:2:7:AC:A", ("HLA:1:2", 7, "AC", "A")),
    ],
)
def test_an_allele_is_read(text: str, read: tuple[str, int, str, str]) -> None:
    variant = parse_allele(text)
    assert (variant.contig, variant.pos, variant.ref, variant.alt) == read


@pytest.mark.parametrize(
    "text",
    ["", "chr1", "chr1:5:A", ":5:A:G", "chr1:0:A:G", "chr1:-5:A:G", "chr1:x:A:G", "chr1:5::G",
     "chr1:5:A:<DEL>", "chr1:5:A:", f"chr1:{'9' * 30}:A:G", "chr1:٣:A:G", "chr1:5:A:G\x1b[2J"],
)  # fmt: skip
def test_another_text_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"expected CONTIG:POS:REF:ALT") as caught:
        parse_allele(text)
    assert str(caught.value).isprintable()
