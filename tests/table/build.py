"""Tables made by hand: rows as dictionaries, and the files that the steps would write of them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import settings

from evo2_tasks.genome.records import CarryField
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import CALIBRATED, RUN
from evo2_tasks.table.calibration_schema import (
    BACKGROUND_COLUMNS,
    EVIDENCE_COLUMNS,
    calibrated_schema,
    make_calibrated_part,
)
from evo2_tasks.table.carried import make_carried_metadata
from evo2_tasks.table.joined import JoinedTable, open_joined
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import Provenance, make_signature, make_windows_signature
from evo2_tasks.table.schema import (
    ALL_SCORE_COLUMNS,
    ANNOTATION_COLUMNS,
    FINAL_COLUMNS,
    SCORES_COLUMNS,
    WINDOWS_COLUMNS,
    carried_schema,
    make_schema,
    scores_schema,
    windows_schema,
)

SCORING = {"window_length": 8192, "strands": "both", "horizon": None}

slow_disk = settings(deadline=None, max_examples=40)
"""For properties that write files: how long that takes is the disk's business."""

Row = dict[str, Any]


def signature(**changes: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "reference_digest": "SQ.abc",
        "scoring": SCORING,
        "weights_digest": "0" * 64,
        "dtype": "float32",
        "fp8": "off",
        "prepend_bos": False,
    }
    return make_signature(**(parts | changes))


def windows_signature(**changes: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {"reference_digest": "SQ.abc", "scoring": SCORING}
    return make_windows_signature(**(parts | changes))


def make_row(record: int, allele: int = 1, status: str = "scored", **values: Any) -> Row:
    """A row with everything that any step's file has; keys and scores follow from its numbers."""
    seed = random.Random(f"{record} {allele}")
    row: Row = {
        "record": record,
        "allele": allele,
        "contig": "chr1",
        "reference_contig": "chr1",
        "pos": 100 + record,
        "ref": "A",
        "alt": "CGT"[(allele - 1) % 3],
        "status": status,
        "reason": None,
        "flags": [],
        "window_start": record,
        "window_end": record + 8192,
        "edit_start": 99 + record,
        "edit_ref": 1,
        "edit_alt": "C",
        "background": [],
    } | {f"{name}_{strand}": 5 for name in ("length", "prefix") for strand in ("fwd", "rev")}
    is_scored = status == "scored"
    row |= {name: seed.gauss(0, 3) if is_scored else None for name in ALL_SCORE_COLUMNS}
    return row | values


def columns(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in names}


def write_shard(
    folder: Path,
    name: str,
    rows: Sequence[Row],
    *,
    placed: Mapping[str, Any] | None = None,
    scored: Mapping[str, Any] | None = None,
    version: str = "0.1.0",
    row_group_rows: int = 20_000,
) -> tuple[Path, Path]:
    """The windows and the scores file of a shard."""
    names = [column.name for column in WINDOWS_COLUMNS]
    windows, scores = folder / "windows" / f"{name}.parquet", folder / "scores" / f"{name}.parquet"
    before = [row | {"status": _before_scoring(row["status"])} for row in rows]
    with write_table(
        windows,
        windows_schema(),
        metadata=Provenance(placed or windows_signature(), version).metadata(),
        row_group_rows=row_group_rows,
    ) as writer:
        writer.write_columns(columns(before, names))
    with write_table(
        scores,
        scores_schema(),
        metadata=Provenance(scored or signature(), version, "evo2-mini").metadata(),
    ) as writer:
        writer.write_columns(columns(rows, [column.name for column in SCORES_COLUMNS]))
    return windows, scores


def write_carried(
    path: Path, rows: Sequence[Row], carry: Sequence[CarryField], row_group_rows: int = 20_000
) -> JoinedTable:
    """A table as ``carry`` writes it from the variants with the digest ``variants``."""
    schema = carried_schema(carry)
    metadata = make_carried_metadata("variants", {})
    with write_table(path, schema, metadata=metadata, row_group_rows=row_group_rows) as writer:
        writer.write_columns(columns(rows, schema.names))
    return open_joined(path, "carry", [field.name for field in carry], "variants", {})


def _before_scoring(status: str) -> str:
    return "to_score" if status in ("scored", "non_finite") else status


def write_result(
    path: Path,
    rows: Sequence[Row],
    carry: Sequence[CarryField] = (),
    *,
    order: str = "input",
    row_group_rows: int = 20_000,
    annotations: Sequence[str] = (),
) -> Path:
    """A table as merge writes it, with some columns of annotate."""
    made = [column for column in ANNOTATION_COLUMNS if column.name in annotations]
    schema = make_schema([*FINAL_COLUMNS, *made], carry)
    names = schema.names
    with write_table(
        path,
        schema,
        metadata=Provenance(signature(), "0.1.0", "evo2-mini", order).metadata(),
        row_group_rows=row_group_rows,
    ) as writer:
        writer.write_columns(columns(rows, names))
    return path


def write_run(table: Path, lengths: Mapping[str, int] | None, **more: Any) -> None:
    """The least ``run.json`` of a table, with the lengths of its contigs."""
    run = {"alleles": pq.read_metadata(table).num_rows, "shards": []}
    run |= {"table_digest": digest_file(table), **more}
    run |= {} if lengths is None else {"contigs": lengths}
    table.with_name(RUN).write_text(json.dumps(run))


def calibrate_row(row: Row) -> Row:
    """What ``calibrate`` might give a row: numbers that follow from its keys."""
    chosen = random.Random(f"{row['record']} {row['allele']} calibrated")
    names = [column.name for column in (*BACKGROUND_COLUMNS, *EVIDENCE_COLUMNS)]
    values: Row = dict.fromkeys(names)
    if row["status"] == "scored":
        values["stratum"] = chosen.choice(["all", "A[C>T]G | missense_variant", "5%;=,&"])
        values["stratum_fallback"] = values["stratum"] == "all"
        values |= {"quantile": chosen.random(), "phred": chosen.expovariate(0.1)}
        if chosen.random() < 0.2:
            values["lr_reason"] = "too_few_labels"
        else:
            values |= {name: chosen.lognormvariate(0, 2) for name in ("lr", "lr_low", "lr_high")}
            values["lr_high"] = values["lr_high"] if chosen.random() < 0.9 else None
            values["evidence"] = chosen.choice([-8, -4, -1, 0, 1, 2, 3, 8])
    return values


def write_calibrated(
    table: Path,
    rows: Sequence[Row],
    kinds: Mapping[str, tuple[bool, bool]],
    *,
    row_group_rows: int = 20_000,
    **provenance: Any,
) -> Path:
    """The file of ``calibrate`` next to a table.

    Args:
        table: The table.
        rows: Its rows.
        kinds: Whether each calibration has a background, and whether it has labels.
        row_group_rows: Rows of a row group.
        provenance: What the metadata states instead of the truth.
    """
    path = table.with_name(CALIBRATED)
    parts = [
        make_calibrated_part(
            name, has_background=background, has_labels=labels, is_prefixed=len(kinds) > 1
        )
        for name, (background, labels) in kinds.items()
    ]
    calibrated = []
    for row in rows:
        values = {"record": row["record"], "allele": row["allele"]}
        for number, part in enumerate(parts):
            made = calibrate_row(row | {"record": row["record"] + 1_000_000 * number})
            values |= {column.name: made[key] for key, column in part.columns.items()}
        calibrated.append(values)
    schema = calibrated_schema(parts)
    stated = {"signature": signature(), "version": "0.1.0", "source": digest_file(table)}
    metadata = Provenance(**(stated | provenance)).metadata()
    with write_table(path, schema, metadata=metadata, row_group_rows=row_group_rows) as writer:
        writer.write_columns(columns(calibrated, schema.names))
    return path


def read_rows(path: Path) -> list[Row]:
    """All rows, read by nothing of the project."""
    table: pa.Table = pq.read_table(path)
    rows: list[Row] = table.to_pylist()
    return rows
