#!/usr/bin/env python3
"""Submits a job of Snakemake to Grid Engine and prints the job's number.

The argument is the script of the job, whose line `# properties = ` states what the job needs.
Edit the lines marked "site".
"""

import json
import math
import subprocess
import sys
from pathlib import Path

script = Path(sys.argv[1])
stated = "# properties = "
line = next(line for line in script.read_text().splitlines() if line.startswith(stated))
job = json.loads(line.removeprefix(stated))
resources, slots = job["resources"], job["threads"]
logs = Path("logs/sge")
logs.mkdir(parents=True, exist_ok=True)

command = ["qsub", "-terse", "-cwd", "-V", "-S", "/bin/sh", "-j", "y", "-o", str(logs)]
command += ["-N", f"evo2_{job.get('rule', 'group')}"]
command += ["-l", f"h_rt={60 * resources['runtime']}"]
# site: the memory of a job, per slot; at many sites the name is h_vmem or m_mem_free
command += ["-l", f"mem_free={math.ceil(resources['mem_mb'] / slots)}M"]
if slots > 1:
    command += ["-pe", "smp", str(slots)]  # site: the parallel environment of one node
if "gpu" in resources:
    command += ["-l", f"gpu={resources['gpu']}"]  # site: the name of the resource
    # command += ["-q", "gpu.q"]  # site: the queue of GPU jobs
# command += ["-P", "my_project"]  # site

sys.exit(subprocess.run([*command, str(script)], check=False).returncode)
