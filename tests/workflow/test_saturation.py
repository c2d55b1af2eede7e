"""A real run of the workflow on regions of the demo genome with the model of the package."""

import gzip
from pathlib import Path

import pandas as pd
import pysam
import pytest
import yaml

from tests.project import DATA, make_config
from tests.workflow.run import run_workflow

pytestmark = pytest.mark.slow

FASTA = DATA / "rCRS.fa"
# A piece of the tRNA of leucine, and the end of the circle with three positions too many.
BED = "track name=x\nMT\t3239\t3254\tMT-TL1\nMT\t16566\t16572\tend\nchrUn\t5\t9\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "regions.bed.gz").write_bytes(gzip.compress(BED.encode()))
    config = make_config(
        reference={"fasta": str(FASTA), "circular_contigs": ["MT"]},
        model={"checkpoint": "evo2-mini"},
        variant_set={
            "variants": "regions.bed.gz",
            "saturate": ["snv", "insertion"],
            "carry": ["name"],
            "exports": ["bedgraph", "vcf", "sites"],
        },
        shards=2,
        run={"batch_tokens": 4096},
    )
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(folder)
    return folder


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "results" / "v" / "s" / "scores.parquet")


def test_every_change_has_its_row_and_its_score(table: pd.DataFrame) -> None:
    with pysam.FastaFile(str(FASTA)) as genome:
        bases = genome.fetch("MT")
    expected = [
        (record, pos, bases[pos - 1], alt)
        for record, positions in enumerate([range(3240, 3255), range(16567, 16570)])
        for pos in positions
        for alt in [
            *(other for other in "ACGT" if other != bases[pos - 1]),
            *(bases[pos - 1] + other for other in "ACGT"),
        ]
    ]
    scored = table[table["status"] == "scored"]
    keys = zip(scored["record"], scored["pos"], scored["ref"], scored["alt"], strict=True)
    assert list(keys) == expected
    others = table[table["status"] != "scored"]
    assert list(zip(others["record"], others["status"], others["pos"], strict=True)) == [
        (1, "position_out_of_range", 16570),
        (2, "contig_not_found", 6),
    ]
    assert scored["name"].tolist() == ["MT-TL1"] * 15 * 7 + ["end"] * 3 * 7
    assert scored["llr"].notna().all()
    assert scored["llr"].std() > 0.5, "a model that tells bases apart"


def test_the_bedgraph_is_the_mean_of_the_snvs(folder: Path, table: pd.DataFrame) -> None:
    file = folder / "results" / "v" / "s" / "scores.bedgraph.gz"
    found = pd.read_csv(file, sep="\t", names=["contig", "start", "end", "mean"])
    snvs = table[(table["status"] == "scored") & (table["alt"].str.len() == 1)]
    means = snvs.groupby("pos")["llr"].mean()
    assert found["contig"].eq("MT").all()
    assert found["start"].tolist() == [pos - 1 for pos in means.index]
    assert found["end"].tolist() == list(means.index)
    assert found["mean"].tolist() == pytest.approx(means.tolist())


def test_the_vcf_has_what_was_made(folder: Path, table: pd.DataFrame) -> None:
    with pysam.VariantFile(str(folder / "results" / "v" / "s" / "scores.vcf.gz")) as file:
        found = [(r.pos, r.ref, alt) for r in file for alt in r.alts or ()]
    scored = table[table["status"] == "scored"]
    assert found == list(zip(scored["pos"], scored["ref"], scored["alt"], strict=True))


def test_the_report_shows_the_matrix(folder: Path) -> None:
    page = (folder / "results" / "v" / "report.html").read_text()
    assert "Every substitution of MT:3,240 to 3,254 (MT-TL1), s" in page


def test_a_second_run_has_nothing_to_do(folder: Path) -> None:
    assert "Nothing to be done" in run_workflow(folder)


def test_the_sites_are_the_scored_alleles_in_order_with_an_index(
    folder: Path, table: pd.DataFrame
) -> None:
    file = folder / "results" / "v" / "s" / "scores.sites.vcf.gz"
    assert file.with_name(f"{file.name}.index").read_text() == f"{file.name}.tbi\n"
    with pysam.VariantFile(str(file)) as sites:
        found = [(one.pos, one.ref, one.alts, one.info["evo2_llr"][0]) for one in sites.fetch("MT")]
        assert sites.header.contigs["MT"].length == 16569
    scored = table[table["status"] == "scored"].sort_values(["pos", "ref", "alt"])
    wanted = zip(scored["pos"], scored["ref"], scored["alt"], scored["llr"], strict=True)
    assert found == [(pos, ref, (alt,), pytest.approx(llr)) for pos, ref, alt, llr in wanted]
