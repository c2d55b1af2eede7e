"""Genes and transcripts of a GFF3 file, and the transcripts at a place of the genome."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from evo2_tasks.errors import InputError
from evo2_tasks.genome.gff import CDS, GeneLine, GffLines, read_gff
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import Interval
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

_BIN_BITS: Final = 14
# A longer transcript is not entered into each of its bins: the longest of human genes has 2.5 Mb.
_MOST_BINS: Final = 1_000
_MOST_BUILT: Final = 50_000

_PREFIXES: Final = ("gene:", "transcript:", "CDS:", "gene-", "rna-", "cds-", "id-")

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Transcript:
    """One transcript of a gene. All positions are 0-based and half-open, on the reference contig.

    On a circular contig a transcript over the origin has bases beyond the contig's length.

    Attributes:
        number: Its place among all transcripts of the file.
        contig: Name of the contig in the reference.
        start: Its first base.
        end: The base after its last one.
        strand: ``+`` or ``-``; null if the file states none.
        transcript: Its identifier.
        gene: Name of its gene; the gene's identifier if the gene has no name.
        gene_id: Identifier of its gene.
        is_selected: Whether it has the tag MANE Select or canonical.
        is_decayed: Whether its biotype is ``nonsense_mediated_decay``.
        exons: Its exons, by position.
        cds: Its coding parts, by position; empty for a non-coding transcript.
        phase: Coding bases before the first whole codon, in reading direction.
        cds_length: Number of its coding bases.
    """

    number: int
    contig: str
    start: int
    end: int
    strand: str | None
    transcript: str
    gene: str
    gene_id: str
    is_selected: bool
    is_decayed: bool
    exons: tuple[Interval, ...]
    cds: tuple[Interval, ...]
    phase: int
    cds_length: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """A transcript before its exons are read from the lines: lines ``first`` to ``last``."""

    contig: str
    start: int
    end: int
    first: int
    last: int
    line: GeneLine | None
    gene: GeneLine | None
    name: str


class Genes:
    """The transcripts of a genome, found by position.

    Args:
        units: The transcripts.
        lines: Exons and coding parts, sorted by transcript and position.
    """

    def __init__(self, units: Sequence[_Unit], lines: GffLines) -> None:
        self._units = units
        self._lines = lines
        self._of_contig: dict[str, list[int]] = {}
        self._lengths: dict[str, int] = {}
        for number, unit in enumerate(units):
            self._of_contig.setdefault(unit.contig, []).append(number)
            self._lengths[unit.contig] = max(unit.end, self._lengths.get(unit.contig, 0))
        self._bins: dict[str, tuple[dict[int, list[int]], list[int]]] = {}
        self._built: dict[int, Transcript] = {}

    def __len__(self) -> int:
        """Number of transcripts."""
        return len(self._units)

    @property
    def contigs(self) -> Mapping[str, int]:
        """The contigs of the reference with transcripts, each with the end of the last one."""
        return self._lengths

    def find(self, contig: str, start: int, end: int) -> list[Transcript]:
        """The transcripts that have a base, exon or intron, in a range, in the order of the file.

        Args:
            contig: Name of the contig in the reference.
            start: First base, 0-based.
            end: The base after the last one.
        """
        if start >= self._lengths.get(contig, 0):
            return []
        bins, long = self._bins.get(contig) or self._make_bins(contig)
        first, last = max(start, 0) >> _BIN_BITS, max(end - 1, 0) >> _BIN_BITS
        if first == last:
            candidates: Iterable[int] = bins.get(first, ())
        else:
            candidates = sorted({n for one in range(first, last + 1) for n in bins.get(one, ())})
        if long:
            candidates = sorted({*candidates, *long})
        built, build = self._built, self._build
        transcripts = [built.get(number) or build(number) for number in candidates]
        return [one for one in transcripts if one.start < end and start < one.end]

    def has_coding(self, contig: str) -> bool:
        """Whether a contig of the reference has a coding transcript."""
        return any(self._build(number).cds for number in self._of_contig.get(contig, ()))

    def _make_bins(self, contig: str) -> tuple[dict[int, list[int]], list[int]]:
        bins: dict[int, list[int]] = {}
        long: list[int] = []
        for number in self._of_contig.get(contig, ()):
            unit = self._units[number]
            first, last = unit.start >> _BIN_BITS, (unit.end - 1) >> _BIN_BITS
            if last - first > _MOST_BINS:
                long.append(number)
                continue
            for one in range(first, last + 1):
                bins.setdefault(one, []).append(number)
        self._bins[contig] = bins, long
        return bins, long

    def _build(self, number: int) -> Transcript:
        unit = self._units[number]
        lines = self._lines
        part = slice(unit.first, unit.last)
        is_cds = lines.kinds[part] == CDS
        spans = np.stack([lines.starts[part], lines.ends[part]], axis=1)
        own = unit.line
        strand = _strand(unit, lines)
        is_pseudo = own is not None and own.is_pseudo
        is_pseudo |= unit.gene is not None and unit.gene.is_pseudo
        cds = [] if is_pseudo or strand is None else _join(_as_intervals(spans[is_cds]))
        phases = lines.phases[part][is_cds]
        phase = int(phases[0 if strand == "+" else -1]) if cds else 0
        exons = _merge(_as_intervals(spans[~is_cds]) + _as_intervals(spans[is_cds]))
        gene_id = _gene_id(unit)
        transcript = Transcript(
            number,
            unit.contig,
            unit.start,
            unit.end,
            strand,
            unit.name,
            _gene_name(unit) or gene_id,
            gene_id,
            own is not None and own.is_selected,
            own is not None and own.biotype == "nonsense_mediated_decay",
            tuple(exons or [(unit.start, unit.end)]),
            tuple(cds),
            phase,
            sum(last - first for first, last in cds),
        )
        if len(self._built) >= _MOST_BUILT:
            self._built.clear()
        self._built[number] = transcript
        return transcript


def read_genes(path: Path, reference: Reference) -> Genes:
    """Read the genes of a GFF3 file: plain, gzip or bgzip; as Ensembl or NCBI write it.

    A transcript is a line with exons or coding parts, or a line below a gene. A coding part
    directly below a gene, or below nothing, is a transcript too. Transcripts that cannot be used
    are left out with one warning for each reason.

    Args:
        path: The file.
        reference: The genome. Its aliases also resolve the contig names of the file.

    Raises:
        InputError: The file is not GFF3, has no usable transcript, or no contig of the reference.
    """
    lines = read_gff(path, reference)
    units = list(_make_units(lines, reference, path))
    if not units:
        kinds = ", ".join(f"{kind} ({n:,})" for kind, n in lines.features.most_common(5))
        raise InputError(
            f"{shown_path(path)}: has no usable transcript on the contigs of "
            f"{shown_path(reference.path)}; its features are: {shown(kinds, 200) or 'none'}. "
            "Expected transcripts with exon or CDS lines, as in the GFF3 files of Ensembl and NCBI."
        )
    logger.info("%s: %s transcripts", shown_path(path), f"{len(units):,}")
    return Genes(units, lines)


def _make_units(lines: GffLines, reference: Reference, path: Path) -> list[_Unit]:
    """The transcripts, in the order of their contig and of the file."""
    _unroll(lines, reference)
    left_out: Counter[str] = Counter()
    units = []
    has_parts = set()
    has_children = {
        id(lines.nodes[parent]) for node in lines.nodes for parent in lines.find_parents(node)
    }
    with_proteins = {lines.keys[owner] for owner in lines.proteins}
    for first, last in _edges(lines):
        owner = int(lines.owners[first])
        line = lines.find_node(lines.keys[owner])
        if lines.keys[owner] in with_proteins and owner not in lines.proteins:
            continue  # exons of a gene of several proteins: of which, the file does not state
        if line is not None:
            has_parts.add(id(line))
        units.append(_make_unit(lines, line, first, last))
    for line in lines.nodes:
        if id(line) not in has_parts and id(line) not in has_children and line.is_transcript:
            gene = lines.find_gene(line)
            units.append(_Unit(line.contig, line.start, line.end, 0, 0, line, gene, _name(line)))
    kept = []
    order = {contig: number for number, contig in enumerate(reference.contigs)}
    for unit in units:
        length = reference.contigs[unit.contig]
        most = 2 * length if reference.is_circular(unit.contig) else length
        if not 0 <= unit.start < length or unit.end > most or unit.end - unit.start > length:
            left_out["reach beyond the end of their contig"] += 1
        elif _has_two_strands(unit, lines):
            left_out["have parts on both strands"] += 1
        else:
            kept.append(unit)
    for reason, number in left_out.items():
        logger.warning("%s: %s transcripts are left out: they %s", path, f"{number:,}", reason)
    kept.sort(key=lambda unit: (order[unit.contig], unit.start, unit.end, unit.name))
    return kept


def _make_unit(lines: GffLines, line: GeneLine | None, first: int, last: int) -> _Unit:
    """The transcript of the exons and coding parts below one line."""
    owner = int(lines.owners[first])
    contig, identifier = lines.keys[owner]
    part = slice(first, last)
    start, end = int(lines.starts[part].min()), int(lines.ends[part].max())
    if line is None:
        name = unquote(identifier.decode(errors="replace"))
        return _Unit(contig, start, end, first, last, None, None, name)
    name = _name(line)
    if line.is_gene:  # it is named by its protein, as NCBI's genes of bacteria are
        piece = lines.proteins.get(owner, int(lines.pieces[part].max()))
        name = _bare(lines.piece_names[piece]) if piece >= 0 else name
    else:
        start, end = min(start, line.start), max(end, line.end)
    return _Unit(contig, start, end, first, last, line, lines.find_gene(line), name)


def _unroll(lines: GffLines, reference: Reference) -> None:
    """Move what lies after the origin of a circular contig behind its end, gene by gene."""
    for first, last in _edges(lines):
        contig, _ = key = lines.keys[int(lines.owners[first])]
        if not reference.is_circular(contig):
            continue
        length = reference.contigs[contig]
        starts, ends = lines.starts[first:last], lines.ends[first:last]
        line = lines.find_node(key)
        gene = None if line is None else lines.find_gene(line)
        spans = [one for one in (line, gene) if one is not None and one.end > length]
        if spans:
            before = starts < spans[0].start
        elif starts.min() == 0 and ends.max() == length and len(starts) > 1:
            gaps = starts[1:] - np.maximum.accumulate(ends)[:-1]
            split = int(np.argmax(gaps)) + 1
            before = np.arange(last - first) < split
            if gaps.max() <= 0:
                continue
        else:
            continue
        starts[before] += length
        ends[before] += length
        order = np.argsort(starts, kind="stable")
        for column in (starts, ends, *(one[first:last] for one in lines.other_columns)):
            column[:] = column[order]


def _edges(lines: GffLines) -> Iterator[tuple[int, int]]:
    """The first and last exon or coding part of each owner."""
    return pairwise(
        [*map(int, np.flatnonzero(np.diff(lines.owners, prepend=-1))), len(lines.owners)]
    )


def _strand(unit: _Unit, lines: GffLines) -> str | None:
    strands = lines.strands[unit.first : unit.last]
    known = int(strands.max(initial=0)) or int(strands.min(initial=0))
    if not known and unit.line is not None:
        known = unit.line.strand
    return {1: "+", -1: "-"}.get(known)


def _has_two_strands(unit: _Unit, lines: GffLines) -> bool:
    strands = lines.strands[unit.first : unit.last]
    return bool(strands.min(initial=0) < 0 < strands.max(initial=0))


def _as_intervals(spans: npt.NDArray[Any]) -> list[Interval]:
    return [(int(start), int(end)) for start, end in spans]


def _join(parts: Iterable[Interval]) -> list[Interval]:
    """Coding parts by position, those that touch as one: a part over the origin may be two lines.

    Parts that overlap stay apart: ribosomes that slip back read their bases twice.
    """
    joined: list[Interval] = []
    for start, end in parts:
        if joined and start == joined[-1][1]:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined


def _merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Intervals by position; those that touch or overlap are one."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _bare(identifier: str) -> str:
    """An identifier without the kind that Ensembl and NCBI write before it."""
    prefix = next((one for one in _PREFIXES if identifier.startswith(one)), "")
    return identifier[len(prefix) :] or identifier


def _name(line: GeneLine) -> str:
    return line.transcript_id or _bare(line.identifier)


def _first(lines: Iterable[GeneLine | None], value: Callable[[GeneLine], str]) -> str:
    return next(filter(None, (value(line) for line in lines if line is not None)), "")


def _gene_name(unit: _Unit) -> str:
    if unit.gene is not None:
        return unit.gene.gene_name or unit.gene.name
    return "" if unit.line is None else unit.line.gene_name


def _gene_id(unit: _Unit) -> str:
    stated = _first((unit.gene, unit.line), lambda line: line.gene_id)
    return stated or (_bare(unit.gene.identifier) if unit.gene is not None else unit.name)
