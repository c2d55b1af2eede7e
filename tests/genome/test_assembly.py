"""Variants of another assembly: known lengths, the header of a VCF, and the share of mismatches."""

import hashlib
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.genome.assembly import (
    RefMatches,
    check_header,
    describe_contradictions,
    find_mismatch_problem,
)
from evo2_tasks.genome.contigs import ContigNames
from evo2_tasks.genome.known_assemblies import find_names, identify
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import WindowSettings, compare_ref, place_allele
from evo2_tasks.io.vcf_text import VcfHeader

TABLE = Path(__file__).parents[2] / "evo2_tasks" / "genome" / "known_assemblies.tsv"
RING = "".join(random.Random(3).choices("ACGT", k=16_569))


class Lengths:
    """Stands in for a reference of which only names and lengths matter."""

    path = Path("g.fa")

    def __init__(self, lengths: Mapping[str, int]) -> None:
        self.contigs = lengths
        self.find = ContigNames(lengths).find


def lengths_of(assembly: str, prefix: str = "") -> dict[str, int]:
    """A column of the table, read in another way than the package reads it."""
    rows = [line.split("\t") for line in TABLE.read_text().splitlines() if line[0] != "#"]
    at = rows[0].index(assembly)
    return {prefix + row[0]: int(row[at]) for row in rows[1:] if row[at]}


def contig_lines(lengths: Mapping[str, int]) -> list[str]:
    return [f"##contig=<ID={name},length={length}>" for name, length in lengths.items()]


def warn(
    reference: Any, *meta: str, used: str = "MT", matches: RefMatches | None = None
) -> list[str]:
    check = check_header(VcfHeader(tuple(map(str.encode, meta)), None), reference, [used])
    sequences = reference.read_sequences(check.md5s) if check.md5s else ()
    return describe_contradictions(
        check, Path("in.vcf"), reference, sequences, matches or RefMatches()
    )


@pytest.fixture
def ring(tmp_path: Path) -> Reference:
    """A mitochondrion as long as the rCRS, and a scaffold that no assembly has."""
    path = tmp_path / "g.fa"
    path.write_text(f">MT\n{RING.lower()}\n>scaffold\n{RING[:700]}\n")
    return Reference(path)


@pytest.mark.parametrize(
    ("assembly", "total"),
    [
        # Published total lengths of chromosomes 1 to 22 (mouse: 1 to 19), X and Y.
        ("hg19", 3_095_677_412),
        ("GRCh37", 3_095_677_412),
        ("GRCh38", 3_088_269_832),
        ("T2T-CHM13 v2.0", 3_117_275_501),
        ("GRCm38", 2_725_521_370),
        ("GRCm39", 2_723_414_844),
    ],
)
def test_the_lengths_of_an_assembly_add_up_to_its_published_total(
    assembly: str, total: int
) -> None:
    lengths = lengths_of(assembly)
    assert sum(lengths.values()) - lengths["MT"] == total


@pytest.mark.parametrize(
    ("lengths", "names"),
    [
        (lengths_of("GRCh38").items(), ("GRCh38",)),
        (lengths_of("hg19").items(), ("hg19",)),
        (lengths_of("GRCh37").items(), ("GRCh37",)),
        ([("17", 81_195_210)], ("GRCh37", "hg19")),
        ([("MT", 16_571)], ("hg18", "hg19")),
        ([("MT", 16_569)], ("GRCh37", "GRCh38", "T2T-CHM13 v2.0")),
        ([("MT", 16_299)], ("GRCm38", "GRCm39")),
        # T2T with the Y of GRCh38, as it is used for samples of men.
        ([*lengths_of("T2T-CHM13 v2.0").items(), ("Y", 57_227_415)], ("T2T-CHM13 v2.0",)),
        # Decoys and scaffolds are not in the table, so they do not count.
        ([("17", 83_257_441), ("hs37d5", 35_477_943), ("GL000191.1", 106_433)], ("GRCh38",)),
        ([("17", 200_000)], ()),
        ([("1", 4_641_652)], ()),
        ([], ()),
    ],
)
def test_an_assembly_is_recognised_by_its_lengths(lengths: Any, names: tuple[str, ...]) -> None:
    assert identify(lengths) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("##reference=file:///ref/hs37d5.fa", ("GRCh37", "hg19")),
        ("human_g1k_v37.fasta", ("GRCh37", "hg19")),
        ("b37", ("GRCh37", "hg19")),
        ("GRCh38.p14", ("GRCh38",)),
        ("gs://x/hg38/v0/Homo_sapiens_assembly38.fasta", ("GRCh38",)),
        ("hs38DH", ("GRCh38",)),
        ("GCA_000001405.15_GRCh38_no_alt", ("GRCh38",)),
        ("chm13v2.0.fa", ("T2T-CHM13 v2.0",)),
        ("mm10", ("GRCm38",)),
        ("hg380", ()),
        ("rhg38x", ()),
        ("1000GenomesPilot-NCBI36", ("hg18",)),
        ("hg19_to_hg38", ()),
        ("genome.fa", ()),
    ],
)
def test_an_assembly_is_recognised_by_its_name(text: str, names: tuple[str, ...]) -> None:
    assert find_names(text) == names


def test_another_length_is_a_warning_that_names_both_assemblies(ring: Reference) -> None:
    (said,) = warn(ring, "##contig=<ID=MT,length=16571,assembly=hg18>", matches=RefMatches(5, 0))
    assert said == (
        f"in.vcf: 1 of 1 contigs have another length in the header than in {ring.path} (MT: 16,571 "
        "and 16,569). The header is that of hg18, and the contig lengths of the FASTA are those of "
        "GRCh37, GRCh38 or T2T-CHM13 v2.0. 0 of 5 REF alleles do not match the reference. If the "
        "variants are from another assembly, give the FASTA of that assembly, or lift the variants "
        "over."
    )


@pytest.mark.parametrize("prefix", ["", "chr"])
def test_a_whole_genome_of_another_assembly_is_one_warning(prefix: str) -> None:
    """The names differ too; decoys and patches of only one side are not compared."""
    header = [
        *contig_lines(lengths_of("GRCh37", prefix)),
        "##contig=<ID=hs37d5,length=35477943>",
    ]
    reference = Lengths({**lengths_of("GRCh38"), "chr17_KI270909v1_alt": 325_800})
    (said,) = warn(reference, *header, used="17")
    assert "24 of 25 contigs have another length" in said  # the mitochondrion is the same
    assert "(1: 249,250,621 and 248,956,422; 2: " in said
    assert (
        "The header is that of GRCh37, and the contig lengths of the FASTA are those of GRCh38"
        in said
    )
    assert "No variant" not in said


def test_a_contradiction_of_a_contig_without_variants_is_a_warning_that_says_so() -> None:
    lengths = lengths_of("hg19", "chr")
    lengths["chrM"] = lengths.pop("chrMT")
    reference = Lengths(lengths)
    (said,) = warn(reference, *contig_lines(lengths_of("GRCh37")), used="chr17")
    assert "1 of 25 contigs" in said
    assert "(chrM: 16,569 and 16,571)" in said
    assert "No variant is on them. The header is that of GRCh37, and the contig lengths" in said


def test_many_contradictions_are_one_line_of_three_examples() -> None:
    lengths = {f"c{number}": 1_000 + number for number in range(2_000)}
    header = contig_lines({name: length + 1 for name, length in lengths.items()})
    (said,) = warn(Lengths(lengths), *header, used="c1")
    assert "2,000 of 2,000 contigs" in said
    assert said.count(" and ") == 3
    assert "; ...)" in said


@pytest.mark.parametrize(
    "lines",
    [
        # The reference has a part of the contigs of the header, and the header a part of others.
        contig_lines(lengths_of("GRCh38")),
        ["##contig=<ID=chrM,length=16569>"],
        ["##contig=<ID=MT>", "##contig=<ID=scaffold,length=700>"],
        ["##contig=<ID=GL000191.1,length=106433>", "##contig=<ID=MT_alt,length=1>"],
        # What programs write where they do not know the length.
        ["##contig=<ID=MT,length=0>"],
        ["##contig=<ID=MT,length=2147483647>"],
        ["##contig=<ID=MT,length=.>"],
        ["##contig=<ID=MT,length=-5>"],
        # Another name of the same assembly, and names that the lengths refute.
        ["##reference=GRCh38.p13", "##contig=<ID=MT,length=16569,assembly=hg38>"],
        ["##contig=<ID=MT,length=16569,assembly=hg18>"],
        ["##reference=hg38.fa", "##reference=hg18.fa"],
        ["##source=GRCh36_caller hg18"],
    ],
)
def test_a_header_that_agrees_gives_no_warning(ring: Reference, lines: list[str]) -> None:
    assert warn(ring, *lines) == []


@pytest.mark.parametrize(
    "line",
    [
        "##reference=file:///data/hg19.fa",
        "##reference=<ID=GRCh37,Source=x>",
        "##contig=<ID=17,assembly=b37>",
        "##contig=<ID=1,length=249250621>",  # the reference has no such contig
        "##genome_build=GRCh37",
    ],
)
def test_a_header_that_only_names_its_assembly_is_compared_too(line: str) -> None:
    reference = Lengths({"chr17": 83_257_441})
    (said,) = warn(reference, line, used="chr17")
    assert said.startswith(
        "in.vcf: the header contradicts g.fa. The header is that of GRCh37 or hg19"
    )
    assert (
        warn(reference, line.replace("37", "38").replace("19", "38").replace("249250621", "5"))
        == []
    )


def test_a_name_narrows_what_the_lengths_leave_open() -> None:
    """The mitochondrion is the same in GRCh37 and GRCh38."""
    header = ["##contig=<ID=MT,length=16569,assembly=GRCh37>"]
    (said,) = warn(Lengths(lengths_of("GRCh38")), *header)
    assert "The header is that of GRCh37, and" in said
    assert warn(Lengths(lengths_of("GRCh37")), *header) == []


def test_an_extract_with_the_name_of_the_contig_is_not_called_another_assembly() -> None:
    (said,) = warn(Lengths({"17": 200_000}), "##contig=<ID=17,length=83257441>", used="17")
    assert "The FASTA may have only a part of each; positions must then count from" in said
    assert "GRCh" not in said


def test_md5_checksums_are_compared(ring: Reference) -> None:
    """As samtools computes them: of the bases in upper case, without line ends."""
    right = hashlib.md5(RING.encode(), usedforsecurity=False).hexdigest()
    line = "##contig=<ID=chrM,length=16569,md5={}>".format
    assert warn(ring, line(right)) == []
    assert warn(ring, line(right.upper())) == []
    assert warn(ring, line("unknown")) == []
    for wrong in (
        line("0" * 32),
        line("0" * 32).replace("md5", "M5"),
        line("0" * 32).replace("length=16569,", ""),
    ):
        (said,) = warn(ring, wrong)
        assert (
            f"1 of 1 contigs have another MD5 checksum in the header than in {ring.path} (MT)"
            in said
        )
    other_length = "##contig=<ID=MT,length=16571,md5=" + "0" * 32 + ">"
    assert len(warn(ring, other_length)) == 1


@pytest.mark.parametrize(
    ("compared", "mismatches", "max_share", "stops"),
    [(9, 9, 0.5, False), (10, 6, 0.5, True), (10, 5, 0.5, False), (10, 10, 1, False),
     (1_000, 301, 0.3, True), (1_000, 300, 0.3, False), (0, 0, 0, False), (10, 1, 0, True)],
)  # fmt: skip
def test_ten_compared_alleles_decide(
    compared: int, mismatches: int, max_share: float, stops: bool
) -> None:
    reference: Any = Lengths(lengths_of("GRCh38"))
    check = check_header(VcfHeader((b"##reference=hg19",), None), reference, [])
    said = find_mismatch_problem(RefMatches(compared, mismatches), max_share, reference, check)
    assert (said is not None) == stops
    if said is not None:
        assert said.startswith(f"g.fa: {mismatches} of {compared:,} alleles (")
        assert "The header is that of GRCh37 or hg19, and the contig lengths of the FASTA " in said
        assert f"or raise max_ref_mismatch_share ({max_share:g})." in said


def test_an_unrelated_reference_stops_a_set_of_forty_at_the_default_share() -> None:
    """By chance three of four mismatch; half of forty or fewer do in 1 of 1,000 sets."""
    for seed in range(20):
        rng = random.Random(seed)
        matches = RefMatches()
        for _ in range(40):
            matches.add(rng.choice("ACGT") == "A")
            matches.add(None)
        check = check_header(VcfHeader((), None), Lengths({}), [])  # type: ignore[arg-type]
        assert matches.compared == 40
        assert find_mismatch_problem(matches, 0.5, Lengths({}), check)  # type: ignore[arg-type]


def test_ref_is_compared_exactly_for_the_alleles_that_have_such_a_status(ring: Reference) -> None:
    rng = random.Random(1)
    statuses: Counter[str] = Counter()
    matches = RefMatches()
    settings = WindowSettings(window_length=64)
    for number in range(4_000):
        contig = rng.choice(["MT", "chrM", "scaffold", "nowhere"])
        pos = rng.randrange(-3, 720)
        ref = RING[max(0, pos - 1) :][: rng.randint(1, 30)] if rng.random() < 0.7 else "ACT"
        alt = rng.choice(["A", "C", "<DEL>", "*", ".", "N", "ACGT", ref])
        status = rng.choice([None, None, None, "filtered"])
        variant = Variant(number, 1, contig, pos, ref, alt, status)
        placed = place_allele(variant, ring, settings)
        is_match = compare_ref(variant, ring)
        statuses[placed.status] += 1
        matches.add(is_match)
        if placed.status in ("ref_mismatch", "ref_alt_swapped"):
            assert is_match is False
        elif placed.status in ("to_score", "too_long", "too_many_n", "no_context"):
            assert is_match is True
        else:
            assert is_match is None
    assert len(statuses) >= 9
    assert RefMatches.count(statuses) == matches
