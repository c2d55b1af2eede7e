"""Standard output, standard error and the log: what happens where one of them cannot be written."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import first_line, shown_path


def open_missing_streams() -> None:
    """Open the null device in place of each standard stream that is closed.

    Else the next file that is opened gets the number of that stream, and what a library prints
    there becomes part of the file.
    """
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:  # a stream with a lower number was closed by us, not by the caller
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 # a number


@contextmanager
def writing_output() -> Iterator[None]:
    """Turn an error of writing standard output, such as a full disk, into one line.

    Raises:
        InputError: Standard output cannot be written.
        BrokenPipeError: The program that reads standard output has ended.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard(sys.stdout)
        raise InputError(f"standard output: cannot be written: {first_line(error)}") from error


class LogStream(logging.StreamHandler[TextIO]):
    """Writes the log to standard error. If that fails, the work goes on without it."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Write nothing more if standard error cannot be written; report any other error."""
        if isinstance(sys.exc_info()[1], OSError):
            _discard(self.stream)
        else:
            super().handleError(record)


class LogFile(logging.FileHandler):
    """Writes the log to a file too. If that fails, one line says so, and the work goes on.

    Args:
        path: The file. It is appended to.
        logger: The log, to which the line is written.
    """

    def __init__(self, path: Path, logger: logging.Logger) -> None:
        super().__init__(path, encoding="utf-8")
        self._path = path
        self._logger = logger

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Leave the file out of the log if it cannot be written; report any other error."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._logger.removeHandler(self)
        with suppress(OSError):  # the text that could not be written
            self.close()
        self._logger.warning(
            "--log: %s cannot be written: %s; the command continues without this log",
            shown_path(self._path),
            first_line(error),
        )


def _discard(stream: TextIO) -> None:
    """Send a stream to the null device.

    What is still in its buffer would fail once more when Python ends, with exit code 120.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
