"""Draw the losses of training runs against the number of training bases.

    python training/loss_curve.py build/evo2-mini build/h128 build/h64 --out training/figures

The program draws two figures: ``loss_curve.svg``, training and held-out losses of the first run,
and ``scaling.svg``, the held-out loss of all runs. The name of a run is the name of its folder.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")


def read_lines(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's training.jsonl."""
    text = (run / "training.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def draw_losses(run: Path, groups: list[str], path: Path) -> None:
    """Draw the training loss, and the held-out loss of some groups."""
    lines = [line for line in read_lines(run) if "bits_per_base" in line]
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    axis.plot(
        [line["bases"] / 1e6 for line in lines],
        [line["bits_per_base"] for line in lines],
        color="0.75",
        linewidth=0.7,
        label="training, all groups",
    )
    validated = [line for line in lines if "validation" in line]
    for colour, group in zip(COLOURS, groups, strict=False):
        axis.plot(
            [line["bases"] / 1e6 for line in validated],
            [line["validation"][group] for line in validated],
            color=colour,
            linewidth=1.2,
            label=f"held out, {group}",
        )
    axis.set(xlabel="bases seen, millions", ylabel="bits per base", ylim=(None, 2.1))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize="small")
    save(figure, path)


def draw_scaling(runs: list[Path], group: str, path: Path) -> None:
    """Draw the held-out loss of runs of several sizes."""
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    for colour, run in zip(COLOURS, runs, strict=False):
        lines = read_lines(run)
        validated = [line for line in lines if "validation" in line]
        sizes = [line["parameters"] for line in lines if "parameters" in line]
        size = f", {sizes[-1] / 1e6:.1f} M parameters" if sizes else ""
        axis.plot(
            [line["bases"] / 1e6 for line in validated],
            [line["validation"][group] for line in validated],
            color=colour,
            label=f"{run.name}{size}",
        )
    axis.set(xlabel="bases seen, millions", ylabel=f"bits per base, held-out {group}")
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.grid(alpha=0.3, which="both")
    axis.legend(frameon=False, fontsize="small")
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure; repeated runs write the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "evo2-tasks"}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Draw the losses of training runs.")
    parser.add_argument("runs", type=Path, nargs="+", help="folders that train.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures")
    parser.add_argument(
        "--groups", nargs="+", default=["mito_mammals", "mito_birds", "mito_fish", "bacteria"]
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    draw_losses(arguments.runs[0], arguments.groups, arguments.out / "loss_curve.svg")
    draw_scaling(arguments.runs, arguments.groups[0], arguments.out / "scaling.svg")


if __name__ == "__main__":
    main()
