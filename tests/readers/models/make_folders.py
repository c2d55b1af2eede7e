"""Writes folders of a small model, as `save_pretrained` does, and what is in them.

``whole`` has float32 weights in one file. ``parts`` has bfloat16 weights in several files; some
weights stay float32. ``expected.json`` has the dtype and shape of each tensor, its values as the
model has them in memory, and the files that an upload has to send.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import torch

from evo2_tasks import Evo2Config, Evo2ForCausalLM, Evo2Tokenizer
from tests.readers.encode import Encoded, encode

DTYPES: Final = {torch.float32: "F32", torch.bfloat16: "BF16"}


def make_model() -> Evo2ForCausalLM:
    """A model with each operator once."""
    torch.manual_seed(1)
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


def write_folders(folder: Path) -> None:
    """Write both folders, and what is in them."""
    folder.mkdir(parents=True)
    whole = make_model()
    whole.save_pretrained(folder / "whole")
    parts = Evo2ForCausalLM.from_pretrained(folder / "whole", dtype=torch.bfloat16)
    parts.save_pretrained(folder / "parts", max_shard_size="20KB")
    expected: dict[str, dict[str, list[Encoded]]] = {}
    for name, model in (("whole", whole), ("parts", parts)):
        Evo2Tokenizer().save_pretrained(folder / name)
        # The output matrix is the embedding, which is saved once.
        tensors = {key: one for key, one in model.state_dict().items() if key != "lm_head.weight"}
        expected[f"{name}: dtypes and shapes"] = {
            key: encode([DTYPES[one.dtype], *one.shape]) for key, one in tensors.items()
        }
        expected[f"{name}: values"] = {
            key: encode(one.double().flatten().tolist()) for key, one in tensors.items()
        }
        expected[f"{name}: files"] = {
            path.name: [encode(path.stat().st_size)] for path in (folder / name).iterdir()
        }
    (folder / "expected.json").write_text(json.dumps({"tables": expected, "answers": {}}))
