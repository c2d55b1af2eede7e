"""Bytes and lines of plain, gzip and bgzip files."""

import gzip
import os
import random
import re
import tracemalloc
import zlib
from pathlib import Path

import pysam
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.io import lines
from evo2_tasks.io.bgzip import find_compression
from evo2_tasks.io.lines import CHUNK_BYTES, read_chunks, read_lines, read_start, split_lines


def compress_bgzip(path: Path, data: bytes) -> Path:
    with pysam.BGZFile(str(path), "wb") as file:
        file.write(data)
    return path


def expected_lines(data: bytes) -> list[bytes]:
    lines = re.sub(rb"\r+\n|\r", b"\n", data).split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def expected_with_values(data: bytes, mark: bytes) -> list[bytes]:
    """The lines of data with a line feed, in which only a text with the mark begins a line."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    expected = []
    for line in lines:
        pieces = re.sub(rb"\r+$", b"", line).split(b"\r")
        is_split = any(piece.startswith(mark) for piece in pieces[1:])
        expected += pieces if is_split else [b"\r".join(pieces)]
    return expected


@pytest.mark.parametrize("compression", ["plain", "gzip", "bgzip"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"a",
        b"a\nb",
        b"a\r\nb\r\n",
        b"\n\na\n\n",
        b"x" * 200_000 + b"\ny\n",
        b"a\rb\n",
        b"a\rb\r",
        b"\r\ra",
        b"a\r\r\nb\r\r\n",
        b"a\n\rb",
        b"a\r\r",
    ],
)
def test_lines_are_those_of_the_text(tmp_path: Path, compression: str, data: bytes) -> None:
    path = tmp_path / "file"
    if compression == "bgzip":
        compress_bgzip(path, data)
    else:
        path.write_bytes(gzip.compress(data) if compression == "gzip" else data)
    assert find_compression(path) == compression
    assert list(read_lines(path)) == split_lines(data) == expected_lines(data)
    assert read_start(path, 5) == data[:5]


PIECES = st.lists(
    st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\r\r\n", b"#", b"longer text"]), max_size=30
)


@given(pieces=PIECES, num_padding=st.integers(0, 3))
@settings(deadline=None)
def test_line_ends_at_the_ends_of_chunks(tmp_path_factory, pieces, num_padding) -> None:
    """The first chunk ends within the pieces, wherever they have a line end."""
    tail = b"".join(pieces)
    data = b"x" * (CHUNK_BYTES - num_padding) + tail
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(data)
    assert list(read_lines(path)) == split_lines(data) == expected_lines(data)


@example(pieces=[b"\r", b"#", b"\r", b"\r"], num_padding=0)
@given(pieces=PIECES, num_padding=st.integers(0, 3))
@settings(deadline=None)
def test_a_return_is_a_line_end_where_a_line_follows(tmp_path_factory, pieces, num_padding) -> None:
    data = b"x\n" + b"x" * (CHUNK_BYTES - num_padding - 2) + b"".join(pieces)
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(data)
    lines = list(read_lines(path, lambda text: text.startswith(b"#")))
    assert lines == expected_with_values(data, b"#")


def test_many_lines_without_a_line_feed_come_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"header\n" + b"#0123456789\r" * (1 << 20))
    tracemalloc.start()
    lines = read_lines(path, lambda text: text.startswith(b"#"))
    assert next(lines) == b"header"
    assert sum(line == b"#0123456789" for line in lines) == 1 << 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * CHUNK_BYTES


def test_many_returns_are_many_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    num_returns = 5 * CHUNK_BYTES + 3
    path.write_bytes(gzip.compress(b"a" + b"\r" * num_returns + b"b"))
    lines = list(read_lines(path))
    assert (lines[0], lines[-1]) == (b"a", b"b")
    assert len(lines) == num_returns + 1
    assert not any(lines[1:-1])


def test_members_of_gzip_follow_one_another(tmp_path: Path) -> None:
    path = tmp_path / "two.gz"
    path.write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\n") + b"\0" * 100)
    assert list(read_lines(path)) == [b"a", b"bc"]


def test_much_from_little_comes_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"\n" * (20 * CHUNK_BYTES)))
    sizes = [len(chunk) for chunk in read_chunks(path)]
    assert sum(sizes) == 20 * CHUNK_BYTES
    assert max(sizes) <= CHUNK_BYTES


@pytest.mark.parametrize("compression", ["gzip", "bgzip"])
def test_truncated_data_are_an_error_wherever_they_end(tmp_path: Path, compression: str) -> None:
    data = os.urandom(70_000).hex().encode()
    path = tmp_path / "file.gz"
    if compression == "bgzip":
        compress_bgzip(path, data)
    else:
        path.write_bytes(gzip.compress(data))
    whole = path.read_bytes()
    ends = [*range(2, 40), *range(40, len(whole), 997), *range(len(whole) - 40, len(whole))]
    for end in ends:
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"file\.gz: offset \d+: .*(truncated|missing)"):
            list(read_lines(path))


def test_bgzip_cut_between_blocks_is_truncated(tmp_path: Path) -> None:
    path = compress_bgzip(tmp_path / "file.gz", b"a\n" * 100_000)
    path.write_bytes(path.read_bytes()[:-28])
    with pytest.raises(InputError, match="end block of bgzip is missing"):
        list(read_lines(path))


def test_damaged_data_are_an_error(tmp_path: Path) -> None:
    path = compress_bgzip(tmp_path / "file.gz", os.urandom(70_000).hex().encode())
    data = bytearray(path.read_bytes())
    data[40_000] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"offset \d+: the compressed data are damaged"):
        list(read_lines(path))


def test_bytes_after_gzip_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"a\n") + b"chr1\t1\t.\tA\tC\n")
    with pytest.raises(InputError, match="other bytes after the compressed data"):
        list(read_lines(path))


def test_a_line_without_end_does_not_fill_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\n" + b"x" * (3 * CHUNK_BYTES))
    with pytest.raises(InputError, match="line 2: longer than"):
        list(read_lines(path, max_line_bytes=CHUNK_BYTES))


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_start(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        read_start(tmp_path / "missing")
    with pytest.raises(InputError, match="null"):
        read_start(tmp_path / "nul\0byte")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):
        read_start(tmp_path / "pipe")


def test_messages_stay_one_line_whatever_the_name(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_start(tmp_path / "two\nlines\x1b[31m")
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from([b"A", b"ACGT", None])), max_size=12),
    st.integers(1, 64),
    st.integers(0, 5),
)
def test_members_of_any_size_are_read_as_gzip_reads_them(
    tmp_path_factory: pytest.TempPathFactory,
    members: list[tuple[int, bytes | None]],
    chunk_bytes: int,
    num_zeros: int,
) -> None:
    source = random.Random(0)
    texts = [source.randbytes(n) if unit is None else unit * n for n, unit in members]
    path = tmp_path_factory.mktemp("gzip") / "a.gz"
    path.write_bytes(b"".join(map(gzip.compress, [b"x", *texts])) + bytes(num_zeros))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK_BYTES", chunk_bytes)
        chunks = list(read_chunks(path))
    assert b"".join(chunks) == gzip.decompress(path.read_bytes())
    assert all(len(chunk) <= chunk_bytes for chunk in chunks)


def test_small_members_are_read_in_linear_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zlib gets at most a few times the bytes of the file."""
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"ACGT") * 5_000)
    num_given = 0
    make = zlib.decompressobj

    class Counting:
        def __init__(self, bits: int) -> None:
            self._inflater = make(bits)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal num_given
            num_given += len(data)
            return self._inflater.decompress(data, most)

        def __getattr__(self, name: str) -> object:
            return getattr(self._inflater, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    assert sum(map(len, read_chunks(path))) == 20_000
    assert num_given < 4 * path.stat().st_size
