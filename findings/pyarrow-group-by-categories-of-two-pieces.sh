#!/bin/sh
# Table.group_by and Table.join of pyarrow raise ArrowNotImplementedError, "Unifying differing
# dictionaries", for a category (dictionary) column of a Parquet file whose row groups do not all have
# the same categories, as a file that was written piece by piece, or for two such files read as one
# dataset. With one row group they work, and so do filters, unique and value_counts. So a program that
# was tried on a small table fails on a large one. unify_dictionaries() before the call helps.
#
# Versions: pyarrow 26.0.1, Python 3.11.
# Seen, for contigs 1, 2 and 2, 3 in two pieces:
#   one row group                    counts
#   two row groups                   ArrowNotImplementedError
#   two files                        ArrowNotImplementedError
#   two row groups, unique, filter   3 contigs, 2 rows
#   two row groups, unified          counts
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyarrow==26.0.1
cd "$folder"
cat > groups.py <<'PYTHON'
"""Counts of a category in one row group, in two, and in two files."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

PIECES = [["1", "2"], ["2", "3"]]
KIND = pa.dictionary(pa.int32(), pa.string())


def write(path, pieces):
    with pq.ParquetWriter(path, pa.schema([("contig", KIND)])) as writer:
        for piece in pieces:
            writer.write_table(pa.table({"contig": pa.array(piece).dictionary_encode()}))


def count(name, table):
    try:
        counts = table.group_by("contig").aggregate([([], "count_all")])
        print(name, "group_by", sorted(zip(*counts.to_pydict().values(), strict=True)))
        joined = table.join(pa.table({"contig": ["2"]}), "contig", join_type="inner")
        print(name, "join", joined.num_rows)
    except pa.ArrowException as error:
        print(name, type(error).__name__, error)


write("one.parquet", [sum(PIECES, [])])
write("two.parquet", PIECES)
for number, piece in enumerate(PIECES):
    write(f"file{number}.parquet", [piece])
two = pq.read_table("two.parquet")
count("one row group:", pq.read_table("one.parquet"))
count("two row groups:", two)
count("two files:", ds.dataset(["file0.parquet", "file1.parquet"]).to_table())
print("unique, filter:", len(two["contig"].unique()), two.filter(pc.field("contig") == "2").num_rows)
count("unified:", two.unify_dictionaries())
PYTHON
venv/bin/python groups.py > seen
cat seen
cat > expected <<'TEXT'
one row group: group_by [('1', 1), ('2', 2), ('3', 1)]
one row group: join 2
two row groups: ArrowNotImplementedError Unifying differing dictionaries
two files: ArrowNotImplementedError Unifying differing dictionaries
unique, filter: 3 2
unified: group_by [('1', 1), ('2', 2), ('3', 1)]
unified: join 2
TEXT
cmp seen expected
