"""What is built from the checkout: the wheel, the source archive, their version and their files.

The file is long because most of its tests share one build and one environment with the wheel.
"""

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

import jinja2
import pyarrow.parquet as pq
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def is_executable(file: Path) -> bool:
    return bool(file.stat().st_mode & 0o100)


def copy_checkout(folder: Path) -> Path:
    """The checkout without git, and with a file that a run leaves in it."""
    for name in list_files():
        if not name.startswith(LEFT_OUT) and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
            if is_executable(ROOT / name):
                (folder / name).chmod((folder / name).stat().st_mode | 0o100)
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


def test_programs_of_profiles_stay_executable(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        programs = {one.filename for one in wheel.infolist() if one.external_attr >> 16 & 0o111}
    expected = {
        place
        for name in list_files()
        if (place := place_in_wheel(name)) and is_executable(ROOT / name)
    }
    assert "evo2_tasks/workflow/profiles/sge/submit.py" in expected
    assert programs == expected


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
    for profile in ROOT.glob("workflow/profiles/*/profile.yaml"):
        assert profile.parent.name in line


def test_the_demo_is_a_folder_that_is_ready_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["demo", str(tmp_path / "my demo")], standalone_mode=False)
    monkeypatch.chdir(tmp_path / "my demo")
    carried = {name for name in list_files() if name.startswith("data/") and place_in_wheel(name)}
    assert {str(path) for path in Path("data").iterdir()} == {str(Path(name)) for name in carried}
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


# --- bill of materials and recipe


@pytest.fixture(scope="module")
def described(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the programs of `release/` write about the wheel and the archive."""
    folder = tmp_path_factory.mktemp("described")
    for program, file in [("bill_of_materials", built.wheel), ("conda_recipe", built.sdist)]:
        copy = shutil.copy(file, folder)
        run([sys.executable, str(ROOT / "release" / f"{program}.py"), str(copy)], folder)
    return folder


def test_the_bill_of_materials_has_what_pip_would_install(described: Path, built: Built) -> None:
    (file,) = described.glob("*.cdx.json")
    bill = json.loads(file.read_text())
    (own,) = bill["metadata"]["component"]["hashes"]
    assert own["content"] == digest(built.wheel)
    # pip reads the metadata of the wheel by itself.
    extras = "torch,evaluation,tracks,workflow"
    report = run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-index",
         "--quiet", "--report", "-", "--no-deps", f"{built.wheel}[{extras}]"],
        described,
    )  # fmt: skip
    (item,) = json.loads(report)["install"]
    wanted = {
        canonicalize_name(one.name)
        for one in map(Requirement, item["metadata"]["requires_dist"])
        if one.marker is None
        or any(one.marker.evaluate({"extra": extra}) for extra in extras.split(","))
    }
    packages = {
        one["name"]: one["version"]
        for one in bill["components"]
        if one.get("purl", "").startswith("pkg:pypi/")
    }
    assert wanted <= packages.keys()
    assert "pytest" not in packages
    assert packages["torch"] == metadata.version("torch").partition("+")[0]
    # Each package has what it needs itself, and nothing that nobody needs.
    follows = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    references = {one["bom-ref"] for one in bill["components"]}
    assert {one for needs in follows.values() for one in needs} == references


def test_the_bill_of_materials_has_the_files_of_others(described: Path) -> None:
    (file,) = described.glob("*.cdx.json")
    stated = {
        one["bom-ref"]: one["hashes"][0]["content"]
        for one in json.loads(file.read_text())["components"]
        if "hashes" in one
    }
    files = {"model.safetensors", "plotly-cartesian.min.js", "mitomap.vcf.gz"}
    assert {Path(name).name for name in stated} == files
    for name, found in stated.items():
        name = name.replace("evo2_tasks/demo/", "")
        assert digest(ROOT / name) == found


def test_the_recipe_is_that_of_the_archive(described: Path, built: Built) -> None:
    template = (described / "meta.yaml").read_text()
    pinned = "evo2-tasks >=0.1,<0.2"
    text = jinja2.Template(template, undefined=jinja2.StrictUndefined).render(
        PYTHON="python", pin_subpackage=lambda name, max_pin: pinned
    )
    recipe = yaml.safe_load(text)
    assert recipe["package"] == {"name": "evo2-tasks", "version": built.sdist.name[11:-7]}
    assert recipe["source"]["url"].endswith(f"/{built.sdist.name}")
    assert recipe["source"]["sha256"] == digest(built.sdist)
    assert recipe["build"]["run_exports"] == [pinned]
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert set(recipe["about"]["license_file"]) <= names
    # The environments of the rules have the same packages under the same names.
    run_names = {line.split()[0].replace("-minimal", "") for line in recipe["requirements"]["run"]}
    for file in ROOT.glob("envs/*.yaml"):
        environment = yaml.safe_load(file.read_text())["dependencies"]
        names = {line.split()[0].replace("pytorch-gpu", "pytorch") for line in environment}
        assert names - {"pip", "hatchling", "hatch-vcs"} <= run_names


# --- files for other places


def test_the_images_are_made_from_what_make_dist_writes() -> None:
    docker, apptainer = (
        (ROOT / "envs" / name).read_text() for name in ("Dockerfile", "evo2-tasks.def")
    )
    pinned = r"python(?::3\.11\.7-slim-bookworm)?@(sha256:[0-9a-f]{64})"
    bases = [re.search(pinned, text) for text in (docker, apptainer)]
    assert None not in bases
    assert len({base[1] for base in bases if base is not None}) == 1
    visible = (ROOT / ".dockerignore").read_text()
    for source in ("dist", "constraints.txt"):
        assert f"source={source}," in docker
        assert f"    {source} /opt/" in apptainer
        assert f"!{source}" in visible


@pytest.mark.parametrize("name", ["ci", "release"])
def test_each_action_is_pinned_by_its_commit(name: str) -> None:
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)
        # The release that the commit is, for people.
        assert re.search(rf"{action} # v\d+\.\d+\.\d+$", text, re.MULTILINE)
    images = [job["container"]["image"] for job in jobs.values() if "container" in job]
    assert all("@sha256:" in image for image in images)


def test_the_catalog_of_workflows_finds_what_it_asks_for() -> None:
    settings = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    (usage,) = settings.values()
    assert usage.keys() == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["mandatory-flags"].keys() == {"desc", "flags"}
    deployment = usage["software-stack-deployment"]
    assert deployment.keys() == {"conda", "apptainer", "apptainer+conda"}
    assert all(isinstance(value, bool) for value in [*deployment.values(), usage["report"]])
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme
    page = (ROOT / "config" / "README.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    load_config(yaml.safe_load(block), look_for_files=False)


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
