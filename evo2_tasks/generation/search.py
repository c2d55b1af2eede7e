"""Guided search: sample chunks, score the sequences so far, keep the best, and go on.

Each sequence is the result of a search of its own (`SearchSettings`). The searches of a prompt run
together: their candidates share batches, and the state and the keys of what they have in common.
A search with one candidate is plain sampling.

The state of the model is carried from step to step, so no token goes through the model twice. It
can be saved after any step. A search that is restored makes the same calls of the model with the
same numbers as one that was not interrupted, so on the same device it gives the same bytes.

S searches, A letters, B candidates of a batch, n tokens of a chunk.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.generation.draws import draw_uniform
from evo2_tasks.generation.records import Candidate, GeneratedSequence, SearchStep
from evo2_tasks.generation.sampling import Chunk, Predictions, sample_chunk
from evo2_tasks.generation.scorers import WeightedScorer, score_sequences
from evo2_tasks.generation.settings import SearchSettings
from evo2_tasks.generation.states import KeptState, Pick
from evo2_tasks.generation.tensor_files import TensorFile

BOS: Final = bytes([0])
_FORMAT: Final = 1  # of saved states


@dataclass(frozen=True, slots=True)
class _Kept:
    """A kept sequence.

    Attributes:
        candidate: Number of its last candidate; None for the prompt.
        row: Its row of the state of the model.
        bases: The generated bases.
        chunks: Numbers of its candidates, from the first step that not all kept sequences of its
            search may have in common.
        log_prob: Log-probability of its bases, nats.
        scores: Value of each scorer.
        total: Sum of the scores with their weights.
    """

    candidate: int | None
    row: int
    bases: str
    chunks: tuple[int, ...]
    log_prob: float
    scores: tuple[float, ...]
    total: float


@dataclass(frozen=True, slots=True)
class _Next:
    """A candidate of the next step, before it is sampled."""

    search: int
    number: int
    parent: _Kept


class Search:
    """All searches of a prompt, step by step.

    Args:
        model: The model, in eval mode.
        prompt: The prompt, ASCII characters.
        settings: How to search.
        scorers: What guides the search.
        prompt_number: Number of the prompt; the draws depend on it.
        on_tokens: Called after each call of the model with its number of generated tokens.

    Raises:
        ValueError: There is no token to begin with, the prompt is not ASCII, there are candidates
            to choose from and no scorer, or two scorers have one name.
    """

    def __init__(
        self,
        model: Evo2ForCausalLM,
        prompt: str,
        settings: SearchSettings,
        scorers: Sequence[WeightedScorer] = (),
        *,
        prompt_number: int = 0,
        on_tokens: Callable[[int], None] | None = None,
    ) -> None:
        if not prompt.isascii():
            raise ValueError("the prompt has other characters than ASCII.")
        if not prompt and not settings.prepend_bos:
            raise ValueError(
                "the prompt is empty; give at least one base, or set prepend_bos to begin with a "
                "beginning-of-sequence token."
            )
        if settings.num_candidates > 1 and not scorers:
            raise ValueError(
                f"beam_width * samples_per_beam is {settings.num_candidates}, and there is no "
                "scorer to choose among so many candidates; give a scorer, or set both to 1."
            )
        if len({one.name for one in scorers}) < len(scorers):
            raise ValueError("two scorers have one name.")
        self._model = model
        self._prompt = prompt
        self._settings = settings
        self._scorers = tuple(scorers)
        self._prompt_number = prompt_number
        self._on_tokens = on_tokens or (lambda num: None)
        self._next_step = 0
        root = _Kept(None, 0, "", (), 0.0, (), 0.0)
        self._kept: list[list[_Kept]] = [[root] for _ in range(settings.num_sequences)]
        self._ended: dict[int, _Kept] = {}  # the best sequence of a search without a candidate
        self._state: KeptState | None = None

    @property
    def next_step(self) -> int:
        """Number of the next step, 0-based."""
        return self._next_step

    @property
    def is_finished(self) -> bool:
        """Whether there is no further step."""
        return self._next_step == self._settings.num_steps or not any(self._kept)

    def run(self) -> Iterator[SearchStep]:
        """Run all steps that are left."""
        while not self.is_finished:
            yield self.run_step()

    def run_step(self) -> SearchStep:
        """Run the next step.

        Raises:
            ScorerError: A scorer did not give a number for each sequence.
        """
        with torch.inference_mode():
            return self._run_step()

    def _run_step(self) -> SearchStep:
        if self.is_finished:
            raise ValueError("the search is finished.")
        state = self._state = self._state or self._run_prompt()
        step, settings = self._next_step, self._settings
        num = settings.count_bases(step)
        is_last = step == settings.num_steps - 1
        candidates = self._list_candidates()
        batches = [
            candidates[start : start + settings.batch_size]
            for start in range(0, len(candidates), settings.batch_size)
        ]
        forks = [state.fork([one.parent.row for one in batch], num) for batch in batches]
        chunks = [
            self._sample(batch, fork, state.predictions, num, run_last=not is_last)
            for batch, fork in zip(batches, forks, strict=True)
        ]
        sampled = self._choose(self._score(candidates, chunks))
        chosen = [place for place, one in enumerate(sampled) if one.rank is not None]
        chosen.sort(key=lambda place: (sampled[place].sequence, sampled[place].rank))
        self._next_step += 1
        self._keep([(candidates[place].parent, sampled[place]) for place in chosen])
        if chosen and not is_last:
            num_common = min(_count_common(kept) for kept in self._kept if kept)
            state.advance(
                forks,
                [chunk.predictions for chunk in chunks if chunk.predictions is not None],
                [
                    Pick(
                        candidates[place].search,
                        candidates[place].parent.row,
                        *divmod(place, settings.batch_size),
                    )
                    for place in chosen
                ],
                num_tokens=num,
                num_common=num_common * settings.chunk_length,
            )
            self._kept = [
                [replace(one, chunks=one.chunks[num_common:]) for one in kept]
                for kept in self._kept
            ]
        return SearchStep(step, tuple(sampled))

    def _run_prompt(self) -> KeptState:
        bos = BOS if self._settings.prepend_bos else b""
        device = self._model.device
        return KeptState(
            self._model,
            torch.tensor([list(bos + self._prompt.encode("ascii"))], device=device),
            torch.tensor(list(self._settings.sampling.letters.encode("ascii"))),
            num_searches=self._settings.num_sequences,
            length=self._settings.length,
            segment_length=self._settings.segment_length,
        )

    def _list_candidates(self) -> list[_Next]:
        """The candidates of the next step, by search and number."""
        settings = self._settings
        candidates = []
        for search, kept in enumerate(self._kept):
            # All candidates of the first step continue the prompt.
            copies = settings.samples_per_beam if self._next_step else settings.num_candidates
            parents = [one for one in kept for _ in range(copies)]
            candidates += [_Next(search, number, one) for number, one in enumerate(parents)]
        return candidates

    def _sample(
        self, batch: Sequence[_Next], fork: Cache, kept: Predictions, num: int, *, run_last: bool
    ) -> Chunk:
        """Continue the candidates of a batch.

        Args:
            batch: The candidates.
            fork: Their cache.
            kept: What the model predicts after each kept sequence.
            num: Number of bases.
            run_last: Whether the last base goes through the model too.
        """
        return sample_chunk(
            self._model,
            fork,
            kept.select([one.parent.row for one in batch]),
            self._draw(batch, num),
            self._settings.sampling,
            run_last=run_last,
            on_tokens=self._on_tokens,
        )

    def _draw(self, batch: Sequence[_Next], num: int) -> Tensor:
        """The random numbers of the next step. (B, n)."""
        start = self._next_step * self._settings.chunk_length
        rows = [
            draw_uniform(
                self._settings.seed, self._prompt_number, one.search, one.number, start, num
            )
            for one in batch
        ]
        return torch.from_numpy(np.stack(rows))

    def _score(self, candidates: Sequence[_Next], chunks: Sequence[Chunk]) -> list[Candidate]:
        """The candidates with their bases and scores, not yet ranked."""
        alphabet = np.array([*self._settings.sampling.letters])
        letters = torch.cat([chunk.letters for chunk in chunks]).numpy()
        log_probs = [
            math.fsum(row) if all(map(math.isfinite, row)) else math.nan
            for row in torch.cat([chunk.log_probs for chunk in chunks]).tolist()
        ]
        bases = ["".join(alphabet[row]) for row in letters]
        scores = score_sequences(
            self._scorers,
            [one.parent.bases + chunk for one, chunk in zip(candidates, bases, strict=True)],
            self._prompt,
        )
        return [
            Candidate(
                sequence=one.search,
                step=self._next_step,
                candidate=one.number,
                parent=one.parent.candidate,
                start=len(one.parent.bases),
                bases=chunk,
                log_prob=log_prob,
                scores=score.each,
                total=score.total if math.isfinite(log_prob) else -math.inf,
                rank=None,
            )
            for one, chunk, log_prob, score in zip(
                candidates, bases, log_probs, scores, strict=True
            )
        ]

    def _choose(self, sampled: Sequence[Candidate]) -> list[Candidate]:
        """Rank the best candidates of each search; of equal ones the first is better."""
        ordered = sorted(sampled, key=lambda one: (one.sequence, -one.total, one.candidate))
        ranks: dict[tuple[int, int], int] = {}
        for sequence, of_search in groupby(ordered, key=lambda one: one.sequence):
            able = [one for one in of_search if one.total > -math.inf]
            for rank, one in enumerate(able[: self._settings.beam_width]):
                ranks[sequence, one.candidate] = rank
        return [replace(one, rank=ranks.get((one.sequence, one.candidate))) for one in sampled]

    def _keep(self, chosen: Sequence[tuple[_Kept, Candidate]]) -> None:
        """Replace the kept sequences.

        Args:
            chosen: The best candidates by search and rank, and what they continue.
        """
        kept: list[list[_Kept]] = [[] for _ in self._kept]
        for row, (parent, one) in enumerate(chosen):
            kept[one.sequence].append(
                _Kept(
                    candidate=one.candidate,
                    row=row,
                    bases=parent.bases + one.bases,
                    chunks=(*parent.chunks, one.candidate),
                    log_prob=parent.log_prob + one.log_prob,
                    scores=one.scores,
                    total=one.total,
                )
            )
        for search, before in enumerate(self._kept):
            if before and not kept[search]:
                self._ended[search] = before[0]
        self._kept = kept

    def results(self) -> list[GeneratedSequence]:
        """The best sequence of each search so far."""
        results = []
        for search, kept in enumerate(self._kept):
            best = kept[0] if kept else self._ended[search]
            results.append(
                GeneratedSequence(
                    sequence=search,
                    status="generated" if kept else "no_candidate",
                    bases=best.bases,
                    log_prob=best.log_prob,
                    scores=best.scores,
                    total=best.total,
                )
            )
        return results

    def save(self, path: Path) -> None:
        """Write the state after the last step to a file, atomically.

        Args:
            path: The file. It has the kept sequences, and the state of the model after them but for
                the keys and values of the prompt.

        Raises:
            InputError: The file cannot be written.
        """
        if self._state is None or self.is_finished:
            raise ValueError("there is no state to go on from.")
        statement = {
            "format": _FORMAT,
            "search": self._identify(),
            "next_step": self._next_step,
            "kept": [[asdict(one) for one in kept] for kept in self._kept],
            "ended": [[search, asdict(one)] for search, one in self._ended.items()],
        }
        self._state.save(path, statement)

    def restore(self, path: Path) -> None:
        """Go on from a state that `save` wrote. The prompt goes through the model again.

        Args:
            path: The file.

        Raises:
            ValueError: It cannot be read, or is the state of another search.
        """
        with TensorFile(path) as file, torch.inference_mode():
            stated = file.statement
            if stated.get("format") != _FORMAT or stated.get("search") != self._identify():
                raise ValueError(f"{path}: is the state of another search.")
            state = self._run_prompt()
            state.restore(file, stated)
            self._state = state
            self._next_step = stated["next_step"]
            self._kept = [[_read_kept(one) for one in kept] for kept in stated["kept"]]
            self._ended = {search: _read_kept(one) for search, one in stated["ended"]}

    def _identify(self) -> str:
        """SHA-256 of what shapes the search, but for the weights and the scorers themselves."""
        text = json.dumps(
            {
                "model": self._model.config.to_dict(),
                "dtype": str(self._model.dtype),
                "prompt": self._prompt,
                "prompt_number": self._prompt_number,
                "settings": asdict(self._settings),
                "scorers": [[one.name, one.weight] for one in self._scorers],
            },
            sort_keys=True,
            default=str,
        )
        return hashlib.sha256(text.encode()).hexdigest()


def _count_common(kept: Sequence[_Kept]) -> int:
    """Number of first chunks that all kept sequences of a search have in common."""
    same = [len(set(numbers)) == 1 for numbers in zip(*(one.chunks for one in kept), strict=True)]
    return sum(same)  # sequences that have a chunk in common have those before it in common too


def _read_kept(stated: dict[str, Any]) -> _Kept:
    return _Kept(**{**stated, "chunks": tuple(stated["chunks"]), "scores": tuple(stated["scores"])})
