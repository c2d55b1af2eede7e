"""The keys of the config: their meaning and their allowed values.

The file is long because each key is documented here, once.
"""

import ast
import json
from collections.abc import Mapping
from inspect import cleandoc
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Strict,
    Tag,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from evo2_tasks.config.choices import (
    BATCH_TOKENS,
    MAX_SEQUENCE_LENGTH,
    WINDOW_LENGTH,
    ConsequenceField,
    Fp8Mode,
    Release,
)
from evo2_tasks.config.objects import as_written, find_url, is_url
from evo2_tasks.layout import EXPORTS

MIN_WINDOW_LENGTH = 64

SCORING_MARK = "{scoring}"
"""What stands for the name of a scoring in a path of a calibration."""

TABLE_SUFFIX = ".parquet"
"""The ending by which a path is recognised as a background that is no variant set."""

ALL_SAMPLES = "all"
"""What stands for all samples of a file."""

REVIEW_STATUS = "CLNREVSTAT"


def _file_name(value: object) -> object:
    """Refuse file names that Snakemake cannot handle."""
    if isinstance(value, str):
        if not value:
            raise PydanticCustomError("file_name", "expected a path, got an empty text")
        bad = next((c for c in value if c in "{}<>" or not c.isprintable()), None)
        if bad is not None:
            raise PydanticCustomError(
                "file_name", "a path may not contain {bad}", {"bad": json.dumps(bad)}
            )
    return value


def _local_name(value: object) -> object:
    """Refuse URLs where a path has to be in a file system."""
    if isinstance(value, str) and is_url(value):
        raise PydanticCustomError(
            "file_name",
            "expected a path in a file system (Snakemake's options --default-storage-provider and "
            "--default-storage-prefix keep results in object storage)",
        )
    return _file_name(value)


def _user_file(value: object) -> object:
    """Refuse file names that Snakemake cannot handle, and URLs that storage spells otherwise."""
    if isinstance(value, str) and is_url(value):
        plain = find_url(Path(value))
        if value.rstrip("/") != plain or "/../" in f"{value}/":
            raise PydanticCustomError(
                "file_name",
                'a URL may not contain "//", "/./" or "/../" after its scheme',
            )
    return _file_name(value)


def _path_of_scorings(value: object) -> object:
    """Refuse paths that Snakemake cannot handle; the name of the scoring takes a mark's place."""
    if isinstance(value, str):
        if "{" in value.replace(SCORING_MARK, ""):
            raise PydanticCustomError(
                "file_name", 'a path may not contain "{", except in {mark}', {"mark": SCORING_MARK}
            )
        _user_file(value.replace(SCORING_MARK, "s"))
    return value


def _unique(value: tuple[str, ...]) -> tuple[str, ...]:
    doubled = next((v for i, v in enumerate(value) if v in value[:i]), None)
    if doubled is not None:
        raise PydanticCustomError(
            "doubled", "{value} is named twice", {"value": json.dumps(doubled)}
        )
    return value


def _off(value: object) -> object:
    """Read ``off`` without quotes as text; YAML reads it as false."""
    return "off" if value is False else value


def _genetic_code(value: int) -> int:
    """Refuse a number that is not a translation table of NCBI, or that csq does not have."""
    if value not in GENETIC_CODES:
        raise PydanticCustomError(
            "genetic_code",
            "{value} is not a known translation table of NCBI; expected one of {known}",
            {"value": value, "known": ", ".join(map(str, GENETIC_CODES))},
        )
    return value


def _export_format(value: str) -> str:
    """Refuse a format that no export writes."""
    if value not in EXPORTS:
        *others, last = map(repr, EXPORTS)
        expected = f"{', '.join(others)} or {last}"
        raise PydanticKnownError("literal_error", {"expected": expected})
    return value


def _all_samples(value: str) -> str:
    """Refuse a text that is not ``all``; one sample is a list too."""
    if value != ALL_SAMPLES:
        raise PydanticCustomError(
            "samples", "expected `all`, or a list of names of samples, also of a single one"
        )
    return value


_UrlAsWritten = PlainSerializer(as_written, return_type=str, when_used="json")

FileName = Annotated[Path, Strict(False), BeforeValidator(_local_name)]
"""A path that is written to, or that has to be in a file system."""

UserFile = Annotated[Path, Strict(False), BeforeValidator(_user_file), _UrlAsWritten]
"""A file to read: its path, or its URL if a storage plugin of Snakemake reads it."""

PathOfScorings = Annotated[Path, Strict(False), BeforeValidator(_path_of_scorings), _UrlAsWritten]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

Text = Annotated[str, Field(min_length=1)]

Texts = Annotated[tuple[Text, ...], AfterValidator(_unique)]

GeneticCode = Annotated[int, Field(ge=1, le=33), AfterValidator(_genetic_code)]

AskedTypes = Mapping[Text, Literal["number", "text"]]

LIST_TAG, MAPPING_TAG, TEXT_TAG = "(list)", "(mapping)", "(text)"
"""Parts of the place of a problem that pydantic adds where a value is a list, a mapping or text."""

AllSamples = Annotated[
    str, AfterValidator(_all_samples), Field(json_schema_extra={"const": ALL_SAMPLES})
]

SomeTexts = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_unique)]

ExportFormat = Annotated[
    str, AfterValidator(_export_format), Field(json_schema_extra={"enum": [*EXPORTS]})
]

IdentifierKind = Literal["vrs", "spdi"]

Ensemble = Literal["rank_mean", "z_mean"]

ProbeFeature = Literal["ref", "delta", "llr"]

FoldKind = Literal["gene", "contig", "position"]

GENETIC_CODES = (*range(1, 7), *range(9, 17), *range(21, 32), 33)
"""NCBI's translation tables that ``bcftools csq`` has."""


class Section(BaseModel):
    """A mapping of the config, with strict checks of its keys and values."""

    # For a fast start: validators are built when they are used, and `use_attribute_docstrings`, for
    # which pydantic would parse this file, is off.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class ReferenceConfig(Section):
    """A genome: its sequences, and other names of its contigs."""

    fasta: UserFile
    """FASTA file, plain or bgzipped. If it has no index, one is made."""
    circular_contigs: Texts = ()
    """FASTA names of the circular contigs."""
    contig_aliases: Mapping[Text, Text] = {}
    """Contig names in variant files, each with its FASTA name."""
    assembly_report: UserFile | None = None
    """NCBI assembly report, which lists other names of the contigs."""
    gff: UserFile | None = None
    """Genes of the genome: GFF3, as Ensembl and NCBI write it. The table then has the gene and the
    consequence of each allele."""
    genetic_codes: Mapping[Text, GeneticCode] = {}
    """Contigs whose genes do not use the standard genetic code, each with the number of NCBI's
    translation table: `{MT: 2}`."""


class ModelConfig(Section):
    """A model: its weights, its precision and its devices."""

    checkpoint: UserFile
    """Folder written by `save_pretrained` or `evo2-tasks convert`, a published `.pt` or
    `.pt.part0` file, the name of a checkpoint that comes with the package, or a model on a hub
    (`owner/name@` and the 40 digits of a commit), which is downloaded before the first job."""
    model: Release | None = None
    """Name of the release, for a published `.pt` file."""
    config: UserFile | None = None
    """The `.yml` config of a `.pt` file that is not a published release."""
    dtype: Literal["bfloat16", "float32"] | None = None
    """Data type of the weights. Default: `bfloat16` on a GPU; `float32` on a CPU, and for a
    checkpoint that comes with the package."""
    fp8: Annotated[Fp8Mode, BeforeValidator(_off)] | None = None
    """How the input projections are computed: in `dtype` (`off`), in FP8 with sums in float32
    (`emulate`), or in FP8 with sums as on one kind of GPU (`hopper`, `ada`, `blackwell`), which is
    slow and for comparison only. Default: `emulate` for the published 1B, 20B and 40B, `off` for
    the published 7B, and for a folder the mode in its `config.json`."""
    allow_without_fp8: bool = False
    """Whether to allow `fp8: off` for a checkpoint that needs FP8. Its scores are then near
    random."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs of a scoring job; each one holds a range of the model's layers. 0 runs the model on the
    CPU. Default: 0 for a checkpoint that comes with the package, else 1."""


class EmbeddingsConfig(Section):
    """Embeddings of the alleles: mean outputs of layers of the model."""

    layer: (
        Annotated[
            Annotated[SomeTexts, Tag(LIST_TAG)] | Annotated[Text, Tag(TEXT_TAG)],
            Discriminator(lambda value: LIST_TAG if isinstance(value, list | tuple) else TEXT_TAG),
        ]
        | None
    ) = None
    """A layer, for example `blocks.20`, or a list of layers; `norm` is the last one. Default: the
    layer that the authors of the release use, if they name one."""
    tokens: Annotated[int, Field(ge=1)] = 64
    """Number of tokens from the first difference on whose outputs are averaged, on each strand;
    not used for sequence and track sets. At most the `horizon`, and half of `window_length`."""
    dtype: Literal["float32", "float16", "int8"] = "float32"
    """Data type of the values in the file. With `int8` each channel has a scale. The error of
    `float16` and `int8` is measured and stated in the JSON file next to the embeddings."""
    keep_strands: bool = False
    """Whether to write the embeddings of each strand too. Default: the mean of the strands only."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers as they are written; none for the default."""
        if self.layer is None:
            return ()
        return (self.layer,) if isinstance(self.layer, str) else self.layer


class ScoringConfig(Section):
    """A way of scoring: model, windows and strands."""

    model: Name
    """A name under `models`."""
    window_length: Annotated[int, Field(ge=MIN_WINDOW_LENGTH)] = WINDOW_LENGTH
    """Number of reference bases around an allele that the model reads."""
    window_placement: Literal["centered", "tiled"] = "centered"
    """`centered`: each allele in the middle of its own window. `tiled`: windows at multiples of
    `window_step`, shared by the alleles in their middle."""
    window_step: Annotated[int, Field(ge=1)] | None = None
    """Bases from one tiled window to the next. Default: a quarter of `window_length`."""
    strands: Literal["both", "forward", "reverse"] = "both"
    """Strands that the model reads. The score is their mean."""
    horizon: Annotated[int, Field(ge=1)] | None = None
    """Number of tokens to score from the first difference on. Default: all up to the end of the
    window."""
    audit: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """With a `horizon`: share of the alleles that are scored with whole windows too, but at least
    20 and at most 1,000 alleles. `run.json` and the report state how much the horizon changes their
    `llr`. Default: no audit."""
    max_allele_length: Annotated[int, Field(ge=1)] | None = None
    """Longest trimmed allele that is scored, in bases. Default: a quarter of `window_length`."""
    max_n_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    """Largest allowed share of bases other than A, C, G, T in a window that is scored."""
    min_context: Annotated[int, Field(ge=0)] | None = None
    """A row with fewer tokens before or after the first difference gets a flag. Default: 512 or a
    quarter of `window_length`, whichever is less."""
    prepend_bos: bool = False
    """Begin each window with a beginning-of-sequence token, so that its first base is scored."""
    embeddings: EmbeddingsConfig | None = None
    """Embeddings of each allele, in `embeddings/{layer}.parquet` next to the table: mean outputs of
    layers over the tokens from the first difference on. Of a sequence or track set: mean outputs
    over each sequence or region. For example `{layer: blocks.20}`. They change no score. Default:
    no embeddings."""
    profile: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Number of tokens, from the first difference on, whose differences of log-probability are
    written to `profiles.parquet`, on each strand. They change no score. Default: no profiles."""


class FilterConfig(Section):
    """Conditions for an allele to be scored."""

    pass_only: bool = False
    """Only records whose FILTER is PASS. `.` (no filter applied) is not PASS."""
    contigs: SomeTexts | None = None
    """Only these contigs, by their names in the variant file."""
    max_allele_length: Annotated[int, Field(ge=1)] | None = None
    """Only alleles whose REF and ALT, as written in the file, have at most this many bases."""


class LabelConfig(Section):
    """How to read a field of labels: two groups of values, or a number with a harmful end."""

    positive: SomeTexts | None = None
    """Values that count as harmful. A field with several values, joined by `/`, `|` or `,`, counts
    as harmful if at least one of them is listed here and none is listed under `negative`."""
    negative: SomeTexts | None = None
    """Values that count as not harmful. Variants with any other value are left out."""
    harmful: Literal["low", "high"] | None = None
    """For a field of numbers (functional score, fitness, allele frequency): whether low or high
    values are harmful."""
    where: Mapping[Text, SomeTexts] = {}
    """Only variants with one of these values in a field: `{MC: [missense_variant]}`."""
    min_review_stars: Annotated[int, Field(ge=0, le=4)] | None = None
    """Only variants with at least this many review stars in ClinVar, by the field `CLNREVSTAT`."""
    resample_by: Text | None = None
    """Field whose values are the clusters of the bootstrap. Default: the position."""


class ColumnsConfig(Section):
    """Columns of a table (TSV, CSV, Parquet) whose names are not the usual ones, or not unique."""

    contig: Text | None = None
    """Column of the contig."""
    pos: Text | None = None
    """Column of the position, which counts from 1."""
    ref: Text | None = None
    """Column of the bases of the reference."""
    alt: Text | None = None
    """Column of the alternate alleles."""
    hgvs: Text | None = None
    """Column of HGVS (`NC_000017.11:g.43045712A>G`), instead of the four others."""

    @property
    def named(self) -> dict[str, str]:
        """The columns that the config names, by role."""
        return {role: name for role, name in self if name is not None}


class RandomSnvsConfig(Section):
    """SNVs to draw at random from the reference, each with the same chance and none twice."""

    number: Annotated[int, Field(ge=1, le=10_000_000)]
    """Number of SNVs."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Seed. The same seed draws the same SNVs on every machine. A larger `number` with the same
    seed draws the same SNVs and more."""
    contigs: SomeTexts | None = None
    """Contigs to draw from. Default: all contigs of the reference."""
    regions: UserFile | None = None
    """BED or interval list of the regions to draw from. Regions may overlap: each base counts
    once."""


class CalibrationConfig(Section):
    """How to read a score: by its quantile among a background, by evidence from labels, or both."""

    background: PathOfScorings | None = None
    """Variants to compare the scores with: a name under `variant_sets`, or the `scores.parquet` of
    an earlier run with the same signature. In a path, `{scoring}` stands for the name of the
    scoring."""
    by: Texts = ()
    """Columns of text whose values divide the background, for example `consequence` or `gene`. A
    score is compared with the variants of its own values. `type` is the type of the allele,
    `trinucleotide` an SNV with its two neighbours (`A[C>T]G`). Values with fewer than 100 variants
    of the background are compared with all of it."""
    score: Literal["llr", "llr_aligned"] = "llr"
    """The score to read."""
    harmful: Literal["low", "high"] = "low"
    """Whether low or high scores are harmful."""
    set: Name | None = None
    """A name under `variant_sets`: the set with the labels."""
    label: Text | None = None
    """A label of this set (`variant_sets.SET.labels`) with two groups of values."""
    prior: Annotated[float, Field(ge=1e-6, le=0.98, allow_inf_nan=False)] = 0.1
    """Share of harmful variants among those that the evidence is for, from 0.000001 to 0.98. With a
    larger share the rules for the strengths would need no evidence."""
    file: PathOfScorings | None = None
    """Instead of the keys above: the `calibration.parquet` of an earlier run with the same
    signature, in its folder. `{scoring}` stands for the name of the scoring."""


class CombinationConfig(Section):
    """Several scorings of a variant set in one table."""

    variant_set: Name
    """A name under `variant_sets`."""
    scorings: Annotated[tuple[Name, ...], Field(min_length=2), AfterValidator(_unique)]
    """Scorings of this set. Their columns have the name of the scoring first."""
    score: Literal["llr", "llr_aligned"] = "llr"
    """The score of which the ensembles are made."""
    ensembles: Annotated[tuple[Ensemble, ...], AfterValidator(_unique)] = ()
    """Columns to add: `rank_mean`, the mean of the ranks of the scores; `z_mean`, the mean of the
    scores after each scoring is scaled to mean 0 and standard deviation 1."""


class HaplotypesConfig(Section):
    """Scores of the alleles of some samples, with the other alleles of each haplotype."""

    samples: Annotated[
        Annotated[SomeTexts, Tag(LIST_TAG)] | Annotated[AllSamples, Tag(TEXT_TAG)],
        Discriminator(lambda value: TEXT_TAG if isinstance(value, str) else LIST_TAG),
    ]
    """Names of samples of the file, or `all`."""
    compound_distance: Annotated[int, Field(ge=0, le=1_000_000)] = 2
    """Alleles of one haplotype are scored together too if at most this many unchanged bases lie
    between neighbours. With 2, the SNVs of a codon are together; with 0, neighbouring bases."""
    by: Literal["distance", "codon"] = "distance"
    """Which alleles are scored together: with `distance`, those that `compound_distance` joins;
    with `codon`, those that touch one codon of a transcript, also on both sides of an intron.
    `codon` needs a `gff` of the reference."""


class HaplotypeOfConfig(Section):
    """A haplotype of a sample, in whose genome a saturation set makes its changes."""

    variants: UserFile
    """VCF or BCF with the phased genotypes of the sample."""
    sample: Text
    """Name of the sample in the file."""
    haplotype: Annotated[int, Field(ge=1, le=1_000)]
    """Place of the haplotype in `GT`, from 1."""


class ProbeConfig(Section):
    """A probe: it is trained on a label of this set, or an earlier one is applied to this set."""

    label: Text | None = None
    """A label of this set (`labels`) to train the probe on: logistic regression for a label with
    two groups of values, ridge regression for a label of numbers."""
    features: Annotated[tuple[ProbeFeature, ...], Field(min_length=1), AfterValidator(_unique)] = (
        "ref",
        "delta",
        "llr",
    )
    """What the probe sees of an allele: `ref`, the embedding of the reference window; `delta`, the
    embedding of the alternate window minus that of the reference window; `llr`. `ref` and `delta`
    need `embeddings` of the scoring."""
    folds_by: FoldKind | None = None
    """What is kept together when the rows are split into folds: the rows of a `gene`, the rows of a
    `contig`, or rows at neighbouring positions (`position`). The score of a row comes from a probe
    that has not seen the fold of the row. `gene` needs genes: a `gff` of the reference, or
    `consequence_from`. Required with `label`."""
    layer: Text | None = None
    """A layer of the `embeddings`. Default: one probe for each layer of the scoring."""
    probe: PathOfScorings | None = None
    """Instead of the keys above: the folder of a trained probe, or the `probe.json` in it, of this
    run or of an earlier one with the same signature. `{scoring}` stands for the name of the
    scoring."""


class VariantSetConfig(Section):
    """A file of variants, its scorings and its results."""

    variants: UserFile | None = None
    """VCF (text, bgzip, gzip), BCF, a table (TSV, CSV, Parquet) of contig, pos, ref, alt or of
    HGVS, a list (`17-43045712-A-G`, `17:43045712:A:G`, SPDI or HGVS), or with `saturate` a BED or
    an interval list. Required, unless `random_snvs` is set."""
    reference: Name
    """A name under `references`."""
    scorings: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_unique)]
    """Names under `scorings`. Each scoring has its own table."""
    columns: ColumnsConfig = ColumnsConfig()
    """Columns of a table by their names, for example `{pos: grch38_pos}`. Default: the column with
    one of the usual names."""
    carry: Annotated[
        Annotated[Texts, Tag(LIST_TAG)] | Annotated[AskedTypes, Tag(MAPPING_TAG)],
        Discriminator(lambda value: MAPPING_TAG if isinstance(value, Mapping) else LIST_TAG),
    ] = ()
    """What to copy to the table. VCF and BCF: INFO fields, the columns `ID`, `QUAL` and `FILTER`,
    and FORMAT fields of a sample (`S1:GQ`). Tables: columns. The copied column has the same name.
    Columns of a text table are copied as text; `{rank: number, id: text}` asks for numbers. The
    fields that `labels`, `groups` and `baselines` name are always copied, unless `annotate` makes a
    column of this name."""
    labels: Mapping[Text, LabelConfig] = {}
    """INFO fields or columns with known effects of the variants. The run evaluates how well the
    scores separate them."""
    groups: Texts = ()
    """INFO fields or columns (consequence, gene, locus). Each of their values is evaluated
    separately."""
    baselines: Mapping[Text, Literal["low", "high"]] = {}
    """INFO fields or columns of numbers (CADD, phyloP) to compare with the scores, and whether low
    or high values are harmful."""
    calibrations: Annotated[tuple[Name, ...], AfterValidator(_unique)] = ()
    """Names under `calibrations`. Each row of the tables then has a quantile or evidence in
    `calibrated.parquet`, next to the table."""
    probes: Mapping[Name, ProbeConfig] = {}
    """Probes by name: classifiers on the embeddings that are trained on a label of this set, or
    that were trained before. Their predictions are evaluated next to the scores."""
    consequence_from: ConsequenceField | None = None
    """INFO field of a VCF or BCF from which to read genes and consequences: `CSQ` (VEP), `ANN`
    (SnpEff) or `BCSQ` (bcftools). Default: from the `gff` of the reference, if it has one."""
    identifiers: Annotated[tuple[IdentifierKind, ...], AfterValidator(_unique)] = ()
    """Identifiers of each allele to add to the table: `vrs` (GA4GH VRS 2), `spdi`."""
    haplotypes: HaplotypesConfig | None = None
    """For a VCF or BCF with genotypes: each allele of a sample is scored beside the other alleles
    of its haplotype too, in `haplotypes.parquet`, and alleles that lie close together are scored
    together, in `compounds.parquet`. For example `{samples: [S1, S2]}` or `{samples: all}`."""
    filters: FilterConfig = FilterConfig()
    """Which alleles to score. The others have a row with the status `filtered`."""
    regions: SomeTexts | None = None
    """Regions to read (`chr1`, `chr1:1000-2000`), by the index next to the file (`.csi`, or `.tbi`
    of a VCF). Records outside of them have no row. If `HLA:1` is a contig and also a position of
    `HLA`, write `{HLA:1}` or `{HLA}:1`."""
    max_ref_mismatch_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    """The run stops if a larger share of alleles have a REF that does not match the reference,
    because the variants are then from another assembly. Counted over the whole set, from ten
    alleles on."""
    random_snvs: RandomSnvsConfig | None = None
    """Instead of `variants`: SNVs to draw at random from the reference, for example
    `{number: 10000, seed: 1}`."""
    saturate: Annotated[
        tuple[Literal["snv", "deletion", "insertion", "codon"], ...], AfterValidator(_unique)
    ] = ()
    """Variants to make at every position of the regions of a BED: `snv` (each other base),
    `deletion` (of the base), `insertion` (of each base after it), `codon` (each other codon)."""
    haplotype_of: HaplotypeOfConfig | None = None
    """For a set with `saturate`: the changes are those of the genome of a sample, and the windows
    have the other alleles of its haplotype. For example `{variants: phased.vcf.gz, sample: S1,
    haplotype: 1}`. Positions stay those of the reference. Default: changes of the reference."""
    sort_by_position: bool = False
    """Whether to sort the table by contig and position. Default: input order."""
    exports: Annotated[tuple[ExportFormat, ...], AfterValidator(_unique)] = ()
    """Other formats to write: `vcf` (the input file with the scores as INFO fields), `sites` (a
    sorted VCF of the scored alleles, to annotate other VCFs), `tsv`, `bedgraph` and `bigwig` (the
    mean `llr` of the SNVs of each position)."""

    @property
    def evaluated(self) -> dict[str, str]:
        """Fields that evaluation reads, by the key that names each."""
        fields = {f"labels.{name}": name for name in self.labels}
        for name, label in self.labels.items():
            fields |= {f"labels.{name}.where.{field}": field for field in label.where}
            if label.min_review_stars is not None:
                fields[f"labels.{name}.min_review_stars"] = REVIEW_STATUS
            if label.resample_by is not None:
                fields[f"labels.{name}.resample_by"] = label.resample_by
        fields |= {f"groups[{i}]": name for i, name in enumerate(self.groups)}
        return fields | {f"baselines.{name}": name for name in self.baselines}

    @property
    def carried(self) -> tuple[str, ...]:
        """Fields to copy to the table: those of `carry`, and those that evaluation reads."""
        return tuple(dict.fromkeys([*self.carry, *self.evaluated.values()]))

    @property
    def asked_types(self) -> AskedTypes:
        """Types that `carry` asks for, by field."""
        return self.carry if isinstance(self.carry, Mapping) else {}

    @property
    def numbers(self) -> frozenset[str]:
        """Fields that evaluation reads as numbers."""
        labels = (name for name, label in self.labels.items() if label.harmful is not None)
        return frozenset([*labels, *self.baselines])


class SequenceSetConfig(Section):
    """A FASTA whose sequences are scored one by one, each from its first base to its last one."""

    sequences: UserFile
    """FASTA file, plain, gzipped or bgzipped. Each record is a row. Names may occur twice."""
    scorings: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_unique)]
    """Names under `scorings`. Each scoring has its own table. Of a scoring, `model`, `strands`,
    `prepend_bos` and `max_n_share` are used, and `min_context` of circular sequences. Sequences are
    read whole, so there are no windows."""
    circular: bool = False
    """Whether the sequences are circular. The first bases are then predicted from the last ones:
    from `min_context` of them (default 512), and at most from half of the sequence."""
    max_length: Annotated[int, Field(ge=1, le=2**31 - 1)] = MAX_SEQUENCE_LENGTH
    """Longest sequence that is scored, in bases."""
    per_base: bool = False
    """Whether the table also has the log-probability of each base."""


class TrackSetConfig(Section):
    """Regions of a genome, with the log-probability of each of their bases."""

    regions: UserFile
    """BED or interval list of the regions. Regions may overlap and come in any order: each base is
    in the tracks once. Of a line with blocks (BED12), the blocks count."""
    reference: Name
    """A name under `references`."""
    scorings: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_unique)]
    """Names under `scorings`. Each scoring has its own tracks. Of a scoring, `model`,
    `window_length`, `min_context`, `strands` and `prepend_bos` are used: a base has at least
    `min_context` bases before it on each strand, except near the ends of linear contigs. The other
    keys are about alleles."""
    outputs: Annotated[tuple[Literal["bigwig"], ...], AfterValidator(_unique)] = ()
    """Other formats to write: `bigwig` (`logp_ref` and `entropy`, for genome browsers)."""


class GcContentConfig(Section):
    """Share of G and C. The score is minus its distance from the target."""

    target: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    """The share to come close to."""


class GcPatternConfig(Section):
    """Shares of G and C of windows. The score is minus their mean distance from the targets."""

    targets: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)], ...], Field(min_length=1)
    ]
    """The shares of the windows in turn, from the first generated base on; after the last one the
    first one follows again."""
    window: Annotated[int, Field(ge=1)]
    """Length of a window, bases."""


class MotifConfig(Section):
    """Number of places of a motif or a k-mer."""

    motif: Text
    """The motif. IUPAC letters stand for several bases: `TATAWAW`."""
    count: Annotated[int, Field(ge=0)] | None = None
    """The number to come close to. Default: as many places as possible."""
    strands: Literal["both", "forward"] = "both"
    """The strands on which it counts."""


class PeaksConfig(Section):
    """Peaks at given places of a value for each base, which a function of yours predicts."""

    predictor: Text
    """The function, as `module:function`. It gives a number for each base of each sequence."""
    peaks: tuple[
        Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=2, max_length=2)], ...
    ]
    """Start and end of each peak among the generated bases, 0-based and half-open. An empty list
    asks for no peaks."""
    low: Annotated[float, Field(allow_inf_nan=False)]
    """The value of a base without a peak."""
    high: Annotated[float, Field(allow_inf_nan=False)]
    """The value of a base in a peak, above `low`."""


class OrfLengthConfig(Section):
    """Number of bases of the longest open reading frame, without its stop codon."""

    genetic_code: GeneticCode = 1
    """Number of NCBI's translation table."""
    strands: Literal["both", "forward"] = "both"
    """The strands on which frames are read."""
    needs_start: bool = True
    """Whether a frame begins with a start codon. `false`: any stretch without a stop codon."""
    frame: Annotated[int, Field(ge=0, le=2)] | None = None
    """Only forward frames whose codons begin at this base, 0 to 2, of the generated bases. Default:
    all frames."""


class EditDistanceConfig(Section):
    """Smallest edit distance from any stretch of a given sequence, divided by the length."""

    sequence: Text
    """The bases of the given sequence."""
    target: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """The distance to come close to, from 0 (a copy) to 1. Default: as far away as possible."""
    strands: Literal["both", "forward"] = "both"
    """Whether to compare with the reverse complement too."""


class RepeatContentConfig(Section):
    """Share of bases in repeated k-mers. The score is minus its distance from the target."""

    k: Annotated[int, Field(ge=1, le=31)] = 16
    """Length of the k-mers, bases. Those that occur more than once, on either strand, count."""
    target: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    """The share to come close to."""


class LikelihoodConfig(Section):
    """Mean log-probability of a base under a second model."""

    model: Name
    """A name under `models`. Its GPUs count in addition to those of the model that generates."""


class ScorerConfig(Section):
    """A scorer: reads the generated bases and gives a number; the higher, the better."""

    gc_content: GcContentConfig | None = None
    """Share of G and C close to a target."""
    gc_pattern: GcPatternConfig | None = None
    """Shares of G and C of successive windows close to targets."""
    motif: MotifConfig | None = None
    """Occurrences of a motif or k-mer."""
    peaks: PeaksConfig | None = None
    """A pattern of peaks in a value for each base."""
    orf_length: OrfLengthConfig | None = None
    """Length of the longest open reading frame."""
    edit_distance: EditDistanceConfig | None = None
    """Edit distance from a given sequence."""
    repeat_content: RepeatContentConfig | None = None
    """Share of repeated k-mers."""
    likelihood: LikelihoodConfig | None = None
    """Mean log-probability under a second model."""
    function: Text | None = None
    """A function of yours, as `module:function`. The module is found in the working directory."""
    weight: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    """Factor of the number in the sum over all scorers."""
    name: Name | None = None
    """Name of its column. Default: the name of the scorer, or of the function."""


class PromptsConfig(Section):
    """What is continued. One of `fasta`, `text`, `region` and `bed`, or a `tag` alone."""

    fasta: UserFile | None = None
    """FASTA file, plain, gzipped or bgzipped. Each record is a prompt."""
    text: Text | None = None
    """Bases of a single prompt."""
    reference: Name | None = None
    """A name under `references`, for `region` and `bed`."""
    region: Text | None = None
    """A region of the reference: `MT:1-500`, counted from 1, both ends included."""
    bed: UserFile | None = None
    """BED or interval list with regions of the reference. Each line is a prompt; on the strand `-`
    its reverse complement. Blocks (BED12) are joined."""
    tag: Text | None = None
    """Phylogenetic tag in the published format, which comes before each prompt. Without another
    key it is the whole prompt."""
    max_length: Annotated[int, Field(ge=1, le=2**31 - 1)] = MAX_SEQUENCE_LENGTH
    """Longest prompt that is continued, in letters, with its tag."""


class GenerationConfig(Section):
    """New DNA sequences that continue prompts, one `sequences.fa` for each generation."""

    model: Name
    """A name under `models`."""
    prompts: PromptsConfig
    """What is continued."""
    length: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Number of bases to generate, without the prompt."""
    num_sequences: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Number of sequences for each prompt."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """The same seed gives the same sequences again on the same kind of device."""
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Below 1 the likely bases are drawn more often than the model predicts, above 1 less often. 0
    always takes the likeliest one."""
    top_k: Annotated[int, Field(ge=1)] | None = None
    """Draw among this many likeliest bases only. Default: all four."""
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    """Draw among the fewest likeliest bases whose probabilities add up to this. Default: all
    four."""
    chunk_length: Annotated[int, Field(ge=1)] = 128
    """Bases that each step of the search adds; a job that was killed continues from its last saved
    step."""
    beam_width: Annotated[int, Field(ge=1)] = 1
    """Number of candidates that a step keeps, for each sequence."""
    samples_per_beam: Annotated[int, Field(ge=1)] = 1
    """Number of candidates that a step draws for each kept one. With more than one candidate,
    `scorers` choose."""
    scorers: tuple[ScorerConfig, ...] = ()
    """What guides the search. The sum of their numbers, each times its weight, ranks the
    candidates."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Most candidates that go through the model together. Another number changes probabilities in
    their last digits, and so may change a drawn base."""
    compare_with: Name | None = None
    """A name under `references`. Tables and report show the longest stretch that a sequence has in
    common with it. Default: the `reference` of the prompts, if they have one."""
    genetic_code: GeneticCode = 1
    """Number of NCBI's translation table, for the open reading frames in tables and report."""


class RunSettings(Section):
    """Settings of the jobs, which change no score by more than its last bits."""

    batch_tokens: Annotated[int, Field(ge=1)] = BATCH_TOKENS
    """Number of tokens that go through the model at once."""
    segment_length: Annotated[int, Field(ge=1)] = 65_536
    """Bases of a segment. A longer window goes through the model in segments, each of which
    continues from the state after the one before. Memory then grows only by the keys and values of
    attention."""
    kv_cache: Literal["device", "offload"] = "device"
    """Where the keys and values of attention are kept between segments: on the device, or in host
    memory (`offload`). With `offload`, the device holds those of one layer at a time."""
    part_tokens: Annotated[int, Field(ge=1)] = 1_048_576
    """Tokens of a part, a slice of a shard. Identical windows within a part are run once, and a
    killed job does not compute its finished parts again. With embeddings, a part also ends at
    128 MiB of these."""
    max_non_finite_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.1
    """A job stops if a larger share of alleles have no finite score, because the model then gives
    no valid numbers. Checked from the hundredth allele of a shard on."""
    model_cache: FileName | None = None
    """Folder on the local disk of each node, for example `/scratch` or `$TMPDIR`. The first job on
    a node copies the checkpoint to it, and all jobs on that node load it from there."""
    allow_mixed_devices: bool = True
    """Whether to merge shards that ran on different kinds of devices, and to take scores from the
    `store` that another kind of device computed."""
    store: FileName | None = None
    """Folder in which scores are kept for all runs. Alleles whose scores it has are not scored
    again. Several runs may use the folder at once. It is made if it does not exist. Default: no
    store."""
    store_write: bool = True
    """Whether to add the scores of this run to the `store`. `false` only reads it."""


class RunConfig(Section):
    """A run: variants, ways of scoring, and the folder of the results."""

    references: Mapping[Name, ReferenceConfig] = {}
    """Genomes by name. A variant set needs one."""
    models: Annotated[Mapping[Name, ModelConfig], Field(min_length=1)]
    """Models by name."""
    scorings: Mapping[Name, ScoringConfig] = {}
    """Ways of scoring by name. Every set needs one."""
    variant_sets: Mapping[Name, VariantSetConfig] = {}
    """Variant files by name. A run needs at least one set of any kind, or a generation."""
    track_sets: Mapping[Name, TrackSetConfig] = {}
    """Regions of a genome by name. Each of their bases gets its log-probability."""
    sequence_sets: Mapping[Name, SequenceSetConfig] = {}
    """FASTA files by name, whose sequences are scored one by one."""
    generations: Mapping[Name, GenerationConfig] = {}
    """New sequences by name, which continue prompts."""
    calibrations: Mapping[Name, CalibrationConfig] = {}
    """Ways of reading a score by name. A variant set names those that it uses."""
    combine: Mapping[Name, CombinationConfig] = {}
    """Tables with several scorings by name."""
    shards: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Number of shards of each variant file. Each shard is one job per scoring."""
    run: RunSettings = RunSettings()
    """Settings of the jobs. They change no score by more than its last bits, and do not run a
    finished job again."""
    output: FileName = Path("results")
    """Folder of the results."""


SECTIONS: dict[str, type[Section]] = {
    "references": ReferenceConfig,
    "models": ModelConfig,
    "scorings": ScoringConfig,
    "variant_sets": VariantSetConfig,
    "track_sets": TrackSetConfig,
    "sequence_sets": SequenceSetConfig,
    "generations": GenerationConfig,
    "calibrations": CalibrationConfig,
    "combine": CombinationConfig,
}


SCORERS: dict[str, type[Section]] = {
    "gc_content": GcContentConfig,
    "gc_pattern": GcPatternConfig,
    "motif": MotifConfig,
    "peaks": PeaksConfig,
    "orf_length": OrfLengthConfig,
    "edit_distance": EditDistanceConfig,
    "repeat_content": RepeatContentConfig,
    "likelihood": LikelihoodConfig,
}
"""The scorers of the package with settings of their own."""


def dump_config(config: RunConfig) -> str:
    """Write a config as one line of JSON, without the defaults, as :func:`load_config` reads it."""
    return config.model_dump_json(exclude_unset=True)


def config_schema() -> str:
    """The JSON schema of a config file, for editors. The docstrings of the keys describe them."""
    schema = RunConfig.model_json_schema()
    sections = {RunConfig.__name__: schema} | schema["$defs"]
    for section, docstrings in _docstrings().items():
        properties = sections[section]["properties"]
        for key, text in docstrings.items():
            properties[key] = dict(sorted((properties[key] | {"description": text}).items()))
    return json.dumps(
        {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2
    )


def _docstrings() -> dict[str, dict[str, str]]:
    """The docstrings of the keys in this file, by section and key."""
    found: dict[str, dict[str, str]] = {}
    for section in ast.parse(Path(__file__).read_text(encoding="utf-8")).body:
        if not isinstance(section, ast.ClassDef):
            continue
        for key, after in pairwise(section.body):
            match key, after:
                case (
                    ast.AnnAssign(target=ast.Name(name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found.setdefault(section.name, {})[name] = cleandoc(text)
    return found
