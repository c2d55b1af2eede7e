"""Rows of scores: the statuses and reasons that only the model's numbers give."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.scoring.deltas import Score
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
