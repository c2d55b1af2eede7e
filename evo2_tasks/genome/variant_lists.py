"""Lists of variants: ``chr-pos-ref-alt``, ``chr:pos:ref:alt`` or SPDI, one on a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField, InvalidRecord, NoAllele, Record
from evo2_tasks.io.lines import decode, drop_mark, read_lines
from evo2_tasks.io.vcf_text import parse_position
from evo2_tasks.io.words import shown, shown_path

if TYPE_CHECKING:
    from evo2_tasks.genome.reference import Reference

SEPARATORS = "-:"
MAX_START = 2**63 - 1

# A RefSeq accession with version. A line with colons that begins with one is SPDI, whose positions
# count from 0.
_ACCESSION = re.compile(r"[A-Z]{2}_[A-Z]*[0-9]+\.[0-9]+")
_BASES_OR_NONE = re.compile(r"[A-Za-z]*")
_ALLELES = re.compile(r"[A-Za-z,.*]+")


class VariantListReader:
    """Reads a list of variants, plain, gzip or bgzip.

    A contig name may itself contain ``-`` and ``:``. The separator of a line is the last of the two
    in it, and the line is split from the right. SPDI is turned into the spelling of VCF: an
    insertion or deletion gets the base before it, or the base after it at the start of a contig.

    Args:
        path: The file.
        carry: Must be empty, because a list has no columns.
        reference: The reference that the variants refer to.

    Raises:
        InputError: ``carry`` is not empty.
    """

    carry_fields: tuple[CarryField, ...] = ()

    def __init__(self, path: Path, carry: Sequence[str], reference: Reference) -> None:
        if carry:
            raise InputError(
                f"{shown_path(path)}: carry names '{shown(carry[0])}', but a list of variants has "
                f"no columns. Remove it from carry, or use a table with a header."
            )
        self.path = path
        self._reference = reference

    def records(self) -> Iterator[Record | NoAllele | InvalidRecord]:
        """The lines in the order of the file; blank lines and comments (``#``) are skipped."""
        for number, line in enumerate(read_lines(self.path), start=1):
            text = decode(drop_mark(line) if number == 1 else line).strip(" \t")
            if text and not text.startswith("#"):
                record = _parse(text, self._reference)
                yield InvalidRecord(record, number) if isinstance(record, str) else record

    def log_problems(self) -> None:
        """Do nothing: a list has no carried values that could have problems."""


def looks_like_variant(line: bytes) -> bool:
    """Whether a line is a variant in one of the forms that a list may use."""
    fields = _split(decode(line).strip(" \t"))
    if len(fields) != 4 or parse_position(fields[1].encode()) is None:
        return False
    return bool(_ALLELES.fullmatch(fields[2]) and _ALLELES.fullmatch(fields[3])) or (
        _ACCESSION.fullmatch(fields[0]) is not None
    )


def _split(text: str) -> list[str]:
    separator = max(SEPARATORS, key=text.rfind)
    return text.rsplit(separator, 3)


def _parse(text: str, reference: Reference) -> Record | NoAllele | str:
    """Read a line; returns the reason as text if the line cannot be read."""
    fields = _split(text)
    if len(fields) < 4 or not fields[0] or len(text.split()) > 1:
        return f"the line is '{shown(text)}', expected chr-pos-ref-alt, chr:pos:ref:alt or SPDI"
    contig, pos_text, ref, alt = fields
    pos = parse_position(pos_text.encode())
    if pos is None:
        return f"position '{shown(pos_text)}' is not a 64-bit integer"
    if text[len(contig)] == ":" and _ACCESSION.fullmatch(contig):
        return _parse_spdi(contig, pos, ref, alt, reference)
    alts = alt.split(",")
    if not ref or "" in alts:
        return "an allele is empty; only SPDI (RefSeq accession, then colons) may have that"
    return Record(contig, pos, ref, alts, None, ())


def _parse_spdi(
    contig: str, start: int, deleted: str, inserted: str, reference: Reference
) -> Record | NoAllele | str:
    """Turn an SPDI into the spelling of VCF.

    Args:
        contig: Name of the sequence.
        start: Number of bases before the change.
        deleted: The replaced bases (may be empty), or their number.
        inserted: The bases that replace them; may be empty.
        reference: The reference that the variant refers to.

    Returns:
        The variant. If ``deleted`` is a number and the reference does not have these bases: a
        `NoAllele`. If the SPDI cannot be read: the reason as text.

    Source:
        Holmes et al. 2020, SPDI: data model for variants and applications at NCBI.
    """
    if not 0 <= start < MAX_START:
        return (
            f"position '{start}' is out of range; SPDI counts the bases before the change, from 0"
        )
    if not _BASES_OR_NONE.fullmatch(inserted):
        return f"inserted sequence '{shown(inserted)}', expected letters only"
    name = reference.resolve(contig)
    length = reference.contigs[name] if name is not None else 0
    if not _BASES_OR_NONE.fullmatch(deleted):
        number = parse_position(deleted.encode())
        if number is None or number < 0:
            return f"deleted sequence '{shown(deleted)}', expected letters or the number of bases"
        if name is None:
            return NoAllele(contig, start + 1, "contig_not_found")
        if start + number > length:
            return NoAllele(contig, start + 1, "position_out_of_range")
        deleted = reference.fetch(name, start, start + number)
    end = start + len(deleted)
    if (deleted and inserted) or name is None or end > length:
        return Record(contig, start + 1, deleted, [inserted], None, ())
    if start == 0:
        after = reference.fetch(name, end, min(end + 1, length))
        return Record(contig, 1, deleted + after, [inserted + after], None, ())
    before = reference.fetch(name, start - 1, start)
    return Record(contig, start, before + deleted, [before + inserted], None, ())
