from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.table.documents import Run, RunReference, ShardRun, Split
from evo2_tasks.table.run import RUN_MEANINGS, read_shards, require_equal_devices, summarize_run
from evo2_tasks.table.statistics import Counts
from tests.project import write_split


def write_side(folder: Path, name: str, **values: Any) -> Path:
    path = folder / f"{name}.json"
    stated = {"device_class": "cpu", "windows_run": 3, "tokens_run": 100, "wall_s": 1.5} | values
    path.write_text(json.dumps(stated))
    return path


def summarize(counts: Counts, shards: list[ShardRun], folder: Path, **split: Any) -> Run:
    write_split(folder / "split.json", **split)
    read = Split.read(folder / "split.json")
    return summarize_run(
        counts,
        shards,
        read,
        model="m",
        signature={"dtype": "d"},
        date="2026",
        table_digest="a" * 64,
        contigs={"c": 100},
        reference=RunReference(name="g", digest="d", fasta="g.fa", circular_contigs=("c",)),
    )


def test_shards_are_summed_and_kept(tmp_path: Path):
    names = ["10-of-10", "2-of-10", "1-of-10"]
    sides = [write_side(tmp_path, name, peak_memory=len(name)) for name in names]
    counts = Counts(5, {"too_long": 1, "scored": 4}, {"clipped": 2}, {"long_alt": 1})
    run = summarize(counts, read_shards(sides), tmp_path, records=4, warnings=["hm"])
    run.write(tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text()) == {
        "model": "m",
        "signature": {"dtype": "d"},
        "date": "2026",
        "table_digest": "a" * 64,
        "contigs": {"c": 100},
        "reference": {
            "name": "g", "digest": "d", "fasta": "g.fa", "circular_contigs": ["c"],
        },
        "alleles": 5,
        "scored": 4,
        "by_status": {"too_long": 1, "scored": 4},
        "by_reason": {"long_alt": 1},
        "by_flag": {"clipped": 2},
        "variants": {
            "variants": "in.vcf", "format": "vcf", "records": 4, "invalid": 0, "filtered": 0,
            "regions": None,
        },
        "warnings": ["hm"],
        "windows_run": 9,
        "tokens_run": 300,
        "wall_s": 4.5,
        "verification": None,
        "devices": {"cpu": 3},
        "shards": [
            {"shard": name, "device_class": "cpu", "windows_run": 3, "tokens_run": 100,
             "wall_s": 1.5, "peak_memory": len(name)}
            for name in reversed(names)
        ],
    }  # fmt: skip


def test_what_was_found_of_the_model_stands_once_for_each_kind_of_device(tmp_path: Path):
    good, other = {"status": "same_arithmetic"}, {"status": "other_arithmetic"}
    kinds = [("A100", good), ("A100", good), ("H100", other)]
    shards = [
        write_side(tmp_path, f"{number}-of-3", device_class=kind, verification=found)
        for number, (kind, found) in enumerate(kinds, start=1)
    ]
    assert summarize(Counts(), read_shards(shards[:2]), tmp_path).verification == good
    both = summarize(Counts(), read_shards(shards), tmp_path).verification
    assert both == {"A100": good, "H100": other}


def test_every_key_is_explained():
    assert {*Run.model_fields} - {*RUN_MEANINGS} == {"model", "signature"}
    assert {*RUN_MEANINGS} <= {*Run.model_fields}


def test_a_table_without_scores_has_none(tmp_path: Path):
    assert summarize(Counts(1, {"too_long": 1}), [], tmp_path).scored == 0


@pytest.mark.parametrize(
    ("value", "got"), [(None, "null"), ("3", '"3"'), (True, "true"), (1.5, "1.5")]
)
def test_a_value_that_is_not_a_number_is_named(tmp_path: Path, value: object, got: str):
    side = write_side(tmp_path, "1-of-1", tokens_run=value)
    message = f"{side}: tokens_run: expected a whole number, got {got}. Score the shard again."
    with pytest.raises(InputError) as error:
        read_shards([side])
    assert str(error.value) == message


def test_shards_with_different_numbers_of_canaries_are_one_line(tmp_path: Path):
    sides = [
        write_side(tmp_path, "1-of-2", canaries=[-1.0, 2.0]),
        write_side(tmp_path, "2-of-2", canaries=[-1.0]),
    ]
    with pytest.raises(InputError, match="1-of-2 and 2-of-2 have 2 and 1 canaries"):
        require_equal_devices(read_shards(sides), dtype="float32", fp8=False, allow_mixed=True)


def test_devices_of_different_kinds_can_be_forbidden(tmp_path: Path):
    kinds = ["NVIDIA A100", "NVIDIA A100", "NVIDIA H100"]
    shards = read_shards(
        [write_side(tmp_path, f"{i}-of-3", device_class=kind) for i, kind in enumerate(kinds, 1)]
    )
    require_equal_devices(shards, dtype="bfloat16", fp8=False, allow_mixed=True)
    require_equal_devices(shards[:2], dtype="bfloat16", fp8=False, allow_mixed=False)
    with pytest.raises(InputError, match=r"A100 \(2\), NVIDIA H100 \(1\).*allow_mixed_devices"):
        require_equal_devices(shards, dtype="bfloat16", fp8=False, allow_mixed=False)


@pytest.mark.parametrize(
    ("other", "dtype", "fp8", "fits"),
    [
        ([-1.0, 2.0], "float32", False, True),
        ([-1.0, 2.0005], "float32", False, True),
        ([-1.0, 2.01], "float32", False, False),
        ([-1.0, 2.01], "bfloat16", False, True),
        ([-1.0, 2.6], "bfloat16", False, False),
        ([-1.0, None], "bfloat16", False, False),
        ([-1.0, 2.3], "float32", True, True),
        ([-1.0, 2.6], "float32", True, False),
    ],
)
def test_a_device_that_computes_wrong_is_named(
    tmp_path: Path, other: list[float | None], dtype: str, fp8: bool, fits: bool
):
    sides = [
        write_side(tmp_path, "1-of-2", canaries=[-1.0, 2.0], node="n1"),
        write_side(tmp_path, "2-of-2", canaries=other, node="n2"),
    ]
    if fits:
        require_equal_devices(read_shards(sides), dtype=dtype, fp8=fp8, allow_mixed=True)
    else:
        with pytest.raises(InputError, match=r"1-of-2.*n1.*2-of-2.*n2.*canary 2"):
            require_equal_devices(read_shards(sides), dtype=dtype, fp8=fp8, allow_mixed=True)
