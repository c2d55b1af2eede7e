#!/bin/sh
# bcftools csq gives no consequence to an insertion or deletion whose base before it (the padding base
# of VCF) is also an SNV of the same haplotype. It does so for a deletion too if the SNV is one base
# before the padding base, where the two records share no base at all. Two bases before, both are joined.
# The padding base of the deletion does not change, so the haplotype is well defined. No warning is
# printed.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for CCAC>C at 40 (bases 41 to 43 are deleted) with an SNV of the same haplotype:
#   SNV at 40, the padding base    the deletion has no consequence
#   SNV at 39                      the deletion has no consequence
#   SNV at 38, or at 36            it has one
#   SNV at 39 or 40 on the other haplotype   it has one
# An insertion at 40 is lost with the SNV at 40, and not with the one at 39.
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1
cd "$folder"
cat > csq.py <<'PYTHON'
"""Whether an insertion or deletion at 40 has a consequence beside an SNV."""

import sys
from pathlib import Path

import pysam
import pysam.bcftools

SEQUENCE = "C" * 30 + "ATG" + "AAA" + "CCA" * 20 + "TAA" + "C" * 30


def feature(kind, phase, attributes):
    return f"1\tx\t{kind}\t31\t99\t.\t+\t{phase}\t{attributes}\n"


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
snv, ref, alt, genotype = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
assert SEQUENCE[39 : 39 + len(ref)] == ref
header = f"##fileformat=VCFv4.3\n##contig=<ID=1,length={len(SEQUENCE)}>\n"
header += '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">\n'
columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"
first = f"1\t{snv}\t.\t{SEQUENCE[snv - 1]}\tG\t.\t.\t.\tGT\t{genotype}\n"
second = f"1\t40\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t0|1\n"
Path("v.vcf").write_text(header + columns + first + second)
pysam.bcftools.csq("-f", "r.fa", "-g", "g.gff3", "-o", "o.vcf", "v.vcf", catch_stdout=False)
with pysam.VariantFile("o.vcf") as called:
    found = ["BCSQ" in record.info for record in called]
print(snv, ref, alt, genotype, *("yes" if one else "no" for one in found))
PYTHON
venv/bin/python -c 'import pysam; print("bcftools", pysam.version.__bcftools_version__)'
for case in '36 CCAC C 0|1' '38 CCAC C 0|1' '39 CCAC C 0|1' '40 CCAC C 0|1' '39 CCAC C 1|0' \
    '40 CCAC C 1|0' '39 C CTTT 0|1' '40 C CTTT 0|1'; do
    # shellcheck disable=SC2086 # four arguments
    venv/bin/python csq.py $case >> seen 2>> errors || { cat errors; exit 1; }
done
! grep -i warning errors | grep -v 'unknown phase' || exit 1
cat seen
cat > expected <<'TEXT'
36 CCAC C 0|1 yes yes
38 CCAC C 0|1 yes yes
39 CCAC C 0|1 yes no
40 CCAC C 0|1 yes no
39 CCAC C 1|0 yes yes
40 CCAC C 1|0 yes yes
39 C CTTT 0|1 yes yes
40 C CTTT 0|1 yes no
TEXT
cmp seen expected
