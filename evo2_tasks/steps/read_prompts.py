"""The step ``read_prompts``: the prompts of a generation, one row each."""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from evo2_tasks.config.generations import PromptSettings, ScorerSettings
from evo2_tasks.config.objects import as_written
from evo2_tasks.errors import InputError
from evo2_tasks.generation.sequence_scorers import BUILT_IN
from evo2_tasks.genome.prompts import (
    TO_GENERATE,
    Prompt,
    read_bed_prompts,
    read_fasta_prompts,
    read_region_prompt,
    read_text_prompt,
)
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import local_file
from evo2_tasks.io.words import counted, shown, shown_path
from evo2_tasks.layout import PROMPT_COUNTS
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.table.generation_documents import PromptCounts
from evo2_tasks.table.generation_schema import prompts_schema
from evo2_tasks.table.parquet import RowBuffer, write_table
from evo2_tasks.table.provenance import PREFIX, as_json, package_version

logger = logging.getLogger(__name__)


def read_prompts(settings: PromptSettings, *, prompts: Path | None, out: Path) -> None:
    """Read the prompts of a generation, and check its scorers as far as this needs no model.

    Args:
        settings: The prompts.
        prompts: FASTA or BED to read instead of the configured one; ``-`` is standard input.
        out: The file of the prompts. ``prompts.json`` is written next to it.

    Raises:
        InputError: A file cannot be read, no prompt can be continued, or a scorer has a setting
            without a meaning.
    """
    for scorer in settings.scorers:
        check_scorer(scorer)
    configured = settings.fasta or settings.bed
    path = prompts if prompts is not None and configured is not None else configured
    files = SourceFiles()
    if path is None:
        source, digest = shown(settings.region or "the config"), None
        counts, longest, written = _write(settings, None, out, files)
    else:
        source = as_written(path)
        with local_file(path) as local:
            digest = files.add(local)
            counts, longest, written = _write(settings, local, out, files)
    if not counts:
        raise InputError(f"{shown_path(source)}: has no prompts. Expected at least one.")
    wrong = {name: num for name, num in counts.items() if name != TO_GENERATE}
    if wrong:
        logger.warning(
            "%s: %d of %s cannot be continued: %s",
            shown_path(source),
            sum(wrong.values()),
            counted(counts.total(), "prompt"),
            ", ".join(f"{num:,} {name}" for name, num in wrong.items()),
        )
    PromptCounts(
        source=source,
        source_digest=digest,
        prompts=counts.total(),
        to_generate=counts[TO_GENERATE],
        longest=longest,
        by_status=dict(counts.most_common()),
        prompts_digest=written,
        settings=as_json(settings.triggers()),
    ).write(out.with_name(PROMPT_COUNTS))
    logger.info(
        "%s, %s to continue; the longest has %s letters",
        counted(counts.total(), "prompt"), f"{counts[TO_GENERATE]:,}", f"{longest:,}",
    )  # fmt: skip


def check_scorer(scorer: ScorerSettings) -> None:
    """Make sure that the settings of a scorer of the package have a meaning.

    A function of the user's own is not called: it may need what only the jobs with a model have.

    Raises:
        InputError: A setting has no meaning.
    """
    if scorer.kind not in BUILT_IN or "predictor" in scorer.keys:
        return
    try:
        BUILT_IN[scorer.kind](**scorer.keys)
    except ValueError as error:
        raise InputError(f"{scorer.where}.{scorer.kind}: {error}") from error


def _write(
    settings: PromptSettings, path: Path | None, out: Path, files: SourceFiles
) -> tuple[Counter[str], int, str]:
    """Write the file of the prompts.

    Returns:
        Number of the prompts with each status, letters of the longest one that is continued, and
        SHA-256 of the file.
    """
    counts, longest = Counter[str](), 0
    schema = prompts_schema()
    with write_table(out, schema, metadata={f"{PREFIX}version": package_version()}) as writer:
        rows = RowBuffer(writer, schema.names)
        for prompt in list_prompts(settings, path):
            rows.add(*prompt)
            counts[prompt.status] += 1
            if prompt.status == TO_GENERATE:
                longest = max(longest, prompt.length)
        rows.flush()
        files.require_unchanged()
        return counts, longest, writer.digest()


def list_prompts(settings: PromptSettings, path: Path | None) -> Iterator[Prompt]:
    """The prompts.

    Args:
        settings: Where they come from.
        path: The FASTA or the BED; None if the config has the prompt or its region.

    Raises:
        InputError: They cannot be read.
    """
    tag, max_length = settings.tag, settings.max_length
    if path is not None and settings.reference is None:
        yield from read_fasta_prompts(path, tag, max_length)
    elif settings.reference is not None:
        reference = open_reference(settings.reference)
        if path is not None:
            yield from read_bed_prompts(path, reference, tag, max_length)
        else:
            yield from read_region_prompt(
                settings.region or "", reference, tag, max_length, f"{settings.where}.region"
            )
    else:
        key = "tag" if settings.text is None else "text"
        yield from read_text_prompt(settings.text or "", tag, max_length, f"{settings.where}.{key}")
