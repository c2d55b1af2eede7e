"""The result is read by what people use, each with its own types and nulls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from evo2_tasks.genome.records import CarryField
from tests.table.build import make_row, write_calibrated, write_result

PAGE = Path(__file__).parents[2] / "docs" / "columns.md"

CARRY = (CarryField("AF", "float", True, ""), CarryField("DB", "bool", False, ""))
ROWS = [
    make_row(0, llr=-1.5, flags=["clipped", "moved"], AF=[0.5, None], DB=True),
    make_row(1, status="too_long", reference_contig=None, contig="other", AF=None, DB=None),
    make_row(2, 1, llr=0.25, AF=[], DB=False),
    make_row(2, 2, llr=-0.0, AF=[0.1], DB=False),
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_result(tmp_path / "scores.parquet", ROWS, CARRY, row_group_rows=2)


def test_pandas(table: Path):
    frame = pd.read_parquet(table)
    assert frame.llr.isna().tolist() == [False, True, False, False]
    assert frame.llr.dropna().tolist() == [-1.5, 0.25, -0.0]
    assert frame.contig.astype(str).tolist() == ["chr1", "other", "chr1", "chr1"]
    assert isinstance(frame.status.dtype, pd.CategoricalDtype)
    assert isinstance(frame.contig.dtype, pd.CategoricalDtype)
    assert [list(flags) for flags in frame["flags"]] == [["clipped", "moved"], [], [], []]
    assert frame.groupby("status", observed=True).size().to_dict() == {"scored": 3, "too_long": 1}


def test_polars(table: Path):
    frame = pl.read_parquet(table)
    assert frame["llr"].to_list() == [-1.5, None, 0.25, -0.0]
    assert frame["contig"].cast(pl.String).to_list() == ["chr1", "other", "chr1", "chr1"]
    assert frame["flags"].to_list() == [["clipped", "moved"], [], [], []]
    assert frame["AF"].to_list() == [[0.5, None], None, [], [0.1]]
    assert frame["DB"].to_list() == [True, None, False, False]
    found = pl.scan_parquet(table).filter(pl.col("flags").list.contains("moved")).collect()
    assert found["record"].to_list() == [0]


def test_duckdb(table: Path):
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select status, count(*), count(llr) from read_parquet(?) group by 1 order by 1",
            [str(table)],
        ).fetchall()
        assert rows == [("scored", 3, 3), ("too_long", 1, 0)]
        rows = connection.execute(
            "select record, allele, llr, flags, AF from read_parquet(?) "
            "where contig = 'chr1' and pos between 101 and 102 order by llr",
            [str(table)],
        ).fetchall()
    assert rows == [(2, 2, 0.0, [], [0.1]), (2, 1, 0.25, [], [])]


# --- the examples of the page, with the calibrated columns joined


@pytest.fixture
def of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The files that the page names, and the alleles that its examples are to find."""
    rows = [make_row(number // 2, 1 + number % 2) for number in range(80)]
    table = write_result(tmp_path / "results/mitomap/mini-512/scores.parquet", rows)
    file = write_calibrated(table, rows, {"common": (True, True)})
    monkeypatch.chdir(tmp_path)
    found = [row for row in pq.read_table(file).to_pylist() if row["phred"] >= 20]
    assert 0 < len(found) < len(rows)
    return [(row["record"], row["allele"]) for row in found]


def read_examples(language: str) -> list[str]:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Calibrations\n")[2]
    return re.findall(rf"```{language}\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)


def test_the_examples_in_python_find_the_rare_alleles(
    of_the_page: list[tuple[int, int]],
) -> None:
    by_pandas, by_polars = read_examples("python")
    names: dict[str, Any] = {}
    exec(by_pandas, names)  # noqa: S102 - an example of our own page
    rare = names["rare"]
    assert [*zip(rare["record"], rare["allele"], strict=True)] == of_the_page
    exec(by_polars, names)  # noqa: S102 - as above
    found = names["rare"].sort("record", "allele").select("record", "allele").rows()
    assert found == of_the_page


def test_the_example_in_sql_finds_the_rare_alleles(of_the_page: list[tuple[int, int]]) -> None:
    (by_duckdb,) = read_examples("sql")
    with duckdb.connect() as connection:
        found = connection.sql(by_duckdb).project("record, allele").order("all").fetchall()
    assert found == of_the_page
