"""Speed of VRS and SPDI identifiers, compared with ga4gh.vrs: a table, and a last line of JSON.

The program writes a random genome with repeats, and identifies alleles of it: with the package, and
with ga4gh.vrs on the same reader of the FASTA. Run it in the checkout: `python
benchmarks/identifiers.py`.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from ga4gh.core import ga4gh_identify
from ga4gh.vrs import models
from ga4gh.vrs.dataproxy import _DataProxy
from ga4gh.vrs.normalize import normalize
from machine import describe_machine

from evo2_tasks.genome.identifiers import MAX_SHIFT, identify
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference


class Proxy(_DataProxy):
    """The FASTA for ga4gh.vrs."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.names = {f"ga4gh:{reference.refget_accession(c)}": c for c in reference.contigs}

    def get_sequence(
        self, identifier: str, start: int | None = None, end: int | None = None
    ) -> str:
        contig = self.names[identifier]
        bounds = slice(start, end).indices(self.reference.contigs[contig])
        return self.reference.fetch(contig, *bounds[:2])

    def get_metadata(self, identifier: str) -> dict[str, object]:
        return {"length": self.reference.contigs[self.names[identifier]], "aliases": [identifier]}


def write_genome(folder: Path, *, random_bases: int, rng: random.Random) -> Path:
    """Contigs: random bases, a repeat as long as an allele may move, and one of a megabase."""
    fasta = folder / "genome.fa"
    unit = "".join(rng.choices("ACGT", k=171))  # as long as a unit of alpha satellite DNA
    contigs = {
        "random": "".join(rng.choices("ACGT", k=random_bases)),
        "repeat": (unit * (MAX_SHIFT // 171 + 1))[:MAX_SHIFT],
        "megabase": (unit * 6000)[:1_000_000],
    }
    fasta.write_text("".join(f">{name}\n{bases}\n" for name, bases in contigs.items()))
    return fasta


def make_variants(
    reference: Reference, contig: str, kind: str, number: int, rng: random.Random
) -> list[Variant]:
    """Alleles of one kind, in the order of the contig."""
    length = reference.contigs[contig]
    rows = []
    for start in sorted(rng.randrange(1, length - 200) for _ in range(number)):
        ref = reference.fetch(contig, start, start + (172 if kind == "unit" else 4))
        alts = {"snv": "T" if ref[0] != "T" else "C", "ins": ref[0] + "ACG"}
        if kind in alts:
            ref, alt = ref[0], alts[kind]
        else:
            alt = ref[0]
        rows.append(Variant(0, 1, contig, start + 1, ref, alt, None))
    return rows


def measure(run: Callable[[Variant], object], rows: Sequence[Variant]) -> float:
    """Alleles per CPU second."""
    run(rows[0])  # the accession of the contig
    started = time.process_time()
    for row in rows:
        run(row)
    return len(rows) / (time.process_time() - started)


def identify_by_library(reference: Reference, proxy: Proxy, row: Variant) -> str | None:
    assert row.contig is not None
    assert row.ref is not None
    assert row.alt is not None
    allele = models.Allele(
        location=models.SequenceLocation(
            sequenceReference=models.SequenceReference(
                refgetAccession=reference.refget_accession(row.contig)
            ),
            start=row.start,
            end=row.start + len(row.ref),
        ),
        state=models.LiteralSequenceExpression(sequence=row.alt),
    )
    return ga4gh_identify(normalize(allele, proxy))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alleles", type=int, default=20_000)
    parser.add_argument("--bases", type=int, default=100_000_000)
    args = parser.parse_args()
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        fasta = write_genome(Path(folder), random_bases=args.bases, rng=rng)
        reference = Reference(fasta)
        started = time.process_time()
        reference.refget_accession("random")
        accession_s = time.process_time() - started
        proxy = Proxy(reference)
        results = []
        for contig, kind, share in [
            ("random", "snv", 1), ("random", "ins", 1), ("random", "del", 1),
            ("repeat", "unit", 0.01), ("megabase", "unit", 0.01),
        ]:  # fmt: skip
            rows = make_variants(reference, contig, kind, int(args.alleles * share), rng)
            few = rows if share == 1 else rows[:2]
            results.append(
                {
                    "contig": contig,
                    "kind": kind,
                    "vrs": measure(lambda row: identify(row, reference, ["vrs"]), rows),
                    "both": measure(lambda row: identify(row, reference, ["vrs", "spdi"]), rows),
                    "library": measure(lambda row: identify_by_library(reference, proxy, row), few),
                }
            )
    print(f"accession of {args.bases:,} bases: {accession_s:.2f} CPU seconds")
    print("alleles per CPU second")
    print("  ".join(f"{name:>10}" for name in results[0]))
    for result in results:
        cells = [v if isinstance(v, str) else f"{v:,.1f}" for v in result.values()]
        print("  ".join(f"{cell:>10}" for cell in cells))
    described = {
        **describe_machine(),
        "ga4gh.vrs": version("ga4gh.vrs"),
        "accession_s": accession_s,
    }
    print(json.dumps({"benchmark": "identifiers", **described, "rows": results}))


if __name__ == "__main__":
    main()
