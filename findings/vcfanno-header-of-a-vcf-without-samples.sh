#!/bin/sh
# vcfanno writes a VCF that htslib refuses if the input has no samples, as the VCFs of ClinVar,
# dbSNP and gnomAD have none. It adds a ninth column, FORMAT, to the #CHROM line, while the lines of
# data keep eight. Its exit code is 0, and no message names the header. With one sample, the output
# of the same line of data can be read.
#
# Versions: vcfanno 0.3.5 (Debian 12, 0.3.5+ds-1+b3), pysam 0.24.1 (htslib 1.24), Python 3.11.
# Seen:
#   no sample    #CHROM line of 9 columns, lines of data of 8; pysam and bcftools: cannot be read
#   one sample   10 columns and 10; read, S=-2.25
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1
cd "$folder"
apt-get download -qq vcfanno=0.3.5+ds-1+b3
dpkg -x vcfanno_*.deb vcfanno
venv/bin/python - <<'PYTHON'
import subprocess
import sys

import pysam
import pysam.bcftools

COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
CONTIG = "##fileformat=VCFv4.2\n##contig=<ID=1,length=1000>\n"
SCORE = '##INFO=<ID=S,Number=1,Type=Float,Description="Score">\n'
GENOTYPE = '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
LINE = "1\t10\t.\tA\tC\t.\t.\t"


def write(name, text):
    with open(name, "w") as file:
        file.write(text)
    pysam.tabix_index(name, preset="vcf", force=True)


write("scores.vcf", f"{CONTIG}{SCORE}{COLUMNS}\n{LINE}S=-2.25\n")
write("none.vcf", f"{CONTIG}{COLUMNS}\n{LINE}.\n")
write("one.vcf", f"{CONTIG}{GENOTYPE}{COLUMNS}\tFORMAT\tS1\n{LINE}.\tGT\t0/1\n")
with open("settings.toml", "w") as file:
    file.write('[[annotation]]\nfile="scores.vcf.gz"\nfields=["S"]\nnames=["S"]\nops=["first"]\n')


def annotate(name):
    command = ["vcfanno/usr/bin/vcfanno", "settings.toml", f"{name}.vcf.gz"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    with open(f"{name}.annotated.vcf", "w") as file:
        file.write(done.stdout)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("##")]
    return [len(line.split("\t")) for line in lines]


def read(name):
    try:
        pysam.bcftools.view("-H", f"{name}.annotated.vcf")
        with pysam.VariantFile(f"{name}.annotated.vcf") as file:
            return [record.info["S"] for record in file]
    except (pysam.SamtoolsError, ValueError):
        return None


print("pysam", pysam.__version__, "htslib", pysam.version.__htslib_version__)
seen = {name: (annotate(name), read(name)) for name in ("none", "one")}
for name, found in seen.items():
    print(name, *found)
sys.exit(seen != {"none": ([9, 8], None), "one": ([10, 10], [-2.25])})
PYTHON
