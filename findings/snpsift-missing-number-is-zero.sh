#!/bin/sh
# A missing number in INFO is written as a dot. SnpSift reads it as 0: in extractFields, and in filter, where
# an allele without a frequency passes (AF < 0.01) and is not found by (na AF). So variants that nobody has
# counted are taken for rare ones. The dots are common: of two ALTs one often has no frequency.
#
# Versions: SnpSift 5.1+dfsg2-2 of Debian 12, Java 17. Needs Debian or Ubuntu, and root.
# Seen, for AF=., AF=0.5, AF=.,0.5 and no AF at positions 1 to 4:
#   extractFields AF      0.0, 0.5, "." and 0.5, the text for empty fields
#   filter (AF < 0.01)    positions 1 and 3
#   filter (na AF)        position 4
# Exit code 0 if that is so, 1 if not.
set -eu
jar=/usr/share/java/snpsift.jar
[ -e "$jar" ] || { apt-get update -qq && apt-get install -y -qq --no-install-recommends snpsift > /dev/null; }
dpkg-query --show snpsift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
{
    printf '##fileformat=VCFv4.2\n##contig=<ID=1,length=100>\n'
    printf '##INFO=<ID=AF,Number=A,Type=Float,Description="Allele frequency">\n'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n'
    printf '1\t1\t.\tA\tC\t.\t.\tAF=.\n1\t2\t.\tA\tC\t.\t.\tAF=0.5\n'
    printf '1\t3\t.\tA\tC,G\t.\t.\tAF=.,0.5\n1\t4\t.\tA\tC\t.\t.\t.\n'
} > in.vcf
filter() { java -jar "$jar" filter "$1" in.vcf 2> errors | grep -v '^#' | cut -f2 | tr '\n' ' '; }
java -jar "$jar" extractFields -e none in.vcf POS AF 2> errors > seen
echo "rare $(filter '(AF < 0.01)')" >> seen
echo "na $(filter '(na AF)')" >> seen
cat seen
printf 'POS\tAF\n1\t0.0\n2\t0.5\n3\t.,0.5\n4\tnone\nrare 1 3 \nna 4 \n' > expected
cmp seen expected
