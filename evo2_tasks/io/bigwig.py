"""Writing bigWig files, which genome browsers read.

pybigtools writes them, and most of its errors are no exceptions: it prints a line and returns, and
the file is broken. So all input is checked here first, and the finished file is read again.
"""

from __future__ import annotations

import os
import struct
import sys
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

import pybigtools

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.io.words import first_line, shown, shown_path

MOST_BASES: Final = 2**32 - 2**24
"""Longest contig. The format has positions of 32 bits, and pybigtools 0.3.0 never ends if a value
is at one of the last of them."""

MOST_VALUE: Final = float.fromhex("0x1.fffffep127")
"""Largest value, because the format has floating-point numbers of 32 bits."""

ENDINGS: Final = (".bw", ".bigwig")
"""Endings of the name of a bigWig file, without regard to case."""

Run = tuple[str, int, int, float]
"""Contig, start and end (0-based, half-open) of consecutive bases with one value."""

_BUFFERED: Final = 65_536
_PROBE_BYTES: Final = 2**20
_STDERR: Final = 2


def write_bigwig(out: Path, lengths: Mapping[str, int], runs: Iterable[Run]) -> int:
    """Write a bigWig file.

    The file appears when it is complete and has been read again. Without any run, it is a bigWig
    with all contigs and no values; else pybigtools lists the contigs that have values.

    Args:
        out: The file to write. Its name ends in ``.bw`` or ``.bigWig``.
        lengths: Length of each contig, in bases.
        runs: Values by position. The runs of a contig are consecutive and sorted, and no two of
            them overlap. The values are stored in 32 bits.

    Returns:
        Number of runs.

    Raises:
        InputError: The file cannot be written, a contig is too long or its name cannot be stored,
            or a run is out of order, outside its contig, or has a value that is not finite.
    """
    if out.suffix.lower() not in ENDINGS:
        raise InputError(f"{shown_path(out)}: the name of a bigWig file has to end in .bw.")
    for contig, length in lengths.items():
        _require_contig(out, contig, length)
    checked = _CheckedRuns(out, lengths)
    with replace_atomically(out) as temporary:
        source = iter(runs)
        first = next(source, None)
        if first is None:
            with writing(out):
                temporary.write_bytes(_make_empty())
            return 0
        with tempfile.TemporaryFile() as printed:
            with _stderr_to(printed):
                said = _write_runs(temporary, checked, chain([first], source))
                if not said and checked.error is None:
                    said = _find_difference(temporary, checked)
            if checked.error is not None:
                raise checked.error
            if said:
                _require_space(out, temporary)
                raise InputError(f"{shown_path(out)}: cannot be written: pybigtools: {said}.")
            printed.seek(0)  # what our own code has logged meanwhile
            sys.stderr.write(printed.read().decode(errors="backslashreplace"))
    return checked.num_runs


def _require_contig(out: Path, contig: str, length: int) -> None:
    try:
        name = contig.encode()
    except UnicodeEncodeError:
        name = b"\0"
    if not name or b"\0" in name:
        raise InputError(
            f"{shown_path(out)}: a bigWig file cannot have a contig with the name "
            f"'{shown(contig)}'. Rename the contig in the reference."
        )
    if not 0 < length <= MOST_BASES:
        raise InputError(
            f"{shown_path(out)}: contig {shown(contig)} has {length:,} bases; a contig of a bigWig "
            f"file has 1 to {MOST_BASES:,}. Export another format."
        )


class _Fingerprint:
    """A digest of runs, with the values as 32-bit numbers."""

    def __init__(self) -> None:
        self.starts, self.ends, self.values = array("Q"), array("Q"), array("f")
        self._hash = blake2b()

    def add(self, start: int, end: int, value: float) -> None:
        """Add a run."""
        self.starts.append(start)
        self.ends.append(end)
        self.values.append(value)
        if len(self.starts) == _BUFFERED:
            self._flush()

    def _flush(self) -> None:
        for column in (self.starts, self.ends, self.values):
            self._hash.update(column)
            del column[:]

    def digest(self) -> bytes:
        """The digest of all runs so far."""
        self._flush()
        return self._hash.digest()


@dataclass(slots=True)
class _CheckedRuns:
    """Runs as pybigtools may get them, and a digest for each contig.

    Attributes:
        out: The file, for messages.
        lengths: Length of each contig.
        digests: Digest of the runs of each contig that had any.
        num_runs: Number of runs.
        covered: Number of bases that have a value.
        error: What ended the runs; pybigtools would print it and go on.
    """

    out: Path
    lengths: Mapping[str, int]
    digests: dict[str, bytes] = field(default_factory=dict)
    num_runs: int = 0
    covered: int = 0
    error: BaseException | None = None

    def pass_on(self, runs: Iterable[Run]) -> Iterator[Run]:
        """Check the runs one by one; the first error ends them."""
        try:
            yield from self._check(runs)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error

    def _check(self, runs: Iterable[Run]) -> Iterator[Run]:
        current, last_end, length = "", 0, 0
        fingerprint = _Fingerprint()
        for contig, start, end, value in runs:
            if contig != current or not self.num_runs:
                if self.num_runs:
                    self.digests[current] = fingerprint.digest()
                if contig in self.digests:
                    raise self._error(contig, start, "comes after values of another contig")
                if contig not in self.lengths:
                    raise self._error(contig, start, "is on a contig without a length")
                current, last_end, length = contig, 0, self.lengths[contig]
                fingerprint = _Fingerprint()
            if not last_end <= start < end <= length:
                raise self._error(contig, start, _why_not(last_end, start, end, length))
            if not -MOST_VALUE <= value <= MOST_VALUE:
                raise self._error(contig, start, f"is {value}, expected a finite number of 32 bits")
            last_end = end
            self.num_runs += 1
            self.covered += end - start
            fingerprint.add(start, end, value)
            yield contig, start, end, value
        if self.num_runs:
            self.digests[current] = fingerprint.digest()

    def _error(self, contig: str, start: int, reason: str) -> InputError:
        return InputError(
            f"{shown_path(self.out)}: cannot be written: the value at {shown(contig)}:{start + 1:,}"
            f" {reason}."
        )


def _why_not(last_end: int, start: int, end: int, length: int) -> str:
    if start >= end:
        return f"has no bases (start {start:,}, end {end:,})"
    if start < 0 or end > length:
        return f"is outside the contig of {length:,} bases (start {start:,}, end {end:,})"
    return f"is not after the previous value, which ends at {last_end:,}"


@contextmanager
def _stderr_to(file: BinaryIO) -> Iterator[None]:
    """Redirect standard error, also that of libraries in other languages."""
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    os.dup2(file.fileno(), _STDERR)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, _STDERR)
        os.close(kept)


def _write_runs(temporary: Path, checked: _CheckedRuns, runs: Iterable[Run]) -> str:
    """Write runs with pybigtools.

    Returns:
        The error that it raised; empty if it raised none, which does not mean that it could write.
    """
    try:
        writer = pybigtools.open(str(temporary), "w")
        writer.write(dict(checked.lengths), checked.pass_on(runs))
    except BaseException as error:
        return _describe(error)
    return ""


def _describe(error: BaseException) -> str:
    """What went wrong in pybigtools; an error of another kind is raised again.

    A panic, which a full disk or a damaged file causes, is no ``Exception``.
    """
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    return first_line(error).rstrip(".")


def _find_difference(temporary: Path, checked: _CheckedRuns) -> str:
    """Read a file again, and compare it with what was to be written.

    Returns:
        What is different; empty if nothing is.
    """
    try:
        with pybigtools.open(str(temporary)) as reader:
            found: dict[str, int] = reader.chroms()
            if found != {contig: checked.lengths[contig] for contig in checked.digests}:
                return "the file has other contigs than it was given"
            for contig, digest in checked.digests.items():
                fingerprint = _Fingerprint()
                for start, end, value in reader.records(contig):
                    fingerprint.add(start, end, value)
                if fingerprint.digest() != digest:
                    return f"the file has other values for {shown(contig)} than it was given"
            covered: int = reader.info()["summary"]["basesCovered"]
    except BaseException as error:
        return f"the file cannot be read again: {_describe(error)}"
    return "" if covered == checked.covered else "its summary counts other bases than it was given"


def _require_space(out: Path, temporary: Path) -> None:
    """Raise an error that states why a file cannot be written, such as a full disk.

    pybigtools writes a part of its data to the folder of temporary files.
    """
    probe = bytes(_PROBE_BYTES)
    with writing(out), temporary.open("ab") as file:
        file.write(probe)
    with writing(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as other:
        other.write(probe)
        other.flush()


def _make_empty() -> bytes:
    """A bigWig file without contigs and values, which pybigtools does not write.

    Source:
        Kent et al. 2010, Bioinformatics 26, 2204, supplementary tables 5 to 15.
    """
    summary = 64
    tree = summary + 40
    data = tree + 36
    index = data + 4
    magic = 0x888FFC26
    return b"".join(
        [
            struct.pack("<IHHQQQ", magic, 4, 0, tree, data, index),
            struct.pack("<HHQQIQ", 0, 0, 0, summary, 0, 0),
            struct.pack("<Qdddd", 0, 0, 0, 0, 0),
            struct.pack("<IIIIQQBBH", 0x78CA8C91, 1, 1, 8, 0, 0, 1, 0, 0),
            struct.pack("<I", 0),
            struct.pack("<IIQIIIIQII", 0x2468ACE0, 256, 0, 0, 0, 0, 0, index, 1_024, 0),
            struct.pack("<BBH", 1, 0, 0),
            struct.pack("<I", magic),
        ]
    )
