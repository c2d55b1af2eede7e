"""Tracks: the windows that they are read from, and one row for each base of the regions."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.errors import InputError
from evo2_tasks.genome.tiles import Tile
from evo2_tasks.genome.window_pairs import Interval, Strand, reverse_complement
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import RUN, TILES, TRACK_REGIONS, TRACK_TABLE
from evo2_tasks.scoring.track_values import (
    combine_bases,
    combine_strands,
    complement,
    drop_non_finite,
)
from evo2_tasks.table.parquet import RowBuffer, TableWriter, read_rows
from evo2_tasks.table.schema import STRAND_SUFFIXES, TILES_COLUMNS

if TYPE_CHECKING:
    from evo2_tasks.table.segments import Segments

TRACKS_MEANINGS: Final[Mapping[str, str]] = {
    "table_digest": f"SHA-256 of `{TRACK_TABLE}`",
    "date": "when the table was written, UTC",
    "model": "name of the model in the config",
    "signature": "the settings that determine the values: `reference` (GA4GH seqcol digest), "
    "`scoring` (`window_length`, `min_context`, `strands`, `prepend_bos`), `weights` (SHA-256), "
    "`dtype`, `fp8`",
    "regions": "the file of the regions",
    "records": "number of lines with data in this file",
    "by_status": "number of these lines with each status that occurs; "
    f"`{TILES}/{TRACK_REGIONS}` has the status of each line",
    "bases": "number of rows of the table",
    "non_finite": "number of bases for which the model gave a number that is not finite on a "
    "strand; the values of that strand are null",
    "reference": "the reference: `name` in the config, `digest` (GA4GH seqcol)",
    "fasta": "the FASTA file of the reference",
    "contigs": "length of each contig that the table has, in the order of the reference",
    "windows_run": "number of windows that went through the model",
    "tokens_run": "number of tokens that went through the model",
    "wall_s": "sum of the run times of all scoring jobs, in seconds",
    "devices": "kinds of devices that the shards ran on, with the number of shards of each",
    "shards": f"one entry for each scoring job: device, versions, time, peak memory, as in `{RUN}`",
}
"""Keys of ``tracks.json``, and their meanings."""

VALUE_COLUMNS: Final = ("A", "C", "G", "T", "token")
"""Columns of a part: log p of four bases of the reading strand, and of the token that it reads."""

BASES_BEFORE_JUDGING: Final = 100

_Floats = npt.NDArray[np.float32]
_Integers = npt.NDArray[np.int64]


def write_tiles(tiles: Iterable[Tile], writer: TableWriter) -> None:
    """Write windows, one row each."""
    rows = RowBuffer(writer, [column.name for column in TILES_COLUMNS])
    for contig, strand, start, end, pieces in tiles:
        rows.add(contig, strand, start, end, [one for one, _ in pieces], [one for _, one in pieces])
    rows.flush()


def read_tiles(source: Path) -> Iterator[Tile]:
    """Read the windows that :func:`write_tiles` wrote.

    Raises:
        InputError: The file cannot be read.
    """
    for batch in read_rows(source, [column.name for column in TILES_COLUMNS]):
        columns = (column.to_pylist() for column in batch.columns)
        for contig, strand, start, end, firsts, lasts in zip(*columns, strict=True):
            yield Tile(contig, strand, start, end, tuple(zip(firsts, lasts, strict=True)))


class ReadTile(NamedTuple):
    """A window with its bases, up to the last token whose values are taken.

    Attributes:
        tile: The window.
        contig_length: Length of the contig, bases.
        tokens: Upper-case bases in reading direction.
        context: Number of tokens before each token whose values are taken, in the order of the
            contig; this is the offset of the token. (N,)
        ref: The bases of the reference at these tokens. (N,)
    """

    tile: Tile
    contig_length: int
    tokens: bytes
    context: _Integers
    ref: npt.NDArray[np.bytes_]


def read_tile(tile: Tile, segments: Segments) -> ReadTile:
    """The bases of a window.

    Args:
        tile: The window.
        segments: The reference bases.

    Raises:
        InputError: The segments do not have them.
    """
    length, _ = segments.contigs[tile.reference_contig]
    bases = "".join(
        segments.fetch(tile.reference_contig, *piece)
        for piece in unroll_interval(tile.find_read(length), length)
    )
    context = np.concatenate([np.asarray(one) for one in tile.list_contexts(length)])
    ref = np.frombuffer(bases.encode(), dtype="S1")
    if tile.strand == "forward":
        return ReadTile(tile, length, bases.encode(), context, ref[context])
    tokens = reverse_complement(bases).encode()
    return ReadTile(tile, length, tokens, context, ref[len(bases) - 1 - context])


def unroll_interval(interval: Interval, length: int) -> list[Interval]:
    """Split an interval that may pass the length of a circular contig into intervals within it."""
    start, end = interval
    if end <= length:
        return [interval]
    return [(start, length), (0, end - length)]


def slice_tiles(tiles: Iterable[ReadTile], part_tokens: int) -> Iterator[list[ReadTile]]:
    """Cut the windows of a shard into parts of about ``part_tokens`` tokens each.

    The cuts depend on the windows alone, so that a later job finds the same parts.

    Yields:
        The windows of each part, in order, never empty.
    """
    part: list[ReadTile] = []
    num_tokens = 0
    for tile in tiles:
        if part and num_tokens >= part_tokens:
            yield part
            part, num_tokens = [], 0
        part.append(tile)
        num_tokens += len(tile.tokens)
    if part:
        yield part


def digest_tiles(part: Iterable[ReadTile]) -> str:
    """SHA-256 of the windows of a part, by which its finished values are recognised."""
    digest = hashlib.sha256()
    for one in part:
        contig, *rest = one.tile
        text = json.dumps([contig, *rest])
        digest.update(f"{len(text)} {text} {len(one.tokens)} ".encode() + one.tokens)
    return digest.hexdigest()


class _Block(NamedTuple):
    """Bases of a contig that a strand takes from one window, in the order of the contig."""

    contig: str
    start: _Integers
    ref: npt.NDArray[np.bytes_]
    context: _Integers
    values: _Floats

    def cut(self, num: int) -> tuple[_Block, _Block]:
        """The first bases, and the others."""
        first, rest = slice(num), slice(num, None)
        return self._take(first), self._take(rest)

    def _take(self, bases: slice) -> _Block:
        return _Block(
            self.contig,
            self.start[bases],
            self.ref[bases],
            self.context[bases],
            self.values[bases],
        )


class TrackRows:
    """Writes one row for each base, as soon as all asked strands have their values.

    Args:
        writer: The table of tracks.
        strands: The asked strands.
        prepend_bos: Whether the first token of a window has values too.

    Attributes:
        num_bases: Number of bases whose values came, each counted once for each strand.
        non_finite: Number of these whose values are not finite.
    """

    def __init__(
        self, writer: TableWriter, strands: Sequence[Strand], *, prepend_bos: bool
    ) -> None:
        self.num_bases = self.non_finite = 0
        self._writer = writer
        self._waiting: dict[Strand, deque[_Block]] = {strand: deque() for strand in strands}
        self._has_first = prepend_bos

    def add(self, read: ReadTile, values: _Floats) -> None:
        """Add the values of a window.

        Args:
            read: The window.
            values: The values of its bases in the order of the contig, by the bases that the strand
                reads. (N, 5)
        """
        strand = read.tile.strand
        kept = drop_non_finite(values)
        is_predicted = (read.context > 0) | self._has_first
        self.num_bases += len(kept)
        self.non_finite += int((np.isnan(kept[:, 0]) & is_predicted).sum())
        if strand == "reverse":
            kept = complement(kept)
        start = np.concatenate([np.arange(*piece) for piece in read.tile.pieces])
        block = _Block(read.tile.reference_contig, start, read.ref, read.context, kept)
        self._waiting[strand].append(block)
        while all(self._waiting.values()):
            self._write_bases()

    def finish(self) -> None:
        """Make sure that all bases are written.

        Raises:
            InputError: A strand lacks values, because the windows of the shard are incomplete.
        """
        if any(self._waiting.values()):
            raise InputError(
                "the windows of a shard do not have all of its bases. Delete the folder of `tile`, "
                "and run again."
            )

    def _write_bases(self) -> None:
        """Write the bases that the first waiting block of each strand has."""
        num = min(len(blocks[0].start) for blocks in self._waiting.values())
        of_strands: dict[Strand, _Block] = {}
        for strand, blocks in self._waiting.items():
            of_strands[strand], left = blocks.popleft().cut(num)
            if len(left.start):
                blocks.appendleft(left)
        first, *others = of_strands.values()
        for other in others:
            if other.contig != first.contig or not np.array_equal(other.start, first.start):
                raise ValueError("the strands come to different bases")
        self._writer.write(pa.table(_make_columns(first, of_strands)))


def _make_columns(first: _Block, of_strands: Mapping[Strand, _Block]) -> dict[str, pa.Array]:
    """The columns of some bases."""
    num = len(first.start)
    contig = pa.DictionaryArray.from_arrays(np.zeros(num, dtype=np.int32), [first.contig])
    columns: dict[str, Any] = {
        "contig": contig,
        "pos": first.start + 1,
        "ref": pa.array(first.ref).cast(pa.string()),
    }
    for strand, suffix in STRAND_SUFFIXES.items():
        block = of_strands.get(strand)
        for place, base in enumerate("ACGT"):
            name = f"logp_{base}{suffix}"
            columns[name] = (
                pa.nulls(num, pa.float32()) if block is None else _as_null(block.values[:, place])
            )
        columns[f"context{suffix}"] = (
            pa.nulls(num, pa.int32()) if block is None else block.context.astype(np.int32)
        )
    combined = combine_strands([block.values for block in of_strands.values()])
    columns |= {name: _as_null(values) for name, values in combined._asdict().items()}
    return columns


def _as_null(values: _Floats) -> pa.Array:
    """Numbers as a column, null for NaN."""
    return pa.array(values, pa.float32(), mask=np.isnan(values))


def require_finite(rows: TrackRows, source: Path, max_share: float) -> None:
    """Stop a job whose model gives no valid numbers.

    Args:
        rows: The rows so far.
        source: The windows, for the message.
        max_share: Largest share of bases whose values are not finite.

    Raises:
        InputError: The share is larger.
    """
    num, broken = rows.num_bases, rows.non_finite
    if num >= BASES_BEFORE_JUDGING and broken > max_share * num:
        raise InputError(
            f"{shown_path(source)}: {broken:,} of the first {num:,} bases, each strand counted, "
            f"have values that are not finite, more than run.max_non_finite_share ({max_share:g}). "
            "The log names the first module whose output was not finite. Check the checkpoint, the "
            "dtype and the device."
        )


class TrackBases(NamedTuple):
    """Bases of a contig in a table of tracks, in their order.

    Attributes:
        contig: The contig as the reference spells it.
        start: 0-based positions. (N,)
        ref: Letter of the reference at each. (N,)
        probs: Probabilities of A, C, G and T that the strands give together; NaN where none has
            values. (N, 4)
        entropy: Entropy of these, bits; NaN where no strand has values. (N,)
        logp_ref: Log-probability of the reference's token, nats; NaN where no strand has it. (N,)
    """

    contig: str
    start: _Integers
    ref: npt.NDArray[np.object_]
    probs: npt.NDArray[np.float64]
    entropy: _Floats
    logp_ref: _Floats

    def take(self, bases: slice) -> TrackBases:
        """Some of the bases."""
        return TrackBases(
            self.contig,
            self.start[bases],
            self.ref[bases],
            self.probs[bases],
            self.entropy[bases],
            self.logp_ref[bases],
        )


def read_track_bases(source: Path) -> Iterator[TrackBases]:
    """Read a table of tracks piece by piece; each piece has bases of one contig.

    Raises:
        InputError: The file cannot be read, or lacks a column.
    """
    of_strands = [
        [f"logp_{base}{suffix}" for base in "ACGT"] for suffix in STRAND_SUFFIXES.values()
    ]
    others = ["entropy", "logp_ref"]
    for batch in read_rows(source, ["contig", "pos", "ref", *chain(*of_strands), *others]):

        def floats(name: str, batch: pa.RecordBatch = batch) -> _Floats:
            values: _Floats = batch.column(name).to_numpy(zero_copy_only=False)
            return values

        contig = batch.column("contig").dictionary_encode()
        codes = contig.indices.to_numpy()
        whole = TrackBases(
            "",
            batch.column("pos").to_numpy() - 1,
            np.array(batch.column("ref").to_pylist(), dtype=object),
            combine_bases([np.stack([*map(floats, names)], axis=1) for names in of_strands]),
            *map(floats, others),
        )
        ends = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
        for first, last in pairwise(ends):
            if first < last:
                name = contig.dictionary[int(codes[first])].as_py()
                yield whole.take(slice(first, last))._replace(contig=name)
