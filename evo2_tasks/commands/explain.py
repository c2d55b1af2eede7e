"""The command ``explain``: one allele, its tokens, the SNVs near it, and its row in the table.

Without a model where the run has the profile of the allele, else the model runs. torch is imported
only then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from evo2_tasks.config.resolve import PlannedScoring
from evo2_tasks.errors import InputError
from evo2_tasks.genome.explained import (
    BASES,
    NearbySnv,
    find_contig,
    make_nearby_snvs,
    make_sequences,
    parse_allele,
)
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.genome.windows import (
    TO_SCORE,
    Contig,
    PlacedAllele,
    WindowSettings,
    align_allele,
    place_allele,
)
from evo2_tasks.io.words import shown
from evo2_tasks.layout import PROFILES, TABLE
from evo2_tasks.report.explanations import (
    FLANK,
    Explanation,
    Nearby,
    find_largest,
    write_explanation,
)
from evo2_tasks.report.profiles import locate_profiles, require_same_allele
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.table.calibrated import open_calibrated
from evo2_tasks.table.parquet import distinct_values
from evo2_tasks.table.profiles import read_profile
from evo2_tasks.table.provenance import package_version, read_provenance
from evo2_tasks.table.query import find_rows
from evo2_tasks.table.schema import STATUS_MEANINGS

logger = logging.getLogger(__name__)

DISTANCE: Final = 10
"""Most bases between the allele and an SNV near it."""
NEAR_ROWS: Final = 25
"""Most bases between the allele and another row of the table."""
MOST_ROWS: Final = 30
"""Most other rows that the page lists."""

_SCORES: Final = ("llr", "llr_allele", "llr_downstream", "llr_end", "llr_fwd", "llr_rev")


@dataclass(frozen=True, slots=True)
class Found:
    """A table, and its rows at an allele and near it.

    Attributes:
        planned: The scoring of the variant set.
        table: The table.
        row: The row of the allele; None if the table is missing or does not have it.
        neighbours: Other rows near it, the nearest ones first.
    """

    planned: PlannedScoring
    table: Path
    row: dict[str, Any] | None
    neighbours: list[dict[str, Any]]


def explain(
    candidates: Sequence[PlannedScoring],
    text: str,
    *,
    html: Path | None = None,
    run_model: bool = False,
    threads: int | None = None,
) -> Iterator[str]:
    """Explain the score of an allele.

    Args:
        candidates: The scorings of the variant sets to choose from. The first one whose table has
            the allele is taken; if there is only one, it needs no table.
        text: The allele, as CONTIG:POS:REF:ALT.
        html: The page to write; None writes none.
        run_model: Whether to run the model also if the run has the profile of the allele.
        threads: CPU threads of the model; None leaves the choice to torch.

    Yields:
        Lines of text.

    Raises:
        InputError: The text is not an allele, the allele cannot be scored, no table has it, or a
            file cannot be read.
    """
    variant = parse_allele(text)
    found = choose_table(candidates, variant)
    planned = found.planned
    if planned.split.haplotype_of is not None:
        raise InputError(
            f"variant_sets.{planned.split.variant_set}: makes its changes in the genome of a "
            "sample (haplotype_of), which explain cannot show yet. Name another variant set."
        )
    reference = open_reference(planned.split.reference)
    scoring = planned.windows.scoring
    placed = place_allele(variant, reference, WindowSettings(**asdict(scoring)))
    if placed.status != TO_SCORE:
        meaning = STATUS_MEANINGS.get(placed.status, "")
        reason = f", {placed.reason}" if placed.reason else ""
        raise InputError(f"{shown(text)}: cannot be scored: {placed.status}{reason} ({meaning}).")
    contig = find_contig(placed, reference)
    stored = read_stored_profile(found)
    if stored and not run_model:
        one = from_table(variant, found, placed, contig, stored)
    else:
        one = from_model(variant, found, placed, contig, threads)
    if html is not None:
        write_explanation(one, html)
        logger.info("%s written", html)
    yield from describe(one)


def choose_table(candidates: Sequence[PlannedScoring], variant: Variant) -> Found:
    """The first table that has an allele; with one candidate, also if its table does not.

    Raises:
        InputError: There are several candidates, and no table has the allele.
    """
    found = []
    for planned in candidates:
        table = planned.results / planned.split.variant_set / planned.score.name / TABLE
        if not table.exists():
            found.append(Found(planned, table, None, []))
            continue
        row, neighbours = read_neighbourhood(table, variant, planned)
        found.append(Found(planned, table, row, neighbours))
        if row is not None:
            return found[-1]
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{one.planned.split.variant_set} {one.planned.score.name}" for one in found)
    raise InputError(
        "no table has the allele. Name the variant set and the scoring whose windows and model to "
        f"use, with --variant-set and --scoring: {shown(names, 400)}."
    )


def read_neighbourhood(
    table: Path, variant: Variant, planned: PlannedScoring
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The row of an allele, in whatever spelling, and other rows near it."""
    known = {name for column in ("contig", "reference_contig")
             for name in distinct_values(table, column)}  # fmt: skip
    reference = open_reference(planned.split.reference)
    names = [name for name in (variant.contig, reference.resolve(variant.contig or "")) if name]
    contig = next((name for name in names if name in known), None)
    pos = variant.pos or 0
    if contig is None:
        return None, []
    region = f"{{{contig}}}:{max(1, pos - NEAR_ROWS)}-{pos + NEAR_ROWS}"
    rows = [
        row
        for batch in find_rows(table, region, calibrated=open_calibrated(table))
        for row in batch.to_pylist()
    ]
    rows.sort(key=lambda row: abs(row["pos"] - pos))
    at = next((i for i, row in enumerate(rows) if _is_spelled(row, variant)), None)
    if at is None:
        at = next((i for i, row in enumerate(rows) if _is_same(row, variant, reference)), None)
    row = find_spelling(table, contig, variant, reference) if at is None else rows.pop(at)
    return row, rows


def find_spelling(
    table: Path, contig: str, variant: Variant, reference: Reference
) -> dict[str, Any] | None:
    """The row of an allele that is spelled from a distant position; None if there is none.

    A row with a long REF begins far before its first changed base, and an insertion or a deletion
    in a repeat can be spelled at any base of it.
    """
    aligned = align_allele(variant, reference)
    if aligned is None:
        return None
    growth = len(variant.alt or "") - len(variant.ref or "")
    start = (
        0 if growth and reference.is_circular(aligned.reference_contig) else aligned.trimmed.start
    )
    for batch in find_rows(table, f"{{{contig}}}", calibrated=open_calibrated(table)):
        pos, num_ref = batch.column("pos"), pc.utf8_length(batch.column("ref"))
        grows = pc.equal(pc.subtract(pc.utf8_length(batch.column("alt")), num_ref), growth)
        reaches = pc.greater(pc.add(pos, num_ref), start)
        if not growth:  # its spellings differ in the bases around the change, not in its place
            reaches = pc.and_kleene(reaches, pc.less_equal(pos, start + 1))
        rows: list[dict[str, Any]] = batch.filter(pc.and_kleene(grows, reaches)).to_pylist()
        for row in rows:
            if _is_same(row, variant, reference):
                return row
    return None


def _is_spelled(row: dict[str, Any], variant: Variant) -> bool:
    return (row["pos"], row["ref"], row["alt"]) == (variant.pos, variant.ref, variant.alt)


def _is_same(row: dict[str, Any], variant: Variant, reference: Reference) -> bool:
    other = replace(variant, contig=row["contig"], pos=row["pos"], ref=row["ref"], alt=row["alt"])
    aligned = align_allele(variant, reference)
    return aligned is not None and aligned == align_allele(other, reference)


def read_stored_profile(found: Found) -> dict[str, NDArray[np.float32]]:
    """The profile of the allele that the run has; empty if it has none."""
    profiles = found.table.with_name(PROFILES)
    if found.row is None or not profiles.exists():
        return {}
    return read_profile(profiles, found.table, found.row["record"], found.row["allele"])


def from_table(
    variant: Variant,
    found: Found,
    placed: PlacedAllele,
    contig: Contig,
    stored: dict[str, NDArray[np.float32]],
) -> Explanation:
    """The explanation from the files of the run alone.

    Raises:
        InputError: The profile is that of another allele.
    """
    row = found.row or {}
    profiles = found.table.with_name(PROFILES)
    require_same_allele(row, placed, stored, profiles=profiles, table=found.table)
    snvs = [*make_nearby_snvs(placed, contig, distance=DISTANCE, horizon=None, prepend_bos=True)]
    spelled = {(one["pos"], one["ref"], one["alt"]): one["llr"] for one in [row, *found.neighbours]}
    values = [spelled.get((snv.pos, snv.ref, snv.alt)) for snv in snvs]
    facts = [("values", "the table and the profiles of the run; no model was opened")]
    return make_explanation(
        variant,
        found,
        placed,
        contig,
        profiles=stored,
        scores={name: row.get(name) for name in _SCORES},
        nearby=arrange(snvs, values, is_own_window=False),
        facts=facts,
    )


def from_model(
    variant: Variant, found: Found, placed: PlacedAllele, contig: Contig, threads: int | None
) -> Explanation:
    """The explanation by running the model on the allele and the SNVs near it."""
    scoring = found.planned.windows.scoring
    own = make_sequences(placed, contig)
    snvs = [
        *make_nearby_snvs(
            placed,
            contig,
            distance=DISTANCE,
            horizon=scoring.horizon,
            prepend_bos=scoring.prepend_bos,
        )
    ]
    windows = [*own, *(one for snv in snvs for one in snv.windows)]
    module = import_module("evo2_tasks.runtime.explained_alleles")
    result = module.score_sequences(found.planned.score, windows, threads=threads)
    asked = len(STRANDS[scoring.strands])
    llr = [None if score is None else score.llr for score in result.scores]
    values, at = [], len(own)
    for snv in snvs:
        values.append(_average(llr[at : at + len(snv.windows)], asked))
        at += len(snv.windows)
    pairs = list(zip(own, result.profiles, strict=False))
    scores: dict[str, float | None] = {
        name: _average(
            [None if one is None else getattr(one, name) for one in result.scores[: len(own)]],
            asked,
        )
        for name in _SCORES
        if not name.endswith(("_fwd", "_rev"))
    }
    ending = {"forward": "llr_fwd", "reverse": "llr_rev"}
    scores |= {ending[one.strand]: value for one, value in zip(own, llr, strict=False)}
    return make_explanation(
        variant,
        found,
        placed,
        contig,
        profiles={one.strand: profile for one, profile in pairs if profile is not None},
        scores=scores,
        nearby=arrange(snvs, values, is_own_window=True),
        facts=[
            ("values", "the model, run by this command"),
            ("device", result.device),
            ("weights, SHA-256", result.weights),
        ],
    )


def _average(values: Sequence[float | None], asked: int) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / asked if len(known) == asked else None


def arrange(
    snvs: Sequence[NearbySnv], values: Sequence[float | None], *, is_own_window: bool
) -> Nearby | None:
    """The SNVs by base and position; None if there are none."""
    bases = {snv.pos: snv.ref for snv in snvs}
    positions = [*bases]
    llr = np.full((len(BASES), len(positions)), np.nan)
    for snv, value in zip(snvs, values, strict=True):
        if value is not None:
            llr[BASES.index(snv.alt), positions.index(snv.pos)] = value
    if not positions:
        return None
    return Nearby(positions, "".join(bases.values()), llr, is_own_window)


def make_explanation(
    variant: Variant,
    found: Found,
    placed: PlacedAllele,
    contig: Contig,
    *,
    profiles: dict[str, NDArray[np.float32]],
    scores: dict[str, float | None],
    nearby: Nearby | None,
    facts: Sequence[tuple[str, str]],
) -> Explanation:
    """Put together what is known about an allele."""
    start, num_ref = placed.edit_start or 0, placed.edit_ref or 0
    end = start + num_ref
    first, last = start - FLANK, end + FLANK
    if not contig.circular:
        first, last = max(first, 0), min(last, contig.length)
    return Explanation(
        contig=variant.contig or "",
        pos=variant.pos or 0,
        ref=variant.ref or "",
        alt=variant.alt or "",
        variant_set=found.planned.split.variant_set,
        scoring=found.planned.score.name,
        before=contig.fetch(first, start),
        changed=contig.fetch(start, end),
        alternate=placed.edit_alt or "",
        after=contig.fetch(end, last),
        profiles=locate_profiles(placed, contig, profiles),
        scores=scores,
        row=found.row,
        neighbours=found.neighbours[:MOST_ROWS],
        nearby=nearby,
        facts=[*facts, *_list_facts(found, placed)],
        notes=[f"The allele has the flags {', '.join(placed.flags)}."] if placed.flags else [],
    )


def _list_facts(found: Found, placed: PlacedAllele) -> Iterator[tuple[str, str]]:
    """Where the windows are, and which files and settings the values come from."""
    start, end = placed.window_start, placed.window_end
    yield "window, 0-based", f"{placed.reference_contig}:{start}-{end}"
    for strand, size in placed.sizes.items():
        yield f"{strand} strand", f"{size.length:,} tokens, {size.prefix:,} before the difference"
    scoring = found.planned.windows.scoring
    yield (
        "scoring",
        ", ".join(
            f"{name} {value}" for name, value in asdict(scoring).items() if value is not None
        ),
    )
    yield "model", str(found.planned.score.model.written)
    yield "reference", str(found.planned.split.reference.fasta)
    yield "table", str(found.table) if found.table.exists() else "not made yet"
    if found.table.exists():
        provenance = read_provenance(found.table)
        yield "model of the table", provenance.model or ""
        yield "weights of the table, SHA-256", str(provenance.signature.get("weights", ""))
        yield "version of the table", provenance.version
    yield "version of this page", package_version()


def describe(one: Explanation) -> Iterator[str]:
    """The explanation as a few lines of text."""
    yield f"{shown(one.contig)}:{one.pos} {shown(one.ref)}>{shown(one.alt)}"
    yield f"  {one.variant_set}, {one.scoring}"
    for name, value in one.scores.items():
        if value is not None:
            yield f"  {name:<15}{value:+.4f}"
    for name in ("consequence", "gene", "amino_acids", "quantile"):
        if one.row is not None and one.row.get(name) is not None:
            yield f"  {name:<15}{shown(one.row[name])}"
    largest = find_largest(one.profiles)[:5]
    if largest:
        yield "  downstream bases that lose or gain most, nats:"
    for strand, entry in largest:
        yield f"    {entry.pos} {entry.base} {strand:<8}{entry.difference:+.4f}"
    if one.nearby is not None and np.isfinite(one.nearby.llr).any():
        what = "in the window of the allele" if one.nearby.is_own_window else "in the table"
        name, value = one.nearby.find_lowest()
        yield f"  lowest SNV near it, {what}: {name} {value:+.4f}"
