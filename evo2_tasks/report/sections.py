"""The sections of the page: which tables and figures it has, in which order, with which words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from evo2_tasks.evaluation.schema import BY_TYPE
from evo2_tasks.report.blocks import Block, FigureIds, Grid, Heading, Note, Section, Tile
from evo2_tasks.report.comparison import is_headline
from evo2_tasks.report.evidence import Evidence, Figure
from evo2_tasks.report.label_plots import tell_rows
from evo2_tasks.report.label_sections import show_labels
from evo2_tasks.report.plots import contig_span, plot_contig, plot_histogram, plot_pairs, plot_types
from evo2_tasks.report.saturation import color_span, plot_stretch
from evo2_tasks.report.summary import QUANTILES
from evo2_tasks.report.tables import (
    METRIC_NAMES,
    tabulate_flags,
    tabulate_provenance,
    tabulate_quantiles,
    tabulate_shards,
    tabulate_status,
    tabulate_strongest,
    tell_mixed_devices,
)
from evo2_tasks.report.words import count, counted, decimal, fixed, listed, printable, share

MOST_PANELS: Final = 48
"""Contigs that are drawn, of all scorings together."""

FEWEST_PANELS: Final = 4


def make_tiles(evidence: Sequence[Evidence]) -> list[Tile]:
    """The headline of each scoring: how well it separates labels, else its median."""
    return [_make_tile(one) for one in evidence]


def _make_tile(one: Evidence) -> Tile:
    scored = f"{count(one.num_scored)} of {counted(one.num_rows, 'allele')} scored"
    model = f"model {printable(one.provenance.model or 'unknown')}"
    headline = [figure for figure in one.figures if is_headline(figure)]
    if headline:
        first, *others = headline
        name = METRIC_NAMES[first.metric]
        if first.value is None:
            value, lines = "none", [f"no {name}: {printable(first.reason, 400)}"]
        else:
            value, lines = fixed(first.value), [_tell_interval(first)]
        lines += [f"{printable(first.label)}: {tell_rows(first)}", *_tell_types(one, first)]
        lines += [
            f"{printable(f.label)}: {METRIC_NAMES[f.metric]} {fixed(f.value)}" for f in others
        ]
        label = f"{name} of {printable(first.score)}"
        return Tile(one.scoring, value, label, [*lines, scored, model])
    if one.num_scored:
        return Tile(
            one.scoring, decimal(one.table.llr.quantile(0.5)), "median llr, nats", [scored, model]
        )
    return Tile(one.scoring, "0", "alleles scored", [scored, model])


def _tell_types(one: Evidence, first: Figure) -> Iterator[str]:
    """That a figure mixes types of variants, whose scores differ in size, and that of each."""
    types = [
        figure
        for figure in one.figures
        if (figure.subset, figure.score, figure.minus) == (BY_TYPE, first.score, None)
        and (figure.label, figure.metric) == (first.label, first.metric)
        and figure.num_rows
    ]
    if len(types) > 1 and first.value is not None:
        told = [
            f"{figure.group} {'none' if figure.value is None else fixed(figure.value)}"
            for figure in types
        ]
        yield f"all types of variants together; {', '.join(told)}"


def _tell_interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return printable(figure.reason, 200)
    few = ", too narrow: few rows" if figure.is_small else ""
    return f"95 % interval {fixed(figure.low)} to {fixed(figure.high)}{few}"


def find_alarms(evidence: Sequence[Evidence]) -> list[str]:
    """What has to be said loudly: scorings in which nothing is scored, different devices."""
    alarms = []
    for one in evidence:
        if one.num_scored:
            continue
        if not one.num_rows:
            alarms.append(f"{one.scoring}: there is nothing to score, the input has no alleles.")
            continue
        counts = one.table.counts.by_status
        reasons = listed([f"{name} {count(number)}" for name, number in counts.items()])
        alarms.append(
            f"{one.scoring}: NOTHING IS SCORED. None of the {counted(one.num_rows, 'allele')} has "
            f"a score: {printable(reasons, 400)}."
        )
    return [*alarms, *filter(None, map(tell_mixed_devices, evidence))]


def make_sections(evidence: Sequence[Evidence]) -> list[Section]:
    """All sections that there is something to say in."""
    ids = FigureIds()
    sections = [
        Section("alleles", "What became of each allele", _list_alleles(evidence)),
        Section("labels", "How well scores separate labels", [*show_labels(evidence, ids)]),
        Section("scores", "Distribution of the scores", [*_show_scores(evidence, ids)]),
        Section("contigs", "Scores along the contigs", [*_show_contigs(evidence, ids)]),
        Section("saturation", "Every substitution", [*_show_saturation(evidence, ids)]),
        Section("strands", "Agreement of the strands", [*_show_strands(evidence, ids)]),
        Section("indels", "Insertions and deletions", [*_show_indels(evidence, ids)]),
        Section("strongest", "The strongest alleles", [*_show_strongest(evidence)]),
        Section("provenance", "What was run", [tabulate_provenance(evidence)]),
        Section("cost", "Time and cost", [*_show_cost(evidence)]),
    ]
    return [section for section in sections if section.blocks]


def _list_alleles(evidence: Sequence[Evidence]) -> list[Block]:
    blocks: list[Block] = [
        Note(
            "Every allele of the input has one row. A row has a score exactly if its status is "
            "scored; any other status says why it has none."
        )
    ]
    status, flags = tabulate_status(evidence), tabulate_flags(evidence)
    blocks += [status] if status.rows else [Note("The input has no alleles.")]
    blocks.append(flags if flags.rows else Note("No scored allele has a flag."))
    return blocks


# All scored variants.


def _show_scores(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    plots = []
    for one in evidence:
        histogram = one.table.histogram
        if histogram is not None:
            plots.append(plot_histogram(ids(), one.table, histogram, one.scoring))
            if len(one.table.by_type) > 1:
                plots.append(plot_types(ids(), histogram, one.scoring))
    if plots:
        yield Note(
            "llr is the log-likelihood of the alternate allele minus that of the reference "
            "allele, in nats: below 0 the model finds the alternate allele less likely."
        )
        yield Grid(plots)
        yield tabulate_quantiles(evidence, QUANTILES)


def _show_contigs(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    most = max(FEWEST_PANELS, MOST_PANELS // max(1, len(evidence)))
    for one in evidence:
        by_size = sorted(one.table.contigs, key=lambda bins: -bins.num_rows)
        kept = {bins.contig for bins in by_size[:most]}
        contigs = [bins for bins in one.table.contigs if bins.contig in kept]
        if not contigs:
            continue
        if len(evidence) > 1:
            yield Heading(one.scoring)
        span = contig_span(contigs)
        is_alone = len(contigs) == 1
        yield Grid(
            [plot_contig(ids(), bins, span, one.scoring, is_alone=is_alone) for bins in contigs],
            is_dense=not is_alone,
        )
        num_left_out = one.table.num_contigs - len(contigs)
        if num_left_out:
            elsewhere = one.num_scored - sum(bins.num_rows for bins in contigs)
            yield Note(
                f"Left out: {counted(num_left_out, 'contig')} with fewer alleles, "
                f"{counted(elsewhere, 'scored allele')} in all "
                f"({share(elsewhere, one.num_scored)})."
            )


def _show_saturation(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    for one in evidence:
        stretches, num_stretches = one.saturation.stretches, one.saturation.num_stretches
        if not stretches:
            continue
        if len(evidence) > 1:
            yield Heading(one.scoring)
        span = color_span(stretches)
        yield Note(
            "Each base of a region and the three others in its place: orange where llr is below 0, "
            "blue where it is above, and its mean for each position."
        )
        yield Grid([plot_stretch(ids(), stretch, span, one.scoring) for stretch in stretches])
        if num_stretches > len(stretches):
            yield Note(
                f"Shown are the {len(stretches)} stretches with the lowest mean llr, of "
                f"{count(num_stretches)} with {count(one.saturation.num_positions)} positions in "
                "all. The export bedgraph has the mean of every position."
            )


def _show_strands(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    plots = [
        plot_pairs(
            ids(), f"llr of the two strands, {one.scoring}", one.table.strands,
            "allele scored on both strands" if one.table.strands.num_rows == 1
            else "alleles scored on both strands",
        )
        for one in evidence
        if one.table.strands is not None
    ]  # fmt: skip
    if plots:
        yield Note(
            "The same change, read once in each direction. Strands that disagree widely say that a "
            "score is noise."
        )
        yield Grid(plots)
    one_strand = [one.scoring for one in evidence if one.num_scored and one.table.strands is None]
    if one_strand:
        yield Note(f"Only one strand was scored: {listed(one_strand)}.")


def _show_indels(evidence: Sequence[Evidence], ids: FigureIds) -> Iterator[Block]:
    plots = [
        plot_pairs(
            ids(), f"llr and llr_aligned, {one.scoring}", one.table.indels,
            "allele of another length than its reference" if one.table.indels.num_rows == 1
            else "alleles of another length than their reference",
        )
        for one in evidence
        if one.table.indels is not None
    ]  # fmt: skip
    if plots:
        yield Note(
            "The windows of an insertion or deletion end at different bases. llr counts the bases "
            "that only one of them has, which is noise that grows with the length; llr_aligned "
            "puts their expectation in their place."
        )
        yield Grid(plots)


def _show_strongest(evidence: Sequence[Evidence]) -> Iterator[Block]:
    yield from (tabulate_strongest(one) for one in evidence if one.table.strongest)


def _show_cost(evidence: Sequence[Evidence]) -> Iterator[Block]:
    for one in evidence:
        wall_s, tokens = one.run.get("wall_s"), one.run.get("tokens_run")
        if isinstance(wall_s, int | float) and isinstance(tokens, int):
            rate = f", {count(round(tokens / wall_s))} a second" if wall_s else ""
            yield Note(
                f"{one.scoring}: {_duration(wall_s)} of all jobs together, whether or not they ran "
                f"at once; {count(tokens)} tokens{rate}."
            )
        if one.shards:
            yield tabulate_shards(one)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{decimal(seconds)} seconds"
    if seconds < 7200:
        return f"{decimal(seconds / 60)} minutes"
    return f"{decimal(seconds / 3600)} hours"
