"""The alleles that a probe was trained on, as keyed digests: to recognise them in other tables.

A probe has eight bytes for each allele, so that its owner can share it without a list of alleles.
The digests do not hide alleles from a reader who knows the key and tries all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.genome.alleles import TrimmedAllele, judge_text, trim
from evo2_tasks.genome.records import SPANS_ORIGIN, Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import align_allele
from evo2_tasks.table.provenance import canonical_json

DIGEST_BYTES: Final = 8

COLUMNS: Final = ("reference_contig", "pos", "ref", "alt", "flags")
"""Columns of a table that identify an allele."""

MOVED: Final = "moved"
"""The flag of a row whose spelling is not left-aligned."""

Digests = npt.NDArray[np.uint64]


def digest_alleles(rows: pa.Table | pa.RecordBatch, reference: Reference, key: str) -> Digests:
    """The digest of each allele, which is the same for all its spellings.

    A symbolic allele is taken as it is spelled.

    Args:
        rows: N scored rows of a table, with ``COLUMNS``.
        reference: The reference of the table.
        key: The key of the probe.

    Returns:
        One number for each row. (N,)
    """
    columns = [rows.column(name).to_pylist() for name in COLUMNS]
    secret = key.encode()[: hashlib.blake2b.MAX_KEY_SIZE]
    digests = (
        hashlib.blake2b(_identify(row, reference), digest_size=DIGEST_BYTES, key=secret).digest()
        for row in zip(*columns, strict=True)
    )
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def find_known(digests: Digests, known: Digests) -> npt.NDArray[np.bool_]:
    """Which digests are among those of the alleles that a probe was trained on. (N,).

    Args:
        digests: (N,)
        known: Rising. (M,)
    """
    if not len(known):
        return np.zeros(len(digests), dtype=bool)
    place = np.minimum(np.searchsorted(known, digests), len(known) - 1)
    is_known: npt.NDArray[np.bool_] = known[place] == digests
    return is_known


def merge_digests(digests: Iterable[Digests]) -> Digests:
    """Distinct digests, rising."""
    return np.unique(np.concatenate([np.empty(0, dtype=np.uint64), *digests]))


def _identify(row: tuple[str, int, str, str, Sequence[str]], reference: Reference) -> bytes:
    """A text that all spellings of an allele have in common."""
    contig, pos, ref, alt, flags = row
    allele = TrimmedAllele(pos - 1, ref, alt)
    if judge_text(ref, alt) is None:
        allele = trim(pos - 1, ref, alt)
        if MOVED in flags:
            goes_round = pos - 1 + len(ref) > reference.contigs[contig]
            status = SPANS_ORIGIN if goes_round else None
            aligned = align_allele(Variant(0, 1, contig, pos, ref, alt, status), reference)
            allele = allele if aligned is None else aligned.trimmed
    start = allele.start
    if reference.is_circular(contig):
        start %= reference.contigs[contig]
    named = {"contig": contig, "start": start, "ref": allele.ref, "alt": allele.alt}
    return canonical_json(named).encode()
