#!/bin/sh
# A resource in a profile or on the command line is evaluated as Python, and is a text only if that
# fails because of an unknown name or the syntax. So partitions, accounts and QOS with the name of a
# built-in function end the run: `all` is a usual partition, `max` and `any` are others. The message
# names neither the resource nor the profile. Digits become a number, so the account 007 becomes 7.
# Two pairs of quotes help: slurm_partition: '"all"'.
#
# Versions: Snakemake 9.27.1, Python 3.11.
# Seen:
#   slurm_partition=gpu      slurm_partition=gpu
#   slurm_partition=my-gpu   slurm_partition=my-gpu
#   slurm_partition=all      ValueError: Resource must be evaluated within the context of a rule to compute its value
#   slurm_partition=max      ValueError: Resource must be evaluated within the context of a rule to compute its value
#   slurm_account=007        slurm_account=7
#   slurm_partition="all"    slurm_partition=all
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
for resource in slurm_partition=gpu slurm_partition=my-gpu slurm_partition=all slurm_partition=max \
    slurm_account=007 'slurm_partition="all"'; do
    printf '%-25s' "$resource"
    venv/bin/snakemake --dry-run --cores 1 --nocolor --default-resources "$resource" > log 2>&1 || true
    grep -oE '^ValueError: .*|slurm_[a-z]+=[^,]*$' log | grep -v "Command" | tail -1
done | tee seen
cat > expected <<'TEXT'
slurm_partition=gpu      slurm_partition=gpu
slurm_partition=my-gpu   slurm_partition=my-gpu
slurm_partition=all      ValueError: Resource must be evaluated within the context of a rule to compute its value
slurm_partition=max      ValueError: Resource must be evaluated within the context of a rule to compute its value
slurm_account=007        slurm_account=7
slurm_partition="all"    slurm_partition=all
TEXT
diff expected seen
