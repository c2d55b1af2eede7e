"""Score of generated sequences against compute: guided search and independent samples.

evo2-mini continues the first bases of the human mitochondrial genome. Two targets are measured:

- `gc_pattern`: the GC content of windows of 32 bases is to be 0.3 and 0.6 in turn. The score is
  minus the mean distance from it;
- `open_frame`: the first frame is to have no stop codon of the vertebrate mitochondrial code. The
  score is the number of bases of the longest stretch without one, at most 318 of 320.

`budget` is the number of bases that are sampled for each base of the result: beam width times
samples per beam. `independent` is the best of as many plain samples, which takes the same number
of sampled bases. `width N` is guided search with beams of this width. Each value is a mean over
searches with different draws; `se` is its standard error. `beats` is the share of pairs in which
the guided search has a higher score than the independent samples of the same number, ties counted
half. `log_prob` is the mean log-probability of a base of the results under evo2-mini, nats.

    python benchmarks/guidance.py --figure docs/figures/guidance.svg
    python benchmarks/guidance.py --quick
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import cpu_seconds, describe_machine, print_table, significant
from matplotlib.figure import Figure

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.generation.records import GeneratedSequence
from evo2_tasks.generation.scorers import WeightedScorer
from evo2_tasks.generation.search import Search
from evo2_tasks.generation.sequence_scorers import GcPattern, OrfLength
from evo2_tasks.generation.settings import SearchSettings

ROOT = Path(__file__).parent.parent
MINI = ROOT / "evo2_tasks" / "checkpoints" / "evo2-mini"
PROMPT_LENGTH = 256
MITOCHONDRIAL = 2  # NCBI's number of the genetic code
SCORERS = {
    "gc_pattern": GcPattern((0.3, 0.6), 32),
    "open_frame": OrfLength(MITOCHONDRIAL, needs_start=False, frame=0),
}
LABELS = {
    "gc_pattern": "GC of windows of 32 bases\nminus the mean distance from 0.3, 0.6, ...",
    "open_frame": "frame without stop codons\nlongest stretch, bases",
}


def read_prompt() -> str:
    lines = (ROOT / "data" / "rCRS.fa").read_text().splitlines()
    return "".join(lines[1:])[:PROMPT_LENGTH].upper()


def search(
    model: Evo2ForCausalLM, settings: SearchSettings, *targets: str
) -> list[GeneratedSequence]:
    scorers = [WeightedScorer(name, SCORERS[name]) for name in targets]
    one = Search(model, read_prompt(), settings, scorers)
    for _ in one.run():
        pass
    return one.results()


def summarize(
    results: list[GeneratedSequence], scores: np.ndarray, independent: np.ndarray
) -> dict[str, Any]:
    wins = (scores > independent) + 0.5 * (scores == independent)
    log_prob = np.mean([one.log_prob / len(one.bases) for one in results])
    return {
        "score": significant(scores.mean(), 4),
        "se": significant(scores.std(ddof=1) / len(scores) ** 0.5, 2),
        "beats": significant(wins.mean(), 2),
        "log_prob": significant(log_prob, 4),
    }


def run(args: argparse.Namespace, model: Evo2ForCausalLM) -> list[dict[str, Any]]:
    most = max(args.budgets)
    base = SearchSettings(length=args.length, chunk_length=args.chunk_length, seed=args.seed)
    plain = SearchSettings(
        length=args.length, num_sequences=args.searches * most, batch_size=64, seed=args.seed
    )
    samples = search(model, plain, *SCORERS)
    rows = []
    for number, target in enumerate(SCORERS):
        of_samples = np.array([one.scores[number] for one in samples]).reshape(-1, most)
        for budget in args.budgets:
            best = of_samples[:, :budget].argmax(1)
            independent = of_samples[:, :budget].max(1)
            chosen = [samples[search * most + place] for search, place in enumerate(best)]
            row = {"target": target, "budget": budget}
            rows.append(row | {"way": "independent", **summarize(chosen, independent, independent)})
            for width in args.widths:
                if budget % width or budget < 2 * width:
                    continue
                started = time.perf_counter()
                settings = SearchSettings(
                    length=base.length,
                    chunk_length=base.chunk_length,
                    seed=args.seed,
                    num_sequences=args.searches,
                    beam_width=width,
                    samples_per_beam=budget // width,
                    batch_size=64,
                )
                results = search(model, settings, target)
                scores = np.array([one.total for one in results])
                rows.append(
                    row | {"way": f"width {width}", **summarize(results, scores, independent)}
                )
                print(rows[-1], f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw score against budget, one panel for each target."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    ways = dict.fromkeys(row["way"] for row in rows)
    for axes, (target, label) in zip(figure.subplots(1, 2), LABELS.items(), strict=True):
        for number, way in enumerate(ways):
            some = [row for row in rows if (row["target"], row["way"]) == (target, way)]
            if way != "independent":  # one sample is where all begin
                some = [
                    row for row in rows if row["target"] == target and row["budget"] == 1
                ] + some
            axes.errorbar(
                [row["budget"] for row in some],
                [row["score"] for row in some],
                [row["se"] for row in some],
                label=way if way == "independent" else f"guided, {way}",
                color=f"C{number}",
                marker="os^v"[number % 4],
                markersize=4,
                capsize=2,
            )
        axes.set(xscale="log", xlabel="sampled bases for each base", ylabel=label)
        budgets = sorted({row["budget"] for row in rows})
        axes.set_xticks(budgets, [str(one) for one in budgets])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--length", type=int, default=320)
    parser.add_argument("--chunk-length", type=int, default=16)
    parser.add_argument("--budgets", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--searches", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--figure", type=Path, metavar="SVG")
    parser.add_argument("--quick", action="store_true", help="a test run of half a minute")
    args = parser.parse_args()
    if args.quick:
        args.length, args.budgets, args.searches = 64, [1, 2, 8], 3
    return args


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    model = Evo2ForCausalLM.from_pretrained(MINI, dtype=torch.float32).eval()
    used = cpu_seconds()
    rows = run(args, model)
    print_table(rows)
    if args.figure:
        draw(rows, args.figure)
    settings = {
        name: getattr(args, name) for name in ("length", "chunk_length", "searches", "seed")
    }
    settings["cpu_s"] = round(cpu_seconds() - used)
    print(
        json.dumps(
            {"benchmark": "guidance", "machine": describe_machine(), **settings, "rows": rows}
        )
    )


if __name__ == "__main__":
    main()
