"""What a probe sees of the alleles of a table: embeddings and ``llr``, read piece by piece.

The rows of a table of embeddings can be in another order than those of the table of scores, so they
are found by their keys.

Shapes: N rows of the table of scores, n rows of a piece, D channels, P features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import FloatArray, IntArray
from evo2_tasks.evaluation.probe_models import Features, FittedProbe
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.table.embeddings import read_embeddings, read_width
from evo2_tasks.table.joined import KEYS
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.provenance import read_provenance

LLR: Final = "llr"
_ROWS_AT_ONCE: Final = 65_536


@dataclass(frozen=True, slots=True)
class EmbeddingTable:
    """A table of embeddings, as it states itself.

    Attributes:
        path: The file.
        layer: Published name of the layer.
        tokens: Number of tokens of a mean.
        dtype: Data type of the values in the file.
        width: D.
    """

    path: Path
    layer: str
    tokens: int
    dtype: str
    width: int


def open_embeddings(path: Path) -> EmbeddingTable:
    """Read what a table of embeddings states, without its rows.

    Raises:
        InputError: The file is missing or broken, or is not a table of embeddings.
    """
    width = read_width(path)
    stated = read_provenance(path).settings or {}
    layer, tokens = stated.get("layer"), stated.get("tokens")
    if not isinstance(layer, str) or not isinstance(tokens, int) or isinstance(tokens, bool):
        raise InputError(
            f"{shown_path(path)}: the metadata does not state the layer and the tokens of the "
            "embeddings. Run `merge_embeddings` again."
        )
    return EmbeddingTable(path, layer, tokens, str(stated.get("dtype", "")), width)


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """The rows of a table of scores, in its order.

    Attributes:
        table: The table.
        keys: ``record`` and ``allele`` of each row as one number. (N,)
        order: The numbers of the rows, sorted by their keys. (N,)
        step: Number of one more ``record`` in a key.
        llr: NaN where a row has none. (N,)
    """

    table: Path
    keys: IntArray
    order: IntArray
    step: int
    llr: FloatArray

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, record: IntArray, allele: IntArray) -> IntArray:
        """The number of the row with each key; -1 where there is none. (n,)."""
        if not len(self):
            return np.full(len(record), -1)
        wanted = record * self.step + allele
        place = np.searchsorted(self.keys, wanted, sorter=self.order)
        rows: IntArray = self.order[np.minimum(place, len(self) - 1)]
        is_found = (self.keys[rows] == wanted) & (allele < self.step)
        return np.where(is_found, rows, -1)


def read_scored_rows(table: Path) -> ScoredRows:
    """Read the keys and the ``llr`` of a table of scores: 24 bytes of memory for each row.

    Raises:
        InputError: The file is missing, broken or lacks a column.
    """
    pieces: list[tuple[IntArray, IntArray, FloatArray]] = [
        (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    ]
    for batch in read_rows(table, [*KEYS, LLR]):
        record, allele = (batch.column(name).to_numpy().astype(np.int64) for name in KEYS)
        llr = batch.column(LLR).to_numpy(zero_copy_only=False).astype(np.float64)
        pieces.append((record, allele, llr))
    record, allele, llr = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    step = int(allele.max(initial=0)) + 1
    keys = record * step + allele
    return ScoredRows(table, keys, np.argsort(keys, kind="stable"), step, llr)


def count_features(features: Sequence[str], embeddings: EmbeddingTable | None) -> int:
    """P."""
    width = 0 if embeddings is None else embeddings.width
    return sum(1 if name == LLR else width for name in features)


def read_features(
    rows: ScoredRows, features: Sequence[str], embeddings: EmbeddingTable | None
) -> Iterator[tuple[IntArray, Features]]:
    """Read the features of all rows, piece by piece, in the order of the embeddings.

    Args:
        rows: The rows of the table of scores.
        features: ``ref``, ``delta`` and ``llr``, in the order of the weights of the probe.
        embeddings: The embeddings of the same alleles; None if ``llr`` is the only feature.

    Yields:
        Numbers of rows of the table of scores (n,), and their features, NaN where a row has none
        (n, P).

    Raises:
        InputError: A file is broken, or the embeddings are not those of the alleles of the table.
    """
    llr = rows.llr.astype(np.float32)
    if embeddings is None:
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            numbers = np.arange(begin, min(begin + _ROWS_AT_ONCE, len(rows)))
            yield numbers, llr[numbers, None]
        return
    num_read = 0
    for piece in read_embeddings(embeddings.path):
        numbers = rows.find(piece.record, piece.allele)
        if (numbers < 0).any():
            first = int(np.flatnonzero(numbers < 0)[0])
            raise _other_alleles(
                rows,
                embeddings,
                f"record {piece.record[first]}, allele {piece.allele[first]} has no score",
            )
        num_read += len(numbers)
        parts: dict[str, npt.NDArray[np.float32]] = {
            "ref": piece.ref,
            "delta": piece.delta,
            LLR: llr[numbers, None],
        }
        chosen = [parts[name] for name in features]
        yield numbers, chosen[0] if len(chosen) == 1 else np.concatenate(chosen, axis=1)
    if num_read != len(rows):
        raise _other_alleles(rows, embeddings, f"they are of {num_read:,} of {len(rows):,} alleles")


def _other_alleles(rows: ScoredRows, embeddings: EmbeddingTable, what: str) -> InputError:
    return InputError(
        f"{shown_path(embeddings.path)} does not have the alleles of {shown_path(rows.table)}: "
        f"{shown(what)}. Run `merge_embeddings` and `merge` again."
    )


def gather_features(
    rows: ScoredRows,
    chosen: IntArray,
    features: Sequence[str],
    embeddings: EmbeddingTable | None,
) -> Features:
    """The features of some rows, in the order of ``chosen``: 4 bytes of memory for each number.

    Args:
        rows: The rows of the table of scores.
        chosen: Numbers of M different rows of it. (M,)
        features: As for :func:`read_features`.
        embeddings: As for :func:`read_features`.

    Returns:
        NaN where a row has none. (M, P)

    Raises:
        InputError: See :func:`read_features`.
    """
    place = np.full(len(rows), -1)
    place[chosen] = np.arange(len(chosen))
    found = np.full((len(chosen), count_features(features, embeddings)), np.nan, dtype=np.float32)
    for numbers, values in read_features(rows, features, embeddings):
        is_chosen = place[numbers] >= 0
        found[place[numbers[is_chosen]]] = values[is_chosen]
    return found


def predict_all(
    rows: ScoredRows,
    probe: FittedProbe,
    features: Sequence[str],
    embeddings: EmbeddingTable | None,
) -> FloatArray:
    """The predictions of a probe for all rows; NaN where a row has no features. (N,).

    Args:
        rows: The rows of the table of scores.
        probe: The probe.
        features: As for :func:`read_features`.
        embeddings: As for :func:`read_features`.

    Raises:
        InputError: See :func:`read_features`.
    """
    scores = np.full(len(rows), np.nan)
    for numbers, values in read_features(rows, features, embeddings):
        scores[numbers] = probe.predict(values)
    return scores
