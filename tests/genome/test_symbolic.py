"""Symbolic alleles that the reference resolves, against the same alleles written out by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysam import VariantFile, bcftools

from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.symbolic import KINDS, describe_symbols
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.genome.windows import (
    PlacedAllele,
    WindowSettings,
    align_allele,
    compare_ref,
    place_allele,
    resolve_allele,
)

HEADER = """##fileformat={version}
##INFO=<ID=SVTYPE,Number=1,Type=String,Description="type">
##INFO=<ID=SVLEN,Number={number},Type=Integer,Description="length">
##INFO=<ID=END,Number=1,Type=Integer,Description="end">
##INFO=<ID=CIPOS,Number=.,Type=Integer,Description="interval">
##INFO=<ID=CIEND,Number=.,Type=Integer,Description="interval">
##INFO=<ID=CILEN,Number=.,Type=Integer,Description="interval">
##INFO=<ID=SVCLAIM,Number=A,Type=String,Description="claim">
##INFO=<ID=SVINSSEQ,Number=.,Type=String,Description="bases">
##INFO=<ID=IMPRECISE,Number=0,Type=Flag,Description="imprecise">
##ALT=<ID=DEL,Description="deletion">
##contig=<ID=line,length=600>
##contig=<ID=circle,length=90>
#CHROM	POS	ID	REF	ALT	QUAL	FILTER	INFO
"""
COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}
SETTINGS = [
    WindowSettings(window_length=64),
    WindowSettings(window_length=64, window_placement="tiled"),
    WindowSettings(window_length=96, horizon=20, strands="reverse", max_allele_length=7),
    WindowSettings(window_length=4096, max_allele_length=40, min_context=3),
]


def make_bases(rng: random.Random, length: int) -> str:
    """Bases with many repeats and a few N."""
    bases = ""
    while len(bases) < length:
        unit = "".join(rng.choices("ACGT", k=rng.randrange(1, 5)))
        bases += unit * rng.randrange(1, 6)
        bases += "N" * (rng.random() < 0.03)
    return bases[:length]


@pytest.fixture(scope="module")
def sequences() -> dict[str, str]:
    rng = random.Random(20)
    return {"line": make_bases(rng, 600), "circle": make_bases(rng, 90)}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, sequences: dict[str, str]) -> Reference:
    fasta = tmp_path_factory.mktemp("reference") / "r.fa"
    fasta.write_text("".join(f">{name}\n{bases}\n" for name, bases in sequences.items()))
    return Reference(fasta, circular_contigs=["circle"])


def write_out(bases: str, pos: int, alt: str, length: int, inserted: str) -> tuple[str, str]:
    """REF and ALT of a symbolic allele in bases, by the words of the VCF specification.

    They begin with the base at POS, which comes before the changed ones.
    """
    before, segment = bases[pos - 1], bases[pos : pos + length]
    if alt == "<INS>":
        return before, before + inserted
    changed = {
        "<DEL>": "",
        "<DUP>": segment + segment,
        "<DUP:TANDEM>": segment + segment,
        "<INV>": "".join(COMPLEMENT[base] for base in reversed(segment)),
    }
    return before + segment, before + changed[alt]


def without_flag(placed: PlacedAllele) -> PlacedAllele:
    return placed._replace(
        flags=tuple(flag for flag in placed.flags if flag != "resolved_symbolic")
    )


@given(data=st.data())
def test_it_is_placed_like_the_same_allele_in_bases(
    reference: Reference, sequences: dict[str, str], data: st.DataObject
) -> None:
    contig = data.draw(st.sampled_from(sorted(sequences)))
    bases = sequences[contig]
    alt = data.draw(st.sampled_from(sorted(KINDS)))
    pos = data.draw(st.integers(1, len(bases)))
    inserted = data.draw(st.text("ACGT", min_size=1, max_size=20)) if alt == "<INS>" else ""
    length = 0 if alt == "<INS>" else data.draw(st.integers(1, 30))
    settings = data.draw(st.sampled_from(SETTINGS))
    ref, spelled = write_out(bases, pos, alt, length, inserted)
    symbolic = Variant(
        0, 1, contig, pos, bases[pos - 1], alt, None,
        sv_length=length or None, sv_sequence=inserted or None,
    )  # fmt: skip
    found = place_allele(symbolic, reference, settings)
    if pos + length > len(bases):
        assert (found.status, found.reason) == ("position_out_of_range", "reaches_past_end")
        assert compare_ref(symbolic, reference) is None
        return
    plain = Variant(0, 1, contig, pos, ref, spelled, None)
    expected = place_allele(plain, reference, settings)
    assert ("resolved_symbolic" in found.flags) == (found.status == "to_score")
    if alt == "<INV>" and expected.status == "not_a_variant":
        assert found.reason == "palindrome"
        expected = expected._replace(reason="palindrome")
    assert without_flag(found) == expected
    assert compare_ref(symbolic, reference) == compare_ref(plain, reference)
    assert resolve_allele(symbolic, reference) == resolve_allele(plain, reference)
    assert align_allele(symbolic, reference) == align_allele(plain, reference)


def edit(bases: str, start: int, ref: str, alt: str) -> str:
    assert bases[start : start + len(ref)] == ref
    return bases[:start] + alt + bases[start + len(ref) :]


@given(data=st.data())
def test_a_resolved_allele_makes_the_sequence_of_its_definition(
    reference: Reference, sequences: dict[str, str], data: st.DataObject
) -> None:
    bases = sequences["line"]
    alt = data.draw(st.sampled_from(["<DEL>", "<DUP:TANDEM>", "<INV>"]))
    length = data.draw(st.integers(1, 80))
    pos = data.draw(st.integers(1, len(bases) - length))
    variant = Variant(0, 1, "line", pos, bases[pos - 1], alt, None, sv_length=length)
    end = pos + length  # the segment is pos..end, 0-based
    segment = bases[pos:end]
    if "N" in segment:
        return
    expected = {
        "<DEL>": bases[:pos] + bases[end:],
        # The copy is inserted after the segment.
        "<DUP:TANDEM>": bases[:end] + segment + bases[end:],
        "<INV>": bases[:pos] + "".join(map(COMPLEMENT.get, segment[::-1])) + bases[end:],  # type: ignore[arg-type]
    }[alt]
    resolved = resolve_allele(variant, reference)
    aligned = align_allele(variant, reference)
    if expected == bases:
        assert resolved is aligned is None
        return
    assert resolved is not None
    assert aligned is not None
    assert edit(bases, *resolved.trimmed) == expected
    assert edit(bases, *aligned.trimmed) == expected


def test_a_long_allele_is_not_read(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evo2_tasks.genome.windows.MAX_SYMBOLIC_BASES", 50)
    bases = reference.fetch("line", 0, 600)
    reads: list[int] = []
    fetch = Reference.fetch

    def counted(self: Reference, contig: str, start: int, end: int) -> str:
        reads.append(end - start)
        return fetch(self, contig, start, end)

    monkeypatch.setattr(Reference, "fetch", counted)
    for alt, reason in [("<DEL>", "long_ref"), ("<DUP:TANDEM>", "long_alt")]:
        variant = Variant(0, 1, "line", 10, bases[9], alt, None, sv_length=500)
        placed = place_allele(variant, reference, SETTINGS[0])
        assert (placed.status, placed.reason) == ("too_long", reason)
        assert resolve_allele(variant, reference) is None
    assert sum(reads) < 40


# --- what INFO says


@pytest.mark.parametrize(
    ("alt", "info", "expected"),
    [
        ("<DEL>", "SVLEN=-5", 5),
        ("<DEL>", "SVLEN=5", 5),
        ("<DEL>", "SVLEN=.;END=105", 5),
        ("<DEL>", "END=105", 5),
        ("<DEL>", "SVLEN=-5;END=.", 5),
        ("<DEL>", "SVLEN=-5;END=105;SVLEN=-9", 5),
        ("<DEL>", "SVLEN=-5;END=106", "contradiction"),
        ("<DEL>", "SVLEN=0;END=105", "contradiction"),
        ("<DEL>", "SVLEN=-5;END=99", "contradiction"),
        ("<DEL>", "END=99", "contradiction"),
        ("<DEL>", "END=100", "no_length"),
        ("<DEL>", "SVLEN=0", "no_length"),
        ("<DEL>", ".", "no_length"),
        ("<DEL>", "", "no_length"),
        ("<DEL>", "SVLEN=", "bad_info"),
        ("<DEL>", "SVLEN", "bad_info"),
        ("<DEL>", "SVLEN=-5.0", "bad_info"),
        ("<DEL>", "SVLEN=-5,-6", "bad_info"),
        ("<DEL>", "SVLEN=-5;END=1e3", "bad_info"),
        ("<DEL>", "SVLEN=-5;CIPOS=0", "bad_info"),
        ("<DEL>", "SVLEN=-5;CIPOS=0,0,0,0", "bad_info"),
        ("<DEL>", "SVLEN=-5;CIPOS=0,.", "bad_info"),
        ("<DEL>", "SVLEN=-5;CIPOS=.,.", 5),
        ("<DEL>", "SVLEN=-5;CIPOS=.", 5),
        ("<DEL>", "SVLEN=-5;CIPOS=0,0;CIEND=0,0;CILEN=0,0", 5),
        ("<DEL>", "SVLEN=-5;CIPOS=0,1", "uncertain_bounds"),
        ("<DEL>", "SVLEN=-5;CIEND=-1,0", "uncertain_bounds"),
        ("<DEL>", "SVLEN=-5;CILEN=0,3", "uncertain_bounds"),
        ("<DEL>", "IMPRECISE;SVLEN=-5", "imprecise"),
        ("<DEL>", "IMPRECISE;SVLEN=-5;CIPOS=.", "imprecise"),
        ("<DEL>", "IMPRECISE;SVLEN=-5;CIPOS=-1,1", "imprecise"),
        ("<DEL>", "IMPRECISE;SVLEN=-5;CIEND=0,0", "imprecise"),
        ("<DEL>", "IMPRECISE;SVLEN=-5;CIPOS=0,0", 5),
        ("<DEL>", "IMPRECISE;SVLEN=-5;CIPOS=0,0;CIEND=-3,3", "uncertain_bounds"),
        ("<DEL>", "PRECISE;SVLEN=-5", 5),
        ("<DEL>", "SVLEN=-5;SVCLAIM=D", "no_junction"),
        ("<DEL>", "SVLEN=-5;SVCLAIM=J", 5),
        ("<DEL>", "SVLEN=-5;SVCLAIM=DJ", 5),
        ("<DEL>", "SVLEN=-5;SVCLAIM=.", 5),
        ("<DEL>", "SVLEN=-5;SVCLAIM=X", "bad_info"),
        ("<DEL>", "SVLEN=-5;SVINSSEQ=GA", "extra_sequence"),
        ("<DEL>", "SVLEN=-5;SVINSLEN=2", "extra_sequence"),
        ("<DEL>", "SVLEN=-5;INSLEN=0", 5),
        ("<DEL>", "SVLEN=-5;SVINSSEQ=.", 5),
        ("<DUP>", "SVLEN=5", "not_tandem"),
        ("<DUP>", "SVLEN=5;SVCLAIM=.", "not_tandem"),
        ("<DUP>", "SVLEN=5;SVCLAIM=D", "no_junction"),
        ("<DUP>", "SVLEN=5;SVCLAIM=J", 5),
        ("<DUP:TANDEM>", "SVLEN=5", 5),
        ("<DUP:TANDEM>", "SVLEN=5;SVCLAIM=D", "no_junction"),
        ("<INV>", "SVLEN=5;END=105", 5),
        ("<INV>", "SVLEN=0;END=105", "contradiction"),
        ("<INS>", "SVINSSEQ=ACG", "ACG"),
        ("<INS>", "INSSEQ=acg", "ACG"),
        ("<INS>", "SVINSSEQ=ACG;INSSEQ=acg", "ACG"),
        ("<INS>", "SVINSSEQ=ACG;INSSEQ=ACT", "contradiction"),
        ("<INS>", "SVINSSEQ=ACG;SVLEN=3;END=100", "ACG"),
        ("<INS>", "SVINSSEQ=ACG;SVLEN=3;END=101", "ACG"),
        ("<INS>", "SVINSSEQ=ACG;SVLEN=4", "contradiction"),
        ("<INS>", "SVINSSEQ=ACG;END=107", "contradiction"),
        ("<INS>", "SVINSSEQ=", "bad_info"),
        ("<INS>", "SVINSSEQ=A-G", "bad_info"),
        ("<INS>", "SVLEN=3;LEFT_SVINSSEQ=ACG;RIGHT_SVINSSEQ=TTT", "no_sequence"),
        ("<CNV>", "SVLEN=5", "other_symbol"),
        ("<DEL:ME>", "SVLEN=5", "other_symbol"),
        ("<DUP:DISPERSED>", "SVLEN=5;SVCLAIM=J", "other_symbol"),
    ],
)
def test_what_info_says(alt: str, info: str, expected: int | str) -> None:
    [found] = describe_symbols(100, "A", [alt], info.encode())
    assert expected in (found.reason, found.length, found.sequence)
    assert [*found].count(None) == 2


@pytest.mark.parametrize(
    ("ref", "alts", "info", "expected"),
    [
        ("A", "<DEL>,<DUP:TANDEM>", "SVLEN=-3,7", [3, 7]),
        ("A", "<DEL>,<DUP:TANDEM>", "SVLEN=3,7;END=107", [3, 7]),
        ("A", "<DEL>,<DUP:TANDEM>", "SVLEN=3,7;END=103", [3, "contradiction"]),
        ("A", "<DEL>,<DUP:TANDEM>", "END=107", [7, 7]),
        ("A", "<DEL>,<DUP:TANDEM>", "SVLEN=.,7;END=107", [7, 7]),
        ("A", "<DEL>,<DUP:TANDEM>", "SVLEN=7", ["bad_info", "bad_info"]),
        ("A", "C,<DEL>", "SVLEN=.,-3", [None, 3]),
        ("A", "C,<DEL>", "SVLEN=-3", [None, "bad_info"]),
        ("ACGTACGT", "A,<DEL>", "SVLEN=.,-3;END=107", [None, 3]),
        ("ACGTACGT", "A,<DEL>", "SVLEN=.,-3;END=105", [None, "contradiction"]),
        ("A", "<DEL>,<CNV>", "SVLEN=3,50;END=150", [3, "other_symbol"]),
        ("A", "<DEL>,<INS>", "SVLEN=3,2;SVINSSEQ=.,GG;END=103", [3, "GG"]),
        ("A", "<INS>,<INS>", "SVINSSEQ=C,GG", ["C", "GG"]),
        ("A", "<DEL>,<DEL>", "SVLEN=3,4;CIPOS=0,0,-1,1", [3, "uncertain_bounds"]),
        ("A", "<DEL>,<DEL>", "SVLEN=3,4;CIPOS=0,0", [3, 4]),
        ("A", "<DEL>,<DEL>", "SVLEN=3,4;SVCLAIM=J,D", [3, "no_junction"]),
        ("A", "<DEL>,<DEL>", "SVLEN=3,x", [3, "bad_info"]),
        ("A", "<*>,C", "END=500", ["other_symbol", None]),
    ],
)
def test_each_allele_has_its_own_values(
    ref: str, alts: str, info: str, expected: list[Any]
) -> None:
    found = describe_symbols(100, ref, alts.split(","), info.encode())
    values = [next((one for one in symbol if one is not None), None) for symbol in found]
    assert values == expected


numbers = st.sampled_from([".", "0", "3", "-3", "7", "x"])
pairs = st.sampled_from([".", "0,0", "-1,2", "0"])


@given(
    alt=st.sampled_from(["<DEL>", "<DUP>", "<DUP:TANDEM>", "<INV>"]),
    svlen=st.none() | numbers,
    end=st.none() | st.sampled_from([".", "103", "107", "100", "90"]),
    cipos=st.none() | pairs,
    ciend=st.none() | pairs,
    claim=st.none() | st.sampled_from(["D", "J", "DJ", "."]),
    imprecise=st.booleans(),
    shuffled=st.randoms(),
)
def test_only_exact_alleles_are_resolved(
    alt: str, svlen: str | None, end: str | None, cipos: str | None, ciend: str | None,
    claim: str | None, imprecise: bool, shuffled: random.Random,
) -> None:  # fmt: skip
    """The rule once more, as sentences about the texts of the fields."""
    given_fields = {"SVLEN": svlen, "END": end, "CIPOS": cipos, "CIEND": ciend, "SVCLAIM": claim}
    items = [f"{key}={value}" for key, value in given_fields.items() if value is not None]
    items += ["IMPRECISE"] * imprecise
    shuffled.shuffle(items)
    [found] = describe_symbols(100, "A", [alt], ";".join(items).encode())
    length = int(svlen.lstrip("-")) if svlen not in (None, ".", "x") else None
    span = int(end) - 100 if end not in (None, ".") else None
    is_exact = (
        all(one in (None, ".", "0,0") for one in (cipos, ciend))
        and (not imprecise or cipos == "0,0")
        and (claim in ("J", "DJ") or (claim in (None, ".") and alt != "<DUP>"))
        and svlen != "x"
        and (span is None or (span >= 0 and (length is None or span == length)))
        and bool(length if length is not None else span)
    )
    assert (found.reason is None) == is_exact
    if is_exact:
        assert found.length == (span if length is None else length)


def test_many_alleles_of_a_line_take_linear_time() -> None:
    alts = ["<DEL>"] * 60_000
    lengths = ",".join(str(-1 - place % 9) for place in range(len(alts)))
    found = describe_symbols(100, "A", alts, f"SVLEN={lengths};END=109".encode())
    assert [one.length for one in found[:9]] == [*range(1, 10)]
    assert {one.reason for one in found} == {None}


# --- files


def write_vcf(
    path: Path, lines: Sequence[str], version: str = "VCFv4.4", number: str = "A"
) -> Path:
    path.write_text(HEADER.format(version=version, number=number) + "".join(lines))
    return path


@pytest.mark.parametrize(
    ("version", "number"),
    [("VCFv4.1", "."), ("VCFv4.2", "1"), ("VCFv4.3", "."), ("VCFv4.4", "A"), ("VCFv4.5", "A")],
)
def test_vcf_and_bcf_of_every_version(
    tmp_path: Path, reference: Reference, sequences: dict[str, str], version: str, number: str
) -> None:
    sign = "" if version in ("VCFv4.4", "VCFv4.5") else "-"
    base = sequences["line"][99]
    lines = [
        f"line\t100\t.\t{base}\t<DEL>\t.\tPASS\tSVTYPE=DEL;SVLEN={sign}3;END=103\n",
        f"line\t100\t.\t{base}\t<DUP:TANDEM>\t.\tPASS\tSVTYPE=DUP;SVLEN=4\n",
        f"line\t100\t.\t{base}\t<INV>\t.\tPASS\tSVTYPE=INV;END=106\n",
        f"line\t100\t.\t{base}\t<INS>\t.\tPASS\tSVTYPE=INS;SVINSSEQ=ACCA\n",
        f"line\t100\t.\t{base}\t<DEL>\t.\tPASS\tIMPRECISE;SVTYPE=DEL;SVLEN={sign}3\n",
    ]
    vcf = write_vcf(tmp_path / "a.vcf", lines, version, number)
    bcf = tmp_path / "a.bcf"
    with VariantFile(str(vcf)) as source, VariantFile(str(bcf), "wb", header=source.header) as out:
        for record in source:
            out.write(record)
    variants = list(open_variants(vcf))
    assert list(open_variants(bcf)) == variants
    assert [(v.sv_length, v.sv_sequence, v.reason) for v in variants] == [
        (3, None, None), (4, None, None), (6, None, None), (None, "ACCA", None),
        (None, None, "imprecise"),
    ]  # fmt: skip
    assert [v.alt for v in variants] == ["<DEL>", "<DUP:TANDEM>", "<INV>", "<INS>", "<DEL>"]


def test_a_table_and_a_list_do_not_say_how_long(tmp_path: Path, reference: Reference) -> None:
    table = tmp_path / "a.tsv"
    table.write_text(
        "contig\tpos\tref\talt\nline\t5\tA\t<DEL>\nline\t5\tA\t<INS>\nline\t5\tA\t<X>\n"
    )
    reasons = ["no_length", "no_sequence", "other_symbol"]
    assert [variant.reason for variant in open_variants(table)] == reasons
    placed = [place_allele(v, reference, SETTINGS[0]) for v in open_variants(table)]
    assert [(one.status, one.reason) for one in placed] == [
        ("symbolic_allele", reason) for reason in reasons
    ]


def test_bcftools_normalises_the_alleles_alike(
    tmp_path: Path, reference: Reference, sequences: dict[str, str]
) -> None:
    """The resolved alleles in bases are a VCF that bcftools accepts, and aligns in the same way."""
    rng = random.Random(4)
    bases = sequences["line"]
    lines, expected = [], []
    for number in range(300):
        alt = rng.choice(["<DEL>", "<DUP:TANDEM>", "<INV>"])
        pos, length = rng.randrange(1, 560), rng.randrange(1, 30)
        variant = Variant(number, 1, "line", pos, bases[pos - 1], alt, None, sv_length=length)
        aligned = align_allele(variant, reference)
        if aligned is None:
            continue
        ref, spelled = write_out(bases, pos, alt, length, "")
        lines.append(f"line\t{pos}\t{number}\t{ref}\t{spelled}\t.\t.\t.\n")
        expected.append((str(number), *aligned.trimmed))
    vcf = write_vcf(tmp_path / "a.vcf", lines)
    text = bcftools.norm("-f", str(reference.path), "-c", "e", str(vcf))
    found = []
    for line in text.splitlines():
        if not line.startswith("#"):
            _, pos_text, name, ref, spelled, *_ = line.split("\t")
            found.append((name, *_trim_left(int(pos_text) - 1, ref, spelled)))
    assert len(expected) > 200
    assert sorted(found) == sorted(expected)


def _trim_left(start: int, ref: str, alt: str) -> tuple[int, str, str]:
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        start, ref, alt = start + 1, ref[1:], alt[1:]
    return start, ref, alt


# --- the styles of callers, written for these tests

MANTA = [
    "line\t{p}\tMantaDEL:1:0:0:0:0:0\t{b}\t<DEL>\t999\tPASS\tEND=112;SVTYPE=DEL;SVLEN=-12;CIGAR=1M12D",
    "line\t{p}\tMantaDEL:2:0:0:0:0:0\t{b}\t<DEL>\t999\tPASS\t"
    "END=112;SVTYPE=DEL;SVLEN=-12;CIPOS=0,3;HOMLEN=3;HOMSEQ=ACG",
    "line\t{p}\tMantaDEL:3:0:0:0:0:0\t{b}\t<DEL>\t999\tPASS\t"
    "END=112;SVTYPE=DEL;SVLEN=-12;SVINSLEN=3;SVINSSEQ=GGC",
    "line\t{p}\tMantaDEL:4:0:0:0:0:0\t{b}\t<DEL>\t99\tMinQUAL\t"
    "END=300;SVTYPE=DEL;SVLEN=-200;IMPRECISE;CIPOS=-80,81;CIEND=-90,91",
    "line\t{p}\tMantaDUP:TANDEM:5:0:0:0:0:0\t{b}\t<DUP:TANDEM>\t99\tPASS\tEND=112;SVTYPE=DUP;SVLEN=12",
    "line\t{p}\tMantaINS:6:0:0:0:0:0\t{b}\t<INS>\t99\tPASS\t"
    "END=100;SVTYPE=INS;LEFT_SVINSSEQ=ACGTAC;RIGHT_SVINSSEQ=TTGCA",
    "line\t{p}\tMantaINV:7:0:0:0:0:0\t{b}\t<INV>\t99\tPASS\tEND=112;SVTYPE=INV;SVLEN=12;INV3",
]
DELLY = [
    "line\t{p}\tDEL00000001\t{b}\t<DEL>\t300\tPASS\tPRECISE;SVTYPE=DEL;SVMETHOD=EMBL.DELLYv1.1.6;"
    "END=112;PE=0;MAPQ=60;CT=3to5;CIPOS=-2,2;CIEND=-2,2;INSLEN=0;HOMLEN=2",
    "line\t{p}\tDEL00000002\t{b}\t<DEL>\t300\tPASS\tPRECISE;SVTYPE=DEL;SVMETHOD=EMBL.DELLYv1.1.6;"
    "END=112;CT=3to5;CIPOS=0,0;CIEND=0,0;INSLEN=0",
    "line\t{p}\tDEL00000003\t{b}\t<DEL>\t300\tPASS\tPRECISE;SVTYPE=DEL;END=112;CT=3to5;INSLEN=4",
    "line\t{p}\tDUP00000004\t{b}\t<DUP>\t300\tPASS\tPRECISE;SVTYPE=DUP;END=112;CT=5to3",
    "line\t{p}\tINS00000005\t{b}\t<INS>\t300\tPASS\tPRECISE;SVTYPE=INS;END=101;INSLEN=31;SVLEN=31",
]
SNIFFLES = [
    "line\t{p}\tSniffles2.DEL.1\tN\t<DEL>\t59\tPASS\tPRECISE;SVTYPE=DEL;SVLEN=-12;END=112",
    "line\t{p}\tSniffles2.DEL.2\t{b}\t<DEL>\t59\tPASS\tPRECISE;SVTYPE=DEL;SVLEN=-12;END=112;STDEV_POS=0",
    "line\t{p}\tSniffles2.DUP.3\t{b}\t<DUP>\t59\tPASS\tIMPRECISE;SVTYPE=DUP;SVLEN=12;END=112",
    "line\t{p}\tSniffles2.INV.4\t{b}\t<INV>\t59\tPASS\tPRECISE;SVTYPE=INV;SVLEN=12;END=112",
]
GRIDSS = [
    "line\t{p}\tgridss0_1o\t{b}\t{b}[line:300[\t999\tPASS\tSVTYPE=BND;MATEID=gridss0_1h;CIPOS=0,0",
    "line\t{p}\tgridss0_2b\t{b}\t{b}ACGTACGT.\t999\tPASS\tSVTYPE=BND",
    "line\t{p}\tgridss0_3\t{b}\t<INS>\t999\tPASS\tSVTYPE=INS;INSSEQ=ACCAAT;SVLEN=6;END=100",
    "line\t{p}\tgridss0_4\t{b}\t<DUP>\t999\tPASS\tSVTYPE=DUP;SVLEN=12;END=112;SVCLAIM=DJ",
]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            MANTA,
            [None, "uncertain_bounds", "extra_sequence", "imprecise", None, "no_sequence", None],
        ),
        (DELLY, ["uncertain_bounds", None, "extra_sequence", "not_tandem", "no_sequence"]),
        (SNIFFLES, ["unknown_ref", None, "imprecise", None]),
        (GRIDSS, ["paired_breakend", "single_breakend", None, None]),
    ],
    ids=["manta", "delly", "sniffles", "gridss"],
)
def test_the_lines_of_a_caller(
    tmp_path: Path,
    reference: Reference,
    sequences: dict[str, str],
    lines: Sequence[str],
    expected: Sequence[str | None],
) -> None:
    base = sequences["line"][99]
    assert "N" not in sequences["line"][99:112]
    text = [line.format(p=100, b=base) + "\n" for line in lines]
    placed = [
        place_allele(variant, reference, SETTINGS[0])
        for variant in open_variants(write_vcf(tmp_path / "a.vcf", text))
    ]
    assert [one.reason for one in placed] == expected
    assert [one.status == "to_score" for one in placed] == [one is None for one in expected]
