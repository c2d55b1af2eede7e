"""Line ends of every text format: the rows are those of the file with line feeds."""

from pathlib import Path

import pysam
import pytest

from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import open_variants

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
VCF = HEADER + "".join(f"MT\t{pos}\t.\tC\tA\t.\t.\tNOTE=n{pos}\n" for pos in (5, 12, 13, 20))
FILES = {
    "vcf": VCF,
    "vcf without header": VCF.removeprefix(HEADER),
    "tsv": "contig\tpos\tref\talt\tNOTE\n" + "MT\t5\tC\tA\tx\n" * 4,
    "csv": "contig,pos,ref,alt,NOTE\n" + 'MT,5,"C",A,"x, y"\n' * 4,
    "list": "MT-5-C-A\nMT-6-C-A\nMT:7:C:A\nMT-8-C-A\n",
    "bed": "track name=x\nMT\t4\t5\ta\nMT\t6\t7\tb\nMT\t7\t8\tc\nMT\t9\t10\td\n",
}
ENDS = ["\r\n", "\r", "\r\r\n", "\n\r"]


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    path = tmp_path / "MT.fa"
    path.write_text(">MT\n" + "ACGT" * 10 + "\n")
    return Reference(path)


def read(path: Path, reference: Reference) -> list[tuple[object, ...]]:
    saturate = ["snv"] if path.name == "bed" else []
    carry = ["NOTE"] if path.name not in ("list", "bed") else []
    source = open_variants(path, carry=carry, saturate=saturate, reference=reference)
    return [(v.record, v.contig, v.pos, v.ref, v.alt, v.status, v.carried) for v in source]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("last", [True, False])
def test_the_rows_do_not_depend_on_the_line_ends(
    tmp_path: Path, reference: Reference, name: str, end: str, last: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name].encode())
    expected = read(path, reference)
    text = FILES[name] if last else FILES[name].removesuffix("\n")
    path.write_bytes(text.replace("\n", end).encode())
    assert read(path, reference) == expected
    assert len({row[0] for row in expected}) == 4


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("num_feeds", [1, 2, 3, 4])
def test_a_file_with_two_line_ends_loses_no_row(
    tmp_path: Path, reference: Reference, name: str, num_feeds: int
) -> None:
    """The first lines end with line feeds, the others with carriage returns; and the reverse."""
    path = tmp_path / name
    path.write_bytes(FILES[name].encode())
    expected = read(path, reference)
    lines = FILES[name].splitlines()
    for first, then in (("\n", "\r"), ("\r", "\n"), ("\r\n", "\r"), ("\r", "\r\n")):
        text = "".join(line + (first if n < num_feeds else then) for n, line in enumerate(lines))
        path.write_bytes(text.encode())
        assert read(path, reference) == expected


def test_every_second_line_end_is_a_return(tmp_path: Path, reference: Reference) -> None:
    path = tmp_path / "vcf"
    path.write_bytes(VCF.encode())
    expected = read(path, reference)
    lines = VCF.splitlines()
    for shift in (0, 1):
        ends = ("\r", "\n") if shift else ("\n", "\r")
        path.write_bytes("".join(line + ends[n % 2] for n, line in enumerate(lines)).encode())
        assert read(path, reference) == expected


BAD = ["MT\tx\t.\tC\tA\t.\t.\t.", "MT\t7\t.\tC", "rubbish", "MT\t\t.\tC\tA"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", [2, 3, 6])
@pytest.mark.parametrize("header", ["\n", "\r"])
def test_a_bad_line_between_returns_stays_a_row(
    tmp_path: Path, reference: Reference, bad: str, place: int, header: str
) -> None:
    lines = VCF.splitlines()
    lines.insert(place, bad)
    path = tmp_path / "vcf"
    path.write_bytes((header.join(lines[:2]) + header + "\r".join(lines[2:])).encode())
    statuses = [row[5] for row in read(path, reference)]
    assert statuses.count("invalid_record") == 1
    assert len(statuses) == 5
    assert statuses[place - 2] == "invalid_record"


@pytest.mark.parametrize(
    "value",
    ["a\rb", "a\r", "\ra", "a\rb\rc", "a\rb;DP=5", "a\r5", "#\r#", "\r\r"],
)
@pytest.mark.parametrize("samples", ["", "\tGT\t0/1\t1/1\t./.\t0/0\t0/1\t0/1\t1|0"])
def test_a_return_inside_a_value_makes_no_row(
    tmp_path: Path, reference: Reference, value: str, samples: str
) -> None:
    """htslib reads a lone carriage return as part of the value; so do we."""
    names = "".join(f"\ts{n}" for n in range(samples.count("\t") - 1))
    names = f"\tFORMAT{names}" if samples else ""
    text = (
        "##fileformat=VCFv4.2\n"
        '##INFO=<ID=NOTE,Number=1,Type=String,Description="x\ry">\n'
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
        "##contig=<ID=MT,length=40>\n"
        f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO{names}\n"
        f"MT\t5\t.\tC\tA\t.\t.\tNOTE={value}{samples}\n"
        f"MT\t6\t.\tC\tA\t.\t.\tNOTE=z{samples}\n"
    )
    path = tmp_path / "vcf"
    path.write_bytes(text.encode())
    rows = read(path, reference)
    with pysam.VariantFile(str(path)) as file:
        expected = [(record.pos, record.ref, record.alts[0]) for record in file]
    assert [(row[2], row[3], row[4]) for row in rows] == expected == [(5, "C", "A"), (6, "C", "A")]
    assert rows[1][6] == ("z",)
