"""Variants as TSV, CSV and Parquet."""

from pathlib import Path

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


def test_carried_columns_have_the_type_of_their_values(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "chr\tpos\tref\talt\tn\tx\tb\ts\tmixed\tnone\n"
        "1\t5\tA\tC\t1\t1\ttrue\tp\t1\t.\n"
        "1\t5\tA\tC\t-2\t1e-3\tFalse\t7\ttrue\tNA\n"
        "1\t5\tA\tC\t.\tnan\t\tNA\t2\t\n"
        "1\t5\tA\n",
    )
    source = open_variants(path, carry=["n", "x", "b", "s", "mixed", "none"])
    assert [field.type for field in source.carry_fields] == [
        *("int", "float", "bool", "string", "string", "string")
    ]
    rows = [v.carried for v in source]
    assert rows[0] == (1, 1.0, True, "p", "1", None)
    assert rows[1] == (-2, 0.001, False, "7", "true", None)
    assert rows[2][:1] == (None,)
    assert str(rows[2][1]) == "nan"
    assert rows[2][2:] == (None, None, "2", None)
    assert rows[3] == (None,) * 6


def test_keys_can_be_carried_too(tmp_path: Path) -> None:
    path = write(tmp_path, "#chr\tpos\tref\talt\n1\t5\ta\tC\n")
    assert next(iter(open_variants(path, carry=["ref", "chr"]))).carried == ("a", 1)


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
        InputError, match=f"are separated by '[{delimiter}]'; expected tabs or commas"
    ):
        open_variants(write(tmp_path, text))


def test_counting_refuses_text_in_a_field_of_numbers(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "chr\tpos\tref\talt\tn\tempty\tF\n1\t5\tA\tC\t1\t.\t0.5\nbad\n1\t5\tA\tC\t2\t\tLOF\n",
    )
    carry = ["n", "empty", "F"]
    open_variants(path, carry=carry, numbers=["n", "empty"]).count()
    source = open_variants(path, carry=carry, numbers=["F"])
    with pytest.raises(InputError, match=r"record 2: 'F' is 'LOF', expected a number"):
        source.count()


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
