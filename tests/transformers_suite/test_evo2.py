"""transformers' own tests for causal language models, run on Evo 2.

transformers does not install its tests, so this file needs a folder that holds them, ``tests/``
of its repository at about the installed version: ``make transformers-suite SUITE=folder``.
Without it all of this is skipped. What the suite asks for and Evo 2 has in another form stands
below as a test of the same name; docs/transformers.md has the results and the reasons.
"""

import os
import sys
import unittest
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, DynamicCache
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from evo2_tasks.evo2 import Evo2Config, Evo2ForCausalLM, Evo2Model
from evo2_tasks.evo2.config import ATTENTION, HYENA_LI, HYENA_MR, HYENA_SE
from evo2_tasks.evo2.keywords import CACHE_NAME, CACHE_NAMES
from evo2_tasks.evo2.rotary import RotaryEmbedding

SUITE = os.environ.get("TRANSFORMERS_SUITE")
if not SUITE:
    pytest.skip(
        "needs the tests of transformers: make transformers-suite SUITE=folder",
        allow_module_level=True,
    )

# The suite calls itself `tests`, as the folder above this one does; here it is the one meant.
sys.modules.pop("tests", None)
sys.path.insert(0, str(Path(SUITE).resolve()))

from tests.causal_lm_tester import CausalLMModelTest, CausalLMModelTester  # noqa: E402

# Some of its tests look the classes up by name, where those inside transformers stand.
MODEL_MAPPING_NAMES["evo2"] = Evo2Model.__name__
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES["evo2"] = Evo2ForCausalLM.__name__


class Evo2ModelTester(CausalLMModelTester):
    """A small model with each operator once."""

    config_class = Evo2Config
    base_model_class = Evo2Model
    causal_lm_class = Evo2ForCausalLM

    def __init__(self, parent: unittest.TestCase) -> None:
        operators = [HYENA_SE, HYENA_MR, HYENA_LI, ATTENTION]
        super().__init__(
            parent,
            operators=operators,
            num_hidden_layers=len(operators),
            hyena_se_groups=8,
            hyena_mr_groups=4,
            hyena_mr_length=16,
            state_size=4,
        )


class Evo2ModelTest(CausalLMModelTest, unittest.TestCase):
    model_tester_class = Evo2ModelTester
    test_can_init_all_missing_weights_before_2023 = True
    _torch_compile_train_cls = Evo2ForCausalLM

    def test_num_layers_is_small(self) -> None:
        """The suite wants two layers, but there are four operators."""
        assert self.model_tester.num_hidden_layers == len(set(self.model_tester.operators))

    def test_attention_outputs(self) -> None:
        """Only the attention layers have weights, and only they are returned."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        length = self.model_tester.seq_length
        for model_class in self.all_model_classes:
            model = model_class._from_config(config, attn_implementation="eager").eval()
            with torch.no_grad():
                outputs = model(**inputs, output_attentions=True)
                without = model(**inputs)
            assert without.attentions is None
            assert len(outputs) == len(without) + 1
            assert outputs[-1] is outputs.attentions
            shapes = [tuple(weights.shape[1:]) for weights in outputs.attentions]
            assert shapes == [(config.num_attention_heads, length, length)]

    def test_model_rope_scaling_from_config_1_dynamic(self) -> None:
        """No Evo 2 has it."""
        self._check_rope_is_refused("dynamic")

    def test_model_rope_scaling_from_config_2_yarn(self) -> None:
        """No Evo 2 has it."""
        self._check_rope_is_refused("yarn")

    def _check_rope_is_refused(self, rope_type: str) -> None:
        rope = {"rope_type": rope_type, "rope_theta": 10_000.0, "factor": 10.0}
        with pytest.raises(ValueError, match=f"rope_type '{rope_type}' unknown"):
            Evo2Config(rope_parameters=rope)
        config = self.model_tester.get_config()
        config.rope_parameters = rope
        with pytest.raises(ValueError, match=f"rope_type '{rope_type}' unknown"):
            Evo2Model(config)

    def test_model_rope_scaling_frequencies(self) -> None:
        """The suite's checks but for the types that are refused; our module takes a dtype."""
        config = self.model_tester.get_config()
        position_ids = torch.arange(100)[None]
        tables = RotaryEmbedding(config)(position_ids, torch.float32)
        config.rope_parameters = {**config.rope_parameters, "rope_type": "linear", "factor": 10.0}
        linear = RotaryEmbedding(config)(position_ids, torch.float32)
        for table, stretched in zip(tables, linear, strict=True):
            torch.testing.assert_close(stretched[:, :, ::10], table[:, :, :10])

    def test_bc_cache_name_forward(self) -> None:
        """The suite of 5.24 expects a warning at the old name; Evo 2 will not drop it."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        for model_class in self.all_model_classes:
            model = model_class(config).eval()
            caches = [DynamicCache(config=config) for _ in CACHE_NAMES]
            with torch.no_grad(), warnings.catch_warnings(action="error"):
                outputs = [
                    model(**inputs, **{name: cache})
                    for name, cache in zip(CACHE_NAMES, caches, strict=True)
                ]
            for output, cache in zip(outputs, caches, strict=True):
                assert output[CACHE_NAME] is cache
                assert cache.get_seq_length() == self.model_tester.seq_length
            self._check_caches_are_equal(*caches)

    def _check_past_key_values_for_generate(
        self, batch_size: int, past_key_values: Cache, seq_length: int, config: PreTrainedConfig
    ) -> None:
        """The suite expects states of one shape; here each operator keeps what it needs."""
        channels = config.hidden_size
        taps = {HYENA_SE: config.hyena_se_length, HYENA_MR: config.hyena_mr_length}
        for layer, operator in zip(past_key_values.layers, config.operators, strict=True):
            expected: dict[str, Any] = {}
            if operator == ATTENTION:
                shape = (batch_size, config.num_attention_heads, seq_length, config.head_dim)
                assert layer.keys.shape == layer.values.shape == shape
                continue
            expected[0] = (batch_size, 3 * channels, config.featurizer_length - 1)
            if operator in taps:
                expected[1] = (batch_size, channels, taps[operator] - 1)
            states = {i: tuple(s.shape) for i, s in layer.conv_states.items() if s is not None}
            assert states == expected
            recurrent = [tuple(s.shape) for s in layer.recurrent_states.values() if s is not None]
            is_long = operator == HYENA_LI
            assert recurrent == [(batch_size, channels, config.state_size)] * is_long
