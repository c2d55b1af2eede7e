"""The recipes of ``docs/annotators.md``: run as they are written, and their output compared."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pysam
import pysam.bcftools
import pytest

from tests.exports.test_sites import annotated, write_sites
from tests.table.build import Row, make_row

PAGE = Path(__file__).parent.parent.parent / "docs" / "annotators.md"
TERMS = ["missense_variant", "synonymous_variant", "stop_gained", None]

BCFTOOLS = f"""#!{sys.executable}
import sys
import pysam.bcftools
getattr(pysam.bcftools, sys.argv[1])(*sys.argv[2:], catch_stdout=False)
"""

Allele = tuple[str, int, str, str]


def section(title: str) -> str:
    """The text below a heading of the page."""
    return PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)


def make_genome() -> str:
    return "".join(random.Random(1).choices("ACGT", k=400)) + "ACAAAAAAAACTCTCTCTG" * 5


def make_alleles(genome: str) -> list[tuple[int, str, str]]:
    """SNVs, MNVs and indels, in repeats too; an indel has the base before it."""
    rng = random.Random(2)
    found = set()
    while len(found) < 150:
        start = rng.randrange(1, len(genome) - 10)
        ref = genome[start : start + rng.choice([1, 1, 1, 2, 4])]
        alt = rng.choice([ref[0], rng.choice("ACGT") * len(ref), ref + rng.choice(["A", "CT"])])
        if ref != alt:
            found.add((start + 1, ref, alt))
    return sorted(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scored alleles as sites, and a VCF of a sample that has some of them, in its own spelling."""
    folder = tmp_path_factory.mktemp("annotators")
    genome, rng = make_genome(), random.Random(3)
    (folder / "reference.fa").write_text(f">chrM\n{genome}\n")
    alleles = make_alleles(genome)
    rows: list[Row] = [
        annotated(
            make_row(number, reference_contig="chrM", pos=pos, ref=ref, alt=alt),
            consequence=rng.choice(TERMS), gene="MT-ND1;x",
        )
        for number, (pos, ref, alt) in enumerate(alleles)
        if number % 3
    ]  # fmt: skip
    write_sites(folder, rows, lengths={"chrM": len(genome)}, annotations=("consequence", "gene"))
    lines = [
        "##fileformat=VCFv4.2", f"##contig=<ID=chrM,length={len(genome)}>",
        '##INFO=<ID=XF,Number=1,Type=Float,Description="x">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tone",
    ]  # fmt: skip
    by_ref: dict[tuple[int, str], list[str]] = {}
    for pos, ref, alt in alleles:
        by_ref.setdefault((pos, ref), []).append(alt)
    for (pos, ref), alts in by_ref.items():
        lines.append(f"chrM\t{pos}\t.\t{ref}\t{','.join(alts)}\t.\tPASS\tXF=0.5\tGT\t0/1")
    (folder / "sample.vcf").write_text("\n".join([*lines, ""]))
    pysam.bcftools.sort(
        "-Oz", "-o", f"{folder}/sample.vcf.gz", f"{folder}/sample.vcf", catch_stdout=False
    )
    programs = folder / "programs"
    programs.mkdir()
    (programs / "bcftools").write_text(BCFTOOLS)
    (programs / "bcftools").chmod(0o755)
    for block in blocks("First, the same spelling", "sh"):
        run(block, folder)
    return folder


def run(block: str, folder: Path) -> None:
    """Run the commands of a block, with the left-aligned sites that the page makes."""
    commands = block if "-o sites.norm" in block else with_norm(block)
    path = f"{folder / 'programs'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", commands], cwd=folder, capture_output=True, text=True,
        env={"PATH": path}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def with_norm(text: str) -> str:
    return text.replace("scores.sites.vcf.gz", "sites.norm.vcf.gz")


def values_of(vcf: Path) -> Iterator[tuple[Allele, float | None, str | None]]:
    """Each allele of a VCF with one ALT per line, and its two values."""
    with pysam.VariantFile(str(vcf)) as file:
        for line in file:
            assert line.alts is not None
            (alt,) = line.alts
            allele = (line.contig, line.pos, str(line.ref), alt)
            names = [*line.info.keys()]
            (llr,) = line.info["evo2_llr"] if "evo2_llr" in names else (None,)
            (term,) = line.info["evo2_consequence"] if "evo2_consequence" in names else (None,)
            yield allele, llr, term


def check(folder: Path, out: str, *, rel: float = 0, absolute: float = 0) -> None:
    """The output has all lines of the sample, and values for exactly the alleles in the sites."""
    sites = {allele: rest for allele, *rest in values_of(folder / "sites.norm.vcf.gz")}
    found = list(values_of(folder / out))
    # The programs order the lines of a position in their own way.
    of_sample = [one[0] for one in values_of(folder / "sample.norm.vcf.gz")]
    assert sorted(one[0] for one in found) == sorted(of_sample)
    seen: set[Allele] = set()
    for allele, llr, term in found:
        if allele in seen:  # the page states that bcftools annotates the first of equal lines
            continue
        seen.add(allele)
        wanted, wanted_term = sites.get(allele, (None, None))
        assert (llr is None) == (wanted is None), allele
        assert llr is None or llr == pytest.approx(wanted, rel=rel, abs=absolute)
        assert term == wanted_term
    assert sum(allele in sites for allele in seen) > 60
    assert sum(allele not in sites for allele in seen) > 20


def test_bcftools_annotate(folder: Path) -> None:
    (commands,) = blocks("bcftools annotate", "sh")
    run(commands, folder)
    check(folder, "sample.evo2.vcf.gz", rel=1e-5)


@pytest.mark.skipif(shutil.which("vcfanno") is None, reason="there is no vcfanno on the path")
def test_vcfanno(folder: Path) -> None:
    (settings,) = blocks("vcfanno", "toml")
    (commands,) = blocks("vcfanno", "sh")
    (folder / "evo2.toml").write_text(with_norm(settings))
    run(commands, folder)
    check(folder, "sample.evo2.vcf", absolute=6e-5)


def test_left_aligned_sites_hold_each_allele_once(folder: Path) -> None:
    alleles = [one[0] for one in values_of(folder / "sites.norm.vcf.gz")]
    assert len(alleles) == len(set(alleles))
    assert alleles == sorted(alleles, key=lambda allele: allele[1])


def test_the_page_says_which_recipes_are_run() -> None:
    rows = re.findall(r"^\| \[(.+?)\]\(#.*?\) \| (.+?) \|", PAGE.read_text(), re.MULTILINE)
    said = dict(rows)
    assert [name for name, text in said.items() if text == "yes, by a test"] == [
        "bcftools annotate", "vcfanno",
    ]  # fmt: skip
    assert all(re.search(r"not run; .* on \d{4}-\d\d-\d\d", said[name]) for name in [
        "VEP", "slivar", "echtvar",
    ])  # fmt: skip
