"""The step ``score``: the one that needs torch, apart so that the others start without it."""

import logging
import platform
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from evo2_tasks.comparison import verify_once
from evo2_tasks.config import (
    ModelConfig,
    RunConfig,
    RunSettings,
    ScoringConfig,
    checkpoint_path,
    model_dtype,
    scoring_settings,
)
from evo2_tasks.cost import Rate, read_rates, read_shape
from evo2_tasks.device import (
    describe_devices,
    describe_machine,
    device_class,
    driver_version,
    find_devices,
)
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.evo2.checkpoints import (
    convert_published,
    export_published,
    load_model,
    read_release,
    weights_digest,
)
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.hub import parse_hub_name
from evo2_tasks.interruption import Interruption
from evo2_tasks.model_cache import copied_to_node
from evo2_tasks.plan import checkpoint_files
from evo2_tasks.progress import Progress
from evo2_tasks.scoring.canaries import score_canaries
from evo2_tasks.scoring.deltas import SCORE_NAMES, Score
from evo2_tasks.scoring.finite import first_non_finite_module
from evo2_tasks.scoring.likelihood import window_log_probs
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair, slice_parts
from evo2_tasks.shard import (
    STRANDS,
    ScoreRows,
    digest_pairs,
    dump_score,
    load_score,
    read_pairs,
)
from evo2_tasks.table.files import digest_file, write_json, write_table
from evo2_tasks.table.parts import PartStore, count_tokens
from evo2_tasks.table.provenance import (
    Provenance,
    make_signature,
    make_windows_signature,
    package_version,
    read_provenance,
    require_same_signature,
    require_source,
)
from evo2_tasks.table.schema import scores_schema
from evo2_tasks.table.segments import Segments
from evo2_tasks.verification import Arithmetic

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, and what a table says of it.

    Attributes:
        model: In eval mode, on its devices.
        devices: Where it is, in the order of its layers.
        dtype: Number type of its weights.
        fp8: How its input projections are computed, and whether that had to be allowed.
        weights: Digest of its tensors as they were loaded.
        load_s: Seconds that it took to load.
    """

    model: Evo2ForCausalLM
    devices: list[torch.device]
    dtype: str
    fp8: str
    weights: str
    load_s: float


def score(
    config: RunConfig,
    *,
    scoring: str,
    windows_file: Path,
    segments_file: Path,
    out: Path,
    threads: int | None,
) -> None:
    """Run the model on the windows of a shard.

    Each finished part is kept in a folder beside the scores until ``merge`` has them: a job that
    was killed goes on from there.

    Args:
        config: The run's config.
        scoring: Name of the scoring.
        windows_file: What ``windows`` wrote.
        segments_file: The reference bases that it wrote beside.
        out: The scores, a row for each row of the windows file. A JSON file of the same stem says
            where they were computed and what it took.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: A file cannot be read, or the model cannot run as the config says.
        Interrupted: The process was told to stop; all parts that were finished are kept.
    """
    started = time.monotonic()
    settings = config.scoring(scoring)
    placed = read_provenance(windows_file).signature
    asked = make_windows_signature(
        reference_digest=str(placed.get("reference")), scoring=scoring_settings(config, scoring)
    )
    require_same_signature(windows_file, placed, Path(f"scorings.{scoring}"), asked)
    segments = Segments(segments_file)
    if threads is not None:
        torch.set_num_threads(threads)
    with Interruption() as interruption:
        loaded = open_run_model(config, settings.model)
        signature = make_signature(
            reference_digest=asked["reference"],
            scoring=asked["scoring"],
            weights_digest=loaded.weights,
            dtype=loaded.dtype,
            fp8=loaded.fp8,
            prepend_bos=settings.prepend_bos,
        )
        source = digest_file(windows_file)
        provenance = Provenance(signature, package_version(), model=settings.model, source=source)
        verification = verify_model(settings.model, config.models[settings.model], loaded)
        canaries = score_canaries(loaded.model)
        scorer = PartScorer(loaded, settings, config.run, interruption)
        store = PartStore(out, source, scorer.key(signature), SCORE_NAMES)
        store.remove_stale()
        strands = STRANDS[settings.strands]
        parts: list[Mapping[str, Any]] = []
        digests: list[str] = []
        num_kept, kept_s = 0, 0.0
        with (
            write_table(out, scores_schema(), metadata=provenance.metadata()) as writer,
            Progress("score", total=count_tokens(windows_file), unit="tokens") as progress,
        ):
            rows = ScoreRows(windows_file, writer, strands)
            pairs = read_pairs(windows_file, segments, strands)
            for number, part in enumerate(slice_parts(pairs, config.run.part_tokens)):
                digest = digest_pairs(part)
                kept = store.read(number, digest)
                if kept is None:
                    scores, stated = scorer.score(part, progress)
                    store.write(number, digest, [dump_score(score) for score in scores], stated)
                    # Windows that several alleles share are done for all of them.
                    progress.add(stated["tokens"] - stated["tokens_run"])
                else:
                    values, stated = kept
                    scores = [load_score(row) for row in values]
                    num_kept += 1
                    kept_s += stated["wall_s"]
                    progress.skip(stated["tokens"])
                parts.append(stated)
                digests.append(digest)
                rows.write(part, scores)
                rows.require_finite(config.run.max_non_finite_share)
                interruption.check()
            rows.finish()
            store.finish(digests)
            require_source(out, source, windows_file)
        machine = describe_machine(loaded.devices)
        wall_s = time.monotonic() - started
        write_json(
            out.with_suffix(".json"),
            {
                "alleles_tried": sum(stated["alleles_tried"] for stated in parts),
                "tokens": sum(stated["tokens"] for stated in parts),
                "windows_run": sum(stated["windows_run"] for stated in parts),
                "tokens_run": sum(stated["tokens_run"] for stated in parts),
                "wall_s": round(wall_s + kept_s, 3),
                "load_s": round(loaded.load_s, 3),
                "parts": len(parts),
                "parts_kept": num_kept,
                "batch_tokens": min(
                    [config.run.batch_tokens, *(stated["batch_tokens"] for stated in parts)]
                ),
                "canaries": canaries,
                "verification": verification,
                **machine,
            },
        )
    logger.info(
        "%d parts, %d of them from an earlier try; %.1f s, at most %s MB of memory",
        len(parts),
        num_kept,
        wall_s,
        f"{machine['peak_memory_mb']:,.0f}",
    )


class PartScorer:
    """Runs the parts of a shard through the model, and says what happens on the way.

    Args:
        loaded: The model.
        settings: The scoring.
        run: Settings of the work itself.
        interruption: Asked between two batches.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        settings: ScoringConfig,
        run: RunSettings,
        interruption: Interruption,
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._run = run
        self._interruption = interruption
        self._batch_tokens = run.batch_tokens
        self._segment_length = run.segment_length
        self._has_explained = False

    def key(self, signature: Mapping[str, Any]) -> dict[str, Any]:
        """What shapes the numbers of a part, to the last bit."""
        return {
            "signature": dict(signature),
            "part_tokens": self._run.part_tokens,
            "batch_tokens": self._run.batch_tokens,
            "segment_length": self._run.segment_length,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "device_class": device_class(self._loaded.devices),
        }

    def score(
        self, part: Sequence[WindowPair], progress: Progress
    ) -> tuple[list[Score | None], dict[str, Any]]:
        """Score a part, and state what it took.

        Raises:
            InputError: The device has too little memory for a single window.
            Interrupted: The process was told to stop.
        """
        started = time.monotonic()
        num_windows = len({seq for pair in part for seq in (pair.ref_seq, pair.alt_seq)})
        windows_run = tokens_run = 0

        def count_call(num_windows_run: int, num_tokens: int) -> None:
            nonlocal windows_run, tokens_run
            windows_run += num_windows_run
            tokens_run += num_tokens
            progress.add(num_tokens)
            if windows_run < num_windows:  # a part that is finished is to be kept
                self._interruption.check()

        try:
            scores = score_part(
                self._loaded.model,
                part,
                batch_tokens=self._batch_tokens,
                segment_length=self._segment_length,
                offload=self._run.kv_cache == "offload",
                horizon=self._settings.horizon is not None,
                prepend_bos=self._settings.prepend_bos,
                on_call=count_call,
                on_halving=self._note_halving,
            )
        except torch.OutOfMemoryError as error:
            longest = max(len(pair.ref_seq) for pair in part)
            device = describe_devices(self._loaded.devices)
            raise InputError(
                f"models.{self._settings.model}: no window of {longest:,} tokens fits into the "
                f"memory of {device}. Ask for a device with more, or set run.kv_cache: offload."
            ) from error
        broken = [pair for pair, score in zip(part, scores, strict=True) if score is None]
        if broken and not self._has_explained:
            self._explain(broken[0])
        return scores, {
            "alleles_tried": len({pair.row for pair in part}),
            "tokens": sum(2 * pair.length for pair in part),
            "windows_run": windows_run,
            "tokens_run": tokens_run,
            "wall_s": round(time.monotonic() - started, 3),
            "batch_tokens": self._batch_tokens,
        }

    def _note_halving(self, tokens: int) -> None:
        self._batch_tokens = min(self._batch_tokens, tokens)
        # A window that is longer than this did not fit whole.
        self._segment_length = min(self._segment_length, tokens)
        logger.warning(
            "%s: out of memory; %s tokens at once from here on",
            describe_devices(self._loaded.devices),
            f"{tokens:,}",
        )

    def _explain(self, pair: WindowPair) -> None:
        """Say once where the model begins to give numbers that are not finite."""
        self._has_explained = True
        for seq in (pair.ref_seq, pair.alt_seq):
            module = first_non_finite_module(
                self._loaded.model,
                seq,
                prepend_bos=self._settings.prepend_bos,
                segment_length=self._segment_length,
            )
            if module is not None:
                logger.warning(
                    "row %d, %s strand: not finite, first in the output of %s",
                    pair.row,
                    pair.strand,
                    module,
                )
                return


def open_run_model(config: RunConfig, name: str) -> LoadedModel:
    """Load a model of a run's config; see `open_model`."""
    return open_model(f"models.{name}", config.models[name], config.run.model_cache)


def open_model(where: str, settings: ModelConfig, cache: Path | None) -> LoadedModel:
    """Load a model on the devices that it asks for.

    Args:
        where: Who says so, for messages.
        settings: The checkpoint, and how to run it.
        cache: Folder on the node's own disk to copy the checkpoint to first; None leaves it.

    Raises:
        InputError: There are no such devices, the checkpoint cannot be read, or it needs FP8 and
            the config says off.
    """
    started = time.monotonic()
    devices = find_devices(where, settings.gpus)
    if settings.gpus == 0:
        keep_freed_memory()
    dtype = model_dtype(settings)
    try:
        with local_checkpoint(settings, cache) as checkpoint:
            model = load_model(
                checkpoint,
                dtype=getattr(torch, dtype),
                devices=devices,
                model=settings.model,
                config=settings.config,
                fp8=settings.fp8,
                allow_without_fp8=settings.allow_without_fp8,
            )
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"{where}: the weights do not fit into the memory of {describe_devices(devices)}."
        ) from error
    fp8 = str(model.config.fp8)
    if fp8 == "off" and settings.allow_without_fp8:
        fp8 = "off (allow_without_fp8)"
    weights = weights_digest(model)
    load_s = time.monotonic() - started
    logger.info(
        "%s: %s parameters in %s, fp8 %s, on %s of %s, loaded in %.1f s; torch %s, driver %s",
        where,
        f"{model.num_parameters():,}",
        dtype,
        fp8,
        describe_devices(devices),
        platform.node(),
        load_s,
        torch.__version__,
        driver_version() or "none",
    )
    return LoadedModel(model, devices, dtype, fp8, weights, load_s)


def verify_model(name: str, settings: ModelConfig, loaded: LoadedModel) -> dict[str, Any]:
    """Make sure, once for each kind of device, that a published model gives published figures.

    Args:
        name: Of the model in the config.
        settings: The checkpoint, and how to run it.
        loaded: The model.

    Returns:
        What was found; see `verify_once`.

    Raises:
        InputError: It does not, and that was not allowed by ``allow_without_fp8``.
    """
    model, checkpoint = loaded.model, checkpoint_path(settings)
    verification, complaint = verify_once(
        model,
        Arithmetic(loaded.dtype, model.config.fp8, device_class(loaded.devices)),
        checkpoint=checkpoint,
        release=read_release(checkpoint, model=settings.model, config=settings.config),
        weights=loaded.weights,
    )
    if complaint is not None:
        if not settings.allow_without_fp8:
            raise InputError(f"models.{name}: {settings.checkpoint}: {complaint}")
        logger.warning("models.%s: %s", name, complaint)
    logger.info("%s: %s", name, verification["status"])
    return verification


@contextmanager
def local_checkpoint(settings: ModelConfig, cache: Path | None) -> Iterator[Path]:
    """Where to load a checkpoint from: the copy on this node if the run asks for one."""
    path = checkpoint_path(settings)
    if parse_hub_name(settings.checkpoint) is not None and not path.exists():
        raise ValueError(
            f"{settings.checkpoint} is not in {path}. `evo2-tasks fetch` puts it there; HF_HOME "
            "has to be the same for all jobs."
        )
    files = [Path(file) for file in checkpoint_files(settings)]
    if cache is None or not files or not all(file.is_file() for file in files):
        yield path
        return
    with copied_to_node(files, cache) as folder:
        yield folder if path.is_dir() else folder / path.name


def calibrate(
    config: RunConfig, *, scoring: str, out: Path, threads: int | None, seconds: float
) -> None:
    """Measure how many tokens per second go through a model on this device, and note it.

    Args:
        config: The run's config.
        scoring: Name of the scoring: its model and windows, in the run's batches.
        out: Table of rates; a rate of the same model, windows and device is replaced.
        threads: CPU threads of the model; None leaves the choice to torch.
        seconds: Time to measure, after one batch to warm up.

    Raises:
        InputError: The model cannot run as the config says, or the table is none.
    """
    settings = config.scoring(scoring)
    rates = read_rates(out) if out.exists() else []
    if threads is not None:
        torch.set_num_threads(threads)
    model_config = config.models[settings.model]
    loaded = open_run_model(config, settings.model)
    length = settings.window_length
    rng = random.Random(1)  # noqa: S311 - no secret
    num_windows = max(1, config.run.batch_tokens // length)
    windows = [bytes(rng.choices(b"ACGT", k=length)) for _ in range(num_windows)]

    def run_batch() -> None:
        window_log_probs(
            loaded.model,
            windows,
            prepend_bos=settings.prepend_bos,
            segment_length=config.run.segment_length,
            offload=config.run.kv_cache == "offload",
        )

    run_batch()
    started = time.monotonic()
    num_batches = 0
    while num_batches == 0 or time.monotonic() - started < seconds:
        run_batch()
        num_batches += 1
    tokens_per_s = num_batches * num_windows * length / (time.monotonic() - started)
    rate = Rate(
        device=device_class(loaded.devices),
        model=settings.model,
        window_length=length,
        tokens_per_s=float(f"{tokens_per_s:.4g}"),
        flops_per_token=read_shape(settings.model, model_config).flops_per_token(length),
        source=f"measured: evo2-tasks {package_version()}, torch {torch.__version__}, "
        f"{loaded.dtype}, {num_windows} windows at once",
        threads=torch.get_num_threads() if model_config.gpus == 0 else None,
    )

    def subject(one: Rate) -> tuple[object, ...]:
        return one.device, one.model, one.window_length, one.threads

    kept = [one for one in rates if subject(one) != subject(rate)]
    write_json(out, {"rates": [asdict(one) for one in [*kept, rate]]})
    logger.info(
        "%s, windows of %s: %s tokens/s on %s",
        settings.model,
        f"{length:,}",
        f"{tokens_per_s:,.0f}",
        describe_devices(loaded.devices),
    )


def convert(source: Path, out: Path, *, model: str | None, config: Path | None) -> None:
    """Convert a published checkpoint to a folder for ``from_pretrained``, or the folder back.

    Args:
        source: A published file, or a folder.
        out: The folder, or a file that ends in ``.pt``.
        model: Release that the published file is; None finds it by name and shapes.
        config: Published ``.yml`` description of a file that is no release.

    Raises:
        InputError: The source cannot be read or is no such checkpoint.
    """
    try:
        if source.is_dir():
            export_published(source, out)
        else:
            convert_published(source, out, model=model, config=config)
    except (ValueError, OSError) as error:
        raise InputError(f"convert: {error}") from error
    logger.info("%s: converted from %s", out, source)
