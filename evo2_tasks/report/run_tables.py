"""Tables about the run: settings and versions, time and memory of each shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from evo2_tasks.io.words import counted
from evo2_tasks.layout import REUSED, RUN
from evo2_tasks.report.blocks import LONG, NAME, NUMBER, TEXT, Cell, Table, number_cell
from evo2_tasks.report.evidence import Evidence
from evo2_tasks.report.words import NOTHING, count, decimal, printable, value_text

SIGNATURE_NAMES: Final = {
    "weights": "digest of the weights (SHA-256)",
    "reference": "digest of the reference (GA4GH seqcol)",
    "dtype": "data type",
    "fp8": "FP8",
    "prepend_bos": "BOS token at the start of each window",
    "scores_version": "version of the score definitions",
}

MOST_SHARDS: Final = 1_000
MOST_VALUES: Final = 20
"""Most distinct values of a fact that are listed; the most frequent come first."""


def tabulate_provenance(evidence: Sequence[Evidence], files: Sequence[Mapping[str, str]]) -> Table:
    """Tabulate settings, versions and devices, with a column for each scoring.

    Args:
        evidence: The scorings.
        files: ``reference``, ``genes and consequences`` and ``checkpoint`` of each scoring, as the
            config spells them; empty where there is none.
    """
    facts = [describe_run(one, names) for one, names in zip(evidence, files, strict=True)]
    names = dict.fromkeys(name for of_scoring in facts for name in of_scoring)
    rows = [
        [Cell(printable(name)), *(Cell(printable(fact.get(name, NOTHING), 200)) for fact in facts)]
        for name in names
    ]
    columns = [("", NAME), *((one.scoring, LONG) for one in evidence)]
    return Table("Settings and versions", columns, rows, is_sortable=False)


def describe_run(one: Evidence, files: Mapping[str, str]) -> dict[str, str]:
    """The files, settings, versions and devices of a scoring, by the name of each fact."""
    signature = dict(one.provenance.signature)
    scoring = signature.pop("scoring", {})
    variants = one.run.variants
    facts = {
        "model": value_text(one.provenance.model),
        **{name: file for name, file in files.items() if file},
        "variants": value_text(variants and variants.variants),
        "records of the input": _fact(variants and variants.records),
        "regions": value_text((variants and variants.regions) or "all"),
    }
    if one.run.date is not None:
        facts["table written (UTC)"] = value_text(one.run.date)
    for key in [*SIGNATURE_NAMES, *signature]:
        if key in signature:
            facts[SIGNATURE_NAMES.get(key, key)] = _fact(signature[key])
    if isinstance(scoring, Mapping):
        facts |= {key: _fact(scoring[key]) for key in scoring if key not in signature}
    facts["evo2-tasks"] = value_text(one.provenance.version)
    for key, name in {
        "device": "devices", "node": "nodes", "cpu_capability": "CPU capability",
        "threads": "threads", "python": "python", "torch": "torch", "transformers": "transformers",
    }.items():  # fmt: skip
        facts[name] = _count_values(
            value for shard in one.shards if (value := getattr(shard, key)) is not None
        )
    facts["windows run"] = _fact(one.run.windows_run)
    facts["tokens run"] = _fact(one.run.tokens_run)
    if one.run.verification is not None:
        facts |= _flatten("verification", one.run.verification)
    return facts


def _fact(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    return value if isinstance(value, str) else value_text(value)


def _flatten(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {name: _fact(value)}
    facts: dict[str, str] = {}
    for key, inner in value.items():
        facts |= _flatten(f"{name}: {key}", inner)
    return facts


def _count_values(values: Iterable[Any]) -> str:
    """The distinct values; if there are several, with the number of shards of each."""
    counts = Counter(map(_fact, values))
    if len(counts) == 1:
        return next(iter(counts))
    texts = [
        f"{value} ({counted(number, 'shard')})" for value, number in counts.most_common(MOST_VALUES)
    ]
    if len(counts) > len(texts):
        texts.append(f"{count(len(counts) - len(texts))} more")
    return "; ".join(texts) or NOTHING


def describe_warnings(one: Evidence) -> list[str]:
    """What ``split`` found wrong with the variants, as ``run.json`` states it."""
    return [printable(warning, 1_000) for warning in one.run.warnings]


def describe_mixed_devices(one: Evidence) -> str:
    """Which kinds of device computed the scores; empty if there is only one kind."""
    devices = [shard.device_class for shard in one.shards if shard.device_class is not None]
    stored = one.run.reused_devices or {}
    if len({*devices, *stored}) < 2:
        return ""
    tolerance = "Scores of different devices can differ within the documented tolerance."
    kinds = printable(_count_values(devices), 200)
    if not stored:
        return f"{one.scoring}: the shards ran on different kinds of device: {kinds}. {tolerance}"
    texts = [f"{kind} ({counted(number, 'allele')})" for kind, number in stored.items()]
    of_store = printable("; ".join(texts), 200)
    ran = f"the shards ran on {kinds}; " if devices else ""
    return (
        f"{one.scoring}: different kinds of device computed the scores: {ran}those of the store: "
        f"{of_store}. {tolerance}"
    )


def describe_store(one: Evidence) -> str:
    """How many scores are from a store; empty without a store."""
    reused = one.run.reused
    if reused is None:
        return ""
    return (
        f"{one.scoring}: {count(reused)} of {counted(one.num_rows, 'allele')} "
        f"{'has its' if reused == 1 else 'have their'} scores from the store; {REUSED} lists "
        f"{'it' if reused == 1 else 'them'}."
    )


def tabulate_shards(one: Evidence) -> Table:
    """Tabulate time and memory of each scoring job."""
    has_device_memory = any(shard.peak_device_memory_mb is not None for shard in one.shards)
    has_store = any(shard.reused is not None for shard in one.shards)
    columns = [
        ("shard", TEXT), ("device", TEXT), ("node", TEXT),
        *([("alleles from the store", NUMBER)] if has_store else []), ("seconds", NUMBER),
        ("seconds for loading", NUMBER), ("windows", NUMBER), ("tokens", NUMBER),
        ("tokens/s", NUMBER), ("peak memory, MB", NUMBER),
        *([("peak device memory, MB", NUMBER)] if has_device_memory else []),
    ]  # fmt: skip
    rows = []
    for shard in one.shards[:MOST_SHARDS]:
        rate = shard.tokens_run / shard.wall_s if shard.wall_s else None
        numbers = [
            *([shard.reused] if has_store else []),
            shard.wall_s, shard.load_s, shard.windows_run, shard.tokens_run, rate,
            shard.peak_memory_mb,
            *([shard.peak_device_memory_mb] if has_device_memory else []),
        ]  # fmt: skip
        rows.append(
            [
                *(Cell(value_text(text)) for text in (shard.shard, shard.device, shard.node)),
                *(number_cell(number, _cost(number)) for number in numbers),
            ]
        )
    num_more = len(one.shards) - len(rows)
    return Table(
        f"Time and memory by shard, {one.scoring}", columns, rows,
        note=f"{RUN} lists {counted(num_more, 'more shard')}." if num_more else "",
    )  # fmt: skip


def _cost(number: float | None) -> str:
    if number is None:
        return NOTHING
    return count(round(number)) if abs(number) >= 100 else decimal(number)
