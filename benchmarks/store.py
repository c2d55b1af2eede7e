"""The score store: seconds and memory of a lookup, bytes per allele, speed of writing and merging.

The stored alleles are all three SNVs of each position of exons of 150 bases, on 24 contigs with the
lengths of human chromosomes, with windows centred on them. Two stores have the same alleles:

- `shards`: each job wrote the alleles of a slice of the genome, as a run with `--shards` shards;
- `cohorts`: each of `--cohorts` jobs wrote a random part of all alleles, so that every file of a
  contig spans it, as many small runs do.

Each store is measured as it was written and after `compact`. A lookup of `--alleles` alleles, of
which one in ten is not stored, is measured in a process of its own: *gene*, neighbouring positions
of one contig; *genome*, random positions of all contigs, a call for each contig.

The scores are random, with as many binary digits as scores of evo2-mini have. evo2-mini scores some
alleles in the same run: neighbouring SNVs with tiled windows of 8,192 bases, and the same with a
horizon of 1,024 tokens, the fastest way (`saturation`, `tiled` and `horizon` in `score.py`). All
times are CPU time of one thread.

    python benchmarks/store.py
    python benchmarks/store.py --stored 100000 --alleles 1000 --cohorts 20
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from machine import cpu_seconds, describe_machine, print_table, significant

from evo2_tasks.scoring.deltas import SCORE_NAMES
from evo2_tasks.table.store import Store
from evo2_tasks.table.store_rows import DEVICE, keys_schema, store_schema

MINI = Path(__file__).parent.parent / "evo2_tasks" / "checkpoints" / "evo2-mini"
WINDOW = 8192
CONTIG_MB = (
    *(248, 242, 198, 190, 182, 171, 159, 145, 138, 134, 135, 133),
    *(114, 107, 102, 90, 83, 80, 59, 64, 47, 51, 156, 57),
)
EXON = 150
SIGNATURE = {
    "scores_version": 1,
    "scoring": {"window_length": WINDOW, "window_placement": "centered", "horizon": None},
    "weights": "0" * 64,
    "dtype": "float32",
    "fp8": "off",
    "prepend_bos": False,
}


def contig_key(number: int) -> str:
    return f"SQ.{number:032d}"


def draw_positions(num_alleles: int) -> list[np.ndarray]:
    """Positions of the stored alleles of each contig, 0-based and sorted."""
    numbers = np.random.default_rng(1)
    positions = []
    for length in CONTIG_MB:
        num_exons = max(1, round(num_alleles * length / sum(CONTIG_MB) / EXON / 3))
        places = numbers.choice(length * 1_000_000 // EXON, num_exons, replace=False)
        exons = np.sort(places)[:, None] * EXON + np.arange(EXON)
        positions.append(exons.ravel())
    return positions


def make_keys(starts: np.ndarray, alts: np.ndarray) -> dict[str, Any]:
    """Keys of SNVs; the number of an alt is 0 to 2, and the base of the reference is A."""
    return {
        "edit_start": starts,
        "edit_ref": np.ones(len(starts), np.int32),
        "edit_alt": pa.array(["C", "G", "T"]).take(pa.array(alts)),
        "window_start": starts - WINDOW // 2,
        "window_length": np.full(len(starts), WINDOW, np.int32),
    }


def lowest_bits(values: np.ndarray) -> np.ndarray:
    """Exponents of the lowest binary digit of each value that is not 0."""
    bits = values[values != 0].view(np.int64)
    exponents = ((bits >> 52) & 0x7FF) - 1075
    mantissas = (bits & (2**52 - 1)) | 2**52
    return exponents + np.log2(mantissas & -mantissas).astype(np.int64)


class ScoreMaker:
    """Makes random scores with as many digits as real ones, for SNVs on both strands.

    Args:
        real: Scores of a model, a column for each of `SCORE_NAMES`.
    """

    def __init__(self, real: np.ndarray) -> None:
        self._numbers = np.random.default_rng(3)
        self._real = {name: real[:, i] for i, name in enumerate(SCORE_NAMES)}
        self._lowest = {name: lowest_bits(column) for name, column in self._real.items()}

    def _draw(self, name: str, num: int) -> np.ndarray:
        column = self._real[name]
        values = self._numbers.normal(column.mean(), column.std(), num)
        unit = 2.0 ** self._numbers.choice(self._lowest[name], num)
        return np.round(values / unit) * unit

    def make(self, starts: np.ndarray) -> dict[str, np.ndarray]:
        """The scores of alleles; those of a position share their reference window."""
        columns = {}
        for suffix in ("_fwd", "_rev"):
            allele, downstream = (
                self._draw(name, len(starts)) for name in ("llr_allele", "llr_downstream")
            )
            _, of_position = np.unique(starts, return_inverse=True)
            ll_ref = self._draw("ll_ref", of_position.max() + 1)[of_position]
            llr = allele + downstream
            scores = {
                "llr": llr,
                "llr_aligned": llr,
                "llr_allele": allele,
                "llr_downstream": downstream,
                "llr_end": np.zeros(len(starts)),
                "delta_score": llr / (WINDOW - 1),
                "ll_ref": ll_ref,
                "ll_alt": ll_ref + llr,
            }
            columns |= {name + suffix: scores[name] for name in SCORE_NAMES}
        return columns


def as_table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
    return pa.table(arrays, schema=schema)


def make_rows(starts: np.ndarray, alts: np.ndarray, maker: ScoreMaker) -> pa.Table:
    columns = make_keys(starts, alts) | maker.make(starts)
    columns[DEVICE] = pa.array(["cpu AVX512"] * len(starts)).dictionary_encode()
    return as_table(columns, store_schema())


def slice_genome(
    positions: Sequence[np.ndarray], num_slices: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The alleles of each slice of the genome: numbers of contig and of alleles in it."""
    num_alleles = 3 * sum(map(len, positions))
    size = -(-num_alleles // num_slices)
    for contig, starts in enumerate(positions):
        yield from (
            (contig, np.arange(first, min(first + size, 3 * len(starts))))
            for first in range(0, 3 * len(starts), size)
        )


def write_store(
    path: Path,
    jobs: Iterator[tuple[int, np.ndarray]],
    positions: Sequence[np.ndarray],
    maker: ScoreMaker,
) -> float:
    """Write a store; gives the CPU seconds of writing alone."""
    store = Store(path)
    taken = 0.0
    for contig, alleles in jobs:
        rows = make_rows(positions[contig][alleles // 3], alleles % 3, maker)
        started = cpu_seconds()
        store.write(SIGNATURE, contig_key(contig), rows)
        taken += cpu_seconds() - started
    return taken


def draw_cohorts(positions: Sequence[np.ndarray], num: int) -> Iterator[tuple[int, np.ndarray]]:
    """The alleles of jobs that each have a random part of the genome."""
    numbers = np.random.default_rng(4)
    orders = [numbers.permutation(3 * len(starts)) for starts in positions]
    for job in range(num):
        for contig, order in enumerate(orders):
            part = order[job::num]
            if len(part):
                yield contig, part


def draw_queries(
    positions: Sequence[np.ndarray], kind: str, num: int
) -> list[tuple[str, pa.Table]]:
    """The alleles of a lookup for each contig; a tenth is of a window that is not stored."""
    numbers = np.random.default_rng(5)
    if kind == "gene":
        first = len(positions[0]) // 2
        parts = {0: 3 * first + np.arange(min(num, 3 * (len(positions[0]) - first)))}
    else:
        total = np.cumsum([3 * len(starts) for starts in positions])
        drawn = np.sort(numbers.choice(total[-1], num, replace=False))
        contigs = np.searchsorted(total, drawn, side="right")
        offsets = np.concatenate([[0], total[:-1]])
        parts = {i: drawn[contigs == i] - offsets[i] for i in np.unique(contigs)}
    queries = []
    for contig, alleles in parts.items():
        columns = make_keys(positions[contig][alleles // 3], alleles % 3)
        columns["window_start"] = columns["window_start"] - (numbers.random(len(alleles)) < 0.1)
        queries.append((contig_key(contig), as_table(columns, keys_schema())))
    return queries


def look_up(path: Path, kind: str, num_stored: int, num: int) -> dict[str, Any]:
    """Measure a lookup, in a new process."""
    queries = draw_queries(draw_positions(num_stored), kind, num)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory_mb("VmRSS")
    started = cpu_seconds()
    store = Store(path)
    num_hits = 0
    for contig, alleles in queries:
        hits = store.lookup(SIGNATURE, contig, alleles, ("forward", "reverse"))
        num_hits += len(hits) - hits.column(0).null_count
    seconds = cpu_seconds() - started
    num_alleles = sum(len(alleles) for _, alleles in queries)
    assert 0.8 < num_hits / num_alleles < 0.95, num_hits
    return {
        "alleles": num_alleles,
        "cpu_s": significant(seconds),
        "alleles_per_s": significant(num_alleles / seconds),
        "peak_mb": memory_mb("VmHWM"),
        "peak_mb_of_lookup": memory_mb("VmHWM") - before,
    }


def memory_mb(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return round(int(line.split()[1]) * 1024 / 1e6)
    raise OSError(f"/proc/self/status has no {name}")


def in_new_process(call: Any, *args: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *args).result()


def compact(path: Path) -> dict[str, Any]:
    """Measure a compaction, in a new process."""
    Path("/proc/self/clear_refs").write_text("5")
    started = cpu_seconds()
    done = Store(path).compact()
    seconds = cpu_seconds() - started
    return {
        "cpu_s": significant(seconds),
        "alleles_per_s": significant(done.rows_before / seconds),
        "peak_mb": memory_mb("VmHWM"),
    }


def score_with_mini(num_windows: float) -> tuple[np.ndarray, dict[str, float]]:
    """Score alleles with evo2-mini on one strand; gives the scores, and alleles per CPU second."""
    import score as scoring  # noqa: PLC0415 (imports torch)
    import torch  # noqa: PLC0415

    from evo2_tasks import Evo2ForCausalLM  # noqa: PLC0415
    from evo2_tasks.scoring.readouts import SUMS  # noqa: PLC0415
    from evo2_tasks.scoring.score import score_part  # noqa: PLC0415

    torch.set_num_threads(1)
    model = Evo2ForCausalLM.from_pretrained(MINI).eval()
    rates, values = {}, []
    with tempfile.TemporaryDirectory() as folder:
        genome = scoring.make_genome(folder)
        sets = scoring.draw_sets(random.Random(2), WINDOW)
        for way in ("tiled", "horizon"):
            settings = scoring.ways(WINDOW)[way]
            pairs = scoring.make_pairs(genome, sets["saturation"], settings)
            some = scoring.take_slice(pairs, 2 * WINDOW, num_windows * WINDOW)
            scoring.run(model, some[:2], settings, 2 * WINDOW)  # fills caches
            started = cpu_seconds()
            records = score_part(
                model,
                some,
                [SUMS],
                batch_tokens=2 * WINDOW,
                horizon=settings.horizon is not None,
                prepend_bos=False,
            )
            rates[way] = len(some) / (cpu_seconds() - started)
            if settings.horizon is None:
                values = [
                    [getattr(one, column) for column in SCORE_NAMES] for one in records.of(SUMS)
                ]
    return np.array(values), rates


def describe_files(path: Path) -> dict[str, Any]:
    contigs = [one for signature in Store(path).describe().signatures for one in signature.contigs]
    rows, num_bytes = (sum(getattr(one, key) for one in contigs) for key in ("rows", "num_bytes"))
    return {
        "files": sum(one.files for one in contigs),
        "stored": rows,
        "bytes_per_allele": round(num_bytes / rows, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stored", type=int, default=10_000_000)
    parser.add_argument("--alleles", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--cohorts", type=int, default=100)
    parser.add_argument("--windows", type=float, default=50.0, help="windows that evo2-mini runs")
    parser.add_argument("--folder", type=Path, help="where the stores are written")
    args = parser.parse_args()
    machine = describe_machine()
    real, rates = in_new_process(score_with_mini, args.windows)
    maker = ScoreMaker(real)
    positions = draw_positions(args.stored)
    # Both strands of each allele, as the stored ones.
    mini = {name: significant(rate / 2) for name, rate in rates.items()}
    lookups, stores = [], []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for name, jobs in (
            ("shards", slice_genome(positions, args.shards)),
            ("cohorts", draw_cohorts(positions, args.cohorts)),
        ):
            path = Path(folder) / name
            seconds = write_store(path, jobs, positions, maker)
            row = {"store": name} | describe_files(path)
            row["write_alleles_per_s"] = significant(row["stored"] / seconds)
            for state in ("written", "compacted"):
                if state == "compacted":
                    done = in_new_process(compact, path)
                    row |= {f"compact_{key}": value for key, value in done.items()}
                    row |= {f"{key}_after": value for key, value in describe_files(path).items()}
                    stores.append(row)
                for kind in ("gene", "genome"):
                    case = (path, kind, args.stored, args.alleles)
                    found = in_new_process(look_up, *case)
                    for way, rate in mini.items():
                        found[f"speedup_over_{way}"] = significant(found["alleles_per_s"] / rate)
                    lookups.append({"store": name, "state": state, "kind": kind} | found)
                    print(lookups[-1], file=sys.stderr)
    print("evo2-mini, alleles per CPU second, both strands:", mini)
    print_table(stores)
    print_table(lookups)
    print(
        json.dumps(
            {
                "benchmark": "store",
                "machine": machine,
                "mini_alleles_per_s": mini,
                "stores": stores,
                "lookups": lookups,
            }
        )
    )


if __name__ == "__main__":
    main()
