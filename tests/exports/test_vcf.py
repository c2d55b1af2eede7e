from __future__ import annotations

import gzip
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pysam
import pysam.bcftools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.exports.vcf import VCF_COLUMNS, export_vcf
from evo2_tasks.genome.records import CarryField
from evo2_tasks.table.provenance import canonical_json
from evo2_tasks.table.schema import FINAL_COLUMNS, SCORE_COLUMNS, STATUSES
from tests.table.build import Row, make_row, signature, slow_disk, write_result

META = """\
##fileformat=VCFv4.2
##contig=<ID=chr1,length=1000000>
##contig=<ID=chr2,length=1000000>
##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth, \\"raw\\"">
##INFO=<ID=DB,Number=0,Type=Flag,Description="In dbSNP">
##INFO=<ID=END,Number=1,Type=Integer,Description="End">
##INFO=<ID=SVTYPE,Number=1,Type=String,Description="Kind">
##FILTER=<ID=q10,Description="Quality below 10">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
"""
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
SAMPLES = "\tFORMAT\tNA1\tNA2"
DATA = """\
chr1\t10\trs1\tA\tC\t50\tPASS\tDP=3\tGT\t0/1\t0/0
chr1\t20\t.\ta\tg,T,*\t.\t.\t.\tGT\t1/2\t./.
chr1\t20\t.\tA\t.\t.\tq10\tDP=1;DB\tGT\t0/0\t0/0
chr1\t30\tx;y\tACG\t<DEL>\t.\t.\tEND=33;SVTYPE=DEL\tGT\t0/1\t0/0
chr2\t5\t.\tN\tN[chr1:5[\t.\t.\tDP=.\tGT\t0|1\t0/0
"""
HEAD = COLUMNS + SAMPLES + "\n"
VCF = META + HEAD + DATA


def rows_of(content: bytes) -> list[Row]:
    """A table for a VCF, made by the definitions: a row per ALT entry."""
    lines = [line for line in content.split(b"\n") if line.strip(b" \t\r") and line[:1] != b"#"]
    rows = []
    for record, line in enumerate(lines):
        cells = [decode(cell) for cell in line.removesuffix(b"\r").split(b"\t")]
        choose = random.Random(record)
        if not is_record(cells):
            nulls = dict.fromkeys(("contig", "reference_contig", "pos", "ref", "alt"))
            rows.append(make_row(record, 0, "invalid_record", **nulls))
            continue
        for number, alt in enumerate(cells[4].split(","), start=1):
            status = choose.choice(STATUSES[1:]) if choose.random() < 0.5 else "scored"
            flags = choose.choice([[], ["clipped"], ["clipped", "moved"]])
            row = make_row(
                record,
                0 if cells[4] == "." else number,
                "missing_allele" if cells[4] == "." else status,
                contig=cells[0],
                pos=int(cells[1]),
                ref=cells[3].upper() if cells[3].isalpha() else cells[3],
                alt=alt.upper() if alt.isalpha() else alt,
                flags=flags if status == "scored" and cells[4] != "." else [],
            )
            rows.append(row)
    return rows


def decode(cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell.decode("latin-1")


def is_record(cells: Sequence[str]) -> bool:
    if len(cells) < 5 or not all(cells[:5]) or not all(cells[4].split(",")):
        return False
    digits = cells[1].removeprefix("-")
    return digits.isascii() and digits.isdigit() and -(2**63) <= int(cells[1]) < 2**63


def export(folder: Path, content: bytes, name: str = "in.vcf", **options: Any) -> tuple[Any, Path]:
    source = folder / name
    source.write_bytes(content)
    rows = options.pop("rows", rows_of(content))
    table = write_result(folder / "scores.parquet", rows)
    target = folder / "out.vcf.gz"
    return export_vcf(table, target, variants=source, **options), target


def text_of(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def without_ours(content: bytes) -> bytes:
    """Take off what an export adds."""
    kept = []
    for line in content.splitlines(keepends=True):
        if line.startswith((b"##evo2_", b"##INFO=<ID=evo2_")):
            continue
        cells = line.split(b"\t")
        if not line.startswith(b"#"):
            end = b"\n" if len(cells) == 8 else b""
            entries = cells[7].removesuffix(b"\n").split(b";")
            entries = [entry for entry in entries if not entry.startswith(b"evo2_")]
            cells[7] = (b";".join(entries) or b".") + end
        kept.append(b"\t".join(cells))
    return b"".join(kept)


def bcftools_reads(path: Path) -> None:
    pysam.bcftools.view("-Ov", "-o", "/dev/null", str(path), catch_stdout=False)


def test_the_input_is_kept_whole(tmp_path: Path):
    done, target = export(tmp_path, VCF.encode())
    assert without_ours(text_of(target)) == VCF.encode()
    assert (done.records, done.annotated, done.left_out) == (5, 5, 0)
    assert done.index == tmp_path / "out.vcf.gz.tbi"
    seen = pysam.bcftools.view("--no-version", str(target), catch_stdout=True)
    assert seen.count("\n") == text_of(target).count(b"\n") + 1  # bcftools adds PASS


def test_values_stand_per_allele(tmp_path: Path):
    _, target = export(tmp_path, VCF.encode())
    rows = rows_of(VCF.encode())
    with pysam.VariantFile(str(target)) as file:
        for record, line in enumerate(file):
            alleles = [row for row in rows if row["record"] == record and row["allele"] > 0]
            if not alleles:
                assert not [key for key in line.info if key.startswith("evo2_")]
                continue
            assert line.info["evo2_status"] == tuple(row["status"] for row in alleles)
            flags = tuple("&".join(row["flags"]) or "." for row in alleles)
            assert tuple(flag or "." for flag in line.info["evo2_flags"]) == flags
            for name in SCORE_COLUMNS:
                found = line.info[f"evo2_{name}"]
                for value, row in zip(found, alleles, strict=True):
                    score = row[name]
                    assert value == (None if score is None else pytest.approx(score, rel=1e-6))


def test_numbers_have_all_digits(tmp_path: Path):
    content = (META + COLUMNS + "\nchr1\t10\t.\tA\tC\t.\t.\t.\n").encode()
    rows = [make_row(0, contig="chr1", pos=10, llr=-0.1 - 1e-17, ll_ref=1 / 3)]
    _, target = export(tmp_path, content, rows=rows)
    info = dict(
        entry.split(b"=") for entry in text_of(target).splitlines()[-1].split(b"\t")[7].split(b";")
    )
    assert float(info[b"evo2_llr"]) == rows[0]["llr"]
    assert float(info[b"evo2_ll_ref"]) == 1 / 3


def test_the_header_states_provenance_and_definitions(tmp_path: Path):
    _, target = export(tmp_path, VCF.encode())
    header = text_of(target).decode().split("#CHROM")[0].splitlines()
    assert f"##evo2_signature={canonical_json(signature())}" in header
    assert "##evo2_version=0.1.0" in header
    assert "##evo2_model=evo2-mini" in header
    with pysam.VariantFile(str(target)) as file:
        for name in VCF_COLUMNS:
            defined = file.header.info[f"evo2_{name}"]
            is_text = name in ("status", "reason", "flags")
            assert (defined.number, defined.type) == ("A", "String" if is_text else "Float")
            meaning = next(each.description for each in FINAL_COLUMNS if each.name == name)
            assert defined.description.startswith(meaning.replace("`", ""))


@pytest.mark.parametrize("packing", ["gzip", "bgzip", "crlf", "cr", "crcrlf", "mark"])
def test_packings_change_nothing(tmp_path: Path, packing: str):
    content = VCF.encode()
    ends = {"crlf": b"\r\n", "cr": b"\r", "crcrlf": b"\r\r\n"}
    if packing in ends:
        content = content.replace(b"\n", ends[packing])
    elif packing == "mark":
        content = b"\xef\xbb\xbf" + content
    (tmp_path / "plain.vcf").write_bytes(content)
    source = tmp_path / "in.vcf.gz"
    if packing == "gzip":
        source.write_bytes(gzip.compress(content))
    elif packing == "bgzip":
        pysam.tabix_compress(str(tmp_path / "plain.vcf"), str(source))
    else:
        source = tmp_path / "plain.vcf"
    table = write_result(tmp_path / "scores.parquet", rows_of(VCF.encode()))
    export_vcf(table, tmp_path / "out.vcf.gz", variants=source)
    assert without_ours(text_of(tmp_path / "out.vcf.gz")) == VCF.encode()


def test_bcf_becomes_vcf(tmp_path: Path):
    plain, packed = tmp_path / "in.vcf", tmp_path / "in.bcf"
    plain.write_text(VCF)
    pysam.bcftools.view("--no-version", "-Ob", "-o", str(packed), str(plain), catch_stdout=False)
    table = write_result(tmp_path / "scores.parquet", rows_of(VCF.encode()))
    export_vcf(table, tmp_path / "out.vcf.gz", variants=packed)
    found = without_ours(text_of(tmp_path / "out.vcf.gz"))
    assert found == pysam.bcftools.view("--no-version", str(packed), catch_stdout=True).encode()


def test_latin_1_is_kept_as_bytes(tmp_path: Path):
    content = VCF.replace("rs1", "caf\xe9").replace("Genotype", "Z\xfcrich").encode("latin-1")
    _, target = export(tmp_path, content)
    assert without_ours(text_of(target)) == content


def test_alleles_in_two_encodings_are_matched(tmp_path: Path):
    """The cell is not UTF-8, so both of its alleles are Latin-1, as in the table."""
    content = (META + COLUMNS + "\n").encode() + b"chr1\t10\t.\tA\t\xe9,\xc3\xa9\t.\t.\t.\n"
    done, target = export(tmp_path, content)
    assert done.annotated == 1
    assert without_ours(text_of(target)) == content


@pytest.mark.parametrize(
    ("content", "repaired"),
    [
        (DATA, "##fileformat=VCFv4.2\n" + COLUMNS + "\tFORMAT\tsample_1\tsample_2\n" + DATA),
        (HEAD + DATA, "##fileformat=VCFv4.2\n" + HEAD + DATA),
        ("##a=b\n" + VCF, META.replace("\n", "\n##a=b\n", 1) + HEAD + DATA),
        (META + "# made by x\n\n" + HEAD + DATA, VCF),
        (META + (COLUMNS + SAMPLES).replace("\t", "  ") + "\n" + DATA, VCF),
        (VCF + "\n   \n#CHROM again\n", VCF),
        (VCF.replace("VCFv4.2", "VCF\0"), VCF),
        (VCF.replace("##FORMAT", "##x=\0\n##FORMAT"), VCF),
        (VCF.replace("NA1\tNA2", "\tN\0"), VCF.replace("NA1\tNA2", "sample_1\tsample_2")),
    ],
)  # fmt: skip
def test_a_header_that_htslib_refuses_is_repaired(tmp_path: Path, content: str, repaired: str):
    _, target = export(tmp_path, content.encode())
    assert without_ours(text_of(target)).decode() == repaired
    bcftools_reads(target)


def test_missing_cells_are_filled(tmp_path: Path):
    lines = {
        "chr1\t1\t.\tA\tC": "\t.\t.\t.\t.\t.\t.",
        "chr1\t2\t.\tA\tC\t.\t.\tDP=1\tGT\t0/1": "\t.",
        "chr1\t3\t.\tA\tC\t.\t.\tDP=1\tGT\t0/1\t": ".",
    }
    _, target = export(tmp_path, "\n".join([META + COLUMNS + SAMPLES, *lines, ""]).encode())
    found = without_ours(text_of(target)).decode().splitlines()[-len(lines) :]
    assert found == [line + filled for line, filled in lines.items()]
    bcftools_reads(target)


def test_lines_that_no_vcf_holds_are_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    bad = [
        "chr1\t12",
        "chr1\tx\t.\tA\tC\t.\t.\t.",
        "chr1\t12\t.\tA\tC,\t.\t.\t.",
        "chr1\t-5\t.\tA\tC\t.\t.\t.",
        "a,b\t12\t.\tA\tC\t.\t.\t.",
        "chr1\t12\t.\tA\tC\t.\ta=<\t.",
        "chr1\t12\t.\tA\tC\t.\t.\t.\tGT:,\t.",
        "chr1\t12\t.\tA\tC\t.\t.\tDP=1; X=2",
        "chr1\t12\t.\tA\tC\0G\t.\t.\t.",
        "chr1\t9223372036854775807\t.\tA\tC\t.\t.\t.",
    ]
    lines = ["chr1\t10\t.\tA\tC\t.\t.\t.", *bad, "chr1\t20\t.\tA\tC\t.\t.\t."]
    done, target = export(tmp_path, "\n".join([META + COLUMNS, *lines, ""]).encode())
    assert (done.records, done.left_out) == (2, len(bad))
    assert without_ours(text_of(target)).decode().split("INFO\n")[1].splitlines() == [
        lines[0],
        lines[-1],
    ]
    said = f"{tmp_path / 'in.vcf'}: record 1 (line 12) is left out of the VCF: 2 columns, "
    said += "expected 5 or more."
    assert said in caplog.text
    bcftools_reads(target)


def test_an_earlier_export_is_replaced(tmp_path: Path):
    _, first = export(tmp_path, VCF.encode())
    once = text_of(first)
    (tmp_path / "again").mkdir()
    _, second = export(tmp_path / "again", once)
    assert text_of(second) == once
    _, other = export(tmp_path, once, prefix="mini.")
    assert text_of(other).count(b"evo2_llr=") == text_of(other).count(b"mini.llr=") == 4
    bcftools_reads(other)


def test_unsorted_records_are_written_without_an_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "out.vcf.gz.tbi").write_bytes(b"of an earlier file")
    for lines in (["chr1\t2", "chr1\t1"], ["chr1\t1", "chr2\t1", "chr1\t2"]):
        data = "".join(f"{line}\t.\tA\tC\t.\t.\t.\n" for line in lines)
        done, target = export(tmp_path, (META + COLUMNS + "\n" + data).encode())
        assert done.index is None
        assert without_ours(text_of(target)).endswith(data.encode())
        assert "no index was made" in caplog.text
        assert not (tmp_path / "out.vcf.gz.tbi").exists()


@pytest.mark.parametrize("length", ["600000000", "1000"])
def test_long_contigs_get_the_newer_index(tmp_path: Path, length: str):
    meta = f"##fileformat=VCFv4.2\n##contig=<ID=c,length={length}>\n"
    content = meta + COLUMNS + "\nc\t0\t.\tA\tC\t.\t.\t.\nc\t599999999\tlast\tAT\tC\t.\t.\t.\n"
    done, target = export(tmp_path, content.encode())
    assert done.index == tmp_path / "out.vcf.gz.csi"
    with pysam.VariantFile(str(target)) as file:
        assert [line.id for line in file.fetch("c", 599_999_990, 600_000_000)] == ["last"]


def test_what_no_index_can_hold_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    content = META + COLUMNS + "\nchr1\t5\t.\tA\t<DEL>\t.\t.\tEND=9223372036854775807\n"
    done, target = export(tmp_path, content.encode())
    assert (done.records, done.index) == (1, None)
    assert f"{target}: no index was made: " in caplog.text
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out.vcf.gz"]


def test_the_index_finds_records(tmp_path: Path):
    done, target = export(tmp_path, VCF.encode())
    assert done.index is not None
    with pysam.VariantFile(str(target)) as file:
        assert [line.pos for line in file.fetch("chr1", 15, 25)] == [20, 20]


def test_lines_outside_the_regions_are_kept_as_they_are(tmp_path: Path):
    lines = VCF.encode().splitlines(keepends=True)
    chosen = [lines[11], lines[13]]
    rows = rows_of(b"".join(chosen))
    done, target = export(tmp_path, VCF.encode(), rows=rows, is_part=True)
    assert (done.records, done.annotated) == (5, 2)
    assert without_ours(text_of(target)) == VCF.encode()
    annotated = [line.split("\t")[:2] for line in text_of(target).decode().splitlines()
                 if "evo2_llr=" in line]  # fmt: skip
    assert annotated == [["chr1", "20"], ["chr1", "30"]]


def test_a_table_by_position_goes_back_to_the_order_of_the_input(tmp_path: Path):
    rows = rows_of(VCF.encode())
    _, straight = export(tmp_path, VCF.encode())
    expected = text_of(straight)
    random.Random(0).shuffle(rows)
    table = write_result(tmp_path / "sorted.parquet", rows, order="position")
    export_vcf(table, tmp_path / "sorted.vcf.gz", variants=tmp_path / "in.vcf")
    assert text_of(tmp_path / "sorted.vcf.gz") == expected


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("chr1\t10\t", "chr1\t11\t", 11),
        ("\tACG\t", "\tACT\t", 14),
        ("g,T,*", "g,T", 12),
        ("chr2\t5", "chr3\t5", 15),
        (DATA.splitlines()[0] + "\n", "", 11),
        (DATA, DATA + "chr2\t9\t.\tA\tC\t.\t.\t.\n", 16),
        (DATA, "".join(DATA.splitlines(keepends=True)[:-1]), 15),
    ],
)
def test_another_file_is_refused(tmp_path: Path, old: str, new: str, line: int):
    with pytest.raises(InputError, match=f"line {line} is not the next record of "):
        export(tmp_path, VCF.replace(old, new).encode(), rows=rows_of(VCF.encode()))
    assert not list(tmp_path.glob("out*"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("size", [20, 200])
def test_a_truncated_file_is_one_line(tmp_path: Path, size: int):
    packed = gzip.compress(VCF.encode())
    with pytest.raises(InputError, match=r"in\.vcf\.gz: offset \d+: .* truncated"):
        export(tmp_path, packed[:size], "in.vcf.gz", rows=rows_of(VCF.encode()))
    assert not list(tmp_path.glob("out*"))


def test_a_broken_bcf_is_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"in\.bcf: cannot be read"):
        export(tmp_path, b"BCF\2\2rubbish", "in.bcf", rows=rows_of(VCF.encode()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["contig"]}, "'contig' cannot become an INFO field"),
        ({"prefix": "a b"}, "cannot be the start of the name"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        export(tmp_path, VCF.encode(), **options)


def test_the_name_must_say_that_it_is_compressed(tmp_path: Path):
    table = write_result(tmp_path / "scores.parquet", [])
    with pytest.raises(InputError, match=r"must end in \.vcf\.gz"):
        export_vcf(table, tmp_path / "out.vcf", variants=None)


def test_the_input_is_not_overwritten(tmp_path: Path):
    source = tmp_path / "in.vcf.gz"
    source.write_bytes(gzip.compress(VCF.encode()))
    table = write_result(tmp_path / "scores.parquet", rows_of(VCF.encode()))
    (tmp_path / "link.vcf.gz").symlink_to(source)
    with pytest.raises(InputError, match="is an input file"):
        export_vcf(table, tmp_path / "link.vcf.gz", variants=source)
    assert text_of(source) == VCF.encode()


def test_columns_of_a_strand_can_be_added(tmp_path: Path):
    columns = ["status", "llr_fwd", "window_start"]
    _, target = export(tmp_path, VCF.encode(), columns=columns)
    with pysam.VariantFile(str(target)) as file:
        assert file.header.info["evo2_window_start"].type == "Integer"
        assert [key for key in next(file).info if key.startswith("evo2_")] == [
            f"evo2_{name}" for name in columns
        ]


@pytest.mark.parametrize("info", ["", ".", "DP=1;", "DP=1;;X", "=", "evo2_llr=1", "Xevo2_llr=1"])
def test_odd_info_is_kept(tmp_path: Path, info: str):
    content = f"{META}{COLUMNS}\nchr1\t10\t.\tA\tC\t.\t.\t{info}\n"
    _, target = export(tmp_path, content.encode(), columns=["llr"])
    found = text_of(target).decode().splitlines()[-1].split("\t")[7].split(";")
    value = found.pop()
    assert value.startswith("evo2_llr=")
    assert ";".join(found) == {".": "", "evo2_llr=1": ""}.get(info, info.rstrip(";"))


HOSTILE = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1, max_size=9)
ALLELE = (
    st.sampled_from(["A", "c", "ACGT", "<DEL>", "*", "A]chr1:3]", "R", "=1+1", "<i>"]) | HOSTILE
)


@slow_disk
@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(["chr1", "chr2", "<x>", "a:b"]) | HOSTILE,
            st.integers(0, 2**31).map(str) | HOSTILE,
            HOSTILE,
            ALLELE,
            st.lists(ALLELE, min_size=1, max_size=3).map(",".join),
            st.just("."),
            st.sampled_from([".", "PASS", "a;b"]) | HOSTILE,
            st.sampled_from([".", "DP=1", "DP=1;x=<,>"]) | HOSTILE,
        ).map("\t".join),
        min_size=1,
        max_size=8,
    )
)
def test_hostile_lines_stay_lines(tmp_path_factory: pytest.TempPathFactory, lines: list[str]):
    folder = tmp_path_factory.mktemp("vcf")
    data = [line for line in lines if not line.startswith("#")]
    content = "\n".join([META + COLUMNS, *data, ""]).encode()
    done, target = export(folder, content, rows=rows_of(content))
    bcftools_reads(target)
    found = without_ours(text_of(target)).split(b"\n")
    kept = [line for line in found[10:] if line]
    assert len(kept) == done.records == len(data) - done.left_out
    assert {cut(line) for line in kept} <= {cut(line.encode()) for line in data}


def cut(line: bytes) -> bytes:
    """A line without INFO."""
    return line.rsplit(b"\t", 1)[0]


def make_sites(tmp_path: Path, rows: Sequence[Row]) -> tuple[Any, list[str], Path]:
    table = write_result(tmp_path / "scores.parquet", rows)
    target = tmp_path / "sites.vcf.gz"
    done = export_vcf(table, target, variants=None, columns=["status", "llr"])
    return done, text_of(target).decode().splitlines(), target


def test_a_table_alone_becomes_a_vcf_of_sites(tmp_path: Path):
    rows = [
        make_row(0, 1, pos=5, alt="C", llr=-1.5),
        make_row(0, 2, "too_long", pos=5, alt="CA"),
        make_row(1, 0, "missing_allele", pos=7, alt="."),
        make_row(2, 1, contig="chr2", pos=3, alt="<DEL>", status="symbolic_allele"),
    ]
    done, lines, target = make_sites(tmp_path, rows)
    assert (done.records, done.left_out) == (3, 0)
    assert lines[:3] == ["##fileformat=VCFv4.2", "##contig=<ID=chr1>", "##contig=<ID=chr2>"]
    assert lines[-4:] == [
        COLUMNS,
        "chr1\t5\t.\tA\tC,CA\t.\t.\tevo2_status=scored,too_long;evo2_llr=-1.5,.",
        "chr1\t7\t.\tA\t.\t.\t.\t.",
        "chr2\t3\t.\tA\t<DEL>\t.\t.\tevo2_status=symbolic_allele;evo2_llr=.",
    ]
    assert done.index == tmp_path / "sites.vcf.gz.tbi"
    bcftools_reads(target)


def test_alleles_of_a_region_stand_on_the_lines_of_their_sites(tmp_path: Path):
    rows = [
        make_row(0, 0, "position_out_of_range", pos=9, ref=None, alt=None),
        make_row(0, 1, pos=5, ref="TA", alt="T", llr=1.0),
        make_row(0, 2, pos=6, ref="A", alt="C", llr=2.0),
        make_row(0, 3, pos=6, ref="A", alt="G", llr=3.0),
        make_row(0, 4, pos=6, ref="AC", alt="A", llr=4.0),
        make_row(1, 1, pos=6, ref="AC", alt="A", llr=4.0),
        make_row(2, 0, "contig_not_found", contig="nowhere", pos=1, ref=None, alt=None),
    ]
    done, lines, target = make_sites(tmp_path, rows)
    assert (done.records, done.left_out) == (4, 2)
    assert [[*line.split("\t")[1:5], line.rsplit("=", 1)[1]] for line in lines[-4:]] == [
        ["5", ".", "TA", "T", "1"],
        ["6", ".", "A", "C,G", "2,3"],
        ["6", ".", "AC", "A", "4"],
        ["6", ".", "AC", "A", "4"],
    ]
    bcftools_reads(target)


def test_rows_that_no_vcf_holds_are_left_out_of_the_sites(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    nulls = dict.fromkeys(("contig", "reference_contig", "pos", "ref", "alt"))
    hostile = ["a\tb", "A\nC", "", "A,C", "\0", "A B", "é"]
    rows = [
        make_row(0, 0, "invalid_record", **nulls),
        make_row(1, contig='c",<'),
        make_row(2, pos=-1),
        *[make_row(3 + number, alt=alt) for number, alt in enumerate(hostile)],
        make_row(20, pos=9, contig="fine"),
    ]
    with caplog.at_level(logging.WARNING):
        done, lines, target = make_sites(tmp_path, rows)
    assert (done.records, done.left_out) == (1, 3 + len(hostile))
    assert lines[-1].startswith("fine\t9\t")
    assert "record 2 is left out of the VCF: its position is out of range" in caplog.text
    bcftools_reads(target)


ANNOTATED = {
    "consequence": ["missense_variant", None, "stop_gained"],
    "consequences": [["intron_variant", "missense_variant"], [], ["stop_gained"]],
    "gene": ["A;B=C,D", "50% off", None],
    "gene_id": ["g 1", "\t", "."],
    "transcript": ["", "t\u2028", "ENST1"],
    "transcript_strand": ["+", "-", None],
    "amino_acids": ["W24*", None, "R5="],
    "vrs_id": ["ga4gh:VA.a", None, None],
    "spdi": ["NC_012920.1:9:A:C", None, None],
}


def test_genes_and_consequences_stand_per_allele(tmp_path: Path):
    content = (META + COLUMNS + "\nchr1\t10\t.\tA\tC,G,T\t.\t.\tDP=3\n").encode()
    rows = [
        row | {name: values[number] for name, values in ANNOTATED.items()}
        for number, row in enumerate(rows_of(content))
    ]
    source = tmp_path / "in.vcf"
    source.write_bytes(content)
    table = write_result(tmp_path / "scores.parquet", rows, annotations=tuple(ANNOTATED))
    export_vcf(table, tmp_path / "out.vcf.gz", variants=source)
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        (line,) = file
        found = {name: line.info[f"evo2_{name}"] for name in ANNOTATED}
        definitions = {name: file.header.info[f"evo2_{name}"] for name in ANNOTATED}
    assert {(one.number, one.type) for one in definitions.values()} == {("A", "String")}
    # pysam gives `.` among several values as None or as it is.
    said = {name: tuple(value or "." for value in values) for name, values in found.items()}
    assert said == {
        "consequence": ("missense_variant", ".", "stop_gained"),
        "consequences": ("intron_variant&missense_variant", ".", "stop_gained"),
        "gene": ("A%3BB%3DC%2CD", "50%25%20off", "."),
        "gene_id": ("g%201", "%09", "%2E"),
        "transcript": (".", "t%E2%80%A8", "ENST1"),
        "transcript_strand": ("+", "-", "."),
        "amino_acids": ("W24*", ".", "R5%3D"),
        "vrs_id": ("ga4gh:VA.a", ".", "."),
        "spdi": ("NC_012920.1:9:A:C", ".", "."),
    }


def test_a_carried_column_of_such_a_name_is_not_a_consequence(tmp_path: Path):
    content = (META + COLUMNS + "\nchr1\t10\t.\tA\tC\t.\t.\t.\n").encode()
    source = tmp_path / "in.vcf"
    source.write_bytes(content)
    rows = [row | {"consequence": "x", "spdi": "y"} for row in rows_of(content)]
    carry = [CarryField("consequence", "string"), CarryField("spdi", "string")]
    table = write_result(tmp_path / "scores.parquet", rows, carry)
    export_vcf(table, tmp_path / "out.vcf.gz", variants=source)
    assert b"evo2_consequence" not in text_of(tmp_path / "out.vcf.gz")
    assert b"evo2_spdi" not in text_of(tmp_path / "out.vcf.gz")
