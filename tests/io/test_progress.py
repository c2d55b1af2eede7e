"""What the log says about the time left, by a clock that the test sets."""

import logging

import pytest

from evo2_tasks.io import progress as module
from evo2_tasks.io.progress import SECONDS_BETWEEN_LINES, Progress


class Clock:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_time_left_is_that_of_the_rest_at_the_same_rate(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Progress("task", total=1_000, unit="rows") as progress:
        progress.skip(100)  # finished before, in no time
        clock.now += SECONDS_BETWEEN_LINES
        progress.add(300)
    assert caplog.messages == ["task: 400 of 1,000 rows, 10/s, about 01:00 left"]


def test_reaching_an_amount_counts_what_is_missing_and_nothing_twice(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Progress("task", total=500, unit="rows") as progress:
        progress.skip(50)
        progress.add(100)
        progress.reach(200)
        progress.reach(120)
        clock.now += 2 * SECONDS_BETWEEN_LINES
        progress.reach(350)
    assert caplog.messages == ["task: 350 of 500 rows, 5/s, about 00:30 left"]
