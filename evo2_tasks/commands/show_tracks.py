"""What ``show`` prints about tracks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from evo2_tasks.commands.aligned_text import (
    FIRST_ROWS,
    flatten,
    format_pairs,
    format_quantiles,
    format_rows,
)
from evo2_tasks.errors import InputError
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.layout import TRACK_TABLE, TRACKS_RUN
from evo2_tasks.table.documents import TracksRun
from evo2_tasks.table.parquet import count_rows, read_rows
from evo2_tasks.table.provenance import read_provenance
from evo2_tasks.table.statistics import Distribution

_UNITS = {"logp_ref": "nats", "entropy": "bits"}
_CONTEXTS = ("context_fwd", "context_rev")


def show_tracks(file: Path) -> Iterator[str]:
    """Describe tracks: their regions, work, distributions and first rows.

    Args:
        file: The table of ``merge_tracks``, or that of a shard.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken, or ``tracks.json`` next to it is of another
            table.
    """
    provenance = read_provenance(file)
    run_file = file.with_name(TRACKS_RUN)
    run = TracksRun.read(run_file) if file.name == TRACK_TABLE and run_file.exists() else None
    if run is not None and run.table_digest != digest_file(file):
        raise InputError(
            f"{shown_path(run_file)}: is about another table than {shown_path(file)}. Run "
            "`merge_tracks` again."
        )
    numbers = {name: Distribution() for name in _UNITS}
    least: dict[str, int] = {}
    for batch in read_rows(file, [*_UNITS, *_CONTEXTS]):
        for name, distribution in numbers.items():
            distribution.add(batch.column(name).drop_null().to_numpy().astype("float64"))
        for name in _CONTEXTS:
            contexts = batch.column(name).drop_null().to_numpy()
            if len(contexts):
                least[name] = min(int(contexts.min()), least.get(name, int(contexts.min())))
    yield shown_path(file)
    yield from format_pairs(
        {
            "rows": f"{count_rows(file):,} bases",
            **({} if run is None else _describe_run(run)),
            **{f"least {name}": f"{value:,} bases" for name, value in least.items()},
            "version": escape_text(provenance.version),
            "model": escape_text(provenance.model or ""),
            **flatten("", provenance.signature),
        }
    )
    for name, unit in _UNITS.items():
        if numbers[name].count:
            yield ""
            yield from format_quantiles(f"{name}, {unit}", numbers[name])
    yield ""
    names = ["contig", "pos", "ref", *_UNITS, *_CONTEXTS]
    rows = islice(read_rows(file, names, batch_rows=FIRST_ROWS), 1)
    yield from format_rows(rows, names)


def _describe_run(run: TracksRun) -> dict[str, str]:
    regions = ", ".join(f"{number:,} {name}" for name, number in run.by_status.items())
    devices = ", ".join(f"{shown(name)} ({number:,})" for name, number in run.devices.items())
    return {
        "regions": f"{shown(run.regions, 200)}: {regions}",
        "not finite": f"{run.non_finite:,} bases, each strand counted",
        "windows run": f"{run.windows_run:,}",
        "tokens run": f"{run.tokens_run:,}",
        "seconds": f"{run.wall_s:,.1f}",
        "devices": devices or "not stated",
    }
