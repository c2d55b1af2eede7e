#!/bin/sh
# In a VCF without samples, bcftools csq gives a consequence to the first ALT of a line alone. Splitting
# the line with bcftools norm does not help: of two lines at one position, the second has none. No
# warning is printed, and BCSQ looks complete. So lists of sites, as databases give them out, lose the
# consequences of many ALTs. With --local-csq, or with samples that carry the ALTs, each gets its own.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, at position 35, the middle of an AAA codon:
#   A>C,T without samples        missense 2K>2T
#   A>T,C without samples        missense 2K>2I
#   A>C and A>T, one each line   missense 2K>2T, and none
#   both of these, --local-csq   missense 2K>2T, and missense 2K>2I
#   A>C,T in a sample with 1|2   the same two
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1
cd "$folder"
cat > csq.py <<'PYTHON'
"""The consequences of two ALTs of a site, in a VCF without and with a sample."""

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


def call(text, *options):
    """The BCSQ of each record of a VCF, without the prefix that all have."""
    Path("v.vcf").write_text(text)
    options = ("-f", "r.fa", "-g", "g.gff3", "-o", "o.vcf", *options)
    pysam.bcftools.csq(*options, "v.vcf", catch_stdout=False)
    with pysam.VariantFile("o.vcf") as called:
        found = [",".join(record.info.get("BCSQ", ("none",))) for record in called]
    return " ".join(found).replace("|G|T|protein_coding|+|", " ")


def sites(*alts):
    return HEADER + COLUMNS + "\n" + "".join(f"1\t35\t.\tA\t{alt}\t.\t.\t.\n" for alt in alts)


GT = '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">\n'
sample = HEADER + GT + COLUMNS + "\tFORMAT\tS\n1\t35\t.\tA\tC,T\t.\t.\t.\tGT\t1|2\n"
print("sites C,T:", call(sites("C,T")))
print("sites T,C:", call(sites("T,C")))
print("sites C T:", call(sites("C", "T")))
print("local C,T:", call(sites("C,T"), "--local-csq"))
print("local C T:", call(sites("C", "T"), "--local-csq"))
print("sample C,T:", call(sample))
PYTHON
venv/bin/python -c 'import pysam; print("bcftools", pysam.version.__bcftools_version__)'
venv/bin/python csq.py 2> errors > seen || { cat errors; exit 1; }
! grep -i warning errors || exit 1
cat seen
cat > expected <<'TEXT'
sites C,T: missense 2K>2T|35A>C
sites T,C: missense 2K>2I|35A>T
sites C T: missense 2K>2T|35A>C none
local C,T: missense 2K>2T|35A>C,missense 2K>2I|35A>T
local C T: missense 2K>2T|35A>C missense 2K>2I|35A>T
sample C,T: missense 2K>2T|35A>C,missense 2K>2I|35A>T
TEXT
cmp seen expected
