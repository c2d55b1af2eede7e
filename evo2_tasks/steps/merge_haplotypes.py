"""The step ``merge_haplotypes``: alleles of samples beside their neighbours, and compounds."""

import logging
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path

from evo2_tasks.config.resolve import AnnotateSettings, MergeHaplotypesSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.consequences import annotate_compounds
from evo2_tasks.genome.genes import read_genes
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.terms import Consequence
from evo2_tasks.genome.window_pairs import Edit
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import (
    CARRIERS,
    GROUPS,
    PAIR_COUNTS,
    REFERENCE,
    shard_file,
    shard_run_file,
)
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.table.documents import HaplotypesRun, PairCounts, Run, ShardRun
from evo2_tasks.table.haplotypes import (
    CarrierRows,
    GroupRows,
    digest_alleles,
    read_alleles,
    read_pair_scores,
)
from evo2_tasks.table.parquet import read_rows, write_table
from evo2_tasks.table.parts import remove_parts
from evo2_tasks.table.provenance import (
    Provenance,
    read_provenance,
    require_same_signature,
    require_settings,
    require_source,
    uses_fp8,
)
from evo2_tasks.table.reference_blocks import read_blocks
from evo2_tasks.table.run import count_devices, read_shards, require_equal_devices
from evo2_tasks.table.schema import compounds_schema, haplotypes_schema
from evo2_tasks.table.statements import read_run_of

logger = logging.getLogger(__name__)


def merge_haplotypes(
    settings: MergeHaplotypesSettings,
    *,
    table: Path,
    pairs_folder: Path,
    scores_folder: Path,
    out: Path,
    compounds: Path,
    run_json: Path,
) -> None:
    """Give each allele of each sample its score alone and beside the others of its haplotype.

    Args:
        settings: What the files must have been made with, and which devices may be mixed.
        table: The table of ``merge``, with the scores of the alleles alone.
        pairs_folder: Folder of the files that ``haplotypes`` wrote.
        scores_folder: Folder of the scores of its pairs of windows.
        out: The table of the alleles of samples.
        compounds: The table of the alleles that are scored together.
        run_json: Counts, and the work of the scoring jobs.

    Raises:
        InputError: A file is missing, or the files do not fit together or were made with other
            settings.
    """
    files = SourceFiles()
    table_digest = files.add(table)
    run = read_run_of(table, table_digest=table_digest)
    counts = read_counts(settings, table, pairs_folder, files)
    names = [shard_file(shard, counts.shards) for shard in range(1, counts.shards + 1)]
    chains = [(pairs_folder / name, scores_folder / name) for name in names]
    shards = [require_scored(settings, *chain, files) for chain in chains]
    require_same_model(settings, table, run, chains, shards)
    metadata = make_provenance(settings, table, counts, pairs_folder, files).metadata()
    has_genes = settings.annotate.gff is not None
    reference = open_reference(settings.annotate.split.reference) if has_genes else None
    alleles = read_alleles(table)
    pairs = read_pair_scores([one for one, _ in chains], [scores for _, scores in chains])
    carriers, groups = pairs_folder / CARRIERS, pairs_folder / GROUPS
    with (
        write_table(out, haplotypes_schema(), metadata=metadata) as writer,
        write_table(compounds, compounds_schema(), metadata=metadata) as group_writer,
        Progress("merge_haplotypes", total=counts.rows + counts.compounds, unit="rows") as progress,
    ):
        rows = CarrierRows(alleles, pairs, writer)
        write_rows(carriers, rows, progress)
        joint = find_joint_consequences(settings.annotate, groups, reference, compounds.parent)
        group_rows = GroupRows(alleles, pairs, group_writer, joint)
        write_rows(groups, group_rows, progress)
        if reference is not None:
            reference.require_same(read_blocks(pairs_folder / REFERENCE))
        files.require_unchanged()
        haplotypes_digest, compounds_digest = writer.digest(), group_writer.digest()
    HaplotypesRun(
        haplotypes_digest=haplotypes_digest,
        compounds_digest=compounds_digest,
        samples=counts.samples,
        rows=writer.num_rows,
        alone=counts.alone,
        by_status=rows.counts.by_status,
        by_flag=rows.counts.by_flag,
        compounds=group_writer.num_rows,
        compounds_by_status=group_rows.counts.by_status,
        compounds_by_flag=group_rows.counts.by_flag,
        pairs=counts.pairs,
        genotypes=counts.genotypes,
        windows_run=sum(shard.windows_run for shard in shards),
        tokens_run=sum(shard.tokens_run for shard in shards),
        wall_s=round(sum(shard.wall_s for shard in shards), 3),
        devices=count_devices(shards),
    ).write(run_json)
    logger.info(
        "%s: %s of %s, %s of them with neighbours; %s",
        out, counted(writer.num_rows, "allele"), counted(counts.samples, "sample"),
        f"{writer.num_rows - counts.alone:,}", counted(group_writer.num_rows, "compound"),
    )  # fmt: skip
    remove_parts(scores_folder)


def require_same_model(
    settings: MergeHaplotypesSettings,
    table: Path,
    run: Run | None,
    chains: Sequence[tuple[Path, Path]],
    shards: Sequence[ShardRun],
) -> None:
    """Make sure that the alleles alone and the pairs were scored in the same way.

    Args:
        settings: Which devices may be mixed.
        table: The table of ``merge``.
        run: The ``run.json`` next to it; None if there is none.
        chains: The pairs of each shard and their scores.
        shards: What the scoring jobs of the pairs state.

    Raises:
        InputError: The signatures, or the devices where these may not be mixed, differ.
    """
    signature = read_provenance(table).signature
    for _, scores in chains:
        require_same_signature(table, signature, scores, read_provenance(scores).signature)
    require_equal_devices(
        [*(() if run is None else run.shards), *shards],
        dtype=settings.score.model.dtype,
        fp8=uses_fp8(signature),
        allow_mixed=settings.allow_mixed_devices,
    )


def make_provenance(
    settings: MergeHaplotypesSettings,
    table: Path,
    counts: PairCounts,
    pairs_folder: Path,
    files: SourceFiles,
) -> Provenance:
    """The provenance of the two tables, after the genes are compared with those of ``haplotypes``.

    Args:
        settings: The genes.
        table: The table of ``merge``.
        counts: What ``haplotypes`` states.
        pairs_folder: Folder of the files that ``haplotypes`` wrote.
        files: Has the table and the counts, and gets the genes.

    Raises:
        InputError: ``haplotypes`` has found the codons of other genes.
    """
    genes = {} if settings.annotate.gff is None else {"gff": files.add(settings.annotate.gff)}
    if settings.haplotypes.codons is not None:
        stated = counts.inputs.get("gff")
        require_source(pairs_folder / PAIR_COUNTS, stated, settings.haplotypes.codons, genes["gff"])
    of_table = read_provenance(table)
    return Provenance(
        of_table.signature,
        of_table.version,
        model=of_table.model,
        source=files.digest(table),
        settings=settings.triggers(),
        inputs={"haplotypes": files.digest(pairs_folder / PAIR_COUNTS), **genes},
    )


def find_joint_consequences(
    settings: AnnotateSettings, groups: Path, reference: Reference | None, folder: Path
) -> Iterator[Consequence]:
    """The joint consequence of each compound, in the order of the file; unknown without genes.

    Args:
        settings: The genes and genetic codes.
        groups: The alleles that are scored together, from ``haplotypes``.
        reference: The reference; None without genes.
        folder: Folder for temporary files.

    Raises:
        InputError: The genes or the reference cannot be read.
    """
    if settings.gff is None or reference is None:
        yield from repeat(Consequence())
        return
    compounds = (
        (str(contig), [Edit(**edit) for edit in edits])
        for rows in read_rows(groups, ["contig", "edits"])
        for contig, edits in zip(*(rows.column(n).to_pylist() for n in (0, 1)), strict=True)
    )
    yield from annotate_compounds(
        compounds,
        read_genes(settings.gff, reference),
        reference,
        genetic_codes=settings.genetic_codes,
        folder=folder,
    )


def read_counts(
    settings: MergeHaplotypesSettings, table: Path, folder: Path, files: SourceFiles
) -> PairCounts:
    """Read what ``haplotypes`` states, and compare its files and the table with it.

    Args:
        settings: The settings that the files must have been made with.
        table: The table of ``merge``.
        folder: Folder of the files that ``haplotypes`` wrote.
        files: Gets these files.

    Raises:
        InputError: A file is missing, or is of another run or of other settings.
    """
    path = folder / PAIR_COUNTS
    files.add(path)
    counts = PairCounts.read(path)
    require_settings(path, counts.settings, settings.haplotypes.triggers(), "haplotypes")
    names = [shard_file(shard, counts.shards) for shard in range(1, counts.shards + 1)]
    if settings.annotate.gff is not None:
        if REFERENCE not in counts.files:
            raise InputError(
                f"{shown_path(path)}: an earlier version of evo2-tasks wrote this file, and it "
                "does not state which reference it read. Run haplotypes again."
            )
        names.append(REFERENCE)
    for name in (CARRIERS, GROUPS, *names):
        require_source(path, counts.files.get(name), folder / name, files.add(folder / name))
    require_source(path, counts.alleles, table, digest_alleles([table]))
    return counts


def require_scored(
    settings: MergeHaplotypesSettings, pairs: Path, scores: Path, files: SourceFiles
) -> ShardRun:
    """Make sure that the scores of a shard were made from its pairs, and with these settings.

    Args:
        settings: The settings that the scores must have been made with.
        pairs: The pairs of windows.
        scores: Their scores.
        files: Has the pairs, and gets the other files.

    Returns:
        What the job states about the scores.

    Raises:
        InputError: A file is missing, or was made from other pairs or with other settings.
    """
    digest = files.add(scores)
    require_source(scores, read_provenance(scores).source, pairs, files.digest(pairs))
    run_file = shard_run_file(scores)
    files.add(run_file)
    [run] = read_shards([run_file])
    made = run.statements
    require_source(run_file, made and made.scores, scores, digest)
    require_settings(run_file, made and made.settings, settings.score.triggers(), "score")
    return run.model_copy(update={"shard": f"{pairs.stem} (haplotypes)"})


def write_rows(source: Path, rows: CarrierRows | GroupRows, progress: Progress) -> None:
    """Write the rows of a file of ``haplotypes`` with their scores.

    Raises:
        InputError: The file cannot be read, or the table of scores lacks an allele.
    """
    for batch in read_rows(source):
        try:
            rows.write(batch)
        except KeyError as error:
            raise InputError(
                f"{shown_path(source)}: has an allele that the table of scores does not have. "
                "Delete the folder of this file, and run again."
            ) from error
        progress.add(batch.num_rows)
