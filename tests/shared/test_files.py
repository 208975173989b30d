import errno
import os
from pathlib import Path

import pytest

from shared.files import FileDamaged, FileMissing, FileNotKept, FileStore, hash_of


def test_the_same_bytes_are_stored_once(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    sha256 = store.put(b"plan")
    assert sha256 == hash_of(b"plan") == store.put(b"plan")
    assert store.get(sha256) == b"plan"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [store.path(sha256)]


def test_a_missing_and_a_damaged_file_are_told_apart(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    with pytest.raises(FileMissing):
        store.get("0" * 64)
    sha256 = store.put(b"plan")
    store.path(sha256).write_bytes(b"plot")
    with pytest.raises(FileDamaged):
        store.get(sha256)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FileNotKept, match="No space left on device"):
            FileStore(tmp_path).put(b"plan")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
