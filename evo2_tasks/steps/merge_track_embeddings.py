"""The step ``merge_track_embeddings``: the embeddings of a layer of a track set."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evo2_tasks.config.sequences import has_layers
from evo2_tasks.config.track_embeddings import MergeTrackEmbeddingsSettings
from evo2_tasks.cost.embeddings import layer_width, name_track_layers
from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import STRANDS, Strand
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import writing
from evo2_tasks.io.words import counted, shown, shown_path
from evo2_tasks.layout import TRACK_REGIONS, shard_file, shard_run_file
from evo2_tasks.steps.merge_sequence_embeddings import (
    Means,
    make_narrowings,
    require_float16,
    state_embeddings,
)
from evo2_tasks.steps.merge_tracks import read_counts
from evo2_tasks.table.documents import ShardRun
from evo2_tasks.table.embeddings import as_column, rows_at_once, scales_metadata, vectors_of
from evo2_tasks.table.parquet import open_table, read_rows, write_table
from evo2_tasks.table.parts import remove_parts
from evo2_tasks.table.provenance import (
    Provenance,
    read_provenance,
    require_same_signature,
    require_settings,
    require_source,
    uses_fp8,
)
from evo2_tasks.table.run import read_shards, require_equal_devices
from evo2_tasks.table.schema import STRAND_SUFFIXES
from evo2_tasks.table.sequence_embeddings import EMBEDDING, combine_means
from evo2_tasks.table.track_embeddings import (
    BASES,
    KEYS,
    RECORD,
    STRAND,
    track_embeddings_schema,
)

logger = logging.getLogger(__name__)


def merge_track_embeddings(
    settings: MergeTrackEmbeddingsSettings,
    *,
    tiles_folder: Path,
    embeddings_folder: Path,
    out: Path,
    run_json: Path,
) -> None:
    """Combine the sums of a layer of all shards into one table of means.

    At the end, the finished parts that the jobs have kept are removed.

    Args:
        settings: The layer, the data type, and what the files must have been made with.
        tiles_folder: Folder of the files that ``tile`` wrote.
        embeddings_folder: Folder of the sums of the shards.
        out: The table: a row for each line of the file of regions, in its order.
        run_json: Counts, the error of the data type, and the work.

    Raises:
        InputError: A shard is missing, the files do not fit together or were made with other
            settings, or the data type cannot hold a value.
    """
    named = name_track_layers(settings.embed)
    asked, score = named.embeddings, named.score.score
    if settings.layer not in asked.layers:
        raise InputError(
            f"config: scorings.{score.name}.embeddings.layer: has no {shown(settings.layer)}; it "
            f"has: {', '.join(asked.layers)}"
        )
    files = SourceFiles()
    counts = read_counts(settings.tracks, tiles_folder, files)
    names = [shard_file(shard, counts.shards) for shard in range(1, counts.shards + 1)]
    tables = [embeddings_folder / name for name in names]
    shards = read_shards([shard_run_file(table) for table in tables])
    found = [
        require_shard(named.triggers(), tiles_folder / table.name, table, shard, files)
        for table, shard in zip(tables, shards, strict=True)
    ]
    for table, other in zip(tables[1:], found[1:], strict=True):
        require_same_signature(tables[0], found[0].signature, table, other.signature)
    require_equal_devices(
        shards,
        dtype=score.model.dtype,
        fp8=uses_fp8(found[0].signature),
        allow_mixed=score.run.allow_mixed_devices,
    )
    width = layer_width(settings.layer, score.model)
    require_layer(tables, settings.layer, width)
    strands = STRANDS[named.score.scoring.strands]
    filled = 0
    with sum_regions(tables, settings.layer, width, strands, counts.records, out) as sums:
        pieces = RegionPieces(tiles_folder / TRACK_REGIONS, sums, width, asked.keep_strands)
        narrowings = make_narrowings(pieces, pieces.columns, asked.dtype, width)
        scales = {name: each.scale for name, each in narrowings.items() if each.scale is not None}
        provenance = Provenance(
            found[0].signature,
            ", ".join(sorted({one.version for one in found})),
            model=score.model.name,
            source=counts.inputs["regions"],
            settings=settings.triggers(),
        )
        metadata = provenance.metadata() | (scales_metadata(scales) if scales else {})
        schema = track_embeddings_schema(width, asked.dtype, strands=asked.keep_strands)
        with write_table(out, schema, metadata=metadata) as writer:
            for rows, columns in pieces:
                made = {one.name: rows.column(one.name) for one in KEYS}
                for name, (values, present) in columns.items():
                    if asked.dtype == "float16":
                        require_float16(rows, values, name, score.name, settings.layer)
                    made[name] = as_column(narrowings[name].narrow(values, present), present)
                filled += int(columns[EMBEDDING][1].sum())
                writer.write(pa.table(made, schema=schema))
            files.require_unchanged()
            table_digest = writer.digest()
    state_embeddings(
        run_json,
        shards,
        narrowings,
        table_digest=table_digest,
        rows=counts.records,
        filled=filled,
        layer=settings.layer,
        width=width,
        dtype=asked.dtype,
    )
    remove_parts(embeddings_folder)
    logger.info("%s: %s, %s with embeddings", out, counted(counts.records, "row"), f"{filled:,}")


class RegionSums:
    """The sums of a layer over each region, by strand.

    Args:
        totals: The sums, by strand. (number of regions, D)
        num_records: Number of regions.
        embeddings_folder: Folder of the sums of the shards, for messages.
    """

    def __init__(
        self,
        totals: Mapping[Strand, npt.NDArray[np.float64]],
        num_records: int,
        embeddings_folder: Path,
    ) -> None:
        self._totals = totals
        self._bases = {strand: np.zeros(num_records, np.int64) for strand in totals}
        self._is_broken = {strand: np.zeros(num_records, dtype=bool) for strand in totals}
        self._folder = embeddings_folder

    def add(self, rows: pa.RecordBatch, layer: str) -> None:
        """Add the sums of a shard."""
        records = rows.column(RECORD).to_numpy()
        num_bases = rows.column(BASES).to_numpy()
        values, present = vectors_of(rows.column(layer))
        of_strand = np.array(rows.column(STRAND).to_pylist(), dtype=object)
        for strand, totals in self._totals.items():
            own = of_strand == strand
            np.add.at(self._bases[strand], records[own], num_bases[own])
            self._is_broken[strand][records[own & ~present]] = True
            for place in np.flatnonzero(own & present):
                totals[records[place]] += values[place]

    def means(self, first: int, num_bases: npt.NDArray[np.int64], *, keep_strands: bool) -> Means:
        """The embeddings of some regions by column.

        Args:
            first: Number of the first of them.
            num_bases: Number of bases of each. (n,)
            keep_strands: Whether there are columns of each strand too.

        Raises:
            InputError: The shards have more or fewer bases of a region.
        """
        here = slice(first, first + len(num_bases))
        found = {}
        for strand, totals in self._totals.items():
            own = self._bases[strand][here]
            if not np.array_equal(own, num_bases):
                wrong = int(np.flatnonzero(own != num_bases)[0])
                raise InputError(
                    f"{shown_path(self._folder)}: has {own[wrong]:,} bases of region "
                    f"{first + wrong} ({strand} strand), expected {num_bases[wrong]:,}. Delete "
                    "this folder, and run again."
                )
            with np.errstate(over="ignore"):
                values = (totals[here] / np.maximum(num_bases, 1)[:, None]).astype(np.float32)
            present = (num_bases > 0) & ~self._is_broken[strand][here]
            present &= np.isfinite(values).all(axis=1)
            values[~present] = 0
            found[strand] = values, present
        return combine_means(found, keep_strands=keep_strands)


@contextmanager
def sum_regions(
    tables: Sequence[Path],
    layer: str,
    width: int,
    strands: Sequence[Strand],
    num_records: int,
    out: Path,
) -> Iterator[RegionSums]:
    """Add up the sums of all shards.

    A region may be in several shards, and the regions are in another order than the shards. So the
    sums are in a temporary file next to the output, which is not in memory as a whole.

    Raises:
        InputError: A file cannot be read or written.
    """
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent) as scratch:
        shape = len(strands), num_records, width
        with writing(out):
            totals = np.memmap(scratch, np.float64, mode="w+", shape=shape)
        by_strand = {strand: totals[place] for place, strand in enumerate(strands)}
        sums = RegionSums(by_strand, num_records, tables[0].parent)
        for table in tables:
            names = [RECORD, STRAND, BASES, layer]
            for rows in read_rows(table, names, batch_rows=rows_at_once(width)):
                sums.add(rows, layer)
        yield sums


class RegionPieces:
    """The regions with the embeddings of a layer, in order and in bounded pieces."""

    def __init__(self, regions: Path, sums: RegionSums, width: int, keep_strands: bool) -> None:
        self._regions = regions
        self._batch_rows = rows_at_once(width, 4)
        self._sums = sums
        self._keep_strands = keep_strands

    @property
    def columns(self) -> list[str]:
        """The columns of embeddings."""
        suffixes = STRAND_SUFFIXES.values() if self._keep_strands else ()
        return [EMBEDDING, *(EMBEDDING + suffix for suffix in suffixes)]

    def __iter__(self) -> Iterator[tuple[pa.RecordBatch, Means]]:
        names = [*(one.name for one in KEYS), "num_bases"]
        first = 0
        for rows in read_rows(self._regions, names, batch_rows=self._batch_rows):
            num_bases = rows.column("num_bases").to_numpy()
            yield rows, self._sums.means(first, num_bases, keep_strands=self._keep_strands)
            first += rows.num_rows


def require_shard(
    triggers: Mapping[str, object],
    tiles: Path,
    table: Path,
    shard: ShardRun,
    files: SourceFiles,
) -> Provenance:
    """Make sure that the file of a shard was made from its windows, and with these settings.

    Settings that have more layers than are asked for are good too.

    Returns:
        The provenance of the file.

    Raises:
        InputError: It was made from other windows or with other settings, or is missing.
    """
    digest, provenance = files.add(table), read_provenance(table)
    require_source(table, provenance.source, tiles, files.digest(tiles))
    run_file, made = shard_run_file(table), shard.statements
    files.add(run_file)
    require_source(run_file, made and made.scores, table, digest)
    if made is None or not has_layers(made.settings, triggers):
        require_settings(run_file, made and made.settings, triggers, "embed_tracks")
    return provenance


def require_layer(tables: Sequence[Path], layer: str, width: int) -> None:
    """Make sure that the files of all shards have the sums of the layer.

    Raises:
        InputError: One has none, or of another width.
    """
    for path in tables:
        with open_table(path, [RECORD, STRAND, BASES, layer]) as file:
            kind = file.schema_arrow.field(layer).type
        if kind != pa.list_(pa.float32(), width):
            raise InputError(
                f"{shown_path(path)}: the embeddings have not {width:,} values. Delete the file, "
                "and run embed_tracks again."
            )
