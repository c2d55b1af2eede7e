"""The records that the readers of variant files produce, for every format."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

FieldType = Literal["string", "int", "float", "bool"]

SPANS_ORIGIN = "spans_origin"
"""Status of an allele, before it is placed, whose REF goes on at the first base of its circle."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One allele of one record, which becomes one row of the table.

    Attributes:
        record: 0-based number of the data line, row or BCF record, among those that were read.
        allele: 1-based number as in GT, or among the alleles of a region; 0 if the record has no
            alternate allele or is invalid.
        contig: Name in the input. In an invalid record contig, pos, ref and alt are null.
        pos: 1-based position of the first base of ``ref``.
        ref: Upper case if it has letters only, else as in the input; null in a row without an
            allele.
        alt: One alternate allele, written by the same rule.
        status: Set only if reading decides it: ``invalid_record``, ``filtered``, or why a region or
            a deletion with a length has no bases; or ``SPANS_ORIGIN``.
        carried: One value for each of the source's ``carry_fields``.
        reason: Which cause the status has, if reading decides it. Of a symbolic allele without a
            status: why the reference does not resolve it.
        sv_length: Number of reference bases that a symbolic allele deletes, copies or inverts.
        sv_sequence: Bases that a symbolic allele inserts, in upper case.
    """

    record: int
    allele: int
    contig: str | None
    pos: int | None
    ref: str | None
    alt: str | None
    status: str | None
    carried: tuple[object, ...] = ()
    reason: str | None = None
    sv_length: int | None = None
    sv_sequence: str | None = None

    @property
    def num_bases(self) -> int:
        """About how many bases the allele has, written out."""
        spelled = len(self.ref or "") + len(self.alt or "")
        return spelled + (self.sv_length or 0) + len(self.sv_sequence or "")

    @property
    def start(self) -> int:
        """0-based position of the first base of ``ref``."""
        if self.pos is None:
            raise ValueError(f"record {self.record} is invalid and has no position")
        return self.pos - 1


@dataclass(frozen=True, slots=True)
class Filters:
    """Which alleles to keep. The others keep their row, with the status ``filtered``.

    Attributes:
        pass_only: Keep records whose FILTER is exactly ``PASS``; ``.`` (not filtered) is not kept.
        max_length: Keep alleles whose ``ref`` and ``alt`` in the input have at most this many
            bases. Alleles that are not letters (``<DEL>``, ``*``) have no length and are kept.
        contigs: Keep these contigs, by their names in the input.
    """

    pass_only: bool = False
    max_length: int | None = None
    contigs: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class CarryField:
    """A column or INFO field of the input that is carried along to the output.

    Attributes:
        name: Name in the config.
        type: Type of a value, or of the values in a list.
        is_list: Whether each allele holds a list of values.
        description: Description in the header of the file; empty if there is none.
        is_defined: Whether the header of the file defines the field.
        near: Names of a field that the header does not define may be meant to be one of these.
    """

    name: str
    type: FieldType
    is_list: bool = False
    description: str = ""
    is_defined: bool = True
    near: tuple[str, ...] = ()


class Record(NamedTuple):
    """A record that can be read: it has all fields, and ``pos`` is an integer.

    ``alts`` is ``(".",)`` if the record has no alternate allele. ``filters`` is the text of FILTER,
    or null if the record has none. ``carried`` has one tuple for each of ``alts``, or is empty if
    nothing is carried. A record with many alleles comes in pieces; ``goes_on`` is true for all
    pieces but the first. ``spans_origin`` is true if ``ref`` goes on at the first base of a
    circular contig, which HGVS can state and VCF cannot. ``symbols`` has one entry for
    each of ``alts``, or is empty. ``left_out`` is why the reader leaves its alleles out, a reason
    of the status ``filtered``; or null.
    """

    contig: str
    pos: int
    ref: str
    alts: Sequence[str]
    filters: str | None
    carried: Sequence[tuple[object, ...]]
    goes_on: bool = False
    spans_origin: bool = False
    symbols: Sequence[Symbol] = ()
    left_out: str | None = None


class Symbol(NamedTuple):
    """What a record says about one of its alleles that may be symbolic.

    Attributes:
        reason: Why the reference does not resolve it; null if it does, or is not symbolic.
        length: Number of reference bases that it deletes, copies or inverts.
        sequence: The bases that it inserts.
    """

    reason: str | None = None
    length: int | None = None
    sequence: str | None = None


class NoAllele(NamedTuple):
    """The part of a record that gives no allele, for example bases outside the reference.

    It becomes one row with allele 0, and comes before the pieces of its record. ``status`` and
    ``reason`` are why there is no allele at ``pos``; ``carried`` is as in a row.
    """

    contig: str
    pos: int
    status: str
    reason: str
    carried: tuple[object, ...] = ()
    filters: str | None = None


class InvalidRecord(NamedTuple):
    """A record that cannot be read.

    Attributes:
        reason: The reason in the table, of a closed list.
        explanation: The reason in the log.
        line: Its line, from 1, if the file has lines.
    """

    reason: str
    explanation: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class VariantCounts:
    """What one pass over a source has read."""

    records: int = 0
    alleles: int = 0
    invalid: int = 0
    filtered: int = 0
