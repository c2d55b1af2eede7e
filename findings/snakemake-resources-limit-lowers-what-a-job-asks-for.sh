#!/bin/sh
# --resources limits what all running jobs may use together. If a job needs more than that, it is
# neither refused nor run alone with what it needs: it is given less. On a cluster, a rule with
# mem_mb=64000 then asks the scheduler for 16000, and is killed; one with gpu=2 asks for one GPU.
# --cores does the same to threads, also if the jobs run on a cluster. Nothing is printed.
#
# Versions: Snakemake 9.27.1, Python 3.11.
# Seen, for a rule with 4 threads, mem_mb=64000 and gpu=2:
#   no limit                        threads 4 mem_mb=64000 gpu=2
#   --resources mem_mb=16000 gpu=1  threads 4 mem_mb=16000 gpu=1
#   --cores 2                       threads 2 mem_mb=64000 gpu=2
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q snakemake==9.27.1
cd "$folder"
cat > Snakefile <<'SNAKE'
rule train:
    output: "model"
    threads: 4
    resources: mem_mb=64000, gpu=2
    shell: "touch model"
SNAKE
show() {
    printf '%-32s' "$1"
    shift
    venv/bin/snakemake --dry-run --nocolor "$@" > log 2>&1
    printf 'threads %s ' "$(sed -n 's/^ *threads: //p' log)"
    grep 'resources: ' log | tr ', ' '\n\n' | grep -E '^(mem_mb|gpu)=' | sort -r | tr '\n' ' '
    echo
}
{
    show 'no limit' --cores 8
    show '--resources mem_mb=16000 gpu=1' --cores 8 --resources mem_mb=16000 gpu=1
    show '--cores 2' --cores 2
} | tee seen
cat > expected <<'TEXT'
no limit                        threads 4 mem_mb=64000 gpu=2 
--resources mem_mb=16000 gpu=1  threads 4 mem_mb=16000 gpu=1 
--cores 2                       threads 2 mem_mb=64000 gpu=2 
TEXT
diff expected seen
