"""The step ``merge_generation``: the sequences of all shards, compared with what they may copy."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from evo2_tasks.config.generations import MergeGenerationSettings
from evo2_tasks.config.objects import as_written
from evo2_tasks.errors import InputError
from evo2_tasks.genome.copies import Copy, find_copies, read_contigs
from evo2_tasks.genome.orfs import Orf, find_orfs
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.words import count_words
from evo2_tasks.io.digests import SourceFiles, digest_file
from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.io.words import counted, shown_path, without_controls
from evo2_tasks.layout import PROMPT_COUNTS, shard_file, shard_run_file, steps_file
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.table.generation_documents import (
    ComparedReference,
    GeneratedRun,
    GenerationRun,
    PromptCounts,
)
from evo2_tasks.table.generation_schema import (
    GENERATED,
    SCORE_PREFIX,
    generated_schema,
    results_schema,
    steps_schema,
)
from evo2_tasks.table.parquet import (
    RowBuffer,
    read_metadata,
    read_rows,
    write_table,
)
from evo2_tasks.table.parts import remove_parts
from evo2_tasks.table.provenance import (
    PREFIX,
    Provenance,
    package_version,
    read_object,
    require_same_signature,
    require_settings,
    require_source,
    uses_fp8,
)
from evo2_tasks.table.run import (
    count_devices,
    find_verification,
    require_equal_devices,
    without_statements,
)

logger = logging.getLogger(__name__)

COMPARED_BASES: Final = 1 << 22
"""Generated bases that are compared with the reference in one pass over it."""

_LINE_BASES: Final = 80

Row = dict[str, Any]


def merge_generation(
    settings: MergeGenerationSettings,
    *,
    prompts: Path,
    generated: Path,
    out: Path,
    fasta: Path,
    steps: Path,
    run_json: Path,
) -> None:
    """Combine the files of all shards, and compare each sequence with its prompt and a reference.

    At the end, the finished work that the jobs have kept is removed.

    Args:
        settings: The settings that the files must have been made with.
        prompts: The prompts, from ``read_prompts``.
        generated: Folder of the files of all shards.
        out: The table of the sequences.
        fasta: The sequences as FASTA.
        steps: The table of the steps.
        run_json: Counts, times, devices and versions.

    Raises:
        InputError: A file is missing, or the files do not fit together or were made with other
            settings.
    """
    files = SourceFiles()
    source = files.add(prompts)
    counts = PromptCounts.read(prompts.with_name(PROMPT_COUNTS))
    require_source(prompts, source, "the prompts", counts.prompts_digest)
    num_shards = settings.generate.shards
    tables = [generated / shard_file(shard, num_shards) for shard in range(1, num_shards + 1)]
    for table in tables:
        files.add(shard_run_file(table))
    shards = [
        GeneratedRun.read(shard_run_file(table)).model_copy(update={"shard": table.stem})
        for table in tables
    ]
    signature = _require_generated(settings, tables, shards, source, files)
    require_equal_devices(
        [one for one in shards if one.device_class is not None],
        dtype=settings.generate.model.dtype,
        fp8=signature is not None and uses_fp8(signature),
        allow_mixed=settings.allow_mixed_devices,
    )
    reference = None if settings.compare_with is None else open_reference(settings.compare_with)
    provenance = Provenance(
        signature or {}, package_version(), model=settings.generate.model.name, source=source
    )
    rows = _compare(settings, tables, prompts, reference)
    num_rows = counts.prompts * settings.generate.num_sequences
    written = _write_files(
        settings, tables, rows, num_rows, provenance, files, out=out, fasta=fasta, steps=steps
    )
    _state(settings, counts, shards, signature, reference, written).write(run_json)
    text = ", ".join(f"{status} {number:,}" for status, number in written.by_status.most_common())
    logger.info("%s: %s: %s", fasta, counted(written.by_status.total(), "sequence"), text)
    if not written.by_status[GENERATED]:
        logger.warning("%s: NO SEQUENCE: no prompt could be continued; see `status`", out)
    remove_parts(generated)


@dataclass(slots=True)
class _Written:
    """What was written.

    Attributes:
        by_status: Rows with each status.
        num_bases: Generated bases.
        table_digest: SHA-256 of the table of the sequences.
        steps_digest: SHA-256 of the table of the steps.
        fasta_digest: SHA-256 of the FASTA.
    """

    by_status: Counter[str] = field(default_factory=Counter)
    num_bases: int = 0
    table_digest: str = ""
    steps_digest: str = ""
    fasta_digest: str = ""


def _write_files(
    settings: MergeGenerationSettings,
    tables: Sequence[Path],
    rows: Iterable[Row],
    num_rows: int,
    provenance: Provenance,
    files: SourceFiles,
    *,
    out: Path,
    fasta: Path,
    steps: Path,
) -> _Written:
    """Write the table of the sequences, their FASTA, and the table of the steps.

    Raises:
        InputError: A file of a shard cannot be read or has changed, rows are missing, or a file
            cannot be written.
    """
    scorers = [one.name for one in settings.generate.scorers]
    metadata, written = provenance.metadata(), _Written()
    with (
        write_table(out, generated_schema(scorers), metadata=metadata) as writer,
        write_table(steps, steps_schema(scorers), metadata=metadata) as of_steps,
        replace_atomically(fasta) as temporary,
    ):
        for table in tables:
            for batch in read_rows(steps_file(table), steps_schema(scorers).names):
                of_steps.write(batch)
        buffer = RowBuffer(writer, writer.schema.names)
        with writing(fasta), temporary.open("w", encoding="utf-8", newline="\n") as text:
            for row in rows:
                buffer.add(*(row.get(name) for name in writer.schema.names))
                written.by_status[row["status"]] += 1
                written.num_bases += row["length"]
                if row["status"] == GENERATED:
                    text.write(_as_fasta(row, settings, scorers))
        buffer.flush()
        if writer.num_rows != num_rows:
            raise InputError(
                f"{shown_path(tables[0].parent)}: the shards have {writer.num_rows:,} rows, and "
                f"the prompts need {num_rows:,}. Delete the folder, and run again."
            )
        files.require_unchanged()
        written.table_digest, written.steps_digest = writer.digest(), of_steps.digest()
        written.fasta_digest = digest_file(temporary)
    return written


def _state(
    settings: MergeGenerationSettings,
    counts: PromptCounts,
    shards: Sequence[GeneratedRun],
    signature: Mapping[str, Any] | None,
    reference: Reference | None,
    written: _Written,
) -> GenerationRun:
    """The content of the JSON file next to the tables."""
    compared, with_model = settings.compare_with, [one for one in shards if one.device_class]
    return GenerationRun(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        table_digest=written.table_digest,
        steps_digest=written.steps_digest,
        fasta_digest=written.fasta_digest,
        model=settings.generate.model.name,
        signature=None if signature is None else dict(signature),
        prompts=counts.source,
        prompts_digest=counts.source_digest,
        num_prompts=counts.prompts,
        sequences=written.by_status.total(),
        generated=written.by_status[GENERATED],
        bases=written.num_bases,
        by_status=dict(written.by_status.most_common()),
        functions={name: one for shard in shards for name, one in shard.functions.items()},
        models={name: one for shard in shards for name, one in shard.models.items()},
        compare_with=None
        if compared is None or reference is None
        else ComparedReference(
            name=compared.name,
            fasta=as_written(compared.fasta),
            words=tuple(count_reference_words(reference)),
        ),
        genetic_code=settings.genetic_code,
        tokens_run=sum(shard.tokens_run for shard in shards),
        wall_s=round(sum(shard.wall_s for shard in shards), 3),
        verification=find_verification(with_model),
        devices=count_devices(with_model),
        shards=tuple(map(without_statements, shards)),
    )


def _require_generated(
    settings: MergeGenerationSettings,
    tables: Sequence[Path],
    shards: Sequence[GeneratedRun],
    source: str,
    files: SourceFiles,
) -> Mapping[str, Any] | None:
    """Make sure that all shards were made from the prompts, and with these settings.

    Returns:
        The signature of the tables; None if no shard had a prompt to continue.

    Raises:
        InputError: One was made from other prompts or with other settings, or is missing.
    """
    first: tuple[Path, Mapping[str, Any]] | None = None
    for table, shard in zip(tables, shards, strict=True):
        digest, of_steps = files.add(table), files.add(steps_file(table))
        run_file, made = shard_run_file(table), shard.statements
        stored = read_metadata(table)
        require_source(table, stored.get(f"{PREFIX}source"), "the prompts", source)
        require_source(run_file, made and made.scores, table, digest)
        require_source(run_file, shard.steps, steps_file(table), of_steps)
        require_settings(
            run_file, made and made.settings, settings.generate.triggers(), "generate_sequences"
        )
        signature = read_object(table, stored, "signature")
        if signature is not None:
            if first is not None:
                require_same_signature(*first, table, signature)
            first = first or (table, signature)
    return None if first is None else first[1]


def _compare(
    settings: MergeGenerationSettings,
    tables: Sequence[Path],
    prompts: Path,
    reference: Reference | None,
) -> Iterator[Row]:
    """The rows of all shards with what the comparison adds, in their order."""
    held: list[Row] = []
    num_bases = 0
    for row in _read_compared_with_prompts(settings, tables, prompts):
        held.append(row)
        num_bases += row["length"]
        if num_bases >= COMPARED_BASES:
            yield from _add_reference(held, reference)
            held, num_bases = [], 0
    yield from _add_reference(held, reference)


def _read_compared_with_prompts(
    settings: MergeGenerationSettings, tables: Sequence[Path], prompts: Path
) -> Iterator[Row]:
    """The rows of all shards with composition, open reading frames and stretches of the prompt."""
    names = results_schema([one.name for one in settings.generate.scorers]).names
    rows = (
        row for table in tables for batch in read_rows(table, names) for row in batch.to_pylist()
    )
    texts = (row for batch in read_rows(prompts, ("record", "text")) for row in batch.to_pylist())
    for record, of_prompt in groupby(rows, key=lambda row: row["record"]):
        text = next(one["text"] for one in texts if one["record"] == record)
        bases = (text or "").rpartition("|")[2]
        of_one = list(of_prompt)
        with_bases = [row for row in of_one if row["bases"]]
        copies = find_copies([row["bases"] for row in with_bases], [("prompt", [bases])])
        for row, copy in zip(with_bases, copies, strict=True):
            row |= _describe(row["bases"], bases, copy, settings.genetic_code)
        yield from of_one


def _describe(bases: str, prompt: str, copy: Copy, genetic_code: int) -> Row:
    orf = find_longest_orf(bases, genetic_code)
    of_orf: Row = {"orf_codons": 0}
    if orf is not None:
        of_orf = {
            "orf_codons": orf.num_codons,
            "orf_start": orf.start,
            "orf_end": orf.end,
            "orf_strand": "+" if orf.strand == "forward" else "-",
        }
    return {
        "gc": count_gc(bases),
        "prompt_gc": count_gc(prompt),
        "prompt_match": copy.length,
        **of_orf,
    }


def find_longest_orf(bases: str, genetic_code: int) -> Orf | None:
    """The longest open reading frame with a start codon; of equal ones the first one."""
    return max(
        find_orfs(bases, genetic_code), key=lambda orf: (orf.num_codons, -orf.start), default=None
    )


def count_reference_words(reference: Reference) -> list[int]:
    """Numbers of the words of three bases in all contigs, in alphabetical order."""
    total = count_words([])
    for _, pieces in read_contigs(reference, longest=0):
        total += count_words(pieces)
    return [int(number) for number in total]


def count_gc(bases: str) -> float | None:
    """Share of G and C among the A, C, G and T; None if there are none of these."""
    gc, at = (sum(map(bases.count, letters)) for letters in ("GC", "AT"))
    return gc / (gc + at) if gc + at else None


def _add_reference(rows: list[Row], reference: Reference | None) -> list[Row]:
    """Add the longest stretch that each sequence has in common with the reference."""
    with_bases = [row for row in rows if row["bases"]]
    if reference is None or not with_bases:
        return rows
    sequences = [row["bases"] for row in with_bases]
    contigs = read_contigs(reference, max(map(len, sequences)))
    for row, copy in zip(with_bases, find_copies(sequences, contigs), strict=True):
        row |= {"reference_match": copy.length, "copied": copy.copied}
        if copy.length:
            row |= {
                "reference_match_start": copy.start,
                "reference_match_contig": copy.contig,
                "reference_match_pos": copy.contig_start + 1,
                "reference_match_strand": copy.strand,
            }
    return rows


def _as_fasta(row: Row, settings: MergeGenerationSettings, scorers: Sequence[str]) -> str:
    """A record of the FASTA: its header has the provenance, and blanks only between its words."""
    of = settings.generate
    words = {
        "prompt": "_".join(without_controls(row["prompt"] or "").split()) or None,
        "prompt_length": row["prompt_length"],
        "seed": of.seed,
        "length": row["length"],
        "log_prob": _as_number(row["log_prob"]),
        "score": _as_number(row["total"]) if scorers else None,
        **{(key := SCORE_PREFIX + name): _as_number(row[key]) for name in scorers},
        "model": "_".join(of.model.name.split()),
        "version": package_version(),
    }
    header = " ".join(f"{key}={value}" for key, value in words.items() if value is not None)
    bases = row["bases"]
    lines = [bases[i : i + _LINE_BASES] for i in range(0, len(bases), _LINE_BASES)]
    name = f"{of.name}_{row['record']}_{row['sequence']}"
    return "\n".join([f">{name} {header}", *lines, ""])


def _as_number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"
