"""Track sets in the real workflow."""

import json
from pathlib import Path

import polars as pl
import pyBigWig

from tests.project import DATA, make_config
from tests.report.page import plots_of, rows_of
from tests.workflow.run import SNAKEFILE, run_snakemake

ARGUMENTS = ("--snakefile", str(SNAKEFILE), "--cores", "2")
BASES = "".join((DATA / "rCRS.fa").read_text().splitlines()[1:])


def test_tracks_without_variants(tmp_path: Path) -> None:
    (tmp_path / "x.bed").write_text("chrM\t3100\t3200\nMT\t16500\t16569\nMT\t0\t20\nchr1\t0\t9\n")
    config = make_config(
        tmp_path,
        reference={"fasta": str(DATA / "rCRS.fa"), "circular_contigs": ["MT"]},
        model={"checkpoint": "evo2-mini"},
        scoring={"window_length": 128},
        shards=2,
        output=str(tmp_path / "results"),
        variant_sets={},
        track_sets={
            "t": {
                "regions": str(tmp_path / "x.bed"),
                "reference": "g",
                "scorings": ["s"],
                "outputs": ["bigwig"],
            }
        },
    )
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    run_snakemake(tmp_path, *ARGUMENTS)
    folder = tmp_path / "results/t/s"
    table = pl.read_parquet(folder / "tracks.parquet")
    expected = [*range(20), *range(3100, 3200), *range(16500, 16569)]
    assert table["pos"].to_list() == [base + 1 for base in expected]
    assert "".join(table["ref"].to_list()) == "".join(BASES[base] for base in expected)
    assert table["contig"].unique().to_list() == ["MT"]
    assert table.null_count().sum_horizontal().item() == 0
    # A model of mitochondria predicts them better than by chance.
    is_known = pl.col("ref") != "N"
    assert table.filter(is_known)["logp_ref"].mean() > -1.0
    run = json.loads((folder / "tracks.json").read_text())
    assert run["by_status"] == {"scored": 3, "contig_not_found": 1}
    assert len(run["shards"]) == 2
    with pyBigWig.open(str(folder / "tracks.entropy.bw")) as reader:
        assert reader.chroms() == {"MT": 16_569}
        found = [reader.values("MT", base, base + 1)[0] for base in expected]
    assert found == table["entropy"].to_list()
    page = tmp_path / "results/t/report.html"
    rows = rows_of(page, "Regions, s")
    assert [row[6] for row in rows] == ["100", "69", "20", "0"]
    logos = [title for title in plots_of(page) if title.startswith("Logo of ")]
    assert [title.split()[2] for title in logos] == [
        "chrM:3,101-3,200,", "MT:16,501-16,569,", "MT:1-20,",
    ]  # fmt: skip
    assert not list(folder.glob("track_scores/*.parts"))
    assert "Nothing to be done" in run_snakemake(tmp_path, *ARGUMENTS, "--dry-run")
