#!/usr/bin/env python3
"""Submits a job of Snakemake to PBS and prints the job's number.

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
logs = Path("logs/pbs")
logs.mkdir(parents=True, exist_ok=True)

command = ["qsub", "-V", "-S", "/bin/sh", "-j", "oe", "-o", f"{logs.absolute()}/"]
command += ["-N", f"evo2_{job.get('rule', 'group')}"[:15]]  # PBS allows 15 characters
select = f"select=1:ncpus={job['threads']}:mem={resources['mem_mb']}mb"
if "gpu" in resources:
    select += f":ngpus={resources['gpu']}"
    # select += ":gpu_type=a100"  # site: one kind of GPU
    # command += ["-q", "gpu"]  # site: the queue of GPU jobs
command += ["-l", select, "-l", f"walltime={60 * resources['runtime']}"]
# command += ["-A", "my_account"]  # site; at some sites -P

sys.exit(subprocess.run([*command, str(script)], check=False).returncode)
