"""Writes the software bill of materials of a wheel, in CycloneDX: run by ``make dist``.

It lists what somebody gets who installs the wheel with the extras of `EXTRAS`: the packages and
versions of this environment, which are those of ``constraints.txt``, and what the wheel itself
carries of others.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterable
from importlib.metadata import PackageMetadata, distribution
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ["torch", "evaluation", "tracks", "workflow"]
MODEL = "evo2_tasks/checkpoints/evo2-mini/model.safetensors"
PLOTLY = "evo2_tasks/report/plotly_js/plotly-cartesian.min.js"
VARIANTS = "evo2_tasks/demo/data/mitomap.vcf.gz"
Component = dict[str, Any]


def read_metadata(wheel: ZipFile) -> Metadata:
    """The metadata of a wheel."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Metadata.from_email(wheel.read(name))


def select(requirements: list[Requirement], extras: Iterable[str]) -> list[Requirement]:
    """The requirements that apply to this platform, with some extras."""
    return [
        one
        for one in requirements
        if one.marker is None or any(one.marker.evaluate({"extra": x}) for x in {"", *extras})
    ]


def find_packages(first: list[Requirement]) -> dict[str, list[str]]:
    """The packages that follow from some requirements, each with those that it needs.

    The versions are those of this environment.
    """
    extras: dict[str, set[str]] = {}
    needs: dict[str, list[str]] = {}
    waiting = list(first)
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in extras and wanted.extras <= extras[name]:
            continue
        extras[name] = extras.get(name, set()) | wanted.extras
        stated = [Requirement(line) for line in distribution(name).requires or []]
        follow = select(stated, extras[name])
        needs[name] = sorted({canonicalize_name(one.name) for one in follow})
        waiting += follow
    return dict(sorted(needs.items()))


def list_licences(stated: PackageMetadata) -> list[Component]:
    """The licence of a package, as its metadata state it."""
    if expression := stated.get("License-Expression"):
        return [{"expression": expression}]
    words = [line.rpartition(" :: ")[2] for line in stated.get_all("Classifier") or []
             if line.startswith("License :: ")]  # fmt: skip
    text = (stated.get("License") or "").strip().partition("\n")[0]
    return [{"license": {"name": name}} for name in words or [text] if name]


def describe_package(name: str) -> Component:
    """A package of this environment."""
    found = distribution(name)
    version = found.version.partition("+")[0]
    reference = f"pkg:pypi/{name}@{version}"
    licences = list_licences(found.metadata)
    return {
        "bom-ref": reference,
        "type": "library",
        "name": name,
        "version": version,
        "purl": reference,
        **({"licenses": licences} if licences else {}),
    }


def describe_contents(wheel: ZipFile) -> list[Component]:
    """What the wheel carries besides the code of the project."""

    def described(file: str, licence: str, **values: Any) -> Component:
        digest = hashlib.sha256(wheel.read(file)).hexdigest()
        return {
            "bom-ref": file,
            **values,
            "hashes": [{"alg": "SHA-256", "content": digest}],
            "licenses": [{"license": {"id": licence}}],
        }

    about = wheel.read(f"{Path(PLOTLY).parent}/README.md").decode()
    plotly = re.search(r"`(plotly\S+)`, version\s+(\S+) ", about)
    if plotly is None:
        raise SystemExit(f"{PLOTLY}: the README next to it states no version.")
    name, version = plotly.groups()
    purl = f"pkg:npm/{name}@{version}"
    return [
        described(MODEL, "Apache-2.0", type="machine-learning-model", name="evo2-mini"),
        described(PLOTLY, "MIT", type="library", name=name, version=version, purl=purl),
        described(VARIANTS, "MIT", type="data", name="mitomap.vcf.gz"),
    ]


def describe_wheel(file: Path) -> Component:
    """The bill of materials of a wheel."""
    with ZipFile(file) as wheel:
        stated = read_metadata(wheel)
        contents = describe_contents(wheel)
    first = select(stated.requires_dist or [], EXTRAS)
    needs = find_packages(first)
    packages = {name: describe_package(name) for name in needs}
    root = f"pkg:pypi/{stated.name}@{stated.version}"
    references = {name: one["bom-ref"] for name, one in packages.items()}
    own = sorted({references[canonicalize_name(one.name)] for one in first})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "bom-ref": root,
                "type": "application",
                "name": stated.name,
                "version": str(stated.version),
                "purl": root,
                "hashes": [
                    {"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}
                ],
                "licenses": [{"expression": stated.license_expression}],
            }
        },
        "components": [*packages.values(), *contents],
        "dependencies": [
            {"ref": root, "dependsOn": own + [one["bom-ref"] for one in contents]},
            *(
                {"ref": references[name], "dependsOn": [references[other] for other in others]}
                for name, others in needs.items()
            ),
        ],
    }


def main() -> None:
    """Write ``evo2_tasks-VERSION.cdx.json`` next to the wheel that is named."""
    file = Path(sys.argv[1])
    text = json.dumps(describe_wheel(file), indent=2) + "\n"
    error = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise SystemExit(f"The bill of materials is no CycloneDX: {error}")
    file.with_name(f"{'-'.join(file.name.split('-')[:2])}.cdx.json").write_text(text)


if __name__ == "__main__":
    main()
