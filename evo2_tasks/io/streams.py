"""Standard output, standard error and the log: what may reach a terminal, and errors of writing.

Names of files, models and contigs, values of a config, and what a hub or a library says may contain
control sequences: a terminal is cleared, its cursor moves, or its clipboard is written. All text
passes :func:`plain_streams`, which writes escapes. Bytes (``export --out -``) stay as they are.
"""

import logging
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

from evo2_tasks.errors import InputError
from evo2_tasks.io.words import first_line, shown_path, without_controls


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


class PlainStream:
    """A text stream that writes control characters as escapes; otherwise it is the stream itself.

    Line ends and tabs are kept. So is a carriage return around a text without a line end, which is
    how a progress bar is drawn again.

    Args:
        stream: Standard output or standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text."""
        core = text if "\n" in text else text.strip("\r")
        before, _, after = text.partition(core) if core else (text, "", "")
        return self._stream.write(before + without_controls(core, keep="\n\t") + after)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)


@contextmanager
def plain_streams() -> Iterator[None]:
    """Let no control character that is in a text reach the terminal while the body runs.

    This holds for the log, for progress bars, for what libraries print, and for tracebacks.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, PlainStream(stream)) for stream in streams)
    try:
        yield
    except Exception:  # a bug: its traceback is printed, without control characters
        sys.excepthook = _print_traceback  # Python calls it after this function has ended
        raise
    finally:
        sys.stdout, sys.stderr = streams


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    traceback.print_exception(kind, error, trace, file=cast(TextIO, PlainStream(sys.stderr)))


class LineFormatter(logging.Formatter):
    """Formats a message of the log as one line without control characters.

    A line end in a name would begin another line of the log, which could state anything.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format the line, without a traceback."""
        return without_controls(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Format the lines of a traceback."""
        return without_controls(super().formatException(ei), keep="\n\t")


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
    """Writes the log to standard error. If that fails, the command continues without it."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Write nothing more if standard error cannot be written; report any other error."""
        if isinstance(sys.exc_info()[1], OSError):
            _discard(self.stream)
        else:
            super().handleError(record)


class LogFile(logging.FileHandler):
    """Writes the log to a file too. If that fails, one line reports it, and the command continues.

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
