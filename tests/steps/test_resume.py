"""A scoring job that ends before its time: the next one goes on from what it finished."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.config.resolve import resolve_score, resolve_windows
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.interruption import EXIT_INTERRUPTED, Interrupted, Interruption
from evo2_tasks.runtime import scoring_jobs
from evo2_tasks.steps import score as score_step
from evo2_tasks.steps import windows as windows_step
from evo2_tasks.table.parts import parts_folder, read_usage
from tests import processes
from tests.project import SHARD_WINDOW_LENGTH, Shard, write_shard

NUM_ALLELES = 60
NUM_PARTS = 9


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Shard:
    return write_shard(tmp_path_factory.mktemp("shard"), checkpoint, NUM_ALLELES)


@pytest.fixture(scope="module")
def long_shard(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Shard:
    """A shard that takes long enough for a signal to come before its end."""
    return write_shard(tmp_path_factory.mktemp("long"), checkpoint, num_alleles=150)


@dataclass(frozen=True)
class Whole:
    """The shard as a job has scored it that nothing disturbed."""

    out: Path
    stated: dict[str, Any]

    @property
    def scores(self) -> bytes:
        return self.out.read_bytes()

    def copy(self, out: Path) -> Path:
        """Put all files of the job in another place."""
        shutil.copyfile(self.out, out)
        shutil.copyfile(self.out.with_suffix(".json"), out.with_suffix(".json"))
        shutil.copytree(parts_folder(self.out), parts_folder(out))
        return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, shard: Shard) -> Whole:
    out = tmp_path_factory.mktemp("whole") / "whole.parquet"
    stated = shard.score(out)
    assert (stated["parts"], stated["parts_kept"]) == (NUM_PARTS, 0)
    return Whole(out, stated)


@pytest.fixture
def count_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens of each call of a model, canaries left out."""
    batches: list[int] = []
    score_part = scoring_jobs.score_part

    def score(*args: object, on_call: Callable[[int, int], None], **options: object) -> object:
        def count(windows: int, tokens: int) -> None:
            batches.append(tokens)
            on_call(windows, tokens)

        return score_part(*args, on_call=count, **options)

    monkeypatch.setattr(scoring_jobs, "score_part", score)
    return batches


def read_parts(shard: Shard, out: Path) -> list[dict[str, Any]]:
    return read_usage(parts_folder(out), digest_file(shard.files.windows))


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_whole(folder: Path) -> bool:
    """Whether one file holds all parts."""
    return [name.rpartition("-")[2] for name in files_of(folder)] == ["all.parquet"]


def stop_at_batch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A signal comes before the end of a batch of this number, counted over all parts."""
    checks = iter(range(1, 10_000))

    def check(_self: Interruption) -> None:
        if next(checks) == number:
            raise Interrupted

    monkeypatch.setattr(Interruption, "check", check)


@pytest.mark.parametrize("number", [1, 2, 9, 10, 11, 57])
def test_no_part_is_computed_twice_and_the_bytes_are_the_same(
    tmp_path: Path,
    shard: Shard,
    whole: Whole,
    count_batches: list[int],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    out = tmp_path / "killed.parquet"
    with monkeypatch.context() as patch:
        stop_at_batch(patch, number)
        with pytest.raises(Interrupted):
            shard.score(out)
    assert not out.exists()
    assert not out.with_suffix(".json").exists()
    kept = read_parts(shard, out)
    in_hand = sum(count_batches) - sum(part.tokens_run for part in kept)
    stated = shard.score(out)
    assert stated["parts_kept"] == len(kept)
    assert stated["windows_run"] == whole.stated["windows_run"]
    assert stated["tokens_run"] == whole.stated["tokens_run"]
    assert sum(count_batches) == whole.stated["tokens_run"] + in_hand
    assert out.read_bytes() == whole.scores
    assert is_whole(parts_folder(out))
    assert {path.suffix for path in tmp_path.iterdir()} == {".parquet", ".json", ".parts"}


def test_a_shard_whose_files_were_deleted_is_not_scored_again(
    tmp_path: Path, shard: Shard, whole: Whole, count_batches: list[int]
) -> None:
    """As Snakemake deletes them when a job dies before their end is noted."""
    out = whole.copy(tmp_path / "out.parquet")
    for _ in range(2):
        out.unlink()
        out.with_suffix(".json").unlink()
        again = shard.score(out)
        assert count_batches == []
        assert again["parts_kept"] == NUM_PARTS
        assert again["tokens_run"] == whole.stated["tokens_run"]
        assert out.read_bytes() == whole.scores
        assert is_whole(parts_folder(out))


@pytest.mark.parametrize("removed", [0, 3, NUM_PARTS - 1])
def test_a_job_that_dies_while_it_puts_its_parts_together_loses_none(
    tmp_path: Path,
    shard: Shard,
    count_batches: list[int],
    monkeypatch: pytest.MonkeyPatch,
    removed: int,
) -> None:
    out = tmp_path / "out.parquet"
    unlink = Path.unlink
    left = iter(range(removed))

    def die(path: Path, *, missing_ok: bool = False) -> None:
        if path.stem[-6:].isdigit() and next(left, None) is None:
            raise Interrupted
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", die)
        with pytest.raises(Interrupted):
            shard.score(out)
    assert not out.exists()
    assert len(files_of(parts_folder(out))) == 1 + NUM_PARTS - removed
    assert len(read_parts(shard, out)) == NUM_PARTS
    count_batches.clear()
    assert shard.score(out)["parts_kept"] == NUM_PARTS
    assert count_batches == []
    assert is_whole(parts_folder(out))


@pytest.mark.parametrize(
    "change", [{"batch_tokens": 500}, {"segment_length": 50}, {"part_tokens": 3_000}]
)
def test_parts_of_other_arithmetic_are_not_mixed_in(
    tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch, change: dict[str, int]
) -> None:
    out = tmp_path / "out.parquet"
    with monkeypatch.context() as patch:
        stop_at_batch(patch, 60)
        with pytest.raises(Interrupted):
            shard.score(out)
    assert len(read_parts(shard, out)) > 3
    stated = shard.score(out, **change)
    assert stated["parts_kept"] == 0
    assert is_whole(parts_folder(out)), "stale parts go"
    assert shard.score(tmp_path / "whole.parquet", **change)["parts_kept"] == 0
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.parametrize("arithmetic", [None, 1])
def test_parts_of_an_earlier_version_are_not_mixed_in(
    tmp_path: Path,
    shard: Shard,
    whole: Whole,
    monkeypatch: pytest.MonkeyPatch,
    arithmetic: int | None,
) -> None:
    """The first version did not state its arithmetic. Its scores differ in their last bits."""
    out = tmp_path / "out.parquet"
    part_key = scoring_jobs.part_key

    def earlier_key(*args: Any) -> dict[str, Any]:
        key = part_key(*args)
        key["arithmetic"] = arithmetic
        return {name: value for name, value in key.items() if value is not None}

    with monkeypatch.context() as patch:
        patch.setattr(scoring_jobs, "part_key", earlier_key)
        stop_at_batch(patch, 60)
        with pytest.raises(Interrupted):
            shard.score(out)
    assert len(read_parts(shard, out)) > 3
    assert shard.score(out)["parts_kept"] == 0
    assert out.read_bytes() == whole.scores


def test_a_shard_of_other_arithmetic_goes_with_the_first_part(
    tmp_path: Path, shard: Shard, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = whole.copy(tmp_path / "out.parquet")
    with monkeypatch.context() as patch:
        stop_at_batch(patch, 40)
        with pytest.raises(Interrupted):
            shard.score(out, batch_tokens=500)
    files = files_of(parts_folder(out))
    assert not any(name.endswith("-all.parquet") for name in files)
    assert len(read_parts(shard, out)) == len(files) > 1
    assert shard.score(out, batch_tokens=500)["parts_kept"] == len(files)


def test_parts_of_another_checkpoint_are_not_mixed_in(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(checkpoint, tmp_path / "model")
    shard = write_shard(tmp_path / "shard", tmp_path / "model", num_alleles=40)
    out = tmp_path / "out.parquet"
    with monkeypatch.context() as patch:
        stop_at_batch(patch, 30)
        with pytest.raises(Interrupted):
            shard.score(out)
    changed = Evo2ForCausalLM.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        changed.model.embed_tokens.weight[ord("A"), 0] += 0.5
    changed.save_pretrained(tmp_path / "model")
    assert shard.score(out)["parts_kept"] == 0


def test_a_broken_part_is_computed_again(
    tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"
    with monkeypatch.context() as patch:
        stop_at_batch(patch, 60)
        with pytest.raises(Interrupted):
            shard.score(out)
    parts = sorted(parts_folder(out).glob("*.parquet"))
    parts[2].write_bytes(parts[2].read_bytes()[:-9])
    assert shard.score(out)["parts_kept"] == len(parts) - 1


@pytest.mark.parametrize("damage", ["empty", "cut", "another table", "no table"])
def test_broken_parts_of_a_whole_shard_are_computed_again(
    tmp_path: Path, shard: Shard, whole: Whole, damage: str
) -> None:
    out = whole.copy(tmp_path / "out.parquet")
    (kept,) = parts_folder(out).iterdir()
    damaged = {
        "empty": b"",
        "cut": kept.read_bytes()[:-9],
        "another table": whole.scores,
        "no table": b"PAR1" + bytes(500),
    }
    kept.write_bytes(damaged[damage])
    assert read_parts(shard, out) == []
    assert shard.score(out)["parts_kept"] == 0
    assert out.read_bytes() == whole.scores
    assert len(read_parts(shard, out)) == NUM_PARTS


@pytest.mark.parametrize("ending", ["-all.parquet", "-000003.parquet", "-other.parquet"])
def test_a_folder_in_the_place_of_a_part_is_one_line(
    tmp_path: Path, shard: Shard, whole: Whole, ending: str
) -> None:
    out = whole.copy(tmp_path / "out.parquet")
    (kept,) = parts_folder(out).iterdir()
    kept.unlink()
    name = "other.parquet" if ending == "-other.parquet" else kept.name.partition("-")[0] + ending
    (parts_folder(out) / name).mkdir()
    out.unlink()
    with pytest.raises(InputError, match=rf"{name}: (cannot be written|is not a regular file)"):
        shard.score(out)
    assert not out.exists()


def test_a_job_whose_parts_another_one_removed_is_one_line(
    tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs of different settings are on the shard; the later one goes on undisturbed."""
    out = tmp_path / "out.parquet"
    score_part = scoring_jobs.score_part
    begun: list[int] = []

    def start_another(*args: object, **options: object) -> object:
        begun.append(1)
        if len(begun) == 4:
            assert shard.score(out, batch_tokens=500)["parts"] == NUM_PARTS
        return score_part(*args, **options)

    monkeypatch.setattr(scoring_jobs, "score_part", start_another)
    with pytest.raises(InputError, match="part 0 is missing: another job"):
        shard.score(out)
    shard.score(tmp_path / "whole.parquet", batch_tokens=500)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_parts_that_a_file_lacks_are_computed(tmp_path: Path, shard: Shard, whole: Whole) -> None:
    out = whole.copy(tmp_path / "out.parquet")
    (kept,) = parts_folder(out).iterdir()
    pq.write_table(pq.read_table(kept)[:3], kept, row_group_size=1)
    assert shard.score(out)["parts_kept"] == 3
    assert out.read_bytes() == whole.scores


def test_scores_of_windows_that_changed_meanwhile_are_not_written(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was lost goes on with the old windows, and may end at any time."""
    shard = write_shard(tmp_path / "shard", checkpoint, num_alleles=20)
    score_part = scoring_jobs.score_part

    def change_first(*args: object, **options: object) -> object:
        pq.write_table(pq.read_table(shard.files.windows), tmp_path / "other.parquet")
        (tmp_path / "other.parquet").replace(shard.files.windows)
        return score_part(*args, **options)

    monkeypatch.setattr(scoring_jobs, "score_part", change_first)
    with pytest.raises(InputError, match=r"windows/1-of-1\.parquet: changed while it was read"):
        shard.score(tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_windows_of_an_earlier_version_are_one_line(tmp_path: Path, shard: Shard) -> None:
    table = pq.read_table(shard.files.windows)
    index = table.column_names.index("status")
    old = ["scored" if status == "to_score" else status for status in table["status"].to_pylist()]
    path = tmp_path / "windows.parquet"
    field = table.schema.field(index)
    pq.write_table(table.set_column(index, field, pa.array(old, field.type)), path)
    with pytest.raises(InputError) as refused:
        score_step.score(
            resolve_score(shard.config(), "s"),
            windows_file=path,
            segments_file=shard.files.segments,
            out=tmp_path / "scores.parquet",
            threads=1,
        )
    assert str(refused.value) == (
        f"{path}: an earlier version of evo2-tasks wrote this file (status `scored` before the "
        "model has run). Delete it, so that `windows` runs again."
    )
    assert not (tmp_path / "scores.parquet").exists()


def test_a_reference_that_changed_after_split_is_one_line(tmp_path: Path, checkpoint: Path) -> None:
    shard = write_shard(tmp_path, checkpoint, num_alleles=5)
    genome = tmp_path / "genome.fa"
    sequence = genome.read_text()
    arguments = {
        "shard": shard.files.shard,
        "split_file": tmp_path / "shards" / "split.json",
        "segments_file": tmp_path / "other-segments.parquet",
    }
    settings = resolve_windows(shard.config(), "v", "s")
    genome.write_text(sequence)  # the same, at another time
    windows_step.windows(settings, out=tmp_path / "again.parquet", **arguments)
    assert (tmp_path / "again.parquet").read_bytes() == shard.files.windows.read_bytes()
    genome.write_text(sequence[:-2] + {"A": "C"}.get(sequence[-2], "A") + sequence[-1])
    with pytest.raises(InputError, match=r"genome\.fa has other sequences.*run split again"):
        windows_step.windows(settings, out=tmp_path / "changed.parquet", **arguments)
    assert not (tmp_path / "changed.parquet").exists()


def test_scoring_asks_nothing_of_a_network(
    tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    shard.score(tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == NUM_ALLELES


def test_memory_that_runs_short_is_said_and_costs_no_row(
    tmp_path: Path, shard: Shard, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = type(Evo2ForCausalLM.from_pretrained(shard.checkpoint).model)
    forward = model.forward
    allocations: list[int] = []

    def fail_above(self: object, input_ids: torch.Tensor, **options: object) -> object:
        if input_ids.shape[-1] < SHARD_WINDOW_LENGTH:  # no canary
            allocations.append(input_ids.numel())
            if input_ids.numel() > 200:
                raise torch.OutOfMemoryError("simulated")
        return forward(self, input_ids=input_ids, **options)

    monkeypatch.setattr(model, "forward", fail_above)
    stated = shard.score(tmp_path / "out.parquet")
    too_large = [allocated for allocated in allocations if allocated > 200]
    assert len(too_large) == 1, "the smaller batch is kept to"
    assert stated["batch_tokens"] <= 200
    expected, halved = (pq.read_table(path) for path in (whole.out, tmp_path / "out.parquet"))
    assert halved["status"].to_pylist() == expected["status"].to_pylist()
    assert halved["llr"].to_pylist() == [
        None if llr is None else pytest.approx(llr, abs=1e-4) for llr in expected["llr"].to_pylist()
    ]


def test_memory_for_not_even_one_window_is_one_line(
    tmp_path: Path, shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("simulated")

    monkeypatch.setattr("evo2_tasks.scoring.score.run_pass", fail)
    monkeypatch.setattr(scoring_jobs, "score_canaries", lambda _: [])
    with pytest.raises(
        InputError, match=r"models\.m: a window of 96 tokens does not fit.*kv_cache"
    ):
        shard.score(tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_model_that_computes_no_numbers_stops_the_job(
    tmp_path: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Evo2ForCausalLM.from_pretrained(checkpoint)
    with torch.no_grad():
        next(broken.model.layers[2].parameters()).fill_(torch.nan)
    broken.save_pretrained(tmp_path / "model")
    shard = write_shard(tmp_path / "shard", tmp_path / "model", num_alleles=130)
    with pytest.raises(InputError, match=r"of the first \d+ alleles.*max_non_finite_share"):
        shard.score(tmp_path / "out.parquet")
    assert "the first such module is model.layers.2 (hyena_li)" in caplog.text
    assert not (tmp_path / "out.parquet").exists()
    shard.score(tmp_path / "out.parquet", max_non_finite_share=1)
    statuses = pq.read_table(tmp_path / "out.parquet")["status"].to_pylist()
    assert "non_finite" in statuses
    assert "scored" not in statuses


@pytest.fixture(scope="module")
def long_whole(tmp_path_factory: pytest.TempPathFactory, long_shard: Shard) -> Whole:
    out = tmp_path_factory.mktemp("long-whole") / "whole.parquet"
    return Whole(out, long_shard.score(out, batch_tokens=100, part_tokens=500))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_job_soon_with_its_parts_kept(
    tmp_path: Path, long_shard: Shard, long_whole: Whole, number: signal.Signals
) -> None:
    shard = long_shard
    out, log = tmp_path / "out.parquet", tmp_path / "log"
    job = shard.start(out, log, batch_tokens=100, part_tokens=500)
    wait_until(lambda: len(read_parts(shard, out)) > 2, job)
    assert job.pid is not None
    os.kill(job.pid, number)
    assert processes.wait(job) == EXIT_INTERRUPTED
    assert "interrupted" in log.read_text()
    assert not out.exists()
    kept = len(read_parts(shard, out))
    again = shard.score(out, batch_tokens=100, part_tokens=500)
    assert again["parts_kept"] == kept
    assert again["parts"] == long_whole.stated["parts"]
    assert out.read_bytes() == long_whole.scores


def test_a_signal_while_one_batch_takes_long_ends_the_job_too(tmp_path: Path) -> None:
    """The interpreter is in one long call, as it is during a product of large matrices."""
    script = tmp_path / "long.py"
    script.write_text(
        "import time\n"
        "from evo2_tasks.io import interruption\n"
        "interruption.GRACE_S = 0.5\n"
        "import ctypes\n"
        "with interruption.Interruption() as asked:\n"
        "    print('ready', flush=True)\n"
        "    libc = ctypes.CDLL(None)\n"
        "    for _ in range(60):\n"
        "        libc.sleep(1)\n"
        "    asked.check()\n"
    )
    job = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
    assert job.stdout is not None
    assert job.stdout.readline() == b"ready\n"
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=50) == EXIT_INTERRUPTED  # the script sleeps for 60 s
    job.stdout.close()


def test_two_jobs_on_one_shard_do_not_spoil_it(tmp_path: Path, shard: Shard, whole: Whole) -> None:
    out = tmp_path / "out.parquet"
    jobs = [shard.start(out, tmp_path / f"log-{number}") for number in range(2)]
    assert [processes.wait(job) for job in jobs] == [0, 0]
    assert out.read_bytes() == whole.scores
    assert is_whole(parts_folder(out))


def wait_until(holds: Callable[[], bool], job: ForkServerProcess) -> None:
    end = time.monotonic() + processes.TIME_LIMIT_S
    while not holds():
        assert job.exitcode is None, "the job has ended"
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to mount a file system")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, shard: Shard) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        with pytest.raises(InputError, match=r"cannot be written: .*Read-only"):
            shard.score(disk / "out.parquet")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        shard.score(disk / "out.parquet")
        assert {path.name for path in disk.iterdir()} == {"out.parquet", "out.json", "out.parts"}
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root, to mount a small file system")
def test_a_full_disk_is_one_line_and_a_rerun_goes_on(
    tmp_path: Path, shard: Shard, whole: Whole
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        with pytest.raises(InputError, match=r"cannot be written: .*No space left"):
            shard.score(disk / "out.parquet")
        assert not (disk / "out.parquet").exists()
        assert not [path for path in disk.rglob("*") if ".tmp" in path.suffixes]
        kept = len(read_parts(shard, disk / "out.parquet"))
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert shard.score(disk / "out.parquet")["parts_kept"] == kept
        assert (disk / "out.parquet").read_bytes() == whole.scores
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
