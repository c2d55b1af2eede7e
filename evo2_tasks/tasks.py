"""The steps of a run: paths in, paths out. Each command calls one, each rule calls one command."""

import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from itertools import groupby, pairwise
from operator import attrgetter, itemgetter
from pathlib import Path

from evo2_tasks.config import RunConfig, model_dtype, scoring_settings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.assembly import MismatchWatch
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import (
    WITHOUT_BASES,
    Filters,
    Variant,
    VariantSource,
    find_format,
    open_variants,
)
from evo2_tasks.genome.windows import (
    MAX_PIECE_BASES,
    PlacedAllele,
    WindowSettings,
    merge_intervals,
    needed_intervals,
    place_allele,
)
from evo2_tasks.progress import Progress
from evo2_tasks.table.bedgraph import export_bedgraph
from evo2_tasks.table.files import (
    TableWriter,
    digest_file,
    open_table,
    read_json,
    read_rows,
    shown,
    write_json,
    write_table,
)
from evo2_tasks.table.merge import merge_shards
from evo2_tasks.table.parts import remove_parts
from evo2_tasks.table.provenance import (
    Provenance,
    make_windows_signature,
    package_version,
    read_provenance,
    require_source,
)
from evo2_tasks.table.run import read_shards, require_equal_devices, summarize_run
from evo2_tasks.table.schema import (
    CarryField,
    read_carry_fields,
    segments_schema,
    shard_schema,
    windows_schema,
)
from evo2_tasks.table.tsv import export_tsv
from evo2_tasks.table.vcf import export_vcf

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 10_000
INTERVALS_AT_ONCE = 65_536
KEYS = ("record", "allele", "contig", "pos", "ref", "alt")
PLACEMENT = tuple(field.name for field in fields(PlacedAllele))

VARIANTS_KEYS = ("variants", "format", "records", "invalid", "filtered", "regions")

read_placement = attrgetter(*PLACEMENT)


def split(config: RunConfig, *, variant_set: str, variants: Path | None, out: Path) -> None:
    """Read a variant set, one row per allele, and cut it into contiguous shards.

    Args:
        config: The run's config.
        variant_set: Name of the variant set.
        variants: Read this file instead of the configured one; ``-`` is standard input.
        out: Folder for ``1-of-N.parquet`` to ``N-of-N.parquet`` and ``split.json``.

    Raises:
        InputError: The variants or the reference cannot be read.
    """
    settings = config.variant_set(variant_set)
    with local_file(settings.variants if variants is None else variants) as path:
        source = open_variant_set(config, variant_set, path)
        carry_fields = tuple(
            CarryField(field.name, field.type, field.is_list, field.description)
            for field in source.carry_fields
        )
        num_alleles = source.count().alleles
        if num_alleles == 0:
            logger.warning("%s: no variants; the table will have no rows", path)
        write_shards(source, out, num_alleles, config.shards, carry_fields)
        counts = source.counts
    reference = open_reference(config, settings.reference)
    write_json(
        out / "split.json",
        {
            "variants": str(settings.variants if variants is None else variants),
            "format": source.format,
            "alleles": counts.alleles,
            "records": counts.records,
            "invalid": counts.invalid,
            "filtered": counts.filtered,
            "shards": config.shards,
            "regions": settings.regions,
            "reference": {
                "name": settings.reference,
                "digest": reference.seqcol_digest(),
                **describe_file(reference.path),
            },
            "carry": [asdict(field) for field in carry_fields],
        },
    )
    logger.info("%s alleles of %s records", f"{counts.alleles:,}", f"{counts.records:,}")


def open_variant_set(config: RunConfig, variant_set: str, path: Path) -> VariantSource:
    """Open the variants of a set as the config says, from its file or from a copy of it.

    Raises:
        InputError: The file cannot be read, or lacks a field that evaluation needs.
    """
    settings = config.variant_set(variant_set)
    # Where it is not needed a bad file is told before a whole genome is indexed.
    needs_reference = find_format(path, has_regions=bool(settings.saturate)) in WITHOUT_BASES
    source = open_variants(
        path,
        carry=settings.carried,
        numbers=settings.numbers,
        filters=Filters(
            pass_only=settings.filters.pass_only,
            max_length=settings.filters.max_allele_length,
            contigs=settings.filters.contigs,
        ),
        regions=settings.regions,
        saturate=settings.saturate,
        reference=open_reference(config, settings.reference) if needs_reference else None,
    )
    undefined = {field.name for field in source.carry_fields if not field.is_defined}
    for key, name in settings.evaluated.items():
        if name in undefined:
            raise InputError(
                f"variant_sets.{variant_set}.{key}: the header of {path} defines no INFO field "
                f"{name!r}. Correct the name, or add its ##INFO line to the header."
            )
    for name in sorted(undefined):
        logger.warning("%s: no INFO field %r in the header; it is carried as text", path, name)
    return source


def assign_shards(
    variants: Iterable[Variant], num_alleles: int, num_shards: int
) -> Iterator[tuple[int, Variant]]:
    """Give each allele its shard, from 1, of nearly equal size; those of a site stay together."""
    shard, site = 1, None
    for num_read, variant in enumerate(variants):
        if (variant.record, variant.pos) != site:
            while shard < num_shards and num_read >= shard * num_alleles // num_shards:
                shard += 1
        site = (variant.record, variant.pos)
        yield shard, variant


def write_shards(
    source: VariantSource,
    out: Path,
    num_alleles: int,
    num_shards: int,
    carry_fields: tuple[CarryField, ...],
) -> None:
    """Write the shards, empty ones too."""
    schema = shard_schema(carry_fields)
    num_read = 0
    with Progress("split", total=num_alleles, unit="alleles") as progress:
        assigned = groupby(assign_shards(iter(source), num_alleles, num_shards), itemgetter(0))
        group = next(assigned, None)
        for shard in range(1, num_shards + 1):
            with write_table(out / shard_name(shard, num_shards), schema) as writer:
                rows = RowBuffer(writer, schema.names, progress)
                if group is not None and group[0] == shard:
                    for _, variant in group[1]:
                        rows.add(
                            variant.record,
                            variant.allele,
                            variant.contig,
                            variant.pos,
                            variant.ref,
                            variant.alt,
                            variant.status,
                            *variant.carried,
                        )
                        num_read += 1
                    group = next(assigned, None)
                rows.flush()
    if num_read != num_alleles:
        raise InputError(
            f"{source.path}: it had {num_alleles:,} alleles when they were counted, and "
            f"{num_read:,} when they were read. Leave the file alone during a run."
        )


def shard_name(shard: int, num_shards: int) -> str:
    """File name of a shard, counted from 1."""
    return f"{shard}-of-{num_shards}.parquet"


class RowBuffer:
    """Collects rows one by one and hands them on as columns.

    Args:
        writer: The table to write to.
        names: The table's columns, in the order in which a row's values come.
        progress: Told of the rows that were written.
    """

    def __init__(self, writer: TableWriter, names: Sequence[str], progress: Progress) -> None:
        self._writer = writer
        self._names = names
        self._progress = progress
        self._rows: list[tuple[object, ...]] = []

    def add(self, *values: object) -> None:
        """Add a row."""
        self._rows.append(values)
        if len(self._rows) == ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Hand on what has been collected."""
        if self._rows:
            columns = zip(*self._rows, strict=True)
            self._writer.write_columns(dict(zip(self._names, map(list, columns), strict=True)))
            self._progress.add(len(self._rows))
            self._rows.clear()


def windows(
    config: RunConfig,
    *,
    variant_set: str,
    scoring: str,
    shard: Path,
    split_file: Path,
    out: Path,
    segments_file: Path,
) -> None:
    """Give each allele of a shard its status and its windows.

    Args:
        config: The run's config.
        variant_set: Name of the variant set.
        scoring: Name of the scoring.
        shard: What ``split`` wrote.
        split_file: The ``split.json`` that it wrote beside.
        out: The rows of the shard with their windows.
        segments_file: The reference bases that the windows need, each once.

    Raises:
        InputError: A file cannot be read, or the reference is of another assembly or not the one
            that ``split`` read.
    """
    settings = config.variant_set(variant_set)
    scoring_config = config.scoring(scoring)
    read = read_json(split_file)
    carry_fields = read_carry_fields(read["carry"])
    reference = open_reference(config, settings.reference)
    require_unchanged(reference, read["reference"], split_file)
    window_settings = WindowSettings(**scoring_config.model_dump(exclude={"model"}))
    signature = make_windows_signature(
        reference_digest=read["reference"]["digest"], scoring=scoring_settings(config, scoring)
    )
    source = digest_file(shard)
    provenance = Provenance(signature, package_version(), source=source)
    mismatches = MismatchWatch(settings.max_ref_mismatch_share, reference.path)
    statuses: Counter[str] = Counter()
    needed: dict[str, list[tuple[int, int]]] = {}
    schema = windows_schema(carry_fields)
    carried = tuple(field.name for field in carry_fields)
    with (
        write_table(out, schema, metadata=provenance.metadata()) as writer,
        Progress("windows", total=count_rows(shard), unit="alleles") as progress,
    ):
        rows = RowBuffer(writer, [*KEYS, *PLACEMENT, *carried], progress)
        for batch in read_rows(shard, [*KEYS, "status", *carried]):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                variant = Variant(*values[:7])
                placed = place_allele(variant, reference, window_settings)
                rows.add(*values[:6], *read_placement(placed), *values[7:])
                mismatches.add(placed.status)
                statuses[placed.status] += 1
                contig = placed.reference_contig
                if contig is not None and placed.window_start is not None:
                    intervals = needed.setdefault(contig, [])
                    intervals += needed_intervals(
                        placed, reference.contigs[contig], reference.is_circular(contig)
                    )
                    if len(intervals) >= INTERVALS_AT_ONCE:
                        needed[contig] = merge_intervals(intervals)
        rows.flush()
        require_source(out, source, shard)
    write_segments(reference, needed, segments_file)
    warn_without_score(shard, statuses)


def warn_without_score(file: Path, by_status: Mapping[str, int]) -> None:
    """Say loudly that no allele of a file has a score, or can have one, and why."""
    if by_status and "scored" not in by_status:
        reasons = ", ".join(f"{status} {number:,}" for status, number in by_status.items())
        logger.warning(
            "%s: NO SCORE for any of %s alleles: %s", file, f"{sum(by_status.values()):,}", reasons
        )


def write_segments(
    reference: Reference, needed: Mapping[str, list[tuple[int, int]]], out: Path
) -> None:
    """Write the bases of intervals of the reference, each base once, in pieces."""
    schema = segments_schema()
    with write_table(out, schema, row_group_bytes=MAX_PIECE_BASES) as writer:
        for contig, intervals in needed.items():
            length, circular = reference.contigs[contig], reference.is_circular(contig)
            for start, end in merge_intervals(intervals, MAX_PIECE_BASES):
                bases = reference.fetch(contig, start, end)
                row = (contig, length, circular, start, end, bases)
                writer.write_columns(
                    dict(zip(schema.names, ([value] for value in row), strict=True))
                )


def merge(
    config: RunConfig,
    *,
    variant_set: str,
    scoring: str,
    split_file: Path,
    windows_folder: Path,
    scores_folder: Path,
    out: Path,
    run_json: Path,
) -> None:
    """Combine all shards into the table, and say in ``run.json`` what it took.

    What the scoring jobs kept to go on from is removed in the end.

    Args:
        config: The run's config.
        variant_set: Name of the variant set.
        scoring: Name of the scoring.
        split_file: The ``split.json``, which says how many shards and alleles there are.
        windows_folder: Folder of what ``windows`` wrote.
        scores_folder: Folder of what ``score`` wrote.
        out: The table.
        run_json: Counts, times, devices and versions.

    Raises:
        InputError: A shard is missing, or the shards do not fit together.
    """
    settings = config.variant_set(variant_set)
    read = read_json(split_file)
    names = [shard_name(shard, read["shards"]) for shard in range(1, read["shards"] + 1)]
    contig_order = None
    if settings.sort_by_position:
        contig_order = list(open_reference(config, settings.reference).contigs)
    shards = read_shards([(scores_folder / name).with_suffix(".json") for name in names])
    scored = read_provenance(scores_folder / names[0]).signature
    require_equal_devices(
        shards,
        dtype=model_dtype(config.models[config.scoring(scoring).model]),
        fp8=not str(scored.get("fp8", "off")).startswith("off"),
        allow_mixed=config.run.allow_mixed_devices,
    )
    for name in names:
        chain = [split_file.with_name(name), windows_folder / name, scores_folder / name]
        for source, made in pairwise(chain):
            require_source(made, read_provenance(made).source, source)
    counts = merge_shards(
        [windows_folder / name for name in names],
        [scores_folder / name for name in names],
        out,
        expected_alleles=read["alleles"],
        contig_order=contig_order,
    )
    variants = {key: read[key] for key in VARIANTS_KEYS}
    stated = read_provenance(out)
    write_json(
        run_json,
        {
            "model": stated.model,
            "signature": stated.signature,
            **summarize_run(counts, shards, variants=variants),
        },
    )
    by_status = ", ".join(f"{status} {number:,}" for status, number in counts.by_status.items())
    logger.info("%s: %s rows: %s", out, f"{counts.alleles:,}", by_status or "none")
    warn_without_score(out, counts.by_status)
    remove_parts(scores_folder)


def export(table: Path, *, to: str, variants: Path | None, out: Path) -> None:
    """Write a table in another format.

    Args:
        table: The result of ``merge``.
        to: ``vcf``, ``tsv`` or ``bedgraph``.
        variants: For ``vcf``, the file that was scored; None is the one that ``run.json`` beside
            the table names. Its records, headers and samples are kept; where it was no VCF or
            BCF, the VCF has what the table has.
        out: The file to write.

    Raises:
        InputError: A file cannot be read or written, or the table is not of these variants.
    """
    if to == "tsv":
        logger.info("%s: %s rows", out, f"{export_tsv(table, out):,}")
        return
    if to == "bedgraph":
        logger.info("%s: %s positions", out, f"{export_bedgraph(table, out):,}")
        return
    run_json = table.with_name("run.json")
    read = read_json(run_json)["variants"] if run_json.exists() else {}
    if variants is None:
        if not read:
            raise InputError(
                f"{table}: no run.json beside it says from which variants it was made. "
                "Name them by --variants."
            )
        variants = Path(read["variants"])
    is_vcf = read.get("format", "vcf") in ("vcf", "bcf")
    done = export_vcf(
        table,
        out,
        variants=variants if is_vcf else None,
        is_part=read.get("regions") is not None,
    )
    logger.info("%s: %s records, %s with rows", out, f"{done.records:,}", f"{done.annotated:,}")


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """The path, or for ``-`` a file that holds what standard input gives, read whole."""
    if str(path) != "-":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="evo2-tasks-") as folder:
        spool = Path(folder) / "stdin"
        with spool.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield spool


def open_reference(config: RunConfig, name: str) -> Reference:
    """Open a reference of the config; an index that has no place beside it goes to the results."""
    settings = config.references[name]
    return Reference(
        settings.fasta,
        circular_contigs=settings.circular_contigs,
        contig_aliases=settings.contig_aliases,
        assembly_report=settings.assembly_report,
        index_folder=config.output,
    )


def describe_file(path: Path) -> dict[str, int]:
    """What tells at no cost that a file is the one of before."""
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def require_unchanged(reference: Reference, read: Mapping[str, object], split_file: Path) -> None:
    """Make sure that a reference has the sequences that ``split`` found in it.

    Raises:
        InputError: It has others.
    """
    if all(read.get(key) == value for key, value in describe_file(reference.path).items()):
        return
    if reference.seqcol_digest() != read["digest"]:
        raise InputError(
            f"{shown(reference.path)} has other sequences than when {shown(split_file)} was "
            "written; run split again, or put the old file back."
        )


def count_rows(file: Path) -> int:
    """Rows of a table."""
    with open_table(file) as table:
        return int(table.metadata.num_rows)
