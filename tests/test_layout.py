"""The names in `layout.py` are those of the rules, and no other file of the package spells them."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from evo2_tasks import layout
from evo2_tasks.layout import EXPORTS, LOGS, SCORES, SHARDS, SPLIT, STEPS, TABLE, WINDOWS
from tests.workflow.rules import WORKFLOW, read_rules

PACKAGE = Path(layout.__file__).parent
RULES = read_rules()


# --- the rules


def test_each_rule_is_a_step_and_each_step_a_rule() -> None:
    text = "".join(file.read_text() for file in WORKFLOW.glob("rules/*.smk"))
    names = re.findall(r"^(?:rule |use rule \w+ as )(\w+)\b", text, re.MULTILINE)
    assert sorted(RULES) == sorted(names) == sorted(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_has_the_log_the_benchmark_and_the_outputs_of_its_rule(name: str) -> None:
    rule, step = RULES[name], STEPS[name]
    assert rule.log == f"<logs>/{step.log}"
    assert rule.benchmark == (step.benchmark and f"<benchmarks>/{step.benchmark}")
    # The name of the file of `{file}` comes from jobs.py.
    assert rule.outputs - {"{variant_set}/{scoring}/{file}"} == set(step.outputs)


@pytest.mark.parametrize("name", STEPS)
def test_a_rule_reads_what_another_one_writes(name: str) -> None:
    written = {output for rule in RULES.values() for output in rule.outputs}
    # The names of the files of `{file}` come from jobs.py.
    assert RULES[name].inputs - {"{file}"} <= written


def test_the_folders_that_the_workflow_spells_are_those_of_the_layout() -> None:
    snakefile = (WORKFLOW / "Snakefile").read_text()
    assert f'logs=str(run_config.output / "{LOGS}")' in snakefile
    assert f'benchmarks="<logs>/{layout.BENCHMARKS}"' in snakefile
    assert f"{{input.shards:q}}/{SPLIT}" in RULES["merge"].shell
    assert f"{{input.shards:q}}/{SPLIT}" in RULES["windows"].shell
    assert f"{{params.folder:q}}/{WINDOWS} " in RULES["merge"].shell
    assert f"{{params.folder:q}}/{SCORES} " in RULES["merge"].shell
    assert all(f"/{folder}" in "".join(STEPS[step].outputs) for folder, step in [
        (SHARDS, "split"), (WINDOWS, "windows"), (SCORES, "score"),
    ])  # fmt: skip


@pytest.mark.parametrize("export", EXPORTS)
def test_an_export_is_a_file_with_a_function_that_writes(export: str) -> None:
    assert callable(import_module(f"evo2_tasks.exports.{export}").write)
    assert layout.export_file(Path("v/s") / TABLE, export) == Path("v/s") / EXPORTS[export]


def test_names_that_the_results_need_are_reserved() -> None:
    assert sorted(layout.RESERVED_SETS) == ["calibrations", "generations", "logs", "models"]
    assert sorted(layout.RESERVED_SCORINGS) == [
        "annotations.parquet",
        "carried.parquet",
        "combined",
        "random_snvs.vcf.gz",
        "report.html",
        "shards",
    ]


def test_the_files_of_a_shard_have_its_name() -> None:
    assert layout.shard_name(3, 16) == "3-of-16"
    windows, segments = (
        output.format(variant_set="v", scoring="s", shard="3-of-16")
        for output in STEPS["windows"].outputs
    )
    scores, run = (
        output.format(variant_set="v", scoring="s", shard="3-of-16")
        for output in STEPS["score"].outputs
    )
    assert Path(windows).name == Path(scores).name == layout.shard_file(3, 16)
    assert layout.segments_file(Path(windows)) == Path(segments)
    assert layout.shard_run_file(Path(scores)) == Path(run)


# --- no second spelling

FILES = {Path(output).name for step in STEPS.values() for output in step.outputs} | {
    *EXPORTS.values(),
    SPLIT,
}
PLAIN = sorted(name for name in FILES if "." in name and "{" not in name)
SPELLED = re.compile(
    rf"(?<![\w.-])(?:{'|'.join(map(re.escape, PLAIN))})(?![\w.-]*\w)"
    r"|(?<![a-z])-of-(?![a-z])|\.segments\."
)
FOLDERS = {LOGS, layout.BENCHMARKS, layout.MODELS, SHARDS, WINDOWS, SCORES}


def documentation(tree: ast.Module) -> Iterator[ast.AST]:
    """Docstrings, of attributes too (strings that are statements), and examples of commands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
        if isinstance(node, ast.keyword) and node.arg == "example":
            yield from ast.walk(node.value)


def spelled_names(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of strings that hold the name of a result, or join a folder of results."""
    tree = ast.parse(source)
    aside = set(documentation(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in aside:
            found = SPELLED.search(node.value)
            if found:
                yield node.lineno, found[0]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            for side in (node.left, node.right):
                if isinstance(side, ast.Constant) and side.value in FOLDERS:
                    yield side.lineno, side.value


def test_the_search_for_names_finds_them() -> None:
    found = spelled_names('"""run.json"""\na / "shards"\nf"{x} no run.json."\nb = "scores"\n')
    assert list(found) == [(2, "shards"), (3, "run.json")]
    assert not list(spelled_names('a = "report.html.j2", "rerun.json", "config.json"'))


def test_no_other_file_spells_the_name_of_a_result() -> None:
    found = [
        f"{file.relative_to(PACKAGE)}:{line}: {name}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for line, name in spelled_names(file.read_text(encoding="utf-8"))
        if file != PACKAGE / "layout.py"
        # `evo2/` knows no results; its shards are the files of a checkpoint.
        if file.parent != PACKAGE / "evo2"
    ]
    assert found == []
