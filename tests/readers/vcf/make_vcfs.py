"""Writes the VCFs that the readers are tried on, with the project's own exports.

Next to them, what was written is in ``expected.json``: the values of each line as the table has
them, and the answers to the questions of ``read_vcfs.py``. The lines are an SNV, three ALTs of
which one has no score, a line without ALT, a deletion by symbol, indels, a breakend whose mate is
on a contig in lower case, and one on a contig with a colon in its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from evo2_tasks.exports.sites import write as write_sites
from evo2_tasks.exports.vcf import export_vcf
from tests.readers.encode import encode
from tests.table.build import Row, make_row, write_result, write_run

ANNOTATIONS: Final = (
    "consequence", "consequences", "gene", "gene_id", "transcript", "transcript_strand",
    "amino_acids", "vrs_id", "spdi",
)  # fmt: skip
CONTIGS: Final = {"chr1": 1_000_000, "HLA-A*01:01": 3_503}
META: Final = """\
##source=caller
##INFO=<ID=DP,Number=1,Type=Integer,Description="Depth, \\"raw\\"">
##INFO=<ID=DB,Number=0,Type=Flag,Description="In dbSNP">
##INFO=<ID=END,Number=1,Type=Integer,Description="End">
##INFO=<ID=SVTYPE,Number=1,Type=String,Description="Kind">
##FILTER=<ID=q10,Description="Quality below 10">
##ALT=<ID=DEL,Description="Deletion">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
"""
LINES: Final = """\
chr1\t10\trs1\tA\tC\t50\tPASS\tDP=3\tGT\t0/1\t0/0
chr1\t20\t.\tA\tG,T,*\t.\t.\t.\tGT\t1/2\t./.
chr1\t25\t.\tA\t.\t.\tq10\tDP=1;DB\tGT\t0/0\t0/0
chr1\t30\tx;y\tA\t<DEL>\t.\t.\tEND=33;SVTYPE=DEL\tGT\t0/1\t0/0
chr1\t40\t.\tACG\tA,ACGG\t.\t.\tDP=7\tGT\t0|1\t2|1
chr1\t50\t.\tG\tG[chr1:500[\t.\t.\tSVTYPE=BND\tGT\t0|1\t0/0
HLA-A*01:01\t7\t.\tC\tT\t.\tPASS\tDP=7\tGT\t0/1\t1/1
"""
COLUMNS: Final = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
VERSIONS: Final = ("4.2", "4.3", "4.5")
FIELDS: Final = (
    "status", "reason", "flags", "llr", "consequences", "gene", "transcript_strand", "spdi",
)  # fmt: skip
SCORES: Final = (-0.1, -1.2345678901234567, 1e-9, -12.5, -0.1, 0.0, -3.0)
"""The llr of the alleles that have one, in order."""

FAR: Final = {"one_billion": (1_000_000_000, 600_000_000), "four_billion": (4 * 10**9, 3 * 10**9)}
"""Length of a contig, and the last position with an allele."""


def make_rows() -> list[Row]:
    """The table of the lines."""
    scores = iter(SCORES)
    rows = []
    for record, line in enumerate(LINES.splitlines()):
        contig, pos, _, ref, alts, *_ = line.split("\t")
        for number, alt in enumerate(alts.split(","), start=1):
            status = {".": "missing_allele", "*": "non_acgt_allele"}.get(alt, "scored")
            status = "breakend" if "[" in alt else status
            row = make_row(
                record, 0 if alt == "." else number, status,
                contig=contig, reference_contig=contig, pos=int(pos), ref=ref, alt=alt,
            )  # fmt: skip
            row |= dict.fromkeys(ANNOTATIONS)
            if status == "scored":
                row["llr"] = next(scores)
                row |= {"gene": "MT-ND2", "transcript_strand": "+"}
            if status == "scored" and number == 1:
                row["flags"] = ["clipped", "moved"]
                row["consequences"] = ["missense_variant", "splice, region"]
                row |= {"gene": "A;B 5%, 25%20", "transcript_strand": "-"}
                row["spdi"] = "NC_1:9:A:C"
            row["reason"] = "paired_breakend" if status == "breakend" else None
            rows.append(row)
    return rows


def _values_of(rows: Sequence[Row], field: str) -> list[Any] | None:
    """The values of a field for the ALTs of a line; None if all are missing."""
    values = [row[field] for row in rows if row["allele"]]
    values = ["&".join(value) or None if isinstance(value, list) else value for value in values]
    return values if any(value is not None for value in values) else None


def expect(lines: Sequence[Sequence[Row]], fields: Sequence[str]) -> dict[str, Any]:
    """The columns of a file whose lines have these rows."""
    columns = {
        "contig": [rows[0]["contig"] for rows in lines],
        "pos": [rows[0]["pos"] for rows in lines],
        "alt": [[row["alt"] for row in rows if row["allele"]] or None for rows in lines],
        **{field: [_values_of(rows, field) for rows in lines] for field in fields},
    }
    return {name: encode(values) for name, values in columns.items()}


def _write_annotated(folder: Path, rows: Sequence[Row], version: str) -> None:
    contigs = "".join(f"##contig=<ID={key},length={value}>\n" for key, value in CONTIGS.items())
    source = folder / f"{version}.vcf"
    samples = COLUMNS + "\tFORMAT\tNA1\tNA2\n"
    source.write_text(f"##fileformat=VCFv{version}\n" + META + contigs + samples + LINES)
    table = write_result(folder / "scores.parquet", rows, annotations=ANNOTATIONS)
    write_run(table, CONTIGS)
    export_vcf(table, folder / f"annotated_{version}.vcf.gz", variants=source)


def _write_far(folder: Path, name: str, length: int, pos: int) -> list[Row]:
    rows = [
        make_row(record, contig="c", reference_contig="c", pos=at, llr=-1.5)
        for record, at in enumerate((5, pos))
    ]
    table = write_result(folder / "far.parquet", rows)
    write_run(table, {"c": length})
    write_sites(table, folder / f"{name}.vcf.gz")
    return rows


def _write_letters(folder: Path) -> dict[str, Any]:
    row = make_row(0) | dict.fromkeys(ANNOTATIONS) | {"gene": "ALB\u00c1N"}
    table = write_result(folder / "letters.parquet", [row], annotations=ANNOTATIONS)
    write_run(table, {"chr1": 1_000})
    write_sites(table, folder / "letters.vcf.gz")
    return expect([[row]], ["gene"])


def write_vcfs(folder: Path) -> None:
    """Write the files and ``expected.json``."""
    folder.mkdir(parents=True)
    rows = make_rows()
    lines = [[row for row in rows if row["record"] == record] for record in range(7)]
    tables: dict[str, Any] = {}
    for version in VERSIONS:
        _write_annotated(folder, rows, version)
        tables[f"annotated_{version}"] = expect(lines, FIELDS)
    write_sites(folder / "scores.parquet", folder / "sites.vcf.gz")
    sites = [row for row in rows if row["status"] == "scored" and row["alt"] != "<DEL>"]
    # The bases that REF and ALT share are taken off.
    sites = [row | {"alt": "CG", "pos": 41} if row["alt"] == "ACGG" else row for row in sites]
    of_sites = [field for field in FIELDS if field not in ("status", "reason")]
    tables["sites"] = expect([[row | {"allele": 1}] for row in sites], of_sites)
    for name, (length, pos) in FAR.items():
        tables[name] = expect([[row] for row in _write_far(folder, name, length, pos)], ["llr"])
    tables["letters"] = _write_letters(folder)
    (folder / "expected.json").write_text(
        json.dumps({"tables": tables, "answers": encode(_answers(rows))})
    )


def _answers(rows: Sequence[Row]) -> Mapping[str, Any]:
    scored = [row for row in rows if row["llr"] is not None]
    return {
        # Lines with an allele of that llr, by position.
        "llr_below_minus_1": sorted({row["pos"] for row in scored if row["llr"] < -1}),
        "llr_up_to_minus_0.1": sorted({row["pos"] for row in scored if row["llr"] <= -0.1}),
        "first_base_of_region": [10],
        "contig_with_colon": [7],
        "far_one_billion": [FAR["one_billion"][1]],
        "far_four_billion": [FAR["four_billion"][1]],
    }
