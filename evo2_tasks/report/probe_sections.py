"""The section about probes: what they were trained on, their layers, and what they have learnt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from evo2_tasks.evaluation.probe_statements import ProbeStatement, ShuffledStatement
from evo2_tasks.evaluation.probe_words import SIMILAR, WORSE, ProbeComparison, compare_probes, judge
from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.evaluation.schema import ALL, WITH, WITHIN
from evo2_tasks.io.words import counted
from evo2_tasks.report.blocks import (
    LONG,
    NAME,
    NUMBER,
    Block,
    Cell,
    FigureIds,
    Grid,
    Heading,
    Note,
    Table,
    interval_cell,
    number_cell,
    whole_cell,
)
from evo2_tasks.report.comparison import MAIN_METRICS, MAIN_SCORE
from evo2_tasks.report.evidence import Evidence
from evo2_tasks.report.metric_words import METRIC_NAMES
from evo2_tasks.report.probe_plots import LayerMetrics, plot_layers
from evo2_tasks.report.probes import ProbeEvidence
from evo2_tasks.report.words import NOTHING, count, decimal, fixed, listed, printable

_ABOUT: Final = (
    "A probe is a linear model that predicts a label from the embeddings of an allele, its llr, or "
    "both. A high prediction is harmful. The rows with the label are split into folds, and the "
    "prediction of a row comes from a probe that has not seen its fold: all metrics of a probe are "
    "of such predictions. Overall metrics reward a probe also for knowing which gene or locus a "
    "row is of. The metrics within groups compare rows of the same group only, so they show "
    "whether it tells the variants apart."
)
_ABOUT_CONTROL: Final = (
    "The control is the same procedure with labels that are shuffled within the groups of the "
    "folds. Within groups it is at chance level, unless something leaks between folds. On all rows "
    "it is above chance level if the features show the group of a row."
)
_FOLDS: Final = {"gene": "genes", "contig": "contigs", "position": "blocks of positions"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A probe of one layer, with its metrics.

    Attributes:
        probe: The probe.
        overall: The main metric of all rows with a prediction; None without labels.
        within: The main metric within the groups of each column.
        comparison: The comparison with ``llr``; None without one.
    """

    probe: ProbeEvidence
    overall: MetricRow | None
    within: Sequence[MetricRow]
    comparison: ProbeComparison | None

    @property
    def name(self) -> str:
        """The layer, for readers."""
        return self.probe.stated.layer or f"none ({MAIN_SCORE} alone)"


def show_probes(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    """The probes of each scoring; nothing if there is none.

    Args:
        evidence: The scorings.
        ids: Ids of the plots.
    """
    found = [one for one in evidence if one.probes]
    if found:
        yield Note(_ABOUT)
    for one in found:
        names = dict.fromkeys(probe.stated.name for probe in one.probes)
        for name in names:
            probes = [probe for probe in one.probes if probe.stated.name == name]
            where = f"{printable(name)}, {one.scoring}"
            if len(found) > 1 or len(names) > 1:
                yield Heading(where)
            if probes[0].statement is not None:
                yield from _show_fitted(probes, one, where, ids)
            else:
                yield from _show_applied(probes[0], one, where)


def _show_fitted(
    probes: Sequence[ProbeEvidence], one: Evidence, where: str, ids: FigureIds
) -> Iterator[Block]:
    """A probe that was trained on this set, layer by layer."""
    layers = [_measure(probe, one.metrics, probe.stated.label) for probe in probes]
    first = probes[0].statement
    if first is not None:
        yield _tabulate_training(first, len(layers), where)
    yield from _warn(layers)
    yield _tabulate_layers(layers, where)
    if len(layers) > 1:
        yield from _plot(layers, one, where, ids)
    yield from _describe_best(layers)
    yield _tabulate_control(probes, where)
    yield Note(_ABOUT_CONTROL)
    yield from _state(probes)


def _describe_best(layers: Sequence[Layer]) -> Iterator[Note]:
    """The comparison with ``llr`` in words, of the layer with the highest metric on all rows."""
    measured = [(one, one.overall.value) for one in layers if one.overall and one.comparison]
    known = [(layer, value) for layer, value in measured if value is not None]
    if not known:
        return
    best, _ = max(known, key=lambda pair: pair[1])
    words = [] if best.comparison is None else best.comparison.describe()
    if len(layers) > 1:
        words.append(
            f"{printable(best.name)} is the best of {counted(len(layers), 'layer')} on these rows. "
            "Because it was chosen by them, its metrics are a little too high."
        )
    yield Note(" ".join(words))


def _measure(probe: ProbeEvidence, metrics: Sequence[MetricRow], label: str) -> Layer:
    """The metrics of a probe with a label."""
    of_label = [row for row in metrics if row.label == label and row.metric in MAIN_METRICS]
    own = [row for row in of_label if row.score == probe.score and row.minus is None]
    whole = [row for row in own if row.subset in (ALL, WITH) and row.value is not None]
    comparisons = compare_probes(of_label, [probe.score], MAIN_SCORE)
    return Layer(
        probe,
        whole[0] if whole else None,
        [row for row in own if row.subset == WITHIN],
        comparisons[0] if comparisons else None,
    )


def _tabulate_training(statement: ProbeStatement, num_layers: int, where: str) -> Table:
    """What a probe was trained on; the same for all of its layers, but for the folds."""
    rows = counted(statement.num_rows, "row")
    if statement.num_positive is not None:
        num_negative = statement.num_rows - statement.num_positive
        rows = f"{count(statement.num_positive)} positive, {count(num_negative)} negative"
    facts = [
        ("label", printable(statement.label)),
        ("definition", printable(statement.definition, 1_000)),
        ("features", listed(list(statement.features))),
        ("tokens of an embedding", NOTHING if not statement.tokens else count(statement.tokens)),
        ("rows that it was trained on", rows),
        ("labelled rows without features", count(statement.num_without_features)),
        (
            "folds",
            f"{count(statement.num_folds)}, of {count(statement.num_groups)} "
            f"{_FOLDS[statement.folds_by]}",
        ),
        ("rows with a window that overlaps another fold", count(statement.num_overlapping)),
        (
            "training rows left out of each fold because of them",
            ", ".join(map(count, statement.num_left_out)),
        ),
        ("layers", count(num_layers)),
    ]
    return Table(
        f"What the probe was trained on, {where}",
        [("fact", NAME), ("value", LONG)],
        [[Cell(name), Cell(value)] for name, value in facts],
        is_sortable=False,
    )


def _warn(layers: Sequence[Layer]) -> Iterator[Note]:
    """A warning for each probe that is better overall, and is not shown to be within groups."""
    for layer in layers:
        comparison = layer.comparison
        if comparison is not None and comparison.is_only_overall:
            yield Note(_explain(layer, comparison), is_warning=True)


def _explain(layer: Layer, comparison: ProbeComparison) -> str:
    """That a probe is better than ``llr`` on all rows, but not between rows of a group."""
    own = {row.column: row for row in layer.within}
    verdicts = {row.column: judge(row) for row in comparison.within}
    is_worse = WORSE in verdicts.values()
    verdict = WORSE if is_worse else SIMILAR
    within = listed(
        [f"{_against(own.get(row.column), row)} within {printable(row.column or '')}"
         for row in comparison.within if verdicts[row.column] == verdict]
    )  # fmt: skip
    start = (
        f"On all rows, {printable(layer.probe.score)} separates the labels better than "
        f"{MAIN_SCORE}: {METRIC_NAMES[comparison.overall.metric]} "
        f"{_against(layer.overall, comparison.overall)}. Between rows of the same group, it is "
    )
    if is_worse:
        return (
            f"{start}worse: {within}. So its lead comes at least in part from knowing the group of "
            f"a row. To rank the variants of one group, {MAIN_SCORE} is the better choice here."
        )
    return (
        f"{start}not shown to be better: {within}. So its lead may come from knowing the group of "
        "a row. Do not take it for granted when you rank the variants of one group."
    )


def _against(own: MetricRow | None, difference: MetricRow) -> str:
    """The metric of a probe against that of ``llr``, and whether the difference can be chance."""
    if own is None or own.value is None or difference.value is None:
        return NOTHING
    text = f"{fixed(own.value)} against {fixed(own.value - difference.value)}"
    ends = (difference.low, difference.high)
    is_clear = None not in ends and not (difference.low or 0) <= 0 <= (difference.high or 0)
    return text if is_clear else f"{text} (a difference that can be chance)"


def _tabulate_layers(layers: Sequence[Layer], where: str) -> Table:
    """The metrics of each layer, and their differences from ``llr``."""
    metric = next((row.metric for one in layers for row in [one.overall] if row), "")
    name = METRIC_NAMES.get(metric, "metric")
    columns = list(dict.fromkeys(row.column or "" for one in layers for row in one.within))
    heads = [("layer", NAME), (f"{name}, all rows", NUMBER), (f"minus {MAIN_SCORE}", NUMBER)]
    for column in columns:
        heads += [
            (f"{name} within {printable(column)}", NUMBER),
            (f"minus {MAIN_SCORE}, within {printable(column)}", NUMBER),
        ]
    heads += [("rows", NUMBER)]
    body = []
    for layer in layers:
        differences = {}
        if layer.comparison is not None:
            differences = {row.column: row for row in layer.comparison.within}
        overall = None if layer.comparison is None else layer.comparison.overall
        cells = [Cell(printable(layer.name)), _cell(layer.overall), _cell(overall)]
        of_column = {row.column: row for row in layer.within}
        for column in columns:
            cells += [_cell(of_column.get(column)), _cell(differences.get(column))]
        cells.append(whole_cell(layer.overall.num_rows if layer.overall else None))
        body.append(cells)
    note = "The differences are computed on the rows that have both scores."
    return Table(f"Metrics of each layer, {where}", heads, body, note=note)


def _cell(row: MetricRow | None) -> Cell:
    if row is None or row.value is None:
        return Cell(NOTHING)
    return interval_cell(row.value, row.low, row.high, sign=row.minus is not None)


def _plot(layers: Sequence[Layer], one: Evidence, where: str, ids: FigureIds) -> Iterator[Block]:
    """The main metric by layer, over all rows and within groups, with that of ``llr``."""
    overall = [layer.overall for layer in layers]
    metric = next((row.metric for row in overall if row is not None), None)
    if metric is None:
        return
    columns = list(dict.fromkeys(row.column or "" for layer in layers for row in layer.within))
    label = layers[0].probe.stated.label
    of_llr = [
        row
        for row in one.metrics
        if row.label == label
        and row.score == MAIN_SCORE
        and row.minus is None
        and row.metric == metric
    ]
    series = [LayerMetrics("all rows", overall, _find(of_llr, ALL, None))]
    for column in columns:
        found = [{row.column: row for row in layer.within}.get(column) for layer in layers]
        name = f"within {printable(column)}"
        series.append(LayerMetrics(name, found, _find(of_llr, WITHIN, column)))
    names = [layer.name for layer in layers]
    title = f"{METRIC_NAMES[metric]} by layer, {where}"
    yield Grid([plot_layers(ids(), title, names, series, METRIC_NAMES[metric])])


def _find(rows: Sequence[MetricRow], subset: str, column: str | None) -> MetricRow | None:
    return next((row for row in rows if row.subset == subset and row.column == column), None)


def _tabulate_control(probes: Sequence[ProbeEvidence], where: str) -> Table:
    """What shuffled labels give, layer by layer."""
    body = []
    metric = "auroc"
    for probe in probes:
        statement = probe.statement
        if statement is None:
            continue
        metric = statement.control.metric
        penalties = ", ".join(decimal(one) for one in statement.penalties)
        body.append(
            [
                Cell(printable(probe.stated.layer or f"none ({MAIN_SCORE} alone)")),
                _shuffled_cell(statement.control.within),
                _shuffled_cell(statement.control.overall),
                whole_cell(statement.num_weights),
                Cell(penalties),
                number_cell(statement.final_penalty, decimal(statement.final_penalty)),
            ]
        )
    name, chance = METRIC_NAMES[metric], fixed(MAIN_METRICS[metric], 1)
    return Table(
        f"Shuffled labels and penalties, {where}",
        [
            ("layer", NAME), (f"{name} of shuffled labels within groups", NUMBER),
            (f"{name} of shuffled labels, all rows", NUMBER), ("weights", NUMBER),
            ("L2 penalties of the folds", LONG), ("L2 penalty of the final probe", NUMBER),
        ],
        body,
        note=f"The chance level is {chance}.",
    )  # fmt: skip


def _shuffled_cell(one: ShuffledStatement) -> Cell:
    return Cell(NOTHING) if one.mean is None else interval_cell(one.mean, one.low, one.high)


def _state(probes: Sequence[ProbeEvidence]) -> Iterator[Note]:
    """What a reader has to know about the fits; the same sentences of several layers once."""
    by_sentence: dict[str, list[str]] = {}
    for probe in probes:
        for sentence in probe.statement.statements if probe.statement is not None else ():
            by_sentence.setdefault(sentence, []).append(probe.stated.layer or MAIN_SCORE)
    for sentence, layers in by_sentence.items():
        where = "" if len(layers) == len(probes) else f"{listed([*map(printable, layers)])}: "
        yield Note(f"{where}{printable(sentence, 1_000)}")


def _show_applied(probe: ProbeEvidence, one: Evidence, where: str) -> Iterator[Block]:
    """A probe that was trained on another set."""
    stated = probe.stated
    facts = [
        ("layer", printable(stated.layer or f"none ({MAIN_SCORE} alone)")),
        ("label that it was trained on", printable(stated.label)),
        ("definition", printable(stated.definition, 1_000)),
        ("rows that it was trained on", count(stated.trained)),
        ("alleles of this set with a prediction", count(stated.predicted)),
        ("alleles of this set that it was trained on", count(stated.in_training)),
    ]
    yield Table(
        f"A probe of another set, {where}",
        [("fact", NAME), ("value", LONG)],
        [[Cell(name), Cell(value)] for name, value in facts],
        is_sortable=False,
    )
    if stated.in_training:
        yield Note(
            f"{counted(stated.in_training, 'allele')} of this set "
            f"{'was' if stated.in_training == 1 else 'were'} used to train the probe. Their "
            "predictions are not independent, and the metrics leave them out.",
            is_warning=True,
        )
    labels = list(dict.fromkeys(row.label for row in one.metrics if row.score == probe.score))
    for label in labels:
        layer = _measure(probe, one.metrics, label)
        yield from _warn([layer])
        yield _tabulate_layers([layer], f"{printable(label)}, {where}")
        if layer.comparison is not None:
            yield Note(" ".join(layer.comparison.describe()))
