#!/bin/sh
# A runtime that is a text, such as "119s", is cut to whole minutes, and one that is a number is
# rounded: 1.9 minutes are two, "1.9m" is one. So a job that asks for 119 seconds is killed after 60.
# The number 0.5 becomes 0; the plugin for SLURM then gives sbatch no -t, so the job gets the time
# limit of the partition (seen with plugin 2.8.0 and SLURM 22.05.8).
#
# Versions: Snakemake 9.27.1, Python 3.11.
# Seen, in minutes:
#   "119s" 1
#   "1.9m" 1
#   1.9    2
#   "30s"  1
#   0.5    0
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q snakemake==9.27.1
cd "$folder"
for runtime in '"119s"' '"1.9m"' 1.9 '"30s"' 0.5; do
    printf 'rule train:\n    output: "model"\n    resources: runtime=%s\n    shell: "touch model"\n' \
        "$runtime" > Snakefile
    venv/bin/snakemake --dry-run --cores 1 --nocolor > log 2>&1
    printf '%-6s %s\n' "$runtime" "$(sed -n 's/.*[ ,]runtime=\([0-9]*\).*/\1/p' log)"
done | tee seen
cat > expected <<'TEXT'
"119s" 1
"1.9m" 1
1.9    2
"30s"  1
0.5    0
TEXT
diff expected seen
