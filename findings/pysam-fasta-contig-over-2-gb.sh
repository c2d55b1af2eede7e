#!/bin/sh
# pysam.FastaFile states 2,147,483,647 (2^31 - 1) as the length of every contig that is longer, and
# does not warn. Whoever checks a position against `lengths` or `get_reference_length` finds that
# valid positions are outside of the contig. Bases beyond that length cannot be fetched: `fetch`
# raises ValueError for coordinates and OverflowError for a region as text. The .fai that pysam
# itself has written states the true length, and `pysam.faidx` (samtools) reads the same bases.
# Chromosomes of this size exist, for example in lungfish and mistletoe.
#
# Versions: pysam 0.24.1 (htslib 1.24), Python 3.11.
# Seen, for one contig of 2,200,000,000 bases whose last base is C:
#   length in the .fai            2200000000
#   FastaFile.lengths             [2147483647]
#   FastaFile.fetch, last base    ValueError: start out of range
#   the same with region=         OverflowError: value too large to convert to int32_t
#   pysam.faidx, last two bases   AC
# Exit code 0 if that is so, 1 if not. Needs 2.2 GB of disk for some seconds.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1
"$folder/venv/bin/python" - "$folder/large.fa" <<'PYTHON'
import sys

import pysam

LENGTH = 2_200_000_000
fasta = sys.argv[1]
with open(fasta, "wb") as file:
    file.write(b">c\n")
    for _ in range(22):
        file.write(b"A" * 99_999_999 + b"C\n")
pysam.faidx(fasta)
with open(fasta + ".fai") as index:
    indexed = int(index.readline().split("\t")[1])
opened = pysam.FastaFile(fasta)
last_two = fasta + ".last"
pysam.faidx("-o", last_two, fasta, f"c:{LENGTH - 1}-{LENGTH}")
with open(last_two) as file:
    name_line, bases = file.read().split()


def outcome(**where):
    try:
        return opened.fetch(**where)
    except (ValueError, OverflowError) as error:
        return f"{type(error).__name__}: {error}"


seen = {
    "length in the .fai": indexed,
    "FastaFile.lengths": opened.lengths,
    "fetch, last base": outcome(reference="c", start=LENGTH - 1, end=LENGTH),
    "fetch, region": outcome(region=f"c:{LENGTH}-{LENGTH}"),
    "faidx": bases,
}
for name, value in seen.items():
    print(f"{name:20} {value}")
expected = {
    "length in the .fai": LENGTH,
    "FastaFile.lengths": [2**31 - 1],
    "fetch, last base": f"ValueError: start out of range ({LENGTH - 1})",
    "fetch, region": "OverflowError: value too large to convert to int32_t",
    "faidx": "AC",
}
sys.exit(seen != expected)
PYTHON
