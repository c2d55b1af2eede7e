"""The report of a variant set: one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.report import sections
from evo2_tasks.report.blocks import Grid
from evo2_tasks.report.evidence import Evidence, read_evidence
from evo2_tasks.report.words import script_json
from evo2_tasks.table.provenance import package_version

FOLDER: Final = Path(__file__).parent
PLOTLY: Final = "plotly_js/plotly-cartesian.min.js"
"""The script of plotly that draws plots with x and y axes; ``plotly_js/README.md`` states more."""

PLOTLY_SHA256: Final = "79542150855a52c567260e3137095dbe2b744e6d702a5cabe67da246942fba7a"
"""Checksum of that file in plotly's npm package."""

POLICY: Final = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def write_report(
    results: Path, out: Path, *, variant_set: str, scorings: Sequence[str], has_labels: bool
) -> None:
    """Write the report of a variant set.

    Args:
        results: Folder of the variant set, with a folder for each scoring.
        out: The HTML file.
        variant_set: Name of the variant set.
        scorings: Names of its scorings, in the order in which the report shows them.
        has_labels: Whether the variant set has labels, so that its scorings were evaluated.

    Raises:
        InputError: A file of a scoring is missing or broken, or the report cannot be written.
    """
    evidence = [
        read_evidence(results / scoring, scoring, has_labels=has_labels) for scoring in scorings
    ]
    text = render_page(variant_set, evidence)
    with replace_atomically(out) as temporary, writing(out):
        temporary.write_text(text, encoding="utf-8", newline="\n")


def render_page(variant_set: str, evidence: Sequence[Evidence]) -> str:
    """Render the report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["kind_of"] = lambda block: type(block).__name__
    page_sections = sections.make_sections(evidence)
    plots = [
        plot.content()
        for section in page_sections
        for block in section.blocks
        if isinstance(block, Grid)
        for plot in block.plots
    ]
    names = [PLOTLY, "report.js"] if plots else ["report.js"]
    scripts = [_script(_read(name)) for name in names]
    page: dict[str, Any] = {
        "variant_set": variant_set,
        "version": package_version(),
        "scorings": [one.scoring for one in evidence],
        "tiles": sections.make_tiles(evidence),
        "alarms": sections.find_alarms(evidence),
        "sections": page_sections,
        "style": Markup(_read("report.css")),  # noqa: S704 - a file of this package
        "scripts": scripts,
        "plots": script_json(plots),
        "policy": POLICY.format(scripts=" ".join(map(_source, scripts))),
    }
    return environment.get_template("report.html.j2").render(page)


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _script(text: str) -> Markup:
    """A script of this package or of plotly, as the page contains it."""
    # A browser normalizes line ends before it computes the digest.
    return Markup(text.replace("\r\n", "\n").replace("\r", "\n"))  # noqa: S704 - no data in it


def _source(script: str) -> str:
    """The source expression of the policy that allows this inline script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
