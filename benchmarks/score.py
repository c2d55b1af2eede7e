"""Alleles per second: two windows per allele, distinct windows once, and shared prefixes.

Four sets of SNVs on random bases are scored on one strand: *single*, far apart; *triple*, all three
at a site; *clinical*, close together in stretches, like coding variants; *saturation*, every SNV of
1,000 bases. Each set is scored in five ways (column `way`):

- `two`: a reference window and an alternate window for each allele, as in published programs, but
  in batches;
- `distinct`: the same, with identical windows run once;
- `shared`: `score_part` with windows centred on the alleles;
- `tiled`: `score_part` with tiled windows;
- `horizon`: `score_part` with tiled windows and a horizon of an eighth of the window.

`windows` is the planned number of tokens per allele for the whole set, in units of whole windows.
`alleles_per_s` is measured. For `two` and `distinct` it follows from the time of a batch of whole
windows. For the others it is measured on a number of neighbouring alleles that need the tokens of
`--window-budget` windows, including the trunks. All times of a model are from one process.

`speedup_over_two` and `speedup_over_distinct` compare a way with these two ways. The windows for
the comparison are timed right before and after it. `of_matmul` is the time of the matrix
multiplications alone divided by the time of the way (see `forward.py`), and `peak_mb` is the peak
memory of the process.

With `--reference` the published implementation runs two whole windows for each allele (see
`forward.py`). `speedup_over_reference` compares with the reference in the same process, which keeps
freed memory; this makes the reference faster too. `speedup_over_alone` compares with the reference
in a separate process, as its users run it.

With `--before` each of the `--ways` also runs in a process that imports the package of
another checkout, in turns with a process of this one. `speedup_over_before` is the ratio of their
times. All times are CPU time with one thread and wall time with more.

    python benchmarks/score.py --reference build/vtx
    git worktree add ../before COMMIT
    python benchmarks/score.py --before ../before --threads 1
    python benchmarks/score.py --quick
"""

import argparse
import contextlib
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from forward import SHAPES, find_reference, make_matmuls, make_model, make_window
from machine import (
    Server,
    cpu_seconds,
    describe_machine,
    print_table,
    significant,
    time_in_turn,
)
from torch import Tensor
from vtx_on_cpu import reference_log_probs

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import strand_sequences
from evo2_tasks.genome.windows import WindowSettings, place_allele
from evo2_tasks.scoring.likelihood import next_token_log_probs
from evo2_tasks.scoring.passes import plan_passes
from evo2_tasks.scoring.readouts import SUMS
from evo2_tasks.scoring.score import score_part, share_pairs
from evo2_tasks.scoring.windows import WindowPair

BASES = "ACGT"
NUM_BASES = 400_000
SATURATED = 1000
MIDDLE = NUM_BASES // 2


class Site(NamedTuple):
    """SNVs at one place."""

    start: int
    num_alts: int


def draw_sets(rng: random.Random, window: int) -> dict[str, list[Site]]:
    """The positions of the alleles, sorted."""
    far = range(window, NUM_BASES - window, 3 * window // 2)
    clinical, start = [], MIDDLE - 20_000
    while start < MIDDLE + 20_000:
        for _ in range(rng.randint(5, 60)):  # an exon
            clinical.append(Site(start, rng.choice([1, 1, 1, 2, 3])))
            start += 1 + int(rng.expovariate(1 / 4))
        start += int(10 ** rng.uniform(2, 3.7))  # an intron
    return {
        "single": [Site(start, 1) for start in far],
        "triple": [Site(start, 3) for start in far],
        "clinical": clinical,
        "saturation": [Site(MIDDLE + offset, 3) for offset in range(SATURATED)],
    }


def make_pairs(
    reference: Reference, sites: Sequence[Site], settings: WindowSettings
) -> list[WindowPair]:
    """The windows of the alleles on the forward strand."""
    pairs = []
    for site in sites:
        ref = reference.fetch("c", site.start, site.start + 1)
        for alt in [base for base in BASES if base != ref][: site.num_alts]:
            variant = Variant(len(pairs), 1, "c", site.start + 1, ref, alt, None)
            placed = place_allele(variant, reference, settings)
            assert placed.pair is not None
            length, prefix = placed.sizes["forward"]
            sequences = strand_sequences(
                reference.fetch, placed.pair, "forward", length, NUM_BASES, circular=False
            )
            pairs.append(WindowPair(len(pairs), "forward", *sequences, prefix, 1, 1))
    return pairs


def planned_tokens(pairs: Sequence[WindowPair], batch_tokens: int) -> int:
    shared = share_pairs(pairs, prepend_bos=False)
    return sum(planned.num_tokens for planned in plan_passes(shared, batch_tokens))


def take_slice(pairs: Sequence[WindowPair], batch_tokens: int, budget: float) -> list[WindowPair]:
    """Neighbouring alleles from the middle of the set, as many as the budget of tokens allows."""
    num = len(pairs)
    while num > 3 and planned_tokens(middle(pairs, num), batch_tokens) > budget:
        num = max(3, int(num * 0.8)) // 3 * 3
    return middle(pairs, num)


def middle(pairs: Sequence[WindowPair], num: int) -> list[WindowPair]:
    first = (len(pairs) - num) // 2 // 3 * 3
    return list(pairs[first : first + num])


def clock() -> Callable[[], float]:
    """CPU time with one thread; wall time with more, because waiting threads use CPU time."""
    return cpu_seconds if torch.get_num_threads() == 1 else time.perf_counter


class Peak:
    """Peak memory of the process since this object was made."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")

    def megabytes(self) -> int:
        """Peak memory so far, MB."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return round(int(line.split()[1]) * 1024 / 1e6)
        raise OSError("/proc/self/status has no VmHWM")


def ways(window: int) -> dict[str, WindowSettings]:
    """Window settings of each way that uses `score_part`."""
    return {
        "shared": WindowSettings(window_length=window),
        "tiled": WindowSettings(window_length=window, window_placement="tiled"),
        "horizon": WindowSettings(
            window_length=window, window_placement="tiled", horizon=window // 8
        ),
    }


def measure(
    model: Evo2ForCausalLM,
    reference_model: torch.nn.Module | None,
    alone_s: float | None,
    genome: Reference,
    servers: dict[str, Server],
    args: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """Rows of one model. `alone_s` is the time of the reference for a window in its own process."""
    window, batch_tokens = args.window, args.batch_tokens
    num_windows = max(1, batch_tokens // window)
    ids = torch.cat([make_window(window - 1) for _ in range(num_windows)])
    cases: dict[str, Callable[[], object]] = {
        "ours": lambda: next_token_log_probs(model, ids),
        "matmul": make_matmuls(model, num_windows * window),
    }
    if reference_model is not None:
        cases["reference"] = lambda: [
            reference_log_probs(reference_model, row[None]) for row in ids
        ]
    with torch.inference_mode():
        turns = time_in_turn(cases, repeats=args.repeats, clock=clock())
    seconds = {case: taken / num_windows for case, taken in turns.items()}  # of a window
    published = {
        yardstick: taken / seconds["ours"]
        for yardstick, taken in {"reference": seconds.get("reference"), "alone": alone_s}.items()
        if taken is not None
    }
    warm_up = make_pairs(genome, [Site(MIDDLE, 1)] * 2, ways(window)["shared"])
    run(model, warm_up, ways(window)["shared"], batch_tokens)
    sets = draw_sets(random.Random(2), window)
    for name in args.sets:
        sites = sets[name]
        pairs = make_pairs(genome, sites, ways(window)["shared"])
        distinct = len({seq for pair in pairs for seq in (pair.ref_seq, pair.alt_seq)})
        whole = {"two": 2.0, "distinct": distinct / len(pairs)}
        rows: dict[str, dict[str, Any]] = {}
        for way, windows in whole.items():
            rate = 1 / (windows * seconds["ours"])
            rows[way] = {
                "windows": round(windows, 3),
                "alleles_per_s": rate,
                "tokens_per_s": significant(window / seconds["ours"]),
                "of_matmul": round(seconds["matmul"] / seconds["ours"], 2),
            }
        for way in args.ways:
            settings = ways(window)[way]
            pairs = make_pairs(genome, sites, settings)
            some = take_slice(pairs, batch_tokens, args.window_budget * window)
            before = time_window(model, ids)
            tokens, taken, peak_mb = run(model, some, settings, batch_tokens)
            window_s = (before + time_window(model, ids)) / 2
            rows[way] = {
                "windows": round(planned_tokens(pairs, batch_tokens) / window / len(pairs), 3),
                "alleles_per_s": len(some) / taken,
                "tokens_per_s": significant(tokens / taken),
                "of_matmul": round(seconds["matmul"] * tokens / window / taken, 2),
                "alleles_measured": len(some),
                "windows_measured": round(tokens / window / len(some), 3),
                "peak_mb": peak_mb,
                "window_s": window_s,
            }
            if servers:
                case = {"set": name, "way": way, "num": len(some)}
                rows[way]["speedup_over_before"] = compare(servers, case, args)
        for way, row in rows.items():
            rate, window_s = row["alleles_per_s"], row.pop("window_s", seconds["ours"])
            row["alleles_per_s"] = significant(rate)
            for yardstick, num in whole.items():
                row[f"speedup_over_{yardstick}"] = significant(rate * num * window_s)
            for yardstick, ratio in published.items():
                row[f"speedup_over_{yardstick}"] = significant(rate * 2 * window_s * ratio)
            yield {"set": name, "alleles": len(pairs), "way": way} | row


def compare(servers: dict[str, Server], case: dict[str, Any], args: argparse.Namespace) -> float:
    """Median time of the other checkout, divided by the median time of this one."""
    times: dict[str, list[float]] = {kind: [] for kind in servers}
    for _ in range(args.repeats):
        for kind, server in servers.items():
            times[kind].append(server.ask(case))
    return significant(median(times["before"]) / median(times["now"]))


def serve(args: argparse.Namespace) -> None:
    """Run the cases that come as lines of JSON, and answer with their times."""
    model = make_model(SHAPES[args.models[0]], getattr(torch, args.dtypes[0]))
    sets = draw_sets(random.Random(2), args.window)
    with tempfile.TemporaryDirectory() as folder:
        genome = make_genome(folder)
        settings = ways(args.window)["shared"]
        warm_up = make_pairs(genome, [Site(MIDDLE, 1)] * 2, settings)
        run(model, warm_up, settings, args.batch_tokens)
        for line in sys.stdin:
            case = json.loads(line)
            settings = ways(args.window)[case["way"]]
            some = middle(make_pairs(genome, sets[case["set"]], settings), case["num"])
            print(run(model, some, settings, args.batch_tokens)[1], flush=True)


@contextlib.contextmanager
def start_servers(args: argparse.Namespace, name: str, dtype: str) -> Iterator[dict[str, Server]]:
    """Processes of this checkout and of the one before; none without `--before`."""
    arguments = [__file__, "--serve", "--models", name, "--dtypes", dtype]
    for option in ("window", "batch_tokens", "threads"):
        arguments += ["--" + option.replace("_", "-"), str(getattr(args, option))]
    checkouts = {"now": Path(__file__).parent.parent, "before": args.before}
    with contextlib.ExitStack() as stack:
        yield {
            kind: stack.enter_context(Server(arguments, folder))
            for kind, folder in checkouts.items()
            if args.before
        }


@torch.inference_mode()
def time_window(model: Evo2ForCausalLM, ids: Tensor) -> float:
    """Seconds for a whole window in a batch of windows."""
    now = clock()
    started = now()
    next_token_log_probs(model, ids)
    return (now() - started) / len(ids)


def run(
    model: Evo2ForCausalLM, pairs: Sequence[WindowPair], settings: WindowSettings, batch_tokens: int
) -> tuple[int, float, int]:
    """Score some alleles; return tokens, seconds and peak memory."""
    tokens: list[int] = []
    peak = Peak()
    now = clock()
    started = now()
    records = score_part(
        model,
        pairs,
        [SUMS],
        batch_tokens=batch_tokens,
        horizon=settings.horizon is not None,
        prepend_bos=False,
        on_call=lambda _, num_tokens: tokens.append(num_tokens),
    )
    taken = now() - started
    if not all(
        score is not None and math.isfinite(score.llr or math.nan) for score in records.of(SUMS)
    ):
        sys.exit("An allele has no score.")
    return sum(tokens), taken, peak.megabytes()


def time_reference_alone(args: argparse.Namespace, name: str, dtype: str) -> float | None:
    """Seconds of the reference for a window, in a separate process with default allocation."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_time_reference, args, name, dtype).result()


def _time_reference(args: argparse.Namespace, name: str, dtype: str) -> float | None:
    torch.set_num_threads(args.threads)
    reference, _ = find_reference(args, make_model(SHAPES[name], getattr(torch, dtype)))
    if reference is None:
        return None
    ids = make_window(args.window - 1)
    with torch.inference_mode():
        cases = {"alone": lambda: reference_log_probs(reference, ids)}
        return time_in_turn(cases, repeats=args.repeats, clock=clock())["alone"]


def make_genome(folder: str) -> Reference:
    """A reference of random bases."""
    bases = random.Random(1).choices(BASES, k=NUM_BASES)
    path = Path(folder) / "c.fa"
    lines = [0, *range(80, NUM_BASES, 80), NUM_BASES]
    path.write_text(
        ">c\n" + "".join("".join(bases[start:end]) + "\n" for start, end in pairwise(lines))
    )
    return Reference(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--window", type=int, default=8192)
    parser.add_argument("--batch-tokens", type=int, default=16_384)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument(
        "--window-budget", type=float, default=16.0, help="tokens for a measurement, in windows"
    )
    parser.add_argument("--sets", nargs="+", default=["single", "triple", "clinical", "saturation"])
    parser.add_argument("--ways", nargs="+", default=["shared", "tiled", "horizon"])
    parser.add_argument("--reference", type=Path, nargs="?", const="", metavar="FOLDER")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="a test run of half a minute")
    args = parser.parse_args()
    if args.quick:
        args.models, args.dtypes, args.window, args.repeats = ["mini"], ["float32"], 512, 1
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    if args.serve:
        serve(args)
        return
    machine = describe_machine()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        genome = make_genome(folder)
        for name in args.models:
            for dtype in args.dtypes:
                alone_s = time_reference_alone(args, name, dtype)
                model = make_model(SHAPES[name], getattr(torch, dtype))
                reference_model, _ = find_reference(args, model)
                case = {"model": name, "dtype": dtype}
                print(case, file=sys.stderr)
                with start_servers(args, name, dtype) as servers:
                    for row in measure(model, reference_model, alone_s, genome, servers, args):
                        rows.append(case | row)
                        print(rows[-1], file=sys.stderr)
    print_table(rows)
    settings = {"window": args.window, "batch_tokens": args.batch_tokens, "threads": args.threads}
    print(json.dumps({"benchmark": "score", "machine": machine, **settings, "rows": rows}))


if __name__ == "__main__":
    main()
