"""The records of a FASTA file as sequences of their own, one after the other, in bounded memory.

A reference is read by :mod:`evo2_tasks.genome.fasta`, which indexes it. Here the records are what
is scored. So two may have one name, lines may be of any length, and a record that cannot be scored
is a record too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters
from typing import Final

from evo2_tasks.errors import InputError
from evo2_tasks.io.lines import decode, drop_mark, read_chunks
from evo2_tasks.io.words import shown_path

MAX_NAME_BYTES: Final = 1 << 16
"""Longest name of a record; the rest of a longer one is left out."""

_BLANKS: Final = b" \t\n\v\f"
_LETTERS: Final = ascii_letters.encode()

_OTHER_FORMATS: Final = (
    (b"@", "It looks like FASTQ; convert it, for example with: seqkit fq2fa FILE"),
    (b"LOCUS ", "It looks like GenBank; convert it, for example with: any2fasta FILE"),
    (b"ID   ", "It looks like EMBL; convert it, for example with: any2fasta FILE"),
    (b"##", "It looks like a VCF or a GFF"),
    (b";", "Lines that begin with ';' are no part of FASTA; remove them: grep -v '^;' FILE"),
    (b"PAR1", "It is a Parquet file"),
    (b"BAM\x01", "It is a BAM; convert it with: samtools fasta FILE"),
    (b"\xff\xfe", "It is a text in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "It is a text in UTF-16; save it as UTF-8"),
)
"""How files of other formats begin, and what to do with them."""


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """A record of a FASTA file.

    Attributes:
        record: Number of the record in the file, 0-based.
        name: The first word of its header line; None if the line has none.
        length: Number of its characters without blanks and line ends.
        bases: These characters in upper case; None if there are more than asked for.
        num_other: How many of them are not A, C, G or T.
        is_text: Whether all of them are letters.
        is_rna: Whether more of them are U than T.
        has_whole_name: Whether the name is not longer than ``MAX_NAME_BYTES``.
    """

    record: int
    name: str | None
    length: int
    bases: bytes | None
    num_other: int
    is_text: bool
    is_rna: bool
    has_whole_name: bool


def read_sequences(path: Path, max_length: int) -> Iterator[SequenceRecord]:
    r"""Read the records of a FASTA, plain, gzipped or bgzipped, in their order.

    Lines end with ``\n``, ``\r\n`` or ``\r``. Blanks and empty lines within a sequence do not
    count. Memory does not grow with the number of records, nor with a sequence above
    ``max_length``.

    Args:
        path: The file.
        max_length: Longest sequence whose bases are kept.

    Yields:
        The records. A file without any has none.

    Raises:
        InputError: The file cannot be read, its compressed data are damaged, or something precedes
            the first record.
    """
    number = 0
    current: _Record | None = None
    held = b"\n"  # a line end whose next byte is not read yet; the file begins as if after one
    is_first = True
    for chunk in read_chunks(path):
        if is_first:
            chunk = drop_mark(chunk)
            is_first = False
        text = held + chunk.replace(b"\r", b"\n")
        held = b"\n" if text.endswith(b"\n") else b""
        rest, *begun = text.removesuffix(b"\n").split(b"\n>")
        if current is not None:
            current.add(rest)
        elif rest.strip():
            raise _describe_start(path, rest.strip())
        for piece in begun:
            if current is not None:
                yield current.finish(number)
                number += 1
            current = _Record(max_length)
            current.add(piece)
    if current is not None:
        yield current.finish(number)


def _describe_start(path: Path, start: bytes) -> InputError:
    """The error about a file that does not begin as FASTA does."""
    hint = next((f" {what}." for begins, what in _OTHER_FORMATS if start.startswith(begins)), "")
    return InputError(
        f"{shown_path(path)}: this is not FASTA; expected a first line that begins with '>' and "
        f"has the name of a sequence.{hint}"
    )


class _Record:
    """A record while its pieces are read."""

    __slots__ = ("_header", "_in_header", "_length", "_max_length", "_num_other", "_num_t",
                 "_num_u", "_odd", "_pieces")  # fmt: skip

    def __init__(self, max_length: int) -> None:
        self._max_length = max_length
        self._header = b""
        self._in_header = True
        self._pieces: list[bytes] = []
        self._length = self._num_other = self._num_t = self._num_u = 0
        self._odd = False

    def add(self, piece: bytes) -> None:
        """Add the next piece of the record: of its header line, of its bases, or of both."""
        if self._in_header:
            header, end, piece = piece.partition(b"\n")
            # What follows the name may be of any length.
            self._header += header[: MAX_NAME_BYTES + 2 - len(self._header)]
            self._in_header = not end
        bases = piece.translate(None, _BLANKS).upper()
        if not bases:
            return
        self._length += len(bases)
        if self._length <= self._max_length:
            self._pieces.append(bases)
        else:
            self._pieces.clear()
        self._num_t += bases.count(b"T")
        other = bases.translate(None, b"ACGT")
        if other:
            self._num_other += len(other)
            self._num_u += other.count(b"U")
            self._odd = self._odd or bool(other.translate(None, _LETTERS))

    def finish(self, number: int) -> SequenceRecord:
        """The whole record.

        Args:
            number: Its number in the file, 0-based.
        """
        words = self._header.split(None, 1)
        name = words[0] if words else b""
        return SequenceRecord(
            record=number,
            name=decode(name[:MAX_NAME_BYTES]) or None,
            length=self._length,
            bases=b"".join(self._pieces) if self._length <= self._max_length else None,
            num_other=self._num_other,
            is_text=not self._odd,
            is_rna=self._num_u > self._num_t,
            has_whole_name=len(name) <= MAX_NAME_BYTES,
        )
