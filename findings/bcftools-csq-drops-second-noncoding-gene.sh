#!/bin/sh
# Where two non-coding genes overlap, bcftools csq names one of them and drops the other one,
# without a message. Whoever looks a variant up by gene does not find it under the second gene.
# Overlapping lncRNA genes are common in Ensembl and GENCODE.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for the lncRNA genes GA (101-200) and GB (111-220), and `-l`:
#   1:150 A>C   non_coding|GA||lncRNA, and nothing of GB
#   1:210 A>C   non_coding|GB||lncRNA
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

SEQUENCE = "A" * 300
ALLELES = [(150, "C"), (210, "C")]
EXPECTED = {150: ["non_coding|GA||lncRNA"], 210: ["non_coding|GB||lncRNA"]}


def feature(kind, start, end, phase, attributes):
    return f"1\tx\t{kind}\t{start}\t{end}\t.\t+\t{phase}\t{attributes}\n"


with open("r.fa", "w") as file:
    file.write(f">1\n{SEQUENCE}\n")
pysam.faidx("r.fa")
with open("g.gff3", "w") as file:
    file.write("##gff-version 3\n")
    for gene, start, end in (("GA", 101, 200), ("GB", 111, 220)):
        file.write(feature("gene", start, end, ".", f"ID=gene:{gene};Name={gene};biotype=lncRNA"))
        rna = f"ID=transcript:{gene}t;Parent=gene:{gene};biotype=lncRNA"
        file.write(feature("lnc_RNA", start, end, ".", rna))
        file.write(feature("exon", start, end, ".", f"Parent=transcript:{gene}t"))
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
