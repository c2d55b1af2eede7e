"""The step ``combine``: several scorings of a variant set in one table."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from evo2_tasks.config.resolve import CombineSettings
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.words import LONG, counted, shown, shown_path
from evo2_tasks.table.combined import (
    combined_schema,
    find_copied_fields,
    measure_ensembles,
    write_combined,
)
from evo2_tasks.table.documents import Combination, CombinedScoring, Signature
from evo2_tasks.table.parquet import read_metadata, write_table
from evo2_tasks.table.provenance import PREFIX, canonical_json, package_version, read_provenance
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)


def combine(settings: CombineSettings, *, tables: Mapping[str, Path], out: Path) -> None:
    """Write the scores of several scorings of a variant set into one table.

    Args:
        settings: The scorings, the ensembles, and the score of which these are made.
        tables: The result of ``merge`` of each scoring.
        out: The table to write.

    Raises:
        InputError: A table is missing or broken, is not the one of its ``run.json`` or was replaced
            meanwhile, the tables have different alleles, references or columns, a carried column
            has the name of another column, or the table cannot be written.
    """
    files = SourceFiles()
    scorings = [read_scoring(name, table, files) for name, table in tables.items()]
    require_one_reference(tables, scorings)
    fields = require_same_columns(tables)
    schema = combined_schema([*tables], settings.ensembles, fields)
    ensembles = measure_ensembles(tables, settings.score, settings.ensembles)
    stored = read_metadata(next(iter(tables.values())))
    metadata = {
        PREFIX + "version": package_version(),
        PREFIX + "settings": canonical_json(settings.triggers()),
        **{key: stored[key] for key in (PREFIX + "order", PREFIX + "annotations") if key in stored},
    }
    with write_table(out, schema, metadata=metadata) as writer:
        copied = [field.name for field in fields]
        num_scored = write_combined(tables, writer, settings.score, ensembles, copied)
        combination = Combination(
            name=settings.name,
            score=settings.score,
            scorings=tuple(scorings),
            ensembles=dict(ensembles.reasons),
            scored=num_scored,
        )
        writer.add_metadata({PREFIX + "combination": json.dumps(combination.as_json())})
        files.require_unchanged()
        writer.finish()
    logger.info(
        "%s: %s, %s of them scored in all scorings", out, counted(writer.num_rows, "row"),
        f"{num_scored:,}",
    )  # fmt: skip
    for name, reason in ensembles.reasons.items():
        if reason:
            logger.warning("%s: %s is null in all rows: %s", out, name, reason)


def read_scoring(name: str, table: Path, files: SourceFiles) -> CombinedScoring:
    """Read what a table states about its scores, and state it in the log.

    Args:
        name: Name of the scoring.
        table: Its table.
        files: Gets the table.

    Raises:
        InputError: The table is missing or broken, or is not the one of its ``run.json``.
    """
    digest = files.add(table)
    read_run_of(table, table_digest=digest)
    provenance = read_provenance(table)
    signature = Signature.parse(provenance.signature, shown_path(table))
    logger.info(
        "%s: %s, SHA-256 %s, signature %s", name, table, digest,
        shown(canonical_json(provenance.signature), LONG),
    )  # fmt: skip
    return CombinedScoring(
        name=name,
        table=digest,
        signature=signature,
        version=provenance.version,
        model=provenance.model,
    )


def require_one_reference(tables: Mapping[str, Path], scorings: Sequence[CombinedScoring]) -> None:
    """Make sure that all scorings are of one reference; else their scores are of other alleles.

    Raises:
        InputError: Two references differ.
    """
    first, *others = scorings
    for other in others:
        if other.signature.reference != first.signature.reference:
            raise InputError(
                f"{shown_path(tables[first.name])} and {shown_path(tables[other.name])}: their "
                "references differ, but the scorings of a variant set have the same. Run `merge` "
                "again."
            )


def require_same_columns(tables: Mapping[str, Path]) -> list[pa.Field]:
    """Make sure that all tables have the same annotations and carried columns.

    Returns:
        The fields of these columns.

    Raises:
        InputError: A table is missing or broken, or the columns differ.
    """
    first, *others = tables.values()
    fields = find_copied_fields(first)
    expected = {field.name: field.type for field in fields}
    for other in others:
        found = {field.name: field.type for field in find_copied_fields(other)}
        if found != expected:
            differs = {*found.items()} ^ {*expected.items()}
            name = next(name for name in [*expected, *found] if name in dict(differs))
            raise InputError(
                f"{shown_path(first)} and {shown_path(other)}: their carried columns or annotations"
                f" differ ({shown(name)}): they are of different runs. Run `merge` again."
            )
    return fields
