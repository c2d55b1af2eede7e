"""``run.json``: what a scoring did and what it cost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from evo2_tasks.errors import InputError
from evo2_tasks.table.files import read_json, shown
from evo2_tasks.table.merge import Counts

RUN_MEANINGS: Final[Mapping[str, str]] = {
    "alleles": "rows of the table",
    "scored": "rows with an `llr`",
    "by_status": "rows of each status that occurs",
    "by_flag": "rows of each flag that occurs",
    "variants": "the input: its file, and what reading it counted",
    "windows_run": "windows that went through the model",
    "tokens_run": "tokens that went through the model",
    "wall_s": "seconds of all scoring jobs together, whether or not they ran at once",
    "shards": "what each scoring job states about itself: device, versions, time, peak memory",
}
"""Keys of ``run.json``."""

_SUMMED: Final = ("windows_run", "tokens_run", "wall_s")


def summarize_run(
    counts: Counts, shard_files: Sequence[Path], *, variants: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Content of ``run.json``.

    Args:
        counts: What the table holds.
        shard_files: The JSON file that ``score`` wrote beside the scores of each shard: an object
            with at least ``windows_run``, ``tokens_run`` and ``wall_s``.
        variants: What reading the input counted, as ``split.json`` has it.

    Returns:
        Counts of the table, sums over the shards (``wall_s`` is the time of all jobs together,
        whether or not they ran at once), and what each shard states about itself.

    Raises:
        InputError: A file is missing or states no such number.
    """
    shards = [_read_shard(path) for path in sorted(shard_files, key=_by_number)]
    sums = {key: round(sum(shard[key] for shard in shards), 3) for key in _SUMMED}
    return {
        "alleles": counts.alleles,
        "scored": counts.by_status.get("scored", 0),
        "by_status": dict(counts.by_status),
        "by_flag": dict(counts.by_flag),
        "variants": dict(variants or {}),
        **sums,
        "shards": shards,
    }


def _read_shard(path: Path) -> dict[str, Any]:
    stated = read_json(path)
    for key in _SUMMED:
        value = stated.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{shown(path)}: {key} is no number. Score the shard again.")
    return {"shard": path.stem, **stated}


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts 2-of-10 before 10-of-10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in _pieces(path.stem)]


def _pieces(text: str) -> list[str]:
    return re.findall(r"[0-9]+|[^0-9]+", text)
