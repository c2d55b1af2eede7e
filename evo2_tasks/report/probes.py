"""The probes of a scoring: the files that the report shows, and whether they fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.probe_statements import ProbeStatement, read_statement
from evo2_tasks.evaluation.schema import name_probe
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import PROBE
from evo2_tasks.table.probes import Prediction, open_predictions


@dataclass(frozen=True, slots=True)
class NamedPredictions:
    """The predictions of a probe that the config names.

    Attributes:
        file: The table of predictions, relative to the folder of the scoring.
        settings: What they must have been made with.
    """

    file: Path
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProbeEvidence:
    """A probe of a layer, and its predictions for a table.

    Attributes:
        stated: What the predictions state about the probe.
        statement: What the probe states; None if it was trained on another set.
    """

    stated: Prediction
    statement: ProbeStatement | None

    @property
    def score(self) -> str:
        """Its name as a score of the metrics."""
        return name_probe(self.stated.full_name)


def read_probes(
    table: Path, named: Sequence[NamedPredictions], *, table_digest: str
) -> list[ProbeEvidence]:
    """Read what the probes of a scoring state.

    Args:
        table: The table of scores.
        named: Their predictions, in the order of the config.
        table_digest: SHA-256 of the table.

    Raises:
        InputError: A file is missing or broken, was made from another table or with other settings,
            or the files of a probe do not belong together.
    """
    found = []
    for one in named:
        path = table.parent / one.file
        if not path.exists():
            raise InputError(f"{shown_path(path)}: does not exist. Train or apply the probe first.")
        predictions = open_predictions(
            path, table, table_digest=table_digest, settings=one.settings
        )
        statement = None
        if predictions.is_fitted:
            statement = read_statement(path.with_name(PROBE))
            if statement.predictions != digest_file(path):
                raise InputError(
                    f"{shown_path(path)} does not belong to {shown_path(path.with_name(PROBE))}: "
                    "one of them was replaced or changed. Run `fit_probe` again."
                )
        found.append(ProbeEvidence(predictions.stated, statement))
    return found
