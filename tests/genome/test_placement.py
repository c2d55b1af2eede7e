"""Left-alignment on linear contigs is that of ``bcftools norm``."""

import random
from pathlib import Path

import pysam.bcftools
import pytest

from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.genome.windows import WindowSettings, place_allele

SETTINGS = WindowSettings(window_length=4096, max_n_share=1, prepend_bos=True)

DATA = Path(__file__).parent.parent.parent / "data"

Key = tuple[str, int, int, str]


def normalize(
    tmp_path: Path, fasta: Path, contigs: dict[str, int], rows: list[Variant]
) -> list[Key]:
    """What ``bcftools norm -c w`` makes of each allele: contig, p, r and the bases of a."""
    path = tmp_path / "in.vcf"
    lines = ["##fileformat=VCFv4.2"]
    lines += [f"##contig=<ID={name},length={length}>" for name, length in contigs.items()]
    lines += ["#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    lines += [f"{v.contig}\t{v.pos}\t{v.record}\t{v.ref}\t{v.alt}\t.\t.\t." for v in rows]
    path.write_text("\n".join(lines) + "\n")
    text = pysam.bcftools.norm("-c", "w", "-f", str(fasta), str(path))
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            contig, pos, record, ref, alt = line.split("\t")[:5]
            found[int(record)] = (contig, *drop_anchor(int(pos) - 1, ref.upper(), alt.upper()))
    return [found[v.record] for v in rows]


def drop_anchor(start: int, ref: str, alt: str) -> tuple[int, int, str]:
    """bcftools keeps one base for indels, before them, or after them at the start of a contig."""
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        start, ref, alt = start + 1, ref[1:], alt[1:]
    return start, len(ref), alt


def place(rows: list[Variant], reference: Reference) -> list[Key]:
    keys = []
    for variant in rows:
        placed = place_allele(variant, reference, SETTINGS)
        assert placed.status in ("to_score", "no_context"), variant
        keys.append((variant.contig, placed.edit_start, placed.edit_ref, placed.edit_alt))
    return keys


def make_sequence(rng: random.Random) -> str:
    pieces = []
    while sum(map(len, pieces)) < 3000:
        unit = "".join(rng.choices("ACGT", k=rng.choice([1, 1, 2, 3, 4, 7, 30])))
        pieces.append(unit * rng.choice([1, 2, 5, 20]))
        pieces.append("".join(rng.choices("ACGTacgtN", k=rng.randrange(30))))
    return "".join(pieces)


@pytest.mark.parametrize("seed", range(6))
def test_random_alleles(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    genome = {name: make_sequence(rng) for name in ("1", "2")}
    fasta = tmp_path / "g.fa"
    fasta.write_text("".join(f">{name}\n{bases}\n" for name, bases in genome.items()))
    reference = Reference(fasta)
    rows: list[Variant] = []
    while len(rows) < 1500:
        contig = rng.choice(["1", "2"])
        bases = genome[contig].upper()
        start = rng.choice([rng.randrange(len(bases) - 60), rng.randrange(30)])
        ref = bases[start : start + rng.choice([1, 1, 2, 3, 10, 50])]
        extra = rng.choice([ref, ref[-1], "".join(rng.choices("ACGT", k=rng.randint(1, 40)))])
        alt = rng.choice(
            [ref + extra, extra + ref, ref[: rng.randint(1, len(ref))], ref[-1], extra]
        )
        if alt != ref and set(ref + alt) <= set("ACGT"):
            rows.append(Variant(len(rows), 1, contig, start + 1, ref, alt, None))
    rows.sort(key=lambda v: (v.contig, v.pos))
    moved = sum("moved" in place_allele(v, reference, SETTINGS).flags for v in rows)
    assert moved > 100
    assert place(rows, reference) == normalize(tmp_path, fasta, dict(reference.contigs), rows)


def test_real_alleles_and_all_short_indels_of_a_real_sequence(tmp_path: Path) -> None:
    """The variants of the demo, and a base more and one less at every position of the rCRS."""
    fasta = tmp_path / "rCRS.fa"
    fasta.write_bytes((DATA / "rCRS.fa").read_bytes())
    reference = Reference(fasta)
    (name,) = reference.contigs
    bases = reference.fetch(name, 0, reference.contigs[name])
    rows = [
        Variant(number, 1, v.contig, v.pos, v.ref, v.alt, None)
        for number, v in enumerate(open_variants(DATA / "mitomap.vcf.gz"))
    ]
    for pos in range(1, len(bases) - 1, 3):
        ref = bases[pos - 1 : pos + 1]
        if "N" not in ref:
            rows.append(Variant(len(rows), 1, name, pos, ref[0], ref[0] + ref[0], None))
            rows.append(Variant(len(rows), 1, name, pos, ref, ref[0], None))
    rows.sort(key=lambda v: v.pos)
    assert place(rows, reference) == normalize(tmp_path, fasta, dict(reference.contigs), rows)
