#!/bin/sh
# A model is saved in one file, and then, after training, in several files (a smaller max_shard_size) into
# the same folder: save_pretrained leaves model.safetensors there, and from_pretrained loads it, so the
# weights from before the training, without a warning. save_pretrained does remove the parts of an
# earlier save. In the other order the new weights load, but model.safetensors.index.json stays and
# names files that are gone.
#
# Versions: transformers 5.24.0 (5.16.0 does the same), torch 2.13.0 on a CPU, Python 3.11.
# Seen, for a model that is saved with all weights 1, then with all weights 2, and loaded:
#   one file, then parts     1
#   parts, then one file     2, with an index of parts that are gone
#   parts, then fewer parts  2
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 transformers==5.24.0
cd "$folder"
cat > saves.py <<'PYTHON'
"""A model saved twice into one folder, and which weights come back."""

import json
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def make(value):
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, **SIZES))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


for first, second in (("1GB", "20KB"), ("20KB", "1GB"), ("20KB", "40KB")):
    folder = Path(f"{first}-{second}")
    make(1).save_pretrained(folder, max_shard_size=first)
    make(2).save_pretrained(folder, max_shard_size=second)
    loaded = LlamaForCausalLM.from_pretrained(folder)
    named = set(json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"].values())
    there = {path.name for path in folder.glob("*.safetensors")}
    print(first, second, "loads", *{int(p.flatten()[0]) for p in loaded.parameters()},
          "one file", "model.safetensors" in there, "parts there", named <= there)
PYTHON
HF_HUB_OFFLINE=1 venv/bin/python saves.py > seen 2> log || { cat log; exit 1; }
cat seen
cat > expected <<'TEXT'
1GB 20KB loads 1 one file True parts there True
20KB 1GB loads 2 one file True parts there False
20KB 40KB loads 2 one file False parts there True
TEXT
cmp seen expected
