"""Provenance of a table: the signature of its scores, and the metadata of its file.

The *signature* holds the settings that determine a score, and nothing else. ``windows`` writes the
part that it knows (reference, scoring), ``score`` adds the rest, ``merge`` and the exports copy it.
Keys of the Parquet key-value metadata begin with ``evo2_tasks.``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import parse_json
from evo2_tasks.io.words import shown_path
from evo2_tasks.layout import CALIBRATION, PAIR_COUNTS
from evo2_tasks.table.documents import Signature
from evo2_tasks.table.parquet import read_metadata
from evo2_tasks.table.schema import SCORES_VERSION

PREFIX: Final = "evo2_tasks."

METADATA_MEANINGS: Final[Mapping[str, str]] = {
    "signature": "the settings that determine a score, as JSON with sorted keys: "
    "`scores_version`, `reference` (GA4GH seqcol digest), `scoring` (settings), `weights` "
    "(SHA-256), `dtype`, `fp8`, `prepend_bos`, and in a set with `haplotype_of` this haplotype: "
    "`variants` (SHA-256), `sample`, `haplotype`; in the tables of a sequence set "
    "`sequences_version` in the place of the first two; in those of a generation "
    "`generation_version`, `search` (settings), `functions` and `models` (SHA-256 of what scores)",
    "version": "version of the package that computed the scores; if there are several, all of "
    "them, joined by commas",
    "model": "name of the model in the config",
    "source": "SHA-256 of the file that the rows come from: the shard in a file of `windows`, the "
    "windows file in its segments and in a file of `audit`, `lookup`, `score`, `score_readouts` or "
    "`add_readouts`, the file of variants in a file of `carry`, `annotate` or `haplotypes`, the "
    "file of regions in a file of `tile`, the file of `tile` in its segments and in a file of "
    "`score_tracks`, the table in `reused.parquet` and in a file of `evaluate`, `calibrate` or "
    "`merge_haplotypes`, the shard in a file of `score_sequence_set` or "
    "`embed_sequences`, the FASTA in a file of `merge_sequences` or `merge_sequence_embeddings`, "
    "the file of `tile` in a file of `embed_tracks`, the file of regions in a file of "
    "`merge_track_embeddings`, the prompts in a file of `generate_sequences` or "
    "`merge_generation`; "
    "absent in the tables of `merge`, `merge_audit`, `merge_embeddings`, "
    "`merge_profiles`, `merge_tracks`, `fit_calibration` and `combine`",
    "settings": "in a file of `windows`, `lookup`, `carry`, `annotate`, `audit`, `merge_audit`, "
    "`merge_embeddings`, `merge_profiles`, `merge_sequence_embeddings`, "
    "`merge_track_embeddings`, `evaluate`, "
    "`fit_calibration`, `calibrate`, "
    "`haplotypes`, `merge_haplotypes`, `tile`, `merge_tracks` or `combine`: the settings of the "
    "step, as JSON; a job runs again if they change. In the embeddings and profiles of a shard: "
    "what they were made with",
    "inputs": "in a file of `windows`, `annotate`, `audit`, `merge_audit`, `merge_embeddings`, "
    "`merge_profiles`, `fit_calibration`, `calibrate`, `evaluate`, `haplotypes`, "
    "`merge_haplotypes`, `tile` or `merge_tracks`: SHA-256 of other files that shape its rows, as "
    "JSON: `variants` (`windows`), `haplotype_of` (`windows`, in a set with this key), `gff` "
    "(`annotate`), `assembly_report` if the reference has one, `windows` of all shards together "
    "(`audit`, `merge_audit`, `merge_embeddings`, "
    f"`merge_profiles`, `haplotypes`), the `{PAIR_COUNTS}` of `haplotypes` (`merge_haplotypes`), "
    "`regions` (`tile`, `merge_tracks`), "
    "`background` and `labelled`, the tables of a "
    f"calibration, and in its `{CALIBRATION}` the three other files (`fit_calibration`), the "
    f"`{CALIBRATION}` of each calibration by its name (`calibrate`), and `calibrated` "
    "(`evaluate`) if the variant set has calibrations",
    "scales": "in a file of `merge_embeddings`, `merge_sequence_embeddings` or "
    "`merge_track_embeddings` with `int8`: the "
    "scale of each channel by column, as JSON; a value is its number times the scale",
    "step": "in a file of `annotate`: the name of the step",
    "reference_blocks": "in a file of `annotate`: which blocks of the reference were read, as "
    "JSON: ranges of their numbers by contig, and the SHA-256 of their digests",
    "annotations": "in a table with columns of `annotate`: `settings` and `inputs` of these "
    "columns, as JSON",
    "calibration": "in the files of `fit_calibration`: what the calibration was made from, as JSON",
    "calibrations": "in a file of `calibrate`: the same of each calibration by its name, as JSON, "
    "and `labelled`, the SHA-256 of the table with its labels; that of the calibrated table, if "
    "the labelled rows are rows of it",
    "probe": "in a file of `fit_probe` or `apply_probe`: name, layer, label, `definition` and "
    "`folds_by` of the probe, and numbers of rows: `trained`, `predicted`, and those of this table "
    "that it was trained on (`in_training`), as JSON",
    "combination": "in a file of `combine`: `name`, `score`, `ensembles` and `scored` rows of the "
    "combination; `name`, `table` (SHA-256), `signature`, `version` and `model` of each of its "
    "`scorings`, as JSON",
    "contigs": "in a file of `lookup`: the name of each contig in the store (refget accession, "
    "with `.circular` for a circular contig), as JSON",
    "model_key": "in a file of `lookup`: by what the store knows the model, as JSON: SHA-256 of "
    "its files by their names, and `model`, `config`, `dtype`, `fp8` and `allow_without_fp8`",
    "reference": "in a file of segments: GA4GH seqcol digest of the reference",
    "order": "order of the rows: `input`, or `position` (contigs as in the reference, then `pos`)",
}
"""Keys of the Parquet metadata without their prefix, and their meanings."""

FP8_OFF: Final = "off"
FP8_OFF_ALLOWED: Final = "off (allow_without_fp8)"
FP8_VALUES: Final = (FP8_OFF, FP8_OFF_ALLOWED, "emulate", "hopper", "ada", "blackwell")
"""Values of the key ``fp8`` of a signature: the FP8 modes of the model, and ``off`` with
``allow_without_fp8`` in the config."""


def package_version() -> str:
    """Version of the installed package."""
    return metadata.version("evo2-tasks")


def make_windows_signature(
    *,
    reference_digest: str,
    scoring: Mapping[str, Any],
    haplotype_of: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The part of the signature that ``windows`` knows.

    Args:
        reference_digest: GA4GH seqcol digest of the reference.
        scoring: The scoring's settings, JSON values only.
        haplotype_of: The haplotype in whose genome the windows are: `variants` (SHA-256), `sample`
            and `haplotype`. Default: the windows are of the reference.
    """
    return {
        "scores_version": SCORES_VERSION,
        "reference": reference_digest,
        "scoring": dict(scoring),
        **({} if haplotype_of is None else {"haplotype_of": dict(haplotype_of)}),
    }


def make_signature(
    *,
    reference_digest: str,
    scoring: Mapping[str, Any],
    weights_digest: str,
    dtype: str,
    fp8: str,
    prepend_bos: bool,
    haplotype_of: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The signature of scores.

    Args:
        reference_digest: GA4GH seqcol digest of the reference.
        scoring: The scoring's settings, JSON values only.
        weights_digest: SHA-256 of the model's tensors.
        dtype: Data type of the model's arithmetic, for example ``float32``.
        fp8: FP8 mode of the model's input projections, ``off`` without FP8.
        prepend_bos: Whether a window begins with a BOS token.
        haplotype_of: As for :func:`make_windows_signature`.
    """
    return make_windows_signature(
        reference_digest=reference_digest, scoring=scoring, haplotype_of=haplotype_of
    ) | {
        "weights": weights_digest,
        "dtype": dtype,
        "fp8": fp8,
        "prepend_bos": prepend_bos,
    }


def uses_fp8(signature: Mapping[str, Any]) -> bool:
    """Whether the scores of a signature were computed with FP8."""
    return signature.get("fp8", FP8_OFF) not in (FP8_OFF, FP8_OFF_ALLOWED)


def canonical_json(value: Mapping[str, Any]) -> str:
    """Convert a value to JSON, equal values to the same text: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a step as they are read back from JSON: lists for tuples."""
    values: dict[str, Any] = json.loads(canonical_json(settings))
    return values


@dataclass(frozen=True, slots=True)
class Provenance:
    """The provenance in the metadata of a file.

    Attributes:
        signature: The settings that determine its scores, as far as the writing step knows them.
        version: Version of the package that wrote the file.
        model: Name of the model in the config; None before ``score``.
        order: Order of the rows, ``input`` or ``position``.
        source: SHA-256 of the file that the rows come from; None if they come from several files.
        settings: Settings of the step; None if the file does not state them.
        inputs: SHA-256 of other files that shape the rows; None if the file does not state them.
    """

    signature: Mapping[str, Any]
    version: str
    model: str | None = None
    order: str = "input"
    source: str | None = None
    settings: Mapping[str, Any] | None = None
    inputs: Mapping[str, Any] | None = None

    def metadata(self) -> dict[str, str]:
        """The provenance as key-value metadata of a Parquet file."""
        values = {
            "signature": canonical_json(self.signature),
            "version": self.version,
            "model": self.model,
            "order": self.order,
            "source": self.source,
            "settings": None if self.settings is None else canonical_json(self.settings),
            "inputs": None if self.inputs is None else canonical_json(self.inputs),
        }
        return {PREFIX + key: value for key, value in values.items() if value is not None}


def read_provenance(source: Path) -> Provenance:
    """Read the provenance in the metadata of a Parquet file.

    Raises:
        InputError: The file is missing or broken, or was not written by this package.
    """
    stored = read_metadata(source)
    signature = read_object(source, stored, "signature")
    version, order = stored.get(PREFIX + "version"), stored.get(PREFIX + "order")
    if signature is None or version is None or order is None:
        raise InputError(
            f"{shown_path(source)}: the metadata contains no signature of evo2-tasks. Expected a "
            "file that `windows`, `score` or `merge` wrote."
        )
    Signature.parse(signature, f"{shown_path(source)}: {PREFIX}signature in the metadata")
    return Provenance(
        signature=signature,
        version=version,
        model=stored.get(PREFIX + "model"),
        order=order,
        source=stored.get(PREFIX + "source"),
        settings=read_object(source, stored, "settings"),
        inputs=read_object(source, stored, "inputs"),
    )


def read_object(source: Path, stored: Mapping[str, str], key: str) -> Mapping[str, Any] | None:
    """Read a JSON object in the metadata of a file; None if there is no such key.

    Args:
        source: The file, for messages.
        stored: Its metadata.
        key: The key without its prefix.

    Raises:
        InputError: The value is not a JSON object.
    """
    text = stored.get(PREFIX + key)
    if text is None:
        return None
    where = f"{shown_path(source)}: {PREFIX}{key} in the metadata"
    return parse_json(text.encode(), where, remedy="Make the file again.")


def require_source(target: Path, stated: object, source: Path | str, digest: str | None) -> None:
    """Make sure that a file was made from the present version of its source.

    A job of an earlier run on a lost node may still be running, and may write its file at any time.

    Args:
        target: The file, for messages.
        stated: The digest of its source that the file states.
        source: What it must have been made from, for messages.
        digest: The digest of that.

    Raises:
        InputError: The file was made from another source.
    """
    if stated != digest:
        name = shown_path(source) if isinstance(source, Path) else source
        raise InputError(
            f"{shown_path(target)} was made from another version of {name}. A job of an earlier "
            "run may have written one of them late: make sure that no such job is running, delete "
            "the first file, and run again."
        )


def require_settings(target: Path, stated: object, expected: Mapping[str, Any], step: str) -> None:
    """Make sure that a file was made with the settings of the config.

    Args:
        target: The file, for messages.
        stated: The settings that the file states.
        expected: The settings that the config has for its step.
        step: The step that writes the file.

    Raises:
        InputError: The file was made with other settings.
    """
    found = stated if isinstance(stated, Mapping) else {}
    keys = differing_keys(found, as_json(expected))
    if keys:
        raise InputError(
            f"{shown_path(target)} was made with other settings than those of the config: "
            f"{', '.join(keys)}. A job of an earlier run may have written it late: make sure that "
            f"no such job is running, delete the file, and run {step} again."
        )


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Keys whose values differ in two signatures; inner keys as in ``scoring.window_length``."""
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
        InputError: They were not. The message names the files and the differing keys.
    """
    keys = differing_keys(one_signature, other_signature)
    if keys:
        raise InputError(
            f"{shown_path(one)} and {shown_path(other)} differ in {', '.join(keys)}, but must have "
            "the same settings. Make both again with the same settings."
        )
