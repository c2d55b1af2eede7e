"""Which tokens to run: each reference window once, each alternate window from its fork on.

The two windows of an allele have the same tokens before the first difference. So the reference
window is run once, as a *trunk*. Where an alternate window leaves it, the state of the model is
forked, and the rest of the alternate window is run from there, as a *branch*. All alleles of one
reference window share its trunk.

Cost model, in tokens. A trunk of n tokens costs n. A branch that forks at f costs n - f. Each place
where a state is forked costs `FORK_TOKENS` more, for two more calls of the model and copies of its
state. Alleles that are close together fork at the place of the first one, and each later one runs
as many more tokens as it is behind the first. A new fork pays off once these extra tokens together
exceed its cost. For alleles at even distances this is the cheapest choice. Trunks of one length
with one fork each go through the model together, under the same rule.

Memory: at any time there is one state of the trunks and one of the branches. No call has more
tokens than the budget, padding included. What the trunks of a pass keep until their fork is at most
half of the budget. A single row may be longer than the budget.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

FORK_TOKENS = 512

Window = TypeVar("Window", bound=Hashable)
"""The identity of a window: its tokens, or for planning alone its place and its edits."""
AnyWindow_co = TypeVar("AnyWindow_co", bound=Hashable, covariant=True)


class Pair(Protocol[AnyWindow_co]):
    """The reference and the alternate window of an allele on a strand, as planning sees them."""

    @property
    def ref(self) -> AnyWindow_co:
        """The reference window, or a longer one that begins with it."""

    @property
    def alt(self) -> AnyWindow_co:
        """The alternate window."""

    @property
    def ref_length(self) -> int:
        """Number of tokens of ``ref``. For equal ``ref`` of several pairs, the largest counts."""

    @property
    def alt_length(self) -> int:
        """Number of tokens of ``alt``."""

    @property
    def fork(self) -> int:
        """Number of tokens that are not run again for ``alt``: all before the last common one."""


class Row(NamedTuple, Generic[Window]):
    """A row of a call: a window from the fork on.

    Attributes:
        trunk: Index of its trunk in the pass.
        window: Its window, which may be the trunk itself.
        length: Number of tokens from the fork on.
    """

    trunk: int
    window: Window
    length: int


@dataclass(frozen=True, slots=True)
class Fork(Generic[Window]):
    """A place where branches leave the trunks.

    Attributes:
        offset: Number of tokens of the trunks before it.
        calls: The rows of each call of the model.
    """

    offset: int
    calls: tuple[tuple[Row[Window], ...], ...]


@dataclass(frozen=True, slots=True)
class Pass(Generic[Window]):
    """Trunks of equal length that go through the model together, with all their branches.

    Attributes:
        trunks: Reference windows.
        forks: The forks, sorted by offset. The rest of each trunk is a row of the last fork.
    """

    trunks: tuple[Window, ...]
    forks: tuple[Fork[Window], ...]

    @property
    def num_windows(self) -> int:
        """Number of windows that are run."""
        return sum(len(call) for fork in self.forks for call in fork.calls)

    @property
    def num_tokens(self) -> int:
        """Number of tokens to run, without padding."""
        rows = sum(row.length for fork in self.forks for call in fork.calls for row in call)
        return len(self.trunks) * self.forks[-1].offset + rows

    @property
    def largest_batch(self) -> int:
        """Tokens of the largest call with several rows, padding included; 0 if all have one row."""
        return max((rows * length for rows, length in self._calls() if rows > 1), default=0)

    @property
    def longest_row(self) -> int:
        """Number of tokens of the longest row of a call."""
        return max(length for _, length in self._calls())

    def _calls(self) -> Iterator[tuple[int, int]]:
        """The number of rows and their length, for each call."""
        start = 0
        for fork in self.forks:
            if fork.offset > start:
                yield len(self.trunks), fork.offset - start
            start = fork.offset
            for call in fork.calls:
                yield len(call), max(row.length for row in call)


class _Branch(NamedTuple, Generic[Window]):
    window: Window
    fork: int
    length: int


@dataclass(slots=True)
class _Trunk(Generic[Window]):
    """A reference window with its branches, grouped by the place of their fork."""

    window: Window
    length: int
    groups: list[list[_Branch[Window]]]

    @property
    def offset(self) -> int:
        """The place where the first group forks."""
        return self.groups[0][0].fork if self.groups else 0

    @property
    def num_branches(self) -> int:
        return sum(map(len, self.groups))


def plan_passes(pairs: Iterable[Pair[Window]], batch_tokens: int) -> list[Pass[Window]]:
    """Plan the cheapest way to run all windows of some pairs, each once.

    Args:
        pairs: The pairs to score.
        batch_tokens: Budget of tokens of a call, padding included. A longer row has a call of its
            own.

    Returns:
        The passes. They depend on the pairs, their order and the budget alone. Together they never
        have more tokens than all distinct windows.
    """
    passes: list[Pass[Window]] = []
    alike: list[_Trunk[Window]] = []
    for trunk in _find_trunks(pairs):
        if len(trunk.groups) > 1:
            passes.append(_make_pass([trunk], batch_tokens))
        else:
            alike.append(trunk)
    alike.sort(key=lambda trunk: (trunk.length, trunk.offset))
    passes += (_make_pass(together, batch_tokens) for together in _batch(alike, batch_tokens))
    return passes


def _find_trunks(pairs: Iterable[Pair[Window]]) -> list[_Trunk[Window]]:
    """The distinct reference windows, each with the alternate windows first found with it."""
    pairs = list(pairs)
    lengths: dict[Window, int] = {}
    for pair in pairs:
        lengths[pair.ref] = max(pair.ref_length, lengths.get(pair.ref, 0))
    branches: dict[Window, dict[Window, _Branch[Window]]] = {window: {} for window in lengths}
    seen = set(lengths)  # an alternate window that is also a reference window is a trunk
    for pair in pairs:
        if pair.alt not in seen:
            seen.add(pair.alt)
            branches[pair.ref][pair.alt] = _Branch(pair.alt, pair.fork, pair.alt_length)
    return [
        _Trunk(window, lengths[window], _group(of_trunk.values()))
        for window, of_trunk in branches.items()
    ]


def _group(branches: Iterable[_Branch[Window]]) -> list[list[_Branch[Window]]]:
    """Group the branches that share a fork."""
    groups: list[list[_Branch[Window]]] = []
    num_extra = 0
    for branch in sorted(branches, key=lambda branch: branch.fork):
        extra = branch.fork - groups[-1][0].fork if groups else 0
        if not groups or num_extra + extra > FORK_TOKENS:
            groups.append([])
            num_extra = extra = 0
        groups[-1].append(branch)
        num_extra += extra
    return groups


def _batch(trunks: Sequence[_Trunk[Window]], batch_tokens: int) -> Iterator[list[_Trunk[Window]]]:
    """Group trunks that fork at one place. They are sorted by length and fork."""
    together: list[_Trunk[Window]] = []
    num_rows = num_extra = 0
    for trunk in trunks:
        rows = 1 + trunk.num_branches
        if together:
            first = together[0]
            extra = (trunk.offset - first.offset) * trunk.num_branches
            if (
                trunk.length != first.length
                or num_extra + extra > FORK_TOKENS
                or (num_rows + rows) * (first.length - first.offset) > batch_tokens
                or (len(together) + 1) * first.offset > batch_tokens // 2
            ):
                yield together
                together, num_rows, num_extra = [], 0, 0
            else:
                num_extra += extra
        together.append(trunk)
        num_rows += rows
    if together:
        yield together


def _make_pass(trunks: Sequence[_Trunk[Window]], batch_tokens: int) -> Pass[Window]:
    """A pass of several trunks with at most one fork, or of one trunk with any number of forks."""
    offsets = [group[0].fork for group in trunks[0].groups] or [0]
    forks = []
    for number, offset in enumerate(offsets):
        rows: list[Row[Window]] = []
        for index, trunk in enumerate(trunks):
            if number == len(offsets) - 1:
                rows.append(Row(index, trunk.window, trunk.length - offset))
            rows += (
                Row(index, branch.window, branch.length - offset)
                for group in trunk.groups[number : number + 1]
                for branch in group
            )
        forks.append(Fork(offset, tuple(_cut_calls(rows, batch_tokens))))
    return Pass(tuple(trunk.window for trunk in trunks), tuple(forks))


def _cut_calls(rows: Sequence[Row[Window]], batch_tokens: int) -> Iterator[tuple[Row[Window], ...]]:
    """Divide the rows of a fork into calls within the budget, the shortest rows first."""
    call: list[Row[Window]] = []
    for row in sorted(rows, key=lambda row: row.length):
        if call and (len(call) + 1) * row.length > batch_tokens:
            yield tuple(call)
            call = []
        call.append(row)
    if call:
        yield tuple(call)
