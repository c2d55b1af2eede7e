"""Cells of text tables, compared with Python's csv module, pandas and R's own output."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome.table_cells import parse_pos, split_cells
from evo2_tasks.genome.variants import open_variants

HEADER = ["contig", "pos", "ref", "alt"]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table"
    path.write_bytes(text.encode())
    return path


def read(path: Path, *carry: str) -> list[tuple[object, ...]]:
    """Contig, position, alleles, status and carried values of each row."""
    return [
        (row.contig, row.pos, row.ref, row.alt, row.status, *map(str, row.carried))
        for row in open_variants(path, carry=carry)
    ]


# Texts that a cell may hold: quotes, both delimiters, line breaks. Blanks around it are dropped.
TEXTS = st.text(st.sampled_from("ab\"\t,\n' 0;#"), min_size=1, max_size=6).map(
    lambda text: f"t{text}t"
)


@pytest.mark.parametrize("delimiter", ["\t", ","])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@example(names=["t0t", "t;t", "t00t"], rows=[["t\tt", "t\nt", "t,0,t"]], first=False)
@given(
    names=st.lists(TEXTS, min_size=1, max_size=3, unique=True),
    rows=st.lists(st.lists(TEXTS, min_size=3, max_size=3), max_size=4),
    first=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_what_csv_writes_is_read(
    tmp_path_factory, delimiter: str, quoting: int, names: list[str], rows: list, first: bool
) -> None:
    """Names with delimiters, and cells with line breaks too, in front of the keys or behind."""
    names = [name.replace("\n", " ") for name in names]
    if quoting == csv.QUOTE_MINIMAL and delimiter == ",":  # it leaves tabs in names unquoted
        names = [name.replace("\t", " ") for name in names]
    names = list(dict.fromkeys(names))
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator="\n")
    writer.writerow([*names, *HEADER] if first else [*HEADER, *names])
    rows = [row[: len(names)] for row in rows]
    for number, row in enumerate(rows, 1):
        keys = ["MT", number, "C", "A"]
        writer.writerow([*row, *keys] if first else [*keys, *row])
    path = write(tmp_path_factory.mktemp("csv"), buffer.getvalue())
    expected = [("MT", n, "C", "A", None, *row) for n, row in enumerate(rows, 1)]
    assert read(path, *names) == expected


def test_a_quoted_comma_in_the_header_shifts_nothing(tmp_path: Path) -> None:
    text = (
        'contig,pos,ref,alt,"effect, text",score,rank\n'
        'MT,500,C,A,"p.A1B, c.1A>G",0.1,1000\n'
        'MT,1200,G,A,"p.A1B, c.1A>G",0.2,1001\n'
    )
    rows = read(write(tmp_path, text), "score", "rank", "effect, text")
    frame = pd.read_csv(io.StringIO(text))
    assert [float(row[5]) for row in rows] == frame["score"].tolist() == [0.1, 0.2]
    assert [int(row[6]) for row in rows] == frame["rank"].tolist()
    assert [row[7] for row in rows] == frame["effect, text"].tolist()


# As R 4.3 writes them: write.table(d), with quote=TRUE and row.names=TRUE by default, then with
# sep="\t" and row.names=FALSE, write.csv(d), and write.table with col.names=NA.
R_TABLES = {
    "names and row names, tab": (
        '"chrom"\t"pos"\t"ref"\t"alt"\t"note"\n'
        '"1"\t"MT"\t500\t"C"\t"A"\t"a \\"b\\" c"\n'
        '"2"\t"MT"\t1200\t"G"\t"A"\t"d"\n'
    ),
    "no row names": (
        '"chrom"\t"pos"\t"ref"\t"alt"\t"note"\n'
        '"MT"\t500\t"C"\t"A"\t"a \\"b\\" c"\n'
        '"MT"\t1200\t"G"\t"A"\t"d"\n'
    ),
    "row names that look like positions, contigs that are numbers": (
        '"chrom"\t"pos"\t"ref"\t"alt"\t"note"\n'
        '"7"\tMT\t500\t"C"\t"A"\t"a \\"b\\" c"\n'
        '"8"\tMT\t1200\t"G"\t"A"\t"d"\n'
    ),
    "write.csv": (
        '"","chrom","pos","ref","alt","note"\n'
        '"1","MT",500,"C","A","a ""b"" c"\n'
        '"2","MT",1200,"G","A","d"\n'
    ),
    "write.table with commas": (
        '"chrom","pos","ref","alt","note"\n'
        '"r 1","MT",500,"C","A","a \\"b\\" c"\n'
        '"r 2","MT",1200,"G","A","d"\n'
    ),
    "col.names=NA": (
        '""\t"chrom"\t"pos"\t"ref"\t"alt"\t"note"\n'
        '"1"\t"MT"\t500\t"C"\t"A"\t"a ""b"" c"\n'
        '"2"\t"MT"\t1200\t"G"\t"A"\t"d"\n'
    ),
    "quote=FALSE with row names": (
        'chrom\tpos\tref\talt\tnote\n1\tMT\t500\tC\tA\ta "b" c\n2\tMT\t1200\tG\tA\td\n'
    ),
}


@pytest.mark.parametrize("text", R_TABLES.values(), ids=R_TABLES)
def test_tables_of_r_are_read(tmp_path: Path, text: str) -> None:
    assert read(write(tmp_path, text), "note") == [
        ("MT", 500, "C", "A", None, 'a "b" c'),
        ("MT", 1200, "G", "A", None, "d"),
    ]


def test_numeric_contigs_do_not_hide_the_row_names(tmp_path: Path) -> None:
    text = '"chrom"\t"pos"\t"ref"\t"alt"\n"1"\t17\t500\t"C"\t"A"\n"2"\t17\t600\t"G"\t"A"\n'
    assert [row[:4] for row in read(write(tmp_path, text))] == [
        ("17", 500, "C", "A"),
        ("17", 600, "G", "A"),
    ]


def test_a_column_too_many_behind_the_others_is_no_row_name(tmp_path: Path) -> None:
    text = "contig,pos,ref,alt\n" + "17,500,C,A,x\n" * 3 + "17,500,C,A,\n"
    assert [row[4] for row in read(write(tmp_path, text))] == ["invalid_record"] * 3 + [None]


@pytest.mark.parametrize("blank", [" ", "  ", "\u00a0"])
@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_blanks_around_cells_are_no_part_of_them(
    tmp_path: Path, delimiter: str, blank: str
) -> None:
    between = f"{blank}{delimiter}{blank}"
    cells = [[*HEADER, "note"], ["MT", "500", "c", "A", "x y"], ["MT", "600", "G", "A", "NA"]]
    path = write(tmp_path, "".join(f"{between.join(row)}{blank}\n" for row in cells))
    assert read(path, "note") == [
        ("MT", 500, "C", "A", None, "x y"),
        ("MT", 600, "G", "A", None, "None"),
    ]


def test_blanks_outside_quotes(tmp_path: Path) -> None:
    text = 'contig, pos, "ref", alt, note\n"MT", 500, "C", "A,G" , "x, y"\n'
    assert [(*row[:4], row[5]) for row in read(write(tmp_path, text), "note")] == [
        ("MT", 500, "C", "A", "x, y"),
        ("MT", 500, "C", "G", "x, y"),
    ]


def test_blanks_between_alts(tmp_path: Path) -> None:
    text = 'contig,pos,ref,alt\nMT,500,C,"A, G"\nMT,600,C,"A, "\n'
    assert [row[3:5] for row in read(write(tmp_path, text))] == [
        ("A", None),
        ("G", None),
        (None, "invalid_record"),
    ]


@pytest.mark.parametrize("row_names", [True, False])
def test_the_blanks_of_write_table_are_an_error_that_names_the_way_out(
    tmp_path: Path, row_names: bool
) -> None:
    """R separates columns by blanks unless sep is set; the command of the message works."""
    start = '"1" ' if row_names else ""
    text = f'"chrom" "pos" "ref" "alt"\n{start}"MT" 500 "C" "A"\n'
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=r"separated by blanks; expected tabs or commas\..* sed "):
        read(path)
    assert [row[:4] for row in read(write(tmp_path, text.replace(" ", "\t")))] == [
        ("MT", 500, "C", "A")
    ]


@pytest.mark.parametrize(
    ("text", "pos"),
    [
        ("500", 500),
        ("500.0", 500),
        ("500.", 500),
        ("1e+03", 1000),
        ("1E3", 1000),
        ("1.5e3", 1500),
        ("4.3044295e+07", 43044295),
        ("+7", 7),
        ("-7.0", -7),
        ("0.0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("9.223372036854775807e18", 2**63 - 1),
    ],
)
def test_whole_numbers_are_positions(text: str, pos: int) -> None:
    assert parse_pos(text) == pos


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("500.5", "is not a whole number"),
        ("1.0005e3", "is not a whole number"),
        ("1e-3", "is not a whole number"),
        (".5", "is not a whole number"),
        ("3,243", "has separators; expected a whole number such as 3243"),
        ("43.044.295", "has separators; expected a whole number such as 43044295"),
        ("43 044 295", "has separators"),
        ("9.3e18", "is not a 64-bit integer"),
        ("1e19", "is not a 64-bit integer"),
        ("1e999", "is not a 64-bit integer"),
        ("1e99999999999", "is not a 64-bit integer"),
        ("NaN", "is not a 64-bit integer"),
        ("inf", "is not a 64-bit integer"),
        ("0x10", "is not a 64-bit integer"),
        ("x" * 5000, "is not a 64-bit integer"),
    ],
)
def test_what_is_no_position_says_why(text: str, reason: str) -> None:
    assert reason in str(parse_pos(text))


@given(st.integers(-(10**20), 10**20), st.integers(0, 5), st.sampled_from(["", "0", "00"]))
def test_positions_in_scientific_notation(number: int, shift: int, zeros: str) -> None:
    digits = str(number)
    end = len(digits) - min(shift, len(digits.lstrip("-")) - 1)
    text = f"{digits[:end]}.{digits[end:]}{zeros}e{len(digits) - end}"
    expected = number if -(2**63) <= number < 2**63 else None
    assert parse_pos(text) == expected or (expected is None and isinstance(parse_pos(text), str))


def test_positions_as_numbers_in_a_table(tmp_path: Path) -> None:
    text = (
        "contig\tpos\tref\talt\nMT\t500.0\tC\tA\nMT\t1e+03\tT\tA\nMT\t3,243\tA\tC\nMT\t5.5\tA\tC\n"
    )
    assert [row[1] for row in read(write(tmp_path, text))] == [500, 1000, None, None]


def test_line_breaks_in_quotes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line break belongs to the cell, unless the next line is a row; blank lines stay in it."""
    text = (
        'contig,pos,ref,alt,"effect\n(text)",score\n'
        'MT,1,C,A,"one\n\ntwo, ""three""",0.1\r\n'
        'MT,2,C,A,"open,0.2\r\n'
        'MT,3,C,A,"x\ry",0.3\r\n'
        'MT,4,C,A,"never closed,0.4\n'
        "half a row\n"
    )
    rows = read(write(tmp_path, text), "score")
    assert [(row[1], row[4], row[5]) for row in rows] == [
        (1, None, "0.1"),
        (None, "invalid_record", "None"),
        (3, None, "0.3"),
        (None, "invalid_record", "None"),
        (None, "invalid_record", "None"),
    ]
    assert "record 1 (line 6): invalid record: a quoted field has no closing quote" in caplog.text
    assert "record 4 (line 9)" in caplog.text
    notes = [row[5] for row in read(tmp_path / "table", "effect\n(text)")]
    assert notes[:3] == ['one\n\ntwo, "three"', "None", "x\ry"]


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_an_open_quote_never_takes_a_row_with_it(tmp_path: Path, delimiter: str) -> None:
    rows = [[*HEADER, "note"], ["MT", "1", "C", "A", '"foo'], ["MT", "2", "C", "A", 'bar"']]
    text = "".join(delimiter.join(row) + "\n" for row in rows)
    assert [row[1] for row in read(write(tmp_path, text))][-1] == 2
    assert len(read(tmp_path / "table")) == 2


@given(st.text(st.sampled_from('a"\\,\t\n '), max_size=30), st.sampled_from(["\t", ","]))
@settings(deadline=None)
def test_any_text_is_cells_or_a_reason(text: str, delimiter: str) -> None:
    cells = split_cells(text, delimiter, 3)
    assert cells if isinstance(cells, str) else all(isinstance(cell, str) for cell in cells)
    if delimiter == "\t":
        assert not isinstance(cells, str)


@pytest.mark.parametrize("unit", ['"', '""', '"a', '"a,', '\\"', '"\\', '" ', ' "', '"a"b,'])
@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_odd_quotes_take_linear_time(unit: str, delimiter: str) -> None:
    split_cells(unit.replace(",", delimiter) * 20_000, delimiter, 3)
