"""A report that several files test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.build import LABELS, make_columns, score_again, write_page, write_scoring


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scorings of one labelled variant set."""
    folder = tmp_path_factory.mktemp("set")
    write_scoring(folder / "one", make_columns(600))
    write_scoring(folder / "two", score_again(make_columns(600)), weights_digest="1" * 64)
    write_page(folder, ["one", "two"], **LABELS)
    return folder


@pytest.fixture(scope="session")
def page(folder: Path) -> Path:
    return folder / "report.html"
