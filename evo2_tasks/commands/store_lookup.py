"""The command ``store lookup``: the stored scores of single alleles, or what scoring them takes."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from evo2_tasks.commands.store_targets import Target, target_of_scoring, targets_of_store
from evo2_tasks.config.resolve import (
    ReferenceSettings,
    StoredSettings,
)
from evo2_tasks.cost.rates import PUBLISHED_RATES, Rate, Rates, choose_rate
from evo2_tasks.cost.shapes import read_shape
from evo2_tasks.cost.tokens import pair_sizes
from evo2_tasks.errors import InputError
from evo2_tasks.genome import contigs
from evo2_tasks.genome.alleles import split_alleles
from evo2_tasks.genome.records import Filters, NoAllele, Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.symbolic import describe_symbols
from evo2_tasks.genome.variant_lists import parse_entry
from evo2_tasks.genome.window_pairs import STRANDS, Strand
from evo2_tasks.genome.windows import TO_SCORE, PlacedAllele, WindowSettings, place_allele
from evo2_tasks.io.vcf_text import Unreadable
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.scoring.deltas import SCORE_NAMES, Score, average_strands
from evo2_tasks.scoring.passes import plan_passes
from evo2_tasks.table.schema import REASON_MEANINGS, STATUS_MEANINGS
from evo2_tasks.table.store import (
    Store,
    StoreDescription,
    make_contig_key,
)
from evo2_tasks.table.store_rows import KEY_COLUMNS, device_column, keys_schema, strand_columns

MISTAKES: Final = frozenset(
    {
        "invalid_record",
        "non_acgt_allele",
        "contig_not_found",
        "position_out_of_range",
        "ref_alt_swapped",
        "ref_mismatch",
    }
)
"""Statuses of an allele that a person has most likely spelled wrong."""

# Of a position, as people and browsers write it: chr17:43,044,295:A:G.
_GROUPED = re.compile(r"([-:])(\d{1,3}(?:,\d{3})+)([-:])")


class _Query(NamedTuple):
    """One allele of what a person asked for, or why it cannot be read."""

    text: str
    variant: Variant | None
    problem: str | None


def choose_store(store: Path | None, settings: StoredSettings | None) -> Path:
    """The folder of the store that is asked.

    Args:
        store: The folder that the command names, if any.
        settings: What the config states, if there is one.

    Raises:
        InputError: Neither names one.
    """
    chosen = store or (None if settings is None else settings.store)
    if chosen is None:
        raise InputError(
            "store lookup: name the score store by --store, or by `run.store` of a config that "
            "--config names."
        )
    return chosen


def lookup(
    queries: Sequence[str],
    store: Path,
    settings: StoredSettings | None = None,
    *,
    signature: str | None = None,
    model: str | None = None,
    fasta: Path | None = None,
    circular_contigs: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """Find the stored scores of alleles, and estimate what the missing ones take.

    Args:
        queries: Alleles: ``chr17:43045712:A:G``, ``chr17-43045712-A-G``, SPDI, or HGVS of the
            genome.
        store: Folder of the store.
        settings: The scorings of a config to look up, and its reference. Default: all signatures
            of the store.
        signature: The first digits of the only signature to look up; not with ``settings``.
        model: Without ``settings``: name of a model, of which all signatures are looked up.
        fasta: The FASTA. Default: that of ``settings``.
        circular_contigs: Names of its circular contigs. Default: those of ``settings``.

    Yields:
        For each allele its place on the reference, and the result of each way of scoring.

    Raises:
        InputError: The store or the reference cannot be used, or no way of scoring is found.
    """
    if settings is not None and signature is not None:
        raise InputError(
            "--signature: cannot be combined with --config, whose scorings have their own "
            "signatures; keep one of the two."
        )
    opened = Store(store)
    described = opened.describe()
    if settings is None:
        targets = targets_of_store(store, described, signature, model)
    else:
        targets = [target_of_scoring(one, store, described) for one in settings.scorings]
    reference = None if settings is None else settings.reference
    rates = Rates.read(PUBLISHED_RATES).rates
    with tempfile.TemporaryDirectory(prefix="evo2-tasks-") as folder, _without_contig_messages():
        on = _open_reference(reference, fasta, circular_contigs, Path(folder))
        for query in _read_queries(queries, on):
            yield _answer(query, targets, on, opened, described, rates)


def require_spelled(answers: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that all alleles are on the reference, after their answers are printed.

    Raises:
        InputError: Some cannot be read, or are not on the reference.
    """
    wrong = [one for one in answers if one["status"] in MISTAKES]
    if wrong:
        first = f"'{shown(wrong[0]['query'])}': {wrong[0]['problem']}"
        if len(wrong) > 1:
            first = f"{len(wrong)} of {len(answers)} alleles cannot be found; the first is {first}"
        raise InputError(
            f"{first}. Correct the allele, or name the FASTA that it refers to by --fasta."
        )


# --- placing the alleles


def _open_reference(
    reference: ReferenceSettings | None,
    fasta: Path | None,
    circular_contigs: Sequence[str],
    index_folder: Path,
) -> Reference:
    """Open the reference that the alleles refer to.

    Raises:
        InputError: None is named, or it cannot be read.
    """
    if reference is None:
        if fasta is None:
            raise InputError(
                "store lookup: name the FASTA of the reference by --fasta, or a config by --config."
            )
        reference = ReferenceSettings("", fasta, (), {}, None, index_folder)
    if circular_contigs:
        reference = replace(reference, circular_contigs=tuple(circular_contigs))
    return open_reference(replace(reference, index_folder=index_folder))


@contextmanager
def _without_contig_messages() -> Iterator[None]:
    """Leave out the messages on names of contigs, which each answer states."""
    log = logging.getLogger(contigs.__name__)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _read_queries(queries: Sequence[str], reference: Reference) -> Iterator[_Query]:
    """The alleles of the queries, in order."""
    for number, text in enumerate(queries):
        spelled = _GROUPED.sub(lambda found: found[0].replace(",", ""), text.strip())
        read = parse_entry(spelled, reference)
        if isinstance(read, Unreadable):
            yield _Query(text, None, read.explanation)
        elif isinstance(read, NoAllele):
            contig, pos, status, reason, *_ = read
            variant = Variant(number, 0, contig, pos, None, None, status, (), reason)
            yield _Query(text, variant, None)
        else:
            if any("<" in alt for alt in read.alts):
                read = read._replace(symbols=describe_symbols(read.pos, read.ref, read.alts))
            for variant in split_alleles(read, number, 0, Filters()):
                yield _Query(text, variant, None)


def _answer(
    query: _Query,
    targets: Sequence[Target],
    reference: Reference,
    store: Store,
    described: StoreDescription,
    rates: Sequence[Rate],
) -> dict[str, Any]:
    """What is known of an allele, as JSON values."""
    variant = query.variant
    if variant is None:
        return {
            "query": query.text, "status": "invalid_record", "problem": query.problem, "results": []
        }  # fmt: skip
    placements = [
        place_allele(variant, reference, WindowSettings(**asdict(target.scoring)))
        for target in targets
    ]
    first = placements[0]
    contig = first.reference_contig
    answer: dict[str, Any] = {
        "query": query.text,
        "contig": variant.contig,
        "pos": variant.pos,
        "ref": variant.ref,
        "alt": variant.alt,
        "status": first.status,
        "problem": _explain_status(variant, first, reference),
        "reference_contig": contig,
    }
    if contig is not None and first.status not in MISTAKES:
        answer |= {
            "refget": reference.refget_accession(contig),
            "circular": reference.is_circular(contig),
        }
    results = [
        find_scores(target, placed, reference, store, described, rates)
        for target, placed in zip(targets, placements, strict=True)
        if placed.pair is not None
    ]
    return answer | {"results": results}


def _explain_status(variant: Variant, placed: PlacedAllele, reference: Reference) -> str | None:
    """Why an allele cannot be scored; None if it can."""
    if placed.status == TO_SCORE:
        return None
    contig = placed.reference_contig
    if placed.status == "contig_not_found":
        names = shown(", ".join(reference.contigs), 200)
        if placed.reason == "several_contigs":
            return (
                f"several sequences of {shown_path(reference.path)} could be "
                f"'{shown(variant.contig)}'; its sequences are: {names}"
            )
        return (
            f"{shown_path(reference.path)} has no sequence for the contig "
            f"'{shown(variant.contig)}'; its sequences are: {names}"
        )
    if placed.status in ("ref_mismatch", "ref_alt_swapped") and contig is not None:
        ref = variant.ref or ""
        bases = reference.fetch(contig, variant.start, variant.start + len(ref))
        return (
            f"the reference has {shown(bases, 40)} at {shown(contig)}:{variant.pos:,}, and not "
            f"{shown(ref, 40)}"
        )
    if placed.status == "position_out_of_range" and contig is not None:
        return f"{shown(contig)} has the positions 1 to {reference.contigs[contig]:,}"
    meaning = STATUS_MEANINGS[placed.status]
    if placed.reason is not None:
        meaning = REASON_MEANINGS[placed.reason].meaning
    return f"{placed.status}: {meaning}"


# --- the scores of one allele


def find_scores(
    target: Target,
    placed: PlacedAllele,
    reference: Reference,
    store: Store,
    described: StoreDescription,
    rates: Sequence[Rate],
) -> dict[str, Any]:
    """The stored scores of a placed allele, and what the missing ones take.

    Args:
        target: The way of scoring.
        placed: The allele, which has windows.
        reference: The reference.
        store: The store.
        described: What the store has.
        rates: Rates of devices.

    Returns:
        JSON values.
    """
    contig = str(placed.reference_contig)
    circular = reference.is_circular(contig)
    refget = reference.refget_accession(contig)
    strands = STRANDS[target.scoring.strands]
    start, end = int(placed.window_start or 0), int(placed.window_end or 0)
    found: dict[Strand, dict[str, Any]] = {}
    if target.signature is not None and not placed.background:
        key = make_contig_key(refget, circular=circular)
        found = _read_strands(store, target.signature, key, placed, start, end, strands)
    result: dict[str, Any] = {
        "scoring": target.name or None,
        "signature": target.digest,
        "models": list(target.models),
        "status": placed.status,
        "window_placement": target.scoring.window_placement,
        "window_start": start,
        "window_end": end,
        "horizon": target.scoring.horizon,
        "scores": {**found},
        "note": _find_note(target, placed, refget, circular, contig, described),
    }
    if len(strands) > 1 and len(found) == len(strands):
        mean = average_strands(
            [Score(**{name: found[strand][name] for name in SCORE_NAMES}) for strand in strands]
        )
        result["scores"]["mean"] = asdict(mean)
    missing = [strand for strand in strands if strand not in found and strand in placed.sizes]
    if missing:
        result["to_run"] = _estimate(target, placed, missing, rates)
    return result


def _read_strands(
    store: Store,
    signature: Mapping[str, Any],
    contig_key: str,
    placed: PlacedAllele,
    start: int,
    end: int,
    strands: Sequence[Strand],
) -> dict[Strand, dict[str, Any]]:
    """The stored scores of each strand that the store has."""
    values = (placed.edit_start, placed.edit_ref, placed.edit_alt, start, end - start)
    columns = dict(zip(KEY_COLUMNS, ([value] for value in values), strict=True))
    alleles = pa.table(columns, schema=keys_schema())
    (row,) = store.lookup(signature, contig_key, alleles, strands).to_pylist()
    found: dict[Strand, dict[str, Any]] = {}
    for strand in strands:
        names = strand_columns(strand)
        if row[names[0]] is not None:
            scores = {name: row[column] for name, column in zip(SCORE_NAMES, names, strict=True)}
            found[strand] = {**scores, "device": row[device_column(strand)]}
    return found


def _find_note(
    target: Target,
    placed: PlacedAllele,
    refget: str,
    circular: bool,
    contig: str,
    described: StoreDescription,
) -> str | None:
    """What a person should know about an allele that is not found."""
    if placed.background:
        return (
            "REF has a base at an IUPAC letter of the reference; scores of such alleles are not "
            "stored"
        )
    other = make_contig_key(refget, circular=not circular)
    for one in described.signatures:
        if one.digest == target.digest and other in {two.contig for two in one.contigs}:
            kind = "linear" if circular else "circular"
            return (
                f"the store has scores of {shown(contig)} as a {kind} contig; see "
                "--circular-contigs"
            )
    return None


def _estimate(
    target: Target, placed: PlacedAllele, missing: Sequence[Strand], rates: Sequence[Rate]
) -> dict[str, Any]:
    """Windows, tokens and time of the strands that the store does not have."""
    pairs = [
        pair
        for strand in missing
        for pair in pair_sizes(0, placed, replace(target.scoring, strands=strand))
    ]
    most = sum(pair.ref_length + pair.alt_length for pair in pairs)
    passes = list(plan_passes(pairs, max(1, most)))
    tokens = sum(one.num_tokens for one in passes)
    estimate: dict[str, Any] = {
        "strands": list(missing),
        "windows": sum(one.num_windows for one in passes),
        "tokens": tokens,
        "seconds": None,
        "device": None,
    }
    if target.score is not None:
        model = target.score.model
        rate = choose_rate(rates, model.name, None, gpus=model.gpus)
        if rate is not None:
            shape = read_shape(model)
            flops = tokens * shape.flops_per_token(target.scoring.window_length)
            estimate |= {"seconds": flops / rate.flops_per_s, "device": rate.device}
        return estimate
    of_model = [rate for rate in rates if rate.model in target.models]
    if of_model:
        rate = of_model[-1]
        estimate |= {"seconds": tokens / rate.tokens_per_s, "device": rate.device}
    return estimate
