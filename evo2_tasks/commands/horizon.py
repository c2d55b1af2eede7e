"""The command ``horizon``: which window and which horizon a model needs, measured on some alleles.

A sample of the alleles of a variant set is scored in whole windows, once for each length of the
windows. The scores of all horizons follow from the same runs.
"""

import heapq
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from evo2_tasks.config.evaluation import EvaluateSettings
from evo2_tasks.config.resolve import (
    AnnotateSettings,
    CarrySettings,
    PlannedScoring,
    ScoringSettings,
)
from evo2_tasks.config.schema import RunSettings
from evo2_tasks.cost.tokens import pair_sizes
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.differences import compare_scores
from evo2_tasks.evaluation.metrics import auroc
from evo2_tasks.evaluation.selection import LabelSettings, Selection
from evo2_tasks.genome.alleles import variant_type
from evo2_tasks.genome.haplotype_windows import haplotype_sequences
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.genome.windows import TO_SCORE, PlacedAllele, WindowSettings
from evo2_tasks.io.progress import Progress
from evo2_tasks.report.horizons import write_page
from evo2_tasks.runtime.drawn_variants import variants_to_plan
from evo2_tasks.runtime.inputs import open_variant_set
from evo2_tasks.runtime.models import open_model
from evo2_tasks.runtime.references import Placement, open_placement, open_reference
from evo2_tasks.scoring.horizons import PER_TOKEN, list_horizons, score_horizons
from evo2_tasks.scoring.passes import plan_passes
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair, slice_parts
from evo2_tasks.steps.annotate import annotate_alleles
from evo2_tasks.steps.evaluate import make_label_settings
from evo2_tasks.table.audit_choice import hash_allele
from evo2_tasks.table.schema import CARRIED_COLUMNS, annotations_schema, carried_schema

logger = logging.getLogger(__name__)

SHORTEST_WINDOW: Final = 128
COUNTED_ALLELES: Final = 10_000  # first alleles of the set, for which the cost is counted
AT_ONCE: Final = 10_000  # alleles whose labels are read together
LEAST_SPEARMAN, MOST_AUROC_LOSS = 0.99, 0.005  # of the row that is suggested
RULE: Final = (
    f"a Spearman of at least {LEAST_SPEARMAN} and an AUROC at most {MOST_AUROC_LOSS} lower than "
    "that of the longest windows"
)


class Candidate(NamedTuple):
    """An allele that may be in the sample; those with the smallest hash are taken.

    Attributes:
        order: Minus the hash of contig, position, REF and ALT, for a heap of the smallest hashes.
        record: Its record; of equal alleles the later ones are taken.
        allele: Its number in the record.
        variant: The allele.
        label: ``positive``, ``negative``, or empty.
    """

    order: int
    record: int
    allele: int
    variant: Variant
    label: str


class Sampled(NamedTuple):
    """An allele of the sample, with its type and label."""

    variant: Variant
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Row:
    """A window length with a horizon, compared with the longest windows without one.

    Attributes:
        window_length: Bases.
        horizon: Tokens; None is no horizon.
        cost: Tokens to run for each allele and strand, in windows of the longest length.
        alleles: Alleles that are compared.
        rms: Root mean square of the differences of ``llr``, nats.
        p99: Difference that 99 % of the alleles do not exceed, nats.
        largest: Largest difference, nats.
        spearman: Rank correlation of the two ``llr``; None if it does not exist.
        auroc: AUROC of ``-llr`` for the labels of the sample; None without labels.
        is_suggested: Whether this row is the cheapest that keeps the ranking.
    """

    window_length: int
    horizon: int | None
    cost: float
    alleles: int
    rms: float
    p99: float
    largest: float
    spearman: float | None
    auroc: float | None
    is_suggested: bool = False


@dataclass(frozen=True, slots=True)
class Horizons:
    """The result of the command.

    Attributes:
        variant_set: Name of the variant set.
        scoring: Name of the scoring.
        sample: Alleles of the sample by type.
        labels: Alleles of the sample by label; empty without labels.
        rows: One for each window length and horizon, the longest windows first.
        line: What to write into the scoring in ``config.yaml``.
    """

    variant_set: str
    scoring: str
    sample: dict[str, int]
    labels: dict[str, int]
    rows: list[Row]
    line: str


def horizon(
    planned: PlannedScoring,
    carry: CarrySettings,
    annotate: AnnotateSettings,
    evaluate: EvaluateSettings,
    *,
    out: Path,
    alleles: int,
    threads: int | None,
) -> Horizons:
    """Measure what window lengths and horizons cost, and how they change the scores.

    Args:
        planned: A scoring of a variant set.
        carry: How the labels of the set are read.
        annotate: How the columns are made that a label may name.
        evaluate: The labels of the set; the first one with two groups of values is used.
        out: The page to write, with figures and the table.
        alleles: Number of alleles to score.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: The variants cannot be read, fewer than two alleles can be scored, or the model
            cannot run as the config says.
    """
    scoring, run = planned.windows.scoring, planned.score.run
    reference = open_reference(planned.split.reference)
    label = find_label(evaluate)
    with variants_to_plan(planned.split) as path:
        alleles_read, columns = open_alleles(
            planned, carry, annotate, label, path, reference, folder=out.parent
        )
        selection = None if label is None else Selection(label, path)
        candidates, first = read_candidates(alleles_read, columns, selection, alleles)
    place = open_placement(planned.split, reference)
    sample = choose_alleles(candidates, place, scoring, alleles)
    if len(sample) < 2:
        raise InputError(
            f"variant_sets.{planned.split.variant_set}: fewer than two alleles can be scored in "
            f"windows of {scoring.window_length:,}, so horizons cannot be compared."
        )
    if threads is not None:
        torch.set_num_threads(threads)
    model = open_model(planned.score.model, run.model_cache).model
    scores: dict[tuple[int, int | None], NDArray[np.float64]] = {}
    costs: dict[tuple[int, int | None], float] = {}
    for length in list_window_lengths(scoring.window_length):
        settings = with_window(scoring, length)
        horizons = list_horizons(largest_horizon(settings))
        found = score_sample(model, sample, place, reference, settings, run, horizons)
        counted = count_costs(first, place, settings, run, horizons)
        for one, llr, cost in zip([*horizons, None], found, counted, strict=True):
            scores[length, one], costs[length, one] = llr, cost
    rows = make_rows(scores, costs, [one.label for one in sample], scoring.window_length)
    suggested = next(row for row in rows if row.is_suggested)
    result = Horizons(
        variant_set=planned.split.variant_set,
        scoring=planned.score.name,
        sample=dict(Counter(one.kind for one in sample).most_common()),
        labels=dict(Counter(one.label for one in sample if one.label).most_common()),
        rows=rows,
        line=describe_choice(with_window(scoring, suggested.window_length), suggested.horizon),
    )
    write_page({**asdict(result), "rule": RULE}, out)
    return result


def find_label(evaluate: EvaluateSettings) -> LabelSettings | None:
    """The first label of the set with positive and negative values."""
    for field, one in evaluate.labels.items():
        if one.harmful is None:
            return make_label_settings(field, one)
    return None


def open_alleles(
    planned: PlannedScoring,
    carry: CarrySettings,
    annotate: AnnotateSettings,
    label: LabelSettings | None,
    path: Path,
    reference: Reference,
    *,
    folder: Path,
) -> tuple[Iterable[tuple[Variant, Sequence[object]]], pa.Schema]:
    """Open the alleles of a set, with the columns that the label needs.

    Args:
        planned: The variant set.
        carry: Columns of the file.
        annotate: Columns of genes and consequences, if the label names one.
        label: The label, if there is one.
        path: The file of variants.
        reference: Its reference.
        folder: Folder for temporary files.

    Returns:
        The alleles, each with its values; and the keys, then the columns of the values.
    """
    source = open_variant_set(planned.split, path, carry=carry)
    columns = carried_schema(source.carry_fields)
    if label is None or {*label.fields} <= {*columns.names}:
        return ((variant, variant.carried) for variant in source), columns
    made = annotate_alleles(annotate, path, reference, folder)
    both = zip(source, made, strict=True)
    columns = pa.unify_schemas([columns, annotations_schema(annotate.columns)])
    return ((variant, (*variant.carried, *values)) for variant, (_, values) in both), columns


def read_candidates(
    rows: Iterable[tuple[Variant, Sequence[object]]],
    columns: pa.Schema,
    selection: Selection | None,
    num: int,
) -> tuple[dict[tuple[str, str], list[Candidate]], list[Variant]]:
    """Read all alleles, and keep those that may be in the sample.

    Args:
        rows: The variants, each with its values of the columns.
        columns: The keys, then the columns of the values.
        selection: By the label, if there is one.
        num: Number of alleles of the sample.

    Returns:
        Heaps of alleles by type and label, with those of the smallest hashes: the same alleles in
        any order of the input. And the first alleles of the input.
    """
    kept: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    first: list[Variant] = []
    most = 4 * num  # not every allele can be scored
    with Progress("read", total=None, unit="alleles") as progress:
        alleles = iter(rows)
        while some := list(islice(alleles, AT_ONCE)):
            first += [variant for variant, _ in some[: COUNTED_ALLELES - len(first)]]
            labels = read_labels([values for _, values in some], columns, selection)
            for (variant, _), of_label in zip(some, labels, strict=True):
                if variant.ref is None or variant.alt is None or variant.status is not None:
                    continue
                heap = kept[variant_type(variant.ref, variant.alt), of_label]
                contig = str(variant.contig).encode()
                hashed = hash_allele(contig, variant.pos or 0, variant.ref, variant.alt)
                candidate = Candidate(-hashed, variant.record, variant.allele, variant, of_label)
                if len(heap) < most:
                    heapq.heappush(heap, candidate)
                else:
                    heapq.heappushpop(heap, candidate)
            progress.add(len(some))
    return kept, first


def read_labels(
    values: Sequence[Sequence[object]], columns: pa.Schema, selection: Selection | None
) -> list[str]:
    """``positive``, ``negative`` or an empty text for each allele.

    Args:
        values: Of each allele, the values of the columns.
        columns: The keys, then the columns of the values.
        selection: By the label, if there is one.
    """
    if selection is None:
        return [""] * len(values)
    names = columns.names[len(CARRIED_COLUMNS) :]
    table = pa.table(
        {
            name: pa.array([one[names.index(name)] for one in values], columns.field(name).type)
            for name in selection.label.fields
        }
    )
    is_labelled, target = selection.choose(table)
    labels = [""] * len(values)
    for row, is_positive in zip(np.flatnonzero(is_labelled).tolist(), target, strict=True):
        labels[row] = "positive" if is_positive else "negative"
    return labels


def choose_alleles(
    kept: dict[tuple[str, str], list[Candidate]],
    place: Placement,
    scoring: ScoringSettings,
    num: int,
) -> list[Sampled]:
    """Take alleles of each type and label in turn, as long as there are any.

    Returns:
        Alleles that can be scored in the longest windows, in the order of the input.
    """
    settings = WindowSettings(**{**asdict(scoring), "horizon": None})
    queues = {
        stratum: sorted(heap, key=lambda one: one[:3], reverse=True)
        for stratum, heap in sorted(kept.items())
    }
    sample: list[Sampled] = []
    while any(queues.values()) and len(sample) < num:
        for (kind, label), queue in queues.items():
            while queue:
                variant = queue.pop(0).variant
                if has_all_strands(place(variant, settings).placed, scoring):
                    sample.append(Sampled(variant, kind, label))
                    break
    return sorted(sample[:num], key=lambda one: (one.variant.record, one.variant.allele))


def has_all_strands(placed: PlacedAllele, scoring: ScoringSettings) -> bool:
    """Whether an allele can be scored on each strand that the scoring asks for."""
    return placed.status == TO_SCORE and len(placed.sizes) == len(STRANDS[scoring.strands])


def list_window_lengths(longest: int) -> list[int]:
    """The longest windows, and halves of them as long as they hold some context."""
    lengths = [longest]
    while lengths[-1] // 2 >= SHORTEST_WINDOW:
        lengths.append(lengths[-1] // 2)
    return lengths


def with_window(scoring: ScoringSettings, length: int) -> ScoringSettings:
    """The scoring without a horizon, in windows of another length."""
    if length == scoring.window_length:
        return replace(scoring, horizon=None)
    step = None if scoring.window_step is None else max(1, length // 4)
    limit = min(scoring.max_allele_length, length // 4)
    context = None if scoring.min_context is None else min(scoring.min_context, length // 4)
    return replace(
        scoring,
        window_length=length,
        window_step=step,
        max_allele_length=limit,
        min_context=context,
        horizon=None,
    )


def largest_horizon(scoring: ScoringSettings) -> int:
    """The largest horizon that the config accepts for these windows."""
    step = scoring.window_step or 0
    return max(1, (scoring.window_length - step) // 2)


def score_sample(
    model: Any,
    sample: Sequence[Sampled],
    place: Placement,
    reference: Reference,
    scoring: ScoringSettings,
    run: RunSettings,
    horizons: list[int],
) -> NDArray[np.float64]:
    """Score the sample for all horizons, and without one.

    Returns:
        ``llr``, nats; NaN where an allele has no score in these windows. (horizons + 1, N)
    """
    pairs = list(make_pairs(sample, place, reference, scoring))
    strands = STRANDS[scoring.strands]
    llr = np.zeros((len(horizons) + 1, len(sample)))
    num_strands = np.zeros(len(sample), dtype=int)
    total = sum(2 * pair.length for pair in pairs)
    with Progress(f"windows of {scoring.window_length:,}", total=total, unit="tokens") as progress:
        for part in slice_parts(pairs, run.part_tokens):
            records = score_part(
                model,
                part,
                [PER_TOKEN],
                batch_tokens=run.batch_tokens,
                segment_length=run.segment_length,
                offload=run.kv_cache == "offload",
                horizon=False,
                prepend_bos=scoring.prepend_bos,
            )
            for pair, log_probs in zip(part, records.of(PER_TOKEN), strict=True):
                if log_probs is not None:
                    values = score_horizons(pair, log_probs, horizons)
                    llr[:, pair.row] += [np.nan if one is None else one for one in values]
                    num_strands[pair.row] += 1
                progress.add(2 * pair.length)
    llr[:, num_strands < len(strands)] = np.nan
    return llr / len(strands)


def make_pairs(
    sample: Sequence[Sampled], place: Placement, reference: Reference, scoring: ScoringSettings
) -> Iterator[WindowPair]:
    """The windows of the sample, on each strand."""
    settings = WindowSettings(**asdict(scoring))
    for row, one in enumerate(sample):
        placed = place(one.variant, settings).placed
        if placed.pair is None or not has_all_strands(placed, scoring):
            continue
        contig = placed.pair.contig
        (edit,) = placed.pair.edits
        for strand, size in placed.sizes.items():
            ref_seq, alt_seq = haplotype_sequences(
                reference.fetch,
                placed,
                strand,
                size.length,
                reference.contigs[contig],
                reference.is_circular(contig),
            )
            yield WindowPair(
                row, strand, ref_seq, alt_seq, size.prefix, edit.num_ref, len(edit.alt)
            )


def count_costs(
    variants: Sequence[Variant],
    place: Placement,
    scoring: ScoringSettings,
    run: RunSettings,
    horizons: list[int],
) -> Iterator[float]:
    """Tokens that a run of some alleles needs for each allele and strand.

    Yields:
        The number for each horizon, and then without one; NaN if no allele can be scored.
    """
    settings = WindowSettings(**asdict(scoring))
    sizes = [
        size
        for row, variant in enumerate(variants)
        for size in pair_sizes(row, place(variant, settings).placed, scoring)
    ]
    for horizon_ in [*horizons, scoring.window_length]:
        cut = [one._replace(length=min(one.length, one.prefix + horizon_)) for one in sizes]
        tokens = sum(
            one.num_tokens
            for part in slice_parts(cut, run.part_tokens)
            for one in plan_passes(part, run.batch_tokens)
        )
        yield tokens / len(sizes) if sizes else float("nan")


def make_rows(
    scores: dict[tuple[int, int | None], NDArray[np.float64]],
    costs: dict[tuple[int, int | None], float],
    labels: Sequence[str],
    longest: int,
) -> list[Row]:
    """Compare each window length and horizon with the longest windows without one."""
    full = scores[longest, None]
    is_labelled = np.array([label != "" for label in labels])
    is_positive = np.array([label == "positive" for label in labels])
    rows = []
    for (length, horizon_), llr in scores.items():
        found = compare_scores(llr, full)
        labelled = np.isfinite(llr) & np.isfinite(full) & is_labelled
        rows.append(
            Row(
                window_length=length,
                horizon=horizon_,
                cost=costs[length, horizon_] / longest,
                alleles=found.alleles if found else 0,
                rms=found.rms if found else float("nan"),
                p99=found.p99 if found else float("nan"),
                largest=found.largest if found else 0.0,
                spearman=found.spearman if found else None,
                auroc=_or_none(auroc, is_positive[labelled], -llr[labelled]),
            )
        )
    suggested = choose_row(rows)
    return [replace(row, is_suggested=row is suggested) for row in rows]


def _or_none(metric: Any, target: NDArray[Any], values: NDArray[Any]) -> float | None:
    """A metric; None if these rows allow none."""
    try:
        return float(metric(target, values))
    except ValueError:
        return None


def choose_row(rows: Sequence[Row]) -> Row:
    """The cheapest row that ranks all alleles as the longest windows do, and keeps the AUROC."""
    full = max(rows, key=lambda row: (row.window_length, row.horizon is None))

    def keeps_ranking(row: Row) -> bool:
        if row.alleles < full.alleles or row.spearman is None or row.spearman < LEAST_SPEARMAN:
            return False
        return full.auroc is None or row.auroc is None or row.auroc >= full.auroc - MOST_AUROC_LOSS

    return min((row for row in rows if keeps_ranking(row)), key=lambda row: row.cost, default=full)


def describe_choice(scoring: ScoringSettings, horizon_: int | None) -> str:
    """The keys of a scoring, as one writes them into the config; with a horizon, its audit too."""
    keys: dict[str, float] = {"window_length": scoring.window_length}
    if scoring.window_step is not None:
        keys["window_step"] = scoring.window_step
    if horizon_ is not None:
        keys |= {"horizon": horizon_, "audit": 0.01}
    return ", ".join(f"{key}: {value}" for key, value in keys.items())


def describe(result: Horizons) -> Iterator[str]:
    """The result as lines of text."""

    def listed(counts: dict[str, int]) -> str:
        return ", ".join(f"{number:,} {name}" for name, number in counts.items())

    yield f"{result.variant_set}, {result.scoring}: {listed(result.sample)}"
    if result.labels:
        yield f"labels: {listed(result.labels)}"
    heads = ("window", "horizon", "cost", "rms", "p99", "largest", "Spearman", "AUROC")
    yield "  ".join(head.rjust(9) for head in heads)
    for row in result.rows:
        cells = [
            f"{row.window_length:,}",
            "none" if row.horizon is None else f"{row.horizon:,}",
            f"{row.cost:.3f}",
            *(f"{value:.3g}" for value in (row.rms, row.p99, row.largest)),
            *("-" if value is None else f"{value:.4f}" for value in (row.spearman, row.auroc)),
        ]
        mark = "  <" if row.is_suggested else ""
        yield "  ".join(cell.rjust(9) for cell in cells) + mark
    yield (
        "cost: tokens to run for each allele and strand, in windows of the longest length; rms, "
        "p99 and largest: difference of llr from the longest windows without a horizon, nats"
    )
    yield f"< cheapest with {RULE}; in scorings.{result.scoring}:"
    yield f"  {result.line}"


def as_json(result: Horizons) -> dict[str, Any]:
    """The result for JSON, which has no NaN."""
    values = asdict(result)
    for row in values["rows"]:
        for key, value in row.items():
            if isinstance(value, float) and not np.isfinite(value):
                row[key] = None
    return values
