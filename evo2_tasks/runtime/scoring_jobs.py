"""A job that runs the model: it opens and checks the model, and runs parts of shards through it."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from evo2_tasks.config.resolve import ModelSettings, ScoreSettings
from evo2_tasks.config.schema import RunSettings
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.checkpoints import weights_digest
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.runtime.canaries import score_canaries
from evo2_tasks.runtime.devices import (
    describe_devices,
    describe_machine,
    device_class,
    devices_of,
)
from evo2_tasks.runtime.models import LoadedModel, open_model, verify_model
from evo2_tasks.scoring.finite import first_non_finite_module
from evo2_tasks.scoring.readouts import SUMS, ReadOut, Records
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair
from evo2_tasks.table.documents import PartUsage
from evo2_tasks.verification.expected import NOT_VERIFIED

logger = logging.getLogger(__name__)

ARITHMETIC = 2
"""Part of the key of a part. It is raised when the same settings give scores with other last bits.
So a shard that an earlier version has begun gets all its scores from one version.
"""


class ModelJob(Protocol):
    """The settings of a step that runs a model."""

    @property
    def model(self) -> ModelSettings:
        """The model."""

    @property
    def run(self) -> RunSettings:
        """How the work is done."""


@dataclass(frozen=True, slots=True)
class ScoringModel:
    """A model that was checked, to score shards.

    Attributes:
        loaded: The model.
        verification: Result of the comparison with published values.
        canaries: ``llr`` of fixed alleles, nats.
    """

    loaded: LoadedModel
    verification: dict[str, Any]
    canaries: tuple[float | None, ...]

    @property
    def device_class(self) -> str:
        """The kind of devices that it runs on."""
        return device_class(self.loaded.devices)

    def describe_machine(self) -> dict[str, Any]:
        """The devices, the process and the machine that it runs on."""
        return describe_machine(self.loaded.devices)


def open_scoring_model(settings: ModelJob, threads: int | None) -> ScoringModel:
    """Open a model and check it.

    Args:
        settings: The model and how the work is done.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: The model cannot run with these settings.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    loaded = open_model(settings.model, settings.run.model_cache)
    return ScoringModel(
        loaded=loaded,
        verification=verify_model(settings.model, loaded),
        canaries=tuple(score_canaries(loaded.model)),
    )


def wrap_model(model: Evo2ForCausalLM) -> ScoringModel:
    """Check a model that is in memory, to score with it.

    Args:
        model: The model, in eval mode.

    Raises:
        InputError: The model is in training mode, has parameters without values, or its data type
            is not one that scores.
    """
    started = time.monotonic()
    if model.training:
        raise InputError("model: is in training mode; call model.eval() first.")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise InputError(
            "model: some of its parameters have no values (device meta). Load it again by "
            "from_pretrained, without offloading."
        )
    if model.dtype not in (torch.float32, torch.bfloat16):
        raise InputError(f"model: its data type is {model.dtype}; expected float32 or bfloat16.")
    loaded = LoadedModel(
        model=model,
        devices=devices_of(model),
        dtype=str(model.dtype).removeprefix("torch."),
        fp8=str(model.config.fp8),
        weights_digest=weights_digest(model),
        load_s=time.monotonic() - started,
    )
    return ScoringModel(
        loaded=loaded,
        verification={"status": NOT_VERIFIED, "reason": "a model in memory"},
        canaries=tuple(score_canaries(model)),
    )


def part_key(
    settings: ModelJob, signature: Mapping[str, Any], devices: Sequence[torch.device]
) -> dict[str, Any]:
    """Everything that determines the values of a part, to the last bit."""
    return {
        "arithmetic": ARITHMETIC,
        "signature": dict(signature),
        "part_tokens": settings.run.part_tokens,
        "batch_tokens": settings.run.batch_tokens,
        "segment_length": settings.run.segment_length,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device_class": device_class(devices),
    }


class PartScorer:
    """Runs the parts of a shard through the model, and logs what happens on the way.

    Args:
        loaded: The model.
        settings: The model, the windows and how the work is done.
        interruption: Checked between two calls of the model.
    """

    def __init__(
        self, loaded: LoadedModel, settings: ScoreSettings, interruption: Interruption
    ) -> None:
        self._loaded = loaded
        self._model = settings.model
        self._scoring = settings.scoring
        self._run = settings.run
        self._interruption = interruption
        self._batch_tokens = settings.run.batch_tokens
        self._segment_length = settings.run.segment_length
        self._has_explained = False

    def read(
        self,
        part: Sequence[WindowPair],
        progress: Progress,
        readouts: Sequence[ReadOut[Any]] = (SUMS,),
    ) -> tuple[Records, PartUsage]:
        """Run a part.

        Args:
            part: The pairs of windows of the part.
            progress: Counts the tokens.
            readouts: What to read out. Default: the scores.

        Returns:
            What was read out of each pair, and the usage: the numbers of alleles, tokens and
            windows, the time, and the batch size at the end.

        Raises:
            InputError: The device has too little memory for a single window.
            Interrupted: The process received a signal to stop.
        """
        started = time.monotonic()
        num_windows = len({seq for pair in part for seq in (pair.ref_seq, pair.alt_seq)})
        windows_run = tokens_run = 0

        def count_call(num_windows_run: int, num_tokens: int) -> None:
            nonlocal windows_run, tokens_run
            windows_run += num_windows_run
            tokens_run += num_tokens
            progress.add(num_tokens)
            if windows_run < num_windows:  # a finished part must be kept first
                self._interruption.check()

        records = self._run_part(part, count_call, readouts)
        if SUMS in readouts and not self._has_explained:
            scores = records.of(SUMS)
            broken = [pair for pair, score in zip(part, scores, strict=True) if score is None]
            if broken:
                self._explain(broken[0])
        usage = PartUsage(
            alleles_tried=len({pair.row for pair in part}),
            tokens=sum(2 * pair.length for pair in part),
            windows_run=windows_run,
            tokens_run=tokens_run,
            wall_s=time.monotonic() - started,
            batch_tokens=self._batch_tokens,
        )
        return records, usage

    def _run_part(
        self,
        part: Sequence[WindowPair],
        on_call: Callable[[int, int], None],
        readouts: Sequence[ReadOut[Any]],
    ) -> Records:
        """Run the windows of a part.

        Raises:
            InputError: The device has too little memory for a single window.
        """
        try:
            return score_part(
                self._loaded.model,
                part,
                readouts,
                batch_tokens=self._batch_tokens,
                segment_length=self._segment_length,
                offload=self._run.kv_cache == "offload",
                horizon=self._scoring.horizon is not None,
                prepend_bos=self._scoring.prepend_bos,
                on_call=on_call,
                on_halving=self._note_halving,
            )
        except torch.OutOfMemoryError as error:
            longest = max(len(pair.ref_seq) for pair in part)
            device = describe_devices(self._loaded.devices)
            raise InputError(
                f"{self._model.where}: a window of {longest:,} tokens does not fit into the "
                f"memory of {device}. Ask for a device with more memory, or set run.kv_cache: "
                "offload."
            ) from error

    def _note_halving(self, tokens: int) -> None:
        self._batch_tokens = min(self._batch_tokens, tokens)
        # A window that is longer than this did not fit whole.
        self._segment_length = min(self._segment_length, tokens)
        logger.warning(
            "%s: out of memory; from now on at most %s tokens go through the model at once",
            describe_devices(self._loaded.devices),
            f"{tokens:,}",
        )

    def _explain(self, pair: WindowPair) -> None:
        """Log, once for a shard, the first module whose output is not finite."""
        self._has_explained = True
        for seq in (pair.ref_seq, pair.alt_seq):
            module = first_non_finite_module(
                self._loaded.model,
                seq,
                prepend_bos=self._scoring.prepend_bos,
                segment_length=self._segment_length,
            )
            if module is not None:
                logger.warning(
                    "row %d, %s strand: the output is not finite; the first such module is %s",
                    pair.row,
                    pair.strand,
                    module,
                )
                return
