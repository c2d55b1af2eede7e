"""``run.json``: counts, devices, time and memory of a scoring."""

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
    "date": "when the table was written, UTC",
    "alleles": "number of rows of the table",
    "scored": "number of rows with an `llr`",
    "by_status": "number of rows with each status that occurs",
    "by_flag": "number of rows with each flag that occurs",
    "variants": "the input: its file and its counts of records and alleles",
    "warnings": "how the header of the variants contradicts the reference (contig lengths, MD5 "
    "checksums, the name of the assembly), one line each",
    "windows_run": "number of windows that went through the model",
    "tokens_run": "number of tokens that went through the model",
    "wall_s": "sum of the run times of all scoring jobs, in seconds",
    "verification": "whether the model gives its published values: `status` (`same_arithmetic`, "
    "`other_arithmetic`, `failed` if the config allows it, or `not_verified` with a `reason`), "
    "`of` (name of the published model) and `differences`; by kind of device if there are several",
    "devices": "kinds of devices that the shards ran on, with the number of shards of each",
    "shards": "one entry for each scoring job: device, versions, time, peak memory, number of "
    "`parts`, `parts_kept` (parts that an earlier, interrupted job had finished), `batch_tokens` "
    "(smaller than in the config if memory ran out), `canaries` (`llr` of fixed alleles)",
}
"""Keys of ``run.json``, and their meanings."""

_SUMMED: Final = ("windows_run", "tokens_run", "wall_s")

CANARY_TOLERANCES: Final[Mapping[str, float]] = {"float32": 1e-3, "bfloat16": 0.5}
"""Largest allowed difference between the canaries of two shards, nats, by dtype.

The canaries of bfloat16 models of width 128 to 4,096 differed from those of the same model in
float32 by up to 0.26.
"""

FP8_CANARY_TOLERANCE: Final = 0.5
"""Largest allowed difference in FP8, nats.

If an input differs in its last bit, it may be rounded to another E4M3 number, which differs by up
to an eighth. With evo2-mini and made-up scales, two orders of summation differed by up to 0.2.
"""


def read_shards(shard_files: Sequence[Path]) -> list[dict[str, Any]]:
    """Read the JSON file that ``score`` wrote for each shard, in the order of shard numbers.

    Args:
        shard_files: The JSON file next to the scores of each shard: an object with at least
            ``windows_run``, ``tokens_run`` and ``wall_s``.

    Raises:
        InputError: A file is missing, or one of these values is not a number.
    """
    return [_read_shard(path) for path in sorted(shard_files, key=_by_number)]


def require_equal_devices(
    shards: Sequence[Mapping[str, Any]], *, dtype: str, fp8: bool, allow_mixed: bool
) -> None:
    """Make sure that all shards ran on devices that give the same scores.

    Args:
        shards: Result of :func:`read_shards`.
        dtype: Data type of the model.
        fp8: Whether the model's input projections ran in FP8.
        allow_mixed: Whether the shards may have run on different kinds of devices.

    Raises:
        InputError: The shards ran on different kinds of devices, and this is not allowed, or two
            shards have different scores for the canaries.
    """
    kinds = _count_devices(shards)
    if len(kinds) > 1 and not allow_mixed:
        names = ", ".join(f"{kind} ({number})" for kind, number in kinds.items())
        raise InputError(
            f"merge: the shards ran on different kinds of devices, {names}, and "
            "run.allow_mixed_devices is false. Set it to true, or delete the scores of all but one "
            "kind and run again."
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
                f"{_place(shard)}) differ in the score of canary {number}: {one} and {other} nats, "
                f"allowed difference {tolerance:g}. One of these devices gives wrong scores. "
                "Delete the scores of its shards, and run them on another device."
            )


def summarize_run(
    counts: Counts,
    shards: Sequence[Mapping[str, Any]],
    *,
    variants: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Content of ``run.json``.

    Args:
        counts: Counts of the table's rows.
        shards: Result of :func:`read_shards`.
        variants: The input and its counts, as in ``split.json``.
        warnings: What ``split`` found wrong with the input, one line each.

    Returns:
        Counts of the table, sums over the shards (``wall_s`` is the sum of the run times of all
        jobs), and the entry of each shard.
    """
    sums = {key: round(sum(shard[key] for shard in shards), 3) for key in _SUMMED}
    return {
        "alleles": counts.alleles,
        "scored": counts.scored,
        "by_status": dict(counts.by_status),
        "by_flag": dict(counts.by_flag),
        "variants": dict(variants or {}),
        "warnings": list(warnings),
        **sums,
        "verification": _verification(shards),
        "devices": _count_devices(shards),
        "shards": list(shards),
    }


def _count_devices(shards: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return dict(Counter(shard["device_class"] for shard in shards if "device_class" in shard))


def _verification(shards: Sequence[Mapping[str, Any]]) -> Any:
    """The verification that the shards report; by kind of device if there are several."""
    by_device = {
        shard["device_class"]: shard["verification"] for shard in shards if "verification" in shard
    }
    return next(iter(by_device.values())) if len(by_device) == 1 else by_device or None


def _place(shard: Mapping[str, Any]) -> str:
    return f"{shard.get('device', 'an unknown device')}, node {shard.get('node', 'unknown')}"


def _read_shard(path: Path) -> dict[str, Any]:
    values = read_json(path)
    for key in _SUMMED:
        value = values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{shown_path(path)}: {key} is not a number. Score the shard again.")
    return {"shard": path.stem, **values}


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts 2-of-10 before 10-of-10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in _pieces(path.stem)]


def _pieces(text: str) -> list[str]:
    return re.findall(r"[0-9]+|[^0-9]+", text)
