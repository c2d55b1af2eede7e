"""CPU time to find what generated sequences have in common with a reference: a table, and JSON.

The reference is one contig of random bases in pieces of a megabase, and so are the sequences.
Run it in the checkout: `python benchmarks/copies.py`.
"""

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np
from machine import describe_machine

from evo2_tasks.genome.copies import find_copies

PIECE = 1_000_000


def make_bases(rng: np.random.Generator, length: int) -> str:
    return np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, length)].tobytes().decode()


def make_pieces(rng: np.random.Generator, length: int) -> Iterator[str]:
    for start in range(0, length, PIECE):
        yield make_bases(rng, min(PIECE, length - start))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabases", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--sequences", type=int, default=10)
    parser.add_argument("--length", type=int, default=10_000)
    options = parser.parse_args()
    rows = []
    print("megabases    CPU s    of them making random bases    longest")
    for megabases in options.megabases:
        rng = np.random.default_rng(1)
        sequences = [make_bases(rng, options.length) for _ in range(options.sequences)]
        start = time.process_time()
        for _ in make_pieces(rng, megabases * PIECE):
            pass
        making = time.process_time() - start
        start = time.process_time()
        found = find_copies(sequences, [("contig", make_pieces(rng, megabases * PIECE))])
        taken = time.process_time() - start
        longest = max(one.length for one in found)
        print(f"{megabases:9,} {taken:8.2f} {making:28.2f} {longest:10}")
        rows.append({"megabases": megabases, "cpu_s": taken, "making_s": making})
    row = {"benchmark": "copies", **describe_machine(), "rows": rows}
    print(json.dumps(row | {"sequences": options.sequences, "length": options.length}))


if __name__ == "__main__":
    main()
