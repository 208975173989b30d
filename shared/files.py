"""Attachments, stored once under the hash of their content: <dir>/ab/cdef… (SHA-256 in hex).

Web writes, mail rooms read; on several machines the folder is a shared volume.
"""

import hashlib
import os
import tempfile
from pathlib import Path


class FileStoreError(Exception):
    """Base of what can go wrong with stored files."""


class FileMissing(FileStoreError):
    """No file of that hash is stored here."""


class FileDamaged(FileStoreError):
    """The stored bytes no longer have the hash they are stored under."""


class FileNotKept(FileStoreError):
    """The disk is full, or does not write; nothing is left behind."""


def hash_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class FileStore:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, sha256: str) -> Path:
        return self.directory / sha256[:2] / sha256[2:]

    def put(self, content: bytes) -> str:
        """Stores the bytes durably, the same bytes twice as one file; returns their hash. Raises FileNotKept."""
        sha256 = hash_of(content)
        path = self.path(sha256)
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, content)
            except OSError as problem:
                raise FileNotKept(str(problem.strerror)) from problem
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes, checked against their hash; raises FileMissing or FileDamaged."""
        try:
            content = self.path(sha256).read_bytes()
        except FileNotFoundError as problem:
            raise FileMissing(f"no file {sha256}") from problem
        if hash_of(content) != sha256:
            raise FileDamaged(f"file {sha256} is damaged")
        return content


def _write(path: Path, content: bytes) -> None:
    """All of it under that name, on the disk; or no file at all."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
