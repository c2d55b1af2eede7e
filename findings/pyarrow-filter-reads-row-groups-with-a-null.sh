#!/bin/sh
# A filter of pyarrow's dataset (also pandas.read_parquet with filters) skips the row groups whose
# smallest and largest values exclude it, but not if the column has a null in the row group, and never
# if the column is a category (dictionary). So a filter by score or by contig on a table of variants
# reads all of it, because a score is null where there is none, and contigs are categories. DuckDB
# skips the same row groups of the same files.
#
# Versions: pyarrow 26.0.1 (18.0.0 gives the same for the null), duckdb 2.0.1, Python 3.11.
# Seen, row groups of four that are read where the rows are in one:
#   numbers without null     pyarrow 1, DuckDB 1
#   one null in each group   pyarrow 4, DuckDB 1
#   text                     pyarrow 1, DuckDB 1
#   the same as a category   pyarrow 4, DuckDB 1
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyarrow==26.0.1 duckdb==2.0.1
cd "$folder"
cat > skipping.py <<'PYTHON'
"""Row groups that are read for a filter that one of them can satisfy."""

import re

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

ROWS = range(400)
text = pa.array([f"chr{row // 100}" for row in ROWS])
columns = {
    "numbers": pa.array(ROWS),
    "numbers and null": pa.array([None if row % 100 == 7 else row for row in ROWS]),
    "text": text,
    "category": text.dictionary_encode(),
}
for name, column in columns.items():
    pq.write_table(pa.table({"x": column}), "x.parquet", row_group_size=100)
    is_text = name in ("text", "category")
    condition = pc.field("x") == "chr0" if is_text else pc.field("x") < 50
    fragment = next(ds.dataset("x.parquet").get_fragments())
    sql = "EXPLAIN ANALYZE FROM 'x.parquet' WHERE " + ("x = 'chr0'" if is_text else "x < 50")
    with duckdb.connect() as connection:
        plan = connection.execute(sql).fetchall()[0][1]
    (by_duckdb,) = re.findall(r"Row Groups Scanned: (\d+) / 4", plan)
    print(name, "pyarrow", len(fragment.subset(condition).row_groups), "DuckDB", by_duckdb)
PYTHON
venv/bin/python skipping.py > seen
cat seen
cat > expected <<'TEXT'
numbers pyarrow 1 DuckDB 1
numbers and null pyarrow 4 DuckDB 1
text pyarrow 1 DuckDB 1
category pyarrow 4 DuckDB 1
TEXT
cmp seen expected
