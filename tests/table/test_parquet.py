from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.table.parquet import (
    distinct_values,
    open_table,
    read_metadata,
    read_rows,
    write_table,
)
from evo2_tasks.table.schema import CONTIG_TYPE, list_type
from tests.table.build import slow_disk

SCHEMA = pa.schema(
    [
        pa.field("contig", CONTIG_TYPE),
        pa.field("pos", pa.int64(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("notes", list_type(pa.string())),
    ]
)


def make_table(num_rows: int) -> pa.Table:
    return pa.table(
        {
            "contig": [None if row % 7 == 6 else f"chr{row // 40}" for row in range(num_rows)],
            "pos": list(range(num_rows)),
            "text": ["A" * (row % 13) for row in range(num_rows)],
            "notes": [
                None if row % 5 == 0 else ["x", None, "é" * (row % 3)] for row in range(num_rows)
            ],
        }
    )


def test_of_two_writers_each_writes_whole(tmp_path: Path) -> None:
    target = tmp_path / "file.parquet"

    def write(number: int) -> None:
        with write_table(target, pa.schema([("pos", pa.int64())]), row_group_rows=100) as writer:
            for _ in range(20):
                writer.write_columns({"pos": [number] * 100})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = pq.read_table(target).column("pos").to_pylist()
    assert len(values) == 2000
    assert len(set(values)) == 1
    assert list(tmp_path.iterdir()) == [target]


WRITER = """
import sys, pyarrow as pa
from pathlib import Path
from evo2_tasks.errors import InputError
from evo2_tasks.table.parquet import write_table
{setup}
schema = pa.schema([("pos", pa.int64())])
try:
    with write_table(Path(sys.argv[1]), schema, row_group_rows=1000) as writer:
        for start in range(0, 10**9, 1000):
            writer.write_columns({{"pos": list(range(start, start + 1000))}})
            print(start, flush=True)
except InputError as error:
    print("refused:", error)
"""


def test_a_killed_writer_leaves_no_output(tmp_path: Path) -> None:
    target = tmp_path / "killed.parquet"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER.format(setup=""), str(target)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not target.exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    setup = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
"""
    target = tmp_path / "full.parquet"
    done = subprocess.run(
        [sys.executable, "-c", WRITER.format(setup=setup), str(target)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1].startswith(f"refused: {target}: cannot be written: ")
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def write(target: Path, pieces: list[pa.Table], **options: int) -> Path:
    with write_table(target, SCHEMA, metadata={"key": "value"}, **options) as writer:
        for piece in pieces:
            writer.write(piece)
    assert writer.num_rows == sum(piece.num_rows for piece in pieces)
    return target


@slow_disk
@given(
    num_rows=st.integers(0, 120),
    cuts=st.lists(st.integers(0, 120), max_size=6),
    rows=st.sampled_from([1, 7, 40, 1000]),
    num_bytes=st.sampled_from([1, 60, 500, 10**6]),
)
def test_the_bytes_do_not_depend_on_the_pieces(
    tmp_path_factory: pytest.TempPathFactory,
    num_rows: int,
    cuts: list[int],
    rows: int,
    num_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    table = make_table(num_rows)
    options = {"row_group_rows": rows, "row_group_bytes": num_bytes}
    edges = sorted({0, num_rows, *(min(cut, num_rows) for cut in cuts)})
    pieces = [table.slice(start, end - start) for start, end in pairwise(edges)]
    whole = write(folder / "whole.parquet", [table], **options)
    split = write(folder / "split.parquet", pieces, **options)
    assert split.read_bytes() == whole.read_bytes()
    assert pq.read_table(split).to_pylist() == table.to_pylist()
    file = pq.ParquetFile(split)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    assert all(0 < size <= rows for size in sizes)


def test_long_text_closes_a_row_group(tmp_path: Path) -> None:
    table = pa.table(
        {
            "contig": ["c"] * 6,
            "pos": range(6),
            "text": ["A" * 600, "A" * 300, "A" * 100, None, "A" * 5000, "A"],
            "notes": [None, None, ["A" * 100], [], None, None],
        }
    )
    path = write(
        tmp_path / "x.parquet", [table.slice(i, 1) for i in range(6)], row_group_bytes=1000
    )
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2, 2, 1, 1]


def test_no_row_group_alone_lacks_the_statistics_of_a_column(tmp_path: Path) -> None:
    """Some readers answer from the row groups that have them, as if the others had no rows."""
    table = pa.table(
        {
            "contig": ["c"] * 4,
            "pos": range(4),
            "text": ["A", "T", "C", "T" * 5000],
            "notes": [[]] * 4,
        }
    )
    path = write(tmp_path / "x.parquet", [table], row_group_rows=2)
    metadata = pq.ParquetFile(path).metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    has_range: dict[str, set[bool]] = {}
    for column in (group.column(place) for group in groups for place in range(4)):
        found = has_range.setdefault(column.path_in_schema, set())
        found.add(column.statistics is not None and column.statistics.has_min_max)
    assert has_range == {
        "contig": {True},
        "pos": {True},
        "text": {False},
        "notes.list.element": {False},
    }


def test_a_written_table_is_read_back(tmp_path: Path) -> None:
    table = make_table(100)
    path = write(tmp_path / "x.parquet", [table], row_group_rows=30)
    batches = list(read_rows(path, batch_rows=25))
    assert max(batch.num_rows for batch in batches) <= 25
    assert pa.Table.from_batches(batches).to_pylist() == table.to_pylist()
    assert batches[0].schema.field("contig").type == CONTIG_TYPE
    assert read_metadata(path)["key"] == "value"
    assert distinct_values(path, "contig") == ["chr0", "chr1", "chr2"]
    only = pa.Table.from_batches(read_rows(path, ["pos"], row_groups=[1]))
    assert only.column_names == ["pos"]
    assert only.column("pos").to_pylist() == list(range(30, 60))


def test_a_null_where_none_may_be_is_refused(tmp_path: Path) -> None:
    table = make_table(3).set_column(1, "pos", pa.array([1, None, 3]))
    with pytest.raises(ValueError, match="null"):
        write(tmp_path / "x.parquet", [table])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [make_table(3)])
    with pytest.raises(InputError, match="has no column 'llr'"), open_table(path, ["llr"]):
        pass


@pytest.mark.parametrize("content", [None, b"", b"PAR1", b"not parquet", b"PAR1" * 100])
def test_a_broken_table_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.parquet: cannot be read: ") as raised:
        list(read_rows(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_damage_in_the_middle_is_never_a_traceback(tmp_path: Path, at: float) -> None:
    path = write(tmp_path / "x.parquet", [make_table(5000)])
    content = bytearray(path.read_bytes())
    start = int(len(content) * at)
    content[start : start + 64] = bytes(64)
    path.write_bytes(content)
    with suppress(InputError):  # or rows, where the damage is within a value
        list(read_rows(path))
