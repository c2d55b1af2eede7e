"""Reads our files with the programs that people use, and compares their values with ours.

``outcomes.json`` of a group has what each reader got other than we wrote it, which
docs/readers.md explains. A reader that gives something else now, for better or worse, is an error.
Run by ``make readers-test``, which makes the environment of the readers:

    python -m tests.readers.run build/readers          the readers that install in seconds
    python -m tests.readers.run build/readers --all    Spark and ClickHouse too
    python -m tests.readers.run build/readers --write  write outcomes.json again
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.readers.compare import describe, describe_answer
from tests.readers.parquet.make_tables import write_tables

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
OUTCOMES: Final = HERE / "parquet/outcomes.json"

IN_PYTHON: Final = (
    "pandas",
    "pandas, dtype_backend=pyarrow",
    "fastparquet",
    "pyarrow",
    "polars",
    "DuckDB",
    "DataFusion",
)
IN_PYTHON_BY_HAND: Final = ("ClickHouse", "Spark")
IN_JAVASCRIPT: Final = ("hyparquet", "parquet-wasm")

Outcome = dict[str, str]


def ask_readers(environment: Path, *, all_readers: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Write the tables, and let each reader read them.

    Yields:
        The name of a reader, and what it gave.
    """
    tables, out = environment / "tables", environment / "seen.json"
    shutil.rmtree(tables, ignore_errors=True)
    write_tables(tables)
    python, here = environment / "bin/python", HERE / "parquet"
    commands = {
        name: [python, here / "ask_tables.py", name, tables, out]
        for name in (*IN_PYTHON, *(IN_PYTHON_BY_HAND if all_readers else ()))
    }
    if shutil.which("node"):
        # Node looks for packages in the folder of the program.
        program = Path(shutil.copy(here / "ask_tables.mjs", environment))
        commands |= {name: ["node", program, name, tables, out] for name in IN_JAVASCRIPT}
    else:
        print(f"skipped, because node is not installed: {', '.join(IN_JAVASCRIPT)}")
    for name, command in commands.items():
        subprocess.run(
            command,
            check=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL if name == "Spark" else None,
        )
        yield name, json.loads(out.read_text())


def judge(expected: Mapping[str, Any], seen: Mapping[str, Any]) -> Outcome:
    """The version of a reader, how many cells are as we wrote them, and the others."""
    cells = {
        **{
            f"{name}.parquet": describe(columns, seen["tables"][name])
            for name, columns in expected["tables"].items()
        },
        **{
            question: describe_answer(expected["answers"][question], answer)
            for question, answer in seen["answers"].items()
        },
    }
    others = {name: text for name, text in cells.items() if text != "same"}
    return {
        "version": seen["version"],
        "same": f"{len(cells) - len(others)} of {len(cells)}",
    } | others


def main() -> int:
    """Print the outcomes; gives 1 if they are not those of the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("environment", type=Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    environment = options.environment.resolve()
    recorded: dict[str, Outcome] = json.loads(OUTCOMES.read_text()) if OUTCOMES.exists() else {}
    outcomes: dict[str, Outcome] = {}
    for name, seen in ask_readers(environment, all_readers=options.all):
        expected = json.loads((environment / "tables/expected.json").read_text())
        outcomes[name] = judge(expected, seen)
        print(f"{name}, version {seen['version']}: {outcomes[name]['same']} cells as we wrote them")
    if options.write:
        OUTCOMES.write_text(json.dumps(recorded | outcomes, indent=1) + "\n")
        return 0
    changed = [
        f"{name}: {cell}: was {recorded.get(name, {}).get(cell)!r}, is {found.get(cell)!r}"
        for name, found in outcomes.items()
        for cell in dict.fromkeys([*recorded.get(name, {}), *found])
        if recorded.get(name, {}).get(cell) != found.get(cell)
    ]
    print(*changed, sep="\n", file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
