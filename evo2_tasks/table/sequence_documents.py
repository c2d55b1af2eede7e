"""The JSON files of a sequence set: what its steps state about their work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from pydantic import Field, JsonValue

from evo2_tasks.io.documents import Count, Document
from evo2_tasks.layout import RUN
from evo2_tasks.table.documents import MOST_SHARDS, Digest, ShardRun, Total


class SequenceSplit(Document):
    """The ``split.json`` of ``split_sequences``: the FASTA, its counts and its shards.

    Attributes:
        sequences: The FASTA file.
        sequences_digest: SHA-256 of this file.
        records: Records of the file, the rows of all shards.
        bases: Bases of all records.
        to_score: How many records can be scored, as far as their bases alone decide it.
        bases_to_score: Bases of these.
        longest: Bases of the longest of these.
        by_status: How many of the others have each status.
        shards: Number of shards.
        settings: The settings of ``split_sequences`` that run it again if they change.
        files: SHA-256 of each shard by the name of its file.
    """

    remedy: ClassVar[str] = "Run `split_sequences` again."

    sequences: str
    sequences_digest: Digest
    records: Count
    bases: Total
    to_score: Count
    bases_to_score: Total
    longest: Count
    by_status: dict[str, Count]
    shards: Annotated[int, Field(ge=1, le=MOST_SHARDS)]
    settings: dict[str, JsonValue]
    files: dict[str, Digest]


SEQUENCE_RUN_MEANINGS: Final[Mapping[str, str]] = {
    "date": "when the table was written, UTC",
    "table_digest": "SHA-256 of the table",
    "model": "name of the model in the config, or the checkpoint that the command names",
    "signature": "the settings that determine a log-likelihood, as in the metadata of the table",
    "sequences": "the FASTA file",
    "sequences_digest": "SHA-256 of this file",
    "records": "number of rows of the table",
    "bases": "number of bases of all records",
    "scored": "number of rows with an `ll`",
    "predicted": "number of predicted tokens of these rows, on one strand",
    "by_status": "number of rows with each status that occurs",
    "by_reason": "number of rows with each `reason` that occurs",
    "by_flag": "number of rows with each flag that occurs",
    "windows_run": "number of readings that went through the model; equal ones of a part count "
    "once",
    "tokens_run": "number of tokens that went through the model",
    "wall_s": "sum of the run times of all scoring jobs, in seconds",
    "verification": f"whether the model gives its published values, as in `{RUN}`",
    "devices": "kinds of devices that the shards ran on, with the number of shards of each",
    "shards": "one entry for each scoring job: device, versions, time, peak memory, number of "
    "parts. `alleles_tried` is the number of sequences that the model has read",
}
"""Keys of ``sequences.json``, and their meanings."""


class SequencesRun(Document):
    """``sequences.json``: a scored sequence set. ``SEQUENCE_RUN_MEANINGS`` explains the keys."""

    remedy: ClassVar[str] = "Run `merge_sequences` again."

    date: str
    table_digest: Digest
    model: str | None = None
    signature: dict[str, JsonValue]
    sequences: str
    sequences_digest: Digest
    records: Count
    bases: Total
    scored: Count
    predicted: Total
    by_status: dict[str, Count]
    by_reason: dict[str, Count]
    by_flag: dict[str, Count]
    windows_run: Total
    tokens_run: Total
    wall_s: Annotated[float, Field(ge=0, le=1e18)]
    verification: dict[str, JsonValue] | None = None
    devices: dict[str, Count] = Field(default_factory=dict)
    shards: tuple[ShardRun, ...]
