"""The columns of every table, in one place.

A ``Column`` states name, Arrow type, unit, meaning and whether it may be null. The Arrow schemas of
all steps, the page ``docs/columns.md`` and the INFO definitions of the VCF export are made from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, cast

import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField, FieldType
from evo2_tasks.genome.window_pairs import Strand

SCORES_VERSION: Final = 1
"""Raised when a score's definition changes or a number moves by more than the stated tolerance."""

STATUS_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "invalid_record": "the line cannot be read: fewer than five columns, a POS that is no "
        "64-bit integer, or one of the first five columns or an ALT entry is empty; no region, or "
        "no variant in the notations of a list; one row, allele 0, the other keys null",
        "filtered": "left out by the config's filters",
        "missing_allele": "ALT is `.`, or a region holds no codon",
        "not_a_variant": "ALT equals REF",
        "overlapping_deletion": "ALT is `*`",
        "breakend": "ALT is a breakend: brackets, `.A` or `A.`",
        "symbolic_allele": "ALT is symbolic: `<DEL>`, `<*>`, `<NON_REF>`, `C<ctg1>`",
        "non_acgt_allele": "the trimmed allele holds a letter other than A, C, G and T",
        "contig_not_found": "the reference has no such contig",
        "position_out_of_range": "a base of REF, or of a region, lies outside the contig",
        "ref_alt_swapped": "REF is not at `pos`, but ALT is",
        "ref_mismatch": "REF is not at `pos`",
        "too_long": "the trimmed REF or ALT is longer than `max_allele_length`",
        "too_many_n": "the share of bases other than A, C, G and T in the window is above "
        "`max_n_share`",
        "no_context": "on an asked strand the two windows do not differ, or differ in their first "
        "token, which nothing predicts; the other strand keeps its numbers",
        "non_finite": "the model gave a number that is not finite; a finite strand keeps its "
        "numbers",
        "scored": "the row has an `llr`",
    }
)
"""Why a row has or lacks a score; of those that apply, a row has the first."""

FLAG_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "clipped": "on an asked strand the windows, before a horizon cuts them, are shorter than "
        "`window_length`",
        "low_context": "on an asked strand fewer than `min_context` tokens stand before the first "
        "difference",
        "low_downstream": "on an asked strand fewer than `min_context` tokens (or `horizon`, where "
        "there is one) stand from the first difference on",
        "n_in_window": "a base other than A, C, G and T in `window_start..window_end`",
        "alias_contig": "`contig` and `reference_contig` are two names of one contig",
        "moved": "left-aligning moved the trimmed allele",
    }
)
"""What to know about a scored row."""

STATUSES: Final = tuple(STATUS_MEANINGS)
FLAGS: Final = tuple(FLAG_MEANINGS)

CONTIG_TYPE: Final = pa.dictionary(pa.int32(), pa.string())
"""For names that repeat from row to row: stored once each, read as categories."""


def list_type(item: pa.DataType, *, nullable_items: bool = True) -> pa.DataType:
    """List type whose item has the name that Parquet gives it, so that it reads as written."""
    return pa.list_(pa.field("element", item, nullable=nullable_items))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: As in the file, the config and the command line.
        type: Arrow type.
        description: What it means.
        unit: Unit, and the coordinate base of a position; ``none`` for names and text.
        nullable: Whether a row may lack it.
    """

    name: str
    type: pa.DataType
    description: str
    unit: str = "none"
    nullable: bool = True

    def field(self) -> pa.Field:
        """The Arrow field, with description and unit as its metadata."""
        metadata = {"description": self.description, "unit": self.unit}
        return pa.field(self.name, self.type, nullable=self.nullable, metadata=metadata)


RECORD = Column(
    "record",
    pa.int64(),
    "Data line of the input, counted from 0; with `regions`, of the lines that were read",
    "line, 0-based",
    nullable=False,
)
ALLELE = Column(
    "allele",
    pa.int32(),
    "Number of the ALT allele in its line, as in GT, or among those of its region; 0 where there "
    "is none",
    "allele, 1-based",
    nullable=False,
)
CONTIG = Column("contig", CONTIG_TYPE, "Contig as the input spells it")
REFERENCE_CONTIG = Column(
    "reference_contig", CONTIG_TYPE, "Contig as the reference spells it; null where it has none"
)
POS = Column("pos", pa.int64(), "Position of the first base of `ref`, as in VCF", "base, 1-based")
REF = Column(
    "ref",
    pa.string(),
    "REF allele, upper case if letters only, else verbatim; null where a region has no bases",
)
ALT = Column("alt", pa.string(), "ALT allele, upper case if letters only, else verbatim")
STATUS = Column(
    "status",
    CONTIG_TYPE,
    "`scored`, or the first reason of a closed list why there is no score",
    nullable=False,
)
FLAG_LIST = Column(
    "flags",
    list_type(pa.string(), nullable_items=False),
    "What to know about a scored row, of a closed list; empty unless `scored`",
    nullable=False,
)
WINDOW_START = Column(
    "window_start",
    pa.int64(),
    "Start of the reference window before any cut; below 0 where it wraps around a circular contig",
    "base, 0-based",
)
WINDOW_END = Column(
    "window_end",
    pa.int64(),
    "End of the reference window before any cut; past the contig's length where it wraps around a "
    "circular contig",
    "base, 0-based, exclusive",
)

_SCORES: Final = (
    Column(
        "llr",
        pa.float64(),
        "Log-likelihood ratio of alt against ref over the tokens from the first difference on: "
        "`llr_allele + llr_downstream + llr_end`; below 0 means alt is less likely; rank by it",
        "nats",
    ),
    Column(
        "llr_aligned",
        pa.float64(),
        "`llr` with its end term replaced by its expectation, (alt length - ref length) times the "
        "reference's mean -log_prob per common downstream token; equals `llr` where the trimmed "
        "lengths are equal, null where they differ and no downstream token is common",
        "nats",
    ),
    Column("llr_allele", pa.float64(), "Part of `llr`: alt's allele tokens minus ref's", "nats"),
    Column(
        "llr_downstream",
        pa.float64(),
        "Part of `llr`: tokens that both windows have, aligned by genome",
        "nats",
    ),
    Column(
        "llr_end",
        pa.float64(),
        "Part of `llr`: tokens that only one window has, at its far end; 0 for SNVs and MNVs",
        "nats",
    ),
    Column(
        "delta_score",
        pa.float64(),
        "`llr` per predicted token of the window, Evo 2's own mean; null with a `horizon`",
        "nats per token",
    ),
    Column(
        "ll_ref",
        pa.float64(),
        "Log-likelihood of the reference window, all predicted tokens as cut to the length common "
        "with the alt window; null with a `horizon`",
        "nats",
    ),
    Column(
        "ll_alt",
        pa.float64(),
        "Log-likelihood of the alt window, all predicted tokens as cut to the length common with "
        "the reference window; null with a `horizon`",
        "nats",
    ),
)

STRAND_SUFFIXES: Final[Mapping[Strand, str]] = MappingProxyType(
    {"forward": "_fwd", "reverse": "_rev"}
)
"""The suffix of the columns of each strand."""


def _of_strand(column: Column, strand: Strand) -> Column:
    description = f"`{column.name}` of the {strand} strand alone"
    return replace(column, name=column.name + STRAND_SUFFIXES[strand], description=description)


SCORE_COLUMNS: Final = tuple(column.name for column in _SCORES)
"""The scores; without suffix the mean of the strands asked for, null if one of them is."""

_ALL_SCORES: Final = (
    *_SCORES,
    *(_of_strand(column, "forward") for column in _SCORES),
    *(_of_strand(column, "reverse") for column in _SCORES),
)
ALL_SCORE_COLUMNS: Final = tuple(column.name for column in _ALL_SCORES)
"""``SCORE_COLUMNS``, then those of the forward strand, then those of the reverse strand."""

SHARD_COLUMNS: Final = (
    RECORD,
    ALLELE,
    CONTIG,
    POS,
    REF,
    ALT,
    replace(
        STATUS,
        description="What reading decides: `invalid_record`, `filtered`, or why a region has no "
        "bases; else null",
        nullable=True,
    ),
)
"""``split``: a slice of the input's alleles. Carried columns follow."""


def _strand_columns(strand: Strand) -> tuple[Column, Column]:
    suffix = STRAND_SUFFIXES[strand]
    return (
        Column(
            f"length{suffix}",
            pa.int64(),
            f"Length of the {strand} strand's two windows as cut to the common length and by a "
            "horizon; null where the strand has no score",
            "tokens",
        ),
        Column(
            f"prefix{suffix}",
            pa.int64(),
            f"Tokens of the {strand} strand's windows before the first difference; null where the "
            "strand has no score",
            "tokens",
        ),
    )


WINDOWS_COLUMNS: Final = (
    RECORD,
    ALLELE,
    CONTIG,
    POS,
    REF,
    ALT,
    replace(
        STATUS,
        description="`to_score`, or the first reason of a closed list why there is no score",
    ),
    REFERENCE_CONTIG,
    FLAG_LIST,
    WINDOW_START,
    WINDOW_END,
    Column(
        "edit_start",
        pa.int64(),
        "First changed base of the trimmed, left-aligned allele; for an insertion the base after",
        "base, 0-based",
    ),
    Column("edit_ref", pa.int32(), "Length of the trimmed ref allele", "bases"),
    Column("edit_alt", pa.string(), "Trimmed, left-aligned alt allele"),
    *_strand_columns("forward"),
    *_strand_columns("reverse"),
)
"""``windows``: where each allele's windows lie and what changes in them. Carried columns follow."""

SEGMENTS_COLUMNS: Final = (
    replace(REFERENCE_CONTIG, description="Contig as the reference spells it", nullable=False),
    Column("contig_length", pa.int64(), "Length of the contig", "bases", nullable=False),
    Column("circular", pa.bool_(), "Whether the contig is circular", nullable=False),
    Column("start", pa.int64(), "Start of the piece", "base, 0-based", nullable=False),
    Column("end", pa.int64(), "End of the piece", "base, 0-based, exclusive", nullable=False),
    Column("sequence", pa.string(), "Upper-case bases, IUPAC letters kept", nullable=False),
)
"""``windows``: each merged reference interval that a shard's windows need, once, in pieces."""

SCORES_COLUMNS: Final = (
    RECORD,
    ALLELE,
    replace(STATUS, description="As in the result"),
    *_ALL_SCORES,
)
"""``score``: the numbers, row by row as in the windows file."""

FINAL_COLUMNS: Final = (
    RECORD,
    ALLELE,
    CONTIG,
    REFERENCE_CONTIG,
    POS,
    REF,
    ALT,
    STATUS,
    FLAG_LIST,
    WINDOW_START,
    WINDOW_END,
    *_ALL_SCORES,
)
"""``merge``: the result. Carried columns follow."""

OWN_NAMES: Final = frozenset(
    column.name for column in (*WINDOWS_COLUMNS, *SCORES_COLUMNS, *FINAL_COLUMNS)
)
"""Names that no carried column can have."""

CARRY_TYPES: Final[Mapping[FieldType, pa.DataType]] = MappingProxyType(
    {"string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
)
"""Types of carried columns, by the name they have in ``split.json``."""


def describe_carry_fields(fields: Iterable[CarryField]) -> list[dict[str, Any]]:
    """Carried fields as ``split.json`` lists them: what :func:`read_carry_fields` reads."""
    names = ("name", "type", "is_list", "description")
    return [{name: getattr(field, name) for name in names} for field in fields]


def read_carry_fields(items: object) -> tuple[CarryField, ...]:
    """Carried fields as ``split.json`` lists them.

    Args:
        items: List of objects with ``name``, ``type``, ``is_list`` and ``description``.

    Raises:
        InputError: It is no such list.
    """
    if not isinstance(items, list):
        raise InputError(f"carry fields: expected a list, got {type(items).__name__}.")
    fields = []
    for item in items:
        match item:
            case {
                "name": str(name),
                "type": str(kind),
                "is_list": bool(is_list),
                "description": str(description),
            } if kind in CARRY_TYPES:
                fields.append(CarryField(name, cast(FieldType, kind), is_list, description))
            case _:
                raise InputError(
                    f"carry fields: {item!r} is none. Expected name, type (one of "
                    f"{', '.join(CARRY_TYPES)}), is_list and description."
                )
    return tuple(fields)


def _carried_column(field: CarryField) -> Column:
    item = CARRY_TYPES[field.type]
    return Column(field.name, list_type(item) if field.is_list else item, field.description)


def make_schema(columns: Iterable[Column], carry_fields: Sequence[CarryField] = ()) -> pa.Schema:
    """Arrow schema of some columns and the carried ones.

    Raises:
        InputError: A carried field has the name of one of our columns, or of another one.
    """
    seen: set[str] = set()
    for carried in carry_fields:
        if carried.name in OWN_NAMES:
            raise InputError(
                f"carry: {carried.name!r} is the name of one of the table's own columns. Leave it "
                "out of carry, or give it another name in the input."
            )
        if carried.name in seen:
            raise InputError(f"carry: {carried.name!r} is named twice. Name each field once.")
        seen.add(carried.name)
    all_columns = (*columns, *map(_carried_column, carry_fields))
    return pa.schema([column.field() for column in all_columns])


def shard_schema(carry_fields: Sequence[CarryField] = ()) -> pa.Schema:
    """Schema of what ``split`` writes."""
    return make_schema(SHARD_COLUMNS, carry_fields)


def windows_schema(carry_fields: Sequence[CarryField] = ()) -> pa.Schema:
    """Schema of the rows that ``windows`` writes."""
    return make_schema(WINDOWS_COLUMNS, carry_fields)


def segments_schema() -> pa.Schema:
    """Schema of the reference segments that ``windows`` writes."""
    return make_schema(SEGMENTS_COLUMNS)


def scores_schema() -> pa.Schema:
    """Schema of what ``score`` writes."""
    return make_schema(SCORES_COLUMNS)


def final_schema(carry_fields: Sequence[CarryField] = ()) -> pa.Schema:
    """Schema of the result, which ``merge`` writes."""
    return make_schema(FINAL_COLUMNS, carry_fields)
