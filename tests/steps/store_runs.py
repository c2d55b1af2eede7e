"""Runs with a store, for the tests of it: the alleles A and B of a small genome."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from evo2_tasks.config.resolve import resolve_identify, resolve_lookup
from evo2_tasks.layout import (
    REUSED,
    RUN,
    SHARDS,
    SPLIT,
    hits_file,
    hits_run_file,
)
from evo2_tasks.steps import identify as identify_step
from evo2_tasks.steps import lookup as lookup_step
from evo2_tasks.table.documents import Lookup
from tests.project import (
    HEADER,
    Project,
    files_of_shards,
    run_merge,
    run_score,
    run_split,
    run_windows,
    write_project,
)

WINDOW_LENGTH = 64
TOLERANCE = 1e-6 * WINDOW_LENGTH

Line = tuple[str, int, str, str]


def make_genome(seed: int = 1) -> dict[str, str]:
    rng = random.Random(seed)
    return {name: "".join(rng.choices("ACGT", k=size)) for name, size in LENGTHS.items()}


LENGTHS = {"chr1": 500, "ring": 300}
GENOME = make_genome()
POSITIONS = {
    "A": {"chr1": (1, 40, 120, 250, 333, 500), "ring": (1, 77, 150, 299)},
    "B": {"chr1": (2, 60, 121, 260, 420), "ring": (20, 78, 200)},
}


def make_lines(name: str, contigs: Iterable[str] = LENGTHS) -> list[Line]:
    """An SNV at each position of a set, and a deletion and an insertion on each contig."""
    lines = []
    for contig in contigs:
        bases = GENOME[contig]
        for pos in POSITIONS[name][contig]:
            ref = bases[pos - 1]
            lines.append((contig, pos, ref, "ACGT"["ACGT".index(ref) - 1]))
        pos = 90 if name == "A" else 180
        lines.append((contig, pos, bases[pos - 1 : pos + 2], bases[pos - 1]))
        lines.append((contig, pos + 20, bases[pos + 19], bases[pos + 19] + "GATTACA"))
    return lines


def write_lines(lines: Iterable[Line]) -> str:
    return HEADER + "".join(f"{c}\t{p}\t.\t{r}\t{a}\t.\t.\t.\n" for c, p, r, a in lines)


A, B = make_lines("A"), make_lines("B")


@dataclass(frozen=True)
class Job:
    """A run in a folder: its project, and the steps one by one."""

    project: Project
    scoring: str = "s"

    @property
    def folder(self) -> Path:
        return self.project.config_file.parent

    @property
    def files(self) -> list[Any]:
        return files_of_shards(self.project.load(), self.folder, self.scoring)

    def place(self) -> "Job":
        config = self.project.load()
        run_split(config, self.folder)
        run_windows(config, self.folder, self.scoring)
        return self

    def look_up(self, *, identify: bool = True) -> list[Lookup]:
        """Identify the model and look all shards up; gives what was found of each."""
        config = self.project.load()
        identity = self.folder / "m.identity.json"
        if identify:
            identify_step.identify(resolve_identify(config, "m"), out=identity)
        for files in self.files:
            lookup_step.lookup(
                resolve_lookup(config, "v", self.scoring),
                windows_file=files.windows,
                segments_file=files.segments,
                split_file=self.folder / SHARDS / SPLIT,
                identity_file=identity,
                out=hits_file(files.scores),
            )
        return [Lookup.read(hits_run_file(hits_file(files.scores))) for files in self.files]

    def score(self) -> "Job":
        for files in self.files:
            run_score(self.project.load(), files, self.scoring)
        return self

    def merge(self) -> pd.DataFrame:
        return pd.read_parquet(run_merge(self.project.load(), self.folder, self.scoring))

    def run(self) -> pd.DataFrame:
        self.place()
        if "store" in self.project.config.get("run", {}):
            self.look_up()
        return self.score().merge()

    def rows_with_windows(self) -> list[int]:
        rows: list[int] = []
        for files in self.files:
            table = pd.read_parquet(files.windows)
            rows += list(table.index[table.length_fwd.notna() | table.length_rev.notna()])
        return rows

    @property
    def run_json(self) -> dict[str, Any]:
        stated: dict[str, Any] = json.loads((self.folder / self.scoring / RUN).read_text())
        return stated

    @property
    def reused(self) -> list[tuple[int, int]]:
        rows = pq.read_table(self.folder / self.scoring / REUSED)
        return list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def make_job(
    folder: Path,
    checkpoint: Path,
    lines: Iterable[Line],
    store: Path | None = None,
    *,
    genome: dict[str, str] | None = None,
    write: bool = True,
    run: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **parts: Any,
) -> Job:
    of_store = {} if store is None else {"store": str(store), "store_write": write}
    settings: dict[str, Any] = {
        "reference": {"circular_contigs": ["ring"]},
        "run": of_store | (run or {}),
        **parts,
    }
    return Job(
        write_project(
            folder,
            genome=genome or GENOME,
            variants=write_lines(lines),
            model={"checkpoint": str(checkpoint), **(model or {})},
            **settings,
        )
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def require_close(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """The same rows, with scores within the tolerance."""
    numbers = [name for name in expected if expected[name].dtype == np.float64]
    pd.testing.assert_frame_equal(
        found.drop(columns=numbers), expected.drop(columns=numbers), check_categorical=False
    )
    for name in numbers:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=TOLERANCE)
