"""Which rows have a label: values and their parts, numbers, restrictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.labels import read_labelled_rows
from evo2_tasks.evaluation.selection import LabelSettings, review_stars

CLINVAR = LabelSettings(
    "CLNSIG",
    positive=("Pathogenic", "Likely_pathogenic"),
    negative=("Benign", "Likely_benign"),
)
SCORED = {"record": 0, "allele": 1, "contig": "c", "ref": "A", "alt": "C", "status": "scored"}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    scores = {"llr": -1.0, "llr_aligned": -1.0, "llr_fwd": -2.0, "llr_rev": 0.0}
    filled = [SCORED | {"pos": i} | scores | row for i, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(filled), path)
    return path


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["Pathogenic"], True),
        (["Pathogenic/Likely_pathogenic"], True),
        (["Pathogenic|drug_response"], True),
        (["Pathogenic", "_low_penetrance"], True),
        (["Pathogenic/Likely_pathogenic|Affects"], True),
        (["Benign/Likely_benign"], False),
        (["Conflicting_classifications_of_pathogenicity"], None),
        (["Uncertain_significance/Uncertain_risk_allele"], None),
        (["Likely_benign|Pathogenic"], None),
        (["not_provided"], None),
        ([], None),
        (None, None),
    ],
)
def test_values_of_clinvar_count_by_their_parts(
    tmp_path: Path, value: list[str] | None, kind: bool | None
) -> None:
    always = [{"CLNSIG": ["Benign"]}, {"CLNSIG": ["Pathogenic"]}]
    rows = read_labelled_rows(write(tmp_path / "t", [*always, {"CLNSIG": value}]), CLINVAR)
    assert rows.target.tolist() == [False, True, *([] if kind is None else [kind])]


@pytest.mark.parametrize(
    ("status", "stars"),
    [
        ("practice_guideline", 4),
        ("reviewed_by_expert_panel", 3),
        ("criteria_provided,_multiple_submitters,_no_conflicts", 2),
        ("criteria_provided,_conflicting_classifications", 1),
        ("criteria_provided,_conflicting_interpretations", 1),
        ("criteria_provided,_single_submitter", 1),
        ("no_assertion_criteria_provided", 0),
        ("no_classification_provided", 0),
        ("", 0),
    ],
)
def test_review_stars_are_those_of_clinvar(status: str, stars: int) -> None:
    assert review_stars(status) == stars


def test_rows_are_restricted_by_consequence_and_stars(tmp_path: Path) -> None:
    missense = ["SO:0001583|missense_variant", "SO:0001627|intron_variant"]
    two_stars = ["criteria_provided", "_multiple_submitters", "_no_conflicts"]
    values = [
        (missense, two_stars),
        (missense, ["criteria_provided", "_single_submitter"]),
        (["SO:0001587|nonsense"], two_stars),
        (None, two_stars),
        (missense, None),
    ]
    table = write(
        tmp_path / "t",
        [{"CLNSIG": ["Benign"], "MC": mc, "CLNREVSTAT": status} for mc, status in values],
    )
    label = LabelSettings(
        "CLNSIG",
        CLINVAR.positive,
        CLINVAR.negative,
        where={"MC": ("missense_variant",)},
        min_review_stars=2,
    )
    rows = read_labelled_rows(table, label, groups=["MC"])
    assert rows.groups["MC"].tolist() == ["missense_variant,intron_variant"]


def test_numbers_and_baselines_are_turned_so_that_higher_is_more_harmful(tmp_path: Path) -> None:
    numbers: list[Any] = [0.5, None, -2.0, float("nan"), float("inf")]
    table = write(
        tmp_path / "t", [{"F": number, "CADD": [3.0], "AF": [1, 2]} for number in numbers]
    )
    label = LabelSettings("F", harmful="low")
    rows = read_labelled_rows(table, label, baselines={"CADD": "high", "AF": "low"})
    assert not rows.has_classes
    assert rows.target.tolist() == [-0.5, 2.0]
    assert rows.scores["llr"].tolist() == [1.0, 1.0]
    assert rows.baselines["CADD"].tolist() == [3.0, 3.0]
    assert np.isnan(rows.baselines["AF"]).all()  # which of the two numbers is not known
    high = read_labelled_rows(table, LabelSettings("F", harmful="high"))
    assert high.target.tolist() == [0.5, -2.0]


@pytest.mark.parametrize(
    ("values", "positive", "negative"),
    [
        ([True, False, None], "true", "false"),
        (["True", "FALSE", None], "true", "false"),
        ([1, 0, None], "1", "0"),
        ([["a", None], ["b"], []], "a", "b"),
    ],
)
def test_flags_whole_numbers_and_lists_have_values(
    tmp_path: Path, values: list[Any], positive: str, negative: str
) -> None:
    table = write(tmp_path / "t", [{"F": value} for value in values])
    label = LabelSettings("F", positive=(positive,), negative=(negative,))
    rows = read_labelled_rows(table, label)
    assert rows.target.tolist() == [True, False]
    assert rows.left_out == {"no value": 1}


def test_text_where_numbers_are_expected_is_said(tmp_path: Path) -> None:
    table = write(tmp_path / "t", [{"F": "0.5"}, {"F": "LOF"}])
    with pytest.raises(InputError, match="column F: expected numbers"):
        read_labelled_rows(table, LabelSettings("F", harmful="low"))


def test_numbers_that_are_spelled_as_text_are_numbers(tmp_path: Path) -> None:
    table = write(tmp_path / "t", [{"F": "0.5"}, {"F": None}, {"F": "-1e-3"}])
    rows = read_labelled_rows(table, LabelSettings("F", harmful="high"))
    assert rows.target.tolist() == [0.5, -1e-3]


def test_a_missing_column_is_said(tmp_path: Path) -> None:
    table = write(tmp_path / "t", [{"CLNSIG": ["Benign"]}])
    with pytest.raises(InputError, match="MC"):
        read_labelled_rows(table, CLINVAR, groups=["MC"])


def test_nothing_labelled_is_no_rows(tmp_path: Path) -> None:
    table = write(tmp_path / "t", [{"CLNSIG": ["Affects"], "CADD": 1.0}, {"CLNSIG": []}])
    rows = read_labelled_rows(table, CLINVAR, groups=["contig"], baselines={"CADD": "high"})
    assert len(rows) == 0
    assert rows.why_no_metrics == (
        "no row is labelled: no row has Pathogenic, Likely_pathogenic, Benign or Likely_benign in "
        "CLNSIG; the values of CLNSIG are Affects (1)"
    )
    assert rows.left_out == {"another value": 1, "no value": 1}


def test_each_row_without_a_label_is_counted_once_by_its_first_reason(tmp_path: Path) -> None:
    one_star, two_stars = "criteria_provided,_single_submitter", "reviewed_by_expert_panel"
    table = write(
        tmp_path / "t",
        [
            {"CLNSIG": value, "MC": consequence, "CLNREVSTAT": status}
            for value, consequence, status in [
                (["Benign"], "missense", two_stars),
                (["Benign"], "missense", one_star),
                (["Benign"], "nonsense", one_star),
                (["Pathogenic"], "nonsense", two_stars),
                (["Benign/Pathogenic"], "missense", two_stars),
                (["Affects"], "nonsense", one_star),
                (None, "missense", None),
            ]
        ],
    )
    label = LabelSettings(
        "CLNSIG",
        CLINVAR.positive,
        CLINVAR.negative,
        where={"MC": ("missense",)},
        min_review_stars=2,
    )
    rows = read_labelled_rows(table, label)
    assert rows.left_out == {
        "another value": 1,
        "no value": 1,
        "positive and negative": 1,
        "where MC": 2,
        "min_review_stars": 1,
    }
    assert len(rows) + sum(rows.left_out.values()) == 7
    # The one that is positive has another consequence.
    assert rows.why_no_metrics == (
        "no labelled row is positive: of 1 row with Pathogenic or Likely_pathogenic in CLNSIG, "
        "'where MC' leaves out 1; the values of MC are missense (4), nonsense (3)"
    )


@pytest.mark.parametrize(
    ("where", "stars", "said"),
    [
        (
            {"MC": ("Missense",)},
            None,
            "no row is labelled: of 3 rows with a label in CLNSIG, 'where MC' leaves out 3; the "
            "values of MC are missense (2), nonsense (1): did you mean missense? Values are "
            "case-sensitive",
        ),
        (
            {"MC": ("nonsense",)},
            4,
            "no row is labelled: of 3 rows with a label in CLNSIG, 'where MC' leaves out 2 and "
            "'min_review_stars' leaves out 1; the values of MC are missense (2), nonsense (1)",
        ),
        (
            {"GENE": ("BRCA1",)},
            None,
            "no row is labelled: of 3 rows with a label in CLNSIG, 'where GENE' leaves out 3; GENE "
            "has no value in any row",
        ),
    ],
)
def test_what_a_restriction_removed_is_said(
    tmp_path: Path, where: dict[str, tuple[str, ...]], stars: int | None, said: str
) -> None:
    rows = [
        {"CLNSIG": ["Benign"], "MC": "missense", "CLNREVSTAT": "", "GENE": None},
        {"CLNSIG": ["Pathogenic"], "MC": "missense", "CLNREVSTAT": "", "GENE": None},
        {"CLNSIG": ["Benign"], "MC": "nonsense", "CLNREVSTAT": "", "GENE": None},
    ]
    label = LabelSettings(
        "CLNSIG", CLINVAR.positive, CLINVAR.negative, where=where, min_review_stars=stars
    )
    assert read_labelled_rows(write(tmp_path / "t", rows), label).why_no_metrics == said


def test_values_of_another_case_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    many = [{"CLNSIG": [f"value_{i}"]} for i in range(20)]
    rows = [{"CLNSIG": ["pathogenic"]}, {"CLNSIG": ["pathogenic"]}, {"CLNSIG": ["Benign"]}, *many]
    found = read_labelled_rows(write(tmp_path / "t", rows), CLINVAR)
    assert len(found) == 1
    assert found.why_no_metrics.startswith(
        "no labelled row is positive: no row has Pathogenic or Likely_pathogenic in CLNSIG; the "
        "values of CLNSIG are pathogenic (2), Benign (1), value_0 (1)"
    )
    assert found.why_no_metrics.endswith(
        "value_5 (1) and 14 more: did you mean pathogenic? Values are case-sensitive"
    )
    assert not caplog.text  # once is enough
    rows.append({"CLNSIG": ["Likely_pathogenic"]})
    assert not read_labelled_rows(write(tmp_path / "u", rows), CLINVAR).why_no_metrics
    assert "no row has Pathogenic in CLNSIG, but some rows have pathogenic: values" in caplog.text


def test_numbers_that_are_not_there_are_said(tmp_path: Path) -> None:
    label = LabelSettings("F", harmful="low", where={"MC": ("a",)})
    table = write(tmp_path / "t", [{"F": float("nan"), "MC": "a"}, {"F": None, "MC": "b"}])
    assert read_labelled_rows(table, label).why_no_metrics == (
        "no row is labelled: no row has a number in F"
    )
    table = write(tmp_path / "u", [{"F": 1.0, "MC": "b"}, {"F": None, "MC": "a"}])
    assert read_labelled_rows(table, label).why_no_metrics == (
        "no row is labelled: of 1 row with a number in F, 'where MC' leaves out 1; the values "
        "of MC are b (1), a (1)"
    )


def test_messages_hold_no_control_characters(tmp_path: Path) -> None:
    table = write(tmp_path / "t", [{"CLNSIG": ["bad\n\x1b[31m"]}])
    why_no_metrics = read_labelled_rows(table, CLINVAR).why_no_metrics
    assert "bad\\n\\x1b" in why_no_metrics
    assert why_no_metrics.isprintable()


def test_a_definition_says_all_that_counts() -> None:
    label = LabelSettings(
        "CLNSIG",
        positive=("Pathogenic", "Likely_pathogenic"),
        negative=("Benign",),
        where={"MC": ("missense_variant",)},
        min_review_stars=2,
        resample_by="GENE",
    )
    assert label.definition == (
        "positive: Pathogenic, Likely_pathogenic; negative: Benign; where MC: missense_variant; "
        "min_review_stars: 2; resample_by: GENE"
    )
    assert LabelSettings("F", harmful="low").definition == "harmful: low"


def test_scores_and_baselines_are_of_the_rows_that_have_an_llr(tmp_path: Path) -> None:
    unscored = {"status": "no_context", "llr": None, "llr_aligned": None}
    table = write(
        tmp_path / "t",
        [{"CLNSIG": ["Benign"], "CADD": 1.0}, {"CLNSIG": ["Benign"], "CADD": 2.0} | unscored],
    )
    rows = read_labelled_rows(table, CLINVAR, baselines={"CADD": "high"})
    for scores in [*rows.scores.values(), *rows.baselines.values()]:
        assert np.isfinite(scores).tolist() == [True, False]


def test_rows_are_drawn_by_position_or_by_a_field(tmp_path: Path) -> None:
    table = write(
        tmp_path / "t",
        [{"CLNSIG": ["Benign"], "pos": i // 2, "GENE": "a" if i < 4 else None} for i in range(6)],
    )
    assert read_labelled_rows(table, CLINVAR).clusters.tolist() == [0, 0, 1, 1, 2, 2]
    label = LabelSettings("CLNSIG", CLINVAR.positive, CLINVAR.negative, resample_by="GENE")
    clusters = read_labelled_rows(table, label).clusters
    assert len(set(clusters[:4].tolist())) == 1
    assert len(set(clusters[3:].tolist())) == 2


def test_one_strand_has_no_scores_of_strands(tmp_path: Path) -> None:
    table = write(tmp_path / "t", [{"CLNSIG": ["Benign"], "llr_rev": None}])
    assert set(read_labelled_rows(table, CLINVAR).scores) == {"llr", "llr_aligned"}
