"""Making sure that a reference is DNA: the model has learned A, C, G and T."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown, shown_path

if TYPE_CHECKING:
    from evo2_tasks.genome.fasta import FastaSequence

MIN_DNA_SHARE = 0.5
"""Smallest share of A, C, G and T among the letters of a reference other than N."""


def require_dna(
    fasta: Path, sequences: Sequence[FastaSequence], used_contigs: Collection[str]
) -> None:
    """Make sure that a reference is DNA, and that no contig that is used is RNA.

    Args:
        fasta: The file, for messages.
        sequences: All its sequences.
        used_contigs: Names of the sequences that variants lie on.

    Raises:
        InputError: Fewer than half of the letters other than N are A, C, G or T, or a contig that
            is used has more U than T.
    """
    for sequence in sequences:
        name, letters = sequence.entry.name, sequence.letters
        if name in used_contigs and letters.u > letters.t:
            raise InputError(
                f"{shown_path(fasta)}: contig '{shown(name)}' is RNA: it has {letters.u:,} U and "
                f"{letters.t:,} T. The model reads DNA: replace U by T in the file, for example "
                "with: seqkit seq --rna2dna"
            )
    num_dna = sum(sequence.letters.acgt for sequence in sequences)
    num_other = sum(sequence.letters.u + sequence.letters.other for sequence in sequences)
    if num_dna < MIN_DNA_SHARE * (num_dna + num_other):
        share = num_dna / (num_dna + num_other)
        raise InputError(
            f"{shown_path(fasta)}: only {share:.0%} of its letters other than N are A, C, G or T, "
            "so it is not DNA (protein?). Name the FASTA of the genome."
        )
