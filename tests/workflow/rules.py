"""The rules of the workflow as they are spelled in `workflow/rules/`."""

import re
from dataclasses import dataclass
from pathlib import Path

WORKFLOW = Path(__file__).parents[2] / "workflow"


@dataclass(frozen=True)
class Rule:
    """Patterns and text of a rule, without the outer quotes.

    A shard is the wildcard ``scatteritem`` in a rule (Snakemake's name) and ``shard`` here.
    """

    log: str
    benchmark: str | None
    inputs: frozenset[str]
    outputs: frozenset[str]
    shell: str


def read_rules() -> dict[str, Rule]:
    """All rules that run a command, by name."""
    rules = {}
    for file in sorted(WORKFLOW.glob("rules/*.smk")):
        text = file.read_text(encoding="utf-8").replace("scatteritem", "shard")
        for name, body in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, re.M | re.S):
            sections = {
                key: re.findall(r'"([^"]*)"', lines)
                for key, lines in re.findall(r"^    (\w+):(.*?)(?=^    \w|\Z)", body, re.M | re.S)
            }
            (log,) = sections["log"]
            benchmarks = sections.get("benchmark", [])
            rules[name] = Rule(
                log=log,
                benchmark=benchmarks[0] if benchmarks else None,
                inputs=_results(sections.get("input", [])),
                outputs=_results(sections["output"]),
                shell="".join(sections["shell"]),
            )
    return rules


def _results(texts: list[str]) -> frozenset[str]:
    """Patterns in the results folder; `gather` doubles the braces of wildcards that it keeps."""
    start = "<results>/"
    return frozenset(
        text.removeprefix(start).replace("{{", "{").replace("}}", "}")
        for text in texts
        if text.startswith(start)
    )
