"""Profiles of alleles: their entries on the genome, and those of the alleles that a page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evo2_tasks.errors import InputError
from evo2_tasks.genome.explained import count_entries, find_contig, locate_tokens
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_layout import WindowSettings
from evo2_tasks.genome.windows import TO_SCORE, Contig, PlacedAllele, place_allele
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import PROFILES
from evo2_tasks.report.rows import Row
from evo2_tasks.report.words import variant
from evo2_tasks.table.profiles import read_profiles

MOST_PROFILES: Final = 20
"""Alleles whose profiles the report draws, for each scoring."""
FLOAT16_ERROR: Final = 2e-3
"""Largest relative error of an entry of a stored profile, with a margin."""

StoredProfile = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a profile.

    Attributes:
        difference: Nats; below 0 the token is less likely in the alternate window.
        pos: 1-based position; None for an inserted base and for tokens at the end of one window.
        base: Base of the plus strand of the reference.
        kind: ``allele``, ``downstream`` or ``end``.
    """

    difference: float
    pos: int | None
    base: str
    kind: str


@dataclass(frozen=True, slots=True)
class StrandProfile:
    """The profile of a strand, from the first difference on.

    Attributes:
        strand: The strand.
        entries: Its entries.
        is_whole: Whether these are all entries, so that their sum is ``llr`` of the strand.
    """

    strand: str
    entries: Sequence[Entry]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class AlleleProfile:
    """The profile of a row of a table.

    Attributes:
        row: The row.
        strands: The profile of each strand that has one.
    """

    row: Row
    strands: Sequence[StrandProfile]


@dataclass(frozen=True, slots=True)
class ProfiledScoring:
    """How the windows of a scoring with profiles are placed.

    Attributes:
        windows: The windows.
        reference: The reference.
    """

    windows: WindowSettings
    reference: Reference


def read_first_profiles(
    table: Path, rows: Sequence[Row], scoring: ProfiledScoring
) -> dict[int, AlleleProfile]:
    """Read the profiles of the first ``MOST_PROFILES`` of some rows.

    Args:
        table: The table of scores; the profiles are next to it.
        rows: Rows of the table, with ``record``, ``allele``, the columns of the allele,
            ``llr_allele_fwd`` and ``llr_allele_rev``.
        scoring: Where their windows are.

    Returns:
        The profiles by the rank of the row, from 1, of the rows that have one.

    Raises:
        InputError: The profiles cannot be read, or do not belong to the table or the reference.
    """
    profiles = table.with_name(PROFILES)
    first = rows[:MOST_PROFILES]
    stored = read_profiles(profiles, table, {(row["record"], row["allele"]) for row in first})
    found = {}
    for rank, row in enumerate(first, start=1):
        values = stored.get((row["record"], row["allele"]), {})
        if not values:
            continue
        spelled = Variant(
            row["record"], row["allele"], row["contig"], row["pos"], row["ref"], row["alt"], None
        )
        placed = place_allele(spelled, scoring.reference, scoring.windows)
        if placed.status != TO_SCORE:
            raise InputError(
                f"{shown_path(table)}: {variant(row)} is scored, but has no windows in the "
                f"reference as it is now ({placed.status}). Run the workflow again."
            )
        require_same_allele(row, placed, values, profiles=profiles, table=table)
        contig = find_contig(placed, scoring.reference)
        found[rank] = AlleleProfile(row, locate_profiles(placed, contig, values))
    return found


def locate_profiles(
    placed: PlacedAllele, contig: Contig, stored: StoredProfile
) -> list[StrandProfile]:
    """Give the entries of a profile their places on the genome.

    Args:
        placed: The allele.
        contig: Its contig.
        stored: The values of each strand that has a profile, nats. (n,)
    """
    num_ref, num_alt = placed.edit_ref or 0, len(placed.edit_alt or "")
    strands = []
    for strand, size in placed.sizes.items():
        if strand not in stored:
            continue
        values = stored[strand]
        places = locate_tokens(placed, contig, strand, len(values))
        entries = [
            Entry(float(value), place.pos, place.base, place.kind)
            for value, place in zip(values, places, strict=True)
        ]
        most = sum(count_entries(size.length - size.prefix, num_ref, num_alt))
        strands.append(StrandProfile(strand, entries, is_whole=len(values) >= most))
    return strands


def require_same_allele(
    row: Row, placed: PlacedAllele, stored: StoredProfile, *, profiles: Path, table: Path
) -> None:
    """Make sure that a profile belongs to the allele: its own tokens sum to ``llr_allele``.

    Args:
        row: The row of the allele.
        placed: The allele.
        stored: The values of each strand that has a profile.
        profiles: The file of the profiles, for the message.
        table: The table, for the message.

    Raises:
        InputError: They do not, so the profiles were made from other variants than the table.
    """
    for strand, size in placed.sizes.items():
        num_tokens = size.length - size.prefix
        num_allele, *_ = count_entries(num_tokens, placed.edit_ref or 0, len(placed.edit_alt or ""))
        expected = row.get({"forward": "llr_allele_fwd", "reverse": "llr_allele_rev"}[strand])
        values = stored.get(strand)
        if values is None or expected is None or len(values) < num_allele:
            continue
        own = values[:num_allele].astype(np.float64)
        if abs(own.sum() - expected) > FLOAT16_ERROR * (1 + np.abs(own).sum()):
            raise InputError(
                f"{shown_path(profiles)}: has the profile of another allele where "
                f"{shown_path(table)} has this one. Run the workflow again."
            )
