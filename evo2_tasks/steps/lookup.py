"""The step ``lookup``: which alleles of a shard the store has, and their scores."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.config.resolve import LookupSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import STRANDS, Strand
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import SEQUENCES, hits_run_file
from evo2_tasks.runtime.score_store import choose_record
from evo2_tasks.steps.score import require_windows
from evo2_tasks.table.documents import Lookup, Split
from evo2_tasks.table.hits import CONTIGS, KEYS, MODEL_KEY
from evo2_tasks.table.identities import Identity
from evo2_tasks.table.parquet import TableWriter, count_rows, read_rows, row_bytes, write_table
from evo2_tasks.table.provenance import (
    PREFIX,
    Provenance,
    canonical_json,
    make_signature,
    package_version,
    require_settings,
    require_source,
)
from evo2_tasks.table.schema import STRAND_SUFFIXES, hits_schema
from evo2_tasks.table.segments import read_contigs, require_segments
from evo2_tasks.table.sequences import read_sequences
from evo2_tasks.table.store import Store, find_candidates, make_contig_key
from evo2_tasks.table.store_models import ModelKey, ModelRecord, read_models
from evo2_tasks.table.store_rows import device_column, make_keys, strand_columns
from evo2_tasks.table.store_shards import BYTES_AT_ONCE, ROWS_AT_ONCE, WINDOW_COLUMNS

logger = logging.getLogger(__name__)

LENGTHS = tuple(f"length{suffix}" for suffix in STRAND_SUFFIXES.values())


def lookup(
    settings: LookupSettings,
    *,
    windows_file: Path,
    segments_file: Path,
    split_file: Path,
    identity_file: Path,
    out: Path,
) -> None:
    """Find the alleles of a shard whose scores the store has.

    An allele is found if the store has each asked strand that has windows. If the config has no
    store any more, no allele is found.

    Args:
        settings: The store, the model and the windows.
        windows_file: The shard with its windows, from ``windows``.
        segments_file: The reference bases of these windows; it states which contigs are circular.
        split_file: The ``split.json``. The sequences of the reference are next to it.
        identity_file: What ``identify`` states about the model.
        out: The hits: one row for each allele that was found, in the order of the windows. A JSON
            file of the same stem states their number.

    Raises:
        InputError: A file or the store cannot be read, or the files do not belong together or to
            these settings.
    """
    path = settings.score.run.store
    store = None if path is None else Store(path)
    files = SourceFiles()
    source = files.add(windows_file)
    files.add(segments_file)
    placed = require_windows(settings.score, windows_file)
    require_segments(segments_file, windows_file, source, placed["reference"])
    contigs = name_contigs(settings, split_file, windows_file, segments_file, placed, files)
    identity = read_identity(settings, identity_file, files)
    model = settings.score.model
    # The store may know the model since `identify` has asked it.
    known = () if store is None else read_models(store.path, identity.key)
    record = choose_record(model, known)
    weights, fp8 = (None, None) if record is None else (record.weights, record.fp8)
    if store is not None and not known:
        weights, fp8 = guess_model(store, settings, placed, identity.key)
    signature = dict(placed)
    if weights is not None and fp8 is not None:
        signature = make_model_signature(settings, placed, weights, fp8)
    metadata = make_metadata(settings, signature, source, contigs, identity)
    search = Search(
        store,
        None if weights is None else signature,
        contigs,
        STRANDS[settings.score.scoring.strands],
        all_devices=not settings.score.run.allow_mixed_devices,
    )
    with (
        write_table(out, hits_schema(), metadata=metadata) as writer,
        Progress("lookup", total=count_rows(windows_file), unit="alleles") as progress,
    ):
        counts = find_hits(search, windows_file, writer, progress)
        files.require_unchanged()
        digest = writer.digest()
    Lookup(
        **counts,
        weights=None if record is None else record.weights,
        states=identity.states,
        table_digest=digest,
    ).write(hits_run_file(out))
    logger.info(
        "in the store: %s of %s%s",
        f"{counts['hits']:,}",
        counted(counts["alleles"], "allele"),
        "" if record is not None else f"; {_explain_unknown(store, known, weights)}",
    )


def _explain_unknown(store: Store | None, known: Sequence[ModelRecord], weights: str | None) -> str:
    """Why the hits of a model without a record are few, or not certain."""
    if store is None:
        return "the config has no store any more"
    if not store.path.exists():
        return f"{shown_path(store.path)} does not exist yet"
    if known:
        return "the store has several records of this model; the log of `identify` says what to do"
    if weights is None:
        return "the store has no scores of this model"
    return (
        "the store does not know this model yet, so `score` opens the model, and uses these "
        "scores if they are of the same weights"
    )


def guess_model(
    store: Store, settings: LookupSettings, placed: Mapping[str, Any], key: ModelKey
) -> tuple[str | None, str | None]:
    """The weights and the FP8 mode that a model may have which the store does not know.

    `score` opens such a model before it uses a score. A wrong guess costs a lookup, and no more.

    Args:
        store: The store.
        settings: The model and the windows.
        placed: The signature of the windows.
        key: By which files the store would know the model.

    Returns:
        Those of the likeliest signature of the store; None if the store has no such scores.
    """
    candidates = find_candidates(
        store.describe(),
        make_model_signature(settings, placed, "any", "any"),
        key,
        all_models=True,
    )
    for one in candidates:
        stated = one.signature or {}
        return str(stated["weights"]), str(stated["fp8"])
    return None, None


def read_identity(settings: LookupSettings, path: Path, files: SourceFiles) -> Identity:
    """What ``identify`` states about the model.

    Args:
        settings: The model.
        path: The file.
        files: Gets the file.

    Raises:
        InputError: The file cannot be read, or is about another model.
    """
    files.add(path)
    identity = Identity.read(path)
    require_settings(path, identity.settings, settings.score.model.triggers(), "identify")
    return identity


def make_metadata(
    settings: LookupSettings,
    signature: Mapping[str, Any],
    source: str,
    contigs: Mapping[str, str],
    identity: Identity,
) -> dict[str, str]:
    """The metadata of the hits.

    Args:
        settings: The model and the windows.
        signature: The signature of the scores, or of the windows if the store has no such model.
        source: SHA-256 of the windows.
        contigs: The name of each contig in the store.
        identity: What ``identify`` states about the model.
    """
    provenance = Provenance(
        signature, package_version(), source=source, settings=settings.triggers()
    )
    return provenance.metadata() | {
        PREFIX + CONTIGS: canonical_json(contigs),
        PREFIX + MODEL_KEY: canonical_json(identity.key.as_json()),
    }


def make_model_signature(
    settings: LookupSettings, placed: Mapping[str, Any], weights: str, fp8: str
) -> dict[str, Any]:
    """The signature of the scores of a model.

    Args:
        settings: The model and the windows.
        placed: The signature of the windows.
        weights: SHA-256 of the tensors of the model.
        fp8: Its FP8 mode.
    """
    return make_signature(
        reference_digest=placed["reference"],
        scoring=placed["scoring"],
        weights_digest=weights,
        dtype=settings.score.model.dtype,
        fp8=fp8,
        prepend_bos=settings.score.scoring.prepend_bos,
        haplotype_of=placed.get("haplotype_of"),
    )


def name_contigs(
    settings: LookupSettings,
    split_file: Path,
    windows_file: Path,
    segments_file: Path,
    placed: Mapping[str, Any],
    files: SourceFiles,
) -> dict[str, str]:
    """The name that each contig of a shard has in the store: the digest of its sequence.

    Args:
        settings: The variant set, for messages.
        split_file: The ``split.json``. The sequences of the reference are next to it.
        windows_file: The windows of the shard, for messages.
        segments_file: Has the contigs, their lengths, and which of them are circular.
        placed: The signature of the windows.
        files: Gets ``split.json`` and the sequences.

    Raises:
        InputError: A file cannot be read, or they are not of one reference.
    """
    files.add(split_file)
    split = Split.read(split_file)
    require_source(windows_file, placed["reference"], "the reference", split.reference.digest)
    sequences_file = split_file.with_name(SEQUENCES)
    sequences = read_sequences(sequences_file, settings.windows.split.variant_set)
    stated = None if split.statements is None else split.statements.sequences
    require_source(split_file, stated, sequences_file, files.add(sequences_file))
    contigs = {}
    for name, (length, circular) in read_contigs(segments_file).items():
        sequence = sequences.get(name)
        if sequence is None or sequence.length != length:
            raise InputError(
                f"{shown_path(sequences_file)}: does not have the contigs of "
                f"{shown_path(segments_file)}. Run `split` and `windows` again."
            )
        contigs[name] = make_contig_key(sequence.refget, circular=circular)
    return contigs


@dataclass(frozen=True, slots=True)
class Search:
    """What to find in a store.

    Attributes:
        store: The store; None if the config has none.
        signature: The signature of the scores; None if the store does not know the model.
        contigs: The name in the store of each reference contig.
        strands: The asked strands.
        all_devices: Whether to find the scores of each kind of device. Else an allele has one row.
    """

    store: Store | None
    signature: Mapping[str, Any] | None
    contigs: Mapping[str, str]
    strands: Sequence[Strand]
    all_devices: bool

    def find(self, reference_contig: str, keys: pa.Table) -> Iterator[pa.Table]:
        """The scores of alleles of one contig: for each kind of device, or once for any kind.

        Args:
            reference_contig: The contig.
            keys: The keys of the alleles, see ``make_keys``.
        """
        if self.store is None or self.signature is None:
            return
        contig = self.contigs[reference_contig]
        if self.all_devices:
            by_device = self.store.lookup_by_device(self.signature, contig, keys, self.strands)
            yield from by_device.values()
        else:
            yield self.store.lookup(self.signature, contig, keys, self.strands)


def find_hits(
    search: Search, windows_file: Path, writer: TableWriter, progress: Progress
) -> dict[str, int]:
    """Write the hits of a shard.

    Args:
        search: What to find.
        windows_file: The windows of the shard.
        writer: The table of the hits.
        progress: Counts the rows of the windows.

    Returns:
        The numbers of alleles, of hits, of missing alleles and of their tokens.
    """
    counts = dict.fromkeys(("alleles", "hits", "missing", "tokens_missing"), 0)
    for rows in read_pieces(windows_file):
        asked = {
            strand: pc.is_valid(rows.column(f"length{STRAND_SUFFIXES[strand]}")).to_numpy()
            for strand in search.strands
        }
        to_score = np.logical_or.reduce(list(asked.values()))
        is_hit = write_hits(search, rows, asked, writer)
        missing = to_score & ~is_hit
        counts["alleles"] += int(to_score.sum())
        counts["hits"] += int(is_hit.sum())
        counts["missing"] += int(missing.sum())
        for name in LENGTHS:
            tokens = pc.sum(rows.column(name).filter(pa.array(missing))).as_py() or 0
            counts["tokens_missing"] += 2 * tokens
        progress.add(rows.num_rows)
    return counts


def read_pieces(windows_file: Path) -> Iterator[pa.Table]:
    """The rows of a windows file in large pieces, since a store is searched once for each piece."""
    pieces: list[pa.RecordBatch] = []
    num_rows = num_bytes = 0
    for batch in read_rows(windows_file, [*WINDOW_COLUMNS, *LENGTHS]):
        pieces.append(batch)
        num_rows += batch.num_rows
        num_bytes += int(row_bytes(pa.Table.from_batches([batch])).sum())
        if num_rows >= ROWS_AT_ONCE or num_bytes >= BYTES_AT_ONCE:
            yield pa.Table.from_batches(pieces)
            pieces, num_rows, num_bytes = [], 0, 0
    if pieces:
        yield pa.Table.from_batches(pieces)


def write_hits(
    search: Search,
    rows: pa.Table,
    asked: Mapping[Strand, npt.NDArray[np.bool_]],
    writer: TableWriter,
) -> npt.NDArray[np.bool_]:
    """Write the hits among some rows.

    Args:
        search: What to find.
        rows: Rows of the windows.
        asked: For each asked strand, whether each row has windows.
        writer: The table of the hits.

    Returns:
        Whether each row is a hit.
    """
    keys = make_keys(rows)
    can_be_found = np.logical_or.reduce(list(asked.values()))
    can_be_found &= pc.is_valid(keys.column(0)).to_numpy()
    contigs = rows.column("reference_contig").cast(pa.string())
    hits = []
    for contig in contigs.filter(pa.array(can_be_found)).unique().to_pylist():
        of_contig = pc.fill_null(pc.equal(contigs, contig), False).to_numpy()
        places = np.flatnonzero(can_be_found & of_contig)
        for found in search.find(contig, keys.take(pa.array(places))):
            is_whole = np.ones(len(places), dtype=bool)
            for strand, has_windows in asked.items():
                has_score = pc.is_valid(found.column(f"llr{STRAND_SUFFIXES[strand]}")).to_numpy()
                is_whole &= has_score | ~has_windows[places]
            chosen = places[is_whole]
            hits.append(
                select_hits(found.filter(pa.array(is_whole)), chosen, asked).append_column(
                    _PLACE, pa.array(chosen)
                )
            )
    is_hit = np.zeros(rows.num_rows, dtype=bool)
    if hits:
        # Rows of several contigs or kinds of devices, in the order of the windows.
        table = pa.concat_tables(hits)
        places = table.column(_PLACE).to_numpy()
        is_hit[places] = True
        order = np.argsort(places, kind="stable")
        table = table.take(pa.array(order)).drop_columns([_PLACE])
        found_rows = rows.select(KEYS).take(pa.array(places[order]))
        writer.write(pa.table([*found_rows.columns, *table.columns], names=hits_schema().names))
    return is_hit


_PLACE = "\0place"
"""Column with the place of a hit among the rows; no column of a table can have this name."""


def select_hits(
    found: pa.Table, places: npt.NDArray[np.int64], asked: Mapping[Strand, npt.NDArray[np.bool_]]
) -> pa.Table:
    """The columns of hits without their keys: null for strands that are not asked or not scored.

    Args:
        found: What the store has.
        places: The rows of the windows.
        asked: For each asked strand, whether each row of the windows has windows.
    """
    columns: dict[str, pa.ChunkedArray] = {}
    for strand in STRAND_SUFFIXES:
        for name in (*strand_columns(strand), device_column(strand)):
            kind = pa.string() if name == device_column(strand) else pa.float64()
            if strand in asked:
                values = found.column(name).cast(kind)
                columns[name] = pc.if_else(
                    pa.array(asked[strand][places]), values, pa.scalar(None, kind)
                )
            else:
                columns[name] = pa.chunked_array([pa.nulls(len(places), kind)])
    return pa.table({name: columns[name] for name in hits_schema().names if name not in KEYS})
