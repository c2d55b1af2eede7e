"""The step `evaluate` after the other steps: a VCF as ClinVar writes it, and mistakes."""

import logging
import random
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from evo2_tasks.config.evaluation import resolve_evaluate
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation import drawn_metrics, estimates
from evo2_tasks.evaluation.schema import curves_schema, metrics_schema
from evo2_tasks.genome.records import CarryField
from evo2_tasks.io import progress
from evo2_tasks.steps.evaluate import evaluate
from tests.evaluation.build import CARRY, LABELS, make_columns, make_config, write_scoring
from tests.project import COLUMNS, Project, run_carry, run_steps, write_project

# The definitions of ClinVar's own file, spelled as there.
CLINVAR_HEADER = """\
##fileformat=VCFv4.1
##source=ClinVar
##reference=GRCh38
##INFO=<ID=AF_EXAC,Number=1,Type=Float,Description="allele frequencies from ExAC">
##INFO=<ID=CLNREVSTAT,Number=.,Type=String,Description="ClinVar review status of germline \
classification for the Variation ID">
##INFO=<ID=CLNSIG,Number=.,Type=String,Description="Aggregate germline classification for this \
single variant; multiple values are separated by a vertical bar">
##INFO=<ID=GENEINFO,Number=1,Type=String,Description="Gene(s) for the variant reported as gene \
symbol:gene id">
##INFO=<ID=MC,Number=.,Type=String,Description="comma separated list of molecular consequence in \
the form of Sequence Ontology ID|molecular_consequence">
"""
SIGNIFICANCE = {
    "Pathogenic": True,
    "Pathogenic/Likely_pathogenic": True,
    "Likely_pathogenic": True,
    "Benign": False,
    "Benign/Likely_benign": False,
    "Likely_benign|other": False,
    "Uncertain_significance": None,
    "Conflicting_classifications_of_pathogenicity": None,
}
STARS = {
    "criteria_provided,_single_submitter": 1,
    "criteria_provided,_multiple_submitters,_no_conflicts": 2,
    "reviewed_by_expert_panel": 3,
    "no_assertion_criteria_provided": 0,
}
CONSEQUENCES = [
    "SO:0001583|missense_variant",
    "SO:0001819|synonymous_variant",
    "SO:0001583|missense_variant,SO:0001627|intron_variant",
]
CLINVAR: dict[str, Any] = {
    "CLNSIG": {
        "positive": ["Pathogenic", "Likely_pathogenic"],
        "negative": ["Benign", "Likely_benign"],
    }
}


SEQUENCE = "".join(random.Random(11).choices("ACGT", k=900))


def write_set(folder: Path, variants: bytes, **variant_set: Any) -> Project:
    return write_project(
        folder, genome={"chr1": SEQUENCE}, variants=variants, variant_set=variant_set
    )


def make_clinvar(num_records: int = 300) -> tuple[bytes, pd.DataFrame]:
    """A file, and what an evaluation of its records should go by."""
    generator = random.Random(6)
    lines, rows = [], []
    for record in range(num_records):
        pos = generator.randrange(100, 800)
        ref = SEQUENCE[pos - 1]
        alt = generator.choice([base for base in "ACGT" if base != ref])
        significance, status = generator.choice([*SIGNIFICANCE]), generator.choice([*STARS])
        consequence = generator.choice(CONSEQUENCES)
        info = f"AF_EXAC={generator.random():.4f};CLNREVSTAT={status};CLNSIG={significance}"
        info += f";GENEINFO=G:1;MC={consequence}" if record % 7 else ""
        # ClinVar's contigs have no `chr`.
        lines.append(f"1\t{pos}\t{record}\t{ref}\t{alt}\t.\t.\t{info}\n")
        rows.append(
            {
                "record": record,
                "is_positive": SIGNIFICANCE[significance],
                "stars": STARS[status],
                "consequence": consequence if record % 7 else "",
            }
        )
    return (CLINVAR_HEADER + COLUMNS).encode() + "".join(lines).encode(), pd.DataFrame(rows)


def measure(tmp_path: Path, variants: bytes, **settings: Any) -> pd.DataFrame:
    config = write_set(tmp_path, variants, **settings).load()
    table = run_steps(config, tmp_path)
    out, curves = tmp_path / "metrics.parquet", tmp_path / "curves.parquet"
    evaluate(resolve_evaluate(config, "v"), table=table, out=out, curves_file=curves)
    assert pq.read_schema(out).equals(metrics_schema())
    assert pq.read_schema(curves).equals(curves_schema())
    return pd.read_parquet(out)


def auroc(metrics: pd.DataFrame, **wanted: str) -> pd.Series:
    found = metrics[(metrics["metric"] == "auroc") & metrics["minus"].isna()]
    for name, value in ({"score": "llr", "subset": "all"} | wanted).items():
        found = found[found[name] == value]
    assert len(found) == 1
    return found.iloc[0]


def test_the_file_of_clinvar_needs_two_lines(tmp_path: Path) -> None:
    variants, rows = make_clinvar()
    metrics = measure(tmp_path, variants, labels=CLINVAR, groups=["MC"])
    labelled = rows[rows["is_positive"].notna()]
    # The stand-in's scores are the number of the record.
    expected = roc_auc_score(labelled["is_positive"].astype(bool), -labelled["record"])
    assert auroc(metrics)["value"] == pytest.approx(expected)
    assert auroc(metrics)["num_rows"] == len(labelled)
    groups = set(metrics.loc[metrics["subset"] == "group", "group"])
    assert groups == {
        "missense_variant",
        "synonymous_variant",
        "missense_variant,intron_variant",
        ".",
    }


def test_the_file_of_clinvar_is_restricted_by_consequence_and_stars(tmp_path: Path) -> None:
    variants, rows = make_clinvar()
    label = CLINVAR["CLNSIG"] | {"where": {"MC": ["missense_variant"]}, "min_review_stars": 2}
    metrics = measure(tmp_path, variants, labels={"CLNSIG": label}, baselines={"AF_EXAC": "low"})
    labelled = rows[
        rows["is_positive"].notna()
        & (rows["stars"] >= 2)
        & rows["consequence"].str.contains("missense")
    ]
    found = auroc(metrics)
    assert found["num_rows"] == len(labelled) > 20
    assert found["num_positive"] == labelled["is_positive"].sum()
    assert auroc(metrics, score="AF_EXAC")["num_rows"] == len(labelled)


def test_two_labels_stand_in_one_file(tmp_path: Path) -> None:
    variants, _ = make_clinvar()
    metrics = measure(tmp_path, variants, labels=CLINVAR | {"AF_EXAC": {"harmful": "low"}})
    assert set(metrics["label"]) == {"CLNSIG", "AF_EXAC"}
    of_number = metrics[(metrics["label"] == "AF_EXAC") & (metrics["metric"] == "spearman")]
    assert set(of_number.loc[of_number["subset"] == "all", "score"]) >= {"llr"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"baselines": {"CADD": "high"}},
            "variant_sets.v.baselines.CADD: the header of .* defines no INFO field 'CADD'",
        ),
        (
            {"labels": {"CLINSIG": CLINVAR["CLNSIG"]}},
            "variant_sets.v.labels.CLINSIG: the header of .* defines no INFO field 'CLINSIG'",
        ),
        (
            {"labels": {"CLNSIG": CLINVAR["CLNSIG"] | {"where": {"VC": ["snv"]}}}},
            "variant_sets.v.labels.CLNSIG.where.VC: ",
        ),
        ({"groups": ["MC", "GENE"]}, r"variant_sets.v.groups\[1\]: "),
        (
            {"labels": {"CLNSIG": {"harmful": "low"}}},
            r"in.vcf: record 0: 'CLNSIG' is '\w+(/\w+|\|\w+)?', expected a number",
        ),
        ({"baselines": {"MC": "low"}}, "record 1: 'MC' is '.*', expected a number"),
    ],
)
def test_a_field_that_evaluation_cannot_use_stops_carry(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    settings = {"labels": CLINVAR} | settings
    config = write_set(tmp_path, make_clinvar()[0], **settings).load()
    with pytest.raises(InputError, match=said):
        run_carry(config, tmp_path)
    assert not (tmp_path / "carried.parquet").exists()


def test_a_field_that_is_only_carried_may_lack_its_definition(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = make_clinvar(3)[0].replace(b";CLNSIG=", b";NEW=1;CLNSIG=")
    config = write_set(tmp_path, text, carry=["NEW"]).load()
    run_carry(config, tmp_path)
    assert "in.vcf: no INFO field 'NEW' in the header; it is carried as text" in caplog.text


def test_numbers_that_the_header_calls_text_are_numbers(tmp_path: Path) -> None:
    variants, _ = make_clinvar()
    text = variants.replace(b"ID=AF_EXAC,Number=1,Type=Float", b"ID=AF_EXAC,Number=.,Type=String")
    metrics = measure(tmp_path, text, labels=CLINVAR, baselines={"AF_EXAC": "low"})
    assert auroc(metrics, score="AF_EXAC")["num_rows"] > 100


def test_no_labels_is_one_line(tmp_path: Path) -> None:
    config = write_set(tmp_path, make_clinvar()[0]).load()
    with pytest.raises(InputError, match="no `labels` to evaluate"):
        evaluate(
            resolve_evaluate(config, "v"),
            table=tmp_path / "t",
            out=tmp_path / "f",
            curves_file=tmp_path / "c",
        )
    assert not (tmp_path / "f").exists()


def test_the_time_left_is_honest_from_the_first_line_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake clock counts the drawn rows that are summed: many for all rows, few for a group."""
    now = 0.0
    lines: list[tuple[float, str]] = []
    sum_runs = drawn_metrics._SummedRuns.sum

    def sum_slowly(runs: Any, number: int, counts: Any) -> Any:
        nonlocal now
        now += runs._blocks[number].nnz * counts.shape[1] / 20_000
        return sum_runs(runs, number, counts)

    rank = drawn_metrics._RankedRows.rank

    def rank_slowly(ranked: Any, counts: Any, total: int) -> Any:
        nonlocal now
        now += len(ranked.order) / 40_000  # each row is ranked twice
        return rank(ranked, counts, total)

    prepare = estimates._prepare

    def prepare_slowly(metrics: Any, rows: Any, name: str) -> Any:
        nonlocal now
        now += len(rows.target) * 100 / 20_000  # measured: as long as 100 draws
        return prepare(metrics, rows, name)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((now, record.getMessage()))

    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(drawn_metrics._SummedRuns, "sum", sum_slowly)
    monkeypatch.setattr(drawn_metrics._RankedRows, "rank", rank_slowly)
    monkeypatch.setattr(estimates, "_prepare", prepare_slowly)
    handler = Handler()
    progress.logger.addHandler(handler)
    monkeypatch.setattr(progress.logger, "level", logging.INFO)
    variants, _ = make_clinvar(2_000)
    try:
        measure(tmp_path, variants, labels=CLINVAR, groups=["MC"])
    finally:
        progress.logger.removeHandler(handler)
    left = [
        (at, read_interval(found[1]))
        for at, message in lines
        if message.startswith("evaluate") and (found := re.search(r"about ([\d:]+) left", message))
    ]
    assert len(left) > 5
    for at, seconds in left:
        assert abs(at + seconds - now) < 0.2 * now


def read_interval(text: str) -> int:
    """Seconds of an interval as ``1:02:03``."""
    return sum(int(part) * 60**power for power, part in enumerate(reversed(text.split(":"))))


# --- consequences

TERMS = ["missense_variant", "synonymous_variant", "stop_gained"]


def evaluate_consequences(folder: Path, *, annotations: Sequence[str], **keys: Any) -> pd.DataFrame:
    """The metrics of a table whose column `consequence` is of annotate, or is carried."""
    columns = make_columns(400)
    generator = random.Random(1)
    columns["consequence"] = generator.choices([*TERMS, None], k=400)
    columns["gene"] = generator.choices(["A", "B"], k=400)
    carry = [*CARRY, *(() if annotations else (CarryField("consequence", "string"),))]
    table = write_scoring(folder / "one", columns, carry=carry, annotations=annotations)
    out = folder / "metrics.parquet"
    evaluate(
        resolve_evaluate(make_config(["one"], **LABELS | keys), "v"),
        table=table,
        out=out,
        curves_file=folder / "curves.parquet",
    )
    return pd.read_parquet(out)


def test_the_consequence_is_a_group_by_itself(tmp_path: Path) -> None:
    metrics = evaluate_consequences(tmp_path, annotations=("consequence", "gene"))
    groups = metrics[metrics["subset"] == "group"]
    assert set(groups["column"]) == {"PLACE", "consequence"}
    rows = pd.read_parquet(tmp_path / "one" / "scores.parquet")
    rows = rows[rows["KIND"].isin(["bad", "good"]) & rows["llr"].notna()]
    names = rows["consequence"].astype(object).fillna(".")
    of_llr = groups[(groups["column"] == "consequence") & (groups["score"] == "llr")]
    found = of_llr[of_llr["metric"].eq("auroc") & of_llr["minus"].isna()].set_index("group")
    assert set(found.index) == {*TERMS, "."}
    for name, row in found.iterrows():
        of_group = rows[names == name]
        expected = roc_auc_score(of_group["KIND"] == "bad", -of_group["llr"])
        assert row["value"] == pytest.approx(expected)
    within = metrics[metrics["subset"] == "within"]
    assert set(within["column"]) == {"PLACE", "consequence"}
    assert "sequence-free: consequence" in set(metrics["score"])


def test_a_consequence_that_groups_names_too_is_one_group(tmp_path: Path) -> None:
    by_itself = evaluate_consequences(tmp_path / "a", annotations=("consequence",), groups=[])
    named = evaluate_consequences(
        tmp_path / "b", annotations=("consequence",), groups=["consequence"]
    )
    pd.testing.assert_frame_equal(by_itself, named)


def test_a_carried_consequence_is_a_group_only_if_it_is_named(tmp_path: Path) -> None:
    metrics = evaluate_consequences(tmp_path / "a", annotations=())
    assert set(metrics["column"].dropna()) == {"PLACE"}
    metrics = evaluate_consequences(tmp_path / "b", annotations=(), groups=["consequence"])
    assert set(metrics["column"].dropna()) == {"consequence"}
