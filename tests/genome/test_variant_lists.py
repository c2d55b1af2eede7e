"""Lists of variants, one on a line: against the definition of each notation."""

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import Filters, Variant
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.genome.windows import WindowSettings, place_allele

rng = random.Random(3)
GENOME = {
    "NC_000017.11": "".join(rng.choices("ACGT", k=60)),
    "chr1": "".join(rng.choices("ACGT", k=60)),
    "HLA-A*01:01:01:01": "".join(rng.choices("ACGT", k=20)),
    "KI270728.1": "ACGT",
}
NC = "NC_000017.11"
CHR17 = GENOME[NC]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in GENOME.items()))
    return Reference(path)


def read(folder: Path, text: str | bytes, reference: Reference) -> list[Variant]:
    path = folder / "list"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    source = open_variants(path, reference=reference)
    assert source.format == "list"
    rows = list(source)
    assert source.count().alleles == len(rows)
    return rows


Keys = tuple[int, str | None, int | None, str | None, str | None, str | None]


def keys(row: Variant) -> Keys:
    return (row.allele, row.contig, row.pos, row.ref, row.alt, row.status)


LINES: dict[str, Keys] = {
    "chr1-5-a-G": (1, "chr1", 5, "A", "G", None),
    "chr1:5:A:GT": (1, "chr1", 5, "A", "GT", None),
    "  chr1:5:A:GT\t": (1, "chr1", 5, "A", "GT", None),
    "17-43045712-A-G": (1, "17", 43045712, "A", "G", None),
    "HLA-A*01:01:01:01-5-A-G": (1, "HLA-A*01:01:01:01", 5, "A", "G", None),
    "HLA-A*01:01:01:01:5:A:G": (1, "HLA-A*01:01:01:01", 5, "A", "G", None),
    "HLA-DRB1*15:01-x-5-A-G": (1, "HLA-DRB1*15:01-x", 5, "A", "G", None),
    "chr1--5-A-G": (1, "chr1-", 5, "A", "G", None),
    "chr1:-5:A:G": (1, "chr1", -5, "A", "G", None),
    "chr1-5-A-*": (1, "chr1", 5, "A", "*", None),
    "chr1-5-A-.": (0, "chr1", 5, "A", ".", None),
    # A RefSeq accession with hyphens counts from 1, so does another name with colons.
    f"{NC}-5-A-G": (1, NC, 5, "A", "G", None),
    "KI270728.1:3:G:A": (1, "KI270728.1", 3, "G", "A", None),
    "NC_000017:5:A:G": (1, "NC_000017", 5, "A", "G", None),
    # SPDI counts from 0.
    f"{NC}:4:A:G": (1, NC, 5, "A", "G", None),
    f"{NC}:4:1:g": (1, NC, 5, CHR17[4], "G", None),
    f"{NC}:4:3:": (1, NC, 4, CHR17[3:7], CHR17[3], None),
    f"{NC}:4:{CHR17[4:7]}:": (1, NC, 4, CHR17[3:7], CHR17[3], None),
    f"{NC}:4::TT": (1, NC, 4, CHR17[3], f"{CHR17[3]}TT", None),
    f"{NC}:4:0:TT": (1, NC, 4, CHR17[3], f"{CHR17[3]}TT", None),
    f"{NC}:0::TT": (1, NC, 1, CHR17[0], f"TT{CHR17[0]}", None),
    f"{NC}:0:2:": (1, NC, 1, CHR17[:3], CHR17[2], None),
    f"{NC}:60::TT": (1, NC, 60, CHR17[59], f"{CHR17[59]}TT", None),
    f"{NC}:0:60:": (1, NC, 1, CHR17, "", None),
    f"{NC}:4::": (1, NC, 4, CHR17[3], CHR17[3], None),
    # What the reference does not have stays as it is spelled, or has no bases.
    f"{NC}:61::TT": (1, NC, 62, "", "TT", None),
    f"{NC}:58:ACG:": (1, NC, 59, "ACG", "", None),
    f"{NC}:58:3:": (0, NC, 59, None, None, "position_out_of_range"),
    "NC_000018.10:4::T": (1, "NC_000018.10", 5, "", "T", None),
    "NC_000018.10:4:2:T": (0, "NC_000018.10", 5, None, None, "contig_not_found"),
}


@pytest.mark.parametrize("line", LINES)
def test_each_notation(tmp_path: Path, reference: Reference, line: str) -> None:
    (row,) = read(tmp_path, line, reference)
    assert keys(row) == LINES[line]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"{NC}:61::TT", "position_out_of_range"),
        (f"{NC}:58:ACG:", "position_out_of_range"),
        (f"{NC}:58:3:", "position_out_of_range"),
        ("NC_000018.10:4::T", "contig_not_found"),
        ("NC_000018.10:4:2:T", "contig_not_found"),
        (f"{NC}:4::", "not_a_variant"),
        (f"{NC}:30:{'ACGT'.replace(CHR17[30], '')[0]}:", "ref_mismatch"),
        (f"{NC}:30:1:", "to_score"),
        (f"{NC}:30::A", "to_score"),
        (f"{NC}-31-{CHR17[30]}-N", "non_acgt_allele"),
    ],
)
def test_its_status_is_found_by_placing(
    tmp_path: Path, reference: Reference, line: str, status: str
) -> None:
    (row,) = read(tmp_path, line, reference)
    assert place_allele(row, reference, WindowSettings(64)).status == status


BAD_LINES = {
    "hello": "'hello' is not a variant; expected chr-pos-ref-alt, chr:pos:ref:alt, SPDI or HGVS",
    "-5-A-G": "'-5-A-G' is not a variant; expected chr-pos-ref-alt",
    "chr1-5-A": "'chr1-5-A' is not a variant; expected chr-pos-ref-alt",
    "chr1-x-A-G": "position 'x' is not a 64-bit integer",
    f"chr1-{2**63}-A-G": "is not a 64-bit integer",
    "chr1-5--G": "an allele is empty; only SPDI",
    "chr1:5::G": "an allele is empty; only SPDI",
    "chr1:5:A:": "an allele is empty; only SPDI",
    "chr1-5-A-C,": "an allele is empty; only SPDI",
    f"{NC}-5--G": "an allele is empty; only SPDI",
    f"{NC}:-1:A:G": "position '-1' is out of range; SPDI counts",
    f"{NC}:{2**63 - 1}:A:G": "is out of range; SPDI counts",
    f"{NC}:4:A:<DEL>": "inserted sequence '<DEL>', expected letters only",
    f"{NC}:4:A:C,G": "inserted sequence 'C,G', expected letters only",
    f"{NC}:4:-1:G": "deleted sequence '-1', expected letters or the number of bases",
    f"{NC}:4:1A:G": "deleted sequence '1A', expected letters or the number of bases",
    "chr1-5-A-G\tx": r"'chr1-5-A-G\tx' is not a variant; expected chr-pos-ref-alt",
    "chr1-5-A-G x": "'chr1-5-A-G x' is not a variant; expected chr-pos-ref-alt",
}


def test_a_bad_line_costs_one_row(
    tmp_path: Path, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    text = "".join(f"chr1-1-A-G\n{line}\n" for line in BAD_LINES)
    rows = read(tmp_path, text, reference)
    assert [row.record for row in rows] == list(range(2 * len(BAD_LINES)))
    assert {keys(row) for row in rows[1::2]} == {(0, None, None, None, None, "invalid_record")}
    for message, (number, reason) in zip(
        caplog.messages, enumerate(BAD_LINES.values()), strict=True
    ):
        place = f"record {2 * number + 1} (line {2 * number + 2})"
        assert f"list: {place}: invalid record: " in message
        assert reason in message


@pytest.mark.parametrize("compress", [False, True])
def test_comments_blank_lines_and_line_ends(
    tmp_path: Path, reference: Reference, compress: bool
) -> None:
    text = "\ufeff# variants\r\n\r\nchr1-5-A-G\r\n  \n# more\nchr1-6-A-C,G".encode()
    rows = read(tmp_path, gzip.compress(text) if compress else text, reference)
    found = [(row.record, row.allele, row.pos, row.alt) for row in rows]
    assert found == [(0, 1, 5, "G"), (1, 1, 6, "C"), (1, 2, 6, "G")]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, 60),
    num_deleted=st.integers(0, 6),
    inserted=st.text("ACGT", max_size=4),
    as_number=st.booleans(),
)
def test_an_spdi_makes_the_haplotype_of_its_definition(
    tmp_path_factory: pytest.TempPathFactory,
    reference: Reference,
    start: int,
    num_deleted: int,
    inserted: str,
    as_number: bool,
) -> None:
    end = min(start + num_deleted, 60)
    deleted = str(end - start) if as_number else CHR17[start:end]
    folder = tmp_path_factory.mktemp("list")
    (row,) = read(folder, f"{NC}:{start}:{deleted}:{inserted}", reference)
    assert row.ref is not None
    assert row.alt is not None
    assert CHR17[row.start : row.start + len(row.ref)] == row.ref
    made = CHR17[: row.start] + row.alt + CHR17[row.start + len(row.ref) :]
    # Delete so many bases after so many, and put the others there.
    assert made == CHR17[:start] + inserted + CHR17[end:]
    # VCF wants a base in each allele.
    assert (row.ref and row.alt) or made == ""


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contig=st.text(
        st.characters(blacklist_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=12
    ),
    pos=st.integers(-5, 2**63 - 1),
    ref=st.text("ACGTN", min_size=1, max_size=4),
    alt=st.text("ACGTN", min_size=1, max_size=4),
    separator=st.sampled_from("-:"),
)
def test_a_name_of_any_characters_is_read_from_the_right(
    tmp_path_factory: pytest.TempPathFactory,
    reference: Reference,
    contig: str,
    pos: int,
    ref: str,
    alt: str,
    separator: str,
) -> None:
    contig = "x" + contig
    # A sign stands for itself only where colons separate.
    pos = abs(pos) if separator == "-" else pos
    folder = tmp_path_factory.mktemp("list")
    (row,) = read(folder, separator.join([contig, str(pos), ref, alt]), reference)
    assert keys(row) == (1, contig, pos, ref, alt, None)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.one_of(
            st.binary(max_size=30).filter(lambda raw: b"\n" not in raw),
            st.lists(st.sampled_from([NC, "chr1", "5", "-1", "A", "", "0", str(2**63 - 2)])).map(
                lambda parts: ":".join(parts).encode()
            ),
        ),
        max_size=8,
    )
)
def test_every_line_is_a_row(
    tmp_path_factory: pytest.TempPathFactory, reference: Reference, lines: list[bytes]
) -> None:
    good = b"chr1-5-A-G"
    pieces = [piece.strip(b" \t") for line in lines for piece in line.split(b"\r")]
    text = b"\n".join([good] * (len(pieces) + 1) + lines)
    rows = read(tmp_path_factory.mktemp("list"), text, reference)
    num_data = sum(1 for piece in pieces if piece and not piece.startswith(b"#"))
    assert len({row.record for row in rows}) == len(pieces) + 1 + num_data
    for row in rows:
        assert row.pos is None or -(2**63) <= row.pos < 2**63


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"carry": ["gene"]}, "the list has no header that names columns. Add one, for"),
        ({"filters": Filters(pass_only=True)}, "pass_only needs a column named filter"),
        ({"saturate": ["snv"]}, "saturate needs the regions of a BED file, but this is a list of"),
        ({"regions": ["chr1"]}, "regions need a VCF"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    tmp_path: Path, reference: Reference, more: dict[str, object], message: str
) -> None:
    path = tmp_path / "list"
    path.write_text("chr1-5-A-G\n")
    with pytest.raises(InputError, match=message):
        open_variants(path, reference=reference, **more)  # type: ignore[arg-type]
