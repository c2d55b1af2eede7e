"""Exports of a table with ``calibrated.parquet`` next to it: read by bcftools, pysam and pandas.

The numbers expected are those of the two Parquet files, joined by pandas.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pyarrow.parquet as pq
import pysam
import pysam.bcftools
import pytest

from evo2_tasks.commands.query import query
from evo2_tasks.config.load import load_config
from evo2_tasks.errors import InputError
from evo2_tasks.exports import bedgraph, sites, tsv, vcf
from evo2_tasks.io.digests import digest_file
from evo2_tasks.steps.index import index
from tests.table.build import Row, make_row, write_calibrated, write_result

BOTH = {"common": (True, True)}
SEVERAL = {"a.b": (True, False), "c-d": (False, True), "quantile": (True, True)}
OTHER = r"calibrated\.parquet was made from another table"
TEXT = {"stratum", "stratum_fallback", "lr_reason"}

VCF = "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=100000>\n"
VCF += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def make_rows(num_records: int = 40) -> list[Row]:
    """Records with two alleles each; some rows without a score, some alleles twice."""
    rows = []
    for record in range(num_records):
        pos = 100 + record - record % 3
        for allele, alt in enumerate("CG", start=1):
            status = "too_many_n" if record % 7 == 3 else "scored"
            rows.append(make_row(record, allele, status, pos=pos, ref="A", alt=alt))
    return rows


def write_table(
    folder: Path, kinds: dict[str, tuple[bool, bool]] | None, **options: Any
) -> tuple[Path, list[Row]]:
    """A table with its ``run.json``, its variants and its calibrated columns."""
    rows = make_rows()
    stored = rows[::-1] if options.get("order") == "position" else rows
    table = write_result(folder / "scores.parquet", stored, row_group_rows=17, **options)
    lines = [
        f"chr1\t{rows[i]['pos']}\t.\tA\tC,G\t.\t.\tevo2_quantile=7\n"
        for i in range(0, len(rows), 2)
    ]
    variants = folder / "in.vcf"
    variants.write_text(VCF + "".join(lines))
    source = {"variants": str(variants), "format": "vcf", "records": len(lines)}
    run = {"alleles": len(rows), "shards": [], "table_digest": digest_file(table)}
    run |= {"variants": source, "contigs": {"chr1": 100_000}}
    table.with_name("run.json").write_text(json.dumps(run))
    if kinds is not None:
        write_calibrated(table, stored, kinds, row_group_rows=11)
    return table, rows


def read_calibrated(table: Path) -> pd.DataFrame:
    """The rows of ``calibrated.parquet`` with those of the table, by key."""
    calibrated = pd.read_parquet(table.with_name("calibrated.parquet"))
    scores = pd.read_parquet(table, columns=["record", "allele", "pos", "alt", "llr", "status"])
    return scores.merge(calibrated, on=["record", "allele"]).sort_values(["record", "allele"])


def by_bcftools(vcf_file: Path, fields: Sequence[str]) -> list[list[str]]:
    """Cells of each allele: POS, ALT, and the fields, as bcftools prints them."""
    columns = "\t".join(f"%INFO/{field}" for field in fields)
    text = pysam.bcftools.query("-f", f"%POS\t%ALT\t{columns}\n", str(vcf_file))
    return [line.split("\t") for line in text.splitlines()]


def require_equal(text: str, value: Any, column: str) -> None:
    """Compare a value in a VCF with one that pandas read. bcftools prints floats of 32 bits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        assert text == ".", column
    elif column.rpartition(".")[2] in TEXT:
        assert unquote(text) == (str(value).lower() if isinstance(value, bool) else value)
    else:
        assert float(text) == pytest.approx(value, rel=1e-5), column


@pytest.mark.parametrize("kinds", [BOTH, SEVERAL])
@pytest.mark.parametrize("order", ["input", "position"])
def test_bcftools_reads_the_calibrated_columns(
    tmp_path: Path, kinds: dict[str, tuple[bool, bool]], order: str
) -> None:
    table, _ = write_table(tmp_path, kinds, order=order)
    out = tmp_path / "scores.vcf.gz"
    vcf.write(table, out)
    expected = read_calibrated(table)
    columns = [*expected.columns[6:]]
    fields = [f"evo2_{name.replace('-', '_')}" for name in columns]
    # One line for each allele, as `Number=A` allows.
    split = tmp_path / "split.vcf"
    pysam.bcftools.norm("-m-", "-o", str(split), str(out), catch_stdout=False)
    found = by_bcftools(split, fields)
    assert len(found) == len(expected)
    for (pos, alt, *cells), row in zip(found, expected.to_dict("records"), strict=True):
        assert (int(pos), alt) == (row["pos"], row["alt"])
        for cell, name in zip(cells, columns, strict=True):
            require_equal(cell, row[name], name)


def test_the_vcf_has_all_digits_and_its_definitions_have_types(tmp_path: Path) -> None:
    table, _ = write_table(tmp_path, BOTH)
    out = tmp_path / "scores.vcf.gz"
    vcf.write(table, out)
    lines = gzip.decompress(out.read_bytes()).decode().splitlines()
    first = next(line for line in lines if line[0] != "#")
    info = dict(entry.split("=") for entry in first.split("\t")[7].split(";"))
    values = read_calibrated(table)["quantile"].tolist()[:2]
    assert [float(text) for text in info["evo2_quantile"].split(",")] == values
    assert first.count("evo2_quantile=") == 1  # that of the input is replaced
    header = pysam.VariantFile(str(out)).header
    types = {name: header.info[f"evo2_{name}"].type for name in ("lr", "evidence", "stratum")}
    assert types == {"lr": "Float", "evidence": "Integer", "stratum": "String"}
    assert "calibration common" in header.info["evo2_phred"].description
    assert "not for clinical use" in header.info["evo2_evidence"].description


def test_a_filter_of_bcftools_finds_the_rows(tmp_path: Path) -> None:
    table, _ = write_table(tmp_path, SEVERAL)
    out = tmp_path / "scores.sites.vcf.gz"
    sites.write(table, out)
    condition = "INFO/evo2_a.b.phred>=10 && INFO/evo2_c_d.evidence>0"
    text = pysam.bcftools.query("-i", condition, "-f", "%POS\t%ALT\n", str(out))
    rows = read_calibrated(table)
    rows = rows[rows["status"] == "scored"].drop_duplicates(["pos", "alt"])
    wanted = rows[(rows["a.b.phred"] >= 10) & (rows["c-d.evidence"] > 0)]
    assert 0 < len(wanted) < len(rows)
    expected = sorted(zip(wanted["pos"], wanted["alt"], strict=True))
    assert [(int(pos), alt) for pos, alt in map(str.split, text.splitlines())] == expected


def test_bcftools_annotates_another_vcf_with_them(tmp_path: Path) -> None:
    table, _ = write_table(tmp_path, SEVERAL)
    out = tmp_path / "scores.sites.vcf.gz"
    sites.write(table, out)
    index(out)
    sample = tmp_path / "sample.vcf.gz"
    lines = [f"chr1\t{pos}\t.\tA\tC\t.\t.\t.\n" for pos in (100, 103, 121, 5_000)]
    with pysam.BGZFile(str(sample), "w") as file:
        file.write((VCF + "".join(lines)).encode())
    pysam.tabix_index(str(sample), preset="vcf", force=True)
    names = ["evo2_a.b.phred", "evo2_c_d.evidence"]
    columns = ",".join(f"INFO/{name}" for name in names)
    done = tmp_path / "done.vcf"
    pysam.bcftools.annotate(
        "-a", str(out), "-c", columns, "-o", str(done), str(sample), catch_stdout=False
    )
    rows = read_calibrated(table)
    rows = rows[(rows["status"] == "scored") & (rows["alt"] == "C")].drop_duplicates("pos")
    values = rows.set_index("pos")[["a.b.phred", "c-d.evidence"]].reindex([100, 103, 121, 5_000])
    assert values["a.b.phred"].notna().tolist() == [True, True, True, False]
    found = by_bcftools(done, names)
    for (_, _, *cells), wanted in zip(found, values.to_numpy().tolist(), strict=True):
        for cell, value, name in zip(cells, wanted, names, strict=True):
            require_equal(cell, value, name)


@pytest.mark.parametrize("kinds", [BOTH, SEVERAL])
def test_a_site_has_the_values_of_its_first_row(
    tmp_path: Path, kinds: dict[str, tuple[bool, bool]]
) -> None:
    table, _ = write_table(tmp_path, kinds)
    out = tmp_path / "scores.sites.vcf.gz"
    sites.write(table, out)
    expected = read_calibrated(table)
    expected = expected[expected["status"] == "scored"].drop_duplicates(["pos", "alt"])
    assert len(expected) < 40
    columns = [*expected.columns[6:]]
    found = by_bcftools(out, [f"evo2_{name.replace('-', '_')}" for name in columns])
    rows = expected.sort_values(["pos", "alt"]).to_dict("records")
    for (pos, alt, *cells), row in zip(found, rows, strict=True):
        assert (int(pos), alt) == (row["pos"], row["alt"])
        for cell, name in zip(cells, columns, strict=True):
            require_equal(cell, row[name], name)


def read_text(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), sep="\t", quoting=csv.QUOTE_NONE)


@pytest.mark.parametrize("kinds", [BOTH, SEVERAL])
def test_the_text_has_the_calibrated_columns_last(
    tmp_path: Path, kinds: dict[str, tuple[bool, bool]]
) -> None:
    table, _ = write_table(tmp_path, kinds)
    out = tmp_path / "scores.tsv"
    tsv.write(table, out)
    found = read_text(out.read_text())
    calibrated = pd.read_parquet(table.with_name("calibrated.parquet"))
    names = [*pq.read_schema(table).names, *calibrated.columns[2:]]
    assert [*found.columns] == names
    for name in calibrated.columns:
        values, text = calibrated[name].tolist(), found[name].tolist()
        for value, cell in zip(values, text, strict=True):
            is_null = value is None or value != value
            assert (cell != cell) if is_null else cell == value, name


def test_a_query_shows_the_calibrated_columns(tmp_path: Path) -> None:
    table, _ = write_table(tmp_path, SEVERAL)
    found = read_text("\n".join(query(table, "chr1:110-120")))
    expected = read_calibrated(table)
    expected = expected[expected["pos"].between(110, 120)]
    assert [*found["record"]] == [*expected["record"]]
    assert [*found["a.b.phred"].dropna()] == [*expected["a.b.phred"].dropna()]
    assert [*found.columns][-9:] == [*expected.columns][-9:]


def export_all(table: Path) -> dict[str, bytes]:
    """The text of each format, without the header of a VCF."""
    writers = {"scores.vcf.gz": vcf, "scores.sites.vcf.gz": sites, "scores.tsv.gz": tsv}
    writers |= {"scores.bedgraph.gz": bedgraph}
    texts = {}
    for name, writer in writers.items():
        writer.write(table, table.with_name(name))
        texts[name] = gzip.decompress(table.with_name(name).read_bytes())
    return texts


def test_without_the_file_the_exports_are_as_before(tmp_path: Path) -> None:
    table, _ = write_table(tmp_path, None)
    before = export_all(table)
    assert not any(b"evo2_phred" in text for text in before.values())
    write_calibrated(table, make_rows(), BOTH)
    after = export_all(table)
    assert [name for name in before if before[name] == after[name]] == ["scores.bedgraph.gz"]
    table.with_name("calibrated.parquet").unlink()
    assert export_all(table) == before


def test_a_file_of_another_table_is_one_clear_line_and_writes_nothing(tmp_path: Path) -> None:
    table, rows = write_table(tmp_path, BOTH)
    stale = table.with_name("calibrated.parquet").read_bytes()
    write_result(table, rows)  # other row groups, so other bytes
    run = json.loads(table.with_name("run.json").read_text())
    run["table_digest"] = digest_file(table)
    table.with_name("run.json").write_text(json.dumps(run))
    for writer, name in ((vcf, "o.vcf.gz"), (sites, "o.sites.vcf.gz"), (tsv, "o.tsv")):
        with pytest.raises(InputError, match=OTHER):
            writer.write(table, tmp_path / name)
        assert not (tmp_path / name).exists()
    with pytest.raises(InputError, match=OTHER):
        [*query(table, "chr1")]
    assert table.with_name("calibrated.parquet").read_bytes() == stale


def test_two_calibrations_with_one_field_are_one_clear_line(tmp_path: Path) -> None:
    table, _ = write_table(tmp_path, {"a-b": (True, False), "a_b": (True, False)})
    for writer, name in ((vcf, "o.vcf.gz"), (sites, "o.sites.vcf.gz")):
        with pytest.raises(InputError) as caught:
            writer.write(table, tmp_path / name)
        assert "the columns a-b.stratum and a_b.stratum would be one INFO field" in str(
            caught.value
        )
        assert not (tmp_path / name).exists()
    tsv.write(table, tmp_path / "o.tsv")


@pytest.mark.parametrize("exports", [["vcf"], ["tsv", "sites"], ["tsv"], []])
def test_the_config_refuses_two_calibrations_with_one_field(exports: list[str]) -> None:
    config: dict[str, Any] = {
        "references": {"g": {"fasta": "g.fa"}},
        "models": {"m": {"checkpoint": "evo2-mini"}},
        "scorings": {"s": {"model": "m", "window_length": 64}},
        "variant_sets": {"v": {"variants": "v.vcf", "reference": "g", "scorings": ["s"]}},
        "calibrations": {name: {"background": "v"} for name in ("a-b", "a_b", "a.b")},
    }
    config["variant_sets"]["v"] |= {"exports": exports, "calibrations": ["a.b", "a-b", "a_b"]}
    if not {"vcf", "sites"}.intersection(exports):
        load_config(config, look_for_files=False)
        return
    with pytest.raises(InputError) as caught:
        load_config(config, look_for_files=False)
    message = str(caught.value)
    assert "variant_sets.v.calibrations[2]: 'a_b' and 'a-b' would have the same INFO" in message
    assert "\n" not in message


def test_the_text_does_not_overwrite_the_calibrated_columns(tmp_path: Path) -> None:
    table, _ = write_table(tmp_path, BOTH)
    with pytest.raises(InputError, match=r"calibrated\.parquet"):
        tsv.write(table, tmp_path / "calibrated.parquet")
