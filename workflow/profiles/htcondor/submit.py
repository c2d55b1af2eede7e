#!/usr/bin/env python3
"""Submits a job of Snakemake to HTCondor and prints the number of its cluster.

The argument is the script of the job, whose line `# properties = ` states what the job needs.
Edit the lines marked "site".
"""

import json
import subprocess
import sys
from pathlib import Path

script = Path(sys.argv[1])
stated = "# properties = "
line = next(line for line in script.read_text().splitlines() if line.startswith(stated))
job = json.loads(line.removeprefix(stated))
resources = job["resources"]
logs = Path("logs/htcondor").absolute()
logs.mkdir(parents=True, exist_ok=True)
name = f"evo2_{job.get('rule', 'group')}"

lines = {
    "batch_name": name,
    "executable": script.absolute(),
    "arguments": "$(ClusterId)",
    "initialdir": Path.cwd(),
    "getenv": True,
    "should_transfer_files": "NO",  # the working directory is on a shared file system
    "log": f"{logs}/$(ClusterId).log",
    "output": f"{logs}/{name}-$(ClusterId).out",
    "error": f"{logs}/{name}-$(ClusterId).out",
    "request_cpus": job["threads"],
    "request_memory": f"{resources['mem_mb']} MB",
    # Seconds; then the job is held, and status.sh removes it.
    "allowed_execute_duration": 60 * resources["runtime"],
}
if "gpu" in resources:
    lines["request_gpus"] = resources["gpu"]
    # lines["gpus_minimum_memory"] = 40_000  # site: MB of each GPU
# lines["accounting_group"] = "my_group"  # site

text = "".join(f"{name} = {value}\n" for name, value in lines.items()) + "queue\n"
answer = subprocess.run(
    ["condor_submit", "-terse", "-"], input=text, stdout=subprocess.PIPE, text=True, check=False
)
# The answer names the first and the last process, such as "71.0 - 71.0".
print(answer.stdout.partition(".")[0])
sys.exit(answer.returncode)
