"""The report of a variant set: one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_layout import WindowSettings
from evo2_tasks.io.digests import require_unchanged
from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.layout import COMBINED_FOLDER, TABLE
from evo2_tasks.report import sections
from evo2_tasks.report.blocks import Grid, Section, Tile
from evo2_tasks.report.calibrations import NamedCalibration
from evo2_tasks.report.combinations import CombinedEvidence, read_combined_evidence
from evo2_tasks.report.evidence import Evidence, read_evidence
from evo2_tasks.report.haplotypes import HaplotypeEvidence, read_haplotype_evidence
from evo2_tasks.report.probes import NamedPredictions
from evo2_tasks.report.profiles import ProfiledScoring
from evo2_tasks.report.scorings import Comparison, compare_tables
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


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about.

    Attributes:
        variant_set: Name of the variant set.
        scorings: Names of its scorings, in the order in which the report shows them.
        labels: Its labels; if there are any, its scorings were evaluated.
        evaluate_settings: What ``evaluate`` must have measured with; None does not compare it.
        evaluate_combined_settings: The same for combined tables.
        reference: Name of the reference in the config, and its FASTA file.
        checkpoints: Checkpoint of each scoring, as the config spells it.
        consequences: Where genes and consequences come from; empty if the set has none.
        calibrations: The calibrations of the set, by scoring and name.
        combinations: What each combined table of the set must have been made with, by name.
        probes: The predictions of the probes of the set, by scoring.
        haplotypes: What the haplotypes of the set must have been made with, by scoring.
        bases: The bases of the reference; needed for haplotypes and profiles only.
        profiled: The windows of each scoring with profiles.
    """

    variant_set: str
    scorings: Sequence[str]
    labels: Sequence[LabelSettings] = ()
    evaluate_settings: Mapping[str, Any] | None = None
    evaluate_combined_settings: Mapping[str, Any] | None = None
    reference: str = ""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    consequences: str = ""
    calibrations: Mapping[str, Mapping[str, NamedCalibration]] = field(default_factory=dict)
    probes: Mapping[str, Sequence[NamedPredictions]] = field(default_factory=dict)
    combinations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    haplotypes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bases: Reference | None = None
    profiled: Mapping[str, WindowSettings] = field(default_factory=dict)

    def find_profiled(self, scoring: str) -> ProfiledScoring | None:
        """Where the windows of a scoring are, if it has profiles."""
        if self.bases is None or scoring not in self.profiled:
            return None
        return ProfiledScoring(self.profiled[scoring], self.bases)


def write_report(results: Path, out: Path, subject: Subject) -> None:
    """Write the report of a variant set.

    Args:
        results: Folder of the variant set, with a folder for each scoring.
        out: The HTML file.
        subject: The variant set.

    Raises:
        InputError: A file of a scoring is missing or broken, belongs to another table or was
            replaced meanwhile, or the report cannot be written.
    """
    evidence = [
        read_evidence(
            results / scoring,
            scoring,
            labels=subject.labels,
            evaluate_settings=subject.evaluate_settings,
            calibrations=subject.calibrations.get(scoring, {}),
            probes=subject.probes.get(scoring, ()),
            profiled=subject.find_profiled(scoring),
        )
        for scoring in subject.scorings
    ]
    tables = {scoring: results / scoring / TABLE for scoring in subject.scorings}
    comparison = compare_tables(tables, subject.labels)
    combinations = [
        read_combined_evidence(
            results / COMBINED_FOLDER / name,
            subject.labels,
            table_digests={one.scoring: one.table_digest for one in evidence},
            settings=settings,
            evaluate_settings=subject.evaluate_combined_settings,
        )
        for name, settings in subject.combinations.items()
    ]
    haplotypes = [
        read_haplotype_evidence(
            results / one.scoring,
            table_digest=one.table_digest,
            settings=subject.haplotypes[one.scoring],
            reference=subject.bases,
        )
        for one in evidence
        if one.scoring in subject.haplotypes and subject.bases is not None
    ]
    for one in evidence:
        require_unchanged(tables[one.scoring], one.table_digest)
    text = render_page(subject, evidence, comparison, combinations, haplotypes)
    with replace_atomically(out) as temporary, writing(out):
        temporary.write_text(text, encoding="utf-8", newline="\n")


def render_page(
    subject: Subject,
    evidence: Sequence[Evidence],
    comparison: Comparison,
    combinations: Sequence[CombinedEvidence],
    haplotypes: Sequence[HaplotypeEvidence],
) -> str:
    """Render the report as HTML."""
    files = [
        {
            "reference": subject.reference,
            "genes and consequences": subject.consequences,
            "checkpoint": subject.checkpoints.get(one.scoring, ""),
        }
        for one in evidence
    ]
    page_sections = sections.make_sections(
        evidence, comparison, combinations, haplotypes, files, variant_set=subject.variant_set
    )
    return render_sections(
        name=subject.variant_set,
        subtitle=sections.describe_subject(evidence, subject.reference),
        tiles=sections.make_tiles(evidence),
        alarms=sections.find_alarms(evidence),
        sections=page_sections,
    )


def render_sections(
    *,
    name: str,
    subtitle: str,
    tiles: Sequence[Tile],
    alarms: Sequence[str],
    sections: Sequence[Section],
    kind: str = "Evo 2 variant effect scores",
) -> str:
    """Render a page of sections as HTML, which needs no other file and no network.

    Args:
        name: Title of the page.
        subtitle: What it is about, in a line.
        tiles: Main numbers.
        alarms: Warnings at its top.
        sections: Its content.
        kind: What kind of page it is, above its title.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["kind_of"] = lambda block: type(block).__name__
    plots = [
        plot.content()
        for section in sections
        for block in section.blocks
        if isinstance(block, Grid)
        for plot in block.plots
    ]
    names = [PLOTLY, "report.js"] if plots else ["report.js"]
    scripts = [inline_script(read_file(one)) for one in names]
    page: dict[str, Any] = {
        "variant_set": name,
        "kind": kind,
        "subtitle": subtitle,
        "version": package_version(),
        "tiles": tiles,
        "alarms": alarms,
        "sections": sections,
        "style": Markup(read_file("report.css")),  # noqa: S704 - a file of this package
        "scripts": scripts,
        "plots": script_json(plots),
        "policy": POLICY.format(scripts=" ".join(map(script_source, scripts))),
    }
    return environment.get_template("report.html.j2").render(page)


def read_file(name: str) -> str:
    """A file of this folder."""
    return (FOLDER / name).read_text(encoding="utf-8")


def inline_script(text: str) -> Markup:
    """A script of this package or of plotly, as the page contains it."""
    # A browser normalizes line ends before it computes the digest.
    return Markup(text.replace("\r\n", "\n").replace("\r", "\n"))  # noqa: S704 - no data in it


def script_source(script: str) -> str:
    """The source expression of the policy that allows this inline script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
