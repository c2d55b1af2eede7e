"""All figures of a table: scikit-learn's on the same rows, subsets, baselines, curves."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from evo2_tasks.evaluation.curves import GRID, make_curves
from evo2_tasks.evaluation.estimates import Resampling
from evo2_tasks.evaluation.labels import LabelledRows, read_labelled_rows
from evo2_tasks.evaluation.measurements import make_resampling, plan_figures
from evo2_tasks.evaluation.schema import (
    CURVES,
    METRICS,
    SUBSETS,
    curves_schema,
    figures_schema,
)
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.evaluation.text import describe_figures

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


def measure(rows: LabelledRows) -> pd.DataFrame:
    made = [make_figure() for make_figure in plan_figures(rows, FEW)]
    table = pa.Table.from_pylist(made, figures_schema())
    table.validate(full=True)
    return table.to_pandas()


def find(figures: pd.DataFrame, **wanted: Any) -> pd.Series:
    wanted = {"minus": None, "column": None, "group": None, "subset": "all"} | wanted
    keep = np.ones(len(figures), dtype=bool)
    for name, value in wanted.items():
        keep &= figures[name].isna() if value is None else figures[name] == value
    assert keep.sum() == 1, wanted
    return figures[keep].iloc[0]


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    table = tmp_path_factory.mktemp("figures") / "t.parquet"
    frame = make_table(table)
    frame.attrs["rows"] = read_labelled_rows(
        table,
        LABEL,
        groups=["SITE"],
        baselines={"CADD": "high"},
    )
    return frame


@pytest.fixture(scope="module")
def figures(frame: pd.DataFrame) -> pd.DataFrame:
    return measure(frame.attrs["rows"])


def labelled(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return frame[frame["LABEL"].isin(["bad", "good"])].dropna(subset=list(columns))


def auroc(frame: pd.DataFrame, column: str, sign: int = -1) -> float:
    rows = labelled(frame, column)
    return float(roc_auc_score(rows["LABEL"] == "bad", sign * rows[column]))


def test_figures_of_all_rows_are_those_of_scikit_learn(
    frame: pd.DataFrame, figures: pd.DataFrame
) -> None:
    for name in ("llr", "llr_aligned", "llr_fwd", "llr_rev"):
        found = find(figures, metric="auroc", score=name)
        assert found["value"] == pytest.approx(auroc(frame, name))
        assert found["low"] < found["value"] < found["high"]
    rows = labelled(frame, "llr")
    found = find(figures, metric="average_precision", score="llr")
    expected = average_precision_score(rows["LABEL"] == "bad", -rows["llr"])
    assert found["value"] == pytest.approx(expected)
    assert found["prevalence"] == pytest.approx((rows["LABEL"] == "bad").mean())
    assert found["num_unscored"] == labelled(frame)["llr"].isna().sum() > 0
    assert dict(found["unscored_by_status"]) == {"too_many_n": found["num_unscored"]}
    found = find(figures, metric="strand_agreement")
    assert found["value"] == pytest.approx(spearmanr(rows["llr_fwd"], rows["llr_rev"]).statistic)
    assert set(figures["definition"]) == {"positive: bad; negative: good"}
    unlabelled = (frame["LABEL"] == "unknown").sum()
    assert [dict(one) for one in figures["left_out"]] == [{"another value": unlabelled}] * len(
        figures
    )


def test_a_baseline_that_some_rows_lack_stands_beside_llr_on_the_others(
    frame: pd.DataFrame, figures: pd.DataFrame
) -> None:
    both = frame.dropna(subset=["llr", "CADD"])
    subset = {"metric": "auroc", "subset": "with", "column": "CADD"}
    llr, cadd = (find(figures, score=name, **subset) for name in ("llr", "CADD"))
    assert llr["value"] == pytest.approx(auroc(both, "llr"))
    assert cadd["value"] == pytest.approx(auroc(both, "CADD", sign=1))
    assert llr["num_rows"] == cadd["num_rows"] == len(labelled(both))
    assert llr["num_unscored"] == cadd["num_unscored"]
    assert not ((figures["score"] == "CADD") & (figures["subset"] == "all")).any()


def test_a_baseline_that_all_scored_rows_have_stands_beside_llr_on_all(tmp_path: Path) -> None:
    frame = make_table(tmp_path / "t")
    # There where a row is labelled and scored, and on some rows that have no score.
    frame["CADD"] = np.where(frame["llr"].notna(), frame["llr"], 0.5)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t")
    rows = read_labelled_rows(tmp_path / "t", LABEL, groups=["SITE"], baselines={"CADD": "low"})
    figures = measure(rows)
    names = ["llr", "CADD", "sequence-free: SITE"]
    found = [find(figures, metric="auroc", score=name) for name in names]
    assert {one["num_rows"] for one in found} == {len(labelled(frame, "llr"))}
    assert found[0]["value"] == found[1]["value"]
    assert "with" not in set(figures["subset"])


def test_a_baseline_without_any_number_says_so(tmp_path: Path) -> None:
    frame = make_table(tmp_path / "t").assign(CADD=np.nan)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t")
    rows = read_labelled_rows(tmp_path / "t", LABEL, baselines={"CADD": "low"})
    found = find(measure(rows), metric="auroc", score="CADD")
    assert found["reason"] == "no scored row has a number in CADD"


def test_figures_of_types_and_groups_are_those_of_their_rows(
    frame: pd.DataFrame, figures: pd.DataFrame
) -> None:
    for site, of_site in frame.groupby("SITE"):
        found = find(
            figures, metric="auroc", score="llr", subset="group", column="SITE", group=site
        )
        if site == "exon":
            assert found["value"] == pytest.approx(auroc(of_site, "llr"))
        else:
            assert np.isnan(found["value"])
            assert found["reason"] == "no scored row is positive"
    of_type = frame[frame["alt"] == "C"]
    found = find(figures, metric="auroc", score="llr", subset="type", group="snv")
    assert found["value"] == pytest.approx(auroc(of_type, "llr"))
    within = find(figures, metric="auroc", score="llr", subset="within", column="SITE")
    assert within["value"] == pytest.approx(auroc(frame[frame["SITE"] == "exon"], "llr"))


def test_indels_are_measured_by_both_scores_and_their_difference(figures: pd.DataFrame) -> None:
    indels = {"subset": "type", "group": "insertion", "metric": "auroc"}
    both = [find(figures, score=name, **indels)["value"] for name in ("llr", "llr_aligned")]
    difference = find(figures, score="llr", minus="llr_aligned", **indels)["value"]
    assert difference == pytest.approx(both[0] - both[1])
    assert not ((figures["group"] == "snv") & (figures["score"] == "llr_aligned")).any()


def test_a_difference_is_of_the_rows_that_have_both(
    frame: pd.DataFrame, figures: pd.DataFrame
) -> None:
    both = frame.dropna(subset=["llr", "CADD"])
    found = find(figures, metric="auroc", minus="CADD", subset="with", column="CADD")
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
    figures = measure(rows)
    is_exon, is_bad = (labelled(frame)["SITE"] == "exon"), labelled(frame)["LABEL"] == "bad"
    found = find(figures, metric="auroc", score="sequence-free: SITE")
    assert found["value"] == pytest.approx(roc_auc_score(is_bad, is_exon), abs=0.03)
    found = find(figures, metric="auroc", score="sequence-free: NUMBER")
    assert found["value"] == pytest.approx(0.5, abs=0.05)


def test_numbers_have_rank_correlations(tmp_path: Path) -> None:
    frame = make_table(tmp_path / "t")
    label = LabelSettings("FITNESS", harmful="low")
    rows = read_labelled_rows(tmp_path / "t", label, groups=["SITE"], baselines={"CADD": "high"})
    figures = measure(rows)
    scored = frame.dropna(subset=["llr"])
    found = find(figures, metric="spearman", score="llr")
    assert found["value"] == pytest.approx(spearmanr(scored["FITNESS"], scored["llr"]).statistic)
    assert np.isnan(found["prevalence"])
    assert set(figures["metric"]) == {"spearman", "strand_agreement"}
    assert "within" not in set(figures["subset"])
    curve = [point for point in make_curves(rows) if point["score"] == "llr"]
    assert len(curve) == 10
    assert all(point["low"] <= point["y"] <= point["high"] for point in curve)
    # As they stand in the table, though low fitness and low llr are harmful.
    ordered = scored.sort_values("llr")
    for point, rows_of in zip(curve, np.array_split(np.arange(len(ordered)), 10), strict=True):
        tenth = ordered.iloc[rows_of]
        assert point["x"] == pytest.approx(tenth["llr"].median())
        assert point["y"] == pytest.approx(tenth["FITNESS"].median())
        assert point["low"] == pytest.approx(tenth["FITNESS"].quantile(0.25))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"LABEL": "good"},
            "no labelled row is positive: no row has bad in LABEL; LABEL holds good (400)",
        ),
        (
            {"LABEL": "bad"},
            "no labelled row is negative: no row has good in LABEL; LABEL holds bad (400)",
        ),
        (
            {"LABEL": "unknown"},
            "no row is labelled: no row has bad or good in LABEL; LABEL holds unknown (400)",
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
    figures = measure(rows)
    assert find(figures, metric="auroc", score="llr")["reason"] == reason
    assert figures["value"].isna().eq(figures["reason"] != "").all() or "llr" in change
    check_curves(list(make_curves(rows)))
    told = list(describe_figures(make_figure() for make_figure in plan_figures(rows, FEW)))
    assert all(line.isprintable() for line in told)
    assert sum(reason in line for line in told) == 1


@pytest.mark.parametrize("num_rows", [2, 10])
def test_few_rows_and_ties_give_figures_or_reasons(tmp_path: Path, num_rows: int) -> None:
    frame = make_table(tmp_path / "t", num_rows, seed=3)
    frame["llr"] = -1.0
    frame["LABEL"] = np.where(np.arange(num_rows) % 2, "good", "bad")
    frame["status"] = "scored"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t")
    rows = read_labelled_rows(tmp_path / "t", LABEL, groups=["SITE"])
    figures = measure(rows)
    assert find(figures, metric="auroc", score="llr")["value"] == 0.5
    check_curves(list(make_curves(rows)))


def test_few_rows_are_said_to_be_few(tmp_path: Path) -> None:
    make_table(tmp_path / "t", 30)
    planned = plan_figures(read_labelled_rows(tmp_path / "t", LABEL), FEW)
    figures = [make_figure() for make_figure in planned]
    told = [line for line in describe_figures(figures) if ": auroc of llr:" in line]
    assert min(figures[0]["num_positive"], figures[0]["num_negative"]) < 10
    assert told[0].endswith(": few, the interval is too narrow")


def test_types_are_told_one_by_one(frame: pd.DataFrame) -> None:
    planned = plan_figures(frame.attrs["rows"], FEW)
    told = list(describe_figures(make_figure() for make_figure in planned))
    assert told[0] == "LABEL: positive: bad; negative: good"
    found = auroc(frame[frame["alt"] == "C"], "llr")
    assert any(line.startswith(f"LABEL: auroc of llr, snv: {found:.3f} [") for line in told)


def test_distributions_are_of_the_scores_in_the_table(frame: pd.DataFrame) -> None:
    points = list(make_curves(frame.attrs["rows"]))
    bins = points_of(points, "distribution", "positive")
    values = labelled(frame, "llr")
    mean = values.loc[values["LABEL"] == "bad", "llr"].mean()
    assert (bins[:, 0] * bins[:, 1]).sum() == pytest.approx(mean, abs=0.1)


def check_curves(points: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(points, curves_schema())
    table.validate(full=True)
    assert set(table["curve"].to_pylist()) <= set(CURVES)


def points_of(points: Iterable[dict[str, Any]], curve: str, part: str | None = None) -> np.ndarray:
    return np.array(
        [
            (point["x"], point["y"], point["low"], point["high"])
            for point in points
            if (point["score"], point["curve"], point["part"]) == ("llr", curve, part)
        ],
        dtype=float,
    )


def test_curves_are_those_of_scikit_learn(frame: pd.DataFrame) -> None:
    points = list(make_curves(frame.attrs["rows"]))
    check_curves(points)
    rows = labelled(frame, "llr")
    target, scores = (rows["LABEL"] == "bad").to_numpy(), -rows["llr"].to_numpy()

    roc = points_of(points, "roc")
    false_rate, true_rate, _ = roc_curve(target, scores, drop_intermediate=False)
    for x, y, low, high in roc:
        assert y == pytest.approx(true_rate[false_rate <= x + 1e-9].max(), abs=0.011)
        assert low - 1e-9 <= y <= high + 1e-9
    assert np.trapezoid(roc[:, 1], roc[:, 0]) == pytest.approx(auroc(frame, "llr"), abs=0.01)

    precision, recall, _ = precision_recall_curve(target, scores)
    precision, recall = precision[:-1], recall[:-1]  # the last point is no threshold
    for x, y, _, _ in points_of(points, "precision_recall"):
        # Of the thresholds that just reach this recall the highest one, with the fewest negative.
        just = recall == recall[recall >= x - 1e-9].min()
        assert y == pytest.approx(precision[just].max())
    for part in ("positive", "negative"):
        shares = points_of(points, "distribution", part)[:, 1]
        assert shares.sum() == pytest.approx(1)


def test_names_in_the_schema_are_those_in_the_figures(figures: pd.DataFrame) -> None:
    assert set(figures["metric"]) | {"spearman"} == set(METRICS)
    assert set(figures["subset"]) == set(SUBSETS)
    assert len(GRID) == 101


def test_large_sets_are_drawn_less_often() -> None:
    assert [make_resampling(num).num_resamples for num in (0, 10**4, 10**5, 10**7)] == [
        2_000, 2_000, 200, 200,
    ]  # fmt: skip
