#!/bin/sh
# fastparquet, also through pandas.read_parquet(engine="fastparquet"), reads a column of lists of structs as
# None in every row, without an error or a warning. A vector of float16 comes as bytes, without the
# zero bytes at their end: 1.0 is b"\x00<", 0.0 is b"". pyarrow and polars read both.
#
# Versions: fastparquet 2026.9.0, pandas 3.1.1, pyarrow 26.0.1, numpy 2.4.6, Python 3.11.
# Seen:
#   [{"record": 1}]   None
#   [1.0, 0.0]        [b"\x00<", b""]
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
cd "$folder"
cat > lists.py <<'PYTHON'
"""A list of structs and a vector of float16."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

members = pa.array([[{"record": 1}], []], pa.list_(pa.struct([("record", pa.int64())])))
vectors = pa.array([[1.0, 0.0], [0.5, -2.0]], pa.list_(pa.float16()))
pq.write_table(pa.table({"members": members, "vector": vectors}), "x.parquet")
for engine in ("pyarrow", "fastparquet"):
    frame = pd.read_parquet("x.parquet", engine=engine)
    print(engine, [None if one is None else list(one) for one in frame["members"]])
    print(engine, [[bytes(x) if isinstance(x, bytes) else float(x) for x in one] for one in frame["vector"]])
PYTHON
venv/bin/python lists.py > seen
cat seen
cat > expected <<'TEXT'
pyarrow [[{'record': 1}], []]
pyarrow [[1.0, 0.0], [0.5, -2.0]]
fastparquet [None, None]
fastparquet [[b'\x00<', b''], [b'\x008', b'\x00\xc0']]
TEXT
cmp seen expected
