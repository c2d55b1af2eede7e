"""Reference segments: what was written can be fetched, whatever the cuts, and nothing else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.schema import segments_schema
from evo2_tasks.table.segments import Segments

GENOME = {"a": "ACGTNACGTTGCA" * 7, "b": "TTGACC" * 11}


def write_segments(file: Path, cuts: list[tuple[str, int, int]], row_group_rows: int) -> None:
    with write_table(file, segments_schema(), row_group_rows=row_group_rows) as writer:
        for contig, start, end in cuts:
            row = (contig, len(GENOME[contig]), contig == "b", start, end)
            values = (*row, GENOME[contig][start:end])
            names = segments_schema().names
            writer.write_columns({n: [v] for n, v in zip(names, values, strict=True)})


@given(
    piece=st.integers(1, 40),
    row_group_rows=st.integers(1, 4),
    wanted=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 65), st.integers(0, 65))),
)
def test_pieces_read_as_the_sequence(
    tmp_path_factory: pytest.TempPathFactory,
    piece: int,
    row_group_rows: int,
    wanted: list[tuple[str, int, int]],
) -> None:
    file = tmp_path_factory.mktemp("segments") / "s.parquet"
    cuts = [
        (contig, start, min(start + piece, len(bases)))
        for contig, bases in GENOME.items()
        for start in range(0, len(bases), piece)
    ]
    write_segments(file, cuts, row_group_rows)
    segments = Segments(file)
    assert segments.contigs == {"a": (91, False), "b": (66, True)}
    for contig, start, end in wanted:
        assert segments.fetch(contig, start, end) == GENOME[contig][start:end]


@pytest.mark.parametrize(("contig", "start", "end"), [("a", 4, 6), ("a", 19, 31), ("c", 0, 1)])
def test_what_is_not_there_is_one_clear_error(
    tmp_path: Path, contig: str, start: int, end: int
) -> None:
    write_segments(tmp_path / "s.parquet", [("a", 5, 20), ("a", 30, 40)], 10)
    with pytest.raises(InputError, match=f"does not contain {contig}"):
        Segments(tmp_path / "s.parquet").fetch(contig, start, end)
