"""Reading FASTA files from end to end: checking them, indexing them, digests of sequences."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import sys
import tempfile
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.genome.blocks import Block, BlockDigests, list_blocks
from evo2_tasks.io.bgzip import HEADER_BYTES, find_compression
from evo2_tasks.io.lines import read_chunks, read_lines
from evo2_tasks.io.words import shown, shown_path

MAX_SEQUENCES = 1_500_000
"""Most sequences of a reference. With these, every step stays within its memory."""

MAX_NAME_BYTES = 1 << 16
MAX_BLANK_BYTES = 1 << 24
MAX_BGZIP_BLOCKS = 1 << 24
"""Most blocks of a bgzip file: 300 GB or more of real ones."""

# The characters that an index counts as bases: letters, and rare symbols such as those of gaps.
_RETURN = b"\r"
_UNEQUAL_ENDS = " Some lines end with \\r\\n and others do not; convert with: tr -s '\\r' '\\n'"
_LONE_RETURN = re.compile(rb"\r(?![\r\n])")
_SYMBOLS = bytes(code for code in range(33, 127) if code != ord(">"))


@dataclass(frozen=True, slots=True)
class FastaEntry:
    """One sequence of a FASTA file, as its line in an index describes it.

    Attributes:
        name: The first word of the header line.
        length: Number of bases.
        offset: Offset of the first base in the decompressed file, bytes.
        line_bases: Number of bases in a full line.
        line_width: Length of a full line with its line end, bytes.
    """

    name: str
    length: int
    offset: int
    line_bases: int
    line_width: int


@dataclass(slots=True)
class LetterCounts:
    """How many letters of some kinds a sequence has, upper and lower case together.

    Attributes:
        acgt: A, C, G and T.
        n: N.
        t: T.
        u: U.
        other: All others.
    """

    acgt: int = 0
    n: int = 0
    t: int = 0
    u: int = 0
    other: int = 0

    def add(self, bases: bytes) -> None:
        """Count some upper-case bases."""
        rest = bases.translate(None, b"ACGT")
        num_n, num_u = rest.count(b"N"), rest.count(b"U")
        self.acgt += len(bases) - len(rest)
        self.t += bases.count(b"T")
        self.n += num_n
        self.u += num_u
        self.other += len(rest) - num_n - num_u


@dataclass(frozen=True, slots=True)
class FastaSequence:
    """A sequence of a FASTA file that was read from end to end.

    Attributes:
        entry: The correct index entry of the sequence.
        digest: GA4GH refget digest of the sequence, ``SQ.`` and 32 characters. The standard allows
            letters only; other symbols are digested as they are.
        letters: What it consists of.
        md5: MD5 checksum of the sequence in upper case, as in SAM and VCF headers; None if it was
            not asked for.
        block_digests: SHA-256 of each block, one after the other.
    """

    entry: FastaEntry
    digest: str
    letters: LetterCounts
    md5: str | None
    block_digests: bytes

    @property
    def blocks(self) -> Iterator[Block]:
        """The blocks of the sequence, in order."""
        return list_blocks(self.entry.name, self.entry.length, self.block_digests)


def read_fasta(path: Path, md5_of: Collection[str] = ()) -> Iterator[FastaSequence]:
    """Read a whole FASTA file once, in bounded memory.

    Args:
        path: The file.
        md5_of: Names of the sequences whose MD5 checksum is computed too.

    Raises:
        InputError: The file is not FASTA, two sequences have the same name, or the lines of a
            sequence (except the last) differ in length. No index can describe such a file.
    """
    if find_compression(path) == "gzip":
        raise InputError(
            f"{shown_path(path)}: is compressed with gzip; a FASTA must be plain or compressed "
            f"with bgzip. Convert it with: gunzip FILE.gz, then: bgzip FILE"
        )
    names: set[str] = set()
    for sequence in _scan(path, md5_of):
        name = sequence.entry.name
        if name in names:
            raise InputError(
                f"{shown_path(path)}: several sequences are named '{shown(name)}'; rename or "
                f"remove all but one."
            )
        names.add(name)
        require_few_sequences(len(names), path)
        yield sequence
    if not names:
        raise InputError(f"{shown_path(path)}: the file has no sequences; expected FASTA.")


def read_index(path: Path, fasta: Path) -> list[FastaEntry]:
    """Read a ``.fai`` index.

    Raises:
        InputError: The file is not an index, or two sequences have the same name.
    """
    entries = []
    lines = read_lines(path, max_line_bytes=2 * MAX_NAME_BYTES)
    for number, line in enumerate(filter(None, lines), start=1):
        require_few_sequences(number, fasta)
        cells = line.split(b"\t")
        if len(cells) < 5 or not all(cell.isdigit() and len(cell) < 20 for cell in cells[1:5]):
            raise InputError(
                f"{shown_path(path)}: line {number}: this is not an index of a FASTA; delete it, "
                f"and a new one is made."
            )
        name = _decode_name(cells[0], path)
        entries.append(FastaEntry(name, *map(int, cells[1:5])))
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        twice = next(name for name, number in Counter(names).items() if number > 1)
        raise InputError(
            f"{shown_path(fasta)}: several sequences are named '{shown(twice)}'; rename or remove "
            f"all but one."
        )
    return entries


def require_few_sequences(number: int, fasta: Path) -> None:
    """Make sure that a FASTA has not more sequences than fit into memory.

    Raises:
        InputError: It has more than ``MAX_SEQUENCES``.
    """
    if number > MAX_SEQUENCES:
        raise InputError(
            f"{shown_path(fasta)}: has more than {MAX_SEQUENCES:,} sequences. Keep those that have "
            f"variants: samtools faidx FILE --region-file NAMES > NEW.fa"
        )


def make_index(fasta: Path, index: Path, blocks: Path) -> None:
    """Check a FASTA and write its ``.fai``, and for bgzip its ``.gzi``.

    Each of the two files is written completely or not at all.

    Args:
        fasta: The sequences.
        index: Path of the ``.fai`` to write.
        blocks: Path of the ``.gzi`` to write.

    Raises:
        InputError: The FASTA cannot be indexed.
        OSError: The folder cannot be written to.
    """
    index.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".index-", dir=index.parent) as folder:
        new_index, new_blocks = Path(folder, "fai"), Path(folder, "gzi")
        with new_index.open("w", encoding="utf-8", newline="\n") as file:
            for sequence in read_fasta(fasta):
                entry = sequence.entry
                numbers = (entry.length, entry.offset, entry.line_bases, entry.line_width)
                file.write("\t".join([entry.name, *map(str, numbers)]) + "\n")
        if find_compression(fasta) == "bgzip":
            starts = _block_starts(fasta)
            with new_blocks.open("wb") as file_of_blocks:
                file_of_blocks.write(struct.pack("<Q", len(starts) // 2))
                file_of_blocks.write(starts)
            new_blocks.replace(blocks)
        new_index.replace(index)  # last: once the .fai exists, the index counts as complete


def _block_starts(path: Path) -> array[int]:
    """Start of each block of a bgzip file but the first: in the file, and decompressed, bytes.

    Raises:
        InputError: There are more blocks than ``MAX_BGZIP_BLOCKS``.
    """
    starts = array("Q")
    start = num_bases = 0
    with path.open("rb") as handle:
        while header := handle.read(HEADER_BYTES):
            size = int.from_bytes(header[16:18], "little") + 1
            handle.seek(start + size - 4)
            num_bases += int.from_bytes(handle.read(4), "little")
            start += size
            starts.extend((start, num_bases))
            if len(starts) > 2 * MAX_BGZIP_BLOCKS:
                raise InputError(
                    f"{shown_path(path)}: has more than {MAX_BGZIP_BLOCKS:,} blocks of bgzip. "
                    f"Compress the file again: bgzip -dc FILE | bgzip > NEW.fa.gz"
                )
    if sys.byteorder == "big":
        starts.byteswap()
    return starts[:-4]  # the last two are the empty end block and the end of the file


def digest_sequences(sequences: Sequence[FastaSequence]) -> str:
    """The GA4GH digest of the collection of all sequences of a FASTA, in order."""
    names = [sequence.entry.name for sequence in sequences]
    return digest_collection(names, [sequence.digest for sequence in sequences])


def digest_collection(names: Sequence[str], digests: Sequence[str]) -> str:
    """The GA4GH digest of a sequence collection, from its names and sequences in order.

    Args:
        names: Names of the sequences.
        digests: Refget digests of the sequences, with ``SQ.``.

    Source:
        GA4GH refget sequence collections v1.0.0, level 0 with the inherent attributes of its
        schema. ``lengths`` is not an inherent attribute: sequences of different lengths have
        different digests anyway.
    """
    level_1 = {
        "names": sha512t24u(_canonical(list(names))),
        "sequences": sha512t24u(_canonical(list(digests))),
    }
    return sha512t24u(_canonical(level_1))


def refget_accession(sha512: hashlib._Hash) -> str:
    """The GA4GH refget accession of a sequence, ``SQ.`` and 32 characters.

    Args:
        sha512: The hash, after all bases of the sequence in upper case.
    """
    return "SQ." + _encode_digest(sha512.digest())


def sha512t24u(data: bytes) -> str:
    """The GA4GH digest of some data, 32 characters."""
    return _encode_digest(hashlib.sha512(data).digest())


def _encode_digest(sha512: bytes) -> str:
    """The first 24 bytes in the URL-safe base64 alphabet."""
    return base64.urlsafe_b64encode(sha512[:24]).decode()


def _canonical(value: object) -> bytes:
    """Canonical JSON (RFC 8785) of lists and dicts of strings."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()


def _decode_name(raw: bytes, path: Path) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown_path(path)}: the sequence name '{shown(raw.decode('latin-1'))}' is not "
            f"UTF-8; rename the sequence."
        ) from error
    if not name:
        raise InputError(
            f"{shown_path(path)}: a sequence has no name; expected one right after '>'."
        )
    return name


def _scan(path: Path, md5_of: Collection[str]) -> Iterator[FastaSequence]:
    current: _Sequence | None = None
    header: bytes | None = None  # the start of a header line whose end has not been read yet
    held = b""  # a return at the end of the last piece of that line
    at_line_start = True
    line_number = 1
    chunk_offset = 0
    for chunk in read_chunks(path):
        start = 0
        while start < len(chunk):
            if header is not None:
                end = chunk.find(b"\n", start) + 1 or len(chunk)
                piece = chunk[start:end]
                is_whole = piece.endswith(b"\n")
                _require_line_feeds(held + piece, line_number, path, is_whole=is_whole)
                held = b"\r" if piece.endswith(b"\r") else b""
                # What follows the name may be of any length; the name is one byte after the ">".
                header += piece[: max(0, MAX_NAME_BYTES + 2 - len(header))]
                if is_whole:
                    name = _header_name(header, path)
                    first = chunk_offset + end
                    current = _Sequence(path, name, first, line_number + 1, name in md5_of)
                    header = None
            elif at_line_start and chunk.startswith(b">", start):
                if current is not None:
                    yield current.finish()
                header, held, end = b"", b"", start
            else:
                end = chunk.find(b"\n>", start) + 1 or len(chunk)
                piece = chunk[start:end]
                if current is not None:
                    current.add(piece)
                elif piece.strip():
                    _require_line_feeds(piece, line_number, path)
                    raise InputError(
                        f"{shown_path(path)}: line {line_number}: this is not FASTA; expected a "
                        f"line that begins with '>'."
                    )
            line_number += chunk.count(b"\n", start, end)
            at_line_start = end == start or chunk[end - 1 : end] == b"\n"
            start = end
        chunk_offset += len(chunk)
    if header is not None:
        _require_line_feeds(held, line_number, path)
        name = _header_name(header, path)
        current = _Sequence(path, name, chunk_offset, line_number, name in md5_of)
    if current is not None:
        yield current.finish()


def _require_line_feeds(text: bytes, line: int, path: Path, *, is_whole: bool = True) -> None:
    r"""Make sure that each ``\r`` is followed by ``\n``; an index cannot describe other line ends.

    Args:
        text: A piece of the file.
        line: Number of the line in which it begins.
        path: The file, for messages.
        is_whole: Whether the text does not go on with the next piece.
    """
    if b"\r" not in text:
        return
    found = _LONE_RETURN.search(text if is_whole else text.rstrip(b"\r"))
    if found is not None:
        number = text.count(b"\n", 0, found.start())
        raise InputError(
            f"{shown_path(path)}: line {line + number}: a carriage return without a line "
            f"feed; expected lines that end with a line feed. Convert the file, for "
            f"example with: tr -s '\\r' '\\n' < FILE > NEW.fa"
        )


def _header_name(header: bytes, path: Path) -> str:
    """The name in a header line: the text between ">" and the first white space."""
    name = header[1:].split(None, 1)[0] if header[1:2].strip() else b""
    if len(name) > MAX_NAME_BYTES:
        raise InputError(
            f"{shown_path(path)}: a sequence name has more than {MAX_NAME_BYTES:,} bytes, and "
            f"begins with '{shown(name[:40].decode('latin-1'))}'; rename the sequence."
        )
    return _decode_name(name, path)


class _Sequence:
    """A sequence while its lines are read piece by piece."""

    def __init__(
        self, path: Path, name: str, offset: int, first_line: int, needs_md5: bool
    ) -> None:
        self._path = path
        self._name = name
        self._offset = offset
        self._first_line = first_line
        self._held = b""  # trailing white space; part of the sequence only if more bases follow
        self._num_bytes = 0
        self._length = 0
        self._width = 0
        self._end_width = 1
        self._sha512 = hashlib.sha512()
        self._md5 = hashlib.md5(usedforsecurity=False) if needs_md5 else None
        self._blocks = BlockDigests()
        self._letters = LetterCounts()

    def add(self, piece: bytes) -> None:
        piece = self._held + piece
        body = piece.rstrip(b" \t\r\n")
        self._held = piece[len(body) :]
        if len(self._held) > MAX_BLANK_BYTES:
            raise InputError(
                f"{shown_path(self._path)}: sequence '{shown(self._name)}' has more than "
                f"{MAX_BLANK_BYTES:,} blanks or empty lines in a row; remove them."
            )
        if not body:
            return
        num_lines = self._num_bytes // self._width if self._width else 0
        _require_line_feeds(body, self._first_line + num_lines, self._path)
        if not self._width:
            first_end = body.find(b"\n")
            if first_end >= 0:
                self._width = self._num_bytes + first_end + 1
                self._end_width = (
                    self._width - self._num_bytes - len(body[:first_end].rstrip(b"\r"))
                )
        if self._width:
            self._check_ends(body, b"\n", range(self._width - 1, self._width))
            if self._end_width > 1:
                self._check_ends(body, b"\r", range(self._width - self._end_width, self._width - 1))
        bases = body.translate(None, b"\r\n" if self._end_width > 1 else b"\n")
        if wrong := bases.translate(None, _SYMBOLS):
            raise InputError(
                f"{shown_path(self._path)}: sequence '{shown(self._name)}', which begins in line "
                f"{self._first_line}, contains {chr(wrong[0])!r}; expected letters only."
                f"{_UNEQUAL_ENDS if wrong.startswith(_RETURN) else ''}"
            )
        bases = bases.upper()
        self._sha512.update(bases)
        if self._md5 is not None:
            self._md5.update(bases)
        self._letters.add(bases)
        self._blocks.add(bases)
        self._length += len(bases)
        self._num_bytes += len(body)

    def finish(self) -> FastaSequence:
        """The sequence with its index entry and its digest, after the last line."""
        # A sequence on one line: the line is the full width, even if the file ends without "\n".
        width = self._width or self._length + 1
        bases = width - self._end_width
        entry = FastaEntry(self._name, self._length, self._offset, bases, width)
        digest = refget_accession(self._sha512)
        md5 = None if self._md5 is None else self._md5.hexdigest()
        return FastaSequence(entry, digest, self._letters, md5, self._blocks.finish())

    def _check_ends(self, body: bytes, end: bytes, places: range) -> None:
        """Make sure that the lines of the sequence have this byte at these places, and only there.

        Args:
            body: A piece of the sequence.
            end: A byte of a line end.
            places: Offsets in a line.
        """
        first_wrong, num_expected = len(body), 0
        for place in places:
            first = (place - self._num_bytes) % self._width
            found = body[first :: self._width]
            num_expected += len(found)
            if found != end * len(found):
                num_right = len(found) - len(found.lstrip(end))
                first_wrong = min(first_wrong, first + self._width * num_right)
        if first_wrong == len(body) and body.count(end) == num_expected:
            return
        extra = next(
            (
                i
                for i in range(len(body))
                if body[i : i + 1] == end and (self._num_bytes + i) % self._width not in places
            ),
            len(body),
        )
        line = self._first_line + (self._num_bytes + min(first_wrong, extra)) // self._width
        raise InputError(
            f"{shown_path(self._path)}: line {line}: the lines of sequence '{shown(self._name)}' "
            f"are not all of one length, so it cannot be indexed; wrap them to one length, for "
            f"example with: seqkit seq -w 60"
        )
