"""The sections of the page: which tables and figures it has, in which order, with which words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from evo2_tasks.evaluation.report.comparison import (
    MAIN_SCORE,
    Named,
    NamedCurve,
    give_names,
    keep_comparable,
    make_names,
)
from evo2_tasks.evaluation.report.evidence import Evidence, Figure
from evo2_tasks.evaluation.report.label_plots import (
    Looks,
    plot_curves,
    plot_distribution,
    plot_dots,
    plot_number,
    take_looks,
    tell_rows,
)
from evo2_tasks.evaluation.report.plots import (
    contig_span,
    plot_contig,
    plot_histogram,
    plot_pairs,
    plot_types,
)
from evo2_tasks.evaluation.report.style import Plot
from evo2_tasks.evaluation.report.summary import QUANTILES
from evo2_tasks.evaluation.report.tables import (
    METRIC_NAMES,
    Table,
    tabulate_figures,
    tabulate_flags,
    tabulate_provenance,
    tabulate_quantiles,
    tabulate_shards,
    tabulate_status,
    tabulate_strongest,
    tell_mixed_devices,
)
from evo2_tasks.evaluation.report.words import (
    count,
    counted,
    decimal,
    fixed,
    listed,
    plot_text,
    printable,
    share,
)
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
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS

MAIN_METRICS: Final = {"auroc": 0.5, "spearman": 0.0}
"""Metrics that are drawn as dots, and what a score that says nothing has."""

MOST_PANELS: Final = 48
"""Contigs that are drawn, of all scorings together."""

FEWEST_PANELS: Final = 4


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph; a warning stands out."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """Figures side by side, as many as fit."""

    plots: Sequence[Plot]
    is_dense: bool = False


Block = Heading | Note | Grid | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Tile:
    """The first thing to know of a scoring.

    Attributes:
        scoring: Its name.
        value: A figure.
        label: What the figure is.
        lines: What belongs to it.
    """

    scoring: str
    value: str
    label: str
    lines: Sequence[str]


class _Names:
    """Gives each figure an id of its own."""

    def __init__(self) -> None:
        self._num_given = 0

    def __call__(self) -> str:
        self._num_given += 1
        return f"figure-{self._num_given}"


def make_tiles(evidence: Sequence[Evidence]) -> list[Tile]:
    """The headline of each scoring: how well it separates labels, else its median."""
    return [_make_tile(one) for one in evidence]


def _make_tile(one: Evidence) -> Tile:
    scored = f"{count(one.num_scored)} of {counted(one.num_rows, 'allele')} scored"
    model = f"model {printable(one.provenance.model or 'unknown')}"
    headline = [figure for figure in one.figures if _is_headline(figure)]
    if headline:
        first, *others = headline
        name = METRIC_NAMES[first.metric]
        if first.value is None:
            value, lines = "none", [f"no {name}: {printable(first.reason, 400)}"]
        else:
            value, lines = fixed(first.value), [_tell_interval(first)]
        lines += [f"{printable(first.label)}: {tell_rows(first)}", *_tell_types(one, first)]
        lines += [
            f"{printable(f.label)}: {METRIC_NAMES[f.metric]} {fixed(f.value)}" for f in others
        ]
        label = f"{name} of {printable(first.score)}"
        return Tile(one.scoring, value, label, [*lines, scored, model])
    if one.num_scored:
        return Tile(
            one.scoring, decimal(one.table.llr.quantile(0.5)), "median llr, nats", [scored, model]
        )
    return Tile(one.scoring, "0", "alleles scored", [scored, model])


def _is_headline(figure: Figure) -> bool:
    """Whether it is the one to know first of a label: ``llr`` on all rows."""
    is_plain = figure.minus is None and figure.score == MAIN_SCORE
    return is_plain and figure.subset == ALL and figure.metric in MAIN_METRICS


def _tell_types(one: Evidence, first: Figure) -> Iterator[str]:
    """That a figure mixes types of variants, whose scores differ in size, and that of each."""
    types = [
        figure
        for figure in one.figures
        if (figure.subset, figure.score, figure.minus) == (BY_TYPE, first.score, None)
        and (figure.label, figure.metric) == (first.label, first.metric)
        and figure.num_rows
    ]
    if len(types) > 1:
        told = [
            f"{figure.group} {'none' if figure.value is None else fixed(figure.value)}"
            for figure in types
        ]
        yield f"all types of variants together; {', '.join(told)}"


def _tell_interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return printable(figure.reason, 200)
    few = ", too narrow: few rows" if figure.is_small else ""
    return f"95 % interval {fixed(figure.low)} to {fixed(figure.high)}{few}"


def find_alarms(evidence: Sequence[Evidence]) -> list[str]:
    """What has to be said loudly: scorings in which nothing is scored, different devices."""
    alarms = []
    for one in evidence:
        if one.num_scored:
            continue
        if not one.num_rows:
            alarms.append(f"{one.scoring}: there is nothing to score, the input has no alleles.")
            continue
        counts = one.table.counts.by_status
        reasons = listed([f"{name} {count(number)}" for name, number in counts.items()])
        alarms.append(
            f"{one.scoring}: NOTHING IS SCORED. None of the {counted(one.num_rows, 'allele')} has "
            f"a score: {printable(reasons, 400)}."
        )
    return [*alarms, *filter(None, map(tell_mixed_devices, evidence))]


def make_sections(evidence: Sequence[Evidence]) -> list[Section]:
    """All sections that there is something to say in."""
    names = _Names()
    sections = [
        Section("alleles", "What became of each allele", _list_alleles(evidence)),
        Section("labels", "How well scores separate labels", [*_show_labels(evidence, names)]),
        Section("scores", "Distribution of the scores", [*_show_scores(evidence, names)]),
        Section("contigs", "Scores along the contigs", [*_show_contigs(evidence, names)]),
        Section("strands", "Agreement of the strands", [*_show_strands(evidence, names)]),
        Section("indels", "Insertions and deletions", [*_show_indels(evidence, names)]),
        Section("strongest", "The strongest alleles", [*_show_strongest(evidence)]),
        Section("provenance", "What was run", [tabulate_provenance(evidence)]),
        Section("cost", "Time and cost", [*_show_cost(evidence)]),
    ]
    return [section for section in sections if section.blocks]


def _list_alleles(evidence: Sequence[Evidence]) -> list[Block]:
    blocks: list[Block] = [
        Note(
            "Every allele of the input has one row. A row has a score exactly if its status is "
            "scored; any other status says why it has none."
        )
    ]
    status, flags = tabulate_status(evidence), tabulate_flags(evidence)
    blocks += [status] if status.rows else [Note("The input has no alleles.")]
    blocks.append(flags if flags.rows else Note("No scored allele has a flag."))
    return blocks


# Labelled variants.


def _show_labels(evidence: Sequence[Evidence], names: _Names) -> Iterator[Block]:
    labels = list(dict.fromkeys(figure.label for one in evidence for figure in one.figures))
    for label in labels:
        if len(labels) > 1:
            yield Heading(f"Label {printable(label)}")
        yield from _show_label(label, evidence, names)
    if labels:
        yield Note(
            "A higher score counts as more harmful, so llr is measured with its sign turned. "
            "Intervals hold 95 % of the draws of a bootstrap that draws positions, or what "
            "resample_by names, and not single variants, since neighbours are not independent. Few "
            f"rows are fewer than {FEWEST_ROWS} of a class: the interval is too narrow then."
        )


def _show_label(label: str, evidence: Sequence[Evidence], names: _Names) -> Iterator[Block]:
    figures = {
        one.scoring: [figure for figure in one.figures if figure.label == label] for one in evidence
    }
    curves = {
        one.scoring: [curve for curve in one.curves if curve.label == label] for one in evidence
    }
    score_names = make_names(figures)
    named = give_names(figures, score_names)
    headlines = [figure for of in figures.values() for figure in of if _is_headline(figure)]
    yield Note(_tell_label(headlines[0], evidence[0].num_rows))
    reasons = list(dict.fromkeys(figure.reason for figure in headlines if figure.value is None))
    if reasons:
        yield Note(
            f"{printable(label)} gives no figure: {printable('; '.join(reasons), 1_000)}.", True
        )
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
            yield Grid([plot_dots(names(), title, comparable, without_worth, looks)])
    drawn = list(_plot_label_curves(named, give_names(curves, score_names), looks, names))
    if drawn:
        yield Grid(drawn)
    yield from _tabulate_label(label, named)


def _tell_label(headline: Figure, num_rows: int) -> str:
    """What counts as the label, and how many rows of the table have it."""
    num_labelled = headline.num_rows + headline.num_unscored
    told = (
        f"{printable(headline.label)} - {printable(headline.definition, 1_000)}. Of "
        f"{counted(num_rows, 'row')} {count(num_labelled)} "
        f"{'has' if num_labelled == 1 else 'have'} a label"
    )
    if headline.num_unscored:
        told += f", {count(headline.num_rows)} of them a score"
    reasons = [f"{printable(reason)} {count(number)}" for reason, number in headline.left_out]
    return f"{told}; left out: {', '.join(reasons)}." if reasons else f"{told}."


def _plot_label_curves(
    figures: Sequence[Named], curves: Sequence[NamedCurve], looks: Looks, names: _Names
) -> Iterator[Plot]:
    for kind, metric in (("roc", "auroc"), ("precision_recall", "average_precision")):
        of_kind = [named for named in curves if named[1].curve == kind]
        areas = [named for named in figures if named[1].metric == metric]
        areas = [area for name, _ in of_kind if (area := _of_all_rows(areas, name))]
        if of_kind:
            yield plot_curves(names(), kind, of_kind, areas, looks)
    for name, curve in curves:
        if curve.part != "positive":
            continue
        parts = {one.part: one for other, one in curves if other == name and one.part}
        caption = "Each class adds up to 100 %; the outermost bins hold what lies beyond."
        whole = _of_all_rows(figures, name)
        caption += f" {tell_rows(whole[1])}." if whole else ""
        title = f"{printable(name)} by label"
        yield plot_distribution(names(), title, parts, caption, _axis(curve.score))
    for name, curve in curves:
        if curve.curve == "number":
            title = f"{printable(curve.label)} by {printable(name)}"
            yield plot_number(names(), title, curve, _axis(curve.score))


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


# All scored variants.


def _show_scores(evidence: Sequence[Evidence], names: _Names) -> Iterator[Block]:
    plots = []
    for one in evidence:
        histogram = one.table.histogram
        if histogram is not None:
            plots.append(plot_histogram(names(), one.table, histogram, one.scoring))
            if len(one.table.by_type) > 1:
                plots.append(plot_types(names(), histogram, one.scoring))
    if plots:
        yield Note(
            "llr is the log-likelihood of the alternate allele minus that of the reference "
            "allele, in nats: below 0 the model finds the alternate allele less likely."
        )
        yield Grid(plots)
        yield tabulate_quantiles(evidence, QUANTILES)


def _show_contigs(evidence: Sequence[Evidence], names: _Names) -> Iterator[Block]:
    most = max(FEWEST_PANELS, MOST_PANELS // max(1, len(evidence)))
    for one in evidence:
        by_size = sorted(one.table.contigs, key=lambda bins: -bins.num_rows)
        kept = {bins.contig for bins in by_size[:most]}
        contigs = [bins for bins in one.table.contigs if bins.contig in kept]
        if not contigs:
            continue
        if len(evidence) > 1:
            yield Heading(one.scoring)
        span = contig_span(contigs)
        is_alone = len(contigs) == 1
        yield Grid(
            [plot_contig(names(), bins, span, one.scoring, is_alone=is_alone) for bins in contigs],
            is_dense=not is_alone,
        )
        num_left_out = one.table.num_contigs - len(contigs)
        if num_left_out:
            elsewhere = one.num_scored - sum(bins.num_rows for bins in contigs)
            yield Note(
                f"Left out: {counted(num_left_out, 'contig')} with fewer alleles, "
                f"{counted(elsewhere, 'scored allele')} in all "
                f"({share(elsewhere, one.num_scored)})."
            )


def _show_strands(evidence: Sequence[Evidence], names: _Names) -> Iterator[Block]:
    plots = [
        plot_pairs(
            names(), f"llr of the two strands, {one.scoring}", one.table.strands,
            "allele scored on both strands" if one.table.strands.num_rows == 1
            else "alleles scored on both strands",
        )
        for one in evidence
        if one.table.strands is not None
    ]  # fmt: skip
    if plots:
        yield Note(
            "The same change, read once in each direction. Strands that disagree widely say that a "
            "score is noise."
        )
        yield Grid(plots)
    one_strand = [one.scoring for one in evidence if one.num_scored and one.table.strands is None]
    if one_strand:
        yield Note(f"Only one strand was scored: {listed(one_strand)}.")


def _show_indels(evidence: Sequence[Evidence], names: _Names) -> Iterator[Block]:
    plots = [
        plot_pairs(
            names(), f"llr and llr_aligned, {one.scoring}", one.table.indels,
            "allele of another length than its reference" if one.table.indels.num_rows == 1
            else "alleles of another length than their reference",
        )
        for one in evidence
        if one.table.indels is not None
    ]  # fmt: skip
    if plots:
        yield Note(
            "The windows of an insertion or deletion end at different bases. llr counts the bases "
            "that only one of them has, which is noise that grows with the length; llr_aligned "
            "puts their expectation in their place."
        )
        yield Grid(plots)


def _show_strongest(evidence: Sequence[Evidence]) -> Iterator[Block]:
    yield from (tabulate_strongest(one) for one in evidence if one.table.strongest)


def _show_cost(evidence: Sequence[Evidence]) -> Iterator[Block]:
    for one in evidence:
        wall_s, tokens = one.run.get("wall_s"), one.run.get("tokens_run")
        if isinstance(wall_s, int | float) and isinstance(tokens, int):
            rate = f", {count(round(tokens / wall_s))} a second" if wall_s else ""
            yield Note(
                f"{one.scoring}: {_duration(wall_s)} of all jobs together, whether or not they ran "
                f"at once; {count(tokens)} tokens{rate}."
            )
        if one.shards:
            yield tabulate_shards(one)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{decimal(seconds)} seconds"
    if seconds < 7200:
        return f"{decimal(seconds / 60)} minutes"
    return f"{decimal(seconds / 3600)} hours"
