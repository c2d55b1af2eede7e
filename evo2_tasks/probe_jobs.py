"""What the rules about probes take from a config: inputs, settings, memory and time of their jobs.

A layer is spelled as the name of its folder here.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evo2_tasks.config.probes import (
    FitProbeSettings,
    Layers,
    list_applied,
    list_fitted,
    list_used,
)
from evo2_tasks.config.resolve import resolve_score
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.cost.embeddings import layer_width
from evo2_tasks.cost.probes import find_layers
from evo2_tasks.errors import InputError
from evo2_tasks.layout import PROBE, PROBE_WEIGHTS, layer_file

MOST_LABELLED: Final = 50_000
"""Labelled rows for which a job of ``fit_probe`` has memory and time at its first attempt; the next
attempts have twice and three times as much."""

FEATURE_BYTES: Final = 16
"""Bytes of memory for each feature of each labelled row that a job asks for.

100,000 rows of 512 features took 8 with a label, and 12 with a number: the features, and the copy
of a training set (``benchmarks/probe.py``)."""

UNKNOWN_WIDTH: Final = 4_096
"""Numbers of an embedding of a model whose shape is not known: those of the 7B."""

SECONDS_PER_MILLION: Final = 60.0
"""CPU time for a million features of labelled rows that a job is allowed, with the control.

An AMD EPYC took 3 to 9 seconds for a label with 300 and 3,000 rows, and an estimated 15 with
100,000 rows and 512 features (``benchmarks/probe.py``). The limit is four times that, because
slower processors and larger sets were not measured."""


@dataclass(frozen=True)
class ProbeInputs:
    """The inputs of the rules that train, apply and evaluate probes.

    Files of the run are relative to the results folder. A layer is the name of its folder.
    """

    names: list[str]
    """All probes."""
    layers: list[str]
    """All folders of layers."""
    embeddings: dict[str, dict[str, dict[str, dict[str, list[str]]]]]
    """Embeddings that ``fit_probe`` reads, by variant set, scoring, probe and layer; empty if the
    probe uses ``llr`` alone."""
    applied_embeddings: dict[str, dict[str, list[str]]]
    """Embeddings that ``apply_probe`` may read, by variant set and scoring."""
    trained: dict[str, dict[str, dict[str, list[str]]]]
    """The JSON file of a probe of this run to apply, by variant set, scoring and probe; empty for a
    probe of an earlier run."""
    weights: dict[str, dict[str, dict[str, list[str]]]]
    """The numbers of this probe, in the same way."""
    trained_file: dict[str, dict[str, dict[str, list[str]]]]
    """The JSON file of a probe of an earlier run, in the same way."""
    weights_file: dict[str, dict[str, dict[str, list[str]]]]
    """The numbers of this probe, in the same way."""
    predictions: dict[str, dict[str, list[str]]]
    """Predictions that ``evaluate`` reads, by variant set and scoring."""


def probe_inputs(config: RunConfig, layers: Layers) -> ProbeInputs:
    """The inputs of the rules about probes.

    Args:
        config: The config.
        layers: The layers of its scorings.
    """
    sets = config.variant_sets
    scorings = [(name, scoring) for name, one in sets.items() for scoring in one.scorings]
    fitted = {pair: list_fitted(config, layers, *pair) for pair in scorings}
    applied = {pair: list_applied(config, layers, *pair) for pair in scorings}

    def list_files(file: str, *, own: bool) -> dict[str, dict[str, dict[str, list[str]]]]:
        return {
            name: {
                scoring: {
                    probe.name: [str(probe.folder / file)] if (probe.fit is None) != own else []
                    for probe in applied[name, scoring]
                }
                for scoring in one.scorings
            }
            for name, one in sets.items()
        }

    embeddings: dict[str, dict[str, dict[str, dict[str, list[str]]]]] = {}
    for (name, scoring), probes in fitted.items():
        of_scoring = embeddings.setdefault(name, {}).setdefault(scoring, {})
        for probe in probes:
            files = [] if probe.layer is None else [f"{name}/{scoring}/{layer_file(probe.layer)}"]
            of_scoring.setdefault(probe.name, {})[probe.folder_name] = files
    return ProbeInputs(
        names=list(dict.fromkeys(probe for one in sets.values() for probe in one.probes)),
        layers=list(dict.fromkeys(one.folder_name for probes in fitted.values() for one in probes)),
        embeddings=embeddings,
        applied_embeddings={
            name: {
                scoring: [
                    f"{name}/{scoring}/{layer_file(layer)}"
                    for layer in layers.get(scoring, ())
                    if applied[name, scoring]
                ]
                for scoring in one.scorings
            }
            for name, one in sets.items()
        },
        trained=list_files(PROBE, own=True),
        weights=list_files(PROBE_WEIGHTS, own=True),
        trained_file=list_files(PROBE, own=False),
        weights_file=list_files(PROBE_WEIGHTS, own=False),
        predictions={
            name: {
                scoring: list_predictions(config, layers, name, scoring) for scoring in one.scorings
            }
            for name, one in sets.items()
        },
    )


def list_predictions(
    config: RunConfig, layers: Layers, variant_set: str, scoring: str
) -> list[str]:
    """The predictions of the probes of a scoring, relative to the results folder."""
    folder = Path(variant_set, scoring)
    return [str(one.find(folder)) for one in list_used(config, layers, variant_set, scoring)]


def list_reported(config: RunConfig, layers: Layers, variant_set: str, scoring: str) -> list[str]:
    """The files of the probes of a scoring that the report shows."""
    folder = Path(variant_set, scoring)
    files = []
    for one in list_used(config, layers, variant_set, scoring):
        predictions = one.find(folder)
        files += [str(predictions)]
        files += [str(predictions.with_name(PROBE))] if one.fit is not None else []
    return files


def place_probes(
    files: dict[str, dict[str, dict[str, list[str]]]], place: Callable[[list[str]], list[str]]
) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Files of probes of earlier runs as Snakemake reads or copies them."""
    return {
        variant_set: {
            scoring: {probe: place(paths) for probe, paths in of_scoring.items()}
            for scoring, of_scoring in of_set.items()
        }
        for variant_set, of_set in files.items()
    }


def fit_settings(
    config: RunConfig, layers: Layers
) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    """The settings of ``fit_probe``, by variant set, scoring, probe and folder of the layer."""
    found: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for name, variant_set in config.variant_sets.items():
        for scoring in variant_set.scorings:
            of_scoring = found.setdefault(name, {}).setdefault(scoring, {})
            for one in list_fitted(config, layers, name, scoring):
                of_scoring.setdefault(one.name, {})[one.folder_name] = _as_params(one.triggers())
    return found


def apply_settings(config: RunConfig, layers: Layers) -> dict[str, dict[str, dict[str, str]]]:
    """The settings of ``apply_probe``, by variant set, scoring and probe."""
    return {
        name: {
            scoring: {
                one.name: _as_params(one.triggers())
                for one in list_applied(config, layers, name, scoring)
            }
            for scoring in variant_set.scorings
        }
        for name, variant_set in config.variant_sets.items()
    }


def _as_params(triggers: Mapping[str, object]) -> str:
    return json.dumps(triggers, sort_keys=True)


@dataclass(frozen=True)
class FitCost:
    """The labelled rows and the features of a probe.

    Attributes:
        rows: Labelled rows, at most ``MOST_LABELLED``.
        features: Numbers of each row.
    """

    rows: float
    features: int

    @property
    def mb(self) -> int:
        """Memory besides that of any step, MB."""
        return math.ceil(self.rows * self.features * FEATURE_BYTES / 10**6)

    @property
    def minutes(self) -> int:
        """Time besides that of any step, minutes."""
        return math.ceil(self.rows * self.features / 10**6 * SECONDS_PER_MILLION / 60)


def count_fit(num_features: int, alleles: float | None) -> FitCost:
    """What a probe takes at most, as if all alleles had a label.

    Args:
        num_features: Features of the probe.
        alleles: Alleles of the variant set; None if they are not counted yet.
    """
    return FitCost(min(MOST_LABELLED, math.inf if alleles is None else alleles), num_features)


def list_fits(config: RunConfig) -> dict[tuple[str, str, str, str], int]:
    """Features of each probe, by variant set, scoring, probe and folder of the layer."""
    layers = find_layers(config)
    return {
        (name, scoring, one.name, one.folder_name): _count_features(config, one)
        for name, variant_set in config.variant_sets.items()
        for scoring in variant_set.scorings
        for one in list_fitted(config, layers, name, scoring)
    }


def _count_features(config: RunConfig, settings: FitProbeSettings) -> int:
    width = 0
    if settings.layer is not None:
        try:
            width = layer_width(settings.layer, resolve_score(config, settings.scoring).model)
        except InputError:  # the model is not there yet, or the step that opens it reports it
            width = UNKNOWN_WIDTH
    return sum(1 if name == "llr" else width for name in settings.features)
