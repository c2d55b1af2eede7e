"""Results of a variant set made by hand: tables, run.json, metrics and a config for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evo2_tasks.config.evaluation import resolve_evaluate, resolve_report
from evo2_tasks.config.load import load_config
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.evaluation import curves, scorings
from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.genome.records import CarryField
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import CALIBRATED, CURVES, METRICS
from evo2_tasks.steps import evaluate as evaluate_task
from evo2_tasks.steps import report as report_task
from evo2_tasks.table.calibration_schema import calibrated_schema, make_calibrated_part
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import Provenance
from evo2_tasks.table.schema import (
    ALL_SCORE_COLUMNS,
    ANNOTATION_COLUMNS,
    FINAL_COLUMNS,
    make_schema,
)
from tests import project
from tests.table.build import signature

Columns = dict[str, list[Any]]

CARRY = (
    CarryField("KIND", "string", False, "What is known"),
    CarryField("PLACE", "string", False, "Where it is"),
    CarryField("OTHER", "float", False, "Another predictor"),
)
LABELS: dict[str, Any] = {
    "labels": {"KIND": {"positive": ["bad"], "negative": ["good"]}},
    "groups": ["PLACE"],
    "baselines": {"OTHER": "high"},
}

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "<a href='javascript:alert(3)'>go</a><br><b>bold</b>",
    "</script><script>alert(4)</script>",
    "%{x} {{ 7*7 }} {% raw %} ${alert(5)} &lt;svg onload=alert(6)&gt;",
    "one\u2028two\u202ethree\x00four\n\tfive '",
)


def make_columns(
    num_rows: int, *, seed: int = 1, num_contigs: int = 3, num_labelled: int = 400
) -> Columns:
    """Rows of a table: most are SNVs with a score; some of those with a label are harmful."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(
        ["snv", "deletion", "insertion", "mnv"], num_rows, p=[0.88, 0.05, 0.05, 0.02]
    )
    alleles = {
        "snv": ("A", "G"), "deletion": ("ACT", "A"), "insertion": ("A", "ACG"), "mnv": ("AC", "GT")
    }  # fmt: skip
    status = rng.choice(
        ["scored", "ref_mismatch", "symbolic_allele"], num_rows, p=[0.96, 0.03, 0.01]
    )
    is_bad = rng.random(num_rows) < 0.2
    llr = np.where(status == "scored", rng.normal(-0.5, 1, num_rows) - 1.2 * is_bad, np.nan)
    contigs = np.sort(rng.integers(1, num_contigs + 1, num_rows))
    columns: Columns = {
        "record": list(range(num_rows)),
        "allele": [1] * num_rows,
        "contig": [f"chr{number}" for number in contigs],
        "pos": np.sort(rng.integers(1, 20 * num_rows + 2, num_rows)).tolist(),
        "ref": [alleles[kind][0] for kind in kinds],
        "alt": [alleles[kind][1] for kind in kinds],
        "status": status.tolist(),
        "reason": [None] * num_rows,
        "flags": [
            ["clipped"] if flagged and one == "scored" else []
            for flagged, one in zip(rng.random(num_rows) < 0.02, status, strict=True)
        ],
        "window_start": [0] * num_rows,
        "window_end": [8192] * num_rows,
        **{name: nullable(llr) for name in ALL_SCORE_COLUMNS},
    }
    columns["reference_contig"] = columns["contig"]
    columns["llr_fwd"] = nullable(llr + rng.normal(0, 0.2, num_rows))
    columns["llr_rev"] = nullable(llr + rng.normal(0, 0.2, num_rows))
    is_indel = np.isin(kinds, ["deletion", "insertion"])
    columns["llr_aligned"] = nullable(llr + is_indel * rng.normal(0, 0.5, num_rows))
    labelled = np.arange(num_rows) < num_labelled
    columns["KIND"] = [
        ("bad" if bad else "good") if known else None
        for bad, known in zip(is_bad, labelled, strict=True)
    ]
    columns["PLACE"] = rng.choice(["tRNA", "coding", "rRNA"], num_rows).tolist()
    columns["OTHER"] = (rng.normal(0, 1, num_rows) + is_bad).tolist()
    return columns


def nullable(values: np.ndarray[Any, Any]) -> list[float | None]:
    """Numbers, None where there is none."""
    return [float(value) if np.isfinite(value) else None for value in values]


def without_scores(columns: Columns, status: str = "ref_mismatch") -> Columns:
    """The same rows, none of them scored."""
    num_rows = len(columns["status"])
    empty = {name: [None] * num_rows for name in ALL_SCORE_COLUMNS}
    return {
        **columns, **empty, "status": [status] * num_rows, "flags": [[] for _ in range(num_rows)],
    }  # fmt: skip


def score_again(columns: Columns, *, seed: int = 5) -> Columns:
    """The same rows in another scoring: other scores, and some rows without a score."""
    rng = np.random.default_rng(seed)
    num_rows = len(columns["record"])
    lost, noise = rng.random(num_rows) < 0.05, rng.normal(0, 1, num_rows)
    again = dict(columns)
    for name in ALL_SCORE_COLUMNS:
        again[name] = [
            None if one is None or is_lost else one + float(more)
            for one, is_lost, more in zip(columns[name], lost, noise, strict=True)
        ]
    again["status"] = [
        "ref_mismatch" if is_lost and old == "scored" else old
        for old, is_lost in zip(columns["status"], lost, strict=True)
    ]
    again["flags"] = [
        flags if status == "scored" else []
        for flags, status in zip(columns["flags"], again["status"], strict=True)
    ]
    return again


def hostile_columns() -> tuple[Columns, tuple[CarryField, ...]]:
    """Rows whose every text wants to be markup, and whose alleles are long."""
    columns = make_columns(300)
    for name in ("contig", "PLACE"):
        columns[name] = [HOSTILE[i % len(HOSTILE)] for i in range(300)]
    columns["reference_contig"] = columns["contig"]
    for i, text in enumerate(HOSTILE):
        columns["ref"][i], columns["alt"][i] = text, f"<{text}>"
    columns["ref"][10], columns["alt"][11] = "A" * 10_000, "C" * 10_000
    columns["llr"][10] = columns["llr"][11] = -99.0
    columns["status"][10] = columns["status"][11] = "scored"
    carry = (*CARRY, CarryField("<b onclick=alert(7)>", "string", True, "hostile by name"))
    columns[carry[-1].name] = [list(HOSTILE)] * 300
    return columns, carry


def write_scoring(
    folder: Path,
    columns: Columns,
    *,
    carry: Sequence[CarryField] = CARRY,
    run: Mapping[str, Any] | None = None,
    row_group_rows: int = 20_000,
    annotations: Sequence[str] = (),
    **signed: Any,
) -> Path:
    """The table and the run.json of a scoring, with some columns of annotate."""
    made = [column for column in ANNOTATION_COLUMNS if column.name in annotations]
    schema = make_schema([*FINAL_COLUMNS, *made], carry)
    table = folder / "scores.parquet"
    names = schema.names
    provenance = Provenance(signature(**signed), "0.1.0", "evo2-mini")
    with write_table(
        table, schema, metadata=provenance.metadata(), row_group_rows=row_group_rows
    ) as writer:
        writer.write_columns({name: columns[name] for name in names})
    write_run(folder, len(columns["record"]), **(run or {}))
    return table


def write_calibrated(
    table: Path,
    columns: Columns,
    calibrations: Mapping[str, Columns],
    *,
    stated: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """The file of ``calibrate`` next to a table.

    Args:
        table: The table.
        columns: Its columns.
        calibrations: The columns of each calibration without a prefix; columns of the file that are
            not given are null.
        stated: What the metadata state about calibrations, besides the table with the labels.
    """
    parts = {
        name: make_calibrated_part(
            name,
            has_background="quantile" in values,
            has_labels="lr" in values,
            is_prefixed=len(calibrations) > 1,
        )
        for name, values in calibrations.items()
    }
    num_rows = len(columns["record"])
    made: Columns = {key: columns[key] for key in ("record", "allele")}
    for name, part in parts.items():
        for key, column in part.columns.items():
            made[column.name] = calibrations[name].get(key, [None] * num_rows)
    schema = calibrated_schema([*parts.values()])
    provenance = Provenance(signature(), "0.1.0", source=digest_file(table))
    metadata = provenance.metadata() | {"evo2_tasks.calibrations": json.dumps(stated or {})}
    path = table.with_name(CALIBRATED)
    with write_table(path, schema, metadata=metadata) as writer:
        writer.write_columns({name: made[name] for name in schema.names})
    return path


def make_calibration(columns: Columns, seed: int = 3) -> Columns:
    """Columns of a calibration with a background of two strata and labels."""
    random = np.random.default_rng(seed)
    llr = np.array(columns["llr"], dtype=float)
    num_rows, is_scored = len(llr), np.isfinite(llr)
    stratum = random.choice(["a", "b"], num_rows)
    quantile = pd.Series(llr).groupby(stratum).rank(pct=True).to_numpy()
    ratio = np.exp(-llr - 0.5) * random.lognormal(0, 0.1, num_rows)
    ratio[np.nanargmin(llr)], ratio[np.nanargmax(llr)] = np.inf, 0
    is_lacking = is_scored & (random.random(num_rows) < 0.1)
    ratio[is_lacking] = np.nan
    return {
        "stratum": [
            one if scored else None for one, scored in zip(stratum, is_scored, strict=True)
        ],
        "stratum_fallback": [False if scored else None for scored in is_scored],
        "quantile": nullable(quantile),
        "phred": nullable(-10 * np.log10(quantile)),
        "lr": [float(one) if np.isfinite(one) else None for one in ratio],
        "lr_reason": [
            "unbounded" if is_infinite else "too_few_folds" if lacking else None
            for is_infinite, lacking in zip(np.isinf(ratio), is_lacking, strict=True)
        ],
    }


def evaluate_calibrated(
    folder: Path,
    columns: Columns,
    calibrations: Mapping[str, Columns],
    *,
    stated: Mapping[str, Mapping[str, Any]] | None = None,
    **keys: Any,
) -> Path:
    """Evaluate a table with its calibrated columns; gives the table."""
    table = write_scoring(folder / "one", columns)
    if calibrations:
        digest = digest_file(table)
        stated = {
            name: {key: digest if value == "this table" else value for key, value in one.items()}
            for name, one in (stated or {}).items()
        }
        write_calibrated(table, columns, calibrations, stated=stated)
    keys = LABELS | {"calibrations": [*calibrations]} | keys
    write_metrics(make_config(["one"], **keys), table)
    return table


def write_run(folder: Path, num_rows: int, **changes: Any) -> None:
    shard = {
        "windows_run": 40, "tokens_run": 20_480, "wall_s": 8.0, "load_s": 0.5, "node": "n1",
        "device": "cpu (1 threads)", "device_class": "cpu AVX512", "threads": 1,
        "version": "0.1.0", "python": "3.11.7",
        "torch": "2.13.0", "transformers": "5.23.0", "peak_memory_mb": 700.5,
    }  # fmt: skip
    run = {
        "model": "evo2-mini",
        "signature": signature(),
        "alleles": num_rows,
        "variants": {"variants": "in.vcf", "format": "vcf", "records": num_rows, "regions": None},
        "windows_run": 80,
        "tokens_run": 40_960,
        "wall_s": 16.0,
        "shards": [{"shard": f"{i}-of-2", **shard} for i in (1, 2)],
    }
    (folder / "run.json").write_text(json.dumps(run | changes))


def make_config(
    scorings: Sequence[str], *, made: Mapping[str, Any] | None = None, **variant_set: Any
) -> RunConfig:
    """A config with these scorings and a variant set with these keys.

    The calibrations that the set names have the keys of ``made``, or are files of an earlier run.
    """
    names = [*(made or variant_set.get("calibrations", ()))]
    files = {name: {"file": f"{name}/{{scoring}}/calibration.parquet"} for name in names}
    parts = project.make_config(
        scorings={name: {"model": "m"} for name in scorings},
        variant_set=variant_set | ({"calibrations": names} if names else {}),
        **({"calibrations": made or files} if names else {}),
    )
    return load_config(parts, look_for_files=False)


FEW_DRAWS = Resampling(50)


@contextmanager
def few_draws() -> Iterator[None]:
    """Intervals of few draws, which are soon there."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (evaluate_task, scorings):
            patch.setattr(module, "make_resampling", lambda _: FEW_DRAWS)
        patch.setattr(curves, "MOST_DRAWS", FEW_DRAWS.num_resamples)
        yield


def write_metrics(config: RunConfig, table: Path) -> None:
    """Evaluate a table, into the files next to it."""
    with few_draws():
        evaluate_task.evaluate(
            resolve_evaluate(config, "v"),
            table=table,
            out=table.with_name(METRICS),
            curves_file=table.with_name(CURVES),
        )


def write_page(
    folder: Path,
    scorings: Sequence[str] = ("one",),
    *,
    made: Mapping[str, Any] | None = None,
    **variant_set: Any,
) -> Path:
    """Evaluate the tables where there are labels, and write the page."""
    config = make_config(scorings, made=made, **variant_set)
    if variant_set.get("labels"):
        for scoring in scorings:
            write_metrics(config, folder / scoring / "scores.parquet")
    page = folder / "report.html"
    with few_draws():
        report_task.report(resolve_report(config, "v"), results=folder, out=page)
    return page


def read_frame(table: Path) -> pd.DataFrame:
    """The table as pandas reads it, by nothing of the project."""
    return pd.read_parquet(table)


def saturated_columns(regions: Sequence[tuple[str, int, int]], *, seed: int = 1) -> Columns:
    """Every SNV of some regions, each a contig, its first and its last position, in order."""
    rng = np.random.default_rng(seed)
    sites = [
        (contig, pos, str(rng.choice(list("ACGT"))))
        for contig, first, last in regions
        for pos in range(first, last + 1)
    ]
    rows = [(*site, alt) for site in sites for alt in "ACGT" if alt != site[2]]
    columns = make_columns(len(rows), seed=seed)
    columns["contig"], columns["pos"], columns["ref"], columns["alt"] = map(
        list, zip(*rows, strict=True)
    )
    columns["reference_contig"] = columns["contig"]
    return columns
