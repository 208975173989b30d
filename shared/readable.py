"""Files and folders that a setting names, looked at when a process starts and not when they are first needed."""

import os
import ssl
from pathlib import Path


def readable_file(path: Path) -> Path:
    """Raises ValueError, which says what is wrong with it."""
    try:
        if path.is_dir():
            raise ValueError(f"{path} is a folder, and a file is needed")
        with path.open("rb") as file:
            file.read(1)
    except OSError as problem:
        raise ValueError(f"{path} cannot be read: {_why(problem)}") from None
    return path


def writable_file(path: Path) -> Path:
    """One that is there, or can be made. Raises ValueError."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder, and a file is needed")
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise ValueError(f"this user may not read and write {path}")
    there = _nearest(path.parent)
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"this user may not write into {there}")
    return path


def folder(path: Path) -> Path:
    """One that is there, or can be made. Raises ValueError."""
    there = _nearest(path)
    if not os.access(there, os.X_OK | (0 if there == path else os.W_OK)):
        raise ValueError(f"this user may not use {there}")
    return path


def _nearest(path: Path) -> Path:
    """That folder, or what of the way to it is there. Raises ValueError."""
    try:
        there = next(each for each in (path, *path.absolute().parents) if each.exists())
    except (OSError, ValueError) as problem:
        raise ValueError(f"{path} cannot be used: {_why(problem)}") from None
    if not there.is_dir():
        raise ValueError(f"{there} is no folder, and one is needed")
    return there


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """Checks certificates and host names, by these authorities or, if none are named, by the system's.

    Raises ValueError for a file that is missing, or holds no certificate, or a broken one.
    """
    if authorities is None:
        return ssl.create_default_context()
    readable_file(authorities)
    try:
        context = ssl.create_default_context(cafile=str(authorities))
    except (ssl.SSLError, OSError):
        raise ValueError(f"{authorities} holds no certificates, or broken ones: give them in PEM form") from None
    if not context.cert_store_stats()["x509"]:
        raise ValueError(f"{authorities} holds no certificates: give them in PEM form")
    return context


def _why(problem: Exception) -> str:
    return (problem.strerror if isinstance(problem, OSError) else None) or "there is no such place"
