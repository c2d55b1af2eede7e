"""``run.json``: what a scoring did and what it cost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import read_json
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.statistics import Counts

RUN_MEANINGS: Final[Mapping[str, str]] = {
    "alleles": "rows of the table",
    "scored": "rows with an `llr`",
    "by_status": "rows of each status that occurs",
    "by_flag": "rows of each flag that occurs",
    "variants": "the input: its file, and what reading it counted",
    "windows_run": "windows that went through the model",
    "tokens_run": "tokens that went through the model",
    "wall_s": "seconds of all scoring jobs together, whether or not they ran at once",
    "verification": "whether the model gives the figures that are published of it: `status` "
    "(`same_arithmetic`, `other_arithmetic`, `failed` if that was allowed, `not_verified` and the "
    "`reason`), `of` which model, `differences`; by kind of device where there are several",
    "devices": "kinds of devices that the shards ran on, with the number of shards of each",
    "shards": "what each scoring job states about itself: device, versions, time, peak memory, "
    "`parts` and how many of them were kept from an earlier try, `batch_tokens` (less than the "
    "config's where memory was short), `canaries` (`llr` of fixed alleles)",
}
"""Keys of ``run.json``."""

_SUMMED: Final = ("windows_run", "tokens_run", "wall_s")

CANARY_TOLERANCES: Final[Mapping[str, float]] = {"float32": 1e-3, "bfloat16": 0.5}
"""Nats by which the canaries of two shards may differ, by dtype. In bfloat16 models of width 128 to
4,096 they were up to 0.26 away from the same model in float32."""

FP8_CANARY_TOLERANCE: Final = 0.5
"""The same in FP8: for a last bit an input may round to another E4M3 number, which is up
to an eighth away. With evo2-mini and made-up scales two ways of summing were up to 0.2 apart."""


def read_shards(shard_files: Sequence[Path]) -> list[dict[str, Any]]:
    """What ``score`` wrote about each shard, in the order of their numbers.

    Args:
        shard_files: The JSON file beside the scores of each shard: an object with at least
            ``windows_run``, ``tokens_run`` and ``wall_s``.

    Raises:
        InputError: A file is missing or states no such number.
    """
    return [_read_shard(path) for path in sorted(shard_files, key=_by_number)]


def require_equal_devices(
    shards: Sequence[Mapping[str, Any]], *, dtype: str, fp8: bool, allow_mixed: bool
) -> None:
    """Make sure that the devices of all shards compute the same, and are of one kind if asked.

    Args:
        shards: What :func:`read_shards` gives.
        dtype: Number type of the model.
        fp8: Whether its projections are in FP8.
        allow_mixed: Whether different kinds of devices may have worked on one table.

    Raises:
        InputError: Two shards ran on different kinds of devices, which is not allowed, or give
            different scores to the canaries.
    """
    kinds = _count_devices(shards)
    if len(kinds) > 1 and not allow_mixed:
        found = ", ".join(f"{kind} ({number})" for kind, number in kinds.items())
        raise InputError(
            f"merge: the shards ran on {found}, and run.allow_mixed_devices is false. Delete the "
            "scores of all but one kind and run again, or allow them."
        )
    with_canaries = [shard for shard in shards if "canaries" in shard]
    tolerance = FP8_CANARY_TOLERANCE if fp8 else CANARY_TOLERANCES[dtype]
    for shard in with_canaries[1:]:
        first = with_canaries[0]
        pairs = zip(first["canaries"], shard["canaries"], strict=True)
        for number, (one, other) in enumerate(pairs, start=1):
            both = one is not None and other is not None
            if one == other or (both and abs(one - other) <= tolerance):
                continue
            raise InputError(
                f"merge: shards {first['shard']} (on {_place(first)}) and {shard['shard']} (on "
                f"{_place(shard)}) give canary {number} {one} and {other} nats, more than "
                f"{tolerance:g} apart: one of these devices computes wrong. Delete the scores of "
                "its shards and keep them off it."
            )


def summarize_run(
    counts: Counts,
    shards: Sequence[Mapping[str, Any]],
    *,
    variants: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Content of ``run.json``.

    Args:
        counts: What the table holds.
        shards: What :func:`read_shards` gives.
        variants: What reading the input counted, as ``split.json`` has it.

    Returns:
        Counts of the table, sums over the shards (``wall_s`` is the time of all jobs together,
        whether or not they ran at once), and what each shard states about itself.
    """
    sums = {key: round(sum(shard[key] for shard in shards), 3) for key in _SUMMED}
    return {
        "alleles": counts.alleles,
        "scored": counts.scored,
        "by_status": dict(counts.by_status),
        "by_flag": dict(counts.by_flag),
        "variants": dict(variants or {}),
        **sums,
        "verification": _verification(shards),
        "devices": _count_devices(shards),
        "shards": list(shards),
    }


def _count_devices(shards: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return dict(Counter(shard["device_class"] for shard in shards if "device_class" in shard))


def _verification(shards: Sequence[Mapping[str, Any]]) -> Any:
    """What the shards found of the model, by kind of device where there are several."""
    found = {
        shard["device_class"]: shard["verification"] for shard in shards if "verification" in shard
    }
    return next(iter(found.values())) if len(found) == 1 else found or None


def _place(shard: Mapping[str, Any]) -> str:
    return f"{shard.get('device', 'an unknown device')}, node {shard.get('node', 'unknown')}"


def _read_shard(path: Path) -> dict[str, Any]:
    stated = read_json(path)
    for key in _SUMMED:
        value = stated.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{shown_path(path)}: {key} is no number. Score the shard again.")
    return {"shard": path.stem, **stated}


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts 2-of-10 before 10-of-10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in _pieces(path.stem)]


def _pieces(text: str) -> list[str]:
    return re.findall(r"[0-9]+|[^0-9]+", text)
