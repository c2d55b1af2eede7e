"""The probes of a config: what contradicts itself, and the settings that each step gets."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from evo2_tasks.config.objects import as_written, find_url, local_copy
from evo2_tasks.config.resolve import (
    ReferenceSettings,
    path_of_scoring,
    resolve_annotate,
    resolve_split,
    unknown_name,
)
from evo2_tasks.config.schema import (
    SCORING_MARK,
    FoldKind,
    LabelConfig,
    ProbeConfig,
    ProbeFeature,
    RunConfig,
)
from evo2_tasks.errors import InputError
from evo2_tasks.layout import (
    NO_LAYER,
    PREDICTIONS,
    PROBE,
    PROBE_FILES,
    PROBES,
    applied_file,
    probe_folder,
)

Problems = Iterator[tuple[str, str]]

Layers = Mapping[str, Mapping[str, str]]
"""The layers of the embeddings by scoring: the path of the module of each by its published name.

Which layers a scoring has depends on its model; `cost/probes.py` finds them.
"""

NO_LAYERS: Final[Layers] = MappingProxyType({})

GENE: Final = "gene"
"""Column of the table whose values are the genes of folds."""

_OF_EMBEDDINGS: Final = frozenset({"ref", "delta"})
_SCORE_PREFIX: Final = "probe: "


@dataclass(frozen=True, slots=True)
class FitProbeSettings:
    """What ``fit_probe`` needs.

    Attributes:
        variant_set: Name of the variant set.
        scoring: Name of the scoring.
        name: Of the probe.
        layer: Its layer; None if it uses ``llr`` alone.
        field: The field of the label.
        label: How to read the field.
        features: What the probe sees of an allele.
        folds_by: What is kept together when the rows are split into folds.
        reference: The reference of the set, by which two spellings of an allele are recognised.
    """

    variant_set: str
    scoring: str
    name: str
    layer: str | None
    field: str
    label: LabelConfig
    features: tuple[ProbeFeature, ...]
    folds_by: FoldKind
    reference: ReferenceSettings

    @property
    def folder_name(self) -> str:
        """Name of its folder in the folder of the probe."""
        return NO_LAYER if self.layer is None else self.layer

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {
            "features": self.features,
            "field": self.field,
            "folds_by": self.folds_by,
            "label": self.label.model_dump(mode="json"),
            "layer": self.layer,
        }


@dataclass(frozen=True, slots=True)
class ApplyProbeSettings:
    """What ``apply_probe`` needs.

    Attributes:
        variant_set: Name of the variant set that the probe is applied to.
        scoring: Name of the scoring.
        name: Of the probe in this set.
        folder: The folder of the probe: as the config names it for this scoring, or relative to
            the results folder if this run trains it.
        fit: What ``fit_probe`` must have made it with; None if it is of an earlier run.
        reference: The reference of the set, by which two spellings of an allele are recognised.
    """

    variant_set: str
    scoring: str
    name: str
    folder: Path
    fit: FitProbeSettings | None
    reference: ReferenceSettings

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes; another probe of this name is another input."""
        if self.fit is None:
            return {"probe": as_written(self.folder / PROBE)}
        fit = self.fit
        return {"probe": [fit.variant_set, fit.scoring, fit.name, fit.layer]}


@dataclass(frozen=True, slots=True)
class UsedProbe:
    """A probe whose predictions are evaluated next to the scores of a table.

    Attributes:
        name: Of the probe in the config.
        fit: What ``fit_probe`` must have made it with; None if it is applied.
        apply: What ``apply_probe`` must have applied it with; None if it is trained.
    """

    name: str
    fit: FitProbeSettings | None
    apply: ApplyProbeSettings | None

    def find(self, scoring: Path) -> Path:
        """The file of its predictions, in the folder of a scoring."""
        if self.fit is None:
            return applied_file(scoring, self.name)
        return probe_folder(scoring, self.name, self.fit.layer) / PREDICTIONS

    def triggers(self) -> dict[str, object]:
        """What the file of its predictions must have been made with."""
        if self.fit is not None:
            return self.fit.triggers()
        return {} if self.apply is None else self.apply.triggers()


def uses_embeddings(features: Iterable[ProbeFeature]) -> bool:
    """Whether a probe with these features needs embeddings."""
    return not _OF_EMBEDDINGS.isdisjoint(features)


# Settings of the steps.


def list_fitted(
    config: RunConfig, layers: Layers, variant_set: str, scoring: str
) -> list[FitProbeSettings]:
    """The probes that are trained on a variant set with a scoring, each layer by itself.

    A probe that needs embeddings is made for those scorings of the set that have them.
    """
    settings = config.variant_sets[variant_set]
    found = []
    for name, probe in settings.probes.items():
        if probe.label is None or probe.folds_by is None:
            continue
        chosen: tuple[str | None, ...] = (None,)
        if uses_embeddings(probe.features):
            chosen = _choose_layers(config, layers, scoring, probe)
        found += [
            FitProbeSettings(
                variant_set=variant_set,
                scoring=scoring,
                name=name,
                layer=layer,
                field=probe.label,
                label=settings.labels[probe.label],
                features=probe.features,
                folds_by=probe.folds_by,
                reference=resolve_split(config, variant_set).reference,
            )
            for layer in chosen
        ]
    return found


def list_applied(
    config: RunConfig, layers: Layers, variant_set: str, scoring: str
) -> list[ApplyProbeSettings]:
    """The probes that are applied to a variant set with a scoring."""
    return [
        ApplyProbeSettings(
            variant_set=variant_set,
            scoring=scoring,
            name=name,
            folder=path if own is None else own.folder,
            fit=None if own is None else own.fit,
            reference=resolve_split(config, variant_set).reference,
        )
        for name, probe in config.variant_sets[variant_set].probes.items()
        if probe.probe is not None
        for path in [_local_folder(path_of_scoring(probe.probe, scoring))]
        for own in [_find_own(config, layers, path)]
    ]


def list_used(config: RunConfig, layers: Layers, variant_set: str, scoring: str) -> list[UsedProbe]:
    """All probes whose predictions a table of scores has, in the order of the config."""
    fitted = list_fitted(config, layers, variant_set, scoring)
    applied = {one.name: one for one in list_applied(config, layers, variant_set, scoring)}
    found = []
    for name in config.variant_sets[variant_set].probes:
        found += [UsedProbe(name, one, None) for one in fitted if one.name == name]
        found += [UsedProbe(name, None, applied[name])] if name in applied else []
    return found


def resolve_fit_probe(
    config: RunConfig,
    layers: Layers,
    *,
    variant_set: str,
    scoring: str,
    probe: str,
    layer: str | None,
) -> FitProbeSettings:
    """The settings of ``fit_probe``.

    Args:
        config: The config.
        layers: The layers of its scorings.
        variant_set: Name of the variant set.
        scoring: Name of the scoring.
        probe: Name of the probe.
        layer: Its layer; None if it uses ``llr`` alone.

    Raises:
        InputError: The config has no such probe, or does not train it with this layer.
    """
    _require_probe(config, variant_set, scoring, probe)
    found = [one for one in list_fitted(config, layers, variant_set, scoring) if one.name == probe]
    if not found:
        raise InputError(
            f"config: variant_sets.{variant_set}.probes.{probe}: is not trained with the scoring "
            f"{scoring!r}: it is an earlier probe, or the scoring has no `embeddings` of its layer."
        )
    for one in found:
        if one.layer == layer:
            return one
    known = ", ".join(one.layer for one in found if one.layer is not None)
    if not known:
        raise InputError(
            f"config: variant_sets.{variant_set}.probes.{probe}: uses `llr` alone, so it has no "
            "layer. Leave out --layer."
        )
    raise InputError(
        f"config: --layer: variant_sets.{variant_set}.probes.{probe} has the layers {known} with "
        f"the scoring {scoring!r}. Name one of them."
    )


def resolve_apply_probe(
    config: RunConfig, layers: Layers, *, variant_set: str, scoring: str, probe: str
) -> ApplyProbeSettings:
    """The settings of ``apply_probe``.

    Raises:
        InputError: The config has no such probe, or trains it on this set.
    """
    _require_probe(config, variant_set, scoring, probe)
    for one in list_applied(config, layers, variant_set, scoring):
        if one.name == probe:
            return one
    raise InputError(
        f"config: variant_sets.{variant_set}.probes.{probe}: is trained on this set, not applied "
        "to it. Use `evo2-tasks fit-probe`."
    )


def _require_probe(config: RunConfig, variant_set: str, scoring: str, probe: str) -> None:
    resolve_split(config, variant_set)
    for key, problem in unknown_name("--scoring", scoring, "scorings", config.scorings):
        raise InputError(f"config: {key}: {problem}")
    probes = config.variant_sets[variant_set].probes
    for key, problem in unknown_name(
        "--probe", probe, f"variant_sets.{variant_set}.probes", probes
    ):
        raise InputError(f"config: {key}: {problem}")


def _choose_layers(
    config: RunConfig, layers: Layers, scoring: str, probe: ProbeConfig
) -> tuple[str, ...]:
    """The layers of a scoring that a probe is trained with; none without embeddings."""
    if config.scorings[scoring].embeddings is None:
        return ()
    return tuple(
        name for name, module in layers[scoring].items() if probe.layer in (None, name, module)
    )


def _folder_of(path: Path) -> Path:
    """The folder of a probe, which the config may name by its JSON file."""
    return path.parent if path.name == PROBE else path


def _local_folder(path: Path) -> Path:
    """The folder of a probe, or that of the local copies of its files."""
    return local_copy(_folder_of(path) / PROBE).parent


@dataclass(frozen=True, slots=True)
class _OwnProbe:
    """A probe that this run trains, and its folder relative to the results folder."""

    fit: FitProbeSettings
    folder: Path


def _find_own(config: RunConfig, layers: Layers, folder: Path) -> _OwnProbe | None:
    """The probe of this run whose folder is named; None if this run makes no such folder."""
    inside = _inside_results(config, folder)
    match inside:
        case (str(variant_set), str(scoring), str(probes), str(), str()) if (
            probes == PROBES
            and variant_set in config.variant_sets
            and scoring in config.variant_sets[variant_set].scorings
        ):
            for fit in list_fitted(config, layers, variant_set, scoring):
                made = probe_folder(Path(variant_set, scoring), fit.name, fit.layer)
                if made.parts == inside:
                    return _OwnProbe(fit, made)
    return None


def _inside_results(config: RunConfig, path: Path) -> tuple[str, ...]:
    """The parts of a path from the results folder on; empty for a path that is not in it."""
    if find_url(path) is not None:
        return ()
    where = Path(os.path.abspath(path)).parts  # noqa: PTH100 - the file need not exist
    output = Path(os.path.abspath(config.output)).parts  # noqa: PTH100 - as above
    return where[len(output) :] if where[: len(output)] == output else ()


# What contradicts itself.


def probe_problems(config: RunConfig) -> Problems:
    """What is wrong with the probes: the key, and what is wrong with it."""
    for variant_set, settings in config.variant_sets.items():
        for name, probe in settings.probes.items():
            key = f"variant_sets.{variant_set}.probes.{name}"
            if probe.probe is not None:
                yield from _wrong_applied(config, variant_set, key, probe, probe.probe)
            else:
                yield from _wrong_fitted(config, variant_set, key, probe)
        for field in settings.baselines if settings.probes else ():
            if field.startswith(_SCORE_PREFIX):
                yield (
                    f"variant_sets.{variant_set}.baselines.{field}",
                    "could be mistaken for the score of a probe; give the field another name",
                )


def _wrong_fitted(config: RunConfig, variant_set: str, key: str, probe: ProbeConfig) -> Problems:
    """A probe without a label, folds or features that exist."""
    if probe.label is None:
        yield key, "expected `label` and `folds_by` to train a probe, or `probe` to apply one"
        return
    labels = config.variant_sets[variant_set].labels
    if not labels:
        yield f"{key}.label", f"variant_sets.{variant_set} has no `labels`; add them"
    elif probe.label not in labels:
        yield (
            f"{key}.label",
            f"variant_sets.{variant_set}.labels has no {probe.label!r}; "
            f"{_hint(probe.label, labels)}it has: {', '.join(labels)}",
        )
    yield from _wrong_folds(config, variant_set, key, probe)
    yield from _wrong_features(config, variant_set, key, probe)


def _wrong_folds(config: RunConfig, variant_set: str, key: str, probe: ProbeConfig) -> Problems:
    settings = config.variant_sets[variant_set]
    if probe.folds_by is None:
        yield (
            f"{key}.folds_by",
            "is missing, and there is no default; expected gene, contig or position",
        )
    if probe.folds_by != "gene" or settings.reference not in config.references:
        return
    if GENE not in {*resolve_annotate(config, variant_set).columns, *settings.carried}:
        yield (
            f"{key}.folds_by",
            f"`gene` needs a table with the column {GENE!r}: add a `gff` to the reference "
            f"{settings.reference!r} or `consequence_from` to the variant set, or write contig or "
            "position",
        )


def _wrong_features(config: RunConfig, variant_set: str, key: str, probe: ProbeConfig) -> Problems:
    """Features of embeddings that no scoring of the set has, or a layer without a use."""
    if not uses_embeddings(probe.features):
        if probe.layer is not None:
            yield f"{key}.layer", "has no use: `features` names `llr` alone; remove the key"
        return
    scorings = [
        name for name in config.variant_sets[variant_set].scorings if name in config.scorings
    ]
    if scorings and all(config.scorings[name].embeddings is None for name in scorings):
        feature = next(one for one in probe.features if one in _OF_EMBEDDINGS)
        yield (
            f"{key}.features",
            f"`{feature}` needs embeddings, and no scoring of the set has them; add `embeddings` "
            f"to scorings.{scorings[0]}, or write `features: [llr]`",
        )


def require_layers(config: RunConfig, layers: Layers) -> None:
    """Make sure that the layers exist that the probes of a config name, and their own folders.

    Args:
        config: The config.
        layers: The layers of its scorings.

    Raises:
        InputError: A probe names a layer that no scoring of its set has, or a path in the results
            folder where this run makes no probe.
    """
    for variant_set, settings in config.variant_sets.items():
        for name, probe in settings.probes.items():
            key = f"variant_sets.{variant_set}.probes.{name}"
            if probe.probe is None:
                problems = [*_wrong_layer(config, layers, variant_set, probe)]
            else:
                problems = [*_wrong_own(config, layers, variant_set, probe.probe)]
            if problems:
                key += ".layer" if probe.probe is None else ".probe"
                raise InputError(f"config: {key}: {problems[0]}")


def _wrong_layer(
    config: RunConfig, layers: Layers, variant_set: str, probe: ProbeConfig
) -> Iterator[str]:
    """A layer that no scoring of the set has."""
    scorings = config.variant_sets[variant_set].scorings
    if probe.layer is None or any(_choose_layers(config, layers, one, probe) for one in scorings):
        return
    known = list(dict.fromkeys(name for one in scorings for name in layers.get(one, ())))
    yield (
        f"no scoring of the set has the layer {probe.layer!r} in its `embeddings`; "
        f"{_hint(probe.layer, known)}they have: {', '.join(known)}"
    )


def _wrong_applied(
    config: RunConfig, variant_set: str, key: str, probe: ProbeConfig, path: Path
) -> Problems:
    """An earlier probe with keys of a new one, or a path that names no probe of this run."""
    for option in ProbeConfig.model_fields:
        if option != "probe" and option in probe.model_fields_set:
            yield f"{key}.{option}", "cannot be combined with `probe`; keep one of the two"
    scorings = config.variant_sets[variant_set].scorings
    if SCORING_MARK not in str(path) and len(scorings) > 1:
        yield (
            f"{key}.probe",
            f"{path} is one probe, but variant_sets.{variant_set} has {len(scorings)} scorings; "
            f"write {SCORING_MARK} where the path has the name of the scoring",
        )
        return
    if find_url(path) is not None and path.name != PROBE:
        yield f"{key}.probe", f"{as_written(path)}: a URL of a probe has to end in {PROBE}"


def _wrong_own(config: RunConfig, layers: Layers, variant_set: str, path: Path) -> Iterator[str]:
    """A path in the results of a set of this run that is no probe to be applied."""
    for scoring in config.variant_sets[variant_set].scorings:
        folder = _folder_of(path_of_scoring(path, scoring))
        inside = _inside_results(config, folder)
        if not inside or inside[0] not in config.variant_sets:
            continue
        source = inside[0]
        if _find_own(config, layers, folder) is None:
            made = [
                str(config.output / probe_folder(Path(source, name), one.name, one.layer))
                for name in config.variant_sets[source].scorings
                for one in list_fitted(config, layers, source, name)
            ]
            trained = f"it makes: {', '.join(made)}" if made else f"it makes none of {source}"
            yield f"this run makes no probe {folder}; {_hint(str(folder), made)}{trained}"
        elif source == variant_set:
            yield (
                f"{folder} is trained on this very set, whose {PREDICTIONS} has its predictions; "
                "remove the entry"
            )


def probe_file_problems(config: RunConfig) -> Problems:
    """Probes of earlier runs whose files do not exist: the key, and the missing file."""
    for variant_set, settings in config.variant_sets.items():
        for name, probe in settings.probes.items():
            for scoring in settings.scorings if probe.probe is not None else ():
                folder = _folder_of(path_of_scoring(Path(probe.probe or ""), scoring))
                inside = _inside_results(config, folder)
                if find_url(folder) is None and (
                    not inside or inside[0] not in config.variant_sets
                ):
                    key = f"variant_sets.{variant_set}.probes.{name}.probe"
                    yield from ((key, what) for what in _missing_files(folder))


def _missing_files(folder: Path) -> Iterator[str]:
    """What is missing of a probe."""
    if not folder.is_dir():
        what = "is a file, expected the folder of a probe" if folder.exists() else "does not exist"
        yield f"{folder} {what} (looked in {Path.cwd()})"
        return
    missing = [file for file in PROBE_FILES if not (folder / file).is_file()]
    if missing:
        yield (
            f"the folder {folder} has no {missing[0]}, so it is not a probe; copy all files of the "
            "probe"
        )


def _hint(name: str, known: Mapping[str, object] | Iterable[str]) -> str:
    near = difflib.get_close_matches(name, [*known], n=1)
    return f"did you mean {near[0]}? " if near else ""
