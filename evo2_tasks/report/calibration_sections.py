"""The section about calibrations: quantiles in a background, and evidence strengths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from evo2_tasks.evaluation.backgrounds import MIN_ALLELES
from evo2_tasks.evaluation.labelled_windows import describe_windows
from evo2_tasks.evaluation.schema import CALIBRATION_CURVE, OF_PROBABILITIES
from evo2_tasks.evaluation.selection import NEGATIVE, POSITIVE
from evo2_tasks.io.words import counted
from evo2_tasks.report.blocks import (
    CODE,
    LONG,
    NAME,
    NUMBER,
    TEXT,
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
from evo2_tasks.report.calibrated_scores import CLASSES, PHREDS, CalibratedScores
from evo2_tasks.report.calibration_plots import (
    plot_calibration,
    plot_quantiles,
    plot_ratios,
    plot_scores,
)
from evo2_tasks.report.calibrations import CalibrationEvidence
from evo2_tasks.report.evidence import Evidence
from evo2_tasks.report.words import (
    MINUS,
    NOTHING,
    code_marks,
    count,
    decimal,
    listed,
    printable,
    share,
)
from evo2_tasks.table.calibration_schema import ALL_STRATA, LR_REASON_MEANINGS

NOT_CLINICAL: Final = "Evidence strength by the published method; not for clinical use."

FEW_LABELLED: Final = 100
"""Labelled rows of a class below which the page warns of wide bounds."""

MOST_PANELS: Final = 48
"""Most strata that are drawn, of all calibrations and scorings together."""

FEWEST_PANELS: Final = 3
"""Strata that are drawn for each calibration and scoring, however many there are."""

MOST_LISTED: Final = 100
"""Most strata in a table."""

_POINTS: Final = (8, 4, 3, 2, 1, 0, -1, -2, -3, -4, -8)
_STRENGTHS: Final = {
    1: "supporting", 2: "moderate", 3: "more than moderate", 4: "strong", 8: "very strong",
}  # fmt: skip
_FOLDS: Final = {"gene": "genes", "contig": "contigs", "block": "blocks of positions"}
_UNKNOWN_REASON: Final = "unknown to this version of evo2-tasks"

_ABOUT_QUANTILES: Final = (
    "A quantile compares a score with the scores of a background, from the harmful end: 0.02 means "
    "that 2 % of the background alleles have a more harmful score (an equal score counts half). "
    "phred is the same on another scale: 20 means about 1 % of the background, 30 about 0.1 %. "
    "Both show how rare a score is in this background. They do not show how probable it is that "
    "the allele is harmful, and a quantile in another background is another number."
)
_ABOUT_EVIDENCE: Final = (
    f"{NOT_CLINICAL} The method is the local posterior probability of Pejaver et al. 2022. A "
    "likelihood ratio shows how many times as frequent a score is among positive as among negative "
    "alleles. An allele gets points only if the bound of its likelihood ratio, not the ratio "
    "itself, passes the ratio that the strength requires. The points hold for alleles like the "
    "labelled ones: they inherit errors of the labels, and the way in which labelled alleles were "
    "chosen. They do not state that an allele is harmful."
)


def show_calibrations(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    """The calibrations of each scoring; nothing if there is none.

    Args:
        evidence: The scorings, all of them with the same calibrations.
        ids: Ids of the plots.
    """
    # All scorings of a calibration are next to each other.
    by_calibration = zip(*(one.calibrations for one in evidence), strict=True)
    found = [pair for made in by_calibration for pair in zip(evidence, made, strict=True)]
    if any(one.stated.num_background is not None for _, one in found):
        yield Note(_ABOUT_QUANTILES)
    if any(one.stated.label is not None for _, one in found):
        yield Note(_ABOUT_EVIDENCE)
    most_panels = max(FEWEST_PANELS, MOST_PANELS // max(1, len(found)))
    for of_scoring, one in found:
        where = f"{one.name}, {of_scoring.scoring}"
        if len(found) > 1:
            yield Heading(where)
        yield tabulate_origin(one, where)
        yield from _show_scores(one, where, most_panels, ids)
        if one.stated.num_background is not None:
            yield from _show_quantiles(one, where, ids)
        if one.stated.label is not None:
            yield from _show_evidence(one, where, ids)
            yield from _show_fit(one, of_scoring, where, ids)


def tabulate_origin(one: CalibrationEvidence, where: str) -> Table:
    """Tabulate what a calibration was made from."""
    stated = one.stated
    facts: list[tuple[str, str | None]] = [
        ("score", f"{stated.score}; {stated.harmful} scores are harmful"),
        ("background", one.background and printable(one.background)),
        ("background alleles", _count_or_none(stated.num_background)),
        ("strata by", ", ".join(map(printable, stated.by)) or None),
        ("set with the labels", one.labelled and printable(one.labelled)),
        ("label", stated.label and printable(stated.label)),
        ("definition", stated.definition and printable(stated.definition, 1_000)),
        ("positive alleles", _count_or_none(stated.num_positive)),
        ("negative alleles", _count_or_none(stated.num_negative)),
        ("prior probability", None if stated.prior is None else decimal(stated.prior)),
        ("constant c", None if stated.c is None else decimal(stated.c, 6)),
        ("draws of the bootstrap", _count_or_none(stated.draws)),
        ("seed", None if stated.seed is None else str(stated.seed)),
        ("folds", _describe_folds(one)),
        ("windows", None if stated.label is None else describe_windows(stated.num_background)),
    ]
    return Table(
        f"What the calibration was made from, {where}",
        [("fact", NAME), ("value", LONG)],
        [[Cell(name), Cell(value)] for name, value in facts if value],
        is_sortable=False,
    )


def _count_or_none(number: int | None) -> str | None:
    return None if number is None else count(number)


def _describe_folds(one: CalibrationEvidence) -> str | None:
    folds, kind = one.stated.folds, one.stated.fold_kind
    if folds is None:
        return None
    return f"{count(folds)}, of {_FOLDS[kind]}" if kind is not None else count(folds)


def _show_scores(
    one: CalibrationEvidence, where: str, most_panels: int, ids: FigureIds
) -> Iterator[Block]:
    """The scores of the background, of the set and of the labelled alleles, also by stratum."""
    scores, score = one.scores, one.stated.score
    if scores.whole is None:
        yield Note(f"{where}: no allele of the set has the score {score}.", is_warning=True)
        return
    has_background = one.stated.num_background is not None
    what = "Scores of the background and of the set" if has_background else "Scores of the set"
    medians = f"The median {score} is {decimal(scores.median)} in the set"
    if scores.num_background:
        medians += f" and {decimal(scores.background_median)} in the background"
    title = f"{what}, {where}"
    yield Grid(
        [plot_scores(ids(), title, scores.whole, score, scores.names, medians=f"{medians}.")]
    )
    if not scores.strata:
        return
    by = listed([printable(name) for name in one.stated.by])
    yield Note(
        f"The background is divided by {by}. An allele is compared with the background alleles of "
        f"its own stratum. {_describe_fallback(scores)}"
    )
    panels = [*scores.by_stratum.items()][:most_panels]
    if len(panels) > 1:
        yield Grid(
            [
                plot_scores(ids(), _stratum_name(key), bins, score, scores.names, is_panel=True)
                for key, bins in panels
            ],
            is_dense=True,
        )
    yield tabulate_strata(scores, where, len(panels))


def _stratum_name(key: str | None) -> str:
    return f"{ALL_STRATA} (small or no stratum)" if key is None else printable(key)


def _describe_fallback(scores: CalibratedScores) -> str:
    number, total = scores.strata[None], scores.strata.total()
    if not number:
        return f"All strata of the set have at least {MIN_ALLELES} background alleles."
    what = "1 allele of the set is" if number == 1 else f"{count(number)} alleles of the set are"
    return (
        f"{what} compared with the whole background ({share(number, total)}): the background has "
        f"fewer than {MIN_ALLELES} alleles of the same stratum, or the allele has no stratum."
    )


def tabulate_strata(scores: CalibratedScores, where: str, num_panels: int) -> Table:
    """Tabulate the strata with the most alleles of the set."""
    ordered = sorted(scores.strata.items(), key=lambda one: (-one[1], one[0] or ""))
    total = scores.strata.total()
    rows = [
        [
            Cell(_stratum_name(key)),
            whole_cell(scores.num_background if key is None else scores.background_strata[key]),
            whole_cell(number),
            Cell(share(number, total), number),
        ]
        for key, number in ordered[:MOST_LISTED]
    ]
    columns = [
        ("stratum", NAME), ("background alleles", NUMBER), ("alleles of the set", NUMBER),
        ("share", NUMBER),
    ]  # fmt: skip
    notes = []
    if len(ordered) > num_panels > 1:
        notes.append(f"The {num_panels} strata with the most alleles of the set have a plot.")
    if len(ordered) > len(rows):
        notes.append(f"{count(len(rows))} of {count(len(ordered))} strata.")
    return Table(f"Strata, {where}", columns, rows, note=" ".join(notes))


def _show_quantiles(one: CalibrationEvidence, where: str, ids: FigureIds) -> Iterator[Block]:
    """The quantiles of the set in the background."""
    scores = one.scores
    if not sum(of.sum() for of in scores.quantiles.values()):
        yield Note(f"{where}: no allele of the set has a quantile.", is_warning=True)
        return
    yield Grid([plot_quantiles(ids(), f"Quantiles of the set, {where}", scores)])
    yield tabulate_phreds(scores, where)


def _shown_classes(scores: CalibratedScores) -> list[str]:
    """The classes that have columns of their own."""
    return [POSITIVE, NEGATIVE] if scores.label is not None else []


def tabulate_phreds(scores: CalibratedScores, where: str) -> Table:
    """Tabulate how many alleles have at least some values of phred."""
    classes = _shown_classes(scores)
    columns = [("phred", NUMBER), ("share of the background", NUMBER), ("alleles", NUMBER)]
    columns += [("share of the set", NUMBER)]
    for name in classes:
        columns += [(name, NUMBER), (f"share of the {name}", NUMBER)]
    totals = {name: int(of.sum()) for name, of in scores.quantiles.items()}
    rows = []
    for phred in PHREDS:
        number = sum(of[phred] for of in scores.phreds.values())
        cells = [
            number_cell(phred, f"at least {phred}"),
            Cell(f"{10 ** (2 - phred / 10):g} %", 10 ** (-phred / 10)),
            whole_cell(number),
            Cell(share(number, sum(totals.values())), number),
        ]
        for name in classes:
            of_class = scores.phreds[name][phred]
            cells += [whole_cell(of_class), Cell(share(of_class, totals[name]), of_class)]
        rows.append(cells)
    highest = decimal(10 * math.log10(scores.num_background + 1))
    note = f"With {counted(scores.num_background, 'background allele')}, phred is at most {highest}"
    note += "; within a smaller stratum, the maximum is lower." if scores.strata else "."
    return Table(f"Alleles by phred, {where}", columns, rows, is_sortable=False, note=note)


def _show_evidence(one: CalibrationEvidence, where: str, ids: FigureIds) -> Iterator[Block]:
    """Likelihood ratios, thresholds and points."""
    stated = one.stated
    positive, negative = stated.num_positive or 0, stated.num_negative or 0
    fewest, name = min((positive, POSITIVE), (negative, NEGATIVE))
    few = (
        f" Only {count(fewest)} are {name}: with so few, bounds are wide, and a few wrong labels "
        "change the strengths."
        if 0 < fewest < FEW_LABELLED
        else ""
    )
    yield Note(
        f"{where}: the likelihood ratios are made from {count(positive)} positive and "
        f"{counted(negative, 'negative allele')}.{few}",
        is_warning=fewest < FEW_LABELLED,
    )
    if one.is_own_set:
        yield Note(
            "The labelled alleles of this set made the calibration. Each of them has its "
            "likelihood ratio from the labelled alleles of other folds, never from itself."
        )
    if not any(row.reached for row in one.thresholds):
        reasons = dict.fromkeys(filter(None, [stated.reason, *(r.reason for r in one.thresholds)]))
        first = next(iter(reasons), "no draw gives a threshold")
        yield Note(f"{where}: no strength is reached: {printable(first, 400)}.", is_warning=True)
    if one.ratios is not None:
        title = f"Likelihood ratios, {where}"
        yield Grid([plot_ratios(ids(), title, one.ratios, one.thresholds, stated.score)])
    yield tabulate_thresholds(one, where)
    if any(of.total() for of in one.scores.points.values()):
        beyond = _count_beyond(one)
        if beyond:
            names = [f"{count(number)} {name}" for name, number in beyond.items()]
            total = sum(beyond.values())
            yield Note(
                f"{where}: {counted(total, 'allele')} {'has' if total == 1 else 'have'} points of "
                f"a strength that is not reached (table above): {listed(names)}. The points of an "
                "allele follow from the bounds at its own score. Where the labelled alleles near a "
                "score are of one kind only, the draws cannot show how uncertain the ratio is. Do "
                "not rely on these points.",
                is_warning=True,
            )
        yield tabulate_points(one, where)
    reasons_table = tabulate_reasons(one.scores, where)
    if reasons_table.rows:
        yield reasons_table


def _count_beyond(one: CalibrationEvidence) -> dict[str, int]:
    """Alleles with points of a strength that is not reached, by strength."""
    counts: dict[str, int] = {}
    for row in one.thresholds:
        if row.reached:
            continue
        # 3 points are those of moderate evidence, and one more.
        points = [row.points, *([row.points // 2 * 3] if abs(row.points) == 2 else [])]
        number = sum(of[value] for of in one.scores.points.values() for value in points)
        if number:
            counts[f"{row.direction} {row.name}"] = number
    return counts


def tabulate_thresholds(one: CalibrationEvidence, where: str) -> Table:
    """Tabulate the thresholds of the strengths of both directions."""
    columns = [
        ("strength", NAME), ("points", NUMBER), ("posterior required", NUMBER),
        ("likelihood ratio required", NUMBER), ("threshold, nats", NUMBER), ("bound, nats", NUMBER),
        ("draws without a threshold", NUMBER), ("reached", TEXT), ("why not", LONG),
    ]  # fmt: skip
    rows = []
    for row in sorted(one.thresholds, key=lambda row: -row.points):
        without = row.share_without
        side = "at least" if row.points > 0 else "at most"
        rows.append(
            [
                Cell(f"{row.direction}, {row.name}"),
                _points_cell(row.points),
                number_cell(row.posterior, f"{side} {decimal(row.posterior)}"),
                number_cell(row.lr, f"{side} {decimal(row.lr)}"),
                number_cell(row.threshold, decimal(row.threshold, zeros=True)),
                number_cell(row.bound, decimal(row.bound, zeros=True)),
                Cell(NOTHING) if without is None else Cell(f"{100 * without:.3g} %", without),
                Cell("yes" if row.reached else "no"),
                Cell(printable(row.reason or "", 400)),
            ]
        )
    return Table(
        f"Thresholds of the strengths, {where}", columns, rows, is_sortable=False,
        note=f"{NOT_CLINICAL} The threshold is from all labelled alleles, the bound is the "
        "conservative 5 % quantile over the draws.",
    )  # fmt: skip


def _points_cell(points: int) -> Cell:
    return Cell(f"{points:+d}".replace("-", MINUS) if points else "0", points)


def tabulate_points(one: CalibrationEvidence, where: str) -> Table:
    """Tabulate how many alleles have which points, by class."""
    scores = one.scores
    classes = _shown_classes(scores)
    columns = [("points", NUMBER), ("strength", NAME), ("alleles", NUMBER), ("share", NUMBER)]
    columns += [(name, NUMBER) for name in classes]
    totals = {name: scores.scored[name] for name in CLASSES}
    rows = []

    def add(head: list[Cell], numbers: Mapping[str, int]) -> None:
        number = sum(numbers.values())
        of_classes = [whole_cell(numbers[name]) for name in classes]
        rows.append(
            [*head, whole_cell(number), Cell(share(number, sum(totals.values())), number),
             *of_classes]
        )  # fmt: skip

    for points in _POINTS:
        name = _STRENGTHS.get(abs(points), "neither")
        direction = {1: "harmful, ", -1: "benign, ", 0: ""}[(points > 0) - (points < 0)]
        numbers = {name: scores.points[name][points] for name in CLASSES}
        add([_points_cell(points), Cell(f"{direction}{name}")], numbers)
    add(
        [Cell(NOTHING), Cell("no likelihood ratio")],
        {name: scores.reasons[name].total() for name in CLASSES},
    )
    label = f" Classes: label {printable(scores.label.field)}." if scores.label else ""
    return Table(
        f"Alleles by points, {where}", columns, rows, is_sortable=False,
        note=f"{NOT_CLINICAL} Scored alleles only.{label}",
    )  # fmt: skip


def tabulate_reasons(scores: CalibratedScores, where: str) -> Table:
    """Tabulate why scored alleles have no likelihood ratio."""
    numbers = {
        reason: sum(of[reason] for of in scores.reasons.values())
        for of_class in scores.reasons.values()
        for reason in of_class
    }
    classes = _shown_classes(scores)
    rows = [
        [
            Cell(printable(reason)),
            whole_cell(numbers[reason]),
            *(whole_cell(scores.reasons[name][reason]) for name in classes),
            Cell(code_marks(LR_REASON_MEANINGS.get(reason, _UNKNOWN_REASON))),
        ]
        for reason in sorted(numbers, key=lambda name: -numbers[name])
    ]
    columns = [("reason", CODE), ("alleles", NUMBER), *((name, NUMBER) for name in classes)]
    return Table(
        f"Scored alleles without a likelihood ratio, {where}", [*columns, ("meaning", LONG)], rows
    )


def _show_fit(
    one: CalibrationEvidence, evidence: Evidence, where: str, ids: FigureIds
) -> Iterator[Block]:
    """How well the likelihood ratios fit the labels of the set; nothing without labels."""
    metrics = [
        row
        for row in evidence.metrics
        if row.score == one.ratio_column and row.metric in OF_PROBABILITIES
    ]
    plots = []
    for curve in evidence.curves:
        if (curve.curve, curve.score) == (CALIBRATION_CURVE, one.ratio_column):
            of_label = [row for row in metrics if row.label == curve.label]
            title = f"Probabilities and labels, {printable(curve.label)}, {where}"
            plots.append(plot_calibration(ids(), title, curve, of_label))
    if plots:
        yield Note(
            "A likelihood ratio and the share of positive alleles among the labelled ones give a "
            "probability. It is compared with the labels of this set. This shows whether the "
            "ratios fit labelled alleles. It does not show whether they fit others. The section "
            "about labels has a table of these metrics."
        )
        yield Grid(plots)
