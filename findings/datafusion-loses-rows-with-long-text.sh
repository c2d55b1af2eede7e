#!/bin/sh
# A filter of DataFusion on a text column of a Parquet file finds no row, and max() gives another row's
# text, if the matching text is longer than 4,096 bytes, as a long ALT or a sequence is. pyarrow writes
# no smallest and largest value for a row group with such a text. DataFusion takes the values of the
# other row groups for those of the whole file, and skips it. The same query on the same rows in
# memory, and DuckDB and polars on the file, give the right answer.
#
# Versions: datafusion 55.0.0, pyarrow 26.0.1, duckdb 2.0.1, polars 2.1.0, Python 3.11.
# Seen, for rows with A and T in one row group, C and n times T in another:
#   n = 4,096: one row is above TT, and the maximum has 4,096 letters, in all four
#   n = 4,097: DataFusion on the file: no row is above TT, and the maximum is T
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q datafusion==55.0.0 pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0
cd "$folder"
cat > long_text.py <<'PYTHON'
"""Rows above a text, and the largest text, by three readers."""

import datafusion
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

COUNT = "SELECT count(*) FROM t WHERE alt > 'TT'"
LARGEST = "SELECT length(max(alt)) FROM t"


def ask(session):
    return [session.sql(sql).to_arrow_table().column(0)[0].as_py() for sql in (COUNT, LARGEST)]


for length in (4096, 4097):
    table = pa.table({"alt": ["A", "T", "C", "T" * length]})
    pq.write_table(table, "t.parquet", row_group_size=2)
    file, memory = datafusion.SessionContext(), datafusion.SessionContext()
    file.register_parquet("t", "t.parquet")
    memory.from_arrow(table, name="t")
    with duckdb.connect() as connection:
        connection.execute("CREATE VIEW t AS FROM 't.parquet'")
        by_duckdb = [connection.execute(sql).fetchone()[0] for sql in (COUNT, LARGEST)]
    frame = pl.scan_parquet("t.parquet")
    by_polars = [
        frame.filter(pl.col("alt") > "TT").collect().height,
        len(frame.select(pl.col("alt").max()).collect().item()),
    ]
    print(length, "DataFusion, file", *ask(file))
    print(length, "DataFusion, memory", *ask(memory))
    print(length, "DuckDB", *by_duckdb)
    print(length, "polars", *by_polars)
PYTHON
venv/bin/python long_text.py > seen
cat seen
cat > expected <<'TEXT'
4096 DataFusion, file 1 4096
4096 DataFusion, memory 1 4096
4096 DuckDB 1 4096
4096 polars 1 4096
4097 DataFusion, file 0 1
4097 DataFusion, memory 1 4097
4097 DuckDB 1 4097
4097 polars 1 4097
TEXT
cmp seen expected
