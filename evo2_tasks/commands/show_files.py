"""What ``show`` prints about the audit of a horizon, and about the other files of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import pyarrow as pa

from evo2_tasks.commands.aligned_text import (
    FIRST_ROWS,
    flatten,
    format_pairs,
    format_quantiles,
    format_rows,
)
from evo2_tasks.errors import InputError
from evo2_tasks.exports.tsv import escape_text
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.layout import AUDIT, AUDIT_RUN, RUN, TABLES
from evo2_tasks.table.audit import AUDITED_SCORES, window_name
from evo2_tasks.table.documents import Audit, AuditWork, Run
from evo2_tasks.table.parquet import count_rows, open_table, read_metadata, read_rows
from evo2_tasks.table.provenance import METADATA_MEANINGS, PREFIX, read_object, read_provenance
from evo2_tasks.table.statements import Statement, require_table
from evo2_tasks.table.statistics import Distribution


def show_audit(file: Path) -> Iterator[str]:
    """Describe the audit of a horizon: its work, the error of the scores, and the first rows.

    Args:
        file: The table of ``merge_audit``.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken, or ``audit.json`` next to it is of another table.
    """
    provenance = read_provenance(file)
    digest = digest_file(file)
    work = file.with_name(AUDIT_RUN)
    done = AuditWork.read(work) if file.name == AUDIT and work.exists() else None
    if done is not None:
        statement = Statement(work, done.table_digest, TABLES[AUDIT])
        require_table(file, [statement], table_digest=digest)
    names = [window_name(score) for score in AUDITED_SCORES]
    numbers = {name: Distribution() for name in names}
    for batch in read_rows(file, names):
        for name, distribution in numbers.items():
            distribution.add(batch.column(name).drop_null().to_numpy())
    num_rows = count_rows(file)
    yield shown_path(file)
    yield from format_pairs(
        {
            "rows": f"{num_rows:,} alleles, scored with whole windows",
            **({} if done is None else _describe_work(done)),
            "version": escape_text(provenance.version),
            "model": escape_text(provenance.model or ""),
            **flatten("", provenance.signature),
        }
    )
    yield ""
    yield from _format_errors(_read_errors(file, digest))
    mean = numbers[names[0]]
    if mean.count:
        yield ""
        yield from format_quantiles(f"{names[0]}, nats", mean)
    yield from _format_first_rows(file, ["record", "allele", *names])


def _describe_work(done: AuditWork) -> dict[str, str]:
    devices = ", ".join(f"{shown(name)} ({number:,})" for name, number in done.devices.items())
    return {
        "windows run": f"{done.windows_run:,}",
        "tokens run": f"{done.tokens_run:,}",
        "seconds": f"{done.wall_s:,.1f}",
        "devices": devices or "not stated",
    }


def _read_errors(file: Path, digest: str) -> Audit | None:
    """What ``run.json`` next to the audit states about it; None if it states another audit."""
    run_file = file.with_name(RUN)
    audit = Run.read(run_file).audit if run_file.exists() else None
    return audit if audit is not None and audit.table_digest == digest else None


def _format_errors(audit: Audit | None) -> Iterator[str]:
    title = "how the scores with the horizon differ from those of whole windows, nats"
    if audit is None:
        yield f"{title}: not known; {RUN} next to the file does not state this audit"
        return
    yield title
    if not audit.errors:
        yield "  no allele has both scores"
        return
    names = ["score", "alleles", "root mean square", "99 %", "largest", "Spearman"]
    rows = [
        dict(
            zip(
                names,
                (score, error.alleles, error.rms, error.p99, error.largest, error.spearman),
                strict=True,
            )
        )
        for score, error in audit.errors.items()
    ]
    for line in format_rows(pa.Table.from_pylist(rows).to_batches(), names):
        yield f"  {line}"


def show_columns(file: Path) -> Iterator[str]:
    """Describe any other file of a run: its metadata, its columns and its first rows.

    Args:
        file: A Parquet file.

    Yields:
        Lines of text.

    Raises:
        InputError: The file is missing or broken, or no step wrote it.
    """
    stored = read_metadata(file)
    if PREFIX + "version" not in stored:
        raise InputError(
            f"{shown_path(file)}: the metadata does not name a version of evo2-tasks. Expected a "
            "Parquet file that a step of evo2-tasks wrote, for example `merge`."
        )
    with open_table(file) as parquet:
        schema = parquet.schema_arrow
        num_row_groups = parquet.metadata.num_row_groups
    yield shown_path(file)
    yield from format_pairs(
        {
            "rows": f"{count_rows(file):,} in {num_row_groups:,} row groups",
            **_describe_metadata(file, stored),
        }
    )
    yield ""
    yield "columns"
    yield from format_pairs({escape_text(field.name): _describe_field(field) for field in schema})
    yield from _format_first_rows(file, schema.names)


def _describe_metadata(file: Path, stored: Mapping[str, str]) -> dict[str, str]:
    """What the metadata of a file states, JSON objects by their keys."""
    texts: dict[str, str] = {}
    for key in METADATA_MEANINGS:
        text = stored.get(PREFIX + key)
        if text is not None and text.startswith("{"):
            prefix = "" if key == "signature" else f"{key}."
            texts |= flatten(prefix, read_object(file, stored, key) or {})
        elif text is not None:
            texts[key] = escape_text(text)
    return texts


def _describe_field(field: pa.Field) -> str:
    """Unit and meaning of a column, if the file states them, else its type."""
    stored = field.metadata or {}
    unit = stored.get(b"unit", b"none").decode(errors="replace")
    text = stored.get(b"description", str(field.type).encode()).decode(errors="replace")
    return escape_text(text if unit == "none" else f"{text} [{unit}]")


def _format_first_rows(file: Path, names: list[str]) -> Iterator[str]:
    if count_rows(file):
        yield ""
        rows = read_rows(file, names, batch_rows=FIRST_ROWS)
        yield from format_rows(islice(rows, 1), names)
