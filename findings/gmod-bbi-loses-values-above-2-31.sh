#!/bin/sh
# bigWig has positions of 32 bits without a sign. @gmod/bbi, with which JBrowse 2 reads it, does not find values beyond
# 2,147,483,647: a region there is empty, without an error, and so is the part of a whole contig. Some
# chromosomes of lungfish and salamanders are that long.
#
# Versions: @gmod/bbi 8.1.1, pyBigWig 0.3.29, numpy 2.4.6, Python 3.11, Node.js 20. Needs npm.
# Seen, for values at the bases 5 and 3,000,000,000 (0-based) of a contig of 4,000,000,000:
#   pyBigWig values()   both
#   @gmod/bbi           the first
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyBigWig==0.3.29 numpy==2.4.6
cd "$folder"
npm install --silent --no-package-lock --prefix . @gmod/bbi@8.1.1 > npm.log 2>&1 || { cat npm.log; exit 1; }
cat > far.py <<'PYTHON'
"""Writes and reads a value beyond 2^31."""

import pyBigWig

out = pyBigWig.open("far.bw", "w")
out.addHeader([("c", 4_000_000_000)])
out.addEntries(["c", "c"], [5, 3_000_000_000], ends=[6, 3_000_000_001], values=[1.0, 2.0])
out.close()
track = pyBigWig.open("far.bw")
print("pyBigWig", *(track.values("c", start, start + 1)[0] for start in (5, 3_000_000_000)))
PYTHON
cat > far.mjs <<'JAVASCRIPT'
import { BigWig } from '@gmod/bbi'

const file = new BigWig({ path: 'far.bw' })
for (const [start, end] of [[0, 4_000_000_000], [2_999_999_990, 3_000_000_010]]) {
  console.log(start, end, (await file.getFeatures('c', start, end)).map(one => one.score).join(' '))
}
JAVASCRIPT
{ venv/bin/python far.py; node far.mjs; } > seen
cat seen
cat > expected <<'TEXT'
pyBigWig 1.0 2.0
0 4000000000 1
2999999990 3000000010 
TEXT
cmp seen expected
