"""From the config to the settings that each step gets, defaults filled in.

Each step of the workflow gets one of these slices and nothing else of the config. The part of a
slice that shapes what the step writes is also what Snakemake compares (``triggers``): a finished
job runs again exactly if it has changed. Files are compared as inputs of the rules, not here. The
file is long because it holds the slices of all steps, and nothing else.
"""

import difflib
import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from evo2_tasks.config.choices import ConsequenceField, Fp8Mode, Release
from evo2_tasks.config.objects import as_written, local_copy
from evo2_tasks.config.schema import (
    ALL_SAMPLES,
    SCORING_MARK,
    AskedTypes,
    CalibrationConfig,
    EmbeddingsConfig,
    Ensemble,
    FilterConfig,
    IdentifierKind,
    LabelConfig,
    ModelConfig,
    RunConfig,
    RunSettings,
    ScoringConfig,
    Section,
    VariantSetConfig,
)
from evo2_tasks.errors import InputError
from evo2_tasks.hub import parse_hub_name
from evo2_tasks.layout import (
    CALIBRATION,
    CONSEQUENCE_COLUMNS,
    IDENTIFIER_COLUMNS,
    RANDOM_SNVS,
    TABLE,
)

BUNDLED_CHECKPOINTS = Path(__file__).parent.parent / "checkpoints"
CHECKPOINT_SUFFIXES = (".json", ".safetensors")

ALLELE_TYPE = "type"
"""The entry of ``by`` that stands for the type of the allele."""
TRINUCLEOTIDE = "trinucleotide"
"""The entry of ``by`` that stands for an SNV and its two neighbours."""


@dataclass(frozen=True, slots=True)
class ReferenceSettings:
    """A reference genome, and where its index goes if the folder of the FASTA is read-only.

    Attributes:
        name: In the config.
        fasta: The FASTA file.
        circular_contigs: Contigs whose end joins their beginning, by their FASTA names.
        contig_aliases: From names in variant files to FASTA names.
        assembly_report: NCBI assembly report with more names, or None.
        index_folder: Folder for the index where it cannot be written next to the FASTA.
    """

    name: str
    fasta: Path
    circular_contigs: tuple[str, ...]
    contig_aliases: Mapping[str, str]
    assembly_report: Path | None
    index_folder: Path


@dataclass(frozen=True, slots=True)
class ScoringSettings:
    """The settings of a scoring that shape its windows and scores; the signature records them.

    The fields are those of the config's scoring. ``window_step`` is None for centered windows, and
    ``min_context`` stays None if the config does not set it: its default follows the window, which
    is shorter on a short circular contig.
    """

    window_length: int
    window_placement: Literal["centered", "tiled"]
    window_step: int | None
    strands: Literal["both", "forward", "reverse"]
    horizon: int | None
    max_allele_length: int
    max_n_share: float
    min_context: int | None
    prepend_bos: bool


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """A checkpoint and how to run it.

    Attributes:
        where: What names the model, for messages: ``models.NAME``, or a command.
        name: Of the model in the config.
        written: The checkpoint as the user wrote it.
        checkpoint: Where the checkpoint is: in the package, where `fetch` puts it, or as written.
        model: The release that a published file is, or None.
        config: The published ``.yml`` config of a file that is not a release, or None.
        dtype: Data type of the weights.
        fp8: How the input projections are computed; None for the checkpoint's own way.
        allow_without_fp8: Whether ``fp8: off`` is accepted for a checkpoint that needs FP8.
        gpus: Number of GPUs; 0 for the CPU.
    """

    where: str
    name: str
    written: Path
    checkpoint: Path
    model: Release | None
    config: Path | None
    dtype: Literal["bfloat16", "float32"]
    fp8: Fp8Mode | None
    allow_without_fp8: bool
    gpus: int

    def triggers(self) -> dict[str, object]:
        """What runs the steps that depend on the model again if it changes."""
        return {
            "allow_without_fp8": self.allow_without_fp8,
            "checkpoint": as_written(self.written),
            "config": None if self.config is None else as_written(self.config),
            "dtype": self.dtype,
            "fp8": self.fp8,
            "model": self.model,
        }


@dataclass(frozen=True, slots=True)
class DrawSettings:
    """What ``draw`` needs.

    Attributes:
        variant_set: Name of the variant set.
        reference: The reference of the set.
        number: Number of SNVs to draw.
        seed: Seed of the generator.
        contigs: Contigs to draw from, or None.
        regions: File of the regions to draw from, or None.
    """

    variant_set: str
    reference: ReferenceSettings
    number: int
    seed: int
    contigs: tuple[str, ...] | None
    regions: Path | None

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {
            "contig_aliases": self.reference.contig_aliases,
            "contigs": self.contigs,
            "number": self.number,
            "reference": self.reference.name,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class HaplotypeOfSettings:
    """A haplotype of a sample, in whose genome a saturation set makes its changes.

    Attributes:
        written: The file with the genotypes, as the user wrote it.
        variants: Where this file is.
        sample: Name of the sample.
        haplotype: Place of the haplotype in GT, from 1.
    """

    written: Path
    variants: Path
    sample: str
    haplotype: int

    def triggers(self) -> dict[str, object]:
        """What runs the steps that depend on the haplotype again if it changes."""
        return {
            "haplotype": self.haplotype,
            "sample": self.sample,
            "variants": as_written(self.written),
        }


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples whose genotypes are read.

    Attributes:
        names: Their names; None for all samples of the file.
    """

    names: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """What ``split`` needs.

    Attributes:
        variant_set: Name of the variant set.
        variants: The file of variants, or where ``draw`` writes it; ``-`` is standard input.
        drawn: How ``draw`` makes the variants; None if they are a file of the user.
        reference: The reference of the set.
        columns: Names of columns of a table, by role: contig, pos, ref and alt.
        filters: Which alleles to score.
        regions: Regions to read through the file's index, or None for the whole file.
        saturate: Changes to make at every position of a BED's regions.
        haplotype_of: The haplotype in whose genome they are made; None for the reference.
        samples: The samples whose genotypes a later step reads; None if it reads none.
        shards: Number of shards.
        max_ref_mismatch_share: Share of REF mismatches above which the run stops.
    """

    variant_set: str
    variants: Path
    drawn: DrawSettings | None
    reference: ReferenceSettings
    columns: Mapping[str, str]
    filters: FilterConfig
    regions: tuple[str, ...] | None
    saturate: tuple[Literal["snv", "deletion", "insertion", "codon"], ...]
    haplotype_of: HaplotypeOfSettings | None
    samples: Samples | None
    shards: int
    max_ref_mismatch_share: float

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {
            # Only if it is set: a config without the key has the triggers that it had before.
            **({"columns": self.columns} if self.columns else {}),
            # What lists and regions mean depends on the contigs that are found.
            "contig_aliases": self.reference.contig_aliases,
            "filters": self.filters.model_dump(mode="json"),
            **self.genome_triggers(),
            "reference": self.reference.name,
            "regions": self.regions,
            "saturate": self.saturate,
            # Its output is a folder, which looks the same with any number of shards.
            "shards": self.shards,
        }

    def genome_triggers(self) -> dict[str, object]:
        """The haplotype in whose genome changes are made, only if it is set."""
        return {} if self.haplotype_of is None else {"haplotype_of": self.haplotype_of.triggers()}


def _rows_of(split: SplitSettings) -> dict[str, object]:
    """What shapes the rows of a step that reads the variants again.

    The records and their alleles are those of ``split``, whatever is filtered.
    """
    triggers = split.triggers()
    return {key: triggers[key] for key in triggers if key not in ("filters", "shards")}


@dataclass(frozen=True, slots=True)
class CarrySettings:
    """What ``carry`` needs.

    Attributes:
        split: How ``split`` reads the variants.
        carried: INFO fields, FORMAT fields or columns to copy to the table.
        asked_types: Types that the config asks for, by field.
        numbers: Fields that evaluation reads as numbers.
        evaluated: Fields that evaluation reads, by the key of the set that names each.
    """

    split: SplitSettings
    carried: tuple[str, ...]
    asked_types: AskedTypes
    numbers: frozenset[str]
    evaluated: Mapping[str, str]

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        types = {"types": self.asked_types} if self.asked_types else {}
        return {
            **_rows_of(self.split),
            **types,
            "carry": self.carried,
            "numbers": sorted(self.numbers),
        }


@dataclass(frozen=True, slots=True)
class AnnotateSettings:
    """What ``annotate`` needs.

    Attributes:
        split: How ``split`` reads the variants.
        gff: The genes of the reference, or None.
        genetic_codes: NCBI's translation table of contigs that do not use the standard one.
        consequence_from: INFO field of the input with the consequences, or None.
        identifiers: Kinds of identifiers of each allele.
    """

    split: SplitSettings
    gff: Path | None
    genetic_codes: Mapping[str, int]
    consequence_from: ConsequenceField | None
    identifiers: tuple[IdentifierKind, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that ``annotate`` makes; none if the set needs no such job."""
        has_consequences = self.gff is not None or self.consequence_from is not None
        return (
            *(CONSEQUENCE_COLUMNS if has_consequences else ()),
            *(name for kind, name in IDENTIFIER_COLUMNS.items() if kind in self.identifiers),
        )

    @property
    def source(self) -> str:
        """Where the consequences come from, as the config spells it; empty without consequences."""
        if self.consequence_from is not None:
            return f"INFO field {self.consequence_from} of the variants"
        if self.gff is None:
            return ""
        codes = ", ".join(f"{contig}: {code}" for contig, code in self.genetic_codes.items())
        return f"{as_written(self.gff)}; genetic codes: {codes or 'standard'}"

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {
            **_rows_of(self.split),
            "circular_contigs": self.split.reference.circular_contigs,
            "columns_made": self.columns,
            "consequence_from": self.consequence_from,
            "genetic_codes": self.genetic_codes,
        }


@dataclass(frozen=True, slots=True)
class WindowsSettings:
    """What ``windows`` needs.

    Attributes:
        reference: The reference of the variant set.
        scoring: The windows.
        split: What ``split`` must have made the shards with.
    """

    reference: ReferenceSettings
    scoring: ScoringSettings
    split: SplitSettings

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {
            "circular_contigs": self.reference.circular_contigs,
            "contig_aliases": self.reference.contig_aliases,
            **self.split.genome_triggers(),
            **asdict(self.scoring),
        }


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """What ``score`` needs.

    Attributes:
        name: Of the scoring, for messages.
        scoring: The windows and what is scored of them.
        model: The model.
        run: Settings of the work itself; they change no score.
    """

    name: str
    scoring: ScoringSettings
    model: ModelSettings
    run: RunSettings

    def without_horizon(self) -> "ScoreSettings":
        """The same settings for whole windows."""
        return replace(self, scoring=replace(self.scoring, horizon=None))

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {**self.model.triggers(), **asdict(self.scoring)}


@dataclass(frozen=True, slots=True)
class IdentifySettings:
    """What ``identify`` needs.

    Attributes:
        model: The model.
        store: Folder of the store; None if the config has none any more.
    """

    model: ModelSettings
    store: Path | None

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return self.model.triggers()


@dataclass(frozen=True, slots=True)
class LookupSettings:
    """What ``lookup`` needs.

    Attributes:
        score: What ``score`` gets: the model, the windows, and the store (``run.store``), which is
            None if the config has none any more.
        windows: What ``windows`` must have made its files with.
    """

    score: ScoreSettings
    windows: WindowsSettings

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes. Another store is not among it."""
        return self.score.triggers()


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What ``audit`` needs.

    Attributes:
        share: Share of the alleles that are scored with whole windows too.
        windows: What ``windows`` must have made its files with.
    """

    share: float
    windows: WindowsSettings

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {"audit": self.share}


@dataclass(frozen=True, slots=True)
class ReadOutSettings:
    """What ``score_readouts`` needs.

    Attributes:
        score: The model, the windows and how the work is done, as ``score`` gets them.
        readouts: Names of the read-outs to make besides the scores.
        embeddings: The layers and tokens of the embeddings, or None.
        profile: Number of tokens of the profiles, or None.
    """

    score: ScoreSettings
    readouts: tuple[str, ...]
    embeddings: EmbeddingsConfig | None
    profile: int | None

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes.

        The data type of the embeddings is not among it: ``merge_embeddings`` makes it.
        """
        made: dict[str, object] = {}
        if self.embeddings is not None:
            made["embeddings"] = {
                "keep_strands": self.embeddings.keep_strands,
                "layers": sorted(self.embeddings.layers),
                "tokens": self.embeddings.tokens,
            }
        if self.profile is not None:
            made["profile"] = self.profile
        return {**self.score.triggers(), "readouts": self.readouts, **made}


@dataclass(frozen=True, slots=True)
class MergeAuditSettings:
    """What ``merge_audit`` needs.

    Attributes:
        audit: What ``audit`` must have made its files with.
        score: What ``score_readouts`` must have made its files with.
        allow_mixed_devices: Whether shards of different kinds of devices become one table.
    """

    audit: AuditSettings
    score: ScoreSettings
    allow_mixed_devices: bool

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {**self.audit.triggers(), "model": self.score.model.name}


@dataclass(frozen=True, slots=True)
class HaplotypeSettings:
    """What ``haplotypes`` needs.

    Attributes:
        samples: Names of the samples; None for all samples of the file.
        compound_distance: Most unchanged bases between neighbours of a compound.
        codons: The genes of the reference, if alleles of one codon are a compound instead.
        windows: What ``windows`` must have made its files with.
    """

    samples: tuple[str, ...] | None
    compound_distance: int
    codons: Path | None
    windows: WindowsSettings

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        # In alphabetical order, like the rows.
        samples = ALL_SAMPLES if self.samples is None else sorted(self.samples)
        near = (
            {"compound_distance": self.compound_distance}
            if self.codons is None
            else {"by": "codon"}
        )
        return {**near, "samples": samples}


@dataclass(frozen=True, slots=True)
class MergeHaplotypesSettings:
    """What ``merge_haplotypes`` needs.

    Attributes:
        haplotypes: What ``haplotypes`` must have made its files with.
        score: What ``score_haplotypes`` must have made its files with.
        annotate: The genes for the joint consequences.
        allow_mixed_devices: Whether shards of different kinds of devices become one table.
    """

    haplotypes: HaplotypeSettings
    score: ScoreSettings
    annotate: AnnotateSettings
    allow_mixed_devices: bool

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        codes = {} if self.annotate.gff is None else {"genetic_codes": self.annotate.genetic_codes}
        return {**self.haplotypes.triggers(), **codes, "model": self.score.model.name}


@dataclass(frozen=True, slots=True)
class MergeSettings:
    """What ``merge`` needs.

    Attributes:
        sort_by_position: The reference whose contigs give the order of the rows; None keeps the
            order of the input.
        allow_mixed_devices: Whether shards of different kinds of devices become one table.
        split: What ``split`` must have made the shards with.
        carry: What ``carry`` must have made the carried columns with.
        annotate: What ``annotate`` must have made its columns with.
        windows: What ``windows`` must have made its files with.
        score: What ``score`` must have made its files with.
        audit: What ``merge_audit`` must have made its table with; None without an audit.

    ``score.run.store`` is the store, or None.
    """

    sort_by_position: ReferenceSettings | None
    allow_mixed_devices: bool
    split: SplitSettings
    carry: CarrySettings
    annotate: AnnotateSettings
    windows: WindowsSettings
    score: ScoreSettings
    audit: AuditSettings | None

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {
            "model": self.score.model.name,
            "sort_by_position": self.sort_by_position is not None,
        }


@dataclass(frozen=True, slots=True)
class FitCalibrationSettings:
    """What ``fit_calibration`` needs.

    Attributes:
        name: Of the calibration.
        score: The score to read.
        harmful: Whether low or high scores are harmful.
        background: The background as the config names it, a variant set or a path; or None.
        by: Columns whose values divide the background.
        labelled: The variant set with the labels; None without labels.
        field: The field of the label; None without labels.
        label: How to read the field; None without labels.
        prior: Share of harmful variants among those that the evidence is for.
        reference: The reference whose bases make the trinucleotides, and on whose circular contigs
            labelled variants may be; None if it is not needed.
    """

    name: str
    score: Literal["llr", "llr_aligned"]
    harmful: Literal["low", "high"]
    background: str | None
    by: tuple[str, ...]
    labelled: str | None
    field: str | None
    label: LabelConfig | None
    prior: float
    reference: ReferenceSettings | None

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        labels: dict[str, object] = {}
        if self.label is not None:
            labels = {
                "field": self.field,
                "label": self.label.model_dump(mode="json"),
                "prior": self.prior,
            }
        return {
            "background": self.background,
            "by": self.by,
            "harmful": self.harmful,
            "labelled": self.labelled,
            "score": self.score,
            **labels,
        }


@dataclass(frozen=True, slots=True)
class CalibrationSource:
    """Where a calibration of a scoring is.

    Attributes:
        name: Of the calibration.
        scoring: Name of the scoring.
        fit: What ``fit_calibration`` must have made it with; None if it is of an earlier run.
        file: The ``calibration.parquet`` of an earlier run; None if this run makes it.
    """

    name: str
    scoring: str
    fit: FitCalibrationSettings | None
    file: Path | None

    def find(self, folder: Path) -> Path:
        """The file of the calibration.

        Args:
            folder: Folder of the calibrations of this run, with a folder for each.
        """
        return folder / self.name / self.scoring / CALIBRATION if self.file is None else self.file


@dataclass(frozen=True, slots=True)
class CalibrateSettings:
    """What ``calibrate`` needs.

    Attributes:
        variant_set: Name of the variant set.
        scoring: Name of the scoring.
        calibrations: The calibrations that the variant set names, in their order.
        reference: The reference of the set, for the trinucleotides.
    """

    variant_set: str
    scoring: str
    calibrations: tuple[CalibrationSource, ...]
    reference: ReferenceSettings

    def find(self, folder: Path) -> dict[str, Path]:
        """The file of each calibration by name; see :meth:`CalibrationSource.find`."""
        return {one.name: one.find(folder) for one in self.calibrations}

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes; other changes make new calibrations."""
        return {"calibrations": [one.name for one in self.calibrations]}


@dataclass(frozen=True, slots=True)
class CombineSettings:
    """What ``combine`` needs.

    Attributes:
        name: Of the combination.
        variant_set: Name of the variant set.
        scorings: Names of its scorings.
        score: The score of which the ensembles are made.
        ensembles: Columns to add to those of the scorings.
    """

    name: str
    variant_set: str
    scorings: tuple[str, ...]
    score: Literal["llr", "llr_aligned"]
    ensembles: tuple[Ensemble, ...]

    def find(self, folder: Path) -> dict[str, Path]:
        """The table of each scoring by name.

        Args:
            folder: Folder of the variant set, with a folder for each scoring.
        """
        return {scoring: folder / scoring / TABLE for scoring in self.scorings}

    def triggers(self) -> dict[str, object]:
        """What runs the step again if it changes."""
        return {"ensembles": self.ensembles, "score": self.score, "scorings": self.scorings}


@dataclass(frozen=True, slots=True)
class PlannedScoring:
    """A scoring of a variant set as ``plan`` needs it: the slices of the steps that do the work.

    Attributes:
        split: How ``split`` reads the variants.
        windows: How ``windows`` places the windows.
        score: The model, the windows, and the store.
        audit: The audit; None without one.
        haplotypes: The haplotypes; None if the set does not ask for them.
        readouts: The embeddings and profiles, with what makes them.
        results: Folder of the results.
    """

    split: SplitSettings
    windows: WindowsSettings
    score: ScoreSettings
    audit: AuditSettings | None
    haplotypes: HaplotypeSettings | None
    readouts: ReadOutSettings
    results: Path


@dataclass(frozen=True, slots=True)
class StoredSettings:
    """What ``store lookup`` needs of a config.

    Attributes:
        scorings: The scorings whose scores are looked up.
        reference: The reference that the alleles refer to.
        store: Folder of the score store of the config; None if it has none.
    """

    scorings: tuple[ScoreSettings, ...]
    reference: ReferenceSettings
    store: Path | None


def find_draw(config: RunConfig, variant_set: str) -> DrawSettings | None:
    """The settings of ``draw``; None if the variant set has a file of variants.

    Raises:
        InputError: The config has no such variant set.
    """
    settings = _find_variant_set(config, variant_set)
    drawn = settings.random_snvs
    if drawn is None:
        return None
    return DrawSettings(
        variant_set=variant_set,
        reference=resolve_reference(config, settings.reference),
        number=drawn.number,
        seed=drawn.seed,
        contigs=drawn.contigs,
        regions=None if drawn.regions is None else local_copy(drawn.regions),
    )


def resolve_draw(config: RunConfig, variant_set: str) -> DrawSettings:
    """The settings of ``draw``.

    Raises:
        InputError: The config has no such variant set, or the set has no ``random_snvs``.
    """
    found = find_draw(config, variant_set)
    if found is None:
        raise InputError(
            f"config: variant_sets.{variant_set}: has no `random_snvs`. Add the key, for example "
            "`random_snvs: {number: 10000, seed: 1}`."
        )
    return found


def resolve_split(config: RunConfig, variant_set: str) -> SplitSettings:
    """The settings of ``split``.

    Raises:
        InputError: The config has no such variant set.
    """
    settings = _find_variant_set(config, variant_set)
    return SplitSettings(
        variant_set=variant_set,
        variants=local_copy(settings.variants or config.output / variant_set / RANDOM_SNVS),
        drawn=find_draw(config, variant_set),
        reference=resolve_reference(config, settings.reference),
        columns=settings.columns.named,
        filters=settings.filters,
        regions=settings.regions,
        saturate=settings.saturate,
        haplotype_of=_find_haplotype_of(settings),
        samples=_find_samples(settings),
        shards=config.shards,
        max_ref_mismatch_share=settings.max_ref_mismatch_share,
    )


def _find_haplotype_of(settings: VariantSetConfig) -> HaplotypeOfSettings | None:
    asked = settings.haplotype_of
    if asked is None:
        return None
    return HaplotypeOfSettings(
        written=asked.variants,
        variants=local_copy(asked.variants),
        sample=asked.sample,
        haplotype=asked.haplotype,
    )


def _find_samples(settings: VariantSetConfig) -> Samples | None:
    """The samples that ``haplotypes`` names."""
    asked = settings.haplotypes
    if asked is None:
        return None
    return Samples(None if isinstance(asked.samples, str) else asked.samples)


def resolve_carry(config: RunConfig, variant_set: str) -> CarrySettings:
    """The settings of ``carry``.

    Raises:
        InputError: The config has no such variant set.
    """
    settings = _find_variant_set(config, variant_set)
    made = resolve_annotate(config, variant_set).columns
    return CarrySettings(
        split=resolve_split(config, variant_set),
        carried=tuple(name for name in settings.carried if name not in made),
        asked_types=settings.asked_types,
        numbers=settings.numbers.difference(made),
        evaluated={key: name for key, name in settings.evaluated.items() if name not in made},
    )


def resolve_annotate(config: RunConfig, variant_set: str) -> AnnotateSettings:
    """The settings of ``annotate``.

    Raises:
        InputError: The config has no such variant set.
    """
    settings = _find_variant_set(config, variant_set)
    reference = config.references[settings.reference]
    return AnnotateSettings(
        split=resolve_split(config, variant_set),
        gff=None if reference.gff is None else local_copy(reference.gff),
        genetic_codes=reference.genetic_codes,
        consequence_from=settings.consequence_from,
        identifiers=settings.identifiers,
    )


def resolve_windows(config: RunConfig, variant_set: str, scoring: str) -> WindowsSettings:
    """The settings of ``windows``.

    Raises:
        InputError: The config has no such variant set or scoring.
    """
    settings = _find_variant_set(config, variant_set)
    return WindowsSettings(
        reference=resolve_reference(config, settings.reference),
        scoring=resolve_scoring(_find_scoring(config, scoring)),
        split=resolve_split(config, variant_set),
    )


def resolve_score(config: RunConfig, scoring: str) -> ScoreSettings:
    """The settings of ``score``.

    Raises:
        InputError: The config has no such scoring.
    """
    settings = _find_scoring(config, scoring)
    name = settings.model
    return ScoreSettings(
        name=scoring,
        scoring=resolve_scoring(settings),
        model=resolve_model(f"models.{name}", name, config.models[name]),
        run=config.run,
    )


def resolve_identify(config: RunConfig, model: str) -> IdentifySettings:
    """The settings of ``identify``.

    Raises:
        InputError: The config has no such model.
    """
    for key, problem in unknown_name("--model", model, "models", config.models):
        raise InputError(f"config: {key}: {problem}")
    return IdentifySettings(
        model=resolve_model(f"models.{model}", model, config.models[model]),
        store=config.run.store,
    )


def resolve_lookup(config: RunConfig, variant_set: str, scoring: str) -> LookupSettings:
    """The settings of ``lookup``.

    Raises:
        InputError: The config has no such variant set or scoring.
    """
    return LookupSettings(
        score=resolve_score(config, scoring),
        windows=resolve_windows(config, variant_set, scoring),
    )


def resolve_merge(config: RunConfig, variant_set: str, scoring: str) -> MergeSettings:
    """The settings of ``merge``.

    Raises:
        InputError: The config has no such variant set or scoring.
    """
    settings = _find_variant_set(config, variant_set)
    order = resolve_reference(config, settings.reference) if settings.sort_by_position else None
    return MergeSettings(
        sort_by_position=order,
        allow_mixed_devices=config.run.allow_mixed_devices,
        split=resolve_split(config, variant_set),
        carry=resolve_carry(config, variant_set),
        annotate=resolve_annotate(config, variant_set),
        windows=resolve_windows(config, variant_set, scoring),
        score=resolve_score(config, scoring),
        audit=find_audit(config, variant_set, scoring),
    )


def find_audit(config: RunConfig, variant_set: str, scoring: str) -> AuditSettings | None:
    """The settings of ``audit``; None if the scoring has no audit.

    Raises:
        InputError: The config has no such variant set or scoring.
    """
    share = _find_scoring(config, scoring).audit
    if share is None:
        return None
    return AuditSettings(share, resolve_windows(config, variant_set, scoring))


def resolve_audit(config: RunConfig, variant_set: str, scoring: str) -> AuditSettings:
    """The settings of ``audit``.

    Raises:
        InputError: The config has no such variant set or scoring, or the scoring has no audit.
    """
    found = find_audit(config, variant_set, scoring)
    if found is None:
        raise InputError(
            f"config: scorings.{scoring}: has no `audit`. Add the key, for example `audit: 0.01`."
        )
    return found


def list_readouts(scoring: ScoringConfig) -> tuple[str, ...]:
    """Names of the read-outs that a scoring makes besides its scores."""
    names = ("audit", "embeddings", "profile")
    return tuple(name for name in names if getattr(scoring, name) is not None)


def resolve_readouts(config: RunConfig, scoring: str) -> ReadOutSettings:
    """The settings of ``score_readouts``.

    A scoring may have no read-out any more: the step that has made its scores makes them again.

    Raises:
        InputError: The config has no such scoring.
    """
    settings = _find_scoring(config, scoring)
    return ReadOutSettings(
        resolve_score(config, scoring),
        list_readouts(settings),
        settings.embeddings,
        settings.profile,
    )


def resolve_merge_audit(config: RunConfig, variant_set: str, scoring: str) -> MergeAuditSettings:
    """The settings of ``merge_audit``.

    Raises:
        InputError: The config has no such variant set or scoring, or the scoring has no audit.
    """
    return MergeAuditSettings(
        audit=resolve_audit(config, variant_set, scoring),
        score=resolve_score(config, scoring),
        allow_mixed_devices=config.run.allow_mixed_devices,
    )


def find_haplotypes(config: RunConfig, variant_set: str, scoring: str) -> HaplotypeSettings | None:
    """The settings of ``haplotypes``; None if the variant set does not ask for them.

    Raises:
        InputError: The config has no such variant set or scoring.
    """
    settings = _find_variant_set(config, variant_set)
    asked = settings.haplotypes
    if asked is None:
        return None
    gff = resolve_annotate(config, variant_set).gff
    return HaplotypeSettings(
        samples=None if isinstance(asked.samples, str) else asked.samples,
        compound_distance=asked.compound_distance,
        codons=gff if asked.by == "codon" else None,
        windows=resolve_windows(config, variant_set, scoring),
    )


def resolve_haplotypes(config: RunConfig, variant_set: str, scoring: str) -> HaplotypeSettings:
    """The settings of ``haplotypes``.

    Raises:
        InputError: The config has no such variant set or scoring, or the set no ``haplotypes``.
    """
    found = find_haplotypes(config, variant_set, scoring)
    if found is None:
        raise InputError(
            f"config: variant_sets.{variant_set}: has no `haplotypes`. Add the key, for example "
            "`haplotypes: {samples: all}`."
        )
    return found


def resolve_merge_haplotypes(
    config: RunConfig, variant_set: str, scoring: str
) -> MergeHaplotypesSettings:
    """The settings of ``merge_haplotypes``.

    Raises:
        InputError: The config has no such variant set or scoring, or the set no ``haplotypes``.
    """
    return MergeHaplotypesSettings(
        haplotypes=resolve_haplotypes(config, variant_set, scoring),
        score=resolve_score(config, scoring),
        annotate=resolve_annotate(config, variant_set),
        allow_mixed_devices=config.run.allow_mixed_devices,
    )


def resolve_fit_calibration(
    config: RunConfig, calibration: str, scoring: str | None = None
) -> FitCalibrationSettings:
    """The settings of ``fit_calibration``, which are those of all scorings.

    Args:
        config: The config.
        calibration: Name of the calibration.
        scoring: Name of a scoring that the config must have.

    Raises:
        InputError: The config has no such calibration or scoring, or the calibration is a file of
            an earlier run.
    """
    settings = _find_calibration(config, calibration)
    if scoring is not None:
        _find_scoring(config, scoring)
    if settings.file is not None:
        raise InputError(
            f"config: calibrations.{calibration}: is a file of an earlier run ({settings.file}), "
            "so there is nothing to fit. Remove `file` and name a `background`, or `set` and "
            "`label`."
        )
    reference = None
    if TRINUCLEOTIDE in settings.by or _has_labels_on_circles(config, calibration):
        reference = resolve_reference(config, _reference_of(config, calibration))
    return FitCalibrationSettings(
        name=calibration,
        score=settings.score,
        harmful=settings.harmful,
        background=None if settings.background is None else as_written(settings.background),
        by=settings.by,
        labelled=settings.set,
        field=settings.label,
        label=(
            config.variant_sets[settings.set].labels[settings.label]
            if settings.set is not None and settings.label is not None
            else None
        ),
        prior=settings.prior,
        reference=reference,
    )


def _has_labels_on_circles(config: RunConfig, calibration: str) -> bool:
    """Whether labelled variants may be on a circular contig."""
    labelled = config.calibrations[calibration].set
    if labelled is None:
        return False
    return bool(config.references[config.variant_sets[labelled].reference].circular_contigs)


def background_set(config: RunConfig, calibration: str) -> str | None:
    """The variant set of this run that is the background of a calibration; None if none is."""
    background = config.calibrations[calibration].background
    name = None if background is None else str(background)
    return name if name in config.variant_sets else None


def source_sets(config: RunConfig, calibration: str) -> list[str]:
    """The variant sets of this run that a calibration is made from."""
    named = [background_set(config, calibration), config.calibrations[calibration].set]
    return [name for name in dict.fromkeys(named) if name and name in config.variant_sets]


def sets_of_calibration(config: RunConfig, calibration: str) -> list[str]:
    """The variant sets of this run that a calibration is made from or used for."""
    named = source_sets(config, calibration)
    named += [name for name, one in config.variant_sets.items() if calibration in one.calibrations]
    return list(dict.fromkeys(named))


def _reference_of(config: RunConfig, calibration: str) -> str:
    """The reference of the sets that a calibration is made from or used for; they have the same.

    Raises:
        InputError: There is no such set.
    """
    for name in sets_of_calibration(config, calibration):
        return config.variant_sets[name].reference
    raise InputError(
        f"config: calibrations.{calibration}: `by` names {TRINUCLEOTIDE}, which needs a reference. "
        f"Name the calibration in the `calibrations` of a variant set, whose reference is read."
    )


def resolve_calibrate(config: RunConfig, variant_set: str, scoring: str) -> CalibrateSettings:
    """The settings of ``calibrate``.

    Raises:
        InputError: The config has no such variant set or scoring, or the set no calibration.
    """
    settings = _find_variant_set(config, variant_set)
    _find_scoring(config, scoring)
    if not settings.calibrations:
        raise InputError(
            f"config: variant_sets.{variant_set}: has no `calibrations`. Add the key, for example "
            "`calibrations: [NAME]`, with a name under the top-level key `calibrations`."
        )
    return CalibrateSettings(
        variant_set=variant_set,
        scoring=scoring,
        calibrations=tuple(_find_source(config, name, scoring) for name in settings.calibrations),
        reference=resolve_reference(config, settings.reference),
    )


def _find_source(config: RunConfig, calibration: str, scoring: str) -> CalibrationSource:
    file = config.calibrations[calibration].file
    if file is None:
        fit = resolve_fit_calibration(config, calibration)
        return CalibrationSource(calibration, scoring, fit=fit, file=None)
    found = local_copy(path_of_scoring(file, scoring))
    return CalibrationSource(calibration, scoring, fit=None, file=found)


def path_of_scoring(path: Path, scoring: str) -> Path:
    """A path of a calibration, with the name of the scoring in the place of ``{scoring}``."""
    return Path(str(path).replace(SCORING_MARK, scoring))


def resolve_combine(config: RunConfig, combination: str) -> CombineSettings:
    """The settings of ``combine``.

    Raises:
        InputError: The config has no such combination.
    """
    for key, problem in unknown_name("--combination", combination, "combine", config.combine):
        raise InputError(f"config: {key}: {problem}")
    settings = config.combine[combination]
    return CombineSettings(
        name=combination,
        variant_set=settings.variant_set,
        scorings=settings.scorings,
        score=settings.score,
        ensembles=settings.ensembles,
    )


def resolve_plan(config: RunConfig) -> list[PlannedScoring]:
    """The settings of ``plan``: each scoring of each variant set."""
    return [
        resolve_scoring_of(config, variant_set, scoring)
        for variant_set, settings in config.variant_sets.items()
        for scoring in settings.scorings
    ]


def resolve_scoring_of(config: RunConfig, variant_set: str, scoring: str) -> PlannedScoring:
    """The settings of a scoring of a variant set, for ``plan`` and ``horizon``.

    Raises:
        InputError: The config has no such variant set or scoring.
    """
    return PlannedScoring(
        resolve_split(config, variant_set),
        resolve_windows(config, variant_set, scoring),
        resolve_score(config, scoring),
        find_audit(config, variant_set, scoring),
        find_haplotypes(config, variant_set, scoring),
        resolve_readouts(config, scoring),
        config.output,
    )


def resolve_stored(
    config: RunConfig | None, scorings: Sequence[str], model: str | None, fasta: Path | None
) -> StoredSettings | None:
    """The settings of ``store lookup``; None without a config.

    Args:
        config: The config.
        scorings: Names of scorings of the config; all if none is named.
        model: Name of the model of the config whose scorings to take; all if it is None.
        fasta: The FASTA that the command names, if any.

    Raises:
        InputError: The config has no such scoring, or has several references and ``fasta`` does not
            tell which is meant.
    """
    if config is None:
        if scorings:
            raise InputError(
                "--scoring: is the name of a scoring of a config. Name it by --config."
            )
        return None
    if model is not None:
        for key, problem in unknown_name("--model", model, "models", config.models):
            raise InputError(f"config: {key}: {problem}")
    chosen = [
        name
        for name in scorings or config.scorings
        if model in (None, _find_scoring(config, name).model)
    ]
    if not chosen:
        raise InputError(f"config: --model: no such scoring is of the model {model!r}.")
    return StoredSettings(
        scorings=tuple(resolve_score(config, name) for name in chosen),
        reference=_find_reference(config, chosen, fasta),
        store=config.run.store,
    )


def _find_reference(
    config: RunConfig, scorings: Sequence[str], fasta: Path | None
) -> ReferenceSettings:
    """The reference with a FASTA, or the one that all variant sets of some scorings have."""
    if fasta is not None:
        for name, reference in config.references.items():
            if reference.fasta == fasta:
                return resolve_reference(config, name)
        return ReferenceSettings("--fasta", fasta, (), {}, None, config.output)
    used = [
        one.reference
        for one in config.variant_sets.values()
        if not {*one.scorings}.isdisjoint(scorings)
    ]
    names = list(dict.fromkeys(used or config.references))
    if len(names) > 1:
        files = ", ".join(str(config.references[name].fasta) for name in names)
        raise InputError(
            f"config: has several references, {', '.join(names)}. Name by --fasta the one that the "
            f"alleles refer to: {files}."
        )
    return resolve_reference(config, names[0])


def resolve_model(where: str, name: str, model: ModelConfig) -> ModelSettings:
    """The settings of a model.

    Args:
        where: What names it, for messages.
        name: Of the model in the config.
        model: As the config or the options of a command describe it.
    """
    return ModelSettings(
        where=where,
        name=name,
        written=model.checkpoint,
        checkpoint=find_checkpoint(model.checkpoint),
        model=model.model,
        config=None if model.config is None else local_copy(model.config),
        dtype=_resolve_dtype(model),
        fp8=model.fp8,
        allow_without_fp8=model.allow_without_fp8,
        gpus=_resolve_gpus(model),
    )


def find_checkpoint(written: Path) -> Path:
    """Where a checkpoint is: in the package, where `fetch` or Snakemake puts it, or as written."""
    on_hub = parse_hub_name(written)
    if on_hub is not None:
        return on_hub.folder
    return BUNDLED_CHECKPOINTS / written if is_bundled(written) else local_copy(written)


def is_bundled(written: Path) -> bool:
    """Whether a checkpoint, as the user wrote it, is one that comes with the package."""
    return len(written.parts) == 1 and (BUNDLED_CHECKPOINTS / written).is_dir()


def checkpoint_files(model: ModelSettings) -> list[Path]:
    """The files of a checkpoint; none for one that comes with the package or is to be fetched."""
    path = model.checkpoint
    is_fetched = parse_hub_name(model.written) is None or path.exists()
    if is_bundled(model.written) or not is_fetched:
        return []
    return list_checkpoint(model)


def list_checkpoint(model: ModelSettings) -> list[Path]:
    """The files of a checkpoint, also of one that comes with the package."""
    path = model.checkpoint
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in CHECKPOINT_SUFFIXES)
    elif path.suffix == ".part0":
        files = sorted(path.parent.glob(f"{glob.escape(path.stem)}.part*"))
    return files if model.config is None else [*files, model.config]


def resolve_scoring(scoring: ScoringConfig) -> ScoringSettings:
    """The settings of a scoring that shape its windows and scores."""
    values: dict[str, Any] = scoring.model_dump(exclude={"model", "audit", "embeddings", "profile"})
    tiled = scoring.window_placement == "tiled"
    values["window_step"] = resolve_window_step(scoring) if tiled else None
    values["max_allele_length"] = resolve_max_allele_length(scoring)
    return ScoringSettings(**values)


def resolve_window_step(scoring: ScoringConfig) -> int:
    """Bases from one tiled window to the next."""
    return scoring.window_length // 4 if scoring.window_step is None else scoring.window_step


def resolve_max_allele_length(scoring: ScoringConfig) -> int:
    """Longest trimmed allele that is scored, bases."""
    if scoring.max_allele_length is None:
        return scoring.window_length // 4
    return scoring.max_allele_length


def unknown_name(
    key: str, name: str, section: str, known: Mapping[str, Section]
) -> Iterator[tuple[str, str]]:
    """The key and what is wrong, if a section of the config has no such name."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        has = f"it has: {', '.join(known)}" if known else "it has no entries"
        yield key, f"`{section}` has no {name!r}; {hint}{has}"


def _find_variant_set(config: RunConfig, name: str) -> VariantSetConfig:
    for key, problem in unknown_name("--variant-set", name, "variant_sets", config.variant_sets):
        raise InputError(f"config: {key}: {problem}")
    return config.variant_sets[name]


def _find_calibration(config: RunConfig, name: str) -> CalibrationConfig:
    for key, problem in unknown_name("--calibration", name, "calibrations", config.calibrations):
        raise InputError(f"config: {key}: {problem}")
    return config.calibrations[name]


def _find_scoring(config: RunConfig, name: str) -> ScoringConfig:
    for key, problem in unknown_name("--scoring", name, "scorings", config.scorings):
        raise InputError(f"config: {key}: {problem}")
    return config.scorings[name]


def resolve_reference(config: RunConfig, name: str) -> ReferenceSettings:
    """The settings of a reference that the config has."""
    reference = config.references[name]
    report = reference.assembly_report
    return ReferenceSettings(
        name=name,
        fasta=local_copy(reference.fasta),
        circular_contigs=reference.circular_contigs,
        contig_aliases=reference.contig_aliases,
        assembly_report=None if report is None else local_copy(report),
        index_folder=config.output,
    )


def _resolve_dtype(model: ModelConfig) -> Literal["bfloat16", "float32"]:
    if model.dtype is not None:
        return model.dtype
    if is_bundled(model.checkpoint):
        return "float32"
    return "bfloat16" if _resolve_gpus(model) else "float32"


def _resolve_gpus(model: ModelConfig) -> int:
    if model.gpus is not None:
        return model.gpus
    return 0 if is_bundled(model.checkpoint) else 1
