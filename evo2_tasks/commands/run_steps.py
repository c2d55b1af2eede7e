"""The steps of one variant set and one scoring, one after the other in this process.

``STEPS`` lists them in the order in which they run. A test compares it with the rules of the
workflow. The steps, their settings and the names of their files are those of the workflow.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evo2_tasks.config.resolve import (
    ScoreSettings,
    checkpoint_files,
    resolve_annotate,
    resolve_carry,
    resolve_merge,
    resolve_score,
    resolve_split,
    resolve_windows,
)
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.config.single import VARIANT_SET
from evo2_tasks.errors import InputError
from evo2_tasks.hub import parse_hub_name
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import writing
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.layout import (
    ANNOTATIONS,
    CARRIED,
    MODELS,
    RUN,
    SCORES,
    SHARDS,
    SPLIT,
    TABLE,
    WINDOWS,
    segments_file,
    shard_file,
    shard_run_file,
)
from evo2_tasks.steps.annotate import annotate
from evo2_tasks.steps.carry import carry
from evo2_tasks.steps.merge import merge
from evo2_tasks.steps.score import ScoringJob, open_windows, score, write_scores
from evo2_tasks.steps.split import split
from evo2_tasks.steps.windows import windows
from evo2_tasks.table.documents import ShardRun
from evo2_tasks.table.parts import parts_folder
from evo2_tasks.table.provenance import as_json, read_provenance

if TYPE_CHECKING:
    from evo2_tasks.runtime.scoring_jobs import ScoringModel

logger = logging.getLogger(__name__)

SHARD: Final = shard_file(1, 1)
WRITERS: Final = "`evo2-tasks run` or `score_variants`"
"""What writes to a folder of results, for messages."""


@dataclass(frozen=True, slots=True)
class OneScoring:
    """One scoring of one variant set, with one shard.

    Attributes:
        config: The config.
        model: Name of the model.
        scoring: Name of the scoring.
        threads: CPU threads of the model; None leaves the choice to torch.
        open_model: Gives the model. Signals then end the work at once, as they end any Python code.
            None: the step ``score`` opens it, and after a signal it stops where nothing is lost.
        is_in_memory: Whether the caller had the model in memory, so that there is no checkpoint.
    """

    config: RunConfig
    model: str
    scoring: str
    threads: int | None
    open_model: "Callable[[ScoreSettings], ScoringModel] | None" = None
    is_in_memory: bool = False

    @property
    def of_set(self) -> Path:
        """Folder of the variant set."""
        return self.config.output / VARIANT_SET

    @property
    def of_scoring(self) -> Path:
        """Folder of the scoring."""
        return self.of_set / self.scoring

    @property
    def table(self) -> Path:
        """The table."""
        return self.of_scoring / TABLE

    @property
    def windows(self) -> Path:
        """The windows of the shard."""
        return self.of_scoring / WINDOWS / SHARD

    @property
    def scores(self) -> Path:
        """The scores of the shard."""
        return self.of_scoring / SCORES / SHARD

    @property
    def score_settings(self) -> ScoreSettings:
        """What ``score`` needs."""
        return resolve_score(self.config, self.scoring)


def run_steps(run: OneScoring) -> Path:
    """Run the steps up to the table. Finished scores and finished parts are kept.

    The steps that need no model always run: they write the same bytes from the same input.

    Args:
        run: What to run.

    Returns:
        The table.

    Raises:
        InputError: See the steps.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    for step in STEPS.values():
        step(run)
    return run.table


def _fetch(run: OneScoring) -> None:
    """Get the model, if it is on a hub."""
    checkpoint = run.config.models[run.model].checkpoint
    if run.open_model is None and parse_hub_name(checkpoint) is not None:
        fetch = import_module("evo2_tasks.steps.fetch").fetch  # imports the hub's client
        fetch(str(checkpoint), out=run.config.output / MODELS / f"{run.model}.json")


def _split(run: OneScoring) -> None:
    split(resolve_split(run.config, VARIANT_SET), variants=None, out=run.of_set / SHARDS)


def _carry(run: OneScoring) -> None:
    settings = resolve_carry(run.config, VARIANT_SET)
    if settings.carried:
        carry(settings, variants=None, out=run.of_set / CARRIED)


def _annotate(run: OneScoring) -> None:
    settings = resolve_annotate(run.config, VARIANT_SET)
    if settings.columns:
        annotate(settings, variants=None, out=run.of_set / ANNOTATIONS)


def _windows(run: OneScoring) -> None:
    windows(
        resolve_windows(run.config, VARIANT_SET, run.scoring),
        shard=run.of_set / SHARDS / SHARD,
        split_file=run.of_set / SHARDS / SPLIT,
        out=run.windows,
        segments_file=segments_file(run.windows),
    )


def _score(run: OneScoring) -> None:
    if has_scores(run):
        logger.info("%s: finished by an earlier run; kept", run.scores)
        for path in (run.scores, shard_run_file(run.scores)):
            with writing(path):
                os.utime(path)  # they are as new as the windows, for Snakemake
        return
    if run.open_model is not None:
        _score_with(run, run.open_model)
        return
    score(
        run.score_settings,
        windows_file=run.windows,
        segments_file=segments_file(run.windows),
        out=run.scores,
        threads=run.threads,
    )


def _score_with(run: OneScoring, open_model: "Callable[[ScoreSettings], ScoringModel]") -> None:
    """Score with a model that the caller gives."""
    started, settings = time.monotonic(), run.score_settings
    placed = open_windows(settings, run.windows, segments_file(run.windows))
    model = open_model(settings)
    # Not entered, so that it handles no signal: the process is not ours.
    job = ScoringJob(model, Interruption(), started, model.loaded.load_s)
    write_scores(job, placed, run.scores, parts=parts_folder(run.scores))


def _merge(run: OneScoring) -> None:
    joined = {
        ANNOTATIONS: resolve_annotate(run.config, VARIANT_SET).columns,
        CARRIED: resolve_carry(run.config, VARIANT_SET).carried,
    }
    merge(
        resolve_merge(run.config, VARIANT_SET, run.scoring),
        split_file=run.of_set / SHARDS / SPLIT,
        windows_folder=run.windows.parent,
        scores_folder=run.scores.parent,
        out=run.table,
        run_json=run.of_scoring / RUN,
        joined=[run.of_set / file for file, columns in joined.items() if columns],
    )


STEPS: Final[Mapping[str, Callable[[OneScoring], None]]] = {
    "fetch": _fetch,
    "split": _split,
    "carry": _carry,
    "annotate": _annotate,
    "windows": _windows,
    "score": _score,
    "merge": _merge,
}
"""The steps up to the table, by name, in the order in which they run."""


def has_scores(run: OneScoring) -> bool:
    """Whether the shard is scored: from these windows, with these settings and this checkpoint.

    Args:
        run: What to run. Its windows are placed.
    """
    run_file = shard_run_file(run.scores)
    if not (run.scores.exists() and run_file.exists()):
        return False
    settings = run.score_settings
    try:
        source, stated = read_provenance(run.scores).source, ShardRun.read(run_file).statements
    except InputError as error:
        logger.warning("the shard is scored again: %s", error)
        return False
    finished = changed_at(run.scores)
    files = [] if run.is_in_memory else checkpoint_files(settings.model)
    if files:
        files.append(settings.model.checkpoint)
    return (
        stated is not None
        and stated.scores == digest_file(run.scores)
        and dict(stated.settings) == as_json(settings.triggers())
        and source == digest_file(run.windows)
        and all(changed_at(file) <= finished for file in files)
    )


def changed_at(path: Path) -> int:
    """When a file or folder was written or got its place, in nanoseconds since 1970.

    A copy may keep the time of its original, and a file keeps its time when it is renamed. The file
    system notes the time of both.

    Args:
        path: The file or folder; of a link, the later time of the two counts.
    """
    states = path.stat(), path.lstat()
    return max(states[0].st_mtime_ns, *(state.st_ctime_ns for state in states))
