"""The search for the first module of a model whose output is not finite."""

import torch
from torch import Tensor, nn

from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.scoring.likelihood import SEGMENT_LENGTH, window_log_probs


def first_non_finite_module(
    model: Evo2ForCausalLM,
    window: bytes,
    *,
    prepend_bos: bool,
    segment_length: int = SEGMENT_LENGTH,
) -> str | None:
    """Run one window and find the first module whose output is not finite.

    Args:
        model: The model, in eval mode.
        window: The window's tokens.
        prepend_bos: Put a beginning-of-sequence token (id 0) before the window.
        segment_length: Longer windows go through the model in segments of this many tokens.

    Returns:
        Its name, for example ``model.layers.3 (hyena_se)``; None if all outputs are finite.
    """
    found: list[str] = []

    def look(name: str, output: object) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        if not found and isinstance(tensor, Tensor) and not torch.isfinite(tensor).all():
            found.append(name)

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _module, _args, output: look(name, output))

    inner = model.model
    named: dict[str, nn.Module] = {
        "model.embed_tokens": inner.embed_tokens,
        **{
            f"model.layers.{number} ({operator})": layer
            for number, (operator, layer) in enumerate(
                zip(model.config.operators, inner.layers, strict=True)
            )
        },
        "model.norm": inner.norm,
        "lm_head": model.lm_head,
    }
    handles = [watch(name, module) for name, module in named.items()]
    try:
        window_log_probs(model, [window], prepend_bos=prepend_bos, segment_length=segment_length)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
