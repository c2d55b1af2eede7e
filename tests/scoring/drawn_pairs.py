"""Pairs of windows of alleles at random places of a small genome."""

import random
from pathlib import Path

from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.window_pairs import strand_sequences
from evo2_tasks.genome.windows import WindowSettings, place_allele
from evo2_tasks.scoring.windows import WindowPair

SETTINGS = {
    "centered": WindowSettings(window_length=128),
    "begins with a token": WindowSettings(window_length=96, prepend_bos=True),
    "tiled": WindowSettings(window_length=160, window_placement="tiled", window_step=40),
    "centered, horizon": WindowSettings(window_length=128, horizon=20),
    "tiled, horizon": WindowSettings(window_length=160, window_placement="tiled", horizon=33),
}


def make_genome(folder: Path) -> Reference:
    """A line and a circle with repeats, and a circle hardly longer than a window."""
    rng = random.Random(8)
    bases = "".join(
        rng.choice(["A", "C", "AC" * 9, "ACGGT", "GATTACA", "T" * 12, "G", "N"]) for _ in range(300)
    )
    path = folder / "g.fa"
    path.write_text(f">line\n{bases[:500]}\n>circle\n{bases[50:650]}\n>small\n{bases[:140]}\n")
    return Reference(path, circular_contigs=["circle", "small"])


def draw_pairs(genome: Reference, chosen: WindowSettings, num: int, seed: int) -> list[WindowPair]:
    """SNVs, substitutions, insertions and deletions at random places, several at some of them."""
    rng = random.Random(seed)
    pairs: list[WindowPair] = []
    row = 0
    while row < num:
        contig = rng.choice(list(genome.contigs))
        length = genome.contigs[contig]
        start = rng.randrange(length)
        for _ in range(rng.choice([1, 1, 3])):
            num_ref = rng.choice([1, 1, 1, 2, 6])
            ref = genome.fetch(contig, start, min(length, start + num_ref))
            alt = "".join(rng.choices("ACGT", k=rng.choice([1, 1, 1, 2, 9])))
            if rng.random() < 0.5:  # with an anchor, as a VCF spells insertions and deletions
                alt = ref[0] + alt[1:]
            variant = Variant(row, 1, contig, start + 1, ref, alt, None)
            placed = place_allele(variant, genome, chosen)
            for strand, size in placed.sizes.items():
                sequences = strand_sequences(
                    genome.fetch,
                    placed.pair,
                    strand,
                    size.length,
                    length,
                    genome.is_circular(contig),
                )
                num_alt = len(placed.edit_alt)
                pairs.append(
                    WindowPair(row, strand, *sequences, size.prefix, placed.edit_ref, num_alt)
                )
            row += 1
    return pairs
