"""Writes the bedGraph and bigWig files that the readers are tried on, with the project's exports.

Next to them, what was written is in ``expected.json``, as for the other groups. The values are
negative, positive, zero and near zero; neighbours are equal; there are contigs of one base, a
circular one with values at both ends, and some whose names are numbers, words or have a colon.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from evo2_tasks.exports.bedgraph import write as write_bedgraph
from evo2_tasks.exports.bigwig import write as write_bigwig
from tests.readers.encode import encode
from tests.table.build import make_row, write_result, write_run

Value = tuple[str, int, float]
"""Contig, position (0-based), value."""

LENGTHS: Final = {
    "chr1": 1_000, "1": 500, "HLA-A*01:01": 300, "NA": 50, "chrM": 10, "one": 1, "a;b": 20,
    "1e5": 100,
}  # fmt: skip
VALUES: Final[tuple[Value, ...]] = (
    ("chr1", 0, -0.5), ("chr1", 1, -0.5), ("chr1", 2, -0.5), ("chr1", 9, -12.345678901234567),
    ("chr1", 10, 1e-9), ("chr1", 11, 0.0), ("chr1", 499, 2.5), ("chr1", 999, -3.25),
    ("1", 4, -1.5), ("HLA-A*01:01", 6, -2.0), ("NA", 2, -7.0), ("chrM", 8, -1.0),
    ("chrM", 9, -2.0), ("chrM", 0, -3.0), ("one", 0, -9.0), ("a;b", 1, -1.25), ("1e5", 3, -0.75),
)  # fmt: skip
NUMBERED: Final[tuple[Value, ...]] = (("1", 0, -1.5), ("1", 5, -2.5), ("2", 6, -2.0))
LONG: Final[tuple[Value, ...]] = (("c", 4, -1.5), ("c", 2**31 - 8, -2.5), ("c", 3 * 10**9, -2.0))
TRACKS: Final[Mapping[str, tuple[Mapping[str, int], Sequence[Value]]]] = {
    "contigs": (LENGTHS, VALUES),
    "numbered": ({"1": 500, "2": 600}, NUMBERED),
    "four_billion": ({"c": 4 * 10**9}, LONG),
}


def expect(values: Sequence[Value]) -> dict[str, Any]:
    """The columns of a file with these values."""
    rows = sorted(values, key=lambda value: (value[0].encode(), value[1]))
    columns: dict[str, list[Any]] = {
        "contig": [contig for contig, _, _ in rows],
        "start": [start for _, start, _ in rows],
        "end": [start + 1 for _, start, _ in rows],
        "value": [value for *_, value in rows],
    }
    return {name: encode(column) for name, column in columns.items()}


def write_tracks(folder: Path) -> None:
    """Write the files and ``expected.json``."""
    tables = {}
    for name, (lengths, values) in TRACKS.items():
        (folder / name).mkdir(parents=True)
        rows = [
            make_row(record, contig=contig, reference_contig=contig, pos=start + 1, llr=value)
            for record, (contig, start, value) in enumerate(values)
        ]
        table = write_result(folder / name / "scores.parquet", rows)
        write_run(table, lengths)
        for ending, write in (
            (".bw", write_bigwig), (".bedgraph", write_bedgraph), (".bedgraph.gz", write_bedgraph),
        ):  # fmt: skip
            write(table, folder / (name + ending))
            tables[name + ending] = expect(values)
    (folder / "expected.json").write_text(
        json.dumps({"tables": tables, "answers": encode(ANSWERS)})
    )


ANSWERS: Final = {
    # Of the bases 0 to 3 of chr1, of the first three and of the whole of chrM, of 20 to 30.
    "mean": [-0.5, -2.0, None],
    "smallest": [-0.5, -3.0, None],
    "largest": [-0.5, -1.0, None],
    "each_base": [-0.5, -0.5, -0.5, None],
    "first_bases_of_region": [0, 1, 2],
    "numbered_contig": [0, 5],
    "beyond_2_to_31": [3 * 10**9],
}
"""Computed by hand."""
