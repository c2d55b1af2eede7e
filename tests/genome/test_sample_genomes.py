"""All changes of a genome with the alleles of a haplotype, against a genome made base by base."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from evo2_tasks.genome.haplotype_windows import haplotype_intervals, haplotype_sequences
from evo2_tasks.genome.sample_genomes import SampleGenome
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.genome.windows import WindowSettings
from tests.genome.plain_haplotypes import (
    PlainContig,
    PlainEdit,
    PlainEntry,
    PlainHaplotype,
    expect_on,
)
from tests.genome.test_haplotype_oracle import Case, make_case, read_entries
from tests.genome.test_window_oracle import find_start, make_settings

KINDS = ("snv", "deletion", "insertion", "codon")
NOWHERE = PlainEdit(-9, 0, 0, "", -1, -1)


def find_nearest(
    entries: list[PlainEntry], plain: PlainContig, first: int, end: int, place: int
) -> tuple[str, str] | None:
    """The phase set of the phased allele that is nearest to a range."""
    size = len(plain.bases)
    inside, left, right = [], [], []
    for turn in (-size, 0, size) if plain.circular else (0,):
        for one in sorted(entries, key=lambda one: one.edit):
            if one.everywhere or one.phase_set is None:
                continue
            if one.phase_set[0] == "PSL" and one.place != place:
                continue
            start = one.edit.start + turn
            last = start + one.edit.num_ref
            if start < end and last > first if start < last else first < start < end:
                inside.append((one.edit, one))
            elif start < end:
                left.append((first - last, one))
            else:
                right.append((start - end, one))
    if inside:
        return min(inside)[1].phase_set
    near = [*left[-1:], *right[:1]]
    return min(near, key=lambda one: one[0])[1].phase_set if near else None


def find_members(
    entries: list[PlainEntry], plain: PlainContig, chosen: tuple[str, str] | None, place: int
) -> list[PlainEdit]:
    """The kept alleles of a haplotype of a phase set."""
    members = set()
    for one in entries:
        if one.everywhere:
            is_here = one.place == (1 if chosen and chosen[0] == "PSL" else place)
        else:
            is_here = one.phase_set is not None and one.phase_set == chosen
            is_here &= bool(chosen and chosen[0] == "PSL") or one.place == place
        if is_here:
            members.add(one.edit)
    kept: list[PlainEdit] = []
    for edit in sorted(members):
        if not any(plain.overlap(edit, other) for other in kept):
            kept.append(edit)
    return kept


def open_genome(case: Case, place: int) -> SampleGenome:
    source = open_variants(case.source)
    return SampleGenome(source, source.read_genotypes(None), case.reference, place)


def check_change(case: Case, genome: SampleGenome, variant, settings, place: int) -> str:
    """Compare the windows of a change with those on the genome as a list of bases."""
    contig = variant.contig
    plain = PlainContig(case.genome[contig], contig == "circle")
    entries = read_entries(case, 0, contig)
    start, end = variant.pos - 1, variant.pos - 1 + len(variant.ref)
    chosen = find_nearest(entries, plain, start, end, place)
    members = find_members(entries, plain, chosen, place)
    haplotype = PlainHaplotype.make(plain, members, NOWHERE)
    change = genome.place(variant, settings)
    at = haplotype.origins.index(start)
    bases = haplotype.bases * 2 if plain.circular else haplotype.bases
    assert variant.ref == "".join(bases[at : at + len(variant.ref)])
    ref, alt = list(variant.ref), list(variant.alt)
    while ref and alt and ref[-1] == alt[-1]:
        ref.pop()
        alt.pop()
    while ref and alt and ref[0] == alt[0]:
        ref.pop(0)
        alt.pop(0)
        at += 1
    haplotype.place = at % len(haplotype.bases) if plain.circular else at
    if not {*ref, *alt} <= set("ACGT"):
        assert change.placed.status == "non_acgt_allele"
        return change.placed.status
    own = PlainEdit(-1, len(ref), len(alt), "".join(alt), -1, -1)
    tile = find_tile(haplotype, plain, own, "".join(ref), settings)
    expected = expect_on(haplotype, own, "".join(ref), settings, tile)
    placed = change.placed
    assert placed.status == expected.status, (variant, placed, expected)
    if placed.status == "to_score":
        remarks = {"moved", "unphased", "several_phase_sets", "haplotype_ref"}
        remarks |= {"overlapping_background", "incomplete_background"}
        assert {*placed.flags} - remarks == expected.flags
        assert ("moved" in placed.flags) == (expected.moved > 0)
        is_other = plain.bases[start : start + len(variant.ref)] != variant.ref
        assert ("haplotype_ref" in placed.flags) == is_other
    sizes = {strand: (size.length, size.prefix) for strand, size in placed.sizes.items()}
    wanted = {strand: (len(one), prefix) for strand, (one, _, prefix) in expected.strands.items()}
    assert sizes == wanted
    length = len(plain.bases)
    needed = haplotype_intervals(placed, length, plain.circular) if placed.sizes else []

    def fetch(name: str, first: int, last: int) -> str:
        assert any(low <= first <= last <= high for low, high in needed)
        return case.genome[name][first:last]

    for strand, (one, other, _) in expected.strands.items():
        found = haplotype_sequences(fetch, placed, strand, len(one), length, plain.circular)
        assert found == (one.encode(), other.encode()), (variant, strand, placed)
    if expected.window is not None:
        check_bounds(change, haplotype, plain, expected, settings)
    return placed.status


def find_tile(
    haplotype: PlainHaplotype, plain: PlainContig, own: PlainEdit, ref: str, settings
) -> int | None:
    if settings.window_placement == "centered":
        return None
    whole = WindowSettings(window_length=64, max_n_share=1.0, max_allele_length=9)
    moved = expect_on(haplotype, own, ref, whole, None).moved
    size, num = len(plain.bases), len(haplotype.bases)
    window = min(settings.window_length, size) if plain.circular else settings.window_length

    def first_base(at: int) -> int:
        places = [*range(at, num), *(range(at) if plain.circular else ())]
        known = (haplotype.origins[i] for i in places)
        return next((base for base in known if base is not None), size)

    place = haplotype.place - moved
    aligned = first_base(place % num if plain.circular else place)
    base = find_start(aligned, size, plain.circular, window, settings)
    while base < size or plain.circular:
        if base % size in haplotype.origins:
            return haplotype.origins.index(base % size)
        base += 1
    return num


def check_bounds(change, haplotype, plain, expected, settings) -> None:
    """The window on the reference begins and ends with the bases that it has."""
    size, num = len(plain.bases), len(haplotype.bases)
    first, last = expected.window
    for bound, at, offset in ((change.start, first, 0), (change.end, last - 1, 1)):
        base = haplotype.origins[at % num]
        if base is not None:
            assert (bound - base - offset) % size == 0 if plain.circular else bound == base + offset
    if not plain.circular:
        assert 0 <= change.start <= change.end <= size


@pytest.mark.parametrize("seed", range(6))
def test_changes_of_a_genome_agree_with_a_list_of_bases(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    statuses: Counter[str] = Counter()
    regions = tmp_path / "regions.bed"
    for _ in range(5):
        case = make_case(tmp_path, rng, num_samples=1)
        if not case.lines:
            continue
        regions.write_text(
            "".join(f"{name}\t0\t{len(bases)}\n" for name, bases in case.genome.items())
        )
        place = rng.choice([1, 2])
        genome = open_genome(case, place)
        settings = make_settings(rng)
        kinds = rng.sample(KINDS, rng.randint(1, 3))
        source = open_variants(regions, saturate=kinds, reference=case.reference, genome=genome)
        rows = [*source]
        plain_rows = [*open_variants(regions, saturate=kinds, reference=case.reference)]
        by_reference = {(one.record, one.allele): one for one in plain_rows}
        for variant in rows:
            if variant.status is not None:
                assert (variant.status, variant.reason) == ("filtered", "not_in_haplotype")
                same = by_reference.get((variant.record, variant.allele))
                if "N" not in case.genome[variant.contig]:
                    assert (same.pos, same.ref, same.alt) == (variant.pos, variant.ref, variant.alt)
                statuses["filtered"] += 1
                continue
            if rng.random() < 0.5:
                statuses[check_change(case, genome, variant, settings, place)] += 1
    assert statuses["to_score"] > 200
    assert {"filtered", "no_context"} <= {*statuses}
