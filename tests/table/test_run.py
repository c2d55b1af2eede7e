from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.table.merge import Counts
from evo2_tasks.table.run import RUN_MEANINGS, summarize_run


def write_side(folder: Path, name: str, **values: Any) -> Path:
    path = folder / f"{name}.json"
    stated = {"device": "cpu", "windows_run": 3, "tokens_run": 100, "wall_s": 1.5} | values
    path.write_text(json.dumps(stated))
    return path


def test_shards_are_summed_and_kept(tmp_path: Path):
    names = ["10-of-10", "2-of-10", "1-of-10"]
    sides = [write_side(tmp_path, name, peak_memory=len(name)) for name in names]
    counts = Counts(5, {"too_long": 1, "scored": 4}, {"clipped": 2})
    assert summarize_run(counts, sides, variants={"records": 4}) == {
        "alleles": 5,
        "scored": 4,
        "by_status": {"too_long": 1, "scored": 4},
        "by_flag": {"clipped": 2},
        "variants": {"records": 4},
        "windows_run": 9,
        "tokens_run": 300,
        "wall_s": 4.5,
        "shards": [
            {"shard": name, "device": "cpu", "windows_run": 3, "tokens_run": 100, "wall_s": 1.5,
             "peak_memory": len(name)}
            for name in reversed(names)
        ],
    }  # fmt: skip


def test_every_key_is_explained():
    assert list(summarize_run(Counts(), [])) == list(RUN_MEANINGS)


def test_a_table_without_scores_has_none():
    assert summarize_run(Counts(1, {"too_long": 1}), [])["scored"] == 0


@pytest.mark.parametrize("value", [None, "3", True])
def test_what_is_no_number_is_named(tmp_path: Path, value: object):
    side = write_side(tmp_path, "1-of-1", tokens_run=value)
    with pytest.raises(InputError, match=r"1-of-1\.json: tokens_run is no number"):
        summarize_run(Counts(), [side])
