"""The documentation describes what exists: commands, config keys, columns, links, versions."""

import ast
import importlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml

from evo2_tasks.cli import main
from evo2_tasks.config.load import load_config
from evo2_tasks.layout import EXPORTS, INDEX_STATEMENT, INDEXED, OWN_RULES, STEPS, Step
from evo2_tasks.table.schema import FLAGS, SCORES_VERSION, STATUSES, final_schema

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(
            ROOT / folder / "README.md"
            for folder in ("benchmarks", "data", "evo2_tasks/checkpoints/evo2-mini", "training")
        ),
    ],
    key=lambda page: page.as_posix(),
)
CONDA_NAMES = {
    "huggingface_hub": "huggingface-hub",
    "python-edlib": "edlib",
    "pytorch-gpu": "torch",
}
NOT_FROM_PYPI = {"python", "pip"}


def read_all() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def page_text(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generate() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield importlib.import_module("generate")


def test_generated_files_are_current(generate: ModuleType) -> None:
    stale = [
        file.relative_to(ROOT)
        for file, text in generate.generated_files().items()
        if not file.exists() or file.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run `make fix`"


def test_the_page_has_every_column_status_and_flag() -> None:
    page = page_text("columns.md")
    rows = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert set(rows) >= {*final_schema().names, *STATUSES, *FLAGS}
    assert f"`scores_version` is {SCORES_VERSION}." in page


def test_each_decision_has_its_own_number() -> None:
    pages = sorted(ROOT.glob("docs/decisions/[0-9]*.md"))
    numbers = [int(page.name[:3]) for page in pages]
    assert len(set(numbers)) == len(numbers)
    for number, page in zip(numbers, pages, strict=True):
        assert re.match(rf"# 0*{number}[.:] ", page.read_text(encoding="utf-8")), page.name


def test_each_page_is_in_the_navigation() -> None:
    listed = re.findall(r"^- \[[^\]]+\]\(([^)#]+\.md)\): \S", page_text("index.md"), re.MULTILINE)
    assert len(listed) == len(set(listed))
    pages = {page.name for page in ROOT.glob("docs/*.md")}
    inside = {name for name in listed if "/" not in name}
    assert inside == pages - {"index.md"}, "list the page in docs/index.md"


def test_each_room_of_the_package_is_in_the_architecture() -> None:
    files = {file.name for file in (ROOT / "evo2_tasks").iterdir() if file.suffix in ("", ".py")}
    rooms = {f"{name}/" if "." not in name else name for name in files}
    rooms -= {"__init__.py", "__pycache__/", "checkpoints/"}
    table = page_text("architecture.md")
    assert rooms == set(re.findall(r"^\| `([a-z0-9_]+(?:/|\.py))` \|", table, re.MULTILINE))


def test_the_files_to_touch_exist() -> None:
    lists, _, table = page_text("extending.md").partition("## Which list for which change")
    named = re.findall(r"`((?:benchmarks|docs|envs|evo2_tasks|tests|workflow)/[^`]*\.\w+)`", lists)
    in_the_package = re.findall(r"(?<![Nn]ew )`(\w+/\w+\.py)`", table)
    files = {*named, *(f"evo2_tasks/{name}" for name in in_the_package)}
    assert len(files) > 20
    assert [file for file in files if "NAME" not in file and not (ROOT / file).exists()] == []


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_each_file_of_a_results_folder_is_described(step: Step) -> None:
    rows = [row for row in page_text("output.md").splitlines() if row.startswith("| `")]
    formats = INDEXED if step.name == "index" else {*EXPORTS}.difference(OWN_RULES)
    files = [
        output.format_map(Wildcards(export=export, index=INDEX_STATEMENT))
        for output in step.outputs
        for export in ([EXPORTS[one] for one in formats] if "{export}" in output else [""])
    ]
    for file in files:
        described = [row for row in rows if re.search(rf"`{re.escape(file)}[`/]", row)]
        assert any(f"`{step.name}`" in row for row in described), file
    assert any(row.startswith(f"| `logs/{step.log}` |") for row in rows), step.log


class Wildcards(dict[str, str]):
    """Wildcards that have no value here stay as they are."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


def all_commands(
    group: click.Group, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, list[str]]]:
    """Each command that is shown in the help, with the names of its options."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from all_commands(command, (*words, name))
        else:
            options = [one for one in command.params if isinstance(one, click.Option)]
            yield " ".join([*words, name]), [text for one in options for text in one.opts]


COMMANDS = dict(all_commands(main))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_and_option_is_documented(command: str) -> None:
    section = re.search(
        rf"^## `{command}`\n(.*?)(?=^## |\Z)", page_text("cli.md"), re.MULTILINE | re.DOTALL
    )
    assert section is not None
    for option in COMMANDS[command]:
        assert re.search(rf"`[^`\n]*(?<![\w-]){re.escape(option)}(?![\w-])", section[1]), option


def test_each_documented_command_exists() -> None:
    text = read_all().replace("a step of evo2-tasks wrote", "")  # in messages
    named = set(re.findall(r"\bevo2-tasks ([a-z]+(?:-[a-z]+)*)\b", text))
    words = {command.partition(" ")[0] for command in COMMANDS}
    assert named <= words, named - words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_block_has_a_language(page: Path) -> None:
    """`text` for what is no program: `tests/snippets.yaml` states how the others are run."""
    marks = re.findall(r"^ *```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(marks) % 2 == 0
    assert all(marks[::2]), "a block without a language, for example ```sh or ```text"
    assert not any(marks[1::2])


def text_constants(folder: Path) -> str:
    """The texts in the source of a package, each on a line; {...} of an f-string is left out."""
    constants = (
        node.value
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return "\n".join(" ".join(text.split()) for text in constants)


def test_each_message_in_the_troubleshooting_is_one_of_the_code() -> None:
    """It is in the source, or an example of its section prints it (`tests/test_snippets.py`)."""
    snakemake = Path(importlib.import_module("snakemake").__file__ or "").parent / "exceptions.py"
    sources = text_constants(ROOT / "evo2_tasks") + snakemake.read_text(encoding="utf-8")
    of_sbatch = {"Requested GRES option unsupported"}
    sections = re.split(r"^### ", page_text("troubleshooting.md"), flags=re.MULTILINE)[1:]
    messages = {match[1]: one for one in sections if (match := re.match(r"`(.*)`\n", one))}
    assert len(messages) > 15
    for message in messages.keys() - of_sbatch:
        shown = "".join(re.findall(r"```console\n(.*?)```", messages[message], re.DOTALL))
        for part in message.split("..."):
            assert part.strip() in sources + shown, message


def slug(heading: str) -> str:
    """The anchor that a web page of the repository gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_file_tree_in_the_readme_is_the_repository() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = page.partition("## What is where\n\n```text\n")[2].partition("```")[0]
    named, folder = set(), ""
    for line in tree.splitlines():
        name, remark = re.fullmatch(r"(?:  )?(\S+) +(\S.*)", line).groups()  # type: ignore[union-attr]
        assert remark
        folder = folder if line.startswith("  ") else name
        path = folder + name if line.startswith("  ") else name
        assert (ROOT / path).exists(), path
        named.add(path)
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    top = {re.match(r"[^/]+/?", file)[0] for file in listed}  # type: ignore[index]
    rooms = {
        re.match(r"evo2_tasks/[^/]+/?", file)[0]  # type: ignore[index]
        for file in listed
        if file.startswith("evo2_tasks/")
    }
    hidden = {"findings/"} | {name for name in top if name.startswith(".")}
    assert top - named == hidden & top
    assert rooms - named == {"evo2_tasks/__init__.py", "evo2_tasks/py.typed"}


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/calibration.md",
        "docs/configuration.md",
        "docs/embeddings.md",
        "docs/evaluation.md",
        "docs/haplotypes.md",
        "docs/sequences.md",
        "docs/tracks.md",
        "docs/tutorial.md",
    ],
)
def test_configs_in_the_pages_are_valid(page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        load_config(yaml.safe_load(block), look_for_files=False)


@pytest.mark.parametrize("name", ["config.yaml", "config.calibration.yaml"])
def test_the_configs_of_the_demo_are_valid(name: str) -> None:
    config = load_config(ROOT / name, look_for_files=False)
    for variant_set in config.variant_sets.values():
        assert variant_set.variants is None or (ROOT / variant_set.variants).exists()
        assert (ROOT / config.references[variant_set.reference].fasta).exists()


def test_the_demo_with_calibrations_scores_the_variants_of_the_demo_again() -> None:
    # With the same settings, so that its scores are used again.
    demo, calibrated = (
        yaml.safe_load((ROOT / name).read_text())
        for name in ("config.yaml", "config.calibration.yaml")
    )
    del calibrated["variant_sets"]["random-snvs"], calibrated["calibrations"]
    del calibrated["variant_sets"]["mitomap"]["calibrations"]
    assert calibrated == demo


def test_environments_hold_the_versions_that_are_tested() -> None:
    lines = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    for name in ["cpu", "gpu", "tracks"]:
        environment = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())
        pinned = dict(line.split(" =") for line in environment["dependencies"])
        for package, version in pinned.items():
            if package not in NOT_FROM_PYPI:
                assert version == tested[CONDA_NAMES.get(package, package)], package
        missing = required(extra={"cpu": None, "gpu": "torch"}.get(name, name)) - {
            CONDA_NAMES.get(package, package) for package in pinned
        }
        assert not missing


def required(*, extra: str | None) -> set[str]:
    """Names of the packages that the project needs, with one extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    return {re.split(r"[<>=]", line)[0].lower() for line in lines}
