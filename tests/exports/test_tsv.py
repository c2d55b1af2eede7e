from __future__ import annotations

import csv
import gzip
import io
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.exports.tsv import escape_text, format_rows, write
from evo2_tasks.genome.records import CarryField
from tests.table.build import make_row, slow_disk, write_result

HOSTILE = [
    "=HYPERLINK(\"http://x\")", "+1", "-1", "@SUM(A1)", "\uff1d1", "'x", '"x', "", " ", "\t=1",
    "\n", "\r\n", "a\tb", "a\\tb", "\\", "\x00", "\x1b[31m", "\x85", "\u2028", "<script>",
    "../../etc", "$(rm)", "é;ü", "NA", ".", "\U0001f9ec",
]  # fmt: skip
CARRY = (CarryField("note", "string", False, ""), CarryField("notes", "string", True, ""))


def unescape(cell: str) -> str:
    """The rule of the documentation page, read the other way."""
    text = cell.removeprefix("'")
    named = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    return re.sub(
        r"\\(?:([tnr\\])|x([0-9a-f]{2})|u([0-9a-f]{4}))",
        lambda found: named[found[1]] if found[1] else chr(int(found[2] or found[3], 16)),
        text,
    )


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Split as the simplest reader does."""
    header, *lines = path.read_bytes().decode().removesuffix("\n").split("\n")
    return header.split("\t"), [line.split("\t") for line in lines]


@given(text=st.text() | st.sampled_from(HOSTILE))
def test_hostile_text_comes_back(text: str):
    for in_list in (False, True):
        cell = escape_text(text, in_list=in_list)
        assert unescape(cell) == text
        assert len(cell.splitlines()) == 1
        assert "\t" not in cell
        assert cell[0] not in '=+-@"＝＋－＠'  # noqa: RUF001 # full-width on purpose
        assert not (in_list and ";" in cell)


@slow_disk
@given(
    notes=st.lists(
        st.tuples(
            st.none() | st.text() | st.sampled_from(HOSTILE),
            st.none() | st.lists(st.text(min_size=1) | st.sampled_from(HOSTILE), min_size=1),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_hostile_rows_come_back(tmp_path_factory: pytest.TempPathFactory, notes: list[Any]):
    folder = tmp_path_factory.mktemp("tsv")
    rows = [
        make_row(number, contig=text or "chr1", alt=text, note=text, notes=texts)
        for number, (text, texts) in enumerate(notes)
    ]
    table = write_result(folder / "x.parquet", rows, CARRY)
    assert write(table, folder / "x.tsv") == len(rows)
    header, lines = read(folder / "x.tsv")
    for row, line in zip(rows, lines, strict=True):
        cells = dict(zip(header, line, strict=True))
        assert unescape(cells["contig"]) == row["contig"]
        for name in ("alt", "note"):
            assert (unescape(cells[name]) if cells[name] else None) == row[name]
        found = [unescape(item) for item in cells["notes"].split(";")] if cells["notes"] else None
        assert found == row["notes"]


def test_csv_readers_and_pandas_agree(tmp_path: Path):
    rows = [make_row(i, note=text, notes=[text]) for i, text in enumerate(HOSTILE)]
    table = write_result(tmp_path / "x.parquet", rows, CARRY)
    write(table, tmp_path / "x.tsv")
    text = (tmp_path / "x.tsv").read_bytes().decode()
    by_csv = list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"))
    by_pandas = pd.read_csv(tmp_path / "x.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert [unescape(row["note"]) for row in by_csv] == HOSTILE
    assert by_pandas.note.map(unescape).tolist() == HOSTILE


@given(number=st.floats())
def test_numbers_keep_all_digits(number: float):
    batch = pa.record_batch({"number": [number], "list": [[number, None]]})
    cell, pair = format_rows(batch)[0].split("\t")
    assert pair == f"{cell};"
    again = float(cell)
    assert again == number or (math.isnan(again) and math.isnan(number))
    assert math.copysign(1, again) == math.copysign(1, number) or math.isnan(number)


def test_a_list_of_alleles_has_their_keys():
    kind = pa.list_(pa.struct([("record", pa.int64()), ("alt", pa.string())]))
    lists = pa.array([[{"record": 7, "alt": "A;C"}, {"record": 8, "alt": "T"}], [], None], kind)
    assert format_rows(pa.record_batch({"list": lists})) == ["7:A\\x3bC;8:T", "", ""]


def test_nulls_flags_and_numbers_are_plain(tmp_path: Path):
    rows = [
        make_row(0, llr=-0.25, flags=["clipped", "moved"], ref="A", alt="C"),
        make_row(1, status="too_long"),
    ]
    table = write_result(tmp_path / "x.parquet", rows)
    write(table, tmp_path / "x.tsv")
    header, lines = read(tmp_path / "x.tsv")
    first, second = (dict(zip(header, line, strict=True)) for line in lines)
    assert (first["llr"], first["flags"], first["pos"]) == ("-0.25", "clipped;moved", "100")
    assert (second["llr"], second["flags"], second["status"]) == ("", "", "too_long")


def test_a_name_in_gz_is_compressed_the_same_each_time(tmp_path: Path):
    table = write_result(tmp_path / "x.parquet", [make_row(number) for number in range(2000)])
    write(table, tmp_path / "plain.tsv")
    for name in ("one.tsv.gz", "two.tsv.gz"):
        write(table, tmp_path / name)
    packed = (tmp_path / "one.tsv.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "plain.tsv").read_bytes()
    assert packed == (tmp_path / "two.tsv.gz").read_bytes()


def test_a_table_without_rows_is_a_header(tmp_path: Path):
    table = write_result(tmp_path / "x.parquet", [])
    assert write(table, tmp_path / "x.tsv") == 0
    assert (tmp_path / "x.tsv").read_text().count("\n") == 1


def test_consequences_are_lists_and_a_strand_is_its_sign(tmp_path: Path):
    names = ("consequence", "consequences", "gene", "transcript_strand")
    values = [("stop_gained", ["a", "stop_gained"], "-A", "-"), (None, None, None, None)]
    rows = [make_row(i) | dict(zip(names, row, strict=True)) for i, row in enumerate(values)]
    table = write_result(tmp_path / "x.parquet", rows, annotations=names)
    write(table, tmp_path / "x.tsv")
    header, lines = read(tmp_path / "x.tsv")
    found = [[dict(zip(header, line, strict=True))[name] for name in names] for line in lines]
    assert found == [["stop_gained", "a;stop_gained", "'-A", "-"], ["", "", "", ""]]
