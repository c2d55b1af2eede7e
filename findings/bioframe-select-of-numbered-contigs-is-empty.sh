#!/bin/sh
# bioframe.read_table guesses the type of the column of contigs. If all of them are numbers, as the autosomes of
# Ensembl's human genome, they become integers, and select finds nothing: no row and no error. With X or MT in the
# file the same line finds the rows. A contig of the name NA becomes NaN. dtype={"chrom": str} helps for numbers.
#
# Versions: bioframe 0.8.0, pandas 3.1.1, Python 3.11.
# Seen, for a bedGraph with one base of contig 1 and one of contig 2, or of X:
#   1 and 2                       select gives 0 rows
#   1 and X                       select gives 1 row
#   1 and 2, dtype={"chrom": str}  select gives 1 row
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q bioframe==0.8.0 pandas==3.1.1
cd "$folder"
cat > rows.py <<'PYTHON'
"""The rows of contig 1, in files with other contigs."""

from pathlib import Path

import bioframe

for other in ("2", "X"):
    Path(f"{other}.bedgraph").write_text(f"1\t0\t1\t0.5\n{other}\t0\t1\t0.5\n")
    frame = bioframe.read_table(f"{other}.bedgraph", schema="bedGraph")
    print("1 and", other, len(bioframe.select(frame, ("1", 0, 10))))
frame = bioframe.read_table("2.bedgraph", schema="bedGraph", dtype={"chrom": str})
print("text", len(bioframe.select(frame, ("1", 0, 10))))
PYTHON
venv/bin/python rows.py > seen 2> errors || { cat errors; exit 1; }
cat seen
cat > expected <<'TEXT'
1 and 2 0
1 and X 1
text 1
TEXT
cmp seen expected
