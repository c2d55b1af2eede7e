"""Where a table comes from: the signature of its scores, and how files state it.

The *signature* holds what shapes a score, and nothing else. ``windows`` states the part that it
knows (reference, scoring), ``score`` adds the rest; ``merge`` and the exports hand it on. Keys of
the Parquet key-value metadata begin with ``evo2_tasks.``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.words import shown_path
from evo2_tasks.table.parquet import read_metadata
from evo2_tasks.table.schema import SCORES_VERSION

PREFIX: Final = "evo2_tasks."

METADATA_MEANINGS: Final[Mapping[str, str]] = {
    "signature": "what shapes a score, as JSON with sorted keys: `scores_version`, `reference` "
    "(GA4GH seqcol digest), `scoring` (settings), `weights` (SHA-256), `dtype`, `fp8`, "
    "`prepend_bos`",
    "version": "version of the package that computed the scores; of several ones all, joined by "
    "a comma",
    "model": "name of the model in the config",
    "source": "SHA-256 of the file whose rows these are: in what `windows` wrote of the shard, in "
    "what `score` wrote of the windows",
    "order": "`input`, or `position`: contigs as in the reference, then `pos`",
}
"""Keys of the Parquet metadata, without prefix."""


def package_version() -> str:
    """Version of the installed package."""
    return metadata.version("evo2-tasks")


def make_windows_signature(*, reference_digest: str, scoring: Mapping[str, Any]) -> dict[str, Any]:
    """Signature as far as ``windows`` knows it.

    Args:
        reference_digest: GA4GH seqcol digest of the reference.
        scoring: The scoring's settings, JSON values only.
    """
    return {
        "scores_version": SCORES_VERSION,
        "reference": reference_digest,
        "scoring": dict(scoring),
    }


def make_signature(
    *,
    reference_digest: str,
    scoring: Mapping[str, Any],
    weights_digest: str,
    dtype: str,
    fp8: str,
    prepend_bos: bool,
) -> dict[str, Any]:
    """Signature of scores.

    Args:
        reference_digest: GA4GH seqcol digest of the reference.
        scoring: The scoring's settings, JSON values only.
        weights_digest: SHA-256 of the model's tensors.
        dtype: Arithmetic of the model, ``float32`` say.
        fp8: How its input projections are computed, ``off`` or the way of FP8.
        prepend_bos: Whether a window begins with a BOS token.
    """
    return make_windows_signature(reference_digest=reference_digest, scoring=scoring) | {
        "weights": weights_digest,
        "dtype": dtype,
        "fp8": fp8,
        "prepend_bos": prepend_bos,
    }


def canonical_json(value: Mapping[str, Any]) -> str:
    """JSON of a value, the same for equal values: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a file states about itself.

    Attributes:
        signature: What shapes its scores, as far as the step that wrote it knows.
        version: Of the package that wrote it.
        model: Name of the model in the config; None before ``score``.
        order: Of the rows, ``input`` or ``position``.
        source: SHA-256 of the one file whose rows it has; None where there is no such file.
    """

    signature: Mapping[str, Any]
    version: str
    model: str | None = None
    order: str = "input"
    source: str | None = None

    def metadata(self) -> dict[str, str]:
        """Key-value metadata of a Parquet file."""
        values = {
            "signature": canonical_json(self.signature),
            "version": self.version,
            "model": self.model,
            "order": self.order,
            "source": self.source,
        }
        return {PREFIX + key: value for key, value in values.items() if value is not None}


def read_provenance(source: Path) -> Provenance:
    """What a Parquet file states about itself.

    Raises:
        InputError: The file is missing or broken, or none of ours.
    """
    stored = read_metadata(source)
    try:
        signature = json.loads(stored[PREFIX + "signature"])
        version, order = stored[PREFIX + "version"], stored[PREFIX + "order"]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{shown_path(source)}: states no signature of evo2-tasks in its metadata. Expected "
            "what `windows`, `score` or `merge` wrote."
        ) from error
    if not isinstance(signature, dict):
        raise InputError(f"{shown_path(source)}: its {PREFIX}signature is no JSON object.")
    return Provenance(
        signature=signature,
        version=version,
        model=stored.get(PREFIX + "model"),
        order=order,
        source=stored.get(PREFIX + "source"),
    )


def require_source(made: Path, stated: str | None, source: Path) -> None:
    """Make sure that a file was made from another one as that is now.

    A job of an earlier run, on a node that was lost, may write its file at any later time.

    Args:
        made: The file, for messages.
        stated: What it was made from; see `Provenance`.
        source: What it is to be made from.

    Raises:
        InputError: It was not.
    """
    if stated != digest_file(source):
        raise InputError(
            f"{shown_path(made)}: is not made from {shown_path(source)} as it is now. A job of an "
            "earlier run may have written one of them late: see that none is left, delete the "
            "first file, and run again."
        )


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Keys of two signatures whose values differ, inner ones as ``scoring.window_length``."""
    keys = []
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            keys += [f"{key}.{inner}" for inner in differing_keys(left, right)]
        elif key not in one or key not in other or left != right:
            keys.append(key)
    return keys


def require_same_signature(
    one: Path, one_signature: Mapping[str, Any], other: Path, other_signature: Mapping[str, Any]
) -> None:
    """Make sure that two files were made with the same settings.

    Raises:
        InputError: They were not; it names the files and the keys that differ.
    """
    keys = differing_keys(one_signature, other_signature)
    if keys:
        raise InputError(
            f"{shown_path(one)} and {shown_path(other)} differ in {', '.join(keys)}: scores of "
            "different signatures cannot be one table. Score both with the same settings."
        )
