"""The steps ``fit_probe`` and ``apply_probe``: what they write, and what they refuse."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evo2_tasks.config.evaluation import resolve_evaluate
from evo2_tasks.cost.probes import find_layers
from evo2_tasks.errors import InputError
from evo2_tasks.layout import applied_file, layer_file
from evo2_tasks.steps import evaluate as evaluate_step
from tests.evaluation.build import few_draws
from tests.steps.probe_sets import (
    LABELS,
    LAYER,
    PROBE,
    Made,
    Results,
    make_results,
    make_set,
    write_embeddings,
)

PROBES = {"p": PROBE, "number": PROBE | {"label": "NUMBER"}, "alone": PROBE | {"features": ["llr"]}}


@pytest.fixture(scope="module")
def made() -> Made:
    return make_set()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, made: Made) -> Results:
    """A set with a trained probe."""
    results = make_results(tmp_path_factory.mktemp("probe"))
    results.add("v", made, **LABELS, probes=PROBES)
    results.fit()
    return results


@pytest.fixture
def copied(fitted: Results, tmp_path: Path) -> Results:
    """A copy that a test may change."""
    shutil.copytree(fitted.folder, tmp_path / "copy")
    return Results(tmp_path / "copy", dict(fitted.sets))


def folder_of(results: Results, probe: str = "p", layer: str = LAYER) -> Path:
    return results.scoring("v") / "probes" / probe / layer


def predictions_of(results: Results, probe: str = "p", layer: str = LAYER) -> pd.DataFrame:
    return pd.read_parquet(folder_of(results, probe, layer) / "predictions.parquet")


def features_of(made: Made) -> np.ndarray[Any, Any]:
    llr = np.array(made.columns["llr"], dtype=np.float32)
    found = np.concatenate([made.ref, made.delta, llr[:, None]], axis=1)
    found[~made.has_embedding] = np.nan
    return found


# --- fit_probe


def test_each_row_of_the_table_has_a_prediction_of_a_model_that_has_not_seen_it(
    fitted: Results, made: Made
) -> None:
    """The oracle: scikit-learn's own pipeline, on the rows whose windows are not in the fold."""
    found = predictions_of(fitted)
    stated = json.loads((folder_of(fitted) / "probe.json").read_text())
    assert found[["record", "allele"]].equals(
        pd.DataFrame({key: made.columns[key] for key in ("record", "allele")}).astype(
            found[["record", "allele"]].dtypes
        )
    )
    features = features_of(made)
    kind = np.array(made.columns["KIND"], dtype=object)
    has_features = np.isfinite(features).all(axis=1)
    is_trained = has_features & (kind != None)  # noqa: E711 - elements of an array
    fold = found["fold"].to_numpy(dtype=float)
    assert np.array_equal(np.isfinite(fold), is_trained)
    assert np.array_equal(found["score"].notna(), has_features)
    assert stated["num_rows"] == is_trained.sum()
    target = kind == "bad"

    def fit(rows: np.ndarray[Any, Any], penalty: float) -> Any:
        logistic = LogisticRegression(C=1 / penalty, max_iter=10_000, tol=1e-9)
        model = make_pipeline(StandardScaler(), logistic)
        return model.fit(features[rows].astype(float), target[rows])

    def log_odds(rows: np.ndarray[Any, Any]) -> float:
        return float(np.log(target[rows].sum() / (~target[rows]).sum()))

    for number, penalty in enumerate(stated["penalties"]):
        outside = is_trained & (fold != number)  # positions are further apart than a window
        inside = fold == number
        expected = fit(outside, penalty).decision_function(features[inside].astype(float))
        # As if each fold had been trained on the same share of positive rows.
        expected += log_odds(is_trained) - log_odds(outside)
        assert np.allclose(found["score"][inside], expected, atol=0.02)
    model = fit(is_trained, stated["final_penalty"])
    others = has_features & ~is_trained
    assert others.sum() > 20
    expected = model.decision_function(features[others].astype(float))
    assert np.allclose(found["score"][others], expected, atol=0.02)


def test_a_planted_signal_is_found_and_shuffled_labels_are_at_chance(fitted: Results) -> None:
    stated = json.loads((folder_of(fitted) / "probe.json").read_text())
    auroc = next(one for one in stated["metrics"] if one["metric"] == "auroc")
    assert auroc["low"] > 0.8
    control = stated["control"]["overall"]
    assert control["low"] - 0.05 < 0.5 < control["high"] + 0.05


def test_the_order_of_a_sorted_table_is_joined_by_key(
    tmp_path: Path, fitted: Results, made: Made
) -> None:
    """The embeddings are in the order of the input, the table in another one."""
    order = np.random.default_rng(3).permutation(len(made.ref))
    columns = {name: [values[i] for i in order] for name, values in made.columns.items()}
    results = make_results(tmp_path)
    again = Made(columns, made.ref[order], made.delta[order], made.has_embedding[order])
    results.add("v", again, **LABELS, probes={"p": PROBE})
    results.fit()
    one = predictions_of(results)
    assert one["record"].tolist() == order.tolist()
    other = predictions_of(fitted).set_index("record").loc[order].reset_index()
    assert one["score"].isna().equals(other["score"].isna())
    assert np.allclose(one["score"], other["score"], atol=1e-6, equal_nan=True)


def test_a_label_of_numbers_is_predicted_with_its_harmful_end_up(
    fitted: Results, made: Made
) -> None:
    fitted.fit(probe="number")
    found = predictions_of(fitted, "number")
    rho = found["score"].corr(pd.Series(made.columns["NUMBER"]), method="spearman")
    assert rho < -0.7  # low numbers are harmful, high predictions are harmful
    # Each row has a number, so each with features is a training row.
    assert found["fold"].notna().equals(found["score"].notna())


def test_a_probe_on_llr_alone_needs_no_embeddings(fitted: Results, made: Made) -> None:
    fitted.fit(probe="alone", layer=None)
    found = predictions_of(fitted, "alone", "llr")
    llr = pd.Series(made.columns["llr"], dtype=float)
    assert found["score"].notna().equals(llr.notna())
    within = found.groupby("fold").apply(lambda fold: fold["score"].corr(llr[fold.index]))
    assert np.allclose(within, -1)  # a line, falling: low llr is harmful


def test_the_same_inputs_give_the_same_bytes(copied: Results, fitted: Results) -> None:
    """Also at another place, so no path and no time is in the files."""
    copied.fit()
    for name in ("probe.safetensors", "predictions.parquet", "probe.json"):
        one, other = (folder_of(results) / name for results in (copied, fitted))
        assert one.read_bytes() == other.read_bytes(), name


def swap_table(results: Results) -> None:
    """A table that is not the one of run.json."""
    table = results.scoring("v") / "scores.parquet"
    rows = pq.read_table(table)
    pq.write_table(rows.slice(1).replace_schema_metadata(rows.schema.metadata), table)


def rewrite(**changes: Any) -> Callable[[Results], None]:
    def change(results: Results) -> None:
        write_embeddings(results.scoring("v") / layer_file(LAYER), make_set(), **changes)

    return change


def fewer_embeddings(results: Results) -> None:
    write_embeddings(results.scoring("v") / layer_file(LAYER), make_set(), order=range(300))


def other_embeddings(results: Results) -> None:
    other = make_set()
    other.columns["record"] = [one + 7 for one in other.columns["record"]]
    write_embeddings(results.scoring("v") / layer_file(LAYER), other)


def no_embeddings(results: Results) -> None:
    (results.scoring("v") / layer_file(LAYER)).write_bytes(b"PAR1 this is no table PAR1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (swap_table, "run.json was made from another table than"),
        (rewrite(weights_digest="2" * 64), "differ in weights"),
        (rewrite(layer="norm"), "has the layer norm, expected blocks.1"),
        (fewer_embeddings, "they are of 300 of 400 alleles"),
        (other_embeddings, "record 400, allele 1 has no score"),
        (no_embeddings, "blocks.1.parquet"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    copied: Results, change: Callable[[Results], None], words: str
) -> None:
    shutil.rmtree(copied.scoring("v") / "probes")
    change(copied)
    with pytest.raises(InputError, match=words) as error:
        copied.fit()
    assert "\n" not in str(error.value)
    assert not (folder_of(copied) / "probe.json").exists()


def test_labels_that_cannot_train_a_probe_are_one_line(tmp_path: Path, made: Made) -> None:
    results = make_results(tmp_path)
    none = {"KIND": {"positive": ["no such value"], "negative": ["good"]}}
    results.add("v", made, labels=none, probes={"p": PROBE})
    with pytest.raises(InputError, match="KIND") as error:
        results.fit()
    assert "\n" not in str(error.value)
    unscored = make_set()
    for name in ("llr", "llr_fwd", "llr_rev"):
        unscored.columns[name] = [None] * len(unscored.ref)
    unscored.columns["status"] = ["ref_mismatch"] * len(unscored.ref)
    results.add("w", unscored, **LABELS, probes={"p": PROBE})
    with pytest.raises(InputError, match="has a score"):
        results.fit("w")


# --- apply_probe


def apply_to(fitted: Results, tmp_path: Path, other: Made, **keys: Any) -> Results:
    shutil.copytree(fitted.folder, tmp_path / "applied")
    results = Results(tmp_path / "applied", dict(fitted.sets))
    probe = {"probe": str(results.folder / "results/v/{scoring}/probes/p" / LAYER)}
    results.add("w", other, **({**LABELS} | keys), probes={"p": probe})
    return results


def test_a_probe_is_applied_and_its_own_alleles_are_marked(
    fitted: Results, tmp_path: Path, made: Made
) -> None:
    """Half of the alleles are those of the training set, under other numbers."""
    other = make_set(seed=9)
    for name, values in other.columns.items():
        values[:100] = made.columns[name][:100] if name != "record" else values[:100]
    other.ref[:100], other.delta[:100] = made.ref[:100], made.delta[:100]
    other.has_embedding[:100] = made.has_embedding[:100]
    # The others are other alleles at the same positions.
    other.columns["alt"][100:] = ["C"] * (len(other.ref) - 100)
    results = apply_to(fitted, tmp_path, other)
    found = pd.read_parquet(results.apply(folder_of(results), "w"))
    trained = predictions_of(fitted)["fold"].notna().to_numpy()
    is_scored = np.array(other.columns["llr"], dtype=float)
    expected = np.zeros(len(found), dtype=bool)
    expected[:100] = trained[:100]
    assert found["in_training"].tolist() == expected.tolist()
    assert found["score"].notna().tolist() == other.has_embedding.tolist()
    bad = np.array(other.columns["KIND"], dtype=object) == "bad"
    new = found["score"].notna() & ~found["in_training"] & (np.arange(len(found)) < 360)
    assert roc_auc_score(bad[new], found["score"][new]) > 0.8
    assert len(is_scored) == len(found)


def test_the_same_set_predicted_again_is_all_training(fitted: Results, tmp_path: Path) -> None:
    results = apply_to(fitted, tmp_path, make_set())
    found = pd.read_parquet(results.apply(folder_of(results), "w"))
    one = predictions_of(fitted)
    assert found["in_training"].equals(one["fold"].notna())
    others = ~found["in_training"] & found["score"].notna()
    assert np.array_equal(found["score"][others], one["score"][others])
    assert not np.allclose(found["score"][found["in_training"]], one["score"][one["fold"].notna()])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights_digest": "2" * 64}, "differ in weights"),
        ({"tokens": 16}, "was trained on means of 8 tokens with 6 numbers"),
        ({"layer": "norm"}, "was trained on the layer blocks.1, and the scoring has .*norm"),
    ],
)
def test_another_signature_layer_or_tokens_is_refused(
    fitted: Results, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    results = apply_to(fitted, tmp_path, make_set(seed=2))
    write_embeddings(results.scoring("w") / layer_file(LAYER), make_set(seed=2), **changes)
    with pytest.raises(InputError, match=words) as error:
        results.apply(folder_of(results), "w")
    assert "\n" not in str(error.value)
    assert not applied_file(results.scoring("w"), "p").exists()


@pytest.mark.parametrize("name", ["probe.json", "probe.safetensors"])
def test_a_damaged_probe_is_refused(fitted: Results, tmp_path: Path, name: str) -> None:
    results = apply_to(fitted, tmp_path, make_set(seed=2))
    file = folder_of(results) / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data) if name != "probe.json" else bytes(data[:-9]))
    with pytest.raises(InputError, match=name) as error:
        results.apply(folder_of(results), "w")
    assert "\n" not in str(error.value)


# --- evaluate


def evaluate(results: Results, name: str) -> pd.DataFrame:
    config = results.load()
    folder = results.scoring(name)
    with few_draws():
        evaluate_step.evaluate(
            resolve_evaluate(config, name, find_layers(config)),
            table=folder / "scores.parquet",
            out=folder / "metrics.parquet",
            curves_file=folder / "curves.parquet",
        )
    return pd.read_parquet(folder / "metrics.parquet")


def choose(metrics: pd.DataFrame, **values: Any) -> pd.DataFrame:
    for name, value in values.items():
        column = metrics[name]
        metrics = metrics[column.isna() if value is None else column == value]
    return metrics


def test_out_of_fold_predictions_are_a_score_of_the_evaluation(tmp_path: Path, made: Made) -> None:
    results = make_results(tmp_path)
    results.add("v", made, **LABELS, probes=PROBES)
    for name in ("p", "number"):
        results.fit(probe=name)
    results.fit(probe="alone", layer=None)
    metrics = evaluate(results, "v")
    scores = set(metrics["score"])
    assert {f"probe: p ({LAYER})", "probe: alone"} <= scores
    of_kind = choose(metrics, label="KIND", score=f"probe: p ({LAYER})", metric="auroc")
    found = predictions_of(results)
    kind = np.array(made.columns["KIND"], dtype=object)
    place = np.array(made.columns["PLACE"], dtype=object)
    rows = found["fold"].notna().to_numpy()
    # Rows without an embedding lack the score, so it is evaluated on the others, with llr.
    (overall,) = choose(of_kind, subset="with", minus=None)["value"]
    assert overall == pytest.approx(roc_auc_score(kind[rows] == "bad", found["score"][rows]))
    llr = pd.Series(made.columns["llr"], dtype=float)
    (difference,) = choose(of_kind, subset="with", minus="llr")["value"]
    of_llr = roc_auc_score(kind[rows] == "bad", -llr[rows])
    assert difference == pytest.approx(overall - of_llr)
    for column, groups in (("PLACE", place), ("block of positions", found["group"].to_numpy())):
        won = pairs = 0.0
        for group in {*groups[rows]}:
            here = rows & (groups == group)
            one, other = (found["score"][here & (kind == name)] for name in ("bad", "good"))
            won += (one.to_numpy()[:, None] > other.to_numpy()).sum()
            pairs += len(one) * len(other)
        (within,) = choose(of_kind, subset="within", column=column, minus=None)["value"]
        assert within == pytest.approx(won / pairs), column
    # Another probe has other rows, and so other blocks.
    assert "block of positions of alone" in set(metrics["column"])
    # A probe is evaluated with the label that it learnt.
    assert set(choose(metrics, label="NUMBER")["score"]) & scores >= {f"probe: number ({LAYER})"}
    assert not choose(metrics, label="NUMBER", score=f"probe: p ({LAYER})").size
    curves = pd.read_parquet(results.scoring("v") / "curves.parquet")
    assert f"probe: p ({LAYER})" in set(curves["score"])


def test_alleles_that_a_probe_was_trained_on_are_left_out_of_its_metrics(
    fitted: Results, tmp_path: Path, made: Made
) -> None:
    other = make_set(seed=9)
    other.columns["alt"][100:] = ["C"] * (len(other.ref) - 100)
    results = apply_to(fitted, tmp_path, other)
    applied = pd.read_parquet(results.apply(folder_of(results), "w"))
    metrics = choose(evaluate(results, "w"), score=f"probe: p ({LAYER})", metric="auroc")
    kind = np.array(other.columns["KIND"], dtype=object)
    rows = applied["score"].notna() & ~applied["in_training"] & (kind != None)  # noqa: E711
    assert applied["in_training"].sum() > 50
    (row,) = choose(metrics, subset="with", minus=None).to_dict("records")
    assert row["num_rows"] == rows.sum()
    assert row["value"] == pytest.approx(roc_auc_score(kind[rows] == "bad", applied["score"][rows]))


def test_a_set_without_a_probe_has_the_metrics_that_it_had(tmp_path: Path, made: Made) -> None:
    results = make_results(tmp_path)
    results.add("v", made, **LABELS)
    metrics = evaluate(results, "v")
    assert not metrics["score"].str.startswith("probe: ").any()
    assert "block of positions" not in set(metrics["column"])
    stored = pq.read_schema(results.scoring("v") / "metrics.parquet").metadata
    assert b"probes" not in stored[b"evo2_tasks.settings"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda results: shutil.rmtree(folder_of(results)), "predictions.parquet"),
        (
            lambda results: results.sets["v"]["probes"]["p"].update(features=["delta"]),
            "other settings than those of the config: features",
        ),
        (
            lambda results: shutil.copy(
                folder_of(results) / "predictions.parquet",
                results.scoring("v") / "scores.parquet",
            ),
            "scores.parquet",
        ),
    ],
)
def test_stale_predictions_are_not_evaluated(
    copied: Results, change: Callable[[Results], None], words: str
) -> None:
    copied.sets["v"] = {**copied.sets["v"], "probes": {"p": dict(PROBE)}}
    change(copied)
    with pytest.raises(InputError, match=words) as error:
        evaluate(copied, "v")
    assert "\n" not in str(error.value)
