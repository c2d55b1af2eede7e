"""FASTA files read whole: are they what an index can point into, and which sequences are they?"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.io.lines import BGZIP_HEADER_BYTES, find_compression, read_chunks
from evo2_tasks.io.words import shown, shown_path

# What an index counts as a base. Other symbols than letters are rare (gaps), but have a place.
_SYMBOLS = bytes(code for code in range(33, 127) if code != ord(">"))


@dataclass(frozen=True, slots=True)
class FastaEntry:
    """One sequence of a FASTA file, as an index describes it.

    Attributes:
        name: The first word of its header line.
        length: Number of its bases.
        offset: Of its first base in the file, decompressed.
        line_bases: Bases in a full line.
        line_width: Bytes in a full line, its end included.
    """

    name: str
    length: int
    offset: int
    line_bases: int
    line_width: int


@dataclass(frozen=True, slots=True)
class FastaSequence:
    """A sequence as reading the whole file finds it.

    Attributes:
        entry: What an index must say of it.
        digest: Its GA4GH refget digest, ``SQ.`` and 32 characters. Symbols that are no letters,
            which the standard does not provide for, count as they are.
    """

    entry: FastaEntry
    digest: str


def read_fasta(path: Path) -> Iterator[FastaSequence]:
    """Read a FASTA file once, from its first to its last byte, in bounded memory.

    Raises:
        InputError: It is no FASTA, two sequences have one name, or the lines of a sequence are not
            all of one length but the last: no index can describe such a file.
    """
    if find_compression(path) == "gzip":
        raise InputError(
            f"{shown_path(path)}: is compressed with gzip; a FASTA must be plain or compressed "
            f"with bgzip. Make it so with: gunzip FILE.gz, then: bgzip FILE"
        )
    names: set[str] = set()
    for sequence in _scan(path):
        name = sequence.entry.name
        if name in names:
            raise InputError(
                f"{shown_path(path)}: several sequences are named '{shown(name)}'; rename or "
                f"remove them."
            )
        names.add(name)
        yield sequence
    if not names:
        raise InputError(f"{shown_path(path)}: no sequences, expected FASTA.")


def read_index(path: Path, fasta: Path) -> list[FastaEntry]:
    """Read a ``.fai`` index.

    Raises:
        InputError: It is none, or names a sequence twice.
    """
    entries = []
    lines = b"".join(read_chunks(path)).split(b"\n")
    for number, line in enumerate(filter(None, lines), start=1):
        cells = line.rstrip(b"\r").split(b"\t")
        if len(cells) < 5 or not all(cell.isdigit() for cell in cells[1:5]):
            raise InputError(
                f"{shown_path(path)}: line {number}: this is no index of a FASTA; delete it, and "
                f"it is made anew."
            )
        name = _decode_name(cells[0], path)
        entries.append(FastaEntry(name, *map(int, cells[1:5])))
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(
            f"{shown_path(fasta)}: several sequences are named '{shown(twice)}'; rename or remove "
            f"them."
        )
    return entries


def make_index(fasta: Path, index: Path, blocks: Path) -> None:
    """Check a FASTA and write its ``.fai``, and for bgzip its ``.gzi``, whole or not at all.

    Args:
        fasta: The sequences.
        index: Where the ``.fai`` goes.
        blocks: Where the ``.gzi`` goes.

    Raises:
        OSError: The folder cannot be written to.
    """
    index.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".index-", dir=index.parent) as folder:
        new_index, new_blocks = Path(folder, "fai"), Path(folder, "gzi")
        with new_index.open("w", encoding="utf-8", newline="\n") as file:
            for sequence in read_fasta(fasta):
                file.write("\t".join(map(str, astuple(sequence.entry))) + "\n")
        if find_compression(fasta) == "bgzip":
            starts = _block_starts(fasta)
            new_blocks.write_bytes(
                struct.pack(f"<Q{2 * len(starts)}Q", len(starts), *chain(*starts))
            )
            new_blocks.replace(blocks)
        new_index.replace(index)  # last, since it says that the index is there


def _block_starts(path: Path) -> list[tuple[int, int]]:
    """Where each block of a bgzip file but the first begins, compressed and decompressed."""
    starts = []
    start = num_bases = 0
    with path.open("rb") as handle:
        while header := handle.read(BGZIP_HEADER_BYTES):
            size = int.from_bytes(header[16:18], "little") + 1
            handle.seek(start + size - 4)
            num_bases += int.from_bytes(handle.read(4), "little")
            start += size
            starts.append((start, num_bases))
    return starts[:-2]  # the last ones are the empty end block and the end of the file


def digest_collection(names: Sequence[str], digests: Sequence[str]) -> str:
    """The GA4GH digest of a sequence collection: of its names and of its sequences, in order.

    Args:
        names: Of the sequences.
        digests: Their refget digests, ``SQ.`` included.

    Source:
        GA4GH refget sequence collections v1.0.0, level 0 with the inherent attributes of its
        schema (``lengths`` is none: sequences of other lengths have other digests).
    """
    level_1 = {
        "names": _digest(_canonical(list(names))),
        "sequences": _digest(_canonical(list(digests))),
    }
    return _digest(_canonical(level_1))


def _canonical(value: object) -> bytes:
    """JSON by RFC 8785, for lists and dicts of strings."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return _encode_digest(hashlib.sha512(data).digest())


def _encode_digest(sha512: bytes) -> str:
    """GA4GH's sha512t24u: the first 24 bytes in the URL-safe base64 alphabet."""
    return base64.urlsafe_b64encode(sha512[:24]).decode()


def _decode_name(raw: bytes, path: Path) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown_path(path)}: the name '{shown(raw.decode('latin-1'))}' of a sequence is no "
            f"UTF-8."
        ) from error
    if not name:
        raise InputError(f"{shown_path(path)}: a sequence has no name.")
    return name


def _scan(path: Path) -> Iterator[FastaSequence]:
    current: _Sequence | None = None
    header: bytes | None = None  # what has been read of a header line that has not ended
    at_line_start = True
    line_number = 1
    chunk_offset = 0
    for chunk in read_chunks(path):
        start = 0
        while start < len(chunk):
            if header is not None:
                end = chunk.find(b"\n", start) + 1 or len(chunk)
                header += chunk[start:end]
                if header.endswith(b"\n"):
                    name = _header_name(header, path)
                    current = _Sequence(path, name, chunk_offset + end, line_number + 1)
                    header = None
            elif at_line_start and chunk.startswith(b">", start):
                if current is not None:
                    yield current.finish()
                header, end = b"", start
            else:
                end = chunk.find(b"\n>", start) + 1 or len(chunk)
                piece = chunk[start:end]
                if current is not None:
                    current.add(piece)
                elif piece.strip():
                    raise InputError(
                        f"{shown_path(path)}: line {line_number}: no FASTA; expected a line that "
                        f"begins with '>'."
                    )
            line_number += chunk.count(b"\n", start, end)
            at_line_start = end == start or chunk[end - 1 : end] == b"\n"
            start = end
        chunk_offset += len(chunk)
    if header is not None:
        current = _Sequence(path, _header_name(header, path), chunk_offset, line_number)
    if current is not None:
        yield current.finish()


def _header_name(header: bytes, path: Path) -> str:
    """The name in a header line: what stands between ">" and the first space."""
    return _decode_name(header[1:].split()[0] if header[1:2].strip() else b"", path)


class _Sequence:
    """What is known of a sequence while its lines are read piece by piece."""

    def __init__(self, path: Path, name: str, offset: int, first_line: int) -> None:
        self._path = path
        self._name = name
        self._offset = offset
        self._first_line = first_line
        self._held = b""  # white space that is inside the sequence only if more bases follow
        self._num_bytes = 0
        self._length = 0
        self._width = 0
        self._end_width = 1
        self._sha512 = hashlib.sha512()

    def add(self, piece: bytes) -> None:
        piece = self._held + piece
        body = piece.rstrip(b" \t\r\n")
        self._held = piece[len(body) :]
        if not body:
            return
        if not self._width:
            first_end = body.find(b"\n")
            if first_end >= 0:
                self._width = self._num_bytes + first_end + 1
                self._end_width = 2 if body[first_end - 1 : first_end] == b"\r" else 1
        if self._width:
            self._check_ends(body, b"\n", self._width - 1)
            if self._end_width == 2:
                self._check_ends(body, b"\r", self._width - 2)
        bases = body.translate(None, b"\r\n" if self._end_width == 2 else b"\n")
        if wrong := bases.translate(None, _SYMBOLS):
            raise InputError(
                f"{shown_path(self._path)}: sequence '{shown(self._name)}', which begins in line "
                f"{self._first_line}, holds {chr(wrong[0])!r}; expected letters only."
            )
        self._sha512.update(bases.upper())
        self._length += len(bases)
        self._num_bytes += len(body)

    def finish(self) -> FastaSequence:
        """What has been found, after the last line."""
        # A sequence on one line has the width of that line, whether or not the line has an end.
        width = self._width or self._length + 1
        bases = width - self._end_width
        entry = FastaEntry(self._name, self._length, self._offset, bases, width)
        return FastaSequence(entry, "SQ." + _encode_digest(self._sha512.digest()))

    def _check_ends(self, body: bytes, end: bytes, place: int) -> None:
        """Line ends must stand in each line's last place, and nowhere else."""
        first = (place - self._num_bytes) % self._width
        places = body[first :: self._width]
        if places == end * len(places) and body.count(end) == len(places):
            return
        missing = first + self._width * (len(places) - len(places.lstrip(end)))
        extra = next(
            (
                i
                for i in range(len(body))
                if body[i : i + 1] == end and (self._num_bytes + i) % self._width != place
            ),
            len(body),
        )
        line = self._first_line + (self._num_bytes + min(missing, extra)) // self._width
        raise InputError(
            f"{shown_path(self._path)}: line {line}: the lines of sequence '{shown(self._name)}' "
            f"are not all of one length, so it cannot be indexed; wrap them anew, for example "
            f"with: seqkit seq -w 60"
        )
