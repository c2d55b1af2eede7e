"""What the tests of scoring share."""

import pytest

from evo2_tasks.genome.reference import Reference
from tests.scoring.drawn_pairs import make_genome


@pytest.fixture(scope="session")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return make_genome(tmp_path_factory.mktemp("genome"))
