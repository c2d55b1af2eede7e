"""Which rows have a label: values and their parts, numbers, restrictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.labels import (
    LabelSettings,
    read_labelled_rows,
    review_stars,
    variant_type,
)

CLINVAR = LabelSettings(
    "CLNSIG",
    positive=("Pathogenic", "Likely_pathogenic"),
    negative=("Benign", "Likely_benign"),
)
SCORED = {"contig": "c", "ref": "A", "alt": "C", "status": "scored"}


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


def test_nothing_labelled_is_no_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = write(tmp_path / "t", [{"CLNSIG": ["Affects"], "CADD": 1.0}])
    rows = read_labelled_rows(table, CLINVAR, groups=["contig"], baselines={"CADD": "high"})
    assert len(rows) == 0
    assert "no row has Pathogenic or" in caplog.text


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


@pytest.mark.parametrize(
    ("ref", "alt", "kind"),
    [
        ("A", "C", "snv"),
        ("TAG", "TCG", "snv"),
        ("AC", "GT", "mnv"),
        ("A", "AT", "insertion"),
        ("AA", "AAA", "insertion"),
        ("CTT", "C", "deletion"),
        ("CAG", "TT", "indel"),
        ("A", "<DEL>", "symbolic"),
    ],
)
def test_types_are_of_what_changes(ref: str, alt: str, kind: str) -> None:
    assert variant_type(ref, alt) == kind
