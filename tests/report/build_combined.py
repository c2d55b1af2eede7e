"""A report about combined tables made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evo2_tasks.config.evaluation import ReportSettings, resolve_report
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_combine
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.genome.records import CarryField
from evo2_tasks.layout import COMBINED, COMBINED_FOLDER
from evo2_tasks.steps.combine import combine
from evo2_tasks.steps.report import report
from tests import project
from tests.evaluation.build import (
    CARRY,
    Columns,
    few_draws,
    make_columns,
    nullable,
    write_metrics,
    write_scoring,
)
from tests.table.build import SCORING

LENGTHS = {"w512": 512, "w2048": 2048, "w8192": 8192}


def longer_windows(num_rows: int) -> dict[str, Columns]:
    """The same rows in three scorings; a longer window has less noise."""
    first = make_columns(num_rows)
    rng = np.random.default_rng(3)
    llr = np.array(first["llr"], dtype=np.float64)
    found = {}
    for number, name in enumerate(LENGTHS):
        columns = dict(first)
        noise = rng.normal(0, [2.0, 1.0, 0.3][number], num_rows)
        for score in ("llr", "llr_aligned", "llr_fwd", "llr_rev"):
            columns[score] = nullable(np.array(first[score], dtype=np.float64) + noise)
        lost = (rng.random(num_rows) < 0.02) & np.isfinite(llr)
        for score in ("llr", "llr_aligned", "llr_fwd", "llr_rev"):
            columns[score] = [None if gone else one for gone, one in
                              zip(lost, columns[score], strict=True)]  # fmt: skip
        columns["status"] = ["too_many_n" if gone else one for gone, one in
                             zip(lost, first["status"], strict=True)]  # fmt: skip
        found[name] = columns
    return found


def make_combined_config(
    scorings: Iterable[str], combinations: Mapping[str, Mapping[str, Any]], **variant_set: Any
) -> RunConfig:
    """A config with these scorings, combinations and keys of the variant set."""
    parts = project.make_config(
        scorings={name: {"model": "m"} for name in scorings},
        variant_set=variant_set,
        combine={name: {"variant_set": "v", **one} for name, one in combinations.items()},
    )
    return load_config(parts, look_for_files=False)


def resolve_page(
    scorings: Iterable[str], combinations: Mapping[str, Mapping[str, Any]], **variant_set: Any
) -> ReportSettings:
    """The settings of the report with such a config."""
    return resolve_report(make_combined_config(scorings, combinations, **variant_set), "v")


def write_combined_page(
    folder: Path,
    scorings: Mapping[str, Columns],
    signatures: Mapping[str, Mapping[str, Any]],
    combinations: Mapping[str, Mapping[str, Any]],
    *,
    carry: Sequence[CarryField] = CARRY,
    **variant_set: Any,
) -> Path:
    """The tables of a set, its combined tables, their metrics, and the page."""
    config = make_combined_config(scorings, combinations, **variant_set)
    written = {
        name: write_scoring(folder / name, columns, carry=carry, **signatures[name])
        for name, columns in scorings.items()
    }
    tables = [*written.values()]
    for name in combinations:
        settings = resolve_combine(config, name)
        out = folder / COMBINED_FOLDER / name / COMBINED
        out.parent.mkdir(parents=True, exist_ok=True)
        combine(settings, tables={one: written[one] for one in settings.scorings}, out=out)
        tables.append(out)
    if variant_set.get("labels"):
        for table in tables:
            write_metrics(config, table)
    page = folder / "report.html"
    with few_draws():
        report(resolve_report(config, "v"), results=folder, out=page)
    return page


def signatures_of_lengths() -> dict[str, dict[str, Any]]:
    """What the signature of each scoring has; the longest allele follows the window."""
    return {
        name: {"scoring": {**SCORING, "window_length": length, "max_allele_length": length // 4}}
        for name, length in LENGTHS.items()
    }
