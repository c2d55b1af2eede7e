#!/bin/sh
# bcftools csq takes the first base of a REF that is longer than ALT as unchanged. A change such as
# AACT>G has no first base in common, and VCF asks for none, because neither allele is empty. csq then
# gives amino acids that do not follow from the sequence: the base of ALT takes the place of the base
# before the variant, and the last base of REF stays. A deletion that is written with the base after it
# (AACT>T) is wrong too. The consequence term can be right, so the error is easily overlooked. With the
# base before the variant in both alleles (GAACT>GG), the amino acids are right. No warning is printed.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for codons 3 to 5 GCT GAA CTG (A E L), of which bases 2 to 5 of GAACTG are replaced:
#   AACT>G     EL>V   GGG is a G
#   GAACT>GG   EL>G
#   AACT>C     EL>L   GCG is an A
#   GAACT>GC   EL>A
#   AACT>T     EL>L   GTG is a V
#   GAACT>GT   EL>V
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1
cd "$folder"
cat > csq.py <<'PYTHON'
"""The amino acids of one allele."""

import sys
from pathlib import Path

import pysam
import pysam.bcftools

SEQUENCE = "C" * 30 + "ATGAAA" + "GCTGAACTGTCCATTGGACGT" * 3 + "TAA" + "C" * 30
LAST = len(SEQUENCE) - 30


def feature(kind, phase, attributes):
    return f"1\tx\t{kind}\t31\t{LAST}\t.\t+\t{phase}\t{attributes}\n"


Path("r.fa").write_text(f">1\n{SEQUENCE}\n")
pysam.faidx("r.fa")
mrna = "ID=transcript:T;Parent=gene:G;biotype=protein_coding"
Path("g.gff3").write_text(
    "##gff-version 3\n"
    + feature("gene", ".", "ID=gene:G;Name=G;biotype=protein_coding")
    + feature("mRNA", ".", mrna)
    + feature("exon", ".", "Parent=transcript:T")
    + feature("CDS", 0, "Parent=transcript:T")
)
pos, ref, alt = int(sys.argv[1]), sys.argv[2], sys.argv[3]
assert SEQUENCE[pos - 1 : pos - 1 + len(ref)] == ref
header = f"##fileformat=VCFv4.3\n##contig=<ID=1,length={len(SEQUENCE)}>\n"
columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
Path("v.vcf").write_text(f"{header}{columns}1\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
options = ("-f", "r.fa", "-g", "g.gff3", "--local-csq", "-o", "o.vcf", "v.vcf")
pysam.bcftools.csq(*options, catch_stdout=False)
with pysam.VariantFile("o.vcf") as called:
    (effect,) = next(called).info["BCSQ"]
print(ref, alt, effect.split("|")[0], effect.split("|")[5])
PYTHON
venv/bin/python -c 'import pysam; print("bcftools", pysam.version.__bcftools_version__)'
for allele in '41 AACT G' '40 GAACT GG' '41 AACT C' '40 GAACT GC' '41 AACT T' '40 GAACT GT'; do
    # shellcheck disable=SC2086 # three arguments
    venv/bin/python csq.py $allele >> seen 2>> errors || { cat errors; exit 1; }
done
! grep -i warning errors | grep -v 'unknown phase' || exit 1
cat seen
cat > expected <<'TEXT'
AACT G inframe_deletion 4EL>4V
GAACT GG inframe_deletion 4EL>4G
AACT C inframe_deletion 4EL>4L
GAACT GC inframe_deletion 4EL>4A
AACT T inframe_deletion 4EL>4L
GAACT GT inframe_deletion 4EL>4V
TEXT
cmp seen expected
