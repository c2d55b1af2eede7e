"""The genome of a real phased sample, against ``bcftools consensus``."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pysam import tabix_index

from evo2_tasks.genome.haplotype_windows import haplotype_sequences
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.sample_genomes import SampleGenome
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.genome.windows import WindowSettings

DATA = Path(__file__).parents[1] / "data" / "hg004"
WINDOW = 512
CONSENSUS = """
import sys
from pysam import bcftools
fasta, haplotype, vcf = sys.argv[1:]
print("".join(bcftools.consensus("-f", fasta, "-H", haplotype, vcf).split("\\n")[1:]))
"""


@pytest.mark.parametrize("haplotype", [1, 2])
def test_windows_are_those_of_the_consensus(tmp_path: Path, haplotype: int) -> None:
    fasta = tmp_path / "reference.fa"
    shutil.copy(DATA / "reference.fasta", fasta)
    lines = (DATA / "phased.vcf").read_text().splitlines(keepends=True)
    # It applies unphased genotypes as they are written, and all of these are of one phase set.
    phased = [line for line in lines if line.startswith("#") or "|" in line.split("\t")[9]]
    assert {line.split(":")[-1] for line in phased if not line.startswith("#")} == {"10854\n"}
    (tmp_path / "phased.vcf").write_text("".join(phased))
    indexed = tabix_index(str(tmp_path / "phased.vcf"), preset="vcf", keep_original=True)
    call = [sys.executable, "-c", CONSENSUS, str(fasta), str(haplotype), indexed]
    made = subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip().upper()
    records = []
    for line in phased:
        if not line.startswith("#"):
            _, pos, _, ref, alt, *_, call_of = line.split("\t")
            carried = call_of.split(":")[0].split("|")[haplotype - 1] == "1"
            records.append((int(pos) - 1, len(ref), len(alt) - len(ref) if carried else 0))
    reference = Reference(fasta)
    source = open_variants(DATA / "phased.vcf")
    genome = SampleGenome(source, source.read_genotypes(None), reference, haplotype)
    settings = WindowSettings(window_length=WINDOW)
    num_changed = 0
    for start in range(10_400, 25_800, 23):
        if any(first - 20 < start < first + size + 20 for first, size, _ in records):
            continue
        place = start + sum(change for first, _, change in records if first < start)
        base = genome.read("ref", start, start + 1)
        assert base == made[place]
        other = "ACGT"["CATG".index(base)]
        placed, *_ = genome.place(Variant(0, 1, "ref", start + 1, base, other, None), settings)
        found, changed = haplotype_sequences(
            reference.fetch, placed, "forward", WINDOW, reference.contigs["ref"], False
        )
        first = place - WINDOW // 2
        window = made[first : first + WINDOW]
        assert found.decode() == window
        assert changed.decode() == window[: WINDOW // 2] + other + window[WINDOW // 2 + 1 :]
        num_changed += bool(placed.background)
    assert num_changed > (100 if haplotype == 1 else 5)
