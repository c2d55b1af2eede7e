"""The index of an exported VCF: ``.tbi``, or ``.csi`` for positions beyond 2^29."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import pysam

from evo2_tasks.errors import InputError
from evo2_tasks.exports.vcf_lines import Tally
from evo2_tasks.io.bgzip import find_compression
from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.io.lines import read_start
from evo2_tasks.io.vcf_text import VcfHeader, parse_position, read_vcf
from evo2_tasks.io.words import first_line, shown_path

logger = logging.getLogger(__name__)

_START: Final = b"##fileformat=VCF"

_SUFFIXES: Final = (".tbi", ".csi")

_MAX_TBI: Final = 2**29
"""Last position that a ``.tbi`` index can hold; beyond it the index is ``.csi``."""


def require_gz(target: Path) -> None:
    """Make sure that the name of a compressed VCF states that it is compressed.

    Raises:
        InputError: It does not end in ``.gz``.
    """
    if target.suffix != ".gz":
        raise InputError(
            f"{shown_path(target)}: the output is compressed; its name must end in .vcf.gz."
        )


def index_vcf(vcf: Path) -> Path | None:
    """Make the index of a VCF that ``export`` wrote, in place of the former one.

    Args:
        vcf: The file, compressed with bgzip.

    Returns:
        The index; None if there is none, because the records are not sorted.

    Raises:
        InputError: The file cannot be read, or is no bgzipped VCF.
    """
    # pysam would compress another file, and remove it.
    if find_compression(vcf) != "bgzip" or read_start(vcf, len(_START)) != _START:
        raise InputError(
            f"{shown_path(vcf)}: is not a VCF that is compressed with bgzip. Name a file that "
            "`export` wrote."
        )
    tally = Tally(vcf)
    header, lines = read_vcf(vcf)
    for number, line in lines:
        cells = line.split(b"\t", 4)
        pos = parse_position(cells[1]) if len(cells) > 4 else None
        if pos is None:
            raise InputError(
                f"{shown_path(vcf)}: line {number}: is not a record of a VCF. Name a file that "
                "`export` wrote."
            )
        tally.add(cells[0], pos, len(cells[3]), is_annotated=False)
    return write_index(vcf, tally, header.meta)


def write_index(vcf: Path, tally: Tally, meta: tuple[bytes, ...]) -> Path | None:
    """Write the index of a VCF, and remove any other one.

    Args:
        vcf: The file, compressed with bgzip.
        tally: What was counted of its lines.
        meta: Its header lines that begin with ``##``.

    Returns:
        The index; None if there is none. The log states why.
    """
    if not tally.is_sorted:
        logger.warning(
            "%s: no index was made, because the records are not sorted by contig and position.",
            shown_path(vcf),
        )
        remove_indexes(vcf)
        return None
    contigs = VcfHeader(meta, None).definitions("contig")
    lengths = [parse_position(contig.get("length", "").encode()) or 0 for contig in contigs]
    is_long = max(tally.end, *lengths, 0) > _MAX_TBI
    index = _beside(vcf, ".csi" if is_long else ".tbi")
    remove_indexes(vcf, keep=index)
    try:
        with replace_atomically(index) as temporary:
            pysam.tabix_index(str(vcf), preset="vcf", force=True, csi=is_long, index=str(temporary))
    except OSError as error:
        logger.warning("%s: no index was made: %s.", shown_path(vcf), first_line(error))
        remove_indexes(vcf)
        return None
    # The clock of the machine that wrote the file may be ahead of the one that runs this.
    changed = vcf.stat().st_mtime_ns
    if index.stat().st_mtime_ns < changed:
        os.utime(index, ns=(changed, changed))
    return index


def remove_indexes(vcf: Path, *, keep: Path | None = None) -> None:
    """Remove the indexes of an earlier file with this name.

    Args:
        vcf: The file.
        keep: An index that stays, because it is about to be replaced.

    Raises:
        InputError: They cannot be removed.
    """
    with writing(vcf):
        for suffix in _SUFFIXES:
            if (index := _beside(vcf, suffix)) != keep:
                index.unlink(missing_ok=True)


def _beside(vcf: Path, suffix: str) -> Path:
    return vcf.with_name(vcf.name + suffix)
