"""The step ``score``: the scores of a shard, from the store and from the model.

Nothing here imports torch: what runs the model is in ``runtime/scoring_jobs.py``, which is imported
only if a score is missing.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo2_tasks.config.resolve import ScoreSettings
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import hits_file, shard_run_file
from evo2_tasks.runtime.processes import describe_process
from evo2_tasks.runtime.score_store import choose_hits, is_unchanged, store_scores
from evo2_tasks.scoring.deltas import Score
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.windows import WindowPair, slice_parts
from evo2_tasks.table.documents import PartUsage, ScoreStatements, ShardRun
from evo2_tasks.table.hits import Hits, open_hits
from evo2_tasks.table.pairs import count_tokens, digest_pairs, read_pairs, require_unscored
from evo2_tasks.table.parquet import read_rows, write_table
from evo2_tasks.table.parts import PartStore, parts_folder
from evo2_tasks.table.provenance import (
    Provenance,
    as_json,
    make_signature,
    make_windows_signature,
    package_version,
    read_provenance,
    require_same_signature,
    require_settings,
)
from evo2_tasks.table.readout_parts import PassReadouts, ReadoutParts
from evo2_tasks.table.schema import scores_schema
from evo2_tasks.table.scores import ScoreRows, dump_score, load_score
from evo2_tasks.table.segments import Segments, require_segments
from evo2_tasks.table.shard_readouts import ReadoutFile, choose_readouts

if TYPE_CHECKING:
    from evo2_tasks.runtime.scoring_jobs import PartScorer, ScoringModel

logger = logging.getLogger(__name__)


def score(
    settings: ScoreSettings,
    *,
    windows_file: Path,
    segments_file: Path,
    out: Path,
    threads: int | None,
    hits: Path | None = None,
) -> None:
    """Score a shard: reuse the scores that the store has, and run the model for the others.

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
        InputError: A file cannot be read, the files do not belong together or to these settings, or
            the model cannot run with these settings.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    started = time.monotonic()
    placed = open_windows(settings, windows_file, segments_file)
    found = find_hits(placed, out, hits)
    with Interruption() as interruption:
        job = start_job(settings, threads, interruption, started=started, found=found)
        write_scores(job, placed, out, parts=parts_folder(out), found=found)


@dataclass(frozen=True, slots=True)
class PlacedWindows:
    """Windows of a shard, which belong to their segments and were made with these settings.

    Attributes:
        settings: The model, the windows and how the work is done.
        file: The windows file.
        source: SHA-256 of the windows file.
        signature: The signature of the windows.
        segments_file: The reference bases of the windows.
        files: The windows, the segments, and what else the scores are made from.
        is_chosen: Whether they were made from the windows of all shards, by ``haplotypes`` or
            ``audit``; ``lookup`` does not read these.
    """

    settings: ScoreSettings
    file: Path
    source: str
    signature: Mapping[str, Any]
    segments_file: Path
    files: SourceFiles
    is_chosen: bool


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
    is_chosen = "windows" in (read_provenance(windows_file).inputs or {})
    return PlacedWindows(settings, windows_file, source, signature, segments_file, files, is_chosen)


def find_hits(placed: PlacedWindows, out: Path, path: Path | None) -> Hits | None:
    """The scores of the store for a shard; None without a store.

    Args:
        placed: The windows of the shard. Their files get those of the hits.
        out: The scores to write.
        path: The file of ``lookup``; None for the one next to the folder of the scores.

    Raises:
        InputError: The hits cannot be read, or are of other windows or settings.
    """
    if path is None:
        path = hits_file(out)
        if placed.settings.run.store is None or placed.is_chosen:
            return None
        if not path.exists():
            logger.warning(
                "%s: does not exist, so the store is not used for this shard, and its new scores "
                "are not added. Run `lookup` first to use it.",
                shown_path(path),
            )
            return None
    hits = open_hits(path, placed.file, placed.source, placed.files)
    require_settings(path, hits.provenance.settings, placed.settings.triggers(), "lookup")
    stated = hits.provenance.signature
    windows = {key: stated.get(key) for key in placed.signature}
    require_same_signature(placed.file, placed.signature, path, windows)
    return hits


@dataclass(slots=True)
class ScoringJob:
    """A job that scores shards, and what it has taken since it last wrote scores.

    Attributes:
        model: The model; None if every score is known.
        interruption: Checked between two calls of the model.
        since: When the work began that is not written yet, by ``time.monotonic``.
        load_s: Seconds to load the model; 0 after they were stated.
    """

    model: "ScoringModel | None"
    interruption: Interruption
    since: float
    load_s: float


def start_job(
    settings: ScoreSettings,
    threads: int | None,
    interruption: Interruption,
    *,
    started: float,
    found: Hits | None,
) -> ScoringJob:
    """Open the model and check it, if a score is missing or the kind of device is needed.

    Args:
        settings: The model and how the work is done.
        threads: CPU threads of the model; None leaves the choice to torch.
        interruption: Checked between two calls of the model.
        started: When the job began, by ``time.monotonic``.
        found: The scores of the store; None if the job needs the model anyway.

    Raises:
        InputError: The model cannot run with these settings.
    """
    needs_model = found is None or found.found.needs_model or not settings.run.allow_mixed_devices
    if found is not None and not needs_model and is_unchanged(settings.model, found):
        return ScoringJob(None, interruption, started, 0.0)
    model: ScoringModel = load_scoring_jobs().open_scoring_model(settings, threads)
    return ScoringJob(model, interruption, started, model.loaded.load_s)


def load_scoring_jobs() -> Any:
    """The module that imports torch."""
    return import_module("evo2_tasks.runtime.scoring_jobs")


def make_provenance(placed: PlacedWindows, model: "ScoringModel") -> Provenance:
    """The provenance of the scores that a model gives.

    Args:
        placed: The windows.
        model: The model.
    """
    settings, loaded = placed.settings, model.loaded
    signature = make_signature(
        reference_digest=placed.signature["reference"],
        scoring=placed.signature["scoring"],
        weights_digest=loaded.weights_digest,
        dtype=loaded.dtype,
        fp8=loaded.fp8,
        prepend_bos=settings.scoring.prepend_bos,
        haplotype_of=placed.signature.get("haplotype_of"),
    )
    return state_source(placed, signature)


def state_source(placed: PlacedWindows, signature: Mapping[str, Any]) -> Provenance:
    """The provenance of scores of a shard with this signature."""
    return Provenance(
        signature, package_version(), model=placed.settings.model.name, source=placed.source
    )


def write_scores(
    job: ScoringJob,
    placed: PlacedWindows,
    out: Path,
    *,
    parts: Path,
    found: Hits | None = None,
    readouts: PassReadouts | None = None,
) -> None:
    """Score a shard, and write the scores and the JSON file next to them.

    Args:
        job: The model, if one is needed.
        placed: The windows.
        out: The scores.
        parts: Folder of the finished parts.
        found: What the store has, if it is asked.
        readouts: What to read out in the same passes, of all alleles; their parts are written.

    Raises:
        InputError: Too many scores are not finite, or a file cannot be read or written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    run, device = placed.settings.run, None
    if job.model is not None:
        device, provenance = job.model.device_class, make_provenance(placed, job.model)
    elif found is not None:
        provenance = state_source(placed, found.provenance.signature)
    else:
        raise ValueError("neither a model nor the scores of a store")
    hits = choose_hits(found, provenance, device, allow_mixed=run.allow_mixed_devices)
    strands = STRANDS[placed.settings.scoring.strands]
    with write_table(out, scores_schema(), metadata=provenance.metadata()) as writer:
        rows = ScoreRows(placed.file, writer, strands, hits)
        done = ShardWork()
        if job.model is None:
            rows.finish()
        else:
            done = run_model(
                job.model, job.interruption, placed, provenance, rows, hits, parts, readouts
            )
        placed.files.require_unchanged()
        done.digest = writer.digest()
    if found is not None:
        done.reused, done.reused_devices = (0, {}) if hits is None else hits.count()
        done.hits = hits
    state_work(job, placed.settings, done, out, has_readouts=readouts is not None)
    if found is not None and job.model is not None:
        store_scores(
            placed.settings, placed.file, found, hits, provenance, job.model, out, done.digest
        )


def run_model(
    model: "ScoringModel",
    interruption: Interruption,
    placed: PlacedWindows,
    provenance: Provenance,
    rows: ScoreRows,
    hits: Hits | None,
    parts: Path,
    readouts: PassReadouts | None,
) -> "ShardWork":
    """Run the model for the alleles that are no hits, and write all rows.

    Args:
        model: The model.
        interruption: Checked between two calls of the model.
        placed: The windows.
        provenance: The provenance of the scores.
        rows: The rows of scores.
        hits: The scores that are known.
        parts: Folder of the finished parts.
        readouts: What to read out in the same passes, also of the hits; None for the scores alone.

    Raises:
        InputError: Too many scores are not finite, or a file cannot be read or written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    settings, jobs = placed.settings, load_scoring_jobs()
    key = jobs.part_key(settings, provenance.signature, model.loaded.devices)
    if readouts is not None:
        hits = None
        key |= readouts.key()
    if hits is not None:
        key["hits"] = hits.digest_keys()
    store = PartStore(parts, placed.source, key, SUMS.columns)
    store.remove_stale()
    segments = Segments(placed.segments_file)
    pairs = read_pairs(placed.file, segments, STRANDS[settings.scoring.strands], hits)
    most_pairs = None if readouts is None else readouts.most_pairs
    with Progress("score", total=count_tokens(placed.file, hits), unit="tokens") as progress:
        return score_parts(
            slice_parts(pairs, settings.run.part_tokens, most_pairs),
            jobs.PartScorer(model.loaded, settings, interruption),
            store,
            rows,
            progress,
            interruption,
            max_non_finite_share=settings.run.max_non_finite_share,
            readouts=readouts,
        )


def state_work(
    job: ScoringJob, settings: ScoreSettings, done: "ShardWork", out: Path, *, has_readouts: bool
) -> None:
    """Write the JSON file next to scores: the work since the job last wrote one.

    Args:
        job: The job.
        settings: The settings of the scores.
        done: The work.
        out: The scores.
        has_readouts: Whether other read-outs are from the same passes.
    """
    machine: dict[str, Any] = describe_process()
    checked: dict[str, Any] = {}
    if job.model is not None:
        machine = job.model.describe_machine()
        checked = {"canaries": job.model.canaries, "verification": job.model.verification}
    stated: dict[str, Any] = {"step": "score_readouts"} if has_readouts else {}
    wall_s = time.monotonic() - job.since
    statements = ScoreStatements(
        settings=as_json(settings.triggers()),
        scores=done.digest,
        **done.state_hits(),
        **stated,
    )
    ShardRun(
        **done.as_json(wall_s=wall_s, load_s=job.load_s, batch_tokens=settings.run.batch_tokens),
        **checked,
        statements=statements,
        **machine,
    ).write(shard_run_file(out))
    job.since, job.load_s = job.since + wall_s, 0.0
    logger.info(
        "%s, %d of them from an earlier job; %s%.1f s, at most %s MB of memory",
        counted(len(done.parts), "part"),
        done.num_kept,
        "" if done.reused is None else f"{counted(done.reused, 'allele')} from the store; ",
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
        reference_digest=str(placed.get("reference")),
        scoring=asdict(settings.scoring),
        haplotype_of=placed.get("haplotype_of"),
    )
    require_same_signature(windows_file, placed, Path(f"scorings.{settings.name}"), expected)
    for batch in read_rows(windows_file, ["status"]):
        require_unscored(batch.column("status"), windows_file)
    return expected


@dataclass(slots=True)
class ShardWork:
    """The work that was done for a shard.

    Attributes:
        parts: The usage of each part.
        num_kept: Number of parts that an earlier job had finished.
        kept_s: Seconds that earlier jobs took for these parts.
        digest: SHA-256 of the scores file.
        reused: Alleles whose scores are from the store; None without a store.
        reused_devices: How many of these each kind of device has computed.
        hits: The scores of the store that were used; None if none was.
    """

    parts: list[PartUsage] = field(default_factory=list)
    num_kept: int = 0
    kept_s: float = 0.0
    digest: str = ""
    reused: int | None = None
    reused_devices: Mapping[str, int] = field(default_factory=dict)
    hits: Hits | None = None

    def state_hits(self) -> dict[str, Any]:
        """Which scores of the store were used, as ``merge`` compares it."""
        if self.hits is None:
            return {}
        return {"hits": self.hits.digest, "hits_device": self.hits.device}

    def as_json(self, *, wall_s: float, load_s: float, batch_tokens: int) -> dict[str, Any]:
        """Sums over the parts, for the JSON file of the shard.

        Args:
            wall_s: Seconds that this job took.
            load_s: Seconds of these that it took to load the model.
            batch_tokens: The setting. The usage of a part has a smaller number if memory was short.
        """
        reused: dict[str, Any] = {}
        if self.reused is not None:
            reused = {"reused": self.reused, "reused_devices": dict(self.reused_devices)}
        return reused | {
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


def read_part(
    part: Sequence[WindowPair],
    number: int,
    scorer: "PartScorer",
    readouts: PassReadouts,
    missing: Sequence[ReadoutParts[ReadoutFile]],
    progress: Progress,
) -> None:
    """Run a part for read-outs alone, and write its files.

    Args:
        part: The pairs of windows of the part.
        number: Number of the part in its shard.
        scorer: Runs the model.
        readouts: The read-outs of the shard.
        missing: The stores that lack the part.
        progress: Counts the tokens.

    Raises:
        InputError: A file cannot be written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    records, usage = scorer.read(part, progress, choose_readouts(one.file for one in missing))
    readouts.write(missing, number, part, records, usage)


def score_part(
    part: Sequence[WindowPair],
    number: int,
    scorer: "PartScorer",
    readouts: PassReadouts | None,
    missing: Sequence[ReadoutParts[ReadoutFile]],
    progress: Progress,
) -> tuple[list[Score | None], PartUsage]:
    """Score a part, and write its files of read-outs.

    The records of the read-outs are freed with this call, before the next part runs.

    Args:
        part: The pairs of windows of the part.
        number: Number of the part in its shard.
        scorer: Runs the model.
        readouts: The read-outs of the shard; None for the scores alone.
        missing: The stores that lack the part.
        progress: Counts the tokens.

    Returns:
        The scores of the pairs, in order, None if they are not finite; and the usage.

    Raises:
        InputError: A file cannot be written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    asked = [SUMS, *([] if readouts is None else choose_readouts(readouts.files))]
    records, usage = scorer.read(part, progress, asked)
    if readouts is not None:  # before the scores: a part with scores has the read-outs too
        readouts.write(missing, number, part, records, None)
    return records.of(SUMS), usage


def score_parts(
    parts: Iterable[list[WindowPair]],
    scorer: "PartScorer",
    store: PartStore,
    rows: ScoreRows,
    progress: Progress,
    interruption: Interruption,
    *,
    max_non_finite_share: float,
    readouts: PassReadouts | None = None,
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
        readouts: What to read out in the same passes; None for the scores alone.

    Raises:
        InputError: Too many scores are not finite, or a file cannot be written.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    done = ShardWork()
    digests: list[str] = []
    for number, part in enumerate(parts):
        digest = digest_pairs(part)
        kept = store.read(number, digest, len(part))
        missing = [] if readouts is None else readouts.find_missing(number, digest, len(part))
        if readouts is not None and kept is not None and missing:
            read_part(part, number, scorer, readouts, missing, progress)
        if kept is None:
            scores, usage = score_part(part, number, scorer, readouts, missing, progress)
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
