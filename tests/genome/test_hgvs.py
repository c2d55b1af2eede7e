"""HGVS names: against their definition on the sequence as a string, and against ferro-hgvs."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import ferro_hgvs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome import hgvs
from evo2_tasks.genome.hgvs import read_hgvs
from evo2_tasks.genome.records import Filters, NoAllele, Record, Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import VariantSource, open_variants
from evo2_tasks.genome.window_pairs import reverse_complement, strand_sequences
from evo2_tasks.genome.windows import PlacedAllele, WindowSettings, place_allele
from evo2_tasks.io.vcf_text import Unreadable
from evo2_tasks.table.schema import REASON_MEANINGS
from tests.project import write_genome

rng = random.Random(7)


def make_repeats(length: int) -> str:
    """A sequence in which many insertions and deletions can be placed in several ways."""
    bases = ""
    while len(bases) < length:
        unit = "".join(rng.choices("ACGT", k=rng.randint(1, 4)))
        bases += unit * rng.randint(1, 5)
    return bases[:length]


LINE, CIRCLE = "NC_000099.1", "MT"
LENGTH = 300
GENOME = {LINE: make_repeats(LENGTH), CIRCLE: make_repeats(LENGTH)}
SETTINGS = WindowSettings(64)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    return Reference(write_genome(path, GENOME), circular_contigs=[CIRCLE])


@pytest.fixture(scope="module")
def normalizer(tmp_path_factory: pytest.TempPathFactory) -> ferro_hgvs.Normalizer:
    path = tmp_path_factory.mktemp("ferro") / "genome.json"
    genome = {"version": "1.0", "genomic_sequences": {LINE: GENOME[LINE]}, "transcripts": []}
    path.write_text(json.dumps(genome))
    return ferro_hgvs.Normalizer(reference_json=str(path))


def place(found: Record | NoAllele | Unreadable, reference: Reference) -> PlacedAllele:
    """The windows of a record, as the workflow gets them; all but the flags."""
    assert isinstance(found, Record), found
    status = "spans_origin" if found.spans_origin else None
    variant = Variant(0, 1, found.contig, found.pos, found.ref, found.alts[0], status)
    return place_allele(variant, reference, SETTINGS)._replace(flags=())


# --- the definition of each change, on the sequence as a string


@dataclass
class Made:
    """A name, its range, and the sequence that it makes. A circle begins at its first position."""

    name: str
    first: int
    changed: str


@st.composite
def names(draw: st.DrawFn, contig: str) -> Made:
    """A change of any kind at any place; on the circle also across the origin."""
    bases = GENOME[contig]
    kind = draw(st.sampled_from(["sub", "del", "dup", "ins", "delins", "inv", "=", "repeat"]))
    first = draw(st.one_of(st.integers(1, LENGTH), st.integers(1, 3), st.integers(290, LENGTH)))
    before, after = bases[: first - 1], bases[first - 1 :]
    size = draw(st.integers(1, 12))
    prefix = f"{contig}:g."
    if contig == CIRCLE:
        before, after = "", after + before
        prefix = f"{contig}:{draw(st.sampled_from('mo'))}."
    old, after = after[:size], after[size:]
    last = (first + len(old) - 2) % LENGTH + 1
    where = f"{first}_{last}"
    if len(old) == 1 and draw(st.booleans()):
        where = str(first)
    stated = draw(st.sampled_from(["", old, old.lower()]))
    new = draw(st.text("ACGT", min_size=1, max_size=6))
    copied = draw(st.integers(1, LENGTH - 9))
    part = bases[copied - 1 : copied + 8]
    copy = f"{copied}_{copied + 8}"
    written, new = draw(
        st.sampled_from(
            [
                (new, new),
                (f"{new}[3]", new * 3),
                (copy, part),
                (f"{copy}inv", reverse_complement(part)),
                (f"[{new};{copy}inv;A[2]]", f"{new}{reverse_complement(part)}AA"),
            ]
        )
    )
    neighbours = (before or after)[-len(old) :], after[: len(old)]
    match kind:
        case "del":
            return Made(f"{prefix}{where}del{stated}", first, before + after)
        case "dup":
            return Made(f"{prefix}{where}dup{stated}", first, before + old + old + after)
        case "delins":
            return Made(f"{prefix}{where}del{stated}ins{written}", first, before + new + after)
        case "inv" if len(old) > 1:
            changed = before + reverse_complement(old) + after
            return Made(f"{prefix}{where}inv{stated}", first, changed)
        case "ins" if first < LENGTH or contig == CIRCLE:
            changed = before + old[0] + new + old[1:] + after
            return Made(f"{prefix}{first}_{first % LENGTH + 1}ins{written}", first, changed)
        case "repeat" if old not in neighbours:
            number = draw(st.integers(0, 4))
            changed = before + old * number + after
            return Made(f"{prefix}{first}_{last}{old}[{number}]", first, changed)
        case "sub":
            changed = before + new[0] + old[1:] + after
            return Made(f"{prefix}{first}{old[0]}>{new[0]}", first, changed)
    return Made(f"{prefix}{where}{stated}=", first, before + old + after)


@settings(max_examples=400, deadline=None)
@given(made=names(LINE))
def test_a_name_makes_the_sequence_of_its_definition(reference: Reference, made: Made) -> None:
    record = read_hgvs(made.name, reference)
    assert isinstance(record, Record), record
    bases, start = GENOME[LINE], record.pos - 1
    assert bases[start : start + len(record.ref)] == record.ref
    assert bases[:start] + record.alts[0] + bases[start + len(record.ref) :] == made.changed
    assert record.alts[0]
    assert not record.spans_origin


def turn(bases: str, first: int) -> str:
    """A circle, from another first base on."""
    return bases[first - 1 :] + bases[: first - 1]


@settings(max_examples=400, deadline=None)
@given(made=names(CIRCLE))
def test_on_a_circle_it_goes_on_across_the_origin(reference: Reference, made: Made) -> None:
    record = read_hgvs(made.name, reference)
    assert isinstance(record, Record), record
    turned = turn(GENOME[CIRCLE], record.pos)
    assert turned.startswith(record.ref)
    changed = record.alts[0] + turned[len(record.ref) :]
    # Two circles are equal if one is part of the other, written twice.
    assert len(changed) == len(made.changed)
    assert changed in made.changed * 2
    # A REF that VCF could spell is never said to go across the origin.
    assert record.spans_origin == (record.pos + len(record.ref) - 1 > LENGTH)


@settings(max_examples=150, deadline=None)
@given(made=names(CIRCLE), shift=st.integers(1, LENGTH - 1))
def test_the_windows_are_those_of_a_circle_that_begins_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, reference: Reference, made: Made, shift: int
) -> None:
    folder = tmp_path_factory.mktemp("turned")
    turned = Reference(
        write_genome(folder / "g.fa", {CIRCLE: turn(GENOME[CIRCLE], shift + 1)}),
        circular_contigs=[CIRCLE],
    )
    found = read_hgvs(made.name, reference)
    assert isinstance(found, Record)
    pos = (found.pos - shift - 1) % LENGTH + 1
    moved = found._replace(pos=pos, spans_origin=pos + len(found.ref) - 1 > LENGTH)
    assert read_windows(found, reference) == read_windows(moved, turned)


def read_windows(record: Record, reference: Reference) -> tuple[object, ...]:
    """Status, and the bases of the two windows of each strand."""
    placed = place(record, reference)
    sequences = [
        strand_sequences(reference.fetch, placed.pair, strand, size.length, LENGTH, True)
        for strand, size in placed.sizes.items()
        if placed.pair is not None
    ]
    return placed.status, sequences


# --- another program: ferro-hgvs reads, writes and shifts names


@settings(max_examples=300, deadline=None)
@given(made=names(LINE))
def test_ferro_shifts_a_name_to_one_with_the_same_windows(
    reference: Reference, normalizer: ferro_hgvs.Normalizer, made: Made
) -> None:
    assume(made.first < LENGTH - 12)  # ferro does not apply every change to the last bases
    expected = place(read_hgvs(made.name, reference), reference)
    shifted = normalizer.normalize(made.name)
    found = read_hgvs(shifted, reference)
    if isinstance(found, Unreadable):
        # ferro divides a delins, and shifts a repeat to a range that is not all of the repeat.
        assert found.reason == "several_changes" or made.name.endswith("]")
    else:
        assert place(found, reference) == expected
    applied = normalizer.apply_to_reference(normalizer.parse(made.name))
    before, after = GENOME[LINE][: applied.start], GENOME[LINE][applied.start :]
    assert before + applied.resulting + after[len(applied.reference) :] == made.changed


@settings(max_examples=300, deadline=None)
@given(
    start=st.integers(1, LENGTH - 13),
    size=st.integers(0, 12),
    new=st.text("ACGT", max_size=12),
    copies=st.integers(0, 3),
)
def test_a_vcf_that_ferro_writes_as_hgvs_has_the_same_windows(
    reference: Reference,
    normalizer: ferro_hgvs.Normalizer,
    start: int,
    size: int,
    new: str,
    copies: int,
) -> None:
    bases = GENOME[LINE]
    ref = bases[start - 1 : start + size]
    alt = ref[0] + (ref[1:] * copies if copies else new)
    if ref == alt:
        return
    record = Record(LINE, start, ref, [alt], None, ())
    name = str(normalizer.from_sequences(LINE, start, ref, alt, recommended_form=True))
    found = read_hgvs(name, reference)
    if isinstance(found, Unreadable):
        assert found.reason == "several_changes"  # ferro divides a delins
    else:
        assert place(found, reference) == place(record, reference)


# --- each notation, by hand: the repeats of `hand` are CAG x 4 at 11..22 and T x 5 at 31..35

HAND = "ACGTACGTGA" + "CAG" * 4 + "GATCGATG" + "T" * 5 + "GACCATAGACNNR" + "ACGTTGCAAC"
Spelled = tuple[str, int, str, str]


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("hand") / "hand.fa"
    sequences = {"chr1": HAND, "NC_012920.1": HAND, "HLA-A*01:01": HAND, "chr2(x)": HAND}
    return Reference(write_genome(path, sequences), circular_contigs=["NC_012920.1"])


SPELLED: dict[str, Spelled] = {
    "chr1:g.5A>G": ("chr1", 5, "A", "G"),
    "chr1:g.5a>g": ("chr1", 5, "A", "G"),
    "1:g.5A>G": ("1", 5, "A", "G"),
    "chr1(DMD):g.5A>G": ("chr1", 5, "A", "G"),
    "chr2(x):g.5A>G": ("chr2(x)", 5, "A", "G"),
    "chr2(x)(DMD):g.5A>G": ("chr2(x)", 5, "A", "G"),
    "HLA-A*01:01:g.5A>G": ("HLA-A*01:01", 5, "A", "G"),
    "NC_012920.1(MT-TL1):m.5A>G": ("NC_012920.1", 5, "A", "G"),
    "NC_012920.1:g.5A>G": ("NC_012920.1", 5, "A", "G"),
    "chr1:m.5A>G": ("chr1", 5, "A", "G"),
    "chr1:g.5A>H": ("chr1", 5, "A", "H"),
    "chr1:g.5A>A": ("chr1", 5, "A", "A"),
    "chr1:g.5del": ("chr1", 4, "TA", "T"),
    "chr1:g.5_5del": ("chr1", 4, "TA", "T"),
    "chr1:g.1del": ("chr1", 1, "AC", "C"),
    "chr1:g.1_3del": ("chr1", 1, "ACGT", "T"),
    "chr1:g.5_7del": ("chr1", 4, "TACG", "T"),
    "chr1:g.5_7delACG": ("chr1", 4, "TACG", "T"),
    "chr1:g.5_7del3": ("chr1", 4, "TACG", "T"),
    "chr1:g.5_7delACT": ("chr1", 4, "TACT", "T"),
    "chr1:g.5dup": ("chr1", 5, "A", "AA"),
    "chr1:g.5dupA": ("chr1", 5, "A", "AA"),
    "chr1:g.5dupC": ("chr1", 5, "C", "CC"),
    "chr1:g.5_7dup": ("chr1", 7, "G", "GACG"),
    "chr1:g.5_7dupACG": ("chr1", 7, "G", "GACG"),
    "chr1:g.5_7dupACT": ("chr1", 5, "ACT", "ACTACT"),
    "chr1:g.5_6insTT": ("chr1", 5, "A", "ATT"),
    "chr1:g.5_6insT[3]": ("chr1", 5, "A", "ATTT"),
    "chr1:g.5_6insN[3]": ("chr1", 5, "A", "ANNN"),
    "chr1:g.5_6insNNN": ("chr1", 5, "A", "ANNN"),
    "chr1:g.5_6ins7_9": ("chr1", 5, "A", "AGTG"),
    "chr1:g.5_6ins7_9inv": ("chr1", 5, "A", "ACAC"),
    "chr1:g.5_6ins[T;7_9;AG[2]]": ("chr1", 5, "A", "ATGTGAGAG"),
    "chr1:g.5_7delinsT": ("chr1", 5, "ACG", "T"),
    "chr1:g.5_7delACGinsT": ("chr1", 5, "ACG", "T"),
    "chr1:g.5_7delACTinsT": ("chr1", 5, "ACT", "T"),
    "chr1:g.5_7del3insT": ("chr1", 5, "ACG", "T"),
    "chr1:g.5delinsG": ("chr1", 5, "A", "G"),
    "chr1:g.5_7delins11_13": ("chr1", 5, "ACG", "CAG"),
    "chr1:g.5_7inv": ("chr1", 5, "ACG", "CGT"),
    "chr1:g.5_8inv": ("chr1", 5, "ACGT", "ACGT"),
    "chr1:g.5_7invACT": ("chr1", 5, "ACT", "AGT"),
    "chr1:g.5=": ("chr1", 5, "A", "A"),
    "chr1:g.5A=": ("chr1", 5, "A", "A"),
    "chr1:g.5_7=": ("chr1", 5, "ACG", "ACG"),
    "chr1:g.11_22CAG[6]": ("chr1", 11, "CAG" * 4, "CAG" * 6),
    "chr1:g.11CAG[6]": ("chr1", 11, "CAG" * 4, "CAG" * 6),
    "chr1:g.11CAG[0]": ("chr1", 10, "A" + "CAG" * 4, "A"),
    "chr1:g.31T[6]": ("chr1", 31, "T" * 5, "T" * 6),
    "chr1:g.12CAG[6]": ("chr1", 12, "CAG", "CAG" * 6),
    "chr1:g.11_22CAG[2]CAA[1]": ("chr1", 11, "CAG" * 4, "CAGCAGCAA"),
    "chr1:g.5_7[3]": ("chr1", 5, "ACG", "ACG" * 3),
    "NC_012920.1:m.57_2del": ("NC_012920.1", 56, "AACAC", "A"),
    "NC_012920.1:m.57_2delACAC": ("NC_012920.1", 56, "AACAC", "A"),
    "NC_012920.1:o.57_2dup": ("NC_012920.1", 2, "C", "CACAC"),
    "NC_012920.1:m.57_58dup": ("NC_012920.1", 58, "C", "CAC"),
    "NC_012920.1:m.57_2inv": ("NC_012920.1", 57, "ACAC", "GTGT"),
    "NC_012920.1:m.57_2delinsT": ("NC_012920.1", 57, "ACAC", "T"),
    "NC_012920.1:m.58_1insT": ("NC_012920.1", 58, "C", "CT"),
    "NC_012920.1:m.57AC[3]": ("NC_012920.1", 57, "ACAC", "ACACAC"),
    "NC_012920.1:m.57_2AC[0]": ("NC_012920.1", 56, "AACAC", "A"),
    "NC_012920.1:m.5_6ins57_2": ("NC_012920.1", 5, "A", "AACAC"),
    "NC_012920.1:m.1del": ("NC_012920.1", 1, "AC", "C"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLED)
def test_each_notation_is_spelled_as_in_vcf(hand: Reference, name: str) -> None:
    record = read_hgvs(name, hand)
    assert isinstance(record, Record), record
    assert (record.contig, record.pos, record.ref, record.alts[0]) == SPELLED[name]


STATUSES: dict[str, tuple[str, str | None]] = {
    "chr1:g.5A>G": ("to_score", None),
    "chr1:g.5A>H": ("non_acgt_allele", "other_letters"),
    "chr1:g.5_6insN[3]": ("non_acgt_allele", "other_letters"),
    "chr1:g.45_46del": ("non_acgt_allele", "other_letters"),
    "chr1:g.5A>A": ("not_a_variant", "alt_is_ref"),
    "chr1:g.5_7=": ("not_a_variant", "alt_is_ref"),
    "chr1:g.5_8inv": ("not_a_variant", "alt_is_ref"),
    "chr1:g.11CAG[4]": ("not_a_variant", "alt_is_ref"),
    "chr1:g.5C>G": ("ref_mismatch", "other_bases"),
    "chr1:g.5C>A": ("ref_alt_swapped", None),
    "chr1:g.5_7delACT": ("ref_mismatch", "other_bases"),
    "chr1:g.5_7dupACT": ("ref_mismatch", "other_bases"),
    "chr1:g.5_7delACTinsT": ("ref_mismatch", "other_bases"),
    "chr1:g.5_7invACT": ("ref_mismatch", "other_bases"),
    "chr1:g.12CAG[6]": ("ref_mismatch", "other_bases"),
    "chr1:g.5_10CAG[6]": ("ref_mismatch", "other_bases"),
    "chr1:g.48delA": ("to_score", None),  # R is A or G: VCF writes A
    "chr1:g.48dupA": ("to_score", None),
    "chr1:g.48delG": ("ref_mismatch", "reference_not_acgt"),
    "chr1:g.1_40del": ("too_long", "long_ref"),
    "NC_012920.1:m.57_2del": ("to_score", None),
    "NC_012920.1:m.57_2delACAG": ("ref_mismatch", "other_bases"),
    "NC_012920.1:m.49_20del": ("too_long", "long_ref"),
    "chr1:g.59A>G": ("position_out_of_range", "after_end"),
    "chr1:g.0A>G": ("position_out_of_range", "before_start"),
    "chr1:g.0del": ("position_out_of_range", "before_start"),
    "chr1:g.59del": ("position_out_of_range", "after_end"),
    "chr1:g.58_59del": ("position_out_of_range", "reaches_past_end"),
    "chr1:g.58_59insA": ("position_out_of_range", "reaches_past_end"),
    "chr1:g.0_1insA": ("position_out_of_range", "before_start"),
    "chr1:g.5_6ins57_60": ("position_out_of_range", "reaches_past_end"),
    "NC_012920.1:m.59_1insA": ("position_out_of_range", "after_end"),
    "chr9:g.5A>G": ("contig_not_found", "unknown_contig"),
    "chr9:g.5del": ("contig_not_found", "unknown_contig"),
    "chr9:m.50_5del": ("contig_not_found", "unknown_contig"),
    "NC_000017.11(x):g.5_6insA": ("contig_not_found", "unknown_contig"),
}


@pytest.mark.parametrize("name", STATUSES)
def test_a_name_that_is_read_gets_the_status_of_its_allele(
    tmp_path: Path, hand: Reference, name: str
) -> None:
    (variant,) = read_list(tmp_path, name, hand)
    placed = place_allele(variant, hand, WindowSettings(64, max_n_share=1))
    assert (placed.status, placed.reason) == STATUSES[name]


REASONS: dict[str, str] = {
    "NM_000059.4:c.68_69del": "not_genomic",
    "NM_000059.4(BRCA2):c.-70A>G": "not_genomic",
    "NC_000017.11(NM_007294.4):c.68_69del": "not_genomic",
    "NR_1.1:n.5A>G": "not_genomic",
    "NM_1.1:r.76a>c": "not_genomic",
    "NP_000050.3:p.(Tyr23Cys)": "not_genomic",
    "NP_000050.3:p.Y23*": "not_genomic",
    "HLA-A*01:01:c.5A>G": "not_genomic",
    "chr1:g.(4_6)del": "uncertain",
    "chr1:g.(4_6)_(8_10)del": "uncertain",
    "chr1:g.(?_6)_(8_?)del": "uncertain",
    "chr1:g.?": "uncertain",
    "chr1:g.(5A>G)": "uncertain",
    "chr1:g.5_6insN[?]": "uncertain",
    "chr1:g.5_6insN[(80_120)]": "uncertain",
    "chr1:g.11CAG[(5_8)]": "uncertain",
    "chr1:g.5_6ins": "no_inserted_sequence",
    "chr1:g.5_6ins6": "no_inserted_sequence",
    "chr1:g.5_6ins[6]": "no_inserted_sequence",
    "chr1:g.5_6insA[0]": "no_inserted_sequence",
    "chr1:g.5_7delins": "no_inserted_sequence",
    "chr1:g.5_6ins[NC_000022.10:g.35788169_35788352]": "other_sequence",
    "chr1:g.5_7delins[chr2:g.5_7]": "other_sequence",
    "chr1:g.5insA": "flanks_not_adjacent",
    "chr1:g.5_7insA": "flanks_not_adjacent",
    "chr1:g.5_5insA": "flanks_not_adjacent",
    "NC_012920.1:m.6_5insA": "flanks_not_adjacent",
    "NC_012920.1:m.58_2insA": "flanks_not_adjacent",
    "NC_012920.1:m.57_1insA": "flanks_not_adjacent",
    "chr1:g.6_5insA": "reversed_range",
    "chr1:g.7_5del": "reversed_range",
    "NC_012920.1:g.57_2del": "reversed_range",
    "chr1:m.57_2del": "reversed_range",
    "chr1:g.5_6ins9_7": "reversed_range",
    "chr1:g.[5A>G;7del]": "several_changes",
    "chr1:g.[5A>G];[7del]": "several_changes",
    "chr1:g.5A>G(;)7del": "several_changes",
    "chr1:g.5A>G;7del": "several_changes",
    "chr1:g.5=/A>G": "several_changes",
    "chr1:g.5A>G^7del": "several_changes",
    "chr1:g.11CAG[6];[7]": "several_changes",
    "chr1:g.5_7con11_13": "unsupported_change",
    "chr1:g.pter_7del": "unsupported_change",
    "chr1:g.=": "unsupported_change",
    "chr1:g.5_7|gom": "unsupported_change",
    "chr1:g.pter_5::chr2:g.5_qter": "unsupported_change",
    "chr1:g.5+3A>G": "bad_position",
    "chr1:g.-5A>G": "bad_position",
    "chr1:g.*5A>G": "bad_position",
    "chr1:g.5-7del": "bad_position",
    f"chr1:g.{10**19}del": "bad_position",
    f"chr1:g.{'9' * 5000}del": "bad_position",
    f"chr1:g.5_6insA[{'9' * 5000}]": "bad_position",
    "chr1:g.5_7delAC": "length_mismatch",
    "chr1:g.5_7dupACGT": "length_mismatch",
    "chr1:g.5_7del4": "length_mismatch",
    f"chr1:g.5_7delN[{10**18}]": "length_mismatch",
    "chr1:g.5AC=": "length_mismatch",
    "NC_012920.1:m.57_2delAC": "length_mismatch",
    "chr1:g.11_21CAG[6]": "length_mismatch",
    "chr1:g.11_19CAG[6]": "partial_repeat",
    "chr1:g.14_22CAG[6]": "partial_repeat",
    "chr1:g.14CAG[6]": "partial_repeat",
    "chr1:g.11_13[6]": "partial_repeat",
    "chr1:g.5AC>GT": "not_hgvs",
    "chr1:g.5_6AC>GT": "not_hgvs",
    "chr1:g.5A>GT": "not_hgvs",
    "chr1:g.5_5A>G": "not_hgvs",
    "chr1:g.5inv": "not_hgvs",
    "chr1:g.5del3": "not_hgvs",
    "chr1:g.5dup3": "not_hgvs",
    "chr1:g.5DEL": "not_hgvs",
    "chr1:g.5A/G": "several_changes",
    "chr1:g.5": "not_hgvs",
    "chr1:g.5_": "not_hgvs",
    "chr1:g.5_6insXYZ": "not_hgvs",
    "chr1:g.5_6ins7_9dup": "not_hgvs",
    "chr1:g.5dupins": "not_hgvs",
    "chr1:g.11CAG[6]T[3]": "not_hgvs",
    "g.5A>G": "no_contig",
    "m.3243A>G": "no_contig",
    "c.68_69del": "not_genomic",
    "p.R175H": "not_genomic",
    "rs123": "unknown_notation",
    "chr1:5A>G": "unknown_notation",
    ":g.5A>G": "unknown_notation",
}


@pytest.mark.parametrize("name", REASONS)
def test_what_is_not_read_is_a_row_that_says_why(
    tmp_path: Path, hand: Reference, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = read_list(tmp_path, f"chr1:g.5A>G\n{name}\n", hand)
    assert (good.status, good.pos) == (None, 5)
    assert (bad.record, bad.allele, bad.contig, bad.pos) == (1, 0, None, None)
    assert (bad.status, bad.reason) == ("invalid_record", REASONS[name])
    assert REASON_MEANINGS[REASONS[name]].status == "invalid_record"
    (message,) = caplog.messages
    assert "\n" not in message
    assert "record 1 (line 2): invalid record: " in message
    assert len(message) < 500


def test_a_name_with_blanks_is_not_hgvs(hand: Reference) -> None:
    found = read_hgvs("chr1:g.5_7 del", hand)
    assert isinstance(found, Unreadable)
    assert found.reason == "not_hgvs"


PARTS = """chr1 NC_012920.1 : g. m. c. 5 57 0 99 _ del ins dup inv delins A N cag [ ] 3 ; ( ) ? = >
^ con * - |"""


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.sampled_from(PARTS.split()), max_size=12))
def test_no_text_ends_a_run(hand: Reference, parts: list[str]) -> None:
    found = read_hgvs("".join(parts), hand)
    if isinstance(found, Unreadable):
        assert REASON_MEANINGS[found.reason].status == "invalid_record"
    elif isinstance(found, NoAllele):
        assert REASON_MEANINGS[found.reason].status == found.status
    else:
        variant = Variant(0, 1, found.contig, found.pos, found.ref, found.alts[0], None)
        place_allele(variant, hand, SETTINGS)


def test_a_change_of_many_bases_is_not_written_out(
    tmp_path: Path, hand: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hgvs, "MAX_BASES", 6)
    reasons = {
        "chr1:g.5_11del": "long_ref",
        "chr1:g.5_6insA[7]": "long_alt",
        "chr1:g.5_11inv": "long_ref_and_alt",
        "chr1:g.5_6ins[1_4;1_4]": "long_alt",
        "chr1:g.11CAG[2]": "long_ref",
        "chr1:g.31T[7]": "long_alt",
    }
    names = "\n".join([*reasons, "chr1:g.5_10del"])
    *long, short = read_list(tmp_path, names, hand)
    assert [(one.allele, one.ref, one.status) for one in long] == [(0, None, "too_long")] * 6
    assert [one.reason for one in long] == list(reasons.values())
    assert short.ref == "TACGTGA"
    *long, _ = read_list(tmp_path, names, hand, filters=Filters(max_length=5))
    assert {(one.status, one.reason) for one in long} == {("filtered", "long_allele")}


# --- lists


def read_list(folder: Path, text: str, reference: Reference, **more: object) -> list[Variant]:
    source = open_text(folder, text, reference, **more)
    assert source.format == "list"
    return list(source)


def open_text(folder: Path, text: str, reference: Reference, **more: object) -> VariantSource:
    path = folder / "names"
    path.write_text(text)
    return open_variants(path, reference=reference, **more)  # type: ignore[arg-type]


def spell(variants: list[Variant]) -> list[tuple[object, ...]]:
    return [(one.contig, one.pos, one.ref, one.alt) for one in variants]


def test_a_list_may_mix_notations(tmp_path: Path, hand: Reference) -> None:
    text = "chr1-5-A-G\n  chr1:g.5A>G  # note\nchr1:5:A:G\nNC_012920.1:4:A:G\n"
    first, second, third, last = spell(read_list(tmp_path, text, hand))
    assert first == second == third == ("chr1", 5, "A", "G")
    assert last == ("NC_012920.1", 5, "A", "G")


@pytest.mark.parametrize(
    "text",
    [
        "hgvs\nchr1:g.5A>G\nchr1:g.5_7del\n",
        '"hgvs"\n"chr1:g.5A>G"\n"chr1:g.5_7del"\n',
        "chr1:g.5A>G BRCA1\nchr1:g.5_7del BRCA1\n",
        "chr1:g.5A>G,BRCA1\nchr1:g.5_7del,BRCA1\n",
        "chr1:g.5A>G,A\nchr1:g.5_7del,C\n",
        "chr1:g.5A>G\tBRCA1\nchr1:g.5_7del\tBRCA1\n",
        "gene,variant\nBRCA1,chr1:g.5A>G\nBRCA1,chr1:g.5_7del\n",
        "gene,coding,variant\nX,NM_1.1:c.5A>G,chr1:g.5A>G\nX,NM_1.1:c.5_7del,chr1:g.5_7del\n",
        "chr1:g.5A>G (p.Tyr23Cys)\nchr1:g.5_7del (p.Met1?)\n",
    ],
)
def test_the_column_of_names_is_found(tmp_path: Path, hand: Reference, text: str) -> None:
    rows = spell(read_list(tmp_path, text, hand))
    assert rows == [("chr1", 5, "A", "G"), ("chr1", 4, "TACG", "T")]


def test_a_column_with_alleles_comes_before_one_of_names(tmp_path: Path, hand: Reference) -> None:
    text = "variant,hgvs\nchr1-6-C-T,chr1:g.5A>G\nchr1-7-G-T,chr1:g.5_7del\n"
    assert spell(read_list(tmp_path, text, hand)) == [("chr1", 6, "C", "T"), ("chr1", 7, "G", "T")]
    assert spell(read_list(tmp_path, text.partition("\n")[2], hand))[0] == ("chr1", 6, "C", "T")


def test_names_of_transcripts_are_rows_among_others(tmp_path: Path, hand: Reference) -> None:
    text = "NM_1.1:c.5A>G\nNM_1.1:c.6A>G\nNM_1.1:c.7A>G\nchr1:g.5A>G\n"
    rows = read_list(tmp_path, text, hand)
    assert [row.reason for row in rows] == ["not_genomic"] * 3 + [None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NM_1.1:c.5A>G\nNM_1.1:c.6A>G\n", "looks like HGVS of transcripts or proteins"),
        ("c.5A>G\nc.6A>G\n", "looks like HGVS of transcripts or proteins"),
        ("g.5A>G\ng.6A>G\n", "or without the name of the sequence"),
        ("gene\thgvs\nX\tNM_1.1:c.5A>G\n", "looks like HGVS of transcripts or proteins"),
        ("chr1:g.5A>G,chr1:g.6C>G\nchr1:g.7G>C,chr1:g.8T>C\n", "has several variants"),
        ("BRCA1,chr1:g.5A>G\nBRCA1,chr1:g.6C>G\n", "not in the first column"),
        ("gene;hgvs\nBRCA1;chr1:g.5A>G\nBRCA1;chr1:g.6C>G\n", "columns are separated by ';'"),
        ("hgvs;gene\nchr1:g.5A>G;BRCA1\nchr1:g.6C>G;BRCA1\n", "columns are separated by ';'"),
        ("a,b,c\nx,chr1:g.5A>G,chr1:g.6C>G\n", r"several columns hold variants \(b, c\)"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, hand: Reference, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_text(tmp_path, text, hand)


# --- tables

EXPECTED = [("chr1", 5, "A", "G"), ("chr1", 4, "TACG", "T"), (None, None, None, None)]
NAMES = ["chr1:g.5A>G", "chr1:g.5_7del", "chr1:g.5_6ins"]
TABLES = {
    "tabs": "gene\thgvs\nX\tchr1:g.5A>G\nX\tchr1:g.5_7del\nX\tchr1:g.5_6ins\n",
    "commas": "hgvs,gene\nchr1:g.5A>G,X\n chr1:g.5_7del ,X\nchr1:g.5_6ins,X\n",
    "quotes": 'gene,HGVS\n"X, or ""Y""","chr1:g.5A>G"\nX,"chr1:g.5_7del"\nX,chr1:g.5_6ins\n',
    "line breaks": 'gene,HGVSg\n"X\nY",chr1:g.5A>G\nX,"chr1:g.5_7del"\nX,chr1:g.5_6ins\n',
    "places too": "chrom,pos,hgvs\n1,1,chr1:g.5A>G\n1,1,chr1:g.5_7del\n1,1,chr1:g.5_6ins\n",
    "a comment": "#gene\thgvs_g\nX\tchr1:g.5A>G\nX\tchr1:g.5_7del\nX\tchr1:g.5_6ins\n",
    "row names": "gene\thgvs\n1\tX\tchr1:g.5A>G\n2\tX\tchr1:g.5_7del\n3\tX\tchr1:g.5_6ins\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_column_of_a_text_table(tmp_path: Path, hand: Reference, kind: str) -> None:
    source = open_text(tmp_path, TABLES[kind], hand)
    assert source.format == "table"
    rows = list(source)
    assert spell(rows) == EXPECTED
    assert [row.reason for row in rows] == [None, None, "no_inserted_sequence"]
    assert source.count().alleles == 3


def test_a_column_of_a_parquet_file(tmp_path: Path, hand: Reference) -> None:
    path = tmp_path / "names.parquet"
    pq.write_table(pa.table({"score": [1, 2, 3], "hgvs": NAMES}), path)
    source = open_variants(path, carry=["score", "hgvs"], reference=hand)
    rows = list(source)
    assert spell(rows) == EXPECTED
    assert [row.carried for row in rows] == [(1, NAMES[0]), (2, NAMES[1]), (None, None)]


@pytest.mark.parametrize("column", ["variant", "the name, spelled", "c.HGVS"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "alone", "parquet"])
def test_the_config_may_name_the_column(
    tmp_path: Path, hand: Reference, column: str, kind: str
) -> None:
    columns = {"hgvs": column}
    if kind == "parquet":
        path = tmp_path / "names"
        pq.write_table(pa.table({"hgvs": ["x"] * 3, column: NAMES}), path)
        assert spell(list(open_variants(path, columns=columns, reference=hand))) == EXPECTED
        return
    header, rows = f'"{column}"', [f'"{name}"' for name in NAMES]
    if kind != "alone":
        delimiter = "," if kind == "csv" else "\t"
        header, rows = f"hgvs{delimiter}{header}", [f"x{delimiter}{row}" for row in rows]
    text = "\n".join([header, *rows])
    source = open_text(tmp_path, text, hand, columns=columns)
    assert source.format == "table"
    assert spell(list(source)) == EXPECTED


def test_columns_of_alleles_come_before_the_name(tmp_path: Path, hand: Reference) -> None:
    text = "chrom,pos,ref,alt,hgvs\nchr1,6,C,T,chr1:g.5A>G\n"
    assert spell(list(open_text(tmp_path, text, hand))) == [("chr1", 6, "C", "T")]
    named = open_text(tmp_path, text, hand, columns={"hgvs": "hgvs"})
    assert spell(list(named)) == [("chr1", 5, "A", "G")]
    table = pa.table({"chrom": ["chr1"], "pos": [6], "ref": ["C"], "alt": ["T"], "hgvs": NAMES[:1]})
    path = tmp_path / "names.parquet"
    pq.write_table(table, path)
    assert spell(list(open_variants(path))) == [("chr1", 6, "C", "T")]


def test_a_table_of_names_has_filters_and_carries(tmp_path: Path, hand: Reference) -> None:
    text = (
        "hgvs,filter,gene\nchr1:g.5A>G,PASS,X\nchr1:g.5A>G,q10,Y\nchr1:g.99del,q10,Z\n"
        "chr9:g.5del,PASS,\n,PASS,W\n"
    )
    source = open_text(tmp_path, text, hand, carry=["gene"], filters=Filters(pass_only=True))
    found = [(row.status, row.reason, row.carried) for row in source]
    assert found == [
        (None, None, ("X",)),
        ("filtered", "not_pass", ("Y",)),
        ("filtered", "not_pass", ("Z",)),
        ("contig_not_found", "unknown_contig", (None,)),
        ("invalid_record", "empty_column", (None,)),
    ]


def test_what_a_table_of_names_lacks_is_one_line(tmp_path: Path, hand: Reference) -> None:
    path = tmp_path / "names.parquet"
    pq.write_table(pa.table({"hgvs": ["NM_1.1:c.5A>G", "c.6A>G"]}), path)
    with pytest.raises(
        InputError, match=r"'hgvs' has 'NM_1.1:c.5A>G', expected HGVS of the genome"
    ):
        open_variants(path, reference=hand)
    with pytest.raises(InputError, match=r"columns.hgvs: the column 'hgsv' is not in the table"):
        open_variants(path, columns={"hgvs": "hgsv"}, reference=hand)
    with pytest.raises(ValueError, match="a table of HGVS needs a reference"):
        open_variants(path, columns={"hgvs": "hgvs"})
