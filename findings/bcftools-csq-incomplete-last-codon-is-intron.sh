#!/bin/sh
# bcftools csq calls the bases of an incomplete last codon `intron`, in a gene that has one exon and
# so no intron. Six of the thirteen human mitochondrial genes, and many of other animals, end with T
# or TA: the poly(A) tail completes the stop codon TAA. The bases lie inside a CDS feature of the
# GFF, and `csq` prints no message about them.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for a gene of one exon with six whole codons and the bases TA, and `-l -C 2`:
#   last base of the last whole codon   missense
#   first base behind it (T>C)          intron
#   second base behind it (A>G)         intron
#   first base behind the gene          no consequence
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

sequence = "GGGGG" + "ATGAAACCCGGATTTCAT" + "TA" + "CCCCCGGGGG"
with open("r.fa", "w") as file:
    file.write(f">MT\n{sequence}\n")
pysam.faidx("r.fa")
gene = "MT\tx\t{}\t6\t25\t.\t+\t{}\t{}\n"
with open("g.gff3", "w") as file:
    file.write("##gff-version 3\n")
    file.write(gene.format("gene", ".", "ID=gene:G;Name=G;biotype=protein_coding"))
    file.write(gene.format("mRNA", ".", "ID=transcript:T;Parent=gene:G;biotype=protein_coding"))
    file.write(gene.format("exon", ".", "Parent=transcript:T"))
    file.write(gene.format("CDS", "0", "Parent=transcript:T"))
with open("v.vcf", "w") as file:
    file.write(f"##fileformat=VCFv4.2\n##contig=<ID=MT,length={len(sequence)}>\n")
    file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    for pos, alt in ((23, "A"), (24, "C"), (25, "G"), (26, "A")):
        file.write(f"MT\t{pos}\t.\t{sequence[pos - 1]}\t{alt}\t.\t.\t.\n")
pysam.bcftools.csq(
    *("-l", "-C", "2", "-f", "r.fa", "-g", "g.gff3", "-o", "o.vcf", "v.vcf"), catch_stdout=False
)
print("pysam", pysam.__version__, "bcftools", pysam.version.__bcftools_version__)
with pysam.VariantFile("o.vcf") as called:
    seen = {
        record.pos: record.info["BCSQ"][0].split("|")[0] if "BCSQ" in record.info else None
        for record in called
    }
for pos, consequence in seen.items():
    print(f"MT:{pos}  {consequence}")
sys.exit(seen != {23: "missense", 24: "intron", 25: "intron", 26: None})
PYTHON
