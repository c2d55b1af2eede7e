"""Scores of pairs of windows given to who has them, compared with a plain join row by row."""

import random
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.terms import Consequence
from evo2_tasks.table.haplotypes import (
    OF_SPELLING,
    SUFFIXES,
    CarrierRows,
    GroupRows,
    digest_alleles,
    read_alleles,
    read_pair_scores,
)
from evo2_tasks.table.parquet import read_rows, write_table
from evo2_tasks.table.schema import (
    carriers_schema,
    compounds_schema,
    final_schema,
    groups_schema,
    haplotypes_schema,
    scores_schema,
    windows_schema,
)

ALLELES = [(record, allele) for record in range(40) for allele in range(1, 1 + record % 3)]
FLAGS = ("clipped", "low_context", "moved", "alias_contig")


def write(path: Path, schema: pa.Schema, rows: list[dict[str, Any]]) -> Path:
    """Write rows; columns that they lack are null, or empty lists."""
    with write_table(path, schema) as writer:
        columns: dict[str, list[Any]] = {}
        for field in schema:
            default: Any = [] if pa.types.is_list(field.type) else None
            columns[field.name] = [row.get(field.name, default) for row in rows]
        writer.write_columns(columns)
    return path


def make_score(rng: random.Random) -> dict[str, Any]:
    """Scores of a row, scored or not, and one with a strand alone."""
    kind = rng.choice(["scored", "scored", "too_long", "no_context"])
    numbers = {f"llr{suffix}": rng.gauss(0, 3) for suffix in SUFFIXES}
    if kind == "scored":
        flags = [flag for flag in FLAGS if rng.random() < 0.3]
        return numbers | {"status": kind, "reason": None, "flags": flags}
    kept = "llr_fwd" if kind == "no_context" else ""
    values = {name: number if name == kept else None for name, number in numbers.items()}
    reason = {"too_long": "long_ref", "no_context": "first_token"}[kind]
    return values | {"status": kind, "reason": reason, "flags": []}


class Files:
    """A table of scores, two shards of pairs with their scores, and who has them."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        rng = random.Random(seed)
        spelled = {"contig": "c", "ref": "A", "alt": "C"}
        self.alone = {
            key: make_score(rng) | spelled | {"pos": 10 * key[0] + key[1]} for key in ALLELES
        }
        order = rng.sample(ALLELES, len(ALLELES))
        self.table = write(
            folder / "table.parquet",
            final_schema(),
            [self.alone[key] | dict(zip(("record", "allele"), key, strict=True)) for key in order],
        )
        self.pairs = [make_score(rng) for _ in range(30)]
        # The first file of pairs has the flags, that of their scores has the rest.
        rows = [{"record": number, "allele": 1} | one for number, one in enumerate(self.pairs)]
        self.pair_files, self.score_files = [], []
        for shard, some in enumerate((rows[:13], rows[13:], [])):
            path = folder / f"pairs{shard}.parquet"
            placed = [row | {"status": "to_score"} for row in some]
            self.pair_files.append(write(path, windows_schema(), placed))
            path = folder / f"scores{shard}.parquet"
            self.score_files.append(write(path, scores_schema(), some))
        self.carried = []
        for record, allele in ALLELES:
            for sample in ("S1", "S2"):
                neighbours = rng.sample(ALLELES, rng.randrange(4))
                self.carried.append(
                    {
                        "record": record,
                        "allele": allele,
                        "sample": sample,
                        "haplotype": rng.choice([None, 1, 2]),
                        "phase_set": rng.choice([None, "7"]),
                        "background": as_alleles(neighbours),
                        "pair": rng.randrange(len(self.pairs)) if neighbours else None,
                        "flags": rng.choice([[], ["unphased"]]),
                    }
                )
        self.carriers = write(folder / "carriers.parquet", carriers_schema(), self.carried)
        self.grouped = [
            {
                "sample": "S1",
                "haplotype": 1,
                "members": as_alleles(rng.sample(ALLELES, 2 + number % 3)),
                "pair": number,
                **spelled,
                "pos": number,
                "flags": [],
            }
            for number in range(20)
        ]
        self.groups = write(folder / "groups.parquet", groups_schema(), self.grouped)


def as_alleles(keys: list[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"record": record, "allele": allele} for record, allele in keys]


@pytest.fixture(params=range(3))
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    return Files(tmp_path, seed=request.param)


def merge(files: Files, folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    alleles = read_alleles(files.table)
    pairs = read_pair_scores(files.pair_files, files.score_files)
    out, compounds = folder / "out.parquet", folder / "compounds.parquet"
    with write_table(out, haplotypes_schema()) as writer:
        rows = CarrierRows(alleles, pairs, writer)
        for batch in read_rows(files.carriers, batch_rows=7):
            rows.write(batch)
    with write_table(compounds, compounds_schema()) as writer:
        groups = GroupRows(alleles, pairs, writer, repeat(Consequence()))
        for batch in read_rows(files.groups, batch_rows=7):
            groups.write(batch)
    found = pq.read_table(out).to_pylist()
    assert rows.counts.alleles == len(found)
    for flag, number in rows.counts.by_flag.items():
        assert number == sum(flag in row["flags"] for row in found)
    return found, pq.read_table(compounds).to_pylist()


def test_each_row_has_the_scores_of_the_allele_alone_and_of_its_pair(
    files: Files, tmp_path: Path
) -> None:
    found, _ = merge(files, tmp_path)
    for row, carried in zip(found, files.carried, strict=True):
        alone = files.alone[carried["record"], carried["allele"]]
        used = alone if carried["pair"] is None else files.pairs[carried["pair"]]
        for suffix in SUFFIXES:
            assert row[f"llr_alone{suffix}"] == alone[f"llr{suffix}"]
            assert row[f"llr_background{suffix}"] == used[f"llr{suffix}"]
        assert (row["status"], row["reason"]) == (used["status"], used["reason"])
        flags = []
        if used["status"] == "scored":
            spelled = [flag for flag in alone["flags"] if flag in OF_SPELLING]
            flags = [*dict.fromkeys([*used["flags"], *spelled, *carried["flags"]])]
        assert row["flags"] == flags
        assert row["num_background"] == len(carried["background"])
        for name in ("record", "allele", "sample", "haplotype", "phase_set", "background"):
            assert row[name] == carried[name], name


def test_a_compound_has_the_sum_of_its_members_and_the_difference(
    files: Files, tmp_path: Path
) -> None:
    _, found = merge(files, tmp_path)
    num_null = 0
    for row, grouped in zip(found, files.grouped, strict=True):
        joint = files.pairs[grouped["pair"]]
        members = [files.alone[one["record"], one["allele"]] for one in grouped["members"]]
        for suffix in SUFFIXES:
            alone = [one[f"llr{suffix}"] for one in members]
            total = None if None in alone else sum(alone)
            num_null += total is None
            assert row[f"llr_sum{suffix}"] == total
            assert row[f"llr_joint{suffix}"] == joint[f"llr{suffix}"]
            is_known = total is not None and joint[f"llr{suffix}"] is not None
            expected = joint[f"llr{suffix}"] - total if is_known else None
            assert row[f"interaction{suffix}"] == expected
        assert row["status"] == joint["status"]
        assert row["flags"] == (joint["flags"] if joint["status"] == "scored" else [])
        for name in ("sample", "haplotype", "members", "contig", "pos", "ref", "alt"):
            assert row[name] == grouped[name], name
    assert num_null


def test_an_allele_that_the_table_lacks_is_noticed(files: Files, tmp_path: Path) -> None:
    alleles = read_alleles(files.table)
    for key in [(0, 1), (1, 2), (1, 7), (40, 1), (2, 3)]:
        assert key not in ALLELES
        with pytest.raises(KeyError):
            alleles.find(pa.array([1, key[0]]), pa.array([1, key[1]], pa.int32()))


def test_the_pairs_of_another_shard_are_noticed(files: Files) -> None:
    files.pair_files[0], files.pair_files[1] = files.pair_files[1], files.pair_files[0]
    with pytest.raises(InputError, match=r"scores0\.parquet: has other pairs than .*pairs1"):
        read_pair_scores(files.pair_files, files.score_files)
    files.pair_files[1], files.score_files[1] = files.pair_files[0], files.score_files[1]
    with pytest.raises(InputError, match="do not have each pair once"):
        read_pair_scores(files.pair_files, [files.score_files[1]] * 2 + files.score_files[2:])


def test_the_digest_of_the_alleles_knows_each_of_them_in_any_order(tmp_path: Path) -> None:
    spelled = {"contig": "c", "ref": "A", "alt": "C", "status": "scored"}
    rows = [
        spelled | {"record": record, "allele": allele, "pos": record} for record, allele in ALLELES
    ]
    whole = write(tmp_path / "whole.parquet", final_schema(), rows)
    digest = digest_alleles([whole])
    mixed = random.Random(1).sample(rows, len(rows))
    halves = [
        write(tmp_path / f"{number}.parquet", final_schema(), some)
        for number, some in enumerate((mixed[:9], mixed[9:]))
    ]
    assert digest_alleles(halves) == digest
    assert digest_alleles([]) != digest
    for name, value in [("record", 99), ("allele", 9), ("contig", "d"), ("pos", None), ("alt", "")]:
        changed = [*rows[:5], rows[5] | {name: value}, *rows[6:]]
        path = write(tmp_path / "changed.parquet", final_schema(), changed)
        assert digest_alleles([path]) != digest, name
