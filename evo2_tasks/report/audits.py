"""The audit of a horizon: the scores of whole windows, and how far the scores are from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import AUDIT, RUN
from evo2_tasks.report.bins import PairSample, PairSummary
from evo2_tasks.report.blocks import (
    NAME,
    NUMBER,
    TEXT,
    Block,
    Cell,
    FigureIds,
    Grid,
    Note,
    Table,
    number_cell,
    whole_cell,
)
from evo2_tasks.report.plots import plot_pairs
from evo2_tasks.report.rows import name_alleles
from evo2_tasks.report.words import decimal, fixed, printable
from evo2_tasks.table.audit import read_audit, read_scores_of
from evo2_tasks.table.documents import Audit

SCORE_NAMES: Final = {
    "llr": "mean of the strands that are scored",
    "llr_fwd": "forward strand",
    "llr_rev": "reverse strand",
}


@dataclass(frozen=True, slots=True)
class AuditEvidence:
    """The audit of a scoring.

    Attributes:
        stated: What ``run.json`` states about it.
        pairs: ``llr`` of the whole windows and ``llr`` of the audited alleles; None without any.
        names: What the plot calls the alleles, by number of the point.
    """

    stated: Audit
    pairs: PairSummary | None
    names: Mapping[int, str]


def read_audit_of(table: Path, stated: Audit | None) -> AuditEvidence | None:
    """Read the audit of a scoring.

    Args:
        table: The table of scores.
        stated: What ``run.json`` states; None without an audit.

    Raises:
        InputError: The table of the audit is missing or broken, or is another one.
    """
    if stated is None:
        return None
    file = table.with_name(AUDIT)
    if not file.exists():
        raise InputError(f"{shown_path(file)}: does not exist. Run `merge_audit` first.")
    if digest_file(file) != stated.table_digest:
        raise InputError(
            f"{shown_path(file)}: is another table than the one that {RUN} states. Run `merge` "
            "again."
        )
    exact = read_audit(file)
    found = read_scores_of([table], exact.keys())
    keys = [
        key
        for key, scores in exact.items()
        if scores["llr"] is not None and found.get(key, {}).get("llr") is not None
    ]
    sample = PairSample("llr of the whole window", "llr", num_rows=len(keys))
    x = np.array([exact[key]["llr"] for key in keys], dtype=np.float64)
    y = np.array([found[key]["llr"] for key in keys], dtype=np.float64)
    sample.add(x, y, np.arange(len(keys), dtype=np.int64))
    names = name_alleles(table, set(keys))
    return AuditEvidence(
        stated, sample.summarize(), {number: names[key] for number, key in enumerate(keys)}
    )


def show_audits(
    audits: Mapping[str, AuditEvidence], horizons: Mapping[str, int | None], ids: FigureIds
) -> Iterator[Block]:
    """The observed error of each scoring with an audit; nothing if there is none.

    Args:
        audits: The audits by scoring.
        horizons: The horizon of each of these scorings, tokens.
        ids: Ids of the plots.
    """
    if not audits:
        return
    yield Note(
        "With a horizon, only the first tokens from the first difference on are scored. To measure "
        "what this changes, some alleles were scored with their whole windows too. A hash chose "
        "them, so they are a random sample of the alleles that can be scored."
    )
    plots = [
        plot_pairs(
            ids(), f"llr with and without the horizon, {printable(scoring)}", one.pairs, one.names,
            f"audited allele{'' if one.pairs.num_rows == 1 else 's'}",
        )
        for scoring, one in audits.items()
        if one.pairs is not None
    ]  # fmt: skip
    if plots:
        yield Grid(plots)
    rows = [
        [
            Cell(printable(scoring)),
            whole_cell(horizons.get(scoring)),
            Cell(SCORE_NAMES.get(name, printable(name))),
            whole_cell(error.alleles),
            *(
                number_cell(value, decimal(value))
                for value in (error.rms, error.p99, error.largest)
            ),
            number_cell(error.spearman, fixed(error.spearman)),
        ]
        for scoring, one in audits.items()
        for name, error in one.stated.errors.items()
    ]
    columns = [
        ("scoring", NAME), ("horizon, tokens", NUMBER), ("llr", TEXT), ("alleles", NUMBER),
        ("root mean square, nats", NUMBER), ("99th percentile, nats", NUMBER),
        ("largest, nats", NUMBER), ("Spearman", NUMBER),
    ]  # fmt: skip
    if rows:
        yield Table(
            "Differences between the llr with the horizon and the llr of the whole window",
            columns,
            rows,
        )
    without = [scoring for scoring, one in audits.items() if not one.stated.errors]
    for scoring in without:
        yield Note(f"{printable(scoring)}: no audited allele has both scores.")
