"""Reads the files of ``make_tracks.py`` with other programs, and asks each for values.

Run by the environment of the readers:

    PYTHONPATH=. build/readers/bin/python tests/readers/tracks/read_tracks.py READER TRACKS OUT
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.readers.encode import encode

Record = tuple[Any, Any, Any, Any]
"""Contig, start, end, value."""

PLACES: Final = (("chr1", 0, 3), ("chrM", 0, 10), ("chr1", 20, 30))
"""Of which the questions ask the mean, the smallest and the largest value."""

FIRST: Final = ("chr1", 0, 4)
NUMBERED: Final = ("1", 0, 10)
FAR: Final = ("c", 2_999_999_990, 3_000_000_010)
KINDS: Final = {"mean": "mean", "smallest": "min", "largest": "max"}


def run(*command: str | Path) -> str:
    """What a command prints."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().partition("\n")[0])
    return done.stdout


def missing_as_none(values: Iterable[float]) -> list[float | None]:
    """Values with None for NaN, which programs without null give."""
    return [None if math.isnan(value) else float(value) for value in values]


class Reader:
    """A program that reads bigWig or bedGraph files.

    Attributes:
        name: Its name, which is that of its package.
        folder: The folder of the files.
        endings: Of the files that it reads.
    """

    endings: tuple[str, ...] = (".bw",)

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    def version(self) -> str:
        """Its version."""
        return importlib.metadata.version(self.name)

    def path(self, name: str) -> str:
        """A file."""
        return str(self.folder / name)

    def read(self, name: str) -> Iterable[Record]:
        """All values of a file."""
        raise NotImplementedError

    def summary(self, kind: str) -> Any:
        """The mean, smallest or largest value at each of the places."""
        raise NotImplementedError

    def each_base(self) -> Any:
        """The values of the first four bases of chr1."""
        raise NotImplementedError

    def starts(self, name: str, contig: str, start: int, end: int) -> Any:
        """The starts of the values in a region."""
        raise NotImplementedError


class PyBigWig(Reader):
    """pyBigWig."""

    def _open(self, name: str) -> Any:
        return importlib.import_module("pyBigWig").open(self.path(name))

    def read(self, name: str) -> Iterable[Record]:
        file = self._open(name)
        for contig in file.chroms():
            for record in file.intervals(contig):
                yield (contig, *record)

    def summary(self, kind: str) -> Any:
        file = self._open("contigs.bw")
        return [file.stats(*place, type=kind, exact=True)[0] for place in PLACES]

    def each_base(self) -> Any:
        return missing_as_none(self._open("contigs.bw").values(*FIRST))

    def starts(self, name: str, contig: str, start: int, end: int) -> Any:
        return [record[0] for record in self._open(name).intervals(contig, start, end)]


class Pybigtools(Reader):
    """pybigtools."""

    def _open(self, name: str) -> Any:
        return importlib.import_module("pybigtools").open(self.path(name))

    def read(self, name: str) -> Iterable[Record]:
        file = self._open(name)
        for contig in file.chroms():
            for record in file.records(contig):
                yield (contig, *record)

    def summary(self, kind: str) -> Any:
        file = self._open("contigs.bw")
        return missing_as_none(
            file.values(*place, bins=1, summary=kind, exact=True, fillna=None)[0]
            for place in PLACES
        )

    def each_base(self) -> Any:
        return missing_as_none(self._open("contigs.bw").values(*FIRST, fillna=None))

    def starts(self, name: str, contig: str, start: int, end: int) -> Any:
        return [record[0] for record in self._open(name).records(contig, start, end)]


class Bioframe(Reader):
    """bioframe, which reads bigWig with pyBigWig, a contig at a time."""

    endings = (".bw", ".bedgraph", ".bedgraph.gz")

    def _frame(self, name: str) -> Any:
        bioframe = importlib.import_module("bioframe")
        if name.endswith(".bw"):
            chroms = importlib.import_module("pyBigWig").open(self.path(name)).chroms()
            parts = [bioframe.read_bigwig(self.path(name), contig) for contig in chroms]
            return importlib.import_module("pandas").concat(parts)
        return bioframe.read_table(self.path(name), schema="bedGraph")

    def read(self, name: str) -> Iterable[Record]:
        rows: Iterable[Record] = self._frame(name).itertuples(index=False, name=None)
        return rows

    def starts(self, name: str, contig: str, start: int, end: int) -> Any:
        bedgraph = self._frame(name.replace(".bw", ".bedgraph"))
        found = importlib.import_module("bioframe").select(bedgraph, (contig, start, end))
        return found["start"].tolist()


class Pyranges(Reader):
    """pyranges."""

    endings = (".bw", ".bedgraph", ".bedgraph.gz")

    def _frame(self, name: str) -> Any:
        pyranges = importlib.import_module("pyranges")
        read = pyranges.read_bigwig if name.endswith(".bw") else pyranges.read_bed
        return read(self.path(name))

    def read(self, name: str) -> Iterable[Record]:
        rows: Iterable[Record] = self._frame(name).df.itertuples(index=False, name=None)
        return rows

    def starts(self, name: str, contig: str, start: int, end: int) -> Any:
        return self._frame(name.replace(".bw", ".bedgraph"))[contig, start:end].Start.tolist()


class Oxbow(Reader):
    """oxbow."""

    def _open(self, name: str) -> Any:
        return importlib.import_module("oxbow").from_bigwig(self.path(name))

    def read(self, name: str) -> Iterable[Record]:
        rows: Iterable[Record] = self._open(name).pl().rows()
        return rows

    def starts(self, name: str, contig: str, start: int, end: int) -> Any:
        found = self._open(name).regions(f"{contig}:{start + 1}-{end}").pl()
        return found["start"].to_list()


class Bedtools(Reader):
    """bedtools of Debian."""

    endings = (".bedgraph", ".bedgraph.gz")

    def version(self) -> str:
        return run("bedtools", "--version").split()[1]

    def read(self, name: str) -> Iterable[Record]:
        rows = run("bedtools", "unionbedg", "-i", self.path(name), self.path(name))
        for line in rows.splitlines():
            contig, start, end, value, _ = line.split("\t")
            yield contig, int(start), int(end), float(value)

    def _map(self, *options: str) -> list[list[str]]:
        places = self.folder / "places.bed"
        order = sorted(PLACES, key=lambda place: place[:2])
        places.write_text("".join("{}\t{}\t{}\n".format(*place) for place in order))
        bedgraph = self.path("contigs.bedgraph")
        text = run("bedtools", "map", "-a", str(places), "-b", bedgraph, "-c", "4", *options)
        lines = {tuple(line.split("\t")[:3]): line.split("\t") for line in text.splitlines()}
        return [lines[tuple(map(str, place))] for place in PLACES]

    def summary(self, kind: str) -> Any:
        cells = [line[-1] for line in self._map("-o", kind)]
        return [None if cell == "." else float(cell) for cell in cells]

    def starts(self, name: str, contig: str, start: int, end: int) -> Any:
        place = self.folder / "place.bed"
        place.write_text(f"{contig}\t{start}\t{end}\n")
        bedgraph = self.path(name.replace(".bw", ".bedgraph"))
        text = run("bedtools", "intersect", "-a", bedgraph, "-b", str(place))
        return [int(line.split("\t")[1]) for line in text.splitlines()]


class Megadepth(Reader):
    """megadepth of Debian."""

    endings = ()

    def version(self) -> str:
        return run("megadepth", "--version").split()[1]

    def summary(self, kind: str) -> Any:
        places = self.folder / "places.bed"
        order = sorted(PLACES, key=lambda place: place[:2])
        places.write_text("".join("{}\t{}\t{}\n".format(*place) for place in order))
        bigwig = self.path("contigs.bw")
        text = run("megadepth", bigwig, "--annotation", str(places), "--op", kind)
        cells = {tuple(line.split("\t")[:3]): line.split("\t")[3] for line in text.splitlines()}
        return [float(cells[tuple(map(str, place))]) for place in PLACES]


READERS: Final[Mapping[str, type[Reader]]] = {
    "pyBigWig": PyBigWig,
    "pybigtools": Pybigtools,
    "bioframe": Bioframe,
    "pyranges": Pyranges,
    "oxbow": Oxbow,
    "bedtools": Bedtools,
    "megadepth": Megadepth,
}


def attempt(ask: Callable[[], Any]) -> Any:
    """What a program gives, encoded, or the name of its error."""
    try:
        return encode(ask())
    except NotImplementedError:
        return None
    except BaseException as error:  # a panic of Rust is no Exception
        text = re.sub(r"\S*/", "", str(error).strip().partition("\n")[0])[:100]
        return {"error": f"{type(error).__name__}: {text}"}


def read_columns(reader: Reader, table: str) -> dict[str, list[Any]]:
    """The values of a file as columns."""
    rows = list(reader.read(table))
    names = ("contig", "start", "end", "value")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def main(name: str, folder: Path, out: Path) -> None:
    """Read the files, ask the questions, write what the program gave."""
    reader = READERS[name](name, folder)
    expected = json.loads((folder / "expected.json").read_text())
    tables = {
        table: attempt(partial(read_columns, reader, table))
        for table in expected["tables"]
        if table.endswith(reader.endings)
    }
    answers = {question: attempt(partial(reader.summary, kind)) for question, kind in KINDS.items()}
    answers["each_base"] = attempt(reader.each_base)
    answers["first_bases_of_region"] = attempt(lambda: reader.starts("contigs.bw", *FIRST))
    answers["numbered_contig"] = attempt(lambda: reader.starts("numbered.bw", *NUMBERED))
    answers["beyond_2_to_31"] = attempt(lambda: reader.starts("four_billion.bw", *FAR))
    asked = {question: answer for question, answer in answers.items() if answer is not None}
    out.write_text(json.dumps({"version": reader.version(), "tables": tables, "answers": asked}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
