"""Rows of scores: the statuses and reasons that only the model's numbers give."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.scoring.deltas import SCORE_NAMES, Score, average_strands
from evo2_tasks.scoring.windows import WindowPair
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.schema import scores_schema
from evo2_tasks.table.scores import ScoreRows
from tests.table.build import make_row, read_rows, write_shard

GOOD = Score(llr=-1.0)


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize(
    ("scores", "status", "reason"),
    [
        ({"forward": GOOD, "reverse": GOOD}, "scored", None),
        ({"forward": None, "reverse": GOOD}, "non_finite", "forward_strand"),
        ({"forward": GOOD, "reverse": None}, "non_finite", "reverse_strand"),
        ({"forward": None, "reverse": None}, "non_finite", "both_strands"),
        ({"forward": None}, "non_finite", "forward_strand"),
        ({"reverse": None}, "non_finite", "reverse_strand"),
    ],
)
def test_a_row_that_is_not_finite_names_its_strands(
    tmp_path: Path,
    scores: dict[Strand, Score | None],
    status: str,
    reason: str | None,
    is_old: bool,
) -> None:
    """A row that did not run keeps its reason, if the windows are not of an earlier version."""
    rows = [make_row(0), make_row(1, status="too_long", reason="long_alt")]
    windows, _ = write_shard(tmp_path, "1-of-1", rows)
    if is_old:
        pq.write_table(pq.read_table(windows).drop_columns(["reason"]), windows)
    strands: Sequence[Strand] = [*scores]
    pairs = [WindowPair(0, strand, b"ACGT", b"ACCT", 2, 1, 1) for strand in strands]
    out = tmp_path / "out.parquet"
    with write_table(out, scores_schema()) as writer:
        written = ScoreRows(windows, writer, strands)
        written.write(pairs, [scores[strand] for strand in strands])
        written.finish()
    found = [(row["status"], row["reason"]) for row in read_rows(out)]
    assert found == [(status, reason), ("too_long", None if is_old else "long_alt")]


def write_plainly(
    windows: Path, strands: Sequence[Strand], found: dict[int, dict[Strand, Score | None]]
) -> list[dict[str, object]]:
    """Row by row, as `DESIGN` defines it: the mean of the asked strands, null if one is null."""
    rows = []
    for number, row in enumerate(read_rows(windows)):
        scores = found.get(number, {})
        broken = [strand for strand, score in scores.items() if score is None]
        if row["status"] == "to_score":
            row["status"] = "non_finite" if broken else "scored"
            row["reason"] = f"{broken[0]}_strand" if broken else None
            if len(broken) == 2:
                row["reason"] = "both_strands"
        written = {name: row[name] for name in ("record", "allele", "status", "reason")}
        mean = average_strands([scores.get(strand) or Score() for strand in strands])
        for suffix, score in [
            ("", mean),
            ("_fwd", scores.get("forward") or Score()),
            ("_rev", scores.get("reverse") or Score()),
        ]:
            written |= {name + suffix: getattr(score, name) for name in SCORE_NAMES}
        rows.append(written)
    return rows


VALUES = st.one_of(
    st.none(), st.sampled_from([0.0, -0.0, 1e-320]), st.floats(-1e6, 1e6, allow_nan=False)
)
SCORES = st.one_of(
    st.none(),
    st.builds(Score, llr=VALUES.filter(lambda one: one is not None), llr_end=VALUES, ll_ref=VALUES),
)


@settings(max_examples=60)
@given(data=st.data())
def test_rows_are_those_of_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The same values to the last bit, whatever the parts, and rows without windows between."""
    folder = tmp_path_factory.mktemp("rows")
    strands: list[Strand] = data.draw(
        st.sampled_from([["forward"], ["reverse"], ["forward", "reverse"]])
    )
    kinds = st.sampled_from(["to_score", "no_context", "too_long"])
    statuses = data.draw(st.lists(kinds, max_size=9))
    rows = [make_row(number, status=status) for number, status in enumerate(statuses)]
    windows, _ = write_shard(folder, "1-of-1", rows)
    found: dict[int, dict[Strand, Score | None]] = {}
    for row, status in enumerate(statuses):
        if status == "to_score":
            found[row] = {strand: data.draw(SCORES) for strand in strands}
        elif status == "no_context" and len(strands) == 2:
            found[row] = {data.draw(st.sampled_from(strands)): data.draw(SCORES)}
    with write_table(folder / "out.parquet", scores_schema()) as writer:
        written = ScoreRows(windows, writer, strands)
        left = sorted(found)
        while left:
            size = data.draw(st.integers(1, len(left)))
            part, left = left[:size], left[size:]
            pairs = [
                WindowPair(row, strand, b"ACGT", b"ACCT", 2, 1, 1)
                for row in part
                for strand in found[row]
            ]
            written.write(pairs, [found[pair.row][pair.strand] for pair in pairs])
        written.finish()
    expected = write_plainly(windows, strands, found)
    # The text of a float tells 0.0 from -0.0.
    assert list(map(str, read_rows(folder / "out.parquet"))) == list(map(str, expected))
