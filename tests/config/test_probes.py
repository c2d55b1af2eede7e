"""The probes of a config: what contradicts itself, and what each step gets."""

import copy
from typing import Any

import pytest

from evo2_tasks.config.evaluation import resolve_evaluate
from evo2_tasks.config.load import load_config
from evo2_tasks.config.probes import probe_file_problems, resolve_apply_probe, resolve_fit_probe
from evo2_tasks.cost.probes import find_layers
from evo2_tasks.errors import InputError
from evo2_tasks.jobs import Jobs, step_inputs, step_settings, targets
from tests import project

PROBE: dict[str, Any] = {"label": "KIND", "folds_by": "position"}
LAYERS = ["blocks.1", "norm"]


def make(probe: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A config whose set `v` trains the probe `p`, and whose set `w` applies one of its layers."""
    config = project.make_config(
        scorings={
            "s": {"model": "m", "window_length": 64, "embeddings": {"layer": LAYERS, "tokens": 8}},
            "plain": {"model": "m", "window_length": 64},
        },
        variant_set={
            "labels": {"KIND": {"positive": ["bad"], "negative": ["good"]}},
            "probes": {"p": PROBE if probe is None else probe},
        },
    )
    other = copy.deepcopy(config["variant_sets"]["v"])
    config["variant_sets"]["w"] = other | {
        "scorings": ["s"],
        "probes": {"q": {"probe": "results/v/{scoring}/probes/p/norm"}},
    }
    config["variant_sets"]["v"] |= changes
    return config


def load(config: dict[str, Any]) -> Any:
    return load_config(config, look_for_files=False)


def test_a_probe_is_trained_with_each_layer_of_the_scorings_that_have_embeddings() -> None:
    config = load(make())
    made = [file for file in targets(config) if "/probes/" in file]
    assert made == [
        "v/s/probes/p/blocks.1/predictions.parquet",
        "v/s/probes/p/norm/predictions.parquet",
        "w/s/probes/q/applied.parquet",
    ]
    inputs = step_inputs(config).probes
    assert inputs.embeddings["v"]["s"]["p"]["norm"] == ["v/s/embeddings/norm.parquet"]
    assert inputs.embeddings["v"]["plain"] == {}
    assert inputs.trained["w"]["s"]["q"] == ["v/s/probes/p/norm/probe.json"]
    assert inputs.trained_file["w"]["s"]["q"] == []
    assert inputs.predictions["v"] == {"s": made[:2], "plain": []}


def test_a_layer_may_be_named_by_its_module() -> None:
    config = load(make(PROBE | {"layer": "model.layers.1"}))
    config.variant_sets["w"].probes.clear()  # type: ignore[attr-defined]
    assert [file for file in targets(config) if "/v/" in f"/{file}" and "/probes/" in file] == [
        "v/s/probes/p/blocks.1/predictions.parquet"
    ]


def test_a_probe_on_llr_alone_is_trained_with_each_scoring() -> None:
    config = make(PROBE | {"features": ["llr"]})
    del config["variant_sets"]["w"]
    assert [file for file in targets(load(config)) if "/probes/" in file] == [
        "v/s/probes/p/llr/predictions.parquet",
        "v/plain/probes/p/llr/predictions.parquet",
    ]


def test_a_probe_of_an_earlier_run_is_two_files() -> None:
    config = make()
    config["variant_sets"]["w"]["probes"]["q"]["probe"] = "earlier/{scoring}/probe.json"
    inputs = step_inputs(load(config)).probes
    assert inputs.trained["w"]["s"]["q"] == []
    assert inputs.trained_file["w"]["s"]["q"] == ["earlier/s/probe.json"]
    assert inputs.weights_file["w"]["s"]["q"] == ["earlier/s/probe.safetensors"]
    ((key, what),) = probe_file_problems(load(config))
    assert key == "variant_sets.w.probes.q.probe"
    assert what.startswith("earlier/s does not exist")


def test_probes_are_among_what_runs_evaluate_again_and_a_set_without_them_is_not_changed() -> None:
    config = load(make())
    layers = find_layers(config)
    assert resolve_evaluate(config, "v", layers).triggers()["probes"] == ["p"]
    plain = make()
    for one in plain["variant_sets"].values():
        del one["probes"]
    settings = resolve_evaluate(load(plain), "v")
    assert "probes" not in settings.triggers()
    assert "probes" not in step_settings(load(plain)).evaluate["v"]


def test_a_job_of_a_probe_has_memory_for_its_features() -> None:
    config = load(make())
    jobs = Jobs(config)
    wildcards: Any = type(
        "W", (), {"variant_set": "v", "scoring": "s", "probe": "p", "layer": "norm"}
    )
    assert jobs.probe_mem_mb(wildcards, 1) > jobs.mem_mb(wildcards, 1)
    assert jobs.probe_mem_mb(wildcards, 2) == 2 * jobs.probe_mem_mb(wildcards, 1)
    assert jobs.probe_runtime(wildcards, 1) >= jobs.runtime(wildcards, 1)


@pytest.mark.parametrize(
    ("probe", "changes", "words"),
    [
        ({}, {}, "probes.p: expected `label` and `folds_by` to train a probe, or `probe`"),
        ({"label": "KIND"}, {}, "probes.p.folds_by: is missing.*gene, contig or position"),
        (PROBE | {"label": "KINDS"}, {}, "has no 'KINDS'; did you mean KIND"),
        (PROBE, {"labels": {}}, "probes.p.label: variant_sets.v has no `labels`"),
        (PROBE | {"folds_by": "gene"}, {}, "`gene` needs a table with the column 'gene'"),
        (PROBE | {"folds_by": "genes"}, {}, "folds_by: .*'gene', 'contig' or 'position'"),
        (PROBE | {"features": []}, {}, "features: expected at least one entry"),
        (PROBE | {"features": ["llr", "llr"]}, {}, "named twice"),
        (PROBE | {"feature": ["llr"]}, {}, "unknown key; did you mean features"),
        (PROBE | {"features": ["alt"]}, {}, "expected 'ref', 'delta' or 'llr'"),
        (PROBE | {"features": ["llr"], "layer": "norm"}, {}, "layer: has no use"),
        (PROBE, {"scorings": ["plain"]}, "`ref` needs embeddings, and no scoring of the set"),
        (PROBE | {"probe": "x"}, {}, "probes.p.label: cannot be combined with `probe`"),
        ({"probe": "x"}, {}, "has 2 scorings; write {scoring}"),
        ({"probe": "s3://b/{scoring}/p"}, {}, "s3://b/{scoring}/p: a URL of a probe has to end"),
        (PROBE, {"baselines": {"probe: p": "high"}}, "mistaken for the score of a probe"),
    ],
)
def test_a_contradiction_is_one_line(
    probe: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    config = make(probe, **changes)
    del config["variant_sets"]["w"]
    with pytest.raises(InputError, match=words) as error:
        load(config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("v", "layer", "blocks.2", "has the layer 'blocks.2' in its `embeddings`; did you mean bl"),
        ("w", "probe", "results/v/s/probes/p/norms", "makes no probe results/v/s/probes/p/norms"),
        ("w", "probe", "results/v/s/probes/x/norm", "did you mean results/v/s/probes/p/norm"),
        ("w", "probe", "results/w/s/probes/q/norm", "makes none of w"),
    ],
)
def test_what_depends_on_the_model_is_refused_before_the_first_job(
    name: str, key: str, value: str, words: str
) -> None:
    config = make()
    if name == "v":
        del config["variant_sets"]["w"]
    config["variant_sets"][name]["probes"] = {"p": (PROBE if name == "v" else {}) | {key: value}}
    loaded = load(config)
    with pytest.raises(InputError, match=words) as error:
        step_inputs(loaded)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"config: variant_sets.{name}.probes.p.{key}: ")


def test_a_set_does_not_apply_its_own_probe() -> None:
    config = make(scorings=["s"])
    own = {"probe": "results/v/{scoring}/probes/p/norm"}
    config["variant_sets"]["v"]["probes"] = {"p": PROBE, "again": own}
    with pytest.raises(InputError, match="is trained on this very set"):
        step_inputs(load(config))


def test_the_commands_say_what_a_probe_is() -> None:
    config = load(make())
    layers = find_layers(config)
    keys: dict[str, Any] = {"variant_set": "v", "scoring": "s", "probe": "p"}
    fit = resolve_fit_probe(config, layers, **keys, layer="norm")
    assert (fit.layer, fit.field, fit.folds_by) == ("norm", "KIND", "position")
    applied = resolve_apply_probe(config, layers, variant_set="w", scoring="s", probe="q")
    assert applied.fit == fit
    for change, layer, words in (
        ({}, "blocks.9", "has the layers blocks.1, norm"),
        ({"probe": "q"}, None, "did you mean|has no 'q'"),
        ({"scoring": "plain"}, None, "is not trained with the scoring 'plain'"),
        ({"variant_set": "w", "probe": "q"}, None, "is not trained with the scoring"),
    ):
        with pytest.raises(InputError, match=words):
            resolve_fit_probe(config, layers, **{**keys, **change}, layer=layer)
    with pytest.raises(InputError, match="is trained on this set, not applied"):
        resolve_apply_probe(config, layers, **keys)
