"""Alleles as text: statuses, common ends, and how far an allele can move."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.genome.alleles import (
    TrimmedAllele,
    count_left_shift,
    count_right_shift,
    judge_text,
    rotate_left,
    trim,
    variant_type,
)


@pytest.mark.parametrize(
    ("ref", "alt", "status"),
    [
        ("A", ".", "missing_allele"),
        (".", ".", "missing_allele"),
        ("A", "A", "not_a_variant"),
        ("*", "*", "not_a_variant"),
        ("<DEL>", "<DEL>", "not_a_variant"),
        ("A", "*", "overlapping_deletion"),
        ("A", "G]17:198982]", "breakend"),
        ("A", "]13:123456]T", "breakend"),
        ("A", "[<ctg1>:1[C", "breakend"),
        ("A", ".A", "breakend"),
        ("A", "ACGT.", "breakend"),
        ("A", "n.", "breakend"),
        ("A", "<DEL>", "symbolic_allele"),
        ("A", "<*>", "symbolic_allele"),
        ("A", "<NON_REF>", "symbolic_allele"),
        ("A", "<INS:ME:ALU>", "symbolic_allele"),
        ("A", "C<ctg1>", "symbolic_allele"),
        ("A", "<script>\n</script>", "symbolic_allele"),
        ("A", "C", None),
        ("A", "ANA", None),
        ("*", "A", None),
        (".", "A", None),
        ("<DEL>", "A", None),
        # Rubbish that is none of the above is no sequence: `non_acgt_allele` by its letters.
        ("A", "..", None),
        ("A", "A.C", None),
        ("A", "**", None),
        ("A", "<DEL", None),
        ("A", "-", None),
        ("A", "A.\n", None),
        ("A", "0", None),
    ],
)
def test_status_of_text(ref: str, alt: str, status: str | None) -> None:
    verdict = judge_text(ref, alt)
    assert (verdict and verdict.status) == status


@pytest.mark.parametrize(
    ("ref", "alt", "trimmed"),
    [
        ("A", "C", TrimmedAllele(10, "A", "C")),
        ("A", "AC", TrimmedAllele(11, "", "C")),
        ("A", "AA", TrimmedAllele(10, "", "A")),
        ("AAA", "A", TrimmedAllele(10, "AA", "")),
        ("CAC", "C", TrimmedAllele(10, "CA", "")),
        ("GATC", "GTTC", TrimmedAllele(11, "A", "T")),
        ("GATC", "GTAC", TrimmedAllele(11, "AT", "TA")),
        ("TC", "GTG", TrimmedAllele(10, "TC", "GTG")),
        ("NAN", "NCN", TrimmedAllele(11, "A", "C")),
        ("ACGT", "ACGTACGT", TrimmedAllele(10, "", "ACGT")),
    ],
)
def test_trimming_takes_the_right_end_first(ref: str, alt: str, trimmed: TrimmedAllele) -> None:
    assert trim(10, ref, alt) == trimmed


dna = st.text("AC", max_size=12)


@given(ref=dna, alt=dna)
@settings(deadline=None)
def test_trimming_keeps_the_change(ref: str, alt: str) -> None:
    if ref == alt:
        return
    start, trimmed_ref, trimmed_alt = trim(0, ref, alt)
    rest = ref[start + len(trimmed_ref) :]
    assert ref[:start] + trimmed_ref + rest == ref
    assert ref[:start] + trimmed_alt + rest == alt
    if trimmed_ref and trimmed_alt:
        assert trimmed_ref[0] != trimmed_alt[0]
        assert trimmed_ref[-1] != trimmed_alt[-1]


@given(
    before=st.text("AC", max_size=200),
    unit=st.text("AC", min_size=1, max_size=4),
    repeats=st.integers(0, 80),
    after=st.text("AC", max_size=20),
    cut=st.integers(0, 300),
)
@settings(deadline=None)
def test_shifts_are_those_of_one_base_at_a_time(
    before: str, unit: str, repeats: int, after: str, cut: int
) -> None:
    bases = before + unit * repeats + after
    position = min(cut, len(bases))

    def fetch(start: int, end: int) -> str:
        assert 0 <= start <= end <= len(bases)
        return bases[start:end]

    moved, here = list(unit), position
    while here < len(bases) and bases[here] == moved[0]:
        moved.append(moved.pop(0))
        here += 1
    limit = len(bases) - position
    assert count_right_shift(fetch, position, unit, limit) == here - position

    moved, here = list(unit), position
    while here > 0 and bases[here - 1] == moved[-1]:
        moved.insert(0, moved.pop())
        here -= 1
    shift = count_left_shift(fetch, position, unit, position)
    assert shift == position - here
    assert rotate_left(unit, shift) == "".join(moved)


@pytest.mark.parametrize(
    ("ref", "alt", "kind"),
    [
        ("A", "C", "snv"),
        ("TAG", "TCG", "snv"),
        ("AC", "GT", "mnv"),
        ("A", "AT", "insertion"),
        ("AA", "AAA", "insertion"),
        ("CTT", "C", "deletion"),
        ("CAG", "TT", "indel"),
        ("A", "<DEL>", "deletion"),
        ("A", "<DUP>", "insertion"),
        ("A", "<DUP:TANDEM>", "insertion"),
        ("A", "<INS>", "insertion"),
        ("A", "<INV>", "mnv"),
        ("A", "<CNV>", "symbolic"),
        ("A", "<DEL:ME>", "symbolic"),
        ("A", "*", "symbolic"),
        ("A", ".", "symbolic"),
        ("A", "A]c:5]", "symbolic"),
        ("A", "A.", "symbolic"),
    ],
)
def test_types_are_of_what_changes(ref: str, alt: str, kind: str) -> None:
    assert variant_type(ref, alt) == kind
