"""The published implementation, `vtx` 1.1.0, adapted to run on a CPU.

It is written for CUDA: Triton rotates queries and keys, and contexts choose a GPU. `_stand_in`
replaces these parts without a change of the mathematics. Everything else is the code of the
package. Its config can turn off Transformer Engine and FlashAttention.

    pip install --no-deps --target build/vtx vtx==1.1.0 einops==0.8.1 rich
"""

import contextlib
import importlib
import io
import logging
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.published import published_name

ROTARY = "vortex.ops.embedding.rotary"  # the only module that needs Triton


def load_reference(model: Evo2ForCausalLM, folder: Path | None) -> nn.Module:
    """The published model with the weights of our model, rounded as the published code does.

    Args:
        model: Our model, in float32 or bfloat16.
        folder: Folder of the installed package, if it is not in this environment.

    Raises:
        ImportError: The package is not installed.
    """
    vortex_model, vortex_utils = _import_reference(folder)
    config = model.config.to_published() | {
        "use_fp8_input_projections": False,
        "use_flash_attn": False,
        "use_flashfft": False,
        "model_parallel_size": 1,
    }
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        reference: nn.Module = vortex_model.StripedHyena(vortex_utils.dotdict(config))
        if model.dtype == torch.bfloat16:
            reference.to_bfloat16_except_pr_lc(to_float32=True)  # type: ignore[operator] # untyped
        else:
            reference.to(model.dtype)
        weights = {published_name(name): weight for name, weight in model.state_dict().items()}
        reference.custom_load_state_dict(weights)  # type: ignore[operator] # the same
    return reference.eval()


def reference_log_probs(reference: nn.Module, input_ids: Tensor) -> Tensor:
    """Log-probability of each token after the first, from one call. (B, L + 1) -> (B, L)."""
    logits = reference(input_ids[:, :-1])[0]
    log_probs: Tensor = logits.log_softmax(-1).gather(-1, input_ids[:, 1:, None]).squeeze(-1)
    return log_probs


def generate_by_reference(
    reference: nn.Module, prompts: Tensor, num_tokens: int
) -> Iterator[Tensor]:
    """Continue prompts greedily with the caches of the published code, as its `Generator` does.

    Yields:
        The next token of each prompt, `num_tokens` times. (B, 1)
    """
    with contextlib.redirect_stdout(io.StringIO()):
        caches = reference.initialize_inference_params(  # type: ignore[operator] # untyped
            max_seqlen=prompts.shape[1] + num_tokens
        )
    caches["mha"].max_batch_size = len(prompts)
    tokens = prompts
    for step in range(num_tokens):
        logits, caches = reference(tokens, inference_params_dict=caches)
        tokens = logits[:, -1:].argmax(-1)
        yield tokens
        for cache in caches.values():
            cache.seqlen_offset = prompts.shape[1] + step


def _import_reference(folder: Path | None) -> tuple[Any, Any]:
    if folder is not None:
        # At the end: packages that are in both places are taken from this environment.
        sys.path.append(str(folder.resolve()))
    # The import sets up the root logger, unless it has handlers, and opens a log file in the
    # current folder.
    logging.basicConfig(level=logging.WARNING)
    _stand_in()
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        return (
            importlib.import_module("vortex.model.model"),
            importlib.import_module("vortex.model.utils"),
        )


def _stand_in() -> None:
    """Replace the parts that need CUDA by CPU code, or by code without effect."""
    rotary = types.ModuleType(ROTARY)
    setattr(rotary, "apply_rotary", _apply_rotary)  # noqa: B010 # a module has no such attribute
    sys.modules[ROTARY] = rotary
    # The package selects the GPU of each tensor and uses autocast there, also for CPU tensors.
    cuda: Any = torch.cuda
    cuda.is_available = lambda: False
    cuda.device = lambda _: contextlib.nullcontext()
    warnings.filterwarnings("ignore", message="CUDA is not available")


def _apply_rotary(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    seqlen_offsets: int = 0,
    interleaved: bool = False,
    inplace: bool = False,
    **_: object,
) -> Tensor:
    """Rotate pairs of channels, first half with second half. (B, L, heads, head_dim).

    As in the Triton code, it computes in float32, rounds once, and works in place if requested.
    """
    assert not interleaved
    start, end, half = seqlen_offsets, seqlen_offsets + x.shape[1], cos.shape[-1]
    cos, sin = cos[start:end, None].float(), sin[start:end, None].float()
    first, second = x[..., :half].float(), x[..., half : 2 * half].float()
    pairs = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    rotated = x if inplace else x.clone()
    rotated[..., : 2 * half] = pairs
    return rotated
