"""Damaged files of a score store are one warning and a miss, and never a wrong value."""

import hashlib
import logging
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.table import store_files, store_lookup
from evo2_tasks.table.store import Store, StoreDescription, digest_signature
from evo2_tasks.table.store_models import ModelKey, ModelRecord, read_models, write_model
from tests.table.build import signature
from tests.table.stores import (
    CIRCULAR,
    LINEAR,
    Key,
    as_table,
    find,
    make_row,
    small_files,
)

ROWS = [make_row(Key(start)) for start in range(40)]
KEYS = [row.key for row in ROWS]
HITS = [(row.forward, row.reverse) for row in ROWS]
MISS = (None, None)


@pytest.fixture(autouse=True)
def _warn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_files, "_warned", set())


def write_rows(folder: Path) -> Path:
    """Write a store with one file of four row groups; gives the file."""
    with small_files(row_group_rows=10, file_rows=1_000):
        Store(folder).write(signature(), LINEAR, as_table(ROWS))
    (file,) = folder.rglob("*.parquet")
    return file


def check(folder: Path, caplog: pytest.LogCaptureFixture, warnings: int = 1) -> list[str]:
    """Every allele is found with its own scores or not at all; gives the warnings of two lookups.

    Args:
        folder: The store.
        caplog: Collects the warnings.
        warnings: Number of warnings that are expected.
    """
    caplog.clear()
    for _ in range(2):
        found = find(Store(folder), KEYS)
        assert all(one in (hit, MISS) for one, hit in zip(found, HITS, strict=True))
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == warnings, lines
    assert all("\n" not in line and "score store: " in line for line in lines)
    return lines


def test_flipped_bytes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write_rows(tmp_path)
    data = file.read_bytes()
    numbers = random.Random(1)
    footer_length = int.from_bytes(data[-8:-4], "little")
    places = [
        *numbers.sample(range(len(data)), 150),
        *numbers.sample(range(len(data) - 8 - footer_length, len(data)), 50),
    ]
    num_missed = 0
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << numbers.randrange(8)
        file.write_bytes(changed)
        store_files._warned.clear()
        caplog.clear()
        found = find(Store(tmp_path), KEYS)
        assert all(one in (hit, MISS) for one, hit in zip(found, HITS, strict=True))
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == (MISS in found), lines
        num_missed += MISS in found
    assert num_missed > 100


def test_truncated_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write_rows(tmp_path)
    data = file.read_bytes()
    for length in [0, 1, 4, 11, 12, *random.Random(2).sample(range(len(data)), 40), len(data) - 1]:
        file.write_bytes(data[:length])
        store_files._warned.clear()
        (line,) = check(tmp_path, caplog)
        assert str(file) in line


def test_a_row_group_that_is_damaged_leaves_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_rows(tmp_path)
    data = bytearray(file.read_bytes())
    data[pq.read_metadata(file).row_group(2).column(0).data_page_offset + 20] ^= 1
    file.write_bytes(data)
    check(tmp_path, caplog)
    assert find(Store(tmp_path), KEYS) == [*HITS[:20], *[MISS] * 10, *HITS[30:]]


Damage = Callable[[Path], None]


def put_garbage(file: Path) -> None:
    file.write_bytes(random.Random(3).randbytes(5_000))


def put_foreign_table(file: Path) -> None:
    pq.write_table(pa.table({"edit_start": [1, 2], "llr_fwd": [0.5, 0.5]}), file)


def put_own_columns(file: Path) -> None:
    """A table that another program wrote, with all columns and other scores."""
    rows = pq.read_table(file)
    place = rows.schema.get_field_index("llr_fwd")
    pq.write_table(rows.set_column(place, "llr_fwd", pa.array([0.5] * 40)), file)


def put_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def put_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def put_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def rename(pattern: str, replacement: str) -> Damage:
    def damage(file: Path) -> None:
        name = re.sub(pattern, replacement, file.name, count=1)
        assert name != file.name
        file.rename(file.with_name(name))

    return damage


def copy_digest(file: Path) -> None:
    """The name of another file of the store, in its place."""
    other = make_row(Key(0))._replace(device="other")
    Store(file.parents[2]).write(signature(), LINEAR, as_table([other]))
    (new,) = set(file.parent.iterdir()) - {file}
    new.replace(file)


DAMAGES: dict[str, Damage] = {
    "garbage": put_garbage,
    "foreign": put_foreign_table,
    "own columns": put_own_columns,
    "folder": put_folder,
    "fifo": put_fifo,
    "loop": put_loop,
    "first": rename("^0-", "1-"),
    "last": rename("-39-", "-40-"),
    "rows": rename("-40-", "-41-"),
    "digest": rename("-[0-9a-f]{16}", "-0123456789abcdef"),
    "other name": rename("^.*", "scores.parquet"),
    "padded number": rename("^0-", "00-"),
    "other ending": rename("parquet", "pq"),
    "other file": copy_digest,
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_file_that_is_not_what_its_name_states(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    file = write_rows(tmp_path)
    DAMAGES[kind](file)
    (line,) = check(tmp_path, caplog)
    assert str(file.parent) in line
    assert find(Store(tmp_path), KEYS) == [MISS] * len(KEYS)


def rewrite_footer(file: Path, key: bytes, value: bytes) -> None:
    """Change the metadata of a file, as another program might, and give it the name that fits."""
    rows = pq.read_table(file)
    metadata = {**(pq.read_metadata(file).metadata or {}), key: value}
    metadata.pop(b"ARROW:schema")
    write = pq.ParquetWriter(file, rows.schema.with_metadata(metadata), write_statistics=False)
    with write as writer:
        writer.write_table(rows, row_group_size=10)
    data = file.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    digest = hashlib.sha256(data[-8 - length : -8]).hexdigest()[:16]
    file.rename(file.with_name(f"0-39-40-{digest}.parquet"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", ""),
        ("row_groups", "[]"),
        ("row_groups", "{}"),
        ("row_groups", "[1, 2, 3, 4]"),
        ("row_groups", "not JSON"),
        ("row_groups", "null"),
        ("devices", "1"),
        ("devices", "[[]"),
        ("contig", "chr1"),
    ],
)
def test_a_footer_of_another_program(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, value: str
) -> None:
    file = write_rows(tmp_path)
    rewrite_footer(file, f"evo2_tasks.{key}".encode(), value.encode())
    check(tmp_path, caplog)
    assert find(Store(tmp_path), KEYS) == [MISS] * len(KEYS)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_compaction_leaves_a_damaged_file_and_merges_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    file = write_rows(tmp_path)
    DAMAGES[kind](file)
    (damaged,) = file.parent.iterdir()
    others = [make_row(Key(start), "other") for start in range(100)]
    for start in range(0, 100, 25):
        Store(tmp_path).write(signature(), LINEAR, as_table(others[start : start + 25]))
    done = Store(tmp_path).compact()
    assert len({*file.parent.iterdir()} - {damaged}) == 1
    assert os.path.lexists(damaged)
    assert done.rows_after >= 100
    found = find(Store(tmp_path), [row.key for row in others])
    assert found == [(row.forward, row.reverse) for row in others]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("level", ["contig", "signature"])
def test_a_file_in_the_folder_of_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, level: str
) -> None:
    file = write_rows(tmp_path / "other")
    if level == "contig":
        folder = tmp_path / f"signature={digest_signature(signature())}" / f"contig={CIRCULAR}"
        of, contig = signature(), CIRCULAR
    else:
        of, contig = signature(dtype="bfloat16"), LINEAR
        folder = tmp_path / f"signature={digest_signature(of)}" / f"contig={contig}"
    folder.mkdir(parents=True)
    shutil.copy(file, folder)
    found = find(Store(tmp_path), KEYS, contig=contig, of=of)
    assert found == [MISS] * len(KEYS)
    (record,) = caplog.records
    assert "belongs to another signature or another contig" in record.getMessage()


def test_hidden_files_are_not_of_the_store(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_rows(tmp_path)
    for folder in (tmp_path, file.parents[1], file.parent):
        (folder / ".nfs0001").write_text("x")
    check(tmp_path, caplog, warnings=0)
    assert find(Store(tmp_path), KEYS) == HITS
    assert Store(tmp_path).describe().signatures
    assert not caplog.records


def test_other_files_among_the_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write_rows(tmp_path)
    (tmp_path / "README").write_text("x")
    (file.parents[1] / "contig=chr1").mkdir()
    for _ in range(2):
        (described,) = Store(tmp_path).describe().signatures
        assert [one.contig for one in described.contigs] == [LINEAR]
    assert len(caplog.records) == 2


def test_a_folder_of_something_else_is_one_line_that_advises_no_removal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("logs", "panel", "models"):
        (tmp_path / name).mkdir()
    (tmp_path / "models" / "mini.identity.json").write_text("{}")
    assert Store(tmp_path).describe() == StoreDescription((), ())
    (line,) = caplog.messages
    assert "than a score store: logs, panel. They are not used. Check that the path" in line
    assert "remove" not in line


@pytest.mark.parametrize("level", [0, 1])
def test_a_file_in_place_of_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    folder = write_rows(tmp_path).parents[level]
    shutil.rmtree(folder)
    folder.write_text("x")
    check(tmp_path, caplog)
    assert find(Store(tmp_path), KEYS) == [MISS] * len(KEYS)
    assert Store(tmp_path).compact().files_after == 0
    assert not any(one.contigs for one in Store(tmp_path).describe().signatures)
    with pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path).write(signature(), LINEAR, as_table(ROWS))
    assert folder.read_text() == "x"


def test_a_file_in_place_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_text("x")
    with pytest.raises(InputError, match="store: the score store cannot be read: Not a dir") as hit:
        Store(path)
    assert "\n" not in str(hit.value)


def test_what_may_not_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_rows(tmp_path)
    original_open, original_list = os.open, Path.iterdir
    closed: set[Path] = {file}

    def refuse(path: object, *args: Any, **kwargs: Any) -> int:
        if path in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return original_open(path, *args, **kwargs)  # type: ignore[arg-type]

    def refuse_to_list(path: Path) -> Iterator[Path]:
        if path in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return original_list(path)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "iterdir", refuse_to_list)
    (line,) = check(tmp_path, caplog)
    assert "Permission denied. Its scores are not used: allow reading it." in line
    for folder in (file.parent, file.parents[1]):
        store_files._warned.clear()
        closed = {folder}
        check(tmp_path, caplog, warnings=folder == file.parent)
        Store(tmp_path).describe()
        Store(tmp_path).compact()
        assert len(caplog.records) == 1
    closed = {tmp_path}
    with pytest.raises(InputError, match=r"cannot be read: Permission denied\. Ask its owner"):
        Store(tmp_path)


def test_a_folder_that_may_not_be_searched_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        Store(tmp_path).write(signature(), LINEAR, as_table(ROWS))
    with pytest.raises(InputError, match="cannot be written: Permission denied"):
        write_model(tmp_path, MODEL)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"signature": {}, "version": "1"}'])
def test_a_damaged_statement_of_the_signature(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    file = write_rows(tmp_path)
    (file.parents[1] / "signature.json").write_text(content)
    for _ in range(2):
        (described,) = Store(tmp_path).describe().signatures
        assert described.signature is None
        assert described.contigs[0].rows == len(ROWS)
    assert len(caplog.records) == 1
    assert find(Store(tmp_path), KEYS) == HITS


def test_the_statement_of_another_signature(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_rows(tmp_path)
    Store(tmp_path / "b").write(signature(dtype="bfloat16"), LINEAR, as_table(ROWS))
    (other,) = (tmp_path / "b").glob("*/signature.json")
    shutil.copy(other, file.parents[1] / "signature.json")
    assert Store(tmp_path).signature(digest_signature(signature())) is None
    assert len(caplog.records) == 1


MODEL = ModelRecord(
    key=ModelKey(
        files={"weights.safetensors": "0" * 64, "config.json": "1" * 64},
        model=None,
        config=None,
        dtype="float32",
        fp8=None,
        allow_without_fp8=False,
    ),
    weights="2" * 64,
    fp8="off",
    version="0.1.0",
    name="m",
)


def test_model_records_are_found_by_their_key(tmp_path: Path) -> None:
    assert read_models(tmp_path / "missing", MODEL.key) == ()
    other = MODEL.model_copy(update={"fp8": "emulate"})
    for record in (MODEL, other, MODEL):
        write_model(tmp_path, record)
    assert {one.fp8 for one in read_models(tmp_path, MODEL.key)} == {"off", "emulate"}
    for change in (
        {"files": {"weights.safetensors": "0" * 64}},
        {"files": {"w.safetensors": "0" * 64, "config.json": "1" * 64}},
        {"model": "evo2_7b"},
        {"config": "3" * 64},
        {"dtype": "bfloat16"},
        {"fp8": "off"},
        {"allow_without_fp8": True},
    ):
        assert read_models(tmp_path, MODEL.key.model_copy(update=change)) == ()
    assert len(Store(tmp_path).describe().models) == 2


@pytest.mark.parametrize("kind", ["truncated", "flipped", "renamed", "moved", "folder"])
def test_a_damaged_model_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    write_model(tmp_path, MODEL)
    (file,) = tmp_path.rglob("*.json")
    text = file.read_text()
    key = MODEL.key
    if kind == "truncated":
        file.write_text(text[:-20])
    elif kind == "flipped":
        file.write_text(text.replace("2" * 64, "4" * 64))
    elif kind == "renamed":
        file.rename(file.with_name("0123456789abcdef.json"))
    elif kind == "moved":
        key = key.model_copy(update={"dtype": "bfloat16"})
        file.parent.rename(file.parents[1] / key.digest())
    else:
        file.unlink()
        file.mkdir()
    for _ in range(2):
        assert read_models(tmp_path, key) == ()
    assert len(caplog.records) == 1


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_and_folders_have_the_permissions_of_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        file = write_rows(tmp_path / "store")
        write_model(tmp_path / "store", MODEL)
        Store(tmp_path / "store").compact()
    finally:
        os.umask(before)
    paths = [*(tmp_path / "store").rglob("*")]
    assert file in paths
    for path in paths:
        most = 0o777 if path.is_dir() else 0o666
        assert path.stat().st_mode & 0o777 == most & ~umask, path


def test_a_store_needs_no_hard_links_and_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr("fcntl.lockf", refuse)
    file = write_rows(tmp_path)
    assert find(Store(tmp_path), KEYS) == HITS
    assert {path.name for path in file.parent.iterdir()} == {file.name}
    assert len(digest_file(file)) == 64


def test_a_file_that_a_compaction_removes_before_it_is_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    for start in range(0, 40, 10):
        store.write(signature(), LINEAR, as_table(ROWS[start : start + 10]))
    original = store_lookup.open_store_file
    opened: list[Path] = []

    def compact_first(path: Path, *args: Any) -> Any:
        if not opened:
            store.compact()
        opened.append(path)
        return original(path, *args)

    monkeypatch.setattr(store_lookup, "open_store_file", compact_first)
    assert find(store, KEYS) == HITS
    assert len(opened) == 5
    assert not caplog.records


@pytest.mark.parametrize("removes", [False, True])
def test_a_folder_to_which_others_never_stop_writing_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removes: bool
) -> None:
    """A process that is faster than a listing adds a file, and removes an older one, each time."""
    file = write_rows(tmp_path)
    listings: list[Path] = []
    original = store_files.list_folder

    def add_file(folder: Path) -> list[Path]:
        assert len(listings) < 1_000
        shutil.copy(file, file.with_name(f"{len(listings)}-{2**62}-1-{'0' * 16}.parquet"))
        listings.append(folder)
        if removes and len(listings) > 1:
            file.with_name(f"{len(listings) - 2}-{2**62}-1-{'0' * 16}.parquet").unlink()
        return original(folder)

    monkeypatch.setattr(store_files, "list_folder", add_file)
    names = store_files.list_files(file.parent)
    assert file in names.values()
    assert removes or len(listings) == 2


def test_a_listing_that_stays_stale_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_rows(tmp_path)
    names = store_files.list_files(file.parent)
    file.unlink()
    monkeypatch.setattr(store_lookup, "FIRST_WAIT_S", 0)
    monkeypatch.setattr(store_lookup, "list_files", lambda _: names)
    check(tmp_path, caplog)
