"""Reads the VCFs of ``make_vcfs.py`` with other programs, and asks each for lines.

A value is given as the program gives it; only the commas of programs that print text are split. A
list of missing values is one missing value. Run by the environment of the readers:

    PYTHONPATH=. build/readers/bin/python tests/readers/vcf/read_vcfs.py READER VCFS OUT
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.readers.encode import encode

HERE: Final = Path(__file__).parent
FIELDS: Final = (
    "status", "reason", "flags", "llr", "consequences", "gene", "transcript_strand", "spdi",
)  # fmt: skip
REGIONS: Final = {
    "first_base_of_region": ("annotated_4.2", "chr1", 10, 19),
    "contig_with_colon": ("annotated_4.2", "HLA-A*01:01", 1, 10),
    "far_one_billion": ("one_billion", "c", 599_999_990, 600_000_010),
    "far_four_billion": ("four_billion", "c", 2_999_999_990, 3_000_000_010),
}
"""File, contig, first and last position (1-based) of each question."""

LIMITS: Final = {"llr_below_minus_1": "< -1", "llr_up_to_minus_0.1": "<= -0.1"}

Line = dict[str, Any]
"""Contig, pos, alt and the INFO fields of ours."""


def values_of(value: Any) -> Any:
    """A value as a list; None if nothing is in it."""
    if value is None:
        return None
    found = list(value) if isinstance(value, list | tuple) else [value]
    return None if all(one is None for one in found) else found


def make_line(contig: str, pos: int, alts: Sequence[str] | None, info: Mapping[str, Any]) -> Line:
    """A line from a program that has values by the names of the fields."""
    return {
        "contig": contig,
        "pos": int(pos),
        "alt": list(alts) if alts else None,
        **{field: values_of(info.get(f"evo2_{field}")) for field in FIELDS},
    }


def parse_value(field: str, text: str | None) -> Any:
    """Values of a program that prints text."""
    if text is None or text in (".", ""):
        return None
    parts = [None if part in (".", "") else part for part in text.split(",")]
    return [None if part is None else float(part) for part in parts] if field == "llr" else parts


def parse_text(text: str) -> Iterator[Line]:
    """Lines of a VCF that a program wrote."""
    names: list[str] = []
    for line in text.splitlines():
        cells = line.split("\t")
        if line.startswith("#"):
            names = cells  # plink2 leaves out columns without values
            continue
        contig, pos, _, _, alts = cells[:5]
        entries = dict(zip(names, cells, strict=True)).get("INFO", ".")
        info = dict(entry.partition("=")[::2] for entry in entries.split(";"))
        texts = {f"evo2_{key}": parse_value(key, info.get(f"evo2_{key}")) for key in FIELDS}
        yield make_line(contig, int(pos), None if alts == "." else alts.split(","), texts)


def run(*command: str | Path) -> str:
    """What a command prints; its error is raised."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        words = [
            line
            for line in done.stderr.splitlines()
            if re.search("rror|xception|ould not|E::", line)
        ]
        raise RuntimeError((words or ["failed"])[-1])
    return done.stdout


class Reader:
    """A program that reads VCFs.

    Attributes:
        name: Its name.
        version: Its version.
        folder: The folder of the files.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.version = self._find_version()

    def path(self, name: str) -> Path:
        """A file."""
        return self.folder / f"{name}.vcf.gz"

    def _find_version(self) -> str:
        return importlib.metadata.version(self.name)

    def read(self, name: str) -> Iterable[Line]:
        """All lines of a file."""
        raise NotImplementedError

    def region(self, name: str, contig: str, first: int, last: int) -> Iterable[int]:
        """Positions of the lines in a region, 1-based."""
        raise NotImplementedError

    def limit(self, condition: str) -> Iterable[int]:
        """Positions of the lines with an allele whose llr fulfils a condition."""
        raise NotImplementedError


class Bcftools(Reader):
    """bcftools of Debian."""

    def _run(self, command: str, *arguments: str) -> str:
        return run("bcftools", command, *arguments)

    def _find_version(self) -> str:
        return run("bcftools", "--version").split()[1]

    def read(self, name: str) -> Iterable[Line]:
        # A field that the header does not define would be an error.
        header = self._run("view", "--header-only", str(self.path(name)))
        fields = [field for field in FIELDS if f"ID=evo2_{field}," in header]
        names = "".join(f"\t%INFO/evo2_{field}" for field in fields)
        pattern = f"%CHROM\t%POS\t%ALT{names}\n"
        for line in self._run("query", "-f", pattern, str(self.path(name))).splitlines():
            contig, pos, alts, *texts = line.split("\t")
            info = {
                f"evo2_{field}": parse_value(field, text)
                for field, text in zip(fields, texts, strict=True)
            }
            yield make_line(contig, int(pos), None if alts == "." else alts.split(","), info)

    def region(self, name: str, contig: str, first: int, last: int) -> Iterable[int]:
        region = f"{{{contig}}}:{first}-{last}" if ":" in contig else f"{contig}:{first}-{last}"
        return map(
            int, self._run("query", "-f", "%POS\n", "-r", region, str(self.path(name))).split()
        )

    def limit(self, condition: str) -> Iterable[int]:
        path = str(self.path("annotated_4.2"))
        return map(
            int, self._run("query", "-f", "%POS\n", "-i", "evo2_llr" + condition, path).split()
        )


class PysamBcftools(Bcftools):
    """bcftools in pysam."""

    def _run(self, command: str, *arguments: str) -> str:
        program = (
            "import sys, pysam.bcftools as b;"
            "sys.stdout.write(getattr(b, sys.argv[1])(*sys.argv[2:], catch_stdout=True))"
        )
        return run(sys.executable, "-c", program, command, *arguments)

    def _find_version(self) -> str:
        return str(importlib.import_module("pysam.version").__bcftools_version__)


class Cyvcf2(Reader):
    """cyvcf2."""

    def _open(self, name: str) -> Any:
        return importlib.import_module("cyvcf2").VCF(str(self.path(name)))

    def read(self, name: str) -> Iterable[Line]:
        for line in self._open(name):
            yield make_line(line.CHROM, line.POS, line.ALT, dict(line.INFO))

    def region(self, name: str, contig: str, first: int, last: int) -> Iterable[int]:
        return (line.POS for line in self._open(name)(f"{contig}:{first}-{last}"))


class Vcfpy(Reader):
    """vcfpy."""

    def _open(self, name: str) -> Any:
        return importlib.import_module("vcfpy").Reader.from_path(self.path(name))

    def read(self, name: str) -> Iterable[Line]:
        for line in self._open(name):
            alts = [alt.serialize() for alt in line.ALT]
            yield make_line(line.CHROM, line.POS, alts, line.INFO)

    def region(self, name: str, contig: str, first: int, last: int) -> Iterable[int]:
        return (line.POS for line in self._open(name).fetch(contig, first - 1, last))


class Pysam(Reader):
    """pysam.VariantFile."""

    def _open(self, name: str) -> Any:
        return importlib.import_module("pysam").VariantFile(str(self.path(name)))

    def read(self, name: str) -> Iterable[Line]:
        for line in self._open(name):
            yield make_line(line.chrom, line.pos, line.alts, dict(line.info))

    def region(self, name: str, contig: str, first: int, last: int) -> Iterable[int]:
        return (line.pos for line in self._open(name).fetch(contig, first - 1, last))


class ScikitAllel(Reader):
    """scikit-allel, which has a row of three ALTs for each line."""

    def _read(self, name: str, **options: Any) -> Mapping[str, Any]:
        found = importlib.import_module("allel").read_vcf(
            str(self.path(name)), fields="*", numbers={"numalt": 1}, **options
        )
        return {} if found is None else dict(found)

    def read(self, name: str) -> Iterable[Line]:
        found = self._read(name)
        for row, num in enumerate(found["variants/numalt"]):
            info = {
                key.removeprefix("variants/"): found[key][row][:num].tolist()
                for key in found
                if "evo2_" in key
            }
            yield make_line(
                found["variants/CHROM"][row],
                found["variants/POS"][row],
                found["variants/ALT"][row][:num].tolist(),
                {key: value or None for key, value in info.items()},
            )

    def region(self, name: str, contig: str, first: int, last: int) -> Iterable[int]:
        # Without tabix it reads the whole file, and gives the same.
        found = self._read(name, region=f"{contig}:{first}-{last}", tabix=None)
        return map(int, found["variants/POS"])

    def limit(self, condition: str) -> Iterable[int]:
        found = self._read("annotated_4.2")
        llr = found["variants/evo2_llr"]
        chosen = llr < -1 if condition == "< -1" else llr <= -0.1
        return map(int, found["variants/POS"][chosen.any(axis=1)])


class Oxbow(Reader):
    """oxbow, which reads with noodles."""

    def _open(self, name: str) -> Any:
        return importlib.import_module("oxbow").from_vcf(str(self.path(name)))

    def read(self, name: str) -> Iterable[Line]:
        for line in self._open(name).pl().to_dicts():
            yield make_line(line["chrom"], line["pos"], line["alt"], line["info"])

    def region(self, name: str, contig: str, first: int, last: int) -> Iterable[int]:
        found = self._open(name).regions(f"{contig}:{first}-{last}").pl()
        return map(int, found["pos"].to_list())


class Zarr(Reader):
    """bio2zarr and vcztools, which print the VCF again."""

    def _find_version(self) -> str:
        return " and ".join(map(importlib.metadata.version, ("bio2zarr", "vcztools")))

    def _convert(self, name: str) -> Path:
        store = self.folder / f"{name}.vcz"
        if not store.exists():
            programs = Path(sys.executable).parent
            run(programs / "vcf2zarr", "convert", "--no-progress", self.path(name), store)
        return store

    def _view(self, name: str, *arguments: str) -> Iterator[Line]:
        store = self._convert(name)
        return parse_text(
            run(Path(sys.executable).with_name("vcztools"), "view", *arguments, store)
        )

    def read(self, name: str) -> Iterable[Line]:
        return self._view(name)

    def region(self, name: str, contig: str, first: int, last: int) -> Iterable[int]:
        return (line["pos"] for line in self._view(name, "-r", f"{contig}:{first}-{last}"))

    def limit(self, condition: str) -> Iterable[int]:
        view = self._view("annotated_4.2", "-i", "INFO/evo2_llr" + condition)
        return (line["pos"] for line in view)


class Htsjdk(Reader):
    """htsjdk of Debian, which GATK and Picard read with."""

    JARS = ":".join(f"/usr/share/java/{name}.jar" for name in ("htsjdk", "ngs-java", "snappy-java"))

    def _find_version(self) -> str:
        return Path("/usr/share/java/htsjdk.jar").resolve().stem.partition("-")[2]

    def _ask(self, name: str, *region: str) -> list[list[str]]:
        text = run("java", "-cp", self.JARS, HERE / "ReadVcf.java", self.path(name), *region)
        return [line.split("\t") for line in text.splitlines()]

    def read(self, name: str) -> Iterable[Line]:
        for contig, pos, alts, *texts in self._ask(name):
            info = {
                f"evo2_{field}": None if text == "null" else _as_list(field, text)
                for field, text in zip(FIELDS, texts, strict=True)
            }
            yield make_line(contig, int(pos), alts.split(",") if alts else None, info)

    def region(self, name: str, contig: str, first: int, last: int) -> Iterable[int]:
        return (int(line[1]) for line in self._ask(name, contig, str(first), str(last)))


def _as_list(field: str, text: str) -> list[Any] | None:
    parts = [None if part == "." else part for part in text.split("\x1f")]
    return [None if part is None else float(part) for part in parts] if field == "llr" else parts


class Printed(Reader):
    """Programs of Debian that write the VCF again."""

    COMMANDS: Final = {
        "vcftools": ("--gzvcf", "{}", "--recode", "--recode-INFO-all", "--stdout"),
        "SnpSift": ("filter", "(POS >= 0)", "{}"),
        "plink2": ("--vcf", "{}", "--allow-extra-chr", "--make-just-pvar"),
    }

    def _find_version(self) -> str:
        if self.name == "SnpSift":
            return run("dpkg-query", "--show", "--showformat=${Version}", "snpsift")
        return str(re.findall(r"[\d.a]+\d", run(self.name, "--version").partition(" ")[2])[0])

    def _write(self, name: str, *more: str) -> str:
        """The VCF that the program writes."""
        program: Sequence[str] = (self.name,)
        if self.name == "SnpSift":
            program = ("java", "-jar", "/usr/share/java/snpsift.jar")
        options = [word.replace("{}", str(self.path(name))) for word in self.COMMANDS[self.name]]
        if self.name == "SnpSift" and more:
            options[1] = more[0]
        if self.name != "plink2":
            return run(*program, *options)
        out = self.folder / f"{name}_plink2"
        run(*program, *options, *more, "--out", str(out))
        return Path(f"{out}.pvar").read_text()

    def read(self, name: str) -> Iterable[Line]:
        return parse_text(self._write(name))

    def limit(self, condition: str) -> Iterable[int]:
        if self.name == "vcftools":
            raise NotImplementedError
        words = [f"(evo2_llr[ANY] {condition})"]
        if self.name == "plink2":
            words = ["--extract-if-info", f"evo2_llr {condition}"]
        return (line["pos"] for line in parse_text(self._write("annotated_4.2", *words)))


READERS: Final[Mapping[str, type[Reader]]] = {
    "pysam": Pysam,
    "bcftools in pysam": PysamBcftools,
    "cyvcf2": Cyvcf2,
    "vcfpy": Vcfpy,
    "scikit-allel": ScikitAllel,
    "oxbow": Oxbow,
    "bio2zarr and vcztools": Zarr,
    "bcftools": Bcftools,
    "htsjdk": Htsjdk,
    "vcftools": Printed,
    "SnpSift": Printed,
    "plink2": Printed,
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


def find_region(reader: Reader, region: tuple[str, str, int, int]) -> list[int]:
    """Positions of the lines in a region of a file."""
    return sorted(reader.region(*region))


def find_limit(reader: Reader, condition: str) -> list[int]:
    """Positions of the lines whose llr fulfils a condition."""
    return sorted(set(reader.limit(condition)))


def read_columns(reader: Reader, table: str) -> dict[str, list[Any]]:
    """The lines of a file as columns."""
    rows = list(reader.read(table))
    return {name: [row[name] for row in rows] for name in ("contig", "pos", "alt", *FIELDS)}


def main(name: str, folder: Path, out: Path) -> None:
    """Read the files, ask the questions, write what the program gave."""
    reader = READERS[name](name, folder)
    expected = json.loads((folder / "expected.json").read_text())
    tables: dict[str, Any] = {}
    for table, columns in expected["tables"].items():
        seen = attempt(partial(read_columns, reader, table))
        # Fields that the file does not have are no business of the reader.
        tables[table] = {key: seen[key] for key in seen if key in columns or key == "error"}
    answers = {
        question: attempt(partial(find_region, reader, region))
        for question, region in REGIONS.items()
    }
    answers |= {
        question: attempt(partial(find_limit, reader, condition))
        for question, condition in LIMITS.items()
    }
    asked = {question: answer for question, answer in answers.items() if answer is not None}
    out.write_text(json.dumps({"version": reader.version, "tables": tables, "answers": asked}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
