"""tools/bootstrap on machines that lack something: what failed is shown, and the package that mends it is named."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from local import debian, hints
from local.errors import Unavailable
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    made = tmp_path / "checkout"
    for part in ("tools", "local", "requirements"):
        shutil.copytree(ROOT / part, made / part, ignore=shutil.ignore_patterns("__pycache__"))
    return made


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def bootstrap(checkout: Path, programs: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """With these programs and no other."""
    settings = {
        "PATH": str(programs),
        "POSTHASTE_CACHE_DIR": str(checkout / "cache"),
        "PIP_RETRIES": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "POSTHASTE_"))
    }
    return subprocess.run(
        [sys.executable, checkout / "tools" / "bootstrap.py", "run"],
        env=inherited | settings | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


UV_SAYS = [
    (
        "error: Request failed after 3 retries\n  Caused by: invalid peer certificate: UnknownIssuer",
        "ca-certificates",
    ),
    ("error: Failed to fetch\n  Caused by: dns error: failed to lookup address information", "resolved"),
    ("error: Failed to build `psycopg`\n  fatal error: Python.h: No such file or directory", "python3-dev"),
    ("error: failed to write to file\n  Caused by: No space left on device (os error 28)", "disk is full"),
    ("error: Git executable not found. Ensure that git is installed and available.", "package git"),
    ("error: something nobody has seen before", ""),
]


@pytest.mark.parametrize(("says", "named"), UV_SAYS)
def test_a_uv_that_fails(says: str, named: str, checkout: Path, tmp_path: Path) -> None:
    lines = "\n".join(f"echo '{line}' >&2" for line in ["one", "two", "three", "four", *says.splitlines()])
    program(tmp_path / "bin", "uv", f'[ "$1" = --version ] && exit 0\n{lines}\nexit 2')
    done = bootstrap(checkout, tmp_path / "bin")
    assert done.returncode == 1
    assert "`uv venv --quiet --clear" in done.stderr
    assert all(line.strip() in done.stderr for line in says.splitlines())
    assert named in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.fixture
def untrusted_index() -> Iterator[str]:
    """A package index whose certificate nobody here trusts, as all are without ca-certificates."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # it is meant to be refused
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}/simple"
    server.shutdown()
    thread.join()
    server.server_close()


def test_without_certificates_the_package_that_mends_it_is_named_first(
    checkout: Path, tmp_path: Path, untrusted_index: str
) -> None:
    """A bare Debian 13: pip's own words are shown, and not that pip would be missing."""
    (tmp_path / "bin").mkdir()
    done = bootstrap(checkout, tmp_path / "bin", PIP_INDEX_URL=untrusted_index)
    assert done.returncode == 1
    assert "ca-certificates" in done.stderr.splitlines()[0]
    assert "pip install uv" in done.stderr
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr or "certificate verify failed" in done.stderr.lower()


def test_without_a_network_that_is_said_first(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    done = bootstrap(checkout, tmp_path / "bin", PIP_INDEX_URL=f"http://127.0.0.1:{free_port()}/simple")
    assert done.returncode == 1
    assert "index is not reached" in done.stderr.splitlines()[0]


@pytest.mark.parametrize(
    ("says", "named"),
    [
        (
            "Err:1 https://deb.example\n  Certificate verification failed\nE: Unable to fetch",
            "ca-certificates",
        ),
        ("Err:1 http://deb.example\n  Temporary failure in name resolution\nE: Some index files failed", "resolved"),
        ("E: You don't have enough free space in /var/cache: No space left on device", "disk is full"),
    ],
)
def test_an_apt_that_fails(says: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line says only that it failed; the reason stands before it."""
    lines = "\n".join(f'echo "{line}" >&2' for line in says.splitlines())
    for name in ("apt-get", "apt-cache", "dpkg"):
        program(tmp_path / "bin", name, f"{lines}\nexit 100")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    monkeypatch.setenv("POSTHASTE_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(Unavailable, match=named) as failed:
        debian.unpacked("anything", own="^anything$")
    assert says.splitlines()[-1] in str(failed.value)


@pytest.mark.parametrize(
    ("says", "named"),
    [
        (
            "The virtual environment was not created successfully because ensurepip is not available.  On Debian/"
            "Ubuntu systems, you need to install the python3-venv package using the following command.",
            "python3-venv",
        ),
        ("/usr/bin/python3: No module named pip", "python3-pip"),
        ("error: externally-managed-environment\n× This environment is externally managed", "python3-venv"),
        ("sh: 1: curl: not found", "package curl"),
        ("sh: 1: make: not found", "package make"),
        ("tar (child): xz: Cannot exec: No such file or directory", "xz-utils"),
        ("407 Proxy Authentication Required", "HTTPS_PROXY"),
        ("ERROR: HTTP error 403 while getting https://index.example/simple/uv/", "lets nobody in"),
        ("ERROR: No matching distribution found for uv", "has not what"),
        ("all is well", ""),
    ],
)
def test_words_and_what_mends_them(says: str, named: str) -> None:
    found = hints.hint(says)
    assert named in found
    assert bool(found) is bool(named)


def test_a_place_for_downloads_that_is_none(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "bin").mkdir()
    done = bootstrap(checkout, tmp_path / "bin", POSTHASTE_CACHE_DIR=str(tmp_path / "file"))
    assert done.returncode == 1
    assert "POSTHASTE_CACHE_DIR" in done.stderr
    assert "Traceback" not in done.stderr
