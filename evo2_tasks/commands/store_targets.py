"""The ways of scoring whose stored scores ``store lookup`` looks up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evo2_tasks.commands.store import (
    describe_empty,
    find_signature,
    names_of_models,
    short_digest,
    weights_of,
)
from evo2_tasks.config.resolve import (
    ScoreSettings,
    ScoringSettings,
)
from evo2_tasks.errors import InputError
from evo2_tasks.io.words import find_near, shown, shown_path
from evo2_tasks.runtime.score_store import choose_record, make_model_key
from evo2_tasks.table.provenance import make_signature
from evo2_tasks.table.store import (
    StoreDescription,
    digest_signature,
    find_candidates,
    store_signature,
)
from evo2_tasks.table.store_models import ModelKey, read_models


@dataclass(frozen=True, slots=True)
class Target:
    """A way of scoring whose scores are looked up.

    Attributes:
        name: Name of the scoring in the config; empty for a signature of the store.
        digest: SHA-256 of the store signature; None if the store does not know the model.
        signature: The store signature; None likewise.
        models: Names of the model.
        scoring: How windows are placed.
        score: The settings of the config; None for a signature of the store.
    """

    name: str
    digest: str | None
    signature: Mapping[str, Any] | None
    models: tuple[str, ...]
    scoring: ScoringSettings
    score: ScoreSettings | None


def targets_of_store(
    store: Path, described: StoreDescription, signature: str | None, model: str | None
) -> list[Target]:
    """The signatures of a store that are asked for.

    Raises:
        InputError: There is none.
    """
    known = [one for one in described.signatures if one.signature is not None]
    if signature is not None:
        known = [find_signature(store, described, signature)]
    names = names_of_models(described)
    if model is not None:
        known = [one for one in known if model in names.get(weights_of(one), ())]
    if not known:
        raise InputError(_explain_none(store, described, model))
    return [
        Target(
            name="",
            digest=one.digest,
            signature=one.signature,
            models=names.get(weights_of(one), ()),
            scoring=_widest_settings(one.signature or {}, store),
            score=None,
        )
        for one in known
    ]


def _explain_none(store: Path, described: StoreDescription, model: str | None) -> str:
    if not described.signatures:
        return describe_empty(store)
    known = sorted({name for one in names_of_models(described).values() for name in one})
    if model is None or not known:
        return (
            f"{shown_path(store)}: no signature is of a model named '{shown(model)}', because the "
            "store does not know the name of any model. Name a signature by --signature; "
            "`evo2-tasks store stat` lists them."
        )
    near = find_near(model, known)
    hint = f" Did you mean {near[0]}?" if near else ""
    return (
        f"{shown_path(store)}: no signature is of a model named '{shown(model)}'.{hint} The store "
        f"has scores of: {shown(', '.join(known), 400)}."
    )


def _widest_settings(signature: Mapping[str, Any], store: Path) -> ScoringSettings:
    """The settings of a store signature, with limits that leave out no allele.

    Raises:
        InputError: The signature lacks a setting, or has one that this version does not know.
    """
    stated = dict(signature["scoring"])
    try:
        length = int(stated["window_length"])
        off_center = stated["window_step"] // 2 if stated["window_placement"] == "tiled" else 0
        return ScoringSettings(
            **stated,
            strands="both",
            max_allele_length=max(1, length - length // 2 - off_center),
            max_n_share=1.0,
            min_context=None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{shown_path(store)}: signature {short_digest(digest_signature(signature))} is of "
            "another version of evo2-tasks, whose windows this version cannot place. Name another "
            "signature by --signature."
        ) from error


def target_of_scoring(settings: ScoreSettings, store: Path, described: StoreDescription) -> Target:
    """A scoring of a config, and its signature if the store knows the model.

    Raises:
        InputError: The store does not know the model, but has scores that may be its own.
    """
    key = make_model_key(settings.model)
    record = choose_record(settings.model, read_models(store, key))
    signature = None
    if record is not None:
        signature = store_signature(
            make_signature(
                reference_digest="",
                scoring=asdict(settings.scoring),
                weights_digest=record.weights,
                dtype=settings.model.dtype,
                fp8=record.fp8,
                prepend_bos=settings.scoring.prepend_bos,
            )
        )
    else:
        _require_no_candidates(settings, store, described, key)
    return Target(
        name=settings.name,
        digest=None if signature is None else digest_signature(signature),
        signature=signature,
        models=(settings.model.name,),
        scoring=settings.scoring,
        score=settings,
    )


def _require_no_candidates(
    settings: ScoreSettings, store: Path, described: StoreDescription, key: ModelKey
) -> None:
    """Make sure that no signature may be that of a model that the store does not know.

    Raises:
        InputError: Some may be.
    """
    any_weights = make_signature(
        reference_digest="",
        scoring=asdict(settings.scoring),
        weights_digest="any",
        dtype=settings.model.dtype,
        fp8="any",
        prepend_bos=settings.scoring.prepend_bos,
    )
    candidates = [short_digest(one.digest) for one in find_candidates(described, any_weights, key)]
    if candidates:
        raise InputError(
            f"{shown_path(store)}: has no record of {settings.model.where}, so it is not known "
            f"whether its scores are those of {', '.join(candidates)}. Name a signature by "
            "--signature in the place of --config; a run with this store writes the record."
        )
