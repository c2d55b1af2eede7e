"""Prompts: records of a FASTA, regions of a reference, texts, and what is wrong with them."""

from pathlib import Path

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.prompts import (
    Prompt,
    read_bed_prompts,
    read_fasta_prompts,
    read_region_prompt,
    read_text_prompt,
)
from evo2_tasks.genome.reference import Reference

TAG = "|D__ANIMALIA;P__CHORDATA|"
BASES = "ACGTTGCAAC" * 4 + "NNNNNNNNNN"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    fasta = tmp_path_factory.mktemp("genome") / "g.fa"
    fasta.write_text(f">chrM\n{BASES.lower()}\n>HLA:1\n{BASES[:30]}\n")
    return Reference(fasta, circular_contigs=["chrM"], contig_aliases={"mito": "chrM"})


def test_a_record_is_a_prompt_with_its_tag_or_has_a_reason(tmp_path: Path) -> None:
    fasta = tmp_path / "p.fa"
    fasta.write_text(">a x\nac gt\n\nN\n>\nACGTACGTA\n>b\nNNNA\n>c\nACG.\n>d\n>e\nUUA\n")
    found = list(read_fasta_prompts(fasta, TAG, len(TAG) + 8))
    assert found[0] == Prompt(0, "a", "to_generate", None, len(TAG) + 5, f"{TAG}ACGTN")
    assert found[1] == Prompt(1, None, "too_long", None, len(TAG) + 9, None)
    assert [(one.prompt, one.status, one.reason) for one in found[2:]] == [
        ("b", "too_many_n", None),
        ("c", "invalid_record", "not_letters"),
        ("d", "empty", None),
        ("e", "rna", None),
    ]


@pytest.mark.parametrize(
    ("region", "expected", "place"),
    [
        ("chrM:3-6", "GTTG", (2, 6)),
        ("M:3-6", "GTTG", (2, 6)),
        ("mito:1-2", "AC", (0, 2)),
        ("chrM:39-53", "AC" + "N" * 10 + "ACG", None),
        ("HLA:1", BASES[:30], (0, 30)),
        ("HLA:1:29-", "AA", (28, 30)),
    ],
)
def test_a_region_is_read_as_other_regions_are(
    reference: Reference, region: str, expected: str, place: tuple[int, int] | None
) -> None:
    (found,) = read_region_prompt(region, reference, TAG, 100, "here") if place else (None,)
    if found is None:  # most of its letters are N
        with pytest.raises(InputError, match="most of its letters are not A, C, G or T"):
            list(read_region_prompt(region, reference, TAG, 100, "here"))
        return
    assert found.text == TAG + (BASES[28:30] if region.endswith("-") else expected)
    assert (found.start, found.end, found.strand) == (*place, "+")  # type: ignore[misc]


def test_a_region_of_a_circle_goes_on_at_its_first_base(tmp_path: Path) -> None:
    fasta = tmp_path / "g.fa"
    fasta.write_text(">MT\nACGTTGCAAC\n")
    circle = Reference(fasta, circular_contigs=["MT"])
    (found,) = read_region_prompt("MT:9-13", circle, "", 100, "here")
    assert (found.text, found.start, found.end) == ("ACACG", 8, 13)
    with pytest.raises(InputError, match="has 10 bases"):
        list(read_region_prompt("MT:9-13", Reference(fasta), "", 100, "here"))
    with pytest.raises(InputError, match="has 10 bases"):
        list(read_region_prompt("MT:2-12", circle, "", 100, "here"))


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("chr9:1-5", "there is no contig 'chr9'"),
        ("chrM:5-2", "ends before it begins"),
        ("HLA:1:10-40", "the contig 'HLA:1' has 30 bases"),
        ("chrM:1-30", "more than max_length"),
    ],
)
def test_a_wrong_region_is_one_clear_line(reference: Reference, region: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(read_region_prompt(region, reference, TAG, len(TAG) + 29, "here"))


def test_lines_of_a_bed_are_prompts_on_their_strand_with_joined_blocks(
    reference: Reference, tmp_path: Path
) -> None:
    bed = tmp_path / "r.bed"
    bed.write_text(
        "chrM\t2\t6\tone\t0\t-\n"
        "chrM\t2\t10\ttwo\t0\t+\t2\t10\t0\t2\t2,3\t0,5\n"
        "nowhere\t1\t5\n"
        "HLA:1\t20\t40\n"
        "chrM\tx\t9\n"
    )
    one, two, nowhere, outside, broken = read_bed_prompts(bed, reference, "", 100)
    assert (one.prompt, one.text, one.strand) == ("one", "CAAC", "-")
    assert two.text == BASES[2:4] + BASES[7:10]
    assert (nowhere.prompt, nowhere.status) == ("nowhere:2-5", "contig_not_found")
    assert (outside.status, outside.contig, outside.start) == ("position_out_of_range", "HLA:1", 20)
    assert (broken.record, broken.status, broken.reason) == (4, "invalid_record", "bad_region")


def test_a_text_may_have_blanks_and_must_be_dna() -> None:
    (found,) = read_text_prompt("ac gt\n", TAG, 100, "here")
    assert found == Prompt(0, None, "to_generate", None, len(TAG) + 4, f"{TAG}ACGT")
    (found,) = read_text_prompt("", TAG, 100, "here")
    assert found.text == TAG
    with pytest.raises(InputError, match="here: has no bases"):
        list(read_text_prompt(" \n", "", 100, "here"))
    for text, message in (
        ("ACGU", "here: is RNA"),
        ("MKVLWAALL", "not A, C, G or T, so it is not DNA"),
        ("ACGT" * 30, "has 145 letters, more than max_length"),
    ):
        with pytest.raises(InputError, match=message):
            list(read_text_prompt(text, TAG, 100, "here"))
