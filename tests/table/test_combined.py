"""Several scorings in one table, against pandas, scipy and polars on the tables of the scorings."""

import hashlib
import io
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, zscore

from evo2_tasks.commands.show import show
from evo2_tasks.config.resolve import CombineSettings
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.labels import read_labelled_rows
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.genome.records import CarryField
from evo2_tasks.layout import COMBINED_COLUMNS
from evo2_tasks.steps.combine import combine
from evo2_tasks.table.combined import ENSEMBLES, MEMBER_COLUMNS, read_combination
from tests.evaluation.build import Columns, make_columns, score_again, write_scoring
from tests.mutations import mutate
from tests.table.build import SCORING, signature, slow_disk

BOTH = tuple(ENSEMBLES)


def make_settings(scorings: Any, score: Any = "llr", ensembles: Any = BOTH) -> CombineSettings:
    return CombineSettings("c", "v", tuple(scorings), score, tuple(ensembles))


def write_tables(folder: Path, columns: dict[str, Columns], **more: Any) -> dict[str, Path]:
    """A table for each scoring, each with a window length of its own and its own row groups."""
    return {
        name: write_scoring(
            folder / name,
            of_scoring,
            row_group_rows=70 + 41 * number,
            scoring={**SCORING, "window_length": 512 * 2**number},
            **more,
        )
        for number, (name, of_scoring) in enumerate(columns.items())
    }


def combine_tables(folder: Path, tables: dict[str, Path], **settings: Any) -> pd.DataFrame:
    combine(make_settings(tables, **settings), tables=tables, out=folder / "combined.parquet")
    return pd.read_parquet(folder / "combined.parquet")


def three(num_rows: int = 300) -> dict[str, Columns]:
    first = make_columns(num_rows)
    return {"a": first, "b": score_again(first), "c.2": score_again(first, seed=6)}


def scored_in_all(frame: pd.DataFrame, names: list[str], score: str = "llr") -> pd.Series:
    return frame[[f"{name}.{score}" for name in names]].notna().all(axis=1)


@pytest.mark.parametrize("score", ["llr", "llr_aligned"])
def test_the_rows_and_the_ensembles_are_those_of_pandas_and_scipy(
    tmp_path: Path, score: str
) -> None:
    tables = write_tables(tmp_path, three())
    found = combine_tables(tmp_path, tables, score=score)
    frames = {name: pd.read_parquet(table) for name, table in tables.items()}
    first = frames["a"]
    for name in ("record", "allele", "contig", "reference_contig", "pos", "ref", "alt"):
        assert found[name].tolist() == first[name].tolist()
    for name, frame in frames.items():
        for column in ("status", "llr", "llr_aligned", "llr_fwd", "llr_rev"):
            pd.testing.assert_series_equal(
                found[f"{name}.{column}"], frame[column], check_names=False
            )
    statuses = [frame["status"].astype(str) for frame in frames.values()]
    expected = [
        next((one for one in row if one != "scored"), "scored")
        for row in zip(*statuses, strict=True)
    ]
    assert found["status"].tolist() == expected
    assert {"scored", "ref_mismatch"} < {*expected}
    is_all = scored_in_all(found, [*tables], score)
    scores = np.array([frame[score][is_all] for frame in frames.values()])
    ranks = (rankdata(scores, axis=1) - 0.5) / is_all.sum()
    np.testing.assert_allclose(found["rank_mean"][is_all], ranks.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(
        found["z_mean"][is_all], zscore(scores, axis=1).mean(axis=0), rtol=1e-9, atol=1e-12
    )
    assert found.loc[~is_all, ["rank_mean", "z_mean"]].isna().all(axis=None)
    assert 0 < (~is_all).sum() < is_all.sum()
    for name in ("KIND", "PLACE", "OTHER"):
        pd.testing.assert_series_equal(found[name], first[name])


def test_polars_finds_the_same_ranks(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, three())
    combine_tables(tmp_path, tables)
    frame = pl.read_parquet(tmp_path / "combined.parquet").filter(
        pl.col("status").cast(pl.String) == "scored"
    )
    ranks = [(pl.col(f"{name}.llr").rank("average") - 0.5) / pl.len() for name in tables]
    expected = frame.select(rank=pl.mean_horizontal(ranks))["rank"]
    assert frame["rank_mean"].to_list() == pytest.approx(expected.to_list(), rel=1e-14)


SCORES = st.lists(st.sampled_from([-3.5, -1.0, -0.0, 0.0, 1e-30, 0.25, 7.0, None]), max_size=12)


@slow_disk
@given(st.tuples(SCORES, SCORES, SCORES), st.randoms(use_true_random=False))
def test_ensembles_depend_neither_on_order_nor_on_company(
    tmp_path_factory: pytest.TempPathFactory, scores: Any, random: Any
) -> None:
    """Ties, constants and nothing scored included; the numbers are the same to the bit."""
    rows = list(itertools.zip_longest(*scores))
    order = list(range(len(rows)))
    random.shuffle(order)
    names = ["a", "b", "c"]
    shuffled = random.sample(names, 3)
    results = []
    for places, scorings in ((range(len(rows)), names), (order, shuffled)):
        folder = tmp_path_factory.mktemp("combined")
        columns = {
            name: with_scores(make_columns(len(rows)), [rows[i][names.index(name)] for i in places])
            for name in scorings
        }
        found = combine_tables(folder, write_tables(folder, columns))
        results.append(dict(zip(places, found[list(BOTH)].to_numpy().tolist(), strict=True)))
    plain = plain_ensembles(rows)
    for row in range(len(rows)):
        one, other = (
            [None if math.isnan(value) else value for value in result[row]] for result in results
        )
        assert one == other
        assert one == pytest.approx(plain[row], abs=1e-12)


def with_scores(columns: Columns, scores: list[float | None]) -> Columns:
    status = ["ref_mismatch" if one is None else "scored" for one in scores]
    names = ["llr", "llr_aligned", "llr_fwd", "llr_rev"]
    return {**columns, **dict.fromkeys(names, scores), "status": status,
            "flags": [[] for _ in scores]}  # fmt: skip


def plain_ensembles(rows: list[tuple[float | None, ...]]) -> list[list[float | None]]:
    """The definitions, with a loop over all pairs of rows."""
    full = [row for row in rows if None not in row]
    of_scoring = list(zip(*full, strict=True))
    found: list[list[float | None]] = []
    for row in rows:
        if row not in full:
            found.append([None, None])
            continue
        quantiles, z = [], []
        for value, others in zip(row, of_scoring, strict=True):
            below = sum(other < value for other in others)
            equal = sum(other == value for other in others)
            quantiles.append((below + equal / 2) / len(full))
            z.append((value - np.mean(others)) / np.std(others) if len({*others}) > 1 else None)
        mean = None if None in z else float(np.mean(z))
        found.append([float(np.mean(quantiles)), mean])
    return found


def test_a_constant_scoring_has_no_z_and_the_reason_is_stated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    columns = three()
    # A number whose sum is rounded: the mean of equal numbers need not be this number.
    equal = [None if one is None else -0.1 for one in columns["b"]["llr"]]
    tables = write_tables(tmp_path, columns | {"b": {**columns["b"], "llr": equal}})
    found = combine_tables(tmp_path, tables)
    assert found["z_mean"].isna().all()
    is_all = found["status"] == "scored"
    assert (found["rank_mean"].notna() == is_all).all()
    combination = read_combination(tmp_path / "combined.parquet")
    assert combination is not None
    reason = "all values of b.llr are equal"
    assert combination.ensembles == {"rank_mean": "", "z_mean": reason}
    assert f"z_mean is null in all rows: {reason}" in caplog.text


def test_nothing_scored_in_all_scorings_is_stated(tmp_path: Path) -> None:
    columns = three()
    lost = with_scores(columns["b"], [None] * 300)
    found = combine_tables(tmp_path, write_tables(tmp_path, columns | {"b": lost}))
    assert found[list(BOTH)].isna().all(axis=None)
    assert "scored" not in {*found["status"]}
    combination = read_combination(tmp_path / "combined.parquet")
    assert combination is not None
    assert {*combination.ensembles.values()} == {"no allele has llr in all scorings"}
    assert combination.scored == 0


def test_a_table_without_rows_combines(tmp_path: Path) -> None:
    found = combine_tables(tmp_path, write_tables(tmp_path, three(0)))
    assert len(found) == 0


def test_ensembles_come_where_they_are_asked_for(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, three())
    full = combine_tables(tmp_path, tables)
    for ensembles in ([], ["z_mean"], ["rank_mean"], ["z_mean", "rank_mean"]):
        found = combine_tables(tmp_path, tables, ensembles=ensembles)
        kept = [name for name in full.columns if name not in BOTH or name in ensembles]
        pd.testing.assert_frame_equal(found, full[kept])


def test_the_metadata_state_each_scoring_and_its_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tables = write_tables(tmp_path, three())
    combine_tables(tmp_path, tables)
    stored = pq.read_metadata(tmp_path / "combined.parquet").metadata
    stated = json.loads(stored[b"evo2_tasks.combination"])
    assert [one["name"] for one in stated["scorings"]] == ["a", "b", "c.2"]
    for number, one in enumerate(stated["scorings"]):
        digest = hashlib.sha256(tables[one["name"]].read_bytes()).hexdigest()
        assert one["table"] == digest
        scoring = {**SCORING, "window_length": 512 * 2**number}
        assert one["signature"] == signature(scoring=scoring)
        assert f"{one['name']}: {tables[one['name']]}, SHA-256 {digest}, signature " in caplog.text
    assert stated["scored"] == (pd.read_parquet(tmp_path / "combined.parquet")["status"]
                                == "scored").sum()  # fmt: skip
    assert b"evo2_tasks.signature" not in stored  # there is not one, but one for each scoring


def test_the_rows_of_the_file_do_not_depend_on_the_row_groups_of_the_tables(tmp_path: Path) -> None:
    combine_tables(tmp_path, write_tables(tmp_path, three()))
    before = (tmp_path / "combined.parquet").read_bytes()
    again = {
        name: write_scoring(tmp_path / "again" / name, columns, row_group_rows=33)
        for name, columns in three().items()
    }
    combine_tables(tmp_path, again)
    one, other = map(pq.ParquetFile, (io.BytesIO(before), tmp_path / "combined.parquet"))
    assert one.read().equals(other.read())
    assert one.num_row_groups == other.num_row_groups == 1


def change(columns: Columns, name: str, row: int, value: Any) -> Columns:
    changed = list(columns[name])
    changed[row] = value
    return {**columns, name: changed}


def first_rows(columns: Columns, num_rows: int) -> Columns:
    return {name: values[:num_rows] for name, values in columns.items()}


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (lambda columns: first_rows(columns, 299), "record 299, allele 1"),
        (lambda columns: first_rows(columns, 0), "record 0, allele 1"),
        (lambda columns: change(columns, "record", 123, 500), "record (123|500), allele 1"),
        (lambda columns: change(columns, "allele", 123, 2), "record 123, allele (1|2)"),
        (lambda columns: change(columns, "pos", 123, 1), "record 123, allele 1"),
        (lambda columns: change(columns, "pos", 123, None), "record 123, allele 1"),
        (lambda columns: change(columns, "contig", 7, "chrX"), "record 7, allele 1"),
        (lambda columns: change(columns, "alt", 299, "T"), "record 299, allele 1"),
    ],
    ids=["shorter", "empty", "record", "allele", "pos", "no pos", "contig", "alt"],
)
def test_tables_of_other_alleles_give_one_line(
    tmp_path: Path, number: int, spoil: Any, place: str
) -> None:
    columns = three()
    name = list(columns)[number]
    tables = write_tables(tmp_path, columns | {name: spoil(columns[name])})
    for ensembles in ([], BOTH):
        with pytest.raises(InputError, match=rf"alleles differ.*first difference is at {place}"):
            combine_tables(tmp_path, tables, ensembles=ensembles)
        assert not (tmp_path / "combined.parquet").exists()


def test_tables_of_other_references_give_one_line(tmp_path: Path) -> None:
    columns = three()
    tables = write_tables(tmp_path, columns)
    tables["b"] = write_scoring(tmp_path / "other", columns["b"], reference_digest="SQ.other")
    with pytest.raises(InputError, match="their references differ"):
        combine_tables(tmp_path, tables)


def test_tables_of_other_carried_columns_give_one_line(tmp_path: Path) -> None:
    columns = three()
    tables = write_tables(tmp_path, columns)
    carry = (CarryField("KIND", "string", False, ""), CarryField("PLACE", "string", False, ""))
    tables["b"] = write_scoring(tmp_path / "other", columns["b"], carry=carry)
    with pytest.raises(InputError, match=r"carried columns or annotations differ \(OTHER\)"):
        combine_tables(tmp_path, tables)


@pytest.mark.parametrize("name", ["b.llr", "a.status", "rank_mean"])
def test_a_carried_column_cannot_have_the_name_of_another(tmp_path: Path, name: str) -> None:
    columns = {one: {**of_one, name: of_one["OTHER"]} for one, of_one in three().items()}
    tables = write_tables(tmp_path, columns, carry=[CarryField(name, "float", False, "")])
    with pytest.raises(
        InputError, match=f"carry: '{name}' is the name of a column of the combined"
    ):
        combine_tables(tmp_path, tables)


def test_scorings_may_have_the_names_of_columns(tmp_path: Path) -> None:
    names = ["contig", "llr", "llr.status"]
    columns = dict(zip(names, three().values(), strict=True))
    found = combine_tables(tmp_path, write_tables(tmp_path, columns))
    assert [name for name in found.columns if "." in name] == [
        f"{name}.{column}" for name in names for column in COMBINED_COLUMNS
    ]
    assert found["contig"].tolist() == columns["contig"]["contig"]


def test_a_table_that_was_replaced_is_refused(tmp_path: Path) -> None:
    tables = write_tables(tmp_path, three())
    run = tables["b"].with_name("run.json")
    run.write_text(json.dumps(json.loads(run.read_text()) | {"table_digest": "0" * 64}))
    with pytest.raises(InputError, match="was made from another table"):
        combine_tables(tmp_path, tables)


def test_other_metadata_give_one_line_or_the_table(tmp_path: Path) -> None:
    combine_tables(tmp_path, write_tables(tmp_path, three(20)))
    table = pq.read_table(tmp_path / "combined.parquet")
    stored = pq.read_metadata(tmp_path / "combined.parquet").metadata
    stated = stored[b"evo2_tasks.combination"].decode()
    label = LabelSettings("KIND", positive=("bad",), negative=("good",))
    changed = tmp_path / "changed.parquet"
    refused = []
    for text in ["x", *(text for _, text in mutate(stated))]:
        pq.write_table(
            table.replace_schema_metadata({b"evo2_tasks.combination": text.encode()}), changed
        )
        for read in (lambda: [*show(changed)], lambda: read_labelled_rows(changed, label)):
            try:
                read()
            except InputError as error:
                refused.append(str(error))
    assert len(refused) > 100
    assert all(line.startswith(str(changed)) and "\n" not in line for line in refused)


def test_the_layout_names_the_columns_of_a_scoring() -> None:
    assert tuple(column.name for column in MEMBER_COLUMNS) == COMBINED_COLUMNS
