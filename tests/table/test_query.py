from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.regions import Region
from evo2_tasks.table.query import find_row_groups, find_rows
from tests.table.build import make_row, write_result


def test_a_table_without_rows_has_no_regions(tmp_path: Path):
    path = write_result(tmp_path / "x.parquet", [])
    with pytest.raises(InputError, match=r"x\.parquet: region 'chr1': there are no contigs"):
        list(find_rows(path, "chr1"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [
        make_row(number, contig=f"{1 + number // 500}", reference_contig=f"chr{1 + number // 500}",
                 pos=1 + number % 500)
        for number in range(2000)
    ]  # fmt: skip
    nulls = dict.fromkeys(("contig", "reference_contig", "pos", "ref", "alt"))
    rows += [make_row(number, 0, "invalid_record", **nulls) for number in range(2000, 2100)]
    rows += [make_row(2100, contig="new", reference_contig=None, pos=7)]
    return write_result(tmp_path / "scores.parquet", rows, row_group_rows=100)


def records(table: Path, region: str) -> list[int]:
    batches = list(find_rows(table, region))
    return [record for batch in batches for record in batch.column("record").to_pylist()]


@pytest.mark.parametrize("contig", ["3", "chr3"])
def test_rows_of_a_region_are_found_by_either_name(table: Path, contig: str):
    assert records(table, f"{contig}:11-13") == [1010, 1011, 1012]
    assert records(table, f"{contig}:500") == [1499]
    assert records(table, f"{contig}:501-900") == []
    assert records(table, contig) == list(range(1000, 1500))


def test_a_whole_contig_has_position_0(tmp_path: Path):
    """VCF gives position 0 to the telomere."""
    path = write_result(tmp_path / "x.parquet", [make_row(pos, pos=pos) for pos in range(3)])
    assert records(path, "chr1") == records(path, "chr1:0-2") == [0, 1, 2]
    assert records(path, "chr1:1-2") == [1, 2]


def test_a_contig_that_the_reference_lacks_is_found(table: Path):
    assert records(table, "new:1-10") == [2100]


def test_statistics_skip_row_groups(table: Path):
    assert find_row_groups(table, Region("chr3", 10, 13)) == [10]
    assert find_row_groups(table, Region("chr3", 89, 110)) == [10, 11]
    assert find_row_groups(table, Region("2")) == [5, 6, 7, 8, 9]
    assert find_row_groups(table, Region("new", 6, 7)) == [21]
    assert find_row_groups(table, Region("chr3", 500, 600)) == []


def test_row_groups_without_statistics_are_read(tmp_path: Path):
    name = "long" * 3000  # parquet keeps no statistics of values this long
    path = write_result(tmp_path / "x.parquet", [make_row(0, contig=name, reference_contig=name)])
    assert find_row_groups(path, Region(name, 99, 100)) == [0]
    assert records(path, f"{name}:100") == [0]


def test_rows_come_whole(table: Path):
    (batch,) = find_rows(table, "chr1:5")
    assert isinstance(batch, pa.RecordBatch)
    assert batch.to_pylist()[0]["llr"] == make_row(4)["llr"]
