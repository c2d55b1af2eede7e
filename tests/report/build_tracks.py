"""A track set with random values, written without a model, whose names want to be markup."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import TILES, TRACK_REGIONS, TRACK_TABLE, TRACKS_RUN
from evo2_tasks.report.track_pages import write_track_page
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import Provenance, make_windows_signature
from evo2_tasks.table.schema import track_regions_schema, tracks_schema

HOSTILE = "<img src=x onerror=alert(1)>%{x}</script><b>&amp;\u202e"
SOURCE = "1" * 64
SIGNATURE = make_windows_signature(reference_digest="x", scoring={})
LENGTHS = {HOSTILE: 5_000, "two": 300}
STARTS = {HOSTILE: [*range(100, 4_900)], "two": [*range(10), *range(30, 300)]}
Line = tuple[str | None, int | None, int | None, str | None, str | None, str]
LINES: tuple[Line, ...] = (
    (HOSTILE, 100, 130, HOSTILE, HOSTILE, "scored"),
    ("nowhere", 1, 5, None, None, "contig_not_found"),
    ("two", 0, 60, "gap", "two", "scored"),  # in blocks: 10 to 30 is not in the table
    (HOSTILE, 100, 4_900, "long", HOSTILE, "scored"),
    ("TWO", 290, 400, None, "two", "position_out_of_range"),
    (None, None, None, None, None, "invalid_record"),
)


def make_tracks(seed: int = 4) -> pd.DataFrame:
    """A base for each start; some have values of one strand only, and some of none."""
    rng = np.random.default_rng(seed)
    rows = [(contig, start) for contig, starts in STARTS.items() for start in starts]
    table = pd.DataFrame(rows, columns=["contig", "pos"])
    table["pos"] += 1
    table["ref"] = rng.choice([*"ACGTN"], len(table), p=[0.24, 0.24, 0.24, 0.24, 0.04])
    for suffix in ("fwd", "rev"):
        probs = rng.dirichlet([0.3] * 4, len(table)).clip(1e-12)
        probs /= probs.sum(axis=1, keepdims=True)
        for number, base in enumerate("ACGT"):
            table[f"logp_{base}_{suffix}"] = np.log(probs[:, number]).astype("float32")
    table["logp_ref"] = (-rng.exponential(size=len(table))).astype("float32")
    one_strand = table.index % 50 == 7
    table.loc[one_strand, [f"logp_{base}_fwd" for base in "ACGT"]] = np.nan
    none = table.index % 50 == 9
    columns = [f"logp_{base}_{suffix}" for base in "ACGT" for suffix in ("fwd", "rev")]
    table.loc[none, [*columns, "logp_ref"]] = np.nan
    table["entropy"] = find_entropy(find_probabilities(table)).astype("float32")
    for suffix in ("fwd", "rev"):
        table[f"context_{suffix}"] = np.int32(99)
    return table


def find_probabilities(table: pd.DataFrame) -> pd.DataFrame:
    """The softmax of the mean of both strands, as docs/tracks.md defines it."""
    logits = pd.DataFrame(
        {base: table[[f"logp_{base}_fwd", f"logp_{base}_rev"]].mean(axis=1) for base in "ACGT"}
    ).astype("float64")
    exps = np.exp(logits)
    return exps.div(exps.sum(axis=1, skipna=False), axis=0)


def find_entropy(probs: pd.DataFrame) -> pd.Series[float]:
    return -(probs * np.log2(probs)).sum(axis=1, skipna=False)


def write_tracks(
    folder: Path, table: pd.DataFrame, lines: Sequence[Line] = LINES, *, group_rows: int = 700
) -> None:
    """The files of a scoring that the page reads."""
    schema = tracks_schema()
    provenance = Provenance(SIGNATURE, "0.1.0", "m", inputs={"regions": SOURCE})
    with write_table(
        folder / TRACK_TABLE, schema, metadata=provenance.metadata(), row_group_rows=group_rows
    ) as writer:
        writer.write(pa.Table.from_pandas(table[schema.names], schema, preserve_index=False))
    present = {contig: np.array(starts) for contig, starts in STARTS.items()}
    rows = []
    for record, (contig, start, end, name, found, status) in enumerate(lines):
        num = 0
        if found is not None and start is not None and end is not None:
            num = int(((present[found] >= start) & (present[found] < end)).sum())
        reason = None if status == "scored" else "why_not"
        rows.append((record, contig, start, end, name, found, status, reason, num))
    regions = track_regions_schema()
    provenance = Provenance(SIGNATURE, "0.1.0", source=SOURCE)
    with write_table(
        folder / TILES / TRACK_REGIONS, regions, metadata=provenance.metadata()
    ) as writer:
        columns = zip(*rows, strict=True)
        writer.write(pa.table([pa.array(c, f.type) for c, f in zip(columns, regions, strict=True)],
                              schema=regions))  # fmt: skip
    statuses = [line[-1] for line in lines]
    run = {
        "table_digest": digest_file(folder / TRACK_TABLE), "date": "2026-01-01", "model": "m",
        "signature": {}, "regions": HOSTILE, "records": len(lines),
        "by_status": {one: statuses.count(one) for one in dict.fromkeys(statuses)},
        "bases": len(table), "non_finite": 3, "reference": {"name": "g", "digest": "x"},
        "fasta": "g.fa", "contigs": LENGTHS, "windows_run": 1, "tokens_run": 1, "wall_s": 1.0,
        "devices": {}, "shards": [],
    }  # fmt: skip
    (folder / TRACKS_RUN).write_text(json.dumps(run))


def write_hostile_tracks(folder: Path) -> Path:
    write_tracks(folder / "s", make_tracks())
    page = folder / "report.html"
    write_track_page(folder, page, HOSTILE, ["s"])
    return page
