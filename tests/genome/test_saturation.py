"""Regions of a BED file as variants, against loops over the bases that pysam reads."""

import gzip
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pysam
import pysam.bcftools
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome import saturation
from evo2_tasks.genome.bed import parse_feature
from evo2_tasks.genome.records import Filters, Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import VariantSource, open_variants
from evo2_tasks.genome.windows import WindowSettings, place_allele

rng = random.Random(7)
GENOME = {
    # a repeat, soft-masked bases, an N, other letters
    "chr1": "".join(rng.choices("ACGT", k=70)) + "AAAAA" + "acgtn" + "NRY" + "GATTACA" * 4,
    "chr2": "".join(rng.choices("ACGT", k=31)),
    "ring": "".join(rng.choices("ACGT", k=40)),
    "dot": "C",
}
KINDS = ("snv", "deletion", "insertion", "codon")
NUM_ALLELES = {"snv": 3, "deletion": 1, "insertion": 4}


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in GENOME.items()))
    return path


@pytest.fixture(scope="module")
def reference(fasta: Path) -> Reference:
    return Reference(fasta, circular_contigs=["ring"])


def saturate(
    folder: Path, bed: str | bytes, kinds: Sequence[str], reference: Reference, **more: Any
) -> VariantSource:
    path = folder / "regions.bed"
    path.write_bytes(bed.encode() if isinstance(bed, str) else bed)
    return open_variants(path, saturate=kinds, reference=reference, **more)  # type: ignore[arg-type]


def haplotype(bases: str, variant: Variant) -> str:
    """The contig with the allele in it; fails where REF is not there."""
    assert variant.ref is not None
    assert variant.alt is not None
    start = variant.start
    assert bases[start : start + len(variant.ref)] == variant.ref
    return bases[:start] + variant.alt + bases[start + len(variant.ref) :]


def expected_haplotypes(bases: str, positions: Sequence[int], kinds: Sequence[str]) -> Counter[str]:
    """Every single change at some 0-based positions, as the whole contig that it makes."""
    made: Counter[str] = Counter()
    for at in positions:
        before, base, after = bases[:at], bases[at], bases[at + 1 :]
        if "snv" in kinds:
            made.update(before + other + after for other in "ACGT" if other != base)
        if "deletion" in kinds:
            made[before + after] += 1
        if "insertion" in kinds:
            made.update(before + base + other + after for other in "ACGT")
    return made


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    regions=st.lists(
        st.tuples(st.sampled_from([*GENOME, "nowhere"]), st.integers(0, 130), st.integers(1, 60)),
        min_size=1,
        max_size=4,
    ),
    kinds=st.sets(st.sampled_from(KINDS[:3]), min_size=1),
)
def test_regions_give_every_change_once(
    tmp_path_factory: pytest.TempPathFactory,
    reference: Reference,
    fasta: Path,
    regions: list[tuple[str, int, int]],
    kinds: set[str],
) -> None:
    folder = tmp_path_factory.mktemp("bed")
    bed = "".join(f"{contig}\t{start}\t{start + size}\n" for contig, start, size in regions)
    source = saturate(folder, bed, sorted(kinds), reference)
    rows = list(source)
    assert source.counts == source.count()
    assert source.counts.records == len(regions)
    with pysam.FastaFile(str(fasta)) as genome:
        for record, (contig, start, size) in enumerate(regions):
            of_region = [row for row in rows if row.record == record]
            alleles = [row for row in of_region if row.allele > 0]
            assert [row.allele for row in alleles] == list(range(1, len(alleles) + 1))
            assert [row.pos for row in alleles] == sorted(row.pos or 0 for row in alleles)
            others = [(row.status, row.ref, row.alt) for row in of_region if row.allele == 0]
            if contig == "nowhere":
                assert others == [("contig_not_found", None, None)]
                assert alleles == []
                continue
            bases = genome.fetch(contig).upper()
            inside = range(start, min(start + size, len(bases)))
            found = Counter(haplotype(bases, row) for row in alleles)
            assert found == expected_haplotypes(bases, inside, sorted(kinds))
            # A contig that begins with AA: VCF spells the deletion of either A as AA>A at 1.
            num_equal = {0, 1} <= {*inside} and bases[0] == bases[1] and "deletion" in kinds
            keys = {(row.pos, row.ref, row.alt) for row in alleles}
            assert len(keys) == len(alleles) - num_equal
            is_outside = start + size > len(bases)
            assert others == [("position_out_of_range", None, None)] * is_outside
            if is_outside:
                assert of_region[0].pos == max(start, len(bases)) + 1


def test_alleles_are_spelled_as_vcf_does(tmp_path: Path, reference: Reference, fasta: Path) -> None:
    # bcftools has no R and Y; a contig of one base has no deletion that VCF could spell.
    ends = {name: len(bases) for name, bases in GENOME.items() if len(bases) > 1}
    ends["chr1"] = GENOME["chr1"].index("RY") - 2
    bed = "".join(f"{name}\t0\t{end}\n" for name, end in ends.items())
    rows = list(saturate(tmp_path, bed, KINDS, reference))
    lines = [f"{row.contig}\t{row.pos}\t.\t{row.ref}\t{row.alt}\t.\t.\t." for row in rows]
    header = ["##fileformat=VCFv4.2", *(f"##contig=<ID={name}>" for name in GENOME)]
    header.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    vcf = tmp_path / "all.vcf"
    vcf.write_text("\n".join([*header, *lines]) + "\n")
    # Stops at a REF that the reference does not have.
    normed = pysam.bcftools.norm("-c", "e", "-f", str(fasta), str(vcf), catch_stdout=True)
    assert len([x for x in normed.splitlines() if not x.startswith("#")]) == len(rows)


def test_order_and_numbers_of_a_site(tmp_path: Path, reference: Reference) -> None:
    first, second = GENOME["chr2"][:2]
    rows = list(saturate(tmp_path, "chr2\t0\t2\n", ["insertion", "deletion", "snv"], reference))
    found = [(row.allele, row.pos, row.ref, row.alt) for row in rows]
    others = {base: [other for other in "ACGT" if other != base] for base in (first, second)}
    expected = [
        (1, first + second, second),
        *((1, first, other) for other in others[first]),
        *((1, first, first + base) for base in "ACGT"),
        (1, first + second, first),
        *((2, second, other) for other in others[second]),
        *((2, second, second + base) for base in "ACGT"),
    ]
    assert found == [(number, *row) for number, row in enumerate(expected, start=1)]


def test_a_base_other_than_acgt_has_four_rows_with_a_status(
    tmp_path: Path, reference: Reference
) -> None:
    at = GENOME["chr1"].index("NRY")
    rows = list(saturate(tmp_path, f"chr1\t{at}\t{at + 3}\n", ["snv", "deletion"], reference))
    assert [row.ref for row in rows if len(row.ref or "") == 1] == ["N"] * 4 + ["R"] * 4 + ["Y"] * 4
    placed = [place_allele(row, reference, WindowSettings(64)) for row in rows]
    assert {one.status for one in placed} == {"non_acgt_allele"}


@pytest.mark.parametrize("kind", KINDS[:3])
def test_every_change_gets_its_status_by_placing(
    tmp_path: Path, reference: Reference, kind: str
) -> None:
    bed = "".join(f"{name}\t0\t{len(bases)}\n" for name, bases in GENOME.items())
    rows = list(saturate(tmp_path, bed + "nowhere\t3\t4\nchr2\t31\t32\n", [kind], reference))
    by_status = Counter(place_allele(row, reference, WindowSettings(64)).status for row in rows)
    num_others = GENOME["chr1"].upper().count("N") + 2
    assert by_status["contig_not_found"] == by_status["position_out_of_range"] == 1
    assert by_status["non_acgt_allele"] == {"snv": 4 * num_others, "deletion": num_others}.get(
        kind, 0
    )
    # The ends of the two linear contigs, and all of the one that is a single base.
    assert 0 < by_status["no_context"] < 40
    num_bases = sum(map(len, GENOME.values()))
    extra = num_others if kind == "snv" else 0
    assert by_status.total() == NUM_ALLELES[kind] * num_bases + extra + 2


# Codons.


def spliced(bases: str, blocks: Sequence[tuple[int, int]], strand: str) -> Iterator[list[int]]:
    """Codons as the positions of their bases, counted along the strand over the blocks."""
    positions = [at for start, end in blocks for at in range(start, end)]
    if strand == "-":
        positions.reverse()
    for first in range(0, len(positions) - 2, 3):
        yield sorted(positions[first : first + 3])


@st.composite
def transcripts(draw: st.DrawFn) -> tuple[list[tuple[int, int]], tuple[int, int], str]:
    """Blocks on chr1, a coding part, and a strand."""
    edges = sorted(draw(st.sets(st.integers(0, 100), min_size=2, max_size=8)))
    blocks = list(zip(edges[::2], edges[1::2], strict=False))
    inside = st.integers(blocks[0][0], blocks[-1][1])
    thick_start, thick_end = sorted((draw(inside), draw(inside)))
    return blocks, (thick_start, thick_end), draw(st.sampled_from("+-"))


def bed12(blocks: Sequence[tuple[int, int]], thick: tuple[int, int], strand: str) -> str:
    start, end = blocks[0][0], blocks[-1][1]
    sizes = ",".join(str(last - first) for first, last in blocks)
    starts = ",".join(str(first - start) for first, _ in blocks)
    cells = ["chr1", start, end, "tx", 0, strand, *thick, "0,0,0", len(blocks), sizes + ",", starts]
    return "\t".join(map(str, cells)) + "\n"


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transcript=transcripts())
def test_codons_are_counted_over_the_coding_blocks(
    tmp_path_factory: pytest.TempPathFactory,
    reference: Reference,
    transcript: tuple[list[tuple[int, int]], tuple[int, int], str],
) -> None:
    blocks, thick, strand = transcript
    bases = GENOME["chr1"].upper()
    coding = [(max(start, thick[0]), min(end, thick[1])) for start, end in blocks]
    expected = set()
    for first, middle, last in spliced(bases, coding, strand):
        if last - first == 2:
            assert middle == first + 1
            codon = bases[first : last + 1]
            changed = map("".join, product("ACGT", repeat=3))
            expected |= {(first + 1, codon, other) for other in changed if other != codon}
    folder = tmp_path_factory.mktemp("bed")
    rows = list(saturate(folder, bed12(blocks, thick, strand), ["codon"], reference))
    found = [(row.pos, row.ref, row.alt) for row in rows if row.allele > 0]
    assert len(found) == len(expected)
    assert set(found) == expected
    if not expected:
        assert [(row.allele, row.status) for row in rows] == [(0, "missing_allele")]


def test_codons_of_a_plain_region_begin_at_its_end_on_the_reverse_strand(
    tmp_path: Path, reference: Reference
) -> None:
    bed = "chr2\t4\t12\tx\t0\t+\nchr2\t4\t12\tx\t0\t-\nchr2\t4\t12\n"
    rows = list(saturate(tmp_path, bed, ["codon"], reference))
    starts = [{row.pos for row in rows if row.record == record} for record in range(3)]
    assert starts == [{5, 8}, {7, 10}, {5, 8}]
    assert len(rows) == 3 * 2 * 63


def test_codons_in_two_blocks_are_counted_in_the_log(
    tmp_path: Path, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    source = saturate(tmp_path, bed12([(0, 4), (10, 15)], (0, 15), "+"), ["codon"], reference)
    source.count()
    list(source)
    assert "codons without alleles, because they span several blocks: 1" in caplog.text


def test_blocks_limit_the_other_kinds_too(tmp_path: Path, reference: Reference) -> None:
    bed = bed12([(0, 4), (10, 15)], (2, 3), "+")
    rows = list(saturate(tmp_path, bed, ["snv"], reference))
    assert {row.pos for row in rows} == {1, 2, 3, 4, 11, 12, 13, 14, 15}


# The file.


def test_bad_lines_may_be_the_most(tmp_path: Path, reference: Reference) -> None:
    source = saturate(tmp_path, "chr1 10\nchr1 x y\nchr1 5 5\nchr2 3 4\n", ["snv"], reference)
    assert source.format == "bed"
    assert [row.status for row in source] == [*["invalid_record"] * 3, None, None, None]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("separator", ["\t", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_headings_comments_and_line_ends(
    tmp_path: Path, reference: Reference, compress: bool, separator: str, end: str
) -> None:
    lines = [
        "\ufeffbrowser position chr1:1-10",
        "track name=x description=y",
        "track",
        "# chr1\t0\t5",
        "",
        "chr1\t1\t3\tone\t7\t+",
        "  ",
        "chr2\t2\t3\t.",
        "chr2\t3\t4",
    ]
    text = end.join(line.replace("\t", separator) for line in lines).encode()
    source = saturate(
        tmp_path,
        gzip.compress(text) if compress else text,
        ["snv"],
        reference,
        carry=["strand", "name", "score"],
    )
    assert source.format == "bed"
    assert [field.name for field in source.carry_fields] == ["strand", "name", "score"]
    found = {(row.record, row.contig, row.pos): row.carried for row in source}
    assert found == {
        (0, "chr1", 2): ("+", "one", "7"),
        (0, "chr1", 3): ("+", "one", "7"),
        (1, "chr2", 3): (None, None, None),
        (2, "chr2", 4): (None, None, None),
    }


BAD_LINES = {
    "chr1\t5": "expected at least three columns: chrom, chromStart and chromEnd",
    "\t5\t6": "expected at least three columns: chrom, chromStart and chromEnd",
    "chr1\t5\tx": "chromStart and chromEnd are '5 x', expected integers from 0 on",
    "chr1\t-1\t6": "chromStart and chromEnd are '-1 6', expected integers from 0 on",
    "chr1\t7\t6": "chromStart and chromEnd are '7 6', expected integers from 0 on",
    f"chr1\t7\t{2**63}": "expected integers from 0 on",
    "chr1\t6\t6": "the region has no bases",
    "chr1\t5\t6\tx\t0\tplus": "strand is 'plus', expected +, - or .",
    "chr1\t5\t6\tx\t0\t+\t6\t5": "thickStart and thickEnd are '6 5'",
    "chr1\t5\t9\tx\t0\t+\t5\t6\t0\t2\t1,1\t0,2": "do not describe sorted, separate blocks",
    "chr1\t5\t9\tx\t0\t+\t5\t6\t0\t2\t3,2\t0,2": "do not describe sorted, separate blocks",
    "chr1\t5\t9\tx\t0\t+\t5\t6\t0\t2\t4\t0": "do not describe sorted, separate blocks",
    "chr1\t5\t9\tx\t0\t+\t5\t6\t0\t0\t\t": "do not describe sorted, separate blocks",
    "chr1\t5\t9\tx\t0\t+\tchr1\t5\t9\ty\t0\t+": "thickStart and thickEnd are 'chr1 5'",
}


def test_a_bad_line_costs_one_row(
    tmp_path: Path, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    # Most lines with twelve columns are BED, so the others are bad and not of columns of their own.
    good = "chr2\t3\t8\tx\t0\t+\t3\t8\t0\t2\t1,1\t0,4"
    bed = "".join(f"{good}\n{line}\n" for line in BAD_LINES)
    source = saturate(tmp_path, bed, ["snv"], reference)
    rows = list(source)
    assert source.counts.invalid == len(BAD_LINES)
    invalid = [row for row in rows if row.status is not None]
    assert [row.record for row in invalid] == list(range(1, 2 * len(BAD_LINES), 2))
    assert {(row.allele, row.contig, row.pos, row.status) for row in invalid} == {
        (0, None, None, "invalid_record")
    }
    for message, (number, reason) in zip(
        caplog.messages, enumerate(BAD_LINES.values()), strict=True
    ):
        place = f"record {2 * number + 1} (line {2 * number + 2})"
        assert f"regions.bed: {place}: invalid record: " in message
        assert reason in message


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    line=st.one_of(
        st.binary(max_size=60),
        st.lists(
            st.one_of(
                st.integers(-2, 2**64).map(str),
                st.sampled_from(["chr1", "+", "-", "", ".", "0,5", "3,4,", ","]),
            ),
            max_size=13,
        ).map(lambda cells: "\t".join(cells).encode()),
    )
)
def test_any_line_is_a_feature_on_its_contig_or_a_reason(line: bytes) -> None:
    line = line.replace(b"\n", b"")
    try:
        feature = parse_feature(line)
    except ValueError as error:
        reason = str(error)
        assert reason.isprintable()
        return
    assert 0 <= feature.start < feature.end < 2**63
    assert feature.blocks[0][0] == feature.start
    assert feature.blocks[-1][1] == feature.end
    assert all(start < end for start, end in feature.blocks)


def test_contigs_are_filtered(tmp_path: Path, reference: Reference) -> None:
    bed = "chr1\t0\t2\nchr2\t0\t1\nnowhere\t0\t1\n"
    filters = Filters(contigs=["chr2"])
    source = saturate(tmp_path, bed, ["snv"], reference, filters=filters)
    assert Counter(row.status for row in source) == {"filtered": 7, None: 3}
    assert source.counts.filtered == 7


@pytest.mark.parametrize(
    ("text", "kinds", "more", "message"),
    [
        ("chr1\t0\t5\n", [], {}, r"this is a BED file, .* for example: saturate: \[snv\]"),
        (
            "##fileformat=VCFv4.2\n",
            ["snv"],
            {},
            "saturate needs the regions of a BED file, but this is",
        ),
        (
            "chr1\t0\t5\n",
            ["snv"],
            {"carry": ["gene"]},
            "'gene' is not a column of a BED file; expected one of",
        ),
        ("chr1\t0\t5\n", ["snv"], {"filters": Filters(pass_only=True)}, "pass_only needs a column"),
        ("chr1\t0\t5\n", ["snv"], {"regions": ["chr1"]}, "regions need a VCF"),
        ("track name=x\n", ["snv"], {}, "line 1: 'track name=x': .*expected the regions of a BED"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    tmp_path: Path,
    reference: Reference,
    text: str,
    kinds: list[str],
    more: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message):
        saturate(tmp_path, text, kinds, reference, **more)


def test_a_region_is_read_in_pieces(
    tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(saturate(tmp_path, "chr1\t0\t100\n", KINDS, reference))
    monkeypatch.setattr(saturation, "_CHUNK_BASES", 7)
    fetched = []
    fetch = reference.fetch

    def spy(contig: str, start: int, end: int) -> str:
        fetched.append(end - start)
        return fetch(contig, start, end)

    monkeypatch.setattr(reference, "fetch", spy)
    rows = iter(saturate(tmp_path, "chr1\t0\t100\n", KINDS, reference))
    first = next(rows)
    assert len(fetched) == 1
    assert [first, *rows] == whole
    assert max(fetched) <= 7 + 3


def test_a_region_of_too_many_alleles_is_invalid(
    tmp_path: Path,
    reference: Reference,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(saturation, "MAX_ALLELES", 50)
    rows = list(saturate(tmp_path, "chr1\t0\t12\nchr1\t0\t13\n", ["snv"], reference))
    assert [row.status for row in rows] == [None] * 36 + ["invalid_record"]
    assert (
        "record 1: invalid record: chr1:1-13 may have more than 50 alleles; split it" in caplog.text
    )
