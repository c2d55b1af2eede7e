from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.evo2.config import FP8_MODES
from evo2_tasks.table.provenance import (
    FP8_OFF_ALLOWED,
    FP8_VALUES,
    Provenance,
    canonical_json,
    differing_keys,
    read_provenance,
    require_same_signature,
    uses_fp8,
)
from evo2_tasks.table.schema import SCORES_VERSION
from tests.table.build import SCORING, make_row, signature, windows_signature, write_result


def test_equal_signatures_are_equal_text():
    one = signature(scoring={"a": 1, "b": None})
    other = dict(reversed(signature(scoring={"b": None, "a": 1}).items()))
    assert canonical_json(one) == canonical_json(other)
    assert json.loads(canonical_json(one)) == one
    assert canonical_json({"name": "é\n"}) == r'{"name":"\u00e9\n"}'


def test_the_values_of_fp8_are_the_modes_of_the_model_and_one_more():
    assert set(FP8_VALUES) == {*FP8_MODES, FP8_OFF_ALLOWED}
    without = [value for value in FP8_VALUES if not uses_fp8(signature(fp8=value))]
    assert without == ["off", "off (allow_without_fp8)"]
    assert not uses_fp8({})


def test_the_signature_holds_what_shapes_a_score():
    assert signature() == {
        "scores_version": SCORES_VERSION,
        "reference": "SQ.abc",
        "scoring": SCORING,
        "weights": "0" * 64,
        "dtype": "float32",
        "fp8": "off",
        "prepend_bos": False,
    }
    assert windows_signature().items() <= signature().items()


def test_a_table_states_where_it_comes_from(tmp_path: Path):
    path = write_result(tmp_path / "x.parquet", [make_row(0)])
    assert read_provenance(path) == Provenance(signature(), "0.1.0", "evo2-mini", "input")
    stored = pq.read_metadata(path).metadata
    assert stored[b"evo2_tasks.version"] == b"0.1.0"
    assert json.loads(stored[b"evo2_tasks.signature"]) == signature()


def test_a_foreign_table_states_nothing(tmp_path: Path):
    pq.write_table(pa.table({"pos": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="contains no signature"):
        read_provenance(tmp_path / "x.parquet")


@pytest.mark.parametrize("text", [b"[1]", b"3", b"{", b"\xff"])
def test_a_damaged_signature_is_one_line(tmp_path: Path, text: bytes):
    table = pa.table({"pos": [1]}).replace_schema_metadata(
        {
            b"evo2_tasks.signature": text,
            b"evo2_tasks.version": b"1",
            b"evo2_tasks.order": b"input",
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match="signature"):
        read_provenance(tmp_path / "x.parquet")


def test_differing_keys_are_named():
    one = {"a": 1, "scoring": {"x": 1, "y": None}, "only": 0}
    other = {"a": 2, "scoring": {"x": 2, "y": None, "z": None}}
    assert differing_keys(one, other) == ["a", "only", "scoring.x", "scoring.z"]
    assert differing_keys(one, dict(one)) == []


def test_files_of_different_signatures_are_named():
    with pytest.raises(InputError, match=r"^a\.parquet and b\.parquet differ in dtype, scoring\.w"):
        require_same_signature(
            Path("a.parquet"),
            {"dtype": "float32", "scoring": {"w": 1}},
            Path("b.parquet"),
            {"dtype": "bfloat16", "scoring": {"w": 2}},
        )
