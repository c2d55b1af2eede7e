"""The sequences of a reference by their digests: a file of the step ``split``.

A store finds scores by the digest of a sequence and not by its name, which differs between files.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.parquet import RowBuffer, read_rows, write_table
from evo2_tasks.table.schema import sequences_schema


class Sequence(NamedTuple):
    """A sequence of a reference.

    Attributes:
        reference_contig: Its name in the FASTA.
        length: Bases.
        refget: Its GA4GH refget accession, ``SQ.`` and 32 characters.
    """

    reference_contig: str
    length: int
    refget: str


def write_sequences(sequences: Iterable[Sequence], out: Path) -> str:
    """Write the sequences of a reference.

    Args:
        sequences: The sequences, in the order of the reference.
        out: The file to write.

    Returns:
        SHA-256 of the file.

    Raises:
        InputError: The file cannot be written.
    """
    schema = sequences_schema()
    with write_table(out, schema) as writer:
        rows = RowBuffer(writer, schema.names)
        for sequence in sequences:
            rows.add(*sequence)
        rows.flush()
        return writer.digest()


def read_sequences(source: Path, variant_set: str) -> Mapping[str, Sequence]:
    """Read the sequences of a reference, by their names.

    Args:
        source: The file, in the folder of the shards.
        variant_set: Name of the variant set, for the message.

    Raises:
        InputError: The file is broken, or an earlier version wrote the shards, without this file.
    """
    if not source.exists():
        raise InputError(
            f"{shown_path(source)} does not exist, because an earlier version of evo2-tasks wrote "
            "the shards. Write it with: evo2-tasks split --config CONFIG --variant-set "
            f"{variant_set} --out {shown_path(source.parent)}. The shards stay the same, and no "
            "finished job runs again."
        )
    names = sequences_schema().names
    sequences: dict[str, Sequence] = {}
    for batch in read_rows(source, names):
        columns = (column.to_pylist() for column in batch.select(names).columns)
        for row in zip(*columns, strict=True):
            sequences[row[0]] = Sequence(*row)
    return sequences
