"""Variants of another assembly than the reference, recognised before all of them are read."""

from __future__ import annotations

from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown_path

MIN_COMPARED = 100

# On another assembly three of four bases differ, and of these the alternate one is there for a
# third: both kinds of mismatch count.
_MISMATCHES = frozenset({"ref_alt_swapped", "ref_mismatch"})
# These and the statuses that come after the comparison of REF with the reference.
_COMPARED = _MISMATCHES | {"too_long", "too_many_n", "no_context", "non_finite", "scored"}


class MismatchWatch:
    """Stops a run in which too many REF alleles are not what the reference has.

    The share is looked at from the hundredth compared allele on, so that a few bad records among
    few never end a run.

    Args:
        max_share: Largest share of ``ref_mismatch`` and ``ref_alt_swapped`` among the alleles whose
            REF was compared.
        fasta: The reference, for the message.
    """

    def __init__(self, max_share: float, fasta: Path) -> None:
        self._max_share = max_share
        self._fasta = fasta
        self.num_compared = 0
        self.num_mismatches = 0

    def add(self, status: str) -> None:
        """Count one allele by its status.

        Raises:
            InputError: The share is too high now.
        """
        if status not in _COMPARED:
            return
        self.num_compared += 1
        if status not in _MISMATCHES:
            return
        self.num_mismatches += 1
        share = self.num_mismatches / self.num_compared
        if self.num_compared >= MIN_COMPARED and share > self._max_share:
            raise InputError(
                f"{shown_path(self._fasta)}: lacks the REF bases of {self.num_mismatches:,} of the "
                f"first {self.num_compared:,} alleles ({share:.0%}): the variants are of another "
                f"assembly. Give their reference, or raise max_ref_mismatch_share "
                f"({self._max_share:g})."
            )
