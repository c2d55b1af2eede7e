"""Rate of `generate`, compared with matrix multiplication and with an earlier checkout.

For each batch size, prompts of random bases are continued greedily. The time of a step is the
difference between a long and a short continuation, divided by the difference of their tokens, so
the prompt does not count. Three other cases run in turn with it:

- `loop`: the same steps by calls of the model and `argmax`, without `generate`. The difference
  between the two is the time of transformers' own loop;
- the matrix multiplications: every linear map of the model and the output matrix on as many rows,
  into allocated memory. `of_matmul` is their time divided by the time of a step;
- with `--before`, the same in a process that imports the package of another checkout.
  `speedup_over_before` is its time divided by the time here.

- with `--reference`, the published implementation with the same weights and its own caches (see
  `vtx_on_cpu.py`), by calls of its model and `argmax`. Its tokens must be the same.

The last rows continue one prompt with many samples (`num_return_sequences`), prompt included.

`wall_ms` and `cpu_ms` are of a step, or of a sequence where there are samples. The ratios are of
CPU time with one thread, and of wall time with more, because waiting threads use CPU time.

    git worktree add ../before COMMIT
    pip install --no-deps --target build/vtx vtx==1.1.0 einops==0.8.1 rich
    python benchmarks/generate.py --before ../before --reference build/vtx
    python benchmarks/generate.py --quick
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from forward import SHAPES, make_matmuls, make_model
from machine import Server, cpu_seconds, describe_machine, print_table, significant
from torch import Tensor, nn
from vtx_on_cpu import generate_by_reference, load_reference

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.evo2.keywords import CACHE_NAME

BASES = b"ACGT"
SHORT = 4  # tokens of the short continuation
NEVER = 511  # an end-of-document token that the model does not generate


class Time(NamedTuple):
    """Seconds on the clock and of the CPU."""

    wall: float
    cpu: float


def measure(call: Callable[[], object]) -> Time:
    started, used = time.perf_counter(), cpu_seconds()
    call()
    return Time(time.perf_counter() - started, cpu_seconds() - used)


def draw_prompts(num: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.tensor(list(BASES))[torch.randint(4, (num, length), generator=generator)]


def generate(model: Evo2ForCausalLM, prompts: Tensor, num_tokens: int, **settings: Any) -> Time:
    settings = {"do_sample": False, "eos_token_id": NEVER, "max_new_tokens": num_tokens} | settings
    return measure(lambda: model.generate(prompts, **settings))


def step_by_generate(model: Evo2ForCausalLM, prompts: Tensor, num_tokens: int) -> Time:
    short = generate(model, prompts, SHORT)
    long = generate(model, prompts, SHORT + num_tokens)
    return Time(*((more - less) / num_tokens for more, less in zip(long, short, strict=True)))


def step_by_loop(model: Evo2ForCausalLM, prompts: Tensor, num_tokens: int) -> Time:
    outputs = model(prompts, use_cache=True, logits_to_keep=1)
    cache, tokens = getattr(outputs, CACHE_NAME), outputs.logits[:, -1:].argmax(-1)

    def run() -> None:
        following = tokens
        for _ in range(num_tokens):
            following = model(following, **{CACHE_NAME: cache}).logits[:, -1:].argmax(-1)

    return Time(*(taken / num_tokens for taken in measure(run)))


def step_of_matmuls(model: Evo2ForCausalLM, num_rows: int, num_tokens: int) -> Time:
    run = make_matmuls(model, num_rows)
    run()
    taken = measure(lambda: [run() for _ in range(num_tokens)])
    return Time(*(one / num_tokens for one in taken))


def step_of_reference(reference: nn.Module, prompts: Tensor, num_tokens: int) -> Time:
    steps = generate_by_reference(reference, prompts, 1 + num_tokens)
    next(steps)
    taken = measure(lambda: list(steps))
    return Time(*(one / num_tokens for one in taken))


def check_reference(model: Evo2ForCausalLM, reference: nn.Module) -> None:
    prompts = draw_prompts(2, 64)
    expected = torch.cat(list(generate_by_reference(reference, prompts, SHORT)), dim=1)
    ours = model.generate(prompts, do_sample=False, eos_token_id=NEVER, max_new_tokens=SHORT)
    if not torch.equal(ours[:, 64:], expected):
        sys.exit("The reference generates other tokens: the models are not the same.")


def run_samples(model: Evo2ForCausalLM, prompt: Tensor, num: int, num_tokens: int) -> Time:
    torch.manual_seed(1)
    taken = generate(model, prompt, num_tokens, do_sample=True, num_return_sequences=num)
    return Time(*(one / num for one in taken))


def run_case(model: Evo2ForCausalLM, reference: nn.Module | None, case: dict[str, Any]) -> Time:
    prompts = draw_prompts(case["batch"], case["prompt"])
    name, num_tokens = case["case"], case["tokens"]
    if name == "samples":
        return run_samples(model, prompts, case["samples"], num_tokens)
    if name == "matmul":
        return step_of_matmuls(model, case["batch"], num_tokens)
    if reference is not None and name == "reference":
        return step_of_reference(reference, prompts, num_tokens)
    step = step_by_loop if name == "loop" else step_by_generate
    return step(model, prompts, num_tokens)


@torch.no_grad()
def serve(name: str, threads: int, folder: Path | None) -> None:
    """Run the cases that come as lines of JSON, and answer with their times."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    model = make_model(SHAPES[name], torch.float32)
    reference = None
    if folder is not None:
        reference = load_reference(model, folder)
        check_reference(model, reference)
    for line in sys.stdin:
        print(json.dumps(run_case(model, reference, json.loads(line))), flush=True)


def start_server(name: str, threads: int, checkout: Path, reference: Path | None = None) -> Server:
    arguments = [__file__, "--serve", name, "--threads", str(threads)]
    if reference is not None:
        arguments += ["--reference", str(reference)]
    return Server(arguments, checkout)


def measure_in_turn(
    servers: dict[str, Server], cases: dict[str, dict[str, Any]], repeats: int
) -> dict[tuple[str, str], Time]:
    """Median times of each case in each process; the first of several turns does not count."""
    times: dict[tuple[str, str], list[Time]] = {}
    for turn in range(repeats + 1):
        for case_name, case in cases.items():
            for server_name, server in servers.items():
                if case_name == "reference" and server_name != "now":
                    continue
                taken = Time(*server.ask(case))
                if turn or not repeats:
                    times.setdefault((server_name, case_name), []).append(taken)
    return {
        key: Time(median(one.wall for one in taken), median(one.cpu for one in taken))
        for key, taken in times.items()
    }


def measure_threads(args: argparse.Namespace, name: str, threads: int) -> list[dict[str, Any]]:
    here = Path(__file__).parent.parent
    checkouts = {"now": here} | ({"before": args.before} if args.before else {})
    with contextlib.ExitStack() as stack:
        servers = {
            kind: stack.enter_context(
                start_server(name, threads, folder, args.reference if kind == "now" else None)
            )
            for kind, folder in checkouts.items()
        }
        return measure_servers(args, name, threads, servers)


def measure_servers(
    args: argparse.Namespace, name: str, threads: int, servers: dict[str, Server]
) -> list[dict[str, Any]]:
    rows = []

    def taken_by(taken: Time) -> float:
        return taken.cpu if threads == 1 else taken.wall

    def make_row(measured: Time, **more: Any) -> dict[str, Any]:
        times = {
            "wall_ms": significant(1e3 * measured.wall),
            "cpu_ms": significant(1e3 * measured.cpu),
        }
        return {"model": name, "threads": threads, **more, **times}

    for batch in args.batches:
        case = {"batch": batch, "prompt": args.prompt, "tokens": args.tokens}
        names = ["generate", "loop", "matmul", *(["reference"] if args.reference else [])]
        times = measure_in_turn(
            servers, {one: {"case": one, **case} for one in names}, args.repeats
        )
        for one in names:
            now = times["now", one]
            row = make_row(now, case=one, batch=batch, prompt=args.prompt)
            row["tokens_per_s"] = significant(batch / now.wall)
            row["of_matmul"] = significant(taken_by(times["now", "matmul"]) / taken_by(now))
            if ("before", one) in times:
                before = times["before", one]
                row["before_of_matmul"] = significant(
                    taken_by(times["before", "matmul"]) / taken_by(before)
                )
                row["speedup_over_before"] = significant(taken_by(before) / taken_by(now))
            if args.reference:
                ratio = taken_by(times["now", "reference"]) / taken_by(now)
                row["speedup_over_reference"] = significant(ratio)
            rows.append(row)
            print(row, file=sys.stderr)
    for prompt in args.sample_prompts:
        case = {"case": "samples", "batch": 1, "prompt": prompt, "samples": args.samples}
        times = measure_in_turn(servers, {"samples": {**case, "tokens": args.tokens}}, 0)
        row = make_row(times["now", "samples"], case="samples", batch=args.samples, prompt=prompt)
        if "before" in servers:
            ratio = taken_by(times["before", "samples"]) / taken_by(times["now", "samples"])
            row["speedup_over_before"] = significant(ratio)
        rows.append(row)
        print(row, file=sys.stderr)
    return rows


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=["38m"])
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--sample-prompts", type=int, nargs="*", default=[2048])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    parser.add_argument("--reference", type=Path, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="a test run of half a minute")
    parser.add_argument("--serve", metavar="MODEL", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.models, args.threads, args.repeats, args.tokens = ["mini"], [1], 1, 8
        args.sample_prompts, args.samples = [64], 4
    return args


def main() -> None:
    args = parse_arguments()
    if args.serve:
        serve(args.serve, args.threads[0], args.reference)
        return
    machine = describe_machine()
    rows = [
        row
        for name in args.models
        for threads in args.threads
        for row in measure_threads(args, name, threads)
    ]
    print_table(rows)
    settings = {"tokens": args.tokens, "samples": args.samples, "repeats": args.repeats}
    print(json.dumps({"benchmark": "generate", "machine": machine, **settings, "rows": rows}))


if __name__ == "__main__":
    main()
