"""Memory is bounded by bytes: rows with a long REF or long carried values are few at a time."""

import random
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.genome.records import Record
from evo2_tasks.genome.variant_tables import ParquetReader
from evo2_tasks.table import sorting
from evo2_tasks.table.parquet import RowBuffer, read_rows, row_bytes, slice_rows, write_table
from evo2_tasks.table.sorting import sort_rows
from tests import processes
from tests.project import HEADER, write_project

MB = 2**20


def arrow_peak(work: Callable[..., None], *arguments: str | Path) -> int:
    """Most bytes that Arrow holds at once while a new process does some work."""
    here, there = Pipe(duplex=False)
    process = processes.start(_work_and_tell, work, arguments, there)
    there.close()
    peak: int = here.recv()
    assert processes.wait(process) == 0
    return peak


def _work_and_tell(
    work: Callable[..., None], arguments: tuple[str | Path, ...], pipe: Connection
) -> None:
    assert pa.default_memory_pool().max_memory() < MB
    work(*arguments)
    pipe.send(pa.default_memory_pool().max_memory())


VALUES = {
    "text": (pa.string(), "A" * MB),
    "list of text": (pa.list_(pa.string()), ["A" * 1024] * 1024),
    "list of numbers": (pa.list_(pa.int64()), [7] * (MB // 8)),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), "c" * MB),
}


def write_long_values(target: Path, kind: str) -> None:
    type_, value = VALUES[kind]
    schema = pa.schema([("n", pa.int64()), ("value", type_)])
    with write_table(target, schema, row_group_bytes=4 * MB) as writer:
        rows = RowBuffer(writer, schema.names)
        for number in range(200):
            rows.add(number, value)
        rows.flush()


@pytest.mark.parametrize("kind", VALUES)
def test_rows_of_one_long_value_are_written_in_bounded_memory(tmp_path: Path, kind: str) -> None:
    """The value is one Python object, but 200 MB as a column."""
    target = tmp_path / "t.parquet"
    assert arrow_peak(write_long_values, target, kind) < 120 * MB
    file = pq.ParquetFile(target)
    assert file.metadata.num_row_groups >= 50
    numbers = [number for batch in read_rows(target, ["n"]) for number in batch["n"].to_pylist()]
    assert numbers == list(range(200))
    assert file.read_row_group(7)["value"][0].as_py() == VALUES[kind][1]


def test_a_batch_never_spans_row_groups(tmp_path: Path) -> None:
    schema = pa.schema([("n", pa.int64()), ("text", pa.string())])
    target = tmp_path / "t.parquet"
    with write_table(target, schema, row_group_bytes=MB) as writer:
        for number in range(40):
            writer.write_columns({"n": [number], "text": ["x" * (MB // 2)]})
    batches = list(read_rows(target))
    assert max(batch.nbytes for batch in batches) < 2 * MB
    assert pa.Table.from_batches(batches).equals(pq.read_table(target, schema=schema))


def sort_long_rows(folder: Path) -> None:
    sorting.RUN_BYTES = 8 * MB  # type: ignore[misc]
    keys = random.Random(1).sample(range(1_000), 200)
    tables = (pa.table({"key": [key], "text": [f"{key} " * (MB // 4)]}) for key in keys)
    found = []
    for piece in sort_rows(tables, ["key"], folder=folder):
        texts = [text.split(" ", 1)[0] for text in piece["text"].to_pylist()]
        found += zip(piece["key"].to_pylist(), texts, strict=True)
    assert found == [(key, str(key)) for key in sorted(keys)]


def test_long_rows_are_sorted_in_bounded_memory(tmp_path: Path) -> None:
    assert arrow_peak(sort_long_rows, tmp_path) < 150 * MB


def test_pieces_hold_all_rows_once_and_their_bytes_are_bounded() -> None:
    rng = random.Random(5)
    rows = [
        {
            "text": rng.choice([None, "", "é" * rng.randrange(900)]),
            "texts": rng.choice([None, [], ["a", None, "b" * rng.randrange(500)]]),
            "numbers": rng.choice([None, [], [1] * rng.randrange(90)]),
        }
        for _ in range(300)
    ]
    types = {"text": pa.string(), "texts": pa.list_(pa.string()), "numbers": pa.list_(pa.int32())}
    table = pa.Table.from_pylist(rows, schema=pa.schema(types))

    def expected_bytes(row: dict[str, Any]) -> int:
        texts = [row["text"] or "", *(one or "" for one in row["texts"] or [])]
        return sum(len(text.encode()) for text in texts) + 8 * len(row["numbers"] or [])

    sizes = list(map(expected_bytes, rows))
    assert row_bytes(table).tolist() == sizes
    pieces = list(slice_rows(table, 17, 2_000))
    assert pa.concat_tables(pieces).equals(table)
    for piece in pieces:
        assert piece.num_rows <= 17
        assert piece.num_rows == 1 or row_bytes(piece).sum() <= 2_000


def test_a_long_ref_of_a_parquet_file_is_held_once(tmp_path: Path) -> None:
    """400 rows with one REF of 1 MiB; some rows have no REF, and one has another one."""
    refs = ["A" * MB, None, "C"] * 2 + ["A" * MB] * 394
    table = pa.table(
        {
            "contig": ["c"] * len(refs),
            "pos": list(range(1, len(refs) + 1)),
            "ref": refs,
            "alt": ["ACGT"[number % 4] for number in range(len(refs))],
        }
    )
    path = tmp_path / "long.parquet"
    pq.write_table(table, path)
    expected = [(pos, ref) for pos, ref in enumerate(refs, start=1) if ref is not None]
    found = [
        (record.pos, record.ref)
        for record in ParquetReader(path).records()
        if isinstance(record, Record)
    ]
    assert found == expected
    assert arrow_peak(read_alleles, path) < 300 * MB


def read_alleles(path: Path) -> None:
    assert sum(1 for _ in ParquetReader(path).records()) == 400


@pytest.mark.slow
def test_one_long_ref_with_many_alts_takes_little_memory(tmp_path: Path) -> None:
    """A file of 0.3 MB, whose table has 360 MB of REF; peak memory as the kernel counts it."""
    rng = random.Random(1)
    bases = "".join(rng.choices("ACGT", k=320_000))
    alts = {"".join(rng.choices("ACGT", k=12)) for _ in range(1_200)}
    line = f"c\t2000\t.\t{bases[1999:301_999]}\t{','.join(sorted(alts))}\t.\t.\t.\n"
    project = write_project(tmp_path, genome={"c": bases}, variants=HEADER + line)
    run = ["--config", project.config_file, "--variant-set", "v"]
    shard = tmp_path / "shards" / "1-of-1.parquet"
    windows = ["--shard", shard, "--split", tmp_path / "shards" / "split.json"]
    windows += ["--out", tmp_path / "w.parquet", "--segments", tmp_path / "w.segments.parquet"]
    idle = peak_mb("--help")
    assert peak_mb("split", *run, "--out", tmp_path / "shards") - idle < 450
    assert peak_mb("windows", *run, "--scoring", "s", *windows) - idle < 900
    rows = pq.ParquetFile(tmp_path / "w.parquet").metadata.num_rows
    assert rows == len(alts)


PEAK = """
from evo2_tasks.cli import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def peak_mb(*arguments: str | Path) -> float:
    """Peak memory of a command; not ru_maxrss, which counts the parent before exec too."""
    command = [sys.executable, "-c", PEAK, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024
