#!/bin/sh
# Some chromosomes of lungfish and salamanders have more than 2,147,483,647 bases. htslib has positions of 64 bits,
# and a .csi index finds such records. Readers on top of it then give another position, without an error: bcftools
# query and cyvcf2's POS, and also oxbow and scikit-allel, which do not use htslib. bcftools view is right, and
# so is cyvcf2's start.
#
# Versions: pysam 0.24.1 with bcftools 1.24, cyvcf2 0.35.0, oxbow 0.8.2, scikit-allel 1.3.13, vcfpy 0.14.2, Python 3.11.
# Seen, for a record at position 3,000,000,000:
#   bcftools query -f %POS, cyvcf2 POS, oxbow, scikit-allel   -1294967296
#   bcftools view, cyvcf2 end, pysam, vcfpy                   3000000000
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1 cyvcf2==0.35.0 oxbow==0.8.2 scikit-allel==1.3.13 vcfpy==0.14.2
cd "$folder"
{
    printf '##fileformat=VCFv4.2\n##contig=<ID=1,length=4000000000>\n'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n1\t3000000000\t.\tA\tC\t.\tPASS\t.\n'
} > in.vcf
cat > far.py <<'PYTHON'
"""The position of a record beyond 2^31, by six readers."""

import allel
import cyvcf2
import oxbow
import pysam
import pysam.bcftools
import vcfpy

pysam.tabix_index("in.vcf", preset="vcf", csi=True, keep_original=True)
print("bcftools query", pysam.bcftools.query("-f", "%POS", "in.vcf.gz", catch_stdout=True).strip())
print("bcftools view", pysam.bcftools.view("-H", "in.vcf.gz", catch_stdout=True).split("\t")[1])
(record,) = cyvcf2.VCF("in.vcf.gz")
print("cyvcf2 POS", record.POS)
print("cyvcf2 end", record.end)
print("oxbow", *oxbow.from_vcf("in.vcf.gz").pl()["pos"])
print("scikit-allel", *allel.read_vcf("in.vcf.gz")["variants/POS"])
print("pysam", *(record.pos for record in pysam.VariantFile("in.vcf.gz")))
print("vcfpy", *(record.POS for record in vcfpy.Reader.from_path("in.vcf.gz")))
PYTHON
venv/bin/python far.py > seen 2> errors || { cat errors; exit 1; }
cat seen
cat > expected <<'TEXT'
bcftools query -1294967296
bcftools view 3000000000
cyvcf2 POS -1294967296
cyvcf2 end 3000000000
oxbow -1294967296
scikit-allel -1294967296
pysam 3000000000
vcfpy 3000000000
TEXT
cmp seen expected
