"""The step ``fit_probe``: a probe of a layer, from the labelled rows of a table."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from evo2_tasks.config.probes import GENE, FitProbeSettings, uses_embeddings
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import BoolArray, FloatArray, IntArray
from evo2_tasks.evaluation.folds import NO_FOLD
from evo2_tasks.evaluation.labels import LabelledRows, read_labelled_rows
from evo2_tasks.evaluation.measurements import make_resampling
from evo2_tasks.evaluation.probe_features import (
    EmbeddingTable,
    ScoredRows,
    gather_features,
    open_embeddings,
    predict_all,
    read_scored_rows,
)
from evo2_tasks.evaluation.probe_files import save_probe
from evo2_tasks.evaluation.probe_folds import NUM_FOLDS, ProbeRows
from evo2_tasks.evaluation.probe_statements import ProbeOrigin
from evo2_tasks.evaluation.probes import count_training_sets, measure_probe
from evo2_tasks.evaluation.probes import fit_probe as fit_rows
from evo2_tasks.evaluation.training_alleles import COLUMNS, Digests, digest_alleles, merge_digests
from evo2_tasks.evaluation.values import MISSING, Text, to_array
from evo2_tasks.genome.reference import Reference
from evo2_tasks.io.allocation import return_large_arrays
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import PREDICTIONS
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.steps.evaluate import make_label_settings
from evo2_tasks.table.parquet import open_table, read_rows, write_table
from evo2_tasks.table.probes import (
    EMBEDDINGS_INPUT,
    TABLE_INPUT,
    Prediction,
    make_prediction_metadata,
    predictions_schema,
)
from evo2_tasks.table.provenance import (
    Provenance,
    as_json,
    package_version,
    read_provenance,
    require_same_signature,
)
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)

PLACE_COLUMNS = ("reference_contig", "pos", "ref", "alt", "window_start", "window_end")
"""Columns of the table that folds are made from, and a gene if there is one."""

ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Sources:
    """What a probe is trained on.

    Attributes:
        table: The table of scores.
        provenance: What it states.
        embeddings: The embeddings; None if the probe uses ``llr`` alone.
        files: The files that are read.
    """

    table: Path
    provenance: Provenance
    embeddings: EmbeddingTable | None
    files: SourceFiles

    def digests(self) -> dict[str, str]:
        """SHA-256 of the files by what they are for."""
        found = {TABLE_INPUT: self.files.digest(self.table)}
        if self.embeddings is not None:
            found[EMBEDDINGS_INPUT] = self.files.digest(self.embeddings.path)
        return found


def fit_probe(
    settings: FitProbeSettings, *, table: Path, embeddings: Path | None, out_folder: Path
) -> None:
    """Train a probe on the labelled rows of a table, and predict all rows of the table.

    The prediction of a labelled row comes from a probe that was trained without its fold.

    Args:
        settings: The label, the features, the folds and the layer.
        table: The result of ``merge``.
        embeddings: The embeddings of the layer; None if the probe uses ``llr`` alone.
        out_folder: The folder of the files.

    Raises:
        InputError: A file is missing, lacks a column, was replaced meanwhile, or is not of the same
            alleles and signature as the table; or the rows cannot train a probe.
    """
    return_large_arrays()
    sources = open_sources(settings, table, embeddings)
    rows, places = read_training_rows(settings, sources)
    scored = read_scored_rows(table)
    chosen = scored.find(rows.alleles[:, 0], rows.alleles[:, 1])
    features = gather_features(scored, chosen, settings.features, sources.embeddings)
    with Progress(
        f"probe {settings.name}", total=count_training_sets(NUM_FOLDS), unit="training sets"
    ) as progress:
        probe, result = fit_rows(
            features, rows.target, places, folds_by=settings.folds_by, add_work=progress.add
        )
    del features
    metrics = measure_probe(result, rows.target, rows.clusters, make_resampling(len(rows)))
    scores = predict_all(scored, probe, settings.features, sources.embeddings)
    fold, group = (np.full(len(scored), NO_FOLD) for _ in range(2))
    fold[chosen], group[chosen], scores[chosen] = result.fold, result.groups, result.scores
    reference = open_reference(settings.reference)
    inputs = sources.digests()
    key = inputs[TABLE_INPUT]
    known = chosen[result.fold != NO_FOLD]
    alleles = digest_rows(table, scored, known, reference, key)
    sources.files.require_unchanged()
    provenance = replace(
        sources.provenance,
        version=package_version(),
        source=inputs[TABLE_INPUT],
        settings=settings.triggers(),
        inputs=inputs,
    )
    stated = Prediction(
        name=settings.name,
        layer=settings.layer,
        label=rows.label.field,
        definition=rows.label.definition,
        folds_by=settings.folds_by,
        trained=len(known),
        predicted=int(np.isfinite(scores).sum()),
        in_training=len(known),
    )
    predictions = write_predictions(
        out_folder / PREDICTIONS,
        make_prediction_metadata(provenance, stated),
        scored,
        fold,
        group,
        scores,
    )
    # The last file, which states the SHA-256 of the others.
    statement = save_probe(
        out_folder,
        probe,
        result,
        metrics,
        make_origin(settings, sources, rows, key, predictions),
        alleles,
    )
    logger.info(
        "%s: %s of %s, %s by %s",
        out_folder,
        counted(result.num_rows, "labelled row"),
        rows.label.field,
        counted(result.num_folds, "fold"),
        settings.folds_by,
    )
    for sentence in statement.statements:
        logger.info("%s", sentence)


def open_sources(settings: FitProbeSettings, table: Path, embeddings: Path | None) -> Sources:
    """Open the table and the embeddings, and make sure that they belong together.

    Raises:
        InputError: A file is missing or broken, the two have different signatures, or the
            embeddings are of another layer.
    """
    files = SourceFiles()
    read_run_of(table, table_digest=files.add(table))
    provenance = read_provenance(table)
    where = f"variant_sets.{settings.variant_set}.probes.{settings.name}"
    if not uses_embeddings(settings.features):
        if embeddings is not None:
            raise InputError(f"{where}: uses `llr` alone. Leave out {shown_path(embeddings)}.")
        return Sources(table, provenance, None, files)
    if embeddings is None:
        raise InputError(
            f"{where}: needs the embeddings of the layer {settings.layer}. Name the file that "
            "`merge-embeddings` wrote."
        )
    files.add(embeddings)
    found = open_embeddings(embeddings)
    signature = read_provenance(embeddings).signature
    require_same_signature(embeddings, signature, table, provenance.signature)
    if found.layer != settings.layer:
        raise InputError(
            f"{shown_path(embeddings)}: has the layer {found.layer}, expected {settings.layer}."
        )
    return Sources(table, provenance, found, files)


def read_training_rows(
    settings: FitProbeSettings, sources: Sources
) -> tuple[LabelledRows, ProbeRows]:
    """Read the rows that have a label and a score, and where they are.

    Raises:
        InputError: The table cannot be read or lacks a column, or no row has a label and a score.
    """
    label = make_label_settings(settings.field, settings.label)
    with open_table(sources.table) as file:
        has_genes = GENE in file.schema_arrow.names
    names = [*PLACE_COLUMNS, *([GENE] if has_genes else [])]
    rows = read_labelled_rows(sources.table, label, groups=names)
    if rows.why_no_metrics:
        raise InputError(f"{shown_path(sources.table)}: {label.field}: {rows.why_no_metrics}")
    num_labelled = len(rows)
    rows = take_rows(rows, rows.is_scored)
    if not len(rows):
        raise InputError(
            f"{shown_path(sources.table)}: {label.field}: none of the "
            f"{counted(num_labelled, 'labelled row')} has a score, so there is nothing to train "
            "a probe on."
        )
    places = {name: rows.groups[name] for name in names}
    numbers = {name: read_whole_numbers(places[name]) for name in PLACE_COLUMNS if name in NUMBERS}
    circles = {}
    if settings.reference.circular_contigs:
        lengths = open_reference(settings.reference).contigs
        circles = {name: lengths[name] for name in settings.reference.circular_contigs}
    genes = None
    if has_genes:
        genes = to_array("" if text == MISSING else text for text in places[GENE])
    return rows, ProbeRows(
        contigs=places["reference_contig"],
        positions=numbers["pos"],
        refs=places["ref"],
        alts=places["alt"],
        starts=numbers["window_start"],
        ends=numbers["window_end"],
        genes=genes,
        circles=circles,
    )


NUMBERS = frozenset({"pos", "window_start", "window_end"})
"""Those of ``PLACE_COLUMNS`` that are whole numbers; each scored row has them."""


def read_whole_numbers(texts: Text) -> IntArray:
    """Whole numbers from their texts. (N,)."""
    return np.array([int(text) for text in texts], dtype=np.int64)


def take_rows(rows: LabelledRows, is_row: BoolArray) -> LabelledRows:
    """Some of the labelled rows, without their baselines."""
    return replace(
        rows,
        target=rows.target[is_row],
        alleles=rows.alleles[is_row],
        status=rows.status[is_row],
        types=rows.types[is_row],
        clusters=rows.clusters[is_row],
        scores={name: values[is_row] for name, values in rows.scores.items()},
        baselines={},
        groups={name: values[is_row] for name, values in rows.groups.items()},
    )


def make_origin(
    settings: FitProbeSettings, sources: Sources, rows: LabelledRows, key: str, predictions: str
) -> ProbeOrigin:
    """What the probe is made from.

    Args:
        settings: The probe.
        sources: The files.
        rows: The rows that it was trained on.
        key: Key of the digests of their alleles.
        predictions: SHA-256 of the predictions.
    """
    embeddings = sources.embeddings
    of_layer = {}
    if embeddings is not None:
        of_layer = {
            "layer": embeddings.layer,
            "tokens": embeddings.tokens,
            "width": embeddings.width,
            "dtype": embeddings.dtype,
        }
    return ProbeOrigin.model_validate(
        {
            "name": settings.name,
            "variant_set": settings.variant_set,
            "scoring": settings.scoring,
            "model": sources.provenance.model,
            "signature": sources.provenance.signature,
            "features": settings.features,
            **of_layer,
            "label": rows.label.field,
            "definition": rows.label.definition,
            "settings": as_json(settings.triggers()),
            "inputs": sources.digests(),
            "predictions": predictions,
            "allele_key": key,
        }
    )


def digest_rows(
    table: Path, scored: ScoredRows, chosen: IntArray, reference: Reference, key: str
) -> Digests:
    """The digests of the alleles of some rows of a table: distinct, rising.

    Raises:
        InputError: The table or the reference cannot be read.
    """
    is_chosen = np.zeros(len(scored), dtype=bool)
    is_chosen[chosen] = True
    found, begin = [], 0
    for batch in read_rows(table, COLUMNS):
        here = is_chosen[begin : begin + batch.num_rows]
        found.append(digest_alleles(batch.filter(pa.array(here)), reference, key))
        begin += batch.num_rows
    return merge_digests(found)


def write_predictions(
    out: Path,
    metadata: dict[str, str],
    scored: ScoredRows,
    fold: IntArray,
    group: IntArray,
    scores: FloatArray,
) -> str:
    """Write the predictions of all rows; gives the SHA-256 of the file.

    Args:
        out: The file.
        metadata: Its metadata.
        scored: The rows.
        fold: Fold of each row, ``NO_FOLD`` where it has none. (N,)
        group: Group of each row, in the same way. (N,)
        scores: Predictions, NaN where there is none. (N,)

    Raises:
        InputError: The file cannot be written.
    """
    schema = predictions_schema()
    with write_table(out, schema, metadata=metadata) as writer:
        for rows, keys in split_rows(scored):
            columns = [
                *keys,
                pa.array(fold[rows], pa.int32(), mask=fold[rows] == NO_FOLD),
                pa.array(group[rows], pa.int32(), mask=fold[rows] == NO_FOLD),
                pa.array(scores[rows], pa.float64(), mask=~np.isfinite(scores[rows])),
            ]
            fields = [
                column.cast(field.type) for column, field in zip(columns, schema, strict=True)
            ]
            writer.write(pa.table(fields, schema=schema))
        return writer.digest()


def make_rows(columns: Sequence[pa.Array], schema: pa.Schema) -> pa.Table:
    """Columns with the types of a schema."""
    return pa.table(
        [column.cast(field.type) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


def split_rows(scored: ScoredRows) -> Iterator[tuple[slice, list[pa.Array]]]:
    """Pieces of the rows of a table, with their keys ``record`` and ``allele``."""
    for begin in range(0, len(scored), ROWS_AT_ONCE):
        rows = slice(begin, begin + ROWS_AT_ONCE)
        record, allele = np.divmod(scored.keys[rows], scored.step)
        yield rows, [pa.array(record), pa.array(allele)]
