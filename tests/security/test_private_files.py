"""What lies on the disk is one user's alone, however the processes are started, and whatever lay there before."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from crm_api.settings import CrmSettings
from local.product import ROOT
from shared.private import keep_private
from shared.settings import SettingsError
from tests.support.stack import stack


def open_to_others(folder: Path) -> list[str]:
    paths = [folder, *folder.rglob("*")]
    return [str(path.relative_to(folder)) for path in paths if path.lstat().st_mode & 0o077 and not path.is_symlink()]


def settings_of(folder: Path, **more: object) -> CrmSettings:
    return CrmSettings(data_dir=folder, **more)  # type: ignore[arg-type]


def an_older_house(folder: Path) -> None:
    """As earlier versions, a copy or a backup program have left it."""
    for name in ("files/ab", "ready", "log", "rabbitmq/home"):
        (folder / name).mkdir(parents=True)
    for name in (
        *(
            "posthaste.sqlite",
            "posthaste.sqlite-wal",
            "ledger.sqlite-shm",
            "secret.key",
            "sandbox.sqlite",
            "local.json",
        ),
        *("files/ab/cdef", "ready/web", "log/web.log", "rabbitmq/home/.erlang.cookie", "backup-2026.tar"),
    ):
        (folder / name).write_text("x")
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_what_stands_open_is_closed_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "data"
    an_older_house(folder)
    settings = settings_of(folder)
    keep_private(settings, settings.database_file)
    assert open_to_others(folder) == []
    assert stat.S_IMODE((folder / "posthaste.sqlite").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "files").stat().st_mode) == 0o700
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(folder) in vars(record)["paths"]
    caplog.clear()
    keep_private(settings, settings.database_file)
    assert caplog.records == [], "what is closed is not spoken of again"


@pytest.mark.parametrize("inside", ["secret.key", "log/web.log", "ready/web"])
def test_one_file_that_stands_open_in_a_closed_house(inside: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    an_older_house(folder)
    keep_private(settings_of(folder))
    (folder / inside).chmod(0o666)
    keep_private(settings_of(folder))
    assert open_to_others(folder) == []


def test_a_database_that_lies_elsewhere_with_what_lies_beside_it(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    database = elsewhere / "crm.sqlite"
    for end in ("", "-wal", "-shm", ".turn"):
        Path(f"{database}{end}").touch(0o644)
    (elsewhere / "other.txt").touch(0o644)
    settings = settings_of(tmp_path / "data", database_url=f"sqlite:///{database}")
    keep_private(settings, settings.database_file)
    assert open_to_others(elsewhere) == [".", "other.txt"], "the folder is somebody else's"


def test_a_folder_that_is_everybodys_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    (folder / "secret.key").touch(0o644)
    keep_private(settings_of(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / "secret.key").stat().st_mode) == 0o600
    assert any("a folder of its own" in record.getMessage() for record in caplog.records)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch(0o644)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    keep_private(settings_of(folder))
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_a_folder_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ready").write_text("in the way")
    with pytest.raises(SettingsError, match=r"^POSTHASTE_DATA_DIR: "):
        keep_private(settings_of(tmp_path / "data"))


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_process_by_process(mask: int, tmp_path: Path, amqp_url: str) -> None:
    """All of them, with a shell's umask that leaves everything open."""
    before = os.umask(mask)
    try:
        folder = tmp_path / "data"
        with stack(folder, f"sqlite:///{folder}/crm.sqlite", amqp_url) as house:
            for part in ("sandbox", "web", "dispatch", "mailroom"):
                house.start(part)
            with house.api() as api:
                kept = api.post("/api/v1/files", files={"file": ("a.txt", b"for two eyes only", "text/plain")})
                draft = {"to": [{"email": "ida@example.com"}], "subject": "Saplings", "text": "They leave."}
                made = api.post("/api/v1/messages", json=draft).json()
                done = api.get(f"/api/v1/messages/{made['id']}", params={"wait": 60}).json()
                assert done["deliveries"][0]["state"] == "accepted", kept
            logs = {f"{part}.log" for part in ("sandbox", "web", "dispatch", "mailroom")}  # the test's own
            found = set(open_to_others(folder)) - logs
            assert {"crm.sqlite", "ledger.sqlite", "sandbox.sqlite", "secret.key"} <= {
                path.name for path in folder.iterdir()
            }
            assert found == set()
    finally:
        os.umask(before)


@pytest.mark.parametrize("command", ["migrate", "sign-in-link"])
def test_a_command_alone(command: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    more = ["nobody@example.com"] if command == "sign-in-link" else []
    subprocess.run(
        [sys.executable, "-m", "crm_api", command, *more],
        cwd=ROOT,
        env=os.environ | {"POSTHASTE_DATA_DIR": str(folder)},
        umask=0,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (folder / "posthaste.sqlite").exists()
    sqlite3.connect(folder / "posthaste.sqlite").close()
    assert open_to_others(folder) == []
