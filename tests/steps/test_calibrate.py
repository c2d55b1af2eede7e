"""Calibrations with a background: made from tables, and applied to the rows of other tables."""

import json
import logging
import math
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.config.resolve import (
    CalibrateSettings,
    CalibrationSource,
    FitCalibrationSettings,
    ReferenceSettings,
)
from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField
from evo2_tasks.layout import CALIBRATION_FILES, RUN
from evo2_tasks.steps import calibrate as calibrate_step
from evo2_tasks.steps import fit_calibration as fit_step
from evo2_tasks.steps.calibrate import calibrate
from evo2_tasks.steps.fit_calibration import fit_calibration
from evo2_tasks.table.calibrations import open_calibration
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import Provenance
from evo2_tasks.table.schema import FINAL_COLUMNS, make_schema
from tests.table.build import Row, columns, make_row, signature

GENE = CarryField("gene_name", "string", False, "Gene")
BASES = "".join(random.Random(5).choices("ACGT", k=400))
BY_STRATUM = ["stratum", "stratum_fallback", "quantile", "phred"]


def write_scores(
    path: Path, rows: Sequence[Row], *, order: str = "input", row_group_rows: int = 20_000,
    **signed: Any,
) -> Path:  # fmt: skip
    """A table as ``merge`` writes it, with a carried column."""
    schema = make_schema(FINAL_COLUMNS, [GENE])
    metadata = Provenance(signature(**signed), "0.1.0", "evo2-mini", order).metadata()
    with write_table(path, schema, metadata=metadata, row_group_rows=row_group_rows) as writer:
        writer.write_columns(columns(rows, schema.names))
    return path


def make_rows(number: int, seed: int, genes: Sequence[str | None] = ("g", "h")) -> list[Row]:
    """SNVs and deletions of ``BASES`` with rounded scores, of which some have none."""
    choose = random.Random(seed)
    rows = []
    for record in range(number):
        pos = choose.randint(1, len(BASES) - 1)
        ref = BASES[pos - 1 : pos + choose.choice([0, 0, 0, 1])]
        alt = choose.choice([base for base in "ACGT" if base != ref[0]])
        status = choose.choice(["scored"] * 9 + ["too_many_n"])
        row = make_row(
            record,
            status=status,
            reference_contig="c",
            pos=pos,
            ref=ref,
            alt=alt if len(ref) == 1 else ref[0],
            gene_name=choose.choice(genes),
        )
        if status == "scored":
            row |= {
                "llr": round(choose.gauss(0, 3), 1),
                "llr_aligned": round(choose.gauss(1, 2), 1),
            }
            if choose.random() < 0.1:
                row["llr_aligned"] = None
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ReferenceSettings:
    folder = tmp_path_factory.mktemp("reference")
    (folder / "g.fa").write_text(f">c\n{BASES}\n")
    return ReferenceSettings("r", folder / "g.fa", ("c",), {}, None, folder)


def make_settings(name: str = "common", **changes: Any) -> FitCalibrationSettings:
    settings = FitCalibrationSettings(
        name=name,
        score="llr",
        harmful="low",
        background="b",
        by=(),
        labelled=None,
        field=None,
        label=None,
        prior=0.1,
        reference=None,
    )
    return replace(settings, **changes)


def run(
    folder: Path,
    background: Path,
    table: Path,
    reference: ReferenceSettings,
    *fits: FitCalibrationSettings,
    variant_set: str = "v",
) -> pd.DataFrame:
    """Fit calibrations, and apply them to a table."""
    sources, files = [], {}
    for fit in fits:
        fit_calibration(
            replace(fit, reference=reference if "trinucleotide" in fit.by else None),
            background=background,
            labelled=None,
            scoring="s",
            out_folder=folder / fit.name,
        )
        sources.append(CalibrationSource(fit.name, "s", fit=fit, file=None))
        files[fit.name] = folder / fit.name / "calibration.parquet"
    settings = CalibrateSettings(variant_set, "s", tuple(sources), reference)
    out = folder / "calibrated.parquet"
    calibrate(settings, calibrations=files, table=table, out=out)
    return read(out)


def read(out: Path) -> pd.DataFrame:
    frame = pq.read_table(out).to_pandas()
    texts = frame.columns[frame.dtypes == "category"]
    return frame.astype(dict.fromkeys(texts, object))


def name_strata(frame: pd.DataFrame, by: Iterable[str]) -> pd.Series:
    """The stratum of each row, by the slow way; None where it has none."""

    def name(row: Any) -> str | None:
        values = {
            "gene_name": row.gene_name,
            "type": "snv" if len(row.ref) == len(row.alt) else "deletion",
            "trinucleotide": name_trinucleotide(row),
        }
        chosen = [values[item] for item in by]
        return None if not chosen or any(map(pd.isna, chosen)) else " | ".join(chosen)

    return pd.Series([name(row) for row in frame.itertuples()], index=frame.index, dtype=object)


def name_trinucleotide(row: Any) -> str | None:
    if len(row.ref) != len(row.alt):
        return None
    around = "".join(BASES[(row.pos - 1 + shift) % len(BASES)] for shift in (-1, 0, 1))
    alt = row.alt
    if around[1] in "AG":
        turn = str.maketrans("ACGT", "TGCA")
        around, alt = around.translate(turn)[::-1], alt.translate(turn)
    return f"{around[0]}[{around[1]}>{alt}]{around[2]}"


def expect(
    background: Sequence[Row], rows: Sequence[Row], fit: FitCalibrationSettings
) -> pd.DataFrame:
    """The columns by their definitions, row by row, with pandas."""
    alleles, frame = (pd.DataFrame(one) for one in (background, rows))
    alleles = alleles[alleles[fit.score].notna()]
    strata, own = (name_strata(one, fit.by) for one in (alleles, frame))
    sign = 1 if fit.harmful == "low" else -1
    expected = []
    for score, stratum in zip(frame[fit.score], own, strict=True):
        if pd.isna(score):
            expected.append((None, None, math.nan, math.nan))
            continue
        same = alleles[strata == stratum] if stratum is not None else alleles[:0]
        is_own = len(same) >= 100
        scores = sign * (same if is_own else alleles)[fit.score]
        n, below, equal = (
            len(scores),
            (scores < sign * score).sum(),
            (scores == sign * score).sum(),
        )
        quantile = np.clip((below + equal / 2) / n, 1 / (2 * n), 1 - 1 / (2 * n))
        phred = -10 * math.log10((below + equal + 1) / (n + 1))
        name = stratum if is_own else "all"
        expected.append((name, bool(fit.by) and not is_own, quantile, phred))
    return pd.DataFrame(expected, columns=BY_STRATUM)


def require_equal(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    for column in BY_STRATUM[:2]:
        mine, other = (one[column].astype(object).where(one[column].notna(), None)
                       for one in (found, expected))  # fmt: skip
        assert mine.tolist() == other.tolist()
    for column in BY_STRATUM[2:]:
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"harmful": "high"},
        {"score": "llr_aligned"},
        {"by": ("gene_name",)},
        {"by": ("type", "gene_name"), "score": "llr_aligned", "harmful": "high"},
        {"by": ("trinucleotide",)},
        {"by": ("gene_name", "trinucleotide")},
    ],
    ids=str,
)
def test_the_columns_are_those_of_the_definition(
    tmp_path: Path, reference: ReferenceSettings, changes: Mapping[str, Any]
) -> None:
    genes = ("g", "g", "g", "small", None)
    number = 2_500 if "trinucleotide" in changes.get("by", ()) else 700
    background, rows = make_rows(number, 1, genes), make_rows(300, 2, (*genes, "absent"))
    if "trinucleotide" in changes.get("by", ()):
        # One substitution is in the background often, also around the origin of the circle.
        frequent = [row for row in background if row["pos"] in (1, len(BASES))]
        background += [row | {"record": 10_000 + i} for i, row in enumerate(frequent * 60)]
        rows += [row | {"record": 20_000 + i} for i, row in enumerate(frequent)]
    fit = make_settings(**changes)
    found = run(
        tmp_path,
        write_scores(tmp_path / "b.parquet", background, row_group_rows=300),
        write_scores(tmp_path / "t.parquet", rows, row_group_rows=100),
        reference,
        fit,
    )
    expected = expect(background, rows, fit)
    require_equal(found, expected)
    assert found[["record", "allele"]].to_dict("records") == [
        {"record": row["record"], "allele": row["allele"]} for row in rows
    ]
    if fit.by:
        assert {True, False} <= {*found["stratum_fallback"].dropna()}


def test_a_row_does_not_depend_on_the_other_rows_or_on_their_order(
    tmp_path: Path, reference: ReferenceSettings
) -> None:
    background = write_scores(tmp_path / "b.parquet", make_rows(700, 1, ("g", "h", "i", None)))
    rows = make_rows(200, 2, ("g", "h", "i", None))
    fit = make_settings(by=("gene_name",))
    together = run(tmp_path, background, write_scores(tmp_path / "t", rows), reference, fit)
    keyed = together.set_index("record")
    by_position = sorted(rows[::3], key=lambda row: (row["pos"], row["record"]))
    table = write_scores(tmp_path / "sorted", by_position, order="position", row_group_rows=7)
    found = run(tmp_path, background, table, reference, fit)
    assert found["record"].tolist() == [row["record"] for row in by_position]
    pd.testing.assert_frame_equal(found.set_index("record"), keyed.loc[found["record"]])
    metadata = pq.read_metadata(tmp_path / "calibrated.parquet").metadata
    assert metadata[b"evo2_tasks.order"] == b"position"


def test_the_background_itself_can_be_calibrated(
    tmp_path: Path, reference: ReferenceSettings
) -> None:
    rows = make_rows(400, 1)
    table = write_scores(tmp_path / "t.parquet", rows)
    found = run(tmp_path, table, table, reference, make_settings(background="v"))
    scored = pd.DataFrame(rows)["llr"].dropna()
    expected = (scored.rank(method="average") - 0.5) / len(scored)
    np.testing.assert_allclose(found["quantile"].dropna(), expected, rtol=1e-12)


def test_columns_of_several_calibrations_are_prefixed(
    tmp_path: Path, reference: ReferenceSettings
) -> None:
    background, rows = make_rows(300, 1), make_rows(50, 2)
    tables = [write_scores(tmp_path / name, one) for name, one in (("b", background), ("t", rows))]
    fits = [make_settings("one"), make_settings("two", harmful="high", by=("gene_name",))]
    found = run(tmp_path, *tables, reference, *fits)
    names = [f"{name}.{column}" for name in ("one", "two") for column in BY_STRATUM]
    assert list(found.columns) == ["record", "allele", *names]
    for fit in fits:
        alone = found[[f"{fit.name}.{column}" for column in BY_STRATUM]]
        require_equal(alone.set_axis(BY_STRATUM, axis=1), expect(background, rows, fit))


def test_the_files_state_what_they_were_made_from(
    tmp_path: Path, reference: ReferenceSettings
) -> None:
    background = write_scores(tmp_path / "b", make_rows(300, 1))
    table = write_scores(tmp_path / "t", make_rows(50, 2))
    fit = make_settings(by=("gene_name",))
    run(tmp_path, background, table, reference, fit)
    calibration = json.loads(stated(tmp_path / fit.name / "calibration.parquet", "calibration"))
    num_scored = int(pq.read_table(background)["llr"].is_valid().to_pandas().sum())
    assert calibration == {
        "name": "common",
        "score": "llr",
        "harmful": "low",
        "by": ["gene_name"],
        "num_background": num_scored,
    }
    out = tmp_path / "calibrated.parquet"
    assert json.loads(stated(out, "calibrations")) == {"common": {**calibration, "labelled": None}}
    assert json.loads(stated(out, "signature")) == signature()
    assert json.loads(stated(out, "settings")) == {"calibrations": ["common"]}
    assert stated(out, "source") == digest(table)
    files = {name: digest(tmp_path / fit.name / name) for name in CALIBRATION_FILES}
    assert json.loads(stated(out, "inputs")) == {"common": files.pop("calibration.parquet")}
    inputs = json.loads(stated(tmp_path / fit.name / "calibration.parquet", "inputs"))
    assert inputs == {"background": digest(background), **files}
    assert pq.read_metadata(tmp_path / fit.name / "calibration.parquet").num_rows == 0


def stated(path: Path, key: str) -> str:
    return pq.read_metadata(path).metadata[f"evo2_tasks.{key}".encode()].decode()


def digest(path: Path) -> str:
    return fit_step.SourceFiles().add(path)


def test_the_same_tables_give_the_same_bytes(tmp_path: Path, reference: ReferenceSettings) -> None:
    rows, background = make_rows(200, 2), make_rows(300, 1)
    table = write_scores(tmp_path / "t", rows)
    made = []
    for name, row_group_rows in (("one", 300), ("two", 7)):
        folder = tmp_path / name
        of = write_scores(folder / "b", background, row_group_rows=row_group_rows)
        run(folder, of, table, reference, make_settings(by=("gene_name",)))
        made.append((folder / "common" / "background.parquet", folder / "calibrated.parquet"))
    scores = [pq.read_table(one) for one, _ in made]
    assert scores[0].equals(scores[1])
    again = tmp_path / "again"
    run(again, tmp_path / "one" / "b", table, reference, make_settings(by=("gene_name",)))
    assert (again / "calibrated.parquet").read_bytes() == made[0][1].read_bytes()


# --- backgrounds and tables without scores ---------------------------------------------------


@pytest.mark.parametrize(
    "background",
    [[], [make_row(i, status="too_long", gene_name="g") for i in range(200)]],
    ids=["no rows", "no row has a score"],
)
def test_a_background_without_scores_gives_no_number_and_says_so(
    tmp_path: Path,
    reference: ReferenceSettings,
    caplog: pytest.LogCaptureFixture,
    background: list[Row],
) -> None:
    table = write_scores(tmp_path / "t", make_rows(50, 2))
    with caplog.at_level(logging.WARNING):
        found = run(
            tmp_path, write_scores(tmp_path / "b", background), table, reference,
            make_settings(by=("gene_name",)),
        )  # fmt: skip
    assert len(found) == 50
    assert found[["quantile", "phred"]].isna().all(axis=None)
    assert {*found["stratum"].dropna()} == {"all"}
    assert "no row has llr, so that the calibration common of s gives no quantile" in caplog.text


def test_a_constant_background_gives_numbers(tmp_path: Path, reference: ReferenceSettings) -> None:
    background = [make_row(i, gene_name="g", llr=-1.5) for i in range(120)]
    rows = [make_row(i, gene_name="g", llr=llr) for i, llr in enumerate([-2.0, -1.5, 0.0])]
    tables = [write_scores(tmp_path / name, one) for name, one in (("b", background), ("t", rows))]
    found = run(tmp_path, *tables, reference, make_settings(by=("gene_name",)))
    assert found["quantile"].tolist() == [1 / 240, 0.5, 1 - 1 / 240]
    assert found["phred"].tolist() == pytest.approx([10 * math.log10(121), 0, 0], abs=1e-12)
    assert found["stratum"].tolist() == ["g"] * 3


def test_a_background_smaller_than_a_stratum(
    tmp_path: Path, reference: ReferenceSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    background = [make_row(i, gene_name="g", llr=float(i)) for i in range(99)]
    rows = [make_row(0, gene_name="g", llr=49.0)]
    tables = [write_scores(tmp_path / name, one) for name, one in (("b", background), ("t", rows))]
    found = run(tmp_path, *tables, reference, make_settings(by=("gene_name",)))
    assert found[BY_STRATUM[:3]].values.tolist() == [["all", True, 0.5]]
    assert "99 background alleles; 0 of 1 strata have the 100 alleles to compare" in caplog.text
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "`by` (gene_name) has no effect: no stratum of the background" in warning.getMessage()


def test_a_table_without_rows_or_scores(tmp_path: Path, reference: ReferenceSettings) -> None:
    background = write_scores(tmp_path / "b", make_rows(300, 1))
    nothing = run(
        tmp_path, background, write_scores(tmp_path / "t", []), reference, make_settings()
    )
    assert list(nothing.columns) == ["record", "allele", *BY_STRATUM]
    assert not len(nothing)
    rows = [make_row(i, status="ref_mismatch", gene_name=None) for i in range(5)]
    rows += [make_row(5, 0, status="invalid_record", gene_name=None, reference_contig=None,
                      pos=None, ref=None, alt=None)]  # fmt: skip
    fit = make_settings(by=("trinucleotide", "type"))
    found = run(tmp_path, background, write_scores(tmp_path / "t", rows), reference, fit)
    assert len(found) == 6
    assert found[BY_STRATUM].isna().all(axis=None)


# --- files that do not fit -------------------------------------------------------------------


def fit_one(folder: Path, **signed: Any) -> Path:
    """A calibration of an earlier run, in a folder of its own."""
    background = write_scores(folder / "b.parquet", make_rows(300, 1), **signed)
    fit_calibration(
        make_settings(), background=background, labelled=None, scoring="s", out_folder=folder / "c"
    )
    return folder / "c" / "calibration.parquet"


def apply(
    file: Path,
    table: Path,
    reference: ReferenceSettings,
    *,
    fit: FitCalibrationSettings | None = None,
) -> pd.DataFrame:
    """Apply a calibration of an earlier run, or of this run if ``fit`` is given."""
    source = CalibrationSource("common", "s", fit=fit, file=None if fit else file)
    settings = CalibrateSettings("v", "s", (source,), reference)
    out = table.with_name("calibrated.parquet")
    try:
        calibrate(settings, calibrations={"common": file}, table=table, out=out)
    except InputError:
        assert not out.exists()
        raise
    return read(out)


def test_a_calibration_of_an_earlier_run(tmp_path: Path, reference: ReferenceSettings) -> None:
    rows = make_rows(50, 2)
    file = fit_one(tmp_path / "earlier")
    copied = tmp_path / "copy" / "calibration.parquet"
    shutil.copytree(file.parent, copied.parent)
    shutil.rmtree(tmp_path / "earlier")
    found = apply(copied, write_scores(tmp_path / "t.parquet", rows), reference)
    require_equal(found, expect(make_rows(300, 1), rows, make_settings()))


CHANGED = [
    ({"weights_digest": "1" * 64}, "weights"),
    ({"dtype": "bfloat16"}, "dtype"),
    ({"reference_digest": "SQ.other"}, "reference"),
    (
        {"scoring": {"window_length": 512, "strands": "both", "horizon": None}},
        "scoring.window_length",
    ),
]


@pytest.mark.parametrize(("signed", "key"), CHANGED, ids=[key for _, key in CHANGED])
def test_another_signature_is_one_line_with_both_files(
    tmp_path: Path, reference: ReferenceSettings, signed: Mapping[str, Any], key: str
) -> None:
    file = fit_one(tmp_path / "earlier", **signed)
    table = write_scores(tmp_path / "t.parquet", make_rows(50, 2))
    with pytest.raises(InputError) as error:
        apply(file, table, reference)
    message = str(error.value)
    assert f"differ in {key}," in message
    assert str(file) in message
    assert str(table) in message
    assert "\n" not in message


def test_background_and_labels_of_two_signatures_make_no_calibration(tmp_path: Path) -> None:
    background = write_scores(tmp_path / "b.parquet", make_rows(300, 1), dtype="bfloat16")
    table = write_scores(tmp_path / "t.parquet", make_rows(50, 2))
    with pytest.raises(InputError, match=r"b\.parquet and .*t\.parquet differ in dtype,"):
        fit_calibration(
            make_settings(labelled="t"),
            background=background,
            labelled=table,
            scoring="s",
            out_folder=tmp_path / "c",
        )
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None, None), "common has a `background`. Give its table with --background."),
        (("b", "b"), "common has no `set`. Add the key, or leave out --labelled."),
    ],
)
def test_the_tables_are_those_that_the_config_names(
    tmp_path: Path, given: tuple[str | None, str | None], message: str
) -> None:
    write_scores(tmp_path / "b", make_rows(10, 1))
    paths = [None if name is None else tmp_path / name for name in given]
    with pytest.raises(InputError) as error:
        fit_calibration(
            make_settings(),
            background=paths[0],
            labelled=paths[1],
            scoring="s",
            out_folder=tmp_path / "c",
        )
    assert message in str(error.value)


def test_a_file_of_a_calibration_is_missing_or_of_another_one(
    tmp_path: Path, reference: ReferenceSettings
) -> None:
    file = fit_one(tmp_path / "earlier")
    table = write_scores(tmp_path / "t.parquet", make_rows(50, 2))
    other = tmp_path / "other"
    write_scores(other / "b.parquet", make_rows(300, 9))
    fit_calibration(
        make_settings(),
        background=other / "b.parquet",
        labelled=None,
        scoring="s",
        out_folder=other / "c",
    )
    for name in CALIBRATION_FILES[1:]:
        kept = (file.parent / name).read_bytes()
        (file.parent / name).write_bytes((other / "c" / name).read_bytes())
        if (file.parent / name).read_bytes() != kept:
            with pytest.raises(InputError, match=rf"{name} does not belong to .*calibration"):
                apply(file, table, reference)
        (file.parent / name).unlink()
        with pytest.raises(InputError, match=rf"{name}: does not exist; a calibration has four"):
            apply(file, table, reference)
        (file.parent / name).write_bytes(kept)
    apply(file, table, reference)
    table.with_name("calibrated.parquet").unlink()
    file.unlink()
    with pytest.raises(InputError, match=r"calibration\.parquet"):
        apply(file, table, reference)


def test_another_parquet_file_is_no_calibration(
    tmp_path: Path, reference: ReferenceSettings
) -> None:
    table = write_scores(tmp_path / "t.parquet", make_rows(50, 2))
    with pytest.raises(InputError, match="the metadata contains no calibration"):
        apply(table, table, reference)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="the metadata contains no signature"):
        apply(tmp_path / "x.parquet", table, reference)


def test_a_calibration_of_this_run_has_the_settings_of_the_config(
    tmp_path: Path, reference: ReferenceSettings
) -> None:
    file = fit_one(tmp_path / "earlier")
    table = write_scores(tmp_path / "t.parquet", make_rows(50, 2))
    apply(file, table, reference, fit=make_settings())
    table.with_name("calibrated.parquet").unlink()
    with pytest.raises(InputError, match="made with other settings than those of the config: harm"):
        apply(file, table, reference, fit=make_settings(harmful="high"))


def test_a_calibration_from_another_version_of_the_table(
    tmp_path: Path, reference: ReferenceSettings
) -> None:
    table = write_scores(tmp_path / "t.parquet", make_rows(50, 2))
    fit = make_settings(background="v")
    fit_calibration(fit, background=table, labelled=None, scoring="s", out_folder=tmp_path / "c")
    file = tmp_path / "c" / "calibration.parquet"
    apply(file, table, reference, fit=fit)
    table.with_name("calibrated.parquet").unlink()
    write_scores(table, make_rows(50, 3))
    with pytest.raises(InputError, match=r"calibration\.parquet was made from another version of"):
        apply(file, table, reference, fit=fit)


def test_a_table_that_is_not_that_of_run_json(tmp_path: Path, reference: ReferenceSettings) -> None:
    file = fit_one(tmp_path / "earlier")
    table = write_scores(tmp_path / "t.parquet", make_rows(50, 2))
    statement = {"alleles": 50, "table_digest": "0" * 64, "shards": []}
    table.with_name(RUN).write_text(json.dumps(statement))
    with pytest.raises(InputError, match=r"run\.json was made from another table than"):
        apply(file, table, reference)
    with pytest.raises(InputError, match=r"run\.json was made from another table than"):
        fit_calibration(
            make_settings(),
            background=table,
            labelled=None,
            scoring="s",
            out_folder=tmp_path / "new",
        )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("run.json", r"run\.json: cannot be read: "),
        (
            "calibrated.parquet",
            r"calibrated\.parquet: has no column 'status'\. Expected a table of",
        ),
    ],
)
def test_another_file_of_the_folder_than_its_table(
    tmp_path: Path, reference: ReferenceSettings, name: str, problem: str
) -> None:
    run(tmp_path, write_scores(tmp_path / "b", make_rows(9, 1)), tmp_path / "b", reference,
        make_settings())  # fmt: skip
    statement = {"alleles": 9, "table_digest": digest(tmp_path / "b"), "shards": []}
    (tmp_path / RUN).write_text(json.dumps(statement))
    with pytest.raises(InputError, match=problem) as error:
        fit_calibration(
            make_settings(),
            background=tmp_path / name,
            labelled=None,
            scoring="s",
            out_folder=tmp_path / "new",
        )
    assert "was made from another" not in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_background_that_is_replaced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    background = write_scores(tmp_path / "b.parquet", make_rows(300, 1))
    read_first = fit_step.read_background

    def replace_then(*args: Any) -> Any:
        found = read_first(*args)
        write_scores(background, make_rows(300, 2))
        return found

    monkeypatch.setattr(fit_step, "read_background", replace_then)
    with pytest.raises(InputError, match=r"b\.parquet: changed while it was read"):
        fit_calibration(
            make_settings(),
            scoring="s",
            background=background,
            labelled=None,
            out_folder=tmp_path / "new",
        )
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["t.parquet", "c/background.parquet", "c/calibration.parquet"])
def test_a_file_that_is_replaced_meanwhile(
    tmp_path: Path, reference: ReferenceSettings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = fit_one(tmp_path)
    table = write_scores(tmp_path / "t.parquet", make_rows(50, 2))
    make_first = calibrate_step.make_calibrators

    def replace_then(*args: Any) -> Any:
        made = make_first(*args)
        rewrite(tmp_path / name)
        return made

    monkeypatch.setattr(calibrate_step, "make_calibrators", replace_then)
    with pytest.raises(InputError, match=f"{Path(name).name}: changed while it was read"):
        apply(file, table, reference)


def rewrite(path: Path) -> None:
    """Write the same rows again, with other metadata."""
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"x": b"y"}), path)


def test_tables_of_earlier_versions(tmp_path: Path, reference: ReferenceSettings) -> None:
    """Tables without the columns that came later, and with another version in their metadata."""
    background, rows = make_rows(300, 1), make_rows(50, 2)
    paths = []
    for name, one in (("b.parquet", background), ("t.parquet", rows)):
        path = write_scores(tmp_path / name, one)
        old = pq.read_table(path).drop_columns(["reason"])
        pq.write_table(old, path, store_schema=True)
        paths.append(path)
    found = run(tmp_path, *paths, reference, make_settings(by=("type",)))
    require_equal(found, expect(background, rows, make_settings(by=("type",))))


def test_a_missing_column_of_by_names_table_and_column(
    tmp_path: Path, reference: ReferenceSettings
) -> None:
    background = write_scores(tmp_path / "b.parquet", make_rows(300, 1))
    with pytest.raises(InputError, match=r"b\.parquet: has no column 'MC', which `by` of the"):
        run(tmp_path, background, background, reference, make_settings(by=("MC",)))
    assert not (tmp_path / "common").exists()


def test_another_fasta_than_that_of_the_table(tmp_path: Path, reference: ReferenceSettings) -> None:
    background = write_scores(tmp_path / "b.parquet", make_rows(300, 1))
    fasta = tmp_path / "other.fa"
    for sequences in (f">c\n{BASES[::-1]}\n", f">d\n{BASES}\n", ">c\nACGT\n"):
        fasta.write_text(sequences)
        fasta.with_name("other.fa.fai").unlink(missing_ok=True)
        other = replace(reference, fasta=fasta, circular_contigs=())
        with pytest.raises(InputError, match=r"other\.fa: has other sequences than .*b\.parquet"):
            run(tmp_path, background, background, other, make_settings(by=("trinucleotide",)))


def test_open_calibration_reads_what_fit_calibration_wrote(tmp_path: Path) -> None:
    file = fit_one(tmp_path)
    found = open_calibration(file, fit_step.SourceFiles())
    assert found.statement.name == "common"
    assert found.background == file.with_name("background.parquet")
    assert found.table_digest("background") == digest(tmp_path / "b.parquet")
    assert found.table_digest("labelled") is None
