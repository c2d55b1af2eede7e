"""Running the model for the command ``explain``: the scores and profiles of some windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from evo2_tasks.config.resolve import ScoreSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.explained import Sequences
from evo2_tasks.runtime.devices import describe_devices
from evo2_tasks.runtime.models import open_model
from evo2_tasks.scoring.deltas import Score
from evo2_tasks.scoring.profiles import Profile
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair


@dataclass(frozen=True, slots=True)
class ScoredWindows:
    """What the model gave for some windows.

    Attributes:
        scores: The score of each pair; None if it is not finite.
        profiles: The whole profile of each pair, nats; None if it is not finite. (n,)
        device: The devices that the model ran on.
        weights: SHA-256 of its tensors.
    """

    scores: list[Score | None]
    profiles: list[NDArray[np.float32] | None]
    device: str
    weights: str


def score_sequences(
    settings: ScoreSettings, windows: Sequence[Sequences], *, threads: int | None
) -> ScoredWindows:
    """Open the model, and score windows.

    Args:
        settings: The model, the scoring, and how the work is done.
        windows: The two windows of each change and strand.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: The model cannot run with these settings, or a window does not fit into memory.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    loaded = open_model(settings.model, settings.run.model_cache)
    profile = Profile(max((len(one.ref) for one in windows), default=1))
    pairs = [
        WindowPair(row, one.strand, one.ref, one.alt, one.prefix, one.num_ref, one.num_alt)
        for row, one in enumerate(windows)
    ]
    try:
        records = score_part(
            loaded.model,
            pairs,
            [SUMS, profile],
            batch_tokens=settings.run.batch_tokens,
            segment_length=settings.run.segment_length,
            offload=settings.run.kv_cache == "offload",
            horizon=settings.scoring.horizon is not None,
            prepend_bos=settings.scoring.prepend_bos,
        )
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"{settings.model.where}: a window does not fit into the memory of "
            f"{describe_devices(loaded.devices)}. Ask for a device with more memory, or set "
            "run.kv_cache: offload."
        ) from error
    return ScoredWindows(
        scores=records.of(SUMS),
        profiles=[None if one is None else one.values for one in records.of(profile)],
        device=describe_devices(loaded.devices),
        weights=loaded.weights_digest,
    )
