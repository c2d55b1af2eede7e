"""The input of the report: the files of each scoring of the variant set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.results import Curve, MetricRow, read_curves, read_metrics
from evo2_tasks.evaluation.selection import LabelSettings
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import CURVES, METRICS, RUN, TABLE, TABLES
from evo2_tasks.report.audits import AuditEvidence, read_audit_of
from evo2_tasks.report.calibrations import CalibrationEvidence, NamedCalibration, read_calibrations
from evo2_tasks.report.consequences import Consequences, summarize_consequences
from evo2_tasks.report.probes import NamedPredictions, ProbeEvidence, read_probes
from evo2_tasks.report.profiles import AlleleProfile, ProfiledScoring, read_first_profiles
from evo2_tasks.report.rows import AlleleKey, name_alleles
from evo2_tasks.report.saturation import Saturation, find_saturation
from evo2_tasks.report.summary import TableSummary, summarize_table
from evo2_tasks.table.documents import Run, ShardRun
from evo2_tasks.table.probes import require_predictions
from evo2_tasks.table.provenance import Provenance, read_provenance
from evo2_tasks.table.statements import (
    Statement,
    read_statement,
    require_calibrated,
    require_stated_settings,
    require_table,
)

WRITERS: Final = {
    **{name: step for name, step in TABLES.items() if step in ("merge", "evaluate")},
    RUN: "merge",
}
"""The files that are read, and the command that writes each file; without those of an audit and of
calibrations, which only some scorings have."""

NO_CALIBRATIONS: Final[Mapping[str, NamedCalibration]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Evidence:
    """The results of one scoring of the variant set.

    Attributes:
        scoring: Name of the scoring.
        table: Summary of the table.
        table_digest: SHA-256 of the table, before it was read.
        consequences: Scores by consequence and gene; None if the table has no consequences.
        saturation: Stretches in which every substitution is scored.
        provenance: Provenance of the table.
        run: Content of ``run.json``.
        metrics: How well its scores separate the labels; empty without labels.
        curves: Curves of its scores and labels; empty without labels.
        allele_names: What plots call the alleles of single points of the curves.
        audit: The audit of the horizon; None without one.
        calibrations: The calibrations of the set, in the order of the config.
        probes: The probes of the set, in the order of the config, each layer by itself.
        profiles: The profiles of the alleles with the lowest scores, by rank from 1.
    """

    scoring: str
    table: TableSummary
    table_digest: str
    consequences: Consequences | None
    saturation: Saturation
    provenance: Provenance
    run: Run
    metrics: Sequence[MetricRow]
    curves: Sequence[Curve]
    allele_names: Mapping[AlleleKey, str]
    audit: AuditEvidence | None
    calibrations: Sequence[CalibrationEvidence] = ()
    probes: Sequence[ProbeEvidence] = ()
    profiles: Mapping[int, AlleleProfile] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """Alleles in the table."""
        return self.table.counts.alleles

    @property
    def num_scored(self) -> int:
        """Alleles with a score."""
        return self.table.llr.count

    @property
    def shards(self) -> Sequence[ShardRun]:
        """What ``run.json`` states about each scoring job."""
        return self.run.shards


def read_evidence(
    folder: Path,
    scoring: str,
    *,
    labels: Sequence[LabelSettings] = (),
    evaluate_settings: Mapping[str, Any] | None = None,
    calibrations: Mapping[str, NamedCalibration] = NO_CALIBRATIONS,
    probes: Sequence[NamedPredictions] = (),
    profiled: ProfiledScoring | None = None,
) -> Evidence:
    """Read the files of a scoring.

    Args:
        folder: Folder of the scoring, with the files of ``WRITERS``.
        scoring: Name of the scoring.
        labels: The labels of the set; with labels, the files of ``evaluate`` are read.
        evaluate_settings: What these must have been made with. Default: they are not compared.
        calibrations: The calibrations of the set, by name.
        probes: The predictions of the probes of the set.
        profiled: Where the windows are, if the scoring has profiles.

    Raises:
        InputError: A file is missing, broken, belongs to another run or was made with other
            settings.
    """
    has_labels = bool(labels)
    for name, command in WRITERS.items():
        if not (folder / name).exists() and (has_labels or command != "evaluate"):
            raise InputError(
                f"{shown_path(folder / name)}: does not exist. Run `{command}` for the "
                f"scoring {scoring} first."
            )
    table_digest = digest_file(folder / TABLE)
    run = Run.read(folder / RUN)
    statements = [Statement(folder / RUN, run.table_digest, WRITERS[RUN])]
    if has_labels:
        for name in (METRICS, CURVES):
            statements.append(read_statement(folder / name, TABLES[name]))
            require_calibrated(folder / name, TABLES[name])
            require_predictions(folder / name, TABLES[name])
            if evaluate_settings is not None:
                require_stated_settings(folder / name, evaluate_settings, TABLES[name])
    require_table(folder / TABLE, statements, table_digest=table_digest)
    table = summarize_table(folder / TABLE)
    if run.alleles != table.counts.alleles:
        raise InputError(
            f"{shown_path(folder / RUN)}: states {run.alleles} alleles, but {TABLE} "
            f"has {table.counts.alleles} rows: they are of different runs. Run `merge` again."
        )
    metrics = read_metrics(folder / METRICS) if has_labels else []
    curves = read_curves(folder / CURVES) if has_labels else []
    return Evidence(
        scoring=scoring,
        table=table,
        table_digest=table_digest,
        consequences=summarize_consequences(folder / TABLE),
        saturation=find_saturation(folder / TABLE),
        provenance=read_provenance(folder / TABLE),
        run=run,
        metrics=metrics,
        curves=curves,
        allele_names=name_alleles(
            folder / TABLE, {tuple(key) for curve in curves for key in curve.alleles.tolist()}
        ),
        audit=read_audit_of(folder / TABLE, run.audit),
        calibrations=read_calibrations(
            folder / TABLE, calibrations, labels, table_digest=table_digest
        ),
        probes=read_probes(folder / TABLE, probes, table_digest=table_digest),
        profiles=read_first_profiles(folder / TABLE, table.lowest, profiled) if profiled else {},
    )
