"""Peak memory and rate of long windows. Only keys and values of attention grow with the length.

Each window goes through `next_token_log_probs` in segments, as in scoring, in a separate process.
`peak_mb` is the peak memory of the process minus its memory when the model was ready; `kv_mb` is
the computed size of the keys and values of attention. The figure shows both, and the rate.

`mini` is a model of width 128 with one attention layer, `38m` has twelve layers of width 512, and
`7b-pair` has two layers as wide as those of the 7B models. A window that would take longer than
`--max-minutes` is left out; `left_out_s` is then its expected time. Each row is added to the file
`--rows` when it is measured. Rows that are in the file are not measured again, so the long windows
can be measured in a later run.

    python benchmarks/memory.py --figure docs/figures/memory.svg
    python benchmarks/memory.py --quick
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from forward import SHAPES, make_model, make_window
from machine import describe_machine, expected_s, print_table, significant
from matplotlib.figure import Figure

from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.evo2.config import ATTENTION
from evo2_tasks.scoring.likelihood import next_token_log_probs

WINDOWS = {
    "mini": [8192, 16_384, 32_768, 65_536, 131_072, 262_144, 524_288, 1_048_576],
    "38m": [8192, 16_384, 32_768, 65_536, 131_072, 262_144],
    "7b-pair": [2048, 4096, 8192, 16_384],
}
KB_PER_MB = 1000 / 1.024  # ru_maxrss counts 1,024 bytes
WARM_UP_LENGTH = 64


def peak_kb() -> int:
    """Peak memory of this process, in units of 1,024 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure_here(
    name: str, dtype: str, window: int, segment_length: int, threads: int
) -> dict[str, Any]:
    """Measure one window in this process, which must not run anything else."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    model = make_model(SHAPES[name], getattr(torch, dtype))
    with torch.inference_mode():
        next_token_log_probs(model, make_window(WARM_UP_LENGTH))
        before = peak_kb()
        started = time.perf_counter()
        next_token_log_probs(model, make_window(window), segment_length=segment_length)
        seconds = time.perf_counter() - started
    num_attention = model.config.operators.count(ATTENTION)
    kv_bytes = 2 * num_attention * model.config.hidden_size * model.dtype.itemsize * window
    return {
        "seconds": significant(seconds, 4),
        "tokens_per_s": significant(window / seconds),
        "peak_mb": round((peak_kb() - before) / KB_PER_MB),
        "kv_mb": round(kv_bytes / 1e6) if window > segment_length else 0,
        "process_mb": round(peak_kb() / KB_PER_MB),
    }


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Measure one window in a separate process."""
    command = [sys.executable, __file__, "--one", json.dumps(case)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    settings = {"segment_length": args.segment_length, "threads": args.threads}
    known = {}
    if args.rows and args.rows.exists():
        known = {json.dumps(row["case"]): row for row in map(json.loads, args.rows.open())}
    rows = []
    for name in args.models:
        for dtype in args.dtypes:
            measured: dict[int, float] = {}
            for window in args.windows or WINDOWS[name]:
                case = {"name": name, "dtype": dtype, "window": window} | settings
                shown = {"model": name, "dtype": dtype, "window": window}
                row = known.get(json.dumps(case), {})
                if not row:
                    expected = expected_s(measured, window)
                    print(f"{shown}: about {expected:.0f} s", file=sys.stderr)
                    if expected > 60 * args.max_minutes:
                        rows.append(shown | {"left_out_s": round(expected)})
                        continue
                    row = {"case": case} | measure(case)
                    if args.rows:
                        with args.rows.open("a") as file:
                            file.write(json.dumps(row) + "\n")
                measured[window] = row["seconds"]
                rows.append(shown | {key: value for key, value in row.items() if key != "case"})
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw memory and rate against window length, with a line for each model and dtype."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    memory, rate = figure.subplots(1, 2)
    cases = dict.fromkeys((row["model"], row["dtype"]) for row in rows)
    markers = dict(zip(SHAPES, "os^", strict=True))
    ran = [row for row in rows if "seconds" in row]
    for number, (name, dtype) in enumerate(cases):
        of_case = [row for row in ran if (row["model"], row["dtype"]) == (name, dtype)]
        windows = [row["window"] for row in of_case]
        style: dict[str, Any] = {"color": f"C{number}", "marker": markers[name], "markersize": 4}
        memory.plot(windows, [row["peak_mb"] for row in of_case], label=f"{name}, {dtype}", **style)
        cached = [(row["window"], row["kv_mb"]) for row in of_case if row["kv_mb"]]
        if cached:
            memory.plot(*zip(*cached, strict=True), color=f"C{number}", linestyle=":")
        rate.plot(windows, [row["tokens_per_s"] for row in of_case], **style)
    for axes, label in ((memory, "peak above the model, MB"), (rate, "tokens per second")):
        axes.set(xscale="log", yscale="log", xlabel="window, tokens", ylabel=label)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1024:g} k")
        axes.set_xticks([2**power for power in range(11, 21, 3)], minor=False)
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.grid(alpha=0.3)
    memory.legend(fontsize="small", title="dotted: keys and values only", title_fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    parser.add_argument("--windows", type=int, nargs="+", help="windows for all models")
    parser.add_argument("--segment-length", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--max-minutes", type=float, default=60.0)
    parser.add_argument(
        "--rows", type=Path, metavar="JSONL", help="file of rows, to continue later"
    )
    parser.add_argument("--figure", type=Path, metavar="SVG")
    parser.add_argument("--quick", action="store_true", help="a test run of half a minute")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure_here(**json.loads(args.one))))
        return
    if args.quick:
        args.models, args.windows, args.segment_length = ["mini"], [2048, 4096], 1024
    machine = describe_machine()
    rows = run(args)
    print_table(rows)
    if args.figure:
        draw(rows, args.figure)
    settings = {"segment_length": args.segment_length, "threads": args.threads}
    print(json.dumps({"benchmark": "memory", "machine": machine, **settings, "rows": rows}))


if __name__ == "__main__":
    main()
