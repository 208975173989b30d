"""What was started, and what came of it: the memory that recognises a repeated AMQP delivery.

One row a delivery key (delivery id and generation). `claim` is committed before DATA and `finish` before the
outcome is reported; both are compare-and-set, so of two workers one wins and a stale one overwrites nothing.

    (none), deferred, unknown ──claim──▶ started ──finish──▶ accepted | deferred | failed | unknown
    started by a dead worker ──take_over──▶ unknown          unknown ──finish(accepted) of the one who knew──▶ accepted

The work is done by one thread (see ledger_store), which puts all operations that wait into one transaction.
"""

import asyncio
import itertools
import time
from dataclasses import dataclass
from typing import Any

from email_service.ledger_store import Operation, open_store
from shared.contracts import OutcomeKind

STARTED = "started"


@dataclass(frozen=True, slots=True)
class Row:
    attempt: int
    state: str  # started, or the OutcomeKind
    owner: str
    token: int
    lease_until: float  # seconds since the epoch; 0: its worker is known to be dead
    outcome: bytes | None  # as it was reported: an encoded Outcome

    @property
    def final(self) -> bool:
        return self.state in (OutcomeKind.accepted, OutcomeKind.failed)


_LOOK_UP = "SELECT attempt, state, owner, token, lease_until, outcome FROM attempt WHERE key = ?"

# a claim may come twice, when its first commit was lost on the way back: the token tells
_CLAIM = """
INSERT INTO attempt (key, attempt, state, owner, token, lease_until, outcome, changed_at)
VALUES (?, ?, 'started', ?, ?, ?, NULL, ?)
ON CONFLICT (key) DO UPDATE SET
  attempt = excluded.attempt, state = 'started', owner = excluded.owner, token = excluded.token,
  lease_until = excluded.lease_until, outcome = NULL, changed_at = excluded.changed_at
WHERE (attempt.attempt < excluded.attempt AND attempt.state IN ('deferred', 'unknown'))
   OR (attempt.state = 'started' AND attempt.owner = excluded.owner AND attempt.token = excluded.token)
"""

_FINISH = """
INSERT INTO attempt (key, attempt, state, owner, token, lease_until, outcome, changed_at)
VALUES (?, ?, ?, ?, ?, 0, ?, ?)
ON CONFLICT (key) DO UPDATE SET
  attempt = excluded.attempt, state = excluded.state, owner = excluded.owner, token = excluded.token,
  lease_until = 0, outcome = excluded.outcome, changed_at = excluded.changed_at
WHERE (attempt.owner = excluded.owner AND attempt.token = excluded.token)
   OR (attempt.attempt < excluded.attempt AND attempt.state IN ('deferred', 'unknown'))
   OR (attempt.attempt = excluded.attempt AND attempt.state = 'unknown' AND excluded.state = 'accepted')
"""

_TAKE_OVER = """
UPDATE attempt SET attempt = ?, state = 'unknown', owner = ?, token = ?, lease_until = 0, outcome = ?,
  changed_at = ?
WHERE key = ? AND (
  (state = 'started' AND owner = ? AND token = ?) OR (state = 'unknown' AND owner = ? AND token = ?)
)
"""

_EXPIRE = "UPDATE attempt SET lease_until = 0 WHERE state = 'started' AND owner >= ? AND owner < ?"

_FORGET = "DELETE FROM attempt WHERE key < ? AND state <> 'started' AND changed_at < ?"


class Ledger:
    """owner: "room/3:<random>", one incarnation of one worker. All methods wait as long as the database is away."""

    def __init__(self, url: str, owner: str) -> None:
        self.owner = owner
        self._store = open_store(url)
        self._tokens = itertools.count(1)

    async def open(self) -> None:
        """Creates the tables if they are not there. Raises LedgerError for a ledger of a newer version."""
        await self._store.open()

    async def close(self) -> None:
        await asyncio.to_thread(self._store.close)

    @property
    def trouble(self) -> str:
        """Why the ledger cannot be written at the moment, or an empty text."""
        return self._store.trouble

    def token(self) -> int:
        """Names one attempt in hand: two copies of one command in one worker are told apart by it."""
        return next(self._tokens)

    async def look_up(self, key: str) -> Row | None:
        found = await self._store.do(Operation(_LOOK_UP, (key,), reads=True))
        return None if found is None else Row(*found)

    async def claim(self, key: str, attempt: int, token: int, lease_seconds: float) -> bool:
        """True if this attempt is now ours alone; False if it was begun or finished by somebody else."""
        now = time.time()
        return await self._changed(_CLAIM, key, attempt, self.owner, token, now + lease_seconds, now)

    async def finish(self, key: str, attempt: int, token: int, kind: OutcomeKind, outcome: bytes) -> bool:
        """False: somebody else has decided meanwhile; look the row up and go by it."""
        return await self._changed(_FINISH, key, attempt, str(kind), self.owner, token, outcome, time.time())

    async def take_over(self, key: str, dead: Row, attempt: int, token: int, outcome: bytes) -> bool:
        """Turns what a dead worker had started into unknown; False if it was not dead after all."""
        now = time.time()
        return await self._changed(
            _TAKE_OVER,
            *(attempt, self.owner, token, outcome, now),
            *(key, dead.owner, dead.token, self.owner, token),
        )

    async def expire(self, owners: str) -> int:
        """The workers whose name begins so are dead: what they had started need not wait for its lease."""
        return int(await self._store.do(Operation(_EXPIRE, (owners, owners + "\x7f"))))

    async def forget(self, older_than: str, before: float) -> int:
        """Deletes finished rows whose keys sort before that one and which were last changed before that time."""
        return int(await self._store.do(Operation(_FORGET, (older_than, before))))

    async def _changed(self, sql: str, *values: Any) -> bool:
        return bool(await self._store.do(Operation(sql, values)))
