"""BCF, and regions through an index."""

import gzip
import logging
import random
from pathlib import Path

import pysam
import pysam.bcftools
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.regions import find_regions
from evo2_tasks.genome.variants import VariantSource, open_variants

HEADER = (
    "##fileformat=VCFv4.2\n"
    "##contig=<ID=1,length=100000>\n##contig=<ID=2,length=100000>\n##contig=<ID=3>\n"
    '##FILTER=<ID=q10,Description="q">\n'
    '##INFO=<ID=AF,Number=A,Type=Float,Description="f">\n'
    '##INFO=<ID=DB,Number=0,Type=Flag,Description="d">\n'
    '##INFO=<ID=NOTE,Number=1,Type=String,Description="n">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\ts2\n"
)
CARRY = ("ID", "QUAL", "FILTER", "AF", "DB", "NOTE")


def make_rows(num_rows: int) -> list[str]:
    rng = random.Random(1)
    rows = []
    for contig in ("1", "2"):
        for pos in sorted(rng.sample(range(1, 90_000), num_rows)):
            ref = "".join(rng.choice("ACGT") for _ in range(rng.choice([1, 1, 1, 5, 400])))
            alts = rng.choice(["<DEL>", ".", "*", "N", "A,C,<NON_REF>", "TTTT", "a"])
            af = ",".join(["0.25"] * len(alts.split(",")))
            info = rng.choice([".", f"AF={af};DB", "NOTE=x y"])
            filters = rng.choice([".", "PASS", "q10"])
            rows.append(f"{contig}\t{pos}\t.\t{ref}\t{alts}\t1.5\t{filters}\t{info}\tGT\t0/1\t.")
    return rows


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same records as VCF, and indexed as bgzipped VCF and as BCF."""
    folder = tmp_path_factory.mktemp("bcf")
    text = folder / "a.vcf"
    text.write_text(HEADER + "\n".join(make_rows(1500)) + "\n")
    paths = {"text": text, "vcf": folder / "a.vcf.gz", "bcf": folder / "a.bcf"}
    pysam.bcftools.view("-Oz", "-o", str(paths["vcf"]), str(text), catch_stdout=False)
    pysam.bcftools.view("-Ob", "-o", str(paths["bcf"]), str(text), catch_stdout=False)
    pysam.tabix_index(str(paths["vcf"]), preset="vcf")
    pysam.bcftools.index(str(paths["bcf"]))
    return paths


def rows_of(source: VariantSource) -> list[tuple[object, ...]]:
    return [(v.record, v.allele, v.contig, v.pos, v.ref, v.alt, v.carried) for v in source]


def test_bcf_gives_the_rows_of_its_vcf(files: dict[str, Path]) -> None:
    source = open_variants(files["bcf"], carry=CARRY)
    assert source.format == "bcf"
    assert rows_of(source) == rows_of(open_variants(files["text"], carry=CARRY))
    assert source.carry_fields == open_variants(files["text"], carry=CARRY).carry_fields
    assert source.count() == source.counts


REGIONS = [
    ["1"],
    ["3"],
    ["2:1-20,000"],
    ["2:500-60000", "1:1-300"],
    ["1:5000-9000", "1:8000-12000", "1:12001-12001", "1:40000"],
    ["1:5000-5100", "1:5300-5400", "1:5500-"],
]


@pytest.mark.parametrize("regions", REGIONS)
@pytest.mark.parametrize("kind", ["vcf", "bcf"])
def test_regions_give_each_overlapping_record_once(
    files: dict[str, Path], kind: str, regions: list[str]
) -> None:
    spans = [(r.contig, r.start, r.end) for r in find_regions(regions, ["1", "2", "3"], Path("a"))]
    expected, kept = [], -1
    last = None
    for record, *row in rows_of(open_variants(files["text"], carry=CARRY)):
        start, end = row[2] - 1, row[2] - 1 + len(row[3])
        if any(row[1] == name and start < stop and end > first for name, first, stop in spans):
            kept += record != last
            last = record
            expected.append((kept, *row))
    source = open_variants(files[kind], carry=CARRY, regions=regions)
    assert rows_of(source) == expected
    assert source.count() == source.counts


@pytest.mark.parametrize("kind", ["vcf", "bcf"])
@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("chr1:1-5", "region 'chr1:1-5': there is no contig 'chr1'; there are '1', '2', '3'"),
        ("1:0-5", "region '1:0-5': positions must be between 1 and [0-9,]+"),
        ("1:9-5", "region '1:9-5': ends before it begins"),
        ("1:x", "region '1:x': 'x' is not a range of positions"),
    ],
)
def test_what_is_no_region_is_an_error(
    files: dict[str, Path], kind: str, region: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_variants(files[kind], regions=[region])


FAR = HEADER.replace("100000", "5000000000") + "".join(
    f"{contig}\t{pos}\t.\tA\tC\t.\t.\t.\tGT\t0/1\t.\n"
    for contig in ("1", "2")
    for pos in (5, 2**29 - 1, 2**29, 2**29 + 1, 600_000_000, 2**31 - 2, 2**31, 2**32 + 5)
)
FAR_REGIONS = [
    *("1", "2", "1:5", "1:536,870,912", "2:536870913-", "1:600,000,000-600,000,001"),
    *("1:2147483646", "1:2147483648-", "2:4294967301", "1:1-3000000000", "1:4294967302-"),
]


@pytest.mark.parametrize("tool", ["bcftools", "tabix"])
@pytest.mark.parametrize("min_shift", [9, 14, 20])
def test_regions_beyond_512_mb_are_those_of_bcftools(
    tmp_path: Path, tool: str, min_shift: int
) -> None:
    path = tmp_path / "a.vcf.gz"
    with pysam.BGZFile(str(path), "wb") as file:
        file.write(FAR.encode())
    if tool == "bcftools":
        pysam.bcftools.index("-c", "-m", str(min_shift), str(path), catch_stdout=False)
    else:
        pysam.tabix_index(str(path), preset="vcf", csi=True, min_shift=min_shift)
    assert [file.suffix for file in tmp_path.iterdir() if file != path] == [".csi"]
    found = {}
    for region in FAR_REGIONS:
        bare = region.replace(",", "")  # bcftools takes a comma for the start of the next region
        lines = pysam.bcftools.view("-H", "-r", bare, str(path)).splitlines()
        expected = [(line.split("\t")[0], int(line.split("\t")[1])) for line in lines]
        found[region] = [(v.contig, v.pos) for v in open_variants(path, regions=[region])]
        assert found[region] == expected
    assert len(found["1"]) == 8
    assert len(found["2:4294967301"]) == 1


@pytest.mark.parametrize("last", [100_000, 10**12])
def test_a_region_may_end_beyond_what_a_format_can_state(files: dict[str, Path], last: int) -> None:
    expected = rows_of(open_variants(files["vcf"], regions=["1"]))
    for kind in ("vcf", "bcf"):
        assert rows_of(open_variants(files[kind], regions=[f"1:1-{last}"])) == expected
    with pytest.raises(InputError, match="positions must be between 1 and 2,147,483,647"):
        open_variants(files["bcf"], regions=["1:2147483648-2147483650"])
    assert rows_of(open_variants(files["vcf"], regions=["1:2147483648-2147483650"])) == []


def test_the_csi_is_read_if_there_are_both_indexes(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.vcf.gz"
    path.write_bytes(files["vcf"].read_bytes())
    pysam.bcftools.index("-c", str(path), catch_stdout=False)
    expected = rows_of(open_variants(path, regions=["1"]))
    (tmp_path / "a.vcf.gz.tbi").write_bytes(b"rubbish")
    assert rows_of(open_variants(path, regions=["1"])) == expected
    (tmp_path / "a.vcf.gz.csi").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="The file or its index is damaged; make them again"):
        open_variants(path, regions=["1"])


@pytest.mark.parametrize("end", ["\r\n", "\r\r\n"])
def test_regions_do_not_depend_on_the_line_ends(
    files: dict[str, Path], tmp_path: Path, end: str
) -> None:
    path = tmp_path / "a.vcf.gz"
    with pysam.BGZFile(str(path), "wb") as file:
        file.write(files["text"].read_bytes().replace(b"\n", end.encode()))
    pysam.tabix_index(str(path), preset="vcf")
    expected = rows_of(open_variants(files["vcf"], carry=CARRY, regions=["2:1-50000"]))
    assert rows_of(open_variants(path, carry=CARRY, regions=["2:1-50000"])) == expected


@pytest.mark.parametrize("place", [0, 1, -2])
def test_records_that_the_index_hides_are_an_error(tmp_path: Path, place: int) -> None:
    """tabix indexes lines that end with line feeds, and not the records behind a return."""
    rows = [f"1\t{pos}\t.\tA\tC\t.\t.\t.\tGT\t0/1\t.\n" for pos in range(1, 90_000)]
    rows[place] = rows[place].replace("\n", "\r")
    path = tmp_path / "a.vcf.gz"
    with pysam.BGZFile(str(path), "wb") as file:
        file.write((HEADER + "".join(rows)).encode())
    pysam.tabix_index(str(path), preset="vcf")
    with pytest.raises(InputError, match="the index does not list the records behind them"):
        list(open_variants(path, regions=["1"]))


@pytest.mark.parametrize(
    ("name", "command"), [("a.vcf.gz", "tabix -p vcf"), ("a.bcf", "bcftools index")]
)
def test_regions_without_index_say_how_to_make_one(
    tmp_path: Path, files: dict[str, Path], name: str, command: str
) -> None:
    path = tmp_path / name
    path.write_bytes(files[name.split(".")[1]].read_bytes())
    with pytest.raises(InputError, match=command):
        open_variants(path, regions=["1"])


def test_regions_of_plain_text_say_what_to_do(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bgzip FILE"):
        open_variants(files["text"], regions=["1"])
    (tmp_path / "a.vcf.gz").write_bytes(gzip.compress(files["text"].read_bytes()))
    with pytest.raises(InputError, match="bgzip FILE"):
        open_variants(tmp_path / "a.vcf.gz", regions=["1"])


def test_a_header_whose_numbers_have_gaps(tmp_path: Path) -> None:
    """Listing the contigs of such a header fails in pysam 0.24."""
    text = HEADER.replace("ID=2,", "ID=2,IDX=7,").replace("ID=1,", "ID=1,IDX=0,")
    (tmp_path / "a.vcf").write_text(text + "\n".join(make_rows(5)) + "\n")
    pysam.bcftools.view(
        "-Ob", "-o", str(tmp_path / "a.bcf"), str(tmp_path / "a.vcf"), catch_stdout=False
    )
    pysam.bcftools.index(str(tmp_path / "a.bcf"))
    assert len(list(open_variants(tmp_path / "a.bcf"))) > 10
    assert {v.contig for v in open_variants(tmp_path / "a.bcf", regions=["2"])} == {"2"}


def test_latin1_text_in_bcf(tmp_path: Path) -> None:
    row = "1\t5\tné\tA\tC\t.\t.\tNOTE=é\tGT\t.\t.\n"
    (tmp_path / "a.vcf").write_bytes((HEADER + row).encode("latin-1"))
    pysam.bcftools.view(
        "-Ob", "-o", str(tmp_path / "a.bcf"), str(tmp_path / "a.vcf"), catch_stdout=False
    )
    (variant,) = open_variants(tmp_path / "a.bcf", carry=["ID", "NOTE"])
    assert variant.carried == ("né", "é")


def test_damaged_bcf_never_loses_rows_silently(
    tmp_path: Path, files: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    whole = files["bcf"].read_bytes()
    num_rows = len(rows_of(open_variants(files["bcf"])))
    rng = random.Random(2)
    path = tmp_path / "a.bcf"
    errors = 0
    for number in range(150):
        data = bytearray(whole)
        if number % 3 == 0:
            data = data[: rng.randrange(4, len(data))]
        else:
            data[rng.randrange(len(data) - 28)] ^= rng.randrange(1, 256)
        path.write_bytes(bytes(data))
        errors += read_fails(path, num_rows)
    assert errors > 140
    captured = capfd.readouterr()
    assert not captured.err
    assert not captured.out


def read_fails(path: Path, num_rows: int) -> bool:
    """Whether reading ends in one clear line; if it does not, all rows must be there."""
    logging.disable(logging.CRITICAL)
    try:
        assert len(rows_of(open_variants(path))) == num_rows
    except InputError as error:
        return "\n" not in str(error)
    finally:
        logging.disable(logging.NOTSET)
    return False


def test_damaged_uncompressed_bcf_ends_in_rows_or_one_line(
    tmp_path: Path, files: dict[str, Path]
) -> None:
    """Without checksums damage can look like data: every record read is a row then."""
    whole = gzip.decompress(files["bcf"].read_bytes())[:6_000]
    rng = random.Random(3)
    path = tmp_path / "a.bcf"
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(data))
        try:
            source = open_variants(path)
            assert len(rows_of(source)) == source.count().alleles
        except InputError as error:
            message = str(error)
            assert "\n" not in message


def test_a_tab_inside_a_field_does_not_shift_columns(tmp_path: Path) -> None:
    row = "1\t5\tID_WITH_TAB\tA\tC\t.\t.\t.\tGT\t.\t.\n"
    (tmp_path / "a.vcf").write_text(HEADER + row)
    pysam.bcftools.view(
        "-Ob", "-o", str(tmp_path / "a.bcf"), str(tmp_path / "a.vcf"), catch_stdout=False
    )
    plain = gzip.decompress((tmp_path / "a.bcf").read_bytes())
    (tmp_path / "a.bcf").write_bytes(plain.replace(b"ID_WITH_TAB", b"ID\tWITH\nTAB"))
    assert [v.status for v in open_variants(tmp_path / "a.bcf")] == ["invalid_record"]
