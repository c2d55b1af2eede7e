#!/bin/sh
# transformers 5.24 hands the cache of `generate` to a model's `forward` as `cache`; up to 5.23 it
# was `past_key_values`. A model whose `forward` has `past_key_values` and `**kwargs` gets the cache
# among its keyword arguments and does not see it. Nothing fails, and no warning names the model:
# after the prompt, each step gets one token without a history, so the text is wrong.
#
# The model here adds the ids of all tokens up to now. Its next token is that sum modulo 11.
# Versions: transformers 5.23.0 and 5.24.0, torch 2.13.0, Python 3.11.
# Seen, from the prompt 3 4 5:
#   without a cache, both versions   1 2 4 8
#   with a cache, 5.23.0             1 2 4 8
#   with a cache, 5.24.0             1 1 1 1; the keyword argument `cache` is there in each call
# Exit code 0 if that is so, 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cat > "$folder/model.py" <<'PYTHON'
import torch
import transformers
from torch import nn
from transformers import GenerationMixin, LlamaConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

calls = []


class Sum(PreTrainedModel, GenerationMixin):
    config_class = LlamaConfig

    def __init__(self, config):
        super().__init__(config)
        self.unused = nn.Linear(1, 1)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, **kwargs):
        calls.append((input_ids.shape[1], "cache" in kwargs))
        total = input_ids.sum(1)
        if past_key_values is not None:
            total = total + getattr(past_key_values, "total", 0)
            past_key_values.total = total
            keys = torch.zeros(len(input_ids), 1, input_ids.shape[1], 1)
            past_key_values.update(keys, keys, 0)  # so that the cache knows its length
        one_hot = nn.functional.one_hot(total % 11, 11).float()
        logits = one_hot[:, None].expand(-1, input_ids.shape[1], -1)
        return CausalLMOutputWithPast(logits=logits, past_key_values=past_key_values)


config = LlamaConfig(
    vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
    bos_token_id=1, eos_token_id=None, pad_token_id=0,
)
model = Sum(config).eval()
print(transformers.__version__, torch.__version__.partition("+")[0])
for use_cache in (False, True):
    calls.clear()
    ids = model.generate(
        torch.tensor([[3, 4, 5]]), max_new_tokens=4, do_sample=False, use_cache=use_cache
    )
    print(use_cache, ids[0, 3:].tolist(), calls)
PYTHON

run() {
    "$folder/venv/bin/python" -m pip install -qq torch==2.13.0 "transformers==$1"
    "$folder/venv/bin/python" -W ignore "$folder/model.py" 2>/dev/null
}

without='False [1, 2, 4, 8] [(3, False), (4, False), (5, False), (6, False)]'
expected_23="5.23.0 2.13.0
$without
True [1, 2, 4, 8] [(3, False), (1, False), (1, False), (1, False)]"
expected_24="5.24.0 2.13.0
$without
True [1, 1, 1, 1] [(3, True), (1, True), (1, True), (1, True)]"
found_23=$(run 5.23.0)
found_24=$(run 5.24.0)
printf '%s\n\n%s\n' "$found_23" "$found_24"
if [ "$found_23" != "$expected_23" ] || [ "$found_24" != "$expected_24" ]; then
    echo 'The behaviour has changed.' >&2
    exit 1
fi
