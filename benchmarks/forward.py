"""Rate of the scoring path, compared with matrix multiplication and the published implementation.

A window of random bases, with a token before it, goes through `next_token_log_probs` in the same
way as in scoring. Two other cases run in turn with it:

- the matrix multiplications: every linear map of the model and the output matrix (the latter in
  float32) on the same number of rows, at most 16,384 at a time, into allocated memory, without any
  other operation. `of_matmul` is their time divided by the time of the model, so a model with the
  value 1 spends no time on other operations;
- with `--reference`, the published implementation with the same weights, from tokens to
  log-probabilities. The float32 logits of a short window must agree first; `reference_differs` is
  their largest difference, or states that the reference is not installed. `speedup_over_reference`
  is the time of the reference divided by the time of the model. The reference needs a package:

      pip install --no-deps --target build/vtx vtx==1.1.0 einops==0.8.1 rich
      python benchmarks/forward.py --reference build/vtx

`gflop_per_s` counts the matrix multiplications only, 2 operations for each weight and token. The
second table shows the share of the time for each part, from a separate run. `linear` is the time of
all linear maps. The times of the operators, of `attention` and of the `gates` of the MLP do not
include their linear maps. `rest` is residual sums, embedding, cache and log-softmax.

With `--default-allocation` the C library returns freed memory to the system, which is its default
(see `evo2_tasks/evo2/allocation.py`) and the way in which the published implementation runs.

`38m` has twelve layers of width 512; `7b-pair` has two layers as wide as those of the 7B models. A
window for which one run would take longer than `--max-minutes` is left out; `left_out_s` is then
its expected time.

    python benchmarks/forward.py
    python benchmarks/forward.py --quick
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from machine import describe_machine, expected_s, print_table, significant, time_in_turn
from torch import Tensor, nn
from vtx_on_cpu import load_reference, reference_log_probs

from evo2_tasks import Evo2Config, Evo2ForCausalLM
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.evo2.config import ATTENTION, HYENA_LI, HYENA_MR, HYENA_SE, striped_operators
from evo2_tasks.evo2.layers import (
    MLP,
    Attention,
    LongFilter,
    MediumFilter,
    RMSNorm,
    ShortFilter,
)
from evo2_tasks.scoring.likelihood import SEGMENT_LENGTH, next_token_log_probs

PARTS = (
    (nn.Linear, "linear"),
    (RMSNorm, "norms"),
    (MLP, "gates"),
    (ShortFilter, HYENA_SE),
    (MediumFilter, HYENA_MR),
    (LongFilter, HYENA_LI),
    (Attention, ATTENTION),
)
REST = "rest"
MATMUL_ROWS = 16_384  # enough for the full rate; all rows of a long window may not fit in memory
AGREEMENT_LENGTH = 256
AGREEMENT = 2e-3  # largest allowed difference of float32 logits


class Shape(NamedTuple):
    """A model of the benchmarks."""

    hidden_size: int
    num_attention_heads: int
    operators: list[str]


SHAPES = {
    "mini": Shape(128, 1, [*striped_operators(4), HYENA_SE, HYENA_MR, HYENA_LI, HYENA_SE]),
    "38m": Shape(512, 4, [*striped_operators(11), HYENA_SE]),
    "7b-pair": Shape(4096, 32, [HYENA_MR, ATTENTION]),
}


def make_model(shape: Shape, dtype: torch.dtype) -> Evo2ForCausalLM:
    """A model with random weights. Its other sizes have the proportions of the 7B models."""
    sixteenth = shape.hidden_size // 16
    config = Evo2Config(
        hidden_size=shape.hidden_size,
        intermediate_size=-(-int(8 * shape.hidden_size / 3) // sixteenth) * sixteenth,
        num_attention_heads=shape.num_attention_heads,
        operators=shape.operators,
        hyena_se_groups=sixteenth,
        hyena_mr_groups=sixteenth,
        fp8_projections=False,
    )
    torch.manual_seed(1)
    return Evo2ForCausalLM(config).to(dtype).eval()


def make_window(length: int) -> Tensor:
    """One token followed by `length` random bases; `length` tokens go through the model."""
    bases = torch.tensor(list(b"ACGT"))[torch.randint(4, (1, length))]
    return torch.cat([torch.zeros(1, 1, dtype=torch.long), bases], dim=1)


def linear_weights(model: Evo2ForCausalLM) -> Iterator[Tensor]:
    """The weight matrices of the layers."""
    for name, weight in model.model.layers.named_parameters():
        if name.endswith(".weight") and weight.ndim == 2:
            yield weight


def make_matmuls(model: Evo2ForCausalLM, window: int) -> Callable[[], None]:
    """A function that computes the matrix multiplications of a window, without bias."""
    weights = list(linear_weights(model))
    output = model.lm_head.weight.float()
    rows = min(window, SEGMENT_LENGTH, MATMUL_ROWS)
    inputs = torch.randn(rows * max(weight.shape[1] for weight in weights)).to(model.dtype)
    outputs = torch.empty(rows * max(weight.shape[0] for weight in weights), dtype=model.dtype)
    last = torch.randn(rows, output.shape[1])
    logits = torch.empty(rows, output.shape[0])

    def run() -> None:
        for start in range(0, window, rows):
            here = min(rows, window - start)
            for weight in weights:
                num_out, num_in = weight.shape
                torch.mm(
                    inputs[: here * num_in].view(here, num_in),
                    weight.t(),
                    out=outputs[: here * num_out].view(here, num_out),
                )
            torch.mm(last[:here], output.t(), out=logits[:here])

    return run


class TimeSplit:
    """Wall time of each part of the model, without the parts inside it."""

    def __init__(self, model: Evo2ForCausalLM) -> None:
        self.seconds: Counter[str] = Counter()
        self._parts = [REST]
        self._since = 0.0
        self._hooks = []
        for module in model.modules():
            part = next((part for kind, part in PARTS if isinstance(module, kind)), None)
            if part is not None:
                self._hooks += [
                    module.register_forward_pre_hook(self._enter(part)),
                    module.register_forward_hook(self._leave),
                ]

    def run(self, call: Callable[[], object]) -> dict[str, float]:
        """Run a function once; return the share of each part in percent."""
        self._since = time.perf_counter()
        call()
        self._charge()
        for hook in self._hooks:
            hook.remove()
        total = self.seconds.total()
        parts = [*dict.fromkeys(part for _, part in PARTS), REST]
        return {part: round(100 * self.seconds[part] / total, 1) for part in parts}

    def _enter(self, part: str) -> Callable[..., None]:
        def enter(*_: Any) -> None:
            self._charge()
            self._parts.append(part)

        return enter

    def _leave(self, *_: Any) -> None:
        self._charge()
        self._parts.pop()

    def _charge(self) -> None:
        now = time.perf_counter()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now


@torch.inference_mode()
def difference(model: Evo2ForCausalLM, reference: nn.Module) -> float:
    """Largest difference between the logits of both models for a short window."""
    input_ids = make_window(AGREEMENT_LENGTH)
    largest = (model(input_ids=input_ids).logits - reference(input_ids)[0].float()).abs().max()
    if model.dtype == torch.float32 and largest > AGREEMENT:
        sys.exit(
            f"The logits of the reference differ by {largest:.2g}: the models are not the same."
        )
    return float(largest)


@torch.inference_mode()
def measure(
    model: Evo2ForCausalLM, reference: nn.Module | None, window: int, *, repeats: int, most_s: float
) -> dict[str, Any]:
    """Measure one window and return a row of the table."""
    input_ids = make_window(window)
    cases: dict[str, Callable[[], object]] = {
        "ours": lambda: next_token_log_probs(model, input_ids),
        "matmul": make_matmuls(model, window),
    }
    if reference is not None:
        cases["reference"] = lambda: reference_log_probs(reference, input_ids)
    seconds = time_in_turn(cases, repeats=repeats, most_s=most_s)
    output = model.lm_head.weight
    num_weights = sum(weight.numel() for weight in linear_weights(model)) + output.numel()
    row: dict[str, Any] = {
        "forward_s": significant(seconds["ours"], 4),
        "matmul_s": significant(seconds["matmul"], 4),
        "tokens_per_s": significant(window / seconds["ours"]),
        "gflop_per_s": significant(2e-9 * num_weights * window / seconds["ours"]),
        "of_matmul": round(seconds["matmul"] / seconds["ours"], 3),
    }
    if reference is not None:
        row["reference_tokens_per_s"] = significant(window / seconds["reference"])
        row["speedup_over_reference"] = significant(seconds["reference"] / seconds["ours"])
    row["percent"] = TimeSplit(model).run(cases["ours"])
    return row


def find_reference(
    args: argparse.Namespace, model: Evo2ForCausalLM
) -> tuple[nn.Module | None, object]:
    """The published model if it is requested, and the value of `reference_differs`."""
    if args.reference is None:
        return None, None
    try:
        reference = load_reference(model, args.reference or None)
    except ImportError as error:
        print(f"No reference: {error}", file=sys.stderr)
        return None, "not installed"
    return reference, significant(difference(model, reference), 2)


def measure_windows(
    model: Evo2ForCausalLM, reference: nn.Module | None, args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Measure each window, shortest first, and yield its row of the table."""
    measured: dict[int, float] = {}
    most_s = 60 * args.max_minutes
    for window in sorted(args.windows):
        expected = expected_s(measured, window)
        print(f"window {window}: about {expected:.0f} s per run", file=sys.stderr)
        if expected > most_s:
            yield {"window": window, "left_out_s": round(expected)}
            continue
        compared = reference if window <= args.reference_max_window else None
        row = measure(model, compared, window, repeats=args.repeats, most_s=most_s)
        measured[window] = row["forward_s"]
        yield {"window": window, **row}


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for name in args.models:
        for dtype in args.dtypes:
            # Not in inference mode: the model would not keep its expanded filters.
            model = make_model(SHAPES[name], getattr(torch, dtype))
            reference, found = find_reference(args, model)
            for threads in args.threads:
                torch.set_num_threads(threads)
                case = {"model": name, "dtype": dtype, "threads": threads}
                print(case, file=sys.stderr)
                for row in measure_windows(model, reference, args):
                    if found is not None:
                        row["reference_differs"] = found
                    rows.append(case | row)
    return rows


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=["38m", "7b-pair"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument(
        "--windows", type=int, nargs="+", default=[1024, 4096, 8192, 16_384, 65_536]
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--max-minutes", type=float, default=10.0)
    parser.add_argument(
        "--reference",
        type=Path,
        nargs="?",
        const="",
        metavar="FOLDER",
        help="also run the published implementation; FOLDER is the folder of its installation, "
        "if it is not in this environment",
    )
    parser.add_argument(
        "--reference-max-window",
        type=int,
        default=16_384,
        help="longest window for the reference, which needs a multiple of 64 bytes per channel and "
        "token in a hyena_li layer",
    )
    parser.add_argument(
        "--default-allocation", action="store_true", help="do not keep freed memory in the process"
    )
    parser.add_argument("--quick", action="store_true", help="a test run of half a minute")
    args = parser.parse_args()
    if args.quick:
        args.models, args.windows, args.repeats = ["38m"], [256, 512], 2
    return args


def main() -> None:
    args = parse_arguments()
    if not args.default_allocation:
        keep_freed_memory()
    machine = describe_machine()
    rows = run(args)
    print_table([{name: row[name] for name in row if name != "percent"} for row in rows])
    print("\nshare of forward_s, percent")
    case = ("model", "dtype", "threads", "window")
    split = [row for row in rows if "percent" in row]
    print_table([{name: row[name] for name in case} | row["percent"] for row in split])
    print(
        json.dumps(
            {
                "benchmark": "forward",
                "machine": machine,
                "segment_length": SEGMENT_LENGTH,
                "default_allocation": args.default_allocation,
                "repeats": args.repeats,
                "rows": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
