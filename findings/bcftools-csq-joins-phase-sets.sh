#!/bin/sh
# bcftools csq does not read PS. It joins SNVs of two phase sets into one codon change, although the
# VCF says that nobody knows whether they are on one chromosome: alleles with different PS values
# are not phased relative to each other. Long-read phasing ends one set and begins the next where the
# reads do not connect two sites, which can be within a codon. Two missense changes, one of which
# may be on each chromosome, are then reported as a third one.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for A>C at 34 and A>C at 35, the first two bases of an AAA codon, both 0|1:
#   PS 34 and 34, one set:   missense 2K>2P 34A>C+35A>C, and @34
#   PS 34 and 35, two sets:  the same, without a warning
#   0|1 and 1|0, one set:    missense 2K>2Q, and missense 2K>2T
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1
cd "$folder"
cat > csq.py <<'PYTHON'
"""The consequences of two SNVs in a codon. Arguments: the sample's two genotypes, as GT:PS."""

import sys

import pysam
import pysam.bcftools

# ATG, AAA, 20 codons, TAA
SEQUENCE = "C" * 30 + "ATG" + "AAA" + "CCA" * 20 + "TAA" + "C" * 30
FORMATS = [("GT", "String"), ("PS", "Integer")]


def feature(kind, start, end, phase, attributes):
    return f"1\tx\t{kind}\t{start}\t{end}\t.\t+\t{phase}\t{attributes}\n"


with open("r.fa", "w") as file:
    file.write(f">1\n{SEQUENCE}\n")
pysam.faidx("r.fa")
with open("g.gff3", "w") as file:
    file.write("##gff-version 3\n")
    file.write(feature("gene", 31, 99, ".", "ID=gene:G;Name=G;biotype=protein_coding"))
    mrna = "ID=transcript:T;Parent=gene:G;biotype=protein_coding"
    file.write(feature("mRNA", 31, 99, ".", mrna))
    file.write(feature("exon", 31, 99, ".", "Parent=transcript:T"))
    file.write(feature("CDS", 31, 99, 0, "Parent=transcript:T"))
with open("v.vcf", "w") as file:
    file.write(f"##fileformat=VCFv4.4\n##contig=<ID=1,length={len(SEQUENCE)}>\n")
    for name, kind in FORMATS:
        file.write(f'##FORMAT=<ID={name},Number=1,Type={kind},Description="x">\n')
    file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n")
    for pos, sample in zip((34, 35), sys.argv[1:], strict=True):
        file.write(f"1\t{pos}\t.\tA\tC\t.\t.\t.\tGT:PS\t{sample}\n")
pysam.bcftools.csq("-f", "r.fa", "-g", "g.gff3", "-o", "o.vcf", "v.vcf", catch_stdout=False)
with pysam.VariantFile("o.vcf") as called:
    print(*(",".join(record.info.get("BCSQ", ("none",))) for record in called))
PYTHON

prefix='missense|G|T|protein_coding|+'
joined="$prefix|2K>2P|34A>C+35A>C @34"
result=0
see() {
    seen=$(venv/bin/python csq.py "$1" "$2" 2> errors) || { cat errors; exit 1; }
    printf '%s %s\n  %s\n' "$1" "$2" "$seen"
    [ "$seen" = "$3" ] || result=1
}
venv/bin/python -c 'import pysam; print("bcftools", pysam.version.__bcftools_version__)'
see '0|1:34' '0|1:34' "$joined"
see '0|1:34' '0|1:35' "$joined"
see '0|1:34' '1|0:34' "$prefix|2K>2Q|34A>C $prefix|2K>2T|35A>C"
exit "$result"
