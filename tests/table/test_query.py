from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField
from evo2_tasks.genome.regions import Region
from evo2_tasks.table.query import find_row_groups, find_rows
from tests.table.build import make_row, write_result


def test_a_table_without_rows_has_no_regions(tmp_path: Path):
    path = write_result(tmp_path / "x.parquet", [])
    with pytest.raises(InputError, match=r"x\.parquet: region 'chr1': there are no contigs"):
        list(find_rows(path, "chr1"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [
        make_row(number, contig=f"{1 + number // 500}", reference_contig=f"chr{1 + number // 500}",
                 pos=1 + number % 500)
        for number in range(2000)
    ]  # fmt: skip
    nulls = dict.fromkeys(("contig", "reference_contig", "pos", "ref", "alt"))
    rows += [make_row(number, 0, "invalid_record", **nulls) for number in range(2000, 2100)]
    rows += [make_row(2100, contig="new", reference_contig=None, pos=7)]
    return write_result(tmp_path / "scores.parquet", rows, row_group_rows=100)


def records(table: Path, region: str) -> list[int]:
    batches = list(find_rows(table, region))
    return [record for batch in batches for record in batch.column("record").to_pylist()]


@pytest.mark.parametrize("contig", ["3", "chr3"])
def test_rows_of_a_region_are_found_by_either_name(table: Path, contig: str):
    assert records(table, f"{contig}:11-13") == [1010, 1011, 1012]
    assert records(table, f"{contig}:500") == [1499]
    assert records(table, f"{contig}:501-900") == []
    assert records(table, contig) == list(range(1000, 1500))


def test_a_whole_contig_has_position_0(tmp_path: Path):
    """VCF gives position 0 to the telomere."""
    path = write_result(tmp_path / "x.parquet", [make_row(pos, pos=pos) for pos in range(3)])
    assert records(path, "chr1") == records(path, "chr1:0-2") == [0, 1, 2]
    assert records(path, "chr1:1-2") == [1, 2]


def test_a_contig_that_the_reference_lacks_is_found(table: Path):
    assert records(table, "new:1-10") == [2100]


def test_statistics_skip_row_groups(table: Path):
    assert find_row_groups(table, Region("chr3", 10, 13)) == [10]
    assert find_row_groups(table, Region("chr3", 89, 110)) == [10, 11]
    assert find_row_groups(table, Region("2")) == [5, 6, 7, 8, 9]
    assert find_row_groups(table, Region("new", 6, 7)) == [21]
    assert find_row_groups(table, Region("chr3", 500, 600)) == []


def test_row_groups_without_statistics_are_read(tmp_path: Path):
    name = "long" * 3000  # parquet keeps no statistics of values this long
    path = write_result(tmp_path / "x.parquet", [make_row(0, contig=name, reference_contig=name)])
    assert find_row_groups(path, Region(name, 99, 100)) == [0]
    assert records(path, f"{name}:100") == [0]


def test_rows_come_whole(table: Path):
    (batch,) = find_rows(table, "chr1:5")
    assert isinstance(batch, pa.RecordBatch)
    assert batch.to_pylist()[0]["llr"] == make_row(4)["llr"]


@pytest.mark.parametrize(
    ("contigs", "asked", "meant"),
    [
        (["MT"], "chrM:1-9", "MT"),
        (["chr1", "chrM"], "MT", "chrM"),
        (["1", "2", "17"], "chr17", "17"),
        (["chr17"], "CHR17:5", "chr17"),
        ([f"chr{n}" for n in range(1, 23)], "{17}:5-9", "chr17"),
    ],
)
def test_a_contig_in_another_spelling_is_proposed(
    tmp_path: Path, contigs: list[str], asked: str, meant: str
) -> None:
    rows = [make_row(i, contig=name, reference_contig=name) for i, name in enumerate(contigs)]
    path = write_result(tmp_path / "x.parquet", rows)
    with pytest.raises(InputError, match=rf"Did you mean '{meant}'\?$"):
        list(find_rows(path, asked))


def test_no_spelling_is_proposed_where_none_fits(tmp_path: Path) -> None:
    path = write_result(tmp_path / "x.parquet", [make_row(0, contig="MT", reference_contig="MT")])
    with pytest.raises(InputError, match=r"there are 'MT'\.$"):
        list(find_rows(path, "chr17:1-9"))


def test_a_region_without_rows_is_said_on_standard_error(table: Path) -> None:
    done = CliRunner().invoke(main, ["query", str(table), "3:501-900"])
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == f"INFO: {table}: no rows for 3:501-900\n"
    assert "no rows" not in CliRunner().invoke(main, ["query", str(table), "3:11-13"]).stderr


@pytest.mark.parametrize("command", [["query", "1"], ["show"], ["export", "--to", "tsv"]])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_folder_in_place_of_a_table_names_the_table(
    tmp_path: Path, command: list[str], depth: int
) -> None:
    results = tmp_path / "results"
    scoring = results / "v" / "s"
    scoring.mkdir(parents=True)
    write_result(scoring / "scores.parquet", [make_row(0)])
    folder = (scoring, scoring.parent, results)[depth]
    name, *rest = command
    after = rest if name == "query" else []
    before = [] if name == "query" else rest
    done = CliRunner().invoke(main, [name, *before, str(folder), *after])
    assert done.exit_code == 2
    assert done.stderr == (
        f"ERROR: {folder}: is a folder. Name a table, for example {scoring / 'scores.parquet'}.\n"
    )


def test_a_folder_without_a_table_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["show", str(tmp_path)])
    assert (done.exit_code, done.stderr) == (2, f"ERROR: {tmp_path}: is a folder. Name a table.\n")


# --- consequences and genes

ANNOTATIONS = ("consequence", "consequences", "gene", "gene_id")


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    values = [
        ("missense_variant", ["intron_variant", "missense_variant"], "BRCA1", "ENSG1"),
        ("intron_variant", ["intron_variant"], "BRCA1", "ENSG1"),
        ("missense_variant", ["missense_variant"], "NBR2", "ENSG2"),
        (None, None, None, None),
        ("intergenic_variant", ["intergenic_variant"], None, None),
        ("missense_variant", ["missense_variant"], None, "ENSG1"),
    ]
    rows = [
        make_row(i, pos=1 + i) | dict(zip(ANNOTATIONS, row, strict=True))
        for i, row in enumerate(values)
    ]
    return write_result(tmp_path / "scores.parquet", rows, annotations=ANNOTATIONS)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--consequence", "missense_variant"], [0, 2, 5]),
        (["--consequence", "intron_variant"], [1]),
        (["--consequence", "intron_variant", "--consequence", "intergenic_variant"], [1, 4]),
        (["--gene", "BRCA1"], [0, 1]),
        (["--gene", "ENSG1"], [0, 1, 5]),
        (["--gene", "NBR2", "--gene", "ENSG1", "--consequence", "missense_variant"], [0, 2, 5]),
        (["chr1:2-3"], [1, 2]),
        (["chr1:2-3", "--consequence", "missense_variant"], [2]),
        (["chr1:2-3", "--gene", "brca1"], []),
        (["--consequence", "stop_gained"], []),
    ],
)
def test_rows_of_a_consequence_and_of_a_gene(
    annotated: Path, options: list[str], found: list[int]
) -> None:
    done = CliRunner().invoke(main, ["query", str(annotated), *options])
    assert done.exit_code == 0, done.stderr
    header, *lines = done.stdout.splitlines()
    assert [int(line.split("\t")[0]) for line in lines] == found
    assert "consequences" in header.split("\t")
    assert ("no rows for" in done.stderr) == (not found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name a region, --consequence or --gene"),
        (["--consequence", "missense"], "Did you mean missense_variant?"),
        (["--consequence", "a\x1bb\nc"], "is not a term of the Sequence Ontology"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_one_line(
    annotated: Path, options: list[str], said: str
) -> None:
    done = CliRunner().invoke(main, ["query", str(annotated), *options])
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.removesuffix("\n").isprintable()


@pytest.mark.parametrize("options", [["--consequence", "missense_variant"], ["--gene", "A"]])
def test_a_table_without_genes_says_how_to_get_them(table: Path, options: list[str]) -> None:
    done = CliRunner().invoke(main, ["query", str(table), *options])
    assert done.exit_code == 2
    assert "Name a `gff` for the reference" in done.stderr


def test_a_carried_column_of_that_name_is_compared_too(tmp_path: Path) -> None:
    rows = [make_row(i) | {"consequence": text} for i, text in enumerate(["FNC", "LOF", None])]
    carry = [CarryField("consequence", "string")]
    path = write_result(tmp_path / "scores.parquet", rows, carry)
    done = CliRunner().invoke(main, ["query", str(path), "--consequence", "LOF"])
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[1:]] == ["1"]
    done = CliRunner().invoke(main, ["query", str(path), "--consequence", "lof"])
    assert "The table has FNC, LOF." in done.stderr
