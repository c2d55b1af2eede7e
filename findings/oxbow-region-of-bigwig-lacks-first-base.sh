#!/bin/sh
# A region such as c:10-11 counts from 1 and includes both ends, in samtools, bcftools and UCSC's browser. oxbow takes
# the same text for a VCF so, and for bigWig and BED files as if the first number counted from 0: the first base of the
# region is missing, and a region of one base is always empty. Nothing says so. c:[9,11), with 0-based ends,
# is right for bigWig.
#
# Versions: oxbow 0.8.2, pyBigWig 0.3.29, pysam 0.24.1, Python 3.11.
# Seen, for values at the bases 10 and 11 (1-based) of a bigWig, a BED and a VCF:
#   region c:10-11   VCF both, bigWig and BED the second only
#   region c:10-10   VCF one, bigWig and BED none
#   region c:[9,11)  bigWig both
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q oxbow==0.8.2 pyBigWig==0.3.29 pysam==0.24.1
cd "$folder"
cat > region.py <<'PYTHON'
"""Two bases by region, in three formats."""

from pathlib import Path

import oxbow
import pyBigWig
import pysam

out = pyBigWig.open("in.bw", "w")
out.addHeader([("c", 100)])
out.addEntries(["c", "c"], [9, 10], ends=[10, 11], values=[1.0, 2.0])
out.close()
Path("in.bed").write_text("c\t9\t10\tx\nc\t10\t11\ty\n")
pysam.tabix_index("in.bed", preset="bed")
head = "##fileformat=VCFv4.2\n##contig=<ID=c,length=100>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
lines = "".join(f"c\t{pos}\t.\tA\tC\t.\tPASS\t.\n" for pos in (10, 11))
Path("in.vcf").write_text(head + lines)
pysam.tabix_index("in.vcf", preset="vcf")
for region in ("c:10-11", "c:10-10"):
    print(region, "vcf", *oxbow.from_vcf("in.vcf.gz").regions(region).pl()["pos"])
    print(region, "bigwig", *oxbow.from_bigwig("in.bw").regions(region).pl()["end"])
    bed = oxbow.from_bed("in.bed.gz", bed_schema="bed4", compression="bgzf")
    print(region, "bed", *bed.regions(region).pl()["end"])
print("c:[9,11) bigwig", *oxbow.from_bigwig("in.bw").regions("c:[9,11)").pl()["end"])
PYTHON
venv/bin/python region.py > seen 2> errors || { cat errors; exit 1; }
cat seen
cat > expected <<'TEXT'
c:10-11 vcf 10 11
c:10-11 bigwig 11
c:10-11 bed 11
c:10-10 vcf 10
c:10-10 bigwig
c:10-10 bed
c:[9,11) bigwig 10 11
TEXT
cmp seen expected
