#!/bin/sh
# vcztools prints the VCF of a VCF Zarr store again, and its view follows bcftools. bcftools prints floats with six
# digits, vcztools with three decimals: an allele frequency of 0.0002 and a p-value of 1e-09 come out as 0. The
# store has the whole numbers.
#
# Versions: bio2zarr 0.2.1, vcztools 0.2.0, zarr 3.1.6, pysam 0.24.1 with bcftools 1.24, Python 3.11.
# Seen, for AF=0.0002,1e-09 and AF=-1.23456:
#   vcztools view    0,0 and -1.235
#   the store        0.0002 and 1e-09, -1.23456
#   bcftools view    0.0002,1e-09 and -1.23456
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q bio2zarr==0.2.1 vcztools==0.2.0 zarr==3.1.6 pysam==0.24.1 cyvcf2==0.35.0
cd "$folder"
{
    printf '##fileformat=VCFv4.2\n##contig=<ID=1,length=100>\n'
    printf '##INFO=<ID=AF,Number=A,Type=Float,Description="Allele frequency">\n'
    printf '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts\n'
    printf '1\t1\t.\tA\tC,G\t.\tPASS\tAF=0.0002,1e-09\tGT\t0/1\n1\t2\t.\tA\tC\t.\tPASS\tAF=-1.23456\tGT\t0/1\n'
} > in.vcf
cat > run.py <<'PYTHON'
"""The floats of a VCF by vcztools, in the store, and by bcftools."""

import subprocess
import sys

import pysam.bcftools
import zarr

bgzip = pysam.tabix_index("in.vcf", preset="vcf", keep_original=True)
programs = sys.executable.removesuffix("python")
subprocess.run([programs + "vcf2zarr", "convert", "--no-progress", bgzip, "store"], check=True)
view = subprocess.run([programs + "vcztools", "view", "store"], capture_output=True, check=True, text=True).stdout


def floats(text):
    return [line.split("\t")[7] for line in text.splitlines() if line[0] != "#"]


print("vcztools", *floats(view))
values = zarr.open("store")["variant_AF"][:].tolist()
print("store", *(f"{value:.6g}" for row in values for value in row if value == value))
print("bcftools", *floats(pysam.bcftools.view("in.vcf", catch_stdout=True)))
PYTHON
venv/bin/python run.py > seen 2> errors || { cat errors; exit 1; }
cat seen
cat > expected <<'TEXT'
vcztools AF=0,0 AF=-1.235
store 0.0002 1e-09 -1.23456
bcftools AF=0.0002,1e-09 AF=-1.23456
TEXT
cmp seen expected
