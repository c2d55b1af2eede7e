"""The mean effect of each position, against pandas on the whole table."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.exports.bedgraph import write
from evo2_tasks.table import sorting
from evo2_tasks.table.snvs import find_change
from tests.table.build import Row, make_row, slow_disk, write_result, write_run

Lines = list[tuple[str, int, int, float]]


def read(target: Path) -> Lines:
    raw = target.read_bytes()
    text = gzip.decompress(raw).decode() if target.suffix == ".gz" else raw.decode()
    cells = [line.split("\t") for line in text.splitlines()]
    return [(name, int(start), int(end), float(mean)) for name, start, end, mean in cells]


def expected(rows: Sequence[Row]) -> Lines:
    """Each SNV once, by the position of the base in which its two alleles differ."""
    found = []
    for row in rows:
        ref, alt = row["ref"], row["alt"]
        if row["status"] != "scored" or ref is None or len(ref) != len(alt):
            continue
        at = [i for i in range(len(ref)) if ref[i] != alt[i]]
        if len(at) == 1:
            start = row["pos"] - 1 + at[0]
            found.append((row["reference_contig"], start, alt[at[0]], row["llr"]))
    frame = pd.DataFrame(found, columns=["contig", "start", "alt", "llr"])
    once = frame.drop_duplicates(["contig", "start", "alt"])
    means = once.groupby(["contig", "start"])["llr"].mean()
    return [(name, start, start + 1, mean) for (name, start), mean in means.items()]


def make_rows(seed: int, num_rows: int = 500) -> list[Row]:
    """Rows of three contigs in no order: SNVs, some of them as codons, indels, rows without."""
    rng = random.Random(seed)
    rows = []
    scores: dict[tuple[str, int, str], float] = {}
    for record in range(num_rows):
        contig = rng.choice(["chr10", "chr2", "chrM"])
        size = rng.choice([1, 1, 1, 3])
        ref = "".join(rng.choices("ACGT", k=size))
        alt = "".join(rng.choices("ACGT", k=rng.choice([size, size, size, 2])))
        status = rng.choice(["scored"] * 9 + ["too_many_n"])
        status = "not_a_variant" if ref == alt else status
        row = make_row(
            record, 1, status, contig=contig.removeprefix("chr"), reference_contig=contig,
            pos=rng.randint(1, 60), ref=ref, alt=alt,
        )  # fmt: skip
        at = find_change(ref, alt) if len(ref) == len(alt) else -1
        if status == "scored" and at >= 0:
            # An SNV has one score, however often and in whatever spelling it is there.
            row["llr"] = scores.setdefault((contig, row["pos"] + at, alt[at]), row["llr"])
        rows.append(row)
    rows.append(
        make_row(num_rows, 0, "contig_not_found", reference_contig=None, ref=None, alt=None)
    )
    return rows


@slow_disk
@given(seed=st.integers(0, 10**6), num_rows=st.integers(0, 400))
def test_means_are_those_of_pandas(
    tmp_path_factory: pytest.TempPathFactory, seed: int, num_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("bedgraph")
    rows = make_rows(seed, num_rows)
    table = write_result(folder / "scores.parquet", rows)
    num_positions = write(table, folder / "scores.bedgraph")
    found = read(folder / "scores.bedgraph")
    assert num_positions == len(found)
    assert [line[:3] for line in found] == [line[:3] for line in expected(rows)]
    assert [line[3] for line in found] == pytest.approx([line[3] for line in expected(rows)])


def test_pieces_of_a_sort_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_result(tmp_path / "scores.parquet", make_rows(1))
    write(table, tmp_path / "one.bedgraph")
    for rows in (1, 2, 7):
        settings = {"run_rows": 50, "piece_rows": rows}
        for name, value in settings.items():
            monkeypatch.setitem(sorting.sort_rows.__kwdefaults__, name, value)
        write(table, tmp_path / "many.bedgraph")
        assert (tmp_path / "many.bedgraph").read_bytes() == (tmp_path / "one.bedgraph").read_bytes()


def test_the_file_is_sorted_as_tools_want_it_and_can_be_indexed(tmp_path: Path) -> None:
    rows = make_rows(2)
    table = write_result(tmp_path / "scores.parquet", rows)
    target = tmp_path / "scores.bedgraph.gz"
    write(table, target)
    found = read(target)
    assert found == sorted(found, key=lambda line: (line[0].encode(), line[1]))
    pysam.tabix_index(str(target), preset="bed")
    with pysam.TabixFile(str(target)) as file:
        inside = [tuple(line.split("\t")) for line in file.fetch("chr2", 10, 30)]
    wanted = [line for line in found if line[0] == "chr2" and 10 <= line[1] < 30]
    assert [(name, int(start)) for name, start, *_ in inside] == [line[:2] for line in wanted]


def test_nothing_to_write_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = write_result(tmp_path / "scores.parquet", [make_row(0, ref="AC", alt="A")])
    assert write(table, tmp_path / "scores.bedgraph") == 0
    assert (tmp_path / "scores.bedgraph").read_bytes() == b""
    assert "no substitution of a single base has a score" in caplog.text


def test_positions_after_the_origin_of_a_circular_contig_count_from_its_first_base(
    tmp_path: Path,
) -> None:
    # A codon of the bases 9, 10 and 1 of a contig of 10 bases, and an SNV of base 1.
    rows = [
        make_row(0, reference_contig="c", pos=9, ref="ACG", alt="ACT", llr=-1.0),
        make_row(1, reference_contig="c", pos=1, ref="G", alt="A", llr=-4.0),
        make_row(2, reference_contig="c", pos=1, ref="G", alt="T", llr=-1.0),
    ]
    table = write_result(tmp_path / "scores.parquet", rows)
    write_run(table, {"c": 10})
    write(table, tmp_path / "scores.bedgraph")
    assert read(tmp_path / "scores.bedgraph") == [("c", 0, 1, -2.5)]


def test_the_table_is_not_overwritten(tmp_path: Path) -> None:
    table = write_result(tmp_path / "scores.parquet", [make_row(0)])
    with pytest.raises(InputError, match="is an input file"):
        write(table, table)
