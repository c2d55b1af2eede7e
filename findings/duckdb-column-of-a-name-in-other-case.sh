#!/bin/sh
# Keys of INFO differ by case: AF and af are two. DuckDB reads a Parquet file with both as AF and af_1.
# If a second file has them in the other order, DuckDB puts the values of its af under AF and those of
# its AF under af_1, with and without union_by_name, and without an error. polars, pyarrow and
# DataFusion keep them apart. With one of the two names in each file they are one column of DuckDB.
#
# Versions: duckdb 2.0.1, polars 2.1.0, pyarrow 26.0.1, Python 3.11.
# Seen, where AF is 1 and 2 in the two files, af is 10 and 20:
#   DuckDB   AF 1, 20   af_1 10, 2
#   polars   AF 1, 2    af 10, 20
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q duckdb==2.0.1 polars==2.1.0 pyarrow==26.0.1
cd "$folder"
cat > case.py <<'PYTHON'
"""Two columns whose names differ by case, in another order in the second file."""

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

FILES = ["1.parquet", "2.parquet"]
pq.write_table(pa.table({"AF": [1], "af": [10]}), FILES[0])
pq.write_table(pa.table({"af": [20], "AF": [2]}), FILES[1])
with duckdb.connect() as connection:
    for options in ("", ", union_by_name=true"):
        found = connection.execute(f"SELECT * FROM read_parquet({FILES}{options})")
        names = [column[0] for column in found.description]
        columns = map(list, zip(*found.fetchall(), strict=True))
        print("DuckDB" + options, dict(zip(names, columns, strict=True)))
print("polars", pl.read_parquet(FILES).to_dict(as_series=False))
PYTHON
venv/bin/python case.py > seen
cat seen
cat > expected <<'TEXT'
DuckDB {'AF': [1, 20], 'af_1': [10, 2]}
DuckDB, union_by_name=true {'AF': [1, 20], 'af_1': [10, 2]}
polars {'AF': [1, 2], 'af': [10, 20]}
TEXT
cmp seen expected
