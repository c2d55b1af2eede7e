"""Tracks: their rate beside matrix multiplications, and the memory of the other steps.

Two tables and one line of JSON.

*Rate.* The whole human mitochondrial genome, a circular contig, goes through a model on both
strands, with the values of each base. `of_matmul` is the CPU time of the matrix multiplications of
as many tokens divided by that of the tracks. `per_base` is the number of tokens that a strand reads
for each base of the genome.

*Memory.* `tile`, the reading and writing of `score_tracks`, and `merge_tracks` run for regions of a
random genome. A stand-in for the model gives random values. Each row is a process of its own.

    python benchmarks/tracks.py
    python benchmarks/tracks.py --quick
"""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from forward import SHAPES, make_matmuls, make_model
from machine import cpu_seconds, describe_machine, print_table, significant, time_in_turn
from numpy.typing import NDArray
from score import Peak

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import BUNDLED_CHECKPOINTS
from evo2_tasks.config.tracks import resolve_merge_tracks, resolve_score_tracks, resolve_tile
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.genome.tiles import lay_windows, tile_regions
from evo2_tasks.genome.window_pairs import STRANDS, reverse_complement
from evo2_tasks.layout import TILES, TRACK_SCORES, TRACK_TABLE, TRACKS_RUN, segments_file
from evo2_tasks.runtime import scoring_jobs, track_jobs
from evo2_tasks.scoring.tracks import TrackWindow, score_windows
from evo2_tasks.steps.merge_tracks import merge_tracks
from evo2_tasks.steps.score_tracks import score_tracks
from evo2_tasks.steps.tile import tile
from evo2_tasks.table.documents import PartUsage
from evo2_tasks.table.tracks import ReadTile

ROOT = Path(__file__).parent.parent
MINI = "evo2-mini"


def load(name: str) -> Evo2ForCausalLM:
    """evo2-mini, or a model with random weights."""
    if name == MINI:
        model: Evo2ForCausalLM = Evo2ForCausalLM.from_pretrained(
            BUNDLED_CHECKPOINTS / MINI, dtype=torch.float32
        )
        return model.eval()
    return make_model(SHAPES[name], torch.float32)


def read_circle(bases: str, window: int) -> Iterator[TrackWindow]:
    """The windows of a circular contig, both strands."""
    tiling = lay_windows(len(bases), circular=True, window_length=window, min_context=None)
    for one in tile_regions({"MT": [(0, len(bases))]}, {"MT": tiling}, STRANDS["both"]):
        start, end = one.find_read(len(bases))
        text = (bases + bases)[start:end]
        if one.strand == "reverse":
            text = reverse_complement(text)
        offsets = np.concatenate([np.asarray(piece) for piece in one.list_contexts(len(bases))])
        yield TrackWindow(text.encode(), np.sort(offsets))


@torch.inference_mode()
def measure_rate(name: str, window: int, num_bases: int, batch_tokens: int) -> dict[str, Any]:
    """The rate of a model with windows of one length."""
    bases = "".join((ROOT / "data" / "rCRS.fa").read_text().splitlines()[1:])[:num_bases]
    model, windows = load(name), list(read_circle(bases, window))
    num_tokens = sum(len(one.tokens) for one in windows)
    seconds = time_in_turn(
        {
            "tracks": lambda: score_windows(
                model, windows, batch_tokens=batch_tokens, prepend_bos=False
            ),
            "matmul": make_matmuls(model, num_tokens),
        },
        repeats=1,
        clock=cpu_seconds,
    )
    return {
        "model": name,
        "window": window,
        "bases": len(bases),
        "tokens": num_tokens,
        "per_base": round(num_tokens / 2 / len(bases), 2),
        "tracks_s": significant(seconds["tracks"]),
        "tokens_per_s": significant(num_tokens / seconds["tracks"]),
        "of_matmul": round(seconds["matmul"] / seconds["tracks"], 2),
    }


class StandIn:
    """In the place of a model: random values, no arithmetic."""

    def __init__(self, *_: object) -> None:
        self._rng = np.random.default_rng(1)

    def score(
        self, part: Sequence[ReadTile], _: object
    ) -> tuple[list[NDArray[np.float32]], PartUsage]:
        """Random values of a part."""
        values = [
            self._rng.normal(size=(len(one.context), 5)).astype(np.float32) - 3 for one in part
        ]
        tokens = sum(len(one.tokens) for one in part)
        usage = PartUsage(
            alleles_tried=len(part), tokens=tokens, windows_run=len(part), tokens_run=tokens,
            wall_s=0.0, batch_tokens=tokens,
        )  # fmt: skip
        return values, usage


def make_stand_in(*_: object) -> SimpleNamespace:
    """What `open_scoring_model` gives, without a model."""
    loaded = SimpleNamespace(
        weights_digest="0" * 64, dtype="float32", fp8="off", load_s=0.0,
        devices=[torch.device("cpu")],
    )  # fmt: skip
    return SimpleNamespace(
        loaded=loaded, canaries=(), verification={}, describe_machine=lambda: _machine()
    )


def _machine() -> dict[str, Any]:
    return {"device": "cpu", "device_class": "cpu", "peak_memory_mb": 0.0}


def measure_memory(num_bases: int) -> dict[str, Any]:
    """Time and memory of the steps for so many bases, in this process."""
    scoring_jobs.open_scoring_model = make_stand_in  # type: ignore[assignment]
    track_jobs.TrackScorer = StandIn  # type: ignore[assignment,misc]
    row: dict[str, Any] = {"bases": num_bases}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generator = random.Random(1)
        with (folder / "genome.fa").open("w") as file:
            file.write(">c\n")
            for _ in range(0, num_bases, 10**5):
                file.write("".join(generator.choices("ACGT", k=10**5)) + "\n")
        size = 10**5 * len(range(0, num_bases, 10**5))
        (folder / "x.bed").write_text(f"c\t0\t{size}\n")
        config = load_config(
            {
                "references": {"g": {"fasta": str(folder / "genome.fa")}},
                "models": {"m": {"checkpoint": MINI}},
                "scorings": {"s": {"model": "m"}},
                "track_sets": {
                    "t": {"regions": str(folder / "x.bed"), "reference": "g", "scorings": ["s"]}
                },
                "output": str(folder / "results"),
            }
        )
        work = folder / "results" / "t" / "s"
        tiles, scores = work / TILES / "1-of-1.parquet", work / TRACK_SCORES / "1-of-1.parquet"
        steps = {
            "tile": lambda: tile(resolve_tile(config, "t", "s"), regions=None, out=work / TILES),
            "score_tracks": lambda: score_tracks(
                resolve_score_tracks(config, "s"), tiles_file=tiles,
                segments_file=segments_file(tiles), out=scores, threads=1,
            ),
            "merge_tracks": lambda: merge_tracks(
                resolve_merge_tracks(config, "t", "s"), tiles_folder=work / TILES,
                scores_folder=work / TRACK_SCORES, out=work / TRACK_TABLE,
                run_json=work / TRACKS_RUN,
            ),
        }  # fmt: skip
        for step, run in steps.items():
            peak, before = Peak(), cpu_seconds()
            run()
            row[f"{step}_s"] = significant(cpu_seconds() - before)
            row[f"{step}_mb"] = peak.megabytes()
        row["table_mb"] = round((work / TRACK_TABLE).stat().st_size / 1e6, 1)
    return row


def in_new_process(num_bases: int) -> dict[str, Any]:
    """Measure memory in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure_memory, num_bases).result()


def main() -> None:
    """Print the tables and the line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=[MINI, *SHAPES], default=[MINI])
    parser.add_argument("--windows", nargs="+", type=int, default=[2_048, 8_192, 16_569])
    parser.add_argument("--bases", type=int, default=16_569, help="of the genome, for the rate")
    parser.add_argument("--batch-tokens", type=int, default=16_384)
    parser.add_argument("--regions", nargs="+", type=int, default=[10**6, 10**7])
    parser.add_argument("--quick", action="store_true", help="small numbers, to try it out")
    args = parser.parse_args()
    if args.quick:
        args.windows, args.bases, args.regions = [512], 2_000, [10**5, 3 * 10**5]
    torch.set_num_threads(1)
    keep_freed_memory()
    rates = [
        measure_rate(name, window, args.bases, args.batch_tokens)
        for name in args.models
        for window in args.windows
    ]
    print_table(rates)
    memory = [in_new_process(num) for num in args.regions]
    print_table(memory)
    print(json.dumps({"machine": describe_machine(), "rate": rates, "memory": memory}))


if __name__ == "__main__":
    main()
