"""The database is locked, restarted, or its disk is full."""

from __future__ import annotations

import contextlib
import time

from drill.databases import PostgresqlDatabases
from drill.fault import fault
from drill.scene import Scene

LOCKED_SECONDS = 32  # longer than SQLite is patient


@fault("database-locked", "CRM and ledger locked for 30 s", seconds=20, patience=90)
def locked(scene: Scene) -> None:
    with scene.stores.crm_locked(in_turn=False), scene.stores.ledger_locked(in_turn=False):
        time.sleep(LOCKED_SECONDS)


@fault("postgresql-restarted", "PostgreSQL killed and started again", databases=("postgresql",), seconds=8, patience=90)
def restarted(scene: Scene) -> None:
    assert isinstance(scene.databases, PostgresqlDatabases)
    cluster = scene.databases.cluster
    cluster.crash()
    try:
        time.sleep(scene.rng.uniform(0, 5))
    finally:
        cluster.start_again()


@fault("disk-full", "disk full", databases=("sqlite",), tmpfs_megabytes=48, seconds=10, patience=90)
def disk_full(scene: Scene) -> None:
    filler = scene.product.folder / "filler"
    deadline = time.monotonic() + 6
    try:
        with filler.open("ab", buffering=0) as file:
            while time.monotonic() < deadline:  # whatever becomes free is taken, too
                with contextlib.suppress(OSError):
                    while file.write(b"x" * 65_536):
                        pass
                with contextlib.suppress(OSError):
                    while file.write(b"x" * 512):
                        pass
                time.sleep(0.05)
    finally:
        filler.unlink()
    said = scene.product.log("web")  # by the database, or of an attachment
    scene.require("disk is full" in said or "No space left" in said, "the disk was not full")
    scene.require("Traceback" not in said, "web was not ready for a full disk")
