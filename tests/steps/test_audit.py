"""The audit of a horizon, compared with a second scoring that has no horizon."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from evo2_tasks.commands.plan import plan
from evo2_tasks.config.evaluation import resolve_report
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import (
    resolve_audit,
    resolve_merge_audit,
    resolve_plan,
    resolve_readouts,
)
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import WindowSettings, place_allele
from evo2_tasks.io.interruption import Interrupted, Interruption
from evo2_tasks.layout import (
    AUDIT,
    AUDIT_RUN,
    AUDITED,
    READOUTS,
    RUN,
    SCORES,
    SHARDS,
    SPLIT,
    TABLE,
    WINDOWS,
    shard_run_file,
)
from evo2_tasks.runtime import scoring_jobs
from evo2_tasks.scoring import score as score_module
from evo2_tasks.steps import audit as audit_step
from evo2_tasks.steps import merge_audit as merge_audit_step
from evo2_tasks.steps import report as report_step
from evo2_tasks.steps import score_readouts as score_readouts_step
from evo2_tasks.table.audit_choice import SmallestHashes, count_audited, hash_allele
from tests.project import (
    HEADER,
    Project,
    ShardFiles,
    files_of_shards,
    run_merge,
    run_score,
    run_split,
    run_windows,
    write_project,
)

WINDOW_LENGTH = 96
TOLERANCE = 1e-6 * WINDOW_LENGTH
LENGTHS = {"line": 900, "ring": 300, "small-ring": 80}


def make_genome() -> dict[str, str]:
    generator = random.Random(5)
    return {name: "".join(generator.choices("ACGT", k=size)) for name, size in LENGTHS.items()}


def make_variants(num: int, contig_name: Callable[[str], str] = str) -> str:
    """SNVs, insertions and deletions on linear and circular contigs, some of them not scored."""
    generator, genome, lines = random.Random(6), make_genome(), [HEADER]
    for name in LENGTHS:
        for pos in sorted(generator.sample(range(1, LENGTHS[name] - 6), num // 3)):
            ref = genome[name][pos - 1 : pos - 1 + generator.choice((1, 1, 1, 2, 5))]
            alt = generator.choice("ACGT") + "".join(generator.choices("ACGT", k=len(ref) // 4))
            alt = "<DEL>" if generator.random() < 0.05 else alt
            lines.append(f"{contig_name(name)}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
    return "".join(lines)


def make_project(
    folder: Path, checkpoint: Path, *, num: int = 150, shards: int = 3, strands: str = "both"
) -> Project:
    """A scoring ``s`` with a horizon and an audit, and ``whole`` without."""
    common = {"model": "m", "window_length": WINDOW_LENGTH, "strands": strands}
    return write_project(
        folder,
        genome=make_genome(),
        variants=make_variants(num),
        reference={"circular_contigs": ["ring", "small-ring"]},
        model={"checkpoint": str(checkpoint)},
        scorings={"s": {**common, "horizon": 8, "audit": 0.3}, "whole": common},
        run={"batch_tokens": 400, "part_tokens": 2_000},
        shards=shards,
    )  # fmt: skip


def run_audit(config: RunConfig, folder: Path) -> None:
    audit_step.audit(
        resolve_audit(config, "v", "s"),
        split_file=folder / SHARDS / SPLIT,
        windows_folder=folder / "s" / WINDOWS,
        out=folder / "s" / AUDITED,
    )


def run_readouts(config: RunConfig, folder: Path, files: ShardFiles) -> None:
    score_readouts_step.score_readouts(
        resolve_readouts(config, "s"),
        windows_file=files.windows,
        segments_file=files.segments,
        out=files.scores,
        readouts=folder / "s" / READOUTS / files.scores.stem,
        audited=folder / "s" / AUDITED,
        threads=1,
    )


def run_merge_audit(config: RunConfig, folder: Path) -> Path:
    work = folder / "s"
    merge_audit_step.merge_audit(
        resolve_merge_audit(config, "v", "s"),
        split_file=folder / SHARDS / SPLIT,
        windows_folder=work / WINDOWS,
        audited_folder=work / AUDITED,
        scores_folder=work / SCORES,
        readouts_folder=work / READOUTS,
        out=work / AUDIT,
        run_json=work / AUDIT_RUN,
    )
    return work / AUDIT


def run_all(config: RunConfig, folder: Path) -> Path:
    """All steps of the scoring with an audit; gives the table."""
    run_split(config, folder)
    run_windows(config, folder)
    run_audit(config, folder)
    for files in files_of_shards(config, folder):
        run_readouts(config, folder, files)
    run_merge_audit(config, folder)
    return run_merge(config, folder)


def run_whole(config: RunConfig, folder: Path) -> pd.DataFrame:
    """The scoring without a horizon, by ``score``."""
    run_split(config, folder)
    run_windows(config, folder, "whole")
    for files in files_of_shards(config, folder, "whole"):
        run_score(config, files, "whole")
    return pd.read_parquet(run_merge(config, folder, "whole"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Project:
    return make_project(tmp_path_factory.mktemp("audit"), checkpoint)


@pytest.fixture(scope="module")
def results(project: Project) -> Path:
    """A finished run with an audit, and its scoring without a horizon."""
    folder = project.genome.parent / "results"
    config = project.load()
    run_all(config, folder)
    run_whole(config, folder)
    return folder


KEYS = ["record", "allele"]


def test_the_audited_scores_are_those_of_a_scoring_without_a_horizon(results: Path) -> None:
    audited = pd.read_parquet(results / "s" / AUDIT)
    whole = pd.read_parquet(results / "whole" / TABLE)
    scored = whole[whole["status"] == "scored"]
    assert list(audited) == [*KEYS, "llr_window", "llr_window_fwd", "llr_window_rev"]
    assert len(audited) == -(-3 * len(scored) // 10)
    both = audited.merge(scored, on=KEYS, how="left")
    for suffix in ("", "_fwd", "_rev"):
        np.testing.assert_allclose(
            both[f"llr_window{suffix}"], both[f"llr{suffix}"], rtol=0, atol=TOLERANCE
        )
    assert audited.equals(audited.sort_values(KEYS))


def test_run_json_states_the_error_that_pandas_and_scipy_find(results: Path) -> None:
    stated = json.loads((results / "s" / RUN).read_text())["audit"]
    table = pd.read_parquet(results / "s" / TABLE)
    both = pd.read_parquet(results / "s" / AUDIT).merge(table, on=KEYS)
    assert stated["alleles"] == len(both)
    assert stated["share"] == 0.3
    for suffix in ("", "_fwd", "_rev"):
        off = (both[f"llr{suffix}"] - both[f"llr_window{suffix}"]).abs()
        found = stated["errors"][f"llr{suffix}"]
        assert found["alleles"] == len(both)
        assert found["rms"] == pytest.approx((off**2).mean() ** 0.5)
        assert found["rms"] > 0.01
        assert found["p99"] == pytest.approx(off.quantile(0.99))
        assert found["largest"] == pytest.approx(off.max())
        expected = spearmanr(both[f"llr{suffix}"], both[f"llr_window{suffix}"]).statistic
        assert found["spearman"] == pytest.approx(expected)
    whole = json.loads((results / "whole" / RUN).read_text())
    assert "audit" not in whole
    assert 0 < stated["tokens_run"] < whole["tokens_run"]


def test_the_signature_and_the_windows_know_nothing_of_an_audit(
    tmp_path: Path, project: Project, results: Path
) -> None:
    plain = project.load().model_copy(deep=True)
    scoring = plain.scorings["s"].model_copy(update={"audit": None})
    plain = plain.model_copy(update={"scorings": {**plain.scorings, "s": scoring}})
    run_split(plain, tmp_path)
    run_windows(plain, tmp_path)
    for files in files_of_shards(plain, tmp_path):
        run_score(plain, files)
    run_merge(plain, tmp_path)
    for file in [*results.glob("s/windows/*.parquet"), *results.glob("s/scores/*.parquet")]:
        assert (tmp_path / file.relative_to(results)).read_bytes() == file.read_bytes()
    assert (tmp_path / "s" / TABLE).read_bytes() == (results / "s" / TABLE).read_bytes()


def test_an_audit_that_is_added_to_a_finished_run_leaves_its_scores_alone(
    tmp_path: Path, project: Project, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project.load()
    run_split(config, tmp_path)
    run_windows(config, tmp_path)
    for files in files_of_shards(config, tmp_path):
        run_score(config, files)
    table = run_merge_without_audit(config, tmp_path).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("s/scores/*")}
    run_audit(config, tmp_path)
    for files in files_of_shards(config, tmp_path):
        run_readouts(config, tmp_path, files)
    run_merge_audit(config, tmp_path)
    run_merge(config, tmp_path)
    assert (tmp_path / "s" / TABLE).read_bytes() == table
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (tmp_path / "s" / AUDIT).read_bytes() == (results / "s" / AUDIT).read_bytes()


def run_merge_without_audit(config: RunConfig, folder: Path) -> Path:
    scoring = config.scorings["s"].model_copy(update={"audit": None})
    plain = config.model_copy(update={"scorings": {**config.scorings, "s": scoring}})
    return run_merge(plain, folder)


def read_chosen(folder: Path) -> pl.DataFrame:
    """The alleles that ``audit`` has chosen in all shards."""
    files = [file for file in (folder / "s" / AUDITED).iterdir() if ".segments" not in file.name]
    return pl.concat([pl.read_parquet(file, columns=KEYS) for file in files]).sort(KEYS)


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_the_same_alleles_are_audited_with_any_number_of_shards(
    tmp_path: Path, checkpoint: Path, results: Path, shards: int
) -> None:
    config = make_project(tmp_path, checkpoint, shards=shards).load()
    run_split(config, tmp_path)
    run_windows(config, tmp_path)
    run_audit(config, tmp_path)
    assert read_chosen(tmp_path).equals(pl.read_parquet(results / "s" / AUDIT, columns=KEYS))


def test_the_same_alleles_are_audited_under_other_names_of_the_contigs(
    tmp_path: Path, checkpoint: Path, results: Path
) -> None:
    project = make_project(tmp_path, checkpoint)
    project.variants.write_text(make_variants(150, lambda name: f"chr{name}"))
    names = dict(zip(LENGTHS, ("x", "y", "z"), strict=True))
    genome = make_genome()
    project.genome.write_text("".join(f">{names[name]}\n{genome[name]}\n" for name in LENGTHS))
    parts = project.config
    parts["references"]["g"] |= {
        "circular_contigs": [names["ring"], names["small-ring"]],
        "contig_aliases": {f"chr{name}": names[name] for name in LENGTHS},
    }
    config = project.load()
    run_split(config, tmp_path)
    run_windows(config, tmp_path)
    run_audit(config, tmp_path)
    assert read_chosen(tmp_path).equals(pl.read_parquet(results / "s" / AUDIT, columns=KEYS))


@pytest.mark.parametrize("strands", ["forward", "reverse"])
def test_the_audit_of_one_strand_has_no_scores_of_the_other(
    tmp_path: Path, checkpoint: Path, strands: str
) -> None:
    config = make_project(tmp_path, checkpoint, num=45, strands=strands, shards=1).load()
    run_all(config, tmp_path)
    own, other = ("_fwd", "_rev") if strands == "forward" else ("_rev", "_fwd")
    audited = pd.read_parquet(tmp_path / "s" / AUDIT)
    assert audited[f"llr_window{other}"].isna().all()
    assert audited["llr_window"].equals(audited[f"llr_window{own}"].rename("llr_window"))
    errors = json.loads((tmp_path / "s" / RUN).read_text())["audit"]["errors"]
    assert sorted(errors) == ["llr", f"llr{own}"]


def test_a_set_without_an_allele_to_score_has_an_empty_audit(
    tmp_path: Path, checkpoint: Path
) -> None:
    project = make_project(tmp_path, checkpoint, shards=2)
    project.variants.write_text(f"{HEADER}line\t50\t.\tA\t<DEL>\t.\t.\t.\n")
    run_all(project.load(), tmp_path)
    assert pq.read_table(tmp_path / "s" / AUDIT).num_rows == 0
    stated = json.loads((tmp_path / "s" / RUN).read_text())["audit"]
    assert (stated["alleles"], stated["errors"], stated["tokens_run"]) == (0, {}, 0)


# --- jobs that end before their time


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> tuple[Project, int]:
    """A finished run of one shard, and how often its job checked for a signal."""
    project = make_project(tmp_path_factory.mktemp("run"), checkpoint, num=60, shards=1)
    num_checks = 0

    def check(_self: Interruption) -> None:
        nonlocal num_checks
        num_checks += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interruption, "check", check)
        run_all(project.load(), project.genome.parent / "results")
    return project, num_checks


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.8, 0.9, 1.0])
def test_a_killed_job_continues_with_the_same_bytes(
    tmp_path: Path,
    undisturbed: tuple[Project, int],
    monkeypatch: pytest.MonkeyPatch,
    share: float,
) -> None:
    project, num_checks = undisturbed
    config, expected = project.load(), project.genome.parent / "results"
    run_split(config, tmp_path)
    run_windows(config, tmp_path)
    run_audit(config, tmp_path)
    (files,) = files_of_shards(config, tmp_path)
    checks = iter(range(1, 10_000))

    def check(_self: Interruption) -> None:
        if next(checks) == max(1, round(share * num_checks)):
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "check", check)
        with pytest.raises(Interrupted):
            run_readouts(config, tmp_path, files)
    assert not (tmp_path / "s" / READOUTS / "1-of-1" / AUDIT).exists()
    is_in_the_audit = files.scores.exists()
    # As Snakemake does with the outputs of a failed job.
    files.scores.unlink(missing_ok=True)
    shard_run_file(files.scores).unlink(missing_ok=True)
    tokens = count_tokens_run(monkeypatch)
    run_readouts(config, tmp_path, files)
    run_merge_audit(config, tmp_path)
    run_merge(config, tmp_path)
    for file in (TABLE, AUDIT):
        assert (tmp_path / "s" / file).read_bytes() == (expected / "s" / file).read_bytes()
    stated = json.loads((tmp_path / "s" / RUN).read_text())
    total = stated["tokens_run"] + stated["audit"]["tokens_run"]
    assert is_in_the_audit or share < 0.8
    most = stated["audit"]["tokens_run"] if is_in_the_audit else total
    has_parts = share in (0.3, 0.5, 0.9, 1.0)  # of the scores, or of the audit
    assert sum(tokens) < most if has_parts else sum(tokens) == most
    assert list((tmp_path / "s" / SCORES).glob("*.parts")) == []


def count_tokens_run(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens of each call of a model from now on, canaries left out."""
    tokens: list[int] = []
    score_part = scoring_jobs.score_part

    def score(*args: Any, on_call: Callable[[int, int], None], **options: Any) -> object:
        def count(windows: int, num: int) -> None:
            tokens.append(num)
            on_call(windows, num)

        return score_part(*args, on_call=count, **options)

    monkeypatch.setattr(scoring_jobs, "score_part", score)
    return tokens


def test_memory_that_runs_out_in_the_audit_alone_changes_its_batches(
    tmp_path: Path, project: Project, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project.load()
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "s" / READOUTS)
    run_pass = score_module.run_pass

    def run_small(model: Any, planned: Any, **options: Any) -> Any:
        if planned.largest_batch > 100:
            raise torch.OutOfMemoryError
        return run_pass(model, planned, **options)

    monkeypatch.setattr(score_module, "run_pass", run_small)
    for files in files_of_shards(config, tmp_path):
        run_readouts(config, tmp_path, files)
    run_merge_audit(config, tmp_path)
    before, after = (pd.read_parquet(path / "s" / AUDIT) for path in (results, tmp_path))
    pd.testing.assert_frame_equal(before, after, rtol=0, atol=TOLERANCE)
    jobs = [json.loads(path.read_text()) for path in tmp_path.glob(f"s/{READOUTS}/*/*.json")]
    assert len(jobs) == 3
    assert max(job["batch_tokens"] for job in jobs) < 400


# --- which alleles


@pytest.mark.parametrize(
    ("share", "num_alleles", "expected"),
    [
        (0.01, 0, 0), (0.01, 7, 7), (0.01, 20, 20), (0.01, 21, 20), (0.01, 2_000, 20),
        (0.01, 2_001, 21), (0.01, 100_000, 1_000), (0.01, 10**9, 1_000), (1.0, 999, 999),
        (0.07, 1_000, 70), (1e-5, 10**7, 100), (0.3, 100, 30),
    ],
)  # fmt: skip
def test_the_number_of_audited_alleles(share: float, num_alleles: int, expected: int) -> None:
    assert count_audited(share, num_alleles) == expected


@given(
    hashes=st.lists(st.integers(0, 400), max_size=300),
    share=st.sampled_from([0.01, 0.2, 1.0]),
    seed=st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_the_alleles_with_the_smallest_hashes_are_chosen_in_any_order(
    hashes: list[int], share: float, seed: random.Random
) -> None:
    entries = [(hashed, record) for record, hashed in enumerate(hashes)]
    expected = sorted(entries)[: count_audited(share, len(entries))]
    seed.shuffle(entries)
    smallest = SmallestHashes()
    for hashed, record in entries:
        smallest.add(hashed, (record, 1), (hashed, record))
    assert smallest.choose(share) == expected


def test_memory_for_the_choice_is_bounded() -> None:
    smallest = SmallestHashes()
    hashes = [hash_allele(b"digest", pos, "A", "C") for pos in range(20_000)]
    for pos, hashed in enumerate(hashes):
        smallest.add(hashed, (pos, 1), pos)
    chosen = smallest.choose(1.0)
    assert chosen == sorted(range(20_000), key=lambda pos: hashes[pos])[:1_000]
    assert len(set(hashes)) == 20_000


def test_the_choice_is_that_of_a_plain_loop_over_the_genome(results: Path) -> None:
    """The digests come from the bases here, and from the files of ``split`` in the step."""
    contigs = {
        name: hashlib.sha256(hashlib.sha256(bases.encode()).digest()).digest()
        for name, bases in make_genome().items()  # each of them is one block
    }
    table = pl.read_parquet(results / "whole" / TABLE)
    hashes = []
    for row in table.filter(pl.col("status") == "scored").iter_rows(named=True):
        text = f"\t{row['pos']}\t{row['ref']}\t{row['alt']}".encode()
        digest = hashlib.blake2b(contigs[row["contig"]] + text, digest_size=16).hexdigest()
        hashes.append((digest, row["record"], row["allele"]))
    smallest = sorted(hashes)[: -(-3 * len(hashes) // 10)]
    audited = pl.read_parquet(results / "s" / AUDIT, columns=KEYS)
    assert audited.rows() == sorted((record, allele) for _, record, allele in smallest)


def test_whole_windows_are_those_that_are_placed_without_a_horizon(
    results: Path, project: Project
) -> None:
    genome = project.load().references["g"]
    reference = Reference(genome.fasta, circular_contigs=genome.circular_contigs)
    settings = WindowSettings(window_length=WINDOW_LENGTH)
    num_cut = 0
    for file in (results / "s" / AUDITED).glob("*-of-3.parquet"):
        for row in pq.read_table(file).to_pylist():
            key = (row["record"], row["allele"], row["contig"], row["pos"], row["ref"], row["alt"])
            placed = place_allele(Variant(*key, None), reference, settings)
            for name in ("length_fwd", "prefix_fwd", "length_rev", "prefix_rev", "edit_start"):
                assert row[name] == getattr(placed, name), (key, name)
            num_cut += row["length_fwd"] > row["prefix_fwd"] + 8
    assert num_cut > 20


def test_plan_counts_the_windows_of_an_audit(project: Project) -> None:
    with_audit, whole = plan(
        resolve_plan(project.load()),
        rates_file=None, device=None, device_memory_gb=24, price=None, job_hours=1,
    )  # fmt: skip
    config = json.loads(json.dumps(project.config))
    del config["scorings"]["s"]["audit"]
    without, _ = plan(
        resolve_plan(load_config(config)),
        rates_file=None, device=None, device_memory_gb=24, price=None, job_hours=1,
    )  # fmt: skip
    num = with_audit["by_status"]["to_score"]
    assert with_audit["audited"] == -(-3 * num // 10)
    assert "audited" not in without
    assert "audited" not in whole
    more = with_audit["tokens"] - without["tokens"]
    assert more == pytest.approx(0.3 * whole["tokens"], rel=0.15)
    assert with_audit["memory_mb"]["device"] >= whole["memory_mb"]["device"]
    suggested = [one["suggested_batch_tokens"] for one in (without, whole)]
    assert with_audit["suggested_batch_tokens"] == min(suggested)


# --- what reads it


def test_the_report_shows_the_error_and_the_alleles(results: Path, project: Project) -> None:
    page = write_page(results, project)
    assert "Error of the horizon" in page
    rms = json.loads((results / "s" / RUN).read_text())["audit"]["errors"]["llr"]["rms"]
    assert f">{rms:.3g}<" in page
    assert "llr with and without the horizon, s" in page
    assert "llr with and without the horizon, whole" not in page


def write_page(results: Path, project: Project) -> str:
    report_step.report(
        resolve_report(project.load(), "v"), results=results, out=results / "report.html"
    )
    return (results / "report.html").read_text()


def test_the_report_refuses_another_audit(tmp_path: Path, results: Path, project: Project) -> None:
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    table = pq.read_table(copy / "s" / AUDIT)
    pq.write_table(table.slice(1), copy / "s" / AUDIT)
    with pytest.raises(InputError, match=r"audit\.parquet: is another table than the one"):
        write_page(copy, project)
    (copy / "s" / AUDIT).unlink()
    with pytest.raises(InputError, match=r"audit\.parquet: does not exist"):
        write_page(copy, project)


# --- mistakes


def test_an_audit_needs_a_horizon(project: Project) -> None:
    config = json.loads(json.dumps(project.config))
    del config["scorings"]["s"]["horizon"]
    with pytest.raises(InputError, match=r"scorings\.s\.audit: needs `horizon`") as error:
        load_config(config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("share", [0, -0.1, 1.5, "1 %", True, [0.1]])
def test_a_share_that_is_none_is_one_line(project: Project, share: object) -> None:
    config = json.loads(json.dumps(project.config))
    config["scorings"]["s"]["audit"] = share
    with pytest.raises(InputError, match=r"scorings\.s\.audit: ") as error:
        load_config(config)
    assert "\n" not in str(error.value)


def test_the_steps_of_an_audit_refuse_a_scoring_without_one(project: Project) -> None:
    config = project.load()
    for resolve in (resolve_audit, resolve_merge_audit):
        with pytest.raises(InputError, match=r"scorings\.whole: has no `audit`"):
            resolve(config, "v", "whole")
