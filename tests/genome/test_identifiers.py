"""VRS and SPDI identifiers: published ones, those of ga4gh.vrs, and brute force in repeats."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evo2_tasks.genome import identifiers
from evo2_tasks.genome.alleles import TrimmedAllele, trim
from evo2_tasks.genome.identifiers import Identifiers, identify
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import Filters, open_variants
from evo2_tasks.genome.windows import ResolvedAllele
from tests.genome.test_corpus import CORPUS, FILES, read_labels
from tests.genome.vrs_library import digest_by_library, identify_by_library
from tests.project import HEADER

BOTH = ("vrs", "spdi")
RCRS = Path(__file__).parent.parent.parent / "data" / "rCRS.fa"
ACCESSION = "SQ.k3grVkjY-hoWcCUojHw6VU6GE3MZ8Sct"  # of the rCRS, NC_012920.1


class TextReference:
    """A reference of one contig, of which only some bases are known; the others are N."""

    def __init__(
        self, bases: str, start: int = 0, length: int | None = None, accession: str = ACCESSION
    ) -> None:
        self.bases, self.start, self.accession = bases, start, accession
        self.contigs = {"c": len(bases) if length is None else length}

    def fetch(self, contig: str, start: int, end: int) -> str:
        assert contig == "c"
        assert 0 <= start <= end <= self.contigs["c"]
        last = self.start + len(self.bases)
        return "".join(
            self.bases[i - self.start] if self.start <= i < last else "N" for i in range(start, end)
        )

    def refget_accession(self, contig: str) -> str:
        assert contig == "c"
        return self.accession

    def resolve(self, contig: str) -> str:
        return contig

    def is_circular(self, contig: str) -> bool:
        return False


def make_row(
    reference: Reference | TextReference, contig: str, start: int, ref: str, alt: str
) -> Variant:
    """A change as VCF spells it: an empty allele gets the base before it, or the one after it."""
    if not (ref and alt) and start > 0:
        before = reference.fetch(contig, start - 1, start)
        start, ref, alt = start - 1, before + ref, before + alt
    elif not (ref and alt):
        after = reference.fetch(contig, len(ref), len(ref) + 1)
        ref, alt = ref + after, alt + after
    return Variant(0, 1, contig, start + 1, ref, alt, None)


def identify_text(reference: TextReference, start: int, ref: str, alt: str) -> Identifiers:
    return identify(make_row(reference, "c", start, ref, alt), reference, BOTH)  # type: ignore[arg-type]


def find_spellings(sequence: str, start: int, ref: str, alt: str) -> tuple[int, int, str]:
    """The interval that covers all insertions or deletions of one haplotype, and its new bases.

    Every position is tried: no rule of shifting is used.
    """
    haplotype = sequence[:start] + alt + sequence[start + len(ref) :]
    change = len(alt) - len(ref)
    starts, ends = [], []
    for first in range(len(sequence) + 1):
        end = first + max(0, -change)
        inserted = haplotype[first : first + max(0, change)]
        if end <= len(sequence) and sequence[:first] + inserted + sequence[end:] == haplotype:
            starts.append(first)
            ends.append(end)
    return min(starts), max(ends), haplotype[min(starts) : max(ends) + change]


# Repeats of short units, one after the other, some of N or of an IUPAC letter.
repeats = st.lists(
    st.tuples(st.text("ACGT", min_size=1, max_size=4) | st.sampled_from("NR"), st.integers(1, 6)),
    min_size=1,
    max_size=6,
).map(lambda pieces: "".join(unit * number for unit, number in pieces))


def plain_bases(bases: str) -> str:
    """The bases before the first N or IUPAC letter."""
    return re.match("[ACGT]*", bases)[0]  # type: ignore[index]


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, int, str, str]:
    """A sequence, and the start, REF and ALT of a change."""
    sequence = draw(repeats)
    start = draw(st.integers(0, len(sequence)))
    ref = plain_bases(sequence[start : start + draw(st.integers(0, 6))])
    alt = draw(
        st.one_of(
            st.text("ACGT", max_size=6),
            st.integers(0, 4).map(lambda number: ref * number),
            st.integers(1, 8).map(lambda size: plain_bases(sequence[start : start + size])),
        )
    )
    if alt == ref:
        alt += draw(st.sampled_from("ACGT"))
    assume(alt or ref != sequence)  # VCF cannot spell the deletion of all bases
    return sequence, start, ref, alt


@settings(max_examples=500)
@given(changes())
def test_a_vrs_id_is_that_of_the_library(change: tuple[str, int, str, str]) -> None:
    sequence, start, ref, alt = change
    reference = TextReference(sequence)
    found = identify_text(reference, start, ref, alt)
    assert found.vrs_id == identify_by_library(reference, "c", start, ref, alt)


@settings(max_examples=500)
@given(changes())
def test_an_spdi_covers_all_spellings(change: tuple[str, int, str, str]) -> None:
    sequence, start, ref, alt = change
    found = identify_text(TextReference(sequence), start, ref, alt).spdi
    trimmed = trim(start, ref, alt)
    if trimmed.ref and trimmed.alt:
        assert found == f"c:{trimmed.start}:{trimmed.ref}:{trimmed.alt}"
    else:
        first, end, inserted = find_spellings(sequence, start, ref, alt)
        assert found == f"c:{first}:{sequence[first:end]}:{inserted}"


@given(repeats, st.data())
def test_all_spellings_of_an_allele_have_one_identifier(sequence: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(sequence)))
    deleted = plain_bases(sequence[start : start + data.draw(st.integers(0, 6))])
    inserted = "" if deleted else data.draw(st.text("ACGT", min_size=1, max_size=6))
    assume(deleted != sequence)  # VCF cannot spell the deletion of all bases
    haplotype = sequence[:start] + inserted + sequence[start + len(deleted) :]
    change = len(haplotype) - len(sequence)
    reference = TextReference(sequence)
    found = set()
    for first in range(len(sequence) + 1):
        for end in range(first + max(0, -change, 1 - change), len(sequence) + 1):
            alt = haplotype[first : end + change]
            if end > first and sequence[:first] + alt + sequence[end:] == haplotype:
                found.add(identify_text(reference, first, sequence[first:end], alt))
    assert len(found) == 1


PUBLISHED = [
    # The alleles of the validation data of the VRS schema: validation/models.yaml of
    # https://github.com/ga4gh/vrs at 52fd157 (Apache-2.0).
    pytest.param(
        "SQ.IIB53T8CNeJJdUqzn9V_JnRtQadwWCbl", (44908821, "C"), (44908821, "C", "T"),
        "ga4gh:VA.0AePZIWZUNsUlQTamyLrjm2HWUw2opLt", "44908821:C:T", id="rs7412",
    ),
    pytest.param(
        "SQ.Ya6Rs7DHhDeg7YaOSg1EoNi3U_nQ9SvO", (40819438, "CTCCTCCT"), (40819441, "", "CTC"),
        "ga4gh:VA.Oop4kjdTtKcg1kiZjIJAAR3bp7qi4aNT", "40819438:CTCCTCCT:CTCCTCCTCCT",
        id="duplication",
    ),
    # Expected output for chr19 of GRCh38: tests/extras/data/test_vcf_expected_output.vcf of
    # https://github.com/ga4gh/vrs-python at a47b3d9 (Apache-2.0).
    pytest.param(
        "SQ.IIB53T8CNeJJdUqzn9V_JnRtQadwWCbl", (82663, "C"), (82663, "C", "T"),
        "ga4gh:VA.b9AIUegs1SOYO7nKY8l01yllkyUns-u4", "82663:C:T", id="82664-C-T",
    ),
    pytest.param(
        "SQ.IIB53T8CNeJJdUqzn9V_JnRtQadwWCbl", (284349, "C" + "A" * 16), (284349, "CA", "C"),
        "ga4gh:VA.a04jFsNg0bS0RMIWjKWSbwJS4_vp7S6x", f"284350:{'A' * 16}:{'A' * 15}",
        id="284350-CA-C",
    ),
    pytest.param(
        "SQ.IIB53T8CNeJJdUqzn9V_JnRtQadwWCbl", (289463, "TCA"),
        (289463, "T", "TCACGCCTGTAATCC"), "ga4gh:VA.ySvDptXfHB_9WEfu78v32DzBXJfwGgO7",
        "289464:CA:CACGCCTGTAATCCCA", id="289464-T-TCACGCCTGTAATCC",
    ),
    pytest.param(
        "SQ.IIB53T8CNeJJdUqzn9V_JnRtQadwWCbl", (490413, "ACT"), (490413, "ACT", "A"),
        "ga4gh:VA.lok7a3lot_cvUyw626otpJi4yxk0X07v", "490414:CT:", id="490414-ACT-A",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("accession", "known", "change", "vrs_id", "spdi"), PUBLISHED)
def test_published_identifiers(
    accession: str, known: tuple[int, str], change: tuple[int, str, str], vrs_id: str, spdi: str
) -> None:
    start, bases = known
    reference = TextReference(bases, start, 60_000_000, accession)
    assert identify_text(reference, *change) == (vrs_id, f"c:{spdi}")


# Alleles of chromosome 1 of GRCh38, most from ClinVar, in the tests of vrs-python at a47b3d9
# (tests/test_vrs_normalize.py, tests/extras/test_allele_translator.py): a spelling; the normalized
# allele, whose state is spelled or has a length and the length of the repeated bases.
CHR1 = "SQ.Ya6Rs7DHhDeg7YaOSg1EoNi3U_nQ9SvO"
CHR1_BASES = {  # first known base, and the known ones
    66926: "G",
    766399: "AATAAATA",
    930136: "CTCCTCCT",
    939145: "GA",
    1752908: "CCT" * 9 + "CGA",
    2228955: "GTGCCCG",
    145916839: "CTCCT",
    236900409: "A" * 9,
}
NORMALIZED = [
    ((66926, "G", ""), (66926, 66927, (0, 1))),
    ((766400, "ATAA", ""), (766399, 766407, (4, 4))),
    ((930137, "TCC", ""), (930136, 930144, (5, 3))),
    ((939145, "GA", "TT"), (939145, 939147, "TT")),
    ((1752908, "", "CCT"), (1752908, 1752936, (31, 3))),
    ((1752915, "", "CT"), (1752915, 1752918, (5, 2))),
    ((1752915, "", "CCTC"), (1752911, 1752916, (9, 4))),
    ((1752934, "", "CT"), (1752934, 1752934, "CT")),
    ((1752934, "", "CCTC"), (1752933, 1752934, "CCCTC")),
    ((1752912, "CTCC", ""), (1752911, 1752916, (1, 4))),
    ((1752913, "TC", ""), (1752912, 1752915, (1, 2))),
    ((1752934, "TC", ""), (1752933, 1752936, (1, 2))),
    ((1752932, "CCTC", ""), (1752932, 1752936, (0, 4))),
    ((2228955, "GTGCCCG", "GTGCCCGTGCCCG"), (2228955, 2228962, (13, 6))),
    ((145916839, "CTCCT", "CT"), (145916839, 145916844, (2, 3))),
    ((236900409, "A", "AAA"), (236900409, 236900418, (11, 2))),
    ((236900409, "A", "A" * 12), (236900409, 236900418, (20, 1))),
    ((236900413, "", "CGT"), (236900413, 236900413, "CGT")),
]


@pytest.mark.parametrize(("change", "normalized"), NORMALIZED)
def test_published_normalized_alleles(
    change: tuple[int, str, str], normalized: tuple[int, int, str | tuple[int, int]]
) -> None:
    known = max(start for start in CHR1_BASES if start <= change[0])
    reference = TextReference(CHR1_BASES[known], known, 248_956_422, CHR1)
    found = identify_text(reference, *change)
    assert found.vrs_id == digest_by_library(CHR1, *normalized)
    assert found.spdi is not None
    _, start, deleted, inserted = found.spdi.split(":")
    state = normalized[2]
    assert (int(start), int(start) + len(deleted)) == normalized[:2]
    assert inserted == state if isinstance(state, str) else len(inserted) == state[0]


# NCBI's SPDI of alleles of ClinVar, in the same files.
CLINVAR = [
    ((766400, "ATAA", ""), "766399:AATAAATA:AATA"),
    ((930137, "TCC", ""), "930136:CTCCTCCT:CTCCT"),
    ((1752908, "", "CCT"), f"1752908:{'CCT' * 9}C:{'CCT' * 10}C"),
    ((145916839, "CTCCT", "CT"), "145916839:CTCCT:CT"),
    ((2228955, "GTGCCCG", "GTGCCCGTGCCCG"), "2228955:GTGCCCG:GTGCCCGTGCCCG"),
    ((236900409, "A", "AAA"), f"236900409:{'A' * 9}:{'A' * 11}"),
]


@pytest.mark.parametrize(("change", "spdi"), CLINVAR)
def test_an_spdi_is_that_of_ncbi(change: tuple[int, str, str], spdi: str) -> None:
    start, bases, _ = spdi.split(":")
    reference = TextReference(bases, int(start), 248_956_422)
    assert identify_text(reference, *change).spdi == f"c:{spdi}"


def test_the_rcrs_has_its_published_accession() -> None:
    assert Reference(RCRS, circular_contigs=["MT"]).refget_accession("MT") == ACCESSION


def test_alleles_of_the_rcrs_have_the_identifiers_of_the_library() -> None:
    reference = Reference(RCRS)
    rng = random.Random(7)
    length = reference.contigs["MT"]
    for _ in range(300):
        start = rng.randrange(length - 12)
        ref = reference.fetch("MT", start, start + rng.choice([0, 1, 1, 2, 5, 9]))
        alt = rng.choice(["", "A", "C", "G", "T", "CC", ref + ref, ref[1:], ref + "ACC"])
        if alt == ref or "N" in ref:
            continue
        found = identify(make_row(reference, "MT", start, ref, alt), reference, ["vrs"])
        assert found.vrs_id == identify_by_library(reference, "MT", start, ref, alt)
        assert found.spdi is None


@pytest.fixture
def make_reference(tmp_path: Path) -> Iterator[object]:
    def make(bases: str, **contigs: bool) -> Reference:
        fasta = tmp_path / "genome.fa"
        for file in (fasta, tmp_path / "genome.fa.fai"):
            file.unlink(missing_ok=True)
        fasta.write_text(f">c\n{bases}\n")
        return Reference(fasta, circular_contigs=[c for c, circular in contigs.items() if circular])

    return make


def identify_row(reference: Reference, pos: int, ref: str, alt: str) -> Identifiers:
    return identify(Variant(0, 1, "c", pos, ref, alt, None), reference, BOTH)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_row_has_identifiers_exactly_if_its_ref_is_in_the_reference(
    path: Path, tmp_path: Path
) -> None:
    labels = read_labels(path)
    given = labels.given
    fasta = tmp_path / given["reference"]
    fasta.write_bytes((CORPUS / given["reference"]).read_bytes())
    reference = Reference(
        fasta, circular_contigs=given.get("circular", ()), contig_aliases=given.get("aliases")
    )
    filters = Filters(**given.get("filters", {}))
    for variant, row in zip(
        open_variants(path, filters=filters, reference=reference), labels.rows, strict=True
    ):
        vrs_id, spdi = identify(variant, reference, BOTH)
        is_resolved = row["status"] in ("too_long", "too_many_n", "no_context", "to_score")
        # Bases on both sides of position 0, which HGVS can spell: 99_2del, 100_1delinsCT, 100_1inv.
        if path.stem == "40-hgvs" and int(row["record"]) in (8, 10, 11):
            assert (vrs_id, spdi) == (None, None), row
        else:
            assert (vrs_id is not None, spdi is not None) == (is_resolved, is_resolved), row


def test_lower_case_of_the_reference_makes_no_difference(make_reference) -> None:
    upper = identify_row(make_reference("GATTTTACA"), 3, "TT", "T")
    assert upper == identify_row(make_reference("gatttTACA"), 3, "TT", "T")
    assert upper.spdi == "c:2:TTTT:TTT"


def test_no_base_moves_over_an_n(make_reference) -> None:
    found = identify_row(make_reference("ANNAAANNA"), 4, "A", "AA")
    assert found.spdi == "c:3:AAA:AAAA"


def test_where_the_reference_has_an_iupac_letter_the_identifiers_have_it_too(
    make_reference,
) -> None:
    # R stands for A or G. VCF writes A; the deletion can move over R, as over any other letter.
    reference = make_reference("TCRCRGT")
    assert identify_row(reference, 3, "A", "G").spdi == "c:2:R:G"
    deletion = identify_row(reference, 2, "CAC", "C")
    assert deletion.spdi == "c:1:CRCR:CR"
    assert deletion.vrs_id == identify_by_library(reference, "c", 2, "RC", "")
    # An insertion behind the letter is the same with either base as its anchor.
    assert identify_row(reference, 3, "A", "AT") == identify_row(reference, 4, "C", "TC")


@pytest.mark.parametrize("circular", [False, True])
def test_a_circular_contig_has_the_identifiers_of_the_linear_sequence(
    make_reference, circular: bool
) -> None:
    reference = make_reference("AAACGTCCGTAA", c=circular)
    assert identify_row(reference, 1, "AA", "A").spdi == "c:0:AAA:AA"
    assert identify_row(reference, 11, "AA", "A").spdi == "c:10:AA:A"
    assert identify_row(reference, 12, "A", "AG").spdi == "c:12::G"
    assert identify_row(reference, 1, "A", "GA").spdi == "c:0::G"


def test_an_allele_across_position_0_has_no_identifier(
    monkeypatch: pytest.MonkeyPatch, make_reference
) -> None:
    reference = make_reference("AAACGTCCGTAA", c=True)
    across = ResolvedAllele("c", TrimmedAllele(11, "AA", ""))
    monkeypatch.setattr(identifiers, "resolve_allele", lambda *_: across)
    assert identify_row(reference, 11, "AAA", "A") == (None, None)
    # The same start of the spelling, but what changes is the first base.
    behind = ResolvedAllele("c", TrimmedAllele(12, "A", "G"))
    monkeypatch.setattr(identifiers, "resolve_allele", lambda *_: behind)
    assert identify_row(reference, 12, "AA", "AG").spdi == "c:0:A:G"


@pytest.mark.parametrize(("ref", "alt"), [("A", "AA"), ("AA", "A")])
def test_an_allele_that_can_move_too_far_has_no_identifier(
    monkeypatch: pytest.MonkeyPatch, make_reference, ref: str, alt: str
) -> None:
    monkeypatch.setattr(identifiers, "MAX_SHIFT", 20)
    # 20 bases over which the allele can move, then 21.
    within = make_reference(f"C{'A' * (19 + len(ref))}G")
    assert all(None not in identify_row(within, pos, ref, alt) for pos in range(2, 21))
    beyond = make_reference(f"C{'A' * (20 + len(ref))}G")
    assert all(identify_row(beyond, pos, ref, alt) == (None, None) for pos in range(2, 22))
    assert identify_row(beyond, 5, "A", "C").spdi == "c:4:A:C"


@pytest.mark.parametrize(
    ("pos", "ref", "alt"), [(2, "AAA", "A"), (2, "A", "AAA"), (3, "A", "CCCCCCCCC"), (9, "G", "C")]
)
def test_the_bases_of_an_spdi_have_a_limit(
    monkeypatch: pytest.MonkeyPatch, make_reference, pos: int, ref: str, alt: str
) -> None:
    reference = make_reference("CAAAAAATG")
    found = identify_row(reference, pos, ref, alt)
    assert found.spdi is not None
    num_bases = sum(map(len, found.spdi.split(":")[2:]))
    monkeypatch.setattr(identifiers, "MAX_SPDI_BASES", num_bases)
    assert identify_row(reference, pos, ref, alt) == found
    monkeypatch.setattr(identifiers, "MAX_SPDI_BASES", num_bases - 1)
    assert identify_row(reference, pos, ref, alt) == (found.vrs_id, None)


def test_a_long_allele_has_identifiers(make_reference) -> None:
    rng = random.Random(3)
    bases = "".join(rng.choices("ACGT", k=30_000))
    reference = make_reference(bases)
    found = identify_row(reference, 101, bases[100:25_100], bases[100])
    assert found.vrs_id == identify_by_library(reference, "c", 101, bases[101:25_100], "")


@given(st.text("ACGT", min_size=4, max_size=60), st.data())
def test_an_spdi_gives_the_same_allele_back(bases: str, data: st.DataObject) -> None:
    """The row that the identifier describes has the same identifier: nothing is lost in it."""
    sequence, start, ref, alt = data.draw(changes())
    reference = TextReference(bases + sequence + bases[::-1])
    found = identify_text(reference, len(bases) + start, ref, alt)
    assert found.spdi is not None
    _, first, deleted, inserted = found.spdi.split(":")
    assert identify_text(reference, int(first), deleted, inserted) == found


def test_a_list_of_the_spdis_of_a_run_has_the_same_alleles(tmp_path: Path) -> None:
    rng = random.Random(11)
    units = ["A", "CA", "CTT", "GATTACA", "C", "TG"]
    bases = "".join(rng.choice(units) * rng.randrange(1, 6) for _ in range(100))
    fasta = tmp_path / "genome.fa"
    fasta.write_text(f">NC_000001.11\n{bases}\n")
    reference = Reference(fasta)
    found = []
    for _ in range(200):
        start = rng.randrange(len(bases) - 10)
        ref = bases[start : start + rng.randrange(5)]
        alt = rng.choice(["", "A", "CA", ref + ref, ref[::-1] + "T"])
        if ref != alt:
            row = make_row(reference, "NC_000001.11", start, ref, alt)
            found.append(identify(row, reference, BOTH))
    listed = tmp_path / "spdi.txt"
    listed.write_text("".join(f"{one.spdi}\n" for one in found))
    variants = open_variants(listed, reference=reference)
    assert [identify(variant, reference, BOTH) for variant in variants] == found


@pytest.mark.parametrize(
    ("symbol", "info", "ref", "alt"),
    [
        ("<DEL>", "SVLEN=-3", "GCAC", "G"),
        ("<DUP:TANDEM>", "SVLEN=2", "G", "GCA"),
        ("<INV>", "SVLEN=5", "GCACAC", "GGTGTG"),
        ("<INS>", "SVINSSEQ=CA", "G", "GCA"),
    ],
)
def test_a_symbolic_allele_has_the_identifiers_of_its_bases(
    tmp_path: Path, make_reference, symbol: str, info: str, ref: str, alt: str
) -> None:
    reference = make_reference("TTGCACACACTTG")
    vcf = tmp_path / "in.vcf"
    rows = [f"c\t3\t.\tG\t{symbol}\t.\t.\t{info}", f"c\t3\t.\t{ref}\t{alt}\t.\t.\t."]
    vcf.write_text(HEADER + "\n".join(rows) + "\n")
    symbolic, spelled = (identify(row, reference, BOTH) for row in open_variants(vcf))
    assert symbolic == spelled != (None, None)
