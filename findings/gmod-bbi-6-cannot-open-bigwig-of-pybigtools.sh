#!/bin/sh
# The header of a bigWig states where its list of contigs is, and UCSC's programs and libBigWig put it before the
# values. bigtools writes it after the values, which the format allows. @gmod/bbi up to 6.0.3, with which JBrowse 2
# read bigWig, takes the distance of the two for the size of the list, and cannot open such a file: "Invalid
# typed array length". From 7.0.3 on it can.
#
# Versions: pybigtools 0.3.0, pyBigWig 0.3.29, @gmod/bbi 6.0.3 and 7.0.3, Python 3.11, Node.js 20. Needs npm.
# Seen, for one value in a file of each library:
#   6.0.3   pyBigWig's is read, pybigtools' is a RangeError
#   7.0.3   both are read
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pybigtools==0.3.0 pyBigWig==0.3.29
cd "$folder"
for version in 6.0.3 7.0.3; do
    mkdir "v$version"
    npm install --silent --no-package-lock --prefix "v$version" "@gmod/bbi@$version" > npm.log 2>&1 || { cat npm.log; exit 1; }
done
cat > write.py <<'PYTHON'
"""The same value in a bigWig of two libraries."""

import pyBigWig
import pybigtools

out = pyBigWig.open("pyBigWig.bw", "w")
out.addHeader([("c", 1000)])
out.addEntries(["c"], [5], ends=[6], values=[1.5])
out.close()
pybigtools.open("pybigtools.bw", "w").write({"c": 1000}, iter([("c", 5, 6, 1.5)]))
PYTHON
venv/bin/python write.py > printed
cat > read.mjs <<'JAVASCRIPT'
import { BigWig } from '@gmod/bbi'

for (const name of ['pyBigWig', 'pybigtools']) {
  try {
    const found = await new BigWig({ path: `../${name}.bw` }).getFeatures('c', 0, 1000)
    console.log(process.argv[2], name, found.map(one => one.score).join(' '))
  } catch (error) {
    console.log(process.argv[2], name, error.name)
  }
}
JAVASCRIPT
for version in 6.0.3 7.0.3; do
    cp read.mjs "v$version"
    (cd "v$version" && node read.mjs "$version")
done > seen
cat seen
cat > expected <<'TEXT'
6.0.3 pyBigWig 1.5
6.0.3 pybigtools RangeError
7.0.3 pyBigWig 1.5
7.0.3 pybigtools 1.5
TEXT
cmp seen expected
