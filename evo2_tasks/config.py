"""The run's configuration: what each key means, what it may be, and one clear line if it is not.

A config is a YAML or JSON file, or the mapping that Snakemake merged from ``config.yaml``,
``--config`` and ``module:``. It is checked as a whole before any job starts. Importing this module
is cheap (no numpy, pandas, pyarrow, pysam, torch), because Snakemake does so in every job.
"""

import difflib
import json
import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from evo2_tasks.errors import InputError
from evo2_tasks.hub import explain_hub_name, parse_hub_name

BUNDLED_CHECKPOINTS = Path(__file__).parent / "checkpoints"
RESERVED_NAMES = frozenset({"report.html", "shards"})
RESERVED_SETS = frozenset({"logs", "models"})
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


FileName = Annotated[Path, Strict(False), BeforeValidator(_file_name)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], AfterValidator(_unique)]
SomeTexts = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(_unique)]
Fp8Mode = Literal["off", "emulate", "hopper", "ada", "blackwell"]
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


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class ReferenceConfig(_Section):
    """A genome: its sequences and how variant files may spell their names."""

    fasta: FileName
    """FASTA file, plain or bgzipped; an index is made where there is none."""
    circular_contigs: Texts = ()
    """Contigs whose end joins their beginning, by their FASTA names."""
    contig_aliases: Mapping[Text, Text] = {}
    """Contig names of variant files and the FASTA name that each one stands for."""
    assembly_report: FileName | None = None
    """NCBI assembly report, from which further names of the contigs are taken."""


class ModelConfig(_Section):
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


class ScoringConfig(_Section):
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


class FilterConfig(_Section):
    """What an allele has to be to be scored."""

    pass_only: bool = False
    """Only records whose FILTER is PASS; `.`, no filter applied, is not PASS."""
    contigs: SomeTexts | None = None
    """Only these contigs, as the variant file spells them."""
    max_allele_length: Annotated[int, Field(ge=1)] | None = None
    """Only alleles whose REF and ALT, as they are spelled, have at most so many bases."""


class LabelConfig(_Section):
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


class VariantSetConfig(_Section):
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
    exports: Annotated[tuple[Literal["vcf", "tsv", "bedgraph"], ...], AfterValidator(_unique)] = ()
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


class RunSettings(_Section):
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


class RunConfig(_Section):
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

    def variant_set(self, name: str) -> VariantSetConfig:
        """A variant set by its name.

        Raises:
            InputError: There is none of that name.
        """
        _raise_first(
            "config", _unknown_name("--variant-set", name, "variant_sets", self.variant_sets)
        )
        return self.variant_sets[name]

    def scoring(self, name: str) -> ScoringConfig:
        """A scoring by its name.

        Raises:
            InputError: There is none of that name.
        """
        _raise_first("config", _unknown_name("--scoring", name, "scorings", self.scorings))
        return self.scorings[name]


_SECTIONS: dict[str, type[_Section]] = {
    "references": ReferenceConfig,
    "models": ModelConfig,
    "scorings": ScoringConfig,
    "variant_sets": VariantSetConfig,
}


def load_config(
    source: Path | Mapping[str, object],
    *,
    files: list[str | Path] | None = None,
    look_for_files: bool = True,
) -> RunConfig:
    """Read and check a config.

    Args:
        source: A YAML or JSON file (``-`` is standard input), or the mapping that was read from
            one.
        files: The files that the mapping was read from: looked through for keys that stand twice,
            of which a mapping keeps one.
        look_for_files: Whether the files that the config names have to exist already.

    Returns:
        The config, with every default filled in.

    Raises:
        InputError: It cannot be read or is not a valid config. The message names the key and says
            what is allowed.
    """
    if isinstance(source, Path):
        name = "standard input" if source == Path("-") else str(source)
        data = _read_yaml(source, name)
    else:
        for file in files or []:
            _read_yaml(Path(file), str(file))
        name = str(files[0]) if files and len(files) == 1 else "config"
        data = source
    config = _parse(data, name)
    _raise_first(name, _contradictions(config))
    if look_for_files:
        _raise_first(name, _missing_files(config))
    return config


def dump_config(config: RunConfig) -> str:
    """Write a config as one line of JSON, without the defaults, as :func:`load_config` reads it."""
    return config.model_dump_json(exclude_unset=True)


def config_schema() -> str:
    """The JSON schema of a config file, for editors."""
    schema = RunConfig.model_json_schema()
    return json.dumps(
        {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2
    )


def scoring_settings(config: RunConfig, scoring: str) -> dict[str, int | float | str | bool | None]:
    """The settings of a scoring that shape its windows and scores, defaults resolved.

    What a table's signature records and what tells whether a finished job is still valid.
    """
    settings = config.scorings[scoring]
    tiled = settings.window_placement == "tiled"
    return {
        "window_length": settings.window_length,
        "window_placement": settings.window_placement,
        "window_step": _window_step(settings) if tiled else None,
        "strands": settings.strands,
        "horizon": settings.horizon,
        "max_allele_length": _max_allele_length(settings),
        "max_n_share": settings.max_n_share,
        # Its default follows the window, which is shorter on a short circular contig.
        "min_context": settings.min_context,
        "prepend_bos": settings.prepend_bos,
    }


def model_dtype(model: ModelConfig) -> str:
    """Number type of a model's weights, its default resolved."""
    if model.dtype is not None:
        return model.dtype
    return "bfloat16" if model.gpus else "float32"


def checkpoint_path(model: ModelConfig) -> Path:
    """Where a model's checkpoint is: in the package, where `fetch` puts it, or as written."""
    on_hub = parse_hub_name(model.checkpoint)
    if on_hub is not None:
        return on_hub.folder
    bundled = BUNDLED_CHECKPOINTS / model.checkpoint
    is_name = len(model.checkpoint.parts) == 1
    return bundled if is_name and bundled.is_dir() else model.checkpoint


def _window_step(scoring: ScoringConfig) -> int:
    return scoring.window_length // 4 if scoring.window_step is None else scoring.window_step


def _max_allele_length(scoring: ScoringConfig) -> int:
    if scoring.max_allele_length is None:
        return scoring.window_length // 4
    return scoring.max_allele_length


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe YAML loader; a key that stands twice is an error, where YAML keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen and key_node.value != "<<":
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key_node.value!r} stands twice", key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path, name: str) -> object:
    try:
        # utf-8-sig: editors on Windows begin a file with a mark that is no part of it
        text = sys.stdin.read() if path == Path("-") else path.read_text(encoding="utf-8-sig")
        # a subclass of the safe loader: it makes plain values only
        return yaml.load(text, _UniqueKeyLoader)  # noqa: S506
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: is not UTF-8 text (byte {error.start + 1})") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{name}: {where}not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: not valid YAML: {_one_line(error)}") from error


def _parse(data: object, name: str) -> RunConfig:
    if not isinstance(data, Mapping) or not data:
        keys = ", ".join(RunConfig.model_fields)
        raise InputError(f"{name}: expected a mapping with the keys {keys}; got {_shown(data)}")
    try:
        # Through JSON, so that lists become tuples and numbers stay what they are; a date or a
        # path that a YAML reader or a parent workflow made is text again.
        return RunConfig.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        problems = error.errors(include_url=False)
        problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
        _raise_first(name, (_explained(problem) for problem in problems))
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: no plain mapping of texts: {_one_line(error)}") from error


def _raise_first(name: str, problems: Iterable[tuple[str, str]]) -> None:
    """Raise the first of the problems, each a key and what is wrong with it, as one line."""
    lines = [f"{key}: {what}" if key else what for key, what in problems]
    if lines:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise InputError(f"{name}: {lines[0]}{more}")


# What a value should have been, by pydantic's name of the problem. {got} is the value, the other
# fields are the bounds that pydantic names.
_EXPLANATIONS = {
    "bool_type": "expected true or false, got {got}",
    "dict_type": "expected a mapping of names to settings, got {got}",
    "finite_number": "expected a number, got {got}",
    "float_type": "expected a number, got {got}",
    "greater_than_equal": "{got} is too small; the least allowed is {ge}",
    "int_from_float": "expected a whole number, got {got}",
    "int_type": "expected a whole number, got {got}",
    "less_than_equal": "{got} is too large; the most allowed is {le}",
    "literal_error": "{got} is not allowed; expected {expected}",
    "model_type": "expected a mapping of keys to values, got {got}",
    "path_type": "expected a path, got {got}; put it in quotes if it is one",
    "string_too_short": "expected a text, got an empty one",
    "string_type": "expected a text, got {got}; put it in quotes if it is one",
    "too_short": "expected at least one entry, got none",
    "tuple_type": "expected a list, got {got}",
}


def _explained(problem: ErrorDetails) -> tuple[str, str]:
    """The key that a problem found by pydantic is about, and what is wrong, in our words."""
    *parents, last = loc = problem["loc"] or ("",)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(parents)
        near = difflib.get_close_matches(str(last), known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return _key(loc), f"unknown key; {hint}allowed here: {', '.join(known)}"
    if problem["type"] == "missing":
        return _key(loc), "is missing, and there is no default"
    if last == "[key]":
        name = json.dumps(parents[-1])
        return _key(parents[:-1]), (
            f"the name {name} is not allowed; expected letters, digits, '.', '_' and '-',"
            " a letter or digit first"
        )
    template = _EXPLANATIONS.get(problem["type"])
    if template is None:
        return _key(loc), f"{problem['msg']}, got {_shown(problem['input'])}"
    return _key(loc), template.format(got=_shown(problem["input"]), **problem.get("ctx", {}))


def _known_keys(loc: Sequence[int | str]) -> list[str]:
    """The keys that the section at this place may have."""
    match loc:
        case []:
            section: type[_Section] = RunConfig
        case ["run"]:
            section = RunSettings
        case ["variant_sets", _, "filters"]:
            section = FilterConfig
        case ["variant_sets", _, "labels", _]:
            section = LabelConfig
        case [str(first), *_]:
            section = _SECTIONS[first]
    return list(section.model_fields)


def _key(loc: Sequence[int | str]) -> str:
    """The path of a key as people write it: `variant_sets.mitomap.scorings[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _contradictions(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Values that are well-formed one by one and do not go together."""
    for name, model in config.models.items():
        if model.model is not None and model.config is not None:
            yield f"models.{name}.config", "stands beside `model`; name one of the two"
        for key in ("model", "config"):
            if parse_hub_name(model.checkpoint) and getattr(model, key) is not None:
                yield (
                    f"models.{name}.{key}",
                    "has no use: the files on the hub tell it; leave it out",
                )
    for name, scoring in config.scorings.items():
        if name in RESERVED_NAMES:
            yield f"scorings.{name}", "the results folder has another use for this name"
        yield from _unknown_name(f"scorings.{name}.model", scoring.model, "models", config.models)
        for key, what in _impossible_windows(scoring):
            yield f"scorings.{name}.{key}", what
    for name, variant_set in config.variant_sets.items():
        key = f"variant_sets.{name}"
        if name in RESERVED_SETS:
            yield key, "the results folder has another use for this name"
        yield from _unknown_name(
            f"{key}.reference", variant_set.reference, "references", config.references
        )
        for field, label in variant_set.labels.items():
            yield from _impossible_label(f"{key}.labels.{field}", label)
        if variant_set.saturate and variant_set.regions is not None:
            yield f"{key}.regions", "has no use beside `saturate`; its BED names the regions"
        for option in ("groups", "baselines"):
            if getattr(variant_set, option) and not variant_set.labels:
                yield f"{key}.{option}", "has no use without `labels`"
        for i, scoring_name in enumerate(variant_set.scorings):
            yield from _unknown_name(
                f"{key}.scorings[{i}]", scoring_name, "scorings", config.scorings
            )


def _unknown_name(
    key: str, name: str, section: str, known: Mapping[str, _Section]
) -> Iterator[tuple[str, str]]:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        yield key, f"no {name!r} under `{section}`; {hint}there: {', '.join(known)}"


def _impossible_label(key: str, label: LabelConfig) -> Iterator[tuple[str, str]]:
    """A label has two kinds of values or is a number."""
    has_values = label.positive is not None and label.negative is not None
    if has_values == (label.harmful is not None) or (
        label.harmful and (label.positive or label.negative)
    ):
        yield key, "expected either `positive` and `negative`, or `harmful: low` or `harmful: high`"
    both = [value for value in label.positive or () if value in (label.negative or ())]
    if both:
        yield key, f"{json.dumps(both[0])} is both positive and negative"


def _impossible_windows(scoring: ScoringConfig) -> Iterator[tuple[str, str]]:
    """Window settings with which a window would not hold its allele or its horizon."""
    window = scoring.window_length
    step = _window_step(scoring) if scoring.window_placement == "tiled" else 0
    of_what = f"window_length {window}" + (f" and window_step {step}" if step else "")
    most = (window - step) // 2
    if scoring.horizon is not None and scoring.horizon > most:
        yield "horizon", f"{scoring.horizon} is too large; with {of_what} at most {most} fits"
    most = window - window // 2 - step // 2
    longest = _max_allele_length(scoring)
    if longest > most:
        yield "max_allele_length", f"{longest} is too large; with {of_what} at most {most} fits"


def _missing_files(config: RunConfig) -> Iterator[tuple[str, str]]:
    for name, reference in config.references.items():
        yield from _missing_file(f"references.{name}.fasta", reference.fasta)
        if reference.assembly_report is not None:
            yield from _missing_file(
                f"references.{name}.assembly_report", reference.assembly_report
            )
    for name, model in config.models.items():
        if parse_hub_name(model.checkpoint) is None:
            yield from _missing_checkpoint(f"models.{name}.checkpoint", checkpoint_path(model))
        if model.config is not None:
            yield from _missing_file(f"models.{name}.config", model.config)
    for name, variant_set in config.variant_sets.items():
        yield from _missing_file(f"variant_sets.{name}.variants", variant_set.variants)


def _missing_file(key: str, path: Path) -> Iterator[tuple[str, str]]:
    try:
        if path.is_file():
            return
        what = "is a folder, expected a file" if path.is_dir() else "does not exist"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    where = "" if path.is_absolute() else f" (looked in {Path.cwd()}, where relative paths begin)"
    yield key, f"{path} {what}{where}"


def _missing_checkpoint(key: str, path: Path) -> Iterator[tuple[str, str]]:
    try:
        if not path.is_dir():
            hint = explain_hub_name(path)
            for where, what in _missing_file(key, path):
                yield where, f"{what}. {hint}" if hint else what
        elif not (path / "config.json").is_file():
            yield key, f"the folder {path} holds no config.json, so it is no checkpoint"
    except OSError as error:
        yield key, f"{path} cannot be read: {error.strerror}"
