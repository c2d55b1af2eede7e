"""``show`` of the files next to a table: calibrations, an audit, combined scores, and others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from evo2_tasks.commands.show import show
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.table.calibration_schema import (
    background_schema,
    calibration_schema,
    folds_schema,
    ratios_schema,
)
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import PREFIX, Provenance
from evo2_tasks.table.schema import audit_schema
from tests.table.build import Row, make_row, signature, write_calibrated, write_result

SEVERAL = {"common": (True, False), "clinvar": (True, True)}
STATED = {
    "name": "clinvar",
    "score": "llr",
    "harmful": "low",
    "by": ["consequence", "type"],
    "num_background": 12_345,
    "label": "CLNSIG",
    "definition": "positive: Pathogenic; negative: Benign",
    "num_positive": 150,
    "num_negative": 2_000,
    "prior": 0.1,
    "c": 350,
    "draws": 10_000,
}


def make_rows(num_rows: int = 50) -> list[Row]:
    return [
        make_row(number, status="scored" if number % 4 else "too_long")
        for number in range(num_rows)
    ]


def squeeze(lines: Any) -> list[str]:
    found = [" ".join(line.split()) for line in lines]
    assert all(line.isprintable() for line in found)
    return found


def write_file(path: Path, schema: pa.Schema, rows: list[Row], **metadata: str) -> Path:
    stated = Provenance(signature(), "0.1.0", "evo2-mini").metadata()
    stated |= {PREFIX + key: value for key, value in metadata.items()}
    with write_table(path, schema, metadata=stated) as writer:
        writer.write(pa.Table.from_pylist(rows, schema))
    return path


def count(values: pd.Series, total: int) -> list[str]:
    counts = values.value_counts()
    return [f"{value} {number} {number / total:.1%}" for value, number in counts.items()]


def test_calibrated_columns_are_counted(tmp_path: Path) -> None:
    rows = make_rows()
    table = write_result(tmp_path / "scores.parquet", rows)
    file = write_calibrated(table, rows, SEVERAL)
    frame = pd.read_parquet(file)
    lines = squeeze(show(file))
    assert "calibrations common, clinvar" in lines
    for name in SEVERAL:
        assert f"calibration {name}" in lines
        for said in count(frame[f"{name}.stratum"], len(rows)):
            assert said in lines
        fallback = int((frame[f"{name}.stratum_fallback"] == True).sum())  # noqa: E712
        assert (
            f"{fallback} compared with all because their stratum is small, or they have none"
            in lines
        )
        assert f"50% {frame[f'{name}.phred'].median():.3g}" in lines
    points = frame["clinvar.evidence"].dropna()
    for value, number in points.value_counts().items():
        sign = "+" if value > 0 else ""
        assert f"{sign}{int(value)} {number} {number / len(rows):.1%}" in lines
    for said in count(frame["clinvar.lr_reason"], len(rows)):
        assert said in lines
    assert lines[-6].split()[:3] == ["record", "allele", "common.stratum"]
    # And below the table.
    both = squeeze(show(table))
    assert both[0] == str(table)
    assert [line for line in lines[1:-7] if line not in both] == []
    assert both.count("scoring.window_length 8192") == 1


def test_many_strata_are_counted_together(tmp_path: Path) -> None:
    rows = [make_row(number) for number in range(120)]
    table = write_result(tmp_path / "scores.parquet", rows)
    file = write_calibrated(table, rows, {"common": (True, False)})
    frame = pd.read_parquet(file)
    frame["stratum"] = [f"gene{number % 30}" for number in range(120)]
    schema = pa.parquet.read_schema(file)
    kept = pa.Table.from_pandas(frame, preserve_index=False).to_pylist()
    with write_table(file, schema, metadata=_texts(schema)) as writer:
        writer.write(pa.Table.from_pylist(kept, schema))
    lines = squeeze(show(file))
    assert sum(line.startswith("gene") for line in lines) == 20
    assert "10 other strata 40 33.3%" in lines


def _texts(schema: pa.Schema) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in schema.metadata.items()}


def test_calibrated_columns_of_another_table_are_one_clear_line(tmp_path: Path) -> None:
    table = write_result(tmp_path / "scores.parquet", make_rows())
    file = write_calibrated(table, make_rows(), SEVERAL)
    write_result(table, [make_row(number) for number in range(50)])
    for shown in (file, table):
        with pytest.raises(InputError, match=r"calibrated\.parquet was made from another table"):
            list(show(shown))
    table.unlink()
    assert "calibrations common, clinvar" in squeeze(show(file))


def test_a_calibration_shows_its_thresholds(tmp_path: Path) -> None:
    rows: list[Row] = [
        {
            "direction": "harmful", "strength": "supporting", "points": 1, "posterior": 0.188,
            "lr": 2.08, "threshold": -4.5, "bound": -5.25, "share_without": 0.01, "reached": True,
            "reason": None,
        },
        {
            "direction": "benign", "strength": "strong", "points": -4, "posterior": 0.005,
            "lr": 0.053, "threshold": None, "bound": None, "share_without": 1.0, "reached": False,
            "reason": "100.0% of the draws have no such score",
        },
    ]  # fmt: skip
    file = tmp_path / "calibration.parquet"
    write_file(file, calibration_schema(), rows, calibration=json.dumps(STATED))
    lines = squeeze(show(file))
    for said in (
        "calibration clinvar",
        "strata by consequence | type",
        "background alleles 12,345",
        "positive rows 150",
        "prior 0.1",
        "c 350",
        "windows at least 100 labelled rows and 3 % of the background",
        "scoring.window_length 8192",
        "thresholds of the evidence strength by the published method; not for clinical use",
        "harmful supporting 1 0.188 2.08 -4.5 -5.25 0.01 true .",
        "benign strong -4 0.005 0.053 . . 1 false 100.0% of the draws have no such score",
    ):
        assert said in lines
    for alone in (0, None):  # a background without scores, and none
        stated = {**STATED, "num_background": alone}
        write_file(file, calibration_schema(), rows, calibration=json.dumps(stated))
        said = "windows at least 100 labelled rows and 3 % of the labelled rows"
        assert said in squeeze(show(file))
    write_file(file, calibration_schema(), [], calibration=json.dumps({**STATED, "label": None}))
    assert "no strengths: the calibration has no labels" in squeeze(show(file))
    write_file(file, calibration_schema(), [], calibration=json.dumps({**STATED, "draws": "x"}))
    with pytest.raises(InputError, match=r"draws: expected a whole number.*`fit_calibration`"):
        list(show(file))


def write_audit(folder: Path, digest: str | None = None, **errors: Any) -> Path:
    rows = [
        {"record": number, "allele": 1, "llr_window": float(number), "llr_window_fwd": None,
         "llr_window_rev": None}
        for number in range(11)
    ]  # fmt: skip
    file = write_file(folder / "audit.parquet", audit_schema(), rows)
    work: Mapping[str, Any] = {
        "table_digest": digest or digest_file(file),
        "windows_run": 1_100, "tokens_run": 90_112, "wall_s": 12.5, "devices": {"H200": 2},
    }  # fmt: skip
    (folder / "audit.json").write_text(json.dumps(work))
    run = {
        "alleles": 11,
        "shards": [],
        "audit": {**work, "share": 0.1, "alleles": 11, "errors": errors},
    }
    (folder / "run.json").write_text(json.dumps(run))
    return file


def test_an_audit_shows_its_work_and_the_error(tmp_path: Path) -> None:
    error = {"alleles": 10, "rms": 0.125, "p99": 0.25, "largest": 0.5, "spearman": 0.875}
    file = write_audit(tmp_path, llr=error)
    lines = squeeze(show(file))
    for said in (
        "rows 11 alleles, scored with whole windows",
        "windows run 1,100",
        "tokens run 90,112",
        "devices H200 (2)",
        "scoring.window_length 8192",
        "llr 10 0.125 0.25 0.5 0.875",
        "llr_window, nats",
        "50% 5",
        "record allele llr_window llr_window_fwd llr_window_rev",
    ):
        assert said in lines
    (tmp_path / "run.json").unlink()
    assert "run.json next to the file does not state this audit" in "\n".join(show(file))
    (tmp_path / "audit.json").unlink()
    assert "rows 11 alleles, scored with whole windows" in squeeze(show(file))


def test_an_audit_without_scores_is_described(tmp_path: Path) -> None:
    file = write_audit(tmp_path)
    write_file(file, audit_schema(), [])
    for name in ("audit.json", "run.json"):
        (tmp_path / name).unlink()
    assert "rows 0 alleles, scored with whole windows" in squeeze(show(file))


def test_an_audit_of_another_file_is_one_clear_line(tmp_path: Path) -> None:
    file = write_audit(tmp_path, digest="0" * 64)
    with pytest.raises(InputError, match=r"audit\.json was made from another table") as caught:
        list(show(file))
    assert "Run `merge_audit` again" in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "row"),
    [
        (background_schema(), {"stratum": "missense_variant", "score": -1.5}),
        (ratios_schema(), {"fold": 3, "score": -1.5, "lr": 2.0, "lr_low": 1.0, "lr_high": 4.0}),
        (folds_schema(), {"record": 7, "allele": 1, "fold": 2}),
    ],
)
def test_any_other_file_shows_its_columns_and_rows(
    tmp_path: Path, schema: pa.Schema, row: Row
) -> None:
    file = write_file(tmp_path / "x.parquet", schema, [row], calibration=json.dumps(STATED))
    lines = squeeze(show(file))
    assert "rows 1 in 1 row groups" in lines
    assert "calibration.label CLNSIG" in lines
    assert "scoring.window_length 8192" in lines
    for field in schema:
        meaning = field.metadata[b"description"].decode()
        assert any(line.startswith(f"{field.name} {meaning}") for line in lines)
    assert lines[-2].split() == schema.names
    assert lines[-1].split() == [str(value).removesuffix(".0") for value in row.values()]


def test_a_file_of_another_program_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(file)
    with pytest.raises(InputError, match=r"does not name a version of evo2-tasks"):
        list(show(file))
    with pytest.raises(InputError, match=r"calibrated\.parquet"):
        list(show(file.rename(tmp_path / "calibrated.parquet")))
