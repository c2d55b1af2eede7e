"""Tables of embeddings: what is written is read back, by this package and by others."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.table.embeddings import (
    DELTA,
    REF,
    SCALES,
    TYPES,
    Narrowing,
    as_column,
    embeddings_schema,
    find_too_large,
    read_embeddings,
    scales_metadata,
)
from evo2_tasks.table.parquet import write_table

WIDTH = 24
NUM = 50


def make_values(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values whose channels differ in size by far, as those of a residual stream do."""
    rng = np.random.default_rng(seed)
    sizes = 10.0 ** rng.uniform(-4, 3, size=WIDTH)
    sizes[3] = 0.0
    values = (rng.normal(size=(NUM, WIDTH)) * sizes).astype(np.float32)
    present = rng.random(NUM) > 0.2
    values[~present] = 0
    return values, present


def write_embeddings(path: Path, dtype: str) -> dict[str, Narrowing]:
    schema = embeddings_schema(WIDTH, dtype, strands=False)
    narrowings, columns = {}, {}
    for seed, name in enumerate((REF, DELTA)):
        values, present = make_values(seed)
        narrowings[name] = Narrowing(dtype, np.abs(values).max(axis=0))
        columns[name] = as_column(narrowings[name].narrow(values, present), present)
    keys = {
        "record": pa.array(range(NUM), schema.field("record").type),
        "allele": pa.array([1] * NUM, schema.field("allele").type),
    }
    scales = {name: one.scale for name, one in narrowings.items() if one.scale is not None}
    with write_table(path, schema, metadata=scales_metadata(scales), row_group_rows=7) as writer:
        writer.write(pa.table(keys | columns))
    return narrowings


@pytest.mark.parametrize("dtype", TYPES)
def test_what_is_written_is_read_back_within_the_error_that_is_stated(
    tmp_path: Path, dtype: str
) -> None:
    path = tmp_path / "e.parquet"
    narrowings = write_embeddings(path, dtype)
    pieces = list(read_embeddings(path, batch_rows=3))
    assert max(len(one.record) for one in pieces) <= 3
    assert np.concatenate([one.record for one in pieces]).tolist() == list(range(NUM))
    for seed, name in enumerate((REF, DELTA)):
        exact, present = make_values(seed)
        field = "ref" if name == REF else "delta"
        found = np.concatenate([getattr(one, field) for one in pieces])
        assert found.dtype == np.float32
        assert np.isnan(found[~present]).all()
        differences = np.abs(found[present].astype(float) - exact[present])
        error = narrowings[name].error
        assert error.largest == pytest.approx(differences.max(), rel=1e-12)
        assert error.rms == pytest.approx(np.sqrt((differences**2).mean()), rel=1e-9, abs=0)
        if dtype == "float32":
            assert differences.max() == 0
            continue
        one, other = exact[present].astype(float), found[present].astype(float)
        cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        assert error.smallest_cosine == pytest.approx(cosines.min(), abs=1e-12)
        assert cosines.min() > 0.999
        if dtype == "int8":  # no channel is off by more than half of its own step
            steps = np.abs(exact).max(axis=0) / 127
            assert (differences <= 0.5001 * steps).all()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_other_libraries_read_the_columns(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "e.parquet"
    write_embeddings(path, dtype)
    exact, present = make_values(0)
    tolerance = {"float32": 0, "float16": 1e-3}[dtype]
    by_pandas = pd.read_parquet(path)[REF]
    assert by_pandas.notna().tolist() == present.tolist()
    stacked = np.stack(by_pandas.dropna()).astype(np.float32)
    np.testing.assert_allclose(stacked, exact[present], rtol=tolerance, atol=1e-7)
    by_polars = pl.read_parquet(path)[REF]
    assert by_polars.is_not_null().to_list() == present.tolist()
    np.testing.assert_allclose(by_polars.drop_nulls().to_numpy(), stacked)


def test_row_groups_are_closed_by_bytes(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    schema = embeddings_schema(1024, "float32", strands=False)
    rows = pa.table(
        {
            "record": pa.array(range(100), schema.field("record").type),
            "allele": pa.array([1] * 100, schema.field("allele").type),
            **{
                name: as_column(np.ones((100, 1024), np.float32), np.arange(100) != 5)
                for name in (REF, DELTA)
            },
        }
    )
    with write_table(path, schema, row_group_bytes=2**17) as writer:
        writer.write(rows)
    groups = pq.ParquetFile(path).metadata
    assert {groups.row_group(i).num_rows for i in range(groups.num_row_groups - 1)} == {16}


def test_the_first_value_that_float16_cannot_hold_is_found() -> None:
    values = np.zeros((4, 3), np.float32)
    values[1, 1] = 65_519.9  # the largest float32 that is rounded down
    assert find_too_large(values, range(4), [1] * 4) is None
    values[2, 0] = -65_520
    assert find_too_large(values, [0, 5, 7, 9], [1, 1, 2, 1]) == (7, 2, -65_520)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    pq.write_table(pa.table({"record": [1], "allele": [1], REF: [[1.0]], DELTA: [[1.0]]}), path)
    with pytest.raises(InputError, match=r"e\.parquet: ref_embedding and delta_embedding are not"):
        list(read_embeddings(path))
    write_embeddings(path, "int8")
    table = pq.read_table(path)
    for stored in ({}, {SCALES: "{"}, {SCALES: '{"ref_embedding": [1], "delta_embedding": [1]}'}):
        pq.write_table(table.replace_schema_metadata(stored), path)
        with pytest.raises(InputError, match=r"evo2_tasks\.scales in the metadata has") as error:
            list(read_embeddings(path))
        assert "\n" not in str(error.value)
