"""Embeddings and profiles through the steps, compared with a plain hook on whole windows."""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.commands.plan import describe_estimates, plan
from evo2_tasks.commands.show import show
from evo2_tasks.commands.status import read_status
from evo2_tasks.config.embeddings import resolve_merge_embeddings, resolve_merge_profiles
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_plan, resolve_readouts
from evo2_tasks.config.schema import EmbeddingsConfig, RunConfig
from evo2_tasks.cost.embeddings import (
    bytes_per_allele,
    list_layers_of,
    list_widths,
    name_layers,
)
from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.io.interruption import Interrupted
from evo2_tasks.layout import (
    PROFILES,
    PROFILES_RUN,
    READOUTS,
    SCORES,
    SHARDS,
    SPLIT,
    TABLE,
    WINDOWS,
    embeddings_run_file,
    layer_file,
    shard_run_file,
)
from evo2_tasks.runtime import scoring_jobs
from evo2_tasks.scoring import part_sizes
from evo2_tasks.steps import merge_embeddings as merge_embeddings_step
from evo2_tasks.steps import merge_profiles as merge_profiles_step
from evo2_tasks.steps import score_readouts as score_readouts_step
from evo2_tasks.table.embeddings import read_embeddings
from evo2_tasks.table.pairs import read_pairs
from evo2_tasks.table.segments import Segments
from tests.project import (
    HEADER,
    Project,
    files_of_shards,
    run_merge,
    run_score,
    run_split,
    run_windows,
    write_project,
)
from tests.steps.store_runs import A, B, make_job

WINDOW_LENGTH = 96
TOKENS = 24
LAYERS = {
    "norm": "model.norm",
    "blocks.1": "model.layers.1",
    "blocks.2.mlp.l3": "model.layers.2.mlp.l3",
}
LENGTHS = {"line": 700, "ring": 300}
KEYS = ["record", "allele"]


def make_genome() -> dict[str, str]:
    generator = random.Random(5)
    return {name: "".join(generator.choices("ACGT", k=size)) for name, size in LENGTHS.items()}


def make_variants(num: int) -> str:
    """SNVs, insertions and deletions, some of them at the ends, some of them not scored."""
    generator, genome, lines = random.Random(6), make_genome(), [HEADER]
    for name, bases in genome.items():
        places = sorted({1, 2, *generator.sample(range(3, len(bases) - 6), num // 2), len(bases)})
        for pos in places:
            ref = bases[pos - 1 : pos - 1 + generator.choice((1, 1, 1, 2, 5))]
            alt = generator.choice("ACGT") + "".join(generator.choices("ACGT", k=len(ref) // 4))
            alt = "<DEL>" if generator.random() < 0.1 else alt
            lines.append(f"{name}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
    return "".join(lines)


def make_project(folder: Path, checkpoint: Path, *, shards: int = 3, **scoring: Any) -> Project:
    return write_project(
        folder,
        genome=make_genome(),
        variants=make_variants(24),
        reference={"circular_contigs": ["ring"]},
        model={"checkpoint": str(checkpoint)},
        scoring={
            "window_length": WINDOW_LENGTH,
            "embeddings": {"layer": [*LAYERS], "tokens": TOKENS, "keep_strands": True},
            "profile": 1_000,
            **scoring,
        },
        run={"batch_tokens": 800, "part_tokens": 1_500},
        shards=shards,
    )


def place(config: RunConfig, folder: Path) -> None:
    run_split(config, folder)
    run_windows(config, folder)


def read_out(config: RunConfig, folder: Path, *, is_added: bool = False) -> None:
    """Score all shards with their read-outs, or add the read-outs to finished scores."""
    for files in files_of_shards(config, folder):
        score_readouts_step.score_readouts(
            resolve_readouts(config, "s"),
            windows_file=files.windows,
            segments_file=files.segments,
            out=None if is_added else files.scores,
            scores=files.scores if is_added else None,
            readouts=folder / "s" / READOUTS / files.scores.stem,
            audited=None,
            threads=1,
        )


def merge_layer(config: RunConfig, folder: Path, layer: str) -> Path:
    work = folder / "s"
    out = work / layer_file(layer)
    merge_embeddings_step.merge_embeddings(
        resolve_merge_embeddings(config, "v", "s", layer),
        split_file=folder / SHARDS / SPLIT,
        windows_folder=work / WINDOWS,
        scores_folder=work / SCORES,
        readouts_folder=work / READOUTS,
        out=out,
        run_json=embeddings_run_file(out),
    )
    return out


def merge_profiles(config: RunConfig, folder: Path) -> Path:
    work = folder / "s"
    merge_profiles_step.merge_profiles(
        resolve_merge_profiles(config, "v", "s"),
        split_file=folder / SHARDS / SPLIT,
        windows_folder=work / WINDOWS,
        scores_folder=work / SCORES,
        readouts_folder=work / READOUTS,
        out=work / PROFILES,
        run_json=work / PROFILES_RUN,
    )
    return work / PROFILES


def run_all(config: RunConfig, folder: Path) -> Path:
    """All steps of a scoring with read-outs; gives its folder."""
    place(config, folder)
    read_out(config, folder)
    for layer in list_layers_of(config, "s"):
        merge_layer(config, folder, layer)
    if config.scorings["s"].profile is not None:
        merge_profiles(config, folder)
    return run_merge(config, folder).parent


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Project:
    return make_project(tmp_path_factory.mktemp("embeddings"), checkpoint)


@pytest.fixture(scope="module")
def results(project: Project) -> Path:
    """The folder of the variant set of a finished run."""
    folder = project.genome.parent / "results"
    run_all(project.load(), folder)
    return folder


@pytest.fixture
def copied(results: Path, tmp_path: Path) -> Path:
    shutil.copytree(results, tmp_path / "results")
    return tmp_path / "results"


def change(project: Project, **scoring: Any) -> RunConfig:
    """The config with other keys of the scoring; None removes a key."""
    config = json.loads(json.dumps(project.config))
    for key, value in scoring.items():
        config["scorings"]["s"].pop(key, None)
        if value is not None:
            config["scorings"]["s"][key] = value
    return load_config(config)


def embeddings_of(layer: Any, **keys: Any) -> dict[str, Any]:
    return {"layer": layer, "tokens": TOKENS, "keep_strands": True, **keys}


# --- the numbers


def plain_embeddings(
    model: Evo2ForCausalLM, folder: Path, config: RunConfig, layer: str
) -> dict[tuple[int, int], dict[str, np.ndarray]]:
    """``ref`` and ``delta`` of each strand of each allele that runs, from whole windows."""
    kept: list[torch.Tensor] = []
    module = model.get_submodule(LAYERS[layer])
    hook = module.register_forward_hook(lambda *args: kept.append(args[-1]))

    def outputs(window: bytes) -> np.ndarray:
        kept.clear()
        with torch.inference_mode():
            model.model(torch.tensor([[*window]]), use_cache=False)
        return kept[0][0].double().numpy()

    found: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for files in files_of_shards(config, folder):
        keys = pq.read_table(files.windows, columns=KEYS).to_pylist()
        pairs = read_pairs(files.windows, Segments(files.segments), STRANDS["both"])
        for pair in pairs:
            num = len(pair.ref_seq)
            own = [(pair.prefix + i,) * 2 for i in range(min(pair.num_ref, pair.num_alt))]
            own += [
                (pair.prefix + pair.num_ref + i, pair.prefix + pair.num_alt + i) for i in range(num)
            ]
            own = [(one, other) for one, other in own if max(one, other) < num][:TOKENS]
            ref = outputs(pair.ref_seq)[[one for one, _ in own]].mean(axis=0)
            alt = outputs(pair.alt_seq)[[other for _, other in own]].mean(axis=0)
            key = (keys[pair.row]["record"], keys[pair.row]["allele"])
            suffix = {"forward": "_fwd", "reverse": "_rev"}[pair.strand]
            found.setdefault(key, {}).update({f"ref{suffix}": ref, f"delta{suffix}": alt - ref})
    hook.remove()
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_embeddings_are_those_of_a_plain_hook_on_whole_windows(
    results: Path, project: Project, small_model: Evo2ForCausalLM, layer: str
) -> None:
    expected = plain_embeddings(small_model, results, project.load(), layer)
    table = pd.read_parquet(results / "s" / layer_file(layer))
    scores = pd.read_parquet(results / "s" / TABLE)
    assert table[KEYS].equals(scores[KEYS])
    assert list(table) == [
        *KEYS, "ref_embedding", "delta_embedding", "ref_embedding_fwd", "delta_embedding_fwd",
        "ref_embedding_rev", "delta_embedding_rev",
    ]  # fmt: skip
    num_null = 0
    for row, status in zip(table.to_dict("records"), scores["status"], strict=True):
        own = expected.get((row["record"], row["allele"]), {})
        for kind in ("ref", "delta"):
            strands = [own.get(f"{kind}{suffix}") for suffix in ("_fwd", "_rev")]
            mean = None if any(one is None for one in strands) else sum(strands) / 2
            for suffix, value in zip(("", "_fwd", "_rev"), (mean, *strands), strict=True):
                found = row[f"{kind}_embedding{suffix}"]
                assert (found is None) == (value is None), (row["record"], kind, suffix)
                if value is not None:
                    assert found.dtype == np.float32
                    np.testing.assert_allclose(found, value, rtol=0, atol=2e-5)
        assert (row["ref_embedding"] is None) == (status != "scored")
        num_null += row["ref_embedding"] is None
    assert 0 < num_null < len(table) // 2


def test_a_profile_sums_to_the_llr_of_its_strand(results: Path) -> None:
    table = pd.read_parquet(results / "s" / PROFILES)
    scores = pd.read_parquet(results / "s" / TABLE)
    assert table[KEYS].equals(scores[KEYS])
    error = json.loads((results / "s" / PROFILES_RUN).read_text())
    assert error["dtype"] == "float16"
    assert error["filled"] == int(scores["llr_fwd"].notna().sum())
    for suffix in ("_fwd", "_rev"):
        assert table[f"profile{suffix}"].notna().equals(scores[f"llr{suffix}"].notna())
        rows = table[f"profile{suffix}"].dropna()
        assert {one.dtype for one in rows} == {np.dtype(np.float16)}
        sums = np.array([one.astype(float).sum() for one in rows])
        # Each entry is off by half of its last bit at most.
        most = error["errors"][f"profile{suffix}"]["largest"] * rows.map(len).max()
        np.testing.assert_allclose(sums, scores[f"llr{suffix}"].dropna(), rtol=0, atol=most + 1e-5)
        assert most < 0.2


def test_tables_state_where_they_come_from(results: Path, project: Project) -> None:
    scores = pq.read_schema(results / "s" / TABLE).metadata
    for file, settings in (
        (layer_file("norm"), {"layer": "norm", "tokens": TOKENS, "dtype": "float32"}),
        (PROFILES, {"profile": 1_000}),
    ):
        stored = pq.read_schema(results / "s" / file).metadata
        assert stored[b"evo2_tasks.signature"] == scores[b"evo2_tasks.signature"]
        assert stored[b"evo2_tasks.model"] == b"m"
        stated = json.loads(stored[b"evo2_tasks.settings"])
        assert {key: stated[key] for key in settings} == settings


# --- scores are left alone


def test_one_pass_gives_the_scores_of_a_run_without_read_outs(
    tmp_path: Path, project: Project, results: Path
) -> None:
    plain = change(project, embeddings=None, profile=None)
    place(plain, tmp_path)
    for files in files_of_shards(plain, tmp_path):
        run_score(plain, files)
    table = run_merge(plain, tmp_path)
    # The last bits may differ: embeddings of short windows need their last token, which is run too.
    alone, together = pd.read_parquet(table), pd.read_parquet(results / "s" / TABLE)
    pd.testing.assert_frame_equal(alone, together, rtol=0, atol=1e-6 * WINDOW_LENGTH)
    config = project.load()
    kept = [*tmp_path.glob("s/scores/*"), table]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept}
    read_out(config, tmp_path, is_added=True)
    for layer in LAYERS:
        made = merge_layer(config, tmp_path, layer)
        assert made.read_bytes() == (results / "s" / layer_file(layer)).read_bytes()
    made = merge_profiles(config, tmp_path)
    assert made.read_bytes() == (results / "s" / PROFILES).read_bytes()
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept} == before


class Passes:
    """Notes what the model is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[set[str]] = []
        run_part = scoring_jobs.PartScorer._run_part

        def note(scorer: Any, part: Any, on_call: Any, readouts: Any) -> Any:
            asked = [getattr(one, "layers", [one.name]) for one in readouts]
            self.asked.append({name for names in asked for name in names})
            return run_part(scorer, part, on_call, readouts)

        monkeypatch.setattr(scoring_jobs.PartScorer, "_run_part", note)


def test_one_more_layer_is_read_out_alone(
    copied: Path, project: Project, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = Passes(monkeypatch)
    more = change(project, embeddings=embeddings_of([*LAYERS, "blocks.0"]))
    for folder in copied.glob(f"s/{READOUTS}/*-of-3"):
        shutil.rmtree(folder)  # as Snakemake does before the job
    read_out(more, copied)
    assert len(passes.asked) > 3
    assert all(one == {"blocks.0"} for one in passes.asked)
    for layer in LAYERS:
        made = merge_layer(more, copied, layer)
        assert made.read_bytes() == (results / "s" / layer_file(layer)).read_bytes()
    merge_layer(more, copied, "blocks.0")
    run_merge(more, copied)
    assert (copied / "s" / TABLE).read_bytes() == (results / "s" / TABLE).read_bytes()
    # Fewer again, and a shorter profile: nothing runs.
    passes.asked.clear()
    fewer = change(project, embeddings=embeddings_of("norm", keep_strands=False), profile=5)
    read_out(fewer, copied)
    assert passes.asked == []
    made = merge_layer(fewer, copied, "norm")
    assert list(pq.read_schema(made).names) == [*KEYS, "ref_embedding", "delta_embedding"]
    lengths = pd.read_parquet(merge_profiles(fewer, copied))["profile_fwd"].dropna().map(len)
    assert lengths.max() == 5


@pytest.mark.parametrize("seed", range(4))
def test_a_job_that_ends_in_the_middle_continues_with_the_same_bytes(
    tmp_path: Path,
    project: Project,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    config, generator = project.load(), random.Random(seed)
    place(config, tmp_path)
    run_part = scoring_jobs.PartScorer._run_part
    left = 0

    def stop_at_random(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted("SIGTERM")
        return run_part(*arguments)

    monkeypatch.setattr(scoring_jobs.PartScorer, "_run_part", stop_at_random)
    for _ in range(100):
        left = generator.randrange(1, 4)
        try:
            read_out(config, tmp_path)
        except Interrupted:
            if seed % 2:  # Snakemake removes the outputs of a failed job
                for path in [
                    *tmp_path.glob("s/scores/*.parquet"),
                    *tmp_path.glob("s/scores/*.json"),
                ]:
                    path.unlink()
            continue
        break
    else:
        pytest.fail("it never ends")
    for layer in LAYERS:
        made = merge_layer(config, tmp_path, layer)
        assert made.read_bytes() == (results / "s" / layer_file(layer)).read_bytes()
    made = merge_profiles(config, tmp_path)
    assert made.read_bytes() == (results / "s" / PROFILES).read_bytes()
    assert run_merge(config, tmp_path).read_bytes() == (results / "s" / TABLE).read_bytes()
    assert not [*tmp_path.glob(f"s/{READOUTS}/*.parts/*/[!.]*-0*.parquet")]


def test_a_part_has_no_more_embeddings_than_fit_into_memory(
    tmp_path: Path, project: Project, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads(json.dumps(project.config))
    whole["run"]["part_tokens"] = 1_048_576
    config = load_config(whole)
    widths = list_widths(name_layers(resolve_readouts(config, "s")))
    assert part_sizes.most_pairs(widths) > 1_000
    monkeypatch.setattr(part_sizes, "MOST_BYTES", 6 * part_sizes.embedding_bytes(widths) + 1)
    run_part, sizes, calls = scoring_jobs.PartScorer._run_part, [], []

    def note(scorer: Any, part: Any, *arguments: Any) -> Any:
        calls.append(len(part))
        if len(calls) in stops:
            raise Interrupted("SIGTERM")
        sizes.append(len(part))
        return run_part(scorer, part, *arguments)

    monkeypatch.setattr(scoring_jobs.PartScorer, "_run_part", note)
    made = {}
    for folder, stops in (("at_once", set[int]()), ("killed", {2, 5, 7})):
        calls.clear()
        place(config, tmp_path / folder)
        for _ in range(len(stops)):
            with pytest.raises(Interrupted):
                read_out(config, tmp_path / folder)
        read_out(config, tmp_path / folder)
        tables = [merge_layer(config, tmp_path / folder, layer) for layer in LAYERS]
        made[folder] = [*tables, run_merge(config, tmp_path / folder)]
    assert max(sizes) <= 7, "at most the second strand of an allele more"
    assert len(sizes) > 12
    half = len(sizes) // 2
    assert sizes[:half] == sizes[half:], "a finished part does not run again"
    for one, other in zip(*made.values(), strict=True):
        assert one.read_bytes() == other.read_bytes()
    scores = [pd.read_parquet(path) for path in (made["killed"][-1], results / "s" / TABLE)]
    pd.testing.assert_frame_equal(*scores, rtol=0, atol=1e-6 * WINDOW_LENGTH)
    for layer, path in zip(LAYERS, made["killed"], strict=False):
        found, expected = pd.read_parquet(path), pd.read_parquet(results / "s" / layer_file(layer))
        for name in ("ref_embedding", "delta_embedding"):
            assert found[name].isna().equals(expected[name].isna())
            values = [np.stack(one[name].dropna()) for one in (found, expected)]
            np.testing.assert_allclose(*values, rtol=0, atol=2e-5)


def test_shards_batches_and_strands_change_no_number(
    tmp_path: Path, checkpoint: Path, results: Path
) -> None:
    other = make_project(tmp_path, checkpoint, shards=1, strands="reverse")
    config = json.loads(json.dumps(other.config))
    config["run"] = {"batch_tokens": 5_000}
    folder = run_all(load_config(config), tmp_path / "results")
    for layer in LAYERS:
        one, two = (pd.read_parquet(path / layer_file(layer)) for path in (results / "s", folder))
        assert one[KEYS].equals(two[KEYS])
        for kind in ("ref", "delta"):
            expected, found = one[f"{kind}_embedding_rev"], two[f"{kind}_embedding"]
            assert expected.notna().equals(found.notna())
            for row, value in zip(expected.dropna(), found.dropna(), strict=True):
                np.testing.assert_allclose(value, row, rtol=0, atol=2e-5)
            assert two[f"{kind}_embedding_fwd"].isna().all()


# --- data types


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrow_types_state_their_error(
    copied: Path, project: Project, results: Path, dtype: str
) -> None:
    config = change(project, embeddings=embeddings_of([*LAYERS], dtype=dtype))
    path = merge_layer(config, copied, "norm")
    stated = json.loads(embeddings_run_file(path).read_text())
    assert stated["dtype"] == dtype
    exact, narrow = (
        [
            np.concatenate([getattr(rows, name) for rows in read_embeddings(file)])
            for name in ("ref", "delta")
        ]
        for file in (results / "s" / layer_file("norm"), path)
    )
    for name, one, other in zip(("ref", "delta"), exact, narrow, strict=True):
        assert np.isnan(one).any(axis=1).tolist() == np.isnan(other).any(axis=1).tolist()
        largest = np.nanmax(np.abs(one.astype(float) - other))
        assert stated["errors"][f"{name}_embedding"]["largest"] == pytest.approx(largest)
        assert 0 < largest < np.nanmax(np.abs(one)) / 100
    assert "errors" not in json.loads(
        embeddings_run_file(results / "s" / layer_file("norm")).read_text()
    )


def test_a_value_that_float16_cannot_hold_is_one_line(copied: Path, project: Project) -> None:
    from evo2_tasks.io.digests import digest_file  # noqa: PLC0415

    folder = copied / "s" / READOUTS / "2-of-3"
    path = folder / layer_file("norm")
    table = pq.read_table(path)
    columns = table.to_pydict()
    place = next(i for i, one in enumerate(columns["ref_embedding"]) if one is not None)
    columns["ref_embedding"][place][3] = 70_000.0
    path.unlink()
    pq.write_table(type(table).from_pydict(columns, schema=table.schema), path)
    stated = json.loads((folder / "readouts.json").read_text())
    stated["made"]["files"][layer_file("norm")] = digest_file(path)
    (folder / "readouts.json").write_text(json.dumps(stated))
    config = change(project, embeddings=embeddings_of([*LAYERS], dtype="float16"))
    with pytest.raises(
        InputError, match="float16 cannot hold 70,000, a value of ref_embedding"
    ) as error:
        merge_layer(config, copied, "norm")
    assert f"record {columns['record'][place]}, allele 1" in str(error.value)
    assert "\n" not in str(error.value)
    int8 = change(project, embeddings=embeddings_of([*LAYERS], dtype="int8"))
    merge_layer(int8, copied, "norm")


# --- what people read


def test_show_states_what_the_embeddings_and_profiles_are(copied: Path, project: Project) -> None:
    config = change(project, embeddings=embeddings_of([*LAYERS], dtype="float16"))
    path = merge_layer(config, copied, "blocks.1")
    lines = "\n".join(show(path))
    rows = pd.read_parquet(path)
    filled = int(rows["ref_embedding"].notna().sum())
    assert f"{len(rows)}, {filled} of them with embeddings" in lines
    for text in ("channels ", "16\n", "type ", "float16\n", "layer ", "blocks.1\n", "weights "):
        assert text in lines
    stated = json.loads(embeddings_run_file(path).read_text())["errors"]["ref_embedding"]
    assert re.search(rf"ref_embedding +{re.escape(format(stated['largest'], '.4g'))}  ", lines)
    lengths = [np.linalg.norm(one.astype(float)) for one in rows["delta_embedding"].dropna()]
    assert f"{max(lengths):.4g}" in lines
    lines = "\n".join(show(copied / "s" / PROFILES))
    assert "sum_fwd of the entries, nats" in lines
    shard = copied / "s" / READOUTS / "1-of-3" / layer_file("norm")
    assert "channels" in "\n".join(show(shard))
    shutil.copy(embeddings_run_file(path), embeddings_run_file(copied / "s" / layer_file("norm")))
    with pytest.raises(InputError, match=r"norm\.json was made from another table than"):
        list(show(copied / "s" / layer_file("norm")))


def test_status_counts_a_shard_when_its_read_outs_are_there(copied: Path) -> None:
    folder = copied.parent / "logs" / "score_readouts" / copied.name / "s"
    folder.mkdir(parents=True)
    for shard in (1, 2, 3):
        (folder / f"{shard}-of-3.log").write_text("2026-01-01 INFO finished\n")
    (status,) = read_status(copied.parent)
    assert (status.shards_done, status.is_merged, status.failures) == (3, True, [])
    (copied / "s" / READOUTS / "2-of-3" / "readouts.json").unlink()
    (status,) = read_status(copied.parent)
    assert status.shards_done == 2


def test_plan_states_the_bytes_of_the_embeddings(project: Project) -> None:
    options = {"rates_file": None, "device": None, "device_memory_gb": None, "price": None}
    for keys, each in (({}, 3 * 128), ({"keep_strands": False, "dtype": "float16"}, 64)):
        config = change(project, embeddings=embeddings_of(["norm", "blocks.1"], **keys))
        (estimate,) = plan(resolve_plan(config), job_hours=1, **options)
        assert [one["layer"] for one in estimate["embeddings"]] == ["norm", "blocks.1"]
        for one in estimate["embeddings"]:
            assert one["bytes_per_allele"] == each
            assert one["bytes"] == each * estimate["by_status"]["to_score"]
        assert f"norm, {one['dtype']}: {each} bytes per allele" in "\n".join(
            describe_estimates([estimate])
        )
    assert bytes_per_allele(4_096, EmbeddingsConfig(), strands="both") == 32 * 1_024


# --- a store


def test_reused_scores_are_kept_and_their_read_outs_are_made(
    tmp_path: Path, checkpoint: Path
) -> None:
    embeddings = {"embeddings": {"layer": "norm", "tokens": 8}}
    store = tmp_path / "store"
    make_job(tmp_path / "first", checkpoint, A, store).run()
    lines = [*A, *(one for one in B if one not in A)]
    scoring = {"model": "m", "window_length": 64, **embeddings}
    job = make_job(tmp_path / "second", checkpoint, lines, store, scorings={"s": scoring})
    config = job.project.load()
    job.place()
    job.look_up()
    read_out(config, job.folder)
    table = pd.read_parquet(run_merge(config, job.folder))
    found = pd.read_parquet(merge_layer(config, job.folder, "norm"))
    reused = pd.read_parquet(job.folder / "s" / "reused.parquet")
    assert 0 < len(reused) < len(table)
    assert found["ref_embedding"].notna().tolist() == (table["status"] == "scored").tolist()
    alone = make_job(tmp_path / "alone", checkpoint, lines, scorings={"s": scoring})
    alone.place()
    read_out(alone.project.load(), alone.folder)
    other = pd.read_parquet(merge_layer(alone.project.load(), alone.folder, "norm"))
    for one, two in zip(found["ref_embedding"], other["ref_embedding"], strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            np.testing.assert_allclose(one, two, rtol=0, atol=2e-5)


# --- files that do not belong together


def swap_shards(folder: Path) -> None:
    one, other = folder / "1-of-3", folder / "2-of-3"
    one.rename(folder / "x")
    other.rename(one)
    (folder / "x").rename(other)


def write_late(folder: Path) -> None:
    """A lost job replaces one file of a shard by that of another run."""
    path = folder / "1-of-3" / layer_file("norm")
    path.unlink()
    shutil.copy(folder / "2-of-3" / layer_file("norm"), path)


def remove_statement(folder: Path) -> None:
    (folder / "3-of-3" / "readouts.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (swap_shards, "was made from another version of"),
        (write_late, "was made from another version of"),
        (remove_statement, "cannot be read|does not exist|No such file"),
    ],
)
def test_files_of_another_shard_or_run_are_refused(
    copied: Path, project: Project, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(copied / "s" / READOUTS)
    with pytest.raises(InputError, match=message) as error:
        merge_layer(project.load(), copied, "norm")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "scoring",
    [
        {"embeddings": embeddings_of([*LAYERS], tokens=25)},
        {"strands": "forward"},
        {"prepend_bos": True},
    ],
)
def test_read_outs_of_other_settings_are_refused(
    copied: Path, project: Project, scoring: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="was made with other settings than those of the config"):
        merge_layer(change(project, **scoring), copied, "norm")


def test_read_outs_are_not_added_to_scores_of_other_windows(copied: Path, project: Project) -> None:
    config = project.load()
    one, other = files_of_shards(config, copied)[:2]
    for path in (one.scores, shard_run_file(one.scores)):
        shutil.copy(other.scores.with_suffix(path.suffix), path)
    with pytest.raises(InputError, match="is not finished, or is of other windows, another model"):
        read_out(config, copied, is_added=True)


# --- mistakes in the config


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        ({"embeddings": {"layer": "blocks.9"}}, r"4 blocks, blocks\.0 to blocks\.3"),
        ({"embeddings": {"layer": "blocks.1.mlp.l4"}}, r"expected one of .*blocks\.1\.mlp\.l3"),
        ({"embeddings": {"layer": "nrm"}}, "Similar names: norm"),
        ({"embeddings": {"layer": ["norm", "model.norm"]}}, "is the same layer as 'norm'"),
        ({"embeddings": {}}, "is missing, and no published layer is known"),
    ],
)
def test_a_layer_that_the_model_does_not_have_is_one_line(
    tmp_path: Path, project: Project, checkpoint: Path, scoring: dict[str, Any], message: str
) -> None:
    scoring["embeddings"]["tokens"] = 8
    with pytest.raises(InputError, match=message) as error:
        list_layers_of(change(project, **scoring), "s")
    assert str(error.value).startswith("config: scorings.s.embeddings.layer: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        ({"embeddings": {"layer": []}}, r"embeddings\.layer: expected at least one entry"),
        ({"embeddings": {"layer": ["a", "a"]}}, r'embeddings\.layer: "a" is named twice'),
        ({"embeddings": {"layer": 7}}, r"embeddings\.layer: expected a text, got 7"),
        ({"embeddings": {"layers": ["a"]}}, r"unknown key; did you mean layer\?"),
        ({"embeddings": True}, r"embeddings: expected a mapping of keys to values, got true"),
        ({"embeddings": {"tokens": 49}}, r"tokens: 49 is too large; .* at most 48 fit"),
        ({"embeddings": {"tokens": 17}, "horizon": 16}, r"17 is too large; with horizon 16"),
        ({"embeddings": {"tokens": 0}}, r"tokens: 0 is too small"),
        ({"embeddings": {"dtype": "float64"}}, r"dtype: \"float64\" is not allowed"),
        ({"profile": 0}, r"profile: 0 is too small"),
        ({"profile": "all"}, r"profile: expected a whole number"),
    ],
)
def test_mistakes_in_the_keys_are_one_line(
    project: Project, scoring: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        change(project, **scoring)
    assert "\n" not in str(error.value)


def test_the_keys_are_no_part_of_the_settings_of_scores(project: Project) -> None:
    from evo2_tasks.config.resolve import resolve_score  # noqa: PLC0415

    plain = change(project, embeddings=None, profile=None)
    assert resolve_score(plain, "s").triggers() == resolve_score(project.load(), "s").triggers()
