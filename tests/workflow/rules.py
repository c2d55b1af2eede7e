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


BEGINNING = re.compile(r"^(?:rule (\w+)|use rule (\w+) as (\w+) with):", re.M)
"""The first line of a rule: its name; or the rule that it takes sections from, and its name."""


def read_rules() -> dict[str, Rule]:
    """All rules that run a command, by name."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(WORKFLOW.glob("rules/*.smk"))]
    text = "\n".join(texts).replace("scatteritem", "shard")
    read, rules = {}, {}
    # Those that take sections from another rule come last.
    for found in sorted(BEGINNING.finditer(text), key=lambda found: found[2] is not None):
        name = found[1] or found[3]
        body = re.split(r"^(?=\S)", text[found.end() + 1 :], maxsplit=1, flags=re.M)[0]
        sections = read[name] = read.get(found[2], {}) | {
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
