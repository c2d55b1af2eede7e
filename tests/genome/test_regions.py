"""Regions as users write them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pysam
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.regions import Region, find_regions, parse_region
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.table.query import find_rows
from tests.project import COLUMNS
from tests.table.build import make_row, write_result

CONTIGS = ["chr17", "chr1", "HLA-A*01:01", "HLA-A*01", "a:1-2", "a", "{odd}", "c,d", "x:1"]
CONTIGS += ["y", "y:1:1", "a:b", "{a}"]


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
        ("x:1", Region("x:1")),
        ("y:1", Region("y", 0, 1)),
        ("y:1:1", Region("y:1:1")),
        ("a:b", Region("a:b")),
        ("{a}:1-2", Region("a", 0, 2)),
        ("{HLA-A*01:01}", Region("HLA-A*01:01")),
        ("a:1-3", Region("a", 0, 3)),
        ("{a:1-2}:4", Region("a:1-2", 3, 4)),
        ("{{odd}}:4", Region("{odd}", 3, 4)),
        ("{odd}", Region("{odd}")),
        ("{odd}:4", Region("{odd}", 3, 4)),
        ("{a}", Region("a")),
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
        (
            "HLA-A*01:01",
            r"is the name of a contig, and also a range of positions on the contig 'HLA-A\*01'\. "
            r"Write '{HLA-A\*01:01}' for the whole contig, or '{HLA-A\*01}:01' for the positions",
        ),
        ("a:1-2", r"Write '{a:1-2}' for the whole contig, or '{a}:1-2'"),
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
    assert find_regions(["{x:1-2}"], ["x:1-2", "x"], Path("f"))[0].contig == "x:1-2"


NAMES = ["a", "a:1", "a:1-2", "a:1:1", "b:1", "c", "c:1:1-2", "d"]
TEXTS = {
    f"{brace[0]}{name}{brace[1]}{span}"
    for name in ["a", "a:1", "a:1-2", "b", "b:1", "c", "c:1", "d", "d:1", "e"]
    for brace in [("", ""), ("{", "}")]
    for span in ["", ":1-2", ":2-4", ":1-"]
} - {"c:1", "d:1"}
"""All but single positions, which htslib reads as the start of a range, and we as bcftools does."""


def find_by_htslib(vcf: Path) -> dict[str, list[str] | None]:
    """The IDs of the records of each region; None for what htslib refuses."""
    found: dict[str, list[str] | None] = {}
    verbosity = pysam.set_verbosity(0)
    with pysam.TabixFile(str(vcf)) as file:
        for text in TEXTS:
            try:
                found[text] = [line.split("\t")[2] for line in file.fetch(region=text)]
            except ValueError:
                found[text] = None
    pysam.set_verbosity(verbosity)
    return found


@pytest.mark.parametrize("has_header", [True, False])
def test_regions_and_query_read_names_with_colons_as_htslib_does(
    tmp_path: Path, has_header: bool
) -> None:
    places = [(name, pos) for name in NAMES for pos in (1, 2, 9)]
    header = [f"##contig=<ID={name}>" for name in NAMES] if has_header else []
    lines = ["##fileformat=VCFv4.2", *header, COLUMNS.rstrip()]
    lines += [f"{name}\t{pos}\t{name}@{pos}\tA\tC\t.\t.\t." for name, pos in places]
    (tmp_path / "in.vcf").write_text("\n".join(lines) + "\n")
    vcf = Path(pysam.tabix_index(str(tmp_path / "in.vcf"), preset="vcf", keep_original=True))
    sources = [vcf]
    if has_header:
        sources.append(tmp_path / "in.bcf")
        with (
            pysam.VariantFile(str(vcf)) as text,
            pysam.VariantFile(str(sources[1]), "wb", header=text.header) as bcf,
        ):
            for record in text:
                bcf.write(record)
        pysam.tabix_index(str(sources[1]), preset="bcf")
    rows = [
        make_row(number, contig=name, reference_contig=name, pos=pos)
        for number, (name, pos) in enumerate(places)
    ]
    table = write_result(tmp_path / "scores.parquet", rows)

    def query(region: str) -> list[str]:
        batches = [batch.to_pydict() for batch in find_rows(table, region)]
        found = [place for one in batches for place in zip(one["contig"], one["pos"], strict=True)]
        return [f"{contig}@{pos}" for contig, pos in found]

    def read(source: Path, region: str) -> list[str]:
        variants = open_variants(source, regions=[region])
        return [f"{variant.contig}@{variant.pos}" for variant in variants]

    readers: list[Callable[[str], list[str]]] = [query, *(partial(read, one) for one in sources)]
    for text, expected in find_by_htslib(vcf).items():
        for reader in readers:
            if expected is None:
                with pytest.raises(InputError, match=r"no contig|Write '\{"):
                    reader(text)
            else:
                assert reader(text) == expected, (text, reader)
