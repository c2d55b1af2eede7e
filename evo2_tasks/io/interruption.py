"""SIGTERM and SIGINT: long work stops at the next point where nothing is lost.

SLURM sends SIGTERM before it kills a job: at the job's time limit, when another job preempts it, or
when a user cancels it.
"""

import logging
import os
import select
import signal
import threading
from types import FrameType, TracebackType
from typing import Self

logger = logging.getLogger(__name__)

EXIT_INTERRUPTED = 75
GRACE_S = 8.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
    """The process received a signal to stop. Finished parts are kept, and a rerun continues there.

    Like KeyboardInterrupt it is not an ``Exception``, so that no handler of errors catches it.
    """


def raise_on_sigterm() -> None:
    """Make SIGTERM end this process as Ctrl-C does: at once, and with temporary files removed."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    signal.signal(signal.SIGTERM, interrupt)


class Interruption:
    """Lets work choose where it stops after a signal.

    Use it as a context manager in the main thread. After a signal the work has ``GRACE_S`` seconds
    to call :meth:`check`. Then the process exits. All files appear by atomic rename, so no file is
    left half-written.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._awake, self._wake = -1, -1

    def __enter__(self) -> Self:
        # Python runs a signal's handler between two instructions, and one of these may be a long
        # matrix multiplication. The byte that is written to this pipe reaches the thread at once.
        self._awake, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wake = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, self._note) for number in SIGNALS}
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wake)
        self._ended.set()
        os.close(self._wake)

    def check(self) -> None:
        """Stop here if the process has received a signal.

        Raises:
            Interrupted: The process has received a signal.
        """
        if self._signal is not None:
            raise Interrupted(signal.Signals(self._signal).name)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number

    def _watch(self) -> None:
        """Exit if the work has not ended some seconds after a signal."""
        is_signalled = False
        while not is_signalled:
            select.select([self._awake], [], [])
            numbers = os.read(self._awake, 64)
            is_signalled = any(number in SIGNALS for number in numbers)
            if not numbers:  # the other end is closed: the work has ended
                break
        if is_signalled and not self._ended.wait(GRACE_S):
            logger.error("interrupted in the middle of a batch; finished parts are kept")
            os._exit(EXIT_INTERRUPTED)
        os.close(self._awake)
