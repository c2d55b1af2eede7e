"""The digests of the reference's blocks: a file of the step ``split``.

``split`` reads a reference from end to end. Later steps read pieces of it, and compare these with
the digests in this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.genome.blocks import Block
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.parquet import RowBuffer, read_rows, write_table
from evo2_tasks.table.schema import reference_schema


def write_blocks(blocks: Iterable[Block], out: Path) -> str:
    """Write the digests of all blocks of a reference.

    Args:
        blocks: The blocks, in the order of the reference.
        out: The file to write.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: The file cannot be written.
    """
    schema = reference_schema()
    with write_table(out, schema) as writer:
        rows = RowBuffer(writer, schema.names)
        for block in blocks:
            rows.add(block.reference_contig, block.start, block.end, block.sha256.hex())
        rows.flush()
        return writer.digest()


def read_blocks(source: Path) -> Iterator[Block]:
    """Read the digests of all blocks of a reference, in its order.

    Raises:
        InputError: The file is missing or broken.
    """
    names = reference_schema().names
    for batch in read_rows(source, names):
        columns = (column.to_pylist() for column in batch.select(names).columns)
        for contig, start, end, sha256 in zip(*columns, strict=True):
            try:
                yield Block(contig, start, end, bytes.fromhex(sha256))
            except ValueError as error:
                raise InputError(
                    f"{shown_path(source)}: the digest of a block is not hexadecimal. Run split "
                    "again."
                ) from error
