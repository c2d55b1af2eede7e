"""Records of a FASTA as sequences: against a plain reader and htslib's, whatever the chunks."""

import gzip
import re
from pathlib import Path

import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome import sequences as module
from evo2_tasks.genome.sequences import MAX_NAME_BYTES, SequenceRecord, read_sequences
from evo2_tasks.io import lines

MOST = 1_000


def write(folder: Path, content: bytes, name: str = "in.fa") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read(path: Path, max_length: int = MOST) -> list[SequenceRecord]:
    return list(read_sequences(path, max_length))


def plain(content: bytes) -> list[tuple[str | None, str]]:
    """Names and bases by a reader that has the whole text in memory."""
    records: list[tuple[str | None, str]] = []
    for line in re.split(r"\r\n|\r|\n", content.decode()):
        if line.startswith(">"):
            words = line[1:].split()
            records.append((words[0] if words else None, ""))
        elif records:
            bases = "".join(line.split()).upper()
            records[-1] = (records[-1][0], records[-1][1] + bases)
    return records


NAMES = st.text(st.sampled_from("ab1.|>- \t"), max_size=8)
BASES = st.text(st.sampled_from("ACGTacgtNnRUu- \t"), max_size=30)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n"])
RECORDS = st.lists(st.tuples(NAMES, st.lists(BASES, max_size=4), ENDS), max_size=6)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RECORDS, st.integers(1, 7), st.booleans())
def test_records_are_those_of_a_plain_reader_whatever_the_chunks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    records: list[tuple[str, list[str], str]],
    chunk: int,
    ends_with_line_end: bool,
) -> None:
    text = "".join(end.join([f">{name}", *parts, ""]) for name, parts, end in records)
    content = (text if ends_with_line_end else text.rstrip("\r\n")).encode()
    path = write(tmp_path, content)
    monkeypatch.setattr(lines, "CHUNK_BYTES", chunk)
    found = read(path)
    assert [(one.name, (one.bases or b"").decode()) for one in found] == plain(content)
    assert [one.record for one in found] == list(range(len(found)))
    for one in found:
        bases = (one.bases or b"").decode()
        assert one.length == len(bases)
        assert one.num_other == len(re.sub("[ACGT]", "", bases))
        assert one.is_text == (not re.search("[^A-Z]", bases))
        assert one.is_rna == (bases.count("U") > bases.count("T"))


@pytest.mark.parametrize("kind", ["plain", "gzip", "bgzip", "two gzip members"])
def test_records_are_those_that_htslib_reads(tmp_path: Path, kind: str) -> None:
    content = b">one first record\nACGTACGT\nAC\n>two\nGGGG\n>two again\nTT\n\nTT\n"
    path = tmp_path / "in.fa"
    if kind == "bgzip":
        with pysam.BGZFile(str(path), "wb") as file:
            file.write(content)
    elif kind == "plain":
        path.write_bytes(content)
    else:
        cut = 0 if kind == "gzip" else 20
        path.write_bytes(gzip.compress(content[:cut]) + gzip.compress(content[cut:]))
    with pysam.FastxFile(str(path)) as file:
        expected = [(one.name, one.sequence.encode()) for one in file]
    assert [(one.name, one.bases) for one in read(path)] == expected


def test_a_sequence_above_the_limit_is_counted_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "CHUNK_BYTES", 64)
    path = write(tmp_path, b">a\n" + b"ACGN\n" * 100 + b">b\nAC\n")
    first, second = read(path, max_length=399)
    assert (first.length, first.bases, first.num_other) == (400, None, 100)
    assert (second.name, second.bases) == ("b", b"AC")
    assert read(path, max_length=400)[0].bases == b"ACGN" * 100


def test_a_file_without_records_has_none(tmp_path: Path) -> None:
    for content in (b"", b"\n\r\n  \n", b"\xef\xbb\xbf", gzip.compress(b"")):
        assert read(write(tmp_path, content)) == []


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path: Path) -> None:
    assert [one.name for one in read(write(tmp_path, b"\xef\xbb\xbf>a\nAC\n"))] == ["a"]


def test_a_name_may_be_latin_1_or_too_long(tmp_path: Path) -> None:
    name = b"x" * (MAX_NAME_BYTES + 5)
    latin, long = read(write(tmp_path, b">m\xfcller\nAC\n>" + name + b" words\nGT\n"))
    assert (latin.name, latin.has_whole_name) == ("müller", True)
    assert (long.name, long.has_whole_name) == ("x" * MAX_NAME_BYTES, False)
    assert long.bases == b"GT"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"ACGT\n>a\nACGT\n", "expected a first line that begins with '>'"),
        (b"@read\nACGT\n+\nIIII\n", "seqkit fq2fa"),
        (b"LOCUS       X 10 bp\n", "GenBank"),
        ("\ufeff>a\nACGT\n".encode("utf-16-le"), "UTF-16"),
        (b"PAR1\0\0", "Parquet"),
        (b"; a comment\n>a\nACGT\n", "grep -v '^;'"),
    ],
)
def test_another_format_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(write(tmp_path, content))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_memory_does_not_grow_with_the_length_of_a_line(tmp_path: Path) -> None:
    """A record holds its pieces only up to the limit."""
    record = module._Record(10)
    record.add(b"name\n")
    for _ in range(1_000):
        record.add(b"ACGT" * 1_000)
        assert sum(map(len, record._pieces)) <= 10
    assert record.finish(0).length == 4_000_000
