"""Genes and transcripts of a GFF3 file."""

from __future__ import annotations

from pathlib import Path

from evo2_tasks.genome.reference import Reference


class Genes:
    """The transcripts of a genome, found by position."""


def read_genes(path: Path, reference: Reference) -> Genes:
    """Read the genes of a GFF3 file: plain, gzip or bgzip; as Ensembl or NCBI write it.

    Args:
        path: The file.
        reference: The genome. Its aliases also resolve the contig names of the file.

    Raises:
        InputError: The file is not GFF3, has no usable transcript, or no contig of the reference.
    """
    raise NotImplementedError
