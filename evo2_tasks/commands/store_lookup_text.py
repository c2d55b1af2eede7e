"""The answers of ``store lookup`` as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from evo2_tasks.commands.store import name_models, short_digest
from evo2_tasks.config.resolve import StoredSettings
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.words import counted, duration, shown, shown_path

_SHOWN: Final = ("llr", "llr_aligned", "llr_allele", "llr_downstream", "llr_end", "delta_score")


def describe_answers(
    answers: Sequence[Mapping[str, Any]], store: Path, settings: StoredSettings | None
) -> Iterator[str]:
    """The answers as text.

    Args:
        answers: Results of ``lookup``.
        store: Folder of the store, for the advice.
        settings: What the config states, if there is one.
    """
    is_missing = False
    for number, answer in enumerate(answers):
        if number:
            yield ""
        yield escape_text(answer["query"])
        if "contig" in answer:
            yield f"  allele     {_spell(answer)}"
        if answer.get("refget"):
            topology = "circular" if answer["circular"] else "linear"
            name = escape_text(answer["reference_contig"])
            yield f"  contig     {name}, {answer['refget']}, {topology}"
        if answer["problem"] is not None:
            yield f"  no score   {answer['problem']}"
        for result in answer["results"]:
            yield from _describe_result(result)
            is_missing |= "to_run" in result
    if is_missing:
        yield ""
        if settings is not None and settings.store == store:
            what = "add the alleles to the variants of this config"
        else:
            what = (
                f"add `run: {{store: {shown_path(store)}}}` to a config with this scoring, add the "
                "alleles to its variants"
            )
        yield f"To score what is missing: {what}, and run snakemake."


def _spell(answer: Mapping[str, Any]) -> str:
    cells = (answer["contig"], answer["pos"], answer["ref"], answer["alt"])
    return ":".join("." if cell is None else escape_text(shown(cell, 60)) for cell in cells)


def _describe_result(result: Mapping[str, Any]) -> Iterator[str]:
    digest = result["signature"]
    named = [
        *([f"scoring {escape_text(result['scoring'])}"] if result["scoring"] else []),
        *([f"signature {short_digest(digest)}"] if digest else []),
        f"model {name_models(result['models'])}",
    ]
    yield ""
    yield f"  {', '.join(named)}"
    horizon = f", horizon {result['horizon']:,}" if result["horizon"] is not None else ""
    length = result["window_end"] - result["window_start"]
    yield (
        f"    window   {length:,} bases from {result['window_start'] + 1:,} to "
        f"{result['window_end']:,}, {result['window_placement']}{horizon}"
    )
    scores = result["scores"]
    if scores:
        yield from _format_scores(scores)
    if result["note"] is not None:
        yield f"    note     {result['note']}"
    if "to_run" in result:
        run = result["to_run"]
        strands = " and ".join(run["strands"])
        time = "unknown: no rate is known for this model"
        if run["seconds"] is not None:
            time = f"about {duration(run['seconds'])} on {run['device']}"
        yield f"    missing  {strands} strand{'s' if len(run['strands']) > 1 else ''}"
        yield (
            f"    to run   {counted(run['windows'], 'window')}, {counted(run['tokens'], 'token')}; "
            f"time {time}"
        )


def _format_scores(scores: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One line for each strand and the mean, below the names of the scores."""
    lines: list[tuple[str, ...]] = [("", *_SHOWN, "device")]
    for name, values in scores.items():
        numbers = ("." if values[one] is None else f"{values[one]:.6g}" for one in _SHOWN)
        lines.append((name, *numbers, escape_text(values["device"]) if "device" in values else ""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "    " + "  ".join(map(str.ljust, line, widths)).rstrip()
