"""Labelled rows with features for probes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evo2_tasks.evaluation.probe_folds import ProbeRows
from evo2_tasks.evaluation.values import to_array

BETWEEN_GENES = 100_000
Features = npt.NDArray[np.float32]


def place(genes: npt.NDArray[np.int64], *, seed: int = 0, window_length: int = 1_000) -> ProbeRows:
    """Rows of genes on one contig; the windows of two genes do not overlap."""
    random = np.random.default_rng(seed)
    positions = (genes + 1) * BETWEEN_GENES + random.integers(50_000, size=len(genes))
    starts = positions - 1 - window_length // 2
    return ProbeRows(
        contigs=to_array(["1"] * len(genes)),
        positions=positions,
        refs=to_array(["A"] * len(genes)),
        alts=to_array(["C"] * len(genes)),
        starts=starts,
        ends=starts + window_length,
        genes=to_array(f"g{gene}" for gene in genes),
    )


def draw_genes(num_rows: int, num_genes: int, seed: int = 0) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, 7]).integers(num_genes, size=num_rows)


def draw_features(num_rows: int, num_features: int, seed: int = 0) -> Features:
    random = np.random.default_rng([seed, 8])
    return random.normal(size=(num_rows, num_features)).astype(np.float32)
