"""Tables of the page: rows by status and flag, figures, strongest alleles, provenance, cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from markupsafe import Markup

from evo2_tasks.evaluation.schema import BY_GROUP, BY_TYPE
from evo2_tasks.layout import RUN
from evo2_tasks.report.comparison import MAIN_SCORE, Named
from evo2_tasks.report.evidence import Evidence, Figure
from evo2_tasks.report.label_plots import describe_subset
from evo2_tasks.report.words import (
    NOTHING,
    allele,
    breakable,
    code_marks,
    count,
    counted,
    decimal,
    fixed,
    interval,
    listed,
    printable,
    share,
    value_text,
    variant,
)
from evo2_tasks.table.schema import FLAG_MEANINGS, STATUS_MEANINGS

NUMBER, TEXT, CODE, NAME, LONG = "number", "text", "code", "name", "long"
"""How a column is set: to the right, as text, as letters of one width, as names that wrap where
they are long, as text that wraps."""

PRECISION: Final = "average_precision"

METRIC_NAMES: Final = {
    "auroc": "AUROC",
    PRECISION: "average precision",
    "sensitivity_at_0.95_specificity": "sensitivity at 0.95 specificity",
    "spearman": "Spearman",
    "strand_agreement": "agreement of the strands",
}

SIGNATURE_NAMES: Final = {
    "weights": "digest of the weights (SHA-256)",
    "reference": "digest of the reference (GA4GH seqcol)",
    "dtype": "number type",
    "fp8": "FP8",
    "prepend_bos": "begins with BOS",
    "scores_version": "version of the scores",
}

MOST_SHARDS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: what it shows, and the number that it is sorted by if not by the text."""

    text: str | Markup
    number: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page.

    Attributes:
        caption: What it holds.
        columns: Head and kind of each column.
        rows: Cells of each row; the first is its head.
        is_sortable: Whether its order is the reader's choice.
        note: What to know about it.
    """

    caption: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Cell]]
    is_sortable: bool = True
    note: str = ""


def number_cell(value: float | None, text: str) -> Cell:
    """A cell that is sorted by a number."""
    return Cell(text, value)


def whole_cell(value: int | None) -> Cell:
    """A cell with a whole number."""
    return Cell(NOTHING) if value is None else Cell(count(value), value)


# Rows by status and flag.


def tabulate_status(evidence: Sequence[Evidence]) -> Table:
    """Rows by status, the meaning of each, and examples."""
    order = [name for name in STATUS_MEANINGS if name != "scored"]
    return _tabulate_counts(
        "Alleles by status", "status", ["scored", *order], STATUS_MEANINGS,
        [(one, one.table.counts.by_status, one.num_rows) for one in evidence],
    )  # fmt: skip


def tabulate_flags(evidence: Sequence[Evidence]) -> Table:
    """Scored rows by flag, the meaning of each, and examples."""
    return _tabulate_counts(
        "Scored alleles by flag", "flag", [*FLAG_MEANINGS], FLAG_MEANINGS,
        [(one, one.table.counts.by_flag, one.num_scored) for one in evidence],
    )  # fmt: skip


def _tabulate_counts(
    caption: str,
    head: str,
    order: Sequence[str],
    meanings: Mapping[str, str],
    counts: Sequence[tuple[Evidence, Mapping[str, int], int]],
) -> Table:
    found = dict.fromkeys(name for _, of_scoring, _ in counts for name in of_scoring)
    names = [name for name in order if name in found]
    names += [name for name in found if name not in names]
    several = len(counts) > 1
    columns = [(head, CODE)]
    for one, _, _ in counts:
        columns += [(one.scoring if several else "alleles", NUMBER), ("share", NUMBER)]
    rows = []
    for name in names:
        cells = [Cell(printable(name))]
        for _, of_scoring, total in counts:
            number = of_scoring.get(name, 0)
            cells += [whole_cell(number), Cell(share(number, total), number)]
        examples = next((one.table.examples[name] for one, of, _ in counts if of.get(name)), ())
        meaning = Cell(code_marks(meanings.get(name, "not known to this version")))
        rows.append([*cells, meaning, Cell("; ".join(map(variant, examples)))])
    return Table(caption, [*columns, ("meaning", LONG), ("first of them", LONG)], rows)


# Figures of labelled variants.


def tabulate_figures(caption: str, head: str, figures: Sequence[Named]) -> Table:
    """Figures with their intervals and what they rest on: a row for each subset and score.

    A score that has no number at all in a subset gets no row there; ``llr`` always does.

    Args:
        caption: What the table holds.
        head: What its subsets are; empty where there is only one.
        figures: To be shown, differences among them or not, in the order of the scores.
    """
    metrics = list(dict.fromkeys(figure.metric for _, figure in figures))
    places = {place: at for at, place in enumerate(dict.fromkeys(f.place for _, f in figures))}
    rows: dict[tuple[str, ...], dict[str, Figure]] = {}
    left_out: set[str] = set()
    for name, figure in sorted(figures, key=lambda one: places[one[1].place]):
        score = printable(f"{name} minus {figure.minus}" if figure.minus is not None else name)
        if not figure.num_rows and (figure.minus is not None or figure.score != MAIN_SCORE):
            left_out.add(score)
            continue
        is_plain = figure.subset in (BY_TYPE, BY_GROUP) and figure.minus is None
        subset = figure.group or "" if is_plain else describe_subset(figure)
        rows.setdefault((printable(subset), score), {})[figure.metric] = figure
    has_classes = any(figure.num_positive is not None for _, figure in figures)
    counts = [("positive", NUMBER), ("negative", NUMBER)] if has_classes else [("rows", NUMBER)]
    columns = [
        *([(head, NAME)] if head else []),
        ("score", NAME),
        *chain.from_iterable(map(_metric_columns, metrics)),
        *counts,
    ]
    body = []
    remarks = [_why(by_metric) for by_metric in rows.values()]
    columns += [("without a score, and why", LONG)] if any(remarks) else []
    for ((subset, score), by_metric), remark in zip(rows.items(), remarks, strict=True):
        first = next(iter(by_metric.values()))
        cells = [Cell(breakable(name)) for name in ([subset, score] if head else [score])]
        for metric in metrics:
            cells.append(_figure_cell(by_metric.get(metric)))
            if metric == PRECISION:
                cells.append(number_cell(first.prevalence, fixed(first.prevalence)))
        numbers = [first.num_positive, first.num_negative] if has_classes else [first.num_rows]
        cells += [whole_cell(number) for number in numbers]
        body.append([*cells, *([Cell(remark)] if any(remarks) else [])])
    note = (
        f"Rows in which {listed(sorted(left_out))} has no number are left out." if left_out else ""
    )
    return Table(caption, columns, body, note=note)


def _metric_columns(metric: str) -> list[tuple[str, str]]:
    """A metric's column; what it is without worth stands beside a precision."""
    column = (METRIC_NAMES.get(metric, metric), NUMBER)
    return [column, ("prevalence", NUMBER)] if metric == PRECISION else [column]


def _figure_cell(figure: Figure | None) -> Cell:
    if figure is None:
        return Cell("")
    value, _, rest = interval(
        figure.value, figure.low, figure.high, sign=figure.minus is not None
    ).partition(" ")
    if not rest:
        return number_cell(figure.value, value)
    # The figure before its interval, for the eye.
    text = Markup('{} <span class="interval">{}</span>').format(value, rest)
    return Cell(text, figure.value)


def _why(by_metric: Mapping[str, Figure]) -> str:
    """Why rows lack a score, and why figures lack a value or an interval, or it is too narrow."""
    figures = [*by_metric.values()]
    told = [
        f"{count(number)} {printable(name) if name != 'scored' else 'without the baseline'}"
        for name, number in figures[0].unscored_by_status
    ]
    reasons: dict[str, list[str]] = {}
    for figure in figures:
        if figure.reason:
            reasons.setdefault(figure.reason, []).append(
                METRIC_NAMES.get(figure.metric, figure.metric)
            )
    several = len(reasons) > 1
    told += [
        printable(f"{listed(names)}: {reason}" if several else reason, 400)
        for reason, names in reasons.items()
    ]
    if figures[0].is_small and figures[0].low is not None:
        told.append("few rows")
    return "; ".join(told)


# The strongest alleles.


def tabulate_strongest(one: Evidence) -> Table:
    """The alleles with the lowest ``llr``, with what came along from the input."""
    columns = [
        ("rank", NUMBER), ("contig", TEXT), ("pos", NUMBER), ("ref", CODE), ("alt", CODE),
        ("llr", NUMBER), ("llr_fwd", NUMBER), ("llr_rev", NUMBER), ("flags", TEXT),
        *((printable(name), TEXT) for name in one.table.carried),
    ]  # fmt: skip
    rows = []
    for rank, row in enumerate(one.table.strongest, start=1):
        scores = [
            number_cell(row[name], fixed(row[name])) for name in ("llr", "llr_fwd", "llr_rev")
        ]
        carried = [_carried_cell(row[name]) for name in one.table.carried]
        rows.append(
            [
                whole_cell(rank), Cell(value_text(row["contig"])), whole_cell(row["pos"]),
                Cell(allele(row["ref"])), Cell(allele(row["alt"])), *scores,
                Cell(", ".join(map(printable, row["flags"]))), *carried,
            ]
        )  # fmt: skip
    return Table(f"Lowest llr, {one.scoring}", columns, rows)


def _carried_cell(value: Any) -> Cell:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(value_text(value), float(value) if is_number and math.isfinite(value) else None)


# The distribution in numbers.


def tabulate_quantiles(evidence: Sequence[Evidence], quantiles: Sequence[float]) -> Table:
    """Quantiles of ``llr`` of each scoring."""
    columns = [("scoring", TEXT), ("scored", NUMBER), ("lowest", NUMBER)]
    columns += [("median" if one == 0.5 else f"{100 * one:.0f} %", NUMBER) for one in quantiles]
    rows = []
    for one in evidence:
        llr = one.table.llr
        values = [llr.quantile(quantile) for quantile in quantiles] if llr.count else []
        numbers = [llr.minimum, *values, llr.maximum] if llr.count else []
        cells = [number_cell(value, decimal(value, zeros=True)) for value in numbers]
        cells += [Cell(NOTHING)] * (len(quantiles) + 2 - len(cells))
        rows.append([Cell(one.scoring), whole_cell(one.num_scored), *cells])
    return Table(
        "Quantiles of llr, nats", [*columns, ("highest", NUMBER)], rows,
        note="Quantiles are exact to 0.2 %.",
    )  # fmt: skip


# What was run, and what it cost.


def tabulate_provenance(evidence: Sequence[Evidence]) -> Table:
    """What shaped the scores, and where they were made: a column for each scoring."""
    facts = [describe_run(one) for one in evidence]
    names = dict.fromkeys(name for of_scoring in facts for name in of_scoring)
    rows = [
        [Cell(printable(name)), *(Cell(printable(fact.get(name, NOTHING), 200)) for fact in facts)]
        for name in names
    ]
    columns = [("", NAME), *((one.scoring, LONG) for one in evidence)]
    return Table("What was run", columns, rows, is_sortable=False)


def describe_run(one: Evidence) -> dict[str, str]:
    """What a scoring ran with, by the name of each fact."""
    signature = dict(one.provenance.signature)
    scoring = signature.pop("scoring", {})
    variants = one.run.get("variants") or {}
    facts = {
        "model": value_text(one.provenance.model),
        "variants": value_text(variants.get("variants")),
        "records of the input": _fact(variants.get("records")),
        "regions": value_text(variants.get("regions") or "all"),
    }
    for key in [*SIGNATURE_NAMES, *signature]:
        if key in signature:
            facts[SIGNATURE_NAMES.get(key, key)] = _fact(signature[key])
    if isinstance(scoring, Mapping):
        facts |= {key: _fact(scoring[key]) for key in scoring if key not in signature}
    facts["evo2-tasks"] = value_text(one.provenance.version)
    for key, name in {
        "device": "devices", "node": "nodes", "cpu_capability": "CPU capability",
        "threads": "threads", "python": "python", "torch": "torch", "transformers": "transformers",
    }.items():  # fmt: skip
        facts[name] = _tell_counts(shard[key] for shard in one.shards if key in shard)
    for key, name in {"windows_run": "windows run", "tokens_run": "tokens run"}.items():
        facts[name] = _fact(one.run.get(key))
    verification = one.run.get("verification")
    if verification is not None:
        facts |= _flatten("verification", verification)
    return facts


def _fact(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    return value if isinstance(value, str) else value_text(value)


def _flatten(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {name: _fact(value)}
    facts: dict[str, str] = {}
    for key, inner in value.items():
        facts |= _flatten(f"{name}: {key}", inner)
    return facts


def _tell_counts(values: Iterable[Any]) -> str:
    """Distinct values; how many shards have each where there are several."""
    counts = Counter(map(_fact, values))
    if len(counts) == 1:
        return next(iter(counts))
    told = [f"{value} ({counted(number, 'shard')})" for value, number in counts.most_common(20)]
    if len(counts) > len(told):
        told.append(f"{count(len(counts) - len(told))} more")
    return "; ".join(told) or NOTHING


def tell_mixed_devices(one: Evidence) -> str:
    """That the shards ran on different kinds of device; empty where they did not."""
    devices = [shard["device_class"] for shard in one.shards if "device_class" in shard]
    if len({str(device) for device in devices}) < 2:
        return ""
    told = _tell_counts(devices)
    return (
        f"{one.scoring}: the shards ran on different kinds of device: {printable(told, 200)}. "
        "Scores from different devices differ within the stated tolerance."
    )


def tabulate_shards(one: Evidence) -> Table:
    """What each scoring job took."""
    has_device_memory = any("peak_device_memory_mb" in shard for shard in one.shards)
    columns = [
        ("shard", TEXT), ("device", TEXT), ("node", TEXT), ("seconds", NUMBER),
        ("seconds to load", NUMBER), ("windows", NUMBER), ("tokens", NUMBER),
        ("tokens/s", NUMBER), ("peak memory, MB", NUMBER),
        *([("on the device, MB", NUMBER)] if has_device_memory else []),
    ]  # fmt: skip
    keys = ["wall_s", "load_s", "windows_run", "tokens_run", "rate", "peak_memory_mb"]
    keys += ["peak_device_memory_mb"] if has_device_memory else []
    rows = []
    for shard in one.shards[:MOST_SHARDS]:
        values = dict(shard)
        wall_s, tokens = (_as_number(shard.get(key)) for key in ("wall_s", "tokens_run"))
        if wall_s and tokens is not None:
            values["rate"] = tokens / wall_s
        numbers = [_as_number(values.get(key)) for key in keys]
        rows.append(
            [
                *(Cell(value_text(shard.get(key))) for key in ("shard", "device", "node")),
                *(number_cell(number, _cost(number)) for number in numbers),
            ]
        )
    left_out = len(one.shards) - len(rows)
    return Table(
        f"Time and memory by shard, {one.scoring}", columns, rows,
        note=f"{counted(left_out, 'shard')} more are in {RUN}." if left_out else "",
    )  # fmt: skip


def _as_number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _cost(number: float | None) -> str:
    if number is None:
        return NOTHING
    return count(round(number)) if abs(number) >= 100 else decimal(number)
