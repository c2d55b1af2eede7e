"""``calibrated.parquet`` next to a table: joined in step, compared with a join by pandas."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField
from evo2_tasks.table.calibrated import open_calibrated, read_calibrated_rows
from tests.table.build import (
    Row,
    make_row,
    signature,
    slow_disk,
    write_calibrated,
    write_result,
)

BOTH = {"common": (True, True)}
SEVERAL = {"a.b": (True, False), "c-d": (False, True), "quantile": (True, True)}


def make_rows(num_rows: int) -> list[Row]:
    return [
        make_row(row // 2, 1 + row % 2, "scored" if row % 5 else "too_many_n", pos=row)
        for row in range(num_rows)
    ]


def join_by_pandas(table: Path, columns: list[str] | None = None) -> pd.DataFrame:
    scores, calibrated = (
        pd.read_parquet(table.with_name(name), dtype_backend="pyarrow")
        for name in ("scores.parquet", "calibrated.parquet")
    )
    joined = scores.merge(calibrated, on=["record", "allele"], validate="1:1")
    return joined if columns is None else joined[columns]


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories as text, so that two frames with other categories can be equal."""
    text = pd.ArrowDtype(pa.string())
    named = [name for name in frame if "dictionary" in str(frame[name].dtype)]
    return frame.astype(dict.fromkeys(named, text)).reset_index(drop=True)


def read(table: Path, *arguments: Any, **options: Any) -> pd.DataFrame:
    batches = [*read_calibrated_rows(table, open_calibrated(table), *arguments, **options)]
    return pa.Table.from_batches(batches).to_pandas(types_mapper=pd.ArrowDtype)


@slow_disk
@given(
    num_rows=st.integers(1, 60),
    sizes=st.tuples(st.integers(1, 25), st.integers(1, 25)),
    batch_rows=st.integers(1, 30),
    kinds=st.sampled_from([BOTH, SEVERAL]),
    data=st.data(),
)
def test_rows_are_those_of_a_join_by_key(
    tmp_path_factory: pytest.TempPathFactory,
    num_rows: int,
    sizes: tuple[int, int],
    batch_rows: int,
    kinds: dict[str, tuple[bool, bool]],
    data: st.DataObject,
) -> None:
    rows = make_rows(num_rows)
    table = tmp_path_factory.mktemp("t") / "scores.parquet"
    write_result(table, rows, row_group_rows=sizes[0])
    write_calibrated(table, rows, kinds, row_group_rows=sizes[1])
    expected = join_by_pandas(table)
    found = read(table, batch_rows=batch_rows)
    pd.testing.assert_frame_equal(as_text(found), as_text(expected))
    groups = -(-num_rows // sizes[0])
    chosen = data.draw(st.lists(st.integers(0, groups - 1), min_size=1, unique=True).map(sorted))
    in_groups = [row for row in range(num_rows) if row // sizes[0] in chosen]
    some = read(table, batch_rows=batch_rows, row_groups=chosen)
    pd.testing.assert_frame_equal(as_text(some), as_text(expected.iloc[in_groups]))


def test_named_columns_are_read_with_the_keys(tmp_path: Path) -> None:
    rows = make_rows(9)
    table = write_result(tmp_path / "scores.parquet", rows)
    write_calibrated(table, rows, SEVERAL)
    names = ["llr", "c-d.lr", "quantile.quantile"]
    found = read(table, names)
    pd.testing.assert_frame_equal(found, join_by_pandas(table, ["record", "allele", *names]))


def test_a_table_without_calibrations_is_read_alone(tmp_path: Path) -> None:
    table = write_result(tmp_path / "scores.parquet", make_rows(9))
    assert open_calibrated(table) is None
    assert [*read(table)] == pq.read_schema(table).names


def test_an_empty_table_has_no_rows(tmp_path: Path) -> None:
    table = write_result(tmp_path / "scores.parquet", [])
    write_calibrated(table, [], BOTH)
    assert [*read_calibrated_rows(table, open_calibrated(table))] == []


def test_a_file_of_another_table_is_one_clear_line(tmp_path: Path) -> None:
    table = write_result(tmp_path / "scores.parquet", make_rows(9))
    write_calibrated(table, make_rows(9), BOTH)
    write_result(table, [make_row(row) for row in range(9)])
    with pytest.raises(InputError) as caught:
        open_calibrated(table)
    message = str(caught.value)
    assert f"{tmp_path}/calibrated.parquet was made from another table than" in message
    assert "Run `calibrate` again: delete calibrated.parquet and run the workflow" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("provenance", "message"),
    [
        ({"signature": signature(weights_digest="1" * 64)}, "differ in weights"),
        ({"source": None}, "does not state the table that the file was made from"),
    ],
)
def test_a_file_that_states_something_else_is_one_clear_line(
    tmp_path: Path, provenance: dict[str, Any], message: str
) -> None:
    table = write_result(tmp_path / "scores.parquet", make_rows(9))
    write_calibrated(table, make_rows(9), BOTH, **provenance)
    with pytest.raises(InputError, match=message):
        open_calibrated(table)


def test_other_rows_are_one_clear_line(tmp_path: Path) -> None:
    rows = make_rows(30)
    table = write_result(tmp_path / "scores.parquet", rows, row_group_rows=7)
    write_calibrated(table, rows[1:], BOTH)
    with pytest.raises(InputError, match=r"has 29 rows, but .* has 30"):
        open_calibrated(table)
    write_calibrated(table, [*rows[:20], rows[21], rows[20], *rows[22:]], BOTH)
    calibrated = open_calibrated(table)
    wrong = r"calibrated\.parquet does not .*record 10, allele 2 where the scores have record 10, "
    for options in ({}, {"row_groups": [0, 2]}):
        with pytest.raises(InputError, match=wrong):
            [*read_calibrated_rows(table, calibrated, **options)]
    first = read_calibrated_rows(table, calibrated, row_groups=[0, 1])
    assert sum(batch.num_rows for batch in first) == 14


def test_a_carried_column_of_the_same_name_is_one_clear_line(tmp_path: Path) -> None:
    rows = [row | {"lr": 1.0} for row in make_rows(9)]
    carry = [CarryField("lr", "float")]
    table = write_result(tmp_path / "scores.parquet", rows, carry)
    write_calibrated(table, rows, BOTH)
    with pytest.raises(InputError, match="a carried column has the name lr, which is a column of"):
        open_calibrated(table)
    write_calibrated(table, rows, SEVERAL)
    assert open_calibrated(table) is not None


def test_a_copy_of_both_files_is_read_in_another_folder(tmp_path: Path) -> None:
    rows = make_rows(9)
    table = write_result(tmp_path / "scores.parquet", rows)
    write_calibrated(table, rows, BOTH)
    other = shutil.copytree(tmp_path, tmp_path / "other") / "scores.parquet"
    pd.testing.assert_frame_equal(as_text(read(other)), as_text(join_by_pandas(table)))
