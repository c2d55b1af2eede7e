#!/bin/sh
# bcftools annotate copies a Number=A field from a file of one ALT per line to one ALT of each line
# only. In a line with the ALTs C, G and T, C gets its value and G and T get `.`, although the file
# of annotations has a line for each. Of two equal lines, the second one gets nothing. There is no
# message. So scores, frequencies and clinical significances are lost silently in a VCF that was not
# split by `bcftools norm -m -any` and freed of repeated lines by `-d exact`.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, with S=1 for A>C, S=2 for A>G and S=3 for A>T at one position, and -c INFO/S:
#   A>C,G,T          S=1,.,.
#   A>T,C            S=3,.
#   A>G              S=2
#   A>G once more    no S
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

HEADER = (
    "##fileformat=VCFv4.2\n##contig=<ID=1,length=1000>\n"
    '##INFO=<ID=S,Number=A,Type=Float,Description="Score">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
)


def write(name, lines):
    with open(name, "w") as file:
        file.write(HEADER)
        for identifier, alt, info in lines:
            file.write(f"1\t10\t{identifier}\tA\t{alt}\t.\t.\t{info}\n")
    pysam.tabix_index(name, preset="vcf", force=True)


write("scores.vcf", [(".", "C", "S=1"), (".", "G", "S=2"), (".", "T", "S=3")])
lines = [("three", "C,G,T"), ("one", "G"), ("again", "G"), ("two", "T,C")]
write("sample.vcf", [(*line, ".") for line in lines])
pysam.bcftools.annotate(
    *("-a", "scores.vcf.gz", "-c", "INFO/S", "-o", "annotated.vcf", "sample.vcf.gz"),
    catch_stdout=False,
)
print("pysam", pysam.__version__, "bcftools", pysam.version.__bcftools_version__)
with pysam.VariantFile("annotated.vcf") as annotated:
    seen = {record.id: record.info.get("S") for record in annotated}
for identifier, scores in seen.items():
    print(identifier, scores)
expected = {"three": (1, None, None), "two": (3, None), "one": (2,), "again": None}
sys.exit(seen != expected)
PYTHON
