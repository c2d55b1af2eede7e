"""Files next to a table: each states which table it was made from, and readers compare.

``run.json`` and the files of ``evaluate`` are about one table. They state its SHA-256, so that they
are never shown next to another table: one that was edited, made again, or put in its place.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import CALIBRATED, run_file_of
from evo2_tasks.table.documents import Run
from evo2_tasks.table.parquet import open_table, read_metadata
from evo2_tasks.table.provenance import (
    PREFIX,
    canonical_json,
    package_version,
    read_object,
    require_settings,
)
from evo2_tasks.table.schema import ALLELE, RECORD, STATUS

logger = logging.getLogger(__name__)

_NEEDED: Final = (RECORD.name, ALLELE.name, STATUS.name)
"""Columns of every table that ``run.json`` can be about."""

CALIBRATED_INPUT: Final = "calibrated"
"""Key of ``inputs`` for the file of calibrated columns next to a table."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a file states about the table that it was made from.

    Attributes:
        file: The file.
        table_digest: SHA-256 of that table; None if the file does not state it.
        step: The step that writes the file.
    """

    file: Path
    table_digest: str | None
    step: str


def make_statement_metadata(
    table_digest: str, settings: Mapping[str, Any], inputs: Mapping[str, str]
) -> dict[str, str]:
    """The metadata of a Parquet file that was made from a table.

    Args:
        table_digest: SHA-256 of the table.
        settings: Settings of the step that run it again if they change.
        inputs: SHA-256 of the other files that shape its rows; may be empty.
    """
    return {
        PREFIX + "version": package_version(),
        PREFIX + "source": table_digest,
        PREFIX + "settings": canonical_json(settings),
        **({PREFIX + "inputs": canonical_json(inputs)} if inputs else {}),
    }


def require_stated_settings(file: Path, expected: Mapping[str, Any], step: str) -> None:
    """Make sure that a Parquet file was made with the settings of the config.

    Args:
        file: The file. Only files of earlier versions do not state their settings.
        expected: The settings that the config has for its step.
        step: The step that writes the file.

    Raises:
        InputError: It was made with other settings, or is missing or broken.
    """
    stated = read_object(file, read_metadata(file), "settings")
    if stated is not None:
        require_settings(file, stated, expected, step)


def read_run_of(table: Path, *, table_digest: str | None = None) -> Run | None:
    """Read the ``run.json`` of a table, and make sure that it is about this table.

    Args:
        table: The table.
        table_digest: SHA-256 of the table, if it is known. Default: it is computed.

    Returns:
        Its content; None if there is no such file.

    Raises:
        InputError: The file is not a table of scores; or ``run.json`` is about another table, so
            one of them was replaced, or it is broken.
    """
    run_file = run_file_of(table)
    if not run_file.exists():
        return None
    run = Run.read(run_file)
    with open_table(table, _NEEDED):  # else it is another file of the folder
        pass
    require_table(
        table, [Statement(run_file, run.table_digest, "merge")], table_digest=table_digest
    )
    return run


def read_statement(file: Path, step: str) -> Statement:
    """Read the statement in the metadata of a Parquet file.

    Args:
        file: The file.
        step: The step that writes it.

    Raises:
        InputError: The file is missing or broken.
    """
    return Statement(file, read_metadata(file).get(PREFIX + "source"), step)


def require_table(
    table: Path, statements: Sequence[Statement], *, table_digest: str | None = None
) -> None:
    """Make sure that files were made from the table that they are shown next to.

    Files without a statement are of an earlier version, and are used: one line of the log says so.

    Args:
        table: The table.
        statements: What the files state.
        table_digest: SHA-256 of the table, if it is known. Default: it is computed.

    Raises:
        InputError: A file was made from another table.
    """
    silent = [one for one in statements if one.table_digest is None]
    stating = [one for one in statements if one.table_digest is not None]
    if stating and table_digest is None:
        table_digest = digest_file(table)
    for one in stating:
        if one.table_digest != table_digest:
            raise InputError(
                f"{shown_path(one.file)} was made from another table than {shown_path(table)}. "
                f"One of them was replaced or changed. Run `{one.step}` again: delete "
                f"{shown_path(one.file.name)} and run the workflow, or run the command by hand."
            )
    if silent:
        names = ", ".join(shown_path(one.file.name) for one in silent)
        steps = " and ".join(f"`{step}`" for step in dict.fromkeys(one.step for one in silent))
        logger.warning(
            "%s: cannot be checked against %s: an earlier version wrote %s and did not state the "
            "table. To have it checked, run %s again.",
            shown_path(table), names, "it" if len(silent) == 1 else "them", steps,
        )  # fmt: skip


def require_calibrated(file: Path, step: str) -> None:
    """Make sure that a file was made from the ``calibrated.parquet`` next to it, if from any.

    Args:
        file: A Parquet file that was made from a table and its calibrated columns.
        step: The step that writes the file.

    Raises:
        InputError: It was made from another file of calibrated columns.
    """
    calibrated = file.with_name(CALIBRATED)
    stated = (read_object(file, read_metadata(file), "inputs") or {}).get(CALIBRATED_INPUT)
    if stated is not None and calibrated.exists() and digest_file(calibrated) != stated:
        raise InputError(
            f"{shown_path(file)} was made from another version of {shown_path(calibrated)}. One of "
            f"them was replaced or changed. Run `{step}` again: delete {shown_path(file.name)} and "
            "run the workflow, or run the command by hand."
        )
