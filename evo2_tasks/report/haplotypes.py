"""The input of the report about haplotypes: alleles beside others, and compounds.

The tables are read piece by piece. Memory grows with the number of samples, not with the number of
rows.

Shapes: R rows of a piece, A amounts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.genome.reference import Reference
from evo2_tasks.io.digests import require_unchanged
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import COMPOUNDS, HAPLOTYPES, HAPLOTYPES_RUN, TABLE, TABLES
from evo2_tasks.report.bins import FloatArray, IntArray, PairSample, PairSummary
from evo2_tasks.report.drawings import Drawing, draw_compound
from evo2_tasks.report.rows import Row, fetch_alleles, fetch_rows
from evo2_tasks.report.words import plot_text, plot_variant, variant
from evo2_tasks.table.documents import HaplotypesRun
from evo2_tasks.table.parquet import decode_texts, read_rows
from evo2_tasks.table.provenance import read_provenance, require_settings, require_source
from evo2_tasks.table.statements import Statement, require_table
from evo2_tasks.table.statistics import Counts, Distribution

AMOUNTS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Changes that are counted, nats."""

CHOSEN: Final = 0.5
"""The amount of ``AMOUNTS`` in sentences and in the table of samples, nats: a factor of 1.6 in
the likelihood ratio."""

NUM_LARGEST: Final = 20
MOST_NEIGHBOURS: Final = 4
"""Most neighbours of a row that are named."""

Flags = npt.NDArray[np.bool_]

_PAIR: Final = ("llr_alone", "llr_background")
_OF_ROW: Final = ("record", "allele", "num_background", *_PAIR)
_OF_COMPOUND: Final = ("contig", "pos", "ref", "alt", "llr_joint", "llr_sum")
_CHANGE, _ROW, _SIZE, _FIRST, _CARRIERS = "change", "row", "size", "row_min", "row_count"


@dataclass(slots=True)
class SampleCounts:
    """The rows of a sample.

    Attributes:
        rows: Alleles on its haplotypes.
        beside: How many of these have neighbours.
        changed: How many of these change by more than ``CHOSEN``.
        unscored: Alleles on its haplotypes without an ``llr_background``.
        compounds: Compounds on its haplotypes.
        interacting: How many of these have an interaction of more than ``CHOSEN``.
    """

    rows: int = 0
    beside: int = 0
    changed: int = 0
    unscored: int = 0
    compounds: int = 0
    interacting: int = 0


@dataclass(slots=True)
class Changes:
    """The alleles beside others that have both scores.

    Attributes:
        num_beside: Rows with neighbours, with and without scores.
        num_scored: Rows with neighbours and both scores.
        rows: How many of these change by more than each of ``AMOUNTS``. (A,)
        alleles: How many different alleles these are. (A,)
        by_neighbours: ``llr_background - llr_alone`` of these, nats, by the number of neighbours:
            key ``k`` has those with ``2**k`` to ``2**(k + 1) - 1``.
    """

    num_beside: int = 0
    num_scored: int = 0
    rows: IntArray = field(default_factory=lambda: np.zeros(len(AMOUNTS), np.int64))
    alleles: IntArray = field(default_factory=lambda: np.zeros(len(AMOUNTS), np.int64))
    by_neighbours: dict[int, Distribution] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LargeChange:
    """An allele whose score changes much beside its neighbours.

    Attributes:
        name: The allele.
        neighbours: Its first neighbours.
        num_neighbours: Number of all its neighbours.
        llr_alone: Its score alone, nats.
        llr_background: Its score beside the neighbours, nats.
        carriers: Rows with these scores.
        sample: The first sample of these.
    """

    name: str
    neighbours: Sequence[str]
    num_neighbours: int
    llr_alone: float
    llr_background: float
    carriers: int
    sample: str


@dataclass(frozen=True, slots=True)
class Interaction:
    """A compound whose members do not act independently.

    Attributes:
        place: Contig and position.
        pos: Position of the first base, 1-based.
        members: Names of its members.
        drawing: Its sequence.
        consequence: The most severe effect of all members together; None without genes.
        amino_acids: Their joint change of the protein; None if there is none.
        llr_joint: Score of all members together, nats.
        llr_sum: Sum of the scores of the members alone, nats.
        carriers: Rows of this compound.
        sample: The first sample of these.
    """

    place: str
    pos: int
    members: Sequence[str]
    drawing: Drawing
    consequence: str | None
    amino_acids: str | None
    llr_joint: float
    llr_sum: float
    carriers: int
    sample: str


@dataclass(frozen=True, slots=True)
class HaplotypeEvidence:
    """The haplotypes of a scoring.

    Attributes:
        scoring: Name of the scoring.
        run: Content of ``haplotypes.json``.
        rows: Alleles of samples by status and flag.
        compounds: Compounds by status and flag.
        changes: The alleles beside others.
        interactions: Compounds whose interaction is larger than each of ``AMOUNTS``. (A,)
        num_interactions: Compounds with an interaction.
        pairs: ``llr_alone`` and ``llr_background`` of the alleles beside others; None if no row has
            both.
        names: What the plot calls the rows that it shows one by one, by number in the table.
        largest_changes: The rows that change most, each once for equal scores.
        largest_interactions: The compounds with the largest interactions, each once.
        samples: Counts by sample, in alphabetical order.
    """

    scoring: str
    run: HaplotypesRun
    rows: Counts
    compounds: Counts
    changes: Changes
    interactions: IntArray
    num_interactions: int
    pairs: PairSummary | None
    names: Mapping[int, str]
    largest_changes: Sequence[LargeChange]
    largest_interactions: Sequence[Interaction]
    samples: Mapping[str, SampleCounts]


def read_haplotype_evidence(
    folder: Path,
    *,
    table_digest: str,
    settings: Mapping[str, Any],
    reference: Reference,
) -> HaplotypeEvidence:
    """Read the files of ``merge_haplotypes`` of a scoring.

    Args:
        folder: Folder of the scoring, with its table.
        table_digest: SHA-256 of the table.
        settings: What the files must have been made with.
        reference: The reference, for the bases around compounds.

    Raises:
        InputError: A file is missing or broken, belongs to another table, was made with other
            settings or was replaced meanwhile, or the reference is another one.
    """
    for name in (HAPLOTYPES, COMPOUNDS, HAPLOTYPES_RUN):
        if not (folder / name).exists():
            raise InputError(
                f"{shown_path(folder / name)}: does not exist. Run `merge-haplotypes` for the "
                f"scoring {folder.name} first."
            )
    run_file, table = folder / HAPLOTYPES_RUN, folder / TABLE
    run = HaplotypesRun.read(run_file)
    stated = {HAPLOTYPES: run.haplotypes_digest, COMPOUNDS: run.compounds_digest}
    for name, digest in stated.items():
        file = folder / name
        require_table(file, [Statement(run_file, digest, TABLES[name])])
        provenance = read_provenance(file)
        require_source(file, provenance.source, table, table_digest)
        require_settings(file, provenance.settings, settings, TABLES[name])
    samples: dict[str, SampleCounts] = {}
    rows, changes, top = _read_rows(folder / HAPLOTYPES, samples)
    pairs = _sample_pairs(folder / HAPLOTYPES, changes.num_scored)
    compounds, interactions, num_interactions, top_compounds = _read_compounds(
        folder / COMPOUNDS, samples
    )
    evidence = HaplotypeEvidence(
        scoring=folder.name,
        run=run,
        rows=rows,
        compounds=compounds,
        changes=changes,
        interactions=interactions,
        num_interactions=num_interactions,
        pairs=pairs,
        names={} if pairs is None else _name_rows(folder, pairs.named_rows),
        largest_changes=_describe_changes(folder, top),
        largest_interactions=_describe_interactions(folder, top_compounds, reference),
        samples=dict(sorted(samples.items())),
    )
    for name, digest in stated.items():
        require_unchanged(folder / name, digest)
    return evidence


class _Largest:
    """The rows with the largest changes, equal rows counted as one.

    Args:
        keys: Columns by which rows are equal; equal rows have equal changes.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [*keys]
        self._kept: pa.Table | None = None
        self._least = 0.0

    def add(self, rows: pa.RecordBatch, changes: FloatArray, numbers: IntArray) -> None:
        """Add rows.

        Args:
            rows: Rows with the columns of the keys. (R)
            changes: The change of each, NaN where there is none. (R,)
            numbers: Number of each row in the table. (R,)
        """
        is_large = np.abs(changes) >= self._least  # False for NaN
        found = rows.select(self._keys).filter(pa.array(is_large))
        columns = {name: decode_texts(found.column(name)) for name in self._keys}
        columns |= {_CHANGE: pa.array(changes[is_large]), _ROW: pa.array(numbers[is_large])}
        grouped = pa.table(columns).group_by([*self._keys, _CHANGE], use_threads=False)
        new = grouped.aggregate([(_ROW, "min"), (_ROW, "count")])
        if self._kept is not None:
            both = pa.concat_tables([self._kept.select(new.column_names), new])
            again = both.group_by([*self._keys, _CHANGE], use_threads=False)
            merged = again.aggregate([(_FIRST, "min"), (_CARRIERS, "sum")])
            renamed = {f"{_FIRST}_min": _FIRST, f"{_CARRIERS}_sum": _CARRIERS}
            new = merged.rename_columns([renamed.get(one, one) for one in merged.column_names])
        new = new.append_column(_SIZE, pc.abs(new.column(_CHANGE)))
        places = pc.sort_indices(new, [(_SIZE, "descending"), (_FIRST, "ascending")])
        # What is left out stays out: all later rows that equal it come after the kept ones.
        self._kept = new.take(places.slice(0, NUM_LARGEST)).drop_columns([_SIZE])
        if self._kept.num_rows == NUM_LARGEST:
            self._least = float(abs(self._kept.column(_CHANGE)[-1].as_py()))

    def finish(self) -> list[Row]:
        """The rows, the largest change first, with ``row_min`` and ``row_count``."""
        rows: list[Row] = [] if self._kept is None else self._kept.to_pylist()
        return rows


def _read_rows(file: Path, samples: dict[str, SampleCounts]) -> tuple[Counts, Changes, list[Row]]:
    """Count the alleles of samples, and find those that change most."""
    counts, changes, largest = Counts(), Changes(), _Largest(_OF_ROW)
    last = np.full(len(AMOUNTS), -1, dtype=np.int64)
    for batch in read_rows(file, [*_OF_ROW, "sample", "status", "reason", "flags"]):
        numbers = counts.alleles + np.arange(batch.num_rows)
        counts.add(batch)
        change, beside = _find_changes(batch)
        has_change = np.isfinite(change)
        changes.num_beside += int(beside.sum())
        changes.num_scored += int(has_change.sum())
        neighbours = batch.column("num_background").to_numpy()
        keys = batch.column("record").to_numpy() << 32 | batch.column("allele").to_numpy()
        for place, amount in enumerate(AMOUNTS):
            # The rows of an allele follow each other.
            found = keys[np.abs(change) > amount]
            changes.rows[place] += len(found)
            if len(found):
                before = np.concatenate([last[place : place + 1], found[:-1]])
                changes.alleles[place] += int((found != before).sum())
                last[place] = found[-1]
        power = np.frexp(neighbours)[1] - 1
        for one in np.unique(power[has_change]).tolist():
            of_power = changes.by_neighbours.setdefault(one, Distribution())
            of_power.add(change[has_change & (power == one)])
        largest.add(batch, change, numbers)
        is_scored = pc.equal(batch.column("status"), "scored").to_numpy(zero_copy_only=False)
        facts = {"rows": np.ones_like(beside), "beside": beside, "unscored": ~is_scored}
        _count_samples(samples, batch, facts | {"changed": np.abs(change) > CHOSEN})
    changes.by_neighbours = dict(sorted(changes.by_neighbours.items()))
    return counts, changes, largest.finish()


def _find_changes(batch: pa.RecordBatch) -> tuple[FloatArray, Flags]:
    """The change of each row beside others, NaN without; and which rows are beside others. (R,)."""
    alone, background = (_numbers(batch, name) for name in _PAIR)
    beside = batch.column("num_background").to_numpy() > 0
    change: FloatArray = np.where(beside, background - alone, np.nan)
    return change, beside


def _sample_pairs(file: Path, num_rows: int) -> PairSummary | None:
    """The two scores of the alleles beside others."""
    sample, num_read = PairSample(*_PAIR, num_rows=num_rows), 0
    for batch in read_rows(file, [*_PAIR, "num_background"]) if num_rows else ():
        has_change = np.isfinite(_find_changes(batch)[0])
        alone, background = (_numbers(batch, name)[has_change] for name in _PAIR)
        sample.add(alone, background, num_read + np.flatnonzero(has_change))
        num_read += batch.num_rows
    return sample.summarize()


def _read_compounds(
    file: Path, samples: dict[str, SampleCounts]
) -> tuple[Counts, IntArray, int, list[Row]]:
    """Count the compounds, and find those with the largest interactions."""
    counts, largest = Counts(), _Largest(_OF_COMPOUND)
    larger, num_scored = np.zeros(len(AMOUNTS), np.int64), 0
    names = [*_OF_COMPOUND, "interaction", "sample", "status", "reason", "flags"]
    for batch in read_rows(file, names):
        numbers = counts.alleles + np.arange(batch.num_rows)
        counts.add(batch)
        found = _numbers(batch, "interaction")
        num_scored += int(np.isfinite(found).sum())
        larger += (np.abs(found)[:, None] > np.array(AMOUNTS)).sum(axis=0)
        largest.add(batch, found, numbers)
        facts = {"compounds": np.ones(len(found), bool), "interacting": np.abs(found) > CHOSEN}
        _count_samples(samples, batch, facts)
    return counts, larger, num_scored, largest.finish()


def _count_samples(
    samples: dict[str, SampleCounts], batch: pa.RecordBatch, facts: Mapping[str, Flags]
) -> None:
    """Count rows by sample.

    Args:
        samples: Counts of all samples so far.
        batch: The rows. (R)
        facts: Which rows each field of ``SampleCounts`` counts. Each (R,)
    """
    column = batch.column("sample")
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    found = {key: np.bincount(codes[rows], minlength=len(names)) for key, rows in facts.items()}
    for code in np.unique(codes).tolist():
        of_sample = samples.setdefault(names[code], SampleCounts())
        for key, numbers in found.items():
            setattr(of_sample, key, getattr(of_sample, key) + int(numbers[code]))


def _name_rows(folder: Path, numbers: Sequence[int]) -> dict[int, str]:
    """Name alleles of samples, as text of plots, by the number of the row in the table."""
    rows = fetch_rows(folder / HAPLOTYPES, numbers, ["record", "allele", "sample", "haplotype"])
    alleles = fetch_alleles(folder / TABLE, {_key(row) for row in rows.values()})
    return {
        number: f"{plot_variant(alleles[_key(row)])}<br>{plot_text(row['sample'])}, "
        + ("unphased" if row["haplotype"] is None else f"haplotype {row['haplotype']}")
        for number, row in rows.items()
    }


def _describe_changes(folder: Path, top: Sequence[Row]) -> list[LargeChange]:
    rows = fetch_rows(folder / HAPLOTYPES, [row[_FIRST] for row in top], ["sample", "background"])
    neighbours = [
        [_key(one) for one in rows[row[_FIRST]]["background"][:MOST_NEIGHBOURS]] for row in top
    ]
    keys = {_key(row) for row in top}.union(*neighbours)
    alleles = fetch_alleles(folder / TABLE, keys)
    return [
        LargeChange(
            name=variant(alleles[_key(row)]),
            neighbours=[variant(alleles[key]) for key in near],
            num_neighbours=row["num_background"],
            llr_alone=row["llr_alone"],
            llr_background=row["llr_background"],
            carriers=row[_CARRIERS],
            sample=rows[row[_FIRST]]["sample"],
        )
        for row, near in zip(top, neighbours, strict=True)
    ]


def _describe_interactions(
    folder: Path, top: Sequence[Row], reference: Reference
) -> list[Interaction]:
    names = ["sample", "members", "consequence", "amino_acids"]
    rows = fetch_rows(folder / COMPOUNDS, [row[_FIRST] for row in top], names)
    members = [[_key(one) for one in rows[row[_FIRST]]["members"]] for row in top]
    alleles = fetch_alleles(folder / TABLE, set().union(*members))
    return [
        Interaction(
            place=row["contig"],
            pos=row["pos"],
            members=[variant(alleles[key]) for key in keys],
            drawing=draw_compound(row, [alleles[key] for key in keys], reference),
            consequence=rows[row[_FIRST]]["consequence"],
            amino_acids=rows[row[_FIRST]]["amino_acids"],
            llr_joint=row["llr_joint"],
            llr_sum=row["llr_sum"],
            carriers=row[_CARRIERS],
            sample=rows[row[_FIRST]]["sample"],
        )
        for row, keys in zip(top, members, strict=True)
    ]


def neighbour_range(power: int) -> str:
    """The numbers of neighbours of a key of ``Changes.by_neighbours``: 1, 2 to 3, 4 to 7."""
    first, last = 2**power, 2 ** (power + 1) - 1
    return str(first) if first == last else f"{first} to {last}"


def _key(row: Row) -> tuple[int, int]:
    return row["record"], row["allele"]


def _numbers(batch: pa.RecordBatch, name: str) -> FloatArray:
    """A column of numbers; NaN for a missing value."""
    values: FloatArray = batch.column(name).to_numpy(zero_copy_only=False)
    return values.astype(np.float64, copy=False)
