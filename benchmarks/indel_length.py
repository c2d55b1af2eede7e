"""How `llr` and `llr_aligned` of neutral indels depend on length: a table, a figure, one JSON line.

The model is an order-4 Markov chain fitted to the human mitochondrial genome. The genome and the
inserted bases are drawn from that chain, so no indel has an effect, and the result is a property of
the scores themselves. Run it in the checkout: `python benchmarks/indel_length.py`.
"""

import argparse
import json
import random
from collections import Counter
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from evo2_tasks.scoring.deltas import score_strand
from evo2_tasks.scoring.windows import WindowPair

ORDER = 4
LENGTHS = (1, 2, 3, 5, 10, 20, 35, 50, 75, 100)
BLUE, ORANGE = "#0072b2", "#d55e00"  # can be distinguished without red and green


class Chain:
    """Order-4 Markov chain with add-one counts."""

    def __init__(self, genome: str) -> None:
        counts = Counter(genome[i : i + ORDER + 1] for i in range(len(genome) - ORDER))
        self.log_p: dict[str, dict[str, float]] = {}
        self.p: dict[str, list[float]] = {}
        for context in {kmer[:ORDER] for kmer in counts}:
            row = np.array([counts[context + base] + 1.0 for base in "ACGT"])
            row /= row.sum()
            self.p[context] = row.tolist()
            self.log_p[context] = dict(zip("ACGT", np.log(row).tolist(), strict=True))

    def extend(self, start: str, length: int, rng: random.Random) -> str:
        """Draw bases that follow ``start``."""
        text = start
        while len(text) < len(start) + length:
            text += rng.choices("ACGT", self.p.get(text[-ORDER:], [0.25] * 4))[0]
        return text[len(start) :]

    def log_probs(self, window: str) -> np.ndarray:
        """Log p of all tokens except the first; the first few have fewer than four bases before."""
        uniform = dict.fromkeys("ACGT", float(np.log(0.25)))
        return np.array(
            [
                self.log_p.get(window[max(0, t - ORDER) : t], uniform)[window[t]]
                for t in range(1, len(window))
            ]
        )


def score_indel(
    chain: Chain,
    genome: str,
    start: int,
    num: int,
    *,
    insert: bool,
    window: int,
    rng: random.Random,
) -> tuple[float, float]:
    """`llr` and `llr_aligned` of one neutral indel, forward strand."""
    left = window // 2
    before, after = genome[start - left : start], genome[start : start + window + num]
    ref, alt = ("", chain.extend(before, num, rng)) if insert else (after[:num], "")
    downstream = after if insert else after[num:]
    ref_seq, alt_seq = (before + ref + downstream)[:window], (before + alt + downstream)[:window]
    shift = 0  # the first difference is later if the indel repeats the bases that follow
    while ref_seq[left + shift] == alt_seq[left + shift]:
        shift += 1
    pair = WindowPair(
        0, "forward", ref_seq.encode(), alt_seq.encode(), left + shift, len(ref), len(alt)
    )
    score = score_strand(pair, chain.log_probs(ref_seq), chain.log_probs(alt_seq), horizon=False)
    assert score is not None
    assert score.llr is not None
    assert score.llr_aligned is not None
    return score.llr, score.llr_aligned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genome", type=Path, default=Path("data/rCRS.fa"))
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/indel_length.svg"))
    args = parser.parse_args()

    rng = random.Random(1)
    text = "".join(line for line in args.genome.read_text().upper().split("\n") if line[:1] != ">")
    chain = Chain(text.replace("N", ""))
    genome = chain.extend("ACGT", 200_000, rng)

    rows = []
    for insert in (False, True):
        for num in LENGTHS:
            scores = np.array(
                [
                    score_indel(
                        chain,
                        genome,
                        rng.randrange(args.window, len(genome) - 2 * args.window),
                        num,
                        insert=insert,
                        window=args.window,
                        rng=rng,
                    )
                    for _ in range(args.repeats)
                ]
            )
            mean, sd = scores.mean(axis=0), scores.std(axis=0, ddof=1)
            rows.append(
                {
                    "kind": "insertion" if insert else "deletion",
                    "length": num,
                    "llr_mean": round(mean[0], 3),
                    "llr_sd": round(sd[0], 3),
                    "llr_aligned_mean": round(mean[1], 3),
                    "llr_aligned_sd": round(sd[1], 3),
                }
            )
    header = list(rows[0])
    print("  ".join(f"{name:>16}" for name in header))
    for row in rows:
        print("  ".join(f"{row[name]:>16}" for name in header))
    draw(rows, args.figure)
    print(
        json.dumps(
            {
                "benchmark": "indel_length",
                "window": args.window,
                "repeats": args.repeats,
                "rows": rows,
            }
        )
    )


def draw(rows: list[dict[str, object]], figure_file: Path) -> None:
    mpl.rcParams["svg.hashsalt"] = "evo2-tasks"  # repeated runs write the same bytes
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
    for axis, kind in zip(axes, ("deletion", "insertion"), strict=True):
        of_kind = [row for row in rows if row["kind"] == kind]
        lengths = np.array([row["length"] for row in of_kind])
        for name, colour, line, shift in (
            ("llr", ORANGE, "-", 0.97),
            ("llr_aligned", BLUE, "--", 1.03),
        ):
            axis.errorbar(
                lengths * shift,
                [row[f"{name}_mean"] for row in of_kind],
                yerr=[row[f"{name}_sd"] for row in of_kind],
                color=colour,
                linestyle=line,
                marker="o",
                markersize=3,
                capsize=2,
                label=name,
            )
        axis.axhline(0, color="0.6", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axis.minorticks_off()
        axis.set_xlabel(f"{kind} length, bases")
    axes[0].set_ylabel("score of a neutral indel, nats\n(mean and SD)")
    axes[0].legend(frameon=False, loc="upper left")
    figure_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(figure_file, metadata={"Date": None})


if __name__ == "__main__":
    main()
