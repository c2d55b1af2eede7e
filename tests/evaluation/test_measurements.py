"""All metrics of a table, against scikit-learn on the same rows; subsets, baselines, curves."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import ecdf, spearmanr
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from evo2_tasks.evaluation.curves import GRID, make_curves
from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.evaluation.labels import LabelledRows, read_labelled_rows
from evo2_tasks.evaluation.measurements import make_resampling, plan_metrics
from evo2_tasks.evaluation.results import (
    Curve,
    MetricRow,
    make_curves_table,
    make_metrics_table,
    read_curves,
    write_curves,
)
from evo2_tasks.evaluation.schema import (
    CURVES,
    METRICS,
    OF_PROBABILITIES,
    SUBSETS,
)
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.evaluation.text import describe_metrics
from evo2_tasks.table.statements import make_statement_metadata

LABEL = LabelSettings("LABEL", positive=("bad",), negative=("good",))
FEW = Resampling(num_resamples=100)


def make_table(path: Path, num_rows: int = 400, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    is_bad = random.random(num_rows) < 0.3
    site = np.where(is_bad, "exon", random.choice(["exon", "intron"], num_rows))
    alts = random.choice(["C", "AG", "ATTT"], num_rows, p=[0.8, 0.1, 0.1])
    llr = random.normal(size=num_rows) - 1.2 * is_bad
    frame = pd.DataFrame(
        {
            "record": np.arange(num_rows),
            "allele": 1,
            "contig": "c",
            "pos": np.arange(num_rows) // 2 + 1,
            "ref": "A",
            "alt": alts,
            "status": np.where(random.random(num_rows) < 0.1, "too_many_n", "scored"),
            "llr": llr,
            "llr_aligned": llr + 0.1 * (alts != "C"),
            "llr_fwd": llr + random.normal(size=num_rows) / 2,
            "llr_rev": llr + random.normal(size=num_rows) / 2,
            "LABEL": np.where(is_bad, "bad", random.choice(["good", "unknown"], num_rows)),
            "SITE": site,
            "CADD": np.where(random.random(num_rows) < 0.2, np.nan, is_bad + llr),
            "FITNESS": llr + random.normal(size=num_rows),
        }
    )
    scores = ["llr", "llr_aligned", "llr_fwd", "llr_rev"]
    frame.loc[frame["status"] != "scored", scores] = np.nan
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    return frame


def measure_rows(rows: LabelledRows) -> list[MetricRow]:
    return [row for planned in plan_metrics(rows, FEW) for row in planned.measure()]


def measure(rows: LabelledRows) -> pd.DataFrame:
    table = make_metrics_table(measure_rows(rows))
    table.validate(full=True)
    return table.to_pandas()


def find(metrics: pd.DataFrame, **wanted: Any) -> pd.Series:
    wanted = {"minus": None, "column": None, "group": None, "subset": "all"} | wanted
    keep = np.ones(len(metrics), dtype=bool)
    for name, value in wanted.items():
        keep &= metrics[name].isna() if value is None else metrics[name] == value
    assert keep.sum() == 1, wanted
    return metrics[keep].iloc[0]


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    table = tmp_path_factory.mktemp("metrics") / "t.parquet"
    frame = make_table(table)
    frame.attrs["rows"] = read_labelled_rows(
        table,
        LABEL,
        groups=["SITE"],
        baselines={"CADD": "high"},
    )
    return frame


@pytest.fixture(scope="module")
def metrics(frame: pd.DataFrame) -> pd.DataFrame:
    return measure(frame.attrs["rows"])


def labelled(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return frame[frame["LABEL"].isin(["bad", "good"])].dropna(subset=list(columns))


def auroc(frame: pd.DataFrame, column: str, sign: int = -1) -> float:
    rows = labelled(frame, column)
    return float(roc_auc_score(rows["LABEL"] == "bad", sign * rows[column]))


def test_metrics_of_all_rows_are_those_of_scikit_learn(
    frame: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    for name in ("llr", "llr_aligned", "llr_fwd", "llr_rev"):
        found = find(metrics, metric="auroc", score=name)
        assert found["value"] == pytest.approx(auroc(frame, name))
        assert found["low"] < found["value"] < found["high"]
    rows = labelled(frame, "llr")
    found = find(metrics, metric="average_precision", score="llr")
    expected = average_precision_score(rows["LABEL"] == "bad", -rows["llr"])
    assert found["value"] == pytest.approx(expected)
    assert found["prevalence"] == pytest.approx((rows["LABEL"] == "bad").mean())
    assert found["num_unscored"] == labelled(frame)["llr"].isna().sum() > 0
    assert dict(found["unscored_by_status"]) == {"too_many_n": found["num_unscored"]}
    found = find(metrics, metric="strand_agreement")
    assert found["value"] == pytest.approx(spearmanr(rows["llr_fwd"], rows["llr_rev"]).statistic)
    assert set(metrics["definition"]) == {"positive: bad; negative: good"}
    unlabelled = (frame["LABEL"] == "unknown").sum()
    assert [dict(one) for one in metrics["left_out"]] == [{"another value": unlabelled}] * len(
        metrics
    )


def test_a_baseline_that_some_rows_lack_stands_beside_llr_on_the_others(
    frame: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    both = frame.dropna(subset=["llr", "CADD"])
    subset = {"metric": "auroc", "subset": "with", "column": "CADD"}
    llr, cadd = (find(metrics, score=name, **subset) for name in ("llr", "CADD"))
    assert llr["value"] == pytest.approx(auroc(both, "llr"))
    assert cadd["value"] == pytest.approx(auroc(both, "CADD", sign=1))
    assert llr["num_rows"] == cadd["num_rows"] == len(labelled(both))
    assert llr["num_unscored"] == cadd["num_unscored"]
    assert not ((metrics["score"] == "CADD") & (metrics["subset"] == "all")).any()


def test_a_baseline_that_all_scored_rows_have_stands_beside_llr_on_all(tmp_path: Path) -> None:
    frame = make_table(tmp_path / "t")
    # There where a row is labelled and scored, and on some rows that have no score.
    frame["CADD"] = np.where(frame["llr"].notna(), frame["llr"], 0.5)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t")
    rows = read_labelled_rows(tmp_path / "t", LABEL, groups=["SITE"], baselines={"CADD": "low"})
    metrics = measure(rows)
    names = ["llr", "CADD", "sequence-free: SITE"]
    found = [find(metrics, metric="auroc", score=name) for name in names]
    assert {one["num_rows"] for one in found} == {len(labelled(frame, "llr"))}
    assert found[0]["value"] == found[1]["value"]
    assert "with" not in set(metrics["subset"])


def test_a_baseline_without_any_number_says_so(tmp_path: Path) -> None:
    frame = make_table(tmp_path / "t").assign(CADD=np.nan)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t")
    rows = read_labelled_rows(tmp_path / "t", LABEL, baselines={"CADD": "low"})
    found = find(measure(rows), metric="auroc", score="CADD")
    assert found["reason"] == "no scored row has a number in CADD"


def test_metrics_of_types_and_groups_are_those_of_their_rows(
    frame: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    for site, of_site in frame.groupby("SITE"):
        found = find(
            metrics, metric="auroc", score="llr", subset="group", column="SITE", group=site
        )
        if site == "exon":
            assert found["value"] == pytest.approx(auroc(of_site, "llr"))
        else:
            assert np.isnan(found["value"])
            assert found["reason"] == "no scored row is positive"
    of_type = frame[frame["alt"] == "C"]
    found = find(metrics, metric="auroc", score="llr", subset="type", group="snv")
    assert found["value"] == pytest.approx(auroc(of_type, "llr"))
    within = find(metrics, metric="auroc", score="llr", subset="within", column="SITE")
    assert within["value"] == pytest.approx(auroc(frame[frame["SITE"] == "exon"], "llr"))


def test_indels_are_measured_by_both_scores_and_their_difference(metrics: pd.DataFrame) -> None:
    indels = {"subset": "type", "group": "insertion", "metric": "auroc"}
    both = [find(metrics, score=name, **indels)["value"] for name in ("llr", "llr_aligned")]
    difference = find(metrics, score="llr", minus="llr_aligned", **indels)["value"]
    assert difference == pytest.approx(both[0] - both[1])
    assert not ((metrics["group"] == "snv") & (metrics["score"] == "llr_aligned")).any()


def test_a_difference_is_of_the_rows_that_have_both(
    frame: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    both = frame.dropna(subset=["llr", "CADD"])
    found = find(metrics, metric="auroc", minus="CADD", subset="with", column="CADD")
    assert found["value"] == pytest.approx(auroc(both, "llr") - auroc(both, "CADD", sign=1))
    assert found["low"] < found["value"] < found["high"]
    missing = dict(found["unscored_by_status"])
    assert missing["scored"] == (labelled(frame, "llr")["CADD"].isna()).sum()


def test_what_a_group_column_gives_away_is_learnt_on_other_positions(tmp_path: Path) -> None:
    frame = make_table(tmp_path / "t", 2_000)
    # A column of the position's own number knows nothing of other positions.
    frame["NUMBER"] = frame["pos"].astype(str)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t")
    rows = read_labelled_rows(tmp_path / "t", LABEL, groups=["SITE", "NUMBER"])
    metrics = measure(rows)
    is_exon, is_bad = (labelled(frame)["SITE"] == "exon"), labelled(frame)["LABEL"] == "bad"
    found = find(metrics, metric="auroc", score="sequence-free: SITE")
    assert found["value"] == pytest.approx(roc_auc_score(is_bad, is_exon), abs=0.03)
    found = find(metrics, metric="auroc", score="sequence-free: NUMBER")
    assert found["value"] == pytest.approx(0.5, abs=0.05)


def test_numbers_have_rank_correlations(tmp_path: Path) -> None:
    frame = make_table(tmp_path / "t")
    label = LabelSettings("FITNESS", harmful="low")
    rows = read_labelled_rows(tmp_path / "t", label, groups=["SITE"], baselines={"CADD": "high"})
    metrics = measure(rows)
    scored = frame.dropna(subset=["llr"])
    found = find(metrics, metric="spearman", score="llr")
    assert found["value"] == pytest.approx(spearmanr(scored["FITNESS"], scored["llr"]).statistic)
    assert np.isnan(found["prevalence"])
    assert set(metrics["metric"]) == {"spearman", "strand_agreement"}
    assert "within" not in set(metrics["subset"])
    (curve,) = [one for one in make_curves(rows) if one.score == "llr"]
    assert len(curve.x) == 10
    assert ((curve.low <= curve.y) & (curve.y <= curve.high)).all()
    # In the sign of the table, though low fitness and low llr are harmful.
    ordered = scored.sort_values("llr")
    tenths = [ordered.iloc[rows_of] for rows_of in np.array_split(np.arange(len(ordered)), 10)]
    assert curve.x == pytest.approx([tenth["llr"].median() for tenth in tenths])
    assert curve.y == pytest.approx([tenth["FITNESS"].median() for tenth in tenths])
    assert curve.low == pytest.approx([tenth["FITNESS"].quantile(0.25) for tenth in tenths])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"LABEL": "good"},
            "no labelled row is positive: no row has bad in LABEL; "
            "the values of LABEL are good (400)",
        ),
        (
            {"LABEL": "bad"},
            "no labelled row is negative: no row has good in LABEL; "
            "the values of LABEL are bad (400)",
        ),
        (
            {"LABEL": "unknown"},
            "no row is labelled: no row has bad or good in LABEL; "
            "the values of LABEL are unknown (400)",
        ),
        (
            {"llr": None, "llr_aligned": None, "llr_fwd": None, "llr_rev": None},
            "no labelled row has a score",
        ),
    ],
)
def test_what_the_data_do_not_give_has_a_reason(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    frame = make_table(tmp_path / "t").assign(**change)
    schema = pq.read_schema(tmp_path / "t")
    pq.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False), tmp_path / "t")
    rows = read_labelled_rows(tmp_path / "t", LABEL, groups=["SITE"], baselines={"CADD": "high"})
    metrics = measure(rows)
    assert find(metrics, metric="auroc", score="llr")["reason"] == reason
    assert metrics["value"].isna().eq(metrics["reason"] != "").all() or "llr" in change
    check_curves(list(make_curves(rows)))
    lines = list(describe_metrics(measure_rows(rows)))
    assert all(line.isprintable() for line in lines)
    assert sum(reason in line for line in lines) == 1


@pytest.mark.parametrize("num_rows", [2, 10])
def test_few_rows_and_ties_give_metrics_or_reasons(tmp_path: Path, num_rows: int) -> None:
    frame = make_table(tmp_path / "t", num_rows, seed=3)
    frame["llr"] = -1.0
    frame["LABEL"] = np.where(np.arange(num_rows) % 2, "good", "bad")
    frame["status"] = "scored"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t")
    rows = read_labelled_rows(tmp_path / "t", LABEL, groups=["SITE"])
    metrics = measure(rows)
    assert find(metrics, metric="auroc", score="llr")["value"] == 0.5
    check_curves(list(make_curves(rows)))


def test_few_rows_are_said_to_be_few(tmp_path: Path) -> None:
    make_table(tmp_path / "t", 30)
    metrics = measure_rows(read_labelled_rows(tmp_path / "t", LABEL))
    lines = [line for line in describe_metrics(metrics) if ": auroc of llr:" in line]
    assert min(metrics[0].num_positive or 0, metrics[0].num_negative or 0) < 10
    assert lines[0].endswith("; few rows, so the interval is too narrow")


def test_types_are_lines_one_by_one(frame: pd.DataFrame) -> None:
    lines = list(describe_metrics(measure_rows(frame.attrs["rows"])))
    assert lines[0] == "LABEL: positive: bad; negative: good"
    found = auroc(frame[frame["alt"] == "C"], "llr")
    assert any(line.startswith(f"LABEL: auroc of llr, snv: {found:.3f} [") for line in lines)


def test_distributions_are_of_the_scores_in_the_table(frame: pd.DataFrame) -> None:
    curves = list(make_curves(frame.attrs["rows"]))
    bins = points_of(curves, "distribution", "positive")
    values = labelled(frame, "llr")
    mean = values.loc[values["LABEL"] == "bad", "llr"].mean()
    assert (bins[:, 0] * bins[:, 1]).sum() == pytest.approx(mean, abs=0.1)


def check_curves(curves: list[Curve]) -> None:
    table = make_curves_table(curves)
    table.validate(full=True)
    assert set(table["curve"].to_pylist()) <= set(CURVES)


def points_of(curves: list[Curve], kind: str, part: str | None = None) -> np.ndarray:
    """x, y, low and high of each point of a curve of llr."""
    (curve,) = [one for one in curves if (one.score, one.curve, one.part) == ("llr", kind, part)]
    return np.column_stack([curve.x, curve.y, curve.low, curve.high])


def test_curves_are_those_of_scikit_learn(frame: pd.DataFrame) -> None:
    curves = list(make_curves(frame.attrs["rows"]))
    check_curves(curves)
    rows = labelled(frame, "llr")
    target, scores = (rows["LABEL"] == "bad").to_numpy(), -rows["llr"].to_numpy()

    roc = points_of(curves, "roc")
    false_rate, true_rate, _ = roc_curve(target, scores, drop_intermediate=False)
    for x, y, low, high in roc:
        assert y == pytest.approx(true_rate[false_rate <= x + 1e-9].max(), abs=0.011)
        assert low - 1e-9 <= y <= high + 1e-9
    assert np.trapezoid(roc[:, 1], roc[:, 0]) == pytest.approx(auroc(frame, "llr"), abs=0.01)

    precision, recall, _ = precision_recall_curve(target, scores)
    precision, recall = precision[:-1], recall[:-1]  # the last point is no threshold
    for x, y, _, _ in points_of(curves, "precision_recall"):
        # Of the thresholds that just reach this recall the highest one, with the fewest negative.
        just = recall == recall[recall >= x - 1e-9].min()
        assert y == pytest.approx(precision[just].max())
    for part in ("positive", "negative"):
        shares = points_of(curves, "distribution", part)[:, 1]
        assert shares.sum() == pytest.approx(1)


def test_a_threshold_has_the_sign_of_the_table_and_gives_the_sensitivity(tmp_path: Path) -> None:
    frame = make_table(tmp_path / "t")
    frame["DAMAGE"] = 3 - frame["llr"]
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t")
    baselines = {"DAMAGE": "high", "FITNESS": "low"}
    metrics = measure(read_labelled_rows(tmp_path / "t", LABEL, baselines=baselines))
    names = ("sensitivity_at_0.95_specificity", "threshold_at_0.95_specificity")
    for name, sign in (("llr", 1), ("llr_fwd", 1), ("DAMAGE", -1), ("FITNESS", 1)):
        sensitivity, threshold = (find(metrics, metric=one, score=name) for one in names)
        rows = labelled(frame, "llr", name)
        is_bad, values = rows["LABEL"] == "bad", sign * rows[name]
        limit = sign * threshold["value"]
        assert (values[is_bad] <= limit).mean() == pytest.approx(sensitivity["value"])
        assert (values[~is_bad] > limit).mean() >= 0.95
        # The next positive row is beyond a negative row too many.
        following = values[is_bad & (values > limit)].min()
        assert (values[~is_bad] > following).mean() < 0.95
        assert threshold["low"] <= threshold["value"] <= threshold["high"]


def test_a_threshold_that_nothing_reaches_has_a_reason(tmp_path: Path) -> None:
    frame = make_table(tmp_path / "t", 200)
    frame.loc[frame["LABEL"] == "good", "llr"] -= 50
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t")
    metrics = measure(read_labelled_rows(tmp_path / "t", LABEL))
    assert find(metrics, metric="sensitivity_at_0.95_specificity", score="llr")["value"] == 0
    found = find(metrics, metric="threshold_at_0.95_specificity", score="llr")
    assert np.isnan(found["value"])
    assert found["reason"] == "no threshold with a specificity of 0.95 finds a positive row"


def test_a_small_class_has_its_empirical_distribution(frame: pd.DataFrame) -> None:
    curves = list(make_curves(frame.attrs["rows"]))
    rows = labelled(frame, "llr")
    for part, name in (("positive", "bad"), ("negative", "good")):
        values = rows[rows["LABEL"] == name]
        expected = ecdf(values["llr"]).cdf
        (curve,) = [one for one in curves if (one.score, one.curve, one.part)
                    == ("llr", "cumulative", part)]  # fmt: skip
        np.testing.assert_allclose(curve.x, np.sort(values["llr"]))
        np.testing.assert_allclose(curve.y, expected.evaluate(curve.x))
        ordered = values.sort_values("llr", kind="stable")
        assert curve.alleles.tolist() == [[record, 1] for record in ordered["record"]]


def test_a_large_class_has_no_point_for_each_row(tmp_path: Path) -> None:
    make_table(tmp_path / "t", 2_000)
    curves = make_curves(read_labelled_rows(tmp_path / "t", LABEL))
    assert not [one for one in curves if one.curve == "cumulative"]


def test_curves_are_read_as_written_and_without_the_later_columns(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    curves = list(make_curves(frame.attrs["rows"]))
    write_curves(curves, tmp_path / "c", make_statement_metadata("0" * 64, {}, {}))
    for one, other in zip(read_curves(tmp_path / "c"), curves, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        assert one.alleles.tolist() == other.alleles.tolist()
    old = pq.read_table(tmp_path / "c").drop_columns(["record", "allele"])
    pq.write_table(old, tmp_path / "old")
    for one, other in zip(read_curves(tmp_path / "old"), curves, strict=True):
        np.testing.assert_array_equal(one.y, other.y)
        assert one.alleles.shape == (0, 2)


@pytest.mark.parametrize(
    ("values", "warns"),
    [
        ([f"C|variant {number}" for number in range(300)], True),
        ([f"C|{number // 2 * 2 if number < 30 else number}" for number in range(300)], True),
        ([f"GENE{number % 30}" for number in range(300)], False),
        ([f"GENE{min(number, 12)}" for number in range(300)], False),
        (["exon"] * 300, False),
        (["."] * 150 + [f"x{number}" for number in range(150)], False),
    ],
)
def test_groups_of_one_variant_each_give_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, values: list[str], warns: bool
) -> None:
    frame = make_table(tmp_path / "t", 300)
    frame["CSQ"] = values
    frame["pos"] = np.arange(300) + 1
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t")
    rows = read_labelled_rows(tmp_path / "t", LABEL, groups=["CSQ"])
    plan_metrics(rows, FEW)
    assert ("groups: CSQ" in caplog.text and "one labelled variant each" in caplog.text) == warns


def test_names_in_the_schema_are_those_in_the_metrics(metrics: pd.DataFrame) -> None:
    assert set(metrics["metric"]) | {"spearman", *OF_PROBABILITIES} == set(METRICS)
    assert set(metrics["subset"]) == set(SUBSETS)
    assert len(GRID) == 101


def test_large_sets_are_drawn_less_often() -> None:
    assert [make_resampling(num).num_resamples for num in (0, 10**4, 10**5, 10**7)] == [
        2_000, 2_000, 200, 200,
    ]  # fmt: skip
