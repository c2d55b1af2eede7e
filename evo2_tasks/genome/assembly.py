"""Stopping a run early if its variants are from another assembly than the reference."""

from __future__ import annotations

from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.io.words import shown_path

MIN_COMPARED = 100

# On another assembly, three of four REF bases do not match. In a third of these cases the ALT base
# is in their place, so both kinds of mismatch count.
_MISMATCHES = frozenset({"ref_alt_swapped", "ref_mismatch"})
# The statuses of alleles whose REF was compared with the reference.
_COMPARED = _MISMATCHES | {"too_long", "too_many_n", "no_context", TO_SCORE}


class MismatchWatch:
    """Stops a run in which too many REF alleles do not match the reference.

    The share is checked from the hundredth compared allele on, so that a few bad records in a small
    file never end a run.

    Args:
        max_share: Largest allowed share of ``ref_mismatch`` and ``ref_alt_swapped`` among the
            alleles whose REF was compared.
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
            InputError: The share is now above the limit.
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
                f"{shown_path(self._fasta)}: {self.num_mismatches:,} of the first "
                f"{self.num_compared:,} alleles ({share:.0%}) have a REF that does not match this "
                f"reference: the variants are from another assembly. Give the reference of that "
                f"assembly, or raise max_ref_mismatch_share ({self._max_share:g})."
            )
