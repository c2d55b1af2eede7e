"""What all tests share."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

from evo2_tasks import Evo2Config, Evo2ForCausalLM

# A slow or busy machine is no failure: time is measured in benchmarks, not in tests.
settings.register_profile("evo2-tasks", deadline=None)
settings.load_profile("evo2-tasks")


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
