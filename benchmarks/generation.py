"""Time and memory of sampling and guided search.

`speed`: samples of one prompt of random bases, all in one search, against as many runs of
`generate` at batch 1 in a process that imports the package of another checkout (`--before`; this
one by default). The two take turns. One run of the other checkout is measured in each turn, and its
time is multiplied by the number of samples. `speedup` is of CPU time, `speedup_wall` of wall time.

`length`: peak memory of sampling one sequence, at several lengths of one run. `peak_mb` is the peak
memory of the process minus its memory when the model was ready, `keys_mb` the computed size of the
keys and values of attention. A law is fitted to all steps by least squares:
`peak = base + slope * bases + table * positions`. `positions` are those of the tables of rotary
angles, which double when they are full and have at most 65,536. `keys_bytes` is the computed size
of the keys and values of a base, which is to be the slope.

`width`: the same for guided searches of several beam widths after one long prompt, which is read in
segments of 2,048 tokens. `own_mb` is the computed size of what the candidates and kept sequences
have of their own at most: their state of the convolutions, and the keys of their generated bases.
`copies_mb` is what the keys of the prompt would take if each candidate had a copy.

`mini` is evo2-mini, `38m` has random weights.

    git worktree add ../before COMMIT
    python benchmarks/generation.py --before ../before
    python benchmarks/generation.py --parts length width
    python benchmarks/generation.py --quick
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from forward import SHAPES, make_model
from machine import Server, cpu_seconds, describe_machine, print_table, significant

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.evo2.cache import new_cache
from evo2_tasks.evo2.config import ATTENTION
from evo2_tasks.evo2.rotary import TABLE_LENGTH

MINI = Path(__file__).parent.parent / "evo2_tasks" / "checkpoints" / "evo2-mini"
NEVER = 511  # an end-of-document token that the model does not generate
LENGTH_PROMPT = 256
KB_PER_MB = 1000 / 1.024  # ru_maxrss counts 1,024 bytes


def load(name: str) -> Evo2ForCausalLM:
    if name == "mini":
        return Evo2ForCausalLM.from_pretrained(MINI, dtype=torch.float32).eval()
    return make_model(SHAPES[name], torch.float32)


def draw_prompt(length: int) -> str:
    generator = torch.Generator().manual_seed(1)
    return "".join("ACGT"[one] for one in torch.randint(4, (length,), generator=generator))


def run_search(model: Evo2ForCausalLM, case: dict[str, Any]) -> Iterator[int]:
    """Run a search; give the number of bases after each step."""
    # Only here: the other checkout has no generation.
    from evo2_tasks.generation.scorers import WeightedScorer  # noqa: PLC0415 # see above
    from evo2_tasks.generation.search import Search  # noqa: PLC0415 # see above
    from evo2_tasks.generation.sequence_scorers import GcContent  # noqa: PLC0415 # see above
    from evo2_tasks.generation.settings import SearchSettings  # noqa: PLC0415 # see above

    settings = SearchSettings(
        length=case["tokens"],
        chunk_length=case.get("chunk", 128),
        num_sequences=case.get("samples", 1),
        beam_width=case.get("width", 1),
        samples_per_beam=case.get("per_beam", 1),
        batch_size=64,
        segment_length=case.get("segment", 65_536),
    )
    scorers = [WeightedScorer("gc_content", GcContent(0.5))]
    for step in Search(model, draw_prompt(case["prompt"]), settings, scorers).run():
        yield step.candidates[0].start + len(step.candidates[0].bases)


def run_alone(model: Evo2ForCausalLM, case: dict[str, Any]) -> Iterator[int]:
    """Run `generate`; give the number of bases."""
    torch.manual_seed(1)
    prompt = torch.tensor([list(draw_prompt(case["prompt"]).encode())])
    model.generate(prompt, do_sample=True, max_new_tokens=case["tokens"], eos_token_id=NEVER)
    yield case["tokens"]


def serve(name: str, threads: int) -> None:
    """Run the cases that come as lines of JSON, and answer with their times."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    model = load(name)
    for line in sys.stdin:
        case = json.loads(line)
        started, used = time.perf_counter(), cpu_seconds()
        list((run_search if case["together"] else run_alone)(model, case))
        print(json.dumps([time.perf_counter() - started, cpu_seconds() - used]), flush=True)


def measure_speed(args: argparse.Namespace, name: str) -> dict[str, Any]:
    here = Path(__file__).parent.parent
    arguments = [__file__, "--serve", name, "--threads", str(args.threads)]
    case = {"prompt": args.prompt, "tokens": args.tokens}
    times: dict[bool, list[list[float]]] = {True: [], False: []}
    with Server(arguments, here) as now, Server(arguments, args.before or here) as before:
        for server in (now, before):  # fills caches
            server.ask({"prompt": 64, "tokens": 4, "samples": 2, "together": server is now})
        for _ in range(args.repeats):
            times[True].append(now.ask({**case, "samples": args.samples, "together": True}))
            times[False].append(before.ask({**case, "together": False}))
    wall, cpu = ([median(one[kind] for one in times[how]) for how in times] for kind in (0, 1))
    return {
        "model": name,
        "threads": args.threads,
        "prompt": args.prompt,
        "tokens": args.tokens,
        "samples": args.samples,
        "together_s": significant(wall[0]),
        "together_cpu_s": significant(cpu[0]),
        "one_alone_s": significant(wall[1]),
        "one_alone_cpu_s": significant(cpu[1]),
        "speedup": significant(args.samples * cpu[1] / cpu[0]),
        "speedup_wall": significant(args.samples * wall[1] / wall[0]),
    }


def peak_kb() -> int:
    """Peak memory of this process, in units of 1,024 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure_memory_here(case: dict[str, Any]) -> None:
    """Print the peak memory after each step, in this process, which must not run anything else."""
    torch.set_num_threads(case["threads"])
    keep_freed_memory()
    model = load(case["model"])
    list(run_search(model, {"prompt": 64, "tokens": 8}))
    before, started = peak_kb(), time.perf_counter()
    for num_bases in run_search(model, case):
        measured = {
            "length": num_bases,
            "seconds": significant(time.perf_counter() - started),
            "peak_mb": significant((peak_kb() - before) / KB_PER_MB, 4),
        }
        print(json.dumps(measured), flush=True)


def measure_memory(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Peak memory after each step of a search, in a separate process."""
    command = [sys.executable, __file__, "--one", json.dumps(case)]
    rows = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            rows.append(json.loads(line))
            print(case, line.strip(), file=sys.stderr)
    assert process.returncode == 0
    return rows


def key_bytes(model: Evo2ForCausalLM) -> int:
    """Size of the keys and values of a token."""
    num_attention = model.config.operators.count(ATTENTION)
    return 2 * num_attention * model.config.hidden_size * 4


def state_bytes(model: Evo2ForCausalLM) -> int:
    """Size of the state of the convolutions of a sequence."""
    cache = new_cache(model.config)
    model.model(torch.tensor([list(b"ACGT")]), cache=cache, use_cache=True)
    states = [
        state
        for layer, operator in zip(cache.layers, model.config.operators, strict=True)
        if operator != ATTENTION
        for state in (*layer.conv_states.values(), *layer.recurrent_states.values())
        if state is not None
    ]
    return sum(state.nbytes for state in states)


def measure_lengths(args: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    of_base = key_bytes(load(name))
    case = {"model": name, "threads": args.threads, "prompt": LENGTH_PROMPT, "chunk": 1024}
    steps = measure_memory({**case, "tokens": max(args.lengths)})
    rows = []
    for step in steps:
        if step["length"] in args.lengths:
            bases_per_s = significant(step["length"] / step["seconds"])
            keys_mb = significant(of_base * step["length"] / 1e6)
            rows.append({"model": name, **step, "bases_per_s": bases_per_s, "keys_mb": keys_mb})
    return [*rows, {"model": name, **fit_law(steps), "keys_bytes": of_base}]


def fit_law(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Fit the law of memory to the steps of a run."""
    lengths = np.array([step["length"] for step in steps])
    positions = LENGTH_PROMPT * 2 ** np.ceil(np.log2(lengths / LENGTH_PROMPT + 1))
    terms = np.stack([np.ones(len(steps)), lengths, np.minimum(positions, TABLE_LENGTH)], axis=1)
    peaks = np.array([1e6 * step["peak_mb"] for step in steps])
    (base, slope, table), *_ = np.linalg.lstsq(terms, peaks)
    error = np.abs(terms @ (base, slope, table) - peaks).max()
    return {
        "base_mb": significant(base / 1e6),
        "slope_bytes": significant(slope, 4),
        "table_bytes": significant(table, 4),
        "error_mb": significant(error / 1e6),
    }


def measure_widths(args: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    model = load(name)
    rows = []
    for width in args.widths:
        case = {"model": name, "threads": args.threads, "prompt": args.width_prompt}
        case |= {"tokens": 256, "chunk": 64, "width": width, "per_beam": 2, "segment": 2048}
        num = 2 * width
        own = num * (state_bytes(model) + 64 * key_bytes(model))
        own += width * (state_bytes(model) + 256 * key_bytes(model))
        rows.append(
            {
                "model": name,
                "prompt": args.width_prompt,
                "width": width,
                "candidates": num,
                **measure_memory(case)[-1],
                "prompt_keys_mb": significant(args.width_prompt * key_bytes(model) / 1e6),
                "own_mb": significant(own / 1e6),
                "copies_mb": significant(num * args.width_prompt * key_bytes(model) / 1e6),
            }
        )
    return rows


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=["speed", "length", "width"])
    parser.add_argument("--models", nargs="+", choices=["mini", "38m"], default=["mini"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=8192)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[4096, 8192, 16_384, 32_768, 65_536]
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--width-prompt", type=int, default=32_768)
    parser.add_argument("--quick", action="store_true", help="a test run of half a minute")
    parser.add_argument("--serve", metavar="MODEL", help=argparse.SUPPRESS)
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.prompt, args.tokens, args.samples, args.repeats = 256, 16, 4, 1
        args.lengths, args.widths, args.width_prompt = [1024, 3072], [1, 2], 512
    return args


def main() -> None:
    args = parse_arguments()
    with torch.inference_mode():
        if args.serve:
            serve(args.serve, args.threads)
            return
        if args.one:
            measure_memory_here(args.one)
            return
        machine = describe_machine()
        rows: dict[str, list[dict[str, Any]]] = {}
        for name in args.models:
            if "speed" in args.parts:
                rows.setdefault("speed", []).append(measure_speed(args, name))
            if "length" in args.parts:
                rows.setdefault("length", []).extend(measure_lengths(args, name))
            if "width" in args.parts:
                rows.setdefault("width", []).extend(measure_widths(args, name))
    for some in rows.values():
        print_table(some)
        print()
    print(json.dumps({"benchmark": "generation", "machine": machine, **rows}))


if __name__ == "__main__":
    main()
