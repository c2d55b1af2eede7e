"""The page of the columns, ``docs/columns.md``, from the schemas of the tables.

The file is long because it holds the text of the page around the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import pyarrow as pa

from evo2_tasks.exports.vcf import VCF_COLUMNS
from evo2_tasks.genome.identifiers import MAX_SHIFT, MAX_SPDI_BASES
from evo2_tasks.genome.windows import MAX_SYMBOLIC_BASES
from evo2_tasks.table.calibration_schema import (
    BACKGROUND_SCORE_COLUMNS,
    CALIBRATED_COLUMNS,
    FOLD_COLUMNS,
    LR_REASON_MEANINGS,
    RATIO_COLUMNS,
    STRENGTH_COLUMNS,
)
from evo2_tasks.table.combined import ALLELE_COLUMNS, ENSEMBLES, combined_columns
from evo2_tasks.table.embeddings import describe_embeddings
from evo2_tasks.table.generation_documents import GENERATION_RUN_MEANINGS
from evo2_tasks.table.generation_schema import (
    COMPARED_COLUMNS,
    GENERATION_REASON_MEANINGS,
    GENERATION_STATUS_MEANINGS,
    PROMPT_COLUMNS,
    RESULT_COLUMNS,
    STEP_COLUMNS,
    score_columns,
)
from evo2_tasks.table.haplotypes import HAPLOTYPES_MEANINGS
from evo2_tasks.table.probes import APPLIED_COLUMNS, PREDICTION_COLUMNS
from evo2_tasks.table.provenance import METADATA_MEANINGS, PREFIX
from evo2_tasks.table.run import RUN_MEANINGS
from evo2_tasks.table.schema import (
    ANNOTATION_COLUMNS,
    AUDIT_COLUMNS,
    CARRIED_COLUMNS,
    CARRIER_COLUMNS,
    COMPOUND_COLUMNS,
    FINAL_COLUMNS,
    FLAG_MEANINGS,
    GENOME_FLAG_MEANINGS,
    GROUP_COLUMNS,
    HAPLOTYPE_COLUMNS,
    HAPLOTYPE_FLAG_MEANINGS,
    REASON_MEANINGS,
    REFERENCE_COLUMNS,
    SCORES_COLUMNS,
    SCORES_VERSION,
    SEGMENTS_COLUMNS,
    SHARD_COLUMNS,
    STATUS_MEANINGS,
    TILES_COLUMNS,
    TRACK_COLUMNS,
    TRACK_REGION_COLUMNS,
    WINDOWS_COLUMNS,
    Column,
    Reason,
)
from evo2_tasks.table.sequence_documents import SEQUENCE_RUN_MEANINGS
from evo2_tasks.table.sequence_embeddings import describe_sequence_embeddings
from evo2_tasks.table.sequence_schema import (
    LOG_PROBS_COLUMNS,
    SEQUENCE_COLUMNS,
    SEQUENCE_FLAG_MEANINGS,
    SEQUENCE_REASON_MEANINGS,
    SEQUENCE_SHARD_COLUMNS,
    SEQUENCE_STATUS_MEANINGS,
)
from evo2_tasks.table.shard_readouts import READOUT_MEANINGS, describe_profiles
from evo2_tasks.table.track_embeddings import describe_track_embeddings
from evo2_tasks.table.tracks import TRACKS_MEANINGS

_INTRO: Final = """\
# Columns

<!-- Made by `python docs/generate.py`; a test compares. -->

The result is one Parquet table, `results/{variant_set}/{scoring}/scores.parquet`, with one row for
each allele of the input. pandas, polars, DuckDB and R's arrow read it directly;
[what readers get wrong](readers.md) lists the versions that were tried:

```python
import pandas

table = pandas.read_parquet("results/mitomap/mini-512/scores.parquet")
scored = table[table["status"] == "scored"].sort_values("llr")
clipped = table[[("clipped" in flags) for flags in table["flags"]]]
```

In a column that has a null, pandas turns whole numbers into floats, for example in `pos` if a row
is an `invalid_record`. `pandas.read_parquet(..., dtype_backend="pyarrow")` keeps whole numbers. In
R, use `arrow::read_parquet("results/mitomap/mini-512/scores.parquet")`.

Rows are in the order of the input, or sorted by position if the config sets `sort_by_position`
(contigs as in the reference, then `pos`). Join them to the input by (`record`, `allele`), or by
(`contig`, `pos`, `ref`, `alt`). The meaning and unit of a column are also in the metadata of its
Arrow field. The last columns are the INFO fields and columns that `carry:` names, with the types
that a VCF or Parquet file defines. From a text table they are text, unless `carry:` asks for
numbers ([the config](configuration.md#variants-as-a-table)). The [glossary](glossary.md) explains
the words.

Other tables about the same alleles are joined by (`record`, `allele`), which has one row for each
key, also if the input has a line twice. Text columns with few values (`contig`, `status`) are
categories. polars joins a category only with a category, so cast them to text first:

```python
import polars

table = polars.read_parquet("results/mitomap/mini-512/scores.parquet")
table = table.with_columns(polars.col(polars.Categorical).cast(polars.String))
ranks = table.select("record", "allele", rank=polars.col("llr").rank())
joined = table.join(ranks, on=["record", "allele"], how="left")
known = polars.DataFrame({"contig": ["MT"], "pos": [3243], "ref": ["A"], "alt": ["G"], "seen": [7]})
joined = joined.join(known, on=["contig", "pos", "ref", "alt"], how="left")
```

## The result
"""

_STATUS_INTRO: Final = """
## Status

If several statuses apply, a row has the first of them in this list. A row has an `llr` exactly if
it is `scored`.

A run in which no row is `scored` still ends normally, with its table and exit code 0, and warns:
`windows` and `merge` log `NO SCORE`, and the report begins with it.

Messages name a line of the input by its `record`, which is counted from 0 as in the table. The log
adds `(line N)`, which is counted from 1 and includes the header, as in an editor.
"""

_REASONS_INTRO: Final = """
## Reason

A status with more than one cause has a `reason`, one of this list. Other rows have null. Reasons
may be added, so accept reasons that you do not know.
"""

_FLAGS_INTRO: Final = """
## Flags

A row that is not `scored` has no flags.
"""

_GENOME_FLAGS_INTRO: Final = """
Rows of a set with [`haplotype_of`](haplotypes.md#every-change-of-a-haplotype) can have these flags
too:
"""

_ANNOTATIONS_INTRO: Final = """
## Genes, consequences, identifiers

`annotate` makes these columns, and `merge` puts them between the scores and the carried columns.
`consequence` to `amino_acids` need the `gff` of the reference, or `consequence_from` of the variant
set. `vrs_id` and `spdi` need `identifiers`. A row whose allele cannot be annotated has null.
"""

_IDENTIFIER_RULES: Final = f"""
### Identifiers

`vrs_id` and `spdi` do not depend on how the input spells an allele. An insertion or deletion in a
repeat is described by the whole region in which it can be placed. In `GATTTTACA` at position 101 of
a contig, `TT` to `T` and `GAT` to `GA` are the same change, and both have the SPDI
`contig:102:TTTT:TTT`.

- An allele has identifiers if its REF is in the reference and the alleles are spelled in A, C, G
  and T, or are symbolic alleles of known bases, up to {MAX_SYMBOLIC_BASES:,} of them. So rows with
  the status `too_long`, `too_many_n`, `no_context` or `non_finite` have them too, and so may rows
  that are `filtered`.
- `vrs_id` is the computed identifier of GA4GH VRS 2.0 of the normalized allele, as `ga4gh.vrs` 2.3
  computes it ([how](decisions/019-vrs-identifiers-without-the-library.md)). It contains a digest of
  all bases of the contig, and not its name. So it is the same for `17`, `chr17` and `NC_000017.11`,
  but another one for masked or otherwise edited bases. Lower case does not count.
- `spdi` is NCBI's contextual allele: name of the contig, number of bases before the region, the
  bases of the region, and the bases that replace them. The name is `reference_contig`. Other
  programs read an SPDI only if this name is an accession with a version, such as `NC_000017.11`.
  With another name, some programs and a list of variants read `contig:102:TTTT:TTT` as a variant
  whose position counts from 1.
- On a circular contig both are those of the linear sequence, as in `ga4gh.vrs` and at NCBI: no
  allele moves across position 0. So an allele in a repeat that goes across position 0 has one
  identifier at each end. An allele that replaces bases on both sides of position 0 has none.
- Where the reference has another letter than A, C, G and T, the region has this letter, also where
  VCF writes a base in REF (`iupac_ref`).
- An insertion or deletion that can move over more than {MAX_SHIFT:,} bases has no identifiers, and
  an SPDI with more than {MAX_SPDI_BASES:,} bases is null. This limits the time and the size of the
  table.
"""

_AUDIT_INTRO: Final = """
## Audit of a horizon

With `audit`, `audit.parquet` next to the table has one row for each allele that was scored with
whole windows too. Join it to the table by (`record`, `allele`).
[How the alleles are chosen](scores.md#the-error-of-your-horizon).
"""

_EMBEDDINGS_INTRO: Final = """
## Embeddings and profiles

With `embeddings` of a scoring, `embeddings/{layer}.parquet` next to the table has one row for each
row of the table, in the order of the input. D is the number of channels of the layer. The columns
of a strand are there with `keep_strands`. Join it to the table by (`record`, `allele`).
[What the numbers mean](embeddings.md).
"""

_PROFILES_INTRO: Final = """
With `profile`, `profiles.parquet` has the same rows:
"""

_READOUT_RUN_INTRO: Final = """
The JSON file next to each of these tables:
"""

_HAPLOTYPES_INTRO: Final = """
## Haplotypes

With `haplotypes` of a variant set, `haplotypes.parquet` next to the table has one row for each
allele, sample and haplotype that carries it, sorted by `record`, `allele`, `sample` and
`haplotype`. Join it to the table by (`record`, `allele`).
[How the rows are made](haplotypes.md).
"""

_COMPOUNDS_INTRO: Final = """
`compounds.parquet` has one row for each group of alleles that lie close together on a haplotype.
The rows are sorted by `sample`, contig, position and `haplotype`. Contigs have the order in which
they first occur in the variants:
"""

_HAPLOTYPE_FLAGS_INTRO: Final = """
Both tables have the statuses, reasons and flags of `scores.parquet`, and these flags:
"""

_HAPLOTYPES_RUN_INTRO: Final = """
`haplotypes.json`, next to them, has their counts and the work of the scoring jobs:
"""

_GENERATION_INTRO: Final = """
## Generated sequences

With `generations`, `generations/{generation}/sequences.parquet` has one row for each sequence of
each prompt, in the order of the prompts. (`record`, `sequence`) is the key. Each scorer has a
column `score_NAME`. [What the values mean](generation.md).
"""

_GENERATION_STATUS_INTRO: Final = """
If several statuses apply, a row has the first of them in this list:
"""

_GENERATION_RUN_INTRO: Final = """
`generation.json` next to the tables has these keys:
"""

_SEQUENCES_INTRO: Final = """
## Sequences

With `sequence_sets`, `{sequence_set}/{scoring}/sequences.parquet` has one row for each record of
the FASTA, in its order. `record` is the key. [What the values mean](sequences.md).
"""

_PER_BASE_INTRO: Final = """
With `per_base`, two columns follow:
"""

_SEQUENCE_STATUS_INTRO: Final = """
If several statuses apply, a row has the first of them in this list:
"""

_SEQUENCE_RUN_INTRO: Final = """
`sequences.json`, next to the table, has these keys. So has the JSON file that
`evo2-tasks score-sequences` writes:
"""

_SEQUENCE_EMBEDDINGS_INTRO: Final = """
With `embeddings` of the scoring, `embeddings/{layer}.parquet` has the same rows. D is the number of
channels of the layer. [What the numbers mean](embeddings.md#embeddings-of-sequences).
"""

_TRACK_EMBEDDINGS_INTRO: Final = """
With `embeddings` of the scoring, `embeddings/{layer}.parquet` has one row for each row of
`tiles/regions.parquet`, in its order. D is the number of channels of the layer.
[What the numbers mean](embeddings.md#embeddings-of-regions).
"""

_TRACKS_INTRO: Final = """
## Tracks

For each track set, `tracks.parquet` has one row for each base of the regions, in the order of the
reference. [How the values are made](tracks.md).
"""

_TRACKS_RUN_INTRO: Final = """
`tracks.json`, next to it, has its counts and the work of the scoring jobs:
"""

_CALIBRATED_INTRO: Final = """
## Calibrations

If the variant set names `calibrations`, `calibrated.parquet` next to the table has one row for each
row of the table, in the same order. Join it to the table by (`record`, `allele`). `stratum` to
`phred` need a `background` in the calibration, `lr` to `lr_reason` need a `label`. If the variant
set names several calibrations, each column begins with the name of its calibration, for example
`common.quantile`.

With pandas, polars and DuckDB, the alleles that are as harmful as the most harmful 1 % of the
background (`phred` of 20 or more):

```python
import pandas

table = pandas.read_parquet("results/mitomap/mini-512/scores.parquet")
calibrated = pandas.read_parquet("results/mitomap/mini-512/calibrated.parquet")
joined = table.merge(calibrated, on=["record", "allele"])
rare = joined[joined["phred"] >= 20]
```

```python
import polars

table = polars.scan_parquet("results/mitomap/mini-512/scores.parquet")
calibrated = polars.scan_parquet("results/mitomap/mini-512/calibrated.parquet")
joined = table.join(calibrated, on=["record", "allele"])
rare = joined.filter(polars.col("phred") >= 20).collect()
```

```sql
SELECT *
FROM 'results/mitomap/mini-512/scores.parquet'
JOIN 'results/mitomap/mini-512/calibrated.parquet' USING (record, allele)
WHERE phred >= 20;
```

In SQL, put quotes around a name with a dot: `"common.phred"`. The exports to VCF, sites and TSV and
`evo2-tasks query` have these columns too, and `evo2-tasks show calibrated.parquet` counts them.
"""

_PREDICTIONS_INTRO: Final = """
## Predictions of probes

`probes/{probe}/{layer}/predictions.parquet` in the folder of a scoring has the predictions of a
probe for the set that it was trained on: one row for each row of the table, in its order.
[What a probe is](embeddings.md#from-clinvar-to-a-probe-in-one-config).
"""

_APPLIED_INTRO: Final = """
`probes/{probe}/applied.parquet` has those of a probe of another variant set or run:
"""

_LR_REASON_INTRO: Final = """
A scored row without a likelihood ratio has an `lr_reason`, the first of this list that applies.
Reasons may be added, so accept reasons that you do not know.
"""

_CALIBRATION_INTRO: Final = """
### Files of a calibration

`fit_calibration` writes four files for each calibration and scoring, in the folder
`calibrations/{calibration}/{scoring}`. `calibration.parquet` has the evidence strengths and their
thresholds:
"""

_COMBINED_INTRO: Final = """
## Combined tables

`combined/{combination}/combined.parquet` has one row for each allele, in the order of the tables of
the scorings. Its first columns are `record`, `allele`, `contig`, `reference_contig`, `pos`, `ref`
and `alt`. Then come `status`, five columns for each scoring (here the scoring is `mini-2k`), the
ensembles that the config asks for, and the annotations and carried columns of the tables. `query`
and `export --to tsv` read it like a table of scores. The other exports need the table of one
scoring.
"""

_METADATA_INTRO: Final = """
## Where a table comes from

The Parquet key-value metadata has these keys. `evo2-tasks show scores.parquet` prints them.
"""

_RUN_INTRO: Final = """
`run.json`, next to the table, has what may differ between two runs with the same scores:
"""

_VERSION_RULE: Final = f"""
## Versions

`scores_version` is {SCORES_VERSION}. It is raised when the definition of a score changes, when the
list of statuses changes, or when a number changes by more than its stated tolerance. The changelog
then lists under *Scores* what changed and by how much. New columns and flags do not raise it.

- Tables of one signature can be compared, ranked together and joined. Scores of different
  signatures cannot, and `merge` refuses them.
- A column keeps its name, type, unit and meaning. A change of one of these makes a new column or
  raises `scores_version`. Columns may be added, so select them by name. Flags may be added, so
  accept flags that you do not know.
- `show`, `query` and `export` still read tables of an older `scores_version`.

## VCF

`evo2-tasks export scores.parquet --to vcf` keeps the lines, headers and samples of the input and
adds these INFO fields:

"""

_VCF_RULES: Final = """
If the table has genes and consequences or identifiers, their columns become fields too, for example
`evo2_consequence`. So do the columns of the `calibrated.parquet` next to the table: `evo2_phred`,
or with several calibrations `evo2_common.phred`. In the names of fields, `-` becomes `_`. To export
a table without these fields, move `calibrated.parquet` to another folder.

Each field has one value per ALT allele (`Number=A`), `.` where there is no value, and the
values of a list (flags, consequences) joined by `&`. In names of genes and other texts, white
space, control characters and `% , ; =` (in a list also `&`) are percent-encoded, as in VCF 4.3. The
signature is in the header as `##evo2_signature`. If the input already has these fields, their
values are replaced. Numbers have all their digits; programs that store the floats of a VCF in 32
bits read about seven of them.

- A record without ALT (`.`) has no allele to annotate and gets no field.
- Lines that are not valid VCF are left out and named in the log: lines with the status
  `invalid_record`, with POS below 0, with a contig, filter or INFO name that VCF forbids, or with a
  NUL character. Their rows are in the table. The cells of samples are not changed.
- A line with fewer than eight columns, or with fewer samples than the header, is filled up with
  `.`. Line ends become `\\n`. A missing `##fileformat` or `#CHROM` line is added. Comment lines
  that begin with a single `#` are dropped.
- If the table was made with `regions`, records outside of them are kept without these fields.
- Sorted output is indexed (`.tbi`, or `.csi` for contigs above 512 Mb). Unsorted output is not
  indexed, and the log states this.
- If the input was not a VCF, the export is a VCF without samples, made from the table alone.

## Sites

`evo2-tasks export scores.parquet --to sites` writes the scored alleles for programs that annotate
other VCFs ([recipes](annotators.md)). It is a VCF without samples:

- Each allele with a score is one line, with one ALT. Alleles without a score are left out. So are
  two kinds of scored alleles, which the log names: symbolic ones (flag `resolved_symbolic`), whose
  bases the table does not have, and those of [HGVS](configuration.md#hgvs) whose REF goes across
  the origin of a circular contig.
- `#CHROM` is `reference_contig`. The lines are sorted by contig, in the order of the reference,
  then by position, REF and ALT. The file has an index (`.tbi`, or `.csi` for contigs above 512 Mb).
- The bases that REF and ALT share at their ends are removed, so that each keeps at least one base:
  `AC` to `GC` becomes `A` to `G`. Alleles are not left-aligned. Those that can move left have the
  flag `moved`; `bcftools norm -f` moves them.
- If the table has an allele several times, the line is that of its first row.
- INFO has `evo2_llr` and `evo2_flags`, and the columns of genes, consequences, identifiers and
  calibrations if the table has them, by the rules of the VCF export. A missing value has no entry.
- An IUPAC letter in the base before an indel becomes its first base by the alphabet (VCF 4.3).
- `run.json` states the order and the lengths of the contigs. If an earlier version wrote it, the
  contigs have the order of the table.

## TSV

`evo2-tasks export scores.parquet --to tsv` writes one line per row below a line of column names.
The columns of the `calibrated.parquet` next to the table are the last ones.
Null is an empty cell, the values of a list are joined by `;`, and numbers have all their digits.
`record` and `allele` of an allele in a list are joined by `:`.
Rules for text:

- Control characters and line separators are written as `\\t`, `\\n`, `\\r`, `\\x1f`, `\\u2028`, a
  backslash as `\\\\`, and in lists a semicolon as `\\x3b`.
- A cell that begins with `=`, `+`, `-`, `@` (or their full-width forms), `"` or `'`, and an empty
  text, gets a leading `'`, so that no spreadsheet runs it as a formula and no reader takes it for a
  quoted cell. To get the original text back, remove one leading `'`. The column `transcript_strand`
  has `+` and `-` as they are.

## Files between the steps

These are the files that one step writes and the next one reads, for users who run the steps by
hand. [output.md](output.md) lists all files of a results folder.
"""


def columns_page() -> str:
    """The page as Markdown. The function is long because it lists the sections in their order."""
    fields = [f"- `evo2_{name}`" for name in VCF_COLUMNS]
    lines = [
        _INTRO,
        *column_table(FINAL_COLUMNS),
        _STATUS_INTRO,
        *meaning_table("status", STATUS_MEANINGS),
        _REASONS_INTRO,
        *reason_table(REASON_MEANINGS),
        _FLAGS_INTRO,
        *meaning_table("flag", FLAG_MEANINGS),
        _GENOME_FLAGS_INTRO,
        *meaning_table("flag", GENOME_FLAG_MEANINGS),
        _ANNOTATIONS_INTRO,
        *column_table(ANNOTATION_COLUMNS),
        _IDENTIFIER_RULES,
        _AUDIT_INTRO,
        *column_table(AUDIT_COLUMNS),
        _EMBEDDINGS_INTRO,
        *column_table(describe_embeddings(1, "float32", strands=True)),
        _PROFILES_INTRO,
        *column_table(describe_profiles(pa.float16())),
        _READOUT_RUN_INTRO,
        *meaning_table("key", READOUT_MEANINGS),
        _HAPLOTYPES_INTRO,
        *column_table(HAPLOTYPE_COLUMNS),
        _COMPOUNDS_INTRO,
        *column_table(COMPOUND_COLUMNS),
        _HAPLOTYPE_FLAGS_INTRO,
        *meaning_table("flag", HAPLOTYPE_FLAG_MEANINGS),
        _HAPLOTYPES_RUN_INTRO,
        *meaning_table("key", HAPLOTYPES_MEANINGS),
        _SEQUENCES_INTRO,
        *column_table(SEQUENCE_COLUMNS),
        _PER_BASE_INTRO,
        *column_table(LOG_PROBS_COLUMNS.values()),
        _SEQUENCE_STATUS_INTRO,
        *meaning_table("status", SEQUENCE_STATUS_MEANINGS),
        "",
        *reason_table(SEQUENCE_REASON_MEANINGS),
        "",
        *meaning_table("flag", SEQUENCE_FLAG_MEANINGS),
        _SEQUENCE_RUN_INTRO,
        *meaning_table("key", SEQUENCE_RUN_MEANINGS),
        _SEQUENCE_EMBEDDINGS_INTRO,
        *column_table(describe_sequence_embeddings(1, "float32", strands=True)),
        _TRACKS_INTRO,
        *column_table(TRACK_COLUMNS),
        _TRACKS_RUN_INTRO,
        *meaning_table("key", TRACKS_MEANINGS),
        "\n`tiles/regions.parquet` has one row for each line of the file of regions:\n",
        *column_table(TRACK_REGION_COLUMNS),
        _TRACK_EMBEDDINGS_INTRO,
        *column_table(describe_track_embeddings(1, "float32", strands=True)),
        _GENERATION_INTRO,
        *column_table([*RESULT_COLUMNS, *COMPARED_COLUMNS, *score_columns(["NAME"])]),
        _GENERATION_STATUS_INTRO,
        *meaning_table("status", GENERATION_STATUS_MEANINGS),
        "",
        *reason_table(GENERATION_REASON_MEANINGS),
        "\n`steps.parquet` has one row for each candidate of each step:\n",
        *column_table([*STEP_COLUMNS, *score_columns(["NAME"])]),
        _GENERATION_RUN_INTRO,
        *meaning_table("key", GENERATION_RUN_MEANINGS),
        _CALIBRATED_INTRO,
        *column_table(CALIBRATED_COLUMNS),
        _LR_REASON_INTRO,
        *meaning_table("reason", LR_REASON_MEANINGS),
        _CALIBRATION_INTRO,
        *column_table(STRENGTH_COLUMNS),
        "\n`background.parquet` has the scores of the background, sorted by both columns:\n",
        *column_table(BACKGROUND_SCORE_COLUMNS),
        "\n`ratios.parquet` has the likelihood ratios from which those of `calibrated.parquet` are",
        "interpolated, sorted by fold and score:\n",
        *column_table(RATIO_COLUMNS),
        "\n`folds.parquet` has the labelled rows. The likelihood ratio of a labelled row is made",
        "without the rows of its fold:\n",
        *column_table(FOLD_COLUMNS),
        _PREDICTIONS_INTRO,
        *column_table(PREDICTION_COLUMNS),
        _APPLIED_INTRO,
        *column_table(APPLIED_COLUMNS),
        _COMBINED_INTRO,
        *column_table(combined_columns(["mini-2k"], [*ENSEMBLES])[len(ALLELE_COLUMNS) :]),
        _METADATA_INTRO,
        *meaning_table("key", {PREFIX + key: text for key, text in METADATA_MEANINGS.items()}),
        _RUN_INTRO,
        *meaning_table("key", RUN_MEANINGS),
        _VERSION_RULE,
        *fields,
        _VCF_RULES,
        *_step("split", "shards/{i}-of-{n}.parquet", SHARD_COLUMNS),
        *_step("split", "shards/reference.parquet", REFERENCE_COLUMNS),
        *_step(
            "annotate",
            "annotations.parquet, then those of the next columns that the config asks for",
            CARRIED_COLUMNS,
        ),
        *_step("carry", "carried.parquet, then the carried columns", CARRIED_COLUMNS),
        *_step("windows", "windows/{i}-of-{n}.parquet", WINDOWS_COLUMNS),
        *_step("windows", "windows/{i}-of-{n}.segments.parquet", SEGMENTS_COLUMNS),
        *_step("score", "scores/{i}-of-{n}.parquet", SCORES_COLUMNS),
        *_step("read_prompts", "prompts.parquet", PROMPT_COLUMNS),
        "`generated/{i}-of-{n}.parquet` of `generate_sequences` has the columns of its",
        "`sequences.parquet` up to `total`, and those of the scores;",
        "`generated/{i}-of-{n}.steps.parquet` has the columns of `steps.parquet`.",
        "",
        *_step("split_sequences", "sequences/{i}-of-{n}.parquet", SEQUENCE_SHARD_COLUMNS),
        *_step("haplotypes", "haplotypes/carriers.parquet", CARRIER_COLUMNS),
        *_step("haplotypes", "haplotypes/groups.parquet", GROUP_COLUMNS),
        "`haplotypes/{i}-of-{n}.parquet` of `haplotypes` has the columns of a file of `windows`;",
        "`record` is the number of the pair, and `background` has the edits of the other alleles.",
        "`haplotype_scores/{i}-of-{n}.parquet` has the columns of a file of `score`.",
        "",
        *_step("tile", "tiles/{i}-of-{n}.parquet", TILES_COLUMNS),
        "`track_scores/{i}-of-{n}.parquet` of `score_tracks` has the columns of `tracks.parquet`.",
        "",
        "`audit/{i}-of-{n}.parquet` of `audit` has the columns of a file of `windows`, and",
        "`readouts/{i}-of-{n}/audit.parquet` of `score_readouts` those of a file of `score`.",
    ]
    return "\n".join(lines).rstrip() + "\n"


def type_name(kind: pa.DataType) -> str:
    """A type as people call it; a dictionary-encoded text is a category."""
    if pa.types.is_dictionary(kind):
        return "category"
    if pa.types.is_fixed_size_list(kind):  # the tables of embeddings; as wide as the layer
        return "D values"
    if pa.types.is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    if pa.types.is_struct(kind):
        return f"({', '.join(field.name for field in kind)})"
    if pa.types.is_map(kind):
        return f"map from {type_name(kind.key_type)} to {type_name(kind.item_type)}"
    return {"double": "float64", "halffloat": "float16"}.get(str(kind), str(kind))


def column_table(columns: Iterable[Column]) -> list[str]:
    """A Markdown table of columns, line by line."""
    rows = [
        f"| `{column.name}` | {type_name(column.type)} | {column.unit} "
        f"| {'yes' if column.nullable else 'no'} | {column.description} |"
        for column in columns
    ]
    return ["| column | type | unit | null | meaning |", "| --- | --- | --- | --- | --- |", *rows]


def meaning_table(title: str, meanings: Mapping[str, str]) -> list[str]:
    """A Markdown table of names and what they mean, line by line."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in meanings.items()]
    return [f"| {title} | meaning |", "| --- | --- |", *rows]


def reason_table(reasons: Mapping[str, Reason]) -> list[str]:
    """A Markdown table of reasons with their statuses, line by line."""
    rows = [f"| `{one.status}` | `{name}` | {one.meaning} |" for name, one in reasons.items()]
    return ["| status | reason | meaning |", "| --- | --- | --- |", *rows]


def _step(step: str, files: str, columns: Iterable[Column]) -> list[str]:
    path, _, rest = files.partition(",")
    return [f"### `{step}`: `{path}`{',' + rest if rest else ''}", "", *column_table(columns), ""]
