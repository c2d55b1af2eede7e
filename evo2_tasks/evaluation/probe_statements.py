"""What ``probe.json`` states about a probe. It is read without the package safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, JsonValue

from evo2_tasks.errors import InputError
from evo2_tasks.io.documents import Count, Document
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.documents import Digest, Signature

MOST_FEATURES: Final = 1 << 20
"""Most features of a probe: sixty times as many as those of the largest release."""

MOST_ROWS: Final = 10**8
"""Most rows that a probe is trained on; a file with more alleles is not read."""

Feature = Literal["ref", "delta", "llr"]

Kind = Literal["label", "number"]

FoldsBy = Literal["gene", "contig", "position"]

Text = Annotated[str, Field(min_length=1, max_length=10_000)]


class ProbeOrigin(Document):
    """What a probe is made from. A step may add keys of its own.

    Attributes:
        name: Name of the probe in the config.
        variant_set: Variant set whose labels it learnt.
        scoring: Scoring whose features it uses.
        signature: Signature of the scores and embeddings; a probe is for this signature only.
        features: Its features, in the order of the weights: ``ref`` and ``delta`` have ``width``
            weights each, ``llr`` has one.
        layer: Layer of the embeddings; None if ``llr`` is the only feature, like the next two.
        tokens: Tokens of an embedding.
        width: Numbers of an embedding.
        label: Field of the label.
        definition: Which rows are labelled, in the words of the config.
        allele_key: Key of the digests of the alleles that it was trained on.
        predictions: SHA-256 of the predictions next to it.
        settings: The settings of ``fit_probe`` that run it again if they change.
        inputs: SHA-256 of the table of scores and of the embeddings.
        model: Name of the model in the config of the run that made it.
    """

    name: Text
    variant_set: Text
    scoring: Text
    signature: Signature
    features: Annotated[tuple[Feature, ...], Field(min_length=1, max_length=3)]
    layer: Text | None = None
    tokens: Annotated[Count, Field(ge=1)] | None = None
    width: Annotated[Count, Field(ge=1, le=MOST_FEATURES)] | None = None
    label: Text
    definition: str
    allele_key: Text = "-"
    predictions: Digest | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    inputs: dict[str, Digest] = Field(default_factory=dict)
    model: Text | None = None

    @property
    def num_features(self) -> int:
        """Number of weights."""
        return sum(1 if name == "llr" else self.width or 0 for name in self.features)


class MetricStatement(Document):
    """A cross-validated metric with its interval; see ``Estimate``."""

    metric: Text
    value: float | None
    low: float | None
    high: float | None
    num_rows: Count
    reason: str = ""


class ShuffledStatement(Document):
    """A metric of the shuffled targets; see ``ShuffledMetric``."""

    values: tuple[float, ...]
    mean: float | None
    low: float | None
    high: float | None
    reason: str = ""


class ControlStatement(Document):
    """What shuffled targets gave; see ``Control``."""

    metric: Literal["auroc", "spearman"]
    num_shuffles: Count
    num_shuffled: Count
    within: ShuffledStatement
    overall: ShuffledStatement


class ProbeStatement(ProbeOrigin):
    """The content of ``probe.json``; most of it is explained at ``ProbeResult``.

    Attributes:
        probe_version: Version of the two files.
        weights: SHA-256 of ``probe.safetensors``.
        num_weights: Number of weights, without the intercept.
        metrics: Metrics of the out-of-fold scores of all rows.
        metrics_within: The main metric within the groups of the folds.
        statements: What a reader has to know about the fit; each item is a sentence.
        versions: Versions of the packages that made the probe.
    """

    remedy: ClassVar[str] = "Fit the probe again, or name the folder of another one."

    probe_version: Literal[1]
    kind: Kind
    weights: Digest
    num_weights: Annotated[Count, Field(ge=1, le=MOST_FEATURES)]
    folds_by: FoldsBy
    num_folds: Count
    num_groups: Count
    num_rows: Annotated[Count, Field(le=MOST_ROWS)]
    num_positive: Count | None
    num_without_features: Count
    num_constant: Count
    num_overlapping: Count
    num_left_out: tuple[Count, ...]
    penalties: tuple[Annotated[float, Field(gt=0)], ...]
    final_penalty: Annotated[float, Field(gt=0)]
    num_fits: Count
    num_not_converged: Count
    seed: Count
    metrics: tuple[MetricStatement, ...]
    metrics_within: tuple[MetricStatement, ...]
    control: ControlStatement
    statements: tuple[str, ...]
    versions: dict[str, str]


def read_statement(path: Path) -> ProbeStatement:
    """Read a ``probe.json``.

    Raises:
        InputError: It is missing, damaged, or contradicts itself.
    """
    statement = ProbeStatement.read(path)
    has_embeddings = {*statement.features} - {"llr"}
    problem = ""
    if len({*statement.features}) != len(statement.features):
        problem = "features: a feature is named twice"
    elif has_embeddings and None in (statement.layer, statement.tokens, statement.width):
        problem = "layer, tokens and width: expected values, because the features are embeddings"
    elif statement.num_features != statement.num_weights:
        problem = (
            f"num_weights: expected {statement.num_features:,} by `features` and `width`, got "
            f"{statement.num_weights:,}"
        )
    elif len(statement.penalties) != statement.num_folds:
        problem = f"penalties: expected {statement.num_folds} numbers, one for each fold"
    if problem:
        raise InputError(f"{shown_path(path)}: {problem}. {ProbeStatement.remedy}")
    return statement
