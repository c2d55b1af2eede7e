"""The sections of the report: their plots, tables and explanations, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from evo2_tasks.evaluation.results import MetricRow
from evo2_tasks.evaluation.schema import BY_TYPE
from evo2_tasks.io.words import counted
from evo2_tasks.report.audits import show_audits
from evo2_tasks.report.blocks import Block, FigureIds, Grid, Heading, Note, Section, Tile
from evo2_tasks.report.calibration_sections import show_calibrations
from evo2_tasks.report.combination_sections import show_combinations
from evo2_tasks.report.combinations import CombinedEvidence
from evo2_tasks.report.comparison import is_headline
from evo2_tasks.report.consequence_plots import show_consequences
from evo2_tasks.report.evidence import Evidence
from evo2_tasks.report.haplotype_sections import show_haplotypes
from evo2_tasks.report.haplotypes import HaplotypeEvidence
from evo2_tasks.report.label_sections import show_labels
from evo2_tasks.report.metric_words import METRIC_NAMES, describe_rows
from evo2_tasks.report.plots import contig_span, plot_contig, plot_histogram, plot_pairs, plot_types
from evo2_tasks.report.probe_sections import show_probes
from evo2_tasks.report.profile_plots import find_anchor, show_lowest_profiles
from evo2_tasks.report.run_tables import (
    describe_mixed_devices,
    describe_store,
    describe_warnings,
    tabulate_provenance,
    tabulate_shards,
)
from evo2_tasks.report.saturation_plots import color_span, plot_codons, plot_stretch
from evo2_tasks.report.scorings import Comparison, show_scorings
from evo2_tasks.report.summary import QUANTILES
from evo2_tasks.report.tables import (
    shared_flags,
    tabulate_extremes,
    tabulate_flags,
    tabulate_quantiles,
    tabulate_reasons,
    tabulate_status,
)
from evo2_tasks.report.words import count, decimal, fixed, listed, printable, share

MOST_PANELS: Final = 48
"""Most contigs that are drawn, of all scorings together."""

FEWEST_PANELS: Final = 4
"""Contigs that are drawn for each scoring, however many scorings there are."""


def make_tiles(evidence: Sequence[Evidence]) -> list[Tile]:
    """Make the tile of each scoring: how well it separates labels, or else its median score."""
    return [_make_tile(one) for one in evidence]


def _make_tile(one: Evidence) -> Tile:
    scored = f"{count(one.num_scored)} of {counted(one.num_rows, 'allele')} scored"
    facts = [scored, f"model {printable(one.provenance.model or 'unknown')}"]
    headlines = [row for row in one.metrics if is_headline(row)]
    if headlines:
        first, *others = headlines
        name = METRIC_NAMES[first.metric]
        lines = [
            f"no {name}: {printable(first.reason, 400)}"
            if first.value is None
            else _describe_interval(first),
            f"{printable(first.label)}: {describe_rows(first)}",
            *_describe_types(one, first),
            *(
                f"{printable(row.label)}: {METRIC_NAMES[row.metric]} {fixed(row.value)}"
                for row in others
            ),
        ]
        label = f"{name} of {printable(first.score)}"
        return Tile(one.scoring, fixed(first.value), label, [*lines, *facts])
    if one.num_scored:
        return Tile(one.scoring, decimal(one.table.llr.quantile(0.5)), "median llr, nats", facts)
    return Tile(one.scoring, "0", "alleles scored", facts)


def _describe_types(one: Evidence, headline: MetricRow) -> Iterator[str]:
    """The metric of each type of variant, if the headline mixes types, whose scores differ."""
    types = [
        row
        for row in one.metrics
        if (row.subset, row.score, row.minus) == (BY_TYPE, headline.score, None)
        and (row.label, row.metric) == (headline.label, headline.metric)
        and row.num_rows
    ]
    if len(types) > 1 and headline.value is not None:
        values = [f"{row.group} {fixed(row.value)}" for row in types]
        yield f"all types of variants together; by type: {', '.join(values)}"


def _describe_interval(row: MetricRow) -> str:
    if row.low is None or row.high is None:
        return printable(row.reason, 200)
    few = " (too narrow: few rows)" if row.is_small else ""
    return f"95 % interval {fixed(row.low)} to {fixed(row.high)}{few}"


def describe_subject(evidence: Sequence[Evidence], reference: str) -> str:
    """The input, the reference and the day of the scores in one line."""
    files = dict.fromkeys(
        printable(one.run.variants.variants, 200)
        for one in evidence
        if one.run.variants is not None and one.run.variants.variants
    )
    days = sorted({one.run.date[:10] for one in evidence if one.run.date})
    parts = [listed([*files])] if files else []
    parts += [f"reference {printable(reference, 200)}"] if reference else []
    parts += [f"tables of {printable(' and '.join(dict.fromkeys(days[:: len(days) - 1 or 1])))}"
              ] if days else []  # fmt: skip
    return "; ".join(parts)


def find_alarms(evidence: Sequence[Evidence]) -> list[str]:
    """Find what the reader must not miss: no score at all, another assembly, mixed devices."""
    alarms = []
    for one in evidence:
        if one.num_scored:
            continue
        if not one.num_rows:
            alarms.append(f"{one.scoring}: the input has no alleles.")
            continue
        counts = one.table.counts.by_status
        reasons = listed([f"{name} {count(number)}" for name, number in counts.items()])
        alarms.append(
            f"{one.scoring}: NOTHING IS SCORED. None of the {counted(one.num_rows, 'allele')} has "
            f"a score: {printable(reasons, 400)}."
        )
    warnings = dict.fromkeys(warning for one in evidence for warning in describe_warnings(one))
    return [*alarms, *warnings, *filter(None, map(describe_mixed_devices, evidence))]


def make_sections(
    evidence: Sequence[Evidence],
    comparison: Comparison,
    combinations: Sequence[CombinedEvidence],
    haplotypes: Sequence[HaplotypeEvidence],
    files: Sequence[Mapping[str, str]],
    *,
    variant_set: str,
) -> list[Section]:
    """Make all sections that have content.

    Args:
        evidence: The scorings.
        comparison: The scorings compared with each other.
        combinations: The combined tables.
        haplotypes: The haplotypes of the scorings.
        files: ``reference`` and ``checkpoint`` of each scoring.
        variant_set: Name of the variant set.
    """
    ids = FigureIds()
    sections = [
        Section("alleles", "Status of the alleles", _list_alleles(evidence)),
        Section("labels", "How well the scores separate the labels", [*show_labels(evidence, ids)]),
        Section("probes", "Probes", [*show_probes(evidence, ids)]),
        Section("calibrations", "Calibrated scores", [*show_calibrations(evidence, ids)]),
        Section("scorings", "Comparison of the scorings", [*show_scorings(comparison, ids)]),
        Section("combined", "Combined scorings", [*show_combinations(combinations, ids)]),
        Section("scores", "Distribution of the scores", [*_show_scores(evidence, ids)]),
        Section("haplotypes", "Haplotypes", [*show_haplotypes(haplotypes, ids)]),
        Section("consequences", "Scores by consequence", [*show_consequences(evidence, ids)]),
        Section("contigs", "Scores along the contigs", [*_show_contigs(evidence, ids)]),
        Section("saturation", "Saturated regions", [*_show_saturation(evidence, ids)]),
        Section("strands", "Agreement of the strands", [*_show_strands(evidence, ids)]),
        Section("audit", "Error of the horizon", [*_show_audits(evidence, ids)]),
        Section("indels", "Insertions and deletions", [*_show_indels(evidence, ids)]),
        Section(
            "strongest", "Lowest and highest scores", [*_show_extremes(evidence, ids, variant_set)]
        ),
        Section("provenance", "Settings and versions", [tabulate_provenance(evidence, files)]),
        Section("cost", "Time and memory", [*_show_cost(evidence)]),
    ]
    return [section for section in sections if section.blocks]


def _list_alleles(evidence: Sequence[Evidence]) -> list[Block]:
    blocks: list[Block] = [
        Note(
            "The table has one row for each allele of the input. An allele has a score exactly if "
            "its status is scored; any other status is the reason why it has no score."
        )
    ]
    status, flags = tabulate_status(evidence), tabulate_flags(evidence)
    blocks += [status] if status.rows else [Note("The input has no alleles.")]
    reasons = tabulate_reasons(evidence)
    blocks += [reasons] if reasons.rows else []
    blocks.append(flags if flags.rows else Note("No scored allele has a flag."))
    return blocks


def _show_scores(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    plots = []
    for one in evidence:
        histogram = one.table.histogram
        if histogram is not None:
            plots.append(plot_histogram(ids(), one.table, histogram, one.scoring))
            if len(one.table.by_type) > 1:
                plots.append(plot_types(ids(), one.table, histogram, one.scoring))
    if plots:
        yield Note(
            "llr is the log-likelihood of the alternate allele minus that of the reference "
            "allele, in nats. Below 0, the model finds the alternate allele less likely."
        )
        yield Grid(plots)
        yield tabulate_quantiles(evidence, QUANTILES)


def _show_contigs(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    most = max(FEWEST_PANELS, MOST_PANELS // max(1, len(evidence)))
    for one in evidence:
        table = one.table
        by_size = sorted(table.contigs, key=lambda bins: -bins.num_rows)
        kept = {bins.region for bins in by_size[:most]}
        panels = [bins for bins in table.contigs if bins.region in kept]
        if not panels:
            continue
        if len(evidence) > 1:
            yield Heading(one.scoring)
        span = contig_span(panels)
        is_alone = len(panels) == 1
        yield Grid(
            [
                plot_contig(ids(), bins, span, table.names, one.scoring, is_alone=is_alone)
                for bins in panels
            ],
            is_dense=not is_alone,
        )
        if not all(bins.is_whole for bins in panels):
            yield Note(
                "A contig whose scored alleles are in a few regions far from each other has a "
                "panel for each region."
            )
        contigs = {bins.contig for bins in panels}
        num_regions = sum(bins.contig in contigs for bins in table.contigs) - len(panels)
        hidden = [
            counted(number, noun)
            for number, noun in (
                (num_regions, "region"),
                (table.num_contigs - len(contigs), "contig"),
            )
            if number
        ]
        if hidden:
            elsewhere = one.num_scored - sum(bins.num_rows for bins in panels)
            yield Note(
                f"Not shown: {listed(hidden)} with fewer alleles, which have "
                f"{counted(elsewhere, 'scored allele')} in total "
                f"({share(elsewhere, one.num_scored)})."
            )


def _show_saturation(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    for one in evidence:
        stretches, num_stretches = one.saturation.stretches, one.saturation.num_stretches
        if not stretches:
            continue
        if len(evidence) > 1:
            yield Heading(one.scoring)
        span = color_span([stretch.llr for stretch in stretches])
        codon_span = color_span([one.codons.llr for one in stretches if one.codons])
        yield Note(
            "The matrix shows the llr of every substitution in a stretch of positions: orange "
            "below 0, blue above 0. The bars show the mean llr of each position."
        )
        plots = []
        for stretch in stretches:
            plots.append(plot_stretch(ids(), stretch, span, one.scoring))
            if stretch.codons:
                codons = stretch.codons
                plots.append(plot_codons(ids(), stretch, codons, codon_span, one.scoring))
        yield Grid(plots)
        if num_stretches > len(stretches):
            yield Note(
                f"The plots show the {len(stretches)} stretches with the lowest mean llr, out of "
                f"{count(num_stretches)} stretches with {count(one.saturation.num_positions)} "
                "positions in total. The bedGraph export has the mean of every position."
            )


def _show_strands(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    plots = [
        plot_pairs(
            ids(), f"llr of the two strands, {one.scoring}", one.table.strands, one.table.names,
            "allele scored on both strands" if one.table.strands.num_rows == 1
            else "alleles scored on both strands",
        )
        for one in evidence
        if one.table.strands is not None
    ]  # fmt: skip
    if plots:
        yield Note(
            "Each allele is scored in both reading directions. If the two strands differ widely, "
            "the score is noise."
        )
        yield Grid(plots)
    one_strand = [one.scoring for one in evidence if one.num_scored and one.table.strands is None]
    if one_strand:
        yield Note(f"Only one strand was scored: {listed(one_strand)}.")


def _show_audits(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    audits = {one.scoring: one.audit for one in evidence if one.audit is not None}
    horizons = {}
    for one in evidence:
        scoring = one.provenance.signature.get("scoring")
        found = scoring.get("horizon") if isinstance(scoring, Mapping) else None
        horizons[one.scoring] = found if isinstance(found, int) else None
    yield from show_audits(audits, horizons, ids)


def _show_indels(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    plots = [
        plot_pairs(
            ids(), f"llr and llr_aligned, {one.scoring}", one.table.indels, one.table.names,
            "allele whose length differs from the reference" if one.table.indels.num_rows == 1
            else "alleles whose length differs from the reference",
        )
        for one in evidence
        if one.table.indels is not None
    ]  # fmt: skip
    if plots:
        yield Note(
            "The two windows of an insertion or deletion end at different bases. llr includes the "
            "bases that only one window has; they add noise that grows with the length of the "
            "allele. llr_aligned replaces their contribution by its expected value."
        )
        yield Grid(plots)


def _show_extremes(
    evidence: Sequence[Evidence], ids: FigureIds, variant_set: str
) -> Iterator[Block]:
    for number, one in enumerate(evidence, start=1):
        if one.table.lowest:
            shared = shared_flags(one)
            if shared:
                yield Note(
                    f"{one.scoring}: all scored alleles have the flag"
                    f"{'' if len(shared) == 1 else 's'} {printable(listed(shared), 400)}; the "
                    "tables list their other flags."
                )
            links = {rank: find_anchor(number, rank) for rank in one.profiles}
            yield tabulate_extremes("Lowest llr", one, one.table.lowest, links)
            yield tabulate_extremes("Highest llr", one, one.table.highest)
        yield from show_lowest_profiles(
            one.profiles,
            ids,
            scoring_number=number,
            scoring=one.scoring,
            variant_set=variant_set,
        )


def _show_cost(evidence: Sequence[Evidence]) -> Iterator[Block]:
    for one in evidence:
        wall_s, tokens = one.run.wall_s, one.run.tokens_run
        if wall_s is not None and tokens is not None:
            rate = f", {count(round(tokens / wall_s))} tokens per second" if wall_s else ""
            yield Note(
                f"{one.scoring}: {_duration(wall_s)}, summed over all scoring jobs (they may have "
                f"run in parallel); {count(tokens)} tokens{rate}."
            )
        stored = describe_store(one)
        if stored:
            yield Note(stored)
        if one.shards:
            yield tabulate_shards(one)


def _duration(seconds: float) -> str:
    if seconds < 120:
        number = decimal(seconds)
        return f"{number} second{'' if number == '1' else 's'}"
    if seconds < 7200:
        return f"{decimal(seconds / 60)} minutes"
    return f"{decimal(seconds / 3600)} hours"
