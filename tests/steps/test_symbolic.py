"""Symbolic alleles through all steps: scored like the same alleles in bases."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pysam
import pytest
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import SHARDS, SPLIT
from evo2_tasks.report.summary import summarize_table
from evo2_tasks.steps.export import export
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS
from tests import project
from tests.project import (
    files_of_shards,
    run_steps,
    run_windows,
    write_project,
)

rng = random.Random(5)
GENOME = {
    "chr1": "".join(rng.choices("ACGT", k=500)) + "AC" * 30 + "".join(rng.choices("ACGT", k=300)),
    "ring": "".join(rng.choices("ACGT", k=333)),
}
HEADER = project.HEADER.replace(
    "#CHROM",
    '##INFO=<ID=SVLEN,Number=A,Type=Integer,Description="length">\n'
    '##INFO=<ID=END,Number=1,Type=Integer,Description="end">\n'
    '##INFO=<ID=SVINSSEQ,Number=A,Type=String,Description="bases">\n#CHROM',
    1,
)
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def make_lines() -> tuple[list[str], list[str]]:
    """Lines with symbolic alleles, and the same alleles in bases."""
    symbolic, plain = [], []
    places = [("chr1", pos) for pos in (1, 2, 333, 520, 559, 845)]
    places += [("ring", pos) for pos in (1, 100, 320)]
    for contig, pos in places:
        bases = GENOME[contig]
        for length in (1, 2, 7):
            base, segment = bases[pos - 1], bases[pos : pos + length]
            other = "ACGT".replace(base, "")[0]
            inverted = segment.translate(COMPLEMENT)[::-1]
            rows = [
                ("<DEL>", f"SVLEN=-{length}", base + segment, base),
                ("<DUP:TANDEM>", f"END={pos + length}", base, base + segment),
                ("<INV>", f"SVLEN={length}", base + segment, base + inverted),
                ("<INS>", f"SVINSSEQ={segment[::-1]}", base, base + segment[::-1]),
            ]  # fmt: skip
            for alt, info, ref, spelled in rows:
                symbolic.append(f"{contig}\t{pos}\t.\t{base}\t{alt}\t.\t.\t{info}\n")
                plain.append(f"{contig}\t{pos}\t.\t{ref}\t{spelled}\t.\t.\t.\n")
            symbolic.append(f"{contig}\t{pos}\t.\t{base}\t{other},<DEL>\t.\t.\tSVLEN=.,{length}\n")
            deletion = f"{base}{segment}\t{other}{segment},{base}"
            plain.append(f"{contig}\t{pos}\t.\t{deletion}\t.\t.\t.\n")
    return symbolic, plain


def write_config(folder: Path, lines: list[str], **parts: Any) -> RunConfig:
    variants = (HEADER + "".join(lines)).encode()
    parts = {"reference": {"circular_contigs": ["ring"]}, **parts}
    return write_project(folder, genome=GENOME, variants=variants, **parts).load()


def test_scores_are_those_of_the_same_alleles_in_bases(tmp_path: Path) -> None:
    tables = []
    for name, lines in zip(("symbolic", "plain"), make_lines(), strict=True):
        config = write_config(tmp_path, lines, model={"checkpoint": "evo2-mini"})
        tables.append(pq.read_table(run_steps(config, tmp_path / name, stub=False)))
    symbolic, plain = tables
    rows = symbolic.to_pylist()
    assert sum(row["status"] == "scored" for row in rows) > 100
    names = ["record", "allele", "status", "window_start", "window_end", *ALL_SCORE_COLUMNS]
    assert symbolic.select(names).equals(plain.select(names))  # the same bits
    for row, other in zip(rows, plain.to_pylist(), strict=True):
        is_symbol = row["alt"].startswith("<")
        expected = other["flags"] + ["resolved_symbolic"] * (is_symbol and bool(other["llr"]))
        assert row["flags"] == expected
        assert not is_symbol or len(row["ref"]) == 1  # as in the input


def test_exports_and_the_report_have_them_as_the_input_spells_them(tmp_path: Path) -> None:
    lines = make_lines()[0]
    table = run_steps(write_config(tmp_path, lines), tmp_path / "v")
    export(table, to="vcf", out=tmp_path / "o.vcf.gz")
    rows = iter(pq.read_table(table).to_pylist())
    with pysam.VariantFile(str(tmp_path / "o.vcf.gz")) as file:
        for line, record in zip(lines, file, strict=True):
            assert str(record).startswith("\t".join(line.split("\t")[:7]))
            assert line.split("\t")[7].strip() in str(record)
            info = record.info
            exported = zip(record.alts or (), info["evo2_status"], info["evo2_reason"], strict=True)
            for alt, status, reason in exported:
                row = next(rows)
                assert (row["alt"], row["status"]) == (alt, status)
                assert (row["reason"] or ".") == (reason or ".")
    export(table, to="tsv", out=tmp_path / "o.tsv")
    assert "\t<DUP:TANDEM>\t" in (tmp_path / "o.tsv").read_text()
    summary = summarize_table(table)
    assert set(summary.by_type) <= {"snv", "mnv", "insertion", "deletion"}
    assert sum(summary.by_type.values()) == summary.counts.scored


def test_the_shards_of_an_earlier_version_are_still_read(tmp_path: Path) -> None:
    config = write_config(tmp_path, make_lines()[0])
    folder = tmp_path / "v"
    run_steps(config, folder)
    split = json.loads((folder / SHARDS / SPLIT).read_text())
    for files in files_of_shards(config, folder, "s"):
        old = pq.read_table(files.shard).drop_columns(["reason", "sv_length", "sv_sequence"])
        pq.write_table(old, files.shard)
        split["statements"]["shards"][files.shard.name] = digest_file(files.shard)
    (folder / SHARDS / SPLIT).write_text(json.dumps(split))
    run_windows(config, folder)
    placed = [
        row
        for files in files_of_shards(config, folder, "s")
        for row in pq.read_table(files.windows).to_pylist()
    ]
    of_symbols = [row for row in placed if row["alt"].startswith("<")]
    assert {(row["status"], row["reason"]) for row in of_symbols} == {("symbolic_allele", None)}


@pytest.mark.parametrize(("ref", "stops"), [("N", False), ("wrong", True)])
def test_a_ref_that_says_nothing_is_no_mismatch(tmp_path: Path, ref: str, stops: bool) -> None:
    wrong = {"A": "C", "C": "G", "G": "T", "T": "A"}
    lines = [
        f"chr1\t{pos}\t.\t{'N' if ref == 'N' else wrong[base]}\t<DEL>\t.\t.\tSVLEN=5\n"
        for pos, base in enumerate(GENOME["chr1"][99:139], start=100)
    ]
    config = write_config(tmp_path, lines)
    if stops:
        with pytest.raises(InputError, match="40 of 40 alleles"):
            run_steps(config, tmp_path / "v")
        return
    rows = pq.read_table(run_steps(config, tmp_path / "v")).to_pylist()
    assert {(row["status"], row["reason"]) for row in rows} == {("symbolic_allele", "unknown_ref")}


def test_a_filter_by_length_does_not_count_a_symbol(tmp_path: Path) -> None:
    base = GENOME["chr1"][99]
    lines = [f"chr1\t100\t.\t{base}\t<DEL>\t.\t.\tSVLEN=12\n"]
    filters = {"variant_set": {"filters": {"max_allele_length": 2}}}
    [row] = pq.read_table(
        run_steps(write_config(tmp_path, lines, **filters), tmp_path / "v")
    ).to_pylist()
    assert row["status"] == "scored"


def test_a_shared_window_runs_once(tmp_path: Path) -> None:
    """A symbolic allele next to the same one in bases costs nothing."""
    bases = GENOME["chr1"]
    lines = [
        f"chr1\t100\t.\t{bases[99]}\t<DEL>\t.\t.\tSVLEN=12\n",
        f"chr1\t100\t.\t{bases[99:112]}\t{bases[99]}\t.\t.\t.\n",
    ]
    windows_run = []
    for name, some in (("one", lines[:1]), ("two", lines)):
        config = write_config(tmp_path, some, model={"checkpoint": "evo2-mini"})
        folder = tmp_path / name
        run_steps(config, folder, stub=False)
        windows_run.append(json.loads((folder / "s" / "run.json").read_text())["windows_run"])
    assert windows_run[0] == windows_run[1]


def test_identifiers_and_genes_are_those_of_the_same_alleles_in_bases(tmp_path: Path) -> None:
    gff = tmp_path / "g.gff3"
    gff.write_text(
        "##gff-version 3\n"
        "chr1\t.\tgene\t90\t400\t.\t+\t.\tID=gene:g;Name=G;biotype=protein_coding\n"
        "chr1\t.\tmRNA\t90\t400\t.\t+\t.\tID=transcript:t;Parent=gene:g;biotype=protein_coding\n"
        "chr1\t.\texon\t90\t400\t.\t+\t.\tParent=transcript:t\n"
        "chr1\t.\tCDS\t100\t390\t.\t+\t0\tParent=transcript:t\n"
    )
    names = ["vrs_id", "spdi", "consequence", "consequences", "gene", "transcript", "amino_acids"]
    tables = []
    for name, lines in zip(("symbolic", "plain"), make_lines(), strict=True):
        config = write_config(
            tmp_path,
            lines,
            variant_set={"identifiers": ["vrs", "spdi"]},
            reference={"circular_contigs": ["ring"], "gff": str(gff)},
        )
        tables.append(pq.read_table(run_steps(config, tmp_path / name)).select(names))
    symbolic, plain = tables
    assert symbolic.to_pylist() == plain.to_pylist()
    assert symbolic["spdi"].null_count < 10
    assert "frameshift_variant" in symbolic["consequence"].to_pylist()


def test_a_table_of_an_earlier_version_is_still_read(tmp_path: Path) -> None:
    base = GENOME["chr1"][99]
    lines = [f"chr1\t100\t.\t{base}\t<CNV>,T,G,C,A\t.\t.\t.\n"] * 12
    lines += ["chr1\t9999\t.\tA\tC\t.\t.\t.\n"]
    table = run_steps(write_config(tmp_path, lines), tmp_path / "v")
    file = pq.ParquetFile(table)
    old = file.read().drop_columns(["reason"])
    pq.write_table(old.replace_schema_metadata(file.schema_arrow.metadata), table)
    run = json.loads(table.with_name("run.json").read_text())
    del run["by_reason"]
    run["table_digest"] = digest_file(table)
    table.with_name("run.json").write_text(json.dumps(run))
    for command in (
        ["show", str(table)],
        ["query", str(table), "chr1:100"],
        ["export", str(table), "--to", "vcf", "--out", str(tmp_path / "o.vcf.gz")],
        ["export", str(table), "--to", "tsv", "--out", str(tmp_path / "o.tsv")],
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.stderr
        assert "Traceback" not in result.output
    with pysam.VariantFile(str(tmp_path / "o.vcf.gz")) as exported:
        assert {one for record in exported for one in record.info["evo2_reason"]} <= {".", None}
    summary = summarize_table(table)
    assert summary.counts.by_reason == {}
    assert summary.counts.by_status == run["by_status"]
