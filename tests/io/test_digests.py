"""Digests of files."""

import hashlib
from pathlib import Path

import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.io import digests
from evo2_tasks.io.digests import copy_file, digest_file


def test_the_digest_is_sha_256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "CHUNK_BYTES", 1000)
    content = bytes(range(256)) * 10
    (tmp_path / "a").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert digest_file(tmp_path / "a") == expected
    with (tmp_path / "b").open("wb") as copy:
        assert copy_file(tmp_path / "a", copy) == expected
    assert (tmp_path / "b").read_bytes() == content


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a: cannot be read: No such file"):
        digest_file(tmp_path / "a")
