"""Small files whose every allele was labelled by hand, from the definitions and not from output.

Beside each file stands a table of what each allele must become, and why. A dot is a null.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import Filters, open_variants
from evo2_tasks.genome.windows import WindowSettings, place_allele

CORPUS = Path(__file__).parent.parent / "data" / "corpus"
FILES = sorted([*CORPUS.glob("*.vcf"), *CORPUS.glob("*.txt")])
NUMBERS = (
    *("window_start", "window_end"),
    *("length_fwd", "prefix_fwd", "length_rev", "prefix_rev"),
)


@dataclass
class Labels:
    """The lines above the table, which say what it is read with, and its rows."""

    given: dict[str, Any]
    rows: list[dict[str, str]]


def read_labels(path: Path) -> Labels:
    lines = path.with_suffix(".expected.tsv").read_text(encoding="utf-8").splitlines()
    above = [line[1:].split("\t", 1) for line in lines if line.startswith("#") and "\t" in line]
    table = [line.split("\t") for line in lines if not line.startswith("#")]
    given = {key: value if key == "reference" else json.loads(value) for key, value in above}
    return Labels(given, [dict(zip(table[0], cells, strict=True)) for cells in table[1:]])


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 20
    assert sum(len(read_labels(path).rows) for path in FILES) >= 300


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_allele_is_what_its_label_says(path: Path, tmp_path: Path) -> None:
    labels = read_labels(path)
    given = labels.given
    fasta = tmp_path / given["reference"]  # beside its index, which is made here
    fasta.write_bytes((CORPUS / given["reference"]).read_bytes())
    reference = Reference(
        fasta,
        circular_contigs=given.get("circular", ()),
        contig_aliases=given.get("aliases"),
    )
    settings = WindowSettings(**given["settings"])
    filters = Filters(**given.get("filters", {}))
    variants = list(open_variants(path, filters=filters, reference=reference))
    assert [(v.record, v.allele) for v in variants] == [
        (int(row["record"]), int(row["allele"])) for row in labels.rows
    ]
    wrong = []
    for variant, row in zip(variants, labels.rows, strict=True):
        placed = place_allele(variant, reference, settings)
        found = {
            "status": placed.status,
            "reason": placed.reason or ".",
            "flags": ",".join(placed.flags) or ".",
            **{name: _shown(getattr(placed, name)) for name in NUMBERS},
        }
        expected = {name: row[name] for name in found}
        if found != expected:
            wrong.append((variant, row["why"], {k: (expected[k], found[k]) for k in found}))
    assert not wrong


def _shown(number: int | None) -> str:
    return "." if number is None else str(number)
