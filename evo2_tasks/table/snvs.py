"""The scored single-base substitutions of a table, whatever the spelling of their alleles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.table.parquet import read_rows

SNV_SCHEMA: Final = pa.schema(
    [
        pa.field("contig", pa.int64()),  # index of the contig in `contigs` of `read_snvs`
        pa.field("pos", pa.int64()),  # position of the changed base, 1-based
        pa.field("ref", pa.int64()),  # ASCII code of the base
        pa.field("alt", pa.int64()),
        pa.field("llr", pa.float64()),  # nats
    ]
)


def read_snvs(
    table: Path, contigs: Sequence[str], *, contig_column: str = "reference_contig"
) -> Iterator[pa.Table]:
    """Read the single-base substitutions that have a score, in the order of the table.

    An allele of several bases (for example a codon) is included if exactly one base differs. Its
    position is that of the differing base.

    Args:
        table: The result of ``merge``.
        contigs: Names of the contigs to read.
        contig_column: The column with these names, ``contig`` or ``reference_contig``.

    Yields:
        Rows of ``SNV_SCHEMA``, in pieces.

    Raises:
        InputError: The file is not such a table.
    """
    known = pa.array(contigs, pa.string())
    for batch in read_rows(table, [contig_column, "pos", "ref", "alt", "llr"]):
        number = pc.index_in(batch.column(contig_column).cast(pa.string()), value_set=known)
        lengths = [pc.utf8_length(batch.column(name)) for name in ("ref", "alt")]
        is_kept = pc.and_(pc.equal(*lengths), pc.is_valid(batch.column("llr")))
        is_kept = pc.fill_null(pc.and_(is_kept, pc.is_valid(number)), False)
        rows = batch.filter(is_kept)
        ref, alt = rows.column("ref").to_pylist(), rows.column("alt").to_pylist()
        offsets = np.zeros(rows.num_rows, dtype=np.int64)
        for row in np.flatnonzero(pc.utf8_length(rows.column("ref")).to_numpy() > 1).tolist():
            offset = find_change(ref[row], alt[row])
            ref[row], alt[row] = ref[row][offset], alt[row][offset]
            offsets[row] = offset
        columns = [
            number.filter(is_kept).cast(pa.int64()),
            pa.array(rows.column("pos").to_numpy() + offsets),
            pa.array(_codes(ref)),
            pa.array(_codes(alt)),
            rows.column("llr"),
        ]
        yield pa.table(columns, schema=SNV_SCHEMA).filter(pa.array(offsets >= 0))


def find_change(ref: str, alt: str) -> int:
    """The offset of the only base in which two alleles of one length differ; else -1."""
    differing = [offset for offset, (one, other) in enumerate(zip(ref, alt, strict=True))
                 if one != other]  # fmt: skip
    return differing[0] if len(differing) == 1 else -1


def _codes(bases: Sequence[str]) -> npt.NDArray[np.int64]:
    # Rows that do not differ in exactly one base may contain any character; they are dropped next.
    return np.frombuffer("".join(bases).encode("ascii", "replace"), dtype=np.uint8).astype(np.int64)
