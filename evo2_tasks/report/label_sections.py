"""The section about labelled variants: how well the scores separate the labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from evo2_tasks.evaluation.schema import (
    ALL,
    BY_GROUP,
    BY_TYPE,
    FEWEST_ROWS,
    METRICS,
    STRAND_AGREEMENT,
    WITH,
    WITHIN,
)
from evo2_tasks.report.blocks import Block, FigureIds, Grid, Heading, Note
from evo2_tasks.report.comparison import (
    MAIN_METRICS,
    Named,
    NamedCurve,
    give_names,
    is_headline,
    keep_comparable,
    make_names,
)
from evo2_tasks.report.evidence import Curve, Evidence, Figure
from evo2_tasks.report.label_plots import (
    Looks,
    plot_curves,
    plot_distribution,
    plot_dots,
    plot_number,
    take_looks,
    tell_rows,
)
from evo2_tasks.report.style import Plot
from evo2_tasks.report.tables import METRIC_NAMES, tabulate_figures
from evo2_tasks.report.words import count, counted, listed, plot_text, printable
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS


def show_labels(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    """What the evaluation of each label gave, in figures and in tables."""
    labels = list(dict.fromkeys(figure.label for one in evidence for figure in one.figures))
    for label in labels:
        if len(labels) > 1:
            yield Heading(f"Label {printable(label)}")
        yield from _show_label(label, evidence, ids)
    if labels:
        yield Note(
            "A higher score counts as more harmful, so llr is measured with its sign turned. "
            "Intervals hold 95 % of the draws of a bootstrap that draws positions, or what "
            "resample_by names, and not single variants, since neighbours are not independent. Few "
            f"rows are fewer than {FEWEST_ROWS}, of a class where there are two: the interval is "
            "too narrow then."
        )


def _show_label(label: str, evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    figures = {
        one.scoring: [figure for figure in one.figures if figure.label == label] for one in evidence
    }
    curves = {
        one.scoring: [curve for curve in one.curves if curve.label == label] for one in evidence
    }
    score_names = make_names(figures)
    named = give_names(figures, score_names)
    headlines = {
        scoring: figure for scoring, of in figures.items() for figure in of if is_headline(figure)
    }
    yield Note(_tell_label(next(iter(headlines.values())), evidence[0].num_rows))
    why = {scoring: one.reason for scoring, one in headlines.items() if one.value is None}
    for reason in dict.fromkeys(why.values()):
        where = [scoring for scoring in why if why[scoring] == reason]
        of = "" if len(where) == len(evidence) else f" of {listed(where)}"
        told = f"{printable(label)} gives no figure{of}: {printable(reason, 1_000)}."
        yield Note(told, is_warning=True)
    looks = take_looks([one for one in named if one[1].minus is None])
    for metric, without_worth in MAIN_METRICS.items():
        comparable = give_names(
            {
                scoring: keep_comparable(
                    [one for one in of_scoring if one.metric == metric and one.minus is None]
                )
                for scoring, of_scoring in figures.items()
            },
            score_names,
        )
        if any(figure.value is not None for _, figure in comparable):
            title = f"{METRIC_NAMES[metric]} by score and group, {printable(label)}"
            yield Grid([plot_dots(ids(), title, comparable, without_worth, looks)])
    drawn = list(_plot_label_curves(named, give_names(curves, score_names), looks, ids))
    if drawn:
        yield Grid(drawn)
    if len(why) < len(headlines):
        yield from _tabulate_label(label, named)


def _tell_label(headline: Figure, num_rows: int) -> str:
    """What counts as the label, and how many rows of the table have it."""
    num_labelled = headline.num_rows + headline.num_unscored
    told = (
        f"{printable(headline.label)}: {printable(headline.definition, 1_000)}. Of "
        f"{counted(num_rows, 'row')} {count(num_labelled)} "
        f"{'has' if num_labelled == 1 else 'have'} a label"
    )
    if headline.num_unscored:
        told += f", {count(headline.num_rows)} of them a score"
    reasons = [f"{printable(reason)} {count(number)}" for reason, number in headline.left_out]
    return f"{told}; left out: {', '.join(reasons)}." if reasons else f"{told}."


def _plot_label_curves(
    figures: Sequence[Named], curves: Sequence[NamedCurve], looks: Looks, ids: FigureIds
) -> Iterator[Plot]:
    for kind, metric in (("roc", "auroc"), ("precision_recall", "average_precision")):
        of_kind = [named for named in curves if named[1].curve == kind]
        areas = [named for named in figures if named[1].metric == metric]
        areas = [area for name, _ in of_kind if (area := _of_all_rows(areas, name))]
        if of_kind:
            yield plot_curves(ids(), kind, of_kind, areas, looks)
    by_name: dict[str, dict[str, Curve]] = {}
    for name, curve in curves:
        if curve.part is not None:
            by_name.setdefault(name, {})[curve.part] = curve
    for name, parts in by_name.items():
        axis = _axis(next(iter(parts.values())).score)
        caption = "Each class adds up to 100 %; the outermost bins hold what lies beyond."
        whole = _of_all_rows(figures, name)
        caption += f" {tell_rows(whole[1])}." if whole else ""
        title = f"{printable(name)} by label"
        yield plot_distribution(ids(), title, parts, caption, axis)
    for name, curve in curves:
        if curve.curve == "number":
            title = f"{printable(curve.label)} by {printable(name)}"
            yield plot_number(ids(), title, curve, _axis(curve.score))


def _of_all_rows(figures: Sequence[Named], name: str) -> Named | None:
    """The figure of a score on all rows that have it."""
    for other, figure in figures:
        is_own = figure.subset == ALL or (figure.subset == WITH and figure.column == figure.score)
        if other == name and figure.minus is None and is_own:
            return other, figure
    return None


def _axis(score: str) -> str:
    return f"{score}, nats" if score in ALL_SCORE_COLUMNS else plot_text(score)


def _tabulate_label(label: str, figures: Sequence[Named]) -> Iterator[Block]:
    def choose(keep: Callable[[Figure], bool]) -> list[Named]:
        return [named for named in figures if keep(named[1])]

    shown = printable(label)
    everything = choose(
        # That of the strands needs no label, and has a section of its own.
        lambda f: f.subset == ALL and f.minus is None and f.metric != STRAND_AGREEMENT
    )
    yield tabulate_figures(f"Figures of all rows with a label, {shown}", "", everything)
    meanings = {
        METRIC_NAMES[f.metric]: METRICS[f.metric] for _, f in everything if f.metric in METRICS
    }
    if meanings:
        told = "; ".join(f"{name}: {meaning}" for name, meaning in meanings.items())
        yield Note(told.replace("`", "") + ".")
    with_baseline = choose(lambda f: f.subset == WITH and f.minus is None)
    if with_baseline:
        yield tabulate_figures(f"Where a baseline is known, {shown}", "rows", with_baseline)
    by_type = choose(lambda f: f.subset == BY_TYPE and f.minus is None)
    if by_type:
        yield tabulate_figures(f"By type of variant, {shown}", "type", by_type)
    columns = dict.fromkeys(f.column for _, f in figures if f.subset in (BY_GROUP, WITHIN))
    grouped = choose(lambda f: f.subset in (BY_GROUP, WITHIN) and f.minus is None)
    for column in columns:
        of_column = [named for named in grouped if named[1].column == column]
        name = printable(column or "")
        if of_column:
            yield tabulate_figures(f"By {name}, {shown}", name, of_column)
    differences = choose(lambda f: f.minus is not None)
    if differences:
        yield tabulate_figures(f"Differences on the same variants, {shown}", "rows of", differences)
