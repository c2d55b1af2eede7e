"""SIGTERM and SIGINT as a question that long work asks itself where it can stop.

SLURM sends SIGTERM before it kills a job: at its time limit, when another job preempts it, when a
person cancels it.
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
    """The process was told to stop; what it has finished is kept, and a rerun goes on from there.

    Not an ``Exception``, as KeyboardInterrupt is none: nothing that handles errors may catch it.
    """


def raise_on_sigterm() -> None:
    """Make SIGTERM end this process as Ctrl-C does, where it stands and with its files tidied."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    signal.signal(signal.SIGTERM, interrupt)


class Interruption:
    """Lets work end at a point of its own choice; use it as a context manager in the main thread.

    After a signal the work has ``GRACE_S`` seconds until it asks :meth:`check`; then the process
    exits where it stands. All files appear by atomic rename, so that leaves nothing half-written.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._awake, self._wake = -1, -1

    def __enter__(self) -> Self:
        # The interpreter handles a signal between two of its instructions, and one of those may be
        # a long product of matrices. The byte that it writes here at once reaches the thread.
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
        """Stop here if the process was told to.

        Raises:
            Interrupted: It was.
        """
        if self._signal is not None:
            raise Interrupted(signal.Signals(self._signal).name)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number

    def _watch(self) -> None:
        """Exit, some seconds after a signal came and the work has not ended."""
        told = False
        while not told:
            select.select([self._awake], [], [])
            written = os.read(self._awake, 64)
            told = any(number in SIGNALS for number in written)
            if not written:  # the other end is closed: the work has ended
                break
        if told and not self._ended.wait(GRACE_S):
            logger.error("interrupted in the middle of a batch; what is finished is kept")
            os._exit(EXIT_INTERRUPTED)
        os.close(self._awake)
