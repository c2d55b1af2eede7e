"""The reference: indices, access by position, digests."""

import base64
import gzip
import hashlib
import json
import os
import random
import shutil
from pathlib import Path

import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome import reference
from evo2_tasks.genome.blocks import BLOCK_BASES
from evo2_tasks.genome.fasta import digest_collection, read_fasta, read_index
from evo2_tasks.genome.fasta_bases import FastaBases
from evo2_tasks.genome.reference import Reference
from evo2_tasks.io import lines


def write(tmp_path: Path, text: str | bytes, name: str = "g.fa") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def compress_bgzip(path: Path) -> Path:
    target = path.with_name(path.name + ".gz")
    with pysam.BGZFile(str(target), "wb") as file:
        file.write(path.read_bytes())
    return target


def wrap(sequence: str, width: int, end: str = "\n") -> str:
    return "".join(sequence[i : i + width] + end for i in range(0, len(sequence), width))


# The collections of the refget specification's test suite, with the digests it publishes.
BASE = ">chrX\nTTGGGGAA\n>chr1\nGGAA\n>chr2\nGCGC\n"
PUBLISHED = {
    "base": (BASE, "XZlrcEGi6mlopZ2uD8ObHkQB1d0oDwKk"),
    "different_names": (
        BASE.replace("chrX", "X").replace("chr", ""),
        "QvT5tAQ0B8Vkxd-qFftlzEk2QyfPtgOv",
    ),
    "different_order": (
        ">chr1\nGGAA\n>chr2\nGCGC\n>chrX\nTTGGGGAA\n",
        "Tpdsg75D4GKCGEHtIiDSL9Zx-DSuX5V8",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_digests_of_collections(tmp_path: Path, name: str) -> None:
    text, digest = PUBLISHED[name]
    assert Reference(write(tmp_path, text)).seqcol_digest() == digest


def test_published_digests_of_sequences(tmp_path: Path) -> None:
    digests = [s.digest for s in read_fasta(write(tmp_path, BASE + ">x\nACGT\n"))]
    assert digests == [
        "SQ.iYtREV555dUFKg2_agSJW6suquUyPpMw",
        "SQ.YBbVX0dLKG1ieEDCiMmkrTZFt_Z5Vdaj",
        "SQ.AcLxtBuKEPk_7PGE_H4dGElwZHCujwH6",
        "SQ.aKF498dAxcJAqme6QYQ7EZ07-fiw8Kw2",
    ]


def test_published_level_1_digests() -> None:
    """Level 0 is made of those of names and sequences only."""
    level_1 = {
        "names": "Fw1r9eRxfOZD98KKrhlYQNEdSRHoVxAG",
        "sequences": "0uDQVLuHaOZi1u76LjV__yrVUIz9Bwhr",
    }
    text = json.dumps(level_1, separators=(",", ":")).encode()
    digest = base64.urlsafe_b64encode(hashlib.sha512(text).digest()[:24]).decode()
    assert digest == PUBLISHED["base"][1]


def test_names_are_digested_as_text_not_as_escapes() -> None:
    names = ["é", 'quote"', "back\\slash"]
    expected = {
        "names": '["é","quote\\"","back\\\\slash"]',
        "sequences": '["SQ.a","SQ.b","SQ.c"]',
    }
    level_1 = {key: _sha512t24u(text) for key, text in expected.items()}
    text = json.dumps(level_1, separators=(",", ":"))
    assert digest_collection(names, ["SQ.a", "SQ.b", "SQ.c"]) == _sha512t24u(text)


def _sha512t24u(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha512(text.encode()).digest()[:24]).decode()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
@pytest.mark.parametrize("width", [3, 60, 10_000])
@pytest.mark.parametrize("compress", [False, True])
def test_layout_changes_nothing(tmp_path: Path, end: str, width: int, compress: bool) -> None:
    rng = random.Random(1)
    sequences = {
        name: "".join(rng.choice("ACGTacgtnNrY") for _ in range(length))
        for name, length in {"a": 1000, "b": 1, "c": 60, "d|x": 59, "e": 61}.items()
    }
    text = "".join(
        f">{name} some text >{end}{wrap(bases, width, end)}" for name, bases in sequences.items()
    )
    path = write(tmp_path, text)
    path = compress_bgzip(path) if compress else path
    found = Reference(path)
    assert found.contigs == {name: len(bases) for name, bases in sequences.items()}
    for name, bases in sequences.items():
        assert found.fetch(name, 0, len(bases)) == bases.upper()
        other = len(bases) - sum(map(bases.upper().count, "ACGT"))
        assert found.count_non_acgt(name, 0, len(bases)) == other
    plain = write(tmp_path, "".join(f">{n}\n{b.upper()}\n" for n, b in sequences.items()), "p.fa")
    assert found.seqcol_digest() == Reference(plain).seqcol_digest()


@pytest.mark.parametrize("tail", ["", "\n", "\n\n", "\n\n>b\nAC", "\r\n\r\n", " \n", "\n  \n"])
def test_ends_of_files(tmp_path: Path, tail: str) -> None:
    found = Reference(write(tmp_path, ">a\nACGT\nAC" + tail))
    assert found.fetch("a", 0, 6) == "ACGTAC"
    assert len(found.seqcol_digest()) == 32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no sequences; expected FASTA"),
        ("\n\n", "no sequences"),
        ("ACGT\n", "line 1: this is not FASTA"),
        ("##fileformat=VCFv4.2\n>a\nACGT\n", "line 1: this is not FASTA"),
        ("@r\nACGT\n+\nIIII\n", "line 1: this is not FASTA"),
        (">a\nACGT\n>b\nA\n>a\nACGT\n", "several sequences are named 'a'"),
        (">a x\nACGT\n>a y\nACGT\n", "several sequences are named 'a'"),
        (">\nACGT\n", "a sequence has no name"),
        ("> a\nACGT\n", "a sequence has no name"),
        (">a\nACGT\nAC\nACGT\n", "line 3: the lines of sequence 'a' are not all of one length"),
        (">a\nAC\nACGT\n", "line 3: the lines"),
        (">a\nACGT\n\nACGT\n", "line 3: the lines"),
        (">a\n\nACGT\n", "the lines"),
        (">b\nA\n>a\nACGT\nACGT\nACG\r\nACGT\n", r"in line 4, contains '\\r'"),
        (">a\r\r\nACGT\r\r\nACG\r\nACGT\r\r\n", "line 3: the lines of sequence 'a'"),
        (">a\r\nACGT\r\nACGT\nAC\r\n", "line 3: the lines of sequence 'a'"),
        (">a\nACGT\nACG\r\nACGT\n", "others do not; convert with: tr -s"),
        (">a\rACGT\rACGT\r", "line 1: a carriage return without a line feed; expected lines"),
        (">a\nACGT\nAC\n>b\rACGT\rAC\n", "line 4: a carriage return without a line feed"),
        (">a\rACGT\nACGT\n", "line 1: a carriage return without"),
        (">a x\ry\nACGT\nACGT\n", "line 1: a carriage return without"),
        (">a\nACGT\rACGT\rAC\n", "line 2: a carriage return without"),
        (">a\nACGT\nACGT\rAC\n", "line 3: a carriage return without"),
        (">a\n\rACGT\n\rAC\n\r", r"line 2: .* for example with: tr -s '\\r' '\\n' < FILE"),
        ("\r>a\rACGT\r", "line 1: a carriage return without a line feed"),
        (">a\nAC GT\n", "contains ' '; expected letters only"),
        (">a\nACGT \nACGT \n", "contains ' '; expected letters only"),
        (">a\nACGT\nAC>T\n", "contains '>'"),
        (">a\nAC\0GT\n", r"contains '\\x00'"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_what_cannot_be_indexed(tmp_path: Path, text: str, message: str, compress: bool) -> None:
    path = write(tmp_path, text)
    path = compress_bgzip(path) if compress else path
    with pytest.raises(InputError, match=message) as error:
        Reference(path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*.fai"))


def test_names_must_be_utf8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not UTF-8"):
        Reference(write(tmp_path, ">é\nACGT\n".encode("latin-1")))
    assert Reference(write(tmp_path, ">é\nACGT\n", "utf8.fa")).fetch("é", 1, 3) == "CG"


def test_gzip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="compressed with gzip; a FASTA must be plain or"):
        Reference(write(tmp_path, gzip.compress(BASE.encode()), "g.fa.gz"))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        Reference(tmp_path / "no.fa")
    with pytest.raises(InputError, match="is a folder"):
        Reference(tmp_path)


@pytest.mark.parametrize("compress", [False, True])
def test_index_where_it_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: bool
) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    path = write(folder, BASE)
    path = compress_bgzip(path) if compress else path
    make_index = reference.make_index

    def refuse(fasta: Path, index: Path, blocks: Path) -> None:
        if index.parent == folder:
            raise PermissionError(13, "Permission denied")
        make_index(fasta, index, blocks)

    monkeypatch.setattr(reference, "make_index", refuse)
    with pytest.raises(InputError, match="none can be written next to it: Permission denied"):
        Reference(path)
    indices = tmp_path / "out" / "indices"
    digest = Reference(path, index_folder=indices).seqcol_digest()
    assert digest == PUBLISHED["base"][1]
    assert len(list(indices.iterdir())) == 1 + compress
    assert not list(folder.glob("*.fai"))
    # The next run finds it, and makes another one if the file changes.
    monkeypatch.setattr(reference, "make_index", None)
    assert Reference(path, index_folder=indices).seqcol_digest() == digest
    monkeypatch.setattr(reference, "make_index", refuse)
    write(folder, BASE.replace("GGAA", "GGAAC"))
    if compress:
        compress_bgzip(folder / "g.fa")
    assert Reference(path, index_folder=indices).contigs["chr1"] == 5


def test_an_index_that_is_there_is_used(tmp_path: Path) -> None:
    path = write(tmp_path, BASE)
    pysam.faidx(str(path))
    before = (tmp_path / "g.fa.fai").stat()
    assert Reference(path).contigs == {"chrX": 8, "chr1": 4, "chr2": 4}
    assert (tmp_path / "g.fa.fai").stat() == before
    assert [e.name for e in read_index(tmp_path / "g.fa.fai", path)] == ["chrX", "chr1", "chr2"]


def test_an_index_that_cannot_be_read_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, BASE)
    index = write(tmp_path, "closed to others", "g.fa.fai")
    monkeypatch.setattr(os, "access", lambda path, _: path != index)
    assert Reference(path).contigs == {"chrX": 8, "chr1": 4, "chr2": 4}
    assert index.read_text().startswith("chrX\t8")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("chrX\t8\t6\t8\n", "line 1: this is not an index"),
        ("chrX\t8\t6\t8\tx\n", "line 1: this is not an index"),
        ("chrX\t8\t6\t8\t9\nchrX\t8\t6\t8\t9\n", "several sequences are named 'chrX'"),
        ("chrX\t800\t6\t8\t9\n", "is shorter than its index states"),
    ],
)
def test_a_file_that_is_not_an_index_is_an_error(tmp_path: Path, index: str, message: str) -> None:
    path = write(tmp_path, BASE)
    write(tmp_path, index, "g.fa.fai")
    with pytest.raises(InputError, match=message):
        Reference(path)


@pytest.mark.parametrize(
    "change", [("GGAA", "GGAAC"), ("chr2", "chr3"), ("TTGGGGAA", "TTGG\nGGAA")]
)
def test_the_digest_notices_an_index_of_another_file(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    path = write(tmp_path, BASE)
    Reference(path)
    write(tmp_path, BASE.replace(*change))
    with pytest.raises(InputError, match="the index does not match the file"):
        Reference(path).seqcol_digest()


def test_a_name_twice_behind_an_index_that_hides_it(tmp_path: Path) -> None:
    """samtools leaves the second one out of the index with a warning."""
    path = write(tmp_path, BASE)
    Reference(path)
    write(tmp_path, BASE + ">chr1\nTTTT\n")
    with pytest.raises(InputError, match="several sequences are named 'chr1'"):
        Reference(path).seqcol_digest()


def test_circular_contigs_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path, BASE)
    with pytest.raises(InputError, match=r"circular_contigs: 'MT' is not a .*chrX, chr1"):
        Reference(path, circular_contigs=["MT"])
    found = Reference(path, circular_contigs=["chr1"])
    assert [found.is_circular(name) for name in found.contigs] == [False, True, False]


def test_circles_wrap_and_lines_do_not(tmp_path: Path) -> None:
    found = Reference(write(tmp_path, ">c\nACGTN\n>l\nACGTN\n"), circular_contigs=["c"])
    assert found.fetch("c", -2, 3) == "TNACG"
    assert found.fetch("c", 4, 12) == "NACGTNAC"
    assert found.fetch("c", 7, 7) == ""
    assert found.count_non_acgt("c", -1, 10) == 3
    for start, end in [(-1, 2), (0, 6), (3, 2)]:
        with pytest.raises(ValueError, match="has no range"):
            found.fetch("l", start, end)


@pytest.fixture(scope="module")
def long_reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Reference]:
    """Several blocks, the last one short, one of them full of N."""
    rng = random.Random(5)
    bases = "".join(rng.choices("ACGTacgt", k=3 * BLOCK_BASES + 12_345))
    ns = "N" * (BLOCK_BASES + 10)
    bases = bases[:1000] + "n" + bases[1000 : BLOCK_BASES - 5] + ns + bases[BLOCK_BASES - 5 :]
    path = tmp_path_factory.mktemp("long") / "g.fa"
    path.write_text(f">long\n{wrap(bases, 61)}>circle\n{bases[:7]}\n")
    return bases.upper(), Reference(path, circular_contigs=["circle"])


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_ranges_across_blocks(long_reference: tuple[str, Reference], data: st.DataObject) -> None:
    bases, found = long_reference
    near = st.builds(
        lambda block, shift: min(len(bases), max(0, block * BLOCK_BASES + shift)),
        st.integers(0, 5),
        st.integers(-20, 20),
    )
    start, end = sorted(data.draw(st.tuples(near, near)))
    expected = bases[start:end]
    assert found.fetch("long", start, end) == expected
    num_other = len(expected) - sum(map(expected.count, "ACGT"))
    assert found.count_non_acgt("long", start, end) == num_other


def test_blocks_are_forgotten(
    long_reference: tuple[str, Reference], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "CACHED_BLOCKS", 2)
    bases, found = long_reference
    rng = random.Random(3)
    for _ in range(50):
        start = rng.randrange(len(bases))
        assert found.fetch("long", start, start + 5) == bases[start : start + 5]
        assert len(found._blocks) <= 6


def test_a_scan_in_small_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    text = "".join(
        f">{name} {'x' * rng.randrange(30)}{end}{wrap('ACGTN' * rng.randrange(40), width, end)}"
        for name, width, end in [
            ("a", 7, "\n"),
            ("b", 7, "\r\n"),
            ("c", 200, "\n"),
            ("d", 1, "\n"),
            ("e", 5, "\r\r\n"),
        ]
    )
    path = write(tmp_path, text)
    whole = list(read_fasta(path))
    for size in (1, 2, 3, 5, 7, 8, 64):
        monkeypatch.setattr(lines, "CHUNK_BYTES", size)
        assert list(read_fasta(path)) == whole
    pysam.faidx(str(path))
    index = read_index(tmp_path / "g.fa.fai", path)
    assert [s.entry.length for s in whole] == [entry.length for entry in index]
    assert [s.entry for s in whole if s.entry.length] == [e for e in index if e.length]


@pytest.mark.parametrize("folder", ["space and 'quote'", "semi;colon$(x)", "ünï"])
def test_paths_are_only_paths(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    path = write(tmp_path / folder, BASE, "-x; rm .fa")
    assert Reference(compress_bgzip(path)).seqcol_digest() == PUBLISHED["base"][1]
    shutil.rmtree(tmp_path / folder)


def test_contig_names_are_only_names(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "=1+1", "<b>", "$(x)", "a:1-5", "chr1:1", "x'y\"z"]
    found = Reference(write(tmp_path, "".join(f">{name}\nACGTAC\n" for name in names)))
    assert list(found.contigs) == names
    assert {found.fetch(name, 1, 4) for name in names} == {"CGT"}


def test_gaps_have_a_place(tmp_path: Path) -> None:
    found = Reference(write(tmp_path, ">a\nAC-.\n*T\n"))
    assert found.fetch("a", 0, 6) == "AC-.*T"
    assert found.count_non_acgt("a", 0, 6) == 3
    assert found.seqcol_digest() != Reference(write(tmp_path, ">a\nACT\n", "b.fa")).seqcol_digest()


def test_indices_are_those_of_samtools(tmp_path: Path) -> None:
    rng = random.Random(6)
    text = "".join(f">{name}\n{wrap(rng.randbytes(99_000).hex(), 70)}" for name in "abc")
    path = compress_bgzip(
        write(tmp_path, text.translate(str.maketrans("0123456789", "ACGTNACGTN")))
    )
    Reference(path)
    ours = [tmp_path / f"g.fa.gz.{suffix}" for suffix in ("fai", "gzi")]
    theirs = [tmp_path / "their.fai", tmp_path / "their.gzi"]
    pysam.faidx(str(path), "--fai-idx", str(theirs[0]), "--gzi-idx", str(theirs[1]))
    assert [file.read_bytes() for file in ours] == [file.read_bytes() for file in theirs]


def test_an_index_does_not_hide_a_lone_return(tmp_path: Path) -> None:
    """samtools takes the bases up to the first line feed for a description."""
    path = write(tmp_path, ">a\rACGTA\nCGTAC\nGT\n")
    pysam.faidx(str(path))
    assert dict(Reference(path).contigs) == {"a": 7}
    with pytest.raises(InputError, match="line 1: a carriage return without a line feed"):
        Reference(path).seqcol_digest()


@pytest.mark.parametrize("compress", [False, True])
def test_bases_are_those_of_samtools(tmp_path: Path, compress: bool) -> None:
    """Contigs are shorter and longer than a block of bgzip, and begin anywhere in one."""
    rng = random.Random(8)
    sequences = {
        f"{name}{width}": ("".join(rng.choices("ACGTNacgt-*", k=length)), width, end)
        for name, length in {"a": 200_000, "b": 1, "c": 0, "d": 65_280, "e": 70_001}.items()
        for width, end in [(60, "\n"), (61, "\r\n"), (10**6, "\n"), (7, "\r\r\n")]
    }
    text = "".join(f">{n} x{end}{wrap(s, w, end)}" for n, (s, w, end) in sequences.items())
    path = write(tmp_path, text)
    path = compress_bgzip(path) if compress else path
    found = Reference(path)
    with pysam.FastaFile(str(path)) as file:
        assert dict(zip(file.references, file.lengths, strict=True)) == dict(found.contigs)
        for name in found.contigs:
            assert found.fetch(name, 0, found.contigs[name]) == file.fetch(name).upper()
            for _ in range(20):
                ends = sorted(rng.randrange(found.contigs[name] + 1) for _ in range(2))
                assert found.fetch(name, *ends) == file.fetch(name, *ends).upper()


def test_contigs_beyond_2_31_bases_are_read(tmp_path: Path) -> None:
    """The file has a hole, so that it needs no space: its bases are at both ends of the contig."""
    path = tmp_path / "g.fa"
    length, places = 5_000_000_000, (0, 2**31 - 6, 2**32 - 3, 5_000_000_000 - 12)
    with path.open("wb") as file:
        file.write(b">a\n")
        for number, place in enumerate(places):
            file.seek(3 + place)
            file.write(b"ACGTACGTACG" + b"ACGT"[number : number + 1])
        file.write(b"\n>b\nTTGA\n")
    (tmp_path / "g.fa.fai").write_text(
        f"a\t{length}\t3\t{length}\t{length + 1}\nb\t4\t{length + 7}\t4\t5\n"
    )
    assert dict(Reference(path).contigs) == {"a": length, "b": 4}
    assert Reference(path).fetch("b", 0, 4) == "TTGA"
    entries = read_index(tmp_path / "g.fa.fai", path)
    bases = FastaBases(path, entries, tmp_path / "g.fa.gz.gzi")
    got = [bases.fetch("a", place, place + 12) for place in places]
    assert got == [f"ACGTACGTACG{base}" for base in "ACGT"]


@pytest.mark.parametrize("what", ["fasta", "gzi", "short gzi"])
def test_damage_behind_an_index_is_one_line(tmp_path: Path, what: str) -> None:
    rng = random.Random(9)
    text = ">a\n" + "".join(rng.choices("ACGT", k=300_000)) + "\n"
    path = compress_bgzip(write(tmp_path, text))
    Reference(path)
    changed = path if what == "fasta" else tmp_path / "g.fa.gz.gzi"
    data = bytearray(changed.read_bytes())
    if what == "short gzi":
        data = data[:-1]
    else:
        middle = len(data) // 2
        data[middle : middle + 40] = bytes(byte ^ 0x55 for byte in data[middle : middle + 40])
    changed.write_bytes(bytes(data))
    with pytest.raises(InputError) as error:
        Reference(path).fetch("a", 0, 300_000)
    assert "\n" not in str(error.value)


def test_an_empty_sequence_is_one(tmp_path: Path) -> None:
    found = Reference(write(tmp_path, ">a\n>b\nACGT\n>c\n"))
    assert found.contigs == {"a": 0, "b": 4, "c": 0}
    assert found.fetch("a", 0, 0) == ""
    assert found.fetch("b", 0, 4) == "ACGT"
    assert Reference(tmp_path / "g.fa").seqcol_digest() == found.seqcol_digest()


@given(
    data=st.one_of(
        st.binary(max_size=100),
        st.lists(
            st.sampled_from(
                [b">a\n", b">b x\n", b">", b"ACGT\n", b"AC", b"\n", b"\r\n", b"\r", b" ", b"\xff"]
            ),
            max_size=12,
        ).map(b"".join),
    ),
    index=st.one_of(st.none(), st.binary(max_size=30), st.just(b"a\t4\t3\t4\t5\n")),
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_reference_or_one_line(
    tmp_path_factory, data: bytes, index: bytes | None
) -> None:
    path = write(tmp_path_factory.mktemp("any"), data)
    if index is not None:
        write(path.parent, index, "g.fa.fai")
    found = read_any(path)
    if isinstance(found, InputError):
        assert "\n" not in str(found)
    else:
        assert len(found) == 32


def read_any(path: Path) -> str | InputError:
    try:
        opened = Reference(path)
        for name, length in opened.contigs.items():
            assert len(opened.fetch(name, 0, length)) == length
        return opened.seqcol_digest()
    except InputError as error:
        return error


def test_blocks_have_the_digests_of_their_bases(tmp_path: Path) -> None:
    rng = random.Random(3)
    lengths = {"a": 2 * BLOCK_BASES + 77, "b": BLOCK_BASES, "empty": 0, "c": 9}
    genome = {name: "".join(rng.choices("ACGTNacgt", k=length)) for name, length in lengths.items()}
    text = "".join(f">{name}\n{wrap(bases, 60)}" for name, bases in genome.items())
    path = write(tmp_path, text)
    for fasta in (path, compress_bgzip(path)):
        blocks = [block for one in Reference(fasta).read_sequences() for block in one.blocks]
        assert [(block.reference_contig, block.start, block.end) for block in blocks] == [
            ("a", 0, BLOCK_BASES),
            ("a", BLOCK_BASES, 2 * BLOCK_BASES),
            ("a", 2 * BLOCK_BASES, lengths["a"]),
            ("b", 0, BLOCK_BASES),
            ("empty", 0, 0),
            ("c", 0, 9),
        ]
        for block in blocks:
            bases = genome[block.reference_contig][block.start : block.end].upper()
            assert block.sha256 == hashlib.sha256(bases.encode()).digest()


@pytest.mark.parametrize(
    ("contig", "place", "is_noticed"),
    [("a", 5, True), ("a", BLOCK_BASES + 5, False), ("a", 2 * BLOCK_BASES, True), ("b", 0, False)],
)
def test_another_base_is_noticed_in_each_block_that_was_read(
    tmp_path: Path, contig: str, place: int, is_noticed: bool
) -> None:
    """Size and time of the file stay the same; the blocks read are the first and third of a."""
    genome = {"a": "ACGT" * (BLOCK_BASES // 2 + 8), "b": "GGCC"}
    right = write(tmp_path, "".join(f">{name}\n{bases}\n" for name, bases in genome.items()))
    blocks = [block for one in Reference(right).read_sequences() for block in one.blocks]
    bases = genome[contig]
    genome[contig] = f"{bases[:place]}N{bases[place + 1 :]}"
    write(tmp_path, "".join(f">{name}\n{bases}\n" for name, bases in genome.items()))
    found = Reference(right)
    for start in (40, 2 * BLOCK_BASES + 4, 40):
        found.fetch("a", start, start + 8)
    if is_noticed:
        with pytest.raises(InputError, match=r"g\.fa has other sequences"):
            found.require_same(blocks)
    else:
        found.require_same(blocks)


@pytest.mark.parametrize(
    "change",
    [("GGAA", "GGAAC"), ("chr2", "chr3"), (">chr2\nGCGC\n", ""), ("\n>chr2", "\n>n\nA\n>chr2")],
)
def test_other_names_and_lengths_are_noticed_though_no_base_was_read(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    path = write(tmp_path, BASE)
    blocks = [block for one in Reference(path).read_sequences() for block in one.blocks]
    Reference(path).require_same(blocks)
    other = Reference(write(tmp_path, BASE.replace(*change), "other.fa"))
    with pytest.raises(InputError, match="has other sequences"):
        other.require_same(blocks)


def test_a_block_that_changes_between_two_readings_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "CACHED_BLOCKS", 1)
    path = write(tmp_path, BASE)
    found = Reference(path)
    assert found.fetch("chr1", 0, 4) == "GGAA"
    found.fetch("chr2", 0, 4)
    path.write_text(BASE.replace("GGAA", "GGAC"))
    with pytest.raises(InputError, match="has other sequences"):
        found.fetch("chr1", 0, 4)
