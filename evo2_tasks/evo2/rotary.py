"""Rotary positions: tables of cosines and sines, and the rotation of queries and keys.

The angles need float64, which some devices lack. So the tables are computed on the CPU, rounded to
the dtype of the activations, and moved to the device in that dtype.

Shapes: B batch, L tokens, H heads.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .config import Evo2Config
from .operators import widened
from .precision import KeepsFloat32

# Positions of the longest table that is kept: a segment of default length. A layer with heads of
# 128 channels keeps 17 MB for it in bfloat16.
TABLE_LENGTH = 65_536


class Tables(NamedTuple):
    """Cosines and sines of the first positions, and the frequencies that they were made from."""

    inv_freq: Tensor
    version: int
    cos: Tensor
    """(1, 1, positions, head_dim / 2)"""
    sin: Tensor
    """(1, 1, positions, head_dim / 2)"""

    def hold(self, inv_freq: Tensor, dtype: torch.dtype) -> bool:
        """Whether the tables are in this dtype, and made from these frequencies as they are."""
        return (
            self.inv_freq is inv_freq
            and self.version == inv_freq._version
            and self.cos.dtype == dtype
        )


class RotaryEmbedding(KeepsFloat32):
    """Angles of rotary positions, from the frequencies of the checkpoint.

    The released models use frequencies that are rounded to bfloat16, although some checkpoints
    store them in float32. A new model rounds them in the same way.
    """

    float32_names = ("inv_freq",)

    def __init__(self, config: Evo2Config) -> None:
        super().__init__()
        self.num_frequencies = config.head_dim // 2
        self.theta = config.rope_parameters["rope_theta"]
        self.factor = config.rope_factor
        self.register_buffer("inv_freq", self.initial_frequencies())
        self.inv_freq: Tensor
        self._tables: Tables | None = None

    def initial_frequencies(self) -> Tensor:
        """The frequencies of a new model. (head_dim / 2,)."""
        num_frequencies = self.num_frequencies
        exponents = torch.arange(num_frequencies, dtype=torch.float64, device="cpu")
        frequencies: Tensor = self.theta ** -(exponents / num_frequencies)
        return frequencies.bfloat16().float().to(torch.get_default_device())

    @torch.no_grad()
    def forward(self, positions: Tensor | range, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines, exact for a million tokens and rounded at the end.

        Tables of the first positions are kept. They are made again after the frequencies were
        replaced or written to, and for another dtype or device.

        Args:
            positions: Positions, from 0: a range, or those of each row. (B or 1, L)
            dtype: Dtype of the activations.

        Returns:
            Two tables, on the device of the frequencies. (B or 1, 1, L, head_dim / 2)
        """
        if isinstance(positions, Tensor):
            return self._compute(positions, dtype)
        start, stop = positions.start, positions.stop
        # Writes to a tensor of inference mode cannot be noticed.
        if stop > TABLE_LENGTH or self.inv_freq.is_inference():
            return self._compute(torch.arange(start, stop, device="cpu")[None], dtype)
        tables = self._tables
        if tables is None or not tables.hold(self.inv_freq, dtype):
            tables = self._make_tables(stop, dtype)
        elif tables.cos.shape[2] < stop:  # twice as long, so that single tokens make few tables
            longer = min(TABLE_LENGTH, max(stop, 2 * tables.cos.shape[2]))
            tables = self._make_tables(longer, dtype)
        return tables.cos[:, :, start:stop], tables.sin[:, :, start:stop]

    def _make_tables(self, length: int, dtype: torch.dtype) -> Tables:
        """Tables of the first positions, which are kept."""
        with torch.inference_mode(False):  # training may use them later
            cos, sin = self._compute(torch.arange(length, device="cpu")[None], dtype)
        self._tables = Tables(self.inv_freq, self.inv_freq._version, cos, sin)
        return self._tables

    def _compute(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines, computed on the CPU. (B or 1, L) -> 2 x (B or 1, 1, L, d / 2)."""
        # Each tensor moves to the CPU in its own dtype and becomes float64 there. A float32 product
        # of position and frequency is off by 0.03 radians at 10^6.
        frequencies = self.inv_freq.cpu().double()
        angles = positions.cpu()[:, None, :, None].double() / self.factor * frequencies
        device = self.inv_freq.device
        return angles.cos().to(dtype).to(device), angles.sin().to(dtype).to(device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self._tables = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": None}


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs of channels, first half with second half, in float32. (B, H, L, head_dim)."""
    first, second = widened(heads).chunk(2, dim=-1)
    cos, sin = widened(cos), widened(sin)
    rotated = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return rotated.to(heads.dtype)
