"""Lists: every page of every order, the same as sorting everything by hand; and no reading of whole tables."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, text
from sqlmodel import Session, select

from crm_api.customers import finding, service
from crm_api.customers.finding import Sort, count_matching, list_page
from crm_api.customers.models import Customer, CustomerTag, CustomerWord, Tag
from crm_api.customers.words import query_words
from crm_api.db import Database
from crm_api.errors import Invalid
from crm_api.paging import make_cursor
from tests.support.customers import seed_customers

COUNT = 1200


@pytest.fixture
def many(database: Database) -> list[UUID]:
    return seed_customers(database, COUNT)


def _all_pages(session: Session, **wanted: Any) -> list[UUID]:
    ids: list[UUID] = []
    cursor = None
    while True:
        page, cursor = list_page(session, cursor=cursor, **wanted)
        ids += [customer.id for customer in page]
        if cursor is None:
            return ids


def _by_hand(session: Session, query: str = "", tag: str = "", archived: bool = False) -> list[Customer]:
    words: dict[UUID, set[str]] = {}
    for row in session.exec(select(CustomerWord)):
        words.setdefault(row.customer_id, set()).add(row.word)
    tagged = set(session.exec(select(CustomerTag.customer_id).join(Tag).where(Tag.name == tag)))
    return [
        customer
        for customer in session.exec(select(Customer))
        if customer.archived == archived
        and (not tag or customer.id in tagged)
        and all(any(has.startswith(word) for has in words[customer.id]) for word in query_words(query))
    ]


CASES: list[dict[str, Any]] = [
    {},
    {"archived": True},
    {"query": "an"},
    {"query": "Lindqvíst ANNA"},
    {"query": "company-7"},
    {"query": "nobody-at-all"},
    {"tag": "everybody"},
    {"tag": "rare"},
    {"tag": "nursery", "query": "m"},
    {"query": "e", "tag": "everybody", "archived": True},
]
ORDERS: dict[Sort, tuple[Callable[[Customer], Any], bool]] = {
    "name": (lambda it: (it.sort_name.encode(), it.id.bytes), False),
    "company": (lambda it: (it.sort_company.encode(), it.id.bytes), False),
    "created": (lambda it: (it.created_at, it.id.bytes), True),
    "written": (lambda it: (it.written_at, it.id.bytes), True),
}


@pytest.mark.parametrize("few", [finding.FEW, 3])
def test_every_page_of_every_order(
    many: list[UUID], database: Database, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """few: how many are still fetched and sorted; a small number takes the other way through the same lists."""
    monkeypatch.setattr(finding, "FEW", few)
    dice = random.Random(1)
    with database.read() as session:
        for case in CASES:
            expected = _by_hand(session, **case)
            for sort, (key, descending) in ORDERS.items():
                limit = 7 if len(expected) < 200 else dice.choice((50, 199))
                found = _all_pages(session, **case, sort=sort, limit=limit)
                assert found == [it.id for it in sorted(expected, key=key, reverse=descending)], (case, sort)
            counted = count_matching(session, **case)
            assert counted == min(len(expected), finding.MOST_COUNTED + 1), case


def test_a_cursor_belongs_to_its_order(many: list[UUID], database: Database) -> None:
    with database.read() as session:
        _, cursor = list_page(session, sort="name", limit=5)
        for sort in ("company", "created", "written"):
            with pytest.raises(Invalid):
                list_page(session, sort=sort, cursor=cursor)
        nul = make_cursor("name", "\0", UUID(int=0))
        for noise in ("x", "e30", "WyJuYW1lIl0", "WzEsMiwzXQ", "💥", nul):
            with pytest.raises(Invalid):
                list_page(session, cursor=noise)


@contextmanager
def _statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    heard: list[tuple[str, Any]] = []

    def hear(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> None:
        heard.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", hear)
    yield heard
    event.remove(database.engine, "before_cursor_execute", hear)


def _plan(session: Session, statement: str, parameters: Any) -> list[str]:
    connection = session.connection().connection.dbapi_connection
    assert connection is not None
    cursor = connection.cursor()
    sqlite = session.get_bind().dialect.name == "sqlite"
    cursor.execute(("EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN ") + statement, parameters)
    return [str(row[-1]) for row in cursor.fetchall()]


PLANNED: list[dict[str, Any]] = [
    {"sort": "name"},
    {"sort": "company"},
    {"sort": "created"},
    {"sort": "written"},
    {"query": "lindqvist anna"},
    {"query": "company-77", "sort": "written"},
    {"query": "a"},
    {"tag": "rare"},
    {"tag": "everybody"},
    {"trouble": True},
]


@pytest.mark.parametrize("few", [finding.FEW, 3])
def test_no_list_reads_a_whole_table(
    many: list[UUID], database: Database, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "FEW", few)
    with database.read() as session:
        if (
            not database.sqlite
        ):  # with so few rows PostgreSQL would rightly read them all; here it shall say if it can do without
            session.execute(text("SET enable_seqscan = off"))
        for case in PLANNED:
            _, cursor = list_page(session, **case, limit=5)
            with _statements(database) as heard:
                list_page(session, **case, limit=5, cursor=cursor)
            assert len(heard) <= 5, "a handful of statements, however many customers"
            for statement, parameters in heard:
                for line in _plan(session, statement, parameters):
                    if database.sqlite:
                        scan = line.startswith("SCAN") and not line.startswith(("SCAN few", "SCAN anon_"))
                        assert not scan or " tag" in line, (case, line, statement)
                    else:
                        assert "Seq Scan" not in line or " on tag" in line, (case, line, statement)


def test_a_page_costs_the_same_number_of_statements_for_any_number_of_rows(
    many: list[UUID], database: Database, browser: TestClient
) -> None:
    counts = []
    for url in ("/customers?q=nobody", "/customers?sort=name", "/customers?sort=company"):
        with _statements(browser.app.state.database) as heard:  # type: ignore[attr-defined]
            assert browser.get(url).status_code == 200
        counts.append(len([statement for statement, _ in heard if statement.startswith(("SELECT", "WITH"))]))
    assert max(counts) <= 16, counts


def test_counts_are_right(many: list[UUID], database: Database) -> None:
    with database.read() as session:
        assert service.count_customers(session) == COUNT * 9 // 10
        assert service.count_customers(session, archived=True) == COUNT // 10
