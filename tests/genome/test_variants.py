"""Files of any format as one stream of alleles: nothing disappears, whatever is in them."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import Filters, Variant
from evo2_tasks.genome.variants import (
    MAX_LOGGED_INVALID,
    VariantCounts,
    VariantSource,
    open_variants,
)
from evo2_tasks.io.vcf_text import parse_position

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def write(tmp_path: Path, text: str | bytes, name: str = "a.vcf") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(tmp_path: Path, text: str, filters: Filters | None = None) -> list[Variant]:
    return list(open_variants(write(tmp_path, text), filters=filters))


def test_alleles_are_numbered_as_in_gt(tmp_path: Path) -> None:
    rows = "c\t1\t.\tA\tC,G,T\nc\t2\t.\tA\t.\nc\t3\t.\tA\t.,C\nc\t4\t.\tA\t*\n"
    found = [(v.record, v.allele, v.alt) for v in read(tmp_path, HEADER + rows)]
    assert found == [
        *[(0, 1, "C"), (0, 2, "G"), (0, 3, "T")],
        (1, 0, "."),
        *[(2, 1, "."), (2, 2, "C")],
        (3, 1, "*"),
    ]


def test_an_invalid_record_is_one_row_without_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_variants(write(tmp_path, HEADER + "c\t1\t.\tA\tC\nbad\nc\t1\t.\tA\tC,\n"))
    rows = list(source)
    assert rows[1:] == [
        Variant(1, 0, None, None, None, None, "invalid_record", reason="too_few_columns"),
        Variant(2, 0, None, None, None, None, "invalid_record", reason="empty_alt"),
    ]
    assert source.counts == VariantCounts(records=3, alleles=3, invalid=2, filtered=0)
    assert source.count() == source.counts
    assert "record 1 (line 4): invalid record: 1 columns" in caplog.text
    assert "record 2 (line 5): invalid record: an entry of ALT is empty" in caplog.text
    with pytest.raises(ValueError, match="no position"):
        _ = rows[1].start


def test_letters_become_upper_case_and_nothing_else_does(tmp_path: Path) -> None:
    rows = "c\t1\t.\tac\tg,<del>,a],n.,é,ryK\n"
    found = [(v.ref, v.alt) for v in read(tmp_path, HEADER + rows)]
    assert found == [("AC", alt) for alt in ("G", "<del>", "a]", "n.", "é", "RYK")]


def test_many_invalid_records_do_not_flood_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_variants(write(tmp_path, HEADER + "bad\n" * (MAX_LOGGED_INVALID + 5)))
    caplog.clear()
    assert source.count().invalid == MAX_LOGGED_INVALID + 5
    assert not caplog.records
    assert len(list(source)) == MAX_LOGGED_INVALID + 5
    assert len(caplog.records) == MAX_LOGGED_INVALID + 1


@pytest.mark.parametrize(
    ("filters", "left_out"),
    [
        (Filters(), set()),
        (Filters(pass_only=True), {1, 2, 3, 4}),
        (Filters(contigs=("d",)), {0, 1, 2, 3}),
        (Filters(max_length=1), {3}),
        (Filters(max_length=2), set()),
        (Filters(pass_only=True, contigs=["c"], max_length=1), {1, 2, 3, 4}),
    ],
)
def test_filters_leave_rows_in_their_place(
    tmp_path: Path, filters: Filters, left_out: set[int]
) -> None:
    rows = (
        "c\t1\t.\tA\tC\t.\tPASS\t.\n"
        "c\t1\t.\tA\t.\t.\t.\t.\n"
        "c\t1\t.\tA\t<DEL>\t.\tq10\t.\n"
        "c\t1\t.\tA\tCC\t.\tPASS;q10\t.\n"
        "d\t1\t.\tA\t*\n"
    )
    source = open_variants(write(tmp_path, HEADER + rows), filters=filters)
    found = list(source)
    assert [v.record for v in found] == [0, 1, 2, 3, 4]
    assert {v.record for v in found if v.status == "filtered"} == left_out
    assert {v.status for v in found} <= {None, "filtered"}
    assert source.counts.filtered == len(left_out)


def test_what_is_invalid_is_not_filtered(tmp_path: Path) -> None:
    rows = read(tmp_path, HEADER + "x\n", Filters(pass_only=True, contigs=["c"]))
    assert [v.status for v in rows] == ["invalid_record"]


TABLE = "contig\tpos\tref\talt\nc\t1\tA\tC\n"
BARE = "c\t1\t.\tA\tC\n"


@pytest.mark.parametrize(
    ("text", "file_format"),
    [
        (HEADER + BARE, "vcf"),
        ("#CHROM\tPOS\tID\tREF\tALT\n" + BARE, "vcf"),
        ("##source=x\n" + BARE, "vcf"),
        ("\n\n" + HEADER + BARE, "vcf"),
        ("\ufeff" + HEADER + BARE, "vcf"),
        (BARE, "vcf"),
        ("bad line\n" + BARE, "vcf"),
        (HEADER, "vcf"),
        (TABLE, "table"),
        (TABLE.replace("\t", ","), "table"),
        (TABLE.replace("contig", "#CHROM").upper(), "table"),
        ("# made by a tool\n" + TABLE, "table"),
        ("\ufeff" + TABLE, "table"),
        (TABLE.replace("\n", "\r\n"), "table"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_formats_are_recognised_by_content(
    tmp_path: Path, text: str, file_format: str, compress: bool
) -> None:
    data = gzip.compress(text.encode()) if compress else text.encode()
    source = open_variants(write(tmp_path, data, "misleading.parquet"))
    assert source.format == file_format
    found = [(v.contig.lower(), v.pos, v.ref, v.alt) for v in source if v.contig is not None]
    assert found == ([] if text == HEADER else [("c", 1, "A", "C")])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b">chr1\nACGT\n", "looks like FASTA"),
        (b"@r1\nACGT\n+\nIIII\n", "looks like FASTQ or SAM"),
        (b"BAM\1rest", "a BAM file"),
        (b"PK\3\4rest", "a zip archive"),
        (HEADER.encode("utf-16"), "text in UTF-16"),
        (b"##gff-version 3\nc\tx\tgene\t1\t2\t.\t+\t.\tID=1\n", "looks like GFF"),
        (b"chr1\t100\t200\tname\t0\t+\n", "this is a BED file"),
        (b"hello\nworld\n", "expected VCF"),
        (bytes(range(256)) * 50, "expected VCF"),
        (b"\x1f\x8b\x08\x00rest", r"offset \d+"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
        (b"BCF\2\2 and no more", "cannot be read as BCF"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = write(tmp_path, data, "a\n.vcf")
    with pytest.raises(InputError, match=message) as error:
        list(open_variants(path))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(tmp_path))


def test_a_truncated_file_is_an_error_after_its_rows(tmp_path: Path) -> None:
    data = gzip.compress((HEADER + BARE * 50_000).encode(), compresslevel=0)
    rows = iter(open_variants(write(tmp_path, data[:-1000])))
    next(rows)
    with pytest.raises(InputError, match="truncated"):
        list(rows)


def test_pass_only_needs_a_column_in_a_table(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE)
    with pytest.raises(InputError, match="needs a column named filter"):
        open_variants(path, filters=Filters(pass_only=True))
    path = write(tmp_path, "contig,pos,ref,alt,FILTER\nc,1,A,C,PASS\nc,1,A,C,\n")
    rows = list(open_variants(path, filters=Filters(pass_only=True)))
    assert [v.status for v in rows] == [None, "filtered"]


# What hostile text can be in a field of a line: no tab and no line end.
field = st.text(
    st.one_of(
        st.sampled_from("ACGTNacgt.,*<>[]:;=%\"'\\/$`|&\0\x1b\x85\u2028é😀"),
        st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]),
    ),
    max_size=12,
)
pos_field = st.one_of(st.integers(-(2**65), 2**65).map(str), field)
lines = st.lists(
    st.one_of(
        st.tuples(field, pos_field, field, field, field, field, field, field),
        st.lists(field, max_size=10),
    ).map("\t".join),
    max_size=12,
)


def expected_keys(text: str) -> list[tuple[object, ...]]:
    """The keys of all rows by the definition, in a few plain lines."""
    keys: list[tuple[object, ...]] = []
    record = 0
    for line in text.split("\n"):
        if line.startswith("#") or not line.strip(" \t"):
            continue
        cells = line.split("\t")
        alts = cells[4].split(",") if len(cells) > 4 else [""]
        pos = parse_position(cells[1].encode()) if len(cells) > 1 else None
        if not all(cells[:5]) or not all(alts) or pos is None:
            keys.append((record, 0, None, None, None, None, "invalid_record"))
        else:
            ref = cells[3].upper() if cells[3].isalpha() and cells[3].isascii() else cells[3]
            for number, alt in enumerate(alts, start=1):
                spelled = alt.upper() if alt.isalpha() and alt.isascii() else alt
                allele = 0 if alts == ["."] else number
                keys.append((record, allele, cells[0], pos, ref, spelled, None))
        record += 1
    return keys


@given(lines=lines)
@example(lines=["=1+1\t1\t<script>\t../../etc/passwd\t$(rm -rf /)\t.\t.\t\0"])
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_rows_out_are_alleles_in(tmp_path_factory, lines: list[str]) -> None:
    text = "\n".join(lines)
    definition = '##INFO=<ID=X,Number=1,Type=String,Description="">\n'
    header = HEADER.replace("#CHROM", f"{definition}#CHROM")
    path = write(tmp_path_factory.mktemp("vcf"), header + text)
    source = open_variants(path, carry=["ID", "INFO/X", "QUAL"])
    rows = list(source)
    found = [(v.record, v.allele, v.contig, v.pos, v.ref, v.alt, v.status) for v in rows]
    assert found == expected_keys(text)
    assert source.counts == source.count()
    assert source.counts.alleles == len(rows)
    # What is read can be stored: text is valid, numbers fit.
    pa.table({"alt": [v.alt for v in rows], "id": [v.carried[0] for v in rows]})
    pa.array([v.pos for v in rows], pa.int64())


@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda data: HEADER.encode() + data),
        st.binary(max_size=200).map(lambda data: b"c\t1\t.\tA\tC\n" + data),
        st.binary(max_size=200).map(gzip.compress),
        st.binary(max_size=60).map(lambda data: b"\x1f\x8b\x08\x04" + data),
        st.binary(max_size=60).map(lambda data: b"BCF\2\2" + data),
        st.binary(max_size=60).map(lambda data: b"PAR1" + data + b"PAR1"),
        st.binary(max_size=200).map(lambda data: b"contig\tpos\tref\talt\n" + data),
        st.binary(max_size=200).map(lambda data: b"contig,pos,ref,alt\n" + data),
    )
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_end_in_rows_or_one_line(tmp_path_factory, data: bytes) -> None:
    """Also no exception that pysam cannot raise where it occurs: pytest would report it."""
    source = read_rubbish(write(tmp_path_factory.mktemp("rubbish"), data))
    if isinstance(source, InputError):
        assert "\n" not in str(source)
    else:
        assert source.count() == source.counts


def read_rubbish(path: Path) -> VariantSource | InputError:
    try:
        source = open_variants(path)
        assert source.count().alleles == len(list(source))
    except InputError as error:
        return error
    return source


def test_one_table_in_every_format(tmp_path: Path) -> None:
    keys = [("c", 5, "A", "C"), ("c", 5, "A", "G"), ("d", 6, "AC", "A"), ("d", 7, "A", "<DEL>")]
    columns = dict(
        zip(("contig", "pos", "ref", "alt"), map(list, zip(*keys, strict=True)), strict=True)
    )
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    text = "".join("\t".join(map(str, key)) + "\n" for key in [tuple(columns), *keys])
    vcf = HEADER + "".join(f"{c}\t{p}\t.\t{r}\t{a}\n" for c, p, r, a in keys)
    paths = [
        tmp_path / "a.parquet",
        write(tmp_path, text, "a.tsv"),
        write(tmp_path, text.replace("\t", ","), "a.csv"),
        write(tmp_path, vcf),
    ]
    for path in paths:
        assert [(v.contig, v.pos, v.ref, v.alt) for v in open_variants(path)] == keys
