"""Fresh migrated databases, fast: migrate one template of each kind, then copy it for every test."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from local.postgresql import Cluster

ROOT = Path(__file__).resolve().parents[2]


def migrate(url: str, data_dir: Path) -> None:
    """``alembic upgrade head`` in a process of its own, as an operator would run it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env=inherited | {"POSTHASTE_DATABASE_URL": url, "POSTHASTE_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"alembic upgrade head failed on {url}:\n{done.stdout}{done.stderr}")


class Template:
    """The migrated templates of one test session."""

    def __init__(self, folder: Path, cluster: Callable[[], Cluster]) -> None:
        self._folder = folder
        self._cluster = cluster
        self._sqlite: Path | None = None
        self._postgresql: str | None = None
        self._administrator: psycopg.Connection | None = None

    def copy_sqlite(self, path: Path) -> str:
        """Copy the template to ``path``; returns its URL."""
        if self._sqlite is None:
            template = self._folder / "template.sqlite"
            migrate(f"sqlite:///{template}", self._folder)
            assert not template.with_name("template.sqlite-wal").exists(), "a migration left its log behind"
            self._sqlite = template
        shutil.copyfile(self._sqlite, path)
        return f"sqlite:///{path}"

    def copy_postgresql(self) -> str:
        """Create a database from the template; returns its URL."""
        cluster = self._cluster()
        if self._postgresql is None:
            self._execute("CREATE DATABASE {}", "template_posthaste")
            migrate(cluster.url_for("template_posthaste"), self._folder)
            self._postgresql = "template_posthaste"
        name = f"test_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {} TEMPLATE template_posthaste", name)
        return cluster.url_for(name)

    def drop_postgresql(self, url: str) -> None:
        # FORCE closes connections that the test, or a process of it, still holds.
        self._execute("DROP DATABASE {} WITH (FORCE)", url.rpartition("/")[2])

    def close(self) -> None:
        if self._administrator is not None:
            self._administrator.close()

    def _execute(self, statement: str, database: str) -> None:
        if self._administrator is None:
            self._administrator = psycopg.connect(self._cluster().url, autocommit=True)
        self._administrator.execute(sql.SQL(statement).format(sql.Identifier(database)))
