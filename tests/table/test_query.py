from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.table.query import Region, find_row_groups, find_rows, parse_region
from tests.table.build import make_row, write_result

CONTIGS = ["chr17", "chr1", "HLA-A*01:01", "HLA-A*01", "a:1-2", "a", "{odd}", "c,d"]
END = 2**63 - 1


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("chr17", Region("chr17", 0, END)),
        ("chr17:43,044,295-43,045,000", Region("chr17", 43044295, 43045000)),
        ("chr17:43044295-43045000", Region("chr17", 43044295, 43045000)),
        ("chr17:5", Region("chr17", 5, 5)),
        ("chr17:5-", Region("chr17", 5, END)),
        ("{chr17}:5-6", Region("chr17", 5, 6)),
        ("HLA-A*01:01:7-8", Region("HLA-A*01:01", 7, 8)),
        ("{HLA-A*01}:01", Region("HLA-A*01", 1, 1)),
        ("{HLA-A*01:01}", Region("HLA-A*01:01", 0, END)),
        ("a:1-3", Region("a", 1, 3)),
        ("{a:1-2}:4", Region("a:1-2", 4, 4)),
        ("{{odd}}:4", Region("{odd}", 4, 4)),
        ("c,d:1,0", Region("c,d", 10, 10)),
    ],
)
def test_regions_are_read(text: str, region: Region):
    assert parse_region(text, CONTIGS) == region


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("HLA-A*01:01", r"two ways. Put the contig's name in braces, as in \{HLA-A\*01:01\}"),
        ("a:1-2", "two ways"),
        ("chr17:9-5", "ends before it begins"),
        ("chr18:1-5", r"no contig 'chr18'\. It has 'chr1', 'chr17', \.\.\."),
        ("chr17:1-x", "no contig 'chr17:1-x'"),
        ("chr17:-5", "no contig"),
        ("chr17:,-5", "no contig"),
        ("chr17:1-99999999999999999999", "no contig"),
        ("", "no contig ''"),
        ("{chr17}x", "no contig"),
        ("\x1b[0m\n", r"no contig '\\x1b\[0m\\n'"),
    ],
)
def test_what_is_no_region_is_one_line(text: str, message: str):
    with pytest.raises(InputError, match=message) as raised:
        parse_region(text, CONTIGS)
    assert str(raised.value).isprintable()


def test_a_table_without_rows_has_no_regions(tmp_path: Path):
    path = write_result(tmp_path / "x.parquet", [])
    with pytest.raises(InputError, match="the table names no contig at all"):
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


def test_a_contig_that_the_reference_lacks_is_found(table: Path):
    assert records(table, "new:1-10") == [2100]


def test_statistics_skip_row_groups(table: Path):
    assert find_row_groups(table, Region("chr3", 11, 13)) == [10]
    assert find_row_groups(table, Region("chr3", 90, 110)) == [10, 11]
    assert find_row_groups(table, Region("2", 0, END)) == [5, 6, 7, 8, 9]
    assert find_row_groups(table, Region("new", 7, 7)) == [21]
    assert find_row_groups(table, Region("chr3", 501, 600)) == []


def test_row_groups_without_statistics_are_read(tmp_path: Path):
    name = "long" * 3000  # parquet keeps no statistics of values this long
    path = write_result(tmp_path / "x.parquet", [make_row(0, contig=name, reference_contig=name)])
    assert find_row_groups(path, Region(name, 100, 100)) == [0]
    assert records(path, f"{name}:100") == [0]


def test_rows_come_whole(table: Path):
    (batch,) = find_rows(table, "chr1:5")
    assert isinstance(batch, pa.RecordBatch)
    assert batch.to_pylist()[0]["llr"] == make_row(4)["llr"]
