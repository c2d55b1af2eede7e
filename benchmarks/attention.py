"""Attention of branches: in parts against one copy of the trunk, and with joined keys.

Each case has a trunk of `trunk` tokens and `branches` branches of `branch` tokens. `joined_s` is
the CPU time of the attention of all branches with keys and values copied for each branch and a
mask, as the package computed it before; it is still used where a kernel gives no log-sum-exp.
`parts_s` is the CPU time with the trunk's keys held once. `whole_s` is the time of the attention of
as many whole windows. `of_whole` is `parts_s / whole_s`; the arithmetic is `arithmetic` of it.

`joined_mb` and `parts_mb` are the calculated sizes of keys, values and masks: the trunk's, the
branches' own, and the largest copies that exist at one time. `tests/evo2/test_attention.py`
measures those of the parts. `largest_difference` is between both outputs.

    python benchmarks/attention.py
    python benchmarks/attention.py --quick
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from machine import describe_machine, print_table, significant
from torch import Tensor
from torch.nn import functional

from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.evo2.attention import (
    LEAST_QUERIES,
    MASK_ELEMENTS,
    Context,
    Trunk,
    attend,
    attend_joined,
    group_branches,
)


class Case(NamedTuple):
    """Branches of one trunk."""

    heads: int
    channels: int
    trunk: int
    branch: int
    branches: int


CASES = [
    Case(2, 96, 4096, 4096, 4),
    Case(4, 128, 4096, 4096, 3),
    Case(1, 128, 4096, 4096, 4),
    Case(4, 128, 4096, 1024, 8),
]
MEMORY_CASES = [Case(1, 128, 65_536, 1024, num) for num in (1, 4, 16)]  # not timed


def cpu_times(cases: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The shortest CPU time of each case, in seconds; the cases take turns."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, run in cases.items():
            started = time.process_time()
            run()
            times[name].append(time.process_time() - started)
    return {name: min(taken) for name, taken in times.items()}


def kv_megabytes(case: Case, dtype: torch.dtype) -> dict[str, Any]:
    """Keys, values and masks in both ways; a mask has a byte and a number for each element."""
    of_token = 2 * case.heads * case.channels * dtype.itemsize
    total = case.trunk + case.branch
    queries = min(case.branch, max(LEAST_QUERIES, MASK_ELEMENTS // total))
    parts = (case.trunk + case.branches * case.branch) * of_token
    copies = case.branches * total * of_token + queries * total * (1 + dtype.itemsize)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "joined_mb": round((parts + copies) / 1e6, 1),
        "parts_mb": round(parts / 1e6, 1),
    }


@torch.inference_mode()
def measure(case: Case, dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    """Times and bytes of one case."""

    def draw(num: int, tokens: int) -> Tensor:
        return torch.randn(num, case.heads, tokens, case.channels).to(dtype)

    groups = group_branches([0] * case.branches, 1)
    trunk = Trunk(draw(1, case.trunk), draw(1, case.trunk), groups)
    query, key, value = (draw(case.branches, case.branch) for _ in range(3))
    context = Context(key, value, (trunk,))
    scaling = case.channels**-0.5
    window = [draw(1, case.trunk + case.branch) for _ in range(3)]

    def run_joined() -> Tensor:
        return attend_joined(query, *context.join(), scaling).transpose(1, 2)

    difference = (run_joined() - attend(query, context, scaling)).abs().max().item()
    seconds = cpu_times(
        {
            "joined": run_joined,
            "parts": lambda: attend(query, context, scaling),
            "whole": lambda: functional.scaled_dot_product_attention(
                *window, is_causal=True, scale=scaling
            ),
        },
        repeats,
    )
    whole = case.branches * seconds["whole"]
    total = case.trunk + case.branch
    return {
        **case._asdict(),
        **kv_megabytes(case, dtype),
        "joined_s": significant(seconds["joined"]),
        "parts_s": significant(seconds["parts"]),
        "whole_s": significant(whole),
        "joined_of_whole": round(seconds["joined"] / whole, 2),
        "of_whole": round(seconds["parts"] / whole, 2),
        "arithmetic": round(1 - (case.trunk / total) ** 2, 2),
        "largest_difference": significant(difference, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a test run of half a minute")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    cases = [Case(1, 32, 256, 128, 2)] if args.quick else CASES
    rows = []
    for dtype in (getattr(torch, name) for name in args.dtypes):
        rows += [measure(case, dtype, args.repeats) for case in cases]
        rows += [case._asdict() | kv_megabytes(case, dtype) for case in MEMORY_CASES]
    print_table(rows)
    machine = describe_machine()
    print(json.dumps({"benchmark": "attention", "machine": machine, "rows": rows}))


if __name__ == "__main__":
    main()
