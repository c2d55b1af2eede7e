"""What the Snakefile takes from a config, tested without Snakemake."""

import json
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_score, resolve_split
from evo2_tasks.config.schema import HaplotypesConfig, LabelConfig, RunConfig
from evo2_tasks.io.digests import digest_file
from evo2_tasks.jobs import (
    LEAST_SCORE_MINUTES,
    SCORE_MINUTES,
    Jobs,
    any_of,
    if_gpu,
    may_need_no_model,
    step_inputs,
    step_settings,
    targets,
    warnings,
)
from evo2_tasks.layout import COMPOUNDS, CURVES, HAPLOTYPES, HAPLOTYPES_RUN, METRICS
from evo2_tasks.readout_jobs import choose_rules, keep_made_settings
from tests import project
from tests.project import write_split

OPERATORS = ["hyena_se", "hyena_mr", "hyena_li", "attention"]


def make_config(**models: dict[str, Any]) -> RunConfig:
    """A config with a scoring for each of these models."""
    config = project.make_config(
        reference={"fasta": "r.fa", "assembly_report": "r.txt"},
        models=models,
        scorings={f"with-{name}": {"model": name} for name in models},
        variant_set={"variants": "v.vcf"},
        output="out",
    )
    return load_config(config, look_for_files=False)


def test_targets_are_a_table_and_its_exports_for_each_scoring_and_a_report_for_each_set() -> None:
    config = make_config(m={"checkpoint": "m"}, n={"checkpoint": "n"})
    tables = ["v/with-m/scores.parquet", "v/with-n/scores.parquet"]
    assert targets(config) == [*tables, "v/report.html"]
    variant_set = config.variant_sets["v"].model_copy(update={"exports": ("tsv", "vcf")})
    config = config.model_copy(update={"variant_sets": {"v": variant_set}})
    assert targets(config)[:4] == [
        "v/with-m/scores.parquet",
        "v/with-m/scores.tsv",
        "v/with-m/scores.vcf.gz",
        "v/with-m/scores.vcf.gz.index",
    ]


def test_columns_run_split_again_only_if_they_are_set() -> None:
    def split_settings(**keys: Any) -> dict[str, Any]:
        config = project.make_config(
            reference={"fasta": "r.fa"},
            models={"m": {"checkpoint": "m"}},
            scorings={"s": {"model": "m"}},
            variant_set={"variants": "v.tsv", **keys},
            output="out",
        )
        settings = step_settings(load_config(config, look_for_files=False)).split["v"]
        return dict(json.loads(settings))

    assert "columns" not in split_settings() | split_settings(columns={})
    assert split_settings(columns={"pos": "p"}) == split_settings() | {"columns": {"pos": "p"}}


def test_a_constraint_matches_the_names_and_nothing_else() -> None:
    pattern = any_of(["a.b", "a", "a+"])
    assert re.fullmatch(pattern, "a.b")
    assert re.fullmatch(pattern, "a+")
    assert not re.fullmatch(pattern, "axb")
    assert not re.match(any_of([]), "")
    assert not re.match(any_of([]), "a")


def test_one_of_two_rules_scores_a_scoring(tmp_path: Path) -> None:
    config = make_config(m={"checkpoint": "m"}, n={"checkpoint": "n"})
    inputs = step_inputs(with_audit(config, "with-n", 0.01))
    rules = choose_rules(with_audit(config, "with-n", 0.01), tmp_path)
    assert re.match(rules.score, "v/with-m/scores/1-of-2.parquet")
    assert not re.match(rules.score, "v/with-n/scores/1-of-2.parquet")
    assert re.match(rules.score_readouts, "v/with-n/scores/1-of-2.parquet")
    assert not re.match(rules.score_readouts, "v/with-m/scores/1-of-2.parquet")
    assert inputs.audited["v"] == {"with-m": [], "with-n": ["v/with-n/audit"]}
    files = ["v/with-n/audit.parquet", "v/with-n/audit.json"]
    assert inputs.audit["v"] == {"with-m": [], "with-n": files}
    assert [file for file in inputs.report["v"] if "audit" in file] == files


def test_the_rule_that_has_made_a_shard_remains_its_rule(tmp_path: Path) -> None:
    """Of twelve shards: 1 and 12 by ``score``, 2 with its read-outs, 3 with other settings."""
    keys = {"model": "m", "window_length": 64}
    plain, embedded = (
        load_config(
            project.make_config(scorings={"s": keys | more}, shards=12), look_for_files=False
        )
        for more in ({}, {"embeddings": {"layer": "norm", "tokens": 8}})
    )
    settings = resolve_score(plain, "s").triggers()
    for shard, stated in {
        1: {"settings": settings},
        12: {"settings": settings},
        2: {"settings": settings, "step": "score_readouts"},
        3: {"settings": settings | {"window_length": 128}},
        4: {"settings": settings | {"window_length": 128}, "step": "score_readouts"},
    }.items():
        file = tmp_path / "v" / "s" / "scores" / f"{shard}-of-12.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        work = {"windows_run": 0, "tokens_run": 0, "wall_s": 0}
        file.write_text(json.dumps(work | {"statements": {"scores": "0" * 64} | stated}))
    for config, by_score in ((plain, {1, 3, 4, *range(5, 13)}), (embedded, {1, 12})):
        rules = choose_rules(config, tmp_path)
        for shard in range(1, 13):
            for file in (f"scores/{shard}-of-12.parquet", f"readouts/{shard}-of-12"):
                is_plain = shard in by_score
                assert bool(re.match(rules.score, f"v/s/{file}")) == is_plain, (shard, file)
                assert bool(re.match(rules.add_readouts, f"v/s/{file}")) == is_plain
                assert bool(re.match(rules.score_readouts, f"v/s/{file}")) != is_plain
                assert not re.match(rules.score, f"v/t/{file}")


@pytest.mark.parametrize(
    ("change", "starts"),
    [
        ({}, False),
        ({"embeddings": None, "profile": None}, False),
        ({"embeddings": {"layer": "norm", "tokens": 8}}, False),
        ({"embeddings": {"layer": "model.layers.1", "tokens": 8, "dtype": "int8"}}, False),
        ({"profile": 3}, False),
        ({"profile": 5}, True),
        ({"embeddings": {"layer": "norm", "tokens": 7}}, True),
        ({"embeddings": {"layer": ["norm", "blocks.2"], "tokens": 8}}, True),
        ({"embeddings": {"layer": "norm", "tokens": 8, "keep_strands": True}}, True),
        ({"window_length": 128}, True),
    ],
)
def test_read_outs_that_are_not_asked_for_any_more_start_nothing(
    tmp_path: Path, change: dict[str, Any], starts: bool
) -> None:
    def settings_of(more: dict[str, Any], results: Path) -> str:
        keys = {
            "model": "m",
            "window_length": 64,
            "embeddings": {"layer": ["blocks.1", "norm"], "tokens": 8},
            "profile": 4,
        }
        scoring = {key: value for key, value in (keys | more).items() if value is not None}
        config = project.make_config(scorings={"s": scoring})
        loaded = load_config(config, look_for_files=False)
        return keep_made_settings(loaded, results, "v", "s", "1-of-1")

    made = settings_of({}, tmp_path)
    file = tmp_path / "v" / "s" / "readouts" / "1-of-1" / "readouts.json"
    file.parent.mkdir(parents=True)
    work = {"windows_run": 0, "tokens_run": 0, "wall_s": 0}
    file.write_text(json.dumps(work | {"made": {"settings": json.loads(made), "files": {}}}))
    assert (settings_of(change, tmp_path) != made) == starts


def with_audit(config: RunConfig, scoring: str, share: float) -> RunConfig:
    """The config with an audit of a scoring, and with a horizon of all scorings."""
    update = {"horizon": 64}
    scorings = {name: one.model_copy(update=update) for name, one in config.scorings.items()}
    scorings[scoring] = scorings[scoring].model_copy(update={"audit": share})
    return config.model_copy(update={"scorings": scorings})


KIND = {"positive": ["bad"], "negative": ["good"]}
CALIBRATION = ["calibration", "background", "ratios", "folds"]


def calibrated_config() -> RunConfig:
    """A set with labels and calibrations, a background, and a table of both scorings."""
    config = project.make_config(
        reference={"fasta": "r.fa"},
        models={"m": {"checkpoint": "m"}},
        scorings={"s": {"model": "m"}, "t": {"model": "m", "window_length": 128}},
        variant_set={
            "variants": "v.vcf",
            "labels": {"KIND": KIND},
            "calibrations": ["random", "kind", "far", "old"],
            "exports": ["tsv"],
        },
        output="out",
    )
    config["variant_sets"]["b"] = {
        "random_snvs": {"number": 5},
        "reference": "g",
        "scorings": ["s", "t"],
    }
    config["calibrations"] = {
        "random": {"background": "b", "by": ["trinucleotide"]},
        "kind": {"background": "b", "set": "v", "label": "KIND"},
        "far": {"background": "far/{scoring}.parquet"},
        "old": {"file": "old/{scoring}/calibration.parquet"},
        "unused": {"background": "b"},
    }
    config["combine"] = {"both": {"variant_set": "v", "scorings": ["t", "s"]}}
    return load_config(config, look_for_files=False)


def test_inputs_of_calibrations_are_tables_of_this_run_or_of_earlier_ones() -> None:
    inputs = step_inputs(calibrated_config()).calibrations
    assert inputs.fitted == ["random", "kind", "far", "unused"]
    of_run = ["b/s/scores.parquet"]
    found = {
        name: (inputs.background[name]["s"], inputs.labelled[name]["s"]) for name in inputs.fitted
    }
    assert found == {
        "random": (of_run, []),
        "kind": (of_run, ["v/s/scores.parquet"]),
        "far": ([], []),
        "unused": (of_run, []),
    }
    files = {name: by_scoring["t"] for name, by_scoring in inputs.background_file.items()}
    assert files == {"random": [], "kind": [], "far": ["far/t.parquet"], "unused": []}
    assert inputs.bases == {"random": ["r.fa"], "kind": [], "far": [], "unused": []}
    assert inputs.used["v"]["t"] == [
        f"calibrations/{name}/t/{file}.parquet"
        for name in ("random", "kind", "far")
        for file in CALIBRATION
    ]
    assert inputs.used_files["v"]["t"] == [f"old/t/{file}.parquet" for file in CALIBRATION]
    assert inputs.calibrated == {
        "v": {one: [f"v/{one}/calibrated.parquet"] for one in "st"},
        "b": {"s": [], "t": []},
    }


def test_the_report_is_made_after_calibrations_and_combined_tables() -> None:
    inputs = step_inputs(calibrated_config())
    assert inputs.combined == {"v": {"both": ["v/t/scores.parquet", "v/s/scores.parquet"]}, "b": {}}
    expected = {"v/s/calibrated.parquet", *inputs.calibrations.used["v"]["s"]}
    expected |= {f"v/combined/both/{file}.parquet" for file in ("combined", "metrics", "curves")}
    assert expected <= {*inputs.report["v"]}
    assert inputs.report_files["v"] == [
        f"old/{s}/{file}.parquet" for s in "st" for file in CALIBRATION
    ]
    assert not [file for file in inputs.report["b"] if "calibrat" in file or "combined" in file]
    assert inputs.report_files["b"] == []


def test_calibrated_and_combined_tables_are_targets_and_unused_calibrations_are_not() -> None:
    config = calibrated_config()
    files = targets(config)
    assert [file for file in files if "calibrat" in file or "combined" in file] == [
        "v/s/calibrated.parquet",
        "v/t/calibrated.parquet",
        "v/combined/both/combined.parquet",
        "v/combined/both/metrics.parquet",
        "v/combined/both/curves.parquet",
    ]
    (line,) = warnings(config)
    assert line.startswith("calibrations.unused: no variant set names it, so it is not made.")


def test_time_of_a_fit_grows_with_the_alleles_of_the_labelled_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = Jobs(calibrated_config())
    fits = {name: SimpleNamespace(calibration=name, scoring="s") for name in ("random", "kind")}
    least = jobs.runtime(fits["kind"], 1)
    assert jobs.fit_runtime(fits["kind"], 1) == least, "nothing is counted yet"
    split = tmp_path / "out" / "v" / "shards" / "split.json"
    project.write_split(split, alleles=1_000_000, shards=1)
    # 10^6 rows took 860 CPU seconds with 10,000 draws, and there are eleven fits.
    assert 1.5 * 11 * 860 / 60 < jobs.fit_runtime(fits["kind"], 1) - least < 3 * 11 * 860 / 60
    assert jobs.fit_runtime(fits["kind"], 2) == 2 * jobs.fit_runtime(fits["kind"], 1)
    assert jobs.fit_runtime(fits["random"], 1) == least, "it has no labels"


def test_a_scoring_job_asks_for_the_memory_and_time_of_its_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_config(m={"checkpoint": "evo2_7b.pt", "gpus": 0}, n={"checkpoint": "evo2_7b.pt"})
    config = config.model_copy(update={"shards": 100})
    plain = Jobs(with_audit(config, "with-n", 0.5))
    audited = Jobs(with_audit(config, "with-m", 0.5))
    wildcards = SimpleNamespace(variant_set="v", scoring="with-m")
    # Passes with a horizon have more branches, those of whole windows longer ones.
    both = [jobs.score_mem_mb(wildcards, {}, 1) for jobs in (plain, Jobs(config))]
    assert audited.score_mem_mb(wildcards, {}, 1) == max(both)
    split = tmp_path / "out" / "v" / "shards" / "split.json"
    project.write_split(split, alleles=100_000, shards=100)
    minutes, without = (jobs.score_runtime(wildcards, {}, 1) for jobs in (audited, plain))
    # Of 1,000 audited alleles, a shard of 1,000 has ten on average.
    assert without < minutes < without + 0.06 * (without - LEAST_SCORE_MINUTES) + 1


def test_inputs_are_the_files_that_the_config_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ["config.json", "model-2.safetensors", "model-1.safetensors", "README.md"]:
        Path("folder", name).touch()
    for name in ["big[1].pt.part0", "big[1].pt.part1", "big1.pt.part2"]:
        Path(name).touch()
    config = make_config(
        folder={"checkpoint": "folder"},
        parts={"checkpoint": "big[1].pt.part0", "config": "big.yml"},
        file={"checkpoint": "one.pt"},
        later={"checkpoint": "made/later"},
    )
    inputs = step_inputs(config)
    assert inputs.variants == {"v": ["v.vcf"]}
    assert inputs.drawn == inputs.drawn_regions == {"v": []}
    assert inputs.reference == {"v": ["r.fa", "r.txt"]}
    assert inputs.checkpoint == {
        "with-folder": [
            "folder/config.json",
            "folder/model-1.safetensors",
            "folder/model-2.safetensors",
        ],
        "with-parts": ["big[1].pt.part0", "big[1].pt.part1", "big.yml"],
        "with-file": ["one.pt"],
        "with-later": ["made/later"],
    }


def test_a_model_on_a_hub_is_an_input_by_the_file_that_fetch_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    commit = "bda0089f92582d5baabf0f22d9fc85f3588f6b58"
    config = make_config(
        seven={"checkpoint": f"arcinstitute/evo2_7b@{commit}"}, file={"checkpoint": "one.pt"}
    )
    inputs = step_inputs(config)
    assert inputs.hub == {"seven": f"arcinstitute/evo2_7b@{commit}"}
    assert inputs.hub_files == {"with-seven": ["models/seven.json"], "with-file": []}
    assert inputs.checkpoint == {"with-seven": [], "with-file": ["one.pt"]}
    # Its size is known before it is there: a quarter more than 13,766,621,200 bytes.
    wildcards = SimpleNamespace(variant_set="v", scoring="with-seven")
    assert Jobs(config).score_mem_mb(wildcards, {}, 1) == pytest.approx(4_300 + 17_209, abs=1)
    folder = tmp_path / "evo2-tasks" / "arcinstitute--evo2_7b" / commit
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(8_000_000))
    assert Jobs(config).score_mem_mb(wildcards, {}, 1) == 4_300 + 10


def test_a_report_is_made_from_all_files_of_its_scorings() -> None:
    config = make_config(m={"checkpoint": "m"}, n={"checkpoint": "n"})
    plain = [f"v/with-{m}/{file}" for m in "mn" for file in ["scores.parquet", "run.json"]]
    assert step_inputs(config).report == {"v": plain}
    labels = {"KIND": LabelConfig(positive=("bad",), negative=("good",))}
    variant_set = config.variant_sets["v"].model_copy(update={"labels": labels})
    config = config.model_copy(update={"variant_sets": {"v": variant_set}})
    evaluated = [f"v/with-{m}/{file}" for m in "mn" for file in [METRICS, CURVES]]
    assert sorted(step_inputs(config).report["v"]) == sorted([*plain, *evaluated])


def test_a_report_of_haplotypes_is_made_from_their_files_and_the_reference() -> None:
    config = make_config(m={"checkpoint": "m"})
    before = step_inputs(config)
    assert before.drawn_bases == {"v": []}
    asked = HaplotypesConfig(samples="all")
    variant_set = config.variant_sets["v"].model_copy(update={"haplotypes": asked})
    config = config.model_copy(update={"variant_sets": {"v": variant_set}})
    inputs = step_inputs(config)
    files = [HAPLOTYPES, COMPOUNDS, HAPLOTYPES_RUN]
    assert inputs.report["v"] == [*before.report["v"], *(f"v/with-m/{one}" for one in files)]
    assert inputs.drawn_bases == inputs.reference != {"v": []}


def test_a_scoring_job_asks_for_the_gpus_of_its_model_or_for_nothing() -> None:
    jobs = Jobs(make_config(cpu={"checkpoint": "c", "gpus": 0}, two={"checkpoint": "t", "gpus": 2}))
    assert jobs.gpu(SimpleNamespace(scoring="with-two"), {}) == 2
    assert jobs.gpu(SimpleNamespace(scoring="with-cpu"), {}) is None


def test_requests_grow_with_each_attempt() -> None:
    jobs = Jobs(make_config(m={"checkpoint": "m"}))
    wildcards = SimpleNamespace(variant_set="v", scoring="with-m")
    for request in (jobs.mem_mb, jobs.runtime):
        assert request(wildcards, attempt=2) == 2 * request(wildcards, attempt=1)
    for request in (jobs.score_mem_mb, jobs.score_runtime):
        assert request(wildcards, {}, attempt=2) == 2 * request(wildcards, {}, attempt=1)


def test_memory_of_a_scoring_job_grows_with_its_model_and_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, width, num_bytes in [("narrow", 64, 10), ("wide", 4096, 10), ("heavy", 64, 10**8)]:
        Path(name).mkdir()
        shape = {"hidden_size": width, "intermediate_size": 3 * width}
        Path(name, "config.json").write_text(json.dumps(shape | {"operators": OPERATORS}))
        Path(name, "model.safetensors").write_bytes(b"")
        os.truncate(Path(name, "model.safetensors"), num_bytes)
    names = ("narrow", "wide", "heavy")
    config = make_config(**{name: {"checkpoint": name, "gpus": 0} for name in names})

    def memory(config: RunConfig, name: str) -> int:
        wildcards = SimpleNamespace(variant_set="v", scoring=f"with-{name}")
        return Jobs(config).score_mem_mb(wildcards, {}, attempt=1)

    # 65,536 tokens of a model of width 64 took 904 MB, without Snakemake
    assert 904 + 300 < memory(config, "narrow") < 3 * 904
    assert memory(config, "wide") > memory(config, "narrow") + 15_000
    assert memory(config, "heavy") - memory(config, "narrow") == pytest.approx(120, abs=1)
    run = config.run.model_copy(update={"batch_tokens": 1_000_000})
    assert memory(config.model_copy(update={"run": run}), "narrow") > 5_000


def test_time_of_a_scoring_job_follows_from_its_alleles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_config(m={"checkpoint": "evo2_7b.pt"}, n={"checkpoint": "evo2_40b.pt"})
    small, large = (SimpleNamespace(variant_set="v", scoring=f"with-{name}") for name in "mn")
    jobs = Jobs(config)
    assert jobs.score_runtime(small, {}, 1) == jobs.score_runtime(large, {}, 1) == SCORE_MINUTES
    split = tmp_path / "out" / "v" / "shards" / "split.json"
    project.write_split(split, alleles=100_000, shards=100)
    # 1,000 alleles of three windows of 8,192, since a half is shared on each strand, at 29,200
    # tokens per second, six times slower
    expected = LEAST_SCORE_MINUTES + 6 * 3 * 8192 * 1000 / 29_200 / 60
    assert jobs.score_runtime(small, {}, 1) == pytest.approx(expected, abs=1)
    assert jobs.score_runtime(large, {}, 1) > 3 * jobs.score_runtime(small, {}, 1)
    assert jobs.score_runtime(small, {}, 3) == 3 * jobs.score_runtime(small, {}, 1)


def test_a_very_large_number_of_shards_gives_a_warning() -> None:
    config = make_config(m={"checkpoint": "m"})
    assert warnings(config) == []
    (line,) = warnings(config.model_copy(update={"shards": 5_000}))
    assert "5,000" in line


def test_memory_of_a_scoring_job_on_a_gpu_does_not_depend_on_the_batch() -> None:
    config = make_config(m={"checkpoint": "later", "gpus": 1})
    run = config.run.model_copy(update={"batch_tokens": 10_000_000})
    wildcards = SimpleNamespace(variant_set="v", scoring="with-m")
    more = Jobs(config.model_copy(update={"run": run}))
    assert more.score_mem_mb(wildcards, {}, 1) == Jobs(config).score_mem_mb(wildcards, {}, 1)


# Peak memory of `score` with evo2-mini in float32 and one thread, torch 2.13.0 on a CPU, without
# Snakemake: alleles of the demo, window_length, batch_tokens, MB.
MEASURED = [
    (5, 512, 8_192, 651),
    (5, 512, 65_536, 665),
    (40, 512, 8_192, 733),
    (40, 512, 65_536, 1_428),
    (5, 8_192, 8_192, 790),
    (5, 8_192, 65_536, 1_743),
]


@pytest.mark.parametrize(("alleles", "window_length", "batch_tokens", "taken"), MEASURED)
def test_a_scoring_job_gets_the_memory_that_it_takes_and_not_much_more(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    alleles: int,
    window_length: int,
    batch_tokens: int,
    taken: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    parts = project.make_config(
        model={"checkpoint": "evo2-mini"},
        scoring={"window_length": window_length},
        run={"batch_tokens": batch_tokens},
        output="out",
    )
    jobs = Jobs(load_config(parts, look_for_files=False))
    wildcards = SimpleNamespace(variant_set="v", scoring="s")
    before = jobs.score_mem_mb(wildcards, {}, 1)
    split = tmp_path / "out" / "v" / "shards" / "split.json"
    project.write_split(split, alleles=3 * alleles, shards=3)
    asked = jobs.score_mem_mb(wildcards, {}, 1)
    assert taken + 300 < asked <= before, "300 MB are Snakemake's"
    assert asked < 1.8 * (taken + 300)
    assert jobs.score_mem_mb(wildcards, {}, 2) == 2 * asked


# --- a store

STORED = {"alleles": 4, "hits": 4, "missing": 0, "tokens_missing": 0,
          "weights": "0" * 64, "table_digest": "0" * 64}  # fmt: skip


class Shard:
    """Files of the only shard of a scoring, and the jobs of a config with other keys of `run`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wildcards = SimpleNamespace(variant_set="v", scoring="s", scatteritem="1-of-1")
        (folder / "in.vcf").write_text("first")
        self.scores = folder / "out/v/s/scores/1-of-1.json"
        self.hits = folder / "out/v/s/hits/1-of-1.json"
        for file in (self.scores, self.hits):
            file.parent.mkdir(parents=True)

    def config(self, *, horizon: int | None = None, audit: float | None = None, **run: Any) -> Any:
        scoring = {"window_length": 64, "horizon": horizon, "audit": audit}
        kept = {key: value for key, value in scoring.items() if value is not None}
        parts = project.make_config(
            self.folder,
            model={"gpus": 2},
            scoring=kept,
            run=run,
            output=str(self.folder / "out"),
        )
        return load_config(parts, look_for_files=False)

    def jobs(self, **keys: Any) -> Jobs:
        return Jobs(self.config(**keys))

    def finish(self, *, reused: int | None) -> None:
        """State that the shard was split and scored with the settings that it has."""
        config = self.config()
        statements = {"settings": resolve_score(config, "s").triggers(), "scores": "0" * 64}
        work = {"windows_run": 1, "tokens_run": 1, "wall_s": 1.0, "statements": statements}
        self.scores.write_text(json.dumps(work | ({} if reused is None else {"reused": reused})))
        made = {
            "settings": resolve_split(config, "v").triggers(),
            "shards": {}, "blocks": "0" * 64, "assembly_report": None,
        }  # fmt: skip
        digest = digest_file(self.folder / "in.vcf")
        split = self.folder / "out/v/shards/split.json"
        write_split(split, shards=1, variants_digest=digest, statements=made)


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    return Shard(tmp_path)


HITS = ["v/s/hits/1-of-1.parquet", "v/s/hits/1-of-1.json"]


def test_a_scoring_job_reads_hits_if_there_is_a_store(shard: Shard) -> None:
    assert shard.jobs().hits(shard.wildcards) == []
    assert shard.jobs(store="store").hits(shard.wildcards) == HITS


@pytest.mark.parametrize("reused", [None, 0, 4])
def test_a_finished_job_keeps_its_inputs(shard: Shard, reused: int | None) -> None:
    shard.finish(reused=reused)
    for run in ({}, {"store": "store"}, {"store": "other"}):
        expected = [] if reused is None else HITS
        assert shard.jobs(**run).hits(shard.wildcards) == expected


def test_a_job_that_is_certain_to_run_again_is_looked_up(shard: Shard) -> None:
    shard.finish(reused=None)
    assert shard.jobs(store="store", horizon=8).hits(shard.wildcards) == HITS
    assert shard.jobs(horizon=8).hits(shard.wildcards) == []
    # A newer time alone does not run a job again, if the file is small.
    variants = shard.folder / "in.vcf"
    later = time.time_ns() + 10**9
    os.utime(variants, ns=(later, later))
    assert shard.jobs(store="store").hits(shard.wildcards) == []
    variants.write_text("other")
    os.utime(variants, ns=(later, later))
    assert shard.jobs(store="store").hits(shard.wildcards) == HITS


def test_a_job_that_opens_its_model_in_any_case_asks_for_its_gpus(shard: Shard) -> None:
    shard.hits.write_text(json.dumps(STORED))
    inputs = {"hits": [str(shard.folder / "out" / file) for file in HITS]}
    jobs = shard.jobs(store="store")
    assert jobs.gpu(shard.wildcards, inputs) is None
    assert jobs.score_mem_mb(shard.wildcards, inputs, 1) == jobs.mem_mb(shard.wildcards, 1)
    assert jobs.score_runtime(shard.wildcards, inputs, 2) == jobs.runtime(shard.wildcards, 2)
    for keys in ({"allow_mixed_devices": False}, {"horizon": 8, "audit": 0.5}):
        jobs = shard.jobs(store="store", **keys)
        assert jobs.hits(shard.wildcards) == []
        assert jobs.compared_hits(shard.wildcards) == HITS
        assert jobs.gpu(shard.wildcards, {"hits": []}) == 2


@pytest.mark.parametrize(
    "stated",
    [None, "", "{}", json.dumps(STORED | {"missing": 1}), json.dumps(STORED | {"weights": None})],
)
def test_a_job_asks_for_its_gpus_unless_it_is_known_that_it_needs_none(
    shard: Shard, stated: str | None
) -> None:
    if stated is not None:
        shard.hits.write_text(stated)
    inputs = {"hits": [str(shard.folder / "out" / file) for file in HITS]}
    assert shard.jobs(store="store").gpu(shard.wildcards, inputs) == 2
    assert if_gpu(inputs, "gpu", "cpu") == "gpu"
    # Only a job that is not looked up yet may turn out to need none.
    is_known = stated not in (None, "", "{}")
    assert may_need_no_model(inputs) != is_known
    assert not may_need_no_model({"hits": []})


def test_time_of_a_job_follows_from_what_is_missing(shard: Shard) -> None:
    shard.finish(reused=None)
    split = shard.folder / "out/v/shards/split.json"
    split.write_text(split.read_text().replace('"alleles": 80', '"alleles": 8000000'))
    shard.scores.unlink()
    inputs = {"hits": [str(shard.folder / "out" / file) for file in HITS]}
    minutes = []
    for missing in (8_000_000, 4_000_000):
        shard.hits.write_text(json.dumps(STORED | {"missing": missing}))
        minutes.append(shard.jobs(store="store").score_runtime(shard.wildcards, inputs, 1))
    all_, half = (one - LEAST_SCORE_MINUTES for one in minutes)
    assert half == pytest.approx(all_ / 2, rel=0.01)
    assert minutes[0] == shard.jobs().score_runtime(shard.wildcards, {}, 1)


def test_a_store_that_is_not_there_is_a_warning(shard: Shard) -> None:
    store = shard.folder / "store"
    (line,) = warnings(shard.config(store=str(store)))
    assert line == f"run.store: {store} does not exist. It is made when the first scores are added."
    (line,) = warnings(shard.config(store=str(store), store_write=False))
    assert line.endswith("`store_write: false` does not make it, so no score is reused.")
    store.mkdir()
    assert warnings(shard.config(store=str(store))) == []
