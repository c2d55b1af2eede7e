"""Several users of one machine: results are readable as the umask says, and nothing is trusted."""

import json
import os
import random
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from evo2_tasks.config.evaluation import resolve_evaluate, resolve_report
from evo2_tasks.config.schema import dump_config
from evo2_tasks.hub import parse_hub_name
from evo2_tasks.layout import EXPORTS
from evo2_tasks.steps.evaluate import evaluate
from evo2_tasks.steps.export import export
from evo2_tasks.steps.report import report
from tests.project import COLUMNS, Project, Shard, run_steps, write_project, write_shard
from tests.steps.small_hub import COMMIT, small_hub
from tests.users import GROUP, Ended, User
from tests.workflow.run import SNAKEFILE

GOLDEN = Path(__file__).parent / "data" / "golden" / "tiny_7b_1m"
OF_SET = ("--config", "config.yaml", "--variant-set", "v")
NAME = f"lab/evo2-tiny@{COMMIT}"
INFO = "".join(
    f'##INFO=<ID={name},Number=1,Type={kind},Description="of a test">\n'
    for name, kind in {"LABEL": "String", "GENE": "String", "AF": "Float"}.items()
)


def make_project(folder: Path, checkpoint: Path | str, num_alleles: int = 8) -> Project:
    """A project that uses every step: labels, groups, a baseline, carried columns, exports."""
    rng = random.Random(4)
    bases = "".join(rng.choices("ACGT", k=400))
    lines = [f"##fileformat=VCFv4.2\n##contig=<ID=c>\n{INFO}{COLUMNS}"]
    for number, pos in enumerate(sorted(rng.sample(range(100, 300), num_alleles))):
        alt = "ACGT"["ACGT".index(bases[pos - 1]) - 1]
        info = f"LABEL={'bad' if number % 2 else 'good'};GENE=g{number % 3};AF={number / 10}"
        lines.append(f"c\t{pos}\t.\t{bases[pos - 1]}\t{alt}\t.\t.\t{info}\n")
    project = write_project(
        folder,
        genome={"c": bases},
        variants="".join(lines),
        model={"checkpoint": str(checkpoint)},
        variant_set={
            "labels": {"LABEL": {"positive": ["bad"], "negative": ["good"]}},
            "groups": ["GENE"],
            "baselines": {"AF": "low"},
            "carry": ["AF"],
            "exports": list(EXPORTS),
        },
    )
    (folder / "config.yaml").write_text(project.config_file.read_text())
    return project


# --- permissions of what the steps write


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The umask of the test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def wrong_modes(folder: Path, umask: int) -> dict[str, str]:
    """The files and folders whose permissions are not those that the umask gives to new ones."""
    found = {}
    for path in folder.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode != (0o777 if path.is_dir() else 0o666) & ~umask:
            found[str(path.relative_to(folder))] = f"{mode:o}"
    return found


@pytest.mark.parametrize("umask", [0o027, 0o077, 0o002], indirect=True)
def test_every_step_writes_files_with_the_permissions_of_the_umask(
    tmp_path: Path, checkpoint: Path, umask: int
) -> None:
    project = make_project(tmp_path / "project", checkpoint)
    config, results = project.load(), tmp_path / "results"
    table = run_steps(config, results, stub=False)
    for name in EXPORTS:
        export(table, to=name)
    evaluate(
        resolve_evaluate(config, "v"),
        table=table,
        out=table.with_name("metrics.parquet"),
        curves_file=table.with_name("curves.parquet"),
    )
    report(resolve_report(config, "v"), results=results, out=results / "report.html")
    assert len([path for path in results.rglob("*") if path.is_file()]) > 12
    assert wrong_modes(tmp_path, umask) == {}


# --- users


@dataclass(frozen=True)
class Users:
    """Users of one group, and a folder that all of them can write to."""

    first: User
    second: User
    shared: Path


@pytest.fixture
def users() -> Iterator[Users]:
    """Two users, with homes that the group can read."""
    if os.geteuid() != 0:
        pytest.skip("needs to be root, to become two other users")
    folder = Path(tempfile.mkdtemp(prefix="evo2-tasks-users-"))  # tmp_path is closed to others
    try:
        folder.chmod(0o755)
        (folder / "spare").mkdir()
        (folder / "shared").mkdir()
        (folder / "shared").chmod(0o1777)
        made = []
        for uid in (54_321, 54_322):
            home = folder / f"home-{uid}"
            home.mkdir()
            give(home, uid)
            made.append(User(uid, home))
        found = made[0].run("python", "-c", "import evo2_tasks")
        if found.status != 0:
            pytest.skip(f"other users cannot run Python of these tests: {found.stderr}")
        yield Users(*made, folder / "shared")
    finally:
        shutil.rmtree(folder)


def give(folder: Path, uid: int) -> None:
    """Give a folder and all that is in it to a user; the group may read it."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, GROUP, follow_symlinks=False)
        path.chmod(0o750 if path.is_dir() else 0o640)


def state_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and time of each file in a folder, by which a change is noticed."""
    states = {str(path): path.lstat() for path in folder.rglob("*")}
    return {name: (one.st_mode, one.st_size, one.st_mtime_ns) for name, one in states.items()}


def the_line(ended: Ended, status: int = 2) -> str:
    """The only line that a command has printed before it ended with a status."""
    (line,) = (ended.stdout + ended.stderr).splitlines()
    assert ended.status == status, line
    return line


pytestmark = pytest.mark.slow


@pytest.mark.root
def test_the_group_reads_the_results_of_a_user_and_writes_nothing(users: Users) -> None:
    folder = users.first.home / "work"
    make_project(folder, "evo2-mini")
    give(folder, users.first.uid)
    snakemake = ("snakemake", "--snakefile", SNAKEFILE, "--cores", 2, "--quiet", "all")
    ran = users.first.run(*snakemake, cwd=folder)
    assert ran.status == 0, ran.stdout + ran.stderr
    assert wrong_modes(folder / "results", users.first.umask) == {}
    logs = list((folder / ".snakemake" / "log").iterdir())
    assert [path.stat().st_mode & 0o777 for path in logs] == [0o640]

    before = state_of(folder)
    second, home, table = users.second, users.second.home, "results/v/s/scores.parquet"
    for command in (
        ("show", table),
        ("show", "results/v/s/metrics.parquet"),
        ("query", table, "c:1-400"),
        ("status", "results"),
        ("plan", "--config", "config.yaml"),
        *(("export", "--to", name, "--out", "-", table) for name in EXPORTS if name != "bigwig"),
        ("export", "--to", "bigwig", "--out", home / "scores.bw", table),
        ("report", *OF_SET, "--results", "results/v", "--out", home / "report.html"),
    ):
        read = second.run("evo2-tasks", *command, cwd=folder)
        assert read.status == 0, (command, read.stderr)
        assert read.stdout or "report" in command or "bigwig" in command
    assert "cannot be written" in the_line(
        second.run("evo2-tasks", "export", "--to", "tsv", table, cwd=folder)
    )
    # A working directory of their own, and the results of the first user.
    config = json.loads((folder / "config.yaml").read_text())
    (home / "config.yaml").write_text(json.dumps(config | {"output": str(folder / "results")}))
    for where in (home, folder):
        for more in ((), ("--dry-run",)):
            ran = second.run(*snakemake, *more, cwd=where)
            assert ran.status == 1
            *_, line = ran.stderr.splitlines()
            assert line.startswith("Error: config.yaml: output: ")
            assert "cannot be written to; name another folder" in line
    assert state_of(folder) == before


@pytest.mark.root
def test_a_file_that_a_user_may_not_read_is_one_line(users: Users) -> None:
    """Also in a folder that is closed, where a user cannot even see whether the file is there."""
    closed = replace(users.first, umask=0o077)
    folder, home = users.shared / "work", users.second.home
    make_project(folder, "evo2-mini")
    give(folder, closed.uid)
    folder.chmod(0o1777)  # others can make files in it
    split = ("evo2-tasks", "split", *OF_SET, "--out")
    assert closed.run(*split, "results/v/shards", cwd=folder).status == 0
    assert wrong_modes(folder / "results", closed.umask) == {}
    shard, table = "results/v/shards/1-of-1.parquet", "results/v/s/scores.parquet"
    of_scoring = ("--config", "config.yaml", "--scoring", "s", "--windows", shard)
    for command in (
        ("show", shard),
        ("query", table, "c:1-400"),
        ("export", "--to", "tsv", table),
        ("carry", *OF_SET, "--variants", "results/in.vcf", "--out", home / "carried.parquet"),
        ("evaluate", *OF_SET, "--table", table, "--out", home / "m", "--curves", home / "c"),
        ("report", *OF_SET, "--results", "results/v", "--out", home / "report.html"),
        ("split", *OF_SET, "--out", "results/shards"),
        ("verify", "results/model"),
        ("convert", "results/model", home / "model"),
        ("score", *of_scoring, "--segments", shard, "--out", home / "scores.parquet"),
    ):
        line = the_line(users.second.run("evo2-tasks", *command, cwd=folder))
        assert line.startswith("ERROR: "), command
        assert "Permission denied" in line, command
    assert {path.name for path in home.iterdir()} == set()

    # Another user of the same genome makes an index in the place of the one that is closed.
    assert (folder / "genome.fa.fai").stat().st_mode & 0o777 == 0o600
    config = json.loads((folder / "config.yaml").read_text())
    (home / "config.yaml").write_text(json.dumps(config | {"output": str(home / "results")}))
    ended = users.second.run(*split, "results/v/shards")
    assert ended.status == 0, ended.stderr
    assert len(list((home / "results").glob("*.fai"))) == 1


# --- a cache on the disk of a node


@dataclass(frozen=True)
class Job:
    """A scoring job of a user, with a cache."""

    user: User
    shard: Shard
    cache: Path

    @property
    def out(self) -> Path:
        return self.user.home / "scores.parquet"

    @property
    def copies(self) -> Path:
        """The folder of this user's copies."""
        return self.cache / f"evo2-tasks-{self.user.uid}"

    def run(self, **run: object) -> Ended:
        config = self.user.home / "config.json"
        config.write_text(dump_config(self.shard.config(**run)))
        config.chmod(0o644)
        files = self.shard.files
        command = ["evo2-tasks", "score", "--config", config, "--scoring", "s", "--threads", "1"]
        command += ["--windows", files.windows, "--segments", files.segments, "--out", self.out]
        return self.user.run(*command)

    def refused(self) -> str:
        line = the_line(self.run(model_cache=str(self.cache)))
        assert not self.out.exists()
        assert line.startswith(f"ERROR: run.model_cache: {self.copies}")
        return line


@pytest.fixture
def job(users: Users, checkpoint: Path) -> Job:
    """A job of the first user, whose files everybody can read."""
    shutil.copytree(checkpoint, users.shared / "model")
    shard = write_shard(users.shared / "project", users.shared / "model", num_alleles=6)
    for path in users.shared.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return Job(users.first, shard, users.shared / "scratch")


PLANT = """
import sys, json, os
from pathlib import Path
from evo2_tasks.runtime import node_copies
folder, *files = map(Path, sys.argv[1:])
copy = folder / node_copies._key(files)
copy.mkdir(parents=True)
for file in files:
    content = file.read_bytes()
    if file.suffix == ".safetensors":
        content = content[:-64] + bytes(64)
    (copy / file.name).write_bytes(content)
(copy / "checksums.json").write_text(json.dumps({file.name: "0" for file in files}))
folder.chmod(0o777)
"""


@pytest.mark.root
def test_another_user_cannot_plant_a_copy(users: Users, job: Job) -> None:
    assert job.run().status == 0
    expected = job.out.read_bytes()
    job.out.unlink()
    job.cache.mkdir()
    job.cache.chmod(0o777)  # without the sticky bit, so the kernel protects nothing
    files = [path for path in job.shard.checkpoint.iterdir() if path.suffix != ".py"]
    planted = users.second.run("python", "-c", PLANT, job.copies, *sorted(files))
    assert planted.status == 0, planted.stderr
    before = state_of(job.copies)
    assert "belongs to another user (user id 54322)" in job.refused()
    assert state_of(job.copies) == before

    # In the place of the folder: a link to a folder of the victim.
    assert users.second.run("rm", "-r", job.copies).status == 0
    precious = job.user.home / "precious"
    (precious / "data").mkdir(parents=True)
    (precious / "data.lock").write_text("content")
    (precious / "data" / "file").write_text("content")
    give(precious, job.user.uid)
    precious.chmod(0o700)
    before = state_of(precious)
    assert users.second.run("ln", "-s", precious, job.copies).status == 0
    assert "is a link" in job.refused()
    assert users.second.run("rm", job.copies).status == 0
    assert state_of(precious) == before

    # Where the other user has planted nothing, the cache is used, and is closed to the other user.
    ended = job.run(model_cache=str(job.cache))
    assert ended.status == 0, ended.stderr
    assert job.out.read_bytes() == expected
    (copy,) = (path for path in job.copies.iterdir() if path.is_dir())
    assert job.copies.stat().st_mode & 0o777 == 0o700
    assert users.second.run("ls", job.copies).status != 0
    assert users.second.run("ln", "-s", precious, copy.with_suffix(".lock")).status != 0

    # A copy whose weights have changed on the disk, in the same size, is made again.
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64] + bytes(64))
    job.out.unlink()
    ended = job.run(model_cache=str(job.cache))
    assert "has another model.safetensors than its source: copied again" in ended.stderr
    assert job.out.read_bytes() == expected


# --- a model for several users


@pytest.mark.root
def test_a_user_reads_a_model_that_another_user_has_fetched(users: Users) -> None:
    parsed = parse_hub_name(NAME)
    assert parsed is not None
    home = users.shared / "hub"
    folder = home / "evo2-tasks" / "lab--evo2-tiny" / COMMIT
    with small_hub() as hub:
        hub.repositories["lab/evo2-tiny"] = {
            "model.pt": (GOLDEN / "model.pt").read_bytes(),
            "model.yml": (GOLDEN / "config.yml").read_bytes(),
        }
        online = {"HF_HOME": str(home), "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
        fetch = ("evo2-tasks", "fetch", NAME)
        # Nothing is there, and the second user can write nothing: one line, nothing asked.
        home.mkdir()
        give(home, users.first.uid)
        refused = the_line(users.second.run(*fetch, **online))
        assert "Permission denied" in refused
        assert "set HF_HOME to a folder of your own" in refused
        fetched = users.first.run(*fetch, **online)
        assert fetched.status == 0, fetched.stderr
        assert wrong_modes(folder, users.first.umask) == {}
        hub.asked.clear()
        before = state_of(home)
        out = users.second.home / "stated.json"
        ended = users.second.run(*fetch, "--out", out, **online)
        assert ended.status == 0, ended.stderr
        assert json.loads(out.read_text())["folder"] == str(folder)
        assert not hub.asked
        verified = users.second.run("evo2-tasks", "verify", folder, **online)
        assert "Permission denied" not in verified.stderr
        assert "Traceback" not in verified.stderr
        assert state_of(home) == before
    # A model that only its owner can read.
    for path in folder.iterdir():
        path.chmod(0o600)
    assert "Permission denied" in the_line(users.second.run(*fetch, **online))


@pytest.mark.root
def test_a_folder_that_another_user_has_begun_is_not_continued(users: Users) -> None:
    models = users.shared / "models"
    models.mkdir()
    models.chmod(0o1777)
    unfinished = models / ".mine.unfinished"
    convert = ("evo2-tasks", "convert", GOLDEN / "model.pt", models / "mine")
    convert += ("--config", GOLDEN / "config.yml")
    assert users.second.run("sh", "-c", f"umask 0; mkdir {unfinished}").status == 0
    assert "another user" in the_line(users.first.run(*convert))
    assert users.second.run("rmdir", unfinished).status == 0
    ended = users.first.run(*convert)
    assert ended.status == 0, ended.stderr
    assert wrong_modes(models, users.first.umask) == {}
