#!/bin/sh
# A bigWig stores positions as unsigned 32-bit integers, so contigs may have 4 billion bases. pyBigWig
# writes and finds values beyond 2,147,483,647, but gives their positions as negative numbers. Some
# chromosomes of lungfish and salamanders are that long. The
# value of such a position is right, and so is the length of the contig.
#
# Versions: pyBigWig 0.3.29, pybigtools 0.3.0, Python 3.11.
# Seen, for one value at base 3,000,000,000 of a contig of 4,000,000,000:
#   pyBigWig values()     the value
#   pyBigWig intervals()  start -1294967296
#   pybigtools records()  start 3000000000, in the same file
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyBigWig==0.3.29 pybigtools==0.3.0
cd "$folder"
cat > far.py <<'PYTHON'
"""One value beyond 2^31 in a bigWig, by the library that wrote it and by another."""

import pyBigWig
import pybigtools

START = 3_000_000_000

out = pyBigWig.open("far.bw", "w")
out.addHeader([("1", 4_000_000_000)])
out.addEntries(["1"], [START], ends=[START + 1], values=[2.0])
out.close()
track = pyBigWig.open("far.bw")
print("contigs", track.chroms())
print("values", track.values("1", START, START + 1))
print("intervals", track.intervals("1", START, START + 1))
print("records", *pybigtools.open("far.bw").records("1"))
PYTHON
venv/bin/python far.py > seen
cat seen
cat > expected <<'TEXT'
contigs {'1': 4000000000}
values [2.0]
intervals ((-1294967296, -1294967295, 2.0),)
records (3000000000, 3000000001, 2.0)
TEXT
cmp seen expected
