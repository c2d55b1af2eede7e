"""What contradicts itself in the calibrations and the combined tables of a config."""

import difflib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from evo2_tasks.config.resolve import (
    ALLELE_TYPE,
    TRINUCLEOTIDE,
    background_set,
    resolve_annotate,
    source_sets,
    unknown_name,
)
from evo2_tasks.config.schema import (
    SCORING_MARK,
    TABLE_SUFFIX,
    CalibrationConfig,
    CombinationConfig,
    ReferenceConfig,
    RunConfig,
    VariantSetConfig,
)
from evo2_tasks.layout import (
    CALIBRATED_COLUMNS,
    CALIBRATION,
    CALIBRATIONS,
    COMBINED_COLUMNS,
    CONSEQUENCE_COLUMNS,
    CONSEQUENCE_LISTS,
    INDEXED,
    TABLE,
    as_field_name,
)

Problems = Iterator[tuple[str, str]]

TEXT_COLUMNS: Final = ("contig", "reference_contig", "ref", "alt")
"""Columns of text that every table has and that divide a background."""


def calibration_problems(config: RunConfig) -> Problems:
    """What is wrong with the calibrations and the combined tables: the key, and what is wrong."""
    for name, calibration in config.calibrations.items():
        yield from _wrong_keys(f"calibrations.{name}", calibration)
        if calibration.file is None:
            yield from _wrong_sets(config, name)
        yield from _wrong_paths(config, name)
    for name in config.variant_sets:
        yield from _wrong_use(config, name)
    for name, combination in config.combine.items():
        yield from _wrong_combination(config, f"combine.{name}", combination)


def _wrong_keys(key: str, calibration: CalibrationConfig) -> Problems:
    """Keys that exclude or need each other."""
    given = [
        name
        for name in CalibrationConfig.model_fields
        if name in calibration.model_fields_set and getattr(calibration, name) not in (None, ())
    ]
    if calibration.file is not None:
        for name in given:
            if name != "file":
                yield f"{key}.{name}", "cannot be combined with `file`; keep one of the two"
        return
    if not {"background", "set", "label"} & {*given}:
        yield key, "expected `background`, or `set` and `label`, or `file`"
        return
    needed = {"by": ["background"], "set": ["label"], "label": ["set"], "prior": ["set", "label"]}
    for name, others in needed.items():
        missing = [other for other in others if other not in given]
        if name in given and missing:
            yield (
                f"{key}.{name}",
                f"needs `{missing[0]}`, which the calibration does not have",
            )


def _wrong_sets(config: RunConfig, name: str) -> Problems:
    """A background or a label that is not there, or that is of another reference."""
    key, calibration = f"calibrations.{name}", config.calibrations[name]
    background, sets = background_set(config, name), config.variant_sets
    if calibration.background is not None and calibration.background.suffix != TABLE_SUFFIX:
        given = str(calibration.background)
        for where, what in unknown_name(f"{key}.background", given, "variant_sets", sets):
            yield where, f"{what}. A table of an earlier run is a path that ends in .parquet"
    if calibration.set is not None:
        yield from unknown_name(f"{key}.set", calibration.set, "variant_sets", sets)
        if calibration.set in sets and calibration.label is not None:
            yield from _wrong_label(
                f"{key}.label", calibration.set, sets[calibration.set], calibration.label
            )
        if background is not None and calibration.set in sets:
            yield from _other_reference(config, f"{key}.set", calibration.set, background)
    if background is not None:
        yield from _unknown_strata(config, name, background)


def _wrong_label(key: str, name: str, variant_set: VariantSetConfig, label: str) -> Problems:
    """A label that the set does not have, or that is not in two groups."""
    labels = variant_set.labels
    if not labels:
        yield key, f"variant_sets.{name} has no `labels`; add them, or name another `set`"
    elif label not in labels:
        hint = _hint(label, labels)
        yield key, f"variant_sets.{name}.labels has no {label!r}; {hint}it has: {', '.join(labels)}"
    elif labels[label].harmful is not None:
        yield (
            key,
            f"{label!r} is a label of numbers; expected one with `positive` and `negative`",
        )


def _wrong_paths(config: RunConfig, name: str) -> Problems:
    """Paths to files that this run makes, or one path for several scorings."""
    key, calibration = f"calibrations.{name}", config.calibrations[name]
    paths: dict[str, Path] = {}
    if calibration.background is not None and background_set(config, name) is None:
        paths["background"] = calibration.background
    if calibration.file is not None:
        paths["file"] = calibration.file
        if calibration.file.name != CALIBRATION:
            yield f"{key}.file", f"{calibration.file} is not a path that ends in {CALIBRATION}"
    for option, path in paths.items():
        where = Path(os.path.abspath(path)).parts  # noqa: PTH100 - the file need not exist
        output = Path(os.path.abspath(config.output)).parts  # noqa: PTH100 - as above
        inside = where[len(output) :] if where[: len(output)] == output else ()
        match inside:
            case (str(made), _, file) if made in config.variant_sets and file == TABLE:
                yield f"{key}.{option}", f"{path} is a table of this run; write: {made}"
            case (folder, str(made), _, _) if (
                folder == CALIBRATIONS and made in config.calibrations
            ):
                if config.calibrations[made].file is None:
                    yield (
                        f"{key}.{option}",
                        f"{path} is made by this run; name the calibration {made!r} in the "
                        "variant set instead",
                    )
        if SCORING_MARK not in str(path):
            for user, one in config.variant_sets.items():
                if name in one.calibrations and len(one.scorings) > 1:
                    yield (
                        f"{key}.{option}",
                        f"{path} is one file, but variant_sets.{user} has "
                        f"{len(one.scorings)} scorings; write {SCORING_MARK} where the path has "
                        "the name of the scoring",
                    )
                    break


def _wrong_use(config: RunConfig, variant_set: str) -> Problems:
    """Calibrations of a set that are not there, or that do not fit it."""
    key, settings = f"variant_sets.{variant_set}", config.variant_sets[variant_set]
    for i, name in enumerate(settings.calibrations):
        where = f"{key}.calibrations[{i}]"
        yield from unknown_name(where, name, "calibrations", config.calibrations)
        if name not in config.calibrations:
            continue
        for source in source_sets(config, name):
            if source == variant_set:
                continue
            yield from _other_reference(config, where, variant_set, source)
            missing = [
                scoring
                for scoring in settings.scorings
                if scoring not in config.variant_sets[source].scorings
            ]
            if missing:
                yield (
                    where,
                    f"{name!r} is made from variant_sets.{source}, which does not have the "
                    f"scoring {missing[0]!r}; add it to variant_sets.{source}.scorings",
                )
        if background_set(config, name) != variant_set:
            yield from _unknown_strata(config, name, variant_set)
    yield from _one_field(key, settings)
    many = len(settings.calibrations) > 1
    made = {
        f"{name}.{column}" if many else column
        for name in settings.calibrations
        for column in CALIBRATED_COLUMNS
    }
    yield from _taken_columns(key, settings, made, "calibrate")


def _one_field(key: str, settings: VariantSetConfig) -> Problems:
    """Two calibrations whose columns would be the same INFO fields of an exported VCF."""
    if not {*INDEXED}.intersection(settings.exports):
        return
    by_field: dict[str, str] = {}
    for i, name in enumerate(settings.calibrations):
        other = by_field.setdefault(as_field_name(name), name)
        if other != name:
            yield (
                f"{key}.calibrations[{i}]",
                f"{name!r} and {other!r} would have the same INFO fields in an exported VCF, since "
                "`-` becomes `_` there; rename one of the two",
            )


def _wrong_combination(config: RunConfig, key: str, combination: CombinationConfig) -> Problems:
    """A set or scorings that are not there, or columns that have another use."""
    name = combination.variant_set
    yield from unknown_name(f"{key}.variant_set", name, "variant_sets", config.variant_sets)
    for i, scoring in enumerate(combination.scorings):
        where = f"{key}.scorings[{i}]"
        yield from unknown_name(where, scoring, "scorings", config.scorings)
        scorings = config.variant_sets[name].scorings if name in config.variant_sets else ()
        if scorings and scoring in config.scorings and scoring not in scorings:
            yield (
                where,
                f"variant_sets.{name} does not have the scoring {scoring!r}; add it to "
                f"variant_sets.{name}.scorings",
            )
    if name in config.variant_sets:
        made = {
            f"{scoring}.{column}" for scoring in combination.scorings for column in COMBINED_COLUMNS
        }
        settings = config.variant_sets[name]
        yield from _taken_columns(
            f"variant_sets.{name}", settings, made | {*combination.ensembles}, "combine"
        )


def _other_reference(config: RunConfig, key: str, variant_set: str, source: str) -> Problems:
    """Two sets whose sequences differ, so that their scores cannot be compared."""
    names = [config.variant_sets[name].reference for name in (variant_set, source)]
    if any(name not in config.references for name in names):
        return
    one, other = (_sequences(config.references[name]) for name in names)
    if one != other:
        yield (
            key,
            f"variant_sets.{variant_set} has the reference {names[0]!r}, and "
            f"variant_sets.{source} has {names[1]!r}; their scores cannot be compared",
        )


def _sequences(reference: ReferenceConfig) -> tuple[str, frozenset[str]]:
    """What shapes windows on a reference: its file and its circles."""
    path = os.path.abspath(reference.fasta)  # noqa: PTH100 - the file need not exist
    return path, frozenset(reference.circular_contigs)


def _unknown_strata(config: RunConfig, calibration: str, variant_set: str) -> Problems:
    """Entries of ``by`` for which the table of a set has no column of text."""
    settings = config.variant_sets[variant_set]
    if settings.reference not in config.references:
        return
    made = resolve_annotate(config, variant_set).columns
    texts = [name for name in made if name not in CONSEQUENCE_LISTS]
    numbers = {*settings.numbers.difference(made)}
    numbers |= {name for name, kind in settings.asked_types.items() if kind == "number"}
    texts += [name for name in settings.carried if name not in {*numbers, *made}]
    known = [ALLELE_TYPE, TRINUCLEOTIDE, *TEXT_COLUMNS, *texts]
    for i, name in enumerate(config.calibrations[calibration].by):
        if name in known:
            continue
        has = f"has no column {name!r}"
        if name in {*numbers, *made}:
            has = f"has no text in the column {name!r}"
        remedy = f"Others can be named in variant_sets.{variant_set}.carry"
        if name in CONSEQUENCE_COLUMNS and name not in made:
            remedy = f"{name!r} needs a `gff` of the reference {settings.reference!r}"
        elif settings.random_snvs is not None:
            remedy = "Random SNVs have no other ones"
        yield (
            f"calibrations.{calibration}.by[{i}]",
            f"the table of variant_sets.{variant_set} {has}; {_hint(name, known)}its columns of "
            f"text are: {', '.join(known)}. {remedy}",
        )


def _taken_columns(
    key: str, settings: VariantSetConfig, made: Iterable[str], step: str
) -> Problems:
    """Carried columns whose names a step gives to its own."""
    taken = {*made}
    is_mapping = not isinstance(settings.carry, tuple)
    for place, field in enumerate(settings.carry):
        if field in taken:
            yield (
                f"{key}.carry.{field}" if is_mapping else f"{key}.carry[{place}]",
                f"{field!r} is a column that `{step}` makes; remove it from `carry`",
            )
    for where, field in settings.evaluated.items():
        if field in taken:
            yield (
                f"{key}.{where}",
                f"{field!r} is also a column that `{step}` makes; give the field of the variants "
                "another name",
            )


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, [*known], n=1)
    return f"did you mean {near[0]}? " if near else ""
