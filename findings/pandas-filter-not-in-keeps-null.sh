#!/bin/sh
# pandas.read_parquet and pyarrow.parquet.read_table with filters: ("x", "!=", "a") leaves out the rows in
# which x is null, as SQL does. ("x", "not in", ["a"]) keeps them. So the two ways to write one filter
# give other rows. With None in the list, "not in" leaves them out. In fastparquet it is the other way
# round: != keeps null, and "not in" also leaves out b, because it skips the row group as a whole.
#
# Versions: pandas 3.1.1, pyarrow 26.0.1, fastparquet 2026.9.0, Python 3.11.
# Seen, the rows of a, b and null that are left:
#   != a              b
#   not in [a]        b and null
#   not in [a, None]  b
#   fastparquet, != a        b and null
#   fastparquet, not in [a]  nothing
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pandas==3.1.1 pyarrow==26.0.1 fastparquet==2026.9.0 numpy==2.4.6
cd "$folder"
cat > filters.py <<'PYTHON'
"""A filter for what is not `a`, in three spellings."""

import fastparquet
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

pq.write_table(pa.table({"x": ["a", "b", None], "row": [0, 1, 2]}), "x.parquet")
for condition in (("x", "!=", "a"), ("x", "not in", ["a"]), ("x", "not in", ["a", None])):
    frame = pd.read_parquet("x.parquet", filters=[condition])
    table = pq.read_table("x.parquet", filters=[condition])
    print(*condition, "pandas", frame["row"].tolist(), "pyarrow", table["row"].to_pylist())
for condition in (("x", "!=", "a"), ("x", "not in", ["a"])):
    frame = fastparquet.ParquetFile("x.parquet").to_pandas(filters=[condition], row_filter=True)
    print(*condition, "fastparquet", frame["row"].tolist())
PYTHON
venv/bin/python filters.py > seen
cat seen
cat > expected <<'TEXT'
x != a pandas [1] pyarrow [1]
x not in ['a'] pandas [1, 2] pyarrow [1, 2]
x not in ['a', None] pandas [1] pyarrow [1]
x != a fastparquet [1, 2]
x not in ['a'] fastparquet []
TEXT
cmp seen expected
