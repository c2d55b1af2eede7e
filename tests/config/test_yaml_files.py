"""YAML and JSON are read in bounded memory, and say what PyYAML says."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.config import text as texts
from evo2_tasks.config import yaml_files
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_score
from evo2_tasks.config.text import read_json, read_text
from evo2_tasks.config.yaml_files import read_yaml
from evo2_tasks.cost.shapes import read_shape
from evo2_tasks.errors import InputError
from tests.project import write_project

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab: *&<#'\"\n", max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=2), inner),
    max_leaves=12,
)


def doubled(levels: int, leaf: str = "x") -> str:
    """Lists of two aliases of the list before: 2 ** levels leaves in `levels` lines."""
    lines = [f"a0: &a0 [{leaf}]"]
    lines += [f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]" for i in range(levels)]
    return "\n".join(lines)


@given(PLAIN)
def test_a_text_is_read_as_pyyaml_reads_it(value: object) -> None:
    shared = {"one": value, "two": [value, value]}  # the second time as an alias
    text = yaml.safe_dump(shared)
    assert read_yaml(text, "c") == shared
    assert read_yaml(text, "c", allow_twice=True) == shared


@given(st.dictionaries(st.text("abc", max_size=2), PLAIN))
def test_json_is_read_as_yaml_reads_it(value: dict[str, object]) -> None:
    text = json.dumps(value)
    assert read_json(text) == read_yaml(text, "c") == value


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": NaN}', "{a: 1}", '{"a": 1', "[1]", "a: 1", "{" * 100_000]
)
def test_what_is_no_plain_json_object_is_left_to_yaml(text: str) -> None:
    assert read_json(text) is None


def test_a_long_json_text_is_left_to_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST_OF_JSON", 8)
    assert read_json('{"a": 1}') == {"a": 1}
    assert read_json('{"a": 12}') is None


@given(PLAIN)
def test_aliases_count_with_what_they_stand_for(value: object) -> None:
    def count(one: object) -> int:
        if isinstance(one, dict):
            return 1 + sum(count(key) + count(item) for key, item in one.items())
        return 1 + (sum(map(count, one)) if isinstance(one, list) else 0)

    shared = [value, [value, {"k": value}]]
    text = yaml.safe_dump(shared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_files, "MOST_VALUES", count(shared))
        assert read_yaml(text, "c") == shared
        patch.setattr(yaml_files, "MOST_VALUES", count(shared) - 1)
        with pytest.raises(InputError, match="not valid YAML: there are more than"):
            read_yaml(text, "c")


def mappings(levels: int, form: str) -> str:
    """Mappings with two aliases of the mapping before."""
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i + 1}: &a{i + 1} {form}".replace("OLD", f"*a{i}") for i in range(levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        doubled(6),
        doubled(4, leaf="x" * 100),
        mappings(6, "{l: OLD, r: OLD}"),
        mappings(6, "{<<: [OLD, OLD]}"),
        "a: &a [*a]",
        "a: &a {b: [*a]}",
        "a: " + "1" * 200,
        "a: 1" + ":1" * 200,
    ],
)
@pytest.mark.parametrize("allow_twice", [False, True])
def test_what_expands_is_one_line(
    monkeypatch: pytest.MonkeyPatch, text: str, allow_twice: bool
) -> None:
    monkeypatch.setattr(yaml_files, "MOST_VALUES", 100)
    monkeypatch.setattr(yaml_files, "MOST_CHARACTERS", 1_000)
    with pytest.raises(InputError) as refusal:
        read_yaml(text, "c.yaml", allow_twice=allow_twice)
    assert str(refusal.value).startswith("c.yaml: line ")
    assert "not valid YAML" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_large_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: [1, 2, 3, 4, 5, 6]"
    monkeypatch.setattr(yaml_files, "MOST_VALUES", 9)
    assert read_yaml(text, "c") == {"a": [1, 2, 3, 4, 5, 6]}
    monkeypatch.setattr(yaml_files, "MOST_VALUES", 8)
    with pytest.raises(InputError, match=r"^c: line 1, column \d+: .* more than 8 values"):
        read_yaml(text, "c")
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert read_text(path, "c") == text
    monkeypatch.setattr(texts, "MOST_CHARACTERS", 20)
    with pytest.raises(InputError, match=r"^c: has more than 20 characters"):
        read_text(path, "c")


def test_the_configs_of_a_run_and_of_a_model_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_files, "MOST_VALUES", 100)
    project = write_project(tmp_path, genome={"c": "ACGT"})
    text = project.config_file.read_text()
    project.config_file.write_text(f"{doubled(6)}\nrest: {text}")
    for source, files in ((project.config_file, None), (project.config, [project.config_file])):
        with pytest.raises(InputError, match=r"config\.json: line \d+, .*more than"):
            load_config(source, files=files)
    model = resolve_score(project.load(), "s").model
    (project.checkpoint / "config.json").write_text(doubled(6))
    with pytest.raises(InputError, match=r"config\.json: line \d+, .*more than"):
        read_shape(model)
