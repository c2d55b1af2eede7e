"""The keys of the config: what each one means and what it may be."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from evo2_tasks.layout import EXPORTS

MIN_WINDOW_LENGTH = 64

REVIEW_STATUS = "CLNREVSTAT"


def _file_name(value: object) -> object:
    """Refuse what cannot stand in a file name that Snakemake handles."""
    if isinstance(value, str):
        if not value:
            raise PydanticCustomError("file_name", "expected a path, got an empty text")
        bad = next((c for c in value if c in "{}<>" or not c.isprintable()), None)
        if bad is not None:
            raise PydanticCustomError(
                "file_name", "a path may not contain {bad}", {"bad": json.dumps(bad)}
            )
    return value


def _unique(value: tuple[str, ...]) -> tuple[str, ...]:
    doubled = next((v for i, v in enumerate(value) if v in value[:i]), None)
    if doubled is not None:
        raise PydanticCustomError(
            "doubled", "{value} is named twice", {"value": json.dumps(doubled)}
        )
    return value


def _off(value: object) -> object:
    """Take an ``off`` without quotes as what it says; YAML reads it as false."""
    return "off" if value is False else value


def _export_format(value: str) -> str:
    """Refuse a format that no export writes."""
    if value not in EXPORTS:
        *others, last = map(repr, EXPORTS)
        expected = f"{', '.join(others)} or {last}"
        raise PydanticKnownError("literal_error", {"expected": expected})
    return value


FileName = Annotated[Path, Strict(False), BeforeValidator(_file_name)]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

Text = Annotated[str, Field(min_length=1)]

Texts = Annotated[tuple[Text, ...], AfterValidator(_unique)]

SomeTexts = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_unique)]

Fp8Mode = Literal["off", "emulate", "hopper", "ada", "blackwell"]

ExportFormat = Annotated[
    str, AfterValidator(_export_format), Field(json_schema_extra={"enum": [*EXPORTS]})
]

Release = Literal[
    "evo2_1b_base",
    "evo2_7b",
    "evo2_7b_base",
    "evo2_7b_262k",
    "evo2_7b_microviridae",
    "evo2_20b",
    "evo2_40b",
    "evo2_40b_base",
]


class Section(BaseModel):
    """A mapping of the config; its keys and their values are checked strictly."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class ReferenceConfig(Section):
    """A genome: its sequences and how variant files may spell their names."""

    fasta: FileName
    """FASTA file, plain or bgzipped; an index is made where there is none."""
    circular_contigs: Texts = ()
    """Contigs whose end joins their beginning, by their FASTA names."""
    contig_aliases: Mapping[Text, Text] = {}
    """Contig names of variant files and the FASTA name that each one stands for."""
    assembly_report: FileName | None = None
    """NCBI assembly report, from which further names of the contigs are taken."""


class ModelConfig(Section):
    """A model: where its weights are and what it needs."""

    checkpoint: FileName
    """Folder written by `save_pretrained` or `evo2-tasks convert`, a published `.pt` or
    `.pt.part0` file, the name of a checkpoint that comes with the package, or a model on a hub,
    `owner/name@` and the 40 digits of a commit, which is fetched before the first job."""
    model: Release | None = None
    """The release that a published `.pt` file is."""
    config: FileName | None = None
    """The published `.yml` description of a `.pt` file that is no release."""
    dtype: Literal["bfloat16", "float32"] | None = None
    """Number type of the weights; without it `bfloat16` on a GPU, `float32` on a CPU."""
    fp8: Annotated[Fp8Mode, BeforeValidator(_off)] | None = None
    """How the input projections are computed: in that number type (`off`), in FP8 with sums in
    float32 (`emulate`), or with the sums of a kind of GPU, which is slow and for comparing. Without
    it `emulate` for the published 1B, 20B and 40B, `off` for the published 7B, and for a folder
    what its `config.json` says."""
    allow_without_fp8: bool = False
    """Whether `fp8: off` is taken for a checkpoint that needs FP8, whose scores are then near
    random."""
    gpus: Annotated[int, Field(ge=0)] = 1
    """GPUs that a scoring job asks the scheduler for, each for a range of the model's layers; 0 for
    a model that runs on CPUs."""


class ScoringConfig(Section):
    """A way of scoring: model, windows and strands."""

    model: Name
    """A name under `models`."""
    window_length: Annotated[int, Field(ge=MIN_WINDOW_LENGTH)] = 8192
    """Bases of reference around an allele that the model reads."""
    window_placement: Literal["centered", "tiled"] = "centered"
    """`centered`: each allele in the middle of its own window. `tiled`: windows at multiples of
    `window_step`, shared by the alleles in their middle."""
    window_step: Annotated[int, Field(ge=1)] | None = None
    """Bases from one tiled window to the next; without it a quarter of `window_length`."""
    strands: Literal["both", "forward", "reverse"] = "both"
    """Strands to read; the score is their mean."""
    horizon: Annotated[int, Field(ge=1)] | None = None
    """Tokens scored from the first difference on; without it all up to the window's end."""
    max_allele_length: Annotated[int, Field(ge=1)] | None = None
    """Longest trimmed allele that is scored; without it a quarter of `window_length`."""
    max_n_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    """Largest share of bases other than A, C, G, T in a window that is scored."""
    min_context: Annotated[int, Field(ge=0)] | None = None
    """Tokens before or after the first difference below which a row is flagged; without it 512
    or a quarter of `window_length`, whichever is less."""
    prepend_bos: bool = False
    """Begin each window with a beginning-of-sequence token, so that its first base is scored."""


class FilterConfig(Section):
    """What an allele has to be to be scored."""

    pass_only: bool = False
    """Only records whose FILTER is PASS; `.`, no filter applied, is not PASS."""
    contigs: SomeTexts | None = None
    """Only these contigs, as the variant file spells them."""
    max_allele_length: Annotated[int, Field(ge=1)] | None = None
    """Only alleles whose REF and ALT, as they are spelled, have at most so many bases."""


class LabelConfig(Section):
    """What a field of labels says: values of two kinds, or a number with a harmful end."""

    positive: SomeTexts | None = None
    """Values that count as harmful. A field with several, joined by `/`, `|` or `,`, counts if one
    of them does and none is negative."""
    negative: SomeTexts | None = None
    """Values to compare them with; variants with any other value are left out."""
    harmful: Literal["low", "high"] | None = None
    """For a field of numbers (functional score, fitness, allele frequency): which end of them is
    harmful."""
    where: Mapping[Text, SomeTexts] = {}
    """Only variants with one of these values in a field: `{MC: [missense_variant]}`."""
    min_review_stars: Annotated[int, Field(ge=0, le=4)] | None = None
    """Only variants with so many of ClinVar's review stars, by the field `CLNREVSTAT`."""
    resample_by: Text | None = None
    """Field whose variants are drawn as one for the intervals; without it the position."""


class VariantSetConfig(Section):
    """A file of variants and what to do with it."""

    variants: FileName
    """VCF (text, bgzip, gzip), BCF, a table (TSV, CSV, Parquet) of contig, pos, ref, alt, a list
    (`17-43045712-A-G`, `17:43045712:A:G` or SPDI), or with `saturate` a BED."""
    reference: Name
    """A name under `references`."""
    scorings: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_unique)]
    """Names under `scorings`; each one writes its own table."""
    carry: Texts = ()
    """INFO fields or columns that go along to the output table; those that `labels`, `groups` and
    `baselines` name do so without being named here."""
    labels: Mapping[Text, LabelConfig] = {}
    """INFO fields or columns that say what is known of a variant: how well the scores separate
    it is evaluated."""
    groups: Texts = ()
    """INFO fields or columns whose values (consequence, gene, locus) are evaluated one by one."""
    baselines: Mapping[Text, Literal["low", "high"]] = {}
    """INFO fields or columns of numbers (CADD, phyloP) to compare with, and their harmful end."""
    filters: FilterConfig = FilterConfig()
    """Which alleles to score; the others keep a row, with the status `filtered`."""
    regions: SomeTexts | None = None
    """Regions to read through the file's index (`chr1`, `chr1:1000-2000`); other records are
    not read at all."""
    max_ref_mismatch_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    """Share of alleles whose REF the reference does not have above which the run stops, since the
    variants are of another assembly; looked at from the hundredth allele of a shard on."""
    saturate: Annotated[
        tuple[Literal["snv", "deletion", "insertion", "codon"], ...], AfterValidator(_unique)
    ] = ()
    """Changes to make at every position of the regions of a BED: each other base, the deletion of
    the base, each base inserted after it, each other codon."""
    sort_by_position: bool = False
    """Whether the table is in the order of contigs and positions and not in input order."""
    exports: Annotated[tuple[ExportFormat, ...], AfterValidator(_unique)] = ()
    """Formats that the table is also written in: `vcf` (the input file with the scores as INFO
    fields), `tsv`, `bedgraph` (the mean `llr` of the SNVs of each position)."""

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
        """Fields that go along to the table: those of `carry`, and those that evaluation reads."""
        return tuple(dict.fromkeys([*self.carry, *self.evaluated.values()]))

    @property
    def numbers(self) -> frozenset[str]:
        """Fields that evaluation reads as numbers."""
        labels = (name for name, label in self.labels.items() if label.harmful is not None)
        return frozenset([*labels, *self.baselines])


class RunSettings(Section):
    """Settings of the work itself."""

    batch_tokens: Annotated[int, Field(ge=1)] = 65_536
    """Tokens that go through the model at once."""
    segment_length: Annotated[int, Field(ge=1)] = 65_536
    """Bases of a segment: a longer window goes through the model in segments, each from the state
    that the one before left, so that memory grows only by the keys and values of attention."""
    kv_cache: Literal["device", "offload"] = "device"
    """Where the keys and values of attention wait from segment to segment: on the device, or in
    host memory (`offload`), which leaves those of one layer at a time on the device."""
    part_tokens: Annotated[int, Field(ge=1)] = 1_048_576
    """Tokens of a part, the slice of a shard within which identical windows are run once, and
    which a killed job does not compute again."""
    max_non_finite_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.1
    """Share of alleles without a finite score above which a job stops, since the model computes
    no numbers; looked at from the hundredth allele of a shard on."""
    model_cache: FileName | None = None
    """Folder on the nodes' own disks, `/scratch` or `$TMPDIR` say, to which the first job on a node
    copies the checkpoint, for all jobs there to load it from."""
    allow_mixed_devices: bool = True
    """Whether shards that ran on different kinds of devices become one table."""


class RunConfig(Section):
    """A run: which variants are scored how, and where the tables go."""

    references: Annotated[Mapping[Name, ReferenceConfig], Field(min_length=1)]
    """Genomes by name."""
    models: Annotated[Mapping[Name, ModelConfig], Field(min_length=1)]
    """Models by name."""
    scorings: Annotated[Mapping[Name, ScoringConfig], Field(min_length=1)]
    """Ways of scoring by name."""
    variant_sets: Annotated[Mapping[Name, VariantSetConfig], Field(min_length=1)]
    """Variant files by name."""
    shards: Annotated[int, Field(ge=1)] = 1
    """Parts that each variant file is split into, each one job per scoring."""
    run: RunSettings = RunSettings()
    """How the work is done; nothing here changes more than last bits or reruns a finished job."""
    output: FileName = Path("results")
    """Folder of the results."""


_SECTIONS: dict[str, type[Section]] = {
    "references": ReferenceConfig,
    "models": ModelConfig,
    "scorings": ScoringConfig,
    "variant_sets": VariantSetConfig,
}


def dump_config(config: RunConfig) -> str:
    """Write a config as one line of JSON, without the defaults, as :func:`load_config` reads it."""
    return config.model_dump_json(exclude_unset=True)


def config_schema() -> str:
    """The JSON schema of a config file, for editors."""
    schema = RunConfig.model_json_schema()
    return json.dumps(
        {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2
    )
