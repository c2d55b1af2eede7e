"""Inputs larger than any real file: one line that names the file, the limit and the way out.

The limits are lowered, so that the files are small. The memory at the real limits is measured in
benchmarks/results.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pysam
import pysam.bcftools
import pytest

from evo2_tasks.config import yaml_files
from evo2_tasks.errors import InputError
from evo2_tasks.genome import (
    bed,
    contigs,
    fasta,
    fasta_bases,
    formats,
    gff,
    interval_lists,
    table_cells,
    variant_lists,
    variant_tables,
)
from evo2_tasks.genome.bed import read_features
from evo2_tasks.genome.contigs import ContigNames
from evo2_tasks.genome.fasta import make_index, read_fasta, read_index
from evo2_tasks.genome.interval_lists import read_intervals
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.io import htslib, lines, vcf_text

VCF = (
    "##fileformat=VCFv4.2\n##contig=<ID=c,length=64>\n"
    '##INFO=<ID=X,Number=.,Type=String,Description="x">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
)
GOOD = "c\t3\t.\tG\tA\t.\t.\tX=a\n"


def write_vcf(folder: Path, record: str, kind: str) -> Path:
    path = folder / "in.vcf"
    path.write_text(VCF + GOOD + record)
    if kind == "plain":
        return path
    if kind == "bcf":
        out = folder / "in.bcf"
        with (
            pysam.VariantFile(str(path)) as source,
            pysam.VariantFile(str(out), "wb", header=source.header) as target,
        ):
            for one in source:
                target.write(one)
        return out
    return Path(pysam.tabix_index(str(path), preset="vcf", force=True))


@pytest.mark.parametrize("kind", ["plain", "bgzip", "regions", "bcf"])
@pytest.mark.parametrize(
    ("record", "limit", "value", "problem"),
    [
        ("c\t5\t.\tG\t" + "A" * 100, "MAX_FIXED_BYTES", 100, "CHROM to INFO have 1"),
        ("c\t5\t.\t" + "A" * 100 + "\tG", "MAX_FIXED_BYTES", 100, "CHROM to INFO have 1"),
        ("c\t5\t.\tG\tA,C,T,AA", "MAX_ALTS", 3, "4 ALT alleles, more than 3"),
        ("c\t5\t.\tG\tA\t.\t.\tX=" + "A" * 100, "MAX_INFO_BYTES", 100, "INFO has 102 bytes"),
    ],
)
def test_a_record_beyond_any_real_one_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    record: str,
    limit: str,
    value: int,
    problem: str,
) -> None:
    columns = record.split("\t")
    path = write_vcf(tmp_path, "\t".join([*columns, *"..."[: 8 - len(columns)]]) + "\n", kind)

    def read() -> list[Any]:
        return list(open_variants(path, regions=["c"] if kind == "regions" else None))

    monkeypatch.setattr(vcf_text, "MAX_ALTS", 3)
    whole = {"MAX_ALTS": 4}.get(limit, 1_000)
    monkeypatch.setattr(vcf_text, limit, whole)
    assert len(read()) == 1 + len(columns[4].split(","))
    monkeypatch.setattr(vcf_text, limit, value)
    with pytest.raises(InputError, match=problem) as refusal:
        read()
    assert str(path) in str(refusal.value)
    assert "Leave the record out" in str(refusal.value)


def test_a_header_beyond_any_real_one_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_vcf(tmp_path, "", "plain")
    monkeypatch.setattr(vcf_text, "MAX_COLUMNS_BYTES", 20)
    with pytest.raises(
        InputError, match=r"in\.vcf: line 4: the names of the columns have 38 bytes"
    ):
        open_variants(path)
    monkeypatch.setattr(vcf_text, "MAX_HEADER_BYTES", 200)
    with pytest.raises(InputError, match=r"in\.vcf: line 3: the header has more than 200 bytes"):
        open_variants(path)


def _read_table(path: Path) -> Iterator[Any]:
    return iter(open_variants(path))


def _read_list(path: Path) -> Iterator[Any]:
    (path.with_name("g.fa")).write_text(">c\n" + "ACGT" * 16 + "\n")
    return iter(open_variants(path, reference=Reference(path.with_name("g.fa"))))


def _read_report(path: Path) -> Iterator[Any]:
    ContigNames({"c": 64}, None, path, source="g.fa")
    return iter(())


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (_read_table, "contig\tpos\tref\talt\nc\t3\tG\tA\nc\t3\tG\tLONG\n"),
        (_read_table, 'contig,pos,ref,alt\nc,3,G,A\nc,3,G,"LONG"\n'),
        (_read_list, "c-3-G-A\nc-3-G-LONG\n"),
        (read_features, "c\t3\t4\nc\t3\t4\tLONG\n"),
        (read_intervals, "c\t3\t4\t+\tx\nc\t3\t4\t+\tLONG\n"),
        (_read_report, "# Sequence-Name\tRefSeq-Accn\nc\tNC\nd\tLONG\n"),
    ],
)
def test_a_row_beyond_any_real_one_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Any, text: str
) -> None:
    monkeypatch.setattr(lines, "CHUNK_BYTES", 64)
    for module in (
        bed,
        contigs,
        formats,
        interval_lists,
        table_cells,
        variant_lists,
        variant_tables,
    ):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 1_000)
    path = tmp_path / "in.txt"
    path.write_text(text.replace("LONG", "A" * 500))
    list(read(path))
    path.write_text(text.replace("LONG", "A" * 2_000))
    with pytest.raises(InputError, match=r"in\.txt: line \d: longer than 1,000 bytes") as refusal:
        list(read(path))
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|", " "])
@pytest.mark.parametrize("before", ["", "contig\tpos\tref\talt\n"], ids=["first", "second"])
def test_a_line_with_too_many_columns_to_be_a_header_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delimiter: str, before: str
) -> None:
    monkeypatch.setattr(formats, "MAX_COLUMNS", 100)
    path = tmp_path / "in.txt"
    path.write_text(before + delimiter.join(["x"] * 200) + "\n")
    number = 1 + before.count("\n")
    expected = rf"in\.txt: line {number}: '.*': this line has more than 100 columns; check"
    with pytest.raises(InputError, match=expected) as refusal:
        formats.find_format(path)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1 << 20])
def test_a_long_header_line_of_a_fasta_is_read_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(lines, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(fasta, "MAX_NAME_BYTES", 8)
    path = tmp_path / "g.fa"
    for end in ("\n", "\r\n", "\r\r\n"):
        path.write_text(f">c\tlong {'x' * 300}{end}ACGT{end}>long_one{end}GG{end}", newline="")
        plain = path.read_bytes()
        found = [one.entry for one in read_fasta(path)]
        assert [(one.name, one.length) for one in found] == [("c", 4), ("long_one", 2)]
        assert [plain[one.offset :][: one.length] for one in found] == [b"ACGT", b"GG"]
    path.write_text(f">c {'x' * 30}\r{'x' * 30}\nACGT\n", newline="")
    with pytest.raises(InputError, match="line 1: a carriage return without a line feed"):
        list(read_fasta(path))
    for tail in ("", " x", "\nACGT\n"):
        path.write_text(f">long_name{tail}")
        with pytest.raises(InputError, match=r"g\.fa: a sequence name has more than 8 bytes"):
            list(read_fasta(path))


def test_a_reference_beyond_any_real_one_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g.fa"
    path.write_text(">a\nAC\n>b\nAC\n>c\nAC\n")
    index = tmp_path / "g.fa.fai"
    make_index(path, index, tmp_path / "none")
    monkeypatch.setattr(fasta, "MAX_SEQUENCES", 3)
    assert len(read_index(index, path)) == len(list(read_fasta(path))) == 3
    monkeypatch.setattr(fasta, "MAX_SEQUENCES", 2)
    for read in (lambda: read_index(index, path), lambda: list(read_fasta(path))):
        with pytest.raises(InputError, match=r"g\.fa: has more than 2 sequences.*samtools faidx"):
            read()
    path.write_text(">a\nAC\n" + "\n" * 50)
    monkeypatch.setattr(fasta, "MAX_BLANK_BYTES", 40)
    with pytest.raises(InputError, match=r"g\.fa: sequence 'a' has more than 40 blanks"):
        list(read_fasta(path))
    index.write_text(f"a\t{'9' * 30}\t3\t2\t3\n")
    with pytest.raises(InputError, match=r"g\.fa\.fai: line 1: this is not an index"):
        read_index(index, path)


def test_an_index_of_blocks_beyond_any_real_one_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "plain.fa"
    plain.write_text(">a\n" + ("ACGT" * 15 + "\n") * 5_000)
    path = tmp_path / "g.fa.gz"
    pysam.tabix_compress(str(plain), str(path))
    expected = pysam.FastaFile(str(path))  # htslib makes both indexes
    ours = [tmp_path / name for name in ("fai", "gzi")]
    make_index(path, *ours)
    for one in ours:
        assert one.read_bytes() == path.with_name(f"{path.name}.{one.name}").read_bytes()
    reference = Reference(path)
    for start in (0, 65_000, 130_000, 299_000):
        assert reference.fetch("a", start, start + 900) == expected.fetch("a", start, start + 900)
    monkeypatch.setattr(fasta, "MAX_BGZIP_BLOCKS", 2)
    with pytest.raises(InputError, match=r"g\.fa\.gz: has more than 2 blocks of bgzip"):
        make_index(path, *ours)
    monkeypatch.setattr(fasta_bases, "MAX_BGZIP_BLOCKS", 2)
    with pytest.raises(InputError, match=r"g\.fa\.gz: .*the \.gzi lists 4 blocks, more than 2"):
        Reference(path)
    path.with_name("g.fa.gz.gzi").write_bytes(struct.pack("<Q", 2) + b"x" * 31)
    with pytest.raises(InputError, match=r"the \.gzi is not an index of blocks"):
        Reference(path)


def test_the_page_states_the_limits() -> None:
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    section = page.split("## Largest inputs")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| (.+) \| ([0-9,]+(?: [MK]iB)?) \|$", section, re.MULTILINE))
    units = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20}
    stated = [
        int(number.replace(",", "")) * units[unit]
        for number, _, unit in (value.partition(" ") for value in rows.values())
    ]
    assert stated == [
        lines.MAX_LINE_BYTES,
        vcf_text.MAX_FIXED_BYTES,
        vcf_text.MAX_INFO_BYTES,
        vcf_text.MAX_ALTS,
        vcf_text.MAX_HEADER_BYTES,
        vcf_text.MAX_COLUMNS_BYTES,
        lines.MAX_ROW_BYTES,
        formats.MAX_COLUMNS,
        gff.MAX_LINE_BYTES,
        gff.MAX_NODES,
        gff.MAX_PARTS,
        gff.MAX_TEXT_BYTES,
        fasta.MAX_SEQUENCES,
        fasta.MAX_NAME_BYTES,
        fasta.MAX_BLANK_BYTES,
        fasta.MAX_BGZIP_BLOCKS,
        htslib.MAX_INDEX_BYTES,
        variant_tables.MAX_CHUNK_BYTES,
        yaml_files.MOST_VALUES,
        yaml_files.MOST_CHARACTERS,
        1 << 24,  # MAX_BYTES of evo2/documents.py, whose package imports torch
    ]


@pytest.mark.parametrize("kind", ["regions", "bcf"])
def test_an_index_beyond_any_real_one_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = write_vcf(tmp_path, "", kind)
    if kind == "bcf":
        pysam.bcftools.index(str(path))
    assert len(list(open_variants(path, regions=["c"]))) == 1
    monkeypatch.setattr(htslib, "MAX_INDEX_BYTES", 20)
    with pytest.raises(InputError, match=r"(tbi|csi): has more than 20 bytes .*bcftools index"):
        list(open_variants(path, regions=["c"]))


def test_a_parquet_column_beyond_any_real_one_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.parquet"
    count = 3_000
    columns = {
        "contig": ["c"] * count,
        "pos": list(range(1, count + 1)),
        "ref": ["G"] * count,
        "alt": ["A", "C", "T"] * (count // 3),
        "note": ["x" * 10_000, None, "y"] * (count // 3),
        "id": [f"id{number}" for number in range(count)],
    }
    pq.write_table(pa.table(columns), path, row_group_size=1_000)
    monkeypatch.setattr(variant_tables, "_BATCH_ROWS", 700)
    found = list(open_variants(path, carry=["note", "id"]))
    assert [one.carried for one in found] == list(zip(columns["note"], columns["id"], strict=True))
    assert [one.alt for one in found] == columns["alt"]
    # Equal texts of a batch are one object.
    notes = [one.carried[0] for one in found[:600] if one.carried[0] is not None]
    assert len({id(note) for note in notes}) == 2
    monkeypatch.setattr(variant_tables, "MAX_CHUNK_BYTES", 5_000)
    assert len(list(open_variants(path))) == count  # the other columns are not read
    with pytest.raises(InputError, match=r"row group 0: the column 'note' has 1\d,\d{3} bytes"):
        open_variants(path, carry=["note"])
