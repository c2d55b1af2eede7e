"""Runs the steps of a variant set one after the other, and measures the process of each.

The scores are random numbers, so no model is needed. `stages.py` and `stage_memory.py` use it.
"""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_score
from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import (
    CALIBRATED,
    CALIBRATIONS,
    CARRIED,
    CURVES,
    EXPORTS,
    METRICS,
    REPORT,
    RUN,
    SPLIT,
    TABLE,
    export_file,
    shard_run_file,
)
from evo2_tasks.table.documents import ScoreStatements, ShardRun
from evo2_tasks.table.parquet import read_rows, write_table
from evo2_tasks.table.provenance import Provenance, as_json, package_version, read_provenance
from evo2_tasks.table.schema import scores_schema

SET = "v"
SCORING = "w"
SHARD = "1-of-1.parquet"
LAUNCH = """
import os, sys
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, file=sys.stderr)
"""
"""Starts a command from a small process: the peak of a new process begins with its parent's."""

CHAIN = ("split", "windows", "merge")
"""The steps from the variants to the table."""


@dataclass(frozen=True)
class Measured:
    """What the process of a step took."""

    step: str
    alleles: int
    wall_s: float
    cpu_s: float
    alleles_per_cpu_s: int
    peak_memory_mb: int


def write_config(
    folder: Path,
    *,
    window_length: int,
    calibrations: Mapping[str, Sequence[str]] = MappingProxyType({}),
    **variant_set: object,
) -> None:
    """Write a config of one variant set, and a stub in place of a checkpoint.

    Args:
        folder: Where to write.
        window_length: Length of the windows.
        calibrations: Names of calibrations whose background is the set itself, and what divides it.
        variant_set: More keys of the set.
    """
    (folder / "stub").mkdir()
    (folder / "stub" / "config.json").write_text("{}")
    config = {
        "references": {"random": {"fasta": str(folder / "genome.fa")}},
        "models": {"stub": {"checkpoint": str(folder / "stub"), "gpus": 0}},
        "scorings": {SCORING: {"model": "stub", "window_length": window_length}},
        "variant_sets": {
            SET: {
                "variants": str(folder / "variants.vcf"),
                "reference": "random",
                "scorings": [SCORING],
                "calibrations": [*calibrations],
                **variant_set,
            }
        },
        "calibrations": {
            name: {"background": SET, "by": [*by]} for name, by in calibrations.items()
        },
        "output": str(folder / "results"),
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML


def write_scores(config: Path, windows: Path, out: Path) -> None:
    """Write random scores for the alleles that need a score."""
    settings = resolve_score(load_config(json.loads(config.read_text())), SCORING).triggers()
    signature = {**read_provenance(windows).signature, "weights": "stub", "dtype": "float32"}
    source = digest_file(windows)
    provenance = Provenance(signature, package_version(), model="stub", source=source)
    schema = scores_schema()
    random = np.random.default_rng(2)
    with write_table(out, schema, metadata=provenance.metadata()) as writer:
        for batch in read_rows(windows, ["record", "allele", "status"]):
            due = np.array([status == TO_SCORE for status in batch.column("status").to_pylist()])
            values = random.normal(size=batch.num_rows)
            status = pa.array(np.where(due, "scored", batch.column("status").to_pylist()))
            reason = pa.nulls(batch.num_rows, pa.string())
            columns = [batch.column("record"), batch.column("allele"), status, reason]
            for name in schema.names[4:]:
                noise = 0.3 * random.normal(size=batch.num_rows) * (name != "llr")
                columns.append(pa.array(values + noise, mask=~due))
            writer.write(pa.table(columns, names=schema.names))
        digest = writer.digest()
    statements = ScoreStatements(settings=as_json(settings), scores=digest)
    ShardRun(windows_run=0, tokens_run=0, wall_s=0.0, statements=statements).write(
        shard_run_file(out)
    )


def run_steps(
    folder: Path, *, alleles: int, steps: tuple[str, ...], region: str = ""
) -> Iterator[Measured]:
    """Run steps on the config of a folder, in this order.

    Args:
        folder: It has the ``config.yaml`` of ``write_config`` and the files that it names.
        alleles: Alleles of the variant set.
        steps: ``split`` and ``windows`` come first. ``carry`` comes before ``merge``, which joins
            its file; ``export`` is once for each format.
        region: For ``query``.
    """
    results = folder / "results"
    of_set = results / SET
    of_scoring = of_set / SCORING
    table = of_scoring / TABLE
    config = ("--config", folder / "config.yaml", "--variant-set", SET)
    scoring = (*config, "--scoring", SCORING, "--split", of_set / "shards" / SPLIT)
    windows, scores = of_scoring / "windows", of_scoring / "scores"
    carried = [of_set / CARRIED] if "carry" in steps else []
    settings = json.loads((folder / "config.yaml").read_text())
    commands: dict[str, list[tuple[object, ...]]] = {
        "split": [(*config, "--out", of_set / "shards")],
        "carry": [(*config, "--out", of_set / CARRIED)],
        "windows": [
            (
                *(*scoring, "--shard", of_set / "shards" / SHARD, "--out", windows / SHARD),
                *("--segments", windows / "1-of-1.segments.parquet"),
            )
        ],
        "merge": [
            (
                *(*scoring, "--windows", windows, "--scores", scores, "--out", table),
                *("--run-json", of_scoring / RUN, *carried),
            )
        ],
        "fit-calibration": [
            (
                *(*config[:2], "--scoring", SCORING, "--calibration", name, "--background", table),
                *("--out", results / CALIBRATIONS / name / SCORING),
            )
            for name in settings["calibrations"]
        ],
        "calibrate": [
            (
                *(*config, "--scoring", SCORING, "--table", table),
                *("--calibrations", results / CALIBRATIONS, "--out", of_scoring / CALIBRATED),
            )
        ],
        "export": [("--to", name, table) for name in EXPORTS],
        "index": [(export_file(table, "vcf"), "--out", f"{export_file(table, 'vcf')}.index")],
        "evaluate": [
            (
                *(*config, "--table", table, "--out", of_scoring / METRICS),
                *("--curves", of_scoring / CURVES),
            )
        ],
        "report": [(*config, "--results", of_set, "--out", of_set / REPORT)],
        "show": [(table,)],
        "query": [(table, region)],
        "status": [(results,)],
    }
    for file in (windows, scores):
        file.mkdir(parents=True)
    for step in steps:
        if step == "merge":
            write_scores(folder / "config.yaml", windows / SHARD, scores / SHARD)
        for arguments in commands[step]:
            name = f"{step} {arguments[1]}" if step == "export" else step
            name = f"{step} {arguments[5]}" if step == "fit-calibration" else name
            yield measure(name, step, *map(str, arguments), alleles=alleles)


def measure(
    name: str, *command: str, alleles: int, program: Sequence[str] | None = None
) -> Measured:
    """Run a command of ``evo2-tasks``; measure its time and its peak memory.

    Args:
        name: Name of the step.
        command: The command and its arguments.
        alleles: Number of alleles.
        program: What to run in place of ``evo2-tasks``.

    Raises:
        RuntimeError: The command failed.
    """
    program = program or [str(Path(sys.executable).with_name("evo2-tasks"))]
    started = time.monotonic()
    launched = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCH, *program, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wall_s = time.monotonic() - started
    *messages, usage = launched.stderr.splitlines()
    status, cpu_s, peak_kb = map(float, usage.split())
    if status != 0:
        raise RuntimeError(f"{name}: " + "\n".join(messages))
    return Measured(
        step=name,
        alleles=alleles,
        wall_s=round(wall_s, 2),
        cpu_s=round(cpu_s, 2),
        alleles_per_cpu_s=round(alleles / cpu_s),
        peak_memory_mb=round(peak_kb / 1024),
    )


def print_rows(rows: list[dict[str, object]]) -> None:
    """Print rows of a table below the names of their columns."""
    print("  ".join(f"{name:>17}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{value!s:>17}" for value in row.values()), flush=True)


def describe_run() -> dict[str, object]:
    """The version and the machine of a result."""
    return {
        "version": package_version(),
        "machine": platform.processor() or platform.machine(),
    }
