"""Header lines and data lines of VCF and BCF."""

import gzip
from pathlib import Path

import pysam
import pysam.bcftools
import pytest

from evo2_tasks.io.vcf_text import VcfHeader, parse_position, read_vcf, split_header

TEXT = b"""\
##fileformat=VCFv4.3
##contig=<ID=chr1,length=1000>
##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth, of \\"good\\" reads">
##INFO=<ID=DB,Number=0,Type=Flag,Description="In dbSNP">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\ts2
chr1\t10\trs1\tA\tC,G\t50\tPASS\tDP=3;DB\tGT\t0/1\t0/0
chr1\t20\t.\tACG\t<DEL>\t.\t.\t.\tGT\t./.\t1/1
"""


@pytest.mark.parametrize("packing", ["plain", "gzip", "bgzip", "crlf", "mark"])
def test_lines_do_not_depend_on_the_packing(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "a.vcf"
    content = {
        "gzip": gzip.compress(TEXT),
        "crlf": TEXT.replace(b"\n", b"\r\n"),
        "mark": b"\xef\xbb\xbf" + TEXT,
    }.get(packing, TEXT)
    path.write_bytes(content)
    if packing == "bgzip":
        pysam.tabix_compress(str(path), str(tmp_path / "a.vcf.gz"))
        path = tmp_path / "a.vcf.gz"
    header, lines = read_vcf(path)
    expected = TEXT.splitlines()
    assert header == VcfHeader(tuple(expected[:5]), expected[5])
    assert list(lines) == [(7, expected[6]), (8, expected[7])]


@pytest.mark.parametrize("samples", [True, False])
def test_lines_of_bcf_are_those_of_bcftools(tmp_path: Path, samples: bool) -> None:
    (tmp_path / "a.vcf").write_bytes(TEXT)
    path = str(tmp_path / "a.bcf")
    pysam.bcftools.view("-Ob", "-o", path, str(tmp_path / "a.vcf"), catch_stdout=False)
    options = [] if samples else ["--drop-genotypes"]
    expected = pysam.bcftools.view("-H", *options, path).encode().splitlines()
    _, lines = read_vcf(Path(path), samples=samples)
    assert [line for _, line in lines] == expected


def test_blank_lines_and_comments_are_numbered_and_left_out() -> None:
    lines = [b"##a=b", b"", b"#c", b"x\t1", b"  \t", b"#CHROM\tPOS", b"y\t2"]
    header, data = split_header(lines, Path("a.vcf"))
    assert header == VcfHeader((b"##a=b",), None)
    assert list(data) == [(4, b"x\t1"), (7, b"y\t2")]


def test_definitions_are_those_that_htslib_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    path.write_bytes(TEXT)
    header, _ = read_vcf(path)
    assert header.version() == (4, 3)
    with pysam.VariantFile(str(path)) as file:
        fields = {name: (str(field.number), field.type) for name, field in file.header.info.items()}
        lengths = {name: contig.length for name, contig in file.header.contigs.items()}
    definitions = list(header.definitions("INFO"))
    assert {one["ID"]: (one["Number"], one["Type"]) for one in definitions} == fields
    assert definitions[0]["Description"] == 'Depth, of "good" reads'
    contigs = header.definitions("contig")
    assert {one["ID"]: int(one["length"]) for one in contigs} == lengths


@pytest.mark.parametrize(
    ("text", "pos"),
    [
        (b"0", 0),
        (b"-5", -5),
        (b"+5", 5),
        (b"007", 7),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"9223372036854775808", None),
        (b"-9223372036854775809", None),
        (b"0" * 5000 + b"7", 7),
        (b"9" * 5000, None),
        ("٣".encode(), None),
        (b"1e3", None),
        (b"0x10", None),
        (b"--1", None),
        (b"", None),
    ],
)
def test_positions_are_integers_of_64_bits(text: bytes, pos: int | None) -> None:
    assert parse_position(text) == pos
