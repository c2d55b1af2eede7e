"""How often the bounds of evidence are conservative: a table, then one JSON line.

The scores of harmful and benign rows are drawn from two normal distributions, so that the true
likelihood ratio of each score is known. Each case has many simulated sets of labelled rows. The
bound of a strength is conservative if the true likelihood ratio reaches the strength at the bound;
a strength that is not reached is conservative too. Run it in the checkout:
`nice python benchmarks/evidence_coverage.py`.
"""

import argparse
import json
import math
from dataclasses import asdict, dataclass

import numpy as np
from machine import cpu_seconds, describe_machine, print_table
from scipy.stats import norm

from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.evaluation.evidence import Evidence, fit_evidence
from evo2_tasks.evaluation.strengths import STRENGTHS
from evo2_tasks.io.progress import Progress

PRIOR = 0.1


@dataclass(frozen=True)
class Case:
    """Simulated sets of labelled rows.

    Attributes:
        name: For the table.
        rows: Labelled rows of a set.
        positive: Share of them that are harmful.
        distance: Distance of the two means, in standard deviations of benign rows.
        width: Standard deviation of harmful rows.
        together: Rows of a cluster; half of their variance is common.
        background: Rows of the background; 0 without one.
    """

    name: str
    rows: int
    positive: float = 0.3
    distance: float = 2.0
    width: float = 1.0
    together: int = 1
    background: int = 5_000


CASES = (
    Case("300 rows", 300),
    Case("1,000 rows", 1_000),
    Case("1,000 rows, 5 % positive", 1_000, positive=0.05),
    Case("1,000 rows, clusters of 3", 1_000, together=3),
    Case("1,000 rows, wide positive", 1_000, width=2.0),
    Case("1,000 rows, no background", 1_000, background=0),
    Case("5,000 rows", 5_000),
)


def draw_scores(case: Case, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Scores of rows, high ones harmful; rows of a cluster are correlated."""
    num_clusters = -(-len(labels) // case.together)
    common = np.repeat(random.normal(size=num_clusters), case.together)[: len(labels)]
    share = 0.5 if case.together > 1 else 0.0
    own = math.sqrt(share) * common + math.sqrt(1 - share) * random.normal(size=len(labels))
    return np.where(labels, case.distance + case.width * own, own)


def true_log_ratio(case: Case, score: float) -> float:
    """Log of the true likelihood ratio of a score."""
    harmful = norm.logpdf(score, case.distance, case.width)
    return float(harmful - norm.logpdf(score))


def simulate(case: Case, number: int, num_draws: int) -> Evidence:
    """Fit the evidence of one simulated set."""
    random = np.random.default_rng([number, case.rows, case.together])
    labels = random.random(case.rows) < case.positive
    scores = draw_scores(case, labels, random)
    others = random.random(case.background) < 0.1
    return fit_evidence(
        labels,
        scores,
        np.arange(case.rows) // case.together,
        harmful="high",
        prior=PRIOR,
        background=draw_scores(case, others, random),
        draws=Resampling(num_draws, seed=number),
    )


def measure(case: Case, num_sets: int, num_draws: int) -> list[dict[str, object]]:
    """The rows of the table of one case."""
    found: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    inside: list[np.ndarray] = []
    at = np.linspace(-1, 3, 9)
    true = np.exp([true_log_ratio(case, score) for score in at])
    with Progress(case.name, total=num_sets, unit="sets") as progress:
        for number in range(num_sets):
            fitted = simulate(case, number, num_draws)
            assert fitted.ratios is not None
            for one in fitted.thresholds:
                is_reached = one.bound is not None
                is_right = not is_reached
                if one.bound is not None:
                    excess = true_log_ratio(case, one.bound) - math.log(one.lr)
                    is_right = excess >= 0 if one.points > 0 else excess <= 0
                found.setdefault((one.direction, one.strength), []).append((is_reached, is_right))
            _, low, high = fitted.ratios.find(at)
            inside.append(np.array([low <= true, true <= high]))
            progress.add(1)
    low, high = np.mean(inside, axis=(0, 2))
    rows: list[dict[str, object]] = []
    for (direction, strength), pairs in found.items():
        num_reached = sum(reached for reached, _ in pairs)
        num_wrong = sum(not right for _, right in pairs)
        rows.append(
            {
                "case": case.name,
                "direction": direction,
                "strength": strength,
                "reached": round(num_reached / num_sets, 3),
                "conservative": round(1 - num_wrong / num_sets, 3),
                "of_reached": round(1 - num_wrong / num_reached, 3) if num_reached else None,
                "lr_low": round(float(low), 3),
                "lr_high": round(float(high), 3),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=200, help="simulated sets of each case")
    parser.add_argument("--draws", type=int, default=1_000, help="draws of each set")
    parser.add_argument("--case", choices=[case.name for case in CASES], help="default: all")
    args = parser.parse_args()
    cases = [case for case in CASES if args.case in (None, case.name)]
    rows = [row for case in cases for row in measure(case, args.sets, args.draws)]
    print_table(rows)
    lowest = {
        f"{direction} {strength}": min(
            float(str(row["conservative"]))
            for row in rows
            if (row["direction"], row["strength"]) == (direction, strength)
        )
        for direction in ("harmful", "benign")
        for strength in STRENGTHS
    }
    result = {
        "benchmark": "evidence_coverage",
        "lowest": lowest,
        "rows": rows,
        "cases": [asdict(case) for case in cases],
        "sets": args.sets,
        "draws": args.draws,
        "cpu_s": round(cpu_seconds()),
        "machine": describe_machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
