"""Numbers of windows and tokens that a scoring will run, counted without the model."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from typing import NamedTuple, Protocol

from evo2_tasks.config.resolve import PlannedScoring, ScoringSettings
from evo2_tasks.cost.embeddings import list_widths, name_layers
from evo2_tasks.genome.assembly import (
    RefMatches,
    check_header,
    describe_contradictions,
    find_mismatch_problem,
)
from evo2_tasks.genome.haplotype_windows import lift_horizon
from evo2_tasks.genome.haplotypes import Haplotypes
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.genome.windows import (
    TO_SCORE,
    PlacedAllele,
    WindowSettings,
    place_allele,
)
from evo2_tasks.io.progress import Progress
from evo2_tasks.runtime.drawn_variants import variants_to_plan
from evo2_tasks.runtime.genomes import open_neighbourhood
from evo2_tasks.runtime.inputs import open_variant_set
from evo2_tasks.runtime.references import open_placement, open_reference
from evo2_tasks.scoring.part_sizes import most_pairs
from evo2_tasks.scoring.passes import plan_passes
from evo2_tasks.scoring.windows import slice_parts
from evo2_tasks.table.audit_choice import SmallestHashes, hash_allele
from evo2_tasks.table.distinct_pairs import PairNumbers, find_shard
from evo2_tasks.table.shards import assign_shards


class PairSize(NamedTuple):
    """The properties of a pair of windows that planning needs, without its bases.

    Attributes:
        row: Row of the allele.
        ref: Identity of the reference window; equal values mean the same tokens.
        alt: Identity of the alternate window.
        length: Tokens of each window, without the BOS token.
        prefix: Tokens before the first difference, without the BOS token.
        bos: 1 with a BOS token, else 0.
    """

    row: int
    ref: Hashable
    alt: Hashable
    length: int
    prefix: int
    bos: int

    @property
    def ref_length(self) -> int:
        """Tokens of the reference window."""
        return self.length + self.bos

    @property
    def alt_length(self) -> int:
        """Tokens of the alternate window."""
        return self.length + self.bos

    @property
    def fork(self) -> int:
        """Tokens of the alternate window that are run only once, in the reference window."""
        return self.prefix + self.bos - 1


@dataclass
class Work:
    """The work of a scoring of a variant set: alleles by status, windows, and tokens.

    Attributes:
        by_status: Alleles by their status before the model runs.
        windows: Windows to run.
        tokens: Tokens to run.
        warnings: Why the variants may be from another assembly than the reference.
        audited: Alleles that an audit scores with whole windows too; windows and tokens count them.
        pairs: Distinct pairs of windows of haplotypes and compounds; windows and tokens count them.
    """

    by_status: Counter[str]
    windows: int = 0
    tokens: int = 0
    audited: int = 0
    pairs: int = 0
    warnings: list[str] = field(default_factory=list)


class Visitor(Protocol):
    """What gets each allele of a variant set with its windows, in the order of the rows."""

    def add(self, row: int, placed: PlacedAllele, reference: Reference) -> None:
        """Add the next allele."""

    def finish(self, reference: Reference) -> None:
        """End the work on the alleles that were added."""


def count_work(
    planned: PlannedScoring,
    *,
    visitor: Visitor | None = None,
    known: Sequence[int] | None = None,
) -> Work:
    """Place all windows of a variant set and plan each part in the same way as the scorer.

    Here, windows at different positions are different even if their sequences are equal. In
    repeats, a run may therefore share other windows and need a few percent fewer or more tokens.

    Args:
        planned: The scoring.
        visitor: Gets each allele.
        known: For each row, 1 if it has a score and is not run, else 0. An audit runs it even so.
    """
    settings, run = planned.split, planned.score.run
    scoring = planned.windows.scoring
    window_settings = WindowSettings(**asdict(scoring))
    smallest = SmallestHashes()
    reference = open_reference(settings.reference)
    place = open_placement(settings, reference)
    work = Work(Counter())
    used_contigs: set[str | None] = set()
    with variants_to_plan(settings) as path:
        source = open_variant_set(settings, path)
        if settings.samples is not None:
            source.find_samples(settings.samples.names)
        num_alleles = source.count().alleles
        progress = Progress(
            f"{settings.variant_set}, {planned.score.name}", total=num_alleles, unit="alleles"
        )

        def pairs() -> Iterator[tuple[int, PairSize]]:
            assigned = assign_shards(iter(source), num_alleles, settings.shards)
            for row, (shard, variant) in enumerate(assigned):
                placed, _, _ = place(variant, window_settings)
                if visitor is not None:
                    visitor.add(row, placed, reference)
                work.by_status[placed.status] += 1
                used_contigs.add(placed.reference_contig)
                progress.add(1)
                if planned.audit is not None and placed.status == TO_SCORE:
                    add_candidate(smallest, shard, variant, placed)
                if known is not None and known[row]:
                    continue
                for pair in pair_sizes(row, placed, scoring):
                    yield shard, pair

        def count(some: Iterator[tuple[int, PairSize]], most: int | None = None) -> None:
            for part in _slice_shards(some, run.part_tokens, most):
                for one in plan_passes(part, run.batch_tokens):
                    work.windows += one.num_windows
                    work.tokens += one.num_tokens

        with progress:
            count(pairs(), most_pairs(list_widths(name_layers(planned.readouts))))
        if visitor is not None:
            visitor.finish(reference)
        if planned.audit is not None:
            audited = sorted(smallest.choose(planned.audit.share), key=itemgetter(0, 1))
            work.audited = len(audited)
            count(whole_pairs(audited, reference, scoring))
        if planned.haplotypes is not None:
            genotypes = source.read_genotypes(planned.haplotypes.samples)
            found = Haplotypes(iter(source), genotypes, reference)
            distinct = find_distinct_pairs(found, planned, reference)
            work.pairs = len(distinct)
            count(
                (find_shard(row, len(distinct), settings.shards), pair)
                for row, placed in enumerate(distinct)
                for pair in pair_sizes(row, placed, scoring)
            )
        header = check_header(source.read_header(), reference, used_contigs)
    matches = RefMatches.count(work.by_status)
    # Without the MD5 checksums, for which the whole reference would have to be read.
    work.warnings = describe_contradictions(header, settings.variants, reference, (), matches)
    problem = find_mismatch_problem(matches, settings.max_ref_mismatch_share, reference, header)
    work.warnings += [] if problem is None else [f"{problem} The run will stop in `split`."]
    return work


def add_candidate(
    smallest: SmallestHashes, shard: int, variant: Variant, placed: PlacedAllele
) -> None:
    """Add an allele to those that may be audited.

    The name of the contig takes the place of the digest of its bases, for which the whole reference
    would have to be read. So as many alleles are chosen as in the run, but others.
    """
    contig = str(placed.reference_contig).encode()
    hashed = hash_allele(contig, int(variant.pos or 0), str(variant.ref), str(variant.alt))
    key = (variant.record, variant.allele)
    smallest.add(hashed, key, (shard, key, placed))


def whole_pairs(
    audited: Iterable[tuple[int, tuple[int, int], PlacedAllele]],
    reference: Reference,
    scoring: ScoringSettings,
) -> Iterator[tuple[int, PairSize]]:
    """The pairs of windows of audited alleles before a horizon cuts them, each with its shard."""
    for row, (shard, _, placed) in enumerate(audited):
        contig = str(placed.reference_contig)
        whole = lift_horizon(placed, reference.contigs[contig], reference.is_circular(contig))
        for pair in pair_sizes(row, whole, scoring):
            yield shard, pair


def find_distinct_pairs(
    found: Haplotypes, planned: PlannedScoring, reference: Reference
) -> list[PlacedAllele]:
    """The distinct pairs of windows of haplotypes and compounds, in the order of the run.

    Args:
        found: The haplotypes.
        planned: The windows, and which alleles are a compound.
        reference: The reference.
    """
    if planned.haplotypes is None:
        return []
    windows = WindowSettings(**asdict(planned.windows.scoring))
    numbers = PairNumbers({name: number for number, name in enumerate(reference.contigs)})
    rows: list[tuple[tuple[int, ...], PlacedAllele]] = []

    def add(placed: PlacedAllele) -> None:
        _, key = numbers.find(placed)
        if key is not None:
            rows.append((key, placed))

    for one in found.find_pairs(windows):
        for pair in one.pairs:
            add(pair.placed)
    near = open_neighbourhood(planned.haplotypes, reference)
    joint = (group.variant for group in found.find_compounds(near))
    for variant in {(one.contig, one.pos, one.ref, one.alt): one for one in joint}.values():
        add(place_allele(variant, reference, windows))
    return [placed for _, placed in sorted(rows, key=itemgetter(0))]


def pair_sizes(row: int, placed: PlacedAllele, scoring: ScoringSettings) -> Iterator[PairSize]:
    """The pairs of windows of a placed allele, as far as planning sees them."""
    pair, sizes = placed.pair, placed.sizes
    if pair is None:
        return
    bos = 1 if scoring.prepend_bos else 0
    for strand in STRANDS[scoring.strands]:
        if strand in sizes:
            length, prefix = sizes[strand]
            first = pair.start if strand == "forward" else pair.end
            # Of two windows with the same start, the shorter one is the first part of the longer.
            window = (strand, pair.contig, first, pair.background)
            yield PairSize(row, window, (window, pair.edits), length, prefix, bos)


def _slice_shards(
    pairs: Iterator[tuple[int, PairSize]], part_tokens: int, most_pairs: int | None
) -> Iterator[list[PairSize]]:
    """The parts of each shard, one after the other."""
    pending = next(pairs, None)
    while pending is not None:
        shard = pending[0]

        def of_shard(shard: int = shard) -> Iterator[PairSize]:
            nonlocal pending
            while pending is not None and pending[0] == shard:
                yield pending[1]
                pending = next(pairs, None)

        yield from slice_parts(of_shard(), part_tokens, most_pairs)
