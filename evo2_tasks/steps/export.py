"""The step ``export``: the table in another format."""

from importlib import import_module
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.layout import export_file


def export(table: Path, *, to: str, variants: Path | None = None, out: Path | None = None) -> None:
    """Write a table in another format.

    Args:
        table: The table from ``merge``.
        to: The format, a name in ``EXPORTS`` of :mod:`evo2_tasks.layout`.
        variants: For ``vcf``, the scored file, if it has moved. Default: the file that ``run.json``
            next to the table names.
        out: The file to write. Default: next to the table.

    Raises:
        InputError: A file cannot be read or written, the table does not belong to the variants, or
            ``variants`` is given for another format than ``vcf``.
    """
    out = export_file(table, to) if out is None else out
    write = import_module(f"evo2_tasks.exports.{to}").write
    if variants is None:
        write(table, out)
    elif to == "vcf":
        write(table, out, variants=variants)
    else:
        raise InputError(f"--variants is for the format vcf; leave it out for {to}.")
