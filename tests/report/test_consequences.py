"""Scores by consequence and by gene, against pandas on the whole table."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evo2_tasks.genome.records import CarryField
from evo2_tasks.genome.terms import SEVERITY
from evo2_tasks.report.consequences import MOST_GENES, MOST_SINGLE, summarize_consequences
from evo2_tasks.report.words import NOTHING, count, decimal
from evo2_tasks.table import statistics
from tests.evaluation.build import (
    CARRY,
    HOSTILE,
    Columns,
    make_columns,
    score_again,
    write_page,
    write_scoring,
)
from tests.report.page import plots_of, read_page, rows_of

ANNOTATIONS = ("consequence", "gene", "gene_id", "amino_acids")
SHARES = {
    "stop_gained": 0.03, "frameshift_variant": 0.01, "missense_variant": 0.5,
    "synonymous_variant": 0.3, "an_unknown_term": 0.05, None: 0.11,
}  # fmt: skip


def annotate(columns: Columns, *, num_genes: int = 5, seed: int = 1) -> Columns:
    """The same rows with consequences and genes."""
    rng = np.random.default_rng(seed)
    num_rows = len(columns["record"])
    terms = rng.choice(np.array([*SHARES], dtype=object), num_rows, p=[*SHARES.values()])
    genes = rng.integers(0, num_genes, num_rows)
    return {
        **columns,
        "consequence": terms.tolist(),
        # Two genes have one name, and one has none.
        "gene": [None if term is None or gene == 0 else f"G{gene // 2}"
                 for term, gene in zip(terms, genes, strict=True)],
        "gene_id": [None if term is None else f"ENSG{gene}"
                    for term, gene in zip(terms, genes, strict=True)],
        "amino_acids": ["W24R" if term == "missense_variant" else None for term in terms],
    }  # fmt: skip


def write_annotated(folder: Path, columns: Columns, scoring: str = "one") -> pd.DataFrame:
    table = write_scoring(folder / scoring, columns, annotations=ANNOTATIONS)
    return pd.read_parquet(table).astype(dict.fromkeys(ANNOTATIONS, object))


def is_missing(value: object) -> bool:
    return value is None or value != value


@pytest.mark.parametrize("row_group_rows", [20_000, 70])
def test_classes_are_those_of_pandas_in_the_order_of_severity(
    tmp_path: Path, row_group_rows: int
) -> None:
    columns = annotate(make_columns(600))
    write_scoring(tmp_path / "one", columns, annotations=ANNOTATIONS, row_group_rows=row_group_rows)
    table = tmp_path / "one" / "scores.parquet"
    frame = pd.read_parquet(table)
    found = summarize_consequences(table)
    assert found is not None
    order = [one.term for one in found.classes]
    known = [term for term in SEVERITY if term in SHARES]
    assert order == [*known, "an_unknown_term", None]
    for one in found.classes:
        terms = frame["consequence"]
        rows = frame[terms.isna() if one.term is None else terms == one.term]
        llr = rows["llr"].dropna()
        assert one.num_rows == len(rows)
        assert one.llr.count == len(llr)
        assert one.llr.quantile(0.25) == pytest.approx(llr.quantile(0.25))
        assert len(one.genes) == rows["gene_id"].nunique()
        first = rows[rows["llr"].notna()].head(MOST_SINGLE + 1)
        assert one.first == first["llr"].tolist()
        assert one.rows == first.index.tolist()


def test_genes_are_counted_by_name_and_identifier(tmp_path: Path) -> None:
    frame = write_annotated(tmp_path, annotate(make_columns(900), num_genes=60))
    found = summarize_consequences(tmp_path / "one" / "scores.parquet")
    assert found is not None
    frame["name"] = frame["gene"].where(frame["gene"].notna(), frame["gene_id"])
    groups = frame.dropna(subset=["gene_id"]).groupby(["name", "gene_id"])["llr"]
    expected = groups.agg(["size", "count", "mean", "min"])
    assert found.num_genes == len(expected)
    assert len(found.genes) == MOST_GENES
    for gene in found.genes:
        row = expected.loc[(gene.gene, gene.gene_id)]
        assert (gene.num_rows, gene.num_scored) == (row["size"], row["count"])
        assert gene.mean == pytest.approx(row["mean"])
        assert gene.lowest == row["min"]
    shown = [gene.num_scored for gene in found.genes]
    assert shown == sorted(expected["count"], reverse=True)[:MOST_GENES]


def test_the_page_has_figure_and_tables_of_each_scoring(tmp_path: Path) -> None:
    columns = annotate(make_columns(600))
    frames = {
        "one": write_annotated(tmp_path, columns),
        "two": write_annotated(tmp_path, score_again(columns), "two"),
    }
    page = write_page(tmp_path, ["one", "two"])
    both = rows_of(page, "Median llr by consequence")
    for number, (scoring, frame) in enumerate(frames.items()):
        rows = rows_of(page, f"llr by consequence, nats, {scoring}")
        assert [row[0] for row in rows] == [
            "stop_gained", "frameshift_variant", "missense_variant", "synonymous_variant",
            "an_unknown_term", "no consequence",
        ]  # fmt: skip
        for row, of_both in zip(rows, both, strict=True):
            term = None if row[0] == "no consequence" else row[0]
            inside = frame["consequence"].map(lambda one, term=term: one == term or (
                term is None and is_missing(one)))  # fmt: skip
            llr = frame[inside]["llr"].dropna()
            median = decimal(llr.median(), zeros=True)
            assert row[1:3] == [count(int(inside.sum())), count(len(llr))]
            assert row[8] == median
            assert of_both[1 + 2 * number : 3 + 2 * number] == [count(len(llr)), median]
        assert len(rows_of(page, f"llr by gene, nats, {scoring}")) == 5
        plot = plots_of(page)[f"llr by consequence, {scoring}"]
        scored = frame[frame["llr"].notna()]
        few = scored[scored["consequence"] == "frameshift_variant"]
        box, middle, singles = plot["data"]
        assert len(few) <= MOST_SINGLE
        assert singles["x"] == pytest.approx(few["llr"].tolist(), rel=1e-4)
        assert len(box["median"]) == len(middle["x"]) == 5
        assert box["median"] == middle["x"]
        of_missense = scored[scored["consequence"] == "missense_variant"]["llr"]
        at = next(i for i, label in enumerate(box["y"]) if label.startswith("missense"))
        assert box["y"][at] == f"missense_variant ({len(of_missense)})"
        ends = [box[name][at] for name in ("lowerfence", "q1", "median", "q3", "upperfence")]
        expected = of_missense.quantile([0.05, 0.25, 0.5, 0.75, 0.95]).tolist()
        assert ends == pytest.approx(expected, rel=1e-4)
        order = plot["layout"]["yaxis"]["categoryarray"]
        assert [re.sub(r" \(.*|<br>", "", label) for label in order] == [row[0] for row in rows]
        caption = plot["caption"]
        assert f"{count(len(scored))} scored alleles with 5 consequences" in caption
        medians = scored.groupby(scored["consequence"].map(
            lambda one: "no consequence" if is_missing(one) else one))["llr"].median()  # fmt: skip
        assert f"the lowest median is {decimal(medians.min())} ({medians.idxmin()})" in caption
        assert f"the highest {decimal(medians.max())} ({medians.idxmax()})" in caption


def test_the_tables_of_single_alleles_name_consequence_and_gene(tmp_path: Path) -> None:
    frame = write_annotated(tmp_path, annotate(make_columns(300)))
    page = write_page(tmp_path)
    lowest = frame.loc[frame["llr"].idxmin()]
    row = rows_of(page, "Lowest llr")[0]
    cells = [NOTHING if is_missing(lowest[name]) else lowest[name]
             for name in ("consequence", "gene", "amino_acids")]  # fmt: skip
    assert row[9:12] == cells


@pytest.mark.parametrize("is_carried", [False, True])
def test_a_table_without_consequences_has_no_such_section(tmp_path: Path, is_carried: bool) -> None:
    columns = annotate(make_columns(100))
    carry = (*CARRY, *([CarryField("consequence", "string")] if is_carried else []))
    write_scoring(tmp_path / "one", columns, carry=carry)
    page = write_page(tmp_path)
    assert "Scores by consequence" not in read_page(page).text()


def test_text_of_consequences_and_genes_is_no_markup(tmp_path: Path) -> None:
    columns = annotate(make_columns(300))
    for name in ("consequence", "gene", "gene_id", "amino_acids"):
        columns[name] = [HOSTILE[i % len(HOSTILE)] for i in range(300)]
    write_annotated(tmp_path, columns)
    page = read_page(write_page(tmp_path))
    assert not page.all("img")
    assert not [tag for tag, _ in page.elements if tag in ("b", "a") and tag == "b"]
    assert len(page.scripts()) == 3


def test_without_a_score_there_is_a_table_and_no_figure(tmp_path: Path) -> None:
    columns = annotate(make_columns(60))
    columns["llr"] = [None] * 60
    columns["status"] = ["ref_mismatch"] * 60
    columns["flags"] = [[] for _ in range(60)]
    write_annotated(tmp_path, columns)
    page = write_page(tmp_path)
    assert "llr by consequence, one" not in plots_of(page)
    assert all(row[2] == "0" for row in rows_of(page, "llr by consequence, nats"))


def test_many_alleles_of_a_class_need_bins_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "MOST_KEPT", 50)
    frame = write_annotated(tmp_path, annotate(make_columns(600)))
    found = summarize_consequences(tmp_path / "one" / "scores.parquet")
    assert found is not None
    for one in found.classes:
        llr = frame[frame["consequence"].map(lambda term, one=one: term == one.term or (
            one.term is None and is_missing(term)))]["llr"].dropna()  # fmt: skip
        assert one.llr.is_exact == (len(llr) <= 50)
        expected = llr.quantile(0.5)
        assert one.llr.quantile(0.5) == pytest.approx(expected, rel=0.05, abs=0.02)
