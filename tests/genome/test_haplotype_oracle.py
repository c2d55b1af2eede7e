"""All windows of alleles among their neighbours, against haplotypes made base by base.

Random genomes, linear and circular, with random phased, partly phased and unphased genotypes. The
oracle is in ``plain_haplotypes``; ``bcftools consensus`` makes the same haplotypes again.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from pysam import tabix_index

from evo2_tasks.genome import haplotype_edits
from evo2_tasks.genome.haplotype_windows import haplotype_intervals, haplotype_sequences
from evo2_tasks.genome.haplotypes import AlleleHaplotypes, Haplotypes
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.genome.windows import WindowSettings, place_allele
from tests.genome.plain_haplotypes import (
    PlainContig,
    PlainEdit,
    PlainEntry,
    PlainHaplotype,
    expect_on,
    find_others,
    read_call,
)
from tests.genome.test_window_oracle import find_start, make_settings

HEADER = "##fileformat=VCFv4.4\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t"
CALLS = [
    *["0|1", "1|0", "1|1"] * 3,
    *["0|0", "0/1", "1/1", "1|.", ".|1", "./1", "./.", "0", "1", "|1", "/1", "/0|1", "0|1|1"],
    *["/1|0|1", "1/1/1", "."],
]


class Line(NamedTuple):
    contig: str
    pos: int
    ref: str
    alts: list[str]
    calls: list[tuple[str, str]]  # GT, and PS or PSL, of each sample


def make_contig(rng: random.Random) -> str:
    pieces = []
    for _ in range(rng.randint(2, 6)):
        unit = "".join(rng.choice("ACGT"[: rng.randint(1, 4)]) for _ in range(rng.randint(1, 4)))
        pieces.append(unit * rng.randint(1, 6))
        pieces.append("".join(rng.choice("ACGT") for _ in range(rng.randint(0, 12))))
    if rng.random() < 0.2:
        pieces.insert(rng.randrange(len(pieces)), "N" * rng.randint(1, 3))
    return "".join(pieces)


def make_allele(rng: random.Random, bases: str, start: int) -> tuple[str, str]:
    ref = bases[start : start + rng.choice([1, 1, 1, 2, 3, 5])]
    kind = rng.random()
    if kind < 0.45:
        alt = "".join(rng.choice("ACGT") for _ in ref)
    elif kind < 0.65:
        alt = ref + "".join(rng.choice("ACGT") for _ in range(rng.randint(1, 6)))
    elif kind < 0.75:
        alt = ref + ref[-1] * rng.randint(1, 3)
    elif kind < 0.95:
        alt = ref[0]
    else:
        alt = "".join(rng.choice("ACGT") for _ in range(rng.randint(1, 4)))
    return ref, alt


def make_lines(
    rng: random.Random, genome: dict[str, str], num_samples: int, field: str
) -> list[Line]:
    lines = []
    share = rng.choice([0.1, 0.3, 0.6])
    for contig, bases in genome.items():
        for start in range(len(bases)):
            if rng.random() > share:
                continue
            alleles = [make_allele(rng, bases, start) for _ in range(rng.choice([1, 1, 2]))]
            ref = max((one for one, _ in alleles), key=len)
            alts = [alt + ref[len(one) :] for one, alt in alleles]
            calls = []
            for _ in range(num_samples):
                call = rng.choice(CALLS)
                if len(alts) > 1:
                    call = "".join("2" if c == "1" and rng.random() < 0.4 else c for c in call)
                names = [
                    rng.choice([".", ".", ".", "7", "8"]) for c in call if c.isalnum() or c == "."
                ]
                calls.append((call, ",".join(names) if field == "PSL" else names[0]))
            lines.append(Line(contig, start + 1, ref, alts, calls))
    return lines


def write_vcf(path: Path, lines: list[Line], names: list[str], field: str) -> None:
    rows = []
    for line in lines:
        calls = [f"{call}:{sets}" if field else call for call, sets in line.calls]
        keys = f"GT:{field}" if field else "GT"
        fixed = [line.contig, str(line.pos), ".", line.ref, ",".join(line.alts), ".", ".", "."]
        rows.append("\t".join([*fixed, keys, *calls]))
    path.write_text(HEADER + "\t".join(names) + "\n" + "".join(row + "\n" for row in rows))


class Case(NamedTuple):
    genome: dict[str, str]
    reference: Reference
    lines: list[Line]
    field: str
    source: Path


def make_case(folder: Path, rng: random.Random, num_samples: int = 3) -> Case:
    genome = {"line": make_contig(rng), "circle": make_contig(rng)}
    fasta = folder / "genome.fa"
    fasta.write_text("".join(f">{name}\n{bases}\n" for name, bases in genome.items()))
    fasta.with_name("genome.fa.fai").unlink(missing_ok=True)
    field = rng.choice(["", "", "PS", "PSL"])
    lines = make_lines(rng, genome, num_samples, field)
    names = [f"S{i}" for i in range(num_samples)]
    write_vcf(folder / "in.vcf", lines, names, field)
    reference = Reference(fasta, circular_contigs=["circle"])
    return Case(genome, reference, lines, field, folder / "in.vcf")


def open_haplotypes(case: Case) -> Haplotypes:
    source = open_variants(case.source)
    return Haplotypes(source, source.read_genotypes(None), case.reference)


def read_entries(case: Case, sample: int, contig: str) -> list[PlainEntry]:
    """The located alleles of a sample on a contig."""
    plain = PlainContig(case.genome[contig], contig == "circle")
    entries = []
    for record, line in enumerate(case.lines):
        if line.contig != contig:
            continue
        call, sets = line.calls[sample]
        ps, psl = (sets if case.field == name else "" for name in ("PS", "PSL"))
        for entry in read_call(call, ps, psl, record):
            alt = line.alts[entry.key[1] - 1]
            if alt == line.ref:
                continue
            edit = plain.align(line.pos - 1, line.ref, alt, entry.key)
            replaced = [plain.bases[i] for i in plain.replaced(edit)]
            if {*replaced, *edit.alt} <= set("ACGT"):
                entries.append(entry._replace(edit=edit))
    return entries


def adopt_set(
    entries: list[PlainEntry], own: PlainEntry, inside: set[int], plain: PlainContig
) -> PlainEntry:
    """The phase set of an allele that is on every haplotype and names none, by its window."""
    if not own.everywhere or (own.phase_set is not None and own.phase_set[0]):
        return own
    hets = [one for one in entries if not one.everywhere and one.phase_set is not None]
    if all(one.phase_set == ("", "") for one in hets):
        return own._replace(phase_set=("", ""))
    sets = {one.phase_set for one in hets if touches(one.edit, inside, plain)}
    if own.phase_set in sets:
        return own
    adopted = sets.pop() if len(sets) == 1 else None
    return own._replace(phase_set=None if adopted and adopted[0] == "PSL" else adopted)


def touches(edit: PlainEdit, inside: set[int], plain: PlainContig) -> bool:
    """Whether an edit replaces a base of a set of bases, or inserts between two of them."""
    before = (edit.start - 1) % len(plain.bases) if plain.circular else edit.start - 1
    if edit.num_ref:
        return bool({*plain.replaced(edit)} & inside)
    return edit.start in inside and before in inside


def find_tile(
    haplotype: PlainHaplotype, plain: PlainContig, own: PlainEdit, settings: WindowSettings
) -> int | None:
    """Place on the haplotype of the start of the tiled window that the reference has."""
    if settings.window_placement == "centered":
        return None
    size = len(plain.bases)
    window = min(settings.window_length, size) if plain.circular else settings.window_length
    base = find_start(own.start, size, plain.circular, window, settings)
    while base < size or plain.circular:
        if base % size in haplotype.origins:
            return haplotype.origins.index(base % size)
        base += 1
    return len(haplotype.bases)


def list_expected(case: Case, settings: WindowSettings):
    """Each row of the table: its key, and what it should be."""
    for sample in range(len(case.lines[0].calls)):
        for contig, bases in case.genome.items():
            plain = PlainContig(bases, contig == "circle")
            entries = read_entries(case, sample, contig)
            for own in entries:
                ref = "".join(bases[i] for i in plain.replaced(own.edit))
                alone = own._replace(phase_set=None) if own.everywhere else own
                chosen = own
                if own.everywhere and not (own.phase_set and own.phase_set[0]):
                    others = find_others(plain, entries, alone)
                    haplotype = PlainHaplotype.make(plain, others, own.edit)
                    tile = find_tile(haplotype, plain, own.edit, settings)
                    found = expect_on(haplotype, own.edit, ref, settings, tile)
                    if found.window is None:
                        continue  # too long: has no window, whatever its neighbours
                    inside = find_inside(haplotype, found.window, plain)
                    # What is inserted at the end of a contig is in a window that would go on.
                    inside |= {-1} if found.is_cut[0] else set()
                    inside |= {len(bases)} if found.is_cut[1] else set()
                    chosen = adopt_set(entries, own, inside, plain)
                others = find_others(plain, entries, chosen)
                haplotype = PlainHaplotype.make(plain, others, own.edit)
                tile = find_tile(haplotype, plain, own.edit, settings)
                expected = expect_on(haplotype, own.edit, ref, settings, tile)
                yield own, sample, chosen, others, haplotype, expected, plain


def find_inside(haplotype: PlainHaplotype, window: tuple[int, int], plain: PlainContig) -> set[int]:
    """The bases of the contig in a window, with the deleted ones between them."""
    size = len(haplotype.bases)
    known = [base for i in range(*window) for base in haplotype.replaced[i % size]]
    inside = set(known)
    for one, other in pairwise(known):
        if plain.circular and other < one - len(plain.bases) // 2:
            other += len(plain.bases)
        inside |= {step % len(plain.bases) for step in range(one, other)}
    return inside


def check_row(
    case: Case, found: AlleleHaplotypes, carrier, expected, own: PlainEntry, others, alone
) -> None:
    contig = case.lines[own.key[0]].contig
    if carrier.pair is None:
        placed, background = alone, ()
    else:
        pair = found.pairs[carrier.pair]
        placed, background = pair.placed, pair.background
        assert background
    assert placed.status == expected.status, (own, placed, expected)
    keys = {edit.key for edit in others}
    assert set(background) <= keys
    if placed.status == "to_score":
        flags = set(placed.flags) - {"moved"}
        assert flags == expected.flags
        is_moved = "moved" in placed.flags
        assert (
            is_moved == (expected.moved > 0 or "moved" in alone.flags) or alone.status != "to_score"
        )
    wanted = {strand: (len(one), prefix) for strand, (one, _, prefix) in expected.strands.items()}
    sizes = {strand: (size.length, size.prefix) for strand, size in placed.sizes.items()}
    assert sizes == wanted
    length, circular = len(case.genome[contig]), contig == "circle"
    needed = haplotype_intervals(placed, length, circular) if placed.sizes else []

    def fetch(name: str, start: int, end: int) -> str:
        assert any(first <= start <= end <= last for first, last in needed)
        return case.genome[name][start:end]

    for strand, (one, other, _) in expected.strands.items():
        sequences = haplotype_sequences(fetch, placed, strand, len(one), length, circular)
        assert sequences == (one.encode(), other.encode()), (own, strand, placed)


@pytest.mark.parametrize("seed", range(12))
def test_windows_agree_with_haplotypes_made_base_by_base(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:  # an allele that moves left is then looked at with one neighbour first
        monkeypatch.setattr(haplotype_edits, "_FIRST_EDITS", 1)
    rng = random.Random(seed)
    statuses = set()
    num_rows = num_backgrounds = 0
    for _ in range(4):
        case = make_case(tmp_path, rng)
        if not case.lines:
            continue
        haplotypes = open_haplotypes(case)
        variants = {(one.record, one.allele): one for one in open_variants(case.source)}
        for _ in range(3):
            settings = make_settings(rng)
            found = {(one.record, one.allele): one for one in haplotypes.find_pairs(settings)}
            carriers = defaultdict(dict)
            for key, one in found.items():
                for carrier in one.carriers:
                    assert (carrier.sample, carrier.haplotype) not in carriers[key]
                    carriers[key][carrier.sample, carrier.haplotype] = carrier
            for own, sample, _, others, _, expected, _ in list_expected(case, settings):
                carrier = carriers[own.key].pop((sample, own.place))
                alone = place_allele(variants[own.key], case.reference, settings)
                check_row(case, found[own.key], carrier, expected, own, others, alone)
                statuses.add(expected.status)
                num_rows += 1
                num_backgrounds += carrier.pair is not None
    assert {"to_score", "no_context"} <= statuses
    assert num_backgrounds > num_rows / 4


CONSENSUS = """
import json, sys
from pysam import bcftools
fasta, vcf, *samples = sys.argv[1:]
found = {}
for sample in samples:
    text = bcftools.consensus("-f", fasta, "-s", sample, "-H", "1", vcf)
    found[sample] = "".join(text.splitlines()[1:])
print(json.dumps(found))
"""


def find_cut(plain: PlainContig, edits: set[PlainEdit]) -> int | None:
    """A place where the circle can be cut open: no edit is across it."""
    if not plain.circular:
        return 0
    across = {base for edit in edits for base in plain.replaced(edit)[1:]}
    across |= {edit.start for edit in edits if not edit.num_ref}
    return next((base for base in range(len(plain.bases)) if base not in across), None)


def spell_records(bases: str, edits: list[PlainEdit]) -> list[tuple[int, str, str]]:
    """Edits as records: those that touch are one record; no two records share a base."""
    merged: list[list[PlainEdit]] = []
    for edit in sorted(edits):
        if merged and merged[-1][-1].start + merged[-1][-1].num_ref == edit.start:
            merged[-1].append(edit)
        else:
            merged.append([edit])
    records = []
    for group in merged:
        start, end = group[0].start, group[-1].start + group[-1].num_ref
        ref, alt = bases[start:end], "".join(edit.alt for edit in group)
        if not ref or not alt:
            before, after = (bases[start - 1], "") if start else ("", bases[end])
            start, ref, alt = start - len(before), before + ref + after, before + alt + after
        records.append((start + 1, ref, alt))
    return records


def run_consensus(
    folder: Path, plain: PlainContig, sets: list[list[PlainEdit]]
) -> list[str] | None:
    """The haplotype of each set of edits by bcftools consensus; None if the circle has no cut."""
    size = len(plain.bases)
    cut = find_cut(plain, {edit for edits in sets for edit in edits})
    if cut is None:
        return None
    bases = plain.bases[cut:] + plain.bases[:cut]
    carriers: dict[tuple[int, str, str], set[int]] = defaultdict(set)
    for number, edits in enumerate(sets):
        if plain.circular:
            edits = [edit._replace(start=(edit.start - cut) % size) for edit in edits]
        for record in spell_records(bases, edits):
            carriers[record].add(number)
    names = [f"H{number}" for number in range(len(sets))]
    rows = [
        f"c\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t"
        + "\t".join("1|0" if number in found else "0|0" for number in range(len(sets)))
        for (pos, ref, alt), found in sorted(carriers.items())
    ]
    header = '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    header = HEADER.replace("#CHROM", f"##contig=<ID=c,length={size}>\n{header}#CHROM")
    vcf, fasta = folder / "consensus.vcf", folder / "consensus.fa"
    vcf.write_text(header + "\t".join(names) + "\n" + "".join(row + "\n" for row in rows))
    fasta.write_text(f">c\n{bases}\n")
    for old in folder.glob("consensus.*.*"):
        old.unlink()
    indexed = tabix_index(str(vcf), preset="vcf", force=True)
    call = [sys.executable, "-c", CONSENSUS, str(fasta), indexed, *names]
    done = subprocess.run(call, capture_output=True, text=True, check=True, timeout=120)
    found = json.loads(done.stdout)
    turned_back = []
    for number, edits in enumerate(sets):
        made = found[names[number]]
        # The first base of the contig, or what replaces it, comes first again.
        before = sum(e.num_alt - e.num_ref for e in edits if e.start < cut)
        beyond = sum(max(0, e.start + e.num_ref - size) for e in edits)
        place = (len(made) - cut - before + beyond) % len(made) if plain.circular else 0
        turned_back.append(made[place:] + made[:place])
    return turned_back


@pytest.mark.parametrize("seed", range(1000, 1010))
def test_windows_agree_with_bcftools_consensus(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    num_compared = 0
    for _ in range(3):
        case = make_case(tmp_path, rng)
        haplotypes = open_haplotypes(case)
        variants = {(one.record, one.allele): one for one in open_variants(case.source)}
        settings = make_settings(rng)
        found = {(one.record, one.allele): one for one in haplotypes.find_pairs(settings)}
        rows = list(list_expected(case, settings))
        for contig, bases in case.genome.items():
            plain = PlainContig(bases, contig == "circle")
            here = [row for row in rows if case.lines[row[0].key[0]].contig == contig]
            made = run_consensus(tmp_path, plain, [row[3] for row in here]) if here else None
            for row, by_consensus in zip(here, made or (), strict=False):
                own, sample, _, others, haplotype, expected, _ = row
                assert by_consensus == "".join(haplotype.bases), (own, others)
                one = found[own.key]
                [carrier] = [
                    c for c in one.carriers if (c.sample, c.haplotype) == (sample, own.place)
                ]
                alone = place_allele(variants[own.key], case.reference, settings)
                check_row(case, one, carrier, expected, own, others, alone)
                num_compared += 1
    assert num_compared > 50
