from __future__ import annotations

import os
from pathlib import Path

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.io.files import (
    read_json,
    replace_atomically,
    temporary_name,
    write_json,
    writing,
)


def test_the_target_appears_at_the_end_only(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file.txt"
    with replace_atomically(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_target_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def write() -> None:
        with replace_atomically(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("target", ["/dev/null", "folder"])
def test_only_a_regular_file_is_replaced(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(InputError, match="not a regular file"),
        replace_atomically(tmp_path / target),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"cannot be written: .* is not a folder"),
        replace_atomically(tmp_path / "file" / "x.txt"),
    ):
        pass


def test_a_path_in_a_message_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read_json(tmp_path / "a\nb\x1b[0m.json")
    assert str(raised.value).isprintable()


def test_an_os_error_while_writing_names_the_target(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"out\.txt: cannot be written: No space left"),
        writing(tmp_path / "out.txt"),
    ):
        raise OSError(28, "No space left on device")


def test_json_is_kept_in_order(tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    write_json(target, {"b": 1, "a": [None, "é"]})
    assert list(read_json(target).items()) == [("b", 1), ("a", [None, "é"])]
    assert target.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe{}"])
def test_what_is_no_json_object_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match="JSON"):
        read_json(tmp_path / "x.json")


def test_json_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_only_temporary_files_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    abandoned = temporary_name(target)
    abandoned.touch()
    kept = [".run.json.notes.tmp", ".run.json.0123.tmp.json", ".run.json.swp", "run.json.tmp"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    precious = tmp_path / "precious"
    precious.write_text("content")
    temporary_name(target).symlink_to(precious)
    os.mkfifo(temporary_name(target))  # to open it for reading would wait for a writer
    write_json(target, {"a": 1})
    assert not abandoned.exists()
    assert [(tmp_path / name).read_text() for name in kept] == ["mine"] * len(kept)
    assert precious.read_text() == "content"
