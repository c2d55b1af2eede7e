"""The result is read by what people use, each with its own types and nulls."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest

from evo2_tasks.genome.records import CarryField
from tests.table.build import make_row, write_result

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
