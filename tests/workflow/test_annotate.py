"""Genes and consequences in a real run: they are added, and changed, without scoring again."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from evo2_tasks.layout import CONSEQUENCE_COLUMNS
from tests.project import DATA, write_demo
from tests.workflow.run import run_workflow

NUM_ALLELES = 12


class Run:
    """The first variants of the demo, scored in two shards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = json.loads(
            write_demo(folder, NUM_ALLELES, shards=2).read_text()
        )

    def run(self) -> str:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config))
        return run_workflow(self.folder, "--configfile", "config.yaml")

    def table(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "results/v/s/scores.parquet")

    def scored_files(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of the files that genes must not touch."""
        files = [*self.folder.glob("results/v/shards/*"), *self.folder.glob("results/v/s/*/*")]
        return {str(file): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("annotate"))
    run.run()
    return run


@pytest.mark.slow
def test_genes_are_added_to_a_finished_run_and_changed(finished: Run) -> None:
    before, files = finished.table(), finished.scored_files()
    assert len(files) > 8
    genes = finished.folder / "genes.gff3"
    genes.write_text((DATA / "rCRS.gff3").read_text())
    finished.config["references"]["g"] |= {"gff": str(genes), "genetic_codes": {"MT": 2}}
    output = finished.run()
    assert "Annotating v" in output
    table = finished.table()
    assert [*table.columns] == [*before.columns, *CONSEQUENCE_COLUMNS]
    pd.testing.assert_frame_equal(table[before.columns], before)
    assert table["consequence"].notna().all()
    assert "Nothing to be done" in finished.run()

    genes.write_text(genes.read_text().replace("Name=MT-", "Name=NEW-"))
    assert "Annotating v" in (output := output + finished.run())
    other = finished.table()
    assert list(other["gene"].dropna()) == [
        name.replace("MT-", "NEW-") for name in table["gene"].dropna()
    ]
    assert "Scoring:" not in output
    assert "Placing windows" not in output
    assert "Splitting" not in output
    assert finished.scored_files() == files

    for key in ("gff", "genetic_codes"):
        del finished.config["references"]["g"][key]
    finished.run()
    pd.testing.assert_frame_equal(finished.table(), before)
