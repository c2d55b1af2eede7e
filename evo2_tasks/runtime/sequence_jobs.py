"""Runs the parts of a shard of sequences through the model, and logs what happens on the way."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

import torch

from evo2_tasks.config.sequences import ScoreSequencesSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.runtime.devices import describe_devices
from evo2_tasks.runtime.models import LoadedModel
from evo2_tasks.scoring.embeddings import Range
from evo2_tasks.scoring.finite import first_non_finite_module
from evo2_tasks.scoring.sequence_batches import run_readings
from evo2_tasks.scoring.sequence_sums import mean_outputs, sum_layers
from evo2_tasks.scoring.sequences import (
    LogProbs,
    ReadingSettings,
    SequenceToScore,
    score_reading,
)
from evo2_tasks.table.documents import PartUsage
from evo2_tasks.table.sequence_embeddings import LayerMeans
from evo2_tasks.table.sequence_rows import SequenceScores

logger = logging.getLogger(__name__)


class SequenceScorer:
    """Runs the parts of a shard through the model.

    Args:
        loaded: The model.
        settings: The model, and how the work is done.
        reading: How the sequences are read.
        interruption: Checked between two calls of the model.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        settings: ScoreSequencesSettings,
        reading: ReadingSettings,
        interruption: Interruption,
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._reading = reading
        self._interruption = interruption
        self._batch_tokens = settings.run.batch_tokens
        self._segment_length = settings.run.segment_length
        self._has_explained = False

    def score(
        self, part: Sequence[SequenceToScore], progress: Progress
    ) -> tuple[list[SequenceScores], PartUsage]:
        """Score a part: each distinct reading of it once.

        Returns:
            The values of each sequence, and the usage: the numbers of sequences, tokens and
            readings, the time, and the batch size at the end.

        Raises:
            InputError: The device has too little memory for a single sequence.
            Interrupted: The process received a signal to stop.
        """
        started = time.monotonic()
        strands = self._reading.strands
        readings = {
            (bases, strand): self._reading.list_readings(bases, strand)
            for bases in dict.fromkeys(one.bases for one in part)
            for strand in strands
        }
        to_run = dict.fromkeys(tokens for one in readings.values() for tokens in one.tokens)
        windows_run = tokens_run = 0

        def count_call(num_readings: int, num_tokens: int) -> None:
            nonlocal windows_run, tokens_run
            windows_run += num_readings
            tokens_run += num_tokens
            progress.add(num_tokens)
            if windows_run < len(to_run):  # a finished part must be kept first
                self._interruption.check()

        found = self._run(to_run, count_call)
        of_strand = {key: score_reading(one.join(found)) for key, one in readings.items()}
        broken = next((one for key, one in readings.items() if of_strand[key] is None), None)
        if broken is not None and not self._has_explained:
            self._explain(broken.tokens)
        scores = [
            SequenceScores({strand: of_strand[one.bases, strand] for strand in strands})
            for one in part
        ]
        usage = PartUsage(
            alleles_tried=len(part),
            tokens=sum(self._reading.count_tokens(len(one.bases)) for one in part),
            windows_run=windows_run,
            tokens_run=tokens_run,
            wall_s=time.monotonic() - started,
            batch_tokens=self._batch_tokens,
        )
        return scores, usage

    def _run(
        self, to_run: dict[bytes, None], on_call: Callable[[int, int], None]
    ) -> dict[bytes, LogProbs]:
        """Run readings.

        Raises:
            InputError: The device has too little memory for a single sequence.
        """
        run = self._settings.run
        try:
            return run_readings(
                self._loaded.model,
                to_run,
                prepend_bos=self._reading.prepend_bos,
                batch_tokens=self._batch_tokens,
                segment_length=self._segment_length,
                offload=run.kv_cache == "offload",
                on_call=on_call,
                on_halving=self._note_halving,
            )
        except torch.OutOfMemoryError as error:
            raise describe_no_memory(self._settings, self._loaded, to_run) from error

    def _note_halving(self, tokens: int) -> None:
        self._batch_tokens = min(self._batch_tokens, tokens)
        # A sequence that is longer than this did not fit whole.
        self._segment_length = min(self._segment_length, tokens)
        log_halving(self._loaded, tokens)

    def _explain(self, readings: Sequence[bytes]) -> None:
        """Log, once for a shard, the first module whose output is not finite."""
        self._has_explained = True
        for tokens in readings:
            module = first_non_finite_module(
                self._loaded.model,
                tokens,
                prepend_bos=self._reading.prepend_bos,
                segment_length=self._segment_length,
            )
            if module is not None:
                logger.warning(
                    "a sequence of %s bases: the output is not finite; the first such module is %s",
                    f"{len(tokens):,}", module,
                )  # fmt: skip
                return


def log_halving(loaded: LoadedModel, tokens: int) -> None:
    """Log that the device had too little memory for a batch."""
    logger.warning(
        "%s: out of memory; from now on at most %s tokens go through the model at once",
        describe_devices(loaded.devices),
        f"{tokens:,}",
    )


def describe_no_memory(
    settings: ScoreSequencesSettings, loaded: LoadedModel, readings: Iterable[bytes]
) -> InputError:
    """The error of a device with too little memory for a single sequence."""
    return InputError(
        f"{settings.model.where}: a sequence of {max(map(len, readings)):,} bases does not fit "
        f"into the memory of {describe_devices(loaded.devices)}. Ask for a device with more "
        "memory, set kv_cache: offload (run.kv_cache in a config), or leave out longer sequences "
        "with max_length."
    )


class SequenceEmbedder:
    """Runs the parts of a shard through the model for their embeddings.

    Args:
        loaded: The model.
        settings: The model, and how the work is done.
        reading: How the sequences are read.
        layers: Published names of the layers.
        interruption: Checked between two calls of the model.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        settings: ScoreSequencesSettings,
        reading: ReadingSettings,
        layers: Sequence[str],
        interruption: Interruption,
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._reading = reading
        self._layers = layers
        self._interruption = interruption
        self._batch_tokens = settings.run.batch_tokens
        self._segment_length = settings.run.segment_length

    def embed(
        self, part: Sequence[SequenceToScore], progress: Progress
    ) -> tuple[list[dict[Strand, LayerMeans]], PartUsage]:
        """Embed a part: each distinct reading of it is run once.

        Returns:
            The mean output of each layer by sequence and asked strand, and the usage.

        Raises:
            InputError: The device has too little memory for a single sequence.
            Interrupted: The process received a signal to stop.
        """
        started = time.monotonic()
        strands = self._reading.strands
        readings = {
            (bases, strand): self._reading.list_readings(bases, strand)
            for bases in dict.fromkeys(one.bases for one in part)
            for strand in strands
        }
        ranges: dict[bytes, list[Range]] = {}
        for tokens, one in dict.fromkeys(
            pair for each in readings.values() for pair in each.ranges
        ):
            ranges.setdefault(tokens, []).append(one)
        windows_run = tokens_run = 0

        def count_call(num_readings: int, num_tokens: int) -> None:
            nonlocal windows_run, tokens_run
            windows_run += num_readings
            tokens_run += num_tokens
            progress.add(num_tokens)
            if windows_run < len(ranges):  # a finished part must be kept first
                self._interruption.check()

        try:
            found = sum_layers(
                self._loaded.model,
                ranges,
                self._layers,
                prepend_bos=self._reading.prepend_bos,
                batch_tokens=self._batch_tokens,
                segment_length=self._segment_length,
                offload=self._settings.run.kv_cache == "offload",
                on_call=count_call,
                on_halving=self._note_halving,
            )
        except torch.OutOfMemoryError as error:
            raise describe_no_memory(self._settings, self._loaded, ranges) from error
        means = {key: mean_outputs(one, found) for key, one in readings.items()}
        usage = PartUsage(
            alleles_tried=len(part),
            tokens=sum(self._reading.count_tokens(len(one.bases)) for one in part),
            windows_run=windows_run,
            tokens_run=tokens_run,
            wall_s=time.monotonic() - started,
            batch_tokens=self._batch_tokens,
        )
        return [{strand: means[one.bases, strand] for strand in strands} for one in part], usage

    def _note_halving(self, tokens: int) -> None:
        self._batch_tokens = min(self._batch_tokens, tokens)
        self._segment_length = min(self._segment_length, tokens)
        log_halving(self._loaded, tokens)
