"""Writes the conda recipe of a source archive, as Bioconda wants it: run by ``make dist``.

The requirements are those of ``pyproject.toml`` under their names in conda-forge and Bioconda. The
package of conda needs the packages of the extras in `EXTRAS`, because conda knows no extras.
"""

import hashlib
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
EXTRAS = ["torch", "evaluation", "tracks", "workflow"]
CONDA_NAMES = {
    "edlib": "python-edlib",
    "huggingface-hub": "huggingface_hub",
    "snakemake": "snakemake-minimal",
    "torch": "pytorch",
}
"""Names that are others than on PyPI."""

RECIPE = """\
{{% set name = "evo2-tasks" %}}
{{% set version = "{version}" %}}

# Written by `make dist`. Not built yet: conda was not available.
package:
  name: "{{{{ name }}}}"
  version: "{{{{ version }}}}"

source:
  url: https://pypi.org/packages/source/e/evo2-tasks/{file}
  sha256: {sha256}

build:
  number: 0
  noarch: python
  entry_points:
    - evo2-tasks = {entry_point}
  script: {{{{ PYTHON }}}} -m pip install . --no-deps --no-build-isolation --no-cache-dir -vvv
  run_exports:
    - {{{{ pin_subpackage(name, max_pin="x.x") }}}}

requirements:
  host:
    - pip
    - python {python}
{host}
  run:
    - python {python}
{run}

test:
  imports:
    - evo2_tasks
    - evo2_tasks.evo2
  requires:
    - pip
  commands:
    - pip check
    - evo2-tasks --version
    - test -f "$(evo2-tasks workflow-path)"
    - evo2-tasks demo demo

about:
  home: https://pypi.org/project/evo2-tasks/
  license: {licence}
  license_family: APACHE
  license_file:
{licences}
  summary: "{summary}"
"""


def list_items(lines: list[str]) -> str:
    """A list of the recipe."""
    return "\n".join(f"    - {line}" for line in lines)


def conda_requirements(lines: list[str]) -> list[str]:
    """Requirements of pip as conda spells them."""
    spelled = set()
    for line in lines:
        required = Requirement(line)
        # The lower bound first.
        bounds = sorted(map(str, required.specifier), reverse=True)
        name = CONDA_NAMES.get(required.name, required.name)
        spelled.add(" ".join([name, ",".join(bounds)]).strip())
    return sorted(spelled)


def write_recipe(archive: Path) -> str:
    """The recipe of a source archive, whose name states the version."""
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = settings["project"]
    chosen = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    return RECIPE.format(
        version=archive.name.removeprefix("evo2_tasks-").removesuffix(".tar.gz"),
        file="evo2_tasks-{{ version }}.tar.gz",
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        entry_point=project["scripts"]["evo2-tasks"],
        python=project["requires-python"],
        host=list_items(conda_requirements(settings["build-system"]["requires"])),
        run=list_items(conda_requirements(project["dependencies"] + chosen)),
        licence=project["license"],
        licences=list_items(project["license-files"]),
        summary=project["description"].replace('"', "'"),
    )


def main() -> None:
    """Write ``meta.yaml`` next to the source archive that is named."""
    archive = Path(sys.argv[1])
    archive.with_name("meta.yaml").write_text(write_recipe(archive), encoding="utf-8")


if __name__ == "__main__":
    main()
