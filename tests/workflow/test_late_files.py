"""Files that a job of an earlier run writes late, in the real workflow."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from evo2_tasks.config.load import load_config
from evo2_tasks.layout import TABLE
from tests.project import HEADER, files_of_shards, run_split, run_windows, write_project
from tests.workflow.run import SNAKEFILE, run_snakemake, run_workflow

LENGTH = 600
POSITIONS = (100, 300, 500)


def write_run(folder: Path, seed: int) -> Path:
    """A project whose bases differ with the seed, except at the positions of the variants."""
    bases = random.Random(seed).choices("ACGT", k=LENGTH)
    for pos in POSITIONS:
        bases[pos - 1] = "A"
    lines = "".join(f"c\t{pos}\t.\tA\tG\t.\t.\t.\n" for pos in POSITIONS)
    project = write_project(
        folder,
        genome={"c": "".join(bases)},
        variants=HEADER + lines,
        model={"checkpoint": "evo2-mini"},
        output=str(folder / "results"),
        shards=1,
    )
    (folder / "config.yaml").write_text(json.dumps(project.config))
    return project.config_file


def put(source: Path, target: Path) -> None:
    """Replace a file; its time stays, so that Snakemake runs no job for it."""
    stat = target.stat()
    shutil.copyfile(source, target)
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.slow
def test_late_windows_and_segments_of_an_older_fasta_are_not_in_a_table(tmp_path: Path) -> None:
    project, results = tmp_path / "project", tmp_path / "project" / "results"
    config = load_config(write_run(project, 1))
    run_workflow(project)
    (right,) = files_of_shards(config, results / "v")
    table = results / "v" / "s" / TABLE
    older_config = load_config(write_run(tmp_path / "older", 2))
    run_split(older_config, tmp_path / "made")
    run_windows(older_config, tmp_path / "made")
    (older,) = files_of_shards(older_config, tmp_path / "made")
    shutil.copytree(results, tmp_path / "kept")
    windows, segments = (older.windows, right.windows), (older.segments, right.segments)
    for late, removed, refusing in (
        ([segments], [right.scores, table], "score"),
        ([windows, segments], [right.scores, table], "merge"),
        ([windows, segments], [table], "merge"),
    ):
        for source, target in late:
            put(source, target)
        for file in removed:
            file.unlink()
        arguments = ["--snakefile", str(SNAKEFILE), "--cores", "1"]
        said = run_snakemake(project, *arguments, status=1)
        assert "was made from another version of" in said
        assert f"Error in rule {refusing}" in said
        assert not table.exists()
        shutil.rmtree(results)
        shutil.copytree(tmp_path / "kept", results)
