"""CPU time and peak memory of fitting probes: a table, then one JSON line.

Each case runs in a process of its own. Its features are like embeddings: correlated, with a
spectrum that falls as 1 / rank. Folds are by gene, and the control has the number of shuffles that
the workflow uses. Run it in the checkout: `OMP_NUM_THREADS=1 nice python benchmarks/probe.py`.
"""

import argparse
import json
import resource
import subprocess
import sys

import numpy as np
from machine import cpu_seconds, describe_machine, print_table

from evo2_tasks.evaluation.probe_folds import ProbeRows
from evo2_tasks.evaluation.probe_models import FitCounts, list_penalties, train
from evo2_tasks.evaluation.probes import fit_probe
from evo2_tasks.evaluation.values import to_array

CASES = (
    ("label", 300, 8_192),
    ("label", 3_000, 512),
    ("label", 3_000, 8_192),
    ("label", 100_000, 512),
    ("number", 300, 8_192),
    ("number", 3_000, 512),
    ("number", 100_000, 512),
)
WINDOW = 1_000
RANK = 256


def draw_features(num_rows: int, num_features: int, random: np.random.Generator) -> np.ndarray:
    """Features of a falling spectrum, made in blocks of rows."""
    rank = min(RANK, num_features)
    basis = random.normal(size=(rank, num_features)).astype(np.float32)
    basis /= np.arange(1, rank + 1, dtype=np.float32)[:, None]
    features = np.empty((num_rows, num_features), dtype=np.float32)
    for begin in range(0, num_rows, 1_000):
        block = features[begin : begin + 1_000]
        random.standard_normal(out=block, dtype=np.float32)
        block *= 0.05
        block += random.normal(size=(len(block), rank)).astype(np.float32) @ basis
    return features


def measure(kind: str, num_rows: int, num_features: int) -> dict[str, object]:
    """Fit one probe in this process."""
    random = np.random.default_rng(0)
    features = draw_features(num_rows, num_features, random)
    signal = features[:, :8].sum(axis=1) / 4 + random.normal(size=num_rows)
    target = signal > 0 if kind == "label" else signal.astype(np.float64)
    genes = random.integers(max(20, num_rows // 50), size=num_rows)
    positions = (genes + 1) * 10_000 + random.integers(5_000, size=num_rows)
    rows = ProbeRows(
        contigs=to_array(["1"] * num_rows),
        positions=positions,
        refs=to_array(["A"] * num_rows),
        alts=to_array(["C"] * num_rows),
        starts=positions - WINDOW // 2,
        ends=positions + WINDOW // 2,
        genes=to_array(f"gene{gene}" for gene in genes),
    )
    before_s = cpu_seconds()
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _, result = fit_probe(features, target, rows, folds_by="gene")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "kind": kind,
        "rows": num_rows,
        "features": num_features,
        "shuffles": result.control.num_shuffles,
        "fits": result.num_fits,
        "not_converged": result.num_not_converged,
        "penalty": result.final_penalty,
        "cpu_s": round(cpu_seconds() - before_s, 1),
        "features_mb": round(features.nbytes / 2**20),
        "before_mb": round(before_mb),
        "peak_mb": round(peak_mb),
    }


def measure_training_set(num_rows: int, num_features: int) -> list[dict[str, object]]:
    """CPU time and memory of the models of one training set and one label, by penalty."""
    random = np.random.default_rng(0)
    features = draw_features(num_rows, num_features, random)
    target = features[:, :8].sum(axis=1) / 4 + random.normal(size=num_rows) > 0
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows: list[dict[str, object]] = []
    for penalty in list_penalties(num_features):
        before_s, counts = cpu_seconds(), FitCounts()
        train("label", features, np.arange(num_rows), {0: target}, {penalty: [0]}, counts)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append(
            {
                "penalty": penalty,
                "cpu_s": round(cpu_seconds() - before_s, 1),
                "features_mb": round(features.nbytes / 2**20),
                "more_mb": round(peak_mb - before_mb),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=int, help="run one case here, and print its JSON line")
    parser.add_argument("--cases", type=int, nargs="*", help="numbers of cases, from 0")
    parser.add_argument(
        "--training-set", action="store_true", help="one training set of 100,000 rows alone"
    )
    args = parser.parse_args()
    if args.training_set:
        rows = measure_training_set(100_000, 512)
        print_table(rows)
        print(json.dumps({"benchmark": "probe", "rows": rows, "machine": describe_machine()}))
        return
    if args.case is not None:
        print(json.dumps(measure(*CASES[args.case])))
        return
    rows = []
    for number in args.cases if args.cases is not None else range(len(CASES)):
        command = [sys.executable, __file__, "--case", str(number)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], file=sys.stderr)
    print_table(rows)
    result = {
        "benchmark": "probe",
        "rows": rows,
        "machine": describe_machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
