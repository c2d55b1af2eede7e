"""What the track sets of a run will take, for the command ``plan``. Without torch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evo2_tasks.config.tracks import MergeTracksSettings
from evo2_tasks.cost.memory import device_memory
from evo2_tasks.cost.shapes import ModelShape
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.tiles import Tile, lay_windows, tile_regions
from evo2_tasks.genome.track_regions import TrackRegions
from evo2_tasks.genome.window_pairs import STRANDS
from evo2_tasks.io.files import local_file
from evo2_tasks.runtime.references import open_reference


@dataclass(frozen=True, slots=True)
class TrackWork:
    """The windows of a track set.

    Attributes:
        by_status: Number of the regions with each status.
        bases: Bases in the tracks.
        windows: Windows to read, of both strands.
        tokens: Tokens of these.
    """

    by_status: Counter[str]
    bases: int
    windows: int
    tokens: int


def count_track_work(settings: MergeTracksSettings) -> TrackWork:
    """Count the windows of a track set, as if it had one shard.

    Raises:
        InputError: The regions or the reference cannot be read.
    """
    reference = open_reference(settings.tile.reference)
    with local_file(settings.tile.regions) as path:
        regions = TrackRegions(path, reference)
        by_status = Counter(region.status for region in regions)
    scoring = settings.tile.scoring
    stretches = regions.stretches()
    tilings = {
        name: lay_windows(
            reference.contigs[name],
            circular=reference.is_circular(name),
            window_length=scoring.window_length,
            min_context=scoring.min_context,
        )
        for name in stretches
    }
    bases = sum(end - start for one in stretches.values() for start, end in one)
    windows = tokens = 0
    for tile in tile_regions(stretches, tilings, STRANDS[scoring.strands]):
        windows += 1
        tokens += _count_tokens(tile, reference)
    return TrackWork(by_status, bases, windows, tokens)


def _count_tokens(tile: Tile, reference: Reference) -> int:
    start, end = tile.find_read(reference.contigs[tile.reference_contig])
    return end - start


def estimate_track_work(
    settings: MergeTracksSettings, shape: ModelShape, work: TrackWork
) -> dict[str, Any]:
    """Operations of a track set with a scoring, and memory of its jobs."""
    score = settings.score.score
    window = score.scoring.window_length
    memory = device_memory(
        shape,
        score.model.dtype,
        window_length=window,
        batch_tokens=min(score.run.batch_tokens, max(window, work.tokens)),
        segment_length=score.run.segment_length,
        num_devices=max(1, score.model.gpus),
        offload=score.run.kv_cache == "offload",
    )
    return {
        "track_set": settings.tile.track_set,
        "scoring": score.name,
        "model": score.model.name,
        "gpus": score.model.gpus,
        "parameters": shape.parameters,
        "regions": work.by_status.total(),
        "by_status": dict(work.by_status.most_common()),
        "bases": work.bases,
        "windows": work.windows,
        "tokens": work.tokens,
        "flops": work.tokens * shape.flops_per_token(window),
        "memory_mb": memory.in_mb(),
    }


def describe_regions(estimate: dict[str, Any]) -> Sequence[str]:
    """The regions and bases of an estimate as text."""
    return [
        f"{estimate['track_set']}, {estimate['scoring']}, tracks ({estimate['model']})",
        f"  regions                 {estimate['regions']:,}",
        *(f"    {name:<22}{number:,}" for name, number in estimate["by_status"].items()),
        f"  bases                   {estimate['bases']:,}",
    ]
