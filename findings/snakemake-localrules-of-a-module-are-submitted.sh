#!/bin/sh
# `localrules: fetch` in a module has no effect if the workflow that uses the module gives its rules a
# prefix, as in `use rule * from other as other_*`: the rule is submitted to the cluster, whose nodes
# may have no network. `localrule: True` within the rule is kept. No warning is printed.
#
# Versions: Snakemake 9.27.1, plugin cluster-generic 1.0.9, Python 3.11.
# Seen:
#   the module alone             fetch runs here, tidy runs here
#   used by another workflow     fetch is submitted, tidy runs here
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q snakemake==9.27.1 snakemake-executor-plugin-cluster-generic==1.0.9
cd "$folder"
cat > other.smk <<'SNAKE'
localrules: fetch, all

rule all:
    input: "fetched", "tidied"

rule fetch:
    output: "fetched"
    shell: "touch {output}"

rule tidy:
    output: "tidied"
    localrule: True
    shell: "touch {output}"
SNAKE
cat > used.smk <<'SNAKE'
module other:
    snakefile: "other.smk"

use rule * from other as other_*

rule all:
    input: "fetched", "tidied"
    localrule: True
    default_target: True
SNAKE
# The command that submits a job notes it, and runs it.
cat > submit <<'SH'
#!/bin/sh
sed -n 's/^# properties = {.*"rule": "\([a-z_]*\)".*/\1/p' "$1" >> submitted
"$1" > /dev/null 2>&1
SH
chmod +x submit
show() {
    rm -rf fetched tidied submitted
    touch submitted
    venv/bin/snakemake --snakefile "$2" --jobs 2 --executor cluster-generic --nocolor \
        --cluster-generic-submit-cmd ./submit --seconds-between-status-checks 1 > log 2>&1
    for rule in fetch tidy; do
        if grep -q "$rule" submitted; then echo "$rule is submitted"; else echo "$rule runs here"; fi
    done | paste -sd, - | sed "s/,/, /; s/^/$1/"
}
{
    show 'the module alone             ' other.smk
    show 'used by another workflow     ' used.smk
} | tee seen
cat > expected <<'TEXT'
the module alone             fetch runs here, tidy runs here
used by another workflow     fetch is submitted, tidy runs here
TEXT
diff expected seen
