"""The audit of a horizon: which alleles are scored with whole windows too, and their two scores."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.table.audit_choice import AlleleKey, SmallestHashes, hash_allele
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.schema import STRAND_SUFFIXES

AUDITED_SCORES: Final = ("llr", *(f"llr{suffix}" for suffix in STRAND_SUFFIXES.values()))
"""Scores that are compared: the mean of the asked strands, and each strand."""

_ALLELE: Final = ("record", "allele", "reference_contig", "pos", "ref", "alt")


def choose_audited(
    windows_files: Sequence[Path], contig_digests: Mapping[str, bytes], share: float
) -> list[list[int]]:
    """Choose the audited alleles of a variant set.

    They are those with the smallest hashes of the alleles that can be scored. So the choice is the
    same for every number of shards, in every run, and for every spelling of the contigs.

    Args:
        windows_files: The windows file of each shard.
        contig_digests: Digest of the bases of each reference contig, by its name.
        share: Share of the alleles.

    Returns:
        Numbers of the rows of the audited alleles in each file, 0-based and rising.

    Raises:
        InputError: A file cannot be read.
    """
    smallest = SmallestHashes()
    for file, path in enumerate(windows_files):
        first_row = 0
        for batch in read_rows(path, [*_ALLELE, "status"]):
            can_be_scored = pc.equal(batch.column("status"), TO_SCORE)
            rows = np.flatnonzero(can_be_scored).tolist()
            values = (batch.column(name).filter(can_be_scored).to_pylist() for name in _ALLELE)
            for row, record, allele, contig, pos, ref, alt in zip(rows, *values, strict=True):
                hashed = hash_allele(contig_digests[contig], pos, ref, alt)
                smallest.add(hashed, (record, allele), (file, first_row + row))
            first_row += batch.num_rows
    chosen: list[list[int]] = [[] for _ in windows_files]
    for file, row in sorted(smallest.choose(share)):
        chosen[file].append(row)
    return chosen


def take_rows(path: Path, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Some rows of a table.

    Args:
        path: The table.
        numbers: Numbers of the rows, 0-based and rising. Without any, the file is not read.

    Raises:
        InputError: The file cannot be read.
    """
    wanted = np.array(numbers, dtype=np.int64)
    first_row = 0
    for batch in read_rows(path) if numbers else ():
        here = wanted[(wanted >= first_row) & (wanted < first_row + batch.num_rows)] - first_row
        if len(here):
            yield from batch.take(pa.array(here)).to_pylist()
        first_row += batch.num_rows


def digest_windows(digests: Iterable[str]) -> str:
    """SHA-256 of the windows of all shards, from the SHA-256 of each windows file."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def read_scores_of(
    tables: Iterable[Path], keys: Collection[AlleleKey]
) -> dict[AlleleKey, dict[str, float | None]]:
    """The scores that are compared, of some alleles.

    Args:
        tables: Tables with ``record``, ``allele`` and scores, of all shards or of all alleles.
        keys: The alleles.

    Raises:
        InputError: A file cannot be read.
    """
    found: dict[AlleleKey, dict[str, float | None]] = {}
    records = pa.array(sorted({record for record, _ in keys}), pa.int64())
    for table in tables if keys else ():
        for batch in read_rows(table, ["record", "allele", *AUDITED_SCORES]):
            some = batch.filter(pc.is_in(batch.column("record"), value_set=records))
            for row in some.to_pylist():
                key = (row.pop("record"), row.pop("allele"))
                if key in keys:
                    found[key] = row
    return found


def read_audit(table: Path) -> dict[AlleleKey, dict[str, float | None]]:
    """The scores of whole windows of the audited alleles, under the names of the scores.

    Args:
        table: The table of ``merge_audit``.

    Raises:
        InputError: The file cannot be read.
    """
    names = {window_name(name): name for name in AUDITED_SCORES}
    return {
        (row["record"], row["allele"]): {names[name]: row[name] for name in names}
        for batch in read_rows(table, ["record", "allele", *names])
        for row in batch.to_pylist()
    }


def window_name(name: str) -> str:
    """The column of a score of whole windows: ``llr_window_fwd`` for ``llr_fwd``."""
    return name.replace("llr", "llr_window", 1)


def same_but_horizon(signature: Mapping[str, Any]) -> dict[str, Any]:
    """The signature of scores of whole windows, from that of scores with a horizon."""
    scoring = signature.get("scoring")
    whole = {**scoring, "horizon": None} if isinstance(scoring, Mapping) else scoring
    return {**signature, "scoring": whole}
