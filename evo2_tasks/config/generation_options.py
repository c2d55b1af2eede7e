"""The settings of the command ``generate``, from its options: checked as a config is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from evo2_tasks.config.files import file_problems
from evo2_tasks.config.generations import MergeGenerationSettings, resolve_merge_generation
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import ModelSettings, ReferenceSettings
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.config.text import read_text
from evo2_tasks.config.yaml_files import read_yaml
from evo2_tasks.errors import InputError

COMMAND: Final = "generate"

_MODEL, _PROMPTS, _COMPARED, _SECOND = "model", "prompts", "compare_with", "second"
_EXAMPLE: Final = "gc_content:target=0.4 or function:my_scorers:count"


def make_settings(
    *,
    name: str,
    model: Mapping[str, Any],
    prompts: Mapping[str, Any],
    reference: Path | None,
    compare_with: Path | None,
    circular_contigs: Sequence[str],
    scorers: Sequence[str],
    scorers_file: Path | None,
    batch_tokens: int,
    search: Mapping[str, Any],
) -> MergeGenerationSettings:
    """The settings of a generation, from options.

    Args:
        name: Name of the generation, which begins the names of the sequences.
        model: Keys of the model, as in a config.
        prompts: Keys of the prompts, but for ``reference``.
        reference: FASTA of the genome that the prompts are parts of.
        compare_with: FASTA of the genome to compare the sequences with. Default: ``reference``.
        circular_contigs: Circular contigs of the two.
        scorers: Scorers as ``--scorer`` names them.
        scorers_file: YAML with a list of scorers, as in a config.
        batch_tokens: Tokens that go through a second model at once.
        search: Other keys of a generation, as in a config.

    Raises:
        InputError: A value has no meaning, or values contradict each other.
    """
    references = {
        key: {"fasta": str(fasta), "circular_contigs": list(circular_contigs)}
        for key, fasta in ((_PROMPTS, reference), (_COMPARED, compare_with))
        if fasta is not None
    }
    entries: list[Any] = [] if scorers_file is None else _read_scorers(scorers_file)
    entries += [parse_scorer(text) for text in scorers]
    models = {_MODEL: _without_none(model), **_take_second_models(entries, _without_none(model))}
    generation = {
        **_without_none(search),
        "model": _MODEL,
        "prompts": _without_none({**prompts, "reference": None if reference is None else _PROMPTS}),
        "scorers": entries,
    }
    if compare_with is not None:
        generation["compare_with"] = _COMPARED
    try:
        config = load_config(
            {
                "references": references,
                "models": models,
                "generations": {name: generation},
                "run": {"batch_tokens": batch_tokens},
            },
            look_for_files=False,
        )
        for key, problem in _missing_files(config):
            raise InputError(f"{key}: {problem}")
    except InputError as error:
        raise InputError(_as_options(str(error), name, len(entries))) from error
    return _name_as_given(resolve_merge_generation(config, name))


def _name_as_given(settings: MergeGenerationSettings) -> MergeGenerationSettings:
    """Name models by their checkpoints, references by their files and places by the command."""
    of = settings.generate

    def rename(one: ModelSettings) -> ModelSettings:
        return replace(one, name=str(one.written), where=COMMAND)

    scorers = tuple(
        replace(one, where=f"{COMMAND}: scorers[{i}]", model=one.model and rename(one.model))
        for i, one in enumerate(of.scorers)
    )
    prompts = replace(
        of.prompts,
        where=f"{COMMAND}: prompts",
        scorers=scorers,
        reference=of.prompts.reference and _rename(of.prompts.reference),
    )
    return replace(
        settings,
        compare_with=settings.compare_with and _rename(settings.compare_with),
        generate=replace(of, model=rename(of.model), prompts=prompts, scorers=scorers),
    )


def _take_second_models(entries: list[Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """The models that scorers name by their checkpoints; the scorers then have their names.

    Args:
        entries: The scorers as in a config, which are changed.
        model: Keys of the model of the generation, which hold for the others too.
    """
    models = {}
    for number, entry in enumerate(entries):
        second = entry.get("likelihood") if isinstance(entry, dict) else None
        if isinstance(second, dict) and isinstance(second.get("model"), str):
            key = f"{_SECOND}-{number}"
            models[key] = {**model, "checkpoint": second["model"]}
            entry["likelihood"] = {**second, "model": key}
    return models


def _missing_files(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with the files that options name; ``-`` is standard input."""
    for key, problem in file_problems(config):
        is_named = key != "output" and not (key.endswith(".fasta") and problem.startswith("- "))
        if is_named:
            yield key, problem


def _rename(reference: ReferenceSettings) -> ReferenceSettings:
    """A reference that is named by its file."""
    return replace(reference, name=reference.fasta.name)


def parse_scorer(text: str) -> dict[str, Any]:
    """A scorer as ``--scorer`` names it, as an entry of a config.

    Examples are ``gc_content:target=0.4``, ``gc_pattern:targets=[0.3,0.6],window=100``,
    ``motif:motif=TATAWAW,weight=2`` and ``function:my_scorers:count,weight=0.5``.

    Raises:
        InputError: It has another form.
    """
    kind, _, rest = text.partition(":")
    entry: dict[str, Any] = {}
    keys: dict[str, Any] = {}
    if kind == "function":
        entry["function"], _, rest = rest.partition(",")
    if rest:
        pairs = re.sub(r"([A-Za-z_]\w*)=", r"\1: ", rest)
        try:
            values = yaml.safe_load(f"{{{pairs}}}")
        except yaml.YAMLError:
            values = None
        if not isinstance(values, dict) or "=" not in rest:
            raise InputError(f"--scorer: '{text}' has no keys; expected for example {_EXAMPLE}.")
        keys = values
    entry |= {key: keys.pop(key) for key in ("weight", "name") if key in keys}
    if kind == "function":
        return {**entry, **keys}
    return {**entry, kind: keys}


def _read_scorers(path: Path) -> list[Any]:
    """The scorers of a YAML file.

    Raises:
        InputError: It cannot be read, or is no list.
    """
    data = read_yaml(read_text(path, str(path)), str(path))
    entries = data.get("scorers") if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise InputError(
            f"{path}: expected a list of scorers, for example: - gc_content: {{target: 0.4}}"
        )
    return entries


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in values.items()
        if value is not None
    }


def _as_options(message: str, name: str, num_scorers: int) -> str:
    """A message about a config, as one about options."""
    text = message.removeprefix("config: ")
    for key, option in (
        (f"generations.{name}.", ""),
        (f"models.{_MODEL}.checkpoint", "model"),
        (f"models.{_MODEL}.", ""),
        *(
            (f"models.{_SECOND}-{number}.checkpoint", f"scorers[{number}].likelihood.model")
            for number in range(num_scorers)
        ),
        (f"references.{_PROMPTS}.fasta", "reference"),
        (f"references.{_COMPARED}.fasta", "compare_with"),
    ):
        text = text.replace(key, option)
    return f"{COMMAND}: {text}"
