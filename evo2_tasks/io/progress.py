"""Progress of long work: a bar on a terminal, and a line in the log at intervals."""

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0

# disable=None: no bar where standard error is no terminal
_bars: list[Callable[..., Any]] = [partial(tqdm, disable=None)]
"""What makes the bars; the last one counts."""


@contextmanager
def bars_in_notebook() -> Iterator[None]:
    """Show the bars of the body also in a notebook, as widgets if it has these.

    A bar disappears when its work has ended. Outside of a notebook nothing changes.
    """
    if not _is_in_notebook():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tqdm, where ipywidgets is not installed
        auto = import_module("tqdm.auto").tqdm
    _bars.append(partial(auto, disable=False, leave=False))
    try:
        yield
    finally:
        _bars.pop()


def _is_in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


class Progress:
    """Counts finished work and reports it; use it as a context manager.

    Args:
        task: Name of the work in the log.
        total: Amount of all the work; None if it is not known.
        unit: What is counted, in the plural.
    """

    def __init__(self, task: str, *, total: int | None, unit: str) -> None:
        self._task = task
        self._total = total
        self._unit = unit
        self._done = self._skipped = 0
        self._started = self._logged = time.monotonic()
        self._bar = _bars[-1](total=total, desc=task, unit=f" {unit}", unit_scale=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def skip(self, amount: int) -> None:
        """Count work that was finished before this run; it does not change the rate."""
        self._skipped += amount
        self._bar.update(amount)

    def reach(self, amount: int) -> None:
        """Count all work up to this amount as finished, for example work that was not needed."""
        self.add(max(0, amount - self._done - self._skipped))

    def add(self, amount: int) -> None:
        """Count finished work."""
        self._done += amount
        self._bar.update(amount)
        now = time.monotonic()
        if now - self._logged >= SECONDS_BETWEEN_LINES:
            self._logged = now
            rate = self._done / (now - self._started)
            done = self._done + self._skipped
            if self._total is None:
                logger.info("%s: %s %s, %s/s", self._task, f"{done:,}", self._unit, f"{rate:,.0f}")
                return
            left = max(0, self._total - done) / rate if rate else 0.0
            logger.info(
                "%s: %s of %s %s, %s/s, about %s left",
                self._task,
                f"{done:,}",
                f"{self._total:,}",
                self._unit,
                f"{rate:,.0f}",
                tqdm.format_interval(left),
            )
