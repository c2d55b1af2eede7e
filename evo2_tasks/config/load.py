"""Reading a config, and one clear line for what is wrong with it."""

import difflib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from evo2_tasks import config as configs
from evo2_tasks.config.calibrations import calibration_problems
from evo2_tasks.config.embeddings import embedding_problems
from evo2_tasks.config.objects import urls_without_copy
from evo2_tasks.config.resolve import (
    resolve_annotate,
    resolve_max_allele_length,
    resolve_window_step,
    unknown_name,
)
from evo2_tasks.config.schema import (
    LIST_TAG,
    MAPPING_TAG,
    SCORERS,
    SECTIONS,
    TEXT_TAG,
    ColumnsConfig,
    EmbeddingsConfig,
    FilterConfig,
    HaplotypeOfConfig,
    HaplotypesConfig,
    LabelConfig,
    ProbeConfig,
    PromptsConfig,
    RandomSnvsConfig,
    RunConfig,
    RunSettings,
    ScorerConfig,
    ScoringConfig,
    Section,
    VariantSetConfig,
)
from evo2_tasks.config.sets import set_problems
from evo2_tasks.config.text import read_json, read_text
from evo2_tasks.errors import InputError
from evo2_tasks.hub import parse_hub_name
from evo2_tasks.layout import IDENTITY_ENDING, RESERVED_SCORINGS


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
        files: The files that the mapping was read from. They are searched for keys that occur
            twice, of which a mapping keeps only one.
        look_for_files: Whether the files that the config names have to exist already.

    Returns:
        The config, with every default filled in.

    Raises:
        InputError: It cannot be read or is not a valid config. The message names the key and says
            what is allowed.
    """
    if isinstance(source, Path):
        name = "standard input" if source == Path("-") else str(source)
        data = _read(source, name)
    else:
        for file in files or []:
            _read(Path(file), str(file))
        name = str(files[0]) if files and len(files) == 1 else "config"
        data = source
    config = _parse(data, name)
    _raise_first(name, _contradictions(config))
    if look_for_files:
        _raise_first(name, configs.files.file_problems(config))
    if isinstance(source, Path):
        _raise_first(name, _unread_urls(config))
    return config


def _read(path: Path, name: str) -> object:
    """Read a file of YAML or JSON."""
    text = read_text(path, name)
    values = read_json(text)
    return configs.yaml_files.read_yaml(text, name) if values is None else values


def _unread_urls(config: RunConfig) -> Iterator[tuple[str, str]]:
    """URLs in the config of a command that the workflow has not started."""
    for key, url in urls_without_copy(config.model_dump()):
        yield (
            key,
            f"{url} is a URL, and only the workflow reads files by URL. Download the file and name "
            "the copy",
        )


def _parse(data: object, name: str) -> RunConfig:
    if not isinstance(data, Mapping) or not data:
        keys = ", ".join(RunConfig.model_fields)
        raise InputError(f"{name}: expected a mapping with the keys {keys}; got {_as_json(data)}")
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
        raise InputError(f"{name}: not a mapping of keys to values: {_one_line(error)}") from error


def _raise_first(name: str, problems: Iterable[tuple[str, str]]) -> None:
    """Raise the first of the problems as one line; each is a key and what is wrong with it."""
    lines = [f"{key}: {what}" if key else what for key, what in problems]
    if lines:
        num_more = len(lines) - 1
        more = f" (and {num_more} more error{'s' if num_more > 1 else ''})" if num_more else ""
        raise InputError(f"{name}: {lines[0]}{more}")


# What a value should have been, by pydantic's name of the problem. {got} is the value, the other
# fields are the bounds that pydantic names.
_EXPLANATIONS = {
    "bool_type": "expected true or false, got {got}",
    "dict_type": "expected a mapping of names to settings, got {got}",
    "finite_number": "expected a number, got {got}",
    "float_type": "expected a number, got {got}",
    "greater_than": "{got} is too small; expected more than {gt:g}",
    "greater_than_equal": "{got} is too small; the smallest allowed value is {ge}",
    "int_from_float": "expected a whole number, got {got}",
    "int_type": "expected a whole number, got {got}",
    "less_than": "{got} is too large; expected less than {lt:g}",
    "less_than_equal": "{got} is too large; the largest allowed value is {le}",
    "literal_error": "{got} is not allowed; expected {expected}",
    "model_type": "expected a mapping of keys to values, got {got}",
    "path_type": "expected a path, got {got}; put it in quotes if it is one",
    "string_too_short": "expected a text, got an empty one",
    "string_type": "expected a text, got {got}; put it in quotes if it is one",
    "too_short": "expected at least {min_length} entries, got {actual_length}",
    "tuple_type": "expected a list, got {got}",
}


def _explained(problem: ErrorDetails) -> tuple[str, str]:
    """The key of a problem that pydantic found, and a description of the problem."""
    places = [part for part in problem["loc"] if part not in (LIST_TAG, MAPPING_TAG, TEXT_TAG)]
    *parents, last = loc = places or [""]
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
    if problem["type"] == "too_short" and problem["ctx"]["min_length"] == 1:
        return _key(loc), "expected at least one entry, got none"
    template = _EXPLANATIONS.get(problem["type"])
    if template is None:
        return _key(loc), f"{problem['msg']}, got {_as_json(problem['input'])}"
    return _key(loc), template.format(got=_as_json(problem["input"]), **problem.get("ctx", {}))


def _known_keys(loc: Sequence[int | str]) -> list[str]:
    """The keys that the section at this place of the config may have."""
    match loc:
        case []:
            section: type[Section] = RunConfig
        case ["run"]:
            section = RunSettings
        case ["variant_sets", _, "filters"]:
            section = FilterConfig
        case ["variant_sets", _, "columns"]:
            section = ColumnsConfig
        case ["variant_sets", _, "random_snvs"]:
            section = RandomSnvsConfig
        case ["scorings", _, "embeddings"]:
            section = EmbeddingsConfig
        case ["variant_sets", _, "haplotypes"]:
            section = HaplotypesConfig
        case ["variant_sets", _, "haplotype_of"]:
            section = HaplotypeOfConfig
        case ["variant_sets", _, "labels", _]:
            section = LabelConfig
        case ["variant_sets", _, "probes", _]:
            section = ProbeConfig
        case ["generations", _, "prompts"]:
            section = PromptsConfig
        case ["generations", _, "scorers", _]:
            section = ScorerConfig
        case ["generations", _, "scorers", _, str(kind)]:
            section = SCORERS[kind]
        case [str(first), *_]:
            section = SECTIONS[first]
    return list(section.model_fields)


def _key(loc: Sequence[int | str]) -> str:
    """The path of a key as people write it: `variant_sets.mitomap.scorings[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _as_json(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _contradictions(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Values that are valid by themselves but contradict each other."""
    store, output = config.run.store, config.output
    if store is not None and os.path.abspath(store) == os.path.abspath(output):  # noqa: PTH100
        yield "run.store", "is the folder of the results (`output`); name another folder"
    if "store_write" in config.run.model_fields_set and config.run.store is None:
        yield "run.store_write", "needs `store`, which `run` does not have"
    for name, model in config.models.items():
        if model.model is not None and model.config is not None:
            yield f"models.{name}.config", "cannot be combined with `model`; keep one of the two"
        for key in ("model", "config"):
            if parse_hub_name(model.checkpoint) and getattr(model, key) is not None:
                yield (
                    f"models.{name}.{key}",
                    "is not allowed for a model on a hub, whose files state it; remove the key",
                )
        if config.run.store is not None and name.endswith(IDENTITY_ENDING):
            yield (
                f"models.{name}",
                f"a name that ends in {IDENTITY_ENDING} is reserved in the results folder; choose "
                "another name",
            )
    for name, scoring in config.scorings.items():
        if name in RESERVED_SCORINGS:
            yield (
                f"scorings.{name}",
                "this name is reserved in the results folder; choose another name",
            )
        yield from unknown_name(f"scorings.{name}.model", scoring.model, "models", config.models)
        for key, what in _impossible_windows(scoring):
            yield f"scorings.{name}.{key}", what
        yield from embedding_problems(name, scoring)
        if scoring.audit is not None and scoring.horizon is None:
            yield (
                f"scorings.{name}.audit",
                "needs `horizon`: without one, all alleles are scored with whole windows; add "
                "`horizon`, or remove `audit`",
            )
    for name, reference in config.references.items():
        if reference.genetic_codes and reference.gff is None:
            yield (
                f"references.{name}.genetic_codes",
                "needs `gff`, which the reference does not have",
            )
    yield from set_problems(config)
    # A job imports the modules of those sections only that its config has.
    if config.sequence_sets:
        yield from configs.sequences.sequence_problems(config)
    if config.track_sets:
        yield from configs.tracks.track_problems(config)
    if config.generations:
        yield from configs.generation_problems.generation_problems(config)
    for name, variant_set in config.variant_sets.items():
        key = f"variant_sets.{name}"
        yield from unknown_name(
            f"{key}.reference", variant_set.reference, "references", config.references
        )
        for field, label in variant_set.labels.items():
            yield from _impossible_label(f"{key}.labels.{field}", label)
        yield from _impossible_source(key, variant_set)
        yield from _impossible_annotations(config, name)
        columns = variant_set.columns.named
        for role, column in columns.items():
            first = next(other for other, name in columns.items() if name == column)
            if first != role:
                yield f"{key}.columns.{role}", f"{column!r} is also the column of {first}"
        if "hgvs" in columns and len(columns) > 1:
            yield (
                f"{key}.columns.hgvs",
                "cannot be combined with contig, pos, ref and alt; keep either hgvs or these",
            )
        if variant_set.saturate and columns:
            yield (
                f"{key}.columns",
                "cannot be combined with `saturate`, which reads a BED; remove the key",
            )
        if variant_set.haplotypes is not None:
            yield from _impossible_haplotypes(key, variant_set)
            yield from _impossible_codons(config, name, variant_set.haplotypes)
        if variant_set.saturate and variant_set.regions is not None:
            yield (
                f"{key}.regions",
                "cannot be combined with `saturate`, whose BED names the regions; remove the key",
            )
        if variant_set.haplotype_of is not None and not variant_set.saturate:
            yield (
                f"{key}.haplotype_of",
                "needs `saturate`, which makes the changes of the genome; set it. To score the "
                "alleles of a VCF in the genomes of its samples, set `haplotypes` instead",
            )
        for option in ("groups", "baselines"):
            has_labels = variant_set.labels or variant_set.random_snvs is not None
            if getattr(variant_set, option) and not has_labels:
                yield f"{key}.{option}", "needs `labels`, which the variant set does not have"
        for i, scoring_name in enumerate(variant_set.scorings):
            yield from unknown_name(
                f"{key}.scorings[{i}]", scoring_name, "scorings", config.scorings
            )
    yield from calibration_problems(config)
    if any(variant_set.probes for variant_set in config.variant_sets.values()):
        yield from configs.probes.probe_problems(config)


_NOT_DRAWN: Final = {
    "columns": "which reads no table",
    "carry": "which has no fields to copy",
    "labels": "whose SNVs have no known effects",
    "groups": "whose SNVs have no labels",
    "baselines": "whose SNVs have no labels",
    "consequence_from": "which reads no VCF",
    "filters": "which chooses bases by `random_snvs.contigs` or `random_snvs.regions`",
    "regions": "which chooses bases by `random_snvs.contigs` or `random_snvs.regions`",
    "saturate": "which makes SNVs only",
    "haplotypes": "whose SNVs no sample has",
}
"""Keys that cannot be combined with ``random_snvs``, and why."""


def _impossible_source(key: str, variant_set: VariantSetConfig) -> Iterator[tuple[str, str]]:
    """No variants, two sources of them, or a key that drawn variants leave without a meaning."""
    drawn = variant_set.random_snvs
    if drawn is None:
        if variant_set.variants is None:
            yield (
                f"{key}.variants",
                "is missing, and there is no default; name a file, or set `random_snvs`",
            )
        return
    if variant_set.variants is not None:
        yield f"{key}.random_snvs", "cannot be combined with `variants`; keep one of the two"
    if drawn.contigs is not None and drawn.regions is not None:
        yield (
            f"{key}.random_snvs.regions",
            "cannot be combined with `contigs`; keep one of the two",
        )
    for option, why in _NOT_DRAWN.items():
        if option in variant_set.model_fields_set and getattr(variant_set, option):
            yield f"{key}.{option}", f"cannot be combined with `random_snvs`, {why}; remove the key"


def _impossible_haplotypes(key: str, variant_set: VariantSetConfig) -> Iterator[tuple[str, str]]:
    """Haplotypes of variants that are surely not from a VCF or BCF."""
    for option, why in (("saturate", "reads a BED"), ("columns", "names those of a table")):
        if option in variant_set.model_fields_set and getattr(variant_set, option):
            yield (
                f"{key}.haplotypes",
                f"cannot be combined with `{option}`, which {why}: only a VCF or BCF has "
                "genotypes; remove one of the two keys",
            )


def _impossible_codons(
    config: RunConfig, name: str, haplotypes: HaplotypesConfig
) -> Iterator[tuple[str, str]]:
    """Codons without genes, or with a distance that has no meaning."""
    if haplotypes.by != "codon":
        return
    key, reference = f"variant_sets.{name}.haplotypes", config.variant_sets[name].reference
    if reference in config.references and config.references[reference].gff is None:
        yield (
            f"{key}.by",
            f"`codon` needs a `gff` of the reference {reference!r}, which has none; name a GFF3 "
            "file there, or remove the key",
        )
    if "compound_distance" in haplotypes.model_fields_set:
        yield (
            f"{key}.compound_distance",
            "cannot be combined with `by: codon`; remove one of the two keys",
        )


def _impossible_annotations(config: RunConfig, name: str) -> Iterator[tuple[str, str]]:
    """Two sources of the consequences, or a column of ``annotate`` that has another use."""
    key, variant_set = f"variant_sets.{name}", config.variant_sets[name]
    if variant_set.reference not in config.references:
        return
    if variant_set.consequence_from is not None:
        if config.references[variant_set.reference].gff is not None:
            yield (
                f"{key}.consequence_from",
                f"cannot be combined with the `gff` of the reference {variant_set.reference!r}; "
                "remove one of the two. If other variant sets need the `gff`, add a reference with "
                "the same `fasta` and without `gff` under another name, and name it in this set",
            )
        if variant_set.saturate:
            yield (
                f"{key}.consequence_from",
                "cannot be combined with `saturate`, which reads a BED; remove the key",
            )
    made = resolve_annotate(config, name).columns
    for place, field in enumerate(variant_set.carry):
        if field in made:
            is_mapping = isinstance(variant_set.carry, Mapping)
            yield (
                f"{key}.carry.{field}" if is_mapping else f"{key}.carry[{place}]",
                f"{field!r} is a column that `annotate` makes; remove it from `carry`",
            )
    for field in made:
        label = variant_set.labels.get(field)
        if field in variant_set.baselines:
            yield f"{key}.baselines.{field}", "is a column of text, expected one of numbers"
        if label is not None and label.harmful is not None:
            yield f"{key}.labels.{field}.harmful", "needs a column of numbers, and this has text"


def _impossible_label(key: str, label: LabelConfig) -> Iterator[tuple[str, str]]:
    """A label that names neither two classes nor a harmful end, or both."""
    has_values = label.positive is not None and label.negative is not None
    if has_values == (label.harmful is not None) or (
        label.harmful and (label.positive or label.negative)
    ):
        yield key, "expected either `positive` and `negative`, or `harmful: low` or `harmful: high`"
    both = [value for value in label.positive or () if value in (label.negative or ())]
    if both:
        yield key, f"{json.dumps(both[0])} is both positive and negative"


def _impossible_windows(scoring: ScoringConfig) -> Iterator[tuple[str, str]]:
    """Window settings for which a window could not contain its allele or its horizon."""
    window = scoring.window_length
    step = resolve_window_step(scoring) if scoring.window_placement == "tiled" else 0
    of_what = f"window_length {window}" + (f" and window_step {step}" if step else "")
    most = (window - step) // 2
    if scoring.horizon is not None and scoring.horizon > most:
        yield "horizon", f"{scoring.horizon} is too large; with {of_what} at most {most} fits"
    most = window - window // 2 - step // 2
    longest = resolve_max_allele_length(scoring)
    if longest > most:
        yield "max_allele_length", f"{longest} is too large; with {of_what} at most {most} fits"
