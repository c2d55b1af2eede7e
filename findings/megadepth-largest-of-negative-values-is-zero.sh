#!/bin/sh
# megadepth summarises a bigWig over intervals, and is made for coverage. Log-ratios, phyloP and differences of
# likelihoods are bigWigs too, and with them --op max gives 0 for an interval of negative values, and --op mean divides
# by all bases, also those without a value. --op min of an interval without a value is 61. None of it is an error.
#
# Versions: megadepth 1.2.0-4 of Debian 12, pyBigWig 0.3.29, numpy 2.4.6, Python 3.11. Needs Debian or Ubuntu, and root.
# Seen, for -2 and -3 at two of the ten bases 0 to 9, and no value at 20 to 29:
#   --op max    0.00 and 0.00; pyBigWig -2.0 and None
#   --op mean   -0.50 and 0.00; pyBigWig -2.5 and None
#   --op min    -3.00 and 61.00; pyBigWig -3.0 and None
# Exit code 0 if that is so, 1 if not.
set -eu
[ -x /usr/bin/megadepth ] || { apt-get update -qq && apt-get install -y -qq --no-install-recommends megadepth > /dev/null; }
dpkg-query --show megadepth
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pyBigWig==0.3.29 numpy==2.4.6
cd "$folder"
cat > write.py <<'PYTHON'
"""Two negative values, and what pyBigWig says of them."""

import pyBigWig

out = pyBigWig.open("in.bw", "w")
out.addHeader([("c", 1000)])
out.addEntries(["c", "c"], [3, 5], ends=[4, 6], values=[-2.0, -3.0])
out.close()
track = pyBigWig.open("in.bw")
for kind in ("max", "mean", "min"):
    print("pyBigWig", kind, *(track.stats("c", at, at + 10, type=kind, exact=True)[0] for at in (0, 20)))
PYTHON
printf 'c\t0\t10\nc\t20\t30\n' > places.bed
venv/bin/python write.py > seen
for kind in max mean min; do
    megadepth in.bw --annotation places.bed --op "$kind" 2> errors | cut -f4 | tr '\n' ' ' | sed "s/^/megadepth $kind /"
    echo
done >> seen
cat seen
cat > expected <<'TEXT'
pyBigWig max -2.0 None
pyBigWig mean -2.5 None
pyBigWig min -3.0 None
megadepth max 0.00 0.00 
megadepth mean -0.50 0.00 
megadepth min -3.00 61.00 
TEXT
cmp seen expected
