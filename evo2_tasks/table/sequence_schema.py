"""The columns, statuses and flags of the tables of a sequence set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import pyarrow as pa

from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.table.schema import (
    CONTIG_TYPE,
    STRAND_SUFFIXES,
    Column,
    Reason,
    list_type,
    make_schema,
)

SEQUENCES_VERSION: Final = 1
"""Raised when a likelihood gets another definition, or changes by more than the documented
tolerance."""

SEQUENCE_STATUS_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "empty": "the record has no bases",
        "invalid_record": "the record contains a character that is not a letter, for example the "
        "`-` of an alignment, or its name is too long",
        "rna": "the sequence has more U than T; the model reads DNA, so replace U by T",
        "too_long": "the sequence has more bases than `max_length`",
        "too_many_n": "the share of letters other than A, C, G and T is above `max_n_share`",
        "no_context": "the sequence is a single base, which is not predicted: nothing is read "
        "before it. With `prepend_bos` it has a score",
        "non_finite": "the model gave a log-probability that is not a finite number; a strand "
        "with finite numbers only keeps its values",
        "scored": "no other status applies; the row has an `ll`",
    }
)
"""Why a row has a log-likelihood or has none. A row has the first status that applies."""

SEQUENCE_REASON_MEANINGS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "not_letters": Reason("invalid_record", "a character of the sequence is not a letter"),
        "long_name": Reason(
            "invalid_record", "the name has more than 65,536 bytes; the row has the first of them"
        ),
        "forward_strand": Reason("non_finite", "a number of the forward strand is not finite"),
        "reverse_strand": Reason("non_finite", "a number of the reverse strand is not finite"),
        "both_strands": Reason("non_finite", "numbers of both strands are not finite"),
    }
)
"""Which cause a status has, for every status that has more than one."""

SEQUENCE_FLAG_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "n_in_sequence": "the sequence contains a letter other than A, C, G and T. The model reads "
        "it as it is",
        "circular": "the sequence was read as a circle",
    }
)
"""Remarks on a scored row."""

RECORD: Final = Column(
    "record",
    pa.int64(),
    "Number of the record in the FASTA, counted from 0",
    "record, 0-based",
    nullable=False,
)
SEQUENCE: Final = Column(
    "sequence",
    pa.string(),
    "Name of the sequence: the first word after `>`; null if there is none. Names may occur twice",
)
LENGTH: Final = Column(
    "length",
    pa.int64(),
    "Number of bases; blanks and line ends do not count",
    "bases",
    nullable=False,
)
STATUS: Final = Column(
    "status",
    CONTIG_TYPE,
    "`scored`, or the first reason of a closed list why there is no log-likelihood",
    nullable=False,
)
REASON: Final = Column(
    "reason", CONTIG_TYPE, "Which cause the status has; null if the status has only one cause"
)

SEQUENCE_SHARD_COLUMNS: Final = (
    RECORD,
    SEQUENCE,
    LENGTH,
    Column("status", CONTIG_TYPE, "Status so far; `to_score` if none applies yet", nullable=False),
    REASON,
    Column(
        "num_other",
        pa.int64(),
        "Number of letters other than A, C, G and T",
        "bases",
        nullable=False,
    ),
    Column("bases", pa.string(), "The bases in upper case; null unless `to_score`"),
)
"""Columns of the file of a shard that ``split_sequences`` writes."""

_VALUES: Final = (
    Column(
        "ll",
        pa.float64(),
        "Log-likelihood: the sum of the log-probabilities of the predicted tokens",
        "nats",
    ),
    Column("mean_log_prob", pa.float64(), "`ll` divided by `predicted`", "nats"),
    Column(
        "bits_per_base",
        pa.float64(),
        "`-mean_log_prob / ln 2`: how many bits the model needs for a base; 2 means that all four "
        "bases are equally likely",
        "bits",
    ),
)

SEQUENCE_VALUE_COLUMNS: Final = tuple(column.name for column in _VALUES)
"""The columns of values, without a strand's suffix."""


def _of_strand(column: Column, strand: Strand) -> Column:
    description = f"`{column.name}` of the {strand} strand alone"
    return Column(column.name + STRAND_SUFFIXES[strand], column.type, description, column.unit)


SEQUENCE_COLUMNS: Final = (
    RECORD,
    SEQUENCE,
    LENGTH,
    STATUS,
    REASON,
    Column(
        "flags",
        list_type(pa.string(), nullable_items=False),
        "What to know about a scored row, of a closed list; empty unless `scored`",
        nullable=False,
    ),
    Column(
        "predicted",
        pa.int64(),
        "Number of tokens that are predicted on each strand: all bases but the first; all bases of "
        "a circular sequence or with `prepend_bos`. Null unless `scored` or `non_finite`",
        "tokens",
    ),
    *(
        Column(
            one.name,
            one.type,
            f"{one.description}. Mean of the asked strands, null if one of them has none",
            one.unit,
        )
        for one in _VALUES
    ),
    *(_of_strand(one, strand) for strand in STRAND_SUFFIXES for one in _VALUES),
)
"""Columns of the table of a sequence set, without those of single bases."""

LOG_PROBS_COLUMNS: Final = {
    strand: Column(
        f"log_probs{suffix}",
        list_type(pa.float32()),
        f"Log-probability of each base of the sequence when the {strand} strand is read, in the "
        f"order of the sequence; null for the base that is not predicted"
        + (
            ""
            if strand == "forward"
            else ". The model reads and predicts the complement of the base"
        ),
        "nats",
    )
    for strand, suffix in STRAND_SUFFIXES.items()
}
"""The columns with `per_base`, by strand."""


def sequence_shard_schema() -> pa.Schema:
    """Schema of a shard of a sequence set."""
    return make_schema(SEQUENCE_SHARD_COLUMNS)


def sequences_table_schema(*, per_base: bool) -> pa.Schema:
    """Schema of the table of a sequence set, and of the files of its shards.

    Args:
        per_base: Whether it has the log-probability of each base.
    """
    return make_schema([*SEQUENCE_COLUMNS, *(LOG_PROBS_COLUMNS.values() if per_base else ())])


def is_sequences_table(names: Sequence[str]) -> bool:
    """Whether a table with these columns is one of a sequence set."""
    return list(names)[: len(SEQUENCE_COLUMNS)] == [one.name for one in SEQUENCE_COLUMNS]
