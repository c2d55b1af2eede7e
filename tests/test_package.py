"""What is built from the checkout: the wheel, the source archive, their version and their files."""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from evo2_tasks import jobs
from evo2_tasks.cli import main
from evo2_tasks.config.load import load_config
from tests import project

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("benchmarks", "findings", "tests", "training")  # of the source archive
TIME_LIMIT_S = 900
EPOCH = "1790000000"


def list_files() -> list[str]:
    """The files of the repository, with those that the next commit would add."""
    return run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"], ROOT
    ).splitlines()


def run(command: list[str], folder: Path, **variables: str) -> str:
    ended = subprocess.run(
        command,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def copy_checkout(folder: Path) -> Path:
    """The checkout without git, and with a file that a run leaves in it."""
    for name in list_files():
        if not name.startswith(LEFT_OUT) and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / "data" / "rCRS.fa.fai").write_text("MT\t16569\t4\t70\t71\n")
    (folder / "results").mkdir()
    (folder / "results" / "scores.parquet").write_text("")
    return folder


def build(folder: Path, *targets: str) -> dict[str, Path]:
    """Build without a network, with the backend of this environment."""
    flags = [word for target in targets for word in ("--target", target)]
    run([sys.executable, "-m", "hatchling", "build", *flags], folder, SOURCE_DATE_EPOCH=EPOCH)
    return {"".join(path.suffixes[-1:]): path for path in (folder / "dist").iterdir()}


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    files = build(copy_checkout(tmp_path_factory.mktemp("checkout")), "wheel", "sdist")
    return Built(files[".whl"], files[".gz"])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- files


def place_in_wheel(name: str) -> str | None:
    """Where a wheel has a file of the repository."""
    if name in ("config.yaml", "config.calibration.yaml"):
        return f"evo2_tasks/demo/{name}"
    folder = name.partition("/")[0]
    if name.endswith((".def", "Dockerfile")) or name == "data/brca1.py":
        return None
    places = {
        "data": "evo2_tasks/demo/data",
        "envs": "evo2_tasks/envs",
        "evo2_tasks": "evo2_tasks",
        "workflow": "evo2_tasks/workflow",
    }
    return places[folder] + name.removeprefix(folder) if folder in places else None


def test_a_wheel_has_the_package_the_workflow_the_demo_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {place for name in list_files() if (place := place_in_wheel(name))}


def test_a_wheel_has_the_licences_of_all_that_it_carries(built: Built) -> None:
    licences = {
        name
        for name in list_files()
        if Path(name).name.startswith("LICENSE") and not name.startswith(LEFT_OUT)
    }
    assert len(licences) == 3
    with zipfile.ZipFile(built.wheel) as wheel:
        carried = {
            name.partition(".dist-info/licenses/")[2]
            for name in wheel.namelist()
            if ".dist-info/licenses/" in name
        }
    assert carried == licences


def test_a_source_archive_has_the_repository_but_for_tests_and_benchmarks(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    hidden = {name for name in list_files() if name.startswith(".")} - {".gitignore"}
    expected = {name for name in list_files() if not name.startswith(LEFT_OUT)} - hidden
    assert names == expected | {"PKG-INFO"}


# --- the same bytes


def test_wheel_and_source_archive_are_the_same_wherever_they_are_built(
    built: Built, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        other = build(copy_checkout(tmp_path / "another place"), "wheel", "sdist")
    finally:
        os.umask(before)
    assert digest(other[".whl"]) == digest(built.wheel)
    assert digest(other[".gz"]) == digest(built.sdist)


def test_the_wheel_of_the_source_archive_is_the_wheel_of_the_checkout(
    built: Built, tmp_path: Path
) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert digest(build(folder, "wheel")[".whl"]) == digest(built.wheel)


# --- version


def version_of(folder: Path) -> str:
    return run([sys.executable, "-m", "hatchling", "version"], folder).strip()


def test_the_version_is_the_tag(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("pyproject.toml", ".git_archival.txt", ".gitattributes", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    assert version_of(folder) == "0.1.0.dev0"

    def git(*words: str) -> str:
        return run(
            ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *words], folder
        ).strip()

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "first")
    assert re.fullmatch(r"0\.1\.0\.dev1\+g[0-9a-f]+", version_of(folder))
    git("tag", "v1.2.3")
    assert version_of(folder) == "1.2.3"
    # An archive of a tag, as a forge offers it, has no git.
    (tmp_path / "archive").mkdir()
    git("archive", "--output", str(tmp_path / "archive.tar"), "v1.2.3")
    shutil.unpack_archive(tmp_path / "archive.tar", tmp_path / "archive")
    assert version_of(tmp_path / "archive") == "1.2.3"
    git("commit", "--quiet", "--allow-empty", "--message", "second")
    assert re.fullmatch(r"1\.2\.4\.dev1\+g[0-9a-f]+", version_of(folder))


def test_no_file_states_another_version() -> None:
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in described["dynamic"]
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_command_states_the_installed_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.split()[-1] == metadata.version("evo2-tasks")


# --- the commands about the workflow and the demo


def test_the_commands_name_the_workflow_of_the_checkout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["workflow-path"], standalone_mode=False)
    main(["workflow-path", "--profile", "local"], standalone_mode=False)
    workflow = ROOT / "workflow"
    assert capsys.readouterr().out == f"{workflow / 'Snakefile'}\n{workflow / 'profiles/local'}\n"


def test_a_profile_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["workflow-path", "--profile", "slrm"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    for profile in (ROOT / "workflow" / "profiles").iterdir():
        assert profile.name in line


def test_the_demo_is_a_folder_that_is_ready_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["demo", str(tmp_path / "my demo")], standalone_mode=False)
    monkeypatch.chdir(tmp_path / "my demo")
    for name in ("config.yaml", "config.calibration.yaml"):
        assert load_config(Path(name)) == load_config(ROOT / name, look_for_files=False)
        schema = re.search(r"\$schema=(.*)", Path(name).read_text())
        assert schema is not None
        assert Path(schema[1]) == ROOT / "workflow" / "config.schema.json"


def test_a_folder_that_exists_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", str(tmp_path)])
    assert ended.value.code == 2
    assert not list(tmp_path.iterdir())
    assert str(tmp_path) in capsys.readouterr().err


# --- conda environments of the rules


def stated_source(monkeypatch: pytest.MonkeyPatch, folder: Path, origin: str | None) -> str:
    class Installed:
        version = "1.2.3"

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return origin

    monkeypatch.setattr(jobs, "distribution", lambda name: Installed())
    return jobs.package_source(folder)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        # The forms of the specification of direct_url.json.
        (None, "evo2-tasks==1.2.3"),
        ({"url": "file:///w/evo2_tasks-1.2.3-py3-none-any.whl", "archive_info": {}},
         "file:///w/evo2_tasks-1.2.3-py3-none-any.whl"),
        ({"url": "https://example.org/e.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
         "git+https://example.org/e.git@abc"),
    ],
)  # fmt: skip
def test_a_conda_environment_gets_what_this_one_was_installed_from(
    origin: dict[str, object] | None,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = None if origin is None else json.dumps(origin)
    assert stated_source(monkeypatch, tmp_path / "evo2_tasks", text) == expected


def test_a_conda_environment_follows_the_checkout() -> None:
    assert jobs.package_source() == str(ROOT)


@pytest.mark.parametrize("script", sorted(ROOT.glob("envs/*.sh")), ids=lambda path: path.name)
def test_the_scripts_install_a_checkout_editable_and_a_wheel_not(
    script: Path, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$*"\n')
    python.chmod(0o755)
    always = "-m pip install --no-deps --no-build-isolation"
    for source, arguments in [
        (str(tmp_path), f"--editable {tmp_path}"),
        ("file:///w/e.whl", "file:///w/e.whl"),
        ("evo2-tasks==1.2.3", "evo2-tasks==1.2.3"),
    ]:
        path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
        printed = run(["sh", str(script)], tmp_path, PATH=path, EVO2_TASKS_SOURCE=source)
        assert printed == f"{always} {arguments}\n"


# --- a wheel in an environment without the checkout


@pytest.fixture(scope="session")
def environment(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and with the other packages of this environment."""
    folder = tmp_path_factory.mktemp("wheel") / "environment"
    venv.create(folder, with_pip=False)
    packages = Path(
        sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    )
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    run(
        [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install",
         "--no-deps", "--no-index", "--quiet", str(built.wheel)],
        tmp_path_factory.mktemp("elsewhere"),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )  # fmt: skip
    return folder


def reduce_demo(folder: Path) -> None:
    """Leave the first variants of the demo, in short windows, under the names of `project`."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    with gzip.open(folder / "data" / "mitomap.vcf.gz", "rt") as demo:
        lines = list(demo)
    num_header = sum(line.startswith("#") for line in lines)
    (folder / "few.vcf").write_text("".join(lines[: num_header + 30]))
    (variant_set,) = config["variant_sets"].values()
    config["variant_sets"] = {"v": {**variant_set, "variants": "few.vcf", "scorings": ["s"]}}
    config["scorings"] = {"s": {"model": "evo2-mini", "window_length": 128}}
    config["shards"] = 1
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.slow
def test_the_demo_runs_without_the_checkout(
    environment: Path, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo"

    def installed(*command: str, folder: Path = folder) -> str:
        path = os.pathsep.join([str(environment / "bin"), "/usr/bin", "/bin"])
        return run(list(command), folder, PATH=path).strip()

    installed("evo2-tasks", "demo", "demo", folder=tmp_path)
    reduce_demo(folder)
    where = "from evo2_tasks import jobs; print(jobs.__file__, jobs.package_source())"
    file, source = installed("python", "-c", where).split()
    snakefile = installed("evo2-tasks", "workflow-path")
    assert Path(file).is_relative_to(environment)
    assert Path(snakefile).is_relative_to(environment)
    assert source == built.wheel.as_uri()
    profile = installed("evo2-tasks", "workflow-path", "--profile", "local")
    installed("python", "-m", "snakemake", "--snakefile", snakefile, "--profile", profile)

    # The same steps of the checkout, in this process.
    monkeypatch.chdir(folder)
    expected = project.run_steps(load_config(Path("config.yaml")), tmp_path / "steps", stub=False)
    table = pq.read_table("results/v/s/scores.parquet")
    assert set(table["status"].to_pylist()) == {"scored"}
    assert table.num_rows == 30
    assert table.equals(pq.read_table(expected))
    assert Path("results/v/report.html").exists()
