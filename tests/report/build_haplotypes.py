"""A report about haplotypes: the tables of real steps, with other scores."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evo2_tasks.config.evaluation import resolve_report
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import COMPOUNDS, HAPLOTYPES, HAPLOTYPES_RUN
from evo2_tasks.steps.report import report
from tests.project import Project
from tests.steps.test_haplotypes import Line, make_genome, make_project, run_all

SAMPLES = ("S1", "<img src=x onerror=alert(1)>", "a&b", "S4", "S5")
GENOTYPES = ("0|1", "1|0", "1|1", "0|0", "./.", "0/1")
STRANDS = ("", "_fwd", "_rev")


def make_cohort(seed: int = 3, length: int = 900) -> tuple[dict[str, str], list[Line]]:
    """A linear and a circular contig, and variants of which many are on one haplotype."""
    genome = make_genome(seed, length)
    rng = np.random.default_rng(seed)
    lines: list[Line] = []
    for contig, bases in genome.items():
        pos = 2 if contig == "ring" else 12
        while pos < length - 4:
            ref = bases[pos - 1]
            others = [base for base in "ACGT" if base != ref]
            inserted = "".join(rng.choice([*"ACGT"], rng.integers(1, 40)))
            kinds = [(ref, others[int(rng.integers(3))])] * 3
            kinds += [(ref, ref + inserted), (bases[pos - 1 : pos + 2], ref)]
            calls = rng.choice(GENOTYPES, len(SAMPLES) - 1).tolist()
            calls.append(calls[0])  # the last sample has the haplotypes of the first one
            lines.append((contig, pos, *kinds[int(rng.integers(5))], calls))
            pos += int(rng.integers(2, 10))
        if contig == "ring":
            other = "A" if bases[-1] != "A" else "C"
            lines.append((contig, length, bases[-1], other, ["1|1"] * len(SAMPLES)))
    return genome, lines


def write_haplotypes(
    folder: Path, samples: Sequence[str] = SAMPLES, *, row_group_rows: int = 10_000
) -> Project:
    """The results of a variant set with haplotypes; equal windows have equal scores."""
    genome, lines = make_cohort()
    project = make_project(
        folder, None, lines, genome=genome, samples=samples, haplotypes={"samples": "all"}
    )
    run_all(project)
    results = project.load().output / "v" / "s"
    _score_again(results / HAPLOTYPES, row_group_rows, _score_row)
    _score_again(results / COMPOUNDS, row_group_rows, _score_compound)
    run = json.loads((results / HAPLOTYPES_RUN).read_text())
    run["haplotypes_digest"] = digest_file(results / HAPLOTYPES)
    run["compounds_digest"] = digest_file(results / COMPOUNDS)
    (results / HAPLOTYPES_RUN).write_text(json.dumps(run))
    return project


def write_haplotype_page(project: Project) -> Path:
    config = project.load()
    page = config.output / "v" / "report.html"
    report(resolve_report(config, "v"), results=page.parent, out=page)
    return page


def _draw(*key: object) -> tuple[float, bool]:
    """A number that follows from the key alone, and whether the windows cannot be scored."""
    rng = np.random.default_rng(zlib.crc32(repr(key).encode()))
    return float(rng.normal(0, 1)), bool(rng.random() < 0.1)


def _score_row(row: dict[str, Any]) -> None:
    key = (row["record"], row["allele"])
    alone, _ = _draw(key)
    change, is_lost = _draw(key, row["background"])
    has_background = bool(row["background"])
    for strand in STRANDS:
        row[f"llr_alone{strand}"] = alone
        row[f"llr_background{strand}"] = alone + change * has_background
    if is_lost and has_background:
        _lose(row, "llr_background")


def _score_compound(row: dict[str, Any]) -> None:
    total, _ = _draw(row["members"])
    change, is_lost = _draw(row["members"], "joint")
    for strand in STRANDS:
        row[f"llr_sum{strand}"], row[f"llr_joint{strand}"] = total, total + 2 * change
        row[f"interaction{strand}"] = row[f"llr_joint{strand}"] - total
    row["consequence"] = "missense_variant" if change > 0 else "intergenic_variant"
    row["amino_acids"] = f"K{row['pos']}T" if change > 0 else None
    if is_lost:
        _lose(row, "llr_joint", "interaction")


def _lose(row: dict[str, Any], *names: str) -> None:
    row |= {f"{name}{strand}": None for name in names for strand in STRANDS}
    row |= {"status": "too_many_n", "flags": []}


def _score_again(path: Path, row_group_rows: int, change: Any) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    for row in rows:
        change(row)
    again = pa.Table.from_pylist(rows, table.schema)
    pq.write_table(again, path, row_group_size=row_group_rows)
