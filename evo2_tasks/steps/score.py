"""The step ``score``: the model run on the windows of a shard."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from evo2_tasks.config.resolve import ScoreSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import write_json
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.layout import shard_run_file
from evo2_tasks.runtime.canaries import score_canaries
from evo2_tasks.runtime.devices import (
    describe_devices,
    describe_machine,
    device_class,
)
from evo2_tasks.runtime.models import LoadedModel, open_model, verify_model
from evo2_tasks.scoring.deltas import Score
from evo2_tasks.scoring.finite import first_non_finite_module
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair, slice_parts
from evo2_tasks.table.pairs import digest_pairs, read_pairs, require_unscored
from evo2_tasks.table.parquet import read_rows, write_table
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
from evo2_tasks.table.scores import ScoreRows, dump_score, load_score
from evo2_tasks.table.segments import Segments

logger = logging.getLogger(__name__)


def score(
    settings: ScoreSettings,
    *,
    windows_file: Path,
    segments_file: Path,
    out: Path,
    threads: int | None,
) -> None:
    """Run the model on the windows of a shard.

    Each finished part is kept in a folder beside the scores until ``merge`` has them: a job that
    was killed goes on from there.

    Args:
        settings: The model, the windows and how the work is done.
        windows_file: The shard with its windows, from ``windows``.
        segments_file: The reference bases of these windows, from ``windows``.
        out: The scores, one row for each row of the windows file. A JSON file of the same stem
            states device, versions, time and memory.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: A file cannot be read, or the model cannot run as the config says.
        Interrupted: The process was told to stop; all parts that were finished are kept.
    """
    started = time.monotonic()
    placed = read_provenance(windows_file).signature
    expected = make_windows_signature(
        reference_digest=str(placed.get("reference")), scoring=asdict(settings.scoring)
    )
    require_same_signature(windows_file, placed, Path(f"scorings.{settings.name}"), expected)
    for batch in read_rows(windows_file, ["status"]):
        require_unscored(batch.column("status"), windows_file)
    segments = Segments(segments_file)
    if threads is not None:
        torch.set_num_threads(threads)
    with Interruption() as interruption:
        loaded = open_model(settings.model, settings.run.model_cache)
        signature = make_signature(
            reference_digest=expected["reference"],
            scoring=expected["scoring"],
            weights_digest=loaded.weights,
            dtype=loaded.dtype,
            fp8=loaded.fp8,
            prepend_bos=settings.scoring.prepend_bos,
        )
        source = digest_file(windows_file)
        provenance = Provenance(
            signature, package_version(), model=settings.model.name, source=source
        )
        verification = verify_model(settings.model, loaded)
        canaries = score_canaries(loaded.model)
        scorer = PartScorer(loaded, settings, interruption)
        store = PartStore(out, source, scorer.key(signature), SUMS.columns)
        store.remove_stale()
        strands = STRANDS[settings.scoring.strands]
        parts: list[Mapping[str, Any]] = []
        digests: list[str] = []
        num_kept, kept_s = 0, 0.0
        with (
            write_table(out, scores_schema(), metadata=provenance.metadata()) as writer,
            Progress("score", total=count_tokens(windows_file), unit="tokens") as progress,
        ):
            rows = ScoreRows(windows_file, writer, strands)
            pairs = read_pairs(windows_file, segments, strands)
            for number, part in enumerate(slice_parts(pairs, settings.run.part_tokens)):
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
                rows.require_finite(settings.run.max_non_finite_share)
                interruption.check()
            rows.finish()
            store.finish(digests)
            require_source(out, source, windows_file)
        machine = describe_machine(loaded.devices)
        wall_s = time.monotonic() - started
        write_json(
            shard_run_file(out),
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
                    [settings.run.batch_tokens, *(stated["batch_tokens"] for stated in parts)]
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
        settings: The model, the windows and how the work is done.
        interruption: Asked between two batches.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        settings: ScoreSettings,
        interruption: Interruption,
    ) -> None:
        self._loaded = loaded
        self._model = settings.model
        self._scoring = settings.scoring
        self._run = settings.run
        self._interruption = interruption
        self._batch_tokens = settings.run.batch_tokens
        self._segment_length = settings.run.segment_length
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
            records = score_part(
                self._loaded.model,
                part,
                [SUMS],
                batch_tokens=self._batch_tokens,
                segment_length=self._segment_length,
                offload=self._run.kv_cache == "offload",
                horizon=self._scoring.horizon is not None,
                prepend_bos=self._scoring.prepend_bos,
                on_call=count_call,
                on_halving=self._note_halving,
            )
        except torch.OutOfMemoryError as error:
            longest = max(len(pair.ref_seq) for pair in part)
            device = describe_devices(self._loaded.devices)
            raise InputError(
                f"{self._model.where}: no window of {longest:,} tokens fits into the "
                f"memory of {device}. Ask for a device with more, or set run.kv_cache: offload."
            ) from error
        scores = records.of(SUMS)
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
                prepend_bos=self._scoring.prepend_bos,
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
