"""The section about combined tables: settings, correlations, window lengths, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.evaluation.schema import ALL, BY_TYPE
from evo2_tasks.io.words import counted
from evo2_tasks.layout import COMBINED
from evo2_tasks.report.blocks import (
    NAME,
    NUMBER,
    Block,
    Cell,
    FigureIds,
    Grid,
    Heading,
    Note,
    Table,
    number_cell,
    whole_cell,
)
from evo2_tasks.report.combination_plots import (
    ALL_ALLELES,
    plot_correlations,
    plot_lengths,
    plot_metric_lengths,
)
from evo2_tasks.report.combinations import QUANTILES, CombinedEvidence, WindowLength
from evo2_tasks.report.comparison import MAIN_METRICS, NamedMetric
from evo2_tasks.report.label_plots import assign_looks, plot_curves, plot_dots
from evo2_tasks.report.label_tables import tabulate_metrics
from evo2_tasks.report.metric_words import METRIC_NAMES
from evo2_tasks.report.run_tables import SIGNATURE_NAMES
from evo2_tasks.report.style import SERIES
from evo2_tasks.report.words import count, decimal, fixed, listed, printable, value_text
from evo2_tasks.table.combined import RANK_MEAN
from evo2_tasks.table.provenance import differing_keys

MEANINGS: Final = {
    RANK_MEAN: "rank_mean is the mean of an allele's ranks, each divided by the number of alleles, "
    "from 0 to 1",
    "z_mean": "z_mean is the mean of an allele's scores, after each scoring is scaled to mean 0 "
    "and standard deviation 1",
}

_TYPE_RANK: Final = ("snv", "mnv", "insertion", "deletion", "indel")


def show_combinations(combinations: Sequence[CombinedEvidence], ids: FigureIds) -> Iterator[Block]:
    """The combined tables of the variant set; nothing if there are none."""
    for one in combinations:
        if len(combinations) > 1:
            yield Heading(printable(one.stated.name))
        yield from _show_combination(one, ids)


def _show_combination(one: CombinedEvidence, ids: FigureIds) -> Iterator[Block]:
    stated = one.stated
    names = [printable(scoring.name) for scoring in stated.scorings]
    yield Note(
        f"The table {COMBINED} of {printable(stated.name)} has the scores of {listed(names)} "
        f"next to each other. {count(stated.scored)} of {counted(one.num_rows, 'allele')} "
        f"{'is' if stated.scored == 1 else 'are'} scored in all of them; all that follows uses "
        "these alleles."
    )
    settings = _tabulate_settings(one)
    if settings is None:
        yield Note("The scorings have the same signature, so their scores are the same.")
    else:
        yield Note(
            "The scorings have different signatures, so their scores are not on one scale. The "
            "table lists the settings that differ."
        )
        yield settings
    if stated.ensembles:
        meanings = [MEANINGS.get(name, name) for name in stated.ensembles]
        yield Note(
            f"Ensembles of {stated.score}: {'; '.join(meanings)}. Low means harmful, as for llr."
        )
    for name, reason in stated.ensembles.items():
        if reason:
            yield Note(f"{name} is missing in all rows: {printable(reason, 400)}.", is_warning=True)
    if one.num_sampled > 1:
        yield Grid([_plot_correlations(one, ids)])
    for lengths in one.lengths if one.num_sampled else ():
        yield from _show_lengths(one, lengths, ids)
    labels = dict.fromkeys(row.label for row in one.metrics)
    for label in labels:
        yield from _show_label(one, label, ids)


def _tabulate_settings(one: CombinedEvidence) -> Table | None:
    """The settings in which the signatures differ; None if they do not differ."""
    signatures = [scoring.signature.as_json() for scoring in one.stated.scorings]
    keys = dict.fromkeys(
        key for other in signatures[1:] for key in differing_keys(signatures[0], other)
    )
    if not keys:
        return None
    rows = [
        [
            Cell(printable(scoring.name)),
            Cell(printable(scoring.model or "unknown")),
            *(Cell(printable(value_text(_find(signature, key)), 24)) for key in keys),
        ]
        for scoring, signature in zip(one.stated.scorings, signatures, strict=True)
    ]
    heads = [(SIGNATURE_NAMES.get(key, key.removeprefix("scoring.")), NAME) for key in keys]
    return Table(
        f"Settings that differ between the scorings of {printable(one.stated.name)}",
        [("scoring", NAME), ("model", NAME), *heads], rows,
    )  # fmt: skip


def _find(signature: Mapping[str, Any], key: str) -> Any:
    """The value of a key as ``differing_keys`` names it."""
    outer, _, inner = key.partition(".")
    value = signature.get(outer)
    return value.get(inner) if inner and isinstance(value, Mapping) else value


def _plot_correlations(one: CombinedEvidence, ids: FigureIds) -> Any:
    rows = counted(one.num_sampled, "allele")
    if one.step > 1:
        rows = f"from a sample: one allele in {one.step}, {rows}"
    title = f"Rank correlation of the scores, {printable(one.stated.name)}"
    return plot_correlations(ids(), title, one.scores, one.correlations, rows)


def _show_lengths(
    one: CombinedEvidence, lengths: Sequence[WindowLength], ids: FigureIds
) -> Iterator[Block]:
    """How scores and metrics depend on the window length."""
    score = one.stated.score
    names = [f"{printable(of_length.scoring)} ({count(of_length.length)})" for of_length in lengths]
    yield Note(
        f"{listed(names)} differ only in window length and in what follows from it, so "
        f"they show how {score} depends on the "
        "window length."
    )
    title = f"{score} by window length"
    plots = [plot_lengths(ids(), title, lengths, {ALL_ALLELES: [of.spread for of in lengths]})]
    for label in lengths[0].by_class:
        spreads = {
            part: [of_length.by_class[label][part] for of_length in lengths]
            for part in ("negative", "positive")
            if lengths[0].by_class[label][part].num_rows
        }
        if spreads:
            plots.append(plot_lengths(ids(), f"{title}, {printable(label)}", lengths, spreads))
    for label in dict.fromkeys(row.label for row in one.metrics):
        for metric, chance_level in MAIN_METRICS.items():
            found = _find_metrics(one, label, metric, lengths)
            if any(row is not None and row.value is not None for row in found.get(ALL_ROWS, ())):
                ensembles = {
                    row.score: row
                    for row in _choose(one, label)
                    if (row.subset, row.metric) == (ALL, metric)
                    and row.score in one.stated.ensembles
                }
                title = f"{METRIC_NAMES[metric]} by window length, {printable(label)}"
                plots.append(
                    plot_metric_lengths(ids(), title, lengths, found, ensembles, chance_level)
                )
    yield Grid(plots)
    yield _tabulate_lengths(one, lengths)


ALL_ROWS: Final = "all labelled rows"


def _choose(one: CombinedEvidence, label: str) -> list[MetricRow]:
    """The metrics of the scorings and ensembles for a label, without differences."""
    return [
        row
        for row in one.metrics
        if row.label == label and row.minus is None and row.score in one.scores
    ]


def _find_metrics(
    one: CombinedEvidence, label: str, metric: str, lengths: Sequence[WindowLength]
) -> dict[str, list[MetricRow | None]]:
    """A metric for each of the lengths, on all rows and on each type with enough rows."""
    rows = {
        (row.group if row.subset == BY_TYPE else ALL_ROWS, row.score): row
        for row in _choose(one, label)
        if row.metric == metric and row.subset in (ALL, BY_TYPE)
    }
    types = [name for name in _TYPE_RANK if any((name, of.score) in rows for of in lengths)]
    found = {
        name: [rows.get((name, of_length.score)) for of_length in lengths]
        for name in [ALL_ROWS, *types]
    }
    room = len(SERIES) - len(one.stated.ensembles)
    kept = {
        name: of_lengths
        for name, of_lengths in found.items()
        if any(row is not None and row.value is not None for row in of_lengths)
        and (name == ALL_ROWS or not any(row is None or row.is_small for row in of_lengths))
    }
    return dict([*kept.items()][:room])


def _tabulate_lengths(one: CombinedEvidence, lengths: Sequence[WindowLength]) -> Table:
    rows = [
        [
            Cell(printable(of_length.scoring)),
            whole_cell(of_length.length),
            whole_cell(of_length.spread.num_rows),
            *(number_cell(value, decimal(value)) for value in of_length.spread.quantiles),
            number_cell(of_length.spearman, fixed(of_length.spearman)),
            number_cell(of_length.rms, decimal(of_length.rms)),
        ]
        for of_length in lengths
    ]
    columns = [
        ("scoring", NAME), ("window length, bases", NUMBER), ("alleles", NUMBER),
        *((f"{share:.0%}", NUMBER) for share in QUANTILES),
        ("Spearman with the longest window", NUMBER),
        ("root mean square difference from it, nats", NUMBER),
    ]  # fmt: skip
    note = f"From a sample: one allele in {one.step}." if one.step > 1 else ""
    return Table(f"Quantiles of {one.stated.score} by window length", columns, rows, note=note)


def _show_label(one: CombinedEvidence, label: str, ids: FigureIds) -> Iterator[Block]:
    """The metrics of the ensembles next to those of the scorings."""
    chosen = [(row.score, row) for row in _choose(one, label)]
    looks = assign_looks(chosen)
    plots = []
    for metric, chance_level in MAIN_METRICS.items():
        of_metric = [(name, row) for name, row in chosen if row.metric == metric]
        if any(row.value is not None for _, row in of_metric):
            title = f"{METRIC_NAMES[metric]} of the combined scores, {printable(label)}"
            yield Grid([plot_dots(ids(), title, of_metric, chance_level, looks)])
            curves = [
                (curve.score, curve)
                for curve in one.curves
                if (curve.label, curve.curve) == (label, "roc") and curve.score in one.scores
            ]
            areas = [
                (name, row) for name, row in of_metric
                if row.subset == ALL and name in [score for score, _ in curves]
            ]  # fmt: skip
            if curves:
                plots.append(plot_curves(ids(), "roc", curves, areas, looks))
    if plots:
        yield Grid(plots)
    of_all = [(name, row) for name, row in chosen if row.subset == ALL]
    yield _tabulate(f"Metrics of the combined scores, {printable(label)}", of_all)
    by_type = [(name, row) for name, row in chosen if row.subset == BY_TYPE]
    if by_type:
        title = f"Metrics of the combined scores by type of variant, {printable(label)}"
        yield _tabulate(title, by_type, "type")
    differences = [
        (row.score, row)
        for row in one.metrics
        if row.label == label and row.subset == ALL
        and row.score in one.scores and row.minus in one.scores
    ]  # fmt: skip
    if differences:
        title = f"Differences between the combined scores on the same rows, {printable(label)}"
        yield _tabulate(title, differences)


def _tabulate(title: str, metrics: Sequence[NamedMetric], head: str = "") -> Table:
    return tabulate_metrics(title, head, metrics)
