"""Effect of a horizon on the scores: rank correlation with the full scores, AUROC, and cost.

The labelled variants of a config are scored once in whole windows. A window that is cut by a
horizon is the first part of the whole window, and so are its log-probabilities. The scores of all
horizons therefore follow from one run. The columns are `spearman`, the correlation with the full
`llr`; `auroc`, of `-llr` for the labels; and `windows`, the number of tokens to run for each allele
and strand, in units of whole windows, as planned for these alleles.

    python benchmarks/horizon.py --figure docs/figures/horizon.svg
    python benchmarks/horizon.py --quick
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from machine import describe_machine, print_table
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import (
    resolve_carry,
    resolve_score,
    resolve_split,
    resolve_windows,
)
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.runtime.models import open_model
from evo2_tasks.scoring.deltas import score_strand
from evo2_tasks.scoring.likelihood import window_log_probs
from evo2_tasks.scoring.passes import plan_passes
from evo2_tasks.scoring.score import share_pairs
from evo2_tasks.scoring.windows import WindowPair
from evo2_tasks.steps import carry as carry_step
from evo2_tasks.steps import split as split_step
from evo2_tasks.steps import windows as windows_step
from evo2_tasks.table.pairs import read_pairs
from evo2_tasks.table.segments import Segments


def place(config: RunConfig, folder: Path, scoring: str) -> tuple[list[WindowPair], list[Any]]:
    """The windows of the only variant set of the config, and the label of each allele."""
    ((name, variant_set),) = config.variant_sets.items()
    split_step.split(resolve_split(config, name), variants=None, out=folder)
    carried = folder / "carried.parquet"
    carry_step.carry(resolve_carry(config, name), variants=None, out=carried)
    shard, windows, segments = (folder / f for f in ("1-of-1.parquet", "w.parquet", "s.parquet"))
    windows_step.windows(
        resolve_windows(config, name, scoring),
        shard=shard,
        split_file=folder / "split.json",
        out=windows,
        segments_file=segments,
    )
    (label,) = variant_set.labels
    strands = STRANDS[config.scorings[scoring].strands]
    pairs = list(read_pairs(windows, Segments(segments), strands))
    return pairs, pq.read_table(carried)[label].to_pylist()


def cut(pair: WindowPair, horizon: int) -> WindowPair:
    """The pair, cut by a horizon."""
    end = pair.prefix + horizon
    ref_seq, alt_seq = pair.ref_seq[:end], pair.alt_seq[:end]
    return WindowPair(
        pair.row, pair.strand, ref_seq, alt_seq, pair.prefix, pair.num_ref, pair.num_alt
    )


def score(
    pairs: Sequence[WindowPair], log_probs: Sequence[Any], horizon: int, num_rows: int
) -> np.ndarray[Any, Any]:
    """`llr` of each row: the mean of its strands."""
    values = np.zeros(num_rows)
    strands = len({pair.strand for pair in pairs})
    for pair, (ref, alt) in zip(pairs, log_probs, strict=True):
        some = cut(pair, horizon)
        num = len(some.ref_seq) - 1
        of_strand = score_strand(some, ref[:num], alt[:num], horizon=True)
        values[pair.row] += np.nan if of_strand is None else (of_strand.llr or 0.0) / strands
    return values


def count_windows(pairs: Iterable[WindowPair], window: int, batch_tokens: int) -> float:
    shared = share_pairs(pairs, prepend_bos=False)
    return sum(p.num_tokens for p in plan_passes(shared, batch_tokens)) / window / len(shared)


def measure(args: argparse.Namespace, placement: str) -> list[dict[str, Any]]:
    values = yaml.safe_load(args.config.read_text())
    ((name, variant_set),) = values["variant_sets"].items()
    scoring = variant_set["scorings"][0]
    settings = {"window_length": args.window, "window_placement": placement}
    values |= {"shards": 1, "scorings": {scoring: values["scorings"][scoring] | settings}}
    config = load_config(values)
    with tempfile.TemporaryDirectory() as folder:
        pairs, labels = place(config, Path(folder), scoring)
    model = open_model(resolve_score(config, scoring).model, None).model
    if args.quick:
        pairs = [pair for pair in pairs if pair.row % 40 == 0]
    log_probs = [
        window_log_probs(model, [pair.ref_seq, pair.alt_seq], prepend_bos=False)
        for pair in tqdm(pairs, desc=placement, disable=None)
    ]
    rule = next(iter(config.variant_sets[name].labels.values()))
    positive = np.array([label in (rule.positive or []) for label in labels])
    known = positive | np.array([label in (rule.negative or []) for label in labels])
    scored = np.zeros(len(labels), bool)
    scored[[pair.row for pair in pairs]] = True
    known &= scored
    full = score(pairs, log_probs, args.window, len(labels))
    largest = args.window // 2 if placement == "centered" else (args.window - args.window // 4) // 2
    horizons = [2**power for power in range(6, 20) if 2**power < largest]
    rows = []
    for horizon in [*horizons, largest, args.window]:
        values_here = score(pairs, log_probs, horizon, len(labels))
        is_full = horizon == args.window
        rows.append(
            {
                "placement": placement,
                "window": args.window,
                "horizon": None if is_full else horizon,
                "spearman": round(float(spearmanr(values_here[known], full[known])[0]), 4),
                "auroc": round(float(roc_auc_score(positive[known], -values_here[known])), 4),
                "windows": round(
                    count_windows(
                        pairs if is_full else [cut(pair, horizon) for pair in pairs],
                        args.window,
                        config.run.batch_tokens,
                    ),
                    3,
                ),
                "alleles": int(known.sum()),
            }
        )
        print(rows[-1], file=sys.stderr)
    return rows


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw rank correlation, AUROC and cost against the horizon."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, name, label in zip(
        panels,
        ("spearman", "auroc", "windows"),
        ("Spearman with the full llr", "AUROC", "windows per allele and strand"),
        strict=True,
    ):
        for number, placement in enumerate(dict.fromkeys(row["placement"] for row in rows)):
            of_placement = [row for row in rows if row["placement"] == placement]
            some = [row for row in of_placement if row["horizon"]]
            axes.plot(
                [row["horizon"] for row in some],
                [row[name] for row in some],
                marker="os"[number],
                markersize=4,
                color=f"C{number}",
                label=placement,
            )
            axes.axhline(of_placement[-1][name], color=f"C{number}", linestyle=":")
        axes.set(xscale="log", xlabel="horizon, tokens", ylabel=label)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xticks(sorted({row["horizon"] for row in rows if row["horizon"]}))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize="small", title="dotted: no horizon", title_fontsize="small")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--window", type=int, default=2048)
    parser.add_argument("--placements", nargs="+", default=["centered", "tiled"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--figure", type=Path, metavar="SVG")
    parser.add_argument("--quick", action="store_true", help="a test run of some seconds")
    args = parser.parse_args()
    if args.quick:
        args.window = 512
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    machine = describe_machine()
    rows = [row for placement in args.placements for row in measure(args, placement)]
    print_table(rows)
    if args.figure:
        draw(rows, args.figure)
    print(json.dumps({"benchmark": "horizon", "machine": machine, "rows": rows}))


if __name__ == "__main__":
    main()
