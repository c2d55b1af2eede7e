"""Carried columns in a real run: other columns score nothing again."""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from evo2_tasks.table.schema import FINAL_COLUMNS
from tests.project import DATA, write_demo
from tests.workflow.run import run_workflow

pytestmark = pytest.mark.slow

NUM_ALLELES = 12
OWN = [column.name for column in FINAL_COLUMNS]


def read_demo() -> tuple[list[str], list[list[str]]]:
    """The header lines of the demo, and the cells of its first records."""
    with gzip.open(DATA / "mitomap.vcf.gz", "rt") as demo:
        lines = demo.read().splitlines()
    header = [line for line in lines if line.startswith("#")]
    return header, [line.split("\t") for line in lines[len(header) :][:NUM_ALLELES]]


class Run:
    """The first variants of the demo, scored in two shards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = json.loads(
            write_demo(folder, NUM_ALLELES, shards=2, variant_set={"carry": ["GBAC"]}).read_text()
        )
        header, records = read_demo()
        lines = [*header, *("\t".join(cells) for cells in records)]
        (folder / "in.vcf").write_text("".join(f"{line}\n" for line in lines))

    def run(self, *arguments: str) -> str:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config))
        return run_workflow(self.folder, *arguments, "--configfile", "config.yaml")

    def table(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "results/v/s/scores.parquet")

    def scored_files(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of the files that carried columns must not touch."""
        files = [*self.folder.glob("results/v/shards/*"), *self.folder.glob("results/v/s/*/*")]
        return {str(file): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("carry"))
    run.run()
    return run


def test_other_carried_columns_score_nothing_again(finished: Run) -> None:
    before, files = finished.table(), finished.scored_files()
    assert len(files) > 8
    of_set = finished.config["variant_sets"]["v"]
    label = {"positive": ["pathogenic"], "negative": ["benign"]}
    of_set |= {"carry": ["ID", "GBAC"], "labels": {"LABEL": label}, "groups": ["LOCUS"]}
    output = finished.run()
    assert "Splitting" not in output
    assert "Placing windows" not in output
    assert "Scoring:" not in output
    assert finished.scored_files() == files
    table = finished.table()
    pd.testing.assert_frame_equal(table[OWN], before[OWN])
    assert [*table.columns[len(OWN) :]] == ["ID", "GBAC", "LABEL", "LOCUS"]
    for row, cells in zip(table.to_dict("records"), read_demo()[1], strict=True):
        info = dict(item.split("=") for item in cells[7].split(";"))
        assert row["ID"] == cells[2]
        assert str(row["GBAC"]) == info["GBAC"]
        assert row["LOCUS"] == info["LOCUS"]
    assert "Nothing to be done" in finished.run()


def test_a_table_without_carried_columns_needs_no_job(finished: Run) -> None:
    files = finished.scored_files()
    for key in ("carry", "groups", "labels"):
        finished.config["variant_sets"]["v"].pop(key, None)
    (finished.folder / "results/v/carried.parquet").unlink(missing_ok=True)
    output = finished.run()
    assert "Carrying" not in output
    assert [*finished.table().columns] == OWN
    assert finished.scored_files() == files
