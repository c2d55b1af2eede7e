from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField
from evo2_tasks.table.joined import open_joined
from evo2_tasks.table.merge import merge_shards
from evo2_tasks.table.provenance import read_provenance
from evo2_tasks.table.schema import (
    FLAGS,
    REASON_MEANINGS,
    REASONS,
    STATUSES,
    final_schema,
)
from evo2_tasks.table.sorting import sort_rows
from evo2_tasks.table.statistics import Counts
from tests.table.build import (
    Row,
    make_row,
    read_rows,
    signature,
    slow_disk,
    windows_signature,
    write_carried,
    write_shard,
)

CARRY = (
    CarryField("AF", "float", True, "Frequency"),
    CarryField("label", "string", False, "Label"),
)
CONTIGS = ("chr2", "chr10", "chrM")


def make_rows(seed: int, num_rows: int) -> list[Row]:
    """Rows of every status, with flags, on known and unknown contigs."""
    choose = random.Random(seed)
    rows = []
    record, allele = 0, 0
    for _ in range(num_rows):
        if choose.random() < 0.3:
            allele += 1
        else:
            record, allele = record + 1, 1
        status = choose.choice([*STATUSES, *["scored"] * len(STATUSES)])
        contig = choose.choice([*CONTIGS, "weird"])
        values: dict[str, Any] = {
            "contig": contig,
            "reference_contig": contig if contig != "weird" and choose.random() < 0.9 else None,
            "pos": choose.randrange(50),
            "reason": choose.choice(_reasons_of(status)),
            "flags": choose.sample(FLAGS, choose.randrange(3)),
            "AF": choose.choice([None, [], [0.25, None]]),
            "label": choose.choice([None, "", "é\n"]),
        }
        if status == "invalid_record":
            values |= dict.fromkeys(("contig", "reference_contig", "pos", "ref", "alt"))
        rows.append(make_row(record, allele, status, **values))
    return rows


def _reasons_of(status: str) -> list[str | None]:
    return [name for name, one in REASON_MEANINGS.items() if one.status == status] or [None]


def expected(rows: Sequence[Row]) -> list[Row]:
    """What the result must hold, in the order of the input."""
    names = [*final_schema(CARRY).names]
    return [
        {name: row[name] for name in names}
        | {"flags": row["flags"] if row["status"] == "scored" else []}
        for row in rows
    ]


def write_shards(folder: Path, rows: Sequence[Row], cuts: Sequence[int]) -> tuple[Any, Any]:
    edges = [0, *sorted(cuts), len(rows)]
    pairs = [
        write_shard(folder, f"{i}-of-{len(edges)}", rows[start:end], row_group_rows=13)
        for i, (start, end) in enumerate(pairwise(edges), start=1)
    ]
    return tuple(zip(*pairs, strict=True))


def test_files_of_an_earlier_version_have_no_reasons(tmp_path: Path):
    rows = make_rows(3, 40)
    for old in ({"windows"}, {"scores"}, {"windows", "scores"}):
        folder = tmp_path / "-".join(sorted(old))
        windows, scores = write_shards(folder, rows, [20])
        for path in [*windows, *scores]:
            if path.parent.name in old:
                pq.write_table(pq.read_table(path).drop_columns(["reason"]), path)
        counts, _ = merge_shards(windows, scores, folder / "t.parquet", expected_alleles=len(rows))
        found = read_rows(folder / "t.parquet")
        is_old = "scores" in old
        assert [row["reason"] for row in found] == [
            None if is_old else row["reason"] for row in rows
        ]
        assert [row["status"] for row in found] == [row["status"] for row in rows]
        assert not (is_old and counts.by_reason)


@slow_disk
@given(seed=st.integers(0, 10**6), num_rows=st.integers(0, 60), data=st.data())
def test_shards_and_merge_are_identity(
    tmp_path_factory: pytest.TempPathFactory, seed: int, num_rows: int, data: st.DataObject
):
    folder = tmp_path_factory.mktemp("merge")
    rows = make_rows(seed, num_rows)
    cuts = data.draw(st.lists(st.integers(0, num_rows), max_size=6))
    windows, scores = write_shards(folder / "shards", rows, cuts)
    mixed = data.draw(st.permutations(windows)), data.draw(st.permutations(scores))
    target = folder / "scores.parquet"
    carried = write_carried(folder / "carried.parquet", rows, CARRY, row_group_rows=11)
    counts, digest = merge_shards(
        *mixed, target, expected_alleles=num_rows, joined=[carried], row_group_rows=17
    )
    found = read_rows(target)
    assert found == expected(rows)
    assert counts == count(found)
    assert digest == hashlib.sha256(target.read_bytes()).hexdigest()
    assert pq.read_schema(target).equals(final_schema(CARRY), check_metadata=False)
    single = write_shards(folder / "single", rows, [])
    merge_shards(
        *single,
        folder / "one.parquet",
        expected_alleles=num_rows,
        joined=[carried],
        row_group_rows=17,
    )
    assert target.read_bytes() == (folder / "one.parquet").read_bytes()


def count(rows: Sequence[Row]) -> Counts:
    statuses = [row["status"] for row in rows]
    flags = [flag for row in rows for flag in row["flags"]]
    reasons = [row["reason"] for row in rows]
    return Counts(
        len(rows),
        {name: statuses.count(name) for name in STATUSES if name in statuses},
        {name: flags.count(name) for name in FLAGS if name in flags},
        {name: reasons.count(name) for name in REASONS if name in reasons},
    )


@slow_disk
@given(seed=st.integers(0, 10**6), num_rows=st.integers(0, 60), num_shards=st.integers(1, 4))
def test_a_table_by_position_is_sorted_and_whole(
    tmp_path_factory: pytest.TempPathFactory, seed: int, num_rows: int, num_shards: int
):
    folder = tmp_path_factory.mktemp("sorted")
    rows = make_rows(seed, num_rows)
    shards = write_shards(folder, rows, [num_rows * i // num_shards for i in range(1, num_shards)])
    target = folder / "scores.parquet"
    carried = write_carried(folder / "carried", rows, CARRY)
    merge_shards(*shards, target, expected_alleles=num_rows, joined=[carried], contig_order=CONTIGS)
    (folder / "carried").unlink()

    def place(row: Row) -> tuple[int, int]:
        contig = row["reference_contig"] or row["contig"]
        return (CONTIGS.index(contig), row["pos"]) if contig in CONTIGS else (len(CONTIGS), 0)

    assert read_rows(target) == sorted(expected(rows), key=place)  # stable: ties in input order
    assert read_provenance(target).order == "position"
    assert {path.name for path in folder.iterdir()} == {"windows", "scores", "scores.parquet"}


@slow_disk
@given(
    keys=st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 10**12)), unique=True, max_size=80),
    run_rows=st.integers(1, 30),
    piece_rows=st.integers(1, 9),
)
def test_sorting_in_runs_is_sorting(
    tmp_path_factory: pytest.TempPathFactory,
    keys: list[tuple[int, int]],
    run_rows: int,
    piece_rows: int,
):
    table = pa.table({"one": [a for a, _ in keys], "two": [b for _, b in keys]})
    table = table.cast(pa.schema([("one", pa.int64()), ("two", pa.int64())]))
    pieces = [table.slice(start, 7) for start in range(0, len(keys), 7)]
    found = sort_rows(
        pieces,
        ["one", "two"],
        folder=tmp_path_factory.mktemp("runs"),
        run_rows=run_rows,
        piece_rows=piece_rows,
    )
    rows = [tuple(row.values()) for piece in found for row in piece.to_pylist()]
    assert rows == sorted(keys)


def test_a_sorter_that_is_killed_leaves_nothing(tmp_path: Path):
    tables = [pa.table({"one": [2, 1]}), pa.table({"one": [4, 3]})]
    pieces = sort_rows(tables, ["one"], folder=tmp_path, run_rows=2, piece_rows=1)
    assert next(pieces)["one"].to_pylist() == [1]
    assert not list(tmp_path.iterdir()), "its runs have no names"
    assert [row["one"] for piece in pieces for row in piece.to_pylist()] == [2, 3, 4]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path):
    rows = make_rows(1, 50)
    shards = write_shards(tmp_path, rows, [20])
    for name in ("one", "two"):
        merge_shards(*shards, tmp_path / name, expected_alleles=50)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_result_states_what_the_scores_state(tmp_path: Path):
    first = write_shard(tmp_path, "1-of-2", [make_row(0)], version="0.2.0")
    second = write_shard(tmp_path, "2-of-2", [make_row(1)], version="0.1.0")
    target = tmp_path / "scores.parquet"
    merge_shards(*zip(first, second, strict=True), target, expected_alleles=2)
    provenance = read_provenance(target)
    assert provenance.signature == signature()
    assert provenance.version == "0.1.0,0.2.0"
    assert provenance.model == "evo2-mini"


def refused(folder: Path, shards: Sequence[tuple[Path, Path]], alleles: int) -> str:
    target = folder / "scores.parquet"
    windows = [pair[0] for pair in shards]
    scores = [pair[1] for pair in shards]
    with pytest.raises(InputError) as raised:
        merge_shards(windows, scores, target, expected_alleles=alleles)
    assert not target.exists()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_shards_of_different_signatures_are_refused(tmp_path: Path):
    one = write_shard(tmp_path, "1-of-2", [make_row(0)])
    other = write_shard(tmp_path, "2-of-2", [make_row(1)], scored=signature(dtype="bfloat16"))
    message = refused(tmp_path, [one, other], 2)
    assert f"{one[1]} and {other[1]} differ in dtype" in message


def test_scores_of_other_windows_are_refused(tmp_path: Path):
    placed = windows_signature(scoring={"window_length": 4096})
    shard = write_shard(tmp_path, "1-of-1", [make_row(0)], placed=placed)
    message = refused(tmp_path, [shard], 1)
    assert f"{shard[0]} and {shard[1]} differ in scoring.horizon, scoring.strands, scor" in message


def test_a_missing_shard_is_noticed(tmp_path: Path):
    shard = write_shard(tmp_path, "1-of-2", [make_row(0)])
    assert "have 1 alleles, but the input has 2" in refused(tmp_path, [shard], 2)


def test_a_shard_given_twice_is_noticed(tmp_path: Path):
    one = write_shard(tmp_path / "a", "1-of-2", [make_row(0), make_row(1)])
    same = write_shard(tmp_path / "b", "1-of-2", [make_row(1), make_row(2)])
    assert "named twice" in refused(tmp_path, [one, one], 4)
    assert "record 1, allele 1 follows record 1, allele 1" in refused(tmp_path, [one, same], 4)


def test_other_numbers_of_files_are_noticed(tmp_path: Path):
    windows, scores = write_shard(tmp_path, "1-of-1", [make_row(0)])
    with pytest.raises(InputError, match="1 windows files, but 0 scores files"):
        merge_shards([windows], [], tmp_path / "x", expected_alleles=1)
    with pytest.raises(InputError, match="no shards"):
        merge_shards([], [scores], tmp_path / "x", expected_alleles=1)


@pytest.mark.parametrize("side", ["windows", "scores"])
def test_files_of_different_length_are_noticed(tmp_path: Path, side: str):
    rows = [make_row(number) for number in range(3)]
    whole = write_shard(tmp_path / "whole", "1-of-1", rows)
    short = write_shard(tmp_path / "short", "1-of-1", rows[:2])
    pair = (short[0], whole[1]) if side == "windows" else (whole[0], short[1])
    shorter = pair[0] if side == "windows" else pair[1]
    assert f"{shorter} has fewer rows" in refused(tmp_path, [pair], 3)


def test_rows_that_are_not_aligned_are_named(tmp_path: Path):
    one = write_shard(tmp_path / "a", "1-of-1", [make_row(0), make_row(1), make_row(2)])
    other = write_shard(tmp_path / "b", "1-of-1", [make_row(0), make_row(1), make_row(3)])
    message = refused(tmp_path, [(one[0], other[1])], 3)
    assert "not row-aligned: record 2, allele 1" in message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (make_row(7, status="scored", llr=None), "record 7, allele 1 is scored without an llr"),
        (make_row(7, status="no_context", llr=1.0), "or has an llr without being scored"),
        (make_row(7, ll_alt=float("-inf")), "ll_alt of record 7, allele 1 is not finite"),
        (make_row(7, status="fine"), "record 7, allele 1 has an unknown status"),
    ],
)
def test_a_row_that_contradicts_itself_is_named(tmp_path: Path, row: Row, message: str):
    assert message in refused(tmp_path, [write_shard(tmp_path, "1-of-1", [make_row(0), row])], 2)


def test_nan_is_named(tmp_path: Path):
    windows, scores = write_shard(tmp_path, "1-of-1", [make_row(0), make_row(7)])
    table = pq.read_table(scores)
    index = table.column_names.index("llr_end_fwd")
    changed = pa.array([0.5, float("nan")])
    pq.write_table(table.set_column(index, table.schema.field(index), changed), scores)
    message = refused(tmp_path, [(windows, scores)], 2)
    assert "llr_end_fwd of record 7, allele 1 is not finite" in message


def test_a_status_that_scoring_cannot_give_is_named(tmp_path: Path):
    before = write_shard(tmp_path / "a", "1-of-1", [make_row(0), make_row(1, status="too_long")])
    after = write_shard(tmp_path / "b", "1-of-1", [make_row(0), make_row(1)])
    message = refused(tmp_path, [(before[0], after[1])], 2)
    assert "disagree about the status of record 1, allele 1" in message


def test_windows_of_an_earlier_version_are_refused(tmp_path: Path):
    windows, scores = write_shard(tmp_path, "1-of-1", [make_row(0)])
    table = pq.read_table(windows)
    index = table.column_names.index("status")
    field = table.schema.field(index)
    old = pa.array(["scored"], field.type)
    pq.write_table(table.set_column(index, field, old), windows)
    message = refused(tmp_path, [(windows, scores)], 1)
    assert f"{windows}: an earlier version of evo2-tasks wrote this file" in message
    assert "Delete it, so that `windows` runs again." in message


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([(0, 1), (1, 1)], "it has no row for record 1, allele 2"),
        ([(0, 1), (1, 1), (2, 1)], "it has record 2, allele 1 where the scores have record 1, "),
        ([(0, 1), (1, 1), (1, 2), (2, 1)], "it has more rows"),
        ([], "it has no row for record 0, allele 1"),
    ],
)
def test_carried_rows_that_are_not_those_of_the_scores_are_refused(
    tmp_path: Path, keys: list[tuple[int, int]], message: str
):
    rows = [make_row(0), make_row(1, 1), make_row(1, 2)]
    windows, scores = write_shard(tmp_path, "1-of-1", rows)
    others = [make_row(*key, AF=None, label="x") for key in keys]
    carried = write_carried(tmp_path / "carried.parquet", others, CARRY)
    target = tmp_path / "scores.parquet"
    with pytest.raises(InputError, match=re.escape(message)):
        merge_shards([windows], [scores], target, expected_alleles=3, joined=[carried])
    assert not target.exists()


def test_a_carried_table_of_other_columns_or_variants_is_refused(tmp_path: Path):
    path = tmp_path / "carried.parquet"
    write_carried(path, [make_row(0, AF=None, label="x")], CARRY)
    with pytest.raises(
        InputError, match="the columns are AF, label, but the config asks for AF, X"
    ):
        open_joined(path, "carry", ["AF", "X"], "variants", {})
    with pytest.raises(InputError, match="from another version of the file of variants"):
        open_joined(path, "carry", ["AF", "label"], "other variants", {})


def test_columns_of_another_type_are_named(tmp_path: Path):
    windows, scores = write_shard(tmp_path, "1-of-1", [make_row(0)])
    table = pq.read_table(scores)
    index = table.column_names.index("llr")
    pq.write_table(table.set_column(index, "llr", table["llr"].cast(pa.float32())), scores)
    message = refused(tmp_path, [(windows, scores)], 1)
    assert f"{scores}: column llr has the type float, expected double" in message


def test_partial_numbers_of_one_strand_are_kept(tmp_path: Path):
    rows = [
        make_row(0, status="no_context", llr_rev=-1.5),
        make_row(1, status="non_finite", llr_fwd=2.5, flags=["clipped"]),
    ]
    shard = write_shard(tmp_path, "1-of-1", rows)
    target = tmp_path / "scores.parquet"
    merge_shards([shard[0]], [shard[1]], target, expected_alleles=2)
    found = read_rows(target)
    assert [row["llr_rev"] for row in found] == [-1.5, None]
    assert [row["llr_fwd"] for row in found] == [None, 2.5]
    assert [row["flags"] for row in found] == [[], []]
