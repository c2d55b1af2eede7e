#!/bin/sh
# bcftools csq calls bases at a programmed ribosomal frameshift `splice_acceptor`, in a gene of one
# exon. A GFF3 file states such a frameshift by two CDS lines of one transcript that leave out a base
# (+1) or share a base (-1), as in ORF1ab of coronaviruses or in PEG10. `csq` takes each border
# between CDS lines for an intron, though the only exon line covers it. `splice_acceptor` is a severe
# class, so filters for loss of function keep these variants.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for one exon and `-l`:
#   CDS 31-60 and 62-94 (+1), 1:61 G>A   splice_acceptor
#   CDS 31-60 and 60-92 (-1), 1:59 A>C   splice_acceptor&splice_region, and missense
#   CDS 31-93, the same two alleles      missense
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

CODING = {
    "plus": [(31, 60), (62, 94)],
    "minus": [(31, 60), (60, 92)],
    "none": [(31, 93)],
}
SEQUENCE = "C" * 30 + "ATG" + "GCTGACAAG" * 6 + "GCTGA" + "TAA" + "C" * 60
with open("r.fa", "w") as fasta, open("g.gff3", "w") as gff, open("v.vcf", "w") as vcf:
    gff.write("##gff-version 3\n")
    vcf.write("##fileformat=VCFv4.2\n")
    for contig, parts in CODING.items():
        fasta.write(f">{contig}\n{SEQUENCE}\n")
        vcf.write(f"##contig=<ID={contig},length={len(SEQUENCE)}>\n")
        transcript = f"ID=transcript:{contig};Parent=gene:{contig};biotype=protein_coding"
        lines = [
            ("gene", 31, parts[-1][1], ".", f"ID=gene:{contig};biotype=protein_coding"),
            ("mRNA", 31, parts[-1][1], ".", transcript),
            ("exon", 31, parts[-1][1], ".", f"Parent=transcript:{contig}"),
            *(("CDS", start, end, 0, f"Parent=transcript:{contig}") for start, end in parts),
        ]
        for kind, start, end, phase, attributes in lines:
            gff.write(f"{contig}\tx\t{kind}\t{start}\t{end}\t.\t+\t{phase}\t{attributes}\n")
    vcf.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    for contig in CODING:
        vcf.write(f"{contig}\t59\t.\tA\tC\t.\t.\t.\n{contig}\t61\t.\tG\tA\t.\t.\t.\n")
pysam.faidx("r.fa")
pysam.bcftools.csq(
    *("-l", "-f", "r.fa", "-g", "g.gff3", "-o", "o.vcf", "v.vcf"), catch_stdout=False
)
print("pysam", pysam.__version__, "bcftools", pysam.version.__bcftools_version__)
with pysam.VariantFile("o.vcf") as called:
    seen = {
        (record.chrom, record.pos): [one.split("|")[0] for one in record.info["BCSQ"]]
        for record in called
    }
for (contig, pos), terms in seen.items():
    print(f"{contig}:{pos}", *terms)
wanted = {
    ("plus", 61): ["splice_acceptor"],
    ("minus", 59): ["splice_acceptor&splice_region", "missense"],
    ("none", 59): ["missense"],
    ("none", 61): ["missense"],
}
sys.exit(any(seen[place] != terms for place, terms in wanted.items()))
PYTHON
