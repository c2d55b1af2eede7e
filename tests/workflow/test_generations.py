"""A real run of the workflow with generations alone, with the model of the package."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.workflow.run import run_workflow

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data"
SCORER = """
def count(sequences, prompt):
    return [one.count("{base}") for one in sequences]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "prompts.fa").write_text(">a\nACGTACGT\n>b\nAC-GT\n>c\nTTTTACAC\n")
    (folder / "letters.py").write_text(SCORER.format(base="T"))
    short = {"model": "evo2-mini", "length": 12, "num_sequences": 2}
    search = {"chunk_length": 4, "beam_width": 2, "samples_per_beam": 2}
    config = {
        "references": {"rCRS": {"fasta": str(DATA / "rCRS.fa"), "circular_contigs": ["MT"]}},
        "models": {"evo2-mini": {"checkpoint": "evo2-mini"}},
        "generations": {
            "free": {**short, "prompts": {"reference": "rCRS", "region": "MT:16,560-16,589"}},
            "guided": {
                **short, **search,
                "prompts": {"fasta": "prompts.fa"},
                "scorers": [{"function": "letters:count"}],
            },
        },
        "shards": 2,
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(folder)
    return folder


def test_a_config_with_generations_alone_gives_their_files(folder: Path) -> None:
    results = folder / "results" / "generations"
    assert len(list((results / "free" / "generated").glob("*.json"))) == 1
    assert len(list((results / "guided" / "generated").glob("*.json"))) == 2
    rows = pq.read_table(results / "guided" / "sequences.parquet").to_pylist()
    assert [row["status"] for row in rows] == [
        *["generated"] * 2, *["invalid_record"] * 2, *["generated"] * 2
    ]  # fmt: skip
    assert all(row["score_count"] == row["bases"].count("T") for row in rows if row["bases"])
    prompt = pq.read_table(results / "free" / "prompts.parquet").to_pylist()[0]["text"]
    genome = "".join((DATA / "rCRS.fa").read_text().split("\n")[1:]).upper()
    assert prompt == genome[16_559:] + genome[:20]
    for name in ("free", "guided"):
        stated = json.loads((results / name / "generation.json").read_text())
        assert stated["generated"] == (2 if name == "free" else 4)
        assert f"<h1>{name}</h1>" in (results / name / "report.html").read_text()
        assert not list((results / name / "generated").glob("*.parts"))


def test_a_finished_run_has_nothing_to_do_and_a_change_runs_what_it_concerns(folder: Path) -> None:
    assert "Nothing to be done" in run_workflow(folder, "--dry-run")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["generations"]["guided"]["compare_with"] = "rCRS"
    config["generations"]["free"]["seed"] = 2
    (folder / "changed.yaml").write_text(yaml.safe_dump(config))
    planned = run_workflow(folder, "--dry-run", "--configfile", "changed.yaml")
    assert "Reading the prompts" not in planned
    assert planned.count("Generating sequences: free") == 1
    assert "Generating sequences: guided" not in planned
    assert planned.count("Merging the sequences of") == 2
    (folder / "letters.py").write_text(SCORER.format(base="A"))
    planned = run_workflow(folder, "--dry-run")
    assert planned.count("Generating sequences: guided") == 2
    assert "Generating sequences: free" not in planned
