"""The step ``export``: the table in another format."""

import gzip
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Final

from evo2_tasks.errors import InputError
from evo2_tasks.io.streams import writing_output
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import EXPORTS, export_file
from evo2_tasks.table.combined import read_combination

PLAIN: Final = "tsv"
"""The format that any table can be exported to."""


def export(table: Path, *, to: str, variants: Path | None = None, out: Path | None = None) -> None:
    """Write a table in another format.

    Args:
        table: The table from ``merge``.
        to: The format, a name in ``EXPORTS`` of :mod:`evo2_tasks.layout`.
        variants: For ``vcf``, the scored file, if it has moved. Default: the file that ``run.json``
            next to the table names.
        out: The file to write; ``-`` is standard output, which gets the text uncompressed.
            Default: next to the table.

    Raises:
        InputError: A file cannot be read or written, the table does not belong to the variants,
            ``variants`` is given for another format than ``vcf``, or the table has several scorings
            and the format is not ``tsv``.
    """
    if out == Path("-"):
        with tempfile.TemporaryDirectory(prefix="evo2-tasks-") as folder:
            file = Path(folder) / EXPORTS[to]
            export(table, to=to, variants=variants, out=file)
            _print_text(file)
        return
    if to != PLAIN and read_combination(table) is not None:
        raise InputError(
            f"{shown_path(table)}: has several scorings, so it can be exported to {PLAIN} only. To "
            f"export to {to}, name the table of one scoring."
        )
    out = export_file(table, to) if out is None else out
    write = import_module(f"evo2_tasks.exports.{to}").write
    if variants is None:
        write(table, out)
    elif to == "vcf":
        write(table, out, variants=variants)
    else:
        raise InputError(f"--variants is for the format vcf; leave it out for {to}.")


def _print_text(file: Path) -> None:
    """Write a file to standard output, uncompressed.

    Raises:
        InputError: Standard output cannot be written, for example to a full disk.
        BrokenPipeError: The program that reads standard output has ended.
    """
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as text, writing_output():
        shutil.copyfileobj(text, sys.stdout.buffer)
        sys.stdout.buffer.flush()
