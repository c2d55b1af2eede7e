"""BCF and indexed VCF as lines of VCF text, read by htslib."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pysam

from evo2_tasks.errors import InputError
from evo2_tasks.io.bgzip import check_bgzip_end
from evo2_tasks.io.lines import read_chunks
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

MAX_INDEX_BYTES = 1 << 28
"""Most bytes of an index, decompressed. That of a genome has some megabytes."""


@contextmanager
def open_bcf(path: Path, *, samples: bool) -> Iterator[pysam.VariantFile]:
    """Open a BCF file.

    Args:
        path: The file.
        samples: Whether the lines of its records have the sample columns.

    Raises:
        InputError: The file cannot be read, or the body cannot read from it.
    """
    check_bgzip_end(path)
    _check_index_size(path)
    with _htslib_errors(path, "BCF"):
        file = pysam.VariantFile(str(path), "r")
        with _closing(file):
            if not samples:
                file.subset_samples([])
            yield file


def find_index(path: Path) -> Path | None:
    """The index next to a bgzipped VCF; the .csi if there is a .tbi too, as htslib does."""
    candidates = (path.with_name(path.name + suffix) for suffix in (".csi", ".tbi"))
    return next(filter(Path.is_file, candidates), None)


@contextmanager
def open_indexed_vcf(path: Path) -> Iterator[pysam.TabixFile]:
    """Open a bgzipped VCF that has an index. Lines are Latin-1 text: one character per byte.

    Raises:
        InputError: The file or its index cannot be read, or the body cannot read from it.
    """
    check_bgzip_end(path)
    _check_index_size(path)
    with _htslib_errors(path, "indexed VCF"):
        # pysam looks for a .tbi only.
        file = pysam.TabixFile(str(path), index=str(find_index(path)), encoding="latin-1")
        with _closing(file):
            yield file


def _check_index_size(path: Path) -> None:
    """Make sure that the index of a file, which htslib reads as a whole, is not too large.

    Raises:
        InputError: It has more than ``MAX_INDEX_BYTES`` when it is decompressed.
    """
    index = find_index(path)
    if index is None:
        return
    num_bytes = 0
    with suppress(InputError):  # htslib says what is wrong with a damaged index, if it is needed
        for chunk in read_chunks(index):
            num_bytes += len(chunk)
            if num_bytes > MAX_INDEX_BYTES:
                break
    if num_bytes > MAX_INDEX_BYTES:
        raise InputError(
            f"{shown_path(index)}: has more than {MAX_INDEX_BYTES:,} bytes decompressed. "
            "Make it again: bcftools index --force FILE"
        )


def header_lines(file: pysam.VariantFile) -> list[bytes]:
    """The header lines of a BCF file, without their ends."""
    return [line.removesuffix(b"\r") for line in _raw_text(file.header).split(b"\n")]


def record_line(record: pysam.VariantRecord) -> bytes:
    """The line of a record, as ``bcftools view`` prints it, without its end."""
    return _raw_text(record)


def _raw_text(thing: pysam.VariantRecord | pysam.VariantHeader) -> bytes:
    """The text of a record or a header as bytes, also if it is not UTF-8."""
    try:
        return str(thing).removesuffix("\n").encode()
    except UnicodeDecodeError as error:
        return bytes(error.object).removesuffix(b"\n")


@contextmanager
def _htslib_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn all errors of htslib and pysam into one line, and keep htslib from printing its own."""
    verbosity = pysam.set_verbosity(0)
    try:
        yield
    except (OSError, ValueError, RuntimeError, AssertionError, KeyError, MemoryError) as error:
        raise InputError(
            f"{shown_path(path)}: cannot be read as {kind}: {shown(error)}. The file or its index "
            f"is damaged; make them again."
        ) from error
    finally:
        pysam.set_verbosity(verbosity)


@contextmanager
def _closing(file: pysam.VariantFile | pysam.TabixFile) -> Iterator[None]:
    """Close a file. An error of closing never hides an error of reading."""
    try:
        yield
    except BaseException:
        try:
            file.close()
        except OSError as error:
            logger.debug("closing the file after an error: %s", shown(error))
        raise
    file.close()
