"""Variants as TSV, CSV and Parquet."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField, Variant
from evo2_tasks.genome.variants import open_variants

Rows = list[tuple[object, ...]]


def write(tmp_path: Path, text: str, name: str = "table") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def keys(path: Path) -> Rows:
    return [(v.record, v.allele, v.contig, v.pos, v.ref, v.alt) for v in open_variants(path)]


@pytest.mark.parametrize("contig", ["contig", "chrom", "chr", "#CHROM", "Chromosome", "#chr"])
@pytest.mark.parametrize("pos", ["pos", "POSITION"])
@pytest.mark.parametrize("ref", ["ref", "Reference_Allele"])
@pytest.mark.parametrize("alt", ["ALT", "alt_allele"])
def test_usual_names_of_columns(tmp_path: Path, contig: str, pos: str, ref: str, alt: str) -> None:
    path = write(tmp_path, f"{contig}\tgene\t{alt}\t{ref}\t{pos}\n17\tx\tg\ta\t41\n")
    assert keys(path) == [(0, 1, "17", 41, "A", "G")]


def test_a_quote_that_quotes_nothing_stays_in_a_tsv(tmp_path: Path) -> None:
    path = write(tmp_path, 'chr\tpos\tref\talt\n"1"\t5\tA\t"C\n1\t5\tA\t<DEL>\n')
    assert keys(path) == [(0, 1, "1", 5, "A", '"C'), (1, 1, "1", 5, "A", "<DEL>")]


def test_several_alts_in_one_cell(tmp_path: Path) -> None:
    path = write(tmp_path, 'chr,pos,ref,alt\n1,5,A,"C,G"\n1,6,A,.\n')
    assert keys(path) == [
        (0, 1, "1", 5, "A", "C"),
        (0, 2, "1", 5, "A", "G"),
        (1, 0, "1", 6, "A", "."),
    ]


def test_bad_rows_cost_one_row_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = ["1,5,A", ",5,A,C", "1,,A,C", "1,5.5,A,C", "1,5,,C", "1,5,A,", '1,5,A,"C', "1,5,A,C,x"]
    path = write(tmp_path, "chr,pos,ref,alt\n" + "\n".join(bad) + "\n1,5,A,C,\n\n1,6,A,C\n")
    rows = list(open_variants(path))
    assert [v.status for v in rows] == ["invalid_record"] * len(bad) + [None, None]
    assert rows[-1] == Variant(len(bad) + 1, 1, "1", 6, "A", "C", None)
    assert "record 0 (line 2): invalid record: column alt is empty" in caplog.text
    assert "(line 8): invalid record: a quoted field has no closing quote" in caplog.text
    assert "(line 9): invalid record: 5 columns, but the header has 4" in caplog.text


CARRIED = (
    "chr\tpos\tref\talt\tid\tlong\tx\tb\tnone\n"
    "1\t5\tA\tC\t0012345\t12345678901234567890\t1.10\ttrue\t.\n"
    "1\t5\tA\tC\t-2\t+5\t1e-3\tFalse\tNA\n"
    "1\t5\tA\tC\t.\tp\tnan\t\t\n"
    "1\t5\tA\n"
)


def test_carried_columns_are_text_exactly_as_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, CARRIED)
    source = open_variants(path, carry=["id", "long", "x", "b", "none"])
    assert [field.type for field in source.carry_fields] == ["string"] * 5
    assert [v.carried for v in source] == [
        ("0012345", "12345678901234567890", "1.10", "true", None),
        ("-2", "+5", "1e-3", "False", None),
        (None, "p", "nan", None, None),
        (None,) * 5,
    ]


@pytest.mark.parametrize(
    "asked", [{"types": {"id": "number", "x": "number"}}, {"numbers": ["id", "x"]}]
)
def test_columns_are_numbers_if_these_are_asked_for(tmp_path: Path, asked: Any) -> None:
    source = open_variants(write(tmp_path, CARRIED), carry=["id", "long", "x"], **asked)
    assert [field.type for field in source.carry_fields] == ["float", "string", "float"]
    assert [v.carried for v in source] == [
        (12345.0, "12345678901234567890", 1.1),
        (-2.0, "+5", 0.001),
        (None, "p", None),
        (None,) * 3,
    ]


def test_true_and_false_are_numbers_too(tmp_path: Path) -> None:
    source = open_variants(write(tmp_path, CARRIED), carry=["b"], types={"b": "number"})
    assert [v.carried for v in source] == [(1.0,), (0.0,), (None,), (None,)]


def test_keys_can_be_carried_too(tmp_path: Path) -> None:
    path = write(tmp_path, "#chr\tpos\tref\talt\n1\t5\ta\tC\n")
    assert next(iter(open_variants(path, carry=["ref", "chr"]))).carried == ("a", "1")


@pytest.mark.parametrize(
    ("header", "carry", "message"),
    [
        (
            "chr\tcontig\tpos\tref\talt",
            [],
            r"line 1: the table has several columns for contig \(chr, contig\)\. Name the right "
            r"ones in the variant set, for example columns: \{contig: chr\}",
        ),
        ("chr\tpos\tref\talt\tx\tx", ["x"], "column 'x' is in the table more than once"),
        ("chr\tpos\tref\talt\tx", ["x", "x"], "column 'x' is named twice in the config"),
        (
            "chr\tpos\tref\talt\tx",
            ["y"],
            r"'y' is named in the config, but is not in the table\. The columns are: chr, ",
        ),
    ],
)
def test_columns_that_cannot_be_found(
    tmp_path: Path, header: str, carry: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        open_variants(write(tmp_path, header + "\n"), carry=carry)


@pytest.mark.parametrize("delimiter", [";", "|", " "])
def test_other_delimiters_are_named_in_the_error(tmp_path: Path, delimiter: str) -> None:
    text = "chrom\tpos\tref\talt\n1\t5\tA\tC\n".replace("\t", delimiter)
    with pytest.raises(
        InputError, match=f"are separated by ('[{delimiter}]'|blanks); expected tabs or commas"
    ):
        open_variants(write(tmp_path, text))


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"types": {"F": "number"}}, r"has `carry: \{F: number\}`"),
        ({"numbers": ["F"]}, "names this field under `baselines`"),
        ({"types": {"F": "text"}, "numbers": ["F"]}, "names this field under `baselines`"),
    ],
)
def test_text_in_a_field_of_numbers_is_refused(tmp_path: Path, asked: Any, reason: str) -> None:
    text = "chr\tpos\tref\talt\tF\n1\t5\tA\tC\t0.5\nbad\n1\t5\tA\tC\tLOF\n"
    source = open_variants(write(tmp_path, text), carry=["F"], **asked)
    assert source.count().records == 3
    message = f"record 2: 'F' is 'LOF', expected a number, because the config {reason}"
    with pytest.raises(InputError, match=message):
        list(source)


def test_parquet_keeps_its_types_unless_others_are_asked_for(tmp_path: Path) -> None:
    columns = {
        "chrom": ["1"] * 3, "pos": [5] * 3, "ref": ["A"] * 3, "alt": ["C"] * 3,
        "i": [1, 2**53 + 1, None], "x": [1.5, float("nan"), None], "b": [True, False, None],
        "s": ["1.10", "2", None], "xs": [[1.5, float("nan")], [], None],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    carry = ["i", "x", "b", "s", "xs"]
    path = tmp_path / "a.parquet"
    source = open_variants(path, carry=carry, numbers=carry)
    assert [field.type for field in source.carry_fields] == [
        *("int", "float", "bool", "string", "float")
    ]
    assert [v.carried for v in source] == [
        (1, 1.5, True, "1.10", (1.5, None)),
        (2**53 + 1, None, False, "2", ()),
        (None,) * 5,
    ]
    source = open_variants(path, carry=carry, types=dict.fromkeys(carry, "number"))
    assert next(v.carried for v in source) == (1, 1.5, 1.0, 1.1, (1.5, None))
    source = open_variants(path, carry=carry, types=dict.fromkeys(carry, "text"))
    assert {field.type for field in source.carry_fields} == {"string"}
    assert [v.carried for v in source][:2] == [
        ("1", "1.5", "true", "1.10", ("1.5", None)),
        ("9007199254740993", None, "false", "2", ()),
    ]


def test_parquet_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table(
        {
            "Chrom": pa.array([1, 2, None, 3]),
            "POS": pa.array([5.0, 6.5, 7.0, None]),
            "ref": pa.array(["a", "A", "A", "A"]).dictionary_encode(),
            "alt": pa.array([["C", "G"], ["C"], ["C"], ["C"]]),
            "n": pa.array([1, 2, 3, None], pa.int8()),
            "x": pa.array([1.5, None, 2.0, 3.0], pa.float32()),
            "b": pa.array([True, None, False, True]),
            "tags": pa.array([["p", None], [], None, ["q"]]),
            "big": pa.array([2**64 - 1, 1, 2, 3], pa.uint64()),
            "day": pa.array([0, 1, 2, 3], pa.date32()),
        }
    )
    pq.write_table(table, path, row_group_size=2)
    source = open_variants(path, carry=["n", "x", "b", "tags", "big", "day", "ref"])
    assert source.format == "parquet"
    assert source.carry_fields == (
        CarryField("n", "int"),
        CarryField("x", "float"),
        CarryField("b", "bool"),
        CarryField("tags", "string", is_list=True),
        CarryField("big", "string"),
        CarryField("day", "string"),
        CarryField("ref", "string"),
    )
    rows = list(source)
    first = (1, 1.5, True, ("p", None), "18446744073709551615", "1970-01-01", "a")
    assert rows[:2] == [
        Variant(0, 1, "1", 5, "A", "C", None, first),
        Variant(0, 2, "1", 5, "A", "G", None, first),
    ]
    assert [v.status for v in rows[2:]] == ["invalid_record"] * 3
    assert source.count() == source.counts


def test_a_parquet_file_without_the_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"contig": ["1"], "pos": [1], "ref": ["A"]}), tmp_path / "a")
    with pytest.raises(
        InputError, match=r"the table has no column for alt \(expected name: alt or alternate"
    ):
        open_variants(tmp_path / "a")


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"contig": ["1"] * 99, "pos": range(99), "ref": ["A"] * 99, "alt": ["C"] * 99})
    pq.write_table(table, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        open_variants(path)
    path.write_bytes(whole[:4] + b"\xff" * 40 + whole[44:])
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        list(open_variants(path))


@pytest.mark.parametrize("name", ["rnak", "RANK", "ranks", "Rank"])
def test_the_message_about_an_unknown_column_names_a_similar_one(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, "chr\tpos\tref\talt\trank\n1\t5\tA\tC\t1\n")
    message = f"column '{name}' is named in the config, but is not in the table; did you mean rank?"
    with pytest.raises(InputError, match=re.escape(message)):
        open_variants(path, carry=[name])
