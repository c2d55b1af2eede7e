"""Random SNVs: drawn with equal chances, none twice, the same everywhere."""

import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from evo2_tasks.errors import InputError
from evo2_tasks.genome import random_snvs
from evo2_tasks.genome.random_snvs import draw_snvs, find_stretches, write_random_snvs
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import open_variants

Snv = tuple[str, int, str, str]
GENOME = {"chr1": "ACGTNNacgtRYKM" * 5, "chr2": "", "chr3": "NNNN", "chr4": "GGCAT" * 9}


def write_fasta(folder: Path, genome: dict[str, str]) -> Reference:
    fasta = folder / "genome.fa"
    fasta.write_text("".join(f">{name}\n{bases}\n" for name, bases in genome.items()))
    Path(f"{fasta}.fai").unlink(missing_ok=True)
    return Reference(fasta, contig_aliases={"1": "chr1"} if "chr1" in genome else None)


def read_snvs(vcf: Path) -> list[Snv]:
    lines = gzip.decompress(vcf.read_bytes()).decode().splitlines()
    cells = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(cell[0], int(cell[1]), cell[3], cell[4]) for cell in cells]


def draw(
    folder: Path,
    reference: Reference,
    number: int,
    seed: int = 1,
    contigs: Sequence[str] | None = None,
    regions: Path | None = None,
) -> list[Snv]:
    write_random_snvs(
        folder / "out.vcf.gz",
        reference,
        number=number,
        seed=seed,
        contigs=contigs,
        regions=regions,
        where="variant_sets.v.random_snvs",
    )
    return read_snvs(folder / "out.vcf.gz")


def split_mix(seed: int) -> Iterator[int]:
    """The generator SplitMix64, as its authors give it in C."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


def draw_slowly(genome: dict[str, str], number: int, seed: int) -> list[Snv]:
    """All changes one by one, each with its output of the generator."""
    changes = [
        (name, pos, base, alt)
        for name, bases in genome.items()
        for pos, base in enumerate(bases.upper(), start=1)
        for alt in "ACGT"
        if base in "ACGT" and alt != base
    ]
    outputs = split_mix(next(split_mix(seed)))
    ranked = sorted(zip(outputs, range(len(changes)), strict=False))
    return [changes[change] for change in sorted(change for _, change in ranked[:number])]


def test_the_generator_has_the_published_outputs() -> None:
    # The outputs for this seed are those of Rosetta Code's task on SplitMix64.
    generator = split_mix(1234567)
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [next(generator) for _ in published] == published


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    contigs=st.lists(st.text("ACGTNacgtnR", max_size=90), min_size=1, max_size=4),
    seed=st.integers(0, 2**63 - 1),
    share=st.floats(0, 1),
    chunk=st.integers(1, 40),
)
def test_a_draw_is_that_of_the_plain_definition(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    contigs: list[str],
    seed: int,
    share: float,
    chunk: int,
) -> None:
    monkeypatch.setattr(random_snvs, "_CHUNK_BASES", chunk)
    monkeypatch.setattr(random_snvs, "_LEAST_HELD", 1)
    genome = {f"c{number}": bases for number, bases in enumerate(contigs)}
    possible = 3 * sum(bases.upper().count(base) for bases in contigs for base in "ACGT")
    number = max(1, int(share * possible))
    reference = write_fasta(tmp_path, genome)
    stretches = find_stretches(reference, contigs=None, regions=None, where="")
    drawn = draw_snvs(reference, stretches, number=number, seed=seed)
    assert drawn.possible == possible
    found = [tuple(snv) for snv in drawn]
    assert found == draw_slowly(genome, number, seed)
    assert len({*found}) == len(found) == min(number, possible)


def test_every_change_is_drawn_equally_often(tmp_path: Path) -> None:
    bases = "".join(np.random.default_rng(5).choice([*"ACGT"], 500))
    reference = write_fasta(tmp_path, {"c": bases})
    stretches = {"c": [(0, 500)]}
    counts: Counter[tuple[int, str]] = Counter()
    pairs: Counter[str] = Counter()
    num_seeds, number = 1500, 60
    for seed in range(num_seeds):
        drawn = [*draw_snvs(reference, stretches, number=number, seed=seed)]
        counts.update((snv.pos, snv.alt) for snv in drawn)
        pairs.update(snv.ref + snv.alt for snv in drawn)
    assert len(counts) == 1500, "every change has been drawn"
    # Without repetition, counts vary less than independent ones by this factor.
    factor = (1500 - number) / (1500 - 1)
    statistic = chisquare([*counts.values()]).statistic / factor
    assert abs(statistic - 1499) < 4 * (2 * 1499) ** 0.5
    expected = [bases.count(pair[0]) * num_seeds * number / 1500 for pair in sorted(pairs)]
    assert chisquare([pairs[pair] for pair in sorted(pairs)], expected).pvalue > 0.001


def test_a_draw_is_uniform_along_a_genome_of_several_blocks(tmp_path: Path) -> None:
    bases = "".join(np.random.default_rng(6).choice([*"ACGT"], 600_000))
    reference = write_fasta(tmp_path, {"c": bases})
    drawn = draw_snvs(reference, {"c": [(0, 600_000)]}, number=20_000, seed=1)
    bins = np.bincount(drawn.start // 6_000, minlength=100)
    assert bins.sum() == 20_000
    assert chisquare(bins).pvalue > 0.001
    assert all(bases[snv.pos - 1] == snv.ref != snv.alt for snv in drawn)


def test_all_changes_are_those_of_saturation(tmp_path: Path) -> None:
    reference = write_fasta(tmp_path, GENOME)
    bed = tmp_path / "all.bed"
    lengths = {name: len(bases) for name, bases in GENOME.items() if bases}
    bed.write_text("".join(f"{name}\t0\t{length}\n" for name, length in lengths.items()))
    saturated = [
        (one.contig, one.pos, one.ref, one.alt)
        for one in open_variants(bed, saturate=["snv"], reference=reference)
        if one.ref in {*"ACGT"}
    ]
    assert len(saturated) == 3 * (8 * 5 + 45)
    assert draw(tmp_path, reference, len(saturated)) == saturated


def test_the_file_is_read_back_as_one_record_for_each_snv(tmp_path: Path) -> None:
    reference = write_fasta(tmp_path, GENOME)
    drawn = draw(tmp_path, reference, 30, seed=7)
    assert drawn == sorted(drawn)
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as vcf:
        assert [(one.contig, one.pos, one.ref, *(one.alts or ())) for one in vcf] == drawn
        assert vcf.header.contigs["chr4"].length == 45
    read = [*open_variants(tmp_path / "out.vcf.gz")]
    assert [(one.contig, one.pos, one.ref, one.alt) for one in read] == drawn
    assert [(one.record, one.allele) for one in read] == [(record, 1) for record in range(30)]


def test_a_larger_number_draws_the_same_and_more(tmp_path: Path) -> None:
    reference = write_fasta(tmp_path, GENOME)
    few, many = draw(tmp_path, reference, 10, seed=3), draw(tmp_path, reference, 90, seed=3)
    assert {*few} < {*many}
    assert {*draw(tmp_path, reference, 10, seed=4)} != {*few}
    before = (tmp_path / "out.vcf.gz").read_bytes()
    draw(tmp_path, reference, 10, seed=4)
    assert (tmp_path / "out.vcf.gz").read_bytes() == before


def test_contigs_are_found_through_aliases_and_counted_once(tmp_path: Path) -> None:
    reference = write_fasta(tmp_path, GENOME)
    found = draw(tmp_path, reference, 120, contigs=["chr1", "1"])
    assert {contig for contig, *_ in found} == {"chr1"}
    assert len({*found}) == 120


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.bed", "chr4\t0\t5\nchr4\t3\t9\n1\t1\t3\nchr4\t0\t5\n"),
        ("x.interval_list", "chr4:1-5\nchr4:4-9\n1:2-3\nchr4:1-5\n"),
    ],
)
def test_each_base_of_overlapping_regions_counts_once(tmp_path: Path, name: str, text: str) -> None:
    reference = write_fasta(tmp_path, GENOME)
    regions = tmp_path / name
    regions.write_text(text)
    found = draw(tmp_path, reference, 3 * (9 + 2), regions=regions)
    places = {(contig, pos) for contig, pos, *_ in found}
    assert places == {("chr1", 2), ("chr1", 3), *(("chr4", pos) for pos in range(1, 10))}
    assert len({*found}) == 33


@pytest.mark.parametrize(
    ("regions", "contigs", "number", "message"),
    [
        (None, None, 256, r"random_snvs\.number: 256 SNVs cannot be drawn.* only 255 changes"),
        (None, ["chr3"], 1, r"these contigs have only 0 changes"),
        (None, ["chr9"], 1, r"random_snvs\.contigs\[0\]: .* has no contig 'chr9'; it has: chr1,"),
        ("chr4\t0\t2\n", None, 7, r"the regions of \S+x\.bed have only 6 changes"),
        ("chr9\t0\t2\n", None, 1, r"x\.bed: region chr9:1-2: .* has no contig 'chr9'"),
        ("chr4\t0\t46\n", None, 1, r"x\.bed: region chr4:1-46: ends after the last base"),
        ("chr4\t0\t2\nchr4\t5\t3\n", None, 1, r"x\.bed: line 2: "),
        ("contig\tpos\tref\talt\nchr4\t1\tG\tA\n", None, 1, r"x\.bed: "),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_writes_nothing(
    tmp_path: Path, regions: str | None, contigs: list[str] | None, number: int, message: str
) -> None:
    reference = write_fasta(tmp_path, GENOME)
    file = None
    if regions is not None:
        file = tmp_path / "x.bed"
        file.write_text(regions)
    with pytest.raises(InputError, match=message):
        draw(tmp_path, reference, number, contigs=contigs, regions=file)
    assert not (tmp_path / "out.vcf.gz").exists()


def test_a_name_that_vcf_does_not_allow_is_refused(tmp_path: Path) -> None:
    reference = write_fasta(tmp_path, {"a,b": "ACGT", "c": "ACGT"})
    with pytest.raises(InputError, match=r"the contig 'a,b' has a name that VCF does not allow"):
        draw(tmp_path, reference, 1)
    assert len(draw(tmp_path, reference, 12, contigs=["c"])) == 12
