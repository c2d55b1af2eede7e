"""The table of ``annotate``: what it states about itself, and what ``merge`` compares."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from evo2_tasks.errors import InputError
from evo2_tasks.genome.blocks import BLOCK_BASES, Block
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.joined import STEP
from evo2_tasks.table.parquet import read_metadata
from evo2_tasks.table.provenance import (
    PREFIX,
    canonical_json,
    package_version,
    read_object,
    require_source,
)

BLOCKS = PREFIX + "reference_blocks"
ANNOTATIONS = PREFIX + "annotations"


def make_annotations_metadata(
    source_digest: str, settings: Mapping[str, Any], inputs: Mapping[str, str]
) -> dict[str, str]:
    """Metadata of the table that are known before it is written.

    Args:
        source_digest: SHA-256 of the file of variants.
        settings: Settings of ``annotate`` that run it again if they change.
        inputs: SHA-256 of the other files that shape the rows: ``gff``, ``assembly_report``.
    """
    return {
        STEP: "annotate",
        PREFIX + "version": package_version(),
        PREFIX + "source": source_digest,
        PREFIX + "settings": canonical_json(settings),
        PREFIX + "inputs": canonical_json(inputs),
    }


def describe_blocks(blocks: Iterable[Block]) -> dict[str, str]:
    """Metadata of the table about the bases of the reference that it was made from.

    Args:
        blocks: The blocks that were read, in the order of the reference.
    """
    described = {}
    for contig, of_contig in groupby(blocks, attrgetter("reference_contig")):
        numbers, digest = [], hashlib.sha256()
        for block in of_contig:
            numbers.append(block.start // BLOCK_BASES)
            digest.update(block.sha256)
        described[contig] = {"blocks": _as_ranges(numbers), "sha256": digest.hexdigest()}
    return {BLOCKS: canonical_json(described)}


def describe_annotations(path: Path) -> dict[str, str]:
    """What a table with the columns of a table of ``annotate`` states about them, as metadata."""
    stored = read_metadata(path)
    stated = {key: read_object(path, stored, key) for key in ("settings", "inputs")}
    return {ANNOTATIONS: canonical_json(stated)}


def require_annotations(
    path: Path, files: Mapping[str, str | None], blocks: Iterable[Block] | None
) -> None:
    """Make sure that a table was made from these files and from the reference of the shards.

    Args:
        path: The table.
        files: SHA-256 that the table must state of the other files it was made from, by their name
            in the metadata.
        blocks: All blocks of the reference, in its order; None if the shards do not state them.

    Raises:
        InputError: It was made from others.
    """
    stored = read_metadata(path)
    stated = read_object(path, stored, "inputs") or {}
    for name, digest in files.items():
        require_source(
            path, stated.get(name), f"the {name.replace('_', ' ')} of the config", digest
        )
    if blocks is None:
        return
    read = read_object(path, stored, BLOCKS.removeprefix(PREFIX)) or {}
    found = {}
    for contig, of_contig in groupby(blocks, attrgetter("reference_contig")):
        wanted = read.get(contig)
        if isinstance(wanted, Mapping):
            places = _from_ranges(wanted.get("blocks"))
            digests = [one.sha256 for one in of_contig if one.start // BLOCK_BASES in places]
            found[contig] = hashlib.sha256(b"".join(digests)).hexdigest()
    if found != {contig: one.get("sha256") for contig, one in read.items()}:
        raise InputError(
            f"{shown_path(path)} was made from another version of the reference than the shards. "
            "Do not change the FASTA during a run; run `split` and `annotate` again."
        )


def _as_ranges(numbers: list[int]) -> list[list[int]]:
    """Increasing numbers as ranges, each with its first number and the one after its last."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] += 1
        else:
            ranges.append([number, number + 1])
    return ranges


def _from_ranges(ranges: object) -> set[int]:
    pairs = ranges if isinstance(ranges, list) else []
    return {number for first, end in pairs for number in range(first, end)}
