"""A model of any small shape is saved and loaded: any order of layers, odd sizes, 1 to 6 layers."""

import tempfile
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks import Evo2Config, Evo2ForCausalLM

OPERATORS = ["hyena_se", "hyena_mr", "hyena_li", "attention"]


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    """Keys of a config."""
    heads, half, groups = (draw(st.integers(1, 3)) for _ in range(3))
    factor = draw(st.sampled_from([None, 4.0, 128.0]))
    linear = {"rope_type": "linear", "rope_theta": 1e6, "factor": factor}
    return {
        "operators": draw(st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=6)),
        "hidden_size": 2 * half * heads * groups,
        "num_attention_heads": heads,
        "intermediate_size": draw(st.integers(1, 30)),
        "vocab_size": draw(st.sampled_from([512, 301])),
        "featurizer_length": draw(st.integers(1, 4)),
        "hyena_se_length": draw(st.integers(1, 8)),
        "hyena_se_groups": groups,
        "hyena_mr_length": draw(st.integers(1, 40)),
        "hyena_mr_groups": groups * heads,
        "state_size": draw(st.integers(1, 17)),
        "norm_eps": draw(st.sampled_from([0.0, 1e-6, 1e-3])),
        "tie_word_embeddings": draw(st.booleans()),
        "rope_parameters": linear if factor else {"rope_type": "default", "rope_theta": 1e4},
    }


@settings(deadline=None, max_examples=20)
@given(shape=shapes(), dtype=st.sampled_from([torch.float32, torch.bfloat16]), data=st.data())
def test_save_and_load_is_identity(
    make_model: Any, shape: dict[str, Any], dtype: torch.dtype, data: st.DataObject
) -> None:
    model = make_model(**shape).to(dtype)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size=data.draw(st.sampled_from(["5KB", "1GB"])))
        loaded = Evo2ForCausalLM.from_pretrained(folder)
        config = Evo2Config.from_pretrained(folder)
    assert config.to_dict() == model.config.to_dict()
    state, again = model.state_dict(), loaded.state_dict()
    assert state.keys() == again.keys()
    for name, tensor in state.items():
        assert tensor.dtype == again[name].dtype, name
        assert torch.equal(tensor, again[name]), name
