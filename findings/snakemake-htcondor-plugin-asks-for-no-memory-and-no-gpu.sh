#!/bin/sh
# Snakemake's plugin for HTCondor does not read the resources that rules have: a job with mem_mb=64000
# and gpu=2 is submitted without request_memory and without request_gpus, so it gets the defaults of
# the pool and no GPU. Only resources with names of the
# plugin's own are read (htcondor_request_mem_mb, request_gpus). Threads are read. Nothing is printed.
#
# Versions: Snakemake 9.27.1, plugin for HTCondor 0.3.0, htcondor 24.12.24, Python 3.11. The submit
# description is the plugin's own; the scheduler that it is sent to is a stand-in.
# Seen, of a rule with threads: 4, mem_mb=64000, runtime=600 and gpu=2:
#   request_cpus = 4
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q snakemake==9.27.1 snakemake-executor-plugin-htcondor==0.3.0 \
    htcondor==24.12.24
cd "$folder"
cat > Snakefile <<'SNAKE'
rule train:
    output: "model"
    threads: 4
    resources: mem_mb=64000, runtime=600, gpu=2
    shell: "touch model"
SNAKE
cat > run.py <<'PYTHON'
"""Runs Snakemake with a scheduler that notes what is submitted to it."""

from pathlib import Path

import htcondor2
from snakemake.cli import main


class Schedd:
    def submit(self, description):
        names = ("request", "gpu", "mem", "allowed")
        lines = [line for line in str(description).splitlines() if line.startswith(names)]
        Path("seen").write_text("".join(f"{line}\n" for line in sorted(lines)))
        raise SystemExit("submitted")


htcondor2.Schedd = Schedd
main()
PYTHON
CONDOR_CONFIG=/dev/null timeout 120 venv/bin/python run.py --executor htcondor --jobs 1 --cores 8 \
    --nocolor > log 2>&1 || true
cat seen
echo 'request_cpus = 4' > expected
diff expected seen
