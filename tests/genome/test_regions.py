"""Regions as users write them."""

from pathlib import Path

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.regions import Region, find_regions, parse_region

CONTIGS = ["chr17", "chr1", "HLA-A*01:01", "HLA-A*01", "a:1-2", "a", "{odd}", "c,d"]


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("chr17", Region("chr17")),
        ("chr17:43,044,295-43,045,000", Region("chr17", 43044294, 43045000)),
        ("chr17:43044295-43045000", Region("chr17", 43044294, 43045000)),
        ("chr17:5", Region("chr17", 4, 5)),
        ("chr17:5-", Region("chr17", 4)),
        ("{chr17}:5-6", Region("chr17", 4, 6)),
        ("HLA-A*01:01:7-8", Region("HLA-A*01:01", 6, 8)),
        ("{HLA-A*01}:01", Region("HLA-A*01", 0, 1)),
        ("HLA-A*01:01", Region("HLA-A*01:01")),
        ("a:1-2", Region("a:1-2")),
        ("{a}:1-2", Region("a", 0, 2)),
        ("{HLA-A*01:01}", Region("HLA-A*01:01")),
        ("a:1-3", Region("a", 0, 3)),
        ("{a:1-2}:4", Region("a:1-2", 3, 4)),
        ("{{odd}}:4", Region("{odd}", 3, 4)),
        ("c,d:1,0", Region("c,d", 9, 10)),
    ],
)
def test_regions_are_read(text: str, region: Region):
    assert parse_region(text, CONTIGS, Path("a")) == region


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr17:9-5", "ends before it begins"),
        ("chr18:1-5", r"no contig 'chr18'; there are 'chr1', 'chr17', \.\.\."),
        (
            "chr17:1-x",
            r"'1-x' is not a range of positions\. Expected",
        ),
        ("chr17:-5", "'-5' is not a range"),
        ("chr17:,-5", "not a range"),
        ("chr17:1-99999999999999999999", "not a range"),
        ("", "no contig ''"),
        ("{chr17}x", "'x' is not a range"),
        ("{chr18}:5", "no contig 'chr18'"),
        ("\x1b[0m\n", r"no contig '\\x1b\[0m\\n'"),
    ],
)
def test_what_is_no_region_is_one_line(text: str, message: str):
    with pytest.raises(InputError, match=f"a: region .*{message}") as raised:
        parse_region(text, CONTIGS, Path("a"))
    assert str(raised.value).isprintable()


def test_regions_are_sorted_and_merged() -> None:
    found = find_regions(["b:5-9", "a:1,000-2,000", "b:1-4", "b:20-30"], ["a", "b"], Path("f"))
    assert found == [Region("a", 999, 2000), Region("b", 0, 9), Region("b", 19, 30, 9)]
    assert find_regions(["x:1-2"], ["x:1-2", "x"], Path("f"))[0].contig == "x:1-2"
