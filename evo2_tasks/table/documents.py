"""The JSON files of the results: what ``split``, ``score`` and ``merge`` state about their work.

Reads without numpy and pyarrow, so that Snakemake can import this file in every job.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, JsonValue

from evo2_tasks.io.documents import Count, Document, Megabytes, Seconds

MOST_SHARDS: Final = 100_000
"""Most shards of a variant set, as in the config."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, as hexadecimal digits."""


Format = Literal["vcf", "bcf", "table", "parquet", "list", "bed", "intervals"]
"""The formats of variants, as in ``genome/formats.py``, which imports pysam."""

PartCount = Annotated[Count, Field(le=2**48)]
"""A number of things of a part: the sum over all parts of a shard is a ``Count``."""

Total = Annotated[int, Field(ge=0)]
"""A sum of counts."""


class ReferenceStatement(Document):
    """The reference that ``split`` read.

    Attributes:
        name: Its name in the config.
        digest: GA4GH seqcol digest of its sequences.
    """

    name: str
    digest: str


class SplitStatements(Document):
    """What ``split`` made its files with, and what it made: the steps that read them compare this.

    Attributes:
        settings: The settings of ``split`` that run it again if they change.
        shards: SHA-256 of each shard by the name of its file.
        blocks: SHA-256 of the file with the digests of the reference's blocks.
        sequences: SHA-256 of the file with the sequences of the reference; None in a file of an
            earlier version.
        assembly_report: SHA-256 of the assembly report of the reference; None if it has none.
        haplotype_of: SHA-256 of the file with the haplotype in whose genome the changes are; None
            for changes of the reference.
    """

    settings: dict[str, JsonValue]
    shards: dict[str, Digest]
    blocks: Digest
    sequences: Digest | None = None
    assembly_report: Digest | None
    haplotype_of: Digest | None = None


class Split(Document):
    """``split.json``: the variants, their counts and their reference.

    Attributes:
        variants: The file of variants.
        variants_digest: SHA-256 of this file.
        format: Its format.
        alleles: Alleles, the rows of all shards.
        records: Records of the file.
        invalid: Records that no allele could be read from.
        filtered: Records that a filter of the config excludes.
        ref_compared: REF alleles that were compared with the reference.
        ref_mismatches: How many of them differ from it.
        warnings: How the header of the variants contradicts the reference.
        shards: Number of shards.
        regions: The regions that were read; None for the whole file.
        reference: The reference.
        statements: What later steps compare; None in a file of an earlier version.
    """

    remedy: ClassVar[str] = "Run `split` again."

    variants: str
    variants_digest: Digest
    format: Format
    alleles: Count
    records: Count
    invalid: Count
    filtered: Count
    ref_compared: Count = 0
    ref_mismatches: Count = 0
    warnings: tuple[str, ...] = ()
    shards: Annotated[int, Field(ge=1, le=MOST_SHARDS)]
    regions: tuple[str, ...] | None
    reference: ReferenceStatement
    statements: SplitStatements | None = None

    @property
    def inputs(self) -> dict[str, str]:
        """SHA-256 of the files that shape the rows of the windows, besides shard and reference."""
        found: dict[str, str | None] = {"variants": self.variants_digest}
        if self.statements is not None:
            found["assembly_report"] = self.statements.assembly_report
            found["haplotype_of"] = self.statements.haplotype_of
        return {name: digest for name, digest in found.items() if digest is not None}


class Signature(Document):
    """The settings that determine a score, in the metadata of a table.

    Attributes:
        scores_version: Version of the definitions of the scores.
        reference: GA4GH seqcol digest of the reference.
        scoring: The scoring's settings.
        weights: SHA-256 of the model's tensors; absent before ``score``, like all that follow.
        dtype: Data type of the model.
        fp8: FP8 mode of the model's input projections.
        prepend_bos: Whether a window begins with a BOS token.
        haplotype_of: The haplotype in whose genome the scores are; absent for the reference.
    """

    scores_version: Count
    reference: str
    scoring: dict[str, JsonValue]
    weights: str | None = None
    dtype: str | None = None
    fp8: str | None = None
    prepend_bos: bool | None = None
    haplotype_of: dict[str, JsonValue] | None = None


class Verification(Document):
    """Result of the comparison of a model with its published values.

    Attributes:
        status: ``same_arithmetic``, ``other_arithmetic``, ``failed`` or ``not_verified``.
        of: Name of the published model.
        differences: Largest difference of each check and quantity; None if it is not finite.
        causes: Possible causes of a failure.
        reason: Why there is no comparison.
    """

    remedy: ClassVar[str] = "Delete the file; the comparison is made again."

    status: str
    of: str | None = None
    differences: dict[str, float | None] = Field(default_factory=dict)
    causes: tuple[str, ...] = ()
    reason: str | None = None


class Lookup(Document):
    """The JSON file of the hits of a shard: what ``lookup`` found in the store.

    Attributes:
        alleles: Alleles of the shard that can be scored.
        hits: How many of them the store has.
        missing: How many it does not have.
        tokens_missing: Tokens of the windows of these; a shared window counts once for each allele.
        weights: SHA-256 of the model's tensors; None if the store does not know the model.
        states: Size in bytes and time of the last change in ns of each file of the model, by its
            path, as ``identify`` has read it.
        table_digest: SHA-256 of the file of the hits, next to this file.
    """

    remedy: ClassVar[str] = "Run `lookup` again."

    alleles: Count
    hits: Count
    missing: Count
    tokens_missing: Count
    weights: Digest | None
    states: dict[str, tuple[int, int]] = Field(default_factory=dict)
    table_digest: Digest

    @property
    def needs_model(self) -> bool:
        """Whether ``score`` has to open the model, also if mixed devices are allowed."""
        return self.missing > 0 or self.weights is None


class PartUsage(Document):
    """The work that was done for a part of a shard.

    Attributes:
        alleles_tried: Alleles that went through the model; of tracks, windows.
        tokens: Tokens of all windows; a shared window counts once for each allele.
        windows_run: Windows that went through the model.
        tokens_run: Tokens that went through the model.
        wall_s: Seconds.
        batch_tokens: Most tokens that went through the model at once.
    """

    remedy: ClassVar[str] = "Delete the file; the part is computed again."

    alleles_tried: PartCount
    tokens: PartCount
    windows_run: PartCount
    tokens_run: PartCount
    wall_s: Annotated[Seconds, Field(le=1e8)]
    batch_tokens: PartCount


class ScoreStatements(Document):
    """What ``score`` made its files with, and what it made: ``merge`` compares this.

    Attributes:
        settings: The settings of ``score`` that run it again if they change.
        scores: SHA-256 of the scores file.
        hits: SHA-256 of the hits whose scores were reused; None if none was.
        hits_device: The kind of device whose hits were reused; None for all.
        step: The step, if it made embeddings or profiles in the same passes of the model.
    """

    settings: dict[str, JsonValue]
    scores: Digest
    hits: Digest | None = None
    hits_device: str | None = None
    step: Literal["score_readouts"] | None = None


class ShardRun(Document):
    """The JSON file of a scored shard: work, devices and versions of the scoring job.

    Attributes:
        shard: Name of the shard; in ``run.json`` only.
        alleles_tried: Alleles that went through the model.
        tokens: Tokens of all windows; a shared window counts once for each allele.
        windows_run: Windows that went through the model.
        tokens_run: Tokens that went through the model.
        wall_s: Seconds of the job, and of earlier jobs for the parts that it kept.
        load_s: Seconds of these to load the model.
        parts: Number of parts.
        parts_kept: Parts that an earlier job had finished.
        batch_tokens: Most tokens that went through the model at once.
        canaries: ``llr`` of fixed alleles, nats; None where it is not finite.
        verification: Result of the comparison with published values.
        device: Names of the devices.
        device_class: Kind of the devices.
        visible_devices: ``CUDA_VISIBLE_DEVICES`` of the job.
        driver: Version of the GPU driver.
        node: Name of the machine.
        job: Number of the SLURM job.
        cpu_capability: The CPU's kind of vector instructions that torch uses.
        threads: CPU threads of the model.
        version: Version of the package.
        python: Version of Python.
        torch: Version of torch.
        transformers: Version of transformers.
        peak_memory_mb: Peak memory of the process, MB.
        peak_device_memory_mb: Peak memory of the fullest GPU, MB; without a GPU it is absent.
        reused: Alleles whose scores are from the store; None if nothing was looked up.
        reused_devices: How many of these each kind of device has computed; an allele whose strands
            are of two kinds counts for both.
        non_finite: Bases whose values are not finite; in a shard of tracks only.
        statements: What ``merge`` compares; None in a file of an earlier version and in
            ``run.json``.
    """

    remedy: ClassVar[str] = "Score the shard again."

    shard: str | None = None
    alleles_tried: Count = 0
    tokens: Count = 0
    windows_run: Count
    tokens_run: Count
    wall_s: Seconds
    load_s: Seconds | None = None
    parts: Count | None = None
    parts_kept: Count | None = None
    batch_tokens: Count | None = None
    canaries: tuple[float | None, ...] | None = None
    verification: dict[str, JsonValue] | None = None
    device: str | None = None
    device_class: str | None = None
    visible_devices: str | None = None
    driver: str | None = None
    node: str | None = None
    job: str | None = None
    cpu_capability: str | None = None
    threads: Count | None = None
    version: str | None = None
    python: str | None = None
    torch: str | None = None
    transformers: str | None = None
    peak_memory_mb: Megabytes | None = None
    peak_device_memory_mb: Megabytes | None = None
    reused: Count | None = None
    reused_devices: dict[str, Count] | None = None
    non_finite: Count | None = None
    statements: ScoreStatements | None = None


class ReadoutStatements(Document):
    """What the read-outs of a shard were made with, and their files.

    Attributes:
        settings: The settings of ``score_readouts`` that run it again if they change.
        files: SHA-256 of each file of the folder, by its path there; not those of an audit.
    """

    settings: dict[str, JsonValue]
    files: dict[str, Digest]


class ReadoutsRun(ShardRun):
    """``readouts.json``: the embeddings and profiles of a shard, and the work for them.

    The work is that of passes of the model besides those that gave the scores too.

    Attributes:
        made: What the read-outs were made with, and their files.
    """

    made: ReadoutStatements


class ReadoutError(Document):
    """How the values of a column differ from float32, because of their data type.

    Attributes:
        largest: Largest difference.
        rms: Root mean square of the differences.
        smallest_cosine: Smallest cosine of the embeddings of an allele and their float32; None for
            profiles, and if there is no such row.
    """

    largest: Annotated[float, Field(ge=0)]
    rms: Annotated[float, Field(ge=0)]
    smallest_cosine: Annotated[float, Field(ge=-1.001, le=1.001)] | None = None


class ReadoutTable(Document):
    """The JSON file next to a table of embeddings or to the profiles.

    Attributes:
        table_digest: SHA-256 of the table.
        rows: Rows of the table.
        filled: Rows that are not null.
        layer: Published name of the layer; absent for profiles.
        width: Number of channels; absent for profiles.
        tokens: Number of tokens that were averaged, or of the entries of a profile; absent for
            embeddings of sequences and regions.
        dtype: Data type of the values.
        errors: How the data type changes the values, by column; absent for float32.
        windows_run: Windows that went through the model for the read-outs alone, for all layers.
        tokens_run: Tokens of these.
        wall_s: Seconds of these, summed over the jobs.
        devices: Kinds of devices, with the number of shards of each.
    """

    remedy: ClassVar[str] = "Merge the read-outs again."

    table_digest: Digest
    rows: Count
    filled: Count
    layer: str | None = None
    width: Count | None = None
    tokens: Count | None = None
    dtype: Literal["float32", "float16", "int8"]
    errors: dict[str, ReadoutError] | None = None
    windows_run: Total
    tokens_run: Total
    wall_s: Annotated[float, Field(ge=0, le=1e18)]
    devices: dict[str, Count] = Field(default_factory=dict)


class AuditWork(Document):
    """``audit.json``: the work of an audit.

    Attributes:
        table_digest: SHA-256 of the table of the audit, next to the file.
        windows_run: Windows that went through the model.
        tokens_run: Tokens that went through the model.
        wall_s: Seconds, summed over the jobs.
        devices: Kinds of devices, with the number of shards of each.
    """

    remedy: ClassVar[str] = "Run `merge_audit` again."

    table_digest: Digest
    windows_run: Total
    tokens_run: Total
    wall_s: Annotated[float, Field(ge=0, le=1e18)]
    devices: dict[str, Count] = Field(default_factory=dict)


class AuditError(Document):
    """How a score with a horizon differs from that of whole windows.

    Attributes:
        alleles: Alleles that have both scores.
        rms: Root mean square of the differences, nats.
        p99: Difference that 99 % of the alleles do not exceed, nats.
        largest: Largest difference, nats.
        spearman: Rank correlation of the two scores; None if it does not exist.
    """

    alleles: Count
    rms: Annotated[float, Field(ge=0)]
    p99: Annotated[float, Field(ge=0)]
    largest: Annotated[float, Field(ge=0)]
    spearman: Annotated[float, Field(ge=-1.001, le=1.001)] | None = None


class Audit(AuditWork):
    """The audit of a horizon, in ``run.json``; with the keys of ``audit.json``.

    Attributes:
        share: Share of the alleles that the config asks for.
        alleles: Alleles that were audited.
        errors: The observed error of ``llr``, of the mean and of each asked strand; a score that no
            audited allele has twice is absent.
    """

    remedy: ClassVar[str] = "Run `merge` again."

    share: Annotated[float, Field(gt=0, le=1)]
    alleles: Count
    errors: dict[str, AuditError]


class PairCounts(Document):
    """``pairs.json``: the genotypes of a set and the pairs of windows that they need.

    Attributes:
        shards: Number of shards.
        samples: Samples that were read.
        rows: Alleles of samples and haplotypes.
        alone: How many of these have no neighbours.
        compounds: Groups of alleles of samples and haplotypes that are scored together.
        pairs: Distinct pairs of windows, of all shards.
        genotypes: Counts of the genotypes by their kind.
        files: SHA-256 of each file in the folder, by its name.
        alleles: Digest of the alleles of the set, by which the table is recognised.
        settings: The settings of ``haplotypes`` that run it again if they change.
        inputs: SHA-256 of the files that it read: the variants, and the windows of all shards.
    """

    remedy: ClassVar[str] = "Run `haplotypes` again."

    shards: Annotated[int, Field(ge=1, le=MOST_SHARDS)]
    samples: Count
    rows: Count
    alone: Count
    compounds: Count
    pairs: Count
    genotypes: dict[str, Count]
    files: dict[str, Digest]
    alleles: Digest
    settings: dict[str, JsonValue]
    inputs: dict[str, Digest]


class HaplotypesRun(Document):
    """``haplotypes.json``: counts and work of the haplotypes of a scoring.

    ``HAPLOTYPES_MEANINGS`` explains the keys.
    """

    remedy: ClassVar[str] = "Run `merge_haplotypes` again."

    haplotypes_digest: Digest
    compounds_digest: Digest
    samples: Count
    rows: Count
    alone: Count
    by_status: dict[str, Count]
    by_flag: dict[str, Count]
    compounds: Count
    compounds_by_status: dict[str, Count]
    compounds_by_flag: dict[str, Count]
    pairs: Count
    genotypes: dict[str, Count]
    windows_run: Total
    tokens_run: Total
    wall_s: Annotated[float, Field(ge=0, le=1e18)]
    devices: dict[str, Count] = Field(default_factory=dict)


class TileCounts(Document):
    """``tiles.json``: the regions of a track set and the windows that they need.

    Attributes:
        shards: Number of shards.
        regions: The file of regions.
        records: Lines with data of this file.
        by_status: Number of the lines with each status that occurs.
        bases: Bases in the tracks.
        windows: Windows to read, of both strands and all shards.
        tokens: Tokens of these, up to the last one whose values are taken.
        reference: The reference.
        fasta: The FASTA file of the reference.
        contigs: Length of each contig that has bases in the tracks.
        files: SHA-256 of each file in the folder, by its name.
        settings: The settings of ``tile`` that run it again if they change.
        inputs: SHA-256 of the regions, and of the assembly report if the reference has one.
    """

    remedy: ClassVar[str] = "Run `tile` again."

    shards: Annotated[int, Field(ge=1, le=MOST_SHARDS)]
    regions: str
    records: Count
    by_status: dict[str, Count]
    bases: Count
    windows: Count
    tokens: Count
    reference: ReferenceStatement
    fasta: str
    contigs: dict[str, Count]
    files: dict[str, Digest]
    settings: dict[str, JsonValue]
    inputs: dict[str, Digest]


class TracksRun(Document):
    """``tracks.json``: counts and work of the tracks of a scoring.

    ``TRACKS_MEANINGS`` explains the keys.
    """

    remedy: ClassVar[str] = "Run `merge_tracks` again."

    table_digest: Digest
    date: str
    model: str
    signature: dict[str, JsonValue]
    regions: str
    records: Count
    by_status: dict[str, Count]
    bases: Count
    non_finite: Count
    reference: ReferenceStatement
    fasta: str
    contigs: dict[str, Count]
    windows_run: Total
    tokens_run: Total
    wall_s: Seconds
    devices: dict[str, Count]
    shards: tuple[ShardRun, ...]


class Calibration(Document):
    """The key ``calibration`` in the metadata of the files of ``fit_calibration``.

    Attributes:
        name: Name of the calibration in the config.
        score: The score that it uses.
        harmful: Which end of the score is harmful.
        by: What the strata of the background are made from.
        num_background: Background alleles that have the score; None without a background.
        label: The field of the labels; None without labels, like all that follow.
        definition: Which rows are labelled, in the words of the config.
        num_positive: Labelled rows that are positive and have the score.
        num_negative: Labelled rows that are negative and have the score.
        prior: Prior probability that a variant is positive.
        c: The constant c, the odds of pathogenicity of very strong evidence.
        draws: Draws of the bootstrap.
        seed: Seed of the bootstrap.
        folds: Number of folds.
        fold_kind: What the folds are made of.
        reason: Why there is no strength; None if there are strengths.
        labelled_alleles: SHA-256 of the labelled alleles, by which another table with these rows is
            recognised.
    """

    remedy: ClassVar[str] = "Run `fit_calibration` again."

    name: str
    score: Literal["llr", "llr_aligned"]
    harmful: Literal["low", "high"]
    by: tuple[str, ...] = ()
    num_background: Count | None = None
    label: str | None = None
    definition: str | None = None
    num_positive: Count | None = None
    num_negative: Count | None = None
    prior: Annotated[float, Field(gt=0, lt=1)] | None = None
    c: Annotated[float, Field(gt=1)] | None = None
    draws: Count | None = None
    seed: Count | None = None
    folds: Count | None = None
    fold_kind: Literal["gene", "contig", "block"] | None = None
    reason: str | None = None
    labelled_alleles: Digest | None = None


class CombinedScoring(Document):
    """A scoring of a combined table.

    Attributes:
        name: Its name in the config.
        table: SHA-256 of its table.
        signature: The signature of its scores.
        version: Version of the package that computed the scores.
        model: Name of the model in the config.
    """

    name: str
    table: Digest
    signature: Signature
    version: str
    model: str | None = None


class Combination(Document):
    """The key ``combination`` in the metadata of a table of ``combine``.

    Attributes:
        name: Name of the combination in the config.
        score: The score of which the ensembles are made.
        scorings: The scorings in the order of their columns.
        ensembles: The ensembles, and why no row has one; empty if rows have it.
        scored: Rows that are scored in all scorings.
    """

    remedy: ClassVar[str] = "Run `combine` again."

    name: str
    score: Literal["llr", "llr_aligned"]
    scorings: Annotated[tuple[CombinedScoring, ...], Field(min_length=2)]
    ensembles: dict[str, str]
    scored: Count


class Variants(Document):
    """What ``run.json`` repeats of ``split.json``; the keys have the same meanings."""

    variants: str
    format: Format
    records: Count
    invalid: Count = 0
    filtered: Count = 0
    regions: tuple[str, ...] | None = None


class RunReference(Document):
    """The reference of a finished scoring, in ``run.json``.

    Attributes:
        name: Its name in the config.
        digest: GA4GH seqcol digest of its sequences.
        fasta: The FASTA file, as the config names it.
        circular_contigs: Contigs whose end joins their beginning.
    """

    name: str
    digest: str
    fasta: str
    circular_contigs: tuple[str, ...]


class Run(Document):
    """``run.json``: a finished scoring. ``RUN_MEANINGS`` explains the keys."""

    remedy: ClassVar[str] = "Run `merge` again."

    model: str | None = None
    signature: dict[str, JsonValue] = Field(default_factory=dict)
    date: str | None = None
    table_digest: Digest | None = None
    alleles: Count
    scored: Count | None = None
    by_status: dict[str, Count] = Field(default_factory=dict)
    by_reason: dict[str, Count] = Field(default_factory=dict)
    by_flag: dict[str, Count] = Field(default_factory=dict)
    variants: Variants | None = None
    reference: RunReference | None = None
    contigs: dict[str, Count] | None = None
    warnings: tuple[str, ...] = ()
    windows_run: Total | None = None
    tokens_run: Total | None = None
    wall_s: Annotated[float, Field(ge=0, le=1e18)] | None = None
    verification: dict[str, JsonValue] | None = None
    devices: dict[str, Count] = Field(default_factory=dict)
    reused: Count | None = None
    reused_devices: dict[str, Count] | None = None
    audit: Audit | None = None
    shards: tuple[ShardRun, ...]
