"""The columns of every table, in one place.

A ``Column`` has a name, an Arrow type, a unit and a meaning, and may be nullable. The Arrow schemas
of all steps, the page ``docs/columns.md`` and the INFO definitions of the VCF export are made from
these columns. The file is long because it is this list, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, NamedTuple

import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField, FieldType
from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.layout import TABLE

SCORES_VERSION: Final = 1
"""Raised when a score gets another definition, or changes by more than the documented tolerance."""

STATUS_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "invalid_record": "the line cannot be read. VCF and tables: it has fewer than five "
        "columns, POS is not a 64-bit integer, or one of the first five columns or an entry of ALT "
        "is empty. BED and lists: it is not a region, or not a variant in a known notation. The "
        "line has one row with allele 0; its other keys are null",
        "filtered": "the config's `filters` leave the allele out",
        "missing_allele": "ALT is `.`, or a region does not contain a codon",
        "not_a_variant": "ALT equals REF, or the inverted bases read the same",
        "overlapping_deletion": "ALT is `*`",
        "breakend": "ALT is a breakend: brackets, `.A` or `A.`",
        "symbolic_allele": "ALT is symbolic (`<CNV>`, `<*>`, `<NON_REF>`, `C<ctg1>`), or it is a "
        "`<DEL>`, `<DUP>`, `<INV>` or `<INS>` that INFO and the reference do not resolve",
        "non_acgt_allele": "the trimmed REF or ALT contains a character other than A, C, G and T",
        "contig_not_found": "the reference has no sequence for this contig",
        "position_out_of_range": "a base of REF, of a region or of what a symbolic ALT changes is "
        "outside the contig",
        "ref_alt_swapped": "the reference has ALT instead of REF at `pos`",
        "ref_mismatch": "the reference does not have REF at `pos`",
        "too_long": "the trimmed REF or ALT is longer than `max_allele_length`",
        "too_many_n": "the share of bases other than A, C, G and T in the window is above "
        "`max_n_share`",
        "no_context": "on an asked strand the two windows do not differ, or differ in their first "
        "token, for which the model has no prediction; the other strand keeps its scores",
        "non_finite": "the model gave a log-probability that is not a finite number; a strand "
        "with finite numbers only keeps its scores",
        "scored": "no other status applies; the row has an `llr`",
    }
)
"""Why a row has a score or has none. A row has the first status in this order that applies."""

FLAG_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "clipped": "on an asked strand the windows, before a horizon cuts them, are shorter than "
        "`window_length`",
        "low_context": "on an asked strand fewer than `min_context` tokens come before the first "
        "difference",
        "low_downstream": "on an asked strand fewer than `min_context` tokens (with a horizon: "
        "fewer than `horizon`) come from the first difference on",
        "n_in_window": "`window_start..window_end` contains a base other than A, C, G and T",
        "alias_contig": "`contig` and `reference_contig` are two names of one contig",
        "iupac_ref": "the reference has an IUPAC letter where the trimmed REF has the first base "
        "of that letter by the alphabet (VCF 4.3); the reference window has the base of REF there",
        "moved": "left-aligning moved the trimmed allele",
        "resolved_symbolic": "ALT is symbolic; the score is that of the same allele written out",
    }
)
"""Remarks on a scored row."""

HAPLOTYPE_REF: Final = "haplotype_ref"
"""Flag of a row whose REF the haplotype of ``haplotype_of`` has, and the reference has not."""

GENOME_FLAG_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        HAPLOTYPE_REF: "the reference does not have `ref` at `pos`; the haplotype has it",
        "unphased": "the sample has unphased heterozygous alleles in the window; they are not in "
        "its genome",
        "several_phase_sets": "the sample has phased alleles of other phase sets in the window; "
        "they are not in its genome",
        "overlapping_background": "alleles of the haplotype in the window overlap; of these, the "
        "genome has only the first",
        "incomplete_background": "other alleles of the haplotype in the window are not in the "
        "genome: `*` and symbolic alleles, and alleles whose REF is not in the reference",
    }
)
"""Remarks on a scored row of a set with ``haplotype_of``, from the genotypes."""

HAPLOTYPE_FLAG_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unphased": "the genotype is heterozygous and not phased, and the sample has other "
        "heterozygous alleles in the window; `background` has only the alleles that are on every "
        "haplotype",
        "several_phase_sets": "the sample has phased alleles of other phase sets in the window; "
        "they are not in `background`",
        "overlapping_background": "alleles of this haplotype in the window overlap; of these, "
        "`background` has only the first",
        "incomplete_background": "other alleles of this haplotype in the window are not in "
        "`background`: `*` and symbolic alleles, alleles that `filters` leave out, alleles whose "
        "REF is not in the reference",
    }
)
"""Remarks on a scored row of haplotypes or compounds, from the genotypes."""


class Reason(NamedTuple):
    """The status that a reason belongs to, and the meaning of the reason."""

    status: str
    meaning: str


REASON_MEANINGS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        reason: Reason(status, meaning)
        for status, meanings in {
            "invalid_record": {
                "too_few_columns": "the line has fewer columns than the format needs",
                "too_many_columns": "the line has more columns than the header",
                "empty_column": "a column that identifies the allele is empty: one of the first "
                "five of a VCF; contig, pos, ref or alt of a table; the REF of a list",
                "bad_position": "the position is not a whole number of 64 bits, or (SPDI) it is "
                "below 0",
                "empty_alt": "an entry of ALT is empty",
                "open_quote": "a quoted cell has no closing quote",
                "tab_in_field": "a field of a BCF contains a tab",
                "unknown_notation": "the entry of a list is not in a notation that can be read, or "
                "a cell of a column of HGVS is not HGVS",
                "not_hgvs": "the HGVS breaks a rule of HGVS: `5AC>GT`, `5inv`, `5del3`",
                "not_genomic": "the HGVS is of a transcript or a protein (`c.`, `n.`, `r.`, `p.`)",
                "no_contig": "the HGVS does not name its sequence: `g.5A>G`",
                "uncertain": "the HGVS has `?` or parentheses: something is uncertain",
                "several_changes": "the HGVS has several changes, alleles or alternatives",
                "unsupported_change": "the HGVS is of a conversion (`con`), a translocation, the "
                "end of a chromosome (`pter`), a methylation or a whole sequence",
                "no_inserted_sequence": "the HGVS does not state the inserted bases: `5_6ins3`",
                "other_sequence": "the HGVS inserts bases of another sequence, by their positions",
                "flanks_not_adjacent": "the HGVS inserts bases, but not between two neighbouring "
                "positions: `5insA`",
                "reversed_range": "a range of the HGVS ends before it begins, and is not one of a "
                "circular contig (`m.` or `o.`) across its origin",
                "length_mismatch": "the HGVS states more or fewer bases than its range has; the "
                "range of a repeat does not have whole copies of the unit",
                "partial_repeat": "the HGVS is of a repeat (`CAG[23]`), and next to its range are "
                "more copies of the unit",
                "bad_sequence": "a sequence of an SPDI is not letters, and not a number of bases",
                "bad_region": "start and end of a region are not numbers in order, or the region "
                "has no bases",
                "bad_strand": "the strand of a BED line is not `+`, `-` or `.`",
                "bad_blocks": "the blocks or the coding part of a BED line do not fit its region",
                "too_many_alleles": "`saturate` may make more than 2^31 - 1 alleles of the region",
            },
            "filtered": {
                "not_pass": "`pass_only`: FILTER is not `PASS`",
                "other_contig": "`contigs` does not list the contig",
                "long_allele": "REF or ALT is longer than `filters.max_allele_length`",
                "not_in_haplotype": "`haplotype_of`: the haplotype lacks the base, or does not "
                "have the bases of the codon next to each other",
            },
            "missing_allele": {
                "no_alt": "ALT is `.`",
                "no_codon": "the region does not contain a codon",
            },
            "not_a_variant": {
                "alt_is_ref": "ALT equals REF",
                "palindrome": "the bases that `<INV>` inverts are their own reverse complement",
            },
            "breakend": {
                "paired_breakend": "ALT names its mate in brackets",
                "single_breakend": "ALT is `.A` or `A.`",
            },
            "symbolic_allele": {
                "other_symbol": "ALT is not `<DEL>`, `<DUP>`, `<DUP:TANDEM>`, `<INV>` or `<INS>`",
                "imprecise": "INFO has IMPRECISE, and not CIPOS=0,0",
                "uncertain_bounds": "CIPOS, CIEND or CILEN is not 0,0",
                "no_junction": "SVCLAIM does not have J: the breakpoint was not seen",
                "not_tandem": "a `<DUP>` whose SVCLAIM does not say J: its copy may be elsewhere",
                "no_length": "neither SVLEN nor END states a length of one base or more",
                "no_sequence": "an `<INS>` without SVINSSEQ or INSSEQ",
                "extra_sequence": "INFO has more inserted bases at the breakpoint (SVINSSEQ, "
                "INSSEQ, SVINSLEN, INSLEN)",
                "contradiction": "END, SVLEN and the inserted sequence contradict each other",
                "bad_info": "one of these fields cannot be read, or does not have one value for "
                "each ALT",
                "unknown_ref": "REF has another letter than A, C, G and T that the reference does "
                "not have at `pos`",
            },
            "non_acgt_allele": {
                "other_letters": "the trimmed REF or ALT has other letters, for example N; also of "
                "a symbolic ALT",
                "dash": "REF or ALT is `-`, as in ANNOVAR and MAF",
                "unknown_form": "REF or ALT is not letters, and not in a form of VCF",
            },
            "contig_not_found": {
                "unknown_contig": "no sequence of the reference has this name or an alias of it",
                "several_contigs": "several sequences of the reference could be meant",
            },
            "position_out_of_range": {
                "before_start": "`pos` is below 1",
                "after_end": "`pos` is after the last base of the contig",
                "reaches_past_end": "the last bases of REF, or of what a symbolic ALT changes, are "
                "after the end of the contig",
            },
            "ref_mismatch": {
                "other_bases": "the reference has another base in at least one place",
                "ref_not_acgt": "where they differ, REF has other letters than A, C, G and T",
                "reference_not_acgt": "where they differ, the reference has other letters than A, "
                "C, G and T",
            },
            "too_long": {
                "long_ref": "the trimmed REF is longer than `max_allele_length`",
                "long_alt": "the trimmed ALT is longer than `max_allele_length`",
                "long_ref_and_alt": "both are longer than `max_allele_length`",
            },
            "no_context": {
                "no_difference": "the two windows of the first such strand do not differ",
                "first_token": "the two windows of the first such strand differ in their first "
                "token",
            },
            "non_finite": {
                "forward_strand": "a number of the forward strand is not finite",
                "reverse_strand": "a number of the reverse strand is not finite",
                "both_strands": "numbers of both strands are not finite",
            },
        }.items()
        for reason, meaning in meanings.items()
    }
)
"""Which cause a status has, for every status that has more than one."""

STATUSES: Final = tuple(STATUS_MEANINGS)
REASONS: Final = tuple(REASON_MEANINGS)
FLAGS: Final = (*FLAG_MEANINGS, *GENOME_FLAG_MEANINGS)

CONTIG_TYPE: Final = pa.dictionary(pa.int32(), pa.string())
"""Type of names that repeat from row to row: each is stored once, and readers get categories."""


def list_type(item: pa.DataType, *, nullable_items: bool = True) -> pa.DataType:
    """List type with the item name of Parquet, so that a written type is read back unchanged."""
    return pa.list_(pa.field("element", item, nullable=nullable_items))


EDIT_LIST: Final = list_type(
    pa.struct([("start", pa.int64()), ("num_ref", pa.int32()), ("alt", pa.string())]),
    nullable_items=False,
)
"""Arrow type of a list of edits."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: Name in the file, the config and on the command line.
        type: Arrow type.
        description: Meaning of the column.
        unit: Unit, and the coordinate base of a position; ``none`` for names and text.
        nullable: Whether the column may be null in a row.
        made_by: The step that makes the column, if the column could also be carried.
    """

    name: str
    type: pa.DataType
    description: str
    unit: str = "none"
    nullable: bool = True
    made_by: str = ""

    def field(self) -> pa.Field:
        """The Arrow field, with description and unit as its metadata."""
        metadata = {"description": self.description, "unit": self.unit}
        metadata |= {"made_by": self.made_by} if self.made_by else {}
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
REASON = Column(
    "reason",
    CONTIG_TYPE,
    "Which cause the status has, of a closed list; null if the status has only one cause, and in "
    "tables of earlier versions",
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
"""Columns of scores without a suffix: means of the asked strands, null if one of these is null."""

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
        description="The status, if it is known from reading the input: `invalid_record`, "
        "`filtered`, or why a row has no bases; `spans_origin` if REF goes on at the first base "
        "of a circular contig; else null",
        nullable=True,
    ),
    replace(
        REASON, description="Which cause the status has, if it is known from reading the input"
    ),
    Column(
        "sv_length",
        pa.int64(),
        "Number of reference bases that a symbolic ALT deletes, copies or inverts, if INFO states "
        "it; else null",
        "bases",
    ),
    Column(
        "sv_sequence", pa.string(), "Bases that a symbolic ALT inserts, if INFO has them; else null"
    ),
)
"""Columns of the file of ``split``: a slice of the input's alleles."""


def _strand_columns(strand: Strand) -> tuple[Column, Column]:
    suffix = STRAND_SUFFIXES[strand]
    return (
        Column(
            f"length{suffix}",
            pa.int64(),
            f"Length of the two windows of the {strand} strand, after the cuts to the common "
            "length and by a horizon; null if the strand has no score",
            "tokens",
        ),
        Column(
            f"prefix{suffix}",
            pa.int64(),
            f"Number of tokens before the first difference in the windows of the {strand} "
            "strand; null if the strand has no score",
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
        description="`to_score`, or the first status of a closed list that applies",
    ),
    REASON,
    REFERENCE_CONTIG,
    FLAG_LIST,
    WINDOW_START,
    WINDOW_END,
    Column(
        "edit_start",
        pa.int64(),
        "First changed base of the trimmed, left-aligned allele; for an insertion the base after "
        "it",
        "base, 0-based",
    ),
    Column("edit_ref", pa.int32(), "Length of the trimmed ref allele", "bases"),
    Column("edit_alt", pa.string(), "Trimmed, left-aligned alt allele"),
    Column(
        "background",
        EDIT_LIST,
        "Edits of both windows (`num_ref` bases from the 0-based `start` are replaced by `alt`): "
        "bases of REF at IUPAC letters of the reference",
        nullable=False,
    ),
    *_strand_columns("forward"),
    *_strand_columns("reverse"),
)
"""Columns of the file of ``windows``: windows and edit of each allele."""

CARRIED_COLUMNS: Final = (RECORD, ALLELE)
"""Keys of the files of ``carry`` and ``annotate``, which have the rows of the input. The columns
that are carried or made follow."""

CONSEQUENCE: Final = Column(
    "consequence", CONTIG_TYPE, "The most severe of `consequences`, by Ensembl's order of severity"
)
CONSEQUENCE_COLUMNS: Final = (
    CONSEQUENCE,
    Column(
        "consequences",
        list_type(pa.string(), nullable_items=False),
        "Sequence Ontology terms of the effects on all transcripts, each once, in alphabetical "
        "order",
    ),
    Column("gene", CONTIG_TYPE, "Symbol or name of the gene of `transcript`"),
    Column("gene_id", CONTIG_TYPE, "Identifier of the gene of `transcript`"),
    Column(
        "transcript",
        CONTIG_TYPE,
        "Identifier of the transcript with the effect `consequence`; of several, MANE Select or "
        "canonical first, then the longest coding sequence, then the first identifier",
    ),
    Column("transcript_strand", CONTIG_TYPE, "Strand of `transcript`: `+` or `-`"),
    Column(
        "amino_acids",
        pa.string(),
        "Change of the protein of `transcript`: amino acids before, position, amino acids after "
        "(`W24R`; `*` is a stop codon), at most 40 characters",
    ),
)
"""Columns of the file of ``annotate`` if the alleles get genes and consequences."""

IDENTIFIER_COLUMNS: Final = (
    Column(
        "vrs_id",
        pa.string(),
        "Identifier of the allele by GA4GH VRS 2 (`ga4gh:VA.` and 32 characters)",
    ),
    Column(
        "spdi",
        pa.string(),
        "The allele in SPDI notation, with the whole repeat in which it can be placed",
    ),
)
"""Columns of the file of ``annotate`` that ``identifiers`` of a variant set names."""

ANNOTATION_COLUMNS: Final = tuple(
    replace(column, made_by="annotate") for column in (*CONSEQUENCE_COLUMNS, *IDENTIFIER_COLUMNS)
)
"""Columns that ``annotate`` can make, which follow its keys. Which of them a variant set has
depends on its config."""

SEGMENTS_COLUMNS: Final = (
    replace(REFERENCE_CONTIG, description="Contig as the reference spells it", nullable=False),
    Column("contig_length", pa.int64(), "Length of the contig", "bases", nullable=False),
    Column("circular", pa.bool_(), "Whether the contig is circular", nullable=False),
    Column("start", pa.int64(), "Start of the interval", "base, 0-based", nullable=False),
    Column("end", pa.int64(), "End of the interval", "base, 0-based, exclusive", nullable=False),
    Column(
        "sequence",
        pa.string(),
        "Bases of the interval in upper case, with IUPAC letters",
        nullable=False,
    ),
)
"""Columns of the second file of ``windows``: the reference intervals that the windows need.

Intervals are merged, so that each base is stored once, and cut into pieces."""

REFERENCE_COLUMNS: Final = (
    replace(REFERENCE_CONTIG, description="Contig as the reference spells it", nullable=False),
    Column("start", pa.int64(), "Start of the block", "base, 0-based", nullable=False),
    Column("end", pa.int64(), "End of the block", "base, 0-based, exclusive", nullable=False),
    Column(
        "sha256",
        pa.string(),
        "SHA-256 of the bases of the block in upper case, as hexadecimal digits",
        nullable=False,
    ),
)
"""Columns of the digests of the reference's blocks, which ``split`` writes."""

SEQUENCES_COLUMNS: Final = (
    replace(REFERENCE_CONTIG, description="Contig as the reference spells it", nullable=False),
    Column("length", pa.int64(), "Length of the sequence", "bases", nullable=False),
    Column(
        "refget",
        pa.string(),
        "GA4GH refget accession of the sequence, `SQ.` and 32 characters",
        nullable=False,
    ),
)
"""Columns of the sequences of the reference, which ``split`` writes."""

SCORES_COLUMNS: Final = (
    RECORD,
    ALLELE,
    replace(STATUS, description="As in the result"),
    replace(REASON, description="As in the result"),
    *_ALL_SCORES,
)
"""Columns of the file of ``score``; its rows are those of the windows file."""

HITS_COLUMNS: Final = (
    RECORD,
    ALLELE,
    *(_of_strand(column, strand) for strand in STRAND_SUFFIXES for column in _SCORES),
    *(
        Column(
            f"device{suffix}",
            CONTIG_TYPE,
            f"Kind of device that computed the scores of the {strand} strand",
        )
        for strand, suffix in STRAND_SUFFIXES.items()
    ),
)
"""Columns of the file of ``lookup``: the scores that the store has of a shard."""

REUSED_COLUMNS: Final = (RECORD, ALLELE)
"""Columns of the table of ``merge`` with the alleles whose scores are from the store."""

FINAL_COLUMNS: Final = (
    RECORD,
    ALLELE,
    CONTIG,
    REFERENCE_CONTIG,
    POS,
    REF,
    ALT,
    STATUS,
    REASON,
    FLAG_LIST,
    WINDOW_START,
    WINDOW_END,
    *_ALL_SCORES,
)
"""Columns of the result, which ``merge`` writes. Carried columns follow."""

REFERENCE_WINDOW: Final = tuple(
    replace(column, name=column.name.replace("window", "reference"))
    for column in (WINDOW_START, WINDOW_END)
)
"""Where the reference has a window of a genome with the alleles of a haplotype. Its
``window_start`` and ``window_end`` count the bases of this genome."""

ADDED_COLUMNS: Final[Mapping[str, pa.DataType]] = MappingProxyType(
    {column.name: column.type for column in (REASON, *SHARD_COLUMNS[-2:], *REFERENCE_WINDOW)}
)
"""Columns that tables of earlier versions lack, and windows of sets without ``haplotype_of``, with
their types. They are then null."""


def _window_column(column: Column, of_what: str) -> Column:
    name = column.name.replace("llr", "llr_window", 1)
    description = f"`{column.name}` of the whole windows{of_what}"
    return replace(column, name=name, description=description)


AUDIT_COLUMNS: Final = (
    RECORD,
    ALLELE,
    _window_column(
        _SCORES[0], ", as without `horizon`; null if a log-probability is not a finite number"
    ),
    *(
        _window_column(_of_strand(_SCORES[0], strand), f" of the {strand} strand alone")
        for strand in STRAND_SUFFIXES
    ),
)
"""Columns of the table of the audit, which ``merge_audit`` writes: some alleles of the result."""

ALLELE_LIST: Final = list_type(
    pa.struct(
        [
            pa.field("record", pa.int64(), nullable=False),
            pa.field("allele", pa.int32(), nullable=False),
        ]
    ),
    nullable_items=False,
)
"""Type of a list of alleles, each by the keys of its row in the result."""

SAMPLE: Final = Column("sample", CONTIG_TYPE, "Name of the sample", nullable=False)
HAPLOTYPE: Final = Column(
    "haplotype",
    pa.int32(),
    "Haplotype of the sample, as in GT; null if the genotype is not phased",
    "haplotype, 1-based",
)
PHASE_SET: Final = Column(
    "phase_set",
    CONTIG_TYPE,
    "Phase set (PS) or name of the phase set (PSL) of the genotype; null if it has none. Alleles "
    "of different phase sets are never in one background or compound",
)
NEIGHBOURS: Final = Column(
    "background",
    ALLELE_LIST,
    "The other alleles of this haplotype in the window, which both windows have, in the order of "
    "their positions",
    nullable=False,
)


def _llr_columns(suffix: str, description: str, of_strand: str) -> tuple[Column, ...]:
    return (
        Column(f"llr_{suffix}", pa.float64(), description, "nats"),
        *(
            Column(
                f"llr_{suffix}{STRAND_SUFFIXES[strand]}",
                pa.float64(),
                of_strand.format(name=f"llr_{suffix}", strand=strand),
                "nats",
            )
            for strand in STRAND_SUFFIXES
        ),
    )


_OF_STRAND: Final = "`{name}` of the {strand} strand alone"

_PAIR: Final = Column(
    "pair",
    pa.int64(),
    "Number of the pair of windows that the row needs, of all shards; null if there are no "
    "neighbours, so that the scores are those of the allele alone",
    "pair, 0-based",
)

CARRIER_COLUMNS: Final = (
    RECORD,
    ALLELE,
    SAMPLE,
    HAPLOTYPE,
    PHASE_SET,
    NEIGHBOURS,
    _PAIR,
    replace(FLAG_LIST, description="Flags that the genotypes give"),
)
"""Columns of the file of ``haplotypes`` about the alleles of samples."""

_MEMBERS: Final = Column(
    "members", ALLELE_LIST, "The alleles, in the order of their positions", nullable=False
)

_JOINT: Final = (
    replace(REFERENCE_CONTIG, name="contig", description="Contig as the reference spells it"),
    replace(POS, description="Position of the first base of `ref`"),
    replace(REF, description="The bases of the reference from the first to the last changed one"),
    replace(ALT, description="The bases that all members together put in their place"),
)

GROUP_COLUMNS: Final = (
    SAMPLE,
    HAPLOTYPE,
    PHASE_SET,
    _MEMBERS,
    Column(
        "edits",
        EDIT_LIST,
        "What each member changes: `num_ref` bases of the contig from the 0-based `start` are "
        "replaced by `alt`",
        nullable=False,
    ),
    *_JOINT,
    replace(_PAIR, description="Number of the pair of windows, of all shards", nullable=False),
    replace(FLAG_LIST, description="Flags that the genotypes give"),
)
"""Columns of the file of ``haplotypes`` about alleles that are scored together."""

HAPLOTYPE_COLUMNS: Final = (
    RECORD,
    ALLELE,
    SAMPLE,
    HAPLOTYPE,
    *_llr_columns("alone", f"`llr` of the allele in the reference, as in `{TABLE}`", _OF_STRAND),
    *_llr_columns(
        "background",
        "`llr` of the allele where both windows have the alleles of `background`; `llr_alone` if "
        "there are none",
        _OF_STRAND,
    ),
    Column(
        "num_background", pa.int32(), "Number of alleles in `background`", "alleles", nullable=False
    ),
    NEIGHBOURS,
    PHASE_SET,
    replace(
        STATUS,
        description="`scored` if the row has an `llr_background`, or the first reason of the "
        "closed list why it has none",
    ),
    REASON,
    replace(
        FLAG_LIST,
        description="What to know about a scored row: flags of the windows as in "
        f"`{TABLE}`, and flags of the genotypes; empty unless `scored`",
    ),
)
"""Columns of the table of ``merge_haplotypes`` with the alleles of samples."""

JOINT_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "consequence": "Most severe Sequence Ontology term of the effects that all members together "
    "have on the transcripts at these positions, or `intergenic_variant`. This column and those "
    "that follow are null if the reference has no `gff`",
    "consequences": "Sequence Ontology terms of the joint effects on all transcripts, each once, "
    "in alphabetical order",
    "amino_acids": "Joint change of the protein of `transcript`: amino acids before, position, "
    "amino acids after (`W24R`; `*` is a stop codon). If several places change, all of them, with "
    "semicolons between them; at most 40 characters",
}
"""Descriptions of the columns of compounds whose meaning differs from that for one allele."""

COMPOUND_COLUMNS: Final = (
    SAMPLE,
    HAPLOTYPE,
    PHASE_SET,
    _MEMBERS,
    *_JOINT,
    *_llr_columns(
        "joint", "`llr` of all members together, without other alleles in the windows", _OF_STRAND
    ),
    *_llr_columns("sum", "Sum of the `llr` of the members alone", _OF_STRAND),
    Column("interaction", pa.float64(), "`llr_joint - llr_sum`", "nats"),
    *(
        Column(
            f"interaction{STRAND_SUFFIXES[strand]}",
            pa.float64(),
            f"`interaction` of the {strand} strand alone",
            "nats",
        )
        for strand in STRAND_SUFFIXES
    ),
    replace(
        STATUS,
        description="`scored` if the row has an `llr_joint`, or the first reason of the closed "
        "list why it has none",
    ),
    REASON,
    replace(
        FLAG_LIST,
        description="What to know about a scored row: flags of the windows as in "
        f"`{TABLE}`, and flags of the genotypes; empty unless `scored`",
    ),
    *(
        replace(column, description=JOINT_DESCRIPTIONS.get(column.name, column.description))
        for column in CONSEQUENCE_COLUMNS
    ),
)
"""Columns of the table of ``merge_haplotypes`` with alleles that are scored together."""

TRACK_REGION_COLUMNS: Final = (
    replace(RECORD, description="Data line of the file of regions, counted from 0"),
    replace(CONTIG, description="Contig as the file spells it; null if the line cannot be read"),
    Column("start", pa.int64(), "Start of the region", "base, 0-based"),
    Column("end", pa.int64(), "End of the region", "base, 0-based, exclusive"),
    Column("name", pa.string(), "Name of the region"),
    REFERENCE_CONTIG,
    replace(
        STATUS,
        description="`scored` if all bases of the region are in the tracks, else "
        "`invalid_record`, `contig_not_found` or `position_out_of_range` (the bases within the "
        "contig are in the tracks)",
    ),
    REASON,
    Column(
        "num_bases",
        pa.int64(),
        "Number of bases of the region, or of its blocks, in the tracks",
        "bases",
        nullable=False,
    ),
)
"""Columns of the regions of a track set, in the folder of ``tile``."""

TILES_COLUMNS: Final = (
    replace(REFERENCE_CONTIG, description="Contig as the reference spells it", nullable=False),
    Column("strand", CONTIG_TYPE, "Strand that reads: `forward` or `reverse`", nullable=False),
    Column("start", pa.int64(), "Start of the window", "base, 0-based", nullable=False),
    Column(
        "end",
        pa.int64(),
        "End of the window; past the contig's length where it wraps around a circular contig",
        "base, 0-based, exclusive",
        nullable=False,
    ),
    Column(
        "piece_starts",
        list_type(pa.int64(), nullable_items=False),
        "Starts of the intervals whose bases are taken from the window",
        "base, 0-based",
        nullable=False,
    ),
    Column(
        "piece_ends",
        list_type(pa.int64(), nullable_items=False),
        "Ends of these intervals",
        "base, 0-based, exclusive",
        nullable=False,
    ),
)
"""Columns of the file of ``tile``: the windows of a shard, and the bases to take from each."""


def _track_columns(strand: Strand) -> tuple[Column, ...]:
    suffix = STRAND_SUFFIXES[strand]
    complement = "" if strand == "forward" else ", complemented to the forward strand"
    return tuple(
        Column(
            f"logp_{base}{suffix}",
            pa.float32(),
            f"Log-probability of {base} among the four bases on the {strand} strand{complement}; "
            "null for the first token that the strand reads",
            "nats",
        )
        for base in "ACGT"
    )


TRACK_COLUMNS: Final = (
    replace(CONTIG, description="Contig as the reference spells it", nullable=False),
    replace(POS, description="Position of the base, as in VCF", nullable=False),
    Column(
        "ref", CONTIG_TYPE, "Base of the reference, upper case, or its IUPAC letter", nullable=False
    ),
    *_track_columns("forward"),
    *_track_columns("reverse"),
    Column(
        "logp_ref",
        pa.float32(),
        "Log-probability of the reference's token among the whole vocabulary: mean of the strands "
        "that have one; null if none has",
        "nats",
    ),
    Column(
        "entropy",
        pa.float32(),
        "Entropy of the softmax of the mean of the four logits of the strands that have them, "
        "from 0 to 2; null if none has",
        "bits",
    ),
    *(
        Column(
            f"context{suffix}",
            pa.int32(),
            f"Number of bases that the {strand} strand reads before this one; null if the strand "
            "is not asked for",
            "bases",
        )
        for strand, suffix in STRAND_SUFFIXES.items()
    ),
)
"""Columns of the tracks: one row for each base of the regions."""

OWN_NAMES: Final = frozenset(column.name for column in FINAL_COLUMNS)
"""Names that a carried column must not have."""

CARRY_TYPES: Final[Mapping[FieldType, pa.DataType]] = MappingProxyType(
    {"string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
)
"""Arrow types of carried columns."""


def _carried_column(field: CarryField) -> Column:
    item = CARRY_TYPES[field.type]
    return Column(field.name, list_type(item) if field.is_list else item, field.description)


def make_schema(columns: Iterable[Column], carry_fields: Sequence[CarryField] = ()) -> pa.Schema:
    """Arrow schema of columns, followed by carried fields.

    Raises:
        InputError: A carried field has the name of one of the table's own columns, or two carried
            fields have the same name.
    """
    names: set[str] = set()
    for field in carry_fields:
        if field.name in OWN_NAMES:
            raise InputError(
                f"carry: {field.name!r} is the name of one of the table's own columns. Leave it "
                "out of carry, or give it another name in the input."
            )
        if field.name in names:
            raise InputError(f"carry: {field.name!r} is named twice. Name each field once.")
        names.add(field.name)
    all_columns = (*columns, *map(_carried_column, carry_fields))
    return pa.schema([column.field() for column in all_columns])


def shard_schema() -> pa.Schema:
    """Schema of the file of ``split``."""
    return make_schema(SHARD_COLUMNS)


def carried_schema(carry_fields: Sequence[CarryField] = ()) -> pa.Schema:
    """Schema of the file of ``carry``."""
    return make_schema(CARRIED_COLUMNS, carry_fields)


def annotations_schema(names: Iterable[str]) -> pa.Schema:
    """Schema of the file of ``annotate`` with some of ``ANNOTATION_COLUMNS``."""
    by_name = {column.name: column for column in ANNOTATION_COLUMNS}
    return make_schema((*CARRIED_COLUMNS, *(by_name[name] for name in names)))


def windows_schema(*, in_genome: bool = False) -> pa.Schema:
    """Schema of the file of ``windows`` with the rows.

    Args:
        in_genome: Whether the windows are of the genome of a sample, so that their place on the
            reference is stated too.
    """
    return make_schema([*WINDOWS_COLUMNS, *(REFERENCE_WINDOW if in_genome else ())])


def segments_schema() -> pa.Schema:
    """Schema of the file of ``windows`` with the reference segments."""
    return make_schema(SEGMENTS_COLUMNS)


def reference_schema() -> pa.Schema:
    """Schema of the file of ``split`` with the digests of the reference's blocks."""
    return make_schema(REFERENCE_COLUMNS)


def sequences_schema() -> pa.Schema:
    """Schema of the file of ``split`` with the sequences of the reference."""
    return make_schema(SEQUENCES_COLUMNS)


def scores_schema() -> pa.Schema:
    """Schema of the file of ``score``."""
    return make_schema(SCORES_COLUMNS)


def hits_schema() -> pa.Schema:
    """Schema of the file of ``lookup``."""
    return make_schema(HITS_COLUMNS)


def reused_schema() -> pa.Schema:
    """Schema of the table of the alleles whose scores are from the store."""
    return make_schema(REUSED_COLUMNS)


def audit_schema() -> pa.Schema:
    """Schema of the table of the audit."""
    return make_schema(AUDIT_COLUMNS)


def carriers_schema() -> pa.Schema:
    """Schema of the file of ``haplotypes`` about the alleles of samples."""
    return make_schema(CARRIER_COLUMNS)


def groups_schema() -> pa.Schema:
    """Schema of the file of ``haplotypes`` about alleles that are scored together."""
    return make_schema(GROUP_COLUMNS)


def haplotypes_schema() -> pa.Schema:
    """Schema of the table of the alleles of samples."""
    return make_schema(HAPLOTYPE_COLUMNS)


def compounds_schema() -> pa.Schema:
    """Schema of the table of alleles that are scored together."""
    return make_schema(COMPOUND_COLUMNS)


def track_regions_schema() -> pa.Schema:
    """Schema of the regions of a track set with their status."""
    return make_schema(TRACK_REGION_COLUMNS)


def tiles_schema() -> pa.Schema:
    """Schema of the file of ``tile``."""
    return make_schema(TILES_COLUMNS)


def tracks_schema() -> pa.Schema:
    """Schema of the tracks, of a shard and of all shards."""
    return make_schema(TRACK_COLUMNS)


def final_schema(carry_fields: Sequence[CarryField] = ()) -> pa.Schema:
    """Schema of the result, which ``merge`` writes."""
    return make_schema(FINAL_COLUMNS, carry_fields)


def is_result(schema: pa.Schema) -> bool:
    """Whether a table has the columns of the result; one of an earlier version may lack some."""
    needed = {column.name for column in FINAL_COLUMNS if column.name not in ADDED_COLUMNS}
    return needed.issubset(schema.names)


def carried_names(schema: pa.Schema) -> list[str]:
    """Of the columns of a final table, those that are carried from the input, in order."""
    own = {column.name for column in (*FINAL_COLUMNS, *annotation_columns(schema))}
    return [name for name in schema.names if name not in own]


def annotation_columns(schema: pa.Schema) -> list[Column]:
    """Of the columns that ``annotate`` can make, those that a table has, in order.

    Another column of such a name is carried from the input.
    """
    return [
        column
        for column in ANNOTATION_COLUMNS
        if column.name in schema.names
        and (schema.field(column.name).metadata or {}).get(b"made_by") == column.made_by.encode()
    ]
