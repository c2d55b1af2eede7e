#!/bin/sh
# Two Parquet files read as one table, where a column is of integers in the first file and of floats in
# the second, for example DP or AF of two callers: DuckDB rounds the floats to integers without an
# error, also under a glob, where the first name in the alphabet decides. pandas with fastparquet cuts
# them. pyarrow and polars refuse. union_by_name=true gives floats, also if all names are the same.
#
# Versions: duckdb 2.0.1, pandas 3.1.1, fastparquet 2026.9.0, pyarrow 26.0.1, polars 2.1.0, Python 3.11.
# Seen, for 1 in the first file, 0.6 and 2.7 in the second:
#   DuckDB                 1, 1, 3
#   DuckDB, union_by_name  1.0, 0.6, 2.7
#   pandas, fastparquet    1, 0, 2
#   pandas, pyarrow        ArrowInvalid
#   polars                 SchemaError
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q duckdb==2.0.1 pandas==3.1.1 fastparquet==2026.9.0 pyarrow==26.0.1 polars==2.1.0 numpy==2.4.6
cd "$folder"
cat > files.py <<'PYTHON'
"""An integer in one file, floats in another."""

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

FILES = ["1.parquet", "2.parquet"]
pq.write_table(pa.table({"x": [1]}), FILES[0])
pq.write_table(pa.table({"x": [0.6, 2.7]}), FILES[1])


def show(name, read):
    try:
        print(name, list(read()))
    except Exception as error:
        print(name, type(error).__name__)


with duckdb.connect() as connection:
    for options in ("", ", union_by_name=true"):
        sql = f"SELECT x FROM read_parquet('*.parquet'{options})"
        show("DuckDB" + options, lambda: [row[0] for row in connection.execute(sql).fetchall()])
show("fastparquet", lambda: pd.read_parquet(FILES, engine="fastparquet")["x"].tolist())
show("pyarrow", lambda: pd.read_parquet(FILES, engine="pyarrow")["x"].tolist())
show("polars", lambda: pl.read_parquet(FILES)["x"].to_list())
PYTHON
venv/bin/python files.py > seen
cat seen
cat > expected <<'TEXT'
DuckDB [1, 1, 3]
DuckDB, union_by_name=true [1.0, 0.6, 2.7]
fastparquet [1, 0, 2]
pyarrow ArrowInvalid
polars SchemaError
TEXT
cmp seen expected
