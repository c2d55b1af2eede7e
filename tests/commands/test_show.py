from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from evo2_tasks.commands.aligned_text import format_rows
from evo2_tasks.commands.show import ROW_COLUMNS, show_table
from evo2_tasks.genome.records import CarryField
from evo2_tasks.table.query import find_rows
from tests.table.build import make_row, write_result


def test_a_table_is_described(tmp_path: Path):
    rows = [make_row(number, llr=float(number), flags=["clipped"]) for number in range(101)]
    rows += [make_row(200, status="too_long", alt="ACGT" * 100)]
    carry = [CarryField("AF\x1b", "float", False, "")]
    table = write_result(
        tmp_path / "scores.parquet", [row | {"AF\x1b": 0.5} for row in rows], carry
    )
    lines = list(show_table(table, first_rows=2))
    assert lines[0] == str(table)
    squeezed = [" ".join(line.split()) for line in lines]
    for said in (
        "rows 102 in 1 row groups",
        "scoring.window_length 8192",
        "scoring.horizon null",
        r"carried AF\x1b",
        "too_long 1 1.0%",
        "scored 101 99.0%",
        "clipped 101 100.0%",
        "lowest 0",
        "50% 50",
        "highest 100",
    ):
        assert said in squeezed
    assert lines[-3].split()[:4] == ["contig", "pos", "ref", "alt"]
    assert lines[-1].split()[:5] == ["chr1", "101", "A", "C", "scored"]
    assert all(line.isprintable() for line in lines)


def test_a_table_without_scores_is_described(tmp_path: Path):
    for rows in ([], [make_row(0, status="too_long")]):
        text = "\n".join(show_table(write_result(tmp_path / "scores.parquet", rows)))
        assert "rows by flag\n  none" in text
        assert "llr, nats, q" not in text


def test_rows_stand_in_columns(tmp_path: Path):
    rows = [
        make_row(0, llr=-12.3456789, flags=["clipped", "moved"]),
        make_row(1, status="symbolic_allele", alt="<script>\n\x1b[2J"),
        make_row(2, alt="C" * 50, contig="other"),
    ]
    table = write_result(tmp_path / "scores.parquet", rows)
    lines = list(format_rows(find_rows(table, "chr1"), ROW_COLUMNS))
    assert all(line.isprintable() for line in lines)
    assert lines[1].split()[-3:-1] == ["-12.35", lines[1].split()[-2]]
    assert "clipped,moved" in lines[1]
    assert r"<script>\n\x1b[2J" in lines[2]
    assert "C" * 19 + "…" in lines[3]
    assert lines[1].index("chr1") == lines[3].index("other")


def test_consequences_are_listed_the_most_severe_first(tmp_path: Path):
    terms = ["intron_variant"] * 3 + ["missense_variant"] * 2 + ["stop_gained", None]
    rows = [
        make_row(number, llr=-float(number)) | {"consequence": term, "gene": "=MT-ND2"}
        for number, term in enumerate(terms)
    ]
    rows.append(make_row(9, status="too_long") | {"consequence": "stop_gained", "gene": None})
    table = write_result(tmp_path / "x.parquet", rows, annotations=("consequence", "gene"))
    lines = list(show_table(table))
    at = lines.index("scored rows by consequence, and their median llr")
    assert [line.split() for line in lines[at + 1 : at + 5]] == [
        ["stop_gained", "1", "14.3%", "-5"],
        ["missense_variant", "2", "28.6%", "-3.5"],
        ["intron_variant", "3", "42.9%", "-1"],
        ["none", "1", "14.3%", "-6"],
    ]
    assert lines[at + 6] == "the first 5 of 8 rows"
    assert lines[at + 7].split()[-2:] == ["consequence", "gene"]
    assert lines[at + 8].split()[-2:] == ["intron_variant", "'=MT-ND2"]
    assert "carried" in lines[3]
    assert "nothing" in lines[3]


def test_a_carried_consequence_is_not_listed(tmp_path: Path):
    carry = [CarryField("consequence", "string")]
    rows = [make_row(0) | {"consequence": "x"}]
    text = "\n".join(show_table(write_result(tmp_path / "x.parquet", rows, carry)))
    assert "by consequence" not in text


def test_the_source_of_the_consequences_is_named(tmp_path: Path):
    table = write_result(tmp_path / "x.parquet", [make_row(0, llr=-1.0)])
    assert not any("annotations" in line for line in show_table(table))
    found = pq.read_table(table)
    stated = {
        "inputs": {"gff": "ab12"},
        "settings": {"genetic_codes": {"MT": 2}, "consequence_from": None, "reference": "r"},
    }
    metadata = {**found.schema.metadata, b"evo2_tasks.annotations": json.dumps(stated).encode()}
    pq.write_table(found.replace_schema_metadata(metadata), table)
    lines = [line.split() for line in show_table(table) if "annotations" in line]
    assert lines == [["annotations.gff", "ab12"], ["annotations.genetic_codes.MT", "2"]]
