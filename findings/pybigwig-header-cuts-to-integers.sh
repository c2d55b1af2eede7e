#!/bin/sh
# pyBigWig's header() cuts the smallest and the largest value, the sum and the sum of squares of a file to
# integers, toward zero, though the file holds them as floats. A track of values between -1 and 1 (log
# ratios, differences of log-probabilities, allele frequencies, phastCons) then has a minimum and a
# maximum of 0. Who scales a colour or an axis by the header draws nothing. The sum is cut too, so
# sumData / nBasesCovered is not the mean: stats() gives it right.
#
# Versions: pyBigWig 0.3.29, pybigtools 0.3.0, numpy 2.4.6, Python 3.11.
# Seen, for the values -0.75, -0.5, 0.25, 0.875 of four bases:
#   pyBigWig header()                minVal 0, maxVal 0, sumData 0, sumSquared 1
#   pybigtools info(), the same file  min -0.75, max 0.875, sum -0.125
#   pyBigWig stats(), exact           -0.75, 0.875, mean -0.03125
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyBigWig==0.3.29 pybigtools==0.3.0 numpy==2.4.6
cd "$folder"
cat > header.py <<'PYTHON'
"""The header of a bigWig with values between -1 and 1, by the library that wrote it and by another."""

import pyBigWig
import pybigtools

VALUES = [-0.75, -0.5, 0.25, 0.875]

out = pyBigWig.open("v.bw", "w")
out.addHeader([("1", 1000)])
out.addEntries("1", 100, values=VALUES, span=1, step=1)
out.close()
track = pyBigWig.open("v.bw")
header = track.header()
print("header", *(header[name] for name in ("minVal", "maxVal", "sumData", "sumSquared")))
summary = pybigtools.open("v.bw").info()["summary"]
print("info", *(summary[name] for name in ("min", "max", "sum")))
kinds = ("min", "max", "mean")
print("stats", *(track.stats("1", 100, 104, type=kind, exact=True)[0] for kind in kinds))
PYTHON
venv/bin/python header.py > seen
cat seen
cat > expected <<'TEXT'
header 0 0 0 1
info -0.75 0.875 -0.125
stats -0.75 0.875 -0.03125
TEXT
cmp seen expected
