"""VCF text, line by line."""

import logging
from pathlib import Path

import pytest

from evo2_tasks.genome.records import InvalidRecord, Record, Symbol
from evo2_tasks.genome.vcf import VcfReader
from evo2_tasks.table.schema import REASON_MEANINGS

HEADER = b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def read(tmp_path: Path, data: bytes, carry: tuple[str, ...] = ()) -> list[Record | InvalidRecord]:
    path = tmp_path / "a.vcf"
    path.write_bytes(data)
    reader = VcfReader(path, carry)
    records = list(reader.records())
    assert list(reader.records()) == records
    reader.log_problems()
    return records


def test_fields_of_a_line(tmp_path: Path) -> None:
    data = HEADER + b"chr1\t7\trs1\tA\tC,<DEL>,*\t9\tq10;s50\tDP=1\tGT\t0/1\n"
    symbols = (Symbol(), Symbol("no_length"), Symbol())
    record = Record("chr1", 7, "A", ["C", "<DEL>", "*"], "q10;s50", (), symbols=symbols)
    assert read(tmp_path, data) == [record]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"chr1\t7\trs1\tA", "4 columns, expected 5 or more"),
        (b"chr1 7 rs1 A C", "1 columns, expected 5 or more"),
        (b"\t7\trs1\tA\tC", "column CHROM is empty"),
        (b"chr1\t\trs1\tA\tC", "column POS is empty"),
        (b"chr1\t7\t\tA\tC", "column ID is empty"),
        (b"chr1\t7\trs1\t\tC", "column REF is empty"),
        (b"chr1\t7\trs1\tA\t", "column ALT is empty"),
        (b"chr1\t7\trs1\tA\tC,", "an entry of ALT is empty"),
        (b"chr1\t7\trs1\tA\t,C", "an entry of ALT is empty"),
        (b"chr1\t7\trs1\tA\tC,,G", "an entry of ALT is empty"),
        (b"chr1\t7x\trs1\tA\tC", "POS '7x' is not a 64-bit integer"),
        (b"chr1\t7.0\trs1\tA\tC", "POS '7.0' is not a 64-bit integer"),
        (b"chr1\t 7\trs1\tA\tC", "POS ' 7' is not a 64-bit integer"),
        (b"chr1\t1_0\trs1\tA\tC", "POS '1_0' is not a 64-bit integer"),
        (b"chr1\t.\trs1\tA\tC", "POS '.' is not a 64-bit integer"),
        (b"chr1\t9223372036854775808\trs1\tA\tC", "is not a 64-bit integer"),
        (b"\x00\xff\xfe rubbish", "1 columns"),
    ],
)
def test_a_bad_line_costs_one_record(tmp_path: Path, line: bytes, reason: str) -> None:
    good = b"chr1\t5\t.\tA\tC\n"
    first, bad, last = read(tmp_path, HEADER + good + line + b"\n" + good)
    assert isinstance(first, Record)
    assert first == last
    assert isinstance(bad, InvalidRecord)
    assert bad.line == 4
    assert reason in bad.explanation
    assert REASON_MEANINGS[bad.reason].status == "invalid_record"


@pytest.mark.parametrize("blank", [b"", b" ", b"\t\t\t\t\t", b" \t ", b"\r"])
def test_a_blank_line_is_no_record(tmp_path: Path, blank: bytes) -> None:
    data = HEADER + b"chr1\t5\t.\tA\tC\n" + blank + b"\nchr1\t6\t.\tA\tC\n" + blank
    assert [record.pos for record in read(tmp_path, data)] == [5, 6]


def test_comments_between_records_are_none(tmp_path: Path) -> None:
    data = HEADER + b"chr1\t5\t.\tA\tC\n" + HEADER + b"#x\t1\t.\tA\tC\nchr1\t6\t.\tA\tC\n"
    assert [record.pos for record in read(tmp_path, data)] == [5, 6]


def test_windows_line_ends_and_no_last_line_end(tmp_path: Path) -> None:
    data = (HEADER + b"chr1\t5\t.\tA\tC").replace(b"\n", b"\r\n")
    assert read(tmp_path, data) == [Record("chr1", 5, "A", ["C"], None, ())]


def test_utf8_and_latin1(tmp_path: Path) -> None:
    lines = ["Ä\t5\t.\tA\tC\t.\tPASS\t."] * 2
    data = HEADER + lines[0].encode() + b"\n" + lines[1].encode("latin-1") + b"\n"
    assert [record.contig for record in read(tmp_path, data)] == ["Ä", "Ä"]
    assert len(read(tmp_path, b"\xef\xbb\xbf" + data)) == 2


def test_missing_header_lines_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(read(tmp_path, b"chr1\t5\t.\tA\tC\n")) == 1
    assert "no ##fileformat line" in caplog.text
    assert "no #CHROM line" in caplog.text
    caplog.clear()
    read(tmp_path, HEADER + b"chr1\t5\t.\tA\tC\n")
    assert not caplog.text


INFO = (
    b"##fileformat=VCFv4.3\n"
    b'##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth, of \\"reads\\"">\n'
    b'##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency">\n'
    b'##INFO=<ID=AD,Number=R,Type=Integer,Description="">\n'
    b'##INFO=<ID=DB,Number=0,Type=Flag,Description="In dbSNP">\n'
    b'##INFO=<ID=GENE,Number=.,Type=String,Description="">\n'
    b'##INFO=<ID=PL,Number=G,Type=Integer,Description="">\n'
    b'##INFO=<ID=NOTE,Number=1,Type=String,Description="">\n'
    b'##INFO=<ID=ID,Number=1,Type=String,Description="">\n'
    b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
)


def carried(tmp_path: Path, columns: bytes, *carry: str, alt: bytes = b"C,G") -> list[object]:
    """The carried values of the first record, by allele."""
    line = b"chr1\t5\trs1\tA\t" + alt + b"\t" + columns + b"\n"
    (record,) = read(tmp_path, INFO + line, carry)
    return list(record.carried)


def test_values_fall_to_their_alleles(tmp_path: Path) -> None:
    info = b".\tPASS\tDP=7;AF=0.5,1e-3;AD=3,4,5;DB;GENE=x,.,y;PL=1,2,3,4,5,6"
    carry = ("DP", "AF", "AD", "DB", "GENE", "PL")
    assert carried(tmp_path, info, *carry) == [
        (7, 0.5, 4, True, ("x", None, "y"), (1, 2, 3, 4, 5, 6)),
        (7, 0.001, 5, True, ("x", None, "y"), (1, 2, 3, 4, 5, 6)),
    ]


def test_absent_fields_are_null_and_absent_flags_false(tmp_path: Path) -> None:
    assert (
        carried(tmp_path, b".\t.\t.", "DP", "AF", "DB", "GENE") == [(None, None, False, None)] * 2
    )
    assert carried(tmp_path, b".", "DP", "QUAL", "FILTER") == [(None, None, None)] * 2


def test_a_missing_allele_has_the_values_of_its_number(tmp_path: Path) -> None:
    assert carried(tmp_path, b".\t.\tAF=.;AD=9;DP=1", "AF", "AD", "DP", alt=b".") == [(None, 9, 1)]


def test_columns_are_carried_and_info_of_their_name_too(tmp_path: Path) -> None:
    values = carried(tmp_path, b"12.5\tq10\tID=x", "ID", "QUAL", "FILTER", "INFO/ID", alt=b"C")
    assert values == [("rs1", 12.5, "q10", "x")]


def test_text_is_decoded_where_the_version_encodes_it(tmp_path: Path) -> None:
    assert carried(tmp_path, b".\t.\tNOTE=a%3Bb%2c%25%zz%20", "NOTE", alt=b"C") == [
        ("a;b,%%zz%20",)
    ]
    old = INFO.replace(b"VCFv4.3", b"VCFv4.2") + b"chr1\t5\t.\tA\tC\t.\t.\tNOTE=a%3Bb\n"
    (record,) = read(tmp_path, old, ("NOTE",))
    assert record.carried == [("a%3Bb",)]


def test_the_first_of_several_items_counts(tmp_path: Path) -> None:
    assert carried(tmp_path, b".\t.\tDP=1;DP=2", "DP", alt=b"C") == [(1,)]


@pytest.mark.parametrize(
    "info", [b"AF=0.1", b"AF=0.1,0.2,0.3", b"AF=x,y", b"DP=seven", b"DP=1_0", b"DP=9" * 9, b"DP"]
)
def test_values_that_do_not_fit_are_null_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, info: bytes
) -> None:
    assert carried(tmp_path, b".\t.\t" + info, "AF", "DP") == [(None, None)] * 2
    assert "do not fit the definition in the header" in caplog.text


def test_fields_that_the_header_lacks_are_text(tmp_path: Path) -> None:
    assert carried(tmp_path, b".\t.\tMQ=60;NEW", "MQ", "NEW", "GONE", alt=b"C") == [
        ("60", "", None)
    ]
    (tmp_path / "a.vcf").write_bytes(INFO)
    fields = VcfReader(tmp_path / "a.vcf", ("DP", "MQ", "QUAL")).carry_fields
    assert [field.is_defined for field in fields] == [True, False, True]


def test_definitions_give_types_and_descriptions(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    path.write_bytes(INFO)
    carry = ("DP", "AF", "AD", "DB", "GENE", "PL", "NOTE", "QUAL")
    fields = VcfReader(path, carry).carry_fields
    assert [(field.name, field.type, field.is_list) for field in fields] == [
        ("DP", "int", False),
        ("AF", "float", False),
        ("AD", "int", False),
        ("DB", "bool", False),
        ("GENE", "string", True),
        ("PL", "int", True),
        ("NOTE", "string", False),
        ("QUAL", "float", False),
    ]
    assert fields[0].description == 'Depth, of "reads"'


def test_what_is_logged_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    carried(tmp_path, b".\t.\tDP=\x1b[2J\x00<b>", "DP", alt=b"C")
    assert all("\x1b" not in r.getMessage() and "\n" not in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize("nan", [b"nan", b"NaN", b"-nan", b"+NAN"])
def test_nan_is_null_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, nan: bytes
) -> None:
    rows = carried(tmp_path, nan + b"\t.\tAF=0.5," + nan, "QUAL", "AF")
    assert rows == [(None, 0.5), (None, None)]
    assert not caplog.records


def test_text_that_is_asked_for_is_as_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    path.write_bytes(INFO + b"c\t1\t.\tA\tC,G\t1e2\t.\tAF=0.50,nan;DP=007\n")
    carry = ("QUAL", "AF", "DP")
    reader = VcfReader(path, carry, texts=carry)
    assert {field.type for field in reader.carry_fields} == {"string"}
    [record] = reader.records()
    assert isinstance(record, Record)
    assert record.carried == [("1e2", "0.50", "007"), ("1e2", "nan", "007")]
