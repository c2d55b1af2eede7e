"""What all tests share."""

from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import settings

from evo2_tasks import Evo2Config, Evo2ForCausalLM

# A slow or busy machine is no failure: time is measured in benchmarks, not in tests.
settings.register_profile("evo2-tasks", deadline=None)
settings.load_profile("evo2-tasks")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--known-failures", type=Path, help="YAML: tests that fail, and why")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the tests fail that the file of known failures names; those that pass then are errors."""
    file = config.getoption("known_failures")
    if file is None:
        return
    known = yaml.safe_load(file.read_text(encoding="utf-8"))
    tests = {item.nodeid: item for item in items}
    for name, reason in known.items():
        if name not in tests:
            raise pytest.UsageError(f"{file}: {name}: no such test among those that run.")
        if not isinstance(reason, str) or not reason.strip():
            raise pytest.UsageError(f"{file}: {name}: expected the reason why it fails.")
        tests[name].add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture(scope="session")
def small_model() -> Evo2ForCausalLM:
    """A model with each operator once, whose random weights are large enough to matter."""
    torch.manual_seed(5)
    config = Evo2Config(
        hidden_size=16,
        intermediate_size=24,
        num_attention_heads=2,
        operators=["hyena_se", "hyena_mr", "hyena_li", "attention"],
        hyena_se_groups=4,
        hyena_mr_groups=4,
        initializer_range=0.3,
    )
    return Evo2ForCausalLM(config).eval()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, small_model: Evo2ForCausalLM) -> Path:
    """The small model in a folder that all tests share; one that changes it saves its own."""
    folder = tmp_path_factory.mktemp("checkpoint")
    small_model.save_pretrained(folder)
    return folder
