"""One message to very many people, put straight into the database, as messages.service.create leaves it there.

The API takes 1,000 recipients a message; a mailing to a million will not come through it either.
"""

from __future__ import annotations

import contextlib
import csv
import functools
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import insert, select
from sqlmodel import Session

from crm_api import models  # noqa: F401 (foreign keys name tables of every room)
from crm_api.changes import announce
from crm_api.db import Database
from crm_api.messages.compose import Letter, parse_letter
from crm_api.messages.finding import AT_ONCE, waiting_rows
from crm_api.messages.models import Delivery, Message, WaitingWords
from crm_api.messages.schemas import MessageDraft, RecipientDraft
from crm_api.messages.states import State
from crm_api.settings import CrmSettings
from shared.clock import now
from shared.ids import new_id
from shared.lanes import Lane

LETTER = Path(__file__).with_name("letter")
BATCH = 5_000  # rows that are in memory at once
COUNTED = ("planned", *(state.value for state in State))


def plant(database_url: str, deliveries: int, lane: str = "bulk", customers: Sequence[UUID] = ()) -> UUID:
    """The message, committed with all its deliveries pending and the relay told in the same transaction.

    customers: whose letters they are, in turn; default: nobody's, as with bare addresses.
    """
    with _opened(database_url) as database, database.write() as session:
        message = new_message(deliveries, lane)
        session.add(message)
        session.flush()
        for start in range(0, deliveries, BATCH):
            numbers = range(start, min(start + BATCH, deliveries))
            rows = [new_delivery(message, number) for number in numbers]
            if customers:
                rows = [
                    row | {"customer_id": customers[n % len(customers)]} for n, row in zip(numbers, rows, strict=True)
                ]
            session.execute(insert(Delivery), rows)
            addresses = [str(row["address"]) for row in rows]
            part = start // AT_ONCE * 2  # the subject's words may make one more
            session.execute(insert(WaitingWords), waiting_rows(message.id, message.subject, addresses, part))
        announce(session, "outbox", "messages", "system", f"message:{message.id}")
        return message.id


def progress(database_url: str, message_id: UUID) -> dict[str, int]:
    """The message's counters: planned, pending, queued, accepted, …"""
    columns = [getattr(Message, name) for name in COUNTED]
    with _reading(database_url) as session:
        row = session.execute(select(*columns).where(Message.id == message_id)).one()  # type: ignore[arg-type]
        return {name: int(count) for name, count in zip(COUNTED, row, strict=True)}


def new_message(deliveries: int, lane: str) -> Message:
    at = now()
    letter = _letter()
    return Message(
        id=new_id(),
        created_at=at,
        clicked_at=at,
        author="Benchmark",
        via="api",
        lane=Lane(lane),
        sender_name="Holt Trees",
        sender_address="orders@holt-trees.example",
        subject=letter.subject.source,
        markdown=_read("letter.md"),
        text=letter.text.source,
        html=letter.html.source if letter.html else None,
        size=letter.size,
        expires_at=at + timedelta(hours=48),
        planned=deliveries,
        pending=deliveries,
    )


def new_delivery(message: Message, number: int) -> dict[str, object]:
    """number: from 0. The 500 people come round again with another address each time."""
    people = _people()
    name, address = people[number % len(people)]
    if turn := number // len(people):
        local, _, domain = address.rpartition("@")
        address = f"{local}{'-' if '+' in local else '+'}{turn}@{domain}"
    return {
        "id": new_id(),
        "message_id": message.id,
        "address": address,
        "name": name,
        "fields": {"first_name": name.partition(" ")[0]},
        "lane": message.lane,
        "state": State.pending,
        "generation": 1,
        "attempt": 0,
        "created_at": message.created_at,
        "due_at": message.created_at,
        "expires_at": message.expires_at,
    }


@contextlib.contextmanager
def _opened(database_url: str) -> Iterator[Database]:
    database = Database(CrmSettings(database_url=SecretStr(database_url)).database)
    try:
        yield database
    finally:
        database.close()


_polled: dict[str, Database] = {}


@contextlib.contextmanager
def _reading(database_url: str) -> Iterator[Session]:
    """Kept open: who waits for a message asks twenty times a second."""
    if database_url not in _polled:
        _polled[database_url] = Database(CrmSettings(database_url=SecretStr(database_url)).database)
    with _polled[database_url].read() as session:
        yield session


@functools.cache
def _people() -> list[tuple[str, str]]:
    with (LETTER / "people.csv").open(newline="") as file:
        return [(row["name"], row["address"]) for row in csv.DictReader(file)]


@functools.cache
def _letter() -> Letter:
    one = RecipientDraft(email="a@b.example")
    letter = parse_letter(MessageDraft(to=[one], subject=_read("subject.txt"), markdown=_read("letter.md")), [])
    assert letter is not None
    return letter


def _read(name: str) -> str:
    return (LETTER / name).read_text().strip()
