#!/usr/bin/env bash
# Check and time a GPU with a model of random weights, 7B wide, in at most five minutes.
#
#   bash benchmarks/gpu/run.sh                        the GPU of this machine, or the CPU
#   bash benchmarks/gpu/run.sh --device cpu --small
#
# It needs a Python with torch and transformers, and this checkout; nothing is installed or
# downloaded. PYTHON names the interpreter. The output is a table, then one line of JSON. The exit
# code is 1 if a check failed. Send the whole output with an issue report.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PYTHONPATH="$checkout${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
export HF_HUB_DISABLE_PROGRESS_BARS=1
exec "${PYTHON:-python3}" -m evo2_tasks.verification.device_report "$@"
