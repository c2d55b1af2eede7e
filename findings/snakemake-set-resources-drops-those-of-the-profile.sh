#!/bin/sh
# A --set-resources on the command line does not add to the section set-resources of a profile, it
# takes its place. So `snakemake --profile gpu --set-resources train:mem_mb=64000` asks for more memory
# and no longer for the partition, the account or the GPUs that the profile gives this rule and all
# others. --default-resources does the same. Nothing is printed.
#
# Versions: Snakemake 9.27.1, Python 3.11.
# Seen, for a profile that sets slurm_partition and runtime of the rule train, and slurm_account:
#   the profile alone                        mem_mb=1000 runtime=60 slurm_account=lab slurm_partition=gpu
#   with --set-resources train:mem_mb=64000  mem_mb=64000 slurm_account=lab
#   with --default-resources mem_mb=2000     mem_mb=2000 runtime=60 slurm_partition=gpu
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
    shell: "touch model"
SNAKE
mkdir gpu
cat > gpu/profile.yaml <<'YAML'
default-resources:
  slurm_account: lab
set-resources:
  train:
    slurm_partition: gpu
    runtime: 60
YAML
show() {
    printf '%-41s' "$1"
    shift
    venv/bin/snakemake --dry-run --cores 1 --nocolor --profile gpu "$@" 2>&1 \
        | grep 'resources: ' | tr ', ' '\n\n' \
        | grep -E '^(slurm_account|slurm_partition|runtime|mem_mb)=[^<]' | sort | tr '\n' ' '
    echo
}
{
    show 'the profile alone'
    show 'with --set-resources train:mem_mb=64000' --set-resources train:mem_mb=64000
    show 'with --default-resources mem_mb=2000' --default-resources mem_mb=2000
} | tee seen
cat > expected <<'TEXT'
the profile alone                        mem_mb=1000 runtime=60 slurm_account=lab slurm_partition=gpu 
with --set-resources train:mem_mb=64000  mem_mb=64000 slurm_account=lab 
with --default-resources mem_mb=2000     mem_mb=2000 runtime=60 slurm_partition=gpu 
TEXT
diff expected seen
