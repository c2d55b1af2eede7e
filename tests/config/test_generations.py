"""What is refused in the generations of a config, and what runs their jobs again."""

from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.config.generation_options import parse_scorer
from evo2_tasks.config.generation_problems import find_tag_problem
from evo2_tasks.config.generation_rules import generation_inputs, generation_targets
from evo2_tasks.config.generations import (
    resolve_generate,
    resolve_merge_generation,
    resolve_prompts,
)
from evo2_tasks.config.load import load_config
from evo2_tasks.config.schema import SCORERS
from evo2_tasks.errors import InputError
from evo2_tasks.generation.sequence_scorers import BUILT_IN

Change = Callable[[dict[str, Any]], object]


def make() -> dict[str, Any]:
    return {
        "references": {"g": {"fasta": "g.fa", "circular_contigs": ["c"]}},
        "models": {"m": {"checkpoint": "evo2-mini"}, "n": {"checkpoint": "evo2-mini"}},
        "generations": {
            "G": {
                "model": "m",
                "prompts": {"fasta": "p.fa"},
                "length": 100,
                "beam_width": 2,
                "scorers": [{"gc_content": {"target": 0.4}}, {"function": "s:count", "weight": 2}],
            }
        },
        "shards": 3,
    }


def load(data: dict[str, Any]) -> Any:
    return load_config(data, look_for_files=False)


def of(**keys: object) -> Change:
    """Sets keys of the generation; a name with two underscores is a key of a section."""

    def change(config: dict[str, Any]) -> None:
        section = config["generations"]["G"]
        for name, value in keys.items():
            outer, _, inner = name.partition("__")
            if inner:
                section[outer] = {**section[outer], inner: value}
            else:
                section[outer] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of(model="x"), "generations.G.model: `models` has no 'x'"),
        (of(length=0), "generations.G.length: 0 is too small"),
        (of(top_q=1), "generations.G.top_q: unknown key; did you mean top_p?"),
        (of(compare_with="x"), "generations.G.compare_with: `references` has no 'x'; it has: g"),
        (of(prompts={}), "generations.G.prompts: there is no prompt; name one of fasta, text"),
        (of(prompts__text="ACGT"), "generations.G.prompts.text: cannot be combined with fasta"),
        (of(prompts={"region": "c:1-5"}), "prompts.region: needs `reference`"),
        (of(prompts={"text": "A", "reference": "g"}), "prompts.reference: needs `region` or `bed`"),
        (of(prompts={"text": "A-"}), "prompts.text: expected bases, for example ACGT"),
        (of(prompts={"tags": "x"}), "prompts.tags: unknown key; did you mean tag?"),
        (of(prompts={"tag": "|d__bacteria|"}), "upper case: |D__BACTERIA|"),
        (of(scorers=[]), "generations.G.scorers: is missing: a search with several candidates"),
        (of(scorers=[{"weight": 1}]), "scorers[0]: there is no scorer; name one of gc_content"),
        (
            of(scorers=[{"function": "s:f", "motif": {"motif": "A"}}]),
            "scorers[0].function: cannot be combined with motif",
        ),
        (of(scorers=[{"function": "s.f"}]), "scorers[0].function: expected module:function"),
        (of(scorers=[{"function": "s:f", "weight": 0}]), "weight: expected a number other than 0"),
        (
            of(scorers=[{"motif": {"motif": "A"}}, {"motif": {"motif": "C"}}]),
            "scorers[1].name: generations.G.scorers[0] is named motif too",
        ),
        (of(scorers=[{"gc_content": {}}]), "scorers[0].gc_content.target: is missing"),
        (
            of(scorers=[{"gc_content": {"target": 0.1, "targets": 2}}]),
            "scorers[0].gc_content.targets: unknown key; did you mean target?",
        ),
        (
            of(scorers=[{"likelihood": {"model": "x"}}]),
            "scorers[0].likelihood.model: `models` has no 'x'; it has: m, n",
        ),
        (lambda c: c.pop("generations"), "variant_sets: there is no set to score"),
    ],
)
def test_what_contradicts_itself_is_refused(change: Change, message: str) -> None:
    config = make()
    change(config)
    with pytest.raises(InputError) as caught:
        load(config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_set_needs_a_scoring_and_a_generation_does_not() -> None:
    config = make()
    load(config)
    config["sequence_sets"] = {"S": {"sequences": "x.fa", "scorings": ["s"]}}
    with pytest.raises(InputError, match="scorings: expected at least one entry, got none"):
        load(config)


@pytest.mark.parametrize(
    ("tag", "is_right"),
    [
        # As the authors' notebook prints it.
        (
            "|D__ANIMALIA;P__CHORDATA;C__MAMMALIA;O__DIPROTODONTIA;F__PHASCOLARCTIDAE;"
            "G__PHASCOLARCTOS;S__PHASCOLARCTOS CINEREUS|",
            True,
        ),
        ("|D__BACTERIA|", True),
        ("|D__BACTERIA;S__X|", True),
        ("D__BACTERIA", False),
        ("|D__BACTERIA;|", False),
        ("|D__BACTERIA;D__X|", False),
        ("|P__X;D__Y|", False),
        ("|D__A|C|", False),
        ("|D__b|", False),
        ("|D__\N{LATIN CAPITAL LETTER A WITH DIAERESIS}|", False),
        ("||", False),
    ],
)
def test_tags_are_in_the_published_format(tag: str, is_right: bool) -> None:
    assert (find_tag_problem(tag) is None) is is_right


def test_the_keys_of_a_scorer_are_the_settings_of_its_class() -> None:
    """The config describes them again, because it may not import numpy."""
    assert {*SCORERS} == {*BUILT_IN, "likelihood"}
    for name, scorer in BUILT_IN.items():
        own = {one.name: one for one in fields(scorer) if one.init and one.name != "folder"}  # type: ignore[arg-type]
        keys = SCORERS[name].model_fields
        assert {*own} == {*keys}, name
        for key, one in own.items():
            default = None if one.default is MISSING else one.default
            assert keys[key].is_required() is (one.default is MISSING), key
            assert keys[key].is_required() or keys[key].default == default, key


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (of(seed=5), {"generate"}),
        (of(batch_size=5), {"generate"}),
        (of(scorers=[{"gc_content": {"target": 0.5}}]), {"generate"}),
        (of(prompts__tag="|D__X|"), {"prompts"}),
        (of(compare_with="g"), {"merge"}),
        (of(genetic_code=2), {"merge"}),
        (lambda c: c.update(run={"batch_tokens": 100}), set()),
        (lambda c: c["models"]["m"].update(gpus=1), set()),
        (lambda c: c["models"]["m"].update(dtype="bfloat16"), {"generate"}),
    ],
)
def test_a_change_runs_what_it_concerns(change: Change, changed: set[str]) -> None:
    before, after = make(), make()
    change(after)
    resolve = {
        "prompts": resolve_prompts,
        "generate": resolve_generate,
        "merge": resolve_merge_generation,
    }
    found = {
        step
        for step, function in resolve.items()
        if function(load(before), "G").triggers() != function(load(after), "G").triggers()
    }
    assert found == changed


def test_the_files_of_a_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.py").touch()
    config = load(make())
    assert generation_targets(config) == [
        f"generations/G/{name}"
        for name in (
            "sequences.fa", "sequences.parquet", "steps.parquet", "generation.json", "report.html"
        )
    ]  # fmt: skip
    inputs = generation_inputs(config, lambda name: [f"{name}.fa"])
    assert inputs.prompts == {"G": ["p.fa"]}
    assert inputs.functions == {"G": ["s.py"]}
    assert inputs.compare_with == {"G": []}
    assert len(inputs.generated["G"]) == 9
    one = make()
    of(prompts={"reference": "g", "region": "c:1-5"})(one)
    inputs = generation_inputs(load(one), lambda name: [f"{name}.fa"])
    assert inputs.compare_with == inputs.reference == {"G": ["g.fa"]}
    assert len(inputs.generated["G"]) == 3  # a single prompt has one shard


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gc_content:target=0.4", {"gc_content": {"target": 0.4}}),
        (
            "gc_pattern:targets=[0.3, 0.6],window=100,weight=2",
            {"gc_pattern": {"targets": [0.3, 0.6], "window": 100}, "weight": 2},
        ),
        ("motif:motif=TATAWAW,name=box", {"motif": {"motif": "TATAWAW"}, "name": "box"}),
        ("function:a.b:c", {"function": "a.b:c"}),
        ("function:a:c,weight=-0.5", {"function": "a:c", "weight": -0.5}),
        ("orf_length", {"orf_length": {}}),
    ],
)
def test_a_scorer_of_the_command_line(text: str, expected: dict[str, Any]) -> None:
    assert parse_scorer(text) == expected
