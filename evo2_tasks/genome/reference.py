"""The reference sequences: fast access by position, contig names, digest of the collection."""

from __future__ import annotations

import hashlib
import logging
import os
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby, zip_longest
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pysam

from evo2_tasks.errors import InputError
from evo2_tasks.genome.blocks import BLOCK_BASES, Block
from evo2_tasks.genome.contigs import ContigNames
from evo2_tasks.genome.fasta import (
    FastaEntry,
    FastaSequence,
    digest_sequences,
    make_index,
    read_fasta,
    read_index,
    refget_accession,
)
from evo2_tasks.genome.fasta_bases import FastaBases
from evo2_tasks.io.bgzip import find_compression
from evo2_tasks.io.files import open_file
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

CACHED_BLOCKS = 256  # 64 MiB of sequence

_IS_OTHER = bytes(chr(code) not in "ACGT" for code in range(256))


class Reference:
    """The sequences of an indexed FASTA file, plain or bgzip.

    Bases are upper case. They are kept in memory in blocks. If the variants are in the order of the
    genome, each base of the file is read once.

    Args:
        fasta_path: The file. Its ``.fai`` (and ``.gzi``) are made if they are missing.
        circular_contigs: Names of the circular sequences in the file.
        contig_aliases: Maps contig names of the variants to names in the file.
        assembly_report: An NCBI ``*_assembly_report.txt``, for other names.
        index_folder: Folder for an index that cannot be written next to the file.

    Raises:
        InputError: The file or one of the other arguments cannot be used.
    """

    def __init__(
        self,
        fasta_path: Path | str,
        *,
        circular_contigs: Iterable[str] = (),
        contig_aliases: Mapping[str, str] | None = None,
        assembly_report: Path | None = None,
        index_folder: Path | None = None,
    ) -> None:
        self.path = Path(fasta_path)
        with open_file(self.path):
            pass
        index, blocks = _find_index(self.path, index_folder)
        self._entries = read_index(index, self.path)
        _check_size(self.path, self._entries)
        with _fasta_errors(self.path):
            self._bases = FastaBases(self.path, self._entries, blocks)
        self._lengths = {entry.name: entry.length for entry in self._entries}
        self._circular = frozenset(circular_contigs)
        for name in sorted(self._circular - self._lengths.keys()):
            names = shown(", ".join(self._lengths), 200)
            raise InputError(
                f"circular_contigs: '{shown(name)}' is not a sequence of {shown_path(self.path)}; "
                f"its sequences are: {names}."
            )
        self._names = ContigNames(
            self._lengths, contig_aliases, assembly_report, source=shown_path(self.path)
        )
        self._blocks: dict[tuple[str, int], _Block] = {}
        self._read: dict[tuple[str, int], bytes] = {}  # SHA-256 of each block, by its start
        self._accessions: dict[str, str] = {}

    @property
    def contigs(self) -> Mapping[str, int]:
        """Length of each sequence by its name, in the order of the file."""
        return MappingProxyType(self._lengths)

    def resolve(self, contig: str) -> str | None:
        """The name in this file of a variant's contig; null if the contig is not found."""
        return self._names.resolve(contig)

    def find(self, contig: str) -> str | None:
        """Like :meth:`resolve`, without a message: for contigs that may have no variants."""
        return self._names.find(contig)

    def why_not_found(self, contig: str) -> str:
        """The reason in the table for a contig that :meth:`resolve` does not find."""
        return self._names.why_not_found(contig)

    def is_circular(self, reference_contig: str) -> bool:
        """Whether a sequence is circular."""
        return reference_contig in self._circular

    def fetch(self, reference_contig: str, start: int, end: int) -> str:
        """The bases from ``start`` to ``end``, 0-based and half-open, in upper case.

        On a circular sequence the range may begin before 0 and end after the length.

        Raises:
            ValueError: The range is not within a linear sequence, or ends before it starts.
        """
        number = start // BLOCK_BASES
        offset = start - number * BLOCK_BASES
        block = self._blocks.get((reference_contig, number))
        # The common case first: the whole range is in one block in memory.
        if block is not None and offset <= offset + end - start <= len(block.bases):
            return block.bases[offset : offset + end - start]
        pieces = self._pieces(reference_contig, start, end)
        return "".join(block.bases[first:last] for block, first, last in pieces)

    def count_non_acgt(self, reference_contig: str, start: int, end: int) -> int:
        """Number of bases other than A, C, G and T in a range; same ranges as for `fetch`."""
        return sum(
            block.count_non_acgt(first, last)
            for block, first, last in self._pieces(reference_contig, start, end)
        )

    def refget_accession(self, reference_contig: str) -> str:
        """The GA4GH refget accession of a sequence, ``SQ.`` and 32 characters.

        The first call for a sequence reads all its bases.
        """
        accession = self._accessions.get(reference_contig)
        if accession is None:
            sha512 = hashlib.sha512()
            for block, _, _ in self._pieces(reference_contig, 0, self._lengths[reference_contig]):
                sha512.update(block.bases.encode())
            accession = self._accessions[reference_contig] = refget_accession(sha512)
        return accession

    def seqcol_digest(self) -> str:
        """The GA4GH digest of the sequence collection; see :meth:`read_sequences`.

        Raises:
            InputError: The index belongs to another file, or the file is damaged.
        """
        return digest_sequences(self.read_sequences())

    def read_sequences(self, md5_of: Collection[str] = ()) -> list[FastaSequence]:
        """Digest and composition of each sequence, from one pass over the whole file.

        The pass also checks that the index matches the file.

        Args:
            md5_of: Names of the sequences whose MD5 checksum is computed too.

        Raises:
            InputError: The index belongs to another file, or the file is damaged.
        """
        sequences: list[FastaSequence] = []
        read = read_fasta(self.path, md5_of)
        for sequence, entry in zip_longest(read, self._entries):
            if sequence and entry and _comparable(sequence.entry) == _comparable(entry):
                sequences.append(replace(sequence, entry=entry))  # one entry in memory, not two
                continue
            for _ in read:  # an error in the rest of the file counts more than its index
                pass
            raise InputError(
                f"{shown_path(self.path)}: the index does not match the file, which was changed "
                f"after it was indexed; delete the .fai (and .gzi), and new ones are made."
            )
        return sequences

    def require_same(self, blocks: Iterable[Block]) -> None:
        """Make sure that this is the reference that blocks were made from, as far as it was read.

        All names and lengths are compared, and each block whose bases have been read. So the file
        need not be read again from end to end, and a change of its time means nothing.

        Args:
            blocks: The blocks of all sequences of a reference, in order.

        Raises:
            InputError: A name, a length or a block that was read differs.
        """
        names = iter(self._lengths.items())
        num_compared = 0
        for contig, of_contig in groupby(blocks, attrgetter("reference_contig")):
            end = 0
            for block in of_contig:
                read = self._read.get((contig, block.start))
                num_compared += read is not None
                if read not in (None, block.sha256):
                    raise self._other_sequences()
                end = block.end
            if next(names, None) != (contig, end):
                raise self._other_sequences()
        if next(names, None) is not None or num_compared < len(self._read):
            raise self._other_sequences()

    def blocks_read(self) -> Iterator[Block]:
        """The blocks whose bases have been read, in the order of the file."""
        order = {name: number for number, name in enumerate(self._lengths)}
        for contig, start in sorted(self._read, key=lambda key: (order[key[0]], key[1])):
            end = min(start + BLOCK_BASES, self._lengths[contig])
            yield Block(contig, start, end, self._read[contig, start])

    def _other_sequences(self) -> InputError:
        return InputError(
            f"{shown_path(self.path)} has other sequences than when split read it from end to "
            "end. Put the old file back, or run split again; do not change the file during a run."
        )

    def _pieces(
        self, reference_contig: str, start: int, end: int
    ) -> Iterator[tuple[_Block, int, int]]:
        """The blocks of a range, each with the start and end of the range in the block."""
        length = self._lengths[reference_contig]
        is_circular = reference_contig in self._circular
        if start > end or (not is_circular and not 0 <= start <= end <= length):
            raise ValueError(f"{reference_contig!r} of {length} bases has no range {start}..{end}")
        while start < end:
            position = start % length if is_circular else start
            number, offset = divmod(position, BLOCK_BASES)
            block = self._load(reference_contig, number)
            size = min(end - start, len(block.bases) - offset)
            yield block, offset, offset + size
            start += size

    def _load(self, reference_contig: str, number: int) -> _Block:
        key = (reference_contig, number)
        block = self._blocks.get(key)
        if block is None:
            first = number * BLOCK_BASES
            last = min(first + BLOCK_BASES, self._lengths[reference_contig])
            with _fasta_errors(self.path):
                bases = self._bases.fetch(reference_contig, first, last).upper()
            if len(bases) != last - first:
                raise InputError(
                    f"{shown_path(self.path)}: sequence '{shown(reference_contig)}' is shorter "
                    f"than the index states; delete the index, and a new one is made."
                )
            digest = hashlib.sha256(bases.encode()).digest()
            if self._read.setdefault((reference_contig, first), digest) != digest:
                raise self._other_sequences()
            if len(self._blocks) >= CACHED_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            block = self._blocks[key] = _Block(bases)
        return block


class _Block:
    """A piece of a sequence, with the offsets of its bases other than A, C, G and T."""

    __slots__ = ("_others", "bases")

    def __init__(self, bases: str) -> None:
        self.bases = bases
        is_other = np.frombuffer(bases.encode().translate(_IS_OTHER), dtype=np.bool_)
        self._others = array("i", np.flatnonzero(is_other).astype(np.int32).tobytes())

    def count_non_acgt(self, start: int, end: int) -> int:
        return bisect_left(self._others, end) - bisect_left(self._others, start)


def _find_index(fasta: Path, index_folder: Path | None) -> tuple[Path, Path]:
    """The ``.fai`` and ``.gzi`` of a FASTA, made if they are missing or cannot be read."""
    next_to_fasta = (fasta.with_name(fasta.name + ".fai"), fasta.with_name(fasta.name + ".gzi"))
    compressed = find_compression(fasta) == "bgzip"
    # An index that another user has made may be readable for that user only.
    needed = next_to_fasta if compressed else next_to_fasta[:1]
    if all(file.is_file() and os.access(file, os.R_OK) for file in needed):
        return next_to_fasta
    elsewhere = None
    if index_folder is not None:
        # A changed file, or one of the same name in another folder, gets another index.
        state = fasta.stat()
        key = f"{fasta.resolve()}\0{state.st_size}\0{state.st_mtime_ns}".encode()
        stem = index_folder / hashlib.sha256(key).hexdigest()[:16]
        elsewhere = (stem.with_suffix(".fai"), stem.with_suffix(".gzi"))
        if elsewhere[0].is_file():
            return elsewhere
    for index, blocks in filter(None, (next_to_fasta, elsewhere)):
        try:
            make_index(fasta, index, blocks)
        except OSError as error:
            reason = error.strerror
            continue
        logger.info("made the index %s", shown_path(index))
        return index, blocks
    raise InputError(
        f"{shown_path(fasta)}: has no index, and none can be written next to it: {reason}; make "
        f"one with: samtools faidx FILE"
    )


def _check_size(fasta: Path, entries: Iterable[FastaEntry]) -> None:
    """Make sure that a plain FASTA is as long as its index needs, a quick check of the index."""
    if find_compression(fasta) != "plain":
        return
    needed = 0
    for entry in entries:
        if entry.length:
            lines, rest = divmod(entry.length - 1, max(1, entry.line_bases))
            needed = max(needed, entry.offset + lines * entry.line_width + rest + 1)
    if needed > fasta.stat().st_size:
        raise InputError(
            f"{shown_path(fasta)}: is shorter than its index states; delete the .fai, and a new "
            f"one is made."
        )


@contextmanager
def _fasta_errors(fasta: Path) -> Iterator[None]:
    verbosity = pysam.set_verbosity(0)
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{shown_path(fasta)}: cannot be read: {shown(error, 200)}; the file or its index is "
            f"damaged. Delete the .fai (and .gzi), and new ones are made; else get the file again."
        ) from error
    finally:
        pysam.set_verbosity(verbosity)


def _comparable(entry: FastaEntry) -> tuple[object, ...]:
    """The values that must agree. For a sequence on one line, the line width does not matter."""
    lines = (entry.line_bases, entry.line_width) if entry.length > entry.line_bases else ()
    return (entry.name, entry.length, entry.offset if entry.length else 0, *lines)
