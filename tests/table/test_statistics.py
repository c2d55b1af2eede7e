"""Statistics of a table, against numpy, collections and pandas."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.table import statistics as table_statistics
from evo2_tasks.table.schema import FLAGS, STATUSES, final_schema
from evo2_tasks.table.statistics import (
    Counts,
    Distribution,
    read_statistics,
    warn_without_score,
)
from tests.table.build import Row, make_row, write_result


def make_rows(num_rows: int = 200) -> list[Row]:
    choose = random.Random(1)
    rows = []
    for record in range(num_rows):
        status = choose.choice(["too_long", "scored", "scored", "filtered"])
        flags = choose.sample(["moved", "clipped"], choose.randrange(3))
        rows.append(make_row(record, status=status, flags=flags if status == "scored" else []))
    return rows


def as_table(rows: list[Row]) -> pa.Table:
    schema = final_schema()
    return pa.Table.from_pylist(
        [{name: row[name] for name in schema.names} for row in rows], schema
    )


@given(
    values=st.lists(st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-9), min_size=1),
    share=st.floats(0, 1),
    cut=st.integers(0, 100),
)
def test_quantiles_are_those_of_the_sorted_numbers(
    values: list[float], share: float, cut: int
) -> None:
    distribution = Distribution()
    for part in (values[:cut], values[cut:]):
        distribution.add(np.array(part, dtype=np.float64))
    assert distribution.count == len(values)
    assert distribution.is_exact
    assert distribution.quantile(share) == pytest.approx(pd.Series(values).quantile(share))
    assert (distribution.minimum, distribution.maximum) == (min(values), max(values))


def test_quantiles_of_many_numbers_are_close_to_those_of_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_statistics, "MOST_KEPT", 40_000)
    choose = random.Random(0)
    values = np.array([choose.gauss(0, 5) for _ in range(50_000)])
    distribution = Distribution()
    for start in range(0, len(values), 999):
        distribution.add(values[start : start + 999])
    for share in (0.01, 0.25, 0.75, 0.99):
        assert distribution.quantile(share) == pytest.approx(np.quantile(values, share), rel=0.01)
    assert not distribution.is_exact


def test_a_distribution_of_no_numbers_has_no_extremes() -> None:
    distribution = Distribution()
    distribution.add(np.empty(0))
    assert distribution.count == 0
    assert distribution.minimum > distribution.maximum


def test_counts_are_the_same_however_the_rows_are_cut() -> None:
    rows = make_rows()
    counts = Counts()
    for start in range(0, len(rows), 37):
        counts.add(as_table(rows[start : start + 37]))
    assert counts.alleles == len(rows)
    assert counts.by_status == Counter(row["status"] for row in rows)
    assert counts.by_flag == Counter(flag for row in rows for flag in row["flags"])
    assert counts.scored == sum(row["llr"] is not None for row in rows)


def test_counts_are_in_the_order_of_the_schema_and_unknown_names_come_last() -> None:
    counts = Counts()
    counts.add(as_table([make_row(0, status="of_a_later_version"), *make_rows()]))
    *known, last = counts.by_status
    assert known == [name for name in STATUSES if name in counts.by_status]
    assert last == "of_a_later_version"
    assert list(counts.by_flag) == [name for name in FLAGS if name in counts.by_flag]
    assert min(counts.by_status.values()) > 0


def test_statistics_of_a_table_are_those_of_its_rows(tmp_path: Path) -> None:
    rows = make_rows()
    statistics = read_statistics(write_result(tmp_path / "t.parquet", rows, row_group_rows=30))
    llr = [row["llr"] for row in rows if row["llr"] is not None]
    assert statistics.counts.by_status == Counter(row["status"] for row in rows)
    assert statistics.llr.count == len(llr)
    assert statistics.llr.minimum == min(llr)
    assert statistics.llr.quantile(0.5) == pytest.approx(pd.Series(llr).median())


def test_a_missing_table_is_one_line(tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    with pytest.raises(InputError, match="cannot be read"):
        read_statistics(table)


@pytest.mark.parametrize(
    ("by_status", "warning"),
    [
        ({}, ""),
        ({"too_long": 3, "scored": 1}, ""),
        (
            {"too_long": 1_200, "filtered": 1},
            "t.parquet: NO SCORE for any of 1,201 alleles: too_long 1,200, filtered 1",
        ),
    ],
)
def test_a_file_without_any_score_is_a_warning(
    by_status: dict[str, int], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_without_score(Path("t.parquet"), by_status)
    assert caplog.messages == ([warning] if warning else [])
