"""The program that makes the variants of config.brca1.yaml from the supplement of their paper."""

import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

from evo2_tasks.config.load import load_config
from evo2_tasks.genome.variants import open_variants

ROOT = Path(__file__).parent.parent
HEADER = [
    *("gene", "chromosome", "position (hg19)", "reference", "alt", "consequence"),
    *("function.score.mean", "func.class", "CADD.score", "phyloP (mammalian)"),
]
ROWS = [
    ["BRCA1", 17, 41276135, "T", "G", "Splice region", -0.37, "FUNC", 6.0, 1.5],
    ["BRCA1", 17, 41276134, "T", "C", "Nonsense", -2.1, "LOF", None, 0.5],
    ["BRCA1", 17, 41276134, "T", "A", "5' UTR", -0.9, "INT", 3.5, None],
]


def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: list[str]) -> Path:
    # Two rows of headings, as in the supplement.
    rows = [["Variant ID", *[None] * (len(header) - 1)], [None] * len(header), header, *ROWS]
    pd.DataFrame(rows).to_excel(tmp_path / "s.xlsx", header=False, index=False)
    out = tmp_path / "brca1.tsv"
    monkeypatch.setattr(sys, "argv", ["brca1.py", str(tmp_path / "s.xlsx"), "--out", str(out)])
    runpy.run_path(str(ROOT / "data" / "brca1.py"), run_name="__main__")
    return out


def test_the_table_has_what_the_config_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = make(tmp_path, monkeypatch, HEADER)
    config = load_config(ROOT / "config.brca1.yaml", look_for_files=False)
    variant_set = config.variant_sets["brca1"]
    carried = variant_set.carried
    variants = list(open_variants(out, carry=carried, numbers=variant_set.numbers))
    assert [(v.contig, v.pos, v.ref, v.alt) for v in variants] == [
        ("17", 41276134, "T", "A"),
        ("17", 41276134, "T", "C"),
        ("17", 41276135, "T", "G"),
    ]
    assert carried == ("CLASS", "FUNCTION_SCORE", "CONSEQUENCE", "CADD", "PHYLOP")
    assert variants[1].carried == ("LOF", -2.1, "Nonsense", None, 0.5)


def test_another_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = [name.replace("func.class", "class") for name in HEADER]
    with pytest.raises(SystemExit, match=r"no column 'func\.class' in row 3"):
        make(tmp_path, monkeypatch, other)
