"""A real run of the workflow on a FASTA alone, with the model of the package."""

import json
import random
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from evo2_tasks.cli import main
from tests.workflow.run import run_workflow

pytestmark = pytest.mark.slow

NUMBER = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rng = random.Random(1)
    with (folder / "in.fa").open("w") as fasta:
        for i in range(NUMBER):
            fasta.write(f">s{i % 10}\n{''.join(rng.choices('ACGT', k=rng.randint(2, 90)))}\n")
        fasta.write(">empty\n")
    config = {
        "models": {"evo2-mini": {"checkpoint": "evo2-mini"}},
        "scorings": {"whole": {"model": "evo2-mini"}},
        "sequence_sets": {"reads": {"sequences": "in.fa", "scorings": ["whole"]}},
        "shards": 2,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(folder)
    return folder


def test_a_config_with_sequences_alone_gives_their_table(folder: Path, tmp_path: Path) -> None:
    """It is that of the command, up to the last digits, since shards make other batches."""
    results = folder / "results" / "reads" / "whole"
    table = pd.read_parquet(results / "sequences.parquet")
    out = tmp_path / "own.parquet"
    arguments = ["score-sequences", str(folder / "in.fa"), "--model", "evo2-mini"]
    result = CliRunner().invoke(main, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    pd.testing.assert_frame_equal(table, pd.read_parquet(out), rtol=1e-5)
    assert table["status"].tolist() == ["scored"] * NUMBER + ["empty"]
    stated = json.loads((results / "sequences.json").read_text())
    assert (stated["records"], stated["scored"]) == (NUMBER + 1, NUMBER)
    assert len(stated["shards"]) == 2
    assert [path.name for path in (results / "sequence_scores").glob("*.parts")] == []


def test_a_finished_run_has_nothing_to_do_and_other_settings_run_what_they_concern(
    folder: Path,
) -> None:
    assert "Nothing to be done" in run_workflow(folder, "--dry-run")
    changed = yaml.safe_load((folder / "config.yaml").read_text())
    changed["sequence_sets"]["reads"]["circular"] = True
    (folder / "circular.yaml").write_text(yaml.safe_dump(changed))
    planned = run_workflow(folder, "--dry-run", "--configfile", "circular.yaml")
    assert "Splitting the sequences" not in planned
    assert planned.count("Scoring sequences") == 2
    assert planned.count("Merging the sequences") == 1
