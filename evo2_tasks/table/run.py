"""``run.json``: counts, devices, time and memory of a scoring."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import JsonValue

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown
from evo2_tasks.table.documents import Audit, Run, RunReference, ShardRun, Split, Variants
from evo2_tasks.table.statistics import Counts

AnyRun = TypeVar("AnyRun", bound=ShardRun)

RUN_MEANINGS: Final[Mapping[str, str]] = {
    "date": "when the table was written, UTC",
    "table_digest": "SHA-256 of the table. Commands that read this file refuse it next to another "
    "table",
    "alleles": "number of rows of the table",
    "scored": "number of rows with an `llr`",
    "by_status": "number of rows with each status that occurs",
    "by_reason": "number of rows with each `reason` that occurs",
    "by_flag": "number of rows with each flag that occurs",
    "variants": "the input: its file and its counts of records and alleles",
    "reference": "the reference: `name` in the config, `digest` (GA4GH seqcol), the FASTA file "
    "`fasta`, and its `circular_contigs`",
    "contigs": "length of each contig that the table has, in the order of the reference",
    "warnings": "how the header of the variants contradicts the reference (contig lengths, MD5 "
    "checksums, the name of the assembly), one line each",
    "windows_run": "number of windows that went through the model",
    "tokens_run": "number of tokens that went through the model",
    "wall_s": "sum of the run times of all scoring jobs, in seconds",
    "verification": "whether the model gives its published values: `status` (`same_arithmetic`, "
    "`other_arithmetic`, `failed` if the config allows it, or `not_verified` with a `reason`), "
    "`of` (name of the published model) and `differences`; by kind of device if there are several",
    "devices": "kinds of devices that the shards ran on, with the number of shards of each",
    "reused": "with a store: number of rows whose scores were computed by an earlier run, which "
    "`reused.parquet` lists; also in each entry of `shards`",
    "reused_devices": "with a store: the kinds of devices that computed the reused scores, with "
    "the number of rows of each. A row whose strands were computed on two kinds counts for both",
    "audit": "with `audit` in the config: the observed error of the horizon. `alleles` is the "
    "number of alleles that were scored with whole windows too. `errors` compares their `llr`, "
    "`llr_fwd` and `llr_rev` with those of the whole windows: number of `alleles` with both, `rms` "
    "(root mean square), `p99` (99th percentile) and `largest` of the differences in nats, and "
    "`spearman`. `share` is that of the config, `table_digest` the SHA-256 of the table of the "
    "audit. `windows_run`, `tokens_run`, `wall_s` and `devices` are those of the whole windows, "
    "which the other keys do not count",
    "shards": "one entry for each scoring job: device, versions, time, peak memory, number of "
    "`parts`, `parts_kept` (parts that an earlier, interrupted job had finished), `batch_tokens` "
    "(smaller than in the config if memory ran out), `canaries` (`llr` of fixed alleles)",
}
"""Keys of ``run.json``, and their meanings."""

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


def read_shards(shard_files: Sequence[Path]) -> list[ShardRun]:
    """Read the JSON file that ``score`` wrote for each shard, in the order of shard numbers.

    Args:
        shard_files: The JSON file next to the scores of each shard.

    Raises:
        InputError: A file is missing, or a value in it has another type.
    """
    return [
        ShardRun.read(path).model_copy(update={"shard": path.stem})
        for path in sorted(shard_files, key=_by_number)
    ]


def require_equal_devices(
    shards: Sequence[ShardRun], *, dtype: str, fp8: bool, allow_mixed: bool
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
    kinds = {kind: str(number) for kind, number in count_devices(shards).items()}
    for kind, number in count_reused_devices(shards).items():
        kinds.setdefault(kind, f"{number:,} scores of the store")
    if len(kinds) > 1 and not allow_mixed:
        names = ", ".join(f"{shown(kind)} ({number})" for kind, number in kinds.items())
        raise InputError(
            f"merge: the shards ran on different kinds of devices, {names}, and "
            "run.allow_mixed_devices is false. Set it to true, or delete the scores of all but one "
            "kind and run again."
        )
    with_canaries = [(shard, shard.canaries) for shard in shards if shard.canaries is not None]
    tolerance = canary_tolerance(dtype=dtype, fp8=fp8)
    for shard, canaries in with_canaries[1:]:
        first, expected = with_canaries[0]
        if len(canaries) != len(expected):
            raise InputError(
                f"merge: shards {first.shard} and {shard.shard} have {len(expected)} and "
                f"{len(canaries)} canaries. Score both shards again with the same version."
            )
        place = find_differing_canary(expected, canaries, tolerance)
        if place is not None:
            one, other = expected[place - 1], canaries[place - 1]
            raise InputError(
                f"merge: shards {first.shard} (on {_place(first)}) and {shard.shard} (on "
                f"{_place(shard)}) differ in the score of canary {place}: {one} and {other} nats, "
                f"allowed difference {tolerance:g}. One of these devices gives wrong scores. "
                "Delete the scores of its shards, and run them on another device."
            )


def canary_tolerance(*, dtype: str, fp8: bool) -> float:
    """Largest allowed difference between the canaries of two jobs, nats.

    Args:
        dtype: Data type of the model.
        fp8: Whether the model's input projections ran in FP8.
    """
    return FP8_CANARY_TOLERANCE if fp8 else CANARY_TOLERANCES[dtype]


def find_differing_canary(
    expected: Sequence[float | None], canaries: Sequence[float | None], tolerance: float
) -> int | None:
    """The first canary that two jobs score differently, counted from 1; None if there is none.

    Args:
        expected: ``llr`` of each canary by one job, nats; None if it is not finite.
        canaries: The same by the other job.
        tolerance: Largest allowed difference, nats.
    """
    for number, (one, other) in enumerate(zip(expected, canaries, strict=True), start=1):
        if one == other:
            continue
        if one is None or other is None or abs(one - other) > tolerance:
            return number
    return None


def summarize_run(
    counts: Counts,
    shards: Sequence[ShardRun],
    split: Split,
    *,
    model: str | None,
    signature: Mapping[str, JsonValue],
    date: str,
    table_digest: str,
    contigs: Mapping[str, int] | None,
    reference: RunReference,
    audit: Audit | None = None,
) -> Run:
    """Content of ``run.json``.

    Args:
        counts: Counts of the table's rows.
        shards: Result of :func:`read_shards`.
        split: The input and its counts.
        model: Name of the model in the config.
        signature: The signature of the table.
        date: When the table was written, UTC.
        table_digest: SHA-256 of the table.
        contigs: Length of each contig of the table, in the order of the reference; None if it is
            not known.
        reference: The reference of the variant set.
        audit: The audit of the horizon; None without one.

    Returns:
        Counts of the table, sums over the shards (``wall_s`` is the sum of the run times of all
        jobs), and the entry of each shard.
    """
    optional: dict[str, Any] = {} if audit is None else {"audit": audit}
    if any(shard.reused is not None for shard in shards):
        optional["reused"] = sum(shard.reused or 0 for shard in shards)
        optional["reused_devices"] = count_reused_devices(shards)
    return Run(
        **optional,
        model=model,
        signature=dict(signature),
        date=date,
        table_digest=table_digest,
        alleles=counts.alleles,
        scored=counts.scored,
        by_status=dict(counts.by_status),
        by_reason=dict(counts.by_reason),
        by_flag=dict(counts.by_flag),
        variants=Variants(
            variants=split.variants,
            format=split.format,
            records=split.records,
            invalid=split.invalid,
            filtered=split.filtered,
            regions=split.regions,
        ),
        reference=reference,
        contigs=None if contigs is None else dict(contigs),
        warnings=split.warnings,
        windows_run=sum(shard.windows_run for shard in shards),
        tokens_run=sum(shard.tokens_run for shard in shards),
        wall_s=round(sum(shard.wall_s for shard in shards), 3),
        verification=find_verification(shards),
        devices=count_devices(shards),
        shards=tuple(without_statements(shard) for shard in shards),
    )


def without_statements(shard: AnyRun) -> AnyRun:
    """The entry of a shard in ``run.json``, where nothing compares its statements any more."""
    return shard.model_validate(shard.model_dump(exclude={"statements"}, exclude_unset=True))


def count_devices(shards: Sequence[ShardRun]) -> dict[str, int]:
    """Kinds of devices, with the number of shards of each."""
    return dict(Counter(shard.device_class for shard in shards if shard.device_class is not None))


def count_reused_devices(shards: Sequence[ShardRun]) -> dict[str, int]:
    """Kinds of devices of the scores that are from a store, with the number of alleles of each."""
    counts = Counter[str]()
    for shard in shards:
        counts.update(shard.reused_devices or {})
    return dict(counts)


def find_verification(shards: Sequence[ShardRun]) -> dict[str, JsonValue] | None:
    """The verification that the shards report; by kind of device if there are several."""
    by_device: dict[str, dict[str, JsonValue]] = {
        shard.device_class or "an unknown device": shard.verification
        for shard in shards
        if shard.verification is not None
    }
    return next(iter(by_device.values())) if len(by_device) == 1 else {**by_device} or None


def _place(shard: ShardRun) -> str:
    return f"{shown(shard.device or 'an unknown device')}, node {shown(shard.node or 'unknown')}"


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts 2-of-10 before 10-of-10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in _pieces(path.stem)]


def _pieces(text: str) -> list[str]:
    return re.findall(r"[0-9]+|[^0-9]+", text)
