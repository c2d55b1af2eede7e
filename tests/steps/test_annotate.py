"""The step ``annotate``: its rows, what of the config it reads, and its columns in the table."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pysam
import pytest

from evo2_tasks.config.resolve import resolve_annotate, resolve_carry, resolve_merge
from evo2_tasks.config.schema import GENETIC_CODES
from evo2_tasks.errors import InputError
from evo2_tasks.genome.codons import START_CODONS
from evo2_tasks.layout import (
    ANNOTATIONS,
    CONSEQUENCE_COLUMNS,
    IDENTIFIER_COLUMNS,
    SCORES,
    SHARDS,
    SPLIT,
    WINDOWS,
)
from evo2_tasks.steps.merge import merge
from evo2_tasks.table import schema
from evo2_tasks.table.parquet import read_metadata
from evo2_tasks.table.provenance import read_object
from tests.project import HEADER, Project, run_annotate, run_carry, run_steps, write_project

SEQUENCE = "".join(random.Random(8).choices("ACGT", k=600))
GENES = """##gff-version 3
c\tx\tgene\t101\t300\t.\t+\t.\tID=gene:G1;Name=one;biotype=lncRNA
c\tx\tlnc_RNA\t101\t300\t.\t+\t.\tID=transcript:T1;Parent=gene:G1;biotype=lncRNA
c\tx\texon\t101\t150\t.\t+\t.\tParent=transcript:T1
c\tx\texon\t251\t300\t.\t+\t.\tParent=transcript:T1
c\tx\tgene\t401\t460\t.\t-\t.\tID=gene:G2;Name=two;biotype=protein_coding
c\tx\tmRNA\t401\t460\t.\t-\t.\tID=transcript:T2;Parent=gene:G2;biotype=protein_coding
c\tx\texon\t401\t460\t.\t-\t.\tParent=transcript:T2
c\tx\tCDS\t401\t460\t.\t-\t0\tParent=transcript:T2
"""
CSQ = (
    '##INFO=<ID=CSQ,Number=.,Type=String,Description="Consequence annotations from Ensembl VEP. '
    'Format: Allele|Consequence|SYMBOL|Gene|Feature_type|Feature|STRAND">\n'
)


def other_base(pos: int) -> str:
    return next(base for base in "ACGT" if base != SEQUENCE[pos - 1])


def snv(pos: int, *, contig: str = "c", filters: str = ".", info: str = ".") -> str:
    return f"{contig}\t{pos}\t.\t{SEQUENCE[pos - 1]}\t{other_base(pos)}\t.\t{filters}\t{info}\n"


def make(folder: Path, variants: str, *, genes: str | None = GENES, **parts: Any) -> Project:
    """A project whose reference has genes."""
    folder.mkdir(exist_ok=True)
    reference = dict(parts.pop("reference", {}))
    if genes is not None:
        (folder / "genes.gff3").write_text(genes)
        reference["gff"] = str(folder / "genes.gff3")
    return write_project(
        folder, genome={"c": SEQUENCE}, variants=variants, reference=reference, **parts
    )


def rows_of(project: Project, folder: Path) -> list[dict[str, Any]]:
    path = run_annotate(project.load(), folder)
    assert path is not None
    return list(pq.read_table(path).to_pylist())


# --- lists that must agree


def test_the_names_of_the_columns_are_those_of_the_layout() -> None:
    assert [column.name for column in schema.CONSEQUENCE_COLUMNS] == [*CONSEQUENCE_COLUMNS]
    assert [column.name for column in schema.IDENTIFIER_COLUMNS] == [*IDENTIFIER_COLUMNS.values()]
    assert {column.made_by for column in schema.ANNOTATION_COLUMNS} == {"annotate"}
    assert all(column.nullable for column in schema.ANNOTATION_COLUMNS)


def test_the_genetic_codes_of_the_config_are_those_with_known_start_codons() -> None:
    assert {*GENETIC_CODES} == {*START_CODONS} - {0}


# --- rows


def test_there_is_a_row_for_each_allele_of_the_input(tmp_path: Path) -> None:
    ref = SEQUENCE[129]
    lines = [
        snv(50),
        snv(120),
        snv(200),
        "c\tx\tnot a record\n",
        f"c\t130\t.\t{ref}\t{ref}T,{other_base(130)},<DEL>,*,.\t.\t.\t.\n",
        snv(130, contig="other"),
        f"c\t130\t.\t{other_base(130)}\t{ref}\t.\t.\t.\n",  # swapped
        f"c\t140\t.\t{SEQUENCE[139]}\t.\t.\t.\t.\n",
        snv(430, filters="LowQual"),
        snv(150),
    ]
    variant_set = {"filters": {"pass_only": True}, "identifiers": ["spdi"]}
    rows = rows_of(make(tmp_path, HEADER + "".join(lines), variant_set=variant_set), tmp_path)
    found = [(row["record"], row["allele"], row["consequence"], row["gene"]) for row in rows]
    exon, none = ("non_coding_transcript_exon_variant", "one"), (None, None)
    if found[1][2] == "non_coding_transcript_variant":
        exon = ("non_coding_transcript_variant", "one")
    assert found == [
        (0, 1, "intergenic_variant", None),
        (1, 1, *exon),
        (2, 1, "intron_variant", "one"),
        (3, 0, *none),
        (4, 1, *exon),
        (4, 2, *exon),
        *((4, allele, *none) for allele in (3, 4, 5)),
        (5, 1, *none),
        (6, 1, *none),
        (7, 0, *none),
        (8, 1, rows[10 + 2]["consequence"], "two"),  # filters do not apply
        (9, 1, *exon),
    ]
    assert rows[12]["consequence"] in ("missense_variant", "synonymous_variant", "stop_gained")
    for row in rows:
        assert (row["spdi"] is None) == (row["consequence"] is None)


def test_a_symbolic_allele_that_the_reference_resolves_is_annotated_as_if_written_out(
    tmp_path: Path,
) -> None:
    ref, bases = SEQUENCE[129], SEQUENCE[129:135]
    lines = [
        f"c\t130\t.\t{ref}\t<DEL>\t.\t.\tSVTYPE=DEL;END=135;SVLEN=-5\n",
        f"c\t130\t.\t{bases}\t{ref}\t.\t.\t.\n",
    ]
    project = make(tmp_path, HEADER + "".join(lines), variant_set={"identifiers": ["vrs", "spdi"]})
    symbolic, written = rows_of(project, tmp_path)
    assert symbolic["gene"] == "one"
    assert {**symbolic, "record": 1} == written


def test_the_table_has_the_columns_behind_the_scores_and_before_the_carried_ones(
    tmp_path: Path,
) -> None:
    lines = "".join(snv(pos) for pos in (50, 120, 430))
    variant_set = {"carry": ["ID"], "identifiers": ["spdi"], "sort_by_position": True}
    project = make(tmp_path, HEADER + lines, variant_set=variant_set, shards=2)
    table = run_steps(project.load(), tmp_path)
    names = pq.read_schema(table).names
    own = [column.name for column in schema.FINAL_COLUMNS]
    assert names == [*own, *CONSEQUENCE_COLUMNS, "spdi", "ID"]
    made = schema.annotation_columns(pq.read_schema(table))
    assert [column.name for column in made] == [*CONSEQUENCE_COLUMNS, "spdi"]
    rows = {(row["record"], row["allele"]): row for row in pq.read_table(table).to_pylist()}
    for row in pq.read_table(tmp_path / "annotations.parquet").to_pylist():
        joined = rows[row["record"], row["allele"]]
        assert {name: joined[name] for name in row} == row
    stated = read_object(table, read_metadata(table), "annotations")
    assert stated is not None
    assert [*stated["inputs"]] == ["gff"]
    assert stated["settings"]["columns_made"] == [*CONSEQUENCE_COLUMNS, "spdi"]


def test_a_set_that_asks_for_nothing_has_no_such_file(tmp_path: Path) -> None:
    project = make(tmp_path, HEADER + snv(50), genes=None)
    assert resolve_annotate(project.load(), "v").columns == ()
    table = run_steps(project.load(), tmp_path)
    assert not (tmp_path / "annotations.parquet").exists()
    assert pq.read_schema(table).names == [column.name for column in schema.FINAL_COLUMNS]
    assert b"evo2_tasks.annotations" not in (pq.read_metadata(table).metadata or {})


def test_the_number_of_shards_changes_nothing(tmp_path: Path) -> None:
    lines = HEADER + "".join(snv(pos) for pos in range(90, 500, 9))
    files = []
    for shards in (1, 3):
        folder = tmp_path / str(shards)
        project = make(folder, lines, variant_set={"identifiers": ["vrs"]}, shards=shards)
        path = run_annotate(project.load(), folder)
        assert path is not None
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_lists_regions_and_tables_are_annotated_too(tmp_path: Path) -> None:
    bed = make(tmp_path / "bed", "c\t119\t121\n", variant_set={"saturate": ["snv"]})
    assert {row["gene"] for row in rows_of(bed, tmp_path / "bed")} == {"one"}
    listed = make(tmp_path / "list", f"c-120-{SEQUENCE[119]}-{other_base(120)}\n")
    assert [row["gene"] for row in rows_of(listed, tmp_path / "list")] == ["one"]


# --- consequences of the input


def test_consequences_of_the_input_are_in_the_table(tmp_path: Path) -> None:
    header = HEADER.replace("#CHROM", CSQ + "#CHROM")
    entry = "|missense_variant&splice_region_variant|S|G|Transcript|T|-1"
    variants = header + "".join(
        [
            snv(50, info=f"CSQ={other_base(50)}{entry}"),
            snv(60),
            snv(70, contig="elsewhere", info=f"X;CSQ={other_base(70)}{entry}"),
            "c\n",
        ]
    )
    variant_set = {"consequence_from": "CSQ", "labels": LABELS}
    project = make(tmp_path, variants, genes=None, variant_set=variant_set)
    config = project.load()
    # Fields that `annotate` makes are not looked for in the file.
    assert resolve_carry(config, "v").carried == ()
    rows = rows_of(project, tmp_path)
    for row in (rows[0], rows[2]):  # also where the reference lacks the contig
        assert row["consequence"] == "missense_variant"
        assert row["consequences"] == ["missense_variant", "splice_region_variant"]
        assert (row["gene"], row["gene_id"], row["transcript"]) == ("S", "G", "T")
        assert row["transcript_strand"] == "-"
    for row in (rows[1], rows[3]):
        assert {row[name] for name in CONSEQUENCE_COLUMNS} == {None}


LABELS = {"consequence": {"positive": ["missense_variant"], "negative": ["intron_variant"]}}


def test_a_bcf_and_a_region_of_an_indexed_file_give_the_same(tmp_path: Path) -> None:
    header = HEADER.replace("#CHROM", "##contig=<ID=c>\n" + CSQ + "#CHROM")
    entry = "|missense_variant|S%3D|G|Transcript|T|1,-|intron_variant|S|G|Transcript|U|1"
    lines = [snv(pos, info=f"CSQ={other_base(pos)}{entry}") for pos in (50, 60)]
    expected = rows_of(
        make(tmp_path, header + "".join(lines), genes=None, variant_set=FROM_CSQ), tmp_path
    )
    assert expected[0]["gene"] == "S="
    plain = tmp_path / "in.vcf"
    bcf, bgzipped = tmp_path / "in.bcf", tmp_path / "in.vcf.gz"
    with (
        pysam.VariantFile(str(plain)) as source,
        pysam.VariantFile(str(bcf), "wb", header=source.header) as out,
    ):
        for record in source:
            out.write(record)
    pysam.tabix_compress(str(plain), str(bgzipped))
    pysam.tabix_index(str(bgzipped), preset="vcf")
    for file, keys in ((bcf, {}), (bgzipped, {"regions": ["c:1-600"]})):
        config = make(
            tmp_path / file.suffix,
            "",
            genes=None,
            variant_set={**FROM_CSQ, "variants": str(file), **keys},
        )
        assert rows_of(config, tmp_path / file.suffix) == expected


FROM_CSQ = {"consequence_from": "CSQ"}


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (HEADER, r"variant_sets\.v\.consequence_from: the header of .*in\.vcf defines no INFO fie"),
        ("contig\tpos\tref\talt\nc\t5\tA\tC\n", r"consequence_from: CSQ is an INFO field of a VCF"),
        (f"c-120-{SEQUENCE[119]}-A\n", "is a list of variants. Remove"),
    ],
)
def test_a_file_without_the_field_is_one_line_before_any_row(
    tmp_path: Path, variants: str, message: str
) -> None:
    project = make(tmp_path, variants, genes=None, variant_set=FROM_CSQ)
    with pytest.raises(InputError, match=message):
        run_annotate(project.load(), tmp_path)
    assert not (tmp_path / "annotations.parquet").exists()


def test_a_field_that_no_record_has_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="evo2_tasks")
    header = HEADER.replace("#CHROM", CSQ + "#CHROM")
    project = make(tmp_path, header + snv(50) + snv(60), genes=None, variant_set=FROM_CSQ)
    rows_of(project, tmp_path)
    assert "2 alleles, 0 with consequence" in caplog.text
    assert "no allele has a consequence" in caplog.text


# --- settings


def test_a_label_of_the_genes_without_genes_says_what_gives_them(tmp_path: Path) -> None:
    project = make(tmp_path, HEADER + snv(50), genes=None, variant_set={"labels": LABELS})
    with pytest.raises(InputError, match=r"no INFO field 'consequence'.*, set `gff` or `conseq"):
        run_carry(project.load(), tmp_path)


def test_a_genetic_code_of_a_contig_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    reference = {"genetic_codes": {"MT": 2}}
    project = make(tmp_path, HEADER + snv(50), reference=reference)
    with pytest.raises(
        InputError, match=r"genetic_codes: .*MT.* is not a contig of .*, whose contigs"
    ):
        run_annotate(project.load(), tmp_path)


def test_a_broken_set_of_genes_leaves_no_file(tmp_path: Path) -> None:
    project = make(tmp_path, HEADER + snv(50), genes="no genes\n")
    with pytest.raises(InputError, match=r"genes\.gff3"):
        run_annotate(project.load(), tmp_path)
    assert not (tmp_path / "annotations.parquet").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_merge_names_the_file_that_it_needs(tmp_path: Path) -> None:
    project = make(tmp_path, HEADER + snv(50), genes=None, variant_set={"identifiers": ["spdi"]})
    config = project.load()
    table = run_steps(config, tmp_path)
    files: dict[str, Path] = {
        "split_file": tmp_path / SHARDS / SPLIT,
        "windows_folder": table.parent / WINDOWS,
        "scores_folder": table.parent / SCORES,
        "out": tmp_path / "new.parquet",
        "run_json": tmp_path / "new.json",
    }
    annotations = tmp_path / ANNOTATIONS
    settings = resolve_merge(config, "v", "s")
    for joined, message in (
        ([], "asks for spdi. Name the file that `annotate` wrote"),
        ([annotations, annotations], "two files of `annotate` are named"),
        ([table], "cannot be joined to scores"),
    ):
        with pytest.raises(InputError, match=message):
            merge(settings, joined=joined, **files)
    merge(settings, joined=[annotations], **files)
    assert files["out"].read_bytes() == table.read_bytes()
