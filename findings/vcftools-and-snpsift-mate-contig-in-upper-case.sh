#!/bin/sh
# The ALT of a breakend names the contig of its mate, G[chr1:500[, and names of contigs depend on case. vcftools
# and SnpSift write every ALT in upper case: G[CHR1:500[, a contig that does not exist, and <DUP:TANDEM> for
# <DUP:tandem>, which the header does not define. So a filter step breaks the structural variants of all
# genomes whose contigs have lower-case letters.
#
# Versions: vcftools 0.1.16-3+b1, SnpSift 5.1+dfsg2-2, bcftools 1.16-1 of Debian 12. Needs Debian or Ubuntu, and root.
# Seen, for a breakend and a duplication:
#   vcftools --recode, SnpSift filter   G[CHR1:500[ and <DUP:TANDEM>
#   bcftools view                       as in the input
# Exit code 0 if that is so, 1 if not.
set -eu
jar=/usr/share/java/snpsift.jar
if ! { [ -e "$jar" ] && [ -x /usr/bin/vcftools ] && [ -x /usr/bin/bcftools ]; }; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends snpsift vcftools bcftools > /dev/null
fi
dpkg-query --show snpsift vcftools bcftools
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
{
    printf '##fileformat=VCFv4.2\n##contig=<ID=chr1,length=1000>\n'
    printf '##INFO=<ID=SVTYPE,Number=1,Type=String,Description="Kind">\n'
    printf '##INFO=<ID=END,Number=1,Type=Integer,Description="End">\n'
    printf '##ALT=<ID=DUP:tandem,Description="Tandem duplication">\n'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n'
    printf 'chr1\t10\ta\tG\tG[chr1:500[\t.\tPASS\tSVTYPE=BND\n'
    printf 'chr1\t20\tb\tG\t<DUP:tandem>\t.\tPASS\tSVTYPE=DUP;END=50\n'
} > in.vcf
alts() { grep -v '^#' "$1" | cut -f5 | tr '\n' ' '; }
vcftools --vcf in.vcf --recode --recode-INFO-all --stdout > vcftools 2> errors
java -jar "$jar" filter '(POS > 0)' in.vcf > snpsift 2> errors
bcftools view in.vcf > bcftools
for program in vcftools snpsift bcftools; do echo "$program $(alts $program)"; done > seen
cat seen
cat > expected <<'TEXT'
vcftools G[CHR1:500[ <DUP:TANDEM> 
snpsift G[CHR1:500[ <DUP:TANDEM> 
bcftools G[chr1:500[ <DUP:tandem> 
TEXT
cmp seen expected
