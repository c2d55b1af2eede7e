"""What `plan` says about a score store, against what a run with this store then does."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.commands import plan as plan_command
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_identify, resolve_lookup, resolve_plan, resolve_score
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.layout import SHARDS, SPLIT, hits_file, hits_run_file, identity_file, shard_run_file
from evo2_tasks.steps.identify import identify
from evo2_tasks.steps.lookup import lookup
from evo2_tasks.steps.score import score
from tests.project import HEADER, Project, files_of_shards, run_split, run_windows, write_project

GENOME = {"line": 900, "ring": 350}


def write_run(folder: Path, store: Path, *, num_variants: int, **run: object) -> Project:
    """A run of one scoring with a store; a larger number of variants has those of a smaller one."""
    rng = random.Random(4)
    genome = {name: "".join(rng.choices("ACGT", k=length)) for name, length in GENOME.items()}
    lines = [HEADER]
    for _ in range(num_variants):
        contig = rng.choice(list(genome))
        pos = rng.randrange(1, GENOME[contig] + 1)
        ref = genome[contig][pos - 1 : pos - 1 + rng.randint(1, 3)]
        alt = "".join(rng.choices("ACGT", k=rng.randint(1, 3)))
        lines.append(f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
    lines.append("line\t5\t.\tA\t<DEL>\t.\t.\t.\n")
    return write_project(
        folder,
        genome=genome,
        variants="".join(lines),
        reference={"circular_contigs": ["ring"]},
        model={"checkpoint": "evo2-mini"},
        scoring={"window_length": 64},
        variant_set={"max_ref_mismatch_share": 1},
        shards=2,
        run={"part_tokens": 3_000, "batch_tokens": 2_048, "store": str(store), **run},
        output=str(folder / "results"),
    )


def run_all(config: RunConfig) -> dict[str, int]:
    """Split, identify, look up and score; gives the sums of what the jobs state."""
    folder = config.output / "v"
    identity = config.output / identity_file("m")
    run_split(config, folder)
    run_windows(config, folder)
    identify(resolve_identify(config, "m"), out=identity)
    sums = dict.fromkeys(("alleles", "hits", "windows_run", "tokens_run"), 0)
    for files in files_of_shards(config, folder):
        hits = hits_file(files.scores)
        lookup(
            resolve_lookup(config, "v", "s"),
            windows_file=files.windows,
            segments_file=files.segments,
            split_file=folder / SHARDS / SPLIT,
            identity_file=identity,
            out=hits,
        )
        score(
            resolve_score(config, "s"),
            windows_file=files.windows,
            segments_file=files.segments,
            out=files.scores,
            threads=1,
            hits=hits,
        )
        stated = json.loads(hits_run_file(hits).read_text())
        stated |= json.loads(shard_run_file(files.scores).read_text())
        for name in sums:
            sums[name] += stated[name]
    return sums


def plan(config: RunConfig) -> dict[str, Any]:
    (bill,) = plan_command.plan(
        resolve_plan(config),
        rates_file=None,
        device=None,
        device_memory_gb=None,
        price=2.0,
        job_hours=2.0,
    )
    return bill


def test_a_run_with_a_store_does_what_was_planned(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = write_run(tmp_path / "first", store, num_variants=60).load()
    before = plan(first)
    (reason,) = before["store"].values()
    assert reason == f"{store} does not exist yet, so all alleles are scored"
    done = run_all(first)
    assert (before["windows"], before["tokens"]) == (done["windows_run"], done["tokens_run"])
    assert done["hits"] == 0
    # Without the results of the run: the files of the model are read.
    second = write_run(tmp_path / "second", store, num_variants=90).load()
    planned = plan(second)
    done = run_all(second)
    assert 0 < done["hits"] < done["alleles"]
    assert planned["store"] == {"alleles": done["alleles"], "hits": done["hits"]}
    assert (planned["windows"], planned["tokens"]) == (done["windows_run"], done["tokens_run"])
    whole = planned["without_store"]
    assert whole["tokens"] > planned["tokens"]
    assert whole["price"] / planned["price"] == pytest.approx(whole["tokens"] / planned["tokens"])
    (line,) = [
        line.split("  ", 2)[2].strip()
        for line in plan_command.describe_estimates([planned])
        if line.startswith("  store ")
    ]
    assert line.startswith(f"{done['hits']:,} of {done['alleles']:,} alleles are in the store: ")
    assert " of one CPU instead of " in line
    # All of it again, by the digests in the results folder.
    again = plan(second)
    assert again["store"]["hits"] == again["store"]["alleles"] == done["alleles"]
    assert (again["windows"], again["tokens"], again["hours"]) == (0, 0, 0)
    assert again["without_store"] == whole
    total = plan_command.add_up([planned, again])
    assert total["tokens"] == planned["tokens"]


def test_a_run_without_a_store_says_nothing_about_it(tmp_path: Path) -> None:
    project = write_run(tmp_path, tmp_path / "store", num_variants=3)
    del project.config["run"]["store"]
    bill = plan(project.load())
    assert not {"store", "without_store"} & bill.keys()
    assert not [line for line in plan_command.describe_estimates([bill]) if "store" in line]


def test_a_model_that_cannot_be_compared_is_said_to_be_unknown(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = write_run(tmp_path / "first", store, num_variants=9).load()
    run_all(first)
    for record in store.glob("models/*/*.json"):
        record.unlink()  # as in a store of tables that were added
    (reason,) = plan(first)["store"].values()
    assert reason.startswith("unknown: the store does not know this model yet.")
    parts = first.model_dump(mode="json", exclude_unset=True)
    parts["scorings"]["s"]["window_length"] = 128
    other = load_config(parts)
    assert plan(other)["store"] == {"reason": "the store has no scores of this model"}
    parts["models"]["m"] = {"checkpoint": "weights/evo2_7b.pt", "model": "evo2_7b"}
    (reason,) = plan(load_config(parts, look_for_files=False))["store"].values()
    assert reason == "unknown: the checkpoint weights/evo2_7b.pt does not exist yet"
