"""Compounds: groups of neighbouring alleles, against groups found pair by pair, and records."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from evo2_tasks.genome.compounds import Compound
from evo2_tasks.genome.genes import read_genes
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import WindowSettings, place_allele
from tests.genome.plain_haplotypes import PlainContig, PlainEdit, PlainHaplotype
from tests.genome.test_haplotype_oracle import (
    Case,
    make_case,
    make_settings,
    open_haplotypes,
    read_entries,
)
from tests.genome.test_haplotypes import BASES, make, snv


def list_compounds(found: list[Compound]) -> list[tuple[int, str | None, list[int]]]:
    return [(one.haplotype, one.phase_set, [r for r, _ in one.members]) for one in found]


def kept_edits(plain: PlainContig, edits: set[PlainEdit]) -> list[PlainEdit]:
    kept: list[PlainEdit] = []
    for edit in sorted(edits):
        if not any(plain.overlap(edit, other) for other in kept):
            kept.append(edit)
    return kept


def join_groups(plain: PlainContig, kept: list[PlainEdit], distance: int) -> set[frozenset]:
    """Groups found by joining pairs: two are in one group if few unchanged bases are between."""
    group = {edit: {edit} for edit in kept}
    size = len(plain.bases)
    for one, other in zip(kept, [*kept[1:], *(kept[:1] if plain.circular else [])], strict=False):
        gap = other.start - one.start - one.num_ref + (0 if other > one else size)
        if one is not other and gap <= distance:
            group[one] |= group[other]
            for edit in group[one]:
                group[edit] = group[one]
    found = {frozenset(edit.key for edit in members) for members in group.values()}
    return {members for members in found if len(members) > 1}


Join = Callable[[str, PlainContig, list[PlainEdit]], set[frozenset]]
"""The groups of some edits of a contig."""


def join_by_distance(distance: int) -> Join:
    return lambda _, plain, kept: join_groups(plain, kept, distance)


def expect_compounds(case: Case, join: Join) -> set[tuple[int, str, int, str | None, frozenset]]:
    """Sample, contig, place, phase set and members of each compound."""
    expected = set()
    for sample in range(len(case.lines[0].calls)):
        for contig, bases in case.genome.items():
            plain = PlainContig(bases, contig == "circle")
            entries = read_entries(case, sample, contig)
            homozygous = defaultdict(set)
            sets = defaultdict(set)
            places = {}
            for entry in entries:
                if entry.everywhere:
                    homozygous[entry.place].add(entry.edit)
                elif entry.phase_set is not None:
                    is_list = entry.phase_set[0] == "PSL"
                    key = entry.phase_set, 0 if is_list else entry.place
                    sets[key].add(entry.edit)
                    places.setdefault(key, []).append((entry.edit, entry.place))
            if all(phase_set == ("", "") for phase_set, _ in sets):
                for place in {*homozygous, *(place for _, place in sets)}:
                    kept = kept_edits(plain, sets[("", ""), place] | homozygous[place])
                    for members in join(contig, plain, kept):
                        expected.add((sample, contig, place, None, members))
                continue
            joined = defaultdict(set)
            for (phase_set, place), phased in sets.items():
                first = min(places[phase_set, place])[1]
                kept = kept_edits(plain, phased | homozygous[place or 1])
                keys = {edit.key for edit in phased}
                for members in join(contig, plain, kept):
                    if members & keys:
                        expected.add((sample, contig, first, phase_set[1] or None, members))
                        joined[first] |= members
            for place, edits in homozygous.items():
                for members in join(contig, plain, kept_edits(plain, edits)):
                    if not members & joined[place]:
                        expected.add((sample, contig, place, None, members))
    return expected


@pytest.mark.parametrize("seed", range(12))
def test_groups_and_joint_alleles(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    statuses = set()
    for _ in range(4):
        case = make_case(tmp_path, rng)
        haplotypes = open_haplotypes(case)
        for distance in (0, 2, rng.randint(3, 9)):
            found = list(haplotypes.find_compounds(distance))
            require_expected(found, expect_compounds(case, join_by_distance(distance)))
            for one in found:
                settings = make_settings(rng)
                statuses.add(check_joint(case, one, settings))
    assert {"to_score", "too_long"} <= statuses


def require_expected(found: list[Compound], expected: set[tuple]) -> None:
    keys = [
        (one.sample, one.variant.contig, one.haplotype, one.phase_set, frozenset(one.members))
        for one in found
    ]
    assert len(set(keys)) == len(keys)
    assert set(keys) == expected


def check_joint(case: Case, one: Compound, settings: WindowSettings) -> str:
    """The joint allele changes the contig as its members do, one after the other."""
    contig = one.variant.contig
    plain = PlainContig(case.genome[contig], contig == "circle")
    entries = read_entries(case, one.sample, contig)
    edits = {entry.key: entry.edit for entry in entries}
    members = [edits[key] for key in one.members]
    far = PlainEdit(-1, 1, 0, "", -1, 0)  # no allele of its own
    expected = "".join(PlainHaplotype.make(plain, members, far).bases)
    start, ref, alt = one.variant.start, one.variant.ref, one.variant.alt
    turned = plain.bases[start:] + plain.bases[:start]
    assert turned.startswith(ref)
    made = alt + turned[len(ref) :]
    if not plain.circular:
        assert made[len(made) - start :] + made[: len(made) - start] == expected
    else:  # the same circle, cut open anywhere
        assert len(made) == len(expected)
        assert made in expected + expected
    return place_allele(one.variant, case.reference, settings).status


@pytest.mark.parametrize("window", [16, 64])
@pytest.mark.parametrize("alt", ["TTA", "CGA", "GTT"])
def test_one_mnv_is_the_compound_of_its_snvs(tmp_path: Path, window: int, alt: str) -> None:
    ref = BASES[20:23]
    rows = [(21 + i, ref[i], alt[i], "GT", ["0|1"]) for i in range(3) if ref[i] != alt[i]]
    haplotypes = make(tmp_path, rows)
    [compound] = haplotypes.find_compounds(2)
    settings = WindowSettings(window_length=window, min_context=1)
    reference = Reference(tmp_path / "g.fa")
    mnv = place_allele(Variant(0, 1, "c", 21, ref, alt, None), reference, settings)
    assert mnv.status == "to_score"
    assert place_allele(compound.variant, reference, settings) == mnv


def test_an_indel_record_is_the_compound_of_its_parts(tmp_path: Path) -> None:
    """However the parts are spelled, the joint allele is trimmed and left-aligned."""
    rows = [snv(21, "1|1"), (22, BASES[21], BASES[21] + "GG", "GT", ["1|1"])]
    haplotypes = make(tmp_path, rows)
    reference = Reference(tmp_path / "g.fa")
    settings = WindowSettings(window_length=32)
    first, second = haplotypes.find_compounds(2)
    assert [first.haplotype, second.haplotype] == [1, 2]
    assert first.variant == second.variant
    new = rows[0][2] + BASES[21] + "GG"
    whole = place_allele(Variant(0, 1, "c", 21, BASES[20:22], new, None), reference, settings)
    assert place_allele(first.variant, reference, settings) == whole


def test_distance_is_of_unchanged_bases(tmp_path: Path) -> None:
    rows = [snv(10, "1|0"), snv(12, "1|0"), snv(15, "1|0"), snv(19, "1|0")]
    haplotypes = make(tmp_path, rows)
    assert list_compounds(list(haplotypes.find_compounds(0))) == []
    assert list_compounds(list(haplotypes.find_compounds(1))) == [(1, None, [0, 1])]
    assert list_compounds(list(haplotypes.find_compounds(2))) == [(1, None, [0, 1, 2])]
    assert list_compounds(list(haplotypes.find_compounds(3))) == [(1, None, [0, 1, 2, 3])]


def test_phase_decides_who_is_in_a_compound(tmp_path: Path) -> None:
    rows = [
        snv(10, "1|0:1", keys="GT:PS"),
        snv(11, "1|1:.", keys="GT:PS"),
        snv(12, "0/1"),
        snv(13, "1/1"),
        snv(14, "1|0:2", keys="GT:PS"),
    ]
    found = list_compounds(list(make(tmp_path, rows).find_compounds(2)))
    assert found == [(1, "1", [0, 1, 3]), (1, "2", [1, 3, 4]), (2, None, [1, 3])]


def test_what_undoes_itself_changes_nothing(tmp_path: Path) -> None:
    bases = "ACGTGCATCAGTCAGCTGATGCTAGCATCGATCG"
    rows = [
        (10, bases[9:11], bases[9], "GT", ["1|0"]),
        (11, bases[10], bases[10] + "G", "GT", ["1|0"]),
    ]
    haplotypes = make(tmp_path, rows, bases=bases)
    [compound] = haplotypes.find_compounds(2)
    placed = place_allele(compound.variant, Reference(tmp_path / "g.fa"), WindowSettings())
    assert placed.status == "not_a_variant"


def test_a_chain_of_homozygous_alleles_reaches_a_phase_set(tmp_path: Path) -> None:
    """Each of them is near the next one, and only the last is near the phased allele."""
    rows = [snv(pos, "1/1") for pos in range(5, 40, 2)] + [snv(41, "1|0:9", keys="GT:PS")]
    rows.append(snv(45, "0|1:8", keys="GT:PS"))
    found = list_compounds(list(make(tmp_path, rows).find_compounds(1)))
    every = list(range(18))
    assert found == [(1, "9", [*every, 18]), (2, None, every)]


# --- the alleles of a codon


class Coding(NamedTuple):
    """A coding transcript of a test: its parts in the order of the contig, 0-based."""

    contig: str
    strand: str
    phase: int
    parts: list[tuple[int, int]]


def make_coding(rng: random.Random, genome: dict[str, str]) -> list[Coding]:
    """Transcripts with short parts and introns; some go on across position 0 of the circle."""
    made = []
    for contig, bases in genome.items():
        for _ in range(4):
            place = rng.randrange(len(bases) // 2)
            if contig == "circle" and rng.random() < 0.5:
                place += len(bases) // 2
            parts = []
            most = len(bases) - 1 if contig == "line" else place + len(bases) // 2
            while len(parts) < 5:
                end = place + rng.randint(1, 7)
                if end > most:
                    break
                parts.append((place, end))
                place = end + rng.randint(1, 6)
            if parts:
                made.append(Coding(contig, rng.choice("+-"), rng.randrange(3), parts))
    return made


def write_coding(path: Path, coding: Sequence[Coding]) -> Path:
    lines = ["##gff-version 3"]
    for number, one in enumerate(coding):
        span = one.parts[0][0] + 1, one.parts[-1][1]
        first = 0 if one.strand == "+" else len(one.parts) - 1

        def line(kind: str, start: int, end: int, phase: object, names: str, one: Coding = one):
            cells = (one.contig, ".", kind, start, end, ".", one.strand, phase, names)
            return "\t".join(map(str, cells))

        lines.append(line("mRNA", *span, ".", f"ID=t{number};biotype=protein_coding"))
        for place, (start, end) in enumerate(one.parts):
            phase = one.phase if place == first else 0
            lines.append(line("exon", start + 1, end, ".", f"Parent=t{number}"))
            lines.append(line("CDS", start + 1, end, phase, f"Parent=t{number}"))
    path.write_text("".join(f"{one}\n" for one in lines))
    return path


def touched_codons(coding: Coding, edit: PlainEdit, length: int) -> set[int]:
    """Codons that an edit touches, found base by base."""
    places = [place for start, end in coding.parts for place in range(start, end)]
    order = places if coding.strand == "+" else places[::-1]
    codon = {place % length: (n - coding.phase) // 3 for n, place in enumerate(order)}
    if edit.num_ref:
        bases = {place % length for place in range(edit.start, edit.start + edit.num_ref)}
        return {codon[base] for base in bases if base in codon}
    before, after = (edit.start - 1) % length, edit.start % length
    return {codon.get(before)} & {codon.get(after)} - {None}


def join_by_codon(coding: Sequence[Coding]) -> Join:
    def join(contig: str, plain: PlainContig, kept: list[PlainEdit]) -> set[frozenset]:
        of_contig = [one for one in coding if one.contig == contig]
        touched = {
            edit: {(n, codon) for n, one in enumerate(of_contig)
                   for codon in touched_codons(one, edit, len(plain.bases))}
            for edit in kept
        }  # fmt: skip
        groups = [{edit} for edit in kept]
        for edit in kept:
            for other in kept:
                if touched[edit] & touched[other]:
                    both = [one for one in groups if edit in one or other in one]
                    groups = [one for one in groups if one not in both] + [set().union(*both)]
        return {frozenset(edit.key for edit in one) for one in groups if len(one) > 1}

    return join


@pytest.mark.parametrize("seed", range(8))
def test_alleles_of_a_codon_are_a_compound(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    found_any = across = 0
    for _ in range(8):
        case = make_case(tmp_path, rng)
        coding = make_coding(rng, case.genome)
        genes = read_genes(write_coding(tmp_path / "genes.gff3", coding), case.reference)
        assert len(genes) == len(coding)
        found = list(open_haplotypes(case).find_compounds(genes))
        require_expected(found, expect_compounds(case, join_by_codon(coding)))
        settings = make_settings(rng)
        for one in found:
            check_joint(case, one, settings)
            across += len(one.variant.ref or "") > 8
        found_any += len(found)
    assert found_any > 20
    assert across


def test_an_allele_between_two_of_a_codon_is_not_a_member(tmp_path: Path) -> None:
    """The codon has one base before the intron, where another allele is, and two after it."""
    coding = [Coding("c", "+", 0, [(3, 10), (20, 32)])]
    haplotypes = make(tmp_path, [snv(10, "1|0"), snv(15, "1|0"), snv(21, "1|0"), snv(23, "1|0")])
    genes = read_genes(write_coding(tmp_path / "genes.gff3", coding), Reference(tmp_path / "g.fa"))
    [compound] = haplotypes.find_compounds(genes)
    assert [record for record, _ in compound.members] == [0, 2]
    ref, alt = compound.variant.ref, compound.variant.alt
    assert (compound.variant.pos, ref) == (10, BASES[9:21])
    assert alt is not None
    assert [n for n, (one, other) in enumerate(zip(ref, alt, strict=True)) if one != other] == [
        0,
        11,
    ]


def test_an_insertion_between_two_codons_touches_none(tmp_path: Path) -> None:
    coding = [Coding("c", "-", 0, [(3, 33)])]
    base = BASES[8]
    other = "C" if BASES[9] != "C" and base != "C" else "G" if "G" not in BASES[8:10] else "T"
    between = (9, base, base + other, "GT", ["1|0"])
    inside = (13, BASES[12], BASES[12] + "AA", "GT", ["1|0"])
    rows = [snv(8, "1|0"), between, snv(11, "1|0"), inside]
    haplotypes = make(tmp_path, rows)
    genes = read_genes(write_coding(tmp_path / "genes.gff3", coding), Reference(tmp_path / "g.fa"))
    assert list_compounds(list(haplotypes.find_compounds(genes))) == []
    assert list_compounds(list(haplotypes.find_compounds(3))) == [(1, None, [0, 1, 2, 3])]


def test_phase_sets_and_the_alleles_of_a_codon(tmp_path: Path) -> None:
    coding = [Coding("c", "+", 0, [(3, 45)])]
    rows = [
        snv(10, "1|0:1", keys="GT:PS"),
        snv(11, "1|1:.", keys="GT:PS"),
        snv(12, "0|1:2", keys="GT:PS"),
        snv(13, "1/1"),
        snv(40, "1/1"),
        snv(42, "1/1"),
    ]
    genes_file = write_coding(tmp_path / "genes.gff3", coding)
    haplotypes = make(tmp_path, rows)
    genes = read_genes(genes_file, Reference(tmp_path / "g.fa"))
    found = list_compounds(list(haplotypes.find_compounds(genes)))
    assert found == [(1, "1", [0, 1]), (2, "2", [1, 2]), (1, None, [4, 5]), (2, None, [4, 5])]
