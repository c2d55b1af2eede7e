"""The step ``generate_sequences``: the sequences that continue the prompts of a shard."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo2_tasks.config.generations import GenerateSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.prompts import TO_GENERATE, Prompt
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.interruption import Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import (
    PROMPT_COUNTS,
    parse_shard_name,
    shard_file,
    shard_run_file,
    steps_file,
)
from evo2_tasks.steps.score import ShardWork
from evo2_tasks.table.documents import ScoreStatements
from evo2_tasks.table.generation_documents import GeneratedRun, PromptCounts
from evo2_tasks.table.generation_parts import PromptStore
from evo2_tasks.table.generation_schema import (
    GENERATION_VERSION,
    PROMPT_COLUMNS,
    results_schema,
    steps_schema,
)
from evo2_tasks.table.parquet import RowBuffer, TableWriter, read_rows, write_table
from evo2_tasks.table.parts import parts_folder
from evo2_tasks.table.provenance import (
    PREFIX,
    Provenance,
    as_json,
    package_version,
    require_settings,
    require_source,
)

if TYPE_CHECKING:
    from evo2_tasks.runtime.scoring_jobs import ScoringModel

logger = logging.getLogger(__name__)


def generate_sequences(
    settings: GenerateSettings, *, prompts: Path, out: Path, threads: int | None
) -> None:
    """Generate the sequences of the prompts of a shard.

    Finished prompts and steps are kept in a folder next to the table until ``merge_generation`` has
    written the tables of all shards. A job that was killed continues from these.

    Args:
        settings: The model and the search.
        prompts: The prompts of all shards, from ``read_prompts``.
        out: The table of the shard, named after the shard, with a row for each sequence of each of
            its prompts. The file of the steps and a JSON file are written next to it.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: The prompts cannot be read, a scorer cannot be used, or the model cannot run
            with these settings.
        Interrupted: The process received a signal to stop. Finished work is kept.
    """
    started = time.monotonic()
    files = SourceFiles()
    source = files.add(prompts)
    counts = PromptCounts.read(prompts.with_name(PROMPT_COUNTS))
    require_source(prompts, source, "the prompts", counts.prompts_digest)
    require_settings(prompts, counts.settings, settings.prompts.triggers(), "read_prompts")
    rows = find_rows(out, counts.prompts)
    to_do = sum(one.status == TO_GENERATE for one in read_shard(prompts, rows))
    scorers = [one.name for one in settings.scorers]
    with Interruption() as interruption:
        job = _Job(settings, source, out, threads, interruption) if to_do else None
        done = ShardWork() if job is None else job.run(_list_to_do(prompts, rows), to_do)
        stated = {f"{PREFIX}source": source} if job is None else job.provenance.metadata()
        with (
            write_table(out, results_schema(scorers), metadata=stated) as results,
            write_table(steps_file(out), steps_schema(scorers), metadata=stated) as steps,
        ):
            for prompt in read_shard(prompts, rows):
                if prompt.status != TO_GENERATE:
                    _write_refused(prompt, settings, results)
                elif job is not None:
                    for batch in job.store.read_results(prompt.record):
                        results.write(batch)
                    for batch in job.store.read_steps(prompt.record):
                        steps.write(batch)
            files.require_unchanged()
            done.digest = results.digest()
            steps_digest = steps.digest()
        _state(settings, job, done, out, steps_digest, wall_s=time.monotonic() - started)


def find_rows(out: Path, num_prompts: int) -> range:
    """The prompts of a shard: shards are slices of all prompts, as equal as possible.

    Args:
        out: A file that is named after the shard: ``3-of-16.parquet``.
        num_prompts: Number of all prompts.

    Raises:
        InputError: The file is not named after a shard.
    """
    shard = parse_shard_name(out.stem)
    if shard is None or not 1 <= shard[0] <= shard[1]:
        raise InputError(
            f"--out: {shown_path(out)}: expected the name of a shard, for example "
            f"{shard_file(1, 1)}."
        )
    number, of = shard
    return range(num_prompts * (number - 1) // of, num_prompts * number // of)


def read_shard(prompts: Path, rows: range) -> Iterator[Prompt]:
    """The prompts of a shard.

    Args:
        prompts: The prompts of all shards.
        rows: Numbers of the rows of the shard.

    Raises:
        InputError: The file cannot be read.
    """
    row = 0
    for batch in read_rows(prompts, [one.name for one in PROMPT_COLUMNS]):
        if row < rows.stop and row + batch.num_rows > rows.start:
            first = max(0, rows.start - row)
            part = batch.slice(first, min(batch.num_rows, rows.stop - row) - first)
            columns = [column.to_pylist() for column in part.columns]
            yield from (Prompt(*values) for values in zip(*columns, strict=True))
        row += batch.num_rows


def _list_to_do(prompts: Path, rows: range) -> Iterator[Prompt]:
    """The prompts of a shard that are continued."""
    return (one for one in read_shard(prompts, rows) if one.status == TO_GENERATE)


class _Job:
    """The model, the scorers and the finished work of a shard that has prompts to continue."""

    def __init__(
        self,
        settings: GenerateSettings,
        source: str,
        out: Path,
        threads: int | None,
        interruption: Interruption,
    ) -> None:
        jobs = import_module("evo2_tasks.runtime.generation_jobs")  # imports torch
        scoring = import_module("evo2_tasks.runtime.scoring_jobs")
        self.model: ScoringModel = scoring.open_scoring_model(settings, threads)
        self.opened = jobs.open_scorers(settings, self.model.loaded)
        signature: dict[str, Any] = {
            "generation_version": GENERATION_VERSION,
            "search": as_json(settings.search),
            "weights": self.model.loaded.weights_digest,
            "dtype": self.model.loaded.dtype,
            "fp8": self.model.loaded.fp8,
            "functions": self.opened.functions,
            "models": self.opened.models,
        }
        self.provenance = Provenance(
            signature, package_version(), model=settings.model.name, source=source
        )
        key = scoring.part_key(settings, signature, self.model.loaded.devices)
        self.store = PromptStore(
            parts_folder(out),
            {**key, "prompts": source},
            [one.name for one in settings.scorers],
        )
        self.store.remove_stale()
        self._interruption = interruption
        self._settings = settings
        self._runner = jobs.PromptRunner(
            self.model.loaded, settings, self.opened.scorers, self.store, interruption
        )

    def run(self, prompts: Iterable[Prompt], num_prompts: int) -> ShardWork:
        """Run the searches of the prompts that no earlier job has finished.

        Args:
            prompts: The prompts to continue.
            num_prompts: Their number.

        Raises:
            InputError: See :class:`PromptRunner`.
            Interrupted: The process received a signal to stop.
        """
        done = ShardWork()
        settings = self._settings
        width = settings.beam_width * settings.samples_per_beam
        of_prompt = settings.num_sequences * width * settings.length
        total = num_prompts * of_prompt
        with Progress("generate_sequences", total=total, unit="bases") as progress:
            for prompt in prompts:
                usage = self.store.read_usage(prompt.record)
                if usage is None:
                    usage = self._runner.run(prompt, progress)
                    self._interruption.check()
                else:
                    done.num_kept += 1
                    done.kept_s += usage.wall_s
                    progress.skip(of_prompt)
                done.parts.append(usage)
        return done


def _write_refused(prompt: Prompt, settings: GenerateSettings, results: TableWriter) -> None:
    """The rows of a prompt that is not continued: one for each sequence that it should have had."""
    buffer = RowBuffer(results, results.schema.names)
    for sequence in range(settings.num_sequences):
        scores = [None] * len(settings.scorers)
        buffer.add(
            prompt.record, prompt.prompt, sequence, prompt.status, prompt.reason, prompt.length,
            0, None, None, None, *scores,
        )  # fmt: skip
    buffer.flush()


def _state(
    settings: GenerateSettings,
    job: _Job | None,
    done: ShardWork,
    out: Path,
    steps_digest: str,
    *,
    wall_s: float,
) -> None:
    """Write the JSON file next to the table of a shard."""
    of_model: dict[str, Any] = {}
    if job is not None:
        of_model = {
            **job.model.describe_machine(),
            "canaries": job.model.canaries,
            "verification": job.model.verification,
            "functions": job.opened.functions,
            "models": job.opened.models,
        }
    load_s = 0.0 if job is None else job.model.loaded.load_s
    work: Mapping[str, Any] = done.as_json(
        wall_s=wall_s, load_s=load_s, batch_tokens=settings.batch_size
    )
    GeneratedRun(
        **work,
        **of_model,
        steps=steps_digest,
        statements=ScoreStatements(settings=as_json(settings.triggers()), scores=done.digest),
    ).write(shard_run_file(out))
    logger.info(
        "%s, %d of them from an earlier job; %.1f s",
        counted(len(done.parts), "prompt"), done.num_kept, wall_s,
    )  # fmt: skip
