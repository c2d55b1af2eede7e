"""What `evo2-tasks evaluate` says of a table, against scikit-learn on the same rows."""

import random
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.labels import describe_labels

LABELS = {"label": "LABEL", "positive": ["bad", "worse"], "negative": ["good"]}


def write(path: Path, num_rows: int = 200) -> list[dict[str, Any]]:
    seed = random.Random(4)
    rows = []
    for i in range(num_rows):
        label = seed.choice(["bad", "worse", "good", "good", "unknown", None])
        is_bad = label in ("bad", "worse")
        rows.append(
            {
                "contig": "c",
                "pos": 1 + i // 2,
                "status": "scored" if i % 10 else "too_many_n",
                "llr": seed.gauss(-1.5 * is_bad, 1) if i % 10 else None,
                "LABEL": label,
                "GENE": seed.choice(["a", "b", None]) if i > 5 else "alone",
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), path)
    return rows


def auroc(rows: list[dict[str, Any]]) -> float:
    used = [r for r in rows if r["LABEL"] in ("bad", "worse", "good") and r["llr"] is not None]
    return float(roc_auc_score([r["LABEL"] != "good" for r in used], [-r["llr"] for r in used]))


def test_figures_are_those_of_scikit_learn(tmp_path: Path) -> None:
    rows = write(tmp_path / "t.parquet")
    lines = list(describe_labels(tmp_path / "t.parquet", **LABELS, group="GENE"))
    assert f"{auroc(rows):.3f} [" in lines[0]
    for name in ("a", "b", "."):
        line = next(line for line in lines if line.startswith(f"  GENE {name}:"))
        of_gene = [row for row in rows if (row["GENE"] or ".") == name]
        assert f"{auroc(of_gene):.3f} [" in line
    labelled = [row for row in rows if row["LABEL"] in ("bad", "worse", "good")]
    num_unscored = sum(row["llr"] is None for row in labelled)
    assert f"  without a score, too_many_n: {num_unscored}" in lines
    value, low, high = map(float, re.findall(r"0\.\d{3}", lines[0]))
    assert low < value < high


def test_a_group_of_one_class_says_so(tmp_path: Path) -> None:
    rows = write(tmp_path / "t.parquet")
    for row in rows:
        row["GENE"] = "pure" if row["LABEL"] == "good" else "other"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    lines = list(describe_labels(tmp_path / "t.parquet", **LABELS, group="GENE"))
    assert next(line for line in lines if "GENE pure" in line).endswith("no scored row is positive")


def test_a_column_or_label_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="no column 'WHERE'"):
        list(describe_labels(tmp_path / "t.parquet", **LABELS, group="WHERE"))
    with pytest.raises(InputError, match="no row has x, y in LABEL"):
        list(
            describe_labels(
                tmp_path / "t.parquet", label="LABEL", positive="x", negative="y", group=None
            )
        )
