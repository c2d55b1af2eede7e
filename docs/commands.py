"""The page of the command line, ``docs/cli.md``, from what click knows of the commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from evo2_tasks.cli import main

INTRO = """\
# The command line

<!-- Made by `python docs/generate.py`; a test compares. -->

`evo2-tasks COMMAND --help` prints the same text. The workflow calls the steps with the options that
are listed here, so a step can also be run by hand on the files that another step wrote
([the files](output.md)).

| exit code | meaning |
| --- | --- |
| 0 | success |
| 1 | a bug in `evo2-tasks`; a traceback is printed |
| 2 | wrong input or config; one line names the problem, the place and the remedy |
| 75 | interrupted (SIGTERM or Ctrl-C); the same command continues after the last finished part |
"""


def commands_page() -> str:
    """The page as Markdown: each command with usage, help, options and examples."""
    context = click.Context(main, info_name="evo2-tasks")
    parts = [INTRO, *_overview(main, context), *_describe_group(main, context, level=2)]
    return "\n".join(parts).rstrip() + "\n"


def walk_commands(
    group: click.Group, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    """Each command below a group with its context, also those of inner groups."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        below = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from walk_commands(command, below)
        else:
            yield command, below


def _overview(group: click.Group, context: click.Context) -> list[str]:
    rows = ["| command | what it does |", "| --- | --- |"]
    for command, below in walk_commands(group, context):
        link = _anchor(below)
        rows.append(f"| [`{_name(below)}`](#{link}) | {command.get_short_help_str(limit=200)} |")
    return [*rows, ""]


def _describe_group(group: click.Group, context: click.Context, *, level: int) -> list[str]:
    return [
        line
        for command, below in walk_commands(group, context)
        for line in _describe_command(command, below, level=level)
    ]


def _describe_command(command: click.Command, context: click.Context, *, level: int) -> list[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"{'#' * level} `{_name(context)}`", ""]
    lines += _paragraphs(command.help or "")
    lines += ["```", f"{context.command_path} {usage}", "```", ""]
    found = [parameter.get_help_record(context) for parameter in command.params]
    records = [record for record in found if record is not None and record[1]]
    if records:
        lines += ["| option | meaning |", "| --- | --- |"]
        lines += [f"| `{_cell(option)}` | {_cell(meaning)} |" for option, meaning in records]
        lines.append("")
    if command.epilog:
        lines += _paragraphs(command.epilog)
    return lines


def _paragraphs(text: str) -> list[str]:
    """The paragraphs of a help text; click keeps the lines of one that begins with a ``BS``."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text).partition("\f")[0].split("\n\n"):
        if paragraph.startswith("\b\n"):
            lines += _preformatted(paragraph.removeprefix("\b\n"))
        else:
            lines += [paragraph, ""]
    return lines


def _preformatted(paragraph: str) -> list[str]:
    """Lines that keep their ends, as a block of code below the words that introduce it."""
    first, *rest = paragraph.splitlines()
    title = [first, ""] if first.endswith(":") and rest else []
    block = inspect.cleandoc("\n" + "\n".join(rest if title else [first, *rest]))
    return [*title, "```", block, "```", ""]


def _name(context: click.Context) -> str:
    """The words after ``evo2-tasks``."""
    return context.command_path.partition(" ")[2]


def _anchor(context: click.Context) -> str:
    return _name(context).replace(" ", "-")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
