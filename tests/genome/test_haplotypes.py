"""Backgrounds and compounds: each rule by itself, and what must change nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from evo2_tasks.genome.haplotype_windows import Background, haplotype_sequences, place_in_haplotype
from evo2_tasks.genome.haplotypes import Carrier, Haplotypes
from evo2_tasks.genome.records import Filters
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.genome.windows import (
    AlignedAllele,
    WindowSettings,
    locate_allele,
    place_allele,
)
from tests.genome.plain_haplotypes import PlainContig
from tests.genome.test_haplotype_oracle import make_case, make_settings, open_haplotypes

HEADER = "##fileformat=VCFv4.4\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t"
BASES = "ACGTTGCATGCATCGATTACGACCGATCATCGACGGATCCATGCAATCGTA"
SETTINGS = WindowSettings(window_length=64, min_context=1)

Row = tuple[int, str, str, str, list[str]]  # POS, REF, ALT, keys of FORMAT, samples


def make(
    folder: Path,
    rows: Sequence[Row],
    *,
    bases: str = BASES,
    names: Sequence[str] = ("S",),
    circular: bool = False,
    filters: Filters | None = None,
) -> Haplotypes:
    for old in folder.glob("g.fa*"):
        old.unlink()
    (folder / "g.fa").write_text(f">c\n{bases}\n")
    lines = [
        "\t".join(["c", str(pos), ".", ref, alt, ".", "PASS", ".", keys, *samples])
        for pos, ref, alt, keys, samples in rows
    ]
    text = HEADER + "\t".join(names) + "\n" + "".join(line + "\n" for line in lines)
    (folder / "v.vcf").write_text(text)
    source = open_variants(folder / "v.vcf", filters=filters)
    reference = Reference(folder / "g.fa", circular_contigs=["c"] if circular else [])
    return Haplotypes(source, source.read_genotypes(None), reference)


def snv(pos: int, *calls: str, keys: str = "GT", bases: str = BASES) -> Row:
    ref = bases[pos - 1]
    return pos, ref, "C" if ref == "A" else "A", keys, list(calls)


def backgrounds(
    haplotypes: Haplotypes, settings: WindowSettings = SETTINGS
) -> dict[tuple[int, int, int | None], tuple[list[int], set[str]]]:
    """Records of the background, and flags, by record, sample and haplotype."""
    found = {}
    for one in haplotypes.find_pairs(settings):
        for carrier in one.carriers:
            pair = None if carrier.pair is None else one.pairs[carrier.pair]
            records = [record for record, _ in pair.background] if pair else []
            found[one.record, carrier.sample, carrier.haplotype] = records, set(carrier.flags)
    return found


def test_alleles_of_one_haplotype_are_neighbours(tmp_path: Path) -> None:
    rows = [snv(5, "0|1"), snv(10, "1|0"), snv(15, "0|1"), snv(20, "1|1")]
    assert backgrounds(make(tmp_path, rows)) == {
        (0, 0, 2): ([2, 3], set()),
        (1, 0, 1): ([3], set()),
        (2, 0, 2): ([0, 3], set()),
        (3, 0, 1): ([1], set()),
        (3, 0, 2): ([0, 2], set()),
    }


def test_samples_do_not_meet_and_share_pairs(tmp_path: Path) -> None:
    rows = [snv(5, "0|1", "1|0", "0|0"), snv(10, "0|1", "1|0", "1|0")]
    haplotypes = make(tmp_path, rows, names=["B", "A", "C"])
    first, second = haplotypes.find_pairs(SETTINGS)
    # Samples are sorted by name: A, B, C.
    assert first.carriers == (Carrier(0, 1, None, (), 0), Carrier(1, 2, None, (), 0))
    assert [pair.background for pair in first.pairs] == [((1, 1),)]
    assert [carrier.pair for carrier in second.carriers] == [0, 0, None]


def test_an_unphased_allele_is_in_no_background(tmp_path: Path) -> None:
    rows = [snv(5, "0/1"), snv(10, "0|1"), snv(15, "1/1"), snv(20, "./1")]
    assert backgrounds(make(tmp_path, rows)) == {
        (0, 0, None): ([2], {"unphased"}),
        (1, 0, 2): ([2], set()),
        (2, 0, 1): ([], set()),
        (2, 0, 2): ([1], set()),
        (3, 0, None): ([2], {"unphased"}),
    }


@pytest.mark.parametrize("other", [snv(10, "1/1"), snv(10, "1|1"), snv(10, "0/0"), snv(10, "./.")])
def test_the_only_heterozygous_allele_needs_no_phase(tmp_path: Path, other: Row) -> None:
    _, flags = backgrounds(make(tmp_path, [snv(5, "0/1"), other]))[0, 0, None]
    assert flags == set()


def test_only_heterozygous_alleles_of_the_window_count(tmp_path: Path) -> None:
    rows = [snv(5, "0/1"), snv(21, "0|1"), snv(22, "0|1")]
    settings = WindowSettings(window_length=32, min_context=1)  # bases 0 to 19
    assert backgrounds(make(tmp_path, rows), settings)[0, 0, None] == ([], set())
    settings = WindowSettings(window_length=34, min_context=1)
    assert backgrounds(make(tmp_path, rows), settings)[0, 0, None] == ([], {"unphased"})


def test_phase_sets_do_not_meet(tmp_path: Path) -> None:
    rows = [
        snv(5, "0|1:1", keys="GT:PS"),
        snv(10, "0|1:1", keys="GT:PS"),
        snv(15, "0|1:2", keys="GT:PS"),
        snv(20, "0|1:.", keys="GT:PS"),
        snv(25, "0|1"),
        snv(30, "1|1:2", keys="GT:PS"),
        snv(35, "1/1"),
    ]
    assert backgrounds(make(tmp_path, rows, names=["S"])) == {
        (0, 0, 2): ([1, 5, 6], set()),
        (1, 0, 2): ([0, 5, 6], set()),
        (2, 0, 2): ([5, 6], set()),
        (3, 0, 2): ([4, 5, 6], set()),
        (4, 0, 2): ([3, 5, 6], set()),
        (5, 0, 1): ([6], set()),
        (5, 0, 2): ([2, 6], set()),
        # It names no phase set, and its window has three.
        (6, 0, 1): ([5], {"several_phase_sets"}),
        (6, 0, 2): ([5], {"several_phase_sets"}),
    }


def test_a_homozygous_allele_is_in_the_phase_set_of_its_window(tmp_path: Path) -> None:
    rows = [snv(5, "0|1:1", keys="GT:PS"), snv(10, "1/1"), snv(40, "1|0:2", keys="GT:PS")]
    settings = WindowSettings(window_length=20, min_context=1)
    haplotypes = make(tmp_path, rows)
    assert backgrounds(haplotypes, settings)[1, 0, 2] == ([0], set())
    _, one, _ = haplotypes.find_pairs(settings)
    assert [carrier.phase_set for carrier in one.carriers] == ["1", "1"]


def test_names_of_psl_join_alleles_at_any_place(tmp_path: Path) -> None:
    rows = [
        snv(5, "0|1:a,b", keys="GT:PSL"),
        snv(10, "1|0:b,a", keys="GT:PSL"),
        snv(15, "0|1:.,a", keys="GT:PSL"),
        snv(20, "1|0:b", keys="GT:PS"),
        snv(25, "1|1:.,.", keys="GT:PSL"),
    ]
    found = backgrounds(make(tmp_path, rows))
    assert found[0, 0, 2] == ([1, 4], set())
    assert found[1, 0, 1] == ([0, 4], set())
    assert found[2, 0, 2] == ([4], set())
    assert found[3, 0, 1] == ([4], set())  # PS of the same name


def test_what_overlaps_is_kept_in_order(tmp_path: Path) -> None:
    deletion = (11, BASES[10:15], BASES[10], "GT", ["1|0"])
    rows = [snv(13, "1|0"), deletion, snv(30, "1|0"), snv(30, "0|1")]
    assert backgrounds(make(tmp_path, rows)) == {
        (0, 0, 1): ([2], {"overlapping_background"}),
        (1, 0, 1): ([2], {"overlapping_background"}),
        (2, 0, 1): ([1], {"overlapping_background"}),
        (3, 0, 2): ([], set()),
    }


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ((10, 0, "T"), (10, 0, "C"), True),
        ((10, 0, "T"), (10, 1, "C"), False),
        ((10, 0, "T"), (9, 1, "C"), False),
        ((10, 0, "T"), (9, 2, ""), True),
        ((10, 0, "T"), (10, 2, ""), False),
        ((10, 0, "T"), (8, 2, ""), False),
        ((10, 2, ""), (11, 1, "A"), True),
        ((10, 2, ""), (12, 1, "A"), False),
        ((10, 3, ""), (11, 0, "A"), True),
    ],
)
def test_two_edits_overlap(tmp_path: Path, one, other, overlap: bool) -> None:
    bases = "ACGTGCATCAGTCAGCTGATGCTAGCATCGATCGTACGTAGCATGCTAGCATC"

    def record(start: int, num_ref: int, alt: str) -> Row:
        pad = bases[start - 1]
        return start, pad + bases[start : start + num_ref], pad + alt, "GT", ["1|0"]

    plain = PlainContig(bases, circular=False)
    edits = [plain.align(start - 1, ref, alt, (0, 1)) for start, ref, alt, *_ in
             (record(*one), record(*other))]  # fmt: skip
    assert plain.overlap(*edits) == overlap
    haplotypes = make(tmp_path, [record(*one), record(*other)], bases=bases)
    found = backgrounds(haplotypes)
    assert found[0, 0, 1] == (([], {"overlapping_background"}) if overlap else ([1], set()))
    assert found[1, 0, 1] == (([], {"overlapping_background"}) if overlap else ([0], set()))


def test_what_enters_no_background_is_flagged(tmp_path: Path) -> None:
    rows: list[Row] = [
        snv(5, "1|0"),
        (8, BASES[7], "*", "GT", ["1|0"]),
        (10, BASES[9], "<DEL>", "GT", ["0|1"]),
        snv(12, "0|1"),
        snv(15, "0|0"),
    ]
    found = backgrounds(make(tmp_path, rows))
    assert found[0, 0, 1] == ([], {"incomplete_background"})
    assert found[3, 0, 2] == ([], {"incomplete_background"})
    assert found[1, 0, 1] == ([], set())
    mismatch = (8, "C" if BASES[7] != "C" else "A", "G", "GT", ["1|0"])
    assert backgrounds(make(tmp_path, [snv(5, "1|0"), mismatch]))[0, 0, 1] == (
        [],
        {"incomplete_background"},
    )
    rows = [snv(5, "1|0"), (9, BASES[8:13], BASES[8], "GT", ["1|0"])]
    filtered = make(tmp_path, rows, filters=Filters(max_length=2))
    assert backgrounds(filtered)[0, 0, 1] == ([], {"incomplete_background"})
    same = (9, BASES[8], BASES[8], "GT", ["1|0"])
    assert backgrounds(make(tmp_path, [snv(5, "1|0"), same]))[0, 0, 1] == ([], set())


def test_an_allele_too_long_for_a_score_is_in_backgrounds(tmp_path: Path) -> None:
    rows = [snv(5, "1|0"), (9, BASES[8:34], BASES[8], "GT", ["1|0"])]
    assert backgrounds(make(tmp_path, rows))[0, 0, 1] == ([1], set())


def test_across_position_0_of_a_circle(tmp_path: Path) -> None:
    bases = "ACGTTGCATGCATCGATTACGACCGATCAT"
    size = len(bases)
    rows = [snv(2, "1", bases=bases), snv(size - 1, "1", bases=bases), snv(15, "1", bases=bases)]
    settings = WindowSettings(window_length=12, min_context=1)
    found = backgrounds(make(tmp_path, rows, bases=bases, circular=True), settings)
    assert found == {(0, 0, 1): ([1], set()), (1, 0, 1): ([0], set()), (2, 0, 1): ([], set())}
    found = backgrounds(make(tmp_path, rows, bases=bases), settings)
    assert found[0, 0, 1] == ([], set())


@pytest.mark.parametrize("seed", range(6))
def test_without_neighbours_the_windows_are_those_of_the_allele_alone(
    tmp_path: Path, seed: int
) -> None:
    """Also if the haplotype is made, as it is for an allele with neighbours."""
    rng = random.Random(seed)
    case = make_case(tmp_path, rng, num_samples=1)
    num_placed = 0
    for variant in open_variants(case.source):
        settings = make_settings(rng)
        located = locate_allele(variant, case.reference)
        alone = place_allele(variant, case.reference, settings)
        if not isinstance(located, AlignedAllele):
            assert located.status == alone.status
            continue
        offset = None
        if settings.window_placement == "tiled" and alone.window_start is not None:
            offset = (alone.edit_start or 0) - alone.window_start
        empty = Background((), (), 0, located.differs, offset)
        assert place_in_haplotype(located, empty, settings) == alone
        num_placed += 1
    assert num_placed


def rows_by_allele(haplotypes: Haplotypes, source: Path, names: Sequence[str], settings):
    """Everything that a row has, by what does not depend on the order of the file."""
    keys = {(v.record, v.allele): (v.contig, v.pos, v.ref, v.alt) for v in open_variants(source)}
    found = {}
    for one in haplotypes.find_pairs(settings):
        for carrier in one.carriers:
            pair = None if carrier.pair is None else one.pairs[carrier.pair]
            background = sorted(keys[key] for key in pair.background) if pair else []
            key = keys[one.record, one.allele], names[carrier.sample], carrier.haplotype
            placed = pair.placed if pair else None
            found.setdefault(key, []).append((background, placed, carrier[2:4]))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_records_and_samples_changes_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    case = make_case(tmp_path, rng)
    settings = make_settings(rng)
    names = open_variants(case.source).read_genotypes(None).samples
    expected = rows_by_allele(open_haplotypes(case), case.source, names, settings)
    compounds = {(c.sample, c.haplotype, c.phase_set, c.variant.pos, c.variant.ref, c.variant.alt)
                 for c in open_haplotypes(case).find_compounds(2)}  # fmt: skip
    lines = case.source.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("#CHROM"))
    order = list(range(len(names)))
    rng.shuffle(order)
    shuffled = lines[start + 1 :]
    rng.shuffle(shuffled)
    for i, line in enumerate(shuffled):
        cells = line.split("\t")
        shuffled[i] = "\t".join(cells[:9] + [cells[9 + place] for place in order])
    header = lines[start].split("\t")
    header = "\t".join(header[:9] + [header[9 + place] for place in order])
    other = case._replace(source=tmp_path / "other.vcf")
    other.source.write_text("\n".join([*lines[:start], header, *shuffled]) + "\n")
    # Of two equal alleles the first record is kept: then it is another one, with the same bases.
    found = rows_by_allele(open_haplotypes(other), other.source, names, settings)
    assert found.keys() == expected.keys()
    for key, rows in expected.items():
        assert sorted(map(repr, rows)) == sorted(map(repr, found[key])), key
    again = {(c.sample, c.haplotype, c.phase_set, c.variant.pos, c.variant.ref, c.variant.alt)
             for c in open_haplotypes(other).find_compounds(2)}  # fmt: skip
    assert again == compounds


@pytest.mark.parametrize("seed", range(5))
def test_splitting_records_changes_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(100 + seed)
    case = make_case(tmp_path, rng)
    settings = make_settings(rng)
    names = open_variants(case.source).read_genotypes(None).samples
    expected = rows_by_allele(open_haplotypes(case), case.source, names, settings)
    rows = []
    for line in case.source.read_text().splitlines():
        cells = line.split("\t")
        if line.startswith("#") or "," not in cells[4]:
            rows.append(line)
            continue
        for number, alt in enumerate(cells[4].split(","), start=1):
            split = [split_call(cell, number) for cell in cells[9:]]
            rows.append("\t".join([*cells[:4], alt, *cells[5:9], *split]))
    other = case._replace(source=tmp_path / "split.vcf")
    other.source.write_text("\n".join(rows) + "\n")
    found = rows_by_allele(open_haplotypes(other), other.source, names, settings)
    assert {key: sorted(map(repr, rows)) for key, rows in found.items()} == {
        key: sorted(map(repr, rows)) for key, rows in expected.items()
    }


def split_call(cell: str, number: int) -> str:
    """A sample of a record with one ALT allele; the other ALT alleles become REF."""
    call, colon, rest = cell.partition(":")
    digits = ["1" if c == str(number) else "0" if c.isdigit() else c for c in call]
    return "".join(digits) + colon + rest


def test_letters_of_the_reference(tmp_path: Path) -> None:
    """An allele or a neighbour whose REF stands for an IUPAC letter (R: A or G, REF is A)."""
    bases = "ACGTTGCATRCATCGATTRCGACCGATCATCG"
    rows: list[Row] = [
        (10, "A", "T", "GT", ["1|0"]),
        (19, "A", "C", "GT", ["1|0"]),
        (24, bases[23], "A", "GT", ["1|0"]),
    ]
    haplotypes = make(tmp_path, rows, bases=bases)
    found = {one.record: one.pairs[0].placed for one in haplotypes.find_pairs(SETTINGS)}
    flags = [set(found[i].flags) & {"iupac_ref", "n_in_window"} for i in range(3)]
    assert flags == [{"iupac_ref", "n_in_window"}, {"iupac_ref", "n_in_window"}, set()]

    def fetch(_name: str, start: int, end: int) -> str:
        return bases[start:end]

    def read(record: int) -> tuple[bytes, bytes]:
        placed = found[record]
        length = placed.length_fwd or 0
        return haplotype_sequences(fetch, placed, "forward", length, len(bases), False)

    both = "ACGTTGCATTCATCGATTCCGACAGATCATCG"
    assert read(0) == ((both[:9] + "A" + both[10:]).encode(), both.encode())
    assert read(1) == ((both[:18] + "A" + both[19:]).encode(), both.encode())
    assert read(2) == ((both[:23] + bases[23] + both[24:]).encode(), both.encode())


@pytest.mark.parametrize("calls", [["0|0"], ["./."], ["x"]])
def test_without_carried_alleles_there_are_no_rows(tmp_path: Path, calls: list[str]) -> None:
    haplotypes = make(tmp_path, [snv(5, *calls)])
    assert list(haplotypes.find_pairs(SETTINGS)) == []
    assert list(haplotypes.find_compounds(2)) == []


def test_an_allele_without_a_place_has_its_rows(tmp_path: Path) -> None:
    rows: list[Row] = [
        (5, BASES[4], "<CNV>", "GT:PS", ["1|0:7"]),
        (9999, "A", "C", "GT", ["1/1"]),
        snv(7, "0/1"),
    ]
    found = {one.record: one.carriers for one in make(tmp_path, rows).find_pairs(SETTINGS)}
    assert found[0] == (Carrier(0, 1, "7", (), None),)
    assert found[1] == (Carrier(0, 1, None, (), None), Carrier(0, 2, None, (), None))
    assert found[2] == (Carrier(0, None, None, (), None),)
