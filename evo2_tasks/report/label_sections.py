"""The section about labelled variants: how well the scores separate the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from evo2_tasks.evaluation.results import Curve, MetricRow
from evo2_tasks.evaluation.schema import (
    ALL,
    BY_GROUP,
    BY_TYPE,
    FEWEST_ROWS,
    METRICS,
    OF_PROBABILITIES,
    STRAND_AGREEMENT,
    WITH,
    WITHIN,
    explain_fine_groups,
)
from evo2_tasks.io.words import counted
from evo2_tasks.report.blocks import Block, FigureIds, Grid, Heading, Note, Table
from evo2_tasks.report.comparison import (
    MAIN_METRICS,
    MAIN_SCORE,
    NamedCurve,
    NamedMetric,
    ScoreNames,
    is_headline,
    keep_comparable,
    make_names,
    name_items,
)
from evo2_tasks.report.evidence import Evidence
from evo2_tasks.report.label_plots import (
    Looks,
    assign_looks,
    plot_cumulative,
    plot_curves,
    plot_distribution,
    plot_dots,
    plot_number,
)
from evo2_tasks.report.label_tables import tabulate_metrics
from evo2_tasks.report.metric_words import METRIC_NAMES, PRECISION, describe_rows
from evo2_tasks.report.rows import AlleleKey
from evo2_tasks.report.style import Plot
from evo2_tasks.report.words import count, listed, plot_text, printable
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS


def show_labels(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    """The results of evaluating each label, as plots and tables."""
    labels = list(dict.fromkeys(row.label for one in evidence for row in one.metrics))
    for label in labels:
        if len(labels) > 1:
            yield Heading(f"Label {printable(label)}")
        yield from _show_label(label, evidence, ids)
    if labels:
        yield Note(
            "A higher score counts as more harmful, so -llr is evaluated. Intervals are 95 % "
            "intervals of a bootstrap. The bootstrap draws positions (or values of resample_by) "
            "rather than single variants, because neighbouring variants are not independent. "
            f"Few rows means fewer than {FEWEST_ROWS} rows (of one class, if there are classes): "
            "the interval is then too narrow."
        )


def _show_label(label: str, evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    metrics = {one.scoring: [row for row in one.metrics if row.label == label] for one in evidence}
    curves = {
        one.scoring: [curve for curve in one.curves if curve.label == label] for one in evidence
    }
    names = make_names(metrics)
    named = name_items(metrics, names)
    headlines = {
        scoring: row for scoring, rows in metrics.items() for row in rows if is_headline(row)
    }
    yield Note(_describe_label(next(iter(headlines.values())), evidence[0].num_rows))
    missing = {scoring: row.reason for scoring, row in headlines.items() if row.value is None}
    yield from _warn_of_missing(label, missing, len(headlines))
    looks = assign_looks(
        [(name, row) for name, row in named if row.minus is None and not _is_of_ratio(row)]
    )
    yield from _show_dots(label, metrics, names, looks, ids)
    allele_names = {key: name for one in evidence for key, name in one.allele_names.items()}
    plots = list(_plot_label_curves(named, name_items(curves, names), allele_names, looks, ids))
    if plots:
        yield Grid(plots)
    if len(missing) < len(headlines):
        yield from _tabulate_label(label, named)


def _describe_label(headline: MetricRow, num_rows: int) -> str:
    """The definition of the label, and how many rows of the table have it."""
    num_labelled = headline.num_rows + headline.num_unscored
    text = (
        f"{printable(headline.label)}: {printable(headline.definition, 1_000)}. "
        f"{count(num_labelled)} of {counted(num_rows, 'row')} "
        f"{'has' if num_labelled == 1 else 'have'} a label"
    )
    if headline.num_unscored:
        text += f"; {count(headline.num_rows)} of these have a score"
    reasons = [f"{printable(reason)} {count(number)}" for reason, number in headline.left_out]
    return f"{text}. Rows without a label: {', '.join(reasons)}." if reasons else f"{text}."


def _warn_of_missing(label: str, missing: Mapping[str, str], num_scorings: int) -> Iterator[Block]:
    """A warning for each reason why scorings have no metrics.

    Args:
        label: Name of the label.
        missing: The reason by scoring.
        num_scorings: Scorings of the variant set.
    """
    for reason in dict.fromkeys(missing.values()):
        scorings = [scoring for scoring in missing if missing[scoring] == reason]
        where = "" if len(scorings) == num_scorings else f" for {listed(scorings)}"
        text = f"{printable(label)} has no metrics{where}: {printable(reason, 1_000)}."
        yield Note(text, is_warning=True)


def _show_dots(
    label: str,
    metrics: Mapping[str, Sequence[MetricRow]],
    names: ScoreNames,
    looks: Looks,
    ids: FigureIds,
) -> Iterator[Block]:
    """A plot of each main metric by score and subset."""
    for metric, chance_level in MAIN_METRICS.items():
        comparable = {
            scoring: keep_comparable(
                [row for row in rows if row.metric == metric and row.minus is None]
            )
            for scoring, rows in metrics.items()
        }
        named = name_items(comparable, names)
        if any(row.value is not None for _, row in named):
            title = f"{METRIC_NAMES[metric]} by score and group, {printable(label)}"
            yield Grid([plot_dots(ids(), title, named, chance_level, looks)])


def _plot_label_curves(
    metrics: Sequence[NamedMetric],
    curves: Sequence[NamedCurve],
    allele_names: Mapping[AlleleKey, str],
    looks: Looks,
    ids: FigureIds,
) -> Iterator[Plot]:
    for kind, metric in (("roc", "auroc"), ("precision_recall", PRECISION)):
        of_kind = [(name, curve) for name, curve in curves if curve.curve == kind]
        areas = [(name, row) for name, row in metrics if row.metric == metric]
        areas = [area for name, _ in of_kind if (area := _find_whole(areas, name))]
        if of_kind:
            yield plot_curves(ids(), kind, of_kind, areas, looks)
    by_name: dict[str, dict[str, dict[str, Curve]]] = {}
    for name, curve in curves:
        if curve.part is not None:
            by_name.setdefault(name, {}).setdefault(curve.curve, {})[curve.part] = curve
    for name, by_kind in by_name.items():
        parts, singles = by_kind["distribution"], by_kind.get("cumulative", {})
        whole = _find_whole(metrics, name)
        rows = f" {describe_rows(whole[1])}." if whole else ""
        title, axis = f"{printable(name)} by label", _axis(next(iter(parts.values())).score)
        if singles:
            yield plot_cumulative(ids(), title, parts, singles, allele_names, rows, axis)
        else:
            yield plot_distribution(ids(), title, parts, rows, axis)
    for name, curve in curves:
        if curve.curve == "number":
            title = f"{printable(curve.label)} by {printable(name)}"
            yield plot_number(ids(), title, curve, _axis(curve.score))


def _find_whole(metrics: Sequence[NamedMetric], name: str) -> NamedMetric | None:
    """The metric of a score on all rows that have the score."""
    for other, row in metrics:
        is_whole = row.subset == ALL or (row.subset == WITH and row.column == row.score)
        if other == name and row.minus is None and is_whole:
            return other, row
    return None


def _axis(score: str) -> str:
    return f"{score}, nats" if score in ALL_SCORE_COLUMNS else plot_text(score)


def _tabulate_label(label: str, metrics: Sequence[NamedMetric]) -> Iterator[Block]:
    def choose(keep: Callable[[MetricRow], bool]) -> list[NamedMetric]:
        return [(name, row) for name, row in metrics if keep(row)]

    # The agreement of the strands needs no label, and has a section of its own.
    of_all = choose(
        lambda row: (
            row.subset == ALL
            and row.minus is None
            and row.metric != STRAND_AGREEMENT
            and not _is_of_ratio(row)
        )
    )
    yield _tabulate("Metrics of all labelled rows", label, "", of_all)
    yield from _define(of_all)
    of_ratios = choose(_is_of_ratio)
    if of_ratios:
        yield _tabulate("Calibration of likelihood ratios", label, "", of_ratios)
        yield from _define(of_ratios)
    with_baseline = choose(lambda row: row.subset == WITH and row.minus is None)
    if with_baseline:
        yield _tabulate("Metrics of the rows with a baseline", label, "rows", with_baseline)
    by_type = choose(lambda row: row.subset == BY_TYPE and row.minus is None)
    if by_type:
        yield _tabulate("Metrics by type of variant", label, "type", by_type)
    by_group = choose(lambda row: row.subset in (BY_GROUP, WITHIN) and row.minus is None)
    for column in dict.fromkeys(row.column for _, row in by_group):
        of_column = [(name, row) for name, row in by_group if row.column == column]
        head = printable(column or "")
        sizes = {
            row.group: row.num_rows + row.num_unscored
            for _, row in of_column
            if (row.subset, row.score) == (BY_GROUP, MAIN_SCORE)
        }
        problem = explain_fine_groups(column or "", [*sizes.values()])
        if problem:
            yield Note(f"{printable(problem, 400)}.", is_warning=True)
        yield _tabulate(f"Metrics by {head}", label, head, of_column)
    differences = choose(lambda row: row.minus is not None)
    if differences:
        yield _tabulate("Differences between scores on the same rows", label, "rows", differences)


def _is_of_ratio(row: MetricRow) -> bool:
    """Whether a metric is one of the probabilities that follow from likelihood ratios."""
    return row.metric in OF_PROBABILITIES


def _define(metrics: Sequence[NamedMetric]) -> Iterator[Note]:
    """The definitions of the metrics of a table."""
    definitions = {
        METRIC_NAMES[row.metric]: METRICS[row.metric] for _, row in metrics if row.metric in METRICS
    }
    if definitions:
        text = ". ".join(f"{name}: {definition}" for name, definition in definitions.items())
        yield Note(text.replace("`", "") + ".")


def _tabulate(title: str, label: str, head: str, metrics: Sequence[NamedMetric]) -> Table:
    return tabulate_metrics(f"{title}, {printable(label)}", head, metrics)
