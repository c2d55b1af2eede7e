"""The settings of ``evaluate`` and ``report``, which read the files of most other steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from evo2_tasks.config.objects import as_written
from evo2_tasks.config.probes import NO_LAYERS, Layers, UsedProbe, list_used
from evo2_tasks.config.resolve import (
    CalibrateSettings,
    CombineSettings,
    MergeHaplotypesSettings,
    ReferenceSettings,
    ScoringSettings,
    resolve_annotate,
    resolve_calibrate,
    resolve_combine,
    resolve_merge_haplotypes,
    resolve_score,
    resolve_split,
    resolve_windows,
)
from evo2_tasks.config.schema import LabelConfig, RunConfig


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """What ``evaluate`` needs.

    Attributes:
        variant_set: Name of the variant set, for messages.
        labels: The labels by their fields.
        groups: Fields whose values are evaluated one by one.
        baselines: Fields of numbers to compare with, and their harmful end.
        calibrations: Names of the calibrations whose columns are in ``calibrated.parquet``, next
            to the table of a scoring; there is no such file if there are none.
        probes: The probes whose predictions are next to the table, by scoring.
    """

    variant_set: str
    labels: Mapping[str, LabelConfig]
    groups: tuple[str, ...]
    baselines: Mapping[str, Literal["low", "high"]]
    calibrations: tuple[str, ...] = ()
    probes: Mapping[str, tuple[UsedProbe, ...]] = field(default_factory=dict)

    def of_combined(self) -> "EvaluateSettings":
        """The settings for a combined table, which has no calibrated columns and no predictions."""
        return replace(self, calibrations=(), probes={})

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        labels = {name: label.model_dump(mode="json") for name, label in self.labels.items()}
        return {
            "baselines": self.baselines,
            # Only if it is set: a config without the key has the triggers that it had before.
            **({"calibrations": self.calibrations} if self.calibrations else {}),
            "groups": self.groups,
            "labels": labels,
            **({"probes": self._name_probes()} if self._name_probes() else {}),
        }

    def _name_probes(self) -> list[str]:
        """Names of the probes; other changes of a probe make new predictions."""
        return list(dict.fromkeys(one.name for of_set in self.probes.values() for one in of_set))


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What ``report`` needs.

    Attributes:
        variant_set: Name of the variant set.
        scorings: Names of its scorings.
        evaluate: What ``evaluate`` must have measured with; if it has labels, the set has been
            evaluated.
        reference: The reference of the set.
        checkpoints: Checkpoint of each scoring, as the user wrote it.
        consequences: Where genes and consequences come from; empty if the set has none.
        calibrate: The calibrations of each scoring; empty if the set has none.
        combine: The tables with several scorings of the set.
        haplotypes: The haplotypes of each scoring; empty if the set has none.
        profiled: The windows of each scoring with profiles.
    """

    variant_set: str
    scorings: tuple[str, ...]
    evaluate: EvaluateSettings
    reference: ReferenceSettings
    checkpoints: Mapping[str, str]
    consequences: str
    calibrate: Mapping[str, CalibrateSettings]
    combine: tuple[CombineSettings, ...]
    haplotypes: Mapping[str, MergeHaplotypesSettings]
    profiled: Mapping[str, ScoringSettings]

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes; changes of the rest change its input files."""
        profiles = {"profiles": sorted(self.profiled)} if self.profiled else {}
        return {"scorings": self.scorings, **profiles}


def resolve_evaluate(
    config: RunConfig, variant_set: str, layers: Layers = NO_LAYERS
) -> EvaluateSettings:
    """The settings of ``evaluate``.

    Args:
        config: The config.
        variant_set: Name of the variant set.
        layers: The layers of its scorings; only probes on embeddings need them.

    Raises:
        InputError: The config has no such variant set.
    """
    resolve_split(config, variant_set)  # refuses an unknown name
    settings = config.variant_sets[variant_set]
    return EvaluateSettings(
        variant_set,
        settings.labels,
        settings.groups,
        settings.baselines,
        settings.calibrations,
        {
            scoring: tuple(list_used(config, layers, variant_set, scoring))
            for scoring in settings.scorings
            if settings.probes
        },
    )


def resolve_report(
    config: RunConfig, variant_set: str, layers: Layers = NO_LAYERS
) -> ReportSettings:
    """The settings of ``report``.

    Args:
        config: The config.
        variant_set: Name of the variant set.
        layers: The layers of its scorings; only probes on embeddings need them.

    Raises:
        InputError: The config has no such variant set.
    """
    split = resolve_split(config, variant_set)
    settings = config.variant_sets[variant_set]
    return ReportSettings(
        variant_set=variant_set,
        scorings=settings.scorings,
        evaluate=resolve_evaluate(config, variant_set, layers),
        reference=split.reference,
        checkpoints={
            name: as_written(resolve_score(config, name).model.written)
            for name in settings.scorings
        },
        consequences=resolve_annotate(config, variant_set).source,
        calibrate={
            name: resolve_calibrate(config, variant_set, name)
            for name in settings.scorings
            if settings.calibrations
        },
        combine=tuple(
            resolve_combine(config, name)
            for name, one in config.combine.items()
            if one.variant_set == variant_set
        ),
        haplotypes={
            name: resolve_merge_haplotypes(config, variant_set, name)
            for name in settings.scorings
            if settings.haplotypes is not None
        },
        profiled={
            name: resolve_windows(config, variant_set, name).scoring
            for name in list_profiled(config, variant_set)
        },
    )


def list_profiled(config: RunConfig, variant_set: str) -> list[str]:
    """The scorings of a variant set whose profiles the report draws.

    The changes of a set with ``haplotype_of`` are in the genome of a sample, which is not drawn.
    """
    settings = config.variant_sets[variant_set]
    if settings.haplotype_of is not None:
        return []
    return [name for name in settings.scorings if config.scorings[name].profile is not None]
