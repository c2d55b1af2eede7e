#!/bin/sh
# bcftools csq does not call `start_lost` for the last base of a start codon that an intron splits.
# If the codon is AT, intron, G, then a change of the A or the T is `start_lost`, but a change of
# the G is `missense` 1M>1I. Whoever looks for loss of function misses it. Genes whose first coding
# exon has one or two bases exist in every vertebrate genome.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for CDS 31-32 and 55-148 of a gene on the plus strand, and `-l`:
#   1:31 A>C   start_lost&splice_region
#   1:32 T>C   start_lost&splice_region
#   1:55 G>A   splice_region, and missense 1M>1I
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import pysam
import pysam.bcftools

# AT, an intron from GT to AG, G, 30 codons, TAA
INTRON = "GTCCCCCCCCCCCCCCCCCCAG"
SEQUENCE = "C" * 30 + "AT" + INTRON + "G" + "GCTGACAAG" * 10 + "TAA" + "C" * 30
ALLELES = [(31, "C"), (32, "C"), (55, "A")]
EXPECTED = {
    31: ["start_lost&splice_region|G|T|protein_coding|+|1M>1L|31A>C"],
    32: ["start_lost&splice_region|G|T|protein_coding|+|1M>1T|32T>C"],
    55: ["splice_region|G|T|protein_coding", "missense|G|T|protein_coding|+|1M>1I|55G>A"],
}


def feature(kind, start, end, phase, attributes):
    return f"1\tx\t{kind}\t{start}\t{end}\t.\t+\t{phase}\t{attributes}\n"


with open("r.fa", "w") as file:
    file.write(f">1\n{SEQUENCE}\n")
pysam.faidx("r.fa")
with open("g.gff3", "w") as file:
    file.write("##gff-version 3\n")
    file.write(feature("gene", 31, 148, ".", "ID=gene:G;Name=G;biotype=protein_coding"))
    mrna = "ID=transcript:T;Parent=gene:G;biotype=protein_coding"
    file.write(feature("mRNA", 31, 148, ".", mrna))
    for start, end, phase in ((31, 32, 0), (55, 148, 1)):
        file.write(feature("exon", start, end, ".", "Parent=transcript:T"))
        file.write(feature("CDS", start, end, phase, "Parent=transcript:T"))
with open("v.vcf", "w") as file:
    file.write(f"##fileformat=VCFv4.2\n##contig=<ID=1,length={len(SEQUENCE)}>\n")
    file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    for pos, alt in ALLELES:
        file.write(f"1\t{pos}\t.\t{SEQUENCE[pos - 1]}\t{alt}\t.\t.\t.\n")
pysam.bcftools.csq(
    *("-l", "-f", "r.fa", "-g", "g.gff3", "-o", "o.vcf", "v.vcf"), catch_stdout=False
)
print("pysam", pysam.__version__, "bcftools", pysam.version.__bcftools_version__)
with pysam.VariantFile("o.vcf") as called:
    seen = {record.pos: list(record.info["BCSQ"]) for record in called}
for pos, consequences in seen.items():
    print(f"1:{pos}  {consequences}")
sys.exit(seen != EXPECTED)
PYTHON
