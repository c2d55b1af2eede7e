"""The columns and statuses of the tables of a generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import pyarrow as pa

from evo2_tasks.table.schema import CONTIG_TYPE, Column, Reason, make_schema

GENERATION_VERSION: Final = 1
"""Raised when the same settings give other sequences in the same environment."""

GENERATED: Final = "generated"

GENERATION_STATUS_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "empty": "the prompt has no bases",
        "invalid_record": "the record of the FASTA has a character that is not a letter, or its "
        "name is too long; or the line of the BED is not a region",
        "rna": "the prompt has more U than T; the model reads DNA, so replace U by T",
        "contig_not_found": "the reference has no sequence for the contig of the region",
        "position_out_of_range": "a base of the region is outside the contig",
        "too_long": "the prompt has more letters than `max_length`",
        "too_many_n": "more than half of the letters of the prompt are not A, C, G or T",
        "no_candidate": "a step of the search had no candidate to keep: the model gave a number "
        "that is not finite, or a scorer gave minus infinity for all of them. `bases` are those "
        "up to this step",
        GENERATED: "no other status applies; the row has all bases",
    }
)
"""Why a row has a sequence or has none. A row has the first status that applies."""

GENERATION_REASON_MEANINGS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "not_letters": Reason("invalid_record", "a character of the record is not a letter"),
        "long_name": Reason(
            "invalid_record", "the name has more than 65,536 bytes; the row has the first of them"
        ),
    }
)
"""Which cause a status has, of a FASTA. Lines of a BED have the reasons of a saturation set."""

RECORD: Final = Column(
    "record",
    pa.int64(),
    "Number of the prompt, counted from 0",
    "prompt, 0-based",
    nullable=False,
)
PROMPT: Final = Column(
    "prompt",
    pa.string(),
    "Name of the prompt: the first word after `>`, the name of the region or the region itself; "
    "null if there is none. Names may occur twice",
)
STATUS: Final = Column(
    "status",
    CONTIG_TYPE,
    "`generated`, or the first reason of a closed list why there is no whole sequence",
    nullable=False,
)
REASON: Final = Column(
    "reason", CONTIG_TYPE, "Which cause the status has; null if the status has only one cause"
)
PROMPT_LENGTH: Final = Column(
    "prompt_length", pa.int64(), "Number of letters of the prompt, with its tag", "letters"
)
SEQUENCE: Final = Column(
    "sequence",
    pa.int64(),
    "Number of the sequence among those of its prompt, counted from 0",
    "sequence, 0-based",
    nullable=False,
)
LOG_PROB: Final = Column(
    "log_prob",
    pa.float64(),
    "Log-probability of the bases under the model, given the prompt, over all tokens of the model, "
    "whatever the sampling settings are; null if it is not finite",
    "nats",
)
TOTAL: Final = Column(
    "total",
    pa.float64(),
    "Sum of the scores, each times its weight; 0 without scorers",
)

PROMPT_COLUMNS: Final = (
    RECORD,
    PROMPT,
    Column(
        "status", CONTIG_TYPE, "Status so far; `to_generate` if none applies yet", nullable=False
    ),
    REASON,
    Column("length", pa.int64(), "Number of letters, with the tag", "letters", nullable=False),
    Column("text", pa.string(), "The letters, with the tag; null unless `to_generate`"),
    Column(
        "reference_contig",
        CONTIG_TYPE,
        "Contig of the region as the reference spells it; null without a region",
    ),
    Column("start", pa.int64(), "Start of the region", "base, 0-based"),
    Column("end", pa.int64(), "End of the region, exclusive", "base, 0-based"),
    Column("strand", CONTIG_TYPE, "Strand of the region, `+` or `-`"),
)
"""Columns of the file that ``read_prompts`` writes."""

RESULT_COLUMNS: Final = (
    RECORD,
    PROMPT,
    SEQUENCE,
    STATUS,
    REASON,
    PROMPT_LENGTH,
    Column("length", pa.int64(), "Number of generated bases", "bases", nullable=False),
    Column("bases", pa.string(), "The generated bases, without the prompt; null if there are none"),
    LOG_PROB,
    TOTAL,
)
"""Columns of a file of ``generate_sequences``, without those of the scorers."""

COMPARED_COLUMNS: Final = (
    Column("gc", pa.float64(), "Share of G and C among the generated bases", "share"),
    Column(
        "prompt_gc",
        pa.float64(),
        "Share of G and C among the A, C, G and T of the prompt, without its tag",
        "share",
    ),
    Column(
        "prompt_match",
        pa.int64(),
        "Length of the longest stretch that the sequence and the prompt have in common, on either "
        "strand; 0 below 12 bases",
        "bases",
    ),
    Column(
        "reference_match",
        pa.int64(),
        "The same for the reference of `compare_with`; null without one",
        "bases",
    ),
    Column(
        "reference_match_start",
        pa.int64(),
        "Where that stretch begins in the sequence",
        "base, 0-based",
    ),
    Column("reference_match_contig", CONTIG_TYPE, "The contig that has the stretch"),
    Column(
        "reference_match_pos",
        pa.int64(),
        "Its first base on the forward strand of the contig",
        "base, 1-based",
    ),
    Column(
        "reference_match_strand",
        CONTIG_TYPE,
        "Strand of the contig that reads as the sequence does, `+` or `-`",
    ),
    Column(
        "copied",
        pa.int64(),
        "Bases of the sequence that are in any stretch of 32 bases or more that the reference has "
        "too; null without a reference",
        "bases",
    ),
    Column(
        "orf_codons",
        pa.int64(),
        "Codons of the longest open reading frame on either strand, from a start codon, without "
        "the stop codon; 0 if there is none",
        "codons",
    ),
    Column("orf_start", pa.int64(), "Its first base on the forward strand", "base, 0-based"),
    Column("orf_end", pa.int64(), "Its end on the forward strand, exclusive", "base, 0-based"),
    Column("orf_strand", CONTIG_TYPE, "The strand that is read, `+` or `-`"),
)
"""Columns that ``merge_generation`` adds."""

STEP_COLUMNS: Final = (
    RECORD,
    PROMPT,
    SEQUENCE,
    Column("step", pa.int64(), "Number of the step, counted from 0", "step, 0-based", False),
    Column(
        "candidate",
        pa.int64(),
        "Number of the candidate in its sequence and step, counted from 0",
        "candidate, 0-based",
        nullable=False,
    ),
    Column(
        "parent",
        pa.int64(),
        "Number of the candidate of the step before that it continues; null in the first step, "
        "whose candidates continue the prompt",
        "candidate, 0-based",
    ),
    Column(
        "start",
        pa.int64(),
        "Number of generated bases before those of the step",
        "bases",
        nullable=False,
    ),
    Column("bases", pa.string(), "The bases that the step added", nullable=False),
    Column(
        "log_prob",
        pa.float64(),
        "Log-probability of these bases under the model, given all bases before them, over all "
        "tokens of the model; null if it is not finite",
        "nats",
    ),
    TOTAL,
    Column("chosen", pa.bool_(), "Whether the step kept it", nullable=False),
    Column("rank", pa.int64(), "Its rank among the kept ones, 0 for the best; null if not kept"),
)
"""Columns of the table of the steps, without those of the scorers."""

SCORE_PREFIX: Final = "score_"


def score_columns(scorers: Sequence[str]) -> tuple[Column, ...]:
    """A column for each scorer.

    Args:
        scorers: Their names.
    """
    return tuple(
        Column(
            f"{SCORE_PREFIX}{name}",
            pa.float64(),
            f"Number of the scorer `{name}` for all generated bases up to here",
        )
        for name in scorers
    )


def prompts_schema() -> pa.Schema:
    """Schema of the file of ``read_prompts``."""
    return make_schema(PROMPT_COLUMNS)


def results_schema(scorers: Sequence[str]) -> pa.Schema:
    """Schema of a file of ``generate_sequences``.

    Args:
        scorers: Names of the scorers.
    """
    return make_schema([*RESULT_COLUMNS, *score_columns(scorers)])


def generated_schema(scorers: Sequence[str]) -> pa.Schema:
    """Schema of the table of a generation.

    Args:
        scorers: Names of the scorers.
    """
    return make_schema([*RESULT_COLUMNS, *COMPARED_COLUMNS, *score_columns(scorers)])


def steps_schema(scorers: Sequence[str]) -> pa.Schema:
    """Schema of the table of the steps.

    Args:
        scorers: Names of the scorers.
    """
    return make_schema([*STEP_COLUMNS, *score_columns(scorers)])


def is_generation_table(names: Sequence[str]) -> bool:
    """Whether a table with these columns is that of a generation."""
    return list(names)[: len(RESULT_COLUMNS)] == [one.name for one in RESULT_COLUMNS]


def is_steps_table(names: Sequence[str]) -> bool:
    """Whether a table with these columns is that of the steps of a generation."""
    return list(names)[: len(STEP_COLUMNS)] == [one.name for one in STEP_COLUMNS]


def list_scorers(names: Sequence[str]) -> list[str]:
    """The scorers of a table of a generation, from the names of its columns."""
    return [name.removeprefix(SCORE_PREFIX) for name in names if name.startswith(SCORE_PREFIX)]
