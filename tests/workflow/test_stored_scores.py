"""Two real runs with one score store, the second on a machine without GPU and without torch."""

import json
import os
import random
from pathlib import Path

import pandas as pd
import pytest

from tests.project import HEADER, write_project
from tests.workflow.run import SNAKEFILE, run_snakemake

SEQUENCE = "".join(random.Random(7).choices("ACGT", k=600))
POSITIONS = [*range(100, 220, 12)]


def write_run(folder: Path, contig: str, positions: list[int], *, gpus: int) -> None:
    """A run of SNVs; the store is next to its folder, named relative to the working directory."""
    lines = [
        f"{contig}\t{pos}\t.\t{ref}\t{'A' if ref != 'A' else 'C'}\t.\t.\t.\n"
        for pos in positions
        for ref in [SEQUENCE[pos - 1]]
    ]
    project = write_project(
        folder,
        genome={"other": "ACGT" * 30, contig: SEQUENCE} if gpus else {contig: SEQUENCE},
        variants=HEADER + "".join(lines),
        model={"checkpoint": "evo2-mini", "gpus": gpus},
        shards=1,
        run={"store": "../store"},
        output="results",
    )
    (folder / "config.yaml").write_text(json.dumps(project.config))


def run(folder: Path, **variables: str) -> pd.DataFrame:
    arguments = ("results/v/s/scores.parquet", "--snakefile", str(SNAKEFILE), "--cores", "1")
    run_snakemake(folder, *arguments, variables=variables)
    return pd.read_parquet(folder / "results/v/s/scores.parquet")


@pytest.mark.slow
def test_what_an_earlier_run_has_scored_needs_no_gpu_and_no_torch(tmp_path: Path) -> None:
    write_run(tmp_path / "first", "c", POSITIONS, gpus=0)
    first = run(tmp_path / "first")
    assert (first["status"] == "scored").all()
    # Another name of the contig, another FASTA, other variants in another order of records.
    wanted = [*reversed(POSITIONS[2:7])]
    write_run(tmp_path / "second", "chr_c", wanted, gpus=1)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("raise ImportError('this machine has no torch')")
    paths = [str(tmp_path / "broken"), *filter(None, [os.environ.get("PYTHONPATH")])]
    second = run(tmp_path / "second", CUDA_VISIBLE_DEVICES="", PYTHONPATH=os.pathsep.join(paths))
    columns = [name for name in first if name.startswith(("llr", "ll_", "delta_score"))]
    expected = first.set_index("pos").loc[wanted, columns].to_numpy()
    assert (second[columns].to_numpy() == expected).all()
    reused = pd.read_parquet(tmp_path / "second/results/v/s/reused.parquet")
    assert reused["record"].tolist() == [0, 1, 2, 3, 4]
    stated = json.loads((tmp_path / "second/results/v/s/run.json").read_text())
    assert (stated["reused"], stated["windows_run"], stated["tokens_run"]) == (5, 0, 0)
    (shard,) = stated["shards"]
    assert shard["reused"] == 5
