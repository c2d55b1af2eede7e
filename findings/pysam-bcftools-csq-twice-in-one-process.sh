#!/bin/sh
# pysam.bcftools.csq keeps the last position of its first call. A second call in the same Python
# process fails with "The file is not sorted" if its first variant lies before the last variant of
# the first call on the same contig, although its file is sorted. The same two calls in
# two processes pass. A tool that calls `csq` once for each chromosome, sample or genetic code fails
# on its second file. So run each call in a process of its own.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11.
# Seen, for two files of one variant each, MT:8 and MT:6:
#   MT:8, then MT:6 in one process    SamtoolsError: The file is not sorted, MT:8 comes before MT:6
#   MT:6, then MT:8 in one process    both pass
#   MT:6 in a process of its own      passes
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1
cd "$folder"
cat > call.py <<'PYTHON'
import sys

import pysam
import pysam.bcftools

sequence = "GGGGG" + "ATGAAACCCGGATTTCATTAA" + "CCCCCGGGGG"
with open("r.fa", "w") as file:
    file.write(f">MT\n{sequence}\n")
pysam.faidx("r.fa")
feature = "MT\tx\t{}\t6\t26\t.\t+\t{}\t{}\n"
with open("g.gff3", "w") as file:
    file.write("##gff-version 3\n")
    file.write(feature.format("gene", ".", "ID=gene:G;biotype=protein_coding"))
    file.write(feature.format("mRNA", ".", "ID=transcript:T;Parent=gene:G;biotype=protein_coding"))
    file.write(feature.format("exon", ".", "Parent=transcript:T"))
    file.write(feature.format("CDS", "0", "Parent=transcript:T"))
for pos in map(int, sys.argv[1:]):
    with open("v.vcf", "w") as file:
        file.write(f"##fileformat=VCFv4.2\n##contig=<ID=MT,length={len(sequence)}>\n")
        file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        file.write(f"MT\t{pos}\t.\t{sequence[pos - 1]}\tC\t.\t.\t.\n")
    try:
        pysam.bcftools.csq(
            *("-l", "-f", "r.fa", "-g", "g.gff3", "-o", "o.vcf", "v.vcf"), catch_stdout=False
        )
        print(f"MT:{pos} passed")
    except pysam.SamtoolsError as error:
        message = str(error)
        print(f"MT:{pos} " + message[message.find("The file is not sorted"):].split("\\n")[0])
PYTHON
venv/bin/python -c 'import pysam; print("pysam", pysam.__version__)'
backward=$(venv/bin/python call.py 8 6)
forward=$(venv/bin/python call.py 6 8)
alone=$(venv/bin/python call.py 6)
printf '%s\n' "one process: $backward" "one process: $forward" "alone: $alone"
test "$backward" = "MT:8 passed
MT:6 The file is not sorted, MT:8 comes before MT:6"
test "$forward" = "MT:6 passed
MT:8 passed"
test "$alone" = "MT:6 passed"
