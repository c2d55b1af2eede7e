"""Common parts of the benchmarks: the machine, times measured in turn, checkouts, the table."""

import datetime
import json
import math
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Self

import torch

from evo2_tasks.table.provenance import package_version

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
LONG_RUN_S = 10.0  # a first run of at least this length is counted


def describe_machine() -> dict[str, object]:
    """The machine, the versions and the commit on which a result depends."""
    fields: dict[str, str] = {}
    if CPUINFO.exists():
        lines = [line.partition(":") for line in CPUINFO.read_text().splitlines()]
        fields = {name.strip(): value.strip() for name, _, value in lines}
    flags = fields.get("flags", "").split()
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "num_cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "version": package_version(),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _commit() -> str:
    """The commit that is checked out, with a plus if the package has other changes."""
    checkout = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(checkout), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "evo2_tasks")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def time_in_turn(
    cases: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    most_s: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median time of each case, in seconds.

    The cases take turns, so that other programs on the machine slow down all of them. The first run
    of a case, which may fill caches for later runs, counts only if it is long.

    Args:
        cases: What to run, by name.
        repeats: Turns after the first.
        most_s: No turn starts after this total wall time.
        clock: Gives the time in seconds; default is wall time.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    begun = time.perf_counter()
    for turn in range(repeats + 1):
        if turn > 0 and all(times.values()) and time.perf_counter() - begun > most_s:
            break
        for name, run in cases.items():
            started = clock()
            run()
            taken = clock() - started
            if turn > 0 or taken > LONG_RUN_S:
                times[name].append(taken)
    return {name: median(taken) for name, taken in times.items()}


def cpu_seconds() -> float:
    """CPU time of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Server:
    """A process that imports the package of a checkout, reads cases and answers, as lines of JSON.

    Args:
        arguments: Script and arguments.
        checkout: Folder of the checkout.
    """

    def __init__(self, arguments: Sequence[str], checkout: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(checkout.resolve())},
        )

    def ask(self, case: Mapping[str, Any]) -> Any:
        """Run a case and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(case), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def expected_s(measured: Mapping[int, float], window: int) -> float:
    """Expected time of a longer window: a part that is linear in the length, and a quadratic part.

    Args:
        measured: Seconds of the windows so far, by their length.
        window: Length of the longer window.
    """
    if not measured:
        return 0.0
    *_, longest = sorted(measured)
    linear, quadratic = measured[longest] / longest, 0.0
    if len(measured) > 1:
        before = sorted(measured)[-2]
        slope = linear - measured[before] / before
        quadratic = min(max(0.0, slope / (longest - before)), linear / longest)
        linear -= quadratic * longest
    return linear * window + quadratic * window**2


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print the rows below the names of their columns; None is shown as a dash."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_shown(row.get(name)) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    for line in (names, *cells):
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def significant(value: float, digits: int = 3) -> float:
    """Round to a number of significant digits; the default fits a measured time."""
    return float(f"{value:.{digits}g}")
