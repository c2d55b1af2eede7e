"""The config of a run with one file of variants and one scoring, from settings without sections.

The command ``run`` and the function ``score_variants`` take settings by name, each a key of the
config. Here they find their sections.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evo2_tasks.config.choices import WINDOW_LENGTH
from evo2_tasks.config.files import file_problems
from evo2_tasks.config.load import load_config
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.errors import InputError

VARIANT_SET: Final = "variants"
"""Name of the variant set."""
REFERENCE: Final = "reference"
"""Name of the reference."""

SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "references": {
        name: name
        for name in (
            "circular_contigs",
            "contig_aliases",
            "assembly_report",
            "gff",
            "genetic_codes",
        )
    },
    "models": {
        "release": "model",
        "model_config": "config",
        "dtype": "dtype",
        "fp8": "fp8",
        "allow_without_fp8": "allow_without_fp8",
        "gpus": "gpus",
    },
    "scorings": {
        name: name
        for name in (
            "window_length",
            "window_placement",
            "window_step",
            "strands",
            "horizon",
            "max_allele_length",
            "max_n_share",
            "min_context",
            "prepend_bos",
        )
    },
    "variant_sets": {
        name: name
        for name in (
            "columns",
            "carry",
            "consequence_from",
            "identifiers",
            "filters",
            "regions",
            "max_ref_mismatch_share",
            "saturate",
            "haplotype_of",
            "sort_by_position",
        )
    },
    "run": {
        name: name
        for name in (
            "batch_tokens",
            "segment_length",
            "kv_cache",
            "part_tokens",
            "max_non_finite_share",
        )
    },
}
"""The settings by section of the config, each with its key there."""

WORKFLOW_ONLY: Final[Mapping[str, Sequence[str]]] = {
    "references": (),
    "models": (),
    "scorings": ("audit", "embeddings", "profile"),
    "variant_sets": (
        "labels",
        "groups",
        "baselines",
        "calibrations",
        "probes",
        "haplotypes",
        "random_snvs",
    ),
    "run": ("model_cache", "allow_mixed_devices", "store", "store_write"),
}
"""Keys of the same sections that only the workflow has, because they need more steps or jobs."""


@dataclass(frozen=True, slots=True)
class SingleRun:
    """A run with one file of variants and one scoring.

    Attributes:
        config: The config, with every default filled in.
        written: The config as it is written to a file, without the defaults.
        model: Name of the model.
        scoring: Name of the scoring.
    """

    config: RunConfig
    written: Mapping[str, Any]
    model: str
    scoring: str


def make_single_run(
    variants: Path,
    fasta: Path,
    checkpoint: Path,
    *,
    output: Path,
    settings: Mapping[str, object],
    exports: Sequence[str] = (),
    made: Sequence[str] = (),
) -> SingleRun:
    """Make and check the config of a run with one file of variants and one scoring.

    Args:
        variants: The file of variants.
        fasta: The reference.
        checkpoint: The model, as ``checkpoint`` names it in a config.
        output: Folder of the results.
        settings: Values by the names in ``SETTINGS``; None stands for the default.
        exports: Other formats to write.
        made: Those of ``variants`` and ``checkpoint`` that need not exist as files yet.

    Raises:
        InputError: A setting has an unknown name or a value that is not allowed, or a file does not
            exist. The message begins with the name of the setting.
    """
    given = {name: _plain(value) for name, value in settings.items() if value is not None}
    for name in given:
        _require_known(name)
    sections = {
        section: {key: given[name] for name, key in names.items() if name in given}
        for section, names in SETTINGS.items()
    }
    model = _as_name(checkpoint)
    config: dict[str, Any] = {
        "references": {REFERENCE: {"fasta": str(fasta), **sections["references"]}},
        "models": {model: {"checkpoint": str(checkpoint), **sections["models"]}},
    }
    window_length = given.get("window_length", WINDOW_LENGTH)
    scoring = _as_name(Path(f"{model}-{window_length}"))
    config["scorings"] = {scoring: {"model": model, **sections["scorings"]}}
    config["variant_sets"] = {
        VARIANT_SET: {
            "variants": str(variants),
            "reference": REFERENCE,
            "scorings": [scoring],
            **sections["variant_sets"],
            **({"exports": [*exports]} if exports else {}),
        }
    }
    if sections["run"]:
        config["run"] = sections["run"]
    config["output"] = str(output)
    try:
        read = load_config(config, look_for_files=False)
        for key, what in _missing_files(read, made):
            raise InputError(f"config: {key}: {what}")
    except InputError as error:
        raise InputError(_by_setting(str(error), model, scoring)) from error
    return SingleRun(read, config, model, scoring)


@contextmanager
def naming_settings(single: SingleRun) -> Iterator[None]:
    """Name the settings in messages about keys of the config.

    Raises:
        InputError: The body has raised it.
    """
    try:
        yield
    except InputError as error:
        raise InputError(_by_setting(str(error), single.model, single.scoring)) from error


@contextmanager
def naming_file(file: Path, name: str) -> Iterator[None]:
    """Name what a user gave in messages, in the place of the file that it was written to.

    Raises:
        InputError: The body has raised it.
    """
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(str(file), name)) from error


def _plain(value: object) -> object:
    """A value as YAML writes it: no tuples, no paths, and no values or arrays of numpy."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _require_known(name: str) -> None:
    """Refuse a setting that does not exist, or that needs the workflow.

    Raises:
        InputError: It is one of these.
    """
    known = [one for names in SETTINGS.values() for one in names]
    if name in known:
        return
    if any(name in names for names in WORKFLOW_ONLY.values()):
        raise InputError(
            f"{name}: only the workflow has this setting. Add the key to a config "
            "(docs/configuration.md), and run snakemake."
        )
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise InputError(f"{name}: there is no such setting. {hint}Allowed: {', '.join(known)}.")


def _as_name(checkpoint: Path) -> str:
    """A name for the model and its results, from the name of its checkpoint."""
    stem = re.sub(r"\.pt(\.part0)?$", "", checkpoint.name.partition("@")[0])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-")
    return name or "model"


def _missing_files(config: RunConfig, made: Sequence[str]) -> Iterator[tuple[str, str]]:
    for key, what in file_problems(config):
        if key.rpartition(".")[2] not in made:
            yield key, what


def _by_setting(message: str, model: str, scoring: str) -> str:
    """A message about the config that names the setting in the place of the key."""
    places = {
        f"references.{REFERENCE}.": "references",
        f"models.{model}.": "models",
        f"scorings.{scoring}.": "scorings",
        f"variant_sets.{VARIANT_SET}.": "variant_sets",
        "run.": "run",
    }
    message = message.removeprefix("config: ")
    for place, section in places.items():
        if message.startswith(place):
            rest = message.removeprefix(place)
            name = {key: name for name, key in SETTINGS[section].items()}
            key = re.match(r"\w*", rest)[0]  # type: ignore[index] # any text matches
            return f"{name.get(key, key)}{rest.removeprefix(key)}"
    return message
