"""The web process that is fuzzed, people who may do everything, something of each kind, a socket for each request."""

from __future__ import annotations

import random
import re
import socket
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlmodel import select

from crm_api.auth.hashing import hash_of
from crm_api.auth.models import ApiKey, SignIn, User
from crm_api.db import Database
from crm_api.messages.models import Delivery
from crm_api.sandbox.store import SANDBOX_FILE, NewMail, SandboxStore
from crm_api.settings import CrmSettings
from tests.fuzz.requests import Known, Route, make, routes
from tests.support.crm import Crm, crm_of
from tests.support.people import KEY, add_user
from tests.support.stack import Stack

MOST_FOUND = 10
ANSWER_SECONDS = 30  # by then it hangs; most take milliseconds
TOKEN = "session of the fuzzer"
_MAIL = b"Subject: x\r\nFrom: a@b.example\r\n\r\nx\r\n"


@dataclass
class Target:
    house: Stack
    database: Database
    user_id: UUID
    known: Known
    routes: list[Route] = field(default_factory=routes)
    found: list[str] = field(default_factory=list)
    asked: int = 0

    def look_for(self, cases: int, dice: random.Random) -> None:
        """Asks so often; what was answered with 5xx, or not at all, is in `found`."""
        for _ in range(cases):
            request = make(dice.choice(self.routes), self.known, dice)
            self.asked += 1
            self._judge(request, ask(self.house.port, request))
            if self.asked % 50 == 0:
                self.let_in()
            if len(self.found) >= MOST_FOUND:
                return

    def _judge(self, request: bytes, answer: bytes) -> None:
        status = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
        cut = b"Content-Length" in request or b"Transfer-Encoding" in request or b"Expect" in request
        if (status is None and not cut) or (status and status[1] >= b"500"):
            self.found.append(f"{answer[:40]!r} to {request[:3000]!r}")

    def let_in(self) -> None:
        """What it does may sign it out, revoke its key, or take its role."""
        with self.database.write() as session:
            user = session.get_one(User, self.user_id)
            user.disabled_at, user.role, user.totp_since = None, "admin", None
            session.merge(SignIn(token_hash=hash_of(TOKEN), user_id=user.id))
            for key in session.exec(select(ApiKey).where(ApiKey.key_hash == hash_of(KEY))):
                key.revoked_at = None


def ask(port: int, request: bytes) -> bytes:
    """What is answered at first; all of it need not be read."""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as line:
            line.sendall(request)
            if not _whole(request):
                line.shutdown(socket.SHUT_WR)
            return line.recv(4096)
    except (ConnectionError, TimeoutError):
        return b""


def _whole(request: bytes) -> bool:
    """Whether the server has no reason to wait for more of it."""
    head, _, body = request.partition(b"\r\n\r\n")
    lengths = re.findall(rb"\r\nContent-Length: ([0-9]+)", head)
    return all(int(length) <= len(body) for length in lengths) and b"Transfer-Encoding" not in head


def target(house: Stack, settings: CrmSettings, database: Database) -> Target:
    with database.write() as session:
        user = add_user(session)
        other = User(email="tom@holt-trees.example", name="Tom", role="agent", password_hash="x")
        session.add(other)
        session.flush()
        keys = [ApiKey(name=f"{n}", prefix="ph_", key_hash=hash_of(f"{n}"), user_id=other.id) for n in range(5)]
        session.add_all([*keys, ApiKey(name="fuzz", prefix="ph_", key_hash=hash_of(KEY), user_id=user.id)])
    ids = _something_of_each(crm_of(settings, database, user), house)
    ids |= {"user_id": [str(other.id)], "key_id": [str(key.id) for key in keys]}
    cookie = f"Cookie: posthaste-{house.port}={TOKEN}".encode()
    bearer = f"Authorization: Bearer {KEY}".encode()
    who: list[list[bytes]] = [[bearer], [bearer], [cookie], [cookie], [cookie], [], [b"Authorization: \xff"]]
    made = Target(house, database, user.id, Known(ids, who))
    made.let_in()
    return made


def _something_of_each(crm: Crm, house: Stack) -> dict[str, list[str]]:
    customers = [crm.customer(email=f"r{n}@example.com", first_name=f"R{n}") for n in range(3)]
    letter: dict[str, Any] = {"text": None, "markdown": "Dear {{ first_name | default('you') }}, **x**"}
    sent = [
        crm.send("ada@example.com"),
        crm.send(*(f"many-{n}@example.com" for n in range(12))),
        crm.send(**letter, to=[{"customer_id": str(customer.id)} for customer in customers]),
        crm.send(html="<p>x</p>"),
    ]
    with crm.database.read() as session:
        deliveries = [str(row.id) for row in session.exec(select(Delivery))]
    store = SandboxStore(house.data_dir / SANDBOX_FILE)
    mails = store.add([NewMail("a@b.example", ("ada@example.com",), _MAIL) for _ in range(3)])
    return {
        "customer_id": [str(customer.id) for customer in customers],
        "message_id": [str(message.id) for message in sent],
        "from": [str(message.id) for message in sent],
        "delivery_id": deliveries,
        "delivery": deliveries,
        "open": deliveries,
        "mail_id": [str(mail) for mail in mails],
        "position": ["0", "1"],
        "to": [f"customer:{customers[0].id}", "email:ada@example.com"],
    }
