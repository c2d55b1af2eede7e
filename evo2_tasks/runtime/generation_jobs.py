"""A job that generates sequences: its scorers, and the search of each prompt step by step."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from evo2_tasks.config.generations import GenerateSettings, ScorerSettings
from evo2_tasks.errors import InputError
from evo2_tasks.generation.functions import load_function
from evo2_tasks.generation.likelihood import Likelihood
from evo2_tasks.generation.scorers import ScorerError, WeightedScorer
from evo2_tasks.generation.search import Search
from evo2_tasks.generation.sequence_scorers import BUILT_IN
from evo2_tasks.generation.settings import SamplingSettings, SearchSettings
from evo2_tasks.genome.prompts import Prompt
from evo2_tasks.io.imports import allow_pandas
from evo2_tasks.io.interruption import Interrupted, Interruption
from evo2_tasks.io.progress import Progress
from evo2_tasks.runtime.devices import describe_devices
from evo2_tasks.runtime.models import LoadedModel, open_model
from evo2_tasks.table.documents import PartUsage
from evo2_tasks.table.generation_parts import PromptStore, Row

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_SAVES: Final = 20.0
"""Least time between two saved states of a search."""

SAVE_SHARE: Final = 20
"""A search runs at least so many times as long as saving its state takes."""


@dataclass(frozen=True, slots=True)
class OpenScorers:
    """The scorers of a search.

    Attributes:
        scorers: The scorers.
        functions: SHA-256 of the Python file of each function of the user's own, by its name.
        models: SHA-256 of the weights of the second models, by their names.
    """

    scorers: list[WeightedScorer] = field(default_factory=list)
    functions: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)


def open_scorers(settings: GenerateSettings, loaded: LoadedModel) -> OpenScorers:
    """Make the scorers of a search: import functions, and open second models.

    Args:
        settings: The generation.
        loaded: Its model, which a scorer may use too.

    Raises:
        InputError: A scorer cannot be made.
    """
    opened = OpenScorers()
    models = {settings.model.name: loaded}
    for one in settings.scorers:
        try:
            if one.model is not None:
                if one.model.name not in models:
                    models[one.model.name] = open_model(one.model, settings.run.model_cache)
                second = models[one.model.name]
                opened.models[one.model.name] = second.weights_digest
                scorer: Any = Likelihood(second.model, batch_tokens=settings.run.batch_tokens)
            else:
                scorer = _make_scorer(one, opened)
            opened.scorers.append(WeightedScorer(one.name, scorer, one.weight))
        except ValueError as error:
            raise InputError(f"{one.where}: {error}") from error
    return opened


def _make_scorer(one: ScorerSettings, opened: OpenScorers) -> Any:
    """A scorer without a model.

    Raises:
        ValueError: There is no such function, or a setting has no meaning.
    """
    for key in ("function", "predictor"):
        if key in one.keys:
            allow_pandas()
            function = load_function(one.keys[key], Path.cwd())
            opened.functions[function.name] = function.digest
            if key == "function":
                return function.function
    of_folder = {"folder": Path.cwd()} if "predictor" in one.keys else {}
    return BUILT_IN[one.kind](**one.keys, **of_folder)


def make_search_settings(settings: GenerateSettings) -> SearchSettings:
    """The settings of the search of each prompt.

    Raises:
        InputError: A setting has no meaning.
    """
    try:
        return SearchSettings(
            length=settings.length,
            num_sequences=settings.num_sequences,
            seed=settings.seed,
            chunk_length=settings.chunk_length,
            beam_width=settings.beam_width,
            samples_per_beam=settings.samples_per_beam,
            sampling=SamplingSettings(
                temperature=settings.temperature, top_k=settings.top_k, top_p=settings.top_p
            ),
            batch_size=settings.batch_size,
            segment_length=settings.run.segment_length,
        )
    except ValueError as error:
        raise InputError(f"{settings.name}: {error}") from error


class PromptRunner:
    """Runs the searches of the prompts of a shard, and keeps what is finished.

    Args:
        loaded: The model.
        settings: The generation.
        scorers: What guides the searches.
        store: Keeps finished prompts and steps.
        interruption: Checked after each step.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        settings: GenerateSettings,
        scorers: Sequence[WeightedScorer],
        store: PromptStore,
        interruption: Interruption,
    ) -> None:
        self._loaded = loaded
        self._settings = settings
        self._search = make_search_settings(settings)
        self._scorers = scorers
        self._store = store
        self._interruption = interruption

    def run(self, prompt: Prompt, progress: Progress) -> PartUsage:
        """Generate the sequences of a prompt, and write its results to the store.

        Args:
            prompt: The prompt.
            progress: Counts the generated bases of all candidates.

        Returns:
            The work.

        Raises:
            InputError: A scorer failed, the device has too little memory, or a file cannot be
                written.
            Interrupted: The process received a signal to stop. The steps so far are kept.
        """
        started = time.monotonic()
        tokens = 0

        def count_tokens(number: int) -> None:
            nonlocal tokens
            tokens += number

        try:
            search = self._begin(prompt, count_tokens)
            firsts = self._run_steps(prompt, search, progress)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"{self._settings.model.where}: {self._settings.batch_size} candidates after a "
                f"prompt of {prompt.length:,} letters do not fit into the memory of "
                f"{describe_devices(self._loaded.devices)}. Set a smaller batch_size, "
                "beam_width or num_sequences, or ask for a device with more memory."
            ) from error
        except ScorerError as error:
            raise InputError(f"{self._settings.name}: {error}") from error
        usage = PartUsage(
            alleles_tried=self._settings.num_sequences,
            tokens=self._settings.num_sequences * self._settings.length,
            windows_run=self._settings.num_sequences * self._search.num_candidates,
            tokens_run=tokens,
            wall_s=time.monotonic() - started,
            batch_tokens=self._settings.batch_size,
        )
        no_bases = (None,) * (3 + len(self._scorers))  # if the first step had no candidate to keep
        rows = [
            (
                prompt.record, prompt.prompt, one.sequence, one.status, None, prompt.length,
                len(one.bases),
                *((one.bases, _finite(one.log_prob), one.total, *one.scores)
                  if one.bases else no_bases),
            )
            for one in search.results()
        ]  # fmt: skip
        self._store.finish(prompt.record, firsts, rows, usage)
        return usage

    def _begin(self, prompt: Prompt, on_tokens: Callable[[int], None]) -> Search:
        """The search of a prompt, with the last saved state if there is one."""
        state = self._store.state(prompt.record)

        def make() -> Search:
            return Search(
                self._loaded.model,
                prompt.text or "",
                self._search,
                self._scorers,
                prompt_number=prompt.record,
                on_tokens=on_tokens,
            )

        search = make()
        if state.exists():
            try:
                search.restore(state)
            except ValueError as error:
                logger.warning("prompt %d begins again: %s", prompt.record, error)
                search = make()
        # Steps that an earlier job wrote after its last saved state are computed again.
        self._store.remove_steps(prompt.record, search.next_step)
        return search

    def _run_steps(self, prompt: Prompt, search: Search, progress: Progress) -> list[int]:
        """Run the steps that are left; gives the first steps of the files of all steps."""
        record, of_step = prompt.record, self._settings.num_sequences * self._search.num_candidates
        firsts = self._store.list_steps(record)
        done = sum(map(self._search.count_bases, range(search.next_step)))
        progress.skip(of_step * done)
        first, rows = search.next_step, list[Row]()
        saved, save_s = time.monotonic(), 0.0
        while not search.is_finished:
            step = search.run_step()
            rows += [
                (
                    record, prompt.prompt, one.sequence, one.step, one.candidate, one.parent,
                    one.start, one.bases, _finite(one.log_prob), one.total, one.chosen, one.rank,
                    *one.scores,
                )
                for one in step.candidates
            ]  # fmt: skip
            progress.add(of_step * self._search.count_bases(step.step))
            stop = False
            try:
                self._interruption.check()
            except Interrupted:
                stop = True
            is_time = time.monotonic() - saved >= max(SECONDS_BETWEEN_SAVES, SAVE_SHARE * save_s)
            if (stop or is_time) and not search.is_finished:
                begun = time.monotonic()
                self._store.write_steps(record, first, rows)
                search.save(self._store.state(record))
                firsts.append(first)
                first, rows = search.next_step, []
                saved = time.monotonic()
                save_s = saved - begun
                if stop:
                    self._interruption.check()
        if rows:
            self._store.write_steps(record, first, rows)
            firsts.append(first)
        return firsts


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
