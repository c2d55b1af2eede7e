"""Tables of scores for the tests of the store, with numbers that are drawn and not computed."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evo2_tasks.config.resolve import ScoringSettings
from evo2_tasks.genome.fasta import digest_sequences
from evo2_tasks.genome.records import SPANS_ORIGIN, Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import TO_SCORE, PlacedAllele, WindowSettings, place_allele
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import RUN, TABLE
from evo2_tasks.scoring.deltas import SCORE_NAMES
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.provenance import Provenance, make_signature, package_version
from evo2_tasks.table.schema import STRAND_SUFFIXES, final_schema
from tests.project import write_genome

SETTINGS = ScoringSettings(
    window_length=64,
    window_placement="centered",
    window_step=None,
    strands="both",
    horizon=None,
    max_allele_length=16,
    max_n_share=0.5,
    min_context=None,
    prepend_bos=False,
)

Allele = tuple[str, int, str, str]
"""Contig, position from 1, REF and ALT."""


@dataclass(frozen=True)
class DrawnTable:
    """A table with drawn scores, and what its rows are.

    Attributes:
        path: The table; its ``run.json`` is next to it.
        fasta: Its reference.
        signature: The signature of its scores.
        placed: Each allele as the run placed it, by the order of the rows.
        scores: The score columns of each row.
    """

    path: Path
    fasta: Path
    signature: dict[str, Any]
    placed: list[PlacedAllele]
    scores: list[dict[str, float | None]]


def draw_genome(rng: random.Random, lengths: Mapping[str, int]) -> dict[str, str]:
    """Sequences with repeats, in which indels can move."""
    return {
        name: "".join(rng.choice(["A", "C", "G", "T", "CACACA", "TTTT"]) for _ in range(length))[
            :length
        ]
        for name, length in lengths.items()
    }


def draw_alleles(rng: random.Random, genome: Mapping[str, str], number: int) -> list[Allele]:
    """SNVs, MNVs and indels anywhere on the genome, each written as in VCF."""
    alleles = []
    for _ in range(number):
        contig = rng.choice(list(genome))
        start = rng.randrange(len(genome[contig]))
        ref = genome[contig][start : start + rng.choice([1, 1, 1, 2, 4])]
        alt = ref
        while alt == ref:
            alt = "".join(rng.choices("ACGT", k=rng.choice([1, 1, len(ref), 3])))
        alleles.append((contig, start + 1, ref, alt))
    return alleles


def write_drawn_table(
    folder: Path,
    genome: Mapping[str, str],
    alleles: Sequence[Allele],
    *,
    circular: Iterable[str] = (),
    settings: ScoringSettings = SETTINGS,
    devices: Sequence[str] = ("H100",),
    states_reference: bool = True,
    seed: int = 0,
) -> DrawnTable:
    """Write a table of some alleles, as a run would, and its ``run.json``.

    Args:
        folder: Where to write.
        genome: The sequences.
        alleles: The rows.
        circular: Names of the circular contigs.
        settings: The settings of the scoring.
        devices: The kind of device of each shard.
        states_reference: Whether ``run.json`` states the reference, as that of this version does.
        seed: Of the scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fasta = write_genome(folder / "genome.fa", genome)
    reference = Reference(fasta, circular_contigs=circular)
    signature = make_signature(
        reference_digest=digest_sequences(reference.read_sequences()),
        scoring=asdict(settings),
        weights_digest="ab" * 32,
        dtype="float32",
        fp8="off",
        prepend_bos=settings.prepend_bos,
    )
    rows: list[dict[str, Any]] = []
    placed_alleles, scores = [], []
    for record, (contig, pos, ref, alt) in enumerate(alleles):
        spans_origin = contig in circular and pos - 1 + len(ref) > len(genome[contig])
        status = SPANS_ORIGIN if spans_origin else None
        variant = Variant(record, 1, contig, pos, ref, alt, status)
        placed = place_allele(variant, reference, WindowSettings(**asdict(settings)))
        # Two spellings of one allele have the same scores.
        rng = random.Random(f"{seed} {placed.pair}")
        numbers = {
            name + suffix: rng.gauss(0, 3) if strand in placed.sizes else None
            for strand, suffix in STRAND_SUFFIXES.items()
            for name in SCORE_NAMES
        }
        placed_alleles.append(placed)
        scores.append(numbers)
        rows.append(
            {
                "record": record,
                "allele": 1,
                "contig": contig,
                "reference_contig": placed.reference_contig,
                "pos": pos,
                "ref": ref,
                "alt": alt,
                "status": "scored" if placed.status == TO_SCORE else placed.status,
                "reason": placed.reason,
                "flags": list(placed.flags),
                "window_start": placed.window_start,
                "window_end": placed.window_end,
                **dict.fromkeys(SCORE_NAMES),
                **numbers,
            }
        )
    table = folder / TABLE
    metadata = Provenance(signature, package_version(), model="m").metadata()
    with write_table(table, final_schema(), metadata=metadata) as writer:
        names = final_schema().names
        writer.write_columns({name: [row[name] for row in rows] for name in names})
    stated = {
        "reference": {
            "name": "g",
            "digest": signature["reference"],
            "fasta": str(fasta),
            "circular_contigs": list(circular),
        }
    }
    run = {
        "alleles": len(rows),
        "table_digest": digest_file(table),
        "devices": {kind: devices.count(kind) for kind in devices},
        "shards": [],
        **(stated if states_reference else {}),
    }
    (folder / RUN).write_text(json.dumps(run))
    return DrawnTable(table, fasta, signature, placed_alleles, scores)
