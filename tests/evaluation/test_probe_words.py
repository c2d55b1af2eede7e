"""Whether a probe is better than a score, in words: a lead that groups explain is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.evaluation.estimates import Difference, compare
from evo2_tasks.evaluation.metrics import AUROC
from evo2_tasks.evaluation.probe_words import ProbeComparison, compare_probes
from evo2_tasks.evaluation.probes import fit_probe
from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.evaluation.schema import ALL, WITH, WITHIN, name_sequence_free
from tests.evaluation.build_probes import draw_features, draw_genes, place

PROBE = "probe: locus (blocks.20)"


def make_row(
    difference: Difference | tuple[float | None, float | None, float | None],
    subset: str = ALL,
    column: str | None = None,
    *,
    minus: str = "llr",
    metric: str = "auroc",
    reason: str = "",
) -> MetricRow:
    if isinstance(difference, Difference):
        difference = (difference.value, difference.low, difference.high)
    value, low, high = difference
    return MetricRow(
        label="CLNSIG", definition="", score=PROBE, minus=minus, metric=metric, subset=subset,
        column=column, group=None, value=value, low=low, high=high, reason=reason, num_rows=100,
        num_positive=50, num_negative=50, prevalence=0.5, num_unscored=0, unscored_by_status=(),
        num_clusters=100, num_resamples=100, num_dropped=0, left_out=(),
    )  # fmt: skip


def compare_one(*rows: MetricRow) -> ProbeComparison:
    [found] = compare_probes(rows, [PROBE], "llr")
    return found


def test_a_probe_that_learnt_the_class_of_a_gene_is_told_by_the_pairs_within() -> None:
    """The embedding shows the class, which has most positive rows; only llr shows the variant."""
    genes = draw_genes(800, 40)
    random = np.random.default_rng(3)
    classes = np.where(genes % 2 == 0, "rRNA", "tRNA")
    is_harmful = random.random(800) < np.where(genes % 2 == 0, 0.85, 0.15)
    llr = -1.2 * is_harmful + random.normal(size=800)
    features = draw_features(800, 20)
    features[:, 0] += 5 * (genes % 2)
    rows = place(genes)
    _, result = fit_probe(features, is_harmful, rows, folds_by="gene", num_shuffles=0)

    def measure(strata: npt.NDArray[Any] | None) -> Difference:
        return compare(
            AUROC,
            is_harmful,
            result.scores,
            -llr,
            groups=rows.positions,
            strata=strata,
            resampling=Resampling(300),
        )

    found = compare_one(make_row(measure(None)), make_row(measure(classes), WITHIN, "LOCUS"))
    assert found.is_only_overall
    overall, within = found.describe()
    assert overall.startswith(f"On all rows, {PROBE} is better than llr: AUROC differs by +0.")
    assert within.startswith(
        "Within LOCUS, where only rows of one group are compared, it is worse than llr: AUROC "
        "differs by -0."
    )
    assert within.endswith(
        "So its lead on all rows is not shown to hold within LOCUS: the probe may have learnt "
        "which LOCUS a row is of, and not which of its variants are harmful."
    )


def test_a_lead_within_groups_is_no_warning() -> None:
    found = compare_one(make_row((0.05, 0.01, 0.09)), make_row((0.04, 0.005, 0.08), WITHIN, "gene"))
    assert not found.is_only_overall
    assert found.describe() == [
        f"On all rows, {PROBE} is better than llr: AUROC differs by +0.050 [+0.010, +0.090].",
        "Within gene, where only rows of one group are compared, it is better than llr: AUROC "
        "differs by +0.040 [+0.005, +0.080].",
    ]


def test_one_column_of_two_is_enough_for_the_warning() -> None:
    lead = make_row((0.05, 0.01, 0.09))
    same = make_row((0.04, 0.005, 0.08), WITHIN, "gene")
    other = make_row((0.001, -0.02, 0.02), WITHIN, "type")
    assert compare_one(lead, same, other).is_only_overall
    assert "not clearly better or worse" in compare_one(lead, same, other).describe()[2]


def test_no_lead_is_no_warning() -> None:
    found = compare_one(
        make_row((0.01, -0.01, 0.03)), make_row((-0.04, -0.06, -0.02), WITHIN, "gene")
    )
    assert not found.is_only_overall
    assert not any("lead" in sentence for sentence in found.describe())


def test_without_an_interval_nothing_is_claimed() -> None:
    reason = "no interval: the positives are one cluster"
    found = compare_one(
        make_row((0.3, None, None), reason=reason),
        make_row((None, None, None), WITHIN, "gene", reason="no group has scored rows of both"),
    )
    assert not found.is_only_overall
    assert found.describe() == [
        f"On all rows, {PROBE} is not comparable with llr: AUROC differs by +0.300, {reason}.",
        "Within gene, the two cannot be compared: no group has scored rows of both.",
    ]


def test_a_probe_that_some_rows_lack_is_compared_on_the_others() -> None:
    found = compare_one(
        make_row((None, None, None), reason="x"), make_row((0.1, 0.05, 0.2), WITH, PROBE)
    )
    assert found.describe()[0].startswith(f"On the rows that have both scores, {PROBE} is better")


def test_a_probe_that_is_no_better_than_its_groups_is_told() -> None:
    alone = name_sequence_free("LOCUS")
    found = compare_one(make_row((0.05, 0.01, 0.09)), make_row((0.0, -0.02, 0.02), minus=alone))
    assert found.describe()[1] == (
        f"It is not clearly better or worse than {alone}, the prediction from the groups alone: "
        "AUROC differs by +0.000 [-0.020, +0.020]."
    )


def test_numbers_are_compared_by_rank_and_other_scores_are_left_out() -> None:
    rows = [
        make_row((0.2, 0.1, 0.3), metric="spearman"),
        make_row((0.2, 0.1, 0.3), metric="average_precision"),
        make_row((0.2, 0.1, 0.3), minus="CADD"),
    ]
    found = compare_one(*rows)
    assert found.describe() == [
        f"On all rows, {PROBE} is better than llr: Spearman's correlation differs by +0.200 "
        "[+0.100, +0.300]."
    ]
    assert compare_probes(rows, ["probe: other"], "llr") == []
