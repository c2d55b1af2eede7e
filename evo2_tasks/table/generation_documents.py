"""The JSON files of a generation: what its steps state about their work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from pydantic import Field, JsonValue

from evo2_tasks.io.documents import Count, Document
from evo2_tasks.layout import GENERATION_FASTA, GENERATION_STEPS, GENERATION_TABLE, RUN
from evo2_tasks.table.documents import Digest, ShardRun, Total


class PromptCounts(Document):
    """``prompts.json``: the prompts of a generation.

    Attributes:
        source: Where they come from.
        source_digest: SHA-256 of the file; None if the config has the prompt.
        prompts: Their number.
        to_generate: How many of them are continued.
        longest: Letters of the longest of these.
        by_status: How many have each status.
        prompts_digest: SHA-256 of the file of the prompts.
        settings: The settings of ``read_prompts`` that run it again if they change.
    """

    remedy: ClassVar[str] = "Run `read_prompts` again."

    source: str
    source_digest: Digest | None = None
    prompts: Count
    to_generate: Count
    longest: Count
    by_status: dict[str, Count]
    prompts_digest: Digest
    settings: dict[str, JsonValue]


class GeneratedRun(ShardRun):
    """The JSON file of a shard of a generation. ``alleles_tried`` counts sequences.

    Attributes:
        functions: SHA-256 of the Python file of each function of the user's own, by its name.
        models: SHA-256 of the weights of the models of the scorers, by their names.
        steps: SHA-256 of the file of the steps.
    """

    remedy: ClassVar[str] = "Run `generate_sequences` again."

    functions: dict[str, Digest] = Field(default_factory=dict)
    models: dict[str, str] = Field(default_factory=dict)
    steps: Digest


GENERATION_RUN_MEANINGS: Final[Mapping[str, str]] = {
    "date": "when the files were written, UTC",
    "table_digest": f"SHA-256 of `{GENERATION_TABLE}`",
    "steps_digest": f"SHA-256 of `{GENERATION_STEPS}`",
    "fasta_digest": f"SHA-256 of `{GENERATION_FASTA}`",
    "model": "name of the model in the config, or the checkpoint that the command names",
    "signature": "what determines the sequences, as in the metadata of the tables: "
    "`generation_version`, `weights` (SHA-256), `dtype`, `fp8`, and `search` (length, seed, "
    "sampling, chunks, beam, scorers); null if no prompt could be continued",
    "prompts": "where the prompts come from: the file, the region, or `the config`",
    "prompts_digest": "SHA-256 of this file; null if the config has the prompt",
    "num_prompts": "number of prompts",
    "sequences": "number of rows of the table: `num_sequences` for each prompt",
    "generated": "number of rows with all bases",
    "bases": "number of generated bases",
    "by_status": "number of rows with each status that occurs",
    "functions": "SHA-256 of the Python file of each function of your own, by its name",
    "models": "SHA-256 of the weights of the models of the scorers, by their names",
    "compare_with": "the reference of the comparison: its `name` in the config, its file `fasta`, "
    "and `words`, the numbers of the 64 words of three bases in it; null without one",
    "genetic_code": "NCBI's translation table of the open reading frames",
    "tokens_run": "number of tokens that went through the model",
    "wall_s": "sum of the run times of all jobs, in seconds",
    "verification": f"whether the model gives its published values, as in `{RUN}`",
    "devices": "kinds of devices that the shards ran on, with the number of shards of each",
    "shards": "one entry for each job: device, versions, time, peak memory. `alleles_tried` is the "
    "number of sequences, `parts` the number of prompts",
}
"""Keys of ``generation.json``, and their meanings."""


class ComparedReference(Document):
    """The reference that the sequences of a generation are compared with.

    Attributes:
        name: Its name in the config.
        fasta: Its file.
        words: Numbers of the 64 words of three bases in it, in alphabetical order.
    """

    name: str
    fasta: str
    words: Annotated[tuple[Total, ...], Field(min_length=64, max_length=64)]


class GenerationRun(Document):
    """``generation.json``: what was generated. ``GENERATION_RUN_MEANINGS`` explains the keys."""

    remedy: ClassVar[str] = "Run `merge_generation` again."

    date: str
    table_digest: Digest
    steps_digest: Digest
    fasta_digest: Digest
    model: str
    signature: dict[str, JsonValue] | None
    prompts: str
    prompts_digest: Digest | None
    num_prompts: Count
    sequences: Count
    generated: Count
    bases: Total
    by_status: dict[str, Count]
    functions: dict[str, Digest]
    models: dict[str, str]
    compare_with: ComparedReference | None
    genetic_code: Count
    tokens_run: Total
    wall_s: Annotated[float, Field(ge=0, le=1e18)]
    verification: dict[str, JsonValue] | None = None
    devices: dict[str, Count] = Field(default_factory=dict)
    shards: tuple[GeneratedRun, ...]
