"""The page ``docs/versions.md``, from ``pyproject.toml`` and ``constraints.txt``."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
EXTRAS = {
    None: ("The package itself", "Needed everywhere."),
    "torch": ("Extra `torch`", "Needed where a model runs or is fetched."),
    "evaluation": ("Extra `evaluation`", "Needed for metrics, probes and the report."),
    "tracks": ("Extra `tracks`", "Needed for bigWig files."),
    "workflow": ("Extra `workflow`", "Needed where `snakemake` runs."),
    "clusters": ("Extra `clusters`", "Needed for schedulers other than SLURM."),
}
PAGE = """\
# Tested versions

<!-- Made by `python docs/generate.py`; a test compares. -->

What the code needs, and the versions with which all tests run. `constraints.txt` has these and the
versions of all packages that they need. `make newest-test` runs the tests of what meets other
packages with the newest release of each instead. The model was tested with transformers 5.16 to
5.24 ([more](transformers.md)). Python: {python}; the tests run with 3.11.

{sections}
The conda environments in `envs/` have the same versions. conda has not solved them yet
([installation](installation.md#with-conda-environments)).
"""


def read_tested() -> dict[str, str]:
    """The tested version of each package."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def versions_page() -> str:
    """The page."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    tested = read_tested()
    sections = []
    for extra, (title, use) in EXTRAS.items():
        lines = project["dependencies" if extra is None else "optional-dependencies"]
        rows = ["| package | range | tested |", "| --- | --- | --- |"]
        for required in map(Requirement, lines if extra is None else lines[extra]):
            # The lower bound first.
            bounds = ", ".join(sorted(map(str, required.specifier), reverse=True))
            rows.append(
                f"| {required.name} | {bounds} | {tested[canonicalize_name(required.name)]} |"
            )
        sections.append("\n".join([f"## {title}", "", use, "", *rows, ""]))
    return PAGE.format(python=project["requires-python"], sections="\n".join(sections))
