"""Hits side by side with the rows of the windows, against a join of pandas."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.table.documents import Lookup
from evo2_tasks.table.hits import HitRows, Hits
from evo2_tasks.table.provenance import Provenance
from evo2_tasks.table.schema import hits_schema
from evo2_tasks.table.store_models import ModelKey

DEVICES = (None, "a", "b")

Key = tuple[int, int]


def write_hits(path: Path, rows: pd.DataFrame, device: str | None = None) -> Hits:
    """A file of hits with row groups of three rows; ``llr_fwd`` is the number of the row."""
    columns: dict[str, Any] = {name: [None] * len(rows) for name in hits_schema().names}
    columns |= {name: rows[name].tolist() for name in rows}
    columns["llr_fwd"] = list(map(float, range(len(rows))))
    table = pa.table(
        [pa.array(columns[field.name], field.type, from_pandas=True) for field in hits_schema()],
        schema=hits_schema(),
    )
    pq.write_table(table, path, row_group_size=3)
    found = Lookup(
        alleles=0, hits=len(rows), missing=0, tokens_missing=0, weights=None, table_digest="0" * 64
    )
    key = cast(ModelKey, SimpleNamespace())
    return Hits(path, "0" * 64, Provenance({}, "1"), {}, key, found, device)


@st.composite
def shards(draw: st.DrawFn) -> tuple[list[Key], list[tuple[Key, str | None, str | None]]]:
    """Rising keys of a shard, and hits for some of them, several for some."""
    keys = sorted(draw(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 5)), max_size=25)))
    if draw(st.booleans()):
        keys = [(record + 2**40, allele) for record, allele in keys]
    hits = [
        (key, *draw(st.tuples(st.sampled_from(DEVICES), st.sampled_from(DEVICES))))
        for key in keys
        for _ in range(draw(st.sampled_from((0, 1, 1, 2))))
    ]
    return keys, hits


@settings(max_examples=150)
@given(shard=shards(), device=st.sampled_from(DEVICES), sizes=st.lists(st.integers(1, 9)))
def test_hits_are_found_as_by_a_join(
    tmp_path_factory: pytest.TempPathFactory,
    shard: tuple[list[Key], list[tuple[Key, str | None, str | None]]],
    device: str | None,
    sizes: list[int],
) -> None:
    keys, found = shard
    rows = pd.DataFrame(
        [(*key, one, other) for key, one, other in found],
        columns=["record", "allele", "device_fwd", "device_rev"],
    )
    hits = write_hits(tmp_path_factory.mktemp("hits") / "hits.parquet", rows, device)
    rows["llr_fwd"] = np.arange(len(rows), dtype=float)
    if device is not None:
        for name in ("device_fwd", "device_rev"):
            rows = rows[rows[name].isna() | (rows[name] == device)]
    rows = rows.drop_duplicates(["record", "allele"])
    windows = pd.DataFrame(keys, columns=["record", "allele"]).astype({"record": int})
    expected = windows.merge(rows, on=["record", "allele"], how="left").llr_fwd

    reader, got, first = hits.rows(["llr_fwd"]), np.full(len(keys), np.nan), 0
    while first < len(keys):
        piece = keys[first : first + (sizes.pop() if sizes else 4)]
        record, allele = (pa.array([key[i] for key in piece]) for i in (0, 1))
        places, table = reader.take(record, allele.cast(pa.int32()))
        got[first + places] = table.column("llr_fwd").to_numpy()
        first += len(piece)
    reader.finish()
    np.testing.assert_array_equal(got, expected.to_numpy(dtype=float))
    kinds = {
        kind: int(((rows.device_fwd == kind) | (rows.device_rev == kind)).sum())
        for kind in ("a", "b")
    }
    assert hits.count() == (len(rows), {kind: number for kind, number in kinds.items() if number})


def test_the_digest_is_that_of_the_alleles_alone(tmp_path: Path) -> None:
    rows = pd.DataFrame({"record": [0, 1, 1], "allele": [1, 1, 2]})
    one = write_hits(tmp_path / "one", rows)
    with_devices = write_hits(tmp_path / "two", rows.assign(device_fwd="a"))
    assert one.digest_keys() == with_devices.digest_keys()
    assert one.digest_keys() != write_hits(tmp_path / "less", rows[1:]).digest_keys()
    assert one.digest_keys() != write_hits(tmp_path / "none", rows[:0]).digest_keys()


def take_all(reader: HitRows, windows: list[Key]) -> None:
    for key in windows:
        reader.take(pa.array([key[0]]), pa.array([key[1]], pa.int32()))
    reader.finish()


@pytest.mark.parametrize(
    "keys",
    [
        [(0, 1), (2, 1)],  # no such record
        [(0, 1), (1, 3)],  # no such allele
        [(1, 1), (0, 1)],  # another order
        [(0, 1), (9, 1)],  # after the last row
    ],
)
def test_hits_of_other_alleles_are_refused(tmp_path: Path, keys: list[Key]) -> None:
    rows = pd.DataFrame(keys, columns=["record", "allele"])
    reader = write_hits(tmp_path / "hits.parquet", rows).rows()
    with pytest.raises(InputError, match="has alleles that its windows do not have"):
        take_all(reader, [(0, 1), (1, 1), (1, 2), (3, 1)])
