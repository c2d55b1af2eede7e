"""The published implementation, `vtx` 1.1.0, made to run on a CPU.

It is written for CUDA: Triton turns queries and keys, contexts choose a GPU. What stands in for
those is in `_stand_in`, and changes none of the mathematics; everything else is the package's own.
Transformer Engine and FlashAttention it does without by itself, where its config says so.

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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.published import published_name

ROTARY = "vortex.ops.embedding.rotary"  # the one module that cannot do without Triton


def load_reference(model: Evo2ForCausalLM, folder: Path | None) -> nn.Module:
    """The published model with the weights of ours, and its rounding of them.

    Args:
        model: Our model, in float32 or bfloat16.
        folder: Where the package is installed, if not in the environment that runs.

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


def _import_reference(folder: Path | None) -> tuple[Any, Any]:
    if folder is not None:
        # Last: what the package needs and both have comes from the environment that runs.
        sys.path.append(str(folder.resolve()))
    # Its import sets up the root logger, unless that is done, and opens a log where it stands.
    logging.basicConfig(level=logging.WARNING)
    _stand_in()
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        return (
            importlib.import_module("vortex.model.model"),
            importlib.import_module("vortex.model.utils"),
        )


def _stand_in() -> None:
    """Put in the place of what needs CUDA what does the same, or nothing, on a CPU."""
    rotary = types.ModuleType(ROTARY)
    setattr(rotary, "apply_rotary", _apply_rotary)  # noqa: B010 # a module has no such attribute
    sys.modules[ROTARY] = rotary
    # It asks for the GPU of a tensor that is on none, and for autocast there.
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
    """Turn pairs of channels, first half with second half. (B, L, heads, head_dim).

    As Triton does it: in float32, rounded once, in place where that is asked for.
    """
    assert not interleaved
    assert seqlen_offsets == 0
    length, half = x.shape[1], cos.shape[-1]
    cos, sin = cos[:length, None].float(), sin[:length, None].float()
    first, second = x[..., :half].float(), x[..., half : 2 * half].float()
    pairs = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    turned = x if inplace else x.clone()
    turned[..., : 2 * half] = pairs
    return turned
