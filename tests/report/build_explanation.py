"""An explanation whose every text wants to be markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evo2_tasks.report.explanations import (
    Explanation,
    Nearby,
    write_explanation,
)
from evo2_tasks.report.profiles import Entry, StrandProfile

HOSTILE = "<img src=x onerror=alert(1)>%{x}</script><b>&amp;\u202e"


def make_explanation(**changed: Any) -> Explanation:
    rng = np.random.default_rng(2)
    profiles = []
    for strand in ("forward", "reverse"):
        values = rng.normal(size=300).tolist()
        entries = [Entry(-4.0, 1_000, HOSTILE, "allele"), Entry(-1.0, None, "", "allele")]
        entries += [Entry(one, 1_001 + i, "ACGT"[i % 4], "downstream")
                    for i, one in enumerate(values)]  # fmt: skip
        entries.append(Entry(0.5, None, "", "end"))
        profiles.append(StrandProfile(strand, entries, is_whole=strand == "forward"))
    row = {"record": 0, "allele": 1, "contig": HOSTILE, "pos": 1_000, "ref": HOSTILE}
    row |= {"alt": HOSTILE, "status": "scored", "llr": -3.5, "consequence": HOSTILE}
    row |= {HOSTILE: [HOSTILE, HOSTILE]}
    llr = rng.normal(size=(4, 21))
    llr[np.arange(21) % 4, np.arange(21)] = np.nan
    made = {
        "contig": HOSTILE,
        "pos": 1_000,
        "ref": "A" * 200,
        "alt": "C" * 200,
        "variant_set": "variants",
        "scoring": "mini-512",
        "before": "A" * 40,
        "changed": "A" * 200,
        "alternate": HOSTILE,
        "after": "C" * 40,
        "profiles": profiles,
        "scores": {"llr": -3.5, "llr_fwd": -3.0, "llr_rev": None},
        "row": row,
        "neighbours": [row] * 30,
        "nearby": Nearby(list(range(990, 1_011)), "ACGT" * 5 + "A", llr, is_own_window=True),
        "facts": [("model", HOSTILE), ("weights", "0" * 64)],
        "notes": [HOSTILE],
    }
    return Explanation(**(made | changed))


def write_explained(folder: Path) -> Path:
    write_explanation(make_explanation(), folder / "explained.html")
    return folder / "explained.html"
