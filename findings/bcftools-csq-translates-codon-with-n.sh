#!/bin/sh
# bcftools csq translates a codon of the reference that has an N, and does not warn. AAN is called
# threonine, and CAN proline. AAN can be lysine or asparagine, but never threonine, whose codons
# begin with AC. So a missense change of two known amino acids is reported where the protein is
# unknown. Draft assemblies and masked references have such codons.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for a gene whose second codon is AAN, and `-l`:
#   1:34 A>C (AAN>CAN)   missense 2T>2P
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

# ATG, AAN, 20 codons, TAA
SEQUENCE = "C" * 30 + "ATG" + "AAN" + "CCA" * 20 + "TAA" + "C" * 30
ALLELES = [(34, "C")]
EXPECTED = {34: ["missense|G|T|protein_coding|+|2T>2P|34A>C"]}


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
