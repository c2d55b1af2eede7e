"""Every change of a haplotype in a real run, against the same changes of an edited FASTA."""

import json
import random
from pathlib import Path

import pandas as pd
import pysam
import pytest
from pysam import bcftools

from evo2_tasks.report.saturation import find_saturation
from tests.project import make_config
from tests.workflow.run import run_workflow

pytestmark = pytest.mark.slow

HEADER = """##fileformat=VCFv4.4
##contig=<ID=c,length=600>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS0\tS1
"""
SCORES = ["llr", "llr_fwd", "llr_rev", "llr_aligned", "delta_score", "ll_ref", "ll_alt"]


def make_records(bases: str) -> list[str]:
    """Phased records of which no two touch; the second haplotype has others."""
    other = bases.translate(str.maketrans("ACGT", "CGTA"))
    rows = []
    for pos, num_ref, alt, call in [
        (260, 1, other[259], "1|0"),
        (271, 1, other[270], "0|1"),
        (290, 6, bases[289], "1|0"),
        (303, 1, bases[302] + "GATTACA", "1|1"),
        (307, 3, other[306:309], "1|0"),
    ]:
        ref = bases[pos - 1 : pos - 1 + num_ref]
        rows.append(f"c\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t0|0\t{call}\n")
    return rows


def map_positions(made: str, bases: str) -> dict[int, int]:
    """Each position of the haplotype by its position on the reference, both 1-based."""
    places: dict[int, int] = {}
    shift = 0
    for pos in range(1, len(bases) + 1):
        if 290 < pos <= 295:  # deleted
            shift -= 1
            continue
        if pos == 304:  # seven inserted bases come before it
            shift += 7
        places[pos] = pos + shift
    assert max(places.values()) == len(made)
    return places


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rng = random.Random(7)
    bases = "".join(rng.choice("ACGT") for _ in range(600))
    assert bases[289] != bases[294], "the deletion cannot move"
    assert bases[302] != "A", "nor the insertion"
    (folder / "reference.fa").write_text(f">c\n{bases}\n")
    (folder / "phased.vcf").write_text(HEADER + "".join(make_records(bases)))
    phased = pysam.tabix_index(str(folder / "phased.vcf"), preset="vcf", keep_original=True)
    made = bcftools.consensus("-f", str(folder / "reference.fa"), "-s", "S1", "-H", "1", phased)
    (folder / "edited.fa").write_text(made)
    (folder / "regions.bed").write_text("c\t285\t311\n")
    (folder / "edited.bed").write_text("c\t285\t313\n")
    config = make_config(
        reference={"fasta": "reference.fa"},
        model={"checkpoint": "evo2-mini"},
        scoring={"window_length": 64},
        variant_set={
            "variants": "regions.bed",
            "saturate": ["snv", "deletion", "insertion"],
            "haplotype_of": {"variants": "phased.vcf", "sample": "S1", "haplotype": 1},
            "exports": ["sites"],
        },
        shards=2,
        run={"batch_tokens": 4096},
    )
    [name] = config["references"]
    config["references"]["edited"] = {"fasta": "edited.fa"}
    [of_haplotype] = config["variant_sets"].values()
    assert of_haplotype["reference"] == name
    config["variant_sets"]["w"] = {
        "variants": "edited.bed",
        "saturate": of_haplotype["saturate"],
        "reference": "edited",
        "scorings": of_haplotype["scorings"],
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    run_workflow(folder)
    return folder


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "results" / name / "s" / "scores.parquet")


def test_each_score_is_that_of_the_edited_genome(folder: Path) -> None:
    found, expected = read(folder, "v"), read(folder, "w")
    bases, made = (
        "".join((folder / name).read_text().splitlines()[1:])
        for name in ("reference.fa", "edited.fa")
    )
    places = map_positions(made, bases)
    by_change = expected.set_index(["pos", "ref", "alt"]).sort_index()
    scored = found[found["status"] == "scored"]
    for row in scored.to_dict("records"):
        start = places[row["pos"]] - 1
        assert made[start : start + len(row["ref"])] == row["ref"]
        key = (start + 1, row["ref"], row["alt"])
        if key not in by_change.index:  # a deletion with another anchor
            assert row["alt"] == row["ref"][1:]
            key = (start, made[start - 1 : start + 1], made[start - 1])
        other = by_change.loc[[key]].iloc[0]
        # Both are batched with other windows: 1e-6 nats for each of 64 tokens.
        assert [row[name] for name in SCORES] == pytest.approx(
            [other[name] for name in SCORES], abs=64e-6, rel=0
        ), row
    # 26 bases without the 5 deleted ones: 3 substitutions, 4 insertions and a deletion of each.
    assert len(scored) == (26 - 5) * 8
    lacking = found[found["status"] == "filtered"]
    assert set(lacking["reason"]) == {"not_in_haplotype"}
    assert len(lacking) == 5 * 8


def test_rows_keep_the_coordinates_of_the_reference(folder: Path) -> None:
    found = read(folder, "v")
    bases = "".join((folder / "reference.fa").read_text().splitlines()[1:])
    in_reference = [
        bases[pos - 1 : pos - 1 + len(ref)] == ref
        for pos, ref in zip(found["pos"], found["ref"], strict=True)
    ]
    is_other = ["haplotype_ref" in flags for flags in found["flags"]]
    assert [not one for one in in_reference] == is_other
    assert any(is_other)
    scored = found[found["status"] == "scored"]
    assert (scored["window_start"] < scored["pos"]).all()
    assert (scored["pos"] <= scored["window_end"]).all()
    # Of the row of the last region base, 32 bases before: the insertion of 7, and 24 others.
    last = scored[scored["pos"] == 311].iloc[0]
    assert last["window_start"] == 310 - 32 + 7 - 5


def test_the_export_and_the_report_have_the_haplotype(folder: Path) -> None:
    work = folder / "results" / "v"
    [stretch] = find_saturation(work / "s" / "scores.parquet").stretches
    made = "".join((folder / "edited.fa").read_text().splitlines()[1:])
    first = 306 - stretch.first_pos
    assert stretch.bases[first : first + 5] == made[307:312]
    bases = "".join((folder / "reference.fa").read_text().splitlines()[1:])
    with pysam.VariantFile(str(next(work.rglob("*sites.vcf.gz")))) as sites:
        for site in sites:
            assert bases[site.start : site.stop] == site.ref
    page = (work / "report.html").read_text()
    assert "haplotype_ref" in page
    assert "unknown to this version" not in page
