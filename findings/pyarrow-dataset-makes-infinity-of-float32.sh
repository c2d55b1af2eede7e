#!/bin/sh
# Two Parquet files of embeddings, the first of float16 and the second of float32, read as one dataset:
# pyarrow, and pandas with a list of files, turn what float16 cannot hold into infinity, without an
# error. The same readers refuse a float for an integer and an integer that is too large. polars
# refuses the file. DuckDB reads both as float32.
#
# Versions: pyarrow 26.0.1, pandas 3.1.1, polars 2.1.0, duckdb 2.0.1, Python 3.11.
# Seen, for 100,000 in the second file:
#   pandas   inf
#   pyarrow  inf
#   polars   SchemaError
#   DuckDB   100000.0
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyarrow==26.0.1 pandas==3.1.1 polars==2.1.0 duckdb==2.0.1 numpy==2.4.6
cd "$folder"
cat > vectors.py <<'PYTHON'
"""A vector of float16 in one file, one of float32 in another."""

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

FILES = ["1.parquet", "2.parquet"]
pq.write_table(pa.table({"v": pa.array([[1.0]], pa.list_(pa.float16(), 1))}), FILES[0])
pq.write_table(pa.table({"v": pa.array([[1e5]], pa.list_(pa.float32(), 1))}), FILES[1])
print("pandas", [one.tolist() for one in pd.read_parquet(FILES)["v"]])
print("pyarrow", ds.dataset(FILES).to_table()["v"].to_pylist())
try:
    print("polars", pl.scan_parquet(FILES).collect()["v"].to_list())
except pl.exceptions.PolarsError as error:
    print("polars", type(error).__name__)
with duckdb.connect() as connection:
    print("DuckDB", connection.execute(f"SELECT v FROM read_parquet({FILES})").fetchall())
PYTHON
venv/bin/python vectors.py > seen
cat seen
cat > expected <<'TEXT'
pandas [[1.0], [inf]]
pyarrow [[1.0], [inf]]
polars SchemaError
DuckDB [([1.0],), ([100000.0],)]
TEXT
cmp seen expected
