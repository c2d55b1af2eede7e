"""The records that the readers of variant files produce, whatever the format."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

FieldType = Literal["string", "int", "float", "bool"]


@dataclass(frozen=True, slots=True)
class Variant:
    """One allele of one record: what becomes one row of the table.

    Attributes:
        record: 0-based number of the data line, row or BCF record among those read.
        allele: 1-based as in GT, or among the alleles of a region; 0 where the record names no
            alternate allele or is invalid.
        contig: Name as the input spells it; null in an invalid record, as all keys are.
        pos: 1-based position of the first base of ``ref``.
        ref: Upper case if it is letters only, else as spelled; null in a row without an allele.
        alt: One allele, spelled by the same rule.
        status: Set only where reading decides it: ``invalid_record``, ``filtered``, or why a region
            or a deletion of a length has no bases.
        carried: One value for each of the source's ``carry_fields``.
    """

    record: int
    allele: int
    contig: str | None
    pos: int | None
    ref: str | None
    alt: str | None
    status: str | None
    carried: tuple[object, ...] = ()

    @property
    def start(self) -> int:
        """0-based position of the first base of ``ref``."""
        if self.pos is None:
            raise ValueError(f"record {self.record} is invalid and has no position")
        return self.pos - 1


@dataclass(frozen=True, slots=True)
class Filters:
    """What to leave out; a row that is left out keeps its place with the status ``filtered``.

    Attributes:
        pass_only: Keep records whose FILTER is exactly ``PASS`` (``.``, not filtered, is not).
        max_length: Keep alleles whose ``ref`` and ``alt``, as spelled, have at most so many bases.
            Alleles that are not letters (``<DEL>``, ``*``) have no length and are kept.
        contigs: Keep these contigs, as the input spells them.
    """

    pass_only: bool = False
    max_length: int | None = None
    contigs: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class CarryField:
    """A column or INFO field that goes along to the output.

    Attributes:
        name: As the user asked for it.
        type: Type of a value, or of the values in a list.
        is_list: Whether each allele holds a list of values.
        description: From the header of the file, empty if it has none.
        is_defined: Whether the file says that there is such a field.
    """

    name: str
    type: FieldType
    is_list: bool = False
    description: str = ""
    is_defined: bool = True


class Record(NamedTuple):
    """A readable record: every field is there and ``pos`` is an integer.

    ``alts`` is ``(".",)`` where the record names no alternate allele. ``filters`` is the text of
    FILTER, null where the record has none. ``carried`` holds one tuple for each of ``alts``, or is
    empty if nothing is carried. A record of many alleles comes in pieces, of which all but the
    first ``goes_on``.
    """

    contig: str
    pos: int
    ref: str
    alts: Sequence[str]
    filters: str | None
    carried: Sequence[tuple[object, ...]]
    goes_on: bool = False


class NoAllele(NamedTuple):
    """What a record says of bases that the reference does not have: one row, allele 0.

    It comes before the pieces of its record. ``status`` says what is wrong at ``pos``, ``carried``
    is as in a row.
    """

    contig: str
    pos: int
    status: str
    carried: tuple[object, ...] = ()


class InvalidRecord(NamedTuple):
    """A record that cannot be read: why, and on which line of the file, from 1, if it has lines."""

    reason: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class VariantCounts:
    """What a pass over a source has read."""

    records: int = 0
    alleles: int = 0
    invalid: int = 0
    filtered: int = 0
