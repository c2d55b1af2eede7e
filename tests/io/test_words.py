"""Paths, values and errors in messages."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.io.words import counted, duration, first_line, shown, shown_path


@given(st.text())
def test_a_value_is_one_printable_line(text: str) -> None:
    assert shown(text).isprintable()
    assert shown_path(text).isprintable()


def test_printable_text_is_kept() -> None:
    assert shown("é 'a' \\ b") == "é 'a' \\ b"
    assert shown(3) == "3"


def test_a_long_value_is_cut_and_a_path_is_not() -> None:
    assert shown("x" * 81) == "x" * 77 + "..."
    assert shown("x" * 9, limit=8) == "xxxxx..."
    assert shown_path(Path("x" * 200)) == "x" * 200


def test_control_characters_are_escaped() -> None:
    assert shown("a\nb\x1b[0m") == "a\\nb\\x1b[0m"
    assert shown_path("a\udcff") == "a\\udcff"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("\n first\nsecond"), " first"),
        (KeyError(), "KeyError"),
    ],
)
def test_an_error_is_its_first_line(error: Exception, line: str) -> None:
    assert first_line(error) == line


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_013, "1,013 rows")]
)
def test_a_number_of_things_has_its_plural(number: int, text: str) -> None:
    assert counted(number, "row") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"), (0.224, "0.22 seconds"), (1, "1 second"), (1.04, "1 second"),
        (1.5, "1.5 seconds"), (59.7, "60 seconds"), (60, "1.0 minutes"), (3600, "1.0 hours"),
        (7_200_000, "2,000.0 hours"),
    ],
)  # fmt: skip
def test_a_time_has_a_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text
