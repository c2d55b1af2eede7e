"""The step ``haplotypes``: who has each allele beside which others, and the windows to score."""

import logging
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa

from evo2_tasks.config.resolve import HaplotypeSettings, WindowsSettings
from evo2_tasks.genome.genes import Genes
from evo2_tasks.genome.genotypes import Genotypes
from evo2_tasks.genome.haplotypes import Haplotypes
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import WindowSettings, place_allele
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.io.files import local_file
from evo2_tasks.io.progress import Progress
from evo2_tasks.io.words import counted
from evo2_tasks.layout import (
    CARRIERS,
    GROUPS,
    PAIR_COUNTS,
    REFERENCE,
    segments_file,
    shard_file,
)
from evo2_tasks.runtime.genomes import open_neighbourhood
from evo2_tasks.runtime.inputs import find_variants, open_variant_set
from evo2_tasks.runtime.references import open_reference
from evo2_tasks.steps.windows import (
    NeededBases,
    read_shard,
    require_placed_shards,
    require_split,
)
from evo2_tasks.table.audit import digest_windows
from evo2_tasks.table.distinct_pairs import (
    PairBuffer,
    PairNumbers,
    Spelled,
    cut_shards,
    sort_pairs,
)
from evo2_tasks.table.documents import PairCounts, Split
from evo2_tasks.table.haplotypes import digest_alleles
from evo2_tasks.table.pairs import PLACEMENT_COLUMNS, as_placed
from evo2_tasks.table.parquet import RowBuffer, write_table
from evo2_tasks.table.provenance import (
    Provenance,
    as_json,
    make_windows_signature,
    package_version,
    require_source,
)
from evo2_tasks.table.reference_blocks import read_blocks, write_blocks
from evo2_tasks.table.schema import carriers_schema, groups_schema, windows_schema
from evo2_tasks.table.segments import write_segments

logger = logging.getLogger(__name__)


def haplotypes(
    settings: HaplotypeSettings,
    *,
    variants: Path | None,
    split_file: Path,
    windows_folder: Path,
    out: Path,
) -> None:
    """Find the other alleles of each haplotype, and place the windows of each distinct pair.

    Args:
        settings: The samples, the distance of compounds, and the settings that the windows must
            have been made with.
        variants: File to read instead of the configured one; ``-`` is standard input.
        split_file: The ``split.json``, which states the number of shards.
        windows_folder: Folder of the files that ``windows`` wrote.
        out: Folder to write: who has each allele, the groups of alleles that are scored together,
            the digests of the reference's blocks, and for each shard a file of windows and their
            reference bases.

    Raises:
        InputError: A file cannot be read, or has no genotypes of the samples; or the files or the
            reference are not those of ``split`` and of these settings.
    """
    files = SourceFiles()
    split, placed, shards = read_shards(settings.windows, split_file, windows_folder, files)
    reference = open_reference(settings.windows.reference)
    genes = {} if settings.codons is None else {"gff": files.add(settings.codons)}
    near = open_neighbourhood(settings, reference)
    if variants is None:
        variants = find_variants(settings.windows.split, split_file.parent.parent)
    genotypes = read_genotypes(settings, variants, split, split_file, files)
    windows_digest = digest_windows(map(files.digest, placed))
    provenance = Provenance(
        make_windows_signature(
            reference_digest=split.reference.digest, scoring=asdict(settings.windows.scoring)
        ),
        package_version(),
        source=split.variants_digest,
        settings=settings.triggers(),
        inputs={"windows": windows_digest, **genes},
    )
    alleles = (variant for shard in shards for variant in read_shard(shard))
    found = Haplotypes(alleles, genotypes, reference)
    finder = Finder(settings, found, genotypes, reference, near)
    out.mkdir(parents=True, exist_ok=True)
    written = write_files(finder, out, split.shards, provenance)
    blocks_file = split_file.with_name(REFERENCE)
    reference.require_same(read_blocks(blocks_file))
    written[REFERENCE] = write_blocks(read_blocks(blocks_file), out / REFERENCE)
    PairCounts(
        shards=split.shards,
        samples=len(genotypes.samples),
        rows=finder.num_rows,
        alone=finder.num_alone,
        compounds=finder.num_groups,
        pairs=len(finder.numbers),
        genotypes=asdict(genotypes.counts),
        files=written,
        alleles=digest_alleles(placed),
        settings=as_json(settings.triggers()),
        inputs={"variants": split.variants_digest, "windows": windows_digest, **genes},
    ).write(out / PAIR_COUNTS)
    logger.info(
        "%s: %s, %s on their haplotypes, %s: %s of windows",
        out, counted(len(genotypes.samples), "sample"), counted(finder.num_rows, "allele"),
        counted(finder.num_groups, "compound"), counted(len(finder.numbers), "pair"),
    )  # fmt: skip


def read_shards(
    settings: WindowsSettings, split_file: Path, windows_folder: Path, files: SourceFiles
) -> tuple[Split, list[Path], list[Path]]:
    """Make sure that the shards and their windows were made from each other and as the config says.

    Args:
        settings: What the files must have been made with.
        split_file: The ``split.json``, next to the shards.
        windows_folder: Folder of the files that ``windows`` wrote.
        files: Gets the files.

    Returns:
        Content of ``split.json``; the windows of each shard; the shards.

    Raises:
        InputError: A file is missing, or was made from another source or with other settings.
    """
    files.add(split_file)
    split = Split.read(split_file)
    placed = require_placed_shards(settings, split, split_file, windows_folder, files)
    shards = [split_file.with_name(path.name) for path in placed]
    for shard in shards:
        files.add(shard)
        require_split(settings, split, split_file, shard, files)
    return split, placed, shards


def read_genotypes(
    settings: HaplotypeSettings, variants: Path, split: Split, split_file: Path, files: SourceFiles
) -> Genotypes:
    """Read the genotypes of the samples from the file that ``split`` has read.

    Args:
        settings: The samples.
        variants: The file; ``-`` is standard input.
        split: Content of ``split.json``.
        split_file: The ``split.json``, for messages.
        files: Gets the file.

    Raises:
        InputError: The file is another one, has no genotypes of the samples, or cannot be read.
    """
    with local_file(variants) as path:
        require_source(split_file, split.variants_digest, variants, files.add(path))
        source = open_variant_set(settings.windows.split, path)
        genotypes = source.read_genotypes(settings.samples)
        files.require_unchanged()
    return genotypes


class Finder:
    """Finds the rows of haplotypes and compounds, and the distinct pairs that they need.

    Args:
        settings: The windows.
        found: The haplotypes.
        genotypes: The genotypes that they were made from.
        reference: The reference.
        near: Which alleles are a compound; see `Haplotypes.find_compounds`.

    Attributes:
        numbers: The distinct pairs.
        num_rows: Alleles of samples and haplotypes.
        num_alone: How many of these have no neighbours.
        num_groups: Groups of alleles that are scored together.
    """

    def __init__(
        self,
        settings: HaplotypeSettings,
        found: Haplotypes,
        genotypes: Genotypes,
        reference: Reference,
        near: int | Genes,
    ) -> None:
        self.numbers = PairNumbers({name: n for n, name in enumerate(reference.contigs)})
        self.num_rows = self.num_alone = self.num_groups = 0
        self.reference = reference
        self._near = near
        self._windows = WindowSettings(**asdict(settings.windows.scoring))
        self._found = found
        self._samples = genotypes.samples
        self._buffer = PairBuffer()

    def write_carriers(self, rows: RowBuffer) -> Iterator[pa.Table]:
        """Write who has each allele, beside which others; gives new pairs."""
        for one in self._found.find_pairs(self._windows):
            numbers = []
            for pair in one.pairs:
                number, key = self.numbers.find(pair.placed)
                numbers.append(number)
                if key is not None:
                    spelled = Spelled(pair.placed.reference_contig, None, None, None)
                    yield from self._buffer.add(number, key, spelled, pair.placed)
            backgrounds = [[as_key(*key) for key in pair.background] for pair in one.pairs]
            for carrier in one.carriers:
                self.num_rows += 1
                self.num_alone += carrier.pair is None
                rows.add(
                    one.record,
                    one.allele,
                    self._samples[carrier.sample],
                    carrier.haplotype,
                    carrier.phase_set,
                    [] if carrier.pair is None else backgrounds[carrier.pair],
                    None if carrier.pair is None else numbers[carrier.pair],
                    carrier.flags,
                )

    def write_groups(self, rows: RowBuffer) -> Iterator[pa.Table]:
        """Write the alleles that are scored together; gives new pairs."""
        numbers: dict[Spelled, int] = {}
        for group in self._found.find_compounds(self._near):
            joint = group.variant
            spelled = Spelled(joint.contig, joint.pos, joint.ref, joint.alt)
            number = numbers.get(spelled)
            if number is None:
                placed = place_allele(joint, self.reference, self._windows)
                number, key = self.numbers.find(placed)
                numbers[spelled] = number
                if key is not None:
                    yield from self._buffer.add(number, key, spelled, placed)
            self.num_groups += 1
            rows.add(
                self._samples[group.sample],
                group.haplotype,
                group.phase_set,
                [as_key(*key) for key in group.members],
                [edit._asdict() for edit in group.edits],
                *spelled,
                number,
                (),
            )
        yield self._buffer.take()


def as_key(record: int, allele: int) -> dict[str, int]:
    """An allele as an item of a list of alleles."""
    return {"record": record, "allele": allele}


def write_files(
    finder: Finder, out: Path, num_shards: int, provenance: Provenance
) -> dict[str, str]:
    """Write the files of a folder of haplotypes.

    Args:
        finder: Finds what they have.
        out: The folder.
        num_shards: Number of shards.
        provenance: The provenance of the files.

    Returns:
        SHA-256 of each file by its name, without the reference bases.
    """
    metadata = provenance.metadata()
    digests: dict[str, str] = {}
    with (
        write_table(out / CARRIERS, carriers_schema(), metadata=metadata) as carriers,
        write_table(out / GROUPS, groups_schema(), metadata=metadata) as groups,
        Progress("haplotypes", total=None, unit="alleles") as progress,
    ):
        carrier_rows = RowBuffer(carriers, carriers_schema().names, progress)
        group_rows = RowBuffer(groups, groups_schema().names)

        def new_pairs() -> Iterator[pa.Table]:
            yield from finder.write_carriers(carrier_rows)
            yield from finder.write_groups(group_rows)
            carrier_rows.flush()
            group_rows.flush()

        digests |= write_shards(finder, sort_pairs(new_pairs(), out), out, num_shards, provenance)
        digests |= {CARRIERS: carriers.digest(), GROUPS: groups.digest()}
    return digests


def write_shards(
    finder: Finder,
    pairs: Iterator[pa.Table],
    out: Path,
    num_shards: int,
    provenance: Provenance,
) -> dict[str, str]:
    """Write the pairs of each shard and their reference bases.

    Returns:
        SHA-256 of each file of pairs by its name.
    """
    first = next(pairs, None)  # only then all pairs are counted
    tables = () if first is None else (table for some in ([first], pairs) for table in some)
    in_shards = cut_shards(tables, len(finder.numbers), num_shards)
    by_shard = groupby(in_shards, itemgetter(0))
    digests = {}
    following = next(by_shard, None)
    for shard in range(1, num_shards + 1):
        path = out / shard_file(shard, num_shards)
        is_here = following is not None and following[0] == shard
        rows = (table for _, table in following[1]) if following and is_here else iter(())
        digests[path.name] = write_pairs(rows, path, finder.reference, provenance)
        if is_here:
            following = next(by_shard, None)
    return digests


def write_pairs(
    tables: Iterator[pa.Table], out: Path, reference: Reference, provenance: Provenance
) -> str:
    """Write the pairs of a shard and their reference bases.

    Returns:
        SHA-256 of the file of pairs.
    """
    needed = NeededBases(reference)
    with write_table(out, windows_schema(), metadata=provenance.metadata()) as writer:
        for table in tables:
            writer.write(table)
            for row in table.select(PLACEMENT_COLUMNS).to_pylist():
                needed.add(as_placed(row))
        digest = writer.digest()
        with write_segments(
            reference,
            needed.intervals,
            segments_file(out),
            source=digest,
            reference_digest=str(provenance.signature["reference"]),
        ):
            pass
    return digest
