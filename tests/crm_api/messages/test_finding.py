"""Finding messages: the same as looking at every one by hand, whichever way through the index is taken."""

import asyncio
import random
import re
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from crm_api.customers.words import split
from crm_api.messages import actions, filing, finding, service
from crm_api.messages.models import Delivery, Message, MessageWord, WaitingWords
from crm_api.messages.states import State
from crm_api.writer import Writer
from tests.support.crm import Crm
from tests.support.plans import heard_by, plans
from tests.support.waiting import eventually

SUBJECTS = (
    "Your invoice 2026-11",
    "Rechnung für Müller & Söhne",
    "Invoice, once more",
    "",
    '見積書 for {{ name | default("dear reader") }}',
)
QUERIES = (
    *("invoice", "voice", "INVOICE your", "2026-11", "11", "1", "muller sohne", "Söhne", "積書", "dear", "&", "@"),
    *("ada", "ADA.", "ada.byron@", "ada.byron@mills", "ada.byron@mills-1.example", "mills", "a", "ada invoice", "o"),
    *("invoice@", "Bob+news@mills", "bob+", "nothing like this", "invoice muller", "ada.byron 2026", "a\0@", "%", "_"),
)


@pytest.fixture
def sent(crm: Crm) -> list[UUID]:
    dice = random.Random(3)
    people = [f"Ada.Byron@mills-{n}.example" for n in range(9)] + ["bob+news@mills.example", "invoice@o.example"]
    return [
        crm.send(
            *dice.sample(people, dice.randint(1, 4)), subject=SUBJECTS[number % len(SUBJECTS)] or f"Nr {number}"
        ).id
        for number in range(30)
    ]


def _by_hand(session: Session, query: str) -> list[UUID]:
    found = []
    whole = query.lower()
    for message in session.exec(select(Message)):
        addresses = {
            row.address.lower() for row in session.exec(select(Delivery).where(Delivery.message_id == message.id))
        }
        subject = split(message.subject)
        # words of a script without spaces are found from each of their characters on
        words = {*subject, *(word[start:] for word in subject if not word.isascii() for start in range(len(word)))}
        begins = all(any(has.startswith(word) for has in words | addresses) for word in split(query))
        whole_word = any(address.startswith(whole) for address in addresses) and not set(whole) <= {"&", "@"}
        if ("@" not in query and split(query) and begins) or whole_word:
            found.append(message.id)
    return sorted(found, reverse=True)


def _file_all(crm: Crm) -> None:
    with crm.database.write() as session:
        while filing.file_words(session):
            session.flush()


def _pages(session: Session, **wanted: Any) -> list[UUID]:
    found: list[UUID] = []
    cursor = None
    while True:
        page, cursor = service.list_page(session, cursor=cursor, **wanted)
        found += [message.id for message in page]
        if cursor is None:
            return found


@pytest.mark.parametrize("filed", ["nothing", "half", "all"])
@pytest.mark.parametrize("few", [finding.FEW, 20, 3])
def test_all_that_fit_newest_first(
    crm: Crm, sent: list[UUID], few: int, filed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """few: how many entries are still read; a small number takes the other way to the same messages."""
    monkeypatch.setattr(finding, "FEW", few)
    if filed != "nothing":
        monkeypatch.setattr(filing, "ROWS", len(sent) // 2)
        with crm.database.write() as session:
            assert filing.file_words(session) == len(sent) // 2
    if filed == "all":
        _file_all(crm)
    with crm.database.read() as session:
        some = 0
        for query in QUERIES:
            expected = _by_hand(session, query)
            some += bool(expected)
            assert _pages(session, query=query, limit=7) == expected, query
            assert _pages(session, query=query, state="pending", limit=7) == expected, query
            assert _pages(session, query=query, state="failed") == [], query
        assert some > len(QUERIES) / 2


def test_a_corrected_address_is_found_and_so_is_the_wrong_one(crm: Crm) -> None:
    message = crm.send("ada@exmaple.com")
    delivery = crm.delivery(message.id)
    with crm.database.write() as session:
        session.get(Delivery, delivery.id).state = State.failed  # type: ignore[union-attr]
        session.get(Message, message.id).pending, session.get(Message, message.id).failed = 0, 1  # type: ignore[union-attr]
    with crm.database.write() as session:
        actions.retry(session, crm.settings, delivery.id, crm.principal, "Ada@example.com")
    with crm.database.read() as session:
        for query in ("ada@exm", "ada@exa"):
            assert _pages(session, query=query) == [message.id]


@pytest.mark.parametrize("few", [finding.FEW, 3])
def test_neither_words_nor_deliveries_are_read_whole(
    crm: Crm, sent: list[UUID], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "FEW", few)
    with crm.database.read() as session:
        if not crm.database.sqlite:  # so few rows are rightly read whole; can it do without?
            session.execute(text("SET enable_seqscan = off"))
        for query in ("ada.byron@mills-1.example", "invoice", "invoice mul", "ada.byron"):
            with heard_by(crm.database) as heard:
                service.list_page(session, query=query)
            assert len(heard) <= 4, heard
            for line in plans(session, heard):
                assert not re.search(r"(SCAN|Seq Scan on) (delivery|message_word)\b", line), line


def test_very_many_addresses_are_filed_bit_by_bit(crm: Crm) -> None:
    message = crm.send(*(f"reader{number:04}@example.com" for number in range(900)), lane="bulk")
    with crm.database.read() as session:
        parts = session.exec(select(WaitingWords)).all()
        assert [part.part for part in parts] == [0, 1]
        assert max(len(part.words.split("\n")) for part in parts) <= finding.AT_ONCE + 1
    _file_all(crm)
    with crm.database.read() as session:
        assert session.exec(select(WaitingWords)).all() == []
        assert len(session.exec(select(MessageWord)).all()) == 901  # with the subject, which is one word
        assert _pages(session, query="reader0899@") == [message.id]


async def test_dispatch_files_what_waits(crm: Crm) -> None:
    message = crm.send("ada@example.com", subject="Saplings")
    writer = Writer(crm.database)
    filing_it = asyncio.create_task(filing.Filing(writer).run())

    async def filed() -> set[str]:
        with crm.database.read() as session:
            return set(session.exec(select(MessageWord.word).where(MessageWord.message_id == message.id)))

    assert await eventually(filed, "words in the index") == {"saplings", "ada@example.com"}
    filing_it.cancel()
    await asyncio.gather(filing_it, return_exceptions=True)
    writer.close()
    with crm.database.read() as session:
        assert session.exec(select(WaitingWords)).all() == []
