#!/bin/sh
# bcftools csq calls a change from one start codon to another one `start_lost`, in the genetic code
# in which both are start codons. NCBI's genetic code 2 (vertebrate mitochondria) has the start
# codons ATT, ATC, ATA, ATG and GTG. Human MT-ND2 begins with ATT, and other human genes begin with
# ATA or ATG. With `--genetic-code 2`, ATG>ATA is `synonymous&start_lost` for the amino acid M, and
# ATT>ATG is `start_lost`. Whoever filters for loss of function gets silent changes.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for a gene of one exon and `-l -C 2`:
#   first codon ATG>ATA   synonymous&start_lost
#   first codon ATT>ATG   start_lost
#   first codon ATT>CTT   start_lost (CTT is no start codon: expected)
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


CHANGES = {"A": ("ATG", 3, "A"), "B": ("ATT", 3, "G"), "C": ("ATT", 1, "C")}
sequences = {
    contig: "GGGGG" + first_codon + "AAACCCGGATTTCATTAA" + "CCCCCGGGGG"
    for contig, (first_codon, _, _) in CHANGES.items()
}
with open("r.fa", "w") as file:
    for contig, sequence in sequences.items():
        file.write(f">{contig}\n{sequence}\n")
pysam.faidx("r.fa")
with open("g.gff3", "w") as file:
    file.write("##gff-version 3\n")
    for contig in CHANGES:
        feature = contig + "\tx\t{}\t6\t26\t.\t+\t{}\t{}\n"
        parent = f"Parent=transcript:T{contig}"
        gene = f"Parent=gene:G{contig};biotype=protein_coding"
        file.write(feature.format("gene", ".", f"ID=gene:G{contig};biotype=protein_coding"))
        file.write(feature.format("mRNA", ".", f"ID=transcript:T{contig};{gene}"))
        file.write(feature.format("exon", ".", parent))
        file.write(feature.format("CDS", "0", parent))
with open("v.vcf", "w") as file:
    file.write("##fileformat=VCFv4.2\n")
    for contig, sequence in sequences.items():
        file.write(f"##contig=<ID={contig},length={len(sequence)}>\n")
    file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    for contig, (first_codon, pos_in_codon, alt) in CHANGES.items():
        ref = first_codon[pos_in_codon - 1]
        file.write(f"{contig}\t{5 + pos_in_codon}\t.\t{ref}\t{alt}\t.\t.\t.\n")
pysam.bcftools.csq(
    *("-l", "-C", "2", "-f", "r.fa", "-g", "g.gff3", "-o", "o.vcf", "v.vcf"), catch_stdout=False
)
with pysam.VariantFile("o.vcf") as called:
    consequences = [record.info["BCSQ"][0].split("|")[0] for record in called]
print("pysam", pysam.__version__, "bcftools", pysam.version.__bcftools_version__)
seen = dict(zip(("ATG>ATA", "ATT>ATG", "ATT>CTT"), consequences, strict=True))
for change, consequence in seen.items():
    print(f"first codon {change}  {consequence}")
expected = {"ATG>ATA": "synonymous&start_lost", "ATT>ATG": "start_lost", "ATT>CTT": "start_lost"}
sys.exit(seen != expected)
PYTHON
