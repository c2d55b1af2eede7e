"""Embeddings and profiles: their cost in time and memory, and the error of narrower data types.

Two tables and one line of JSON.

*Cost.* Neighbouring SNVs of the clinical set of `score.py` are scored on one strand, alone and with
the read-outs of `readouts`: a profile, or the embeddings of one or three layers, over `--tokens`
tokens. `time` is the CPU time divided by that of scoring alone; both take turns in one process.
`peak_mb` is the peak memory of a process of its own, which holds the model and the records of all
alleles; `records_mb` is what these records take.

*Error.* SNVs of the human mitochondrial genome, one in `--every` bases, are scored with evo2-mini
on both strands. For each layer, `float16` and `int8` are the embeddings as `merge_embeddings`
writes them, with one scale per channel for `int8`. `wrong` is how deltas must not be made: both
embeddings are narrowed to float16 first and subtracted then. `largest_stream` is the largest
absolute value of the reference embeddings, `largest` and `rms` are the errors, `cosine` is the
smallest cosine of an allele, and `correlation` is over all values. The row `profile` has the
profiles in float16; `sum` is the largest difference between their sum and `llr`, in nats.

    python benchmarks/embeddings.py
    python benchmarks/embeddings.py --quick
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from forward import SHAPES, make_model
from machine import cpu_seconds, describe_machine, print_table, significant, time_in_turn
from numpy.typing import NDArray
from score import Peak, draw_sets, make_genome, make_pairs, middle, ways

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.config.resolve import BUNDLED_CHECKPOINTS
from evo2_tasks.evo2.allocation import keep_freed_memory
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import strand_sequences
from evo2_tasks.genome.windows import WindowSettings, place_allele
from evo2_tasks.scoring.embeddings import Embeddings
from evo2_tasks.scoring.profiles import Profile
from evo2_tasks.scoring.readouts import SUMS, ReadOut
from evo2_tasks.scoring.score import score_part
from evo2_tasks.scoring.windows import WindowPair
from evo2_tasks.table.embeddings import Narrowing

ROOT = Path(__file__).parent.parent
TABLES = ["cost", "error"]
MINI = "evo2-mini"
LAYERS = {
    MINI: ("blocks.5", "blocks.3.mlp.l3", "norm"),
    "38m": ("blocks.10", "blocks.6.mlp.l3", "norm"),
}


def load(name: str) -> Evo2ForCausalLM:
    """evo2-mini, or a model with random weights."""
    if name == MINI:
        model: Evo2ForCausalLM = Evo2ForCausalLM.from_pretrained(
            BUNDLED_CHECKPOINTS / MINI, dtype=torch.float32
        )
        return model.eval()
    return make_model(SHAPES[name], torch.float32)


def readouts_of(model: str, tokens: int) -> dict[str, list[ReadOut[Any]]]:
    """The read-outs of each case."""
    return {
        "scores": [SUMS],
        "profile": [SUMS, Profile(tokens)],
        "1 layer": [SUMS, Embeddings(LAYERS[model][:1], tokens)],
        "3 layers": [SUMS, Embeddings(LAYERS[model], tokens)],
    }


def draw_pairs(args: argparse.Namespace, way: str) -> list[WindowPair]:
    """Neighbouring alleles of the clinical set."""
    with tempfile.TemporaryDirectory() as folder:
        sites = draw_sets(random.Random(2), args.window)["clinical"]
        pairs = make_pairs(make_genome(folder), sites, ways(args.window)[way])
    return middle(pairs, args.alleles if way != "horizon" else 6 * args.alleles)


def score(
    model: Evo2ForCausalLM,
    pairs: Sequence[WindowPair],
    readouts: Sequence[ReadOut[Any]],
    args: argparse.Namespace,
    way: str,
) -> Any:
    return score_part(
        model,
        pairs,
        readouts,
        batch_tokens=args.batch_tokens,
        horizon=way == "horizon",
        prepend_bos=False,
    )


def measure_memory(args: argparse.Namespace, name: str, way: str, case: str) -> int:
    """Peak memory of this process while it scores, MB."""
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    model, pairs = load(name), draw_pairs(args, way)
    peak = Peak()
    records = score(model, pairs, readouts_of(name, args.tokens)[case], args, way)
    assert records.of(SUMS)[0] is not None
    return peak.megabytes()


def measure_cost(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows of the table of costs."""
    for name in args.models:
        model = load(name)
        for way in args.ways:
            pairs = draw_pairs(args, way)
            cases = readouts_of(name, args.tokens)
            times = time_in_turn(
                {
                    case: partial(score, model, pairs, readouts, args, way)
                    for case, readouts in cases.items()
                },
                repeats=args.repeats,
                clock=cpu_seconds,
            )
            for case in cases:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    peak_mb = pool.submit(measure_memory, args, name, way, case).result()
                layers = int(case[0]) if "layer" in case else 0
                size = 2 * 4 * layers * model.config.hidden_size
                yield {
                    "model": name,
                    "way": way,
                    "alleles": len(pairs),
                    "readouts": case,
                    "alleles_per_s": significant(len(pairs) / times[case]),
                    "time": round(times[case] / times["scores"], 3),
                    "peak_mb": peak_mb,
                    "records_mb": round(len(pairs) * size / 1e6, 1),
                }


def mitochondrial_pairs(every: int, window: int) -> list[WindowPair]:
    """SNVs of the human mitochondrial genome, on both strands."""
    reference = Reference(ROOT / "data" / "rCRS.fa", circular_contigs=["MT"])
    length = reference.contigs["MT"]
    rng = random.Random(3)
    pairs: list[WindowPair] = []
    for row, start in enumerate(range(0, length, every)):
        ref = reference.fetch("MT", start, start + 1)
        if ref not in "ACGT":
            continue
        alt = rng.choice([base for base in "ACGT" if base != ref])
        variant = Variant(row, 1, "MT", start + 1, ref, alt, None)
        placed = place_allele(variant, reference, WindowSettings(window_length=window))
        assert placed.pair is not None
        for strand, size in placed.sizes.items():
            sequences = strand_sequences(
                reference.fetch, placed.pair, strand, size.length, length, circular=True
            )
            pairs.append(WindowPair(row, strand, *sequences, size.prefix, 1, 1))
    return pairs


def narrowed(values: NDArray[np.float32], dtype: str) -> dict[str, float]:
    """The error of a data type."""
    narrowing = Narrowing(dtype, np.abs(values).max(axis=0))
    narrow = narrowing.narrow(values, np.ones(len(values), dtype=bool)).astype(np.float32)
    if narrowing.scale is not None:
        narrow *= narrowing.scale
    return error_of(values, narrow)


def error_of(values: NDArray[np.float32], narrow: NDArray[np.float32]) -> dict[str, float]:
    """The error of narrower values."""
    one, other = values.astype(np.float64), narrow.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = (one * other).sum(axis=1)[norms > 0] / norms[norms > 0]
    return {
        "largest": significant(np.abs(one - other).max()),
        "rms": significant(np.sqrt(np.square(one - other).mean())),
        "relative_rms": significant(np.linalg.norm(one - other) / np.linalg.norm(one)),
        "cosine": round(float(cosines.min()), 6),
        "correlation": round(float(np.corrcoef(one.ravel(), other.ravel())[0, 1]), 6),
    }


def measure_error(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows of the table of errors."""
    model = load(MINI)
    pairs = mitochondrial_pairs(args.every, args.window)
    embeddings, profile = Embeddings((*LAYERS[MINI], "blocks.6"), args.tokens), Profile(args.window)
    records = score(model, pairs, [SUMS, embeddings, profile], args, "shared")
    found = records.of(embeddings)
    for layer in embeddings.layers:
        ref, delta = (
            np.stack([getattr(record, kind)[layer] for record in found])
            for kind in ("ref", "delta")
        )
        row = {"layer": layer, "alleles": len(found) // 2}
        row["largest_stream"] = significant(np.abs(ref).max())
        for column, values in (("ref", ref), ("delta", delta)):
            for dtype in ("float16", "int8"):
                yield row | {"column": column, "dtype": dtype} | narrowed(values, dtype)
        wrong = (ref + delta).astype(np.float16).astype(np.float32)
        wrong -= ref.astype(np.float16).astype(np.float32)
        yield row | {"column": "delta", "dtype": "wrong"} | error_of(delta, wrong)
    profiles = [record.values for record in records.of(profile)]
    narrow = [one.astype(np.float16).astype(np.float32) for one in profiles]
    sums = [
        abs(float(one.sum(dtype=np.float64)) - result.llr)
        for one, result in zip(narrow, records.of(SUMS), strict=True)
    ]
    errors = error_of(np.concatenate(profiles)[None], np.concatenate(narrow)[None])
    row = {"layer": "profile", "alleles": len(profiles) // 2, "column": "profile"}
    yield row | {"dtype": "float16"} | errors | {"sum": significant(max(sums))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--models", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--ways", nargs="+", choices=list(ways(8)), default=["shared", "horizon"])
    parser.add_argument("--window", type=int, default=2048)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--alleles", type=int, default=60, help="six times as many with a horizon")
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--batch-tokens", type=int, default=16_384)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a test run of half a minute")
    args = parser.parse_args()
    if args.quick:
        args.models, args.ways, args.window, args.every = [MINI], ["horizon"], 512, 400
        args.alleles, args.repeats = 6, 1
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    machine = describe_machine()
    tables = {"cost": measure_cost, "error": measure_error}
    done: dict[str, list[dict[str, Any]]] = {}
    for name in args.tables:
        done[name] = []
        for row in tables[name](args):
            done[name].append(row)
            print(row, file=sys.stderr)
    for rows in done.values():
        print_table(rows)
    settings = {key: value for key, value in vars(args).items() if key != "quick"}
    print(json.dumps({"benchmark": "embeddings", "machine": machine, **settings, **done}))


if __name__ == "__main__":
    main()
