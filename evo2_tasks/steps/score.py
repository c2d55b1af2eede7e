"""The step ``score``: the model run on the windows of a shard."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from evo2_tasks.config.resolve import ScoreSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.io.digests import SourceFiles
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
from evo2_tasks.scoring.readouts import SUMS, Records
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair, slice_parts
from evo2_tasks.table.documents import PartUsage, ScoreStatements, ShardRun
from evo2_tasks.table.pairs import digest_pairs, read_pairs, require_unscored
from evo2_tasks.table.parquet import read_rows, write_table
from evo2_tasks.table.parts import PartStore, count_tokens, parts_folder
from evo2_tasks.table.provenance import (
    Provenance,
    as_json,
    make_signature,
    make_windows_signature,
    package_version,
    read_provenance,
    require_same_signature,
)
from evo2_tasks.table.schema import scores_schema
from evo2_tasks.table.scores import ScoreRows, dump_score, load_score
from evo2_tasks.table.segments import Segments, require_segments

logger = logging.getLogger(__name__)

ARITHMETIC = 2
"""Part of the key of a part. It is raised when the same settings give scores with other last bits.
So a shard that an earlier version has begun gets all its scores from one version.
"""


def score(
    settings: ScoreSettings,
    *,
    windows_file: Path,
    segments_file: Path,
    out: Path,
    threads: int | None,
    hits: Path | None = None,
) -> None:
    """Run the model on the windows of a shard.

    Each finished part is kept in a folder next to the scores until ``merge`` has written the table.
    A job that was killed continues from these parts.

    Args:
        settings: The model, the windows and how the work is done.
        windows_file: The shard with its windows, from ``windows``.
        segments_file: The reference bases of these windows, from ``windows``.
        out: The scores, one row for each row of the windows file. A JSON file of the same stem
            states device, versions, time and memory.
        threads: CPU threads of the model; None leaves the choice to torch.
        hits: Scores of the store, from ``lookup``. None with a store: those next to the folder of
            the scores (``hits_file``), if ``lookup`` has written them.

    Raises:
        InputError: A file cannot be read, the windows or segments do not belong together or to
            these settings, or the model cannot run with these settings.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    started = time.monotonic()
    placed = open_windows(settings, windows_file, segments_file)
    with Interruption() as interruption:
        job = start_job(settings, threads, interruption, started=started)
        write_scores(job, placed, out, parts=parts_folder(out))


@dataclass(frozen=True, slots=True)
class PlacedWindows:
    """Windows of a shard, which belong to their segments and were made with these settings.

    Attributes:
        settings: The model, the windows and how the work is done.
        file: The windows file.
        source: SHA-256 of the windows file.
        signature: The signature of the windows.
        segments: The reference bases of the windows.
        files: The windows and the segments file.
    """

    settings: ScoreSettings
    file: Path
    source: str
    signature: Mapping[str, Any]
    segments: Segments
    files: SourceFiles


def open_windows(settings: ScoreSettings, windows_file: Path, segments_file: Path) -> PlacedWindows:
    """Open the windows of a shard.

    Args:
        settings: The model, the windows and how the work is done.
        windows_file: The shard with its windows.
        segments_file: The reference bases of these windows.

    Raises:
        InputError: A file cannot be read, or the windows or segments do not belong together or to
            these settings.
    """
    files = SourceFiles()
    source = files.add(windows_file)
    files.add(segments_file)
    signature = require_windows(settings, windows_file)
    require_segments(segments_file, windows_file, source, signature["reference"])
    return PlacedWindows(settings, windows_file, source, signature, Segments(segments_file), files)


@dataclass(slots=True)
class ScoringJob:
    """A job that runs the model, and what it has taken since it last wrote scores.

    Attributes:
        loaded: The model.
        verification: Result of the comparison with published values.
        canaries: ``llr`` of fixed alleles, nats.
        interruption: Checked between two calls of the model.
        since: When the work began that is not written yet, by ``time.monotonic``.
        load_s: Seconds to load the model; 0 after they were stated.
    """

    loaded: LoadedModel
    verification: dict[str, Any]
    canaries: tuple[float | None, ...]
    interruption: Interruption
    since: float
    load_s: float


def start_job(
    settings: ScoreSettings, threads: int | None, interruption: Interruption, *, started: float
) -> ScoringJob:
    """Open the model and check it.

    Args:
        settings: The model and how the work is done.
        threads: CPU threads of the model; None leaves the choice to torch.
        interruption: Checked between two calls of the model.
        started: When the job began, by ``time.monotonic``.

    Raises:
        InputError: The model cannot run with these settings.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    loaded = open_model(settings.model, settings.run.model_cache)
    return ScoringJob(
        loaded=loaded,
        verification=verify_model(settings.model, loaded),
        canaries=tuple(score_canaries(loaded.model)),
        interruption=interruption,
        since=started,
        load_s=loaded.load_s,
    )


def make_provenance(
    settings: ScoreSettings, placed: Mapping[str, Any], loaded: LoadedModel, source: str
) -> Provenance:
    """The provenance of the scores.

    Args:
        settings: The model and the windows.
        placed: The signature of the windows file.
        loaded: The model.
        source: SHA-256 of the windows file.
    """
    signature = make_signature(
        reference_digest=placed["reference"],
        scoring=placed["scoring"],
        weights_digest=loaded.weights_digest,
        dtype=loaded.dtype,
        fp8=loaded.fp8,
        prepend_bos=settings.scoring.prepend_bos,
    )
    return Provenance(signature, package_version(), model=settings.model.name, source=source)


def write_scores(job: ScoringJob, placed: PlacedWindows, out: Path, *, parts: Path) -> None:
    """Score all parts of a shard, and write the scores and the JSON file next to them.

    Args:
        job: The model.
        placed: The windows.
        out: The scores.
        parts: Folder of the finished parts.

    Raises:
        InputError: Too many scores are not finite, or a file cannot be read or written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    settings = placed.settings
    provenance = make_provenance(settings, placed.signature, job.loaded, placed.source)
    key = part_key(settings, provenance.signature, job.loaded.devices)
    store = PartStore(parts, placed.source, key, SUMS.columns)
    store.remove_stale()
    strands = STRANDS[settings.scoring.strands]
    pairs = read_pairs(placed.file, placed.segments, strands)
    with (
        write_table(out, scores_schema(), metadata=provenance.metadata()) as writer,
        Progress("score", total=count_tokens(placed.file), unit="tokens") as progress,
    ):
        done = score_parts(
            slice_parts(pairs, settings.run.part_tokens),
            PartScorer(job.loaded, settings, job.interruption),
            store,
            ScoreRows(placed.file, writer, strands),
            progress,
            job.interruption,
            max_non_finite_share=settings.run.max_non_finite_share,
        )
        placed.files.require_unchanged()
        done.digest = writer.digest()
    state_work(job, settings, done, out)


def state_work(job: ScoringJob, settings: ScoreSettings, done: "ShardWork", out: Path) -> None:
    """Write the JSON file next to scores: the work since the job last wrote one."""
    machine = describe_machine(job.loaded.devices)
    wall_s = time.monotonic() - job.since
    ShardRun(
        **done.as_json(wall_s=wall_s, load_s=job.load_s, batch_tokens=settings.run.batch_tokens),
        canaries=job.canaries,
        verification=job.verification,
        statements=ScoreStatements(settings=as_json(settings.triggers()), scores=done.digest),
        **machine,
    ).write(shard_run_file(out))
    job.since, job.load_s = job.since + wall_s, 0.0
    logger.info(
        "%d parts, %d of them from an earlier job; %.1f s, at most %s MB of memory",
        len(done.parts),
        done.num_kept,
        wall_s,
        f"{machine['peak_memory_mb']:,.0f}",
    )


def require_windows(settings: ScoreSettings, windows_file: Path) -> Mapping[str, Any]:
    """Make sure that a windows file was made with these settings and by this version.

    Returns:
        The signature of the windows.

    Raises:
        InputError: The file was made with other settings or by an earlier version.
    """
    placed = read_provenance(windows_file).signature
    expected = make_windows_signature(
        reference_digest=str(placed.get("reference")), scoring=asdict(settings.scoring)
    )
    require_same_signature(windows_file, placed, Path(f"scorings.{settings.name}"), expected)
    for batch in read_rows(windows_file, ["status"]):
        require_unscored(batch.column("status"), windows_file)
    return expected


def part_key(
    settings: ScoreSettings, signature: Mapping[str, Any], devices: Sequence[torch.device]
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


@dataclass(slots=True)
class ShardWork:
    """The work that was done for a shard.

    Attributes:
        parts: The usage of each part.
        num_kept: Number of parts that an earlier job had finished.
        kept_s: Seconds that earlier jobs took for these parts.
        digest: SHA-256 of the scores file.
    """

    parts: list[PartUsage] = field(default_factory=list)
    num_kept: int = 0
    kept_s: float = 0.0
    digest: str = ""

    def as_json(self, *, wall_s: float, load_s: float, batch_tokens: int) -> dict[str, Any]:
        """Sums over the parts, for the JSON file of the shard.

        Args:
            wall_s: Seconds that this job took.
            load_s: Seconds of these that it took to load the model.
            batch_tokens: The setting. The usage of a part has a smaller number if memory was short.
        """
        return {
            "alleles_tried": sum(usage.alleles_tried for usage in self.parts),
            "tokens": sum(usage.tokens for usage in self.parts),
            "windows_run": sum(usage.windows_run for usage in self.parts),
            "tokens_run": sum(usage.tokens_run for usage in self.parts),
            "wall_s": wall_s + self.kept_s,
            "load_s": load_s,
            "parts": len(self.parts),
            "parts_kept": self.num_kept,
            "batch_tokens": min([batch_tokens, *(one.batch_tokens for one in self.parts)]),
        }


def score_parts(
    parts: Iterable[list[WindowPair]],
    scorer: "PartScorer",
    store: PartStore,
    rows: ScoreRows,
    progress: Progress,
    interruption: Interruption,
    *,
    max_non_finite_share: float,
) -> ShardWork:
    """Score the parts that no earlier job has finished, and write the rows of all parts.

    Args:
        parts: The pairs of windows of each part of the shard.
        scorer: Runs the model.
        store: The finished parts.
        rows: The rows of scores.
        progress: Counts the tokens of the shard.
        interruption: Checked after each part.
        max_non_finite_share: Largest share of alleles whose scores are not finite.

    Raises:
        InputError: Too many scores are not finite, or a file cannot be written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    done = ShardWork()
    digests: list[str] = []
    for number, part in enumerate(parts):
        digest = digest_pairs(part)
        kept = store.read(number, digest, len(part))
        if kept is None:
            scores, usage = scorer.score(part, progress)
            store.write(number, digest, [dump_score(score) for score in scores], usage)
            # Tokens that several windows share are run once, and count for each of them.
            progress.add(usage.tokens - usage.tokens_run)
        else:
            values, usage = kept
            scores = [load_score(row) for row in values]
            done.num_kept += 1
            done.kept_s += usage.wall_s
            progress.skip(usage.tokens)
        done.parts.append(usage)
        digests.append(digest)
        rows.write(part, scores)
        rows.require_finite(max_non_finite_share)
        interruption.check()
    rows.finish()
    store.finish(digests)
    return done


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

    def score(
        self, part: Sequence[WindowPair], progress: Progress
    ) -> tuple[list[Score | None], PartUsage]:
        """Score a part.

        Returns:
            The score of each pair, and the usage: the numbers of alleles, tokens and windows, the
            time, and the batch size at the end.

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

        scores = self._run_part(part, count_call).of(SUMS)
        broken = [pair for pair, score in zip(part, scores, strict=True) if score is None]
        if broken and not self._has_explained:
            self._explain(broken[0])
        usage = PartUsage(
            alleles_tried=len({pair.row for pair in part}),
            tokens=sum(2 * pair.length for pair in part),
            windows_run=windows_run,
            tokens_run=tokens_run,
            wall_s=time.monotonic() - started,
            batch_tokens=self._batch_tokens,
        )
        return scores, usage

    def _run_part(self, part: Sequence[WindowPair], on_call: Callable[[int, int], None]) -> Records:
        """Run the windows of a part.

        Raises:
            InputError: The device has too little memory for a single window.
        """
        try:
            return score_part(
                self._loaded.model,
                part,
                [SUMS],
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
