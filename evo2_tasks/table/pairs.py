"""The two windows of each allele and strand, read from a windows file."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from evo2_tasks.genome.windows import PlacedAllele, Strand, strand_sequences
from evo2_tasks.scoring.windows import WindowPair
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.segments import Segments

PLACEMENT_COLUMNS = tuple(PlacedAllele.__slots__)


def read_pairs(
    windows_file: Path, segments: Segments, strands: Sequence[Strand]
) -> Iterator[WindowPair]:
    """The windows of each allele and strand that is to be scored, in the order of the rows."""
    first_row = 0
    for batch in read_rows(windows_file, PLACEMENT_COLUMNS):
        columns = [batch.column(name).to_pylist() for name in PLACEMENT_COLUMNS]
        for row, values in enumerate(zip(*columns, strict=True), start=first_row):
            placed = PlacedAllele(*values)
            contig, num_ref, alt = placed.reference_contig, placed.edit_ref, placed.edit_alt
            if contig is None or num_ref is None or alt is None:
                continue
            for strand in strands:
                prefix = placed.prefix_fwd if strand == "forward" else placed.prefix_rev
                if prefix is not None:
                    ref_seq, alt_seq = strand_sequences(
                        segments.fetch, placed, strand, *segments.contigs[contig]
                    )
                    yield WindowPair(row, strand, ref_seq, alt_seq, prefix, num_ref, len(alt))
        first_row += batch.num_rows


def digest_pairs(pairs: Sequence[WindowPair]) -> str:
    """SHA-256 of the windows of a part and of where they belong."""
    digest = hashlib.sha256()
    for pair in pairs:
        place = (pair.row, pair.strand, pair.prefix, pair.num_ref, pair.num_alt, len(pair.ref_seq))
        digest.update(f"{place}".encode())
        digest.update(pair.ref_seq)
        digest.update(pair.alt_seq)
    return digest.hexdigest()
