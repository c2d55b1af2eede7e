"""Reads our files with the programs that people use, and compares their values with ours.

``outcomes.json`` of a group has what each reader got other than we wrote it, which
docs/readers.md explains. A reader that gives something else now, for better or worse, is an error.
Run by ``make readers-test``, which makes the environment of the readers:

    python -m tests.readers.run build/readers          the readers that install in seconds
    python -m tests.readers.run build/readers --all    Spark, ClickHouse and programs of Debian too
    python -m tests.readers.run build/readers --write  write outcomes.json again
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.readers.compare import describe, describe_answer
from tests.readers.models.make_folders import write_folders
from tests.readers.parquet.make_tables import write_tables
from tests.readers.tracks.make_tracks import write_tracks
from tests.readers.vcf.make_vcfs import write_vcfs

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
Outcome = dict[str, str]


@dataclass(frozen=True)
class Group:
    """Files of a kind, and the programs that read them.

    A program gets the name of a reader, the folder of the files and the file to write, in which
    ``tables`` and ``answers`` are as in the ``expected.json`` of the files.

    Attributes:
        name: Its folder here, which has the programs and ``outcomes.json``.
        write: Writes the files to a folder.
        programs: The program of each reader: ``.py`` for the environment of the readers, ``.mjs``
            for node.
        by_hand: The readers that ``--all`` adds, and the command or file that each needs, if any.
        here: The readers that the environment of the project runs.
    """

    name: str
    write: Callable[[Path], None]
    programs: Mapping[str, str]
    by_hand: Mapping[str, str] = field(default_factory=dict)
    here: Collection[str] = ()


DEBIAN_VCF: Final = {
    "bcftools": "bcftools",
    "htsjdk": "/usr/share/java/htsjdk.jar",
    "vcftools": "vcftools",
    "SnpSift": "/usr/share/java/snpsift.jar",
    "plink2": "plink2",
}
DEBIAN_TRACKS: Final = {"bedtools": "bedtools", "megadepth": "megadepth"}

GROUPS: Final = (
    Group(
        "parquet",
        write_tables,
        {
            **dict.fromkeys(
                (
                    "pandas",
                    "pandas, dtype_backend=pyarrow",
                    "fastparquet",
                    "pyarrow",
                    "polars",
                    "DuckDB",
                    "DataFusion",
                    "ClickHouse",
                    "Spark",
                ),
                "ask_tables.py",
            ),
            **dict.fromkeys(("hyparquet", "parquet-wasm"), "ask_tables.mjs"),
        },
        by_hand={"ClickHouse": "", "Spark": "java"},
    ),
    Group(
        "models",
        write_folders,
        {
            "safetensors without torch": "read_folders.py",
            "gguf": "read_folders.py",
            "@huggingface/hub": "read_folders.mjs",
            "huggingface_hub, upload": "upload_folders.py",
        },
        here=("huggingface_hub, upload",),
    ),
    Group(
        "vcf",
        write_vcfs,
        dict.fromkeys(
            (
                "pysam",
                "bcftools in pysam",
                "cyvcf2",
                "vcfpy",
                "scikit-allel",
                "oxbow",
                "bio2zarr and vcztools",
                *DEBIAN_VCF,
            ),
            "read_vcfs.py",
        ),
        by_hand=DEBIAN_VCF,
    ),
    Group(
        "tracks",
        write_tracks,
        {
            **dict.fromkeys(
                ("pyBigWig", "pybigtools", "bioframe", "pyranges", "oxbow", *DEBIAN_TRACKS),
                "read_tracks.py",
            ),
            "@gmod/bbi": "read_tracks.mjs",
        },
        by_hand=DEBIAN_TRACKS,
    ),
)


def ask_readers(
    group: Group, environment: Path, *, all_readers: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Write the files, and let each reader read them.

    Yields:
        The name of a reader, and what it gave.
    """
    files, out = environment / group.name, environment / "seen.json"
    shutil.rmtree(files, ignore_errors=True)
    group.write(files)
    has_node = shutil.which("node") is not None
    for name, program in group.programs.items():
        path = HERE / group.name / program
        if name in group.by_hand and not all_readers:
            continue
        needed = group.by_hand.get(name, "")
        if needed and shutil.which(needed) is None and not Path(needed).exists():
            print(f"{name}: skipped, because there is no {needed}")
            continue
        if path.suffix == ".mjs" and not has_node:
            print(f"{name}: skipped, because node is not installed")
            continue
        if path.suffix == ".mjs":
            # Node looks for packages in the folder of the program.
            path = Path(shutil.copy(path, environment))
        python = sys.executable if name in group.here else environment / "bin/python"
        subprocess.run(
            ["node" if path.suffix == ".mjs" else python, path, name, files, out],
            check=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL if name == "Spark" else None,
        )
        yield name, json.loads(out.read_text())


def judge(expected: Mapping[str, Any], seen: Mapping[str, Any]) -> Outcome:
    """The version of a reader, how many cells are as we wrote them, and the others."""
    cells = {
        **{
            name: describe(expected["tables"][name], found)
            for name, found in seen["tables"].items()
        },
        **{
            question: describe_answer(expected["answers"][question], answer)
            for question, answer in seen["answers"].items()
        },
    }
    others = {name: text for name, text in cells.items() if text != "same"}
    same = f"{len(cells) - len(others)} of {len(cells)}"
    return {"version": seen["version"], "same": same} | others


def try_group(group: Group, environment: Path, *, all_readers: bool, write: bool) -> list[str]:
    """Read the files of a group; gives the cells that are not as recorded."""
    file = HERE / group.name / "outcomes.json"
    recorded: dict[str, Outcome] = json.loads(file.read_text()) if file.exists() else {}
    outcomes: dict[str, Outcome] = {}
    for name, seen in ask_readers(group, environment, all_readers=all_readers):
        expected = json.loads((environment / group.name / "expected.json").read_text())
        outcomes[name] = judge(expected, seen)
        print(f"{name}, version {seen['version']}: {outcomes[name]['same']} cells as we wrote them")
    if write:
        file.write_text(json.dumps(recorded | outcomes, indent=1) + "\n")
        return []
    return [
        f"{name}: {cell}: was {recorded.get(name, {}).get(cell)!r}, is {found.get(cell)!r}"
        for name, found in outcomes.items()
        for cell in dict.fromkeys([*recorded.get(name, {}), *found])
        if recorded.get(name, {}).get(cell) != found.get(cell)
    ]


def main() -> int:
    """Print the outcomes; gives 1 if they are not those of the files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("environment", type=Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    changed = [
        cell
        for group in GROUPS
        for cell in try_group(
            group, options.environment.resolve(), all_readers=options.all, write=options.write
        )
    ]
    for cell in changed:
        print(cell, file=sys.stderr)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
