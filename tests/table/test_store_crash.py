"""Writers and compactions of a score store that are killed at random moments lose no row.

Each round kills four processes. CRASH_ROUNDS=30 pytest -m slow tests/table/test_store_crash.py
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from evo2_tasks.scoring.deltas import SCORE_NAMES
from evo2_tasks.table.schema import STRAND_SUFFIXES
from evo2_tasks.table.store import Store
from evo2_tasks.table.store_rows import (
    DEVICE,
    KEY_COLUMNS,
    device_column,
    keys_schema,
    store_schema,
    strand_columns,
)
from tests.table.build import signature
from tests.table.stores import BOTH, LINEAR, small_files

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "8"))
NUM_POSITIONS = 4_000
BATCH = 300
DEVICES = ("cpu", "gpu")


def make_batch(number: int) -> pa.Table:
    """Rows whose scores follow from their position and device alone."""
    numbers = np.random.default_rng(number)
    device = DEVICES[number % 2]
    starts = numbers.integers(0, NUM_POSITIONS, BATCH)
    columns: dict[str, object] = {
        "edit_start": starts,
        "edit_ref": np.ones(BATCH),
        "edit_alt": ["ACGT"[start % 4] for start in starts],
        "window_start": starts - 512,
        "window_length": np.full(BATCH, 1024),
        DEVICE: [device] * BATCH,
    }
    for strand in STRAND_SUFFIXES:
        expected = expect(starts, device, strand)
        columns |= {name: expected[:, i] for i, name in enumerate(strand_columns(strand))}
    fields = store_schema()
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in fields], fields)


def expect(starts: np.ndarray, device: str, strand: str) -> np.ndarray:
    seed = 1 + DEVICES.index(device) * 2 + [*STRAND_SUFFIXES].index(strand)
    return np.sin(np.outer(starts + seed * 1e5, np.arange(1, len(SCORE_NAMES) + 1)))


def write(folder: Path, first: int, last: int) -> None:
    """Write batches, and name each one after it is written."""
    store = Store(folder)
    for number in range(first, last):
        store.write(signature(), LINEAR, make_batch(number))
        print(number, flush=True)


def compact(folder: Path) -> None:
    """Compact the store again and again."""
    print("started", flush=True)
    while True:
        Store(folder).compact()


def start(folder: Path, call: str) -> subprocess.Popen[str]:
    code = (
        "from pathlib import Path\n"
        "from tests.table import test_store_crash as crash\n"
        f"with crash.small_files(50, 400): crash.{call}"
    ).replace("FOLDER", f"Path({str(folder)!r})")
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def read_all(folder: Path) -> tuple[set[tuple[int, str]], int]:
    """Look up every allele of both devices; gives those found, and the number of wrong values."""
    starts = np.arange(NUM_POSITIONS)
    alleles = pa.table(
        [
            pa.array(starts),
            pa.array(np.ones(NUM_POSITIONS, np.int32)),
            pa.array(["ACGT"[one % 4] for one in starts]),
            pa.array(starts - 512),
            pa.array(np.full(NUM_POSITIONS, 1024, np.int32)),
        ],
        schema=keys_schema(),
    ).select(KEY_COLUMNS)
    found: set[tuple[int, str]] = set()
    num_wrong = 0
    for device in DEVICES:
        hits = Store(folder).lookup(signature(), LINEAR, alleles, BOTH, device)
        is_hit = hits.column(0).is_valid().to_numpy()
        if not is_hit.any():
            continue
        for strand in BOTH:
            rows = hits.filter(pa.array(is_hit))
            values = np.stack([rows.column(one).to_numpy() for one in strand_columns(strand)], 1)
            expected = expect(starts[is_hit], device, strand)
            num_wrong += int((values != expected).sum())
            num_wrong += rows.column(device_column(strand)).unique().to_pylist() != [device]
        found |= {(int(one), device) for one in starts[is_hit]}
    return found, num_wrong


def rows_of(batches: Sequence[int]) -> set[tuple[int, str]]:
    return {
        (one, DEVICES[number % 2])
        for number in batches
        for one in make_batch(number).column("edit_start").to_pylist()
    }


@pytest.mark.slow
def test_killed_writers_and_compactions_lose_no_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moments = random.Random(7)
    written: list[int] = []
    folder = tmp_path / "store"
    num_killed = {"write": 0, "compact": 0}
    for number in range(ROUNDS):
        first = number * 1_000
        running = [
            ("write", start(folder, f"write(FOLDER, {first}, {first + 200})")),
            ("write", start(folder, f"write(FOLDER, {first + 500}, {first + 700})")),
            ("compact", start(folder, "compact(FOLDER)")),
            ("compact", start(folder, "compact(FOLDER)")),
        ]
        # The first line of each process: it is at work.
        lines = [process.stdout.readline() for _, process in running if process.stdout]
        before = list(written)
        end = time.monotonic() + moments.uniform(0, 0.6)
        with ThreadPoolExecutor(1) as pool, small_files(50, 400):
            reads = [pool.submit(read_all, folder)]
            for kind, process in moments.sample(running, len(running)):
                time.sleep(max(0.0, end - time.monotonic()) * moments.random())
                process.kill()
                num_killed[kind] += 1
            reads.append(pool.submit(read_all, folder))
            for read in reads:
                found, num_wrong = read.result()
                assert num_wrong == 0
                assert rows_of(before) <= found
        for (kind, process), line in zip(running, lines, strict=True):
            rest, _ = process.communicate()
            assert process.returncode == -9
            if kind == "write":
                written += [int(one) for one in (line + rest).split("\n")[:-1]]
    assert min(num_killed.values()) >= ROUNDS
    assert len(written) > ROUNDS
    with small_files(50, 400):
        Store(folder).write(signature(), LINEAR, make_batch(999_998))
        (contig,) = folder.glob("signature=*/contig=*")
        assert not [path for path in contig.iterdir() if path.name.startswith(".")]
        found, num_wrong = read_all(folder)
        assert num_wrong == 0
        assert rows_of(written) <= found
        done = Store(folder).compact()
        assert done.rows_after == len(found)
        assert read_all(folder) == (found, 0)
    assert not caplog.records


@pytest.mark.slow
def test_two_compactions_and_writers_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "store"
    compactions = [start(folder, "compact(FOLDER)") for _ in range(2)]
    writers = [
        start(folder, f"write(FOLDER, {first}, {first + 20})") for first in (0, 1_000, 2_000)
    ]
    num_reads = 0
    with small_files(50, 400):
        while any(process.poll() is None for process in writers):
            assert read_all(folder)[1] == 0
            num_reads += 1
        for process in compactions:
            assert process.poll() is None
            process.kill()
            process.communicate()
        for process in writers:
            process.communicate()
            assert process.returncode == 0
        batches = [first + i for first in (0, 1_000, 2_000) for i in range(20)]
        found, num_wrong = read_all(folder)
        assert num_wrong == 0
        assert found == rows_of(batches)
        assert Store(folder).compact().rows_after == len(found)
        assert read_all(folder) == (found, 0)
    assert num_reads > 2
    assert not caplog.records
