"""Evidence from labels: fitted to a table, and applied to this table and to another one."""

import json
import math
import shutil
from collections.abc import Sequence
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
from evo2_tasks.config.schema import LabelConfig
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation import evidence
from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.genome.records import CarryField
from evo2_tasks.io.digests import digest_file
from evo2_tasks.steps import fit_calibration as fit_step
from evo2_tasks.steps.calibrate import calibrate
from evo2_tasks.steps.fit_calibration import fit_calibration
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import PREFIX, Provenance
from evo2_tasks.table.schema import FINAL_COLUMNS, make_schema
from tests.table.build import Row, columns, make_row, signature

GENE = CarryField("gene", "string", False, "Gene")
LABEL = CarryField("kind", "string", False, "Label")
SIGNED = signature(scoring={"window_length": 64})
FIT = FitCalibrationSettings(
    name="ev",
    score="llr",
    harmful="low",
    background=None,
    by=(),
    labelled="v",
    field="kind",
    label=LabelConfig(positive=("bad",), negative=("good",)),
    prior=0.1,
    reference=None,
)
DRAWS = Resampling(60)
RATIOS = ["lr", "lr_low", "lr_high"]


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_step, "DRAWS", DRAWS)


def make_rows(number: int, seed: int = 0, genes: int = 20, contigs: int = 1) -> list[Row]:
    """Rows with and without a score, a label and a gene; low scores are bad."""
    random = np.random.default_rng(seed)
    rows = []
    for record in range(number):
        kind = random.choice(["bad", "good", "other"], p=[0.3, 0.5, 0.2])
        status = random.choice(["scored", "too_many_n"], p=[0.95, 0.05])
        contig = f"c{random.integers(contigs)}"
        row = make_row(
            record // 2,
            allele=1 + record % 2,
            status=status,
            contig=contig,
            reference_contig=contig,
            pos=int(random.integers(1, 5_000)),
            kind=None if kind == "other" else str(kind),
            gene=f"g{random.integers(genes)}" if genes and random.random() < 0.9 else None,
        )
        if status == "scored":
            llr = float(random.normal() - 2 * (kind == "bad"))
            row |= {"llr": llr, "llr_aligned": llr if random.random() < 0.9 else None}
        rows.append(row)
    return rows


def write_scores(path: Path, rows: Sequence[Row], fields: Sequence[CarryField]) -> Path:
    schema = make_schema(FINAL_COLUMNS, [*fields])
    metadata = Provenance(SIGNED, "0.1.0", "evo2-mini", "input").metadata()
    with write_table(path, schema, metadata=metadata) as writer:
        writer.write_columns(columns(rows, schema.names))
    return path


def fit(
    folder: Path, table: Path, background: Path | None = None, **changes: Any
) -> FitCalibrationSettings:
    settings = replace(FIT, background=None if background is None else "b", **changes)
    fit_calibration(
        settings, scoring="s", background=background, labelled=table, out_folder=folder / "ev"
    )
    return settings


def apply(folder: Path, table: Path, settings: FitCalibrationSettings, name: str) -> pd.DataFrame:
    reference = ReferenceSettings("r", folder / "g.fa", (), {}, None, folder)
    source = CalibrationSource("ev", "s", fit=settings, file=None)
    calibrate(
        CalibrateSettings(name, "s", (source,), reference),
        calibrations={"ev": folder / "ev" / "calibration.parquet"},
        table=table,
        out=folder / "calibrated.parquet",
    )
    return read(folder / "calibrated.parquet")


def read(path: Path) -> pd.DataFrame:
    frame = pq.read_table(path).to_pandas()
    texts = frame.columns[frame.dtypes == "category"]
    frame = frame.astype(dict.fromkeys(texts, object))
    if "lr_high" in frame:  # an infinite ratio is null
        assert not np.isinf(frame[RATIOS]).to_numpy().any()
        is_ratio = np.ones(len(frame), dtype=bool)
        if "lr_reason" in frame:
            assert frame.lr_reason.eq("unbounded").equals(frame.lr.isna() & frame.evidence.notna())
            is_ratio = frame.evidence.notna()
            frame.lr_reason = frame.lr_reason.where(~is_ratio, None)
        frame.loc[is_ratio, RATIOS] = frame.loc[is_ratio, RATIOS].fillna(np.inf)
    return frame


def points(low: float, high: float) -> int:
    """The points by the rule, one row at a time."""
    for k in (8, 4, 3, 2, 1):
        if low >= 350 ** (k / 8):
            return k
        if high <= 350 ** (-k / 8):
            return -k
    return 0


def look_up(score: float, ratios: pd.DataFrame) -> tuple[float, float, float]:
    """The numbers of a score by the documented rule, one row at a time."""
    scores = ratios.score.to_numpy()
    below = max((place for place in range(len(scores)) if scores[place] <= score), default=0)
    above = min(
        (place for place in range(len(scores)) if scores[place] >= score), default=len(scores) - 1
    )
    if below == 0 and scores[0] > score:
        above = 0
    if above == len(scores) - 1 and scores[-1] < score:
        below = above
    is_above = scores[above] - score < score - scores[below]
    return (
        ratios.lr.iloc[above if is_above else below],
        ratios.lr_low.iloc[[below, above]].min(),
        ratios.lr_high.iloc[[below, above]].max(),
    )


@pytest.mark.parametrize("with_background", [False, True])
def test_own_rows_have_the_numbers_of_other_folds(tmp_path: Path, with_background: bool) -> None:
    rows = make_rows(700)
    table = write_scores(tmp_path / "v.parquet", rows, [GENE, LABEL])
    background = write_scores(tmp_path / "b.parquet", make_rows(900, 5), [GENE, LABEL])
    settings = fit(tmp_path, table, background if with_background else None)
    found = apply(tmp_path, table, settings, "v")
    folds = read(tmp_path / "ev" / "folds.parquet")
    ratios = read(tmp_path / "ev" / "ratios.parquet")
    scores = read(table)
    labelled = scores[scores.kind.notna()]
    assert folds[["record", "allele"]].to_numpy().tolist() == (
        labelled[["record", "allele"]].to_numpy().tolist()
    )
    assert folds.fold.isna().to_numpy().tolist() == labelled.llr.isna().to_numpy().tolist()
    genes = labelled.gene.fillna("").to_numpy()
    for gene in set(genes):  # also the rows without a gene, of one contig
        assert folds.fold[genes == gene].nunique() == 1
    assert folds.fold.nunique() == 10
    fold_of = {(one.record, one.allele): one.fold for one in folds.itertuples()}
    for score, row in zip(scores.itertuples(), found.itertuples(), strict=True):
        if math.isnan(score.llr):
            assert pd.isna(row.lr_reason)
            assert math.isnan(row.lr)
            continue
        fold = fold_of.get((score.record, score.allele))
        own = ratios[ratios.fold.isna() if fold is None else ratios.fold == fold]
        assert (row.lr, row.lr_low, row.lr_high) == look_up(score.llr, own)
        assert row.evidence == points(row.lr_low, row.lr_high)
    assert found.evidence.nunique() > 3


def test_ratios_of_a_fold_are_those_of_the_other_rows(tmp_path: Path) -> None:
    table = write_scores(tmp_path / "v.parquet", make_rows(600), [GENE, LABEL])
    fit(tmp_path, table)
    ratios = read(tmp_path / "ev" / "ratios.parquet")
    folds = read(tmp_path / "ev" / "folds.parquet")
    scores = read(table)
    labelled = scores[scores.kind.notna()].reset_index(drop=True)
    for fold in (0, 7):
        used = labelled[(folds.fold != fold) & labelled.llr.notna()]
        alone = evidence.fit_evidence(
            (used.kind == "bad").to_numpy(),
            used.llr.to_numpy(),
            used.groupby(["contig", "pos"]).ngroup().to_numpy(),
            harmful="low",
            prior=0.1,
            draws=DRAWS,
        )
        assert alone.ratios is not None
        expected = ratios[ratios.fold == fold]
        np.testing.assert_array_equal(expected.score, alone.ratios.scores)
        np.testing.assert_array_equal(expected.lr_low, alone.ratios.lr_low)


def test_the_same_set_in_a_later_run_has_the_numbers_of_other_folds(tmp_path: Path) -> None:
    """With other carried columns, sorted by position, and with other unlabelled rows."""
    rows = make_rows(600)
    rows.append(make_row(900, allele=0, status="invalid_record", pos=None, gene=None, kind=None))
    settings = fit(tmp_path, write_scores(tmp_path / "v.parquet", rows, [GENE, LABEL]))
    expected = apply(tmp_path, tmp_path / "v.parquet", settings, "v")
    later = sorted(rows[:-1], key=lambda row: (row["contig"], row["pos"], row["record"]))
    later = [row | {"kind": None} for row in [*later, rows[-1], make_row(901, gene=None)]]
    table = write_scores(tmp_path / "w.parquet", later, [LABEL])
    found = apply(tmp_path, table, settings, "w")
    keys = ["record", "allele"]
    both = found.merge(expected, on=keys, suffixes=("", "_expected"))
    assert len(both) == len(rows)
    for name in (*RATIOS, "evidence", "lr_reason"):
        pd.testing.assert_series_equal(both[name], both[f"{name}_expected"], check_names=False)
    stated = json.loads(
        pq.read_metadata(tmp_path / "calibrated.parquet").metadata[b"evo2_tasks.calibrations"]
    )
    assert stated["ev"]["labelled"] == fit_step.SourceFiles().add(table)


@pytest.mark.parametrize(
    "change", [{"alt": "GA"}, {"pos": 5_001}, {"contig": "d"}, {"record": 999}]
)
def test_a_set_that_lacks_a_labelled_allele_is_another_set(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    rows = make_rows(400)
    settings = fit(tmp_path, write_scores(tmp_path / "v.parquet", rows, [GENE, LABEL]))
    place = next(place for place, row in enumerate(rows) if row["kind"] and row["llr"] is not None)
    rows[place] |= change
    table = write_scores(tmp_path / "w.parquet", rows, [GENE, LABEL])
    found = apply(tmp_path, table, settings, "w")
    ratios = read(tmp_path / "ev" / "ratios.parquet")
    everything = ratios[ratios.fold.isna()]
    for score, row in zip(read(table).itertuples(), found.itertuples(), strict=True):
        if not math.isnan(score.llr):
            assert (row.lr, row.lr_low, row.lr_high) == look_up(score.llr, everything)


def test_another_set_has_the_numbers_of_all_labelled_rows(tmp_path: Path) -> None:
    """Its records have the same numbers as labelled rows, but they are other rows."""
    table = write_scores(tmp_path / "v.parquet", make_rows(600), [GENE, LABEL])
    other = write_scores(tmp_path / "w.parquet", make_rows(300, 9), [GENE, LABEL])
    settings = fit(tmp_path, table)
    found = apply(tmp_path, other, settings, "w")
    ratios = read(tmp_path / "ev" / "ratios.parquet")
    everything = ratios[ratios.fold.isna()]
    for score, row in zip(read(other).itertuples(), found.itertuples(), strict=True):
        if not math.isnan(score.llr):
            assert (row.lr, row.lr_low, row.lr_high) == look_up(score.llr, everything)


def replace_ratios(folder: Path, ratios: pa.Table) -> None:
    """Put other likelihood ratios into a calibration, which then states them."""
    written = pq.read_schema(folder / "ratios.parquet").metadata
    pq.write_table(ratios.replace_schema_metadata(written), folder / "ratios.parquet")
    file = folder / "calibration.parquet"
    strengths = pq.read_table(file)
    metadata = dict(strengths.schema.metadata)
    inputs = json.loads(metadata[f"{PREFIX}inputs".encode()])
    inputs["ratios.parquet"] = digest_file(folder / "ratios.parquet")
    metadata[f"{PREFIX}inputs".encode()] = json.dumps(inputs).encode()
    pq.write_table(strengths.replace_schema_metadata(metadata), file)


def test_columns_of_another_version(tmp_path: Path) -> None:
    """Other columns may be null: it is the same calibration. Another type: it is one line."""
    table = write_scores(tmp_path / "v.parquet", make_rows(300), [GENE, LABEL])
    settings = fit(tmp_path, table)
    expected = apply(tmp_path, table, settings, "v")
    ratios = pq.read_table(tmp_path / "ev" / "ratios.parquet")
    for nullable in (True, False):
        schema = pa.schema([
            field.with_nullable(nullable or ratios[field.name].null_count > 0)
            for field in ratios.schema
        ])  # fmt: skip
        replace_ratios(tmp_path / "ev", pa.Table.from_arrays(ratios.columns, schema=schema))
        pd.testing.assert_frame_equal(apply(tmp_path, table, settings, "v"), expected)
    (tmp_path / "calibrated.parquet").unlink()
    narrow = ratios.set_column(2, "lr", ratios["lr"].cast(pa.float32()))
    replace_ratios(tmp_path / "ev", narrow)
    message = (
        r"ratios\.parquet: the column lr has the type float, expected double\. Another version"
    )
    with pytest.raises(InputError, match=message):
        apply(tmp_path, table, settings, "v")
    assert not (tmp_path / "calibrated.parquet").exists()


def test_a_scored_row_without_the_score_has_a_reason(tmp_path: Path) -> None:
    table = write_scores(tmp_path / "v.parquet", make_rows(600), [GENE, LABEL])
    found = apply(tmp_path, table, fit(tmp_path, table, score="llr_aligned"), "v")
    scores = read(table)
    is_without = (scores.status == "scored") & scores.llr_aligned.isna()
    assert is_without.any()
    assert set(found.lr_reason[is_without]) == {"no_score"}
    assert found.lr_reason[~is_without].isna().all()
    assert found.lr.notna().equals(scores.llr_aligned.notna())
    assert found.evidence.notna().equals(found.lr.notna())


@pytest.mark.parametrize(
    ("rows", "reason", "own"),
    [
        (make_rows(60), "too_few_labels", None),
        (make_rows(600, genes=3), None, "too_few_folds"),
        (make_rows(600, genes=0, contigs=6), None, None),
        (make_rows(600, genes=0), None, None),
        (make_rows(140, genes=20), None, "too_few_labels_in_other_folds"),
    ],
    ids=["few", "three genes", "contigs", "blocks", "few elsewhere"],
)
def test_reasons(tmp_path: Path, rows: list[Row], reason: str | None, own: str | None) -> None:
    if own == "too_few_labels_in_other_folds":
        labelled = [row for row in rows if row["kind"] is not None and row["llr"] is not None]
        rows = [*labelled[:104], *(row for row in rows if row["kind"] is None)]
    table = write_scores(tmp_path / "v.parquet", rows, [GENE, LABEL])
    settings = fit(tmp_path, table)
    found = apply(tmp_path, table, settings, "v")
    scores = read(table)
    is_scored = scores.status == "scored"
    is_own = scores.kind.notna()
    assert set(found.lr_reason[is_scored & is_own].fillna("")) == {own or reason or ""}
    assert set(found.lr_reason[is_scored & ~is_own].fillna("")) == {reason or ""}
    assert found.lr.isna().equals(found.lr_reason.notna() | ~is_scored)
    strengths = read(tmp_path / "ev" / "calibration.parquet")
    assert len(strengths) == 8
    assert strengths.reached.equals(strengths.reason.isna())
    assert strengths.bound.notna().equals(strengths.reached)
    if reason:
        assert set(strengths.reason) == {f"{is_scored[is_own].sum()} labelled rows have a score; "
                                         "at least 100 are needed"}  # fmt: skip


def test_statement(tmp_path: Path) -> None:
    rows = make_rows(600, genes=0)
    table = write_scores(tmp_path / "v.parquet", rows, [GENE, LABEL])
    fit(tmp_path, table, prior=0.0441)
    metadata = pq.read_schema(tmp_path / "ev" / "calibration.parquet").metadata
    stated = json.loads(metadata[b"evo2_tasks.calibration"])
    scored = [row for row in rows if row["llr"] is not None]
    assert stated["num_positive"] == sum(row["kind"] == "bad" for row in scored)
    assert stated["num_negative"] == sum(row["kind"] == "good" for row in scored)
    expected = {
        "label": "kind", "definition": "positive: bad; negative: good", "prior": 0.0441,
        "c": 1124, "draws": 60, "seed": 0, "folds": 10, "fold_kind": "block",
    }  # fmt: skip
    assert {key: stated[key] for key in expected} == expected


def test_order_of_rows_and_reruns_do_not_matter(tmp_path: Path) -> None:
    rows = make_rows(500)
    first = write_scores(tmp_path / "v.parquet", rows, [GENE, LABEL])
    fit(tmp_path, first)
    shutil.move(tmp_path / "ev", tmp_path / "before")
    fit(tmp_path, first)
    for path in (tmp_path / "before").iterdir():
        assert path.read_bytes() == (tmp_path / "ev" / path.name).read_bytes()
    shuffled = [rows[place] for place in np.random.default_rng(3).permutation(len(rows))]
    fit(tmp_path, write_scores(tmp_path / "w.parquet", shuffled, [GENE, LABEL]))
    for name in ("calibration.parquet", "ratios.parquet"):
        pd.testing.assert_frame_equal(
            read(tmp_path / "ev" / name), read(tmp_path / "before" / name)
        )
    keys = ["record", "allele"]
    pd.testing.assert_frame_equal(
        read(tmp_path / "ev" / "folds.parquet").sort_values(keys, ignore_index=True),
        read(tmp_path / "before" / "folds.parquet").sort_values(keys, ignore_index=True),
    )


def test_a_circle_has_a_gap_around_its_origin(tmp_path: Path) -> None:
    """Blocks at both ends of a circular contig are neighbours."""
    (tmp_path / "g.fa").write_text(f">c0\n{'A' * 5_000}\n")
    rows = make_rows(900, genes=0)
    table = write_scores(tmp_path / "v.parquet", rows, [GENE, LABEL])
    circle = ReferenceSettings("r", tmp_path / "g.fa", ("c0",), {}, None, tmp_path)
    kept = {}
    for name, reference in (("linear", None), ("circle", circle)):
        fit(tmp_path, table, reference=reference)
        ratios = read(tmp_path / "ev" / "ratios.parquet")
        kept[name] = {fold: set(ratios.score[ratios.fold == fold]) for fold in (0, 4)}
    near = {row["llr"] for row in rows if row["kind"] and row["pos"] > 5_000 - 60} - {None}
    assert near & kept["linear"][0]
    assert not near & kept["circle"][0]
    assert kept["linear"][4] == kept["circle"][4]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "good"}, "0 positive rows have a score; at least 10 are needed"),
        ({"kind": "bad"}, "0 negative rows have a score; at least 10 are needed"),
        ({"kind": None}, "0 labelled rows have a score; at least 100 are needed"),
        (
            {"status": "too_many_n", "llr": None, "llr_aligned": None},
            "0 labelled rows have a score; at least 100 are needed",
        ),
    ],
    ids=["all good", "all bad", "no label", "no score"],
)
def test_one_kind_or_none(tmp_path: Path, change: Row, reason: str) -> None:
    rows = [row | change for row in make_rows(200)]
    table = write_scores(tmp_path / "v.parquet", rows, [GENE, LABEL])
    settings = fit(tmp_path, table)
    assert set(read(tmp_path / "ev" / "calibration.parquet").reason) == {reason}
    assert read(tmp_path / "ev" / "ratios.parquet").empty
    found = apply(tmp_path, table, settings, "v")
    assert len(found) == 200
    assert found[["lr", "lr_low", "lr_high", "evidence"]].isna().all(axis=None)
    is_scored = read(table).status == "scored"
    assert set(found.lr_reason[is_scored]) <= {"too_few_labels"}
    assert found.lr_reason.notna().equals(is_scored)


def test_constant_scores_are_no_evidence(tmp_path: Path) -> None:
    rows = [row | ({} if row["llr"] is None else {"llr": -3.0}) for row in make_rows(300)]
    table = write_scores(tmp_path / "v.parquet", rows, [GENE, LABEL])
    found = apply(tmp_path, table, fit(tmp_path, table), "v")
    assert set(found.evidence.dropna()) == {0}
    assert set(found.lr.dropna()) == {1.0}
