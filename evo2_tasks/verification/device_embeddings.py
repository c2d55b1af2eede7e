"""Embeddings from passes that share windows, and from two whole windows each.

D channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.embeddings import Embeddings
from evo2_tasks.scoring.likelihood import pad
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair

TOKENS = 64


def last_block(model: Evo2ForCausalLM) -> str:
    """Published name of the last block."""
    return f"blocks.{len(model.config.operators) - 1}"


def shared_embeddings(model: Evo2ForCausalLM, pairs: Sequence[WindowPair]) -> Tensor:
    """``ref`` and ``delta`` of the last block, as scoring computes them. (2, pairs, D)."""
    layer = last_block(model)
    embeddings = Embeddings((layer,), TOKENS)
    records = score_part(
        model,
        pairs,
        [embeddings],
        batch_tokens=4 * len(pairs[0].ref_seq),
        horizon=False,
        prepend_bos=False,
    ).of(embeddings)
    missing = [torch.nan] * model.config.hidden_size
    return torch.tensor(
        [
            [missing if one is None else getattr(one, kind)[layer].tolist() for one in records]
            for kind in ("ref", "delta")
        ]
    )


@torch.inference_mode()
def whole_embeddings(model: Evo2ForCausalLM, pairs: Sequence[WindowPair]) -> Tensor:
    """The same for substitutions, from the outputs of two whole windows each. (2, pairs, D)."""
    kept: list[Tensor] = []
    handle = model.model.layers[-1].register_forward_hook(
        lambda _module, _args, output: kept.append(output.cpu().float())
    )
    for pair in pairs:
        for window in (pair.ref_seq, pair.alt_seq):
            model.model(pad([window], model.device), use_cache=False)
    handle.remove()
    means = [
        output[0, pair.prefix : pair.prefix + TOKENS].mean(dim=0)
        for pair, output in zip([pair for pair in pairs for _ in range(2)], kept, strict=True)
    ]
    ref, alt = torch.stack(means[::2]), torch.stack(means[1::2])
    return torch.stack([ref, alt - ref])
