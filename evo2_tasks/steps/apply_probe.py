"""The step ``apply_probe``: the predictions of a trained probe for the alleles of another table."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.config.probes import ApplyProbeSettings, uses_embeddings
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import BoolArray, FloatArray
from evo2_tasks.evaluation.probe_features import (
    EmbeddingTable,
    ScoredRows,
    open_embeddings,
    predict_all,
    read_scored_rows,
)
from evo2_tasks.evaluation.probe_files import find_folder, load_probe, load_training_alleles
from evo2_tasks.evaluation.probe_statements import ProbeStatement
from evo2_tasks.evaluation.training_alleles import COLUMNS, Digests, digest_alleles, find_known
from evo2_tasks.genome.reference import Reference
from evo2_tasks.io.allocation import return_large_arrays
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, shown, shown_path
from evo2_tasks.layout import PROBE, PROBE_WEIGHTS
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.steps.fit_probe import split_rows
from evo2_tasks.table.parquet import read_rows, write_table
from evo2_tasks.table.probes import (
    EMBEDDINGS_INPUT,
    FIT_STEP,
    PROBE_INPUT,
    Prediction,
    applied_schema,
    make_prediction_metadata,
)
from evo2_tasks.table.provenance import (
    package_version,
    read_provenance,
    require_same_signature,
    require_settings,
)
from evo2_tasks.table.schema import STATUS
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)


def apply_probe(
    settings: ApplyProbeSettings,
    *,
    trained: Path,
    table: Path,
    embeddings: Sequence[Path],
    out: Path,
) -> None:
    """Predict all rows of a table with a trained probe.

    Alleles that the probe was trained on are marked: their predictions are not independent.

    Args:
        settings: The probe and the variant set.
        trained: Folder of the probe, or its ``probe.json``.
        table: The result of ``merge``.
        embeddings: The embeddings of the same alleles, of one or more layers.
        out: The file to write.

    Raises:
        InputError: A file is missing, broken or was replaced meanwhile; or the probe is of another
            signature, layer or number of tokens than the table and the embeddings.
    """
    return_large_arrays()
    folder = find_folder(trained)
    files = SourceFiles()
    digest = files.add(folder / PROBE)
    files.add(folder / PROBE_WEIGHTS)
    probe, statement = load_probe(folder)
    known = load_training_alleles(folder)
    if settings.fit is not None:
        require_settings(folder / PROBE, statement.settings, settings.fit.triggers(), FIT_STEP)
    table_digest = files.add(table)
    read_run_of(table, table_digest=table_digest)
    provenance = read_provenance(table)
    signature = statement.signature.as_json()
    require_same_signature(folder / PROBE, signature, table, provenance.signature)
    found = find_embeddings(folder, statement, embeddings, table, files)
    scored = read_scored_rows(table)
    scores = predict_all(scored, probe, statement.features, found)
    reference = open_reference(settings.reference)
    in_training = find_training_rows(table, scored, reference, known, statement.allele_key)
    files.require_unchanged()
    inputs = {PROBE_INPUT: digest}
    inputs |= {} if found is None else {EMBEDDINGS_INPUT: files.digest(found.path)}
    stated_prediction = Prediction(
        name=settings.name,
        layer=statement.layer,
        label=statement.label,
        definition=statement.definition,
        folds_by=statement.folds_by,
        trained=statement.num_rows,
        predicted=int(np.isfinite(scores).sum()),
        in_training=int(in_training.sum()),
    )
    metadata = make_prediction_metadata(
        replace(
            provenance,
            version=package_version(),
            source=table_digest,
            settings=settings.triggers(),
            inputs=inputs,
        ),
        stated_prediction,
    )
    write_applied(out, metadata, scored, scores, in_training)
    logger.info("%s: %s with a prediction", out, counted(stated_prediction.predicted, "allele"))
    describe_training(stated_prediction, len(scored))


def find_embeddings(
    folder: Path,
    statement: ProbeStatement,
    embeddings: Sequence[Path],
    table: Path,
    files: SourceFiles,
) -> EmbeddingTable | None:
    """The embeddings that a probe needs; None if it uses ``llr`` alone.

    Args:
        folder: The folder of the probe, for messages.
        statement: What the probe states.
        embeddings: The embeddings of the table, of one or more layers.
        table: The table.
        files: Gets the embeddings.

    Raises:
        InputError: There are no embeddings of the layer, or they have other tokens, another width
            or another signature.
    """
    if not uses_embeddings(statement.features):
        return None
    where = shown_path(folder / PROBE)
    opened = {one.layer: one for one in map(open_embeddings, embeddings)}
    layer = str(statement.layer)
    if layer not in opened:
        has = f"has embeddings of: {', '.join(opened)}" if opened else "has no embeddings"
        raise InputError(
            f"{where}: the probe was trained on the layer {shown(layer)}, and the scoring {has}. "
            f"Add `embeddings: {{layer: {shown(layer)}, tokens: {statement.tokens}}}` to the "
            "scoring."
        )
    found = opened[layer]
    if found.tokens != statement.tokens or found.width != statement.width:
        raise InputError(
            f"{where}: the probe was trained on means of {statement.tokens} tokens with "
            f"{statement.width} numbers, but {shown_path(found.path)} has means of {found.tokens} "
            f"tokens with {found.width} numbers. Set `embeddings.tokens: {statement.tokens}` in "
            "the scoring."
        )
    files.add(found.path)
    signature = read_provenance(found.path).signature
    require_same_signature(found.path, signature, table, read_provenance(table).signature)
    return found


def find_training_rows(
    table: Path, scored: ScoredRows, reference: Reference, known: Digests, key: str
) -> BoolArray:
    """Which rows of a table have an allele that the probe was trained on; scored rows only. (N,).

    Raises:
        InputError: The table or the reference cannot be read.
    """
    found = np.zeros(len(scored), dtype=bool)
    begin = 0
    with Progress("apply_probe", total=len(scored), unit="alleles") as progress:
        for batch in read_rows(table, [*COLUMNS, STATUS.name]):
            is_scored = pc.equal(batch.column(STATUS.name).cast(pa.string()), "scored")
            digests = digest_alleles(batch.filter(is_scored), reference, key)
            rows = begin + np.flatnonzero(is_scored.to_numpy(zero_copy_only=False))
            found[rows] = find_known(digests, known)
            begin += batch.num_rows
            progress.add(batch.num_rows)
    return found


def write_applied(
    out: Path,
    metadata: dict[str, str],
    scored: ScoredRows,
    scores: FloatArray,
    in_training: BoolArray,
) -> None:
    """Write the predictions of all rows.

    Args:
        out: The file.
        metadata: Its metadata.
        scored: The rows.
        scores: Predictions, NaN where there is none. (N,)
        in_training: Whether the probe was trained on each row. (N,)

    Raises:
        InputError: The file cannot be written.
    """
    schema = applied_schema()
    with write_table(out, schema, metadata=metadata) as writer:
        for rows, keys in split_rows(scored):
            columns = [
                *keys,
                pa.array(scores[rows], pa.float64(), mask=~np.isfinite(scores[rows])),
                pa.array(in_training[rows]),
            ]
            fields = [
                column.cast(field.type) for column, field in zip(columns, schema, strict=True)
            ]
            writer.write(pa.table(fields, schema=schema))


def describe_training(stated: Prediction, num_rows: int) -> None:
    """Write a line to the log about the alleles that the probe was trained on."""
    if stated.in_training:
        logger.warning(
            "%s of %s were used to train the probe %s: their predictions are not independent, and "
            "`evaluate` leaves them out",
            f"{stated.in_training:,}", counted(num_rows, "allele"), stated.name,
        )  # fmt: skip
