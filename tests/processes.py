"""Processes of their own for jobs that run at once, or are ended from outside.

They are copies of one process that has imported what jobs import: alone, an import of torch and
transformers takes longer than the jobs of most tests.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess

TIME_LIMIT_S = 600

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["evo2_tasks.steps.score", "hypothesis", "pytest", "tests.project"])


def start(work: Callable[..., object], *arguments: object) -> ForkServerProcess:
    """Call a function of a module in a process of its own."""
    process = _context.Process(target=work, args=arguments)
    process.start()
    return process


def wait(process: ForkServerProcess) -> int | None:
    """Wait until a process has ended; gives its status."""
    process.join(TIME_LIMIT_S)
    return process.exitcode
