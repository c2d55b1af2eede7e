"""The rooms of the package know only what they are meant to know."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from evo2_tasks.cli import main

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "evo2_tasks"

TORCH = {"accelerate", "huggingface_hub", "safetensors", "tokenizers", "torch", "transformers"}
FRONT = {"click", "snakemake"}  # how the package is called; the rooms do not know
HEAVY = {"numpy", "pandas", "pyarrow", "pysam", *TORCH}


@dataclass(frozen=True)
class Room:
    """What a folder or file of the package may import of the package, and of others never."""

    ours: frozenset[str]
    never: frozenset[str]


def room(*ours: str, never: set[str]) -> Room:
    return Room(frozenset(ours), frozenset(never))


ROOMS = {
    "genome": room("genome", "errors", never=TORCH | FRONT),
    # With torch and transformers and nothing of ours, so that a shared checkpoint can carry it.
    "evo2": room("evo2", never=FRONT | {"pandas", "pyarrow", "pydantic", "pysam"}),
    "scoring": room(
        "scoring", "evo2", "genome", never=FRONT | {"pandas", "pyarrow", "pysam", "pathlib"}
    ),
    "table": room("table", "errors", never=TORCH | FRONT),
    "evaluation": room("evaluation", "table", "errors", never=TORCH | FRONT),
    "config": room("config", "errors", "hub", never=HEAVY | FRONT),
    "cost": room("cost", "config", "errors", "hub", never=HEAVY | FRONT),
    "hub": room("hub", never=HEAVY | FRONT),
    "plan": room("plan", "config", "cost", "errors", "hub", never=HEAVY | FRONT),
    "errors": room("errors", never=HEAVY | FRONT),
}


def imports_of(file: Path) -> Iterator[str]:
    """Dotted names that a file imports, those inside functions too."""
    package = ".".join(file.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            module = f"{base}.{node.module or ''}".strip(".") if node.level else node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def files_of(name: str) -> list[Path]:
    file = PACKAGE / f"{name}.py"
    return [file] if file.exists() else sorted((PACKAGE / name).rglob("*.py"))


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_what_it_may_know(name: str) -> None:
    for file in files_of(name):
        for imported in imports_of(file):
            top, *rest = imported.split(".")
            where = f"{file.relative_to(ROOT)} imports {imported}"
            assert top not in ROOMS[name].never, where
            if top == "evo2_tasks":
                assert rest, where
                assert rest[0] in ROOMS[name].ours, where


def test_every_folder_of_the_package_is_a_room() -> None:
    folders = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert folders <= set(ROOMS)


def test_nothing_in_the_package_knows_snakemake() -> None:
    for file in PACKAGE.rglob("*.py"):
        assert not [name for name in imports_of(file) if name.split(".")[0] == "snakemake"], file


def test_the_workflow_imports_the_config_and_the_plan_only() -> None:
    for file in [ROOT / "workflow" / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]:
        imported = re.findall(
            r"^\s*(?:from|import)\s+(evo2_tasks\S*)( import .*)?", file.read_text(), re.M
        )
        for module, names in imported:
            assert module == "evo2_tasks.config" or (module, names) == (
                "evo2_tasks",
                " import plan",
            ), file


def modules_after(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has after running the code."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def run_command(*arguments: str) -> str:
    return (
        "from evo2_tasks.cli import main\n"
        f"try: main({list(arguments)!r})\n"
        "except SystemExit as end: assert not end.code, end.code"
    )


@pytest.mark.parametrize("command", sorted(main.commands))
def test_a_command_starts_without_torch(command: str) -> None:
    assert not modules_after(run_command(command, "--help")) & TORCH


def test_importing_the_package_is_light() -> None:
    assert not modules_after("import evo2_tasks") & HEAVY
    assert not modules_after("import evo2_tasks.config.load, evo2_tasks.jobs") & HEAVY


@pytest.mark.parametrize("name", ["evaluation", "genome", "table", "tasks"])
def test_a_room_without_torch_loads_without_it(name: str) -> None:
    modules = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files_of(name)]
    assert not modules_after(f"import {', '.join(modules)}") & TORCH
