"""Sums of the outputs of layers over ranges of tokens, made on the device while the model runs.

The outputs themselves are not kept. A range of a window may be in several calls of the model: in
its trunk, before and after a fork, and in several segments. Each call gives a part of the sum.

B batch, L tokens, D channels of the layer's output, N sums.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.embeddings import Range
from evo2_tasks.scoring.layers import module_path
from evo2_tasks.scoring.passes import Pass, Row

ELEMENTS_AT_ONCE = 2**22  # 16 MB in float32: outputs that are copied and summed in one step

Wanted = Mapping[bytes, Sequence[Range]]
"""The ranges of each window whose sums are wanted."""


class Span(NamedTuple):
    """Tokens of one row of a call, which belong to one sum.

    Attributes:
        row: Row of the call.
        start: First token of the row, 0-based.
        end: Last token plus one.
        place: Number of the sum in its pass.
    """

    row: int
    start: int
    end: int
    place: int


class LayerSums:
    """The sums of all layers over the ranges of windows."""

    def __init__(self) -> None:
        self._places: dict[tuple[bytes, Range], tuple[Mapping[str, NDArray[np.float32]], int]] = {}

    def add(self, other: "LayerSums") -> None:
        """Add the sums of other windows."""
        self._places.update(other._places)

    def add_pass(self, other: "PassSums") -> None:
        """Add the sums of a pass."""
        for place, key in enumerate(other.keys):
            self._places[key] = other.totals, place

    def of(
        self, window: bytes, ranges: Sequence[Range]
    ) -> dict[Range, dict[str, NDArray[np.float32]]]:
        """The sums over some ranges of a window, by layer. (D,).

        Raises:
            KeyError: A range was not asked for, or the window has not been run.
        """
        found = {}
        for one in ranges:
            totals, place = self._places[window, one]
            found[one] = {layer: values[place] for layer, values in totals.items()}
        return found


class PassSums:
    """The sums of the windows of one pass.

    Args:
        planned: The pass.
        wanted: The ranges of the windows.
        num_before: Number of tokens before each window: a beginning-of-sequence token, or none.

    Attributes:
        keys: Window and range of each sum.
        totals: The sums so far, by layer. (N, D)
    """

    def __init__(self, planned: Pass[bytes], wanted: Wanted, num_before: int) -> None:
        self.keys: list[tuple[bytes, Range]] = []
        self.totals: dict[str, NDArray[np.float32]] = {}
        self._wanted: dict[bytes, list[tuple[int, int, int]]] = {}
        self._shared: list[tuple[Row[bytes], int]] = []
        for fork in planned.forks:
            for row in (row for call in fork.calls for row in call):
                ranges = self._wanted[row.window] = []
                for start, end in wanted.get(row.window, ()):
                    ranges.append((start + num_before, end + num_before, len(self.keys)))
                    self.keys.append((row.window, (start, end)))
                if any(start < fork.offset for start, _, _ in ranges):
                    self._shared.append((row, fork.offset))

    def spans_of_trunks(self, start: int, end: int) -> list[Span]:
        """What to sum in a call that runs these tokens of all trunks.

        A branch has the tokens of its trunk up to its fork.
        """
        return [
            span
            for row, fork in self._shared
            if fork >= end
            for span in self._cut(row.trunk, row.window, start, end)
        ]

    def spans_of_branches(self, rows: Sequence[Row[bytes]], fork: int) -> list[Span]:
        """What to sum in a call that runs these rows from a fork on."""
        return [
            span
            for number, row in enumerate(rows)
            for span in self._cut(number, row.window, fork, fork + row.length)
        ]

    def add(self, spans: Sequence[Span], sums: Mapping[str, NDArray[np.float32]]) -> None:
        """Add the sums of the spans of one call, by layer. (number of spans, D)."""
        places = [span.place for span in spans]
        for layer, values in sums.items():
            if layer not in self.totals:
                self.totals[layer] = np.zeros((len(self.keys), values.shape[1]), np.float32)
            self.totals[layer][places] += values

    def _cut(self, number: int, window: bytes, start: int, end: int) -> Iterator[Span]:
        """The parts of a window's ranges in a row that begins at ``start`` of the window."""
        for range_start, range_end, place in self._wanted[window]:
            first, last = max(range_start, start), min(range_end, end)
            if first < last:
                yield Span(number, first - start, last - start, place)


class LayerWatch:
    """Watches the layers of a model, and sums their outputs over the spans of a call.

    Args:
        model: The model.
        layers: Published names of the layers.
        wanted: The ranges of each window to sum over.

    Raises:
        ValueError: The model has no such layer.
    """

    def __init__(self, model: Evo2ForCausalLM, layers: Sequence[str], wanted: Wanted) -> None:
        self.wanted = wanted
        self._modules: dict[str, nn.Module] = {}
        for layer in layers:
            try:
                self._modules[layer] = model.get_submodule(module_path(layer))
            except AttributeError as error:
                raise ValueError(f"{layer!r} is not a layer of this model.") from error
        self._spans: Sequence[Span] = ()
        self._groups: list[Group] = []
        self._length = 0
        self._sums: dict[str, Tensor] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the layers inside a ``with`` block."""
        handles = [
            module.register_forward_hook(partial(self._look, layer))
            for layer, module in self._modules.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def begin(self, spans: Sequence[Span]) -> None:
        """Begin to sum over the spans of a call."""
        self._spans = spans
        self._groups = []
        self._sums = {}

    def expect(self, start: int, end: int) -> None:
        """Expect the model to run these tokens of the rows next."""
        self._length = end - start
        self._groups = group_spans(self._spans, start, end)

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """The sums of the call by layer, in the order of the spans. (number of spans, D)."""
        return {layer: values.cpu().numpy() for layer, values in self._sums.items()}

    def _look(self, layer: str, _module: nn.Module, _args: object, output: object) -> None:
        """Add the output of a layer to its sums."""
        if not self._groups:
            return
        if (
            not isinstance(output, Tensor)
            or output.ndim != 3
            or output.shape[1] != self._length
            or not output.is_floating_point()
        ):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(
                f"The output of {layer} is {shape}, expected (batch, {self._length}, channels)."
            )
        if layer not in self._sums:
            shape = (len(self._spans), output.shape[2])
            self._sums[layer] = output.new_zeros(shape, dtype=torch.float32)
        add_groups(self._sums[layer], output, self._groups)


class Group(NamedTuple):
    """Spans of equal length, to be summed in one step.

    Attributes:
        numbers: Number of each span in the call. (n,)
        rows: Their rows. (n,)
        starts: Their first tokens. (n,)
        length: Number of tokens of each.
    """

    numbers: NDArray[np.int64]
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    length: int


def group_spans(spans: Sequence[Span], start: int, end: int) -> list[Group]:
    """Group the parts of spans in a segment by their length.

    Args:
        spans: The spans of a call.
        start: First token of the segment.
        end: Its last token plus one.

    Returns:
        The groups, whose tokens are counted from ``start``. No span is twice in a group.
    """
    if not spans:
        return []
    rows, firsts, lasts, _ = np.array(spans, dtype=np.int64).T
    firsts = np.maximum(firsts, start) - start
    lengths = np.minimum(lasts, end) - start - firsts
    groups = []
    for length in np.unique(lengths[lengths > 0]):
        (numbers,) = np.nonzero(lengths == length)
        groups.append(Group(numbers, rows[numbers], firsts[numbers], int(length)))
    return groups


def add_groups(sums: Tensor, output: Tensor, groups: Sequence[Group]) -> None:
    """Add the output of a layer over groups of spans to their sums, in float32.

    Args:
        sums: The sums, which are changed. (number of spans, D)
        output: The output of the layer. (B, L, D)
        groups: The groups.
    """
    positions_at_once = max(1, ELEMENTS_AT_ONCE // output.shape[2])
    for group in groups:
        step = max(1, positions_at_once // group.length)
        for first in range(0, len(group.numbers), step):
            numbers, rows, starts = (
                torch.from_numpy(values[first : first + step]).to(output.device)
                for values in (group.numbers, group.rows, group.starts)
            )
            total = sums[numbers]
            for begin in range(0, group.length, positions_at_once):
                length = min(positions_at_once, group.length - begin)
                offsets = torch.arange(begin, begin + length, device=output.device)
                tokens = output[rows[:, None], starts[:, None] + offsets]  # (n, length, D)
                total += tokens.to(torch.float32).sum(dim=1)
            sums.index_copy_(0, numbers, total)
