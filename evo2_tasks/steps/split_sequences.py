"""The step ``split_sequences``: the records of a FASTA, one row each, cut into shards."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from evo2_tasks.config.objects import as_written
from evo2_tasks.config.sequences import SplitSequencesSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.sequences import SequenceRecord, read_sequences
from evo2_tasks.genome.windows import TO_SCORE
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import local_file
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import SPLIT, shard_file
from evo2_tasks.table.parquet import RowBuffer, write_table
from evo2_tasks.table.provenance import as_json
from evo2_tasks.table.sequence_documents import SequenceSplit
from evo2_tasks.table.sequence_rows import Judged, judge_record
from evo2_tasks.table.sequence_schema import sequence_shard_schema

logger = logging.getLogger(__name__)


def split_sequences(settings: SplitSequencesSettings, *, sequences: Path | None, out: Path) -> None:
    """Read a FASTA, one row per record, and split it into contiguous shards of similar work.

    Args:
        settings: The sequence set.
        sequences: File to read instead of the configured one; ``-`` is standard input.
        out: Folder for ``1-of-N.parquet`` to ``N-of-N.parquet`` and ``split.json``.

    Raises:
        InputError: The file cannot be read or is not FASTA, or the folder cannot be written to.
    """
    source = settings.sequences if sequences is None else sequences
    with local_file(source) as path:
        files = SourceFiles()
        digest = files.add(path)
        total = 0
        if settings.shards > 1:  # where the shards end depends on the work of all
            total = sum(_weigh(one) for one in read_sequences(path, settings.max_length))
        counts, digests = _write_shards(path, out, settings, total)
        files.require_unchanged()
    SequenceSplit(
        sequences=as_written(source),
        sequences_digest=digest,
        records=counts.records,
        bases=counts.bases,
        to_score=counts.by_status[TO_SCORE],
        bases_to_score=counts.bases_to_score,
        longest=counts.longest,
        by_status={name: number for name, number in counts.by_status.items() if name != TO_SCORE},
        shards=settings.shards,
        settings=as_json(settings.triggers()),
        files=digests,
    ).write(out / SPLIT)
    if not counts.records:
        logger.warning("%s: no sequences; the table will have no rows", shown_path(source))
    if counts.by_status["rna"]:
        logger.warning(
            "%s: %s has more U than T and is not scored; replace U by T",
            shown_path(source), counted(counts.by_status["rna"], "sequence"),
        )  # fmt: skip
    logger.info(
        "%s of %s, %s to score",
        counted(counts.records, "sequence"), counted(counts.bases, "base"),
        f"{counts.by_status[TO_SCORE]:,}",
    )  # fmt: skip


@dataclass(slots=True)
class _Counts:
    """Counts of the records of a FASTA."""

    records: int = 0
    bases: int = 0
    bases_to_score: int = 0
    longest: int = 0
    by_status: Counter[str] = field(default_factory=Counter)

    def add(self, record: SequenceRecord, judged: Judged) -> None:
        self.records += 1
        self.bases += record.length
        self.by_status[judged.status] += 1
        if judged.status == TO_SCORE:
            self.bases_to_score += record.length
            self.longest = max(self.longest, record.length)


def _weigh(record: SequenceRecord) -> int:
    """The work for a record: its bases, if it is scored, and its row."""
    return 1 + (record.length if judge_record(record).status == TO_SCORE else 0)


def _write_shards(
    path: Path, out: Path, settings: SplitSequencesSettings, total: int
) -> tuple[_Counts, dict[str, str]]:
    """Write the shards, empty ones too.

    Args:
        path: The FASTA.
        out: Folder of the shards.
        settings: The longest sequence, and the number of shards.
        total: The work for all records; not needed with one shard.

    Returns:
        The counts, and SHA-256 of each shard by the name of its file.

    Raises:
        InputError: The file cannot be read or changed while it was read.
    """
    schema, counts = sequence_shard_schema(), _Counts()
    digests: dict[str, str] = {}
    records = read_sequences(path, settings.max_length)
    record = next(records, None)
    done = 0
    with Progress("split_sequences", total=None, unit="sequences") as progress:
        for shard in range(1, settings.shards + 1):
            name = shard_file(shard, settings.shards)
            is_last = shard == settings.shards
            with write_table(out / name, schema) as writer:
                rows = RowBuffer(writer, schema.names, progress)
                while record is not None and (is_last or done * settings.shards < shard * total):
                    judged = judge_record(record)
                    bases = record.bases if judged.status == TO_SCORE else None
                    rows.add(
                        record.record,
                        record.name,
                        record.length,
                        judged.status,
                        judged.reason,
                        record.num_other,
                        None if bases is None else bases.decode("ascii"),
                    )
                    counts.add(record, judged)
                    done += _weigh(record)
                    record = next(records, None)
                rows.flush()
                digests[name] = writer.digest()
    if settings.shards > 1 and done != total:
        raise InputError(
            f"{shown_path(path)}: changed while it was read. Do not change the file during a run."
        )
    return counts, digests
