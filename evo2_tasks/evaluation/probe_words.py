"""Whether a probe is better than a score, in words: overall, and within groups.

A probe can be better than ``llr`` overall because it has learnt which group a row is of: if most
positive rows are of a few loci, it is enough to know the locus. Within groups this does not help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.evaluation.schema import ALL, WITH, WITHIN, is_sequence_free
from evo2_tasks.io.words import shown

Verdict = Literal["better", "worse", "not clearly different", "not known"]
BETTER: Final = "better"
WORSE: Final = "worse"
SIMILAR: Final = "not clearly different"
UNKNOWN: Final = "not known"

MAIN_METRICS: Final = {"auroc": "AUROC", "spearman": "Spearman's correlation"}


@dataclass(frozen=True, slots=True)
class ProbeComparison:
    """A probe compared with a score, on the rows that have both.

    Attributes:
        probe: Name of the probe, as a score.
        other: Name of the score.
        overall: The difference on all rows: probe minus score.
        within: The difference within the groups of each group column; empty for numbers.
        from_groups: The difference between the probe and the prediction from each group column
            alone.
    """

    probe: str
    other: str
    overall: MetricRow
    within: tuple[MetricRow, ...]
    from_groups: tuple[MetricRow, ...]

    @property
    def is_only_overall(self) -> bool:
        """Whether the probe is better overall, and not within the groups of some column."""
        is_better_within = [judge(row) == BETTER for row in self.within if judge(row) != UNKNOWN]
        return judge(self.overall) == BETTER and not all(is_better_within)

    def describe(self) -> list[str]:
        """The comparison in words; each item is a sentence."""
        return [self._describe_overall(), *self._describe_within(), *self._describe_from_groups()]

    def _describe_overall(self) -> str:
        rows = "all rows" if self.overall.subset == ALL else "the rows that have both scores"
        return (
            f"On {rows}, {shown(self.probe)} is {_judge_against(self.overall, self.other)}: "
            f"{_name(self.overall)} {_format(self.overall)}."
        )

    def _describe_within(self) -> list[str]:
        is_better = judge(self.overall) == BETTER
        sentences = []
        for row in self.within:
            verdict, column = judge(row), shown(row.column)
            start = f"Within {column}, where only rows of one group are compared, it is"
            if verdict == UNKNOWN:
                sentences.append(
                    f"Within {column}, the two cannot be compared: {shown(row.reason)}."
                )
                continue
            found = f"{_judge_against(row, self.other)}: {_name(row)} {_format(row)}"
            if is_better and verdict != BETTER:
                sentences.append(
                    f"{start} {found}. So its lead on all rows is not shown to hold within "
                    f"{column}: the probe may have learnt which {column} a row is of, and not "
                    "which of its variants are harmful."
                )
            else:
                sentences.append(f"{start} {found}.")
        return sentences

    def _describe_from_groups(self) -> list[str]:
        return [
            f"It is {_judge_against(row, row.minus or '')}, the prediction from the groups alone: "
            f"{_name(row)} {_format(row)}."
            for row in self.from_groups
            if judge(row) in (WORSE, SIMILAR)
        ]


def compare_probes(
    metrics: Sequence[MetricRow], probes: Sequence[str], other: str
) -> list[ProbeComparison]:
    """Compare probes with a score.

    Args:
        metrics: The rows of ``metrics.parquet`` of one table and one label.
        probes: Names of the probes, as scores.
        other: Name of the score: ``llr``.

    Returns:
        A comparison of each probe whose difference from the score was computed.
    """
    found = []
    for probe in probes:
        of_probe = [
            row
            for row in metrics
            if row.score == probe and row.minus and row.metric in MAIN_METRICS
        ]
        against = [row for row in of_probe if row.minus == other]
        overall = [row for row in against if row.place in ((ALL, None, None), (WITH, probe, None))]
        # A probe that some of the scored rows lack has no value on all rows.
        overall.sort(key=lambda row: row.value is None)
        if overall:
            found.append(
                ProbeComparison(
                    probe=probe,
                    other=other,
                    overall=overall[0],
                    within=tuple(row for row in against if row.subset == WITHIN),
                    from_groups=tuple(
                        row
                        for row in of_probe
                        if row.subset == ALL and row.minus and is_sequence_free(row.minus)
                    ),
                )
            )
    return found


def judge(difference: MetricRow) -> Verdict:
    """Whether the first score is better than the second: the interval has to exclude 0."""
    if difference.value is None or difference.low is None or difference.high is None:
        return UNKNOWN
    if difference.low > 0:
        return BETTER
    return WORSE if difference.high < 0 else SIMILAR


def _judge_against(difference: MetricRow, other: str) -> str:
    """The verdict about the first score: better than llr."""
    words = {
        BETTER: f"better than {shown(other)}",
        WORSE: f"worse than {shown(other)}",
        SIMILAR: f"not clearly better or worse than {shown(other)}",
        UNKNOWN: f"not comparable with {shown(other)}",
    }
    return words[judge(difference)]


def _name(difference: MetricRow) -> str:
    return MAIN_METRICS[difference.metric]


def _format(difference: MetricRow) -> str:
    """The difference with its interval, or why there is none."""
    if difference.value is None:
        return f"has no difference ({shown(difference.reason)})"
    if difference.low is None or difference.high is None:
        return f"differs by {difference.value:+.3f}, {shown(difference.reason)}"
    interval = f"[{difference.low:+.3f}, {difference.high:+.3f}]"
    return f"differs by {difference.value:+.3f} {interval}"
