"""A house that is in its tenth year: N customers and N finished deliveries, put into the database in seconds.

Nothing is made up that the product knows better: a letter that really went out is the example, and its rows
(message, delivery, attempt, the ledger's memory) are written again with other ids, people and times.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import SecretStr
from sqlmodel import SQLModel

from bench.people import fold_cached, person, words_cached
from bench.stores import Postgresql, Sqlite, Store
from crm_api import models  # noqa: F401 (foreign keys name tables of every room)
from crm_api.customers.models import Contact, Customer, CustomerEntry, Tag
from crm_api.messages.finding import words_to_find
from crm_api.messages.models import Attempt, Delivery, Message, MessageWord, WaitingWords
from crm_api.messages.states import State
from crm_api.settings import CrmSettings
from shared.contracts import delivery_key

TAGS = ("everybody", "nursery", "wholesale", "architect", "private")

LARGEST = 10_000  # deliveries of one message
FAILED_EVERY, DISCARDED_EVERY = 331, 97  # 0.3 % wait for a person, who has let be 1 %
CHUNK = 100_000  # customers or deliveries in memory at once
_SCATTER = 7919  # prime: letters do not go to customers in the order of their making
_WHY = ("reason", "code", "enhanced", "reply")
_BEGINS_DAYS_AGO = 12  # one delivery a second; the ledger has forgotten none of them


def native(database_url: str) -> str:
    """As SQLAlchemy wants it, with the driver named."""
    return CrmSettings(database_url=SecretStr(database_url)).database


@dataclass(frozen=True)
class Mailing:
    """One message of the past. first: the number of its first delivery."""

    first: int
    size: int


def mailings(have: int, want: int) -> list[Mailing]:
    """Half of the deliveries in messages as large as they come, two fifths in hundreds, the rest one by one."""
    found = []
    while have < want:
        block = min(2 * LARGEST, want - have)
        large = block // 2
        hundreds = block * 2 // 5 // 100
        for size in (large, *[100] * hundreds, *[1] * (block - large - 100 * hundreds)):
            found.append(Mailing(have, size))
            have += size
    return found


class Seed:
    """example: a message of which everything was accepted; written again and again. Nothing else may be running."""

    def __init__(self, database_url: str, ledger: Path, example: UUID) -> None:
        self.url = native(database_url)
        self.ledger = ledger
        self.largest: UUID | None = None  # the newest message of the largest size
        self._engine = sa.create_engine(self.url)
        self._dialect = self._engine.dialect
        self._begins = datetime.now(UTC) - timedelta(days=_BEGINS_DAYS_AGO)
        with self._engine.connect() as connection:
            self._message = self._one(connection, Message, Message.id == example)
            self._delivery = self._one(connection, Delivery, Delivery.message_id == example)
            self._attempt = self._one(connection, Attempt, Attempt.delivery_id == self._delivery["id"])
        with closing(sqlite3.connect(ledger)) as memory:
            key = delivery_key(self._delivery["id"], self._delivery["generation"])
            self._remembered: tuple[Any, ...] = memory.execute("SELECT * FROM attempt WHERE key = ?", (key,)).fetchone()
        self._tags: list[int] = []

    def _one(self, connection: sa.Connection, kind: Any, where: Any) -> dict[str, Any]:
        return dict(connection.execute(sa.select(kind.__table__).where(where).limit(1)).mappings().one())

    def grow(self, have: int, want: int) -> None:
        """From so many customers and deliveries to so many."""
        store = Sqlite(self.url) if self._dialect.name == "sqlite" else Postgresql(self.url)
        sent = mailings(have, want)
        with closing(store):
            if not have:
                self._make_tags()
            with store.without_indexes(want - have):
                times = [stamp for each in sent for stamp in [self._stamp(each.first)] * each.size]
                for start in range(have, want, CHUNK):
                    self._customers(store, range(start, min(start + CHUNK, want)), have, want, times)
                for some in _chunks(sent):
                    self._mailings(store, some, have, want)
            store.settle()
        self._remember(range(have, want))
        largest = max(sent, key=lambda each: (each.size, each.first))
        self.largest = UUID(self._id(largest.first, "message"))

    def customer(self, number: int) -> UUID:
        return UUID(self._id(number, "customer"))

    def remove(self, message_id: UUID) -> None:
        """A message that was sent to measure goes again, and what the ledger remembers of the last hour."""
        its = sa.select(_table(Delivery).c.id).where(_table(Delivery).c.message_id == message_id)
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_table(Attempt)).where(_table(Attempt).c.delivery_id.in_(its)))
            connection.execute(sa.delete(_table(Delivery)).where(_table(Delivery).c.message_id == message_id))
            for kind in (WaitingWords, MessageWord):
                connection.execute(sa.delete(_table(kind)).where(_table(kind).c.message_id == message_id))
            connection.execute(sa.delete(_table(Message)).where(_table(Message).c.id == message_id))
        with closing(sqlite3.connect(self.ledger, timeout=30)) as memory:
            memory.execute("DELETE FROM attempt WHERE key >= ?", (str(message_id),))  # ids rise
            memory.commit()

    def close(self) -> None:
        self._engine.dispose()

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _id(self, number: int, kind: str) -> str:
        """As shared.ids makes them: 48 bits of milliseconds, then bits that look random."""
        milliseconds = int(self._begins.timestamp() * 1000) + number * 1000
        random = (number + len(kind)) * 0x9E3779B97F4A7C15 % (1 << 62)
        return f"{milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | random:032x}"

    def _stamp(self, number: int, later_seconds: float = 0) -> str:
        at = self._begins + timedelta(seconds=number + later_seconds)
        return f"{at:%Y-%m-%d %H:%M:%S.%f}" + ("" if self._dialect.name == "sqlite" else "+00")

    def _line(self, kind: Any, example: Mapping[str, Any], *varying: str) -> Line:
        return Line(_table(kind), example, varying, self._dialect)

    def _make_tags(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.insert(Tag), [{"name": name} for name in TAGS])
            self._tags = list(connection.execute(sa.select(_table(Tag).c.id).order_by(_table(Tag).c.id)).scalars())

    def _customers(self, store: Store, numbers: range, have: int, want: int, times: list[str]) -> None:
        span = want - have
        back = pow(_SCATTER, -1, span)
        customer = self._line(
            Customer,
            Customer(email="", sort_name="", sort_company="").model_dump(),
            *("id", "first_name", "last_name", "company", "email", "phone", "archived"),
            *("sort_name", "sort_company", "created_at", "changed_at", "written_at"),
        )
        contact = self._line(
            Contact,
            Contact(customer_id=UUID(int=0), email="").model_dump(),
            *("id", "customer_id", "first_name", "last_name", "email"),
        )
        entry = self._line(
            CustomerEntry,
            CustomerEntry(customer_id=UUID(int=0), kind="created", by="Administrator").model_dump(),
            *("id", "customer_id", "at"),
        )
        customers, contacts, entries, tags, words = [], [], [], [], []
        for number in numbers:
            who, its = person(number), self._id(number, "customer")
            at = self._stamp(number)
            customers.append(
                customer.row(
                    *(its, who.first, who.last, who.company, who.email, who.phone, number % 10 == 9),
                    *(who.sort_name, fold_cached(who.shop) + f" {number}", at, at),
                    times[(number - have) * back % span],
                )
            )
            entries.append(entry.row(self._id(number, "entry"), its, at))
            found = who.words
            if number % 10 == 0:
                office = person(number + 1)
                email = f"office@company-{number}.example"
                contacts.append(contact.row(self._id(number, "contact"), its, office.first, office.last, email))
                found = found | words_cached(f"{office.first} {office.last} office")
            words += [(word, its) for word in found]
            tags += [(self._tags[0], its), (self._tags[1 + number % 4], its)]
        store.load(customer.table, customer.names, customers)
        store.load(contact.table, contact.names, contacts)
        store.load(entry.table, entry.names, entries)
        store.load("customer_tag", ("tag_id", "customer_id"), sorted(tags))
        store.load("customer_word", ("word", "customer_id"), sorted(words))

    def _mailings(self, store: Store, sent: Sequence[Mailing], have: int, want: int) -> None:
        span = want - have
        message = self._line(
            Message,
            self._message | dict.fromkeys([*State, "pending"], 0),
            *("id", "created_at", "clicked_at", "expires_at", "done_at", "state", "planned"),
            *("accepted", "failed", "discarded"),
        )
        delivery = self._line(
            Delivery,
            self._delivery,
            *("id", "message_id", "customer_id", "address", "name", "fields", "state"),
            *_WHY,
            *("created_at", "due_at", "expires_at", "queued_at", "done_at"),
        )
        attempt = self._line(
            Attempt,
            self._attempt,
            *("delivery_id", "kind", *_WHY, "received_at", "started_at", "finished_at"),
        )
        accepted = tuple(self._delivery[name] for name in _WHY)
        refused = ("There is no such mailbox.", 550, "5.1.1", "5.1.1 no such mailbox")
        subject = words_to_find(self._message["subject"], ())
        messages, deliveries, attempts, words = [], [], [], []
        for each in sent:
            its = self._id(each.first, "message")
            at, queued, done = (self._stamp(each.first, later) for later in (0, 0.2, 2))
            expires = self._stamp(each.first, 48 * 3600)
            its_words = set(subject)
            counts = {State.accepted: 0, State.failed: 0, State.discarded: 0}
            for number in range(each.first, each.first + each.size):
                state = _state(number)
                counts[state] += 1
                who_number = have + (number - have) * _SCATTER % span
                who, key = person(who_number), self._id(number, "delivery")
                its_words.add(who.email)
                why = accepted if state == State.accepted else refused
                deliveries.append(
                    delivery.row(
                        *(key, its, self._id(who_number, "customer"), who.email, f"{who.first} {who.last}"),
                        *(f'{{"first_name": "{who.first}"}}', str(state), *why),
                        *(at, at, expires, queued, done),
                    )
                )
                kind = "accepted" if state == State.accepted else "failed"
                attempts.append(attempt.row(key, kind, *why, queued, queued, done))
            words += [(its, word) for word in sorted(its_words)]
            loudest = next(state for state in (State.failed, State.accepted, State.discarded) if counts[state])
            messages.append(
                message.row(its, at, at, expires, done, str(loudest), each.size, *counts.values()),
            )
        store.load(message.table, message.names, messages)
        store.load("message_word", ("message_id", "word"), words)
        store.load(delivery.table, delivery.names, deliveries)
        store.load(attempt.table, attempt.names, attempts)

    def _remember(self, numbers: range) -> None:
        generation = self._delivery["generation"]
        rest = self._remembered[1:]
        holes = ", ".join("?" * len(self._remembered))
        rows = ((delivery_key(UUID(self._id(number, "delivery")), generation), *rest) for number in numbers)
        with closing(sqlite3.connect(self.ledger)) as memory:
            memory.execute("PRAGMA synchronous = OFF")
            memory.executemany(f"INSERT INTO attempt VALUES ({holes})", rows)  # noqa: S608
            memory.commit()


def _state(number: int) -> State:
    if number % FAILED_EVERY == 7:
        return State.failed
    return State.discarded if number % DISCARDED_EVERY == 5 else State.accepted


def _chunks(sent: Sequence[Mailing]) -> Iterator[list[Mailing]]:
    some: list[Mailing] = []
    for each in sent:
        some.append(each)
        if each.first + each.size - some[0].first >= CHUNK:
            yield some
            some = []
    if some:
        yield some


class Line:
    """Makes rows of one table: the example's values, but for the varying columns, whose values come as text."""

    def __init__(
        self, table: sa.Table, example: Mapping[str, Any], varying: Sequence[str], dialect: sa.engine.Dialect
    ) -> None:
        self.table = table.name
        constant = [column for column in table.columns if column.name not in varying]
        self.names = (*(column.name for column in constant), *varying)
        self._constant = tuple(_stored(column, example[column.name], dialect) for column in constant)

    def row(self, *varying: object) -> tuple[object, ...]:
        return self._constant + varying


def _stored(column: sa.Column[Any], value: object, dialect: sa.engine.Dialect) -> object:
    process = column.type.dialect_impl(dialect).bind_processor(dialect)
    return process(value) if process and value is not None else value


def _table(kind: type[SQLModel]) -> sa.Table:
    table: sa.Table = kind.__table__  # type: ignore[attr-defined]
    return table
