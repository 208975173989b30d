"""The mails that the sandbox took, in an SQLite file of its own: <data dir>/sandbox.sqlite.

The sandbox process writes, web reads and clears. The newest 10,000 are kept, less if they are large.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.addresses import address_key

SANDBOX_FILE = "sandbox.sqlite"  # in the data directory
KEPT_MAILS = 10_000
KEPT_BYTES = 512 * 1024 * 1024
SWEEP_EVERY = 500  # mails
MAX_HEAD_BYTES = 64 * 1024  # of each mail, that a list reads
_BUSY_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at REAL NOT NULL,
    sender TEXT NOT NULL,
    recipients TEXT NOT NULL,
    size INTEGER NOT NULL,
    head BLOB NOT NULL,  -- before the body, so that a list does not read bodies
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS mail_to (
    address TEXT NOT NULL,
    mail_id INTEGER NOT NULL,
    PRIMARY KEY (address, mail_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mail_to_mail ON mail_to (mail_id);
CREATE TABLE IF NOT EXISTS flaky (key TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class NewMail:
    sender: str
    recipients: tuple[str, ...]
    content: bytes  # with CRLF, as it came

    def split(self) -> tuple[bytes, bytes]:
        """The header with its empty line, and the body. A header that is too long for a list goes on in the body."""
        blank = self.content.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        end = blank + 4 if blank >= 0 else MAX_HEAD_BYTES
        return self.content[:end], self.content[end:]


@dataclass(frozen=True, slots=True)
class StoredMail:
    id: int
    received_at: datetime
    sender: str  # of the envelope
    recipients: list[str]  # of the envelope
    size: int  # bytes
    head: bytes
    body: bytes = b""  # empty in lists

    @property
    def content(self) -> bytes:
        return self.head + self.body


# substr of an empty blob is NULL
_LISTED = f"id, received_at, sender, recipients, size, coalesce(substr(head, 1, {MAX_HEAD_BYTES}), x'')"
_WHOLE = "id, received_at, sender, recipients, size, head, body"


class SandboxStore:
    """Safe to use from several threads and processes; makes the file when it is not there."""

    def __init__(self, path: Path, kept_mails: int = KEPT_MAILS, kept_bytes: int = KEPT_BYTES) -> None:
        self.path, self.kept_mails, self.kept_bytes = path, kept_mails, kept_bytes
        self._since_sweep = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connect() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)

    def open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous=FULL")  # 250 means that it is on the disk
        return connection

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(self.open()) as connection:
            yield connection

    def add(self, mails: Iterable[NewMail], connection: sqlite3.Connection | None = None) -> list[int]:
        """Stores them durably, in one transaction; the ids. connection: one to keep, from open()."""
        if connection is None:
            with self._connect() as connection:
                return self.add(mails, connection)
        ids: list[int] = []
        with _transaction(connection):
            for mail in mails:
                head, body = mail.split()
                row = (time.time(), mail.sender, json.dumps(mail.recipients), len(mail.content), head, body)
                cursor = connection.execute(
                    "INSERT INTO mail (received_at, sender, recipients, size, head, body) VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )
                assert cursor.lastrowid is not None
                connection.executemany(
                    "INSERT OR IGNORE INTO mail_to VALUES (?, ?)",
                    [(address_key(address), cursor.lastrowid) for address in mail.recipients],
                )
                ids.append(cursor.lastrowid)
            self._since_sweep += len(ids)
            if self._since_sweep >= min(SWEEP_EVERY, self.kept_mails):
                self._since_sweep = 0
                self._sweep(connection)
        return ids

    def _sweep(self, connection: sqlite3.Connection) -> None:
        keep, size = 0, 0
        for mail_id, its_size in connection.execute("SELECT id, size FROM mail ORDER BY id DESC"):
            keep, size = keep + 1, size + its_size
            if keep > self.kept_mails or (size > self.kept_bytes and keep > 1):
                connection.execute("DELETE FROM mail WHERE id <= ?", (mail_id,))
                connection.execute("DELETE FROM mail_to WHERE mail_id <= ?", (mail_id,))
                break

    def list(
        self, to: str | None = None, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> list[StoredMail]:
        """Newest first, without bodies. to: an address of the envelope, in any case. before, after: ids."""
        where = ["id < ?", "id > ?"]
        values: Any = [before or 2**62, after or 0]
        sql = f"SELECT {_LISTED} FROM mail WHERE "  # noqa: S608
        if to is not None:
            sql = f"SELECT {_LISTED} FROM mail_to JOIN mail ON id = mail_id WHERE "  # noqa: S608
            where = ["address = ?", "mail_id < ?", "mail_id > ?"]
            values = [address_key(to), *values]
        key = "id" if to is None else "mail_id"
        sql += " AND ".join(where) + f" ORDER BY {key} DESC LIMIT ?"
        with self._connect() as connection:
            return [_stored(*row) for row in connection.execute(sql, (*values, limit))]

    def get(self, mail_id: int) -> StoredMail | None:
        with self._connect() as connection:
            sql = f"SELECT {_WHOLE} FROM mail WHERE id = ?"  # noqa: S608
            row = connection.execute(sql, (mail_id,)).fetchone()
        return _stored(*row) if row else None

    def count(self, to: str | None = None) -> int:
        with self._connect() as connection:
            if to is None:
                (count,) = connection.execute("SELECT count(*) FROM mail").fetchone()
            else:
                (count,) = connection.execute(
                    "SELECT count(*) FROM mail_to WHERE address = ?", (address_key(to),)
                ).fetchone()
        return int(count)

    def newest(self) -> int:
        """The highest id; 0 if there is no mail."""
        with self._connect() as connection:
            (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM mail").fetchone()
        return int(newest)

    def clear(self, up_to: int, *, received_until: datetime | None = None) -> int:
        """Deletes the mails up to that id and all counted tries; how many mails. Ids are not used again."""
        until = received_until.timestamp() if received_until else float("inf")
        with self._connect() as connection, _transaction(connection):
            gone = "SELECT id FROM mail WHERE id <= ? AND received_at <= ?"
            connection.execute(f"DELETE FROM mail_to WHERE mail_id IN ({gone})", (up_to, until))  # noqa: S608
            count = connection.execute(f"DELETE FROM mail WHERE id IN ({gone})", (up_to, until)).rowcount  # noqa: S608
            if count or received_until is None:
                connection.execute("DELETE FROM flaky")
        return count

    def count_try(self, key: str) -> int:
        """How often this was asked for the key, this time included."""
        with self._connect() as connection:
            (times,) = connection.execute(
                "INSERT INTO flaky VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times",
                (key,),
            ).fetchone()
        return int(times)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _stored(
    mail_id: int, at: float, sender: str, recipients: str, size: int, head: bytes, body: bytes = b""
) -> StoredMail:
    return StoredMail(mail_id, datetime.fromtimestamp(at, UTC), sender, json.loads(recipients), size, head, body)
