"""The process of a job, and the machine that it runs on, without its devices."""

import os
import platform
import resource
import sys
from typing import Any

from evo2_tasks.table.provenance import package_version


def describe_process() -> dict[str, Any]:
    """What may differ between two jobs that do not run the model."""
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "node": platform.node(),
        "job": os.environ.get("SLURM_JOB_ID"),
        "version": package_version(),
        "python": platform.python_version(),
        "peak_memory_mb": round(peak_kib * (1 if sys.platform == "darwin" else 1024) / 1e6, 1),
    }
