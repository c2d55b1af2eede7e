#!/bin/sh
# A column of vectors of integers (quantised embeddings, counts, hashes) as fixed-size lists: if one row
# is null, pandas and pyarrow's to_pandas() give all other rows as float64. Lists of any length stay
# integers beside a null, and so do fixed-size lists without a null. So whether 8-bit vectors take 1
# or 8 bytes a value depends on one missing row, and 64-bit hashes lose their last digits.
#
# Versions: pyarrow 26.0.1, pandas 3.1.1, polars 2.1.0, numpy 2.4.6, Python 3.11.
# Seen, for [4611686018427387905] (2^62 + 1) read by pandas from a Parquet file:
#   fixed-size list, no null row       int64, 4611686018427387905
#   fixed-size list, another row null  float64, 4611686018427387904
#   list, another row null             int64, 4611686018427387905
#   polars, fixed-size, a null row     4611686018427387905
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyarrow==26.0.1 pandas==3.1.1 polars==2.1.0 numpy==2.4.6
cd "$folder"
cat > vectors.py <<'PYTHON'
"""Vectors of 64-bit integers in a Parquet file, with and without a row that is null."""

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

NUMBER = 2**62 + 1

for name, kind in (("fixed", pa.list_(pa.int64(), 1)), ("list", pa.list_(pa.int64()))):
    for other in ([0], None):
        path = f"{name}.parquet"
        pq.write_table(pa.table({"v": pa.array([[NUMBER], other], type=kind)}), path)
        first = pd.read_parquet(path)["v"][0]
        print("pandas", name, other, first.dtype, int(first[0]))
        print("polars", name, other, int(pl.read_parquet(path)["v"][0][0]))
PYTHON
venv/bin/python vectors.py > seen
cat seen
cat > expected <<'TEXT'
pandas fixed [0] int64 4611686018427387905
polars fixed [0] 4611686018427387905
pandas fixed None float64 4611686018427387904
polars fixed None 4611686018427387905
pandas list [0] int64 4611686018427387905
polars list [0] 4611686018427387905
pandas list None int64 4611686018427387905
polars list None 4611686018427387905
TEXT
cmp seen expected
