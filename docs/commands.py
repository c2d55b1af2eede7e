"""The page of the command line, ``docs/cli.md``, from what click knows of the commands."""

from __future__ import annotations

import inspect

import click

from evo2_tasks.cli import GROUPS, Command, list_commands, main

INTRO = """\
# The command line

<!-- Made by `python docs/generate.py`; a test compares. -->

`evo2-tasks COMMAND --help` prints the same text. The workflow calls the steps with the options that
are listed here. So you can also run a step by hand, on the files that another step wrote
([the files](output.md)).

| exit code | meaning |
| --- | --- |
| 0 | success |
| 1 | a bug in `evo2-tasks`; a traceback is printed |
| 2 | wrong input or config; one line states the problem, where it is, and what to do |
| 75 | interrupted (SIGTERM or Ctrl-C); the same command continues after the last finished part |
"""


def commands_page() -> str:
    """The page as Markdown: each command with its help, usage, options and example."""
    context = click.Context(main, info_name="evo2-tasks")
    commands = {group: _commands_of(group) for group in GROUPS}
    lines = [INTRO]
    for group, members in commands.items():
        lines += [f"| {group} | |", "| --- | --- |"]
        lines += [
            f"| [`{name}`](#{name.replace(' ', '-')}) | {command.get_short_help_str(limit=1000)} |"
            for name, command in members.items()
        ]
        lines.append("")
    for members in commands.values():
        for name, command in members.items():
            lines += _describe(command, click.Context(command, info_name=name, parent=context))
    return "\n".join(lines).rstrip() + "\n"


def _commands_of(group: str) -> dict[str, Command]:
    """The commands under a heading of the help, in the order of the help."""
    return {name: command for name, command in list_commands(main) if command.group == group}


def _describe(command: Command, context: click.Context) -> list[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## `{context.info_name}`", "", *_paragraphs(command.help or "")]
    lines += _block("text", f"{context.command_path} {usage}")
    found = [parameter.get_help_record(context) for parameter in command.params]
    records = [record for record in found if record is not None and record[1]]
    if records:
        lines += ["| option | meaning |", "| --- | --- |"]
        lines += [f"| `{_cell(option)}` | {_cell(meaning)} |" for option, meaning in records]
        lines.append("")
    return [*lines, "For example:", "", *_block("sh", command.example)]


def _paragraphs(text: str) -> list[str]:
    """The paragraphs of a help text; a backspace marks one whose lines click keeps."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text).partition("\f")[0].split("\n\n"):
        kept = paragraph.startswith("\b\n")
        lines += _block("text", paragraph.removeprefix("\b\n")) if kept else [paragraph, ""]
    return lines


def _block(language: str, text: str) -> list[str]:
    return [f"```{language}", *text.splitlines(), "```", ""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
