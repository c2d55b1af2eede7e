"""The section about calibrations: its counts are those of pandas, its files belong together."""

from __future__ import annotations

import html
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import shown_path
from evo2_tasks.report import calibrated_scores
from evo2_tasks.report.calibrated_scores import MOST_SINGLE, MOST_STRATA, QUANTILE_BINS
from evo2_tasks.report.calibration_sections import MOST_LISTED, NOT_CLINICAL, tabulate_origin
from evo2_tasks.report.calibrations import (
    MOST_RATIOS,
    CalibrationEvidence,
    NamedCalibration,
    read_calibrations,
)
from evo2_tasks.report.words import MINUS, NOTHING, count, decimal
from evo2_tasks.table import statistics
from tests.evaluation.build import (
    HOSTILE,
    make_columns,
    without_scores,
    write_page,
    write_scoring,
)
from tests.report.build_calibrations import (
    POINTS,
    SIZES,
    TOO_FEW,
    Made,
    normal,
    stratified,
    write_calibrated,
    write_calibrated_page,
    write_calibration,
)
from tests.report.page import names_of, plots_of, read_page, rows_of

WHERE = "common, one"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    return write_calibrated_page(
        tmp_path_factory.mktemp("results"), make_columns(1_500), [stratified()]
    )


def numbers(cells: list[str]) -> list[int]:
    """Whole numbers of a table."""
    return [int(cell.replace(",", "")) for cell in cells]


def classes_of(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The scored rows, all and by class."""
    scored = frame[frame["llr"].notna()]
    return {
        "set": scored,
        "positive": scored[scored["KIND"] == "bad"],
        "negative": scored[scored["KIND"] == "good"],
    }


def test_alleles_are_counted_by_points(made: tuple[Path, pd.DataFrame]) -> None:
    page, frame = made
    rows = rows_of(page, f"Alleles by points, {WHERE}")
    assert [row[0] for row in rows] == [
        "+8", "+4", "+3", "+2", "+1", "0", *(f"{MINUS}{one}" for one in (1, 2, 3, 4, 8)), NOTHING,
    ]  # fmt: skip
    by_class = [of["evidence"].value_counts() for of in classes_of(frame).values()]
    for row, points in zip(rows, reversed(POINTS), strict=False):
        expected = [int(counts.get(points, 0)) for counts in by_class]
        assert numbers([row[2], *row[4:]]) == expected
    assert numbers([rows[-1][2], *rows[-1][4:]]) == [0, 0, 0]
    assert sum(numbers([row[2] for row in rows])) == len(classes_of(frame)["set"])


def test_alleles_are_counted_by_phred(made: tuple[Path, pd.DataFrame]) -> None:
    page, frame = made
    for row, phred in zip(rows_of(page, f"Alleles by phred, {WHERE}"), (10, 20, 30), strict=True):
        expected = [int((of["phred"] >= phred).sum()) for of in classes_of(frame).values()]
        assert row[0] == f"at least {phred}"
        assert numbers(row[2::2]) == expected
    highest = decimal(10 * math.log10(sum(SIZES.values()) + 1))
    assert f"With 2,400 background alleles, phred is at most {highest}" in read_page(page).text()


def test_points_of_strengths_without_a_threshold_are_a_warning(
    made: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    page, frame = made
    points = classes_of(frame)["set"]["evidence"].value_counts()
    assert points[8] > 1
    assert points[-8] > 1
    expected = f"{points[8] + points[-8]} alleles have points of a strength that is not reached "
    expected += (
        f"(table above): {points[8]} harmful very strong and {points[-8]} benign very strong."
    )
    assert expected in read_page(page).text()
    # Without alleles beyond the reached strengths there is no warning.
    columns = make_columns(200)
    columns["llr"] = [None if one is None else -1.0 for one in columns["llr"]]
    page, _ = write_calibrated_page(tmp_path, columns, [stratified()])
    assert "strength that is not reached" not in read_page(page).text()


def test_quantiles_are_counted_in_equal_parts(made: tuple[Path, pd.DataFrame]) -> None:
    page, frame = made
    plot = plots_of(page)[f"Quantiles of the set, {WHERE}"]
    assert names_of(plot) == ["set", "negative", "positive"]
    for trace in plot["data"][:3]:
        quantiles = classes_of(frame)[trace["name"]]["quantile"]
        parts = np.floor(quantiles * QUANTILE_BINS).value_counts(normalize=True)
        shares = [parts.get(at, 0.0) for at in range(QUANTILE_BINS)]
        assert trace["y"][:QUANTILE_BINS] == pytest.approx(shares, rel=1e-4)


def test_strata_are_those_that_the_alleles_are_compared_with(
    made: tuple[Path, pd.DataFrame],
) -> None:
    page, frame = made
    scored = classes_of(frame)["set"]
    expected = {
        "coding": (2_000, scored[scored["PLACE"] == "coding"]),
        "tRNA": (300, scored[scored["PLACE"] == "tRNA"]),
        "all (small or no stratum)": (2_400, scored[scored["PLACE"] == "rRNA"]),
    }
    rows = rows_of(page, f"Strata, {WHERE}")
    assert {row[0]: numbers(row[1:3]) for row in rows} == {
        name: [size, len(of)] for name, (size, of) in expected.items()
    }
    plots = plots_of(page)
    for name, (size, of) in expected.items():
        caption = plots[name]["caption"]
        assert f"{count(size)} alleles of the background and {count(len(of))} alleles" in caption
    fallback = count(len(expected["all (small or no stratum)"][1]))
    assert f"{fallback} alleles of the set are compared with the whole background (" in (
        read_page(page).text()
    )


def test_the_distributions_are_those_of_background_and_set(
    made: tuple[Path, pd.DataFrame],
) -> None:
    page, frame = made
    plot = plots_of(page)[f"Scores of the background and of the set, {WHERE}"]
    everything = np.array([one for size in SIZES.values() for one in normal(size, size)])
    scores = classes_of(frame)["set"]["llr"].to_numpy()
    by_name = {trace["name"]: trace for trace in plot["data"]}
    for name, values in (("background", everything), ("set", scores)):
        trace = by_name[name]
        edges = np.array(trace["x"])
        inside = np.clip(values, edges[0], np.nextafter(edges[-1], 0))
        counts, _ = np.histogram(inside, edges)
        assert trace["y"][:-1] == pytest.approx((counts / len(values)).tolist(), abs=2e-3)
    assert (
        f"The median llr is {decimal(float(np.median(scores)))} in the set and "
        in (plot["caption"])
    )
    assert f"{decimal(float(np.median(everything)))} in the background" in plot["caption"]


def test_labelled_alleles_of_a_small_class_are_marked_and_named(
    made: tuple[Path, pd.DataFrame],
) -> None:
    page, frame = made
    plot = plots_of(page)[f"Scores of the background and of the set, {WHERE}"]
    (trace,) = [trace for trace in plot["data"] if trace.get("yaxis") == "y2"]
    positive = classes_of(frame)["positive"]
    assert trace["name"] == "positive"
    assert len(positive) <= MOST_SINGLE < len(classes_of(frame)["negative"])
    assert trace["x"] == pytest.approx(positive["llr"].tolist(), rel=1e-4)
    names = positive["contig"].astype(str) + ":" + positive["pos"].astype(str)
    names += " " + positive["ref"] + ">" + positive["alt"]
    assert [html.unescape(text.partition("<br>")[0]) for text in trace["hovertext"]] == [*names]
    # The other class is a distribution.
    assert "negative" in [t["name"] for t in plot["data"] if t.get("yaxis") != "y2"]


def test_ratios_have_the_lines_and_marks_of_the_strengths(
    made: tuple[Path, pd.DataFrame],
) -> None:
    page, _ = made
    plot = plots_of(page)[f"Likelihood ratios, {WHERE}"]
    axis = plot["layout"]["yaxis"]
    assert axis["type"] == "log"
    expected = sorted([1.0, *(350 ** (sign * k / 8) for sign in (1, -1) for k in (1, 2, 4, 8))])
    assert axis["tickvals"] == pytest.approx(expected)
    assert axis["ticktext"][-1] == "very strong 350"
    by_name = {trace["name"]: trace for trace in plot["data"] if "name" in trace}
    line = by_name["likelihood ratio"]
    assert len(line["x"]) == MOST_RATIOS
    low, high = (10.0**end for end in axis["range"])
    for x, y in zip(line["x"], line["y"], strict=True):
        own = Made().find_ratio(np.array([x]))[0]
        if x > line["x"][2] and x < line["x"][-3]:
            assert y == pytest.approx(min(max(own, low), high), rel=0.01)
    assert "likelihood ratio infinite" in line["hovertext"][0]
    assert "Ratios beyond the axis are drawn at its ends." in plot["caption"]
    threshold = [-(math.log(350 ** (k / 8)) / 2 + 1) for k in (1, 2, 4, 8, -1, -2, -4, -8)]
    assert by_name["threshold"]["x"] == pytest.approx(threshold, rel=1e-4)
    # Neither bound of very strong exists.
    bounds = [at - 0.3 * (1 if i < 4 else -1) for i, at in enumerate(threshold) if i % 4 < 3]
    assert by_name["bound"]["x"] == pytest.approx(bounds, rel=1e-4)


def test_thresholds_are_listed_with_their_bounds(made: tuple[Path, pd.DataFrame]) -> None:
    page, _ = made
    rows = rows_of(page, f"Thresholds of the strengths, {WHERE}")
    assert [row[1] for row in rows] == [
        *(f"+{one}" for one in (8, 4, 2, 1)),
        *(f"{MINUS}{one}" for one in (1, 2, 4, 8)),
    ]
    first, second = rows[:2]
    assert first[5:] == [NOTHING, "31 %", "no", "31 % of the draws are without a threshold"]
    assert second[:1] + second[3:4] + second[7:] == ["harmful, strong", "at least 18.7", "yes", ""]
    threshold = -(math.log(350**0.5) / 2 + 1)
    assert second[4:7] == [decimal(threshold), decimal(threshold - 0.3), "0 %"]


def test_what_the_calibration_was_made_from_is_listed(made: tuple[Path, pd.DataFrame]) -> None:
    page, _ = made
    facts = dict(rows_of(page, f"What the calibration was made from, {WHERE}"))
    assert facts == {
        "score": "llr; low scores are harmful", "background alleles": "2,400",
        "strata by": "PLACE", "label": "KIND", "definition": "positive: bad; negative: good",
        "positive alleles": "80", "negative alleles": "320", "prior probability": "0.1",
        "constant c": "350", "draws of the bootstrap": "10,000", "seed": "0",
        "folds": "10, of blocks of positions",
        "windows": "at least 100 labelled rows and 3 % of the background",
    }  # fmt: skip
    text = read_page(page).text()
    assert "are made from 80 positive and 320 negative alleles. Only 80 are positive" in text
    assert "from the labelled alleles of other folds, never from itself" in text
    assert text.count(NOT_CLINICAL) == 3


def test_probabilities_are_drawn_against_the_labels(made: tuple[Path, pd.DataFrame]) -> None:
    page, frame = made
    curves = pd.read_parquet(page.with_name("one") / "curves.parquet")
    points = curves[curves["curve"] == "calibration"]
    plot = plots_of(page)[f"Probabilities and labels, KIND, {WHERE}"]
    line, dots = plot["data"]
    assert line["x"] == line["y"] == [0, 1]
    assert dots["x"] == pytest.approx(points["x"].tolist(), rel=1e-4)
    assert dots["y"] == pytest.approx(points["y"].tolist(), rel=1e-4)
    reach = (points["high"] - points["y"]).tolist()
    assert dots["error_y"]["array"] == pytest.approx(reach, rel=1e-3, abs=1e-6)
    # The Brier score by its definition, at the odds of the labelled rows.
    labelled = frame[frame["KIND"].notna() & frame["lr"].notna()]
    is_bad = labelled["KIND"] == "bad"
    odds = labelled["lr"] * is_bad.sum() / (~is_bad).sum()
    brier = (odds / (1 + odds) - is_bad).pow(2).mean()
    assert (
        f"{count(int(is_bad.sum()))} positive, {count(int((~is_bad).sum()))} negative"
        in (plot["caption"])
    )
    assert f"Brier score {brier:.3f} [" in plot["caption"]


def test_no_other_word_for_the_evidence_than_that_of_the_method(
    made: tuple[Path, pd.DataFrame],
) -> None:
    text = read_page(made[0]).text().lower()
    assert [word for word in ("pathogenic", "clinical classification") if word in text] == []
    assert set(re.findall(r"\w+ clinical use", text)) == {"for clinical use"}


def test_several_calibrations_have_a_heading_each(tmp_path: Path) -> None:
    other = Made("other", has_labels=False, background={None: normal(500)})
    page, frame = write_calibrated_page(tmp_path, make_columns(400), [stratified(), other])
    text = read_page(page).text()
    assert "other, one" in text
    rows = rows_of(page, "Alleles by phred, other, one")
    assert numbers([row[2] for row in rows]) == [
        int((frame["other.phred"] >= phred).sum()) for phred in (10, 20, 30)
    ]
    assert "Likelihood ratios, other, one" not in plots_of(page)
    assert "Probabilities and labels, KIND, common, one" in plots_of(page)
    assert "Strata, other, one" not in text


def test_without_a_strength_there_is_the_reason_and_no_curve(tmp_path: Path) -> None:
    made = stratified(reason=TOO_FEW)
    page, frame = write_calibrated_page(tmp_path, make_columns(400), [made])
    text = read_page(page).text()
    assert f"{WHERE}: no strength is reached: {TOO_FEW}." in text
    assert f"Likelihood ratios, {WHERE}" not in plots_of(page)
    assert "Alleles by points" not in text
    (row,) = rows_of(page, f"Scored alleles without a likelihood ratio, {WHERE}")
    scored = classes_of(frame)
    assert row[0] == "too_few_labels"
    assert numbers(row[1:4]) == [len(of) for of in scored.values()]


def test_a_set_without_scores_says_so(tmp_path: Path) -> None:
    page, _ = write_calibrated_page(tmp_path, without_scores(make_columns(60)), [stratified()])
    text = read_page(page).text()
    assert f"{WHERE}: no allele of the set has the score llr." in text
    assert f"{WHERE}: no allele of the set has a quantile." in text
    assert not [title for title in plots_of(page) if title.startswith(("Scores of", "Quantiles"))]


def test_a_background_without_alleles_gives_no_quantile(tmp_path: Path) -> None:
    made = Made(background={None: []}, has_labels=False, stated={"num_background": 0})
    page, _ = write_calibrated_page(tmp_path, make_columns(60), [made])
    assert f"{WHERE}: no allele of the set has a quantile." in read_page(page).text()


def test_one_allele_and_equal_scores_are_drawn(tmp_path: Path) -> None:
    columns = make_columns(1, num_labelled=1)
    columns["llr"], columns["status"] = [-1.0], ["scored"]
    made = Made(background={None: [-1.0] * 200})
    page, frame = write_calibrated_page(tmp_path, columns, [made])
    assert frame["quantile"].tolist() == [0.5]
    plot = plots_of(page)[f"Scores of the background and of the set, {WHERE}"]
    assert "200 alleles of the background and 1 allele of the set." in plot["caption"]


def test_a_set_without_labels_has_the_points_of_all_alleles(tmp_path: Path) -> None:
    table = write_scoring(tmp_path / "v" / "one", make_columns(400))
    file = write_calibration(tmp_path, stratified())
    made = write_calibrated(table, [stratified()], {"common": file})
    earlier = str(file).replace("/one/", "/{scoring}/")
    page = write_page(tmp_path / "v", made={"common": {"file": earlier}})
    rows = rows_of(page, f"Alleles by points, {WHERE}")
    expected = made["evidence"].value_counts()
    assert [int(row[2].replace(",", "")) for row in rows[:-1]] == [
        int(expected.get(points, 0)) for points in reversed(POINTS)
    ]
    assert {len(row) for row in rows} == {4}
    text = read_page(page).text()
    assert "Labelled alleles of the set" not in text
    assert "never from itself" not in text


def test_a_set_without_rows_has_its_section(tmp_path: Path) -> None:
    page, _ = write_calibrated_page(tmp_path, make_columns(0), [stratified()])
    assert f"{WHERE}: no allele of the set has the score llr." in read_page(page).text()


def test_few_ratios_have_a_mark_each(tmp_path: Path) -> None:
    page, _ = write_calibrated_page(tmp_path, make_columns(60), [stratified(num_scores=1)])
    (line,) = [
        trace
        for trace in plots_of(page)[f"Likelihood ratios, {WHERE}"]["data"]
        if trace.get("name") == "likelihood ratio"
    ]
    assert (line["mode"], line["x"]) == ("lines+markers", [-6])


def test_a_set_without_calibrations_has_no_such_section(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", make_columns(60))
    page = read_page(write_page(tmp_path))
    assert "calibrations" not in [one.get("id") for one in page.all("section")]


def test_text_of_strata_and_labels_is_no_markup(tmp_path: Path) -> None:
    columns = make_columns(600)
    columns["PLACE"] = [HOSTILE[i % len(HOSTILE)] for i in range(600)]
    made = Made(
        background={text: normal(150, i) for i, text in enumerate(HOSTILE)},
        by=("PLACE",), column="PLACE",
        stated={"by": list(HOSTILE), "label": HOSTILE[1], "definition": HOSTILE[2],
                "reason": HOSTILE[3]},
    )  # fmt: skip
    page = read_page(write_calibrated_page(tmp_path, columns, [made])[0])
    assert not page.all("img")
    assert not [tag for tag, _ in page.elements if tag == "b"]
    assert len(page.scripts()) == 3


def test_many_strata_are_listed_and_few_are_drawn(tmp_path: Path) -> None:
    columns = make_columns(3_000)
    columns["PLACE"] = [f"place {i % 300}" for i in range(3_000)]
    background = {f"place {i}": normal(100, i) for i in range(300)}
    made = Made(background=background, by=("PLACE",), column="PLACE")
    page, frame = write_calibrated_page(tmp_path, columns, [made])
    rows = rows_of(page, f"Strata, {WHERE}")
    assert len(rows) == MOST_LISTED
    sizes = frame[frame["llr"].notna()]["PLACE"].value_counts()
    assert numbers([row[2] for row in rows]) == sizes.tolist()[:MOST_LISTED]
    panels = [title for title in plots_of(page) if title.startswith("place ")]
    assert len(panels) == MOST_STRATA
    assert f"{MOST_LISTED} of 300 strata." in read_page(page).text()


def test_the_page_does_not_grow_with_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrated_scores, "MOST_SINGLE", 20)
    monkeypatch.setattr(statistics, "MOST_KEPT", 200)
    plots = []
    for num_rows in (800, 8_000):
        made = Made(background={None: normal(num_rows)})
        columns = make_columns(num_rows, num_labelled=num_rows)
        page, _ = write_calibrated_page(tmp_path / str(num_rows), columns, [made])
        plots.append({
            title: len(str(plot))
            for title, plot in plots_of(page).items()
            if title.endswith(WHERE)
        })  # fmt: skip
    small, large = plots
    assert small.keys() == large.keys()
    assert len(small) == 4
    assert all(large[title] < 1.5 * size for title, size in small.items())


def read_again(
    results: Path, name: str = "common", settings: dict[str, Any] | None = None
) -> list[CalibrationEvidence]:
    """Read the calibration of a name as the report does."""
    table = results / "v" / "one" / "scores.parquet"
    file = results / "calibrations" / "common" / "one" / "calibration.parquet"
    named = {name: NamedCalibration(file, settings)}
    return read_calibrations(table, named, [], table_digest=digest_file(table))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that belong together."""
    results = tmp_path_factory.mktemp("whole")
    table = write_scoring(results / "v" / "one", make_columns(200))
    file = write_calibration(results, stratified(settings={"prior": 0.1}), labelled=table)
    write_calibrated(table, [stratified()], {"common": file})
    assert len(read_again(results)) == 1
    return results


@pytest.fixture
def results(whole: Path, tmp_path: Path) -> Path:
    """A copy of them, to change."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_background_and_set_of_the_labels_are_named(tmp_path: Path) -> None:
    table = write_scoring(tmp_path / "v" / "one", make_columns(200))
    settings = {"background": "common <1>", "labelled": "clinvar"}
    made = stratified(settings=settings)
    file = write_calibration(tmp_path, made, labelled=table)
    write_calibrated(table, [made], {"common": file})
    (calibration,) = read_again(tmp_path)
    facts = {row[0].text: row[1].text for row in tabulate_origin(calibration, WHERE).rows}
    assert facts["background"] == "common <1>"
    assert facts["set with the labels"] == "clinvar"


def fit_again(results: Path, name: str | None = None) -> None:
    """Make the calibration anew with other numbers, or replace one of its files alone."""
    if name is None:
        write_calibration(results, stratified(gap=1.5))
        return
    other = write_calibration(results / "other", stratified(gap=1.5)).with_name(name)
    shutil.copy(other, results / "calibrations" / "common" / "one" / name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "calibrated.parquet: was made with another version of "),
        ("ratios.parquet", "ratios.parquet does not belong to "),
        ("background.parquet", "background.parquet does not belong to "),
    ],
)
def test_another_calibration_is_one_line(results: Path, name: str | None, expected: str) -> None:
    if name == "background.parquet":
        file = results / "calibrations" / "common" / "one" / name
        file.write_bytes(write_calibration(results / "x", Made()).with_name(name).read_bytes())
    else:
        fit_again(results, name)
    with pytest.raises(InputError, match=re.escape(expected)) as raised:
        read_again(results)
    assert "\n" not in str(raised.value)


def test_another_prior_in_the_config_is_one_line(results: Path) -> None:
    assert read_again(results, settings={"prior": 0.1})
    expected = "calibration.parquet was made with other settings than those of the config: prior"
    with pytest.raises(InputError, match=re.escape(expected)) as raised:
        read_again(results, settings={"prior": 0.0441})
    assert "run fit_calibration again" in str(raised.value)


def test_the_calibrations_of_another_table_are_one_line(results: Path) -> None:
    write_scoring(results / "v" / "one", make_columns(200, seed=2))
    with pytest.raises(InputError, match="made from another table than"):
        read_again(results)


def test_other_calibrations_than_those_of_the_config_are_one_line(results: Path) -> None:
    with pytest.raises(InputError, match="has the columns of common, but the config names other"):
        read_again(results, "other")


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("v/one/calibrated.parquet", "`calibrate`"),
        ("calibrations/common/one/calibration.parquet", ""),
        ("calibrations/common/one/background.parquet", "`fit_calibration`"),
    ],
)
def test_a_missing_file_is_named_with_its_step(results: Path, name: str, step: str) -> None:
    (results / name).unlink()
    with pytest.raises(InputError, match=re.escape(shown_path(results / name))) as raised:
        read_again(results)
    assert step in str(raised.value)


@pytest.mark.parametrize("rows", [[], [0.0]])
def test_strengths_that_no_step_writes_are_one_line(results: Path, rows: list[float]) -> None:
    file = results / "calibrations" / "common" / "one" / "calibration.parquet"
    table = pq.read_table(file)
    lr = pa.array(rows * table.num_rows, pa.float64())
    column = table.schema.get_field_index("lr")
    changed = table.slice(0, len(lr)).set_column(column, table.schema.field(column), lr)
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), file)
    write_calibrated(results / "v" / "one" / "scores.parquet", [stratified()], {"common": file})
    with pytest.raises(InputError, match="its strengths are not as `fit_calibration` writes them"):
        read_again(results)
