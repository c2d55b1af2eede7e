#!/bin/sh
# bcftools sort orders lines of one POS by their text, and bcftools consensus leaves out an SNV whose
# line comes after an indel of its POS. So an SNV at the padding base of an insertion, on the same
# haplotype, is lost after sorting: GTT sorts before T. The SNV changes the padding base and the
# insertion adds bases after it, so the two do not overlap. With the SNV's line first, consensus
# applies both. For a deletion it is the other way round: sorting puts the SNV first and saves it.
# Consensus counts the lost SNV as an overlap on standard error and ends with 0.
#
# Versions: pysam 0.24.1 (bcftools 1.24), Python 3.11. Reference ACGTACGTAC, both alleles 0|1,
# consensus -H 2.
# Seen:
#   3 G>T, 3 G>GTT, as written    ACTTTTACGTAC  two applied
#   the same after bcftools sort  ACGTTTACGTAC  one applied, the SNV is lost
#   3 GTA>G, 3 G>T, as written    ACGCGTAC      one applied, the SNV is lost
#   the same after bcftools sort  ACTCGTAC      two applied
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pysam==0.24.1
cd "$folder"
cat > write.py <<'PYTHON'
"""Write a VCF whose records have POS 3 and genotype 0|1. Arguments: REF>ALT of each."""

import sys

with open("v.vcf", "w") as file:
    file.write("##fileformat=VCFv4.3\n##contig=<ID=1,length=10>\n")
    file.write('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n')
    file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n")
    for change in sys.argv[1:]:
        ref, alt = change.split(">")
        file.write(f"1\t3\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t0|1\n")
PYTHON
cat > sort.py <<'PYTHON'
import pysam.bcftools

pysam.bcftools.sort("-o", "s.vcf", "v.vcf", catch_stdout=False)
PYTHON
cat > consensus.py <<'PYTHON'
import sys

import pysam
import pysam.bcftools

with open("r.fa", "w") as file:
    file.write(">1\nACGTACGTAC\n")
pysam.faidx("r.fa")
indexed = pysam.tabix_index(sys.argv[1], preset="vcf", force=True, keep_original=True)
print(pysam.bcftools.consensus("-H", "2", "-f", "r.fa", "-s", "S", indexed).split()[1])
PYTHON

result=0
see() {
    file=$1 expected=$2
    seen=$(venv/bin/python consensus.py "$file")
    printf '%s  %s  %s\n' "$(grep -v '^#' "$file" | cut -f 4,5 | tr '\t\n' '> ')" "$seen" "$file"
    [ "$seen" = "$expected" ] || result=1
}
venv/bin/python -c 'import pysam; print("bcftools", pysam.version.__bcftools_version__)'
venv/bin/python write.py 'G>T' 'G>GTT'
see v.vcf ACTTTTACGTAC
venv/bin/python sort.py 2> errors || { cat errors; exit 1; }
see s.vcf ACGTTTACGTAC
venv/bin/python write.py 'GTA>G' 'G>T'
see v.vcf ACGCGTAC
venv/bin/python sort.py 2> errors || { cat errors; exit 1; }
see s.vcf ACTCGTAC
exit "$result"
