"""The step ``score``: the one that needs torch, apart so that the others start without it."""

import logging
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch
import transformers

from evo2_tasks.config import (
    ModelConfig,
    RunConfig,
    checkpoint_path,
    model_dtype,
    scoring_settings,
)
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.evo2.checkpoints import (
    convert_published,
    export_published,
    load_model,
    recognise,
    weights_digest,
)
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.genome.windows import PlacedAllele, Strand, strand_sequences
from evo2_tasks.progress import Progress
from evo2_tasks.scoring.deltas import SCORE_NAMES, Score, average_strands
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair, slice_parts
from evo2_tasks.table.files import TableWriter, read_rows, write_json, write_table
from evo2_tasks.table.provenance import (
    Provenance,
    make_signature,
    make_windows_signature,
    package_version,
    read_provenance,
    require_same_signature,
)
from evo2_tasks.table.schema import scores_schema
from evo2_tasks.table.segments import Segments

logger = logging.getLogger(__name__)

STRANDS: Mapping[str, tuple[Strand, ...]] = {
    "both": ("forward", "reverse"),
    "forward": ("forward",),
    "reverse": ("reverse",),
}
SUFFIXES: Mapping[Strand, str] = {"forward": "_fwd", "reverse": "_rev"}
NEEDS_FP8 = frozenset({"evo2_1b_base", "evo2_20b", "evo2_40b", "evo2_40b_base"})
PLACEMENT_COLUMNS = tuple(PlacedAllele.__slots__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, and what a table says of it.

    Attributes:
        model: In eval mode, on its device.
        dtype: Number type of its weights.
        weights: Digest of its tensors as they were loaded.
        load_s: Seconds that it took to load.
    """

    model: Evo2ForCausalLM
    dtype: str
    weights: str
    load_s: float


def score(
    config: RunConfig,
    *,
    scoring: str,
    windows_file: Path,
    segments_file: Path,
    out: Path,
    threads: int | None,
) -> None:
    """Run the model on the windows of a shard.

    Args:
        config: The run's config.
        scoring: Name of the scoring.
        windows_file: What ``windows`` wrote.
        segments_file: The reference bases that it wrote beside.
        out: The scores, a row for each row of the windows file. A JSON file of the same stem says
            where they were computed and what it took.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: A file cannot be read, or the model cannot run as the config says.
    """
    started = time.monotonic()
    settings = config.scoring(scoring)
    placed = read_provenance(windows_file).signature
    asked = make_windows_signature(
        reference_digest=str(placed.get("reference")), scoring=scoring_settings(config, scoring)
    )
    require_same_signature(windows_file, placed, Path(f"scorings.{scoring}"), asked)
    segments = Segments(segments_file)
    if threads is not None:
        torch.set_num_threads(threads)
    loaded = open_model(settings.model, config.models[settings.model])
    signature = make_signature(
        reference_digest=asked["reference"],
        scoring=asked["scoring"],
        weights_digest=loaded.weights,
        dtype=loaded.dtype,
        fp8="off",
        prepend_bos=settings.prepend_bos,
    )
    provenance = Provenance(signature, package_version(), model=settings.model)

    strands = STRANDS[settings.strands]
    windows_run = tokens_run = 0
    with (
        write_table(out, scores_schema(), metadata=provenance.metadata()) as writer,
        Progress("score", total=count_tokens(windows_file), unit="tokens") as progress,
    ):
        rows = ScoreRows(windows_file, writer, strands)

        def count_batch(num_windows: int, num_tokens: int) -> None:
            nonlocal windows_run, tokens_run
            windows_run += num_windows
            tokens_run += num_tokens
            progress.add(num_tokens)

        pairs = read_pairs(windows_file, segments, strands)
        for part in slice_parts(pairs, config.run.part_tokens):
            before = tokens_run
            scores = score_part(
                loaded.model,
                part,
                batch_tokens=config.run.batch_tokens,
                segment_length=config.run.segment_length,
                offload=config.run.kv_cache == "offload",
                horizon=settings.horizon is not None,
                prepend_bos=settings.prepend_bos,
                on_batch=count_batch,
            )
            rows.write(part, scores)
            # Windows that several alleles share are done for all of them.
            progress.add(sum(pair.num_tokens for pair in part) - (tokens_run - before))
        rows.finish()
    wall_s = time.monotonic() - started
    write_json(
        out.with_suffix(".json"),
        {
            "windows_run": windows_run,
            "tokens_run": tokens_run,
            "wall_s": round(wall_s, 3),
            "load_s": round(loaded.load_s, 3),
            **describe_machine(loaded.model.device),
        },
    )
    logger.info("%s windows, %s tokens, %.1f s", f"{windows_run:,}", f"{tokens_run:,}", wall_s)


def open_model(name: str, settings: ModelConfig) -> LoadedModel:
    """Load a model of the config on the device that it asks for.

    Raises:
        InputError: There is no such device, the checkpoint cannot be read, or it is one whose
            scores would be wrong.
    """
    started = time.monotonic()
    device = find_device(name, settings.gpus)
    if device.type == "cpu":
        keep_freed_memory()
    dtype = model_dtype(settings)
    try:
        model = load_model(
            checkpoint_path(settings),
            dtype=getattr(torch, dtype),
            device=device,
            model=settings.model,
            config=settings.config,
        )
    except ValueError as error:
        raise InputError(f"models.{name}: {error}") from error
    release = recognise(model.config)
    if release in NEEDS_FP8:
        raise InputError(
            f"models.{name}: {settings.checkpoint} is {release}, whose projections were trained in "
            "FP8; without it its scores are near random, and FP8 is not there yet. Use a 7B model."
        )
    weights = weights_digest(model)
    load_s = time.monotonic() - started
    logger.info(
        "%s: %s parameters in %s on %s, loaded in %.1f s, torch %s",
        name,
        f"{model.num_parameters():,}",
        dtype,
        describe_device(device),
        load_s,
        torch.__version__,
    )
    return LoadedModel(model, dtype, weights, load_s)


def find_device(name: str, gpus: int) -> torch.device:
    """The device that a model's ``gpus`` asks for.

    Raises:
        InputError: A GPU is asked for and none is there.
    """
    if gpus == 0:
        return torch.device("cpu")
    device = torch.accelerator.current_accelerator(check_available=True)
    if device is None:
        raise InputError(
            f"models.{name}.gpus: {gpus} asked for, but torch {torch.__version__} sees none on "
            f"{platform.node()}. Ask the scheduler for one, or set gpus: 0 to run on the CPU."
        )
    return device


def describe_device(device: torch.device) -> str:
    """The device as people call it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Where a shard ran: what may differ between two runs of one table."""
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    described = {
        "device": describe_device(device),
        "node": platform.node(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "version": package_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peak_memory_mb": round(peak_kib * (1 if sys.platform == "darwin" else 1024) / 1e6, 1),
    }
    if device.type != "cpu":
        peak = torch.accelerator.max_memory_allocated(device)
        described["peak_device_memory_mb"] = round(peak / 1e6, 1)
    return described


def count_tokens(windows_file: Path) -> int:
    """Tokens of all windows of a shard, shared ones as often as they are asked for."""
    return sum(
        2 * (pc.sum(column).as_py() or 0)
        for batch in read_rows(windows_file, ["length_fwd", "length_rev"])
        for column in batch.columns
    )


def read_pairs(
    windows_file: Path, segments: Segments, strands: Sequence[Strand]
) -> Iterator[WindowPair]:
    """The windows of each allele and strand that is to be scored, in the order of the rows."""
    first_row = 0
    for batch in read_rows(windows_file, PLACEMENT_COLUMNS):
        columns = [batch.column(name).to_pylist() for name in PLACEMENT_COLUMNS]
        for row, values in enumerate(zip(*columns, strict=True), start=first_row):
            placed = PlacedAllele(*values)
            contig, num_ref, alt = placed.reference_contig, placed.edit_ref, placed.edit_alt
            if contig is None or num_ref is None or alt is None:
                continue
            for strand in strands:
                prefix = placed.prefix_fwd if strand == "forward" else placed.prefix_rev
                if prefix is not None:
                    ref_seq, alt_seq = strand_sequences(
                        segments.fetch, placed, strand, *segments.contigs[contig]
                    )
                    yield WindowPair(row, strand, ref_seq, alt_seq, prefix, num_ref, len(alt))
        first_row += batch.num_rows


class ScoreRows:
    """Writes a row of scores for each row of a windows file, in its order, part by part.

    Args:
        windows_file: What ``windows`` wrote.
        writer: The table of scores.
        strands: The strands asked for.
    """

    def __init__(self, windows_file: Path, writer: TableWriter, strands: Sequence[Strand]) -> None:
        self._writer = writer
        self._strands = strands
        self._rows = enumerate(
            row
            for batch in read_rows(windows_file, ["record", "allele", "status"])
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )

    def write(self, pairs: Sequence[WindowPair], scores: Sequence[Score | None]) -> None:
        """Write the rows up to the last one of a part."""
        found: dict[int, dict[str, Score | None]] = {}
        for pair, of_pair in zip(pairs, scores, strict=True):
            found.setdefault(pair.row, {})[pair.strand] = of_pair
        self._write_up_to(pairs[-1].row, found)

    def finish(self) -> None:
        """Write the rows that are left; none of them has a score."""
        self._write_up_to(sys.maxsize, {})

    def _write_up_to(self, last: int, found: dict[int, dict[str, Score | None]]) -> None:
        columns: dict[str, list[object]] = {name: [] for name in scores_schema().names}
        for row, (record, allele, status) in self._rows:
            by_strand = found.get(row, {})
            broken = None in by_strand.values()
            columns["record"].append(record)
            columns["allele"].append(allele)
            columns["status"].append("non_finite" if broken and status == "scored" else status)
            strands = {strand: by_strand.get(strand) or Score() for strand in SUFFIXES}
            mean = average_strands([strands[strand] for strand in self._strands])
            for name in SCORE_NAMES:
                columns[name].append(getattr(mean, name))
                for strand, suffix in SUFFIXES.items():
                    columns[name + suffix].append(getattr(strands[strand], name))
            if row == last:
                break
        self._writer.write_columns(columns)


def convert(source: Path, out: Path, *, model: str | None, config: Path | None) -> None:
    """Convert a published checkpoint to a folder for ``from_pretrained``, or the folder back.

    Args:
        source: A published file, or a folder.
        out: The folder, or a file that ends in ``.pt``.
        model: Release that the published file is; None finds it by name and shapes.
        config: Published ``.yml`` description of a file that is no release.

    Raises:
        InputError: The source cannot be read or is no such checkpoint.
    """
    try:
        if source.is_dir():
            export_published(source, out)
        else:
            convert_published(source, out, model=model, config=config)
    except (ValueError, OSError) as error:
        raise InputError(f"convert: {error}") from error
    logger.info("%s: converted from %s", out, source)
