"""A score store that tests of the steps share."""

import shutil
from pathlib import Path

import pytest

from tests.steps.store_runs import A, make_job


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """A store with the scores of A, to which a test does not write."""
    folder = tmp_path_factory.mktemp("filled")
    make_job(folder / "run", checkpoint, A, folder / "store").run()
    return folder / "store"


@pytest.fixture
def store(tmp_path: Path, filled: Path) -> Path:
    """A copy of the store with the scores of A."""
    shutil.copytree(filled, tmp_path / "store")
    return tmp_path / "store"
