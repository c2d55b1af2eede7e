#!/bin/sh
# bcftools csq reads the alleles of a call up to the first missing one. So a half-call that begins with
# the missing allele (./1, .|1) gets no consequence, and the same call in the other order (1/., 1|.)
# gets one. The order of an unphased call means nothing, and .|1 is a phased allele of the second
# haplotype. Assemblies of one haplotype, trio callers and merged files write such calls. No warning is
# printed.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for A>C at 35, the middle of an AAA codon:
#   1/. and 1|. and 0|1 and 1   missense 2K>2T
#   ./1 and .|1                 no consequence
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1
cd "$folder"
cat > csq.py <<'PYTHON'
"""The consequence of an SNV in a sample, by its genotype."""

from pathlib import Path

import pysam
import pysam.bcftools

# ATG, AAA, 20 codons, TAA
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
HEADER = f"##fileformat=VCFv4.3\n##contig=<ID=1,length={len(SEQUENCE)}>\n"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


def call(text):
    """The BCSQ of each record of a VCF, without the prefix that all have."""
    Path("v.vcf").write_text(text)
    pysam.bcftools.csq("-f", "r.fa", "-g", "g.gff3", "-o", "o.vcf", "v.vcf", catch_stdout=False)
    with pysam.VariantFile("o.vcf") as called:
        found = [",".join(record.info.get("BCSQ", ("none",))) for record in called]
    return " ".join(found).replace("|G|T|protein_coding|+|", " ")


GT = '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">\n'
for genotype in ("0|1", "1", "1/.", "1|.", "./1", ".|1"):
    line = f"1\t35\t.\tA\tC\t.\t.\t.\tGT\t{genotype}\n"
    print(genotype, call(HEADER + GT + COLUMNS + "\tFORMAT\tS\n" + line))
PYTHON
venv/bin/python -c 'import pysam; print("bcftools", pysam.version.__bcftools_version__)'
venv/bin/python csq.py 2> errors > seen || { cat errors; exit 1; }
! grep -i warning errors || exit 1
cat seen
cat > expected <<'TEXT'
0|1 missense 2K>2T|35A>C
1 missense 2K>2T|35A>C
1/. missense 2K>2T|35A>C
1|. missense 2K>2T|35A>C
./1 none
.|1 none
TEXT
cmp seen expected
