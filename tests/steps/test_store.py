"""A run with a store: what is found, and what is never found.

The oracle is a run without a store.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.layout import (
    REUSED,
    RUN,
    SHARDS,
    SPLIT,
    hits_file,
)
from evo2_tasks.runtime import scoring_jobs
from tests.steps.store_runs import (
    GENOME,
    A,
    B,
    Line,
    make_job,
    make_lines,
    require_close,
)

# --- what is found


@pytest.mark.parametrize("shards", [1, 3])
def test_only_the_new_alleles_run(
    tmp_path: Path, checkpoint: Path, filled: Path, shards: int
) -> None:
    expected = make_job(tmp_path / "plain", checkpoint, A + B).run()
    alone = make_job(tmp_path / "alone", checkpoint, B, shards=1)
    alone.run()
    job = make_job(tmp_path / "both", checkpoint, A + B, filled, write=False, shards=shards)
    require_close(job.run(), expected)
    assert job.reused == [(record, 1) for record in range(len(A))]
    stated = job.run_json
    assert stated["reused"] == len(A)
    assert sum(shard["reused"] for shard in stated["shards"]) == len(A)
    assert sum(stated["reused_devices"].values()) == len(A)
    if shards == 1:
        assert stated["tokens_run"] == alone.run_json["tokens_run"]
        assert stated["windows_run"] == alone.run_json["windows_run"]


def test_an_empty_store_changes_no_byte(
    tmp_path: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "evo2_tasks.steps.lookup")
    plain = make_job(tmp_path / "plain", checkpoint, A, shards=2)
    plain.run()
    stored = make_job(tmp_path / "stored", checkpoint, A, tmp_path / "store", shards=2)
    stored.run()
    (first, *_) = (one for one in caplog.messages if one.startswith("in the store: "))
    assert first.endswith(f" alleles; {tmp_path / 'store'} does not exist yet")
    for name in ("s/scores.parquet", "s/scores/1-of-2.parquet", "s/scores/2-of-2.parquet"):
        assert (stored.folder / name).read_bytes() == (plain.folder / name).read_bytes(), name
    assert stored.reused == []
    assert stored.run_json["reused"] == 0
    assert "reused" not in plain.run_json
    assert not (plain.folder / "s" / REUSED).exists()


def test_a_second_run_gives_the_bytes_of_the_first(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    plain = make_job(tmp_path / "plain", checkpoint, A)
    plain.run()
    again = make_job(tmp_path / "again", checkpoint, A, filled, write=False)
    again.run()
    assert again.run_json["tokens_run"] == 0
    table = "s/scores.parquet"
    assert (again.folder / table).read_bytes() == (plain.folder / table).read_bytes()


def rename(lines: Iterable[Line], names: dict[str, str]) -> list[Line]:
    return [(names.get(contig, contig), *rest) for contig, *rest in lines]  # type: ignore[misc]


def pad(lines: Iterable[Line]) -> list[Line]:
    """The same alleles with one more base of the reference on both sides, where there is one."""
    padded = []
    for contig, pos, ref, alt in lines:
        bases = GENOME[contig]
        before = bases[pos - 2] if pos > 1 else ""
        after = bases[pos - 1 + len(ref) : pos + len(ref)]
        padded.append((contig, pos - len(before), before + ref + after, before + alt + after))
    return padded


REVERSED = dict(reversed(GENOME.items()))

SAME: dict[str, dict[str, Any]] = {
    "nothing": {},
    "names of contigs": {
        "lines": rename(A, {"chr1": "1", "ring": "R"}),
        "genome": {"1": GENOME["chr1"], "R": GENOME["ring"]},
        "reference": {"circular_contigs": ["R"]},
    },
    "an alias": {"lines": rename(A, {"chr1": "1"})},
    "a subset of the FASTA": {
        "lines": make_lines("A", ["ring"]),
        "genome": {"ring": GENOME["ring"]},
    },
    "more contigs, in another order": {"genome": {"x": "ACGT" * 30, **REVERSED}},
    "padded spelling": {"lines": pad(A)},
    "order of the input": {"lines": A[::-1]},
    "lower case": {"genome": {name: bases.lower() for name, bases in GENOME.items()}},
    "limits of status and flags": {
        "scoring": {"max_allele_length": 12, "max_n_share": 0.9, "min_context": 3}
    },
    "batches and parts": {"run": {"batch_tokens": 100, "part_tokens": 300}},
    "one strand": {"scoring": {"strands": "reverse"}},
    "shards": {"shards": 4},
}  # fmt: skip


@pytest.mark.parametrize("change", SAME)
def test_a_score_is_found(tmp_path: Path, checkpoint: Path, filled: Path, change: str) -> None:
    parts = {"lines": A, **SAME[change]}
    job = make_job(tmp_path / "job", checkpoint, parts.pop("lines"), filled, write=False, **parts)
    found = job.place().look_up()
    alleles = len(job.rows_with_windows())
    assert sum(one.hits for one in found) == sum(one.alleles for one in found)
    assert sum(one.missing for one in found) == sum(one.tokens_missing for one in found) == 0
    assert sum(one.alleles for one in found) == alleles > 5


def test_alleles_of_one_line_and_other_samples_are_found(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    """A multi-allelic line, and a shifted spelling of a deletion in a repeat."""
    contig, pos, ref, alt = A[1]
    other = next(base for base in "ACGT" if base not in (ref, alt))
    job = make_job(
        tmp_path / "job", checkpoint, [(contig, pos, ref, f"{other},{alt}")], filled, write=False
    )
    (found,) = job.place().look_up()
    assert (found.alleles, found.hits, found.missing) == (2, 1, 1)
    job.score().merge()
    assert job.reused == [(0, 2)]


def test_a_spelling_that_is_not_normalised_is_found(tmp_path: Path, checkpoint: Path) -> None:
    genome = {"chr1": GENOME["chr1"][:200] + "CATATATATG" + GENOME["chr1"][200:]}
    left, right = [("chr1", 201, "CAT", "C")], [("chr1", 207, "TATG", "TG")]
    store = tmp_path / "store"
    parts: dict[str, Any] = {"genome": genome, "reference": {}}
    first = make_job(tmp_path / "left", checkpoint, left, store, **parts).run()
    job = make_job(tmp_path / "right", checkpoint, right, store, **parts)
    second = job.run()
    assert job.run_json["reused"] == 1
    assert list(second.llr) == list(first.llr)


# --- what is never found

OTHER_BASE = "ACGT"["ACGT".index(GENOME["chr1"][480]) - 2]
CHANGED = GENOME["chr1"][:480] + OTHER_BASE + GENOME["chr1"][481:]

OTHER: dict[str, dict[str, Any]] = {
    "horizon": {"scoring": {"horizon": 8}},
    "window length": {"scoring": {"window_length": 66}},
    "placement": {"scoring": {"window_placement": "tiled"}},
    "dtype": {"model": {"dtype": "bfloat16"}},
    "prepend_bos": {"scoring": {"prepend_bos": True}},
    "a base of the contig outside the windows": {
        "lines": [one for one in A if one[0] == "chr1" and one[1] < 400],
        "genome": GENOME | {"chr1": CHANGED},
    },
    "circular": {
        "lines": make_lines("A", ["ring"]),
        "reference": {"circular_contigs": []},
    },
}


@pytest.mark.parametrize("change", OTHER)
def test_another_score_is_not_found(
    tmp_path: Path, checkpoint: Path, filled: Path, change: str
) -> None:
    parts = {"lines": A, **OTHER[change]}
    job = make_job(tmp_path / "job", checkpoint, parts.pop("lines"), filled, write=False, **parts)
    for found in job.place().look_up():
        assert found.hits == 0
        assert found.missing == found.alleles


@pytest.mark.parametrize("changed", ["weights", "config.json"])
def test_a_model_gets_its_own_scores(
    tmp_path: Path, checkpoint: Path, filled: Path, changed: str
) -> None:
    """Another model under the same name, which has scores in the same store."""
    other = tmp_path / "other"
    if changed == "weights":
        torch.manual_seed(6)
        model = Evo2ForCausalLM.from_pretrained(checkpoint)
        with torch.no_grad():
            next(model.parameters()).mul_(1.5)
        model.save_pretrained(other)
    else:
        shutil.copytree(checkpoint, other)
        stated = json.loads((other / changed).read_text())
        (other / changed).write_text(json.dumps(stated | {"norm_eps": 0.01}))
    store = tmp_path / "store"
    shutil.copytree(filled, store)
    expected = make_job(tmp_path / "plain", other, A).run()
    first = make_job(tmp_path / "first", other, A, store)
    require_close(first.run(), expected)
    assert first.run_json["reused"] == 0
    second = make_job(tmp_path / "second", other, A, store)
    require_close(second.run(), expected)
    assert second.run_json["tokens_run"] == 0


def test_a_strand_that_is_missing_makes_the_allele_missing(
    tmp_path: Path, checkpoint: Path
) -> None:
    store = tmp_path / "store"
    make_job(tmp_path / "fwd", checkpoint, A, store, scoring={"strands": "forward"}).run()
    both = make_job(tmp_path / "both", checkpoint, A, store, write=False)
    (found,) = both.place().look_up()
    # At the end of the contig, the reverse strand has no context.
    assert found.hits == 1
    make_job(tmp_path / "rev", checkpoint, A, store, scoring={"strands": "reverse"}).run()
    require_close(both.run(), make_job(tmp_path / "plain", checkpoint, A).run())
    assert both.run_json["tokens_run"] == 0, "the strands are from different runs"


def test_letters_of_the_reference_are_never_stored(tmp_path: Path, checkpoint: Path) -> None:
    """REF of the second allele stands for an IUPAC letter: its windows have a base of their own."""
    bases = GENOME["chr1"]
    genome = {"chr1": bases[:199] + "R" + bases[200:]}
    lines = [("chr1", 150, bases[149], "ACGT"["ACGT".index(bases[149]) - 1])]
    lines.append(("chr1", 200, "A", "C"))
    store = tmp_path / "store"
    parts: dict[str, Any] = {"genome": genome, "reference": {}}
    make_job(tmp_path / "first", checkpoint, lines, store, **parts).run()
    again = make_job(tmp_path / "again", checkpoint, lines, store, **parts)
    table = again.run()
    assert list(table["flags"][1]) == ["iupac_ref", "n_in_window"][::-1]
    assert again.reused == [(0, 1)]
    require_close(table, make_job(tmp_path / "plain", checkpoint, lines, **parts).run())


def test_strands_that_are_not_finite_are_never_stored(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    run_part = scoring_jobs.PartScorer._run_part

    def break_some(*arguments: Any) -> Any:
        records = run_part(*arguments)
        records._by_name["sums"][3] = None
        return records

    with monkeypatch.context() as patch:
        patch.setattr(scoring_jobs.PartScorer, "_run_part", break_some)
        patch.setattr(scoring_jobs.PartScorer, "_explain", lambda *_: None)
        broken = make_job(tmp_path / "broken", checkpoint, A, store).run()
    assert list(broken.status).count("non_finite") == 1
    again = make_job(tmp_path / "again", checkpoint, A, store)
    require_close(again.run(), make_job(tmp_path / "plain", checkpoint, A).run())
    assert again.run_json["reused"] == len(A) - 1
    assert again.run_json["windows_run"] < 5


def test_a_strand_without_context_stays_without_score(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    """The first and the last base of a linear contig have one strand each."""
    job = make_job(tmp_path / "job", checkpoint, A, filled, write=False)
    table = job.run()
    ends = table[table.status == "no_context"]
    assert list(ends.pos) == [1, 500]
    assert ends.llr_fwd.isna().tolist() == [True, False]
    assert ends.llr_rev.isna().tolist() == [False, True]
    assert len(job.reused) == len(A)


# --- no model


def test_a_shard_whose_scores_are_all_known_does_not_import_torch(
    tmp_path: Path, checkpoint: Path, filled: Path
) -> None:
    """The whole chain in a process in which torch cannot be imported."""
    job = make_job(tmp_path / "job", checkpoint, A, filled, shards=2)
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in ('torch', 'transformers', 'safetensors', 'tokenizers'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from evo2_tasks.cli import main\n"
        "for line in sys.stdin:\n"
        "    try: main(line.split())\n"
        "    except SystemExit as end: assert not end.code, line\n"
    )
    config, results = ["--config", job.project.config_file], job.folder / "s"
    of_set = [*config, "--variant-set", "v"]
    split_file, identity = job.folder / SHARDS / SPLIT, job.folder / "m.identity.json"
    commands: list[list[object]] = [["split", *of_set, "--out", job.folder / SHARDS]]
    commands.append(["identify", *config, "--model", "m", "--out", identity])
    of_scoring = [*of_set, "--scoring", "s"]
    for files in job.files:
        placed = ["--windows", files.windows, "--segments", files.segments]
        split = ["--split", split_file]
        outputs = ["--out", files.windows, "--segments", files.segments]
        commands.append(["windows", *of_scoring, "--shard", files.shard, *split, *outputs])
        outputs = ["--identity", identity, "--out", hits_file(files.scores)]
        commands.append(["lookup", *of_scoring, *placed, *split, *outputs])
        commands.append(["score", *config, "--scoring", "s", *placed, "--out", files.scores])
    folders = ["--windows", results / "windows", "--scores", results / "scores"]
    outputs = ["--out", results / "scores.parquet", "--run-json", results / RUN]
    commands.append(["merge", *of_scoring, "--split", split_file, *folders, *outputs])
    lines = "".join(" ".join(map(str, command)) + "\n" for command in commands)
    done = subprocess.run(
        [sys.executable, "-c", code], input=lines, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    stated = job.run_json
    assert stated["reused"] == len(A)
    assert stated["devices"] == {}
    assert all("torch" not in shard and "device" not in shard for shard in stated["shards"])
    expected = make_job(tmp_path / "plain", checkpoint, A).run()
    require_close(pd.read_parquet(results / "scores.parquet"), expected)


def test_a_shard_without_alleles_to_score_needs_no_model(
    tmp_path: Path, checkpoint: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store knows the model; else only the model can say which weights it has."""
    lines = [("chr1", 10, GENOME["chr1"][9], ".")]
    opened = []
    open_model = scoring_jobs.open_model
    monkeypatch.setattr(
        scoring_jobs, "open_model", lambda *args: opened.append(1) or open_model(*args)
    )
    make_job(tmp_path / "known", checkpoint, lines, filled, write=False).run()
    assert opened == []
    make_job(tmp_path / "unknown", checkpoint, lines, tmp_path / "empty").run()
    assert opened == [1]
