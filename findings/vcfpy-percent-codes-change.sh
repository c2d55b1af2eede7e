#!/bin/sh
# VCF 4.3 writes characters with a meaning in percent codes. vcfpy decodes the codes of eight characters and leaves the
# others, decodes %253B, which stands for the text "%3B", twice, and encodes again when it writes. So reading and
# writing a file changes its texts: %20 becomes %2520, %C3%A9 becomes %25C3%25A9, and %253B becomes %3B, which stand for
# other texts. pysam leaves them as they are.
#
# Versions: vcfpy 0.14.2, pysam 0.24.1, Python 3.11.
# Seen, for T=a%20b, T=caf%C3%A9 and T=%253B:
#   vcfpy, read               a%20b, caf%C3%A9 and ;
#   vcfpy, read and written   a%2520b, caf%25C3%25A9 and %3B
#   pysam, read and written   as in the input
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q vcfpy==0.14.2 pysam==0.24.1
cd "$folder"
{
    printf '##fileformat=VCFv4.3\n##contig=<ID=1,length=100>\n'
    printf '##INFO=<ID=T,Number=1,Type=String,Description="Text">\n'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n'
    for text in a%20b caf%C3%A9 %253B; do printf '1\t1\t.\tA\tC\t.\tPASS\tT=%s\n' "$text"; done
} > in.vcf
cat > again.py <<'PYTHON'
"""Texts in percent codes, read and written by vcfpy and by pysam."""

import pysam
import vcfpy


def texts(path):
    return [line.split("\t")[7].strip()[2:] for line in open(path) if line[0] != "#"]


def copy(source, target):
    with vcfpy.Reader.from_path(source) as lines, vcfpy.Writer.from_path(target, lines.header) as out:
        for line in lines:
            out.write_record(line)


print("read", *(line.INFO["T"] for line in vcfpy.Reader.from_path("in.vcf")))
copy("in.vcf", "once.vcf")
with pysam.VariantFile("in.vcf") as lines, pysam.VariantFile("pysam.vcf", "w", header=lines.header) as out:
    for line in lines:
        out.write(line)
for name in ("once", "pysam"):
    print(name, *texts(name + ".vcf"))
PYTHON
venv/bin/python again.py > seen
cat seen
cat > expected <<'TEXT'
read a%20b caf%C3%A9 ;
once a%2520b caf%25C3%25A9 %3B
pysam a%20b caf%C3%A9 %253B
TEXT
cmp seen expected
