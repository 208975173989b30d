"""Very many customers, fast, as the service itself would have made them: with words, tags and contacts."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
from sqlalchemy import insert

from crm_api import models  # noqa: F401 (foreign keys name tables of every room)
from crm_api.customers.models import Contact, Customer, CustomerTag, Tag
from crm_api.customers.service import index_texts
from crm_api.customers.words import fold, words_of
from crm_api.db import Database
from shared.ids import new_id

FIRST = [
    "Anna", "Björn", "Chloé", "Dmitri", "Emi", "Fatima", "Giulia", "Hanna", "Ivo", "Jürgen",
    "Kwame", "Ludo", "Marta", "Nils", "Olga", "Piet", "Quentin", "Rut", "Sofía", "Théo", "Ursula",
    "Věra", "Wanda", "Xenia", "Yusuf", "Zoë", "Aylin", "Bengt", "Carla", "Doris",
]  # fmt: skip
LAST = [
    "Ek", "Nilsson", "Okafor", "Demir", "Lindqvist", "Moreau", "Nair", "Peeters", "Reid", "Tanaka",
    "Kowalska", "Nordmann", "Mensah", "García", "Müller", "Rossi", "Novák", "Horváth", "Petrov",
    "Jansen", "Silva", "Kaya", "Dubois", "Weber", "Fischer", "Larsen", "Virtanen", "Papadopoulos",
    "Schmidt", "Berg",
]  # fmt: skip
KINDS = [
    "Nursery", "Trädgård", "Gartenbau", "Orchards", "Café", "Hotel", "Interiors", "Landscapes",
    "Bloembollen", "Atelier",
]  # fmt: skip
TAGS = ("everybody", "nursery", "wholesale", "architect", "private", "rare")
BATCH = 5_000


def seed_customers(database: Database, count: int, contacts_every: int = 10) -> list[UUID]:
    """Their ids, in the order of their making. Every tenth is archived, a third was written to."""
    dice = random.Random(42)
    tags = _tags(database)
    started = datetime(2025, 1, 1, tzinfo=UTC)
    ids: list[UUID] = []
    words: list[tuple[str, UUID]] = []
    for start in range(0, count, BATCH):
        customers, people, tagged = [], [], []
        for number in range(start, min(start + BATCH, count)):
            customer, contact = _person(dice, number, started)
            ids.append(customer.id)
            customers.append(customer.model_dump())
            if number % contacts_every == 0:
                people.append(contact.model_dump())
            row = [contact] if number % contacts_every == 0 else []
            words += [(word, customer.id) for word in words_of(index_texts(customer, row))]
            chosen = {"everybody", TAGS[1 + number % 4]} | ({"rare"} if number % 1000 == 0 else set())
            tagged += [{"tag_id": tags[name], "customer_id": customer.id} for name in chosen]
        with database.write() as session:
            session.execute(insert(Customer), customers)
            if people:
                session.execute(insert(Contact), people)
            session.execute(insert(CustomerTag), tagged)
    words.sort()
    (_words_to_sqlite if database.sqlite else _words_to_postgresql)(database, words)
    return ids


def _words_to_sqlite(database: Database, words: list[tuple[str, UUID]]) -> None:
    with closing(sqlite3.connect(database.url.removeprefix("sqlite:///"))) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-200000")
        rows = ((word, customer.hex) for word, customer in words)
        connection.executemany("INSERT INTO customer_word VALUES (?, ?)", rows)
        connection.commit()


def _words_to_postgresql(database: Database, words: list[tuple[str, UUID]]) -> None:
    with psycopg.connect(database.url.replace("+psycopg", ""), autocommit=True) as connection:
        with connection.cursor().copy("COPY customer_word (word, customer_id) FROM STDIN") as stream:
            for row in words:
                stream.write_row(row)
        connection.execute("VACUUM ANALYZE")  # what autovacuum does on a database that has been up for a while


def _tags(database: Database) -> dict[str, int]:
    with database.write() as session:
        rows = [Tag(name=name) for name in TAGS]
        session.add_all(rows)
        session.flush()
        return {row.name: row.id for row in rows if row.id is not None}


def _person(dice: random.Random, number: int, started: datetime) -> tuple[Customer, Contact]:
    first, last = dice.choice(FIRST), dice.choice(LAST)
    company = f"{dice.choice(LAST)} {dice.choice(KINDS)} {number}"
    at = started + timedelta(minutes=5 * number)
    customer = Customer(
        id=new_id(),
        first_name=first,
        last_name=last,
        company=company,
        email=f"{fold(first)}.{fold(last)}@company-{number}.example",
        phone=f"+46 31 {number:07}",
        archived=number % 10 == 9,
        sort_name=fold(f"{last} {first}"),
        sort_company=fold(company),
        created_at=at,
        changed_at=at,
    )
    if number % 3 == 0:
        customer.written_at = at + timedelta(days=1)
    contact = Contact(
        id=new_id(),
        customer_id=customer.id,
        first_name=dice.choice(FIRST),
        last_name=dice.choice(LAST),
        email=f"office@company-{number}.example",
    )
    return customer, contact
