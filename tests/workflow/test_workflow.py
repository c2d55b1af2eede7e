"""The workflow as Snakemake runs it: what it plans, what it runs again, what reaches the jobs.

Most of these tests put a stand-in for the `evo2-tasks` command on the path, which writes empty
files and notes what it was called with: Snakemake's part is what they are about. The file is long
because they share this stand-in and finished runs, which are copied for each test.
"""

import ast
import base64
import copy
import hashlib
import json
import os
import re
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_score
from evo2_tasks.jobs import CPU_STEP_MB, CPU_STEP_MINUTES, SNAKEMAKE_MB
from tests.workflow.run import SNAKEFILE, run_snakemake

ROOT = Path(__file__).parents[2]
NO_CONFIG = ("export", "fetch", "index")

STAND_IN = """#!{python} -SE
import json, pathlib, sys
step, *argv = sys.argv[1:]
flags = {{flag: value for flag, value in zip(argv, argv[1:]) if flag.startswith("--")}}
config = json.load(sys.stdin) if "--config" in flags else None
with open({calls!r}, "a") as calls:
    calls.write(json.dumps({{"step": step, "argv": argv, "config": config}}) + "\\n")
out = pathlib.Path(flags.get("--out", flags.get("--scores", "")))
shards = range(1, (config or {{}}).get("shards", 1) + 1)
files = {{
    "fetch": [out],
    "identify": [out],
    "draw": [out],
    "split": [out / "split.json", *(out / f"{{i}}-of-{{len(shards)}}.parquet" for i in shards)],
    "carry": [out],
    "annotate": [out],
    "windows": [out, pathlib.Path(flags.get("--segments", ""))],
    "lookup": [out, out.with_suffix(".json")],
    "score": [out, out.with_suffix(".json")],
    "audit": [out / f"{{i}}-of-{{len(shards)}}.parquet" for i in shards],
    "score-readouts": [
        *(file for file in (out, out.with_suffix(".json")) if not file.exists()),
        pathlib.Path(flags.get("--readouts", "")) / "audit.parquet",
    ],
    "merge-audit": [out, pathlib.Path(flags.get("--run-json", ""))],
    "merge-embeddings": [out, pathlib.Path(flags.get("--run-json", ""))],
    "merge-profiles": [out, pathlib.Path(flags.get("--run-json", ""))],
    "merge": [
        *(out, pathlib.Path(flags.get("--run-json", ""))),
        *([out.parent / "reused.parquet"] if "store" in (config or {{}}).get("run", {{}}) else []),
    ],
    "haplotypes": [out / f"{{i}}-of-{{len(shards)}}.parquet" for i in shards],
    "merge-haplotypes": [
        out, *(pathlib.Path(flags.get(flag, "")) for flag in ("--compounds", "--run-json"))
    ],
    "fit-calibration": [
        out / f"{{name}}.parquet" for name in ("calibration", "background", "ratios", "folds")
    ],
    "tile": [out / f"{{i}}-of-{{len(shards)}}.parquet" for i in shards],
    "score-tracks": [out],
    "merge-tracks": [out, pathlib.Path(flags.get("--run-json", ""))],
    "fit-probe": [
        out / name for name in ("probe.json", "probe.safetensors", "predictions.parquet")
    ],
    "apply-probe": [out],
    "export-tracks": [
        out / f"tracks.{{name}}.{{end}}"
        for name in ("logp_ref", "entropy")
        for end in ("bw", "trackDb.txt", "igv.xml")
    ],
    "calibrate": [out],
    "combine": [out],
    "export": [
        out,
        *(out.with_suffix(one) for one in (".trackDb.txt", ".igv.xml") if out.suffix == ".bw"),
    ],
    "index": [out],
    "evaluate": [out, pathlib.Path(flags.get("--curves", ""))],
    "report": [out],
    "report-tracks": [out],
    "split-sequences": [
        out / "split.json", *(out / f"{{i}}-of-{{len(shards)}}.parquet" for i in shards)
    ],
    "score-sequence-set": [out, out.with_suffix(".json")],
    "merge-sequences": [out, pathlib.Path(flags.get("--run-json", ""))],
    "embed-sequences": [out, out.with_suffix(".json")],
    "merge-sequence-embeddings": [out, pathlib.Path(flags.get("--run-json", ""))],
    "embed-tracks": [out, out.with_suffix(".json")],
    "merge-track-embeddings": [out, pathlib.Path(flags.get("--run-json", ""))],
    "read-prompts": [out, out.with_name("prompts.json")],
    "generate-sequences": [out, out.with_suffix(".steps.parquet"), out.with_suffix(".json")],
    "merge-generation": [
        out, *(pathlib.Path(flags.get(flag, "")) for flag in ("--fasta", "--steps", "--run-json"))
    ],
    "report-generation": [out],
}}[step]
for file in [*files, pathlib.Path(flags["--log"])]:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(step)
# What Snakemake reads of these files: the number of missing scores, which a test sets; and whether
# there are hits.
numbers = pathlib.Path("missing")
missing = int(numbers.read_text()) if numbers.exists() else 4
if step == "lookup":
    found = {{"alleles": 4, "hits": 4 - missing, "missing": missing, "tokens_missing": 9 * missing,
             "weights": "0" * 64, "table_digest": "0" * 64}}
    out.with_suffix(".json").write_text(json.dumps(found))
if step.startswith("score") and "--out" in flags:
    work = {{"windows_run": 1, "tokens_run": 1, "wall_s": 1}}
    if (out.parent.parent / "hits" / out.name).exists():
        work["reused"] = 4 - missing
    out.with_suffix(".json").write_text(json.dumps(work))
"""

SLURM_STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> {log}
test "$(basename "$0")" != sbatch
"""

CONFIG: dict[str, Any] = {
    "references": {
        "one": {"fasta": "one.fa", "circular_contigs": ["c"]},
        "two": {"fasta": "two.fa"},
    },
    "models": {
        "small": {"checkpoint": "small", "gpus": 0},
        "large": {"checkpoint": "large.pt.part0", "model": "evo2_7b", "gpus": 2},
    },
    "scorings": {
        "short": {"model": "small", "window_length": 64},
        "long": {"model": "large", "window_length": 128},
        "spare": {"model": "small", "window_length": 256},
    },
    "variant_sets": {
        "a": {"variants": "a b.vcf", "reference": "one", "scorings": ["short", "long"]},
        "b": {
            "variants": "b.vcf",
            "reference": "two",
            "scorings": ["short"],
            "labels": {"KIND": {"positive": ["bad"], "negative": ["good"]}},
        },
    },
    "shards": 2,
    "run": {"batch_tokens": 64},
}


class Project:
    """A working directory with a config, the files it names, and the stand-in command."""

    gpus = "0,1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls_file = folder / "calls.jsonl"
        self.config = copy.deepcopy(CONFIG)
        for name in ("one.fa", "two.fa", "genes.gff3", "a b.vcf", "b.vcf", "c.vcf"):
            (folder / name).touch()
        (folder / "small").mkdir()
        (folder / "small" / "config.json").write_text("{}")
        (folder / "small" / "model.safetensors").write_text("")
        for part in ("large.pt.part0", "large.pt.part1"):
            (folder / part).touch()
        command = folder / "bin" / "evo2-tasks"
        command.parent.mkdir()
        command.write_text(STAND_IN.format(python=sys.executable, calls=str(self.calls_file)))
        command.chmod(command.stat().st_mode | stat.S_IXUSR)

    def snakemake(
        self, *arguments: str, config: dict[str, Any] | None = None, status: int = 0
    ) -> str:
        """Run Snakemake and return what it printed."""
        if config is not None:
            (self.folder / "config.yaml").write_text(yaml.safe_dump(config))
        arguments = ("--cores", "2", *arguments)
        commands = self.folder / "bin"
        return run_snakemake(
            self.folder,
            *arguments,
            commands=commands,
            # GPUs that no job looks for: the jobs are those of the stand-in.
            variables={"CUDA_VISIBLE_DEVICES": self.gpus},
            status=status,
        )

    def run(self, *arguments: str) -> str:
        return self.snakemake("--snakefile", str(SNAKEFILE), *arguments, config=self.config)

    def submit(self, profile: str, *targets: str) -> list[str]:
        """Ask a cluster for jobs, none of which runs; gives the calls of sbatch, sorted.

        SLURM's commands are stand-ins, which note how they are called.
        """
        log = self.folder / "slurm"
        log.unlink(missing_ok=True)
        for name in ("sbatch", "sacct", "scancel", "scontrol", "squeue"):
            command = self.folder / "bin" / name
            command.write_text(SLURM_STAND_IN.format(log=f"'{log}'"))
            command.chmod(0o755)
        self.snakemake(
            *(
                "--snakefile",
                str(SNAKEFILE),
                "--profile",
                str(ROOT / "workflow/profiles" / profile),
            ),
            *("--retries", "0", "--slurm-init-seconds-before-status-checks", "1", *targets),
            config=self.config,
            status=1,
        )
        lines = log.read_text().splitlines()
        return sorted(
            (line for line in lines if line.startswith("sbatch")),
            key=lambda line: re.findall(r"_\d-of-\d", line),
        )

    def planned(self, *arguments: str) -> list[str]:
        """The messages of the jobs that a run would start now, sorted."""
        output = self.run("--dry-run", *arguments)
        return sorted(match for match in re.findall(r"^Job \d+: (.+)$", output, flags=re.MULTILINE))

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]

    def change(self, name: str) -> None:
        """Give a file new content; a newer time alone does not count for a small file.

        Its time must not lie ahead: Snakemake refuses outputs that are older than an input.
        """
        (self.folder / name).write_text("new")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "a project"  # a path with a blank, as people have them
    folder.mkdir()
    return Project(folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the run of CONFIG is finished."""
    project = Project(tmp_path_factory.mktemp("finished"))
    project.run()
    return project.folder


def open_project(folder: Path) -> Project:
    """A project whose files are there."""
    project = object.__new__(Project)
    project.folder = folder
    project.calls_file = folder / "calls.jsonl"
    project.config = copy.deepcopy(CONFIG)
    return project


@pytest.fixture
def done(finished: Path) -> Project:
    """The finished project with its config as it was run; tests change nothing but the config."""
    return open_project(finished)


HUB_NAME = "lab/evo2-tuned@" + "0123456789" * 4


def fetch(name: str) -> list[str]:
    return [f"Fetching the model {name}"]


def random_set(**keys: Any) -> dict[str, Any]:
    """A variant set of random SNVs in the place of a file."""
    return {
        "random_snvs": {"number": 5, "seed": 1, **keys},
        "reference": "two",
        "scorings": ["short"],
    }


def draw(name: str) -> list[str]:
    return [f"Drawing random SNVs: {name}"]


def split(name: str) -> list[str]:
    return [f"Splitting the variants of {name}"]


def carry(name: str) -> list[str]:
    return [f"Carrying columns of {name}"]


def annotate(name: str) -> list[str]:
    return [f"Annotating {name}"]


def windows(name: str, scoring: str) -> list[str]:
    return [f"Placing windows: {name}, {scoring}, {i}-of-2" for i in (1, 2)]


def score(name: str, scoring: str) -> list[str]:
    return [f"Scoring: {name}, {scoring}, {i}-of-2" for i in (1, 2)]


def merge(name: str, scoring: str) -> list[str]:
    return [f"Merging the scores: {name}, {scoring}"]


def evaluate(name: str, scoring: str) -> list[str]:
    return [f"Evaluating: {name}, {scoring}"] if name == "b" else []


def from_merge(name: str, scoring: str) -> list[str]:
    return merge(name, scoring) + evaluate(name, scoring)


def from_windows(name: str, scoring: str) -> list[str]:
    return windows(name, scoring) + score(name, scoring) + from_merge(name, scoring)


def with_reports(jobs: list[str]) -> list[str]:
    """The jobs, and the report of each variant set whose tables or metrics they make, sorted."""
    made = [re.match(r"(?:Merging the scores|Evaluating): (\w+),", job) for job in jobs]
    reports = {f"Writing the report of {found[1]}" for found in made if found}
    return sorted([*jobs, *reports])


ALL = with_reports(
    split("a")
    + split("b")
    + carry("b")
    + from_windows("a", "short")
    + from_windows("a", "long")
    + from_windows("b", "short")
)


# --- what runs


def test_a_fresh_run_plans_each_job_once(project: Project) -> None:
    assert project.planned() == ALL


def test_a_run_calls_each_command_with_the_config_that_holds(finished: Path) -> None:
    calls = [json.loads(line) for line in (finished / "calls.jsonl").read_text().splitlines()]
    assert Counter(call["step"] for call in calls) == {
        "split": 2,
        "carry": 1,
        "windows": 6,
        "score": 6,
        "merge": 3,
        "evaluate": 1,
        "report": 2,
    }
    config = load_config(CONFIG, look_for_files=False)
    for call in calls:
        assert load_config(call["config"], look_for_files=False) == config
    for file in ["a/short", "a/long", "b/short"]:
        assert (finished / "results" / file / "scores.parquet").exists()
        assert (finished / "results" / file / "run.json").exists()
        assert (finished / "results" / "logs" / "merge" / f"{file}.log").exists()
        assert (finished / "results" / "logs" / "benchmarks" / "merge" / f"{file}.tsv").exists()


def test_a_finished_run_has_nothing_to_do(done: Project) -> None:
    assert done.planned() == []


def test_a_scoring_can_be_asked_for_alone(project: Project) -> None:
    target = "results/b/short/scores.parquet"
    of_b = split("b") + carry("b") + windows("b", "short")
    of_b += score("b", "short") + merge("b", "short")
    assert project.planned(target) == sorted(of_b)


def test_a_config_on_the_command_line_reaches_the_jobs(project: Project) -> None:
    target = "elsewhere/b/short/scores.parquet"
    project.run("--config", "shards=3", "output=elsewhere", "--", target)
    assert (project.folder / target).exists()
    assert {call["config"]["shards"] for call in project.calls()} == {3}
    assert Counter(call["step"] for call in project.calls())["score"] == 3


def test_another_config_file_takes_the_place_of_config_yaml(project: Project) -> None:
    other = copy.deepcopy(CONFIG)
    other["variant_sets"] = {"c": CONFIG["variant_sets"]["b"]}
    other["output"] = "elsewhere"
    (project.folder / "other.yaml").write_text(yaml.safe_dump(other))
    project.run("--configfile", "other.yaml")
    assert (project.folder / "elsewhere/c/short/scores.parquet").exists()
    assert not (project.folder / "elsewhere/b").exists()
    config = load_config(other, look_for_files=False)
    for call in project.calls():
        assert load_config(call["config"], look_for_files=False) == config


def test_names_with_dots_and_digits_are_told_apart(project: Project) -> None:
    project.config["scorings"] |= {
        "1": {"model": "small"},
        "1.5": {"model": "small", "horizon": 7},
        "1x5": {"model": "small", "horizon": 8},
    }
    project.config["variant_sets"] = {
        "2": {"variants": "b.vcf", "reference": "two", "scorings": ["1", "1.5", "1x5"]}
    }
    project.run()
    for scoring in ["1", "1.5", "1x5"]:
        assert (project.folder / f"results/2/{scoring}/scores.parquet").exists()


# --- what runs again


def test_another_variant_set_runs_alone(done: Project) -> None:
    done.config["variant_sets"]["c"] = {
        "variants": "c.vcf",
        "reference": "two",
        "scorings": ["short"],
    }
    assert done.planned() == with_reports(split("c") + from_windows("c", "short"))


def test_another_scoring_runs_alone(done: Project) -> None:
    done.config["variant_sets"]["b"]["scorings"].append("spare")
    assert done.planned() == with_reports(from_windows("b", "spare"))


def test_a_scoring_that_is_not_used_runs_nothing(done: Project) -> None:
    done.config["scorings"]["unused"] = {"model": "small"}
    done.config["scorings"]["spare"]["strands"] = "forward"
    assert done.planned() == []


def test_the_way_of_working_runs_nothing_again(done: Project) -> None:
    done.config["run"]["batch_tokens"] = 4096
    done.config["models"]["large"]["gpus"] = 1
    assert done.planned() == []
    del done.config["run"]
    assert done.planned() == []


def test_a_model_that_moves_to_the_cpu_changes_its_number_type(done: Project) -> None:
    done.config["models"]["large"]["gpus"] = 0
    assert done.planned() == with_reports(score("a", "long") + merge("a", "long"))


def test_a_default_written_out_runs_nothing_again(done: Project) -> None:
    done.config["scorings"]["short"] |= {
        "window_placement": "centered",
        "strands": "both",
        "horizon": None,
        "max_allele_length": 16,
        "min_context": None,
        "max_n_share": 0.5,
        "prepend_bos": False,
    }
    done.config["models"]["large"]["dtype"] = "bfloat16"
    done.config["references"]["two"]["circular_contigs"] = []
    done.config["variant_sets"]["b"]["carry"] = []
    assert done.planned() == []


def test_another_window_length_runs_that_scoring_again_alone(done: Project) -> None:
    done.config["scorings"]["short"]["window_length"] = 66
    assert done.planned() == with_reports(from_windows("a", "short") + from_windows("b", "short"))
    done.config = copy.deepcopy(CONFIG)
    done.config["scorings"]["long"]["window_length"] = 130
    assert done.planned() == with_reports(from_windows("a", "long"))


def test_another_number_type_scores_again_with_that_model_alone(done: Project) -> None:
    done.config["models"]["small"]["dtype"] = "bfloat16"
    assert done.planned() == with_reports(
        score("a", "short") + merge("a", "short") + score("b", "short") + from_merge("b", "short")
    )


@pytest.mark.parametrize("change", [{"fp8": "emulate"}, {"allow_without_fp8": True}])
def test_another_way_of_fp8_scores_again_with_that_model_alone(
    done: Project, change: dict[str, object]
) -> None:
    done.config["models"]["large"] |= change
    assert done.planned() == with_reports(score("a", "long") + merge("a", "long"))


def test_another_contig_name_reads_the_sets_of_that_reference_again(done: Project) -> None:
    done.config["references"]["two"]["contig_aliases"] = {"chrM": "MT"}
    assert done.planned() == with_reports(split("b") + carry("b") + from_windows("b", "short"))


def test_another_circle_places_windows_of_that_reference_again(done: Project) -> None:
    done.config["references"]["two"]["circular_contigs"] = ["MT"]
    assert done.planned() == with_reports(from_windows("b", "short"))


@pytest.mark.parametrize(
    ("settings", "carried"),
    [
        ({"filters": {"pass_only": True}}, []),
        ({"regions": ["c:1-2"]}, carry("b")),
        ({"saturate": ["snv"]}, carry("b")),
        ({"columns": {"pos": "start"}}, carry("b")),
    ],
    ids=["filters", "regions", "saturate", "columns"],
)
def test_another_choice_of_variants_runs_that_set_again(
    done: Project, settings: dict[str, Any], carried: list[str]
) -> None:
    done.config["variant_sets"]["b"] |= settings
    assert done.planned() == with_reports(split("b") + carried + from_windows("b", "short"))


@pytest.mark.parametrize(
    "settings",
    [
        {"carry": ["AC"]},
        {"carry": {"AC": "number", "KIND": "text"}},
        {"groups": ["GENE"]},
        {"baselines": {"CADD": "high"}},
        {"labels": {"OTHER": {"harmful": "low"}}},
        {"labels": {"KIND": {"harmful": "low"}}},
        {"labels": {"KIND": CONFIG["variant_sets"]["b"]["labels"]["KIND"] | {"resample_by": "G"}}},
    ],
    ids=str,
)
def test_other_carried_columns_score_nothing_again(done: Project, settings: Any) -> None:
    done.config["variant_sets"]["b"] |= settings
    jobs = carry("b") + from_merge("b", "short")
    evaluation = evaluate("b", "short")
    assert sorted({*done.planned(), *evaluation}) == with_reports(jobs)


def test_the_first_and_the_last_carried_column_score_nothing_again(done: Project) -> None:
    done.config["variant_sets"]["a"]["carry"] = ["ID"]
    merges = merge("a", "short") + merge("a", "long")
    assert done.planned() == with_reports(carry("a") + merges)
    done.config = copy.deepcopy(CONFIG)
    del done.config["variant_sets"]["b"]["labels"]
    assert done.planned() == with_reports(merge("b", "short"))


@pytest.mark.parametrize(
    "change",
    [
        {"references": {"two": {"gff": "genes.gff3"}}},
        {"references": {"two": {"gff": "genes.gff3", "genetic_codes": {"c": 2}}}},
        {"variant_sets": {"b": {"consequence_from": "CSQ"}}},
        {"variant_sets": {"b": {"identifiers": ["vrs", "spdi"]}}},
    ],
    ids=str,
)
def test_genes_for_a_finished_run_score_nothing(done: Project, change: Any) -> None:
    for section, parts in change.items():
        for name, keys in parts.items():
            done.config[section][name] |= keys
    assert done.planned() == with_reports(annotate("b") + from_merge("b", "short"))


def test_a_column_that_becomes_one_of_the_genes_is_not_carried_any_more(done: Project) -> None:
    label = done.config["variant_sets"]["b"]["labels"]["KIND"]
    done.config["variant_sets"]["b"]["groups"] = ["gene"]
    label["where"] = {"consequence": ["missense_variant"]}
    assert done.planned() == with_reports(carry("b") + from_merge("b", "short"))
    done.config["references"]["two"]["gff"] = "genes.gff3"
    assert done.planned() == with_reports(annotate("b") + from_merge("b", "short"))


@pytest.mark.slow
def test_other_genes_annotate_and_merge_again(project: Project) -> None:
    project.config["references"]["two"] |= {"gff": "genes.gff3", "genetic_codes": {"c": 2}}
    project.run()
    assert project.planned() == []
    project.config["shards"] = 1
    assert not {*annotate("b")} & {*project.planned()}
    project.config["shards"] = 2
    for key, value in (
        ("genetic_codes", {"c": 3}),
        ("circular_contigs", ["c"]),
        ("contig_aliases", {"chrM": "c"}),
        ("gff", "one.fa"),
    ):
        before = copy.deepcopy(project.config)
        project.config["references"]["two"][key] = value
        planned = project.planned()
        assert {*annotate("b"), *merge("b", "short")} <= {*planned}, key
        assert ("Scoring: b, short, 1-of-2" in planned) == ("cont" in key), key
        project.config = before
    project.change("genes.gff3")
    assert project.planned() == with_reports(annotate("b") + from_merge("b", "short"))


def audit(name: str, scoring: str) -> list[str]:
    """The jobs of an audit, with that of the table."""
    readouts = [f"Scoring with read-outs: {name}, {scoring}, {i}-of-2" for i in (1, 2)]
    choice = [f"Choosing alleles to audit: {name}, {scoring}"]
    return choice + readouts + [f"Merging the audit: {name}, {scoring}"] + from_merge(name, scoring)


@pytest.mark.slow
def test_an_audit_is_added_to_a_finished_run_and_leaves_its_scores(project: Project) -> None:
    project.config["scorings"]["short"]["horizon"] = 8
    project.run()
    scores = project.folder / "results/b/short/scores/1-of-2.parquet"
    scores.write_text("finished")
    os.utime(scores, (time.time() - 5, time.time() - 5))
    project.config["scorings"]["short"]["audit"] = 0.1
    jobs = with_reports(audit("a", "short") + audit("b", "short"))
    assert project.planned() == jobs
    project.run()
    assert scores.read_text() == "finished", "Snakemake has not deleted it"
    assert project.planned() == []
    table = project.folder / "results/b/short/audit.parquet"
    table.unlink()
    assert project.planned() == with_reports(
        ["Merging the audit: b, short", *from_merge("b", "short")]
    )


def test_another_share_of_an_audit_scores_nothing_else_again(project: Project) -> None:
    project.config["scorings"]["short"] |= {"horizon": 8, "audit": 0.1}
    project.run()
    assert project.planned() == []
    calls = Counter(call["step"] for call in project.calls())
    assert (calls["score"], calls["score-readouts"], calls["audit"]) == (2, 4, 2)
    project.config["scorings"]["short"]["audit"] = 0.2
    assert project.planned() == with_reports(audit("a", "short") + audit("b", "short"))


def test_without_the_audit_a_shard_is_scored_by_the_other_rule(project: Project) -> None:
    project.config["scorings"]["short"] |= {"horizon": 8, "audit": 0.1}
    project.run()
    del project.config["scorings"]["short"]["audit"]
    assert project.planned() == with_reports(
        score("a", "short") + merge("a", "short") + score("b", "short") + from_merge("b", "short")
    )


def test_another_order_of_rows_merges_again(done: Project) -> None:
    done.config["variant_sets"]["b"]["sort_by_position"] = True
    assert done.planned() == with_reports(from_merge("b", "short"))


def test_other_values_of_a_label_evaluate_again(done: Project) -> None:
    label = done.config["variant_sets"]["b"]["labels"]["KIND"]
    label["positive"].append("worse")
    assert done.planned() == with_reports(evaluate("b", "short"))
    label["where"] = {"KIND": ["worse"]}
    done.config["variant_sets"]["b"]["groups"] = ["KIND"]
    assert done.planned() == with_reports(evaluate("b", "short"))


def test_the_report_of_a_set_can_be_asked_for(project: Project) -> None:
    of_b = split("b") + carry("b") + from_windows("b", "short")
    assert project.planned("results/b/report.html") == with_reports(of_b)
    project.run("results/a/report.html")
    report = project.calls()[-1]
    assert report["step"] == "report"
    flags = dict(zip(report["argv"][::2], report["argv"][1::2], strict=True))
    assert (flags["--variant-set"], flags["--results"]) == ("a", "results/a")
    assert (project.folder / "results" / "logs" / "report" / "a.log").exists()


def test_exports_are_added_to_a_finished_run(done: Project) -> None:
    done.config["variant_sets"]["a"]["exports"] = ["vcf", "bedgraph", "bigwig", "tsv"]
    assert done.planned() == [
        "Exporting as bedgraph: a, long",
        "Exporting as bedgraph: a, short",
        "Exporting as bigwig: a, long",
        "Exporting as bigwig: a, short",
        "Exporting as tsv: a, long",
        "Exporting as tsv: a, short",
        "Exporting as vcf: a, long",
        "Exporting as vcf: a, short",
        "Indexing scores.vcf.gz: a, long",
        "Indexing scores.vcf.gz: a, short",
    ]


def test_another_number_of_shards_runs_everything_again(done: Project) -> None:
    done.config["shards"] = 1
    assert len(done.planned()) == 2 + 3 * 3 + 1 + 2


def test_shards_of_another_number_do_not_lie_beside_the_new_ones(project: Project) -> None:
    project.run("results/b/shards")
    project.config["shards"] = 1
    project.run("results/b/shards")
    shards = project.folder / "results" / "b" / "shards"
    assert {path.name for path in shards.glob("[!.]*")} == {"split.json", "1-of-1.parquet"}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("two.fa", split("b") + carry("b") + from_windows("b", "short")),
        ("b.vcf", split("b") + carry("b") + from_windows("b", "short")),
        (
            "a b.vcf",
            split("a") + from_windows("a", "short") + from_windows("a", "long"),
        ),
        ("large.pt.part1", score("a", "long") + merge("a", "long")),
        (
            "small/model.safetensors",
            score("a", "short")
            + merge("a", "short")
            + score("b", "short")
            + from_merge("b", "short"),
        ),
    ],
)
def test_a_newer_file_runs_what_reads_it_again(
    finished: Path, tmp_path: Path, file: str, expected: list[str]
) -> None:
    shutil.copytree(finished, tmp_path / "copy")  # with the times of its files
    project = open_project(tmp_path / "copy")
    assert project.planned() == []
    project.change(file)
    assert project.planned() == with_reports(expected)


def test_exports_of_a_run(project: Project) -> None:
    project.config["variant_sets"]["a"]["exports"] = ["vcf"]
    project.config["variant_sets"]["b"]["exports"] = ["tsv", "bedgraph", "bigwig"]
    project.run()
    files = {path.name for path in (project.folder / "results" / "a" / "short").iterdir()}
    assert "scores.vcf.gz" in files
    assert not (project.folder / "results" / "a" / "short" / "scores.tsv").exists()
    assert (project.folder / "results" / "b" / "short" / "scores.tsv").exists()
    assert (project.folder / "results" / "b" / "short" / "scores.bedgraph.gz").exists()
    assert (project.folder / "results" / "b" / "short" / "scores.bw").exists()


# --- a store


def identify(name: str) -> list[str]:
    return [f"Identifying the model {name}"]


def find(name: str, scoring: str) -> list[str]:
    return [f"Looking up scores: {name}, {scoring}, {i}-of-2" for i in (1, 2)]


def from_store(name: str, scoring: str) -> list[str]:
    return find(name, scoring) + from_windows(name, scoring)


def test_a_store_that_is_added_to_a_finished_run_starts_nothing(done: Project) -> None:
    done.config["run"] |= {"store": "store"}
    assert done.planned() == []
    done.config["run"] |= {"store": "other", "store_write": False}
    assert done.planned() == []
    # Only what is new is looked up.
    done.config["variant_sets"]["a"]["scorings"].append("spare")
    assert done.planned() == with_reports(identify("small") + from_store("a", "spare"))


def test_a_run_with_a_store_looks_up_each_shard_and_stays_finished(project: Project) -> None:
    """No finished job runs again if the store is another one, or is removed, or its hits are."""
    project.config["run"]["store"] = "store"
    sets = ("a", "short"), ("a", "long"), ("b", "short")
    stored = [job for one in sets for job in find(*one)]
    assert project.planned() == sorted([*ALL, *identify("small"), *identify("large"), *stored])
    project.run()
    calls = [call for call in project.calls() if call["step"] == "lookup"]
    assert len(calls) == 6
    argv = next(
        call["argv"] for call in calls if call["argv"][-1].endswith("short/hits/2-of-2.parquet")
    )
    folder = argv[-1].removesuffix("hits/2-of-2.parquet")
    name = folder.split("/")[1]
    assert argv[4:] == [
        *("--variant-set", name, "--scoring", "short"),
        *("--windows", f"{folder}windows/2-of-2.parquet"),
        *("--segments", f"{folder}windows/2-of-2.segments.parquet"),
        *("--split", f"results/{name}/shards/split.json"),
        *("--identity", "results/models/small.identity.json"),
        *("--out", f"{folder}hits/2-of-2.parquet"),
    ]
    assert {call["config"]["run"]["store"] for call in calls} == {"store"}
    assert project.planned() == []
    project.config["run"]["store"] = "other"
    assert project.planned() == []
    shutil.rmtree(project.folder / "results" / "a" / "short" / "hits")
    assert project.planned() == []
    del project.config["run"]["store"]
    assert project.planned() == []


EXTENDED = "--benchmark-extended"
"""The benchmark file of a job then has the resources that it asked for."""


def asked_by_scores(results: Path) -> dict[str, dict[str, Any]]:
    """The resources that the jobs of `score` have asked for, by shard."""
    asked = {}
    for file in (results / "logs" / "benchmarks" / "score").rglob("*.tsv"):
        names, values = (line.split("\t") for line in file.read_text().splitlines())
        found = dict(zip(names, values, strict=True))["resources"]
        asked[file.stem] = ast.literal_eval(found)
    return asked


def test_a_job_without_missing_scores_asks_for_no_gpu_little_memory_and_time(
    project: Project,
) -> None:
    """The machine has no GPU. What a job needs is known after its scores are looked up."""
    project.config["run"]["store"] = "store"
    project.config["variant_sets"] = {"a": CONFIG["variant_sets"]["a"] | {"scorings": ["long"]}}
    (project.folder / "missing").write_text("0")
    project.gpus = ""
    project.run(EXTENDED)
    asked = asked_by_scores(project.folder / "results")
    assert len(asked) == 2
    for one in asked.values():
        assert "gpu" not in one
        assert (one["mem_mb"], one["runtime"]) == (SNAKEMAKE_MB + CPU_STEP_MB, CPU_STEP_MINUTES)
    assert project.planned() == []


def test_a_job_asks_for_gpus_if_a_score_is_missing_or_devices_must_agree(
    project: Project,
) -> None:
    project.config["run"]["store"] = "store"
    (project.folder / "missing").write_text("0")
    scores = [f"results/a/long/scores/{i}-of-2.parquet" for i in (1, 2)]
    project.run(*(file.replace("/scores/", "/hits/") for file in scores))
    found = project.folder / "results/a/long/hits/2-of-2.json"
    found.write_text(found.read_text().replace('"missing": 0', '"missing": 1'))
    submitted = project.submit("slurm", *scores)
    assert [line.count("--gpus=2") for line in submitted] == [0, 1]
    assert [line.count("--gpus") for line in submitted] == [0, 1]
    assert [re.findall(r" -p (\S+)", line) for line in submitted] == [["cpu"], ["gpu"]]
    submitted = project.submit("slurm-gres", *scores)
    assert [re.findall("--gres=([a-z0-9:]+)", line) for line in submitted] == [[], ["gpu:1"]]
    assert not any("--gpus" in line for line in submitted)
    assert [re.findall(r" -p (\S+)", line) for line in submitted] == [["cpu"], ["gpu"]]
    # The job has to open its model to know its device.
    project.config["run"]["allow_mixed_devices"] = False
    assert len(project.planned(*scores)) == 2
    submitted = project.submit("slurm", *scores)
    assert [line.count("--gpus=2") for line in submitted] == [1, 1]
    submitted = project.submit("slurm-gres", *scores)
    assert [re.findall("--gres=([a-z0-9:]+)", line) for line in submitted] == [["gpu:1"]] * 2


def test_a_store_of_an_imported_workflow_starts_nothing_in_a_finished_run(
    project: Project,
) -> None:
    """The results are under the prefix of the import, the store is not."""
    project.config["variant_sets"] = {"a": CONFIG["variant_sets"]["a"] | {"scorings": ["long"]}}
    (project.folder / "parent.yaml").write_text("own: 1\n")
    (project.folder / "missing").write_text("0")
    target = "evo2/results/a/long/scores.parquet"

    def run(*arguments: str) -> str:
        parent = USUAL_PARENT.format(snakefile=str(SNAKEFILE), config=project.config)
        (project.folder / "Snakefile").write_text(parent)
        return project.snakemake(*arguments, target)

    run()
    project.config["run"] = {"store": "store"}
    assert "Nothing to be done" in run("--dry-run")
    shutil.rmtree(project.folder / "evo2/results/a/long")
    run(EXTENDED)
    asked = asked_by_scores(project.folder / "evo2" / "results")
    assert ["gpu" in one for one in asked.values()] == [False, False]
    (argv, config), *_ = [
        (call["argv"], call["config"]) for call in project.calls() if call["step"] == "lookup"
    ]
    assert argv[argv.index("--out") + 1].startswith("evo2/results/a/long/hits/")
    assert config["run"]["store"] == "store"
    assert (project.folder / "evo2/results/a/long/reused.parquet").exists()


# --- what Snakemake compares to decide what runs again

RERUN_TRIGGERS = ROOT / "tests" / "data" / "rerun_triggers.json"


def read_environments() -> dict[str, dict[str, str]]:
    """The files of each rule's conda environment, by their digests."""
    environments = {}
    for file in SNAKEFILE.parent.glob("rules/*.smk"):
        for rule, env in re.findall(
            r"^rule (\w+):.*?^    conda:\s+\"(.*?)\"", file.read_text(), re.MULTILINE | re.DOTALL
        ):
            conda = (file.parent / env).resolve()
            files = [conda, conda.with_suffix(".post-deploy.sh")]
            environments[rule] = {
                one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in files
            }
    return environments


def recorded_triggers(folder: Path) -> dict[str, dict[str, Any]]:
    """What Snakemake recorded of one job of each rule; if one value changes, the job runs again."""
    metadata = folder / ".snakemake" / "metadata"
    records: dict[str, dict[str, dict[str, Any]]] = {}
    for file in metadata.rglob("*"):
        if file.is_file():
            # A long name is cut into folders whose names begin with @.
            name = "".join(part.removeprefix("@") for part in file.relative_to(metadata).parts)
            record = json.loads(file.read_text())
            output = base64.urlsafe_b64decode(name).decode()
            records.setdefault(record["rule"], {})[output] = record
    triggers = {}
    for rule, by_output in records.items():
        first = by_output[min(by_output)]
        triggers[rule] = {
            "params": first["params"],
            "shell": first["code"],
            "input": first["input"],
            # All outputs of one job have the same log.
            "output": sorted(name for name, one in by_output.items() if one["log"] == first["log"]),
        }
    return triggers


def embed_finished(project: Project, name: str, scoring: str) -> None:
    """Add embeddings to a scoring whose scores are finished, as `score` states it."""
    config = load_config(project.config, look_for_files=False)
    settings = resolve_score(config, scoring).triggers()
    for file in project.folder.glob(f"results/{name}/{scoring}/scores/*.json"):
        before = file.stat()
        stated = json.loads(file.read_text())
        stated["statements"] = {"settings": settings, "scores": "0" * 64}
        file.write_text(json.dumps(stated))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    project.config["scorings"][scoring] = {
        **project.config["scorings"][scoring],
        "embeddings": {"layer": ["norm", "model.layers.1"], "tokens": 8},
        "profile": 4,
    }


def test_embeddings_are_added_to_finished_scores_and_removed_again(project: Project) -> None:
    project.run()
    plain = copy.deepcopy(project.config["scorings"]["short"])
    for name in ("a", "b"):
        embed_finished(project, name, "short")
    made = [
        job
        for name in ("a", "b")
        for job in [
            *(f"Adding read-outs: {name}, short, {i}-of-2" for i in (1, 2)),
            *(f"Merging embeddings: {name}, short, {layer}" for layer in ("norm", "blocks.1")),
            f"Merging profiles: {name}, short",
        ]
    ]
    pages = ["Writing the report of a", "Writing the report of b"]  # they draw profiles
    assert project.planned() == sorted([*made, *pages])
    project.run()
    assert project.planned() == []
    project.config["scorings"]["short"] = plain
    assert project.planned() == pages


def test_a_new_run_has_one_job_for_scores_and_embeddings(project: Project) -> None:
    project.config["scorings"]["short"] |= {"embeddings": {"layer": "norm", "tokens": 8}}
    planned = project.planned()
    assert sorted(job for job in planned if "short, 1-of-2" in job) == [
        f"{what}: {name}, short, 1-of-2"
        for what in ("Placing windows", "Scoring with read-outs")
        for name in ("a", "b")
    ]
    assert "Scoring: a, long, 1-of-2" in planned


def haplotypes(name: str, scoring: str) -> list[str]:
    """The jobs about the haplotypes of a scoring."""
    scored = [f"Scoring haplotypes: {name}, {scoring}, {i}-of-2" for i in (1, 2)]
    merged = f"Merging haplotypes: {name}, {scoring}"
    return [f"Finding haplotypes: {name}, {scoring}", *scored, merged]


def test_haplotypes_are_added_to_a_finished_run_and_leave_its_tables(project: Project) -> None:
    project.run()
    project.config["variant_sets"]["b"]["haplotypes"] = {"samples": ["S2", "S1"]}
    page = "Writing the report of b"
    assert project.planned() == sorted([*haplotypes("b", "short"), page])
    project.calls_file.unlink()
    project.run()
    (merged,) = [call["argv"] for call in project.calls() if call["step"] == "merge-haplotypes"]
    folder = "results/b/short"
    files = ["--table", f"{folder}/scores.parquet", "--pairs", f"{folder}/haplotypes"]
    assert merged[8:] == [
        *files, "--scores", f"{folder}/haplotype_scores", "--out", f"{folder}/haplotypes.parquet",
        "--compounds", f"{folder}/compounds.parquet", "--run-json", f"{folder}/haplotypes.json",
    ]  # fmt: skip
    for keys in (
        {"samples": ["S1", "S2"]},  # the order of the samples is not that of the rows
        {"samples": ["S1", "S2"], "compound_distance": 2},
    ):
        project.config["variant_sets"]["b"]["haplotypes"] = keys
        assert project.planned() == [], keys
    project.config["variant_sets"]["b"]["haplotypes"] = None
    assert project.planned() == [page]
    for keys in ({"samples": ["S1"]}, {"samples": "all"}):
        project.config["variant_sets"]["b"]["haplotypes"] = keys
        assert project.planned() == sorted([*haplotypes("b", "short"), page]), keys


def test_files_of_haplotypes_that_change_run_what_reads_them_again(project: Project) -> None:
    """The genes of compounds by codon, and the genotypes of a set of changes in a genome."""
    project.config["references"]["two"]["gff"] = "genes.gff3"
    project.config["variant_sets"]["b"]["haplotypes"] = {"samples": "all", "by": "codon"}
    genome = {"variants": "c.vcf", "sample": "S1", "haplotype": 1}
    project.config["variant_sets"]["a"] |= {"saturate": ["snv"], "haplotype_of": genome}
    project.run()
    before = copy.deepcopy(project.config)
    project.config["variant_sets"]["a"]["haplotype_of"] = genome | {"haplotype": 2}
    of_genome = {*split("a"), *from_windows("a", "short"), *from_windows("a", "long")}
    assert of_genome <= {*project.planned()}
    project.config = before
    assert project.planned() == []
    project.change("genes.gff3")
    planned = {*project.planned()}
    assert {*haplotypes("b", "short")} <= planned
    assert "Splitting the variants of b" not in planned
    assert not of_genome & planned
    project.change("c.vcf")
    assert of_genome <= {*project.planned()}


PROBE = {"label": "KIND", "folds_by": "contig"}


def test_a_probe_that_is_added_runs_its_own_jobs_evaluate_and_the_report(project: Project) -> None:
    project.config["scorings"]["short"]["embeddings"] = {"layer": ["norm", "blocks.1"], "tokens": 8}
    project.config["variant_sets"]["c"] = project.config["variant_sets"]["b"] | {"labels": {}}
    project.run()
    plain = copy.deepcopy(project.config)
    project.config["variant_sets"]["b"]["probes"] = {"p": PROBE}
    project.config["variant_sets"]["c"]["probes"] = {
        "q": {"probe": "results/b/{scoring}/probes/p/norm"}
    }
    made = [
        "Training the probe p: b, short, norm", "Training the probe p: b, short, blocks.1",
        "Applying the probe q: c, short", "Evaluating: b, short",
        "Writing the report of b", "Writing the report of c",
    ]  # fmt: skip
    assert project.planned() == sorted(made)
    project.run()
    assert project.planned() == []
    project.config["variant_sets"]["b"]["probes"] = {"p": PROBE | {"folds_by": "position"}}
    assert project.planned() == sorted(made)
    project.config = plain
    removed = ["Evaluating: b, short", "Writing the report of b", "Writing the report of c"]
    assert project.planned() == sorted(removed)


def test_what_runs_a_finished_job_again_is_pinned_for_each_rule(project: Project) -> None:
    """If a change of the code changes the pinned file, users compute again: the changelog says so.

    The failing test names a file with the values that it found; copied over the pinned file they
    become the pinned ones.
    """
    project.config["variant_sets"]["b"]["exports"] = ["vcf", "tsv", "bedgraph", "bigwig"]
    project.config["variant_sets"]["a"]["saturate"] = ["snv"]
    project.config["models"]["large"] = {"checkpoint": HUB_NAME, "gpus": 2}
    project.config["references"]["two"] |= {"gff": "genes.gff3", "genetic_codes": {"c": 2}}
    project.config["scorings"]["spare"] |= {"horizon": 8, "audit": 0.1}
    project.config["variant_sets"]["b"]["scorings"].append("spare")
    project.config["variant_sets"]["r"] = random_set(contigs=["c"])
    # In a set without calibrations, the triggers of its other jobs stay as they were.
    project.config["calibrations"] = copy.deepcopy(CALIBRATIONS)
    project.config["variant_sets"]["r"]["calibrations"] = ["kind"]
    project.config["combine"] = {"two": {"variant_set": "b", "scorings": ["spare", "short"]}}
    project.config["variant_sets"]["b"]["haplotypes"] = {"samples": ["S2", "S1"]}
    project.config["sequence_sets"] = {"q": {"sequences": "one.fa", "scorings": ["short"]}}
    project.config["track_sets"] = {
        "t": {"regions": "t.bed", "reference": "two", "scorings": ["short"], "outputs": ["bigwig"]}
    }
    (project.folder / "t.bed").write_text("c\t0\t4\n")
    project.config["generations"] = {
        "made": {
            "model": project.config["scorings"]["short"]["model"],
            "prompts": {"fasta": "one.fa"},
            "length": 8,
            "compare_with": "two",
        }
    }
    project.run()
    triggers = recorded_triggers(project.folder)
    # The steps of a store, which leave the triggers of all other steps as they were.
    project.config["run"]["store"] = "store"
    project.run("results/a/short/hits/1-of-2.parquet")
    with_store = recorded_triggers(project.folder)
    triggers |= {name: with_store[name] for name in ("identify", "lookup")}
    # Embeddings of finished scores, which stay as they are.
    del project.config["run"]["store"]
    embed_finished(project, "b", "short")
    project.run(
        "results/b/short/embeddings/blocks.1.parquet",
        "results/b/short/profiles.json",
        "results/q/short/embeddings/blocks.1.parquet",
        "results/t/short/embeddings/blocks.1.parquet",
    )
    with_embeddings = recorded_triggers(project.folder)
    added = ("add_readouts", "merge_embeddings", "merge_profiles")
    added += ("embed_sequences", "merge_sequence_embeddings")
    added += ("embed_tracks", "merge_track_embeddings")
    triggers |= {name: with_embeddings[name] for name in added}
    # Probes, which leave the triggers of all other steps as they were.
    project.config["variant_sets"]["b"]["probes"] = {"p": PROBE}
    project.config["variant_sets"]["r"]["probes"] = {
        "q": {"probe": "results/b/short/probes/p/norm"}
    }
    project.run("results/r/short/probes/q/applied.parquet")
    with_probes = recorded_triggers(project.folder)
    triggers |= {name: with_probes[name] for name in ("fit_probe", "apply_probe")}
    for rule, environment in read_environments().items():
        triggers[rule]["environment"] = environment
    found = project.folder / RERUN_TRIGGERS.name
    found.write_text(json.dumps(triggers, indent=2, sort_keys=True) + "\n")
    assert found.read_text() == RERUN_TRIGGERS.read_text(), found


# --- calibrations and combined tables


def fit(calibration: str, scoring: str) -> list[str]:
    return [f"Fitting the calibration {calibration}: {scoring}"]


def calibrate(name: str, scoring: str) -> list[str]:
    return [f"Calibrating: {name}, {scoring}"]


def combine(name: str, combination: str) -> list[str]:
    return [f"Combining scorings: {name}, {combination}"]


def export(name: str, scoring: str) -> list[str]:
    return [f"Exporting as tsv: {name}, {scoring}"]


def report(*names: str) -> list[str]:
    return [f"Writing the report of {name}" for name in names]


CALIBRATIONS: dict[str, Any] = {
    "random": {"background": "r", "by": ["type"]},
    "kind": {"background": "r", "set": "b", "label": "KIND"},
}


def add_calibrations(project: Project, *names: str) -> None:
    """Let the set ``b`` use calibrations that are made from it and from random SNVs."""
    project.config["calibrations"] = copy.deepcopy(CALIBRATIONS)
    project.config["variant_sets"]["b"]["calibrations"] = [*names]


@pytest.fixture
def calibrated(project: Project) -> Project:
    """A project with random SNVs and an export, before it has calibrations."""
    project.config["variant_sets"]["r"] = random_set()
    project.config["variant_sets"]["b"]["exports"] = ["tsv"]
    return project


def test_calibrations_of_a_finished_run_leave_its_tables(calibrated: Project) -> None:
    calibrated.run()
    add_calibrations(calibrated, "random", "kind")
    after = calibrate("b", "short") + evaluate("b", "short") + export("b", "short") + report("b")
    of_both = fit("random", "short") + fit("kind", "short")
    assert calibrated.planned() == sorted(of_both + after)
    calibrated.calls_file.unlink()
    calibrated.run()
    background, table = (f"results/{name}/short/scores.parquet" for name in "rb")
    calls = {call["argv"][5]: call["argv"] for call in calibrated.calls()
             if call["step"] == "fit-calibration"}  # fmt: skip
    assert [*calls] == ["kind", "random"] or [*calls] == ["random", "kind"]
    end = ["--out", "results/calibrations/random/short"]
    assert calls["random"][8:] == ["--background", background, *end]
    end = ["--out", "results/calibrations/kind/short"]
    assert calls["kind"][8:] == ["--background", background, "--labelled", table, *end]
    (argv,) = [call["argv"] for call in calibrated.calls() if call["step"] == "calibrate"]
    assert argv[argv.index("--calibrations") + 1] == "results/calibrations"
    assert calibrated.planned() == []
    # Without them again: the files that were made from them, and nothing else.
    del calibrated.config["calibrations"], calibrated.config["variant_sets"]["b"]["calibrations"]
    assert calibrated.planned() == sorted(
        evaluate("b", "short") + export("b", "short") + report("b")
    )


def test_another_stratum_fits_that_calibration_again_and_what_follows(calibrated: Project) -> None:
    add_calibrations(calibrated, "random", "kind")
    calibrated.run()
    after = calibrate("b", "short") + evaluate("b", "short") + export("b", "short") + report("b")
    assert calibrated.planned() == []
    calibrated.config["run"]["batch_tokens"] = 7
    assert calibrated.planned() == []
    for change in ({"by": ["trinucleotide"]}, {"by": []}, {"score": "llr_aligned"}):
        calibrated.config["calibrations"]["random"] = CALIBRATIONS["random"] | change
        assert calibrated.planned() == sorted(fit("random", "short") + after), change
    calibrated.config["calibrations"] = copy.deepcopy(CALIBRATIONS)
    calibrated.config["calibrations"]["kind"]["prior"] = 0.0441
    assert calibrated.planned() == sorted(fit("kind", "short") + after)
    calibrated.config["calibrations"] = copy.deepcopy(CALIBRATIONS)
    # The order of the calibrations is that of the columns.
    calibrated.config["variant_sets"]["b"]["calibrations"] = ["kind", "random"]
    assert calibrated.planned() == sorted(after)
    # A label of the set: the calibrations that use it.
    add_calibrations(calibrated, "random", "kind")
    calibrated.config["variant_sets"]["b"]["labels"]["KIND"]["negative"] = ["fine"]
    assert calibrated.planned() == sorted(fit("kind", "short") + after)


def test_a_calibration_of_an_earlier_run_is_used_and_not_made(calibrated: Project) -> None:
    old = calibrated.folder / "old"
    old.mkdir()
    for name in ("calibration", "background", "ratios", "folds", "scores"):
        (old / f"{name}.parquet").touch()
    add_calibrations(calibrated, "old", "far")
    calibrated.config["calibrations"] |= {
        "old": {"file": "old/calibration.parquet"},
        "far": {"background": "old/scores.parquet"},
    }
    calibrated.run()
    fitted = [call["argv"][5:] for call in calibrated.calls() if call["step"] == "fit-calibration"]
    (argv,) = fitted
    end = ["--out", "results/calibrations/far/short"]
    assert argv == ["far", "--scoring", "short", "--background", "old/scores.parquet", *end]
    assert calibrated.planned() == []
    after = calibrate("b", "short") + evaluate("b", "short") + export("b", "short") + report("b")
    for name in ("calibration", "background", "ratios", "folds"):
        calibrated.change(f"old/{name}.parquet")
        assert calibrated.planned() == sorted(after), name
        calibrated.run()
    calibrated.change("old/scores.parquet")
    assert calibrated.planned() == sorted(fit("far", "short") + after)


def test_a_combination_of_a_finished_run_leaves_its_tables(project: Project) -> None:
    project.config["variant_sets"]["b"]["scorings"].append("spare")
    project.run()
    project.config["combine"] = {
        "two": {"variant_set": "a", "scorings": ["short", "long"]},
        "three": {"variant_set": "b", "scorings": ["spare", "short"]},
    }
    jobs = combine("a", "two") + combine("b", "three") + evaluate("b", "three")
    assert project.planned() == sorted(jobs + report("a", "b"))
    project.calls_file.unlink()
    project.run()
    assert Counter(call["step"] for call in project.calls()) == {
        "combine": 2, "evaluate": 1, "report": 2,
    }  # fmt: skip
    (argv,) = [call["argv"] for call in project.calls() if call["step"] == "evaluate"]
    assert argv[argv.index("--table") + 1] == "results/b/combined/three/combined.parquet"
    assert (project.folder / "results/b/combined/three/metrics.parquet").exists()
    assert (project.folder / "results/logs/evaluate_combined/b/three.log").exists()
    assert not (project.folder / "results/a/combined/two/metrics.parquet").exists()
    assert project.planned() == []
    project.config["combine"]["two"]["ensembles"] = ["rank_mean"]
    assert project.planned() == sorted(combine("a", "two") + report("a"))
    del project.config["combine"]["two"]["ensembles"]
    # The metrics of a combined table have nothing from calibrations.
    project.config["variant_sets"]["r"] = random_set()
    project.config["variant_sets"]["r"]["scorings"] = ["short", "spare"]
    add_calibrations(project, "random")
    assert "Evaluating: b, short" in project.planned()
    assert "Evaluating: b, three" not in project.planned()


def test_calibrations_and_combinations_of_an_imported_workflow_are_under_its_prefix(
    calibrated: Project,
) -> None:
    add_calibrations(calibrated, "random", "kind")
    calibrated.config["combine"] = {"two": {"variant_set": "a", "scorings": ["short", "long"]}}
    parent = USUAL_PARENT.format(snakefile=str(SNAKEFILE), config=calibrated.config)
    (calibrated.folder / "Snakefile").write_text(parent)
    combined = "evo2/results/a/combined/two/combined.parquet"
    calibrated.snakemake("evo2/results/b/short/calibrated.parquet", combined)
    assert not (calibrated.folder / "results").exists()
    argvs = {call["step"]: call["argv"] for call in calibrated.calls()}
    argv = argvs["calibrate"]
    assert argv[argv.index("--calibrations") + 1] == "evo2/results/calibrations"
    argv = argvs["combine"]
    assert argv[argv.index("--results") + 1] == "evo2/results/a"


# --- random SNVs


@pytest.mark.slow
def test_random_snvs_are_drawn_once_and_again_if_their_settings_change(project: Project) -> None:
    (project.folder / "x.bed").touch()
    project.config["variant_sets"] = {"r": random_set() | {"exports": ["vcf"]}}
    jobs = draw("r") + split("r") + from_windows("r", "short")
    assert set(with_reports(jobs)) < set(project.planned())
    project.run()
    (call,) = [call for call in project.calls() if call["step"] == "draw"]
    assert call["argv"][-1] == "results/r/random_snvs.vcf.gz"
    assert project.planned() == []
    project.config["run"]["batch_tokens"] = 7
    project.config["shards"] = 2
    assert project.planned() == []
    for change in ({"seed": 2}, {"number": 6}, {"contigs": ["c"]}, {"regions": "x.bed"}):
        project.config["variant_sets"]["r"]["random_snvs"] = {"number": 5, "seed": 1, **change}
        assert set(with_reports(jobs)) < set(project.planned()), change
    project.config["shards"] = 3
    project.config["variant_sets"]["r"]["random_snvs"] = {"number": 5}
    planned = project.planned()
    assert not {*draw("r")} & {*planned}
    assert {*split("r")} <= {*planned}


def test_random_snvs_of_an_imported_workflow_are_under_its_prefix(project: Project) -> None:
    (project.folder / "parent.yaml").write_text("own: 1\n")
    project.config["variant_sets"] = {"r": random_set()}
    parent = USUAL_PARENT.format(snakefile=str(SNAKEFILE), config=project.config)
    (project.folder / "Snakefile").write_text(parent)
    project.snakemake("evo2/results/r/short/scores.parquet")
    assert (project.folder / "evo2/results/r/random_snvs.vcf.gz").exists()
    assert not (project.folder / "results").exists()


# --- models on a hub


def test_a_model_on_a_hub_is_fetched_once_for_all_its_jobs(project: Project) -> None:
    project.config["models"]["small"]["checkpoint"] = HUB_NAME
    assert project.planned() == sorted([*ALL, *fetch("small")])
    project.run()
    (call,) = [call for call in project.calls() if call["step"] == "fetch"]
    assert call["argv"][-1] == HUB_NAME
    assert project.planned() == []
    # Of two scorings that use no model on a hub, none asks for it.
    project.config["scorings"]["more"] = {"model": "large"}
    project.config["variant_sets"]["a"]["scorings"].append("more")
    assert project.planned() == with_reports(from_windows("a", "more"))


def test_another_revision_is_fetched_and_scored(project: Project) -> None:
    project.config["models"]["large"] = {"checkpoint": HUB_NAME}
    project.run()
    project.config["models"]["large"]["checkpoint"] = HUB_NAME.replace("0", "1")
    assert project.planned() == with_reports(
        [*fetch("large"), *score("a", "long"), *merge("a", "long")]
    )


def test_a_job_goes_to_a_cluster_with_its_gpus_and_a_fetch_does_not(project: Project) -> None:
    """SLURM's commands are stand-ins too: they note how they are called, and no job runs."""
    project.config["models"]["large"] = {"checkpoint": HUB_NAME, "gpus": 2}
    scores = [f"results/a/{scoring}/scores/1-of-2.parquet" for scoring in ("long", "short")]
    project.run(*scores)
    for file in [*scores, "results/models/large.json"]:
        (project.folder / file).unlink()
    project.calls_file.unlink()
    asked = project.submit("slurm", *scores)
    assert [call["step"] for call in project.calls()] == ["fetch"]
    gpus = {
        scoring: [word for line in asked if f"a_{scoring}_" in line for word in line.split()
                  if word.startswith("--gpus")]
        for scoring in ("long", "short")
    }  # fmt: skip
    assert gpus == {"long": ["--gpus=2"], "short": []}
    assert len(asked) == 2
    assert all("--export=ALL" in line for line in asked), "HF_HOME has to reach the jobs"


# --- what is wrong is one line


def error_line(output: str) -> str:
    """The one line that a user sees beside what Snakemake says about itself."""
    lines = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, output
    assert "Traceback" not in output
    return lines[0]


def test_a_wrong_config_is_one_line_and_no_job(project: Project) -> None:
    project.config["scorings"]["short"]["window_lenght"] = 64
    output = project.snakemake("--snakefile", str(SNAKEFILE), config=project.config, status=1)
    assert error_line(output).startswith(
        "Error: config.yaml: scorings.short.window_lenght: unknown key; did you mean window_length?"
    )
    assert not project.calls_file.exists()


def test_a_missing_file_is_one_line(project: Project) -> None:
    (project.folder / "b.vcf").unlink()
    output = project.snakemake(
        "--snakefile", str(SNAKEFILE), "--dry-run", config=project.config, status=1
    )
    assert error_line(output).startswith(
        "Error: config.yaml: variant_sets.b.variants: b.vcf does not exist"
    )


def test_a_key_that_stands_twice_is_one_line(project: Project) -> None:
    text = yaml.safe_dump(project.config) + "output: a\noutput: b\n"
    (project.folder / "config.yaml").write_text(text)
    output = project.snakemake("--snakefile", str(SNAKEFILE), "--dry-run", status=1)
    assert "the key 'output' occurs twice" in error_line(output)


# --- as part of another workflow

PARENT = """
configfile: "parent.yaml"

rule calls:
    output: "called.vcf"
    shell: "echo called > {{output}}"

module evo2:
    snakefile: {snakefile!r}
    config: config["evo2"]
    prefix: "scored"

use rule * from evo2 as evo2_*

rule all:
    default_target: True
    input: rules.evo2_all.input, "called.vcf"
"""


def test_another_workflow_imports_it_with_its_own_config_and_prefix(project: Project) -> None:
    config = project.config
    del config["variant_sets"]["a"]
    config["variant_sets"]["b"]["exports"] = ["vcf"]
    # made by the parent: not there when the workflow is read
    config["variant_sets"]["b"]["variants"] = "called.vcf"
    config["models"]["small"]["checkpoint"] = HUB_NAME
    (project.folder / "parent.yaml").write_text(yaml.safe_dump({"evo2": config, "own": 1}))
    (project.folder / "Snakefile").write_text(PARENT.format(snakefile=str(SNAKEFILE)))
    project.snakemake()
    assert (project.folder / "scored/results/b/short/scores.vcf.gz").exists()
    assert (project.folder / "scored/results/models/small.json").exists()
    assert not (project.folder / "results").exists()
    configs = [call["config"] for call in project.calls() if call["step"] not in NO_CONFIG]
    assert configs == [config] * 9
    config["run"]["batch_tokens"] = 7
    (project.folder / "parent.yaml").write_text(yaml.safe_dump({"evo2": config, "own": 1}))
    assert "Nothing to be done" in project.snakemake()


def test_two_imports_with_different_shards_stand_side_by_side(project: Project) -> None:
    parent = """
configs = {configs!r}
module first:
    snakefile: {snakefile!r}
    config: configs[0]
    prefix: "first"
use rule * from first as first_*
module second:
    snakefile: {snakefile!r}
    config: configs[1]
    prefix: "second"
use rule * from second as second_*
rule all:
    default_target: True
    input: rules.first_all.input, rules.second_all.input
"""
    configs = [project.config | {"shards": 2}, project.config | {"shards": 3}]
    (project.folder / "Snakefile").write_text(
        parent.format(configs=configs, snakefile=str(SNAKEFILE))
    )
    output = project.snakemake("--dry-run")
    assert re.search(r"^first_score +6$", output, flags=re.MULTILINE)
    assert re.search(r"^second_score +9$", output, flags=re.MULTILINE)


USUAL_PARENT = """
rule all:
    input: "own.txt"

rule own:
    output: "own.txt"
    shell: "touch {{output}}"

module evo2:
    snakefile: {snakefile!r}
    config: {config!r}
    prefix: "evo2"

use rule * from evo2 as evo2_*
"""


def test_a_parent_whose_own_all_comes_first_keeps_it_as_its_target(project: Project) -> None:
    parent = USUAL_PARENT.format(snakefile=str(SNAKEFILE), config=project.config)
    (project.folder / "Snakefile").write_text(parent)
    output = project.snakemake("--dry-run")
    assert re.search(r"^own +1$", output, flags=re.MULTILINE)
    assert "evo2_" not in output


# --- the workflow as it is shipped


def test_the_linter_finds_nothing(project: Project) -> None:
    assert "good condition" in project.run("--lint")


@pytest.mark.parametrize("profile", ["local", "workstation", "slurm", "slurm-gres"])
def test_a_dry_run_with_each_profile(project: Project, profile: str) -> None:
    assert project.planned("--profile", str(ROOT / "workflow" / "profiles" / profile)) == ALL


def test_no_profile_is_mixed_in_unasked() -> None:
    assert not (ROOT / "workflow" / "profiles" / "default").exists()
    assert not (ROOT / "profiles").exists()


def test_rules_are_thin() -> None:
    for file in [SNAKEFILE, *SNAKEFILE.parent.glob("rules/*.smk")]:
        text = file.read_text()
        assert not re.search(r"^\s*(def|script:|run:|retries:|lambda)\b", text, re.MULTILINE), file


@pytest.mark.slow
def test_a_dry_run_of_a_thousand_shards_is_quick(project: Project) -> None:
    project.config["shards"] = 1000
    del project.config["variant_sets"]["b"]
    (project.folder / "config.yaml").write_text(yaml.safe_dump(project.config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--cores", "2"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--dry-run", "--quiet"], cwd=project.folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor: a busy machine does not count.
    assert after.ru_utime - before.ru_utime < 60, "measured 10 s for 2 scorings"
