import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from evo2_tasks import Evo2Config, Evo2ForCausalLM

Make = Callable[..., Any]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors gain nothing from more, and wait for each other where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    return Path(__file__).parent.parent / "data" / "golden"


@pytest.fixture(scope="session")
def make_config() -> Make:
    """A small config with every operator, odd sizes, and filters that reach over a chunk."""

    def make(operators: list[str] | None = None, **kwargs: Any) -> Evo2Config:
        values = {
            "hidden_size": 24,
            "intermediate_size": 20,
            "num_attention_heads": 3,
            "operators": operators or ["hyena_se", "hyena_mr", "hyena_li", "attention"],
            "hyena_se_groups": 4,
            "hyena_mr_groups": 6,
            "hyena_mr_length": 50,
            "state_size": 5,
            "initializer_range": 0.3,
        }
        return Evo2Config(**{**values, **kwargs})

    return make


@pytest.fixture(scope="session")
def make_model(make_config: Make) -> Make:
    """A model with random weights in which everything matters: norms, biases, skips too."""

    def make(operators: list[str] | None = None, *, seed: int = 0, **kwargs: Any) -> Any:
        torch.manual_seed(seed)
        model = Evo2ForCausalLM(make_config(operators, **kwargs)).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith((".scale", ".bias", ".D")):
                    parameter.add_(0.3 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture(scope="session")
def make_published() -> Make:
    """The entries of a published file, names and shapes written down from the layout's table."""

    def make(config: Evo2Config, seed: int = 0) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        D, inner = config.hidden_size, config.intermediate_size  # noqa: N806 # as in the layout

        def draw(*shape: int, dtype: torch.dtype = torch.bfloat16, scale: float = 0.3) -> Tensor:
            return (scale * torch.randn(shape, generator=generator)).to(dtype)

        entries: dict[str, Any] = {"embedding_layer.weight": draw(config.vocab_size, D)}
        entries["unembed.weight"] = entries["embedding_layer.weight"].clone()
        entries["norm.scale"] = draw(D)
        for layer, operator in enumerate(config.operators):
            block = {
                "pre_norm.scale": draw(D),
                "post_norm.scale": draw(D),
                "mlp.l1.weight": draw(inner, D),
                "mlp.l2.weight": draw(inner, D),
                "mlp.l3.weight": draw(D, inner),
            }
            if operator == "attention":
                block |= {
                    "inner_mha_cls.Wqkv.weight": draw(3 * D, D),
                    "inner_mha_cls.out_proj.weight": draw(D, D),
                    "inner_mha_cls.out_proj.bias": draw(D),
                    "inner_mha_cls.rotary_emb.inv_freq": draw(config.head_dim // 2).abs(),
                    "mixer.dense._extra_state": None,
                }
            else:
                block |= {
                    "projections.weight": draw(3 * D, D),
                    "projections._extra_state": fp8_blob(generator),
                    "filter.short_filter_weight": draw(3 * D, 1, config.featurizer_length),
                    "out_filter_dense.weight": draw(D, D),
                    "out_filter_dense.bias": draw(D),
                }
            if operator == "hyena_se":
                block["filter.h"] = draw(config.hyena_se_groups, 1, config.hyena_se_length)
            elif operator == "hyena_mr":
                block["filter.h"] = draw(config.hyena_mr_groups, 1, config.hyena_mr_length)
                block["filter.D"] = draw(D)
            elif operator == "hyena_li":
                shape, dtype = (D, config.state_size), torch.float32
                block["filter.log_poles"] = -draw(*shape, 1, dtype=dtype).abs() - 1e-3
                block["filter.residues"] = draw(*shape, dtype=dtype)
                block["filter.D"] = draw(D)
                block["mixer.mixer.filter.t"] = torch.arange(9.0).view(1, 1, 9)
            entries |= {f"blocks.{layer}.{name}": value for name, value in block.items()}
        return entries

    return make


def fp8_blob(generator: torch.Generator) -> io.BytesIO:
    blob = io.BytesIO()
    state = {
        "scale_fwd": torch.rand(3, generator=generator),
        "amax_history_fwd": torch.rand(16, 3, generator=generator),
        "extra_fp8_variables": {"fp8_max_fwd": 448.0, "num_gemms": 1},
    }
    torch.save(state, blob)
    blob.seek(0)
    return blob
