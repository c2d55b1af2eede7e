"""A table that was added to a store, and a run with that store."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evo2_tasks.commands import store_add
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import BUNDLED_CHECKPOINTS, resolve_identify, resolve_lookup
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.layout import REUSED, RUN, SHARDS, SPLIT, TABLE, hits_file, shard_run_file
from evo2_tasks.steps import identify as identify_step
from evo2_tasks.steps import lookup as lookup_step
from evo2_tasks.table.store import (
    Store,
    StoredContig,
    StoreDescription,
    StoredSignature,
    find_candidates,
)
from evo2_tasks.table.store_models import ModelKey, ModelRecord
from tests.commands.stored_tables import SETTINGS, write_drawn_table
from tests.project import (
    files_of_shards,
    run_merge,
    run_score,
    run_split,
    run_steps,
    run_windows,
    write_demo,
)


def run_with_store(config: RunConfig, folder: Path) -> Path:
    """All steps of a run with a store; gives the table."""
    run_split(config, folder)
    run_windows(config, folder)
    identity = folder / "m.identity.json"
    identify_step.identify(resolve_identify(config, "m"), out=identity)
    for files in files_of_shards(config, folder):
        lookup_step.lookup(
            resolve_lookup(config, "v", "s"),
            windows_file=files.windows,
            segments_file=files.segments,
            split_file=folder / SHARDS / SPLIT,
            identity_file=identity,
            out=hits_file(files.scores),
        )
        run_score(config, files)
    return run_merge(config, folder)


def read_runs(config: RunConfig, folder: Path) -> list[dict[str, Any]]:
    """What the scoring job of each shard states."""
    return [
        json.loads(shard_run_file(files.scores).read_text())
        for files in files_of_shards(config, folder)
    ]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of a run without a store."""
    folder = tmp_path_factory.mktemp("earlier")
    return run_steps(load_config(write_demo(folder, 12, shards=2)), folder / "v", stub=False)


def with_store(folder: Path, store: Path) -> RunConfig:
    folder.mkdir()
    return load_config(write_demo(folder, 12, shards=2, run={"store": str(store)}))


def test_a_run_reuses_the_scores_of_an_added_table(tmp_path: Path, earlier: Path) -> None:
    store = tmp_path / "store"
    (added,) = store_add.add([earlier], store)
    assert (added.added, added.left_out) == (12, {})
    # The table does not state the files of its model, so the model is opened once.
    config = with_store(tmp_path / "first", store)
    table = run_with_store(config, tmp_path / "first" / "v")
    runs = read_runs(config, tmp_path / "first" / "v")
    assert [one["tokens_run"] for one in runs] == [0, 0]
    assert [one["reused"] for one in runs] == [6, 6]
    columns = [name for name in pd.read_parquet(earlier).columns if name != "flags"]
    pd.testing.assert_frame_equal(
        pd.read_parquet(table)[columns], pd.read_parquet(earlier)[columns]
    )
    assert len(pd.read_parquet(table.with_name(REUSED))) == 12
    assert json.loads(table.with_name(RUN).read_text())["reused"] == 12
    # Now the store knows the model.
    (record,) = Store(store).describe().models
    assert record.name == "m"
    again = with_store(tmp_path / "again", store)
    run_with_store(again, tmp_path / "again" / "v")
    runs = read_runs(again, tmp_path / "again" / "v")
    assert [one.get("torch") for one in runs] == [None, None]
    # A table of reused scores can be added too.
    (copied,) = store_add.add([tmp_path / "again" / "v" / "s" / TABLE], tmp_path / "copy")
    assert copied.added == 12
    (signature,) = Store(tmp_path / "copy").describe().signatures
    (known,) = Store(store).describe().signatures
    assert signature.digest == known.digest


def test_scores_of_another_model_are_not_used(
    tmp_path: Path, earlier: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A table with the same settings, alleles and windows, but of a model with other weights."""
    rows = pd.read_parquet(earlier)
    bases = "".join(
        line
        for line in Path(json.loads(earlier.with_name(RUN).read_text())["reference"]["fasta"])
        .read_text()
        .split("\n")[1:]
    )
    settings = replace(SETTINGS, window_length=256, max_allele_length=64)
    alleles = [tuple(one) for one in rows[["contig", "pos", "ref", "alt"]].to_numpy()]
    other = write_drawn_table(
        tmp_path / "other", {"MT": bases}, alleles, circular=["MT"], settings=settings
    )
    store = tmp_path / "store"
    (added,) = store_add.add([other.path], store)
    assert added.added == 12
    config = with_store(tmp_path / "run", store)
    with caplog.at_level(logging.WARNING):
        table = run_with_store(config, tmp_path / "run" / "v")
    runs = read_runs(config, tmp_path / "run" / "v")
    assert all(one["tokens_run"] > 0 and one["reused"] == 0 for one in runs)
    assert any("they differ from those of this model in weights" in one for one in caplog.messages)
    pd.testing.assert_series_equal(pd.read_parquet(table)["llr"], rows["llr"])
    assert len(Store(store).describe().signatures) == 2


def test_a_model_in_other_files_is_recognised_when_it_is_opened(
    tmp_path: Path, earlier: Path
) -> None:
    """The store knows the model by its files, and the checkpoint has one file more."""
    store = tmp_path / "store"
    list(store_add.add([earlier], store))
    run_with_store(with_store(tmp_path / "first", store), tmp_path / "first" / "v")
    assert len(Store(store).describe().models) == 1
    copy = tmp_path / "copy"
    shutil.copytree(BUNDLED_CHECKPOINTS / "evo2-mini", copy)
    (copy / "notes.json").write_text("{}")
    (tmp_path / "run").mkdir()
    file = write_demo(tmp_path / "run", 12, shards=2, run={"store": str(store)})
    parts = json.loads(file.read_text())
    parts["models"]["m"] = {"checkpoint": str(copy), "gpus": 0, "dtype": "float32"}
    config = load_config(parts)
    run_with_store(config, tmp_path / "run" / "v")
    runs = read_runs(config, tmp_path / "run" / "v")
    assert [(one["tokens_run"], one["reused"]) for one in runs] == [(0, 6), (0, 6)]
    assert len(Store(store).describe().models) == 2


def test_the_likeliest_signature_comes_first() -> None:
    scoring = {"window_length": 64}
    signature = {"weights": "any", "fp8": "any", "dtype": "float32", "scoring": scoring}

    def stored(weights: str, rows: int, **changes: object) -> StoredSignature:
        stated = signature | {"weights": weights, "fp8": "off"} | changes
        contig = StoredContig("SQ." + "A" * 32, files=1, rows=rows, num_bytes=1)
        return StoredSignature(weights, stated, "1", (contig,))

    def known(weights: str, *files: str) -> ModelRecord:
        key = ModelKey(
            files={f"{weights}.{number}": file for number, file in enumerate(files)},
            model=None, config=None, dtype="float32", fp8=None, allow_without_fp8=False,
        )  # fmt: skip
        return ModelRecord(key=key, weights=weights, fp8="off", version="1", name="m")

    one, two, other = "1" * 64, "2" * 64, "3" * 64
    described = StoreDescription(
        signatures=(
            stored("a" * 64, 900),
            stored("b" * 64, 5),
            stored("c" * 64, 10),
            stored("d" * 64, 20),
            stored("e" * 64, 99, dtype="bfloat16"),
        ),
        models=(known("a" * 64, other), known("b" * 64, one, two)),
    )
    mine = known("f" * 64, two, one).key

    def order(*arguments: Any, **options: Any) -> str:
        return "".join(
            found.digest[0]
            for found in find_candidates(described, signature, *arguments, **options)
        )

    assert order() == "dc"
    assert order(mine) == "bdc"
    assert order(mine, all_models=True) == "bdca"
