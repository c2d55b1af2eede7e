"""A job that runs the model for tracks: parts of windows go through it."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from evo2_tasks.config.tracks import ScoreTracksSettings
from evo2_tasks.errors import InputError
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.runtime.devices import describe_devices, device_class
from evo2_tasks.runtime.models import LoadedModel
from evo2_tasks.runtime.sequence_jobs import log_halving
from evo2_tasks.scoring.embeddings import Range
from evo2_tasks.scoring.finite import first_non_finite_module
from evo2_tasks.scoring.sequence_sums import sum_layers
from evo2_tasks.scoring.tracks import TrackWindow, score_windows
from evo2_tasks.table.documents import PartUsage
from evo2_tasks.table.track_embeddings import TileRanges, TrackLayers
from evo2_tasks.table.tracks import ReadTile

logger = logging.getLogger(__name__)

ARITHMETIC = 1
"""Part of the key of a part of tracks; see ``scoring_jobs.ARITHMETIC``."""


def part_key(
    settings: ScoreTracksSettings, signature: Mapping[str, Any], devices: Sequence[torch.device]
) -> dict[str, Any]:
    """Everything that determines the values of a part, to the last bit."""
    run = settings.score.run
    return {
        "tracks": ARITHMETIC,
        "signature": dict(signature),
        "part_tokens": run.part_tokens,
        "batch_tokens": run.batch_tokens,
        "segment_length": run.segment_length,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device_class": device_class(devices),
    }


class TrackScorer:
    """Runs the parts of a shard through the model, and logs what happens on the way.

    Args:
        loaded: The model.
        settings: The model, the windows and how the work is done.
        interruption: Checked between two calls of the model.
    """

    def __init__(
        self, loaded: LoadedModel, settings: ScoreTracksSettings, interruption: Interruption
    ) -> None:
        self._loaded = loaded
        self._where = settings.score.model.where
        self._prepend_bos = settings.scoring.prepend_bos
        self._offload = settings.score.run.kv_cache == "offload"
        self._interruption = interruption
        self._batch_tokens = settings.score.run.batch_tokens
        self._segment_length = settings.score.run.segment_length
        self._has_explained = False

    def score(
        self, part: Sequence[ReadTile], progress: Progress
    ) -> tuple[list[NDArray[np.float32]], PartUsage]:
        """Score a part.

        Returns:
            The values of each window in the order of the contig, (N, 5) each, and the usage.

        Raises:
            InputError: The device has too little memory for a single window.
            Interrupted: The process received a signal to stop.
        """
        started = time.monotonic()
        num_windows = len({one.tokens for one in part})
        windows_run = tokens_run = 0

        def count_call(num_windows_run: int, num_tokens: int) -> None:
            nonlocal windows_run, tokens_run
            windows_run += num_windows_run
            tokens_run += num_tokens
            progress.add(num_tokens)
            if windows_run < num_windows:  # a finished part must be kept first
                self._interruption.check()

        # The reverse strand reads the bases from the last one to the first one.
        turned = [slice(None, None, -1 if one.tile.strand == "reverse" else 1) for one in part]
        windows = [
            TrackWindow(one.tokens, one.context[turn])
            for one, turn in zip(part, turned, strict=True)
        ]
        try:
            found = score_windows(
                self._loaded.model,
                windows,
                batch_tokens=self._batch_tokens,
                segment_length=self._segment_length,
                offload=self._offload,
                prepend_bos=self._prepend_bos,
                on_call=count_call,
                on_halving=self._note_halving,
            )
        except torch.OutOfMemoryError as error:
            raise describe_no_memory(self._where, self._loaded, part) from error
        values = [own[turn] for own, turn in zip(found, turned, strict=True)]
        for one, own in zip(part, values, strict=True):
            self._explain(one, own)
        usage = PartUsage(
            alleles_tried=len(part),
            tokens=sum(len(one.tokens) for one in part),
            windows_run=windows_run,
            tokens_run=tokens_run,
            wall_s=time.monotonic() - started,
            batch_tokens=self._batch_tokens,
        )
        return values, usage

    def _note_halving(self, tokens: int) -> None:
        self._batch_tokens = min(self._batch_tokens, tokens)
        # A window that is longer than this did not fit whole.
        self._segment_length = min(self._segment_length, tokens)
        log_halving(self._loaded, tokens)

    def _explain(self, read: ReadTile, values: NDArray[np.float32]) -> None:
        """Log, once for a shard, the first module whose output is not finite."""
        is_predicted = (read.context > 0) | self._prepend_bos
        if self._has_explained or np.isfinite(values[is_predicted]).all():
            return
        self._has_explained = True
        module = first_non_finite_module(
            self._loaded.model,
            read.tokens,
            prepend_bos=self._prepend_bos,
            segment_length=self._segment_length,
        )
        contig, strand, start, end, _ = read.tile
        logger.warning(
            "%s:%d-%d, %s strand: the output is not finite; the first such module is %s",
            contig, start + 1, end, strand, module or "not known",
        )  # fmt: skip


def describe_no_memory(where: str, loaded: LoadedModel, part: Sequence[ReadTile]) -> InputError:
    """The error of a device with too little memory for a single window."""
    longest = max(len(one.tokens) for one in part)
    return InputError(
        f"{where}: a window of {longest:,} tokens does not fit into the memory of "
        f"{describe_devices(loaded.devices)}. Ask for a device with more memory, or "
        "set run.kv_cache: offload."
    )


class TrackEmbedder:
    """Runs the parts of a shard through the model for the embeddings of regions.

    Args:
        loaded: The model.
        settings: The model, the windows and how the work is done.
        layers: The layers.
        interruption: Checked between two calls of the model.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        settings: ScoreTracksSettings,
        layers: TrackLayers,
        interruption: Interruption,
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._layers = layers
        self._interruption = interruption
        self._batch_tokens = settings.score.run.batch_tokens
        self._segment_length = settings.score.run.segment_length

    def embed(self, part: Sequence[TileRanges], progress: Progress) -> tuple[pa.Table, PartUsage]:
        """Embed a part: each distinct window of it is run once.

        Returns:
            The sums by region and strand, and the usage.

        Raises:
            InputError: The device has too little memory for a single window.
            Interrupted: The process received a signal to stop.
        """
        started = time.monotonic()
        wanted: dict[bytes, dict[Range, None]] = {}
        for read, ranges in part:
            wanted.setdefault(read.tokens, {}).update((one.tokens, None) for one in ranges)
        windows_run = tokens_run = 0

        def count_call(num_windows: int, num_tokens: int) -> None:
            nonlocal windows_run, tokens_run
            windows_run += num_windows
            tokens_run += num_tokens
            progress.add(num_tokens)
            if windows_run < len(wanted):  # a finished part must be kept first
                self._interruption.check()

        try:
            found = sum_layers(
                self._loaded.model,
                {tokens: list(ranges) for tokens, ranges in wanted.items()},
                tuple(self._layers.widths),
                prepend_bos=self._settings.scoring.prepend_bos,
                batch_tokens=self._batch_tokens,
                segment_length=self._segment_length,
                offload=self._settings.score.run.kv_cache == "offload",
                on_call=count_call,
                on_halving=self._note_halving,
            )
        except torch.OutOfMemoryError as error:
            reads = [one.read for one in part]
            where = self._settings.score.model.where
            raise describe_no_memory(where, self._loaded, reads) from error
        usage = PartUsage(
            alleles_tried=len(part),
            tokens=sum(len(one.read.tokens) for one in part),
            windows_run=windows_run,
            tokens_run=tokens_run,
            wall_s=time.monotonic() - started,
            batch_tokens=self._batch_tokens,
        )
        return self._layers.dump(part, found), usage

    def _note_halving(self, tokens: int) -> None:
        self._batch_tokens = min(self._batch_tokens, tokens)
        self._segment_length = min(self._segment_length, tokens)
        log_halving(self._loaded, tokens)
