"""What is for a recipient alone goes to nobody else, and lies nowhere where somebody could find it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlmodel import Session, col, select

from crm_api.auth.hashing import hash_of
from crm_api.auth.models import OneTimeLink, User
from crm_api.auth.roles import Role
from crm_api.auth.sealing import Seal
from crm_api.db import Database
from crm_api.messages import actions, secret_fields
from crm_api.messages.models import Delivery, DeliverySecret, Message, Suppression
from crm_api.messages.states import State
from crm_api.outbox import store as outbox
from crm_api.outcomes import store
from crm_api.reconciliation import dead_letters, letters
from crm_api.settings import CrmSettings
from shared.amqp import Found
from shared.clock import now
from shared.contracts import OutcomeKind, delivery_key
from shared.fields import NOT_SHOWN
from shared.lanes import Lane
from tests.security.conftest import Somebody
from tests.support.crm import Crm
from tests.support.outcomes import outcome_of

ADMIN = {"email": "tom@holt-trees.example", "name": "Tom Ek", "role": "admin"}


def newest(database: Database) -> Delivery:
    with database.read() as session:
        return session.exec(select(Delivery).order_by(col(Delivery.id).desc()).limit(1)).one()


def opened(client: TestClient, delivery: Delivery) -> dict[str, str]:
    state = client.app.state  # type: ignore[attr-defined]
    with state.database.read() as session:
        return secret_fields.opened(session, state.seal, {delivery.id: delivery.fields})[delivery.id]


def path_of(fields: dict[str, str]) -> str:
    return "/links/" + fields["secret_link"].rpartition("/")[2]


def invite(client: TestClient, by: Somebody, **typed: str) -> Delivery:
    answer = client.post("/api/v1/users", json=ADMIN | typed, headers=by.with_key)
    assert answer.status_code == 201, answer.text
    return newest(client.app.state.database)  # type: ignore[attr-defined]


def end(database: Database, delivery: Delivery, kind: OutcomeKind, **members: Any) -> None:
    with database.write() as session:
        store.apply(session, [outcome_of(delivery, kind=kind, **members)], now())


def kept(database: Database) -> list[UUID]:
    with database.read() as session:
        return list(session.exec(select(DeliverySecret.delivery_id)))


# ---- it goes to nobody else -----------------------------------------------------------------------------------------


WAYS: dict[str, Callable[[TestClient, Somebody, Delivery, str], Any]] = {
    "API": lambda client, who, it, to: client.post(
        f"/api/v1/deliveries/{it.id}/retry", json={"address": to}, headers=who.with_key
    ),
    "API, same address": lambda client, who, it, _: client.post(
        f"/api/v1/deliveries/{it.id}/retry", headers=who.with_key
    ),
    "page": lambda client, who, it, to: client.post(
        f"/messages/{it.message_id}/deliveries/{it.id}/retry", data={"address": to}, headers=who.with_cookie
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("role", [Role.manager, Role.operator, Role.admin])
@pytest.mark.parametrize("kind", ["invitation", "reset", "code of a program"])
def test_a_failed_letter_with_a_secret_is_sent_to_nobody_again(
    client: TestClient, everybody: dict[Role, Somebody], database: Database, way: str, role: Role, kind: str
) -> None:
    admin = everybody[Role.admin]
    if kind == "invitation":
        delivery = invite(client, admin)
    elif kind == "reset":
        client.post("/sign-in/forgot", data={"email": admin.user.email})
        delivery = newest(database)
    else:
        draft = {
            "to": [{"email": "ada@example.com", "fields": {"secret_code": "418 220"}}],
            "subject": "Your code",
            "text": "It is {{ secret_code }}.",
        }
        assert client.post("/api/v1/messages", json=draft, headers=admin.with_key).status_code == 202
        delivery = newest(database)
    fields = opened(client, delivery)
    assert NOT_SHOWN not in fields.values()
    end(database, delivery, OutcomeKind.failed)
    answer = WAYS[way](client, everybody[role], delivery, "mine@attacker.example")
    assert answer.status_code == 409, answer.text
    assert "goes to nobody else" in answer.text
    after = newest(database)
    assert (after.id, after.address, after.state) == (delivery.id, delivery.address, State.failed)
    assert kept(database) == []
    if "secret_link" in fields:
        assert client.get(path_of(fields)).status_code == 404, "what lies in the dead letters opens nothing"
        assert client.post(path_of(fields), data={"password": "plums and apples"}).status_code == 404


def test_its_page_says_why_and_offers_nothing_that_fails(
    client: TestClient, everybody: dict[Role, Somebody], database: Database
) -> None:
    delivery = invite(client, everybody[Role.admin])
    end(database, delivery, OutcomeKind.failed)
    page = client.get(f"/messages/{delivery.message_id}", headers=everybody[Role.manager].with_cookie).text
    assert "goes to nobody else" in page
    assert "Send again" not in page
    assert f"/deliveries/{delivery.id}/discard" in page


def test_inviting_again_makes_a_new_link_for_the_accounts_own_address(
    client: TestClient, everybody: dict[Role, Somebody], database: Database
) -> None:
    first = invite(client, everybody[Role.admin])
    end(database, first, OutcomeKind.failed, suppress=True)
    with database.read() as session:
        assert session.exec(select(Suppression)).one().address == first.address
        user = session.exec(select(User).where(User.email == first.address)).one()
    answer = client.post(f"/api/v1/users/{user.id}/invite", headers=everybody[Role.admin].with_key)
    assert answer.status_code == 200, answer.text
    second = newest(database)
    assert (second.address, second.state) == (first.address, State.pending), "the person decided: no longer held back"
    assert client.get(path_of(opened(client, second))).status_code == 200


@pytest.mark.parametrize("changed", ["account", "delivery"])
def test_a_link_proves_who_reads_mail_at_the_accounts_address_only(
    client: TestClient, everybody: dict[Role, Somebody], database: Database, changed: str
) -> None:
    delivery = invite(client, everybody[Role.admin])
    link = path_of(opened(client, delivery))
    assert client.get(link).status_code == 200
    with database.write() as session:
        if changed == "account":
            session.execute(update(User).where(col(User.email) == delivery.address).values(email="new@holt.example"))
        else:
            session.execute(update(Delivery).values(address="mine@attacker.example"))
    assert client.get(link).status_code == 404
    assert client.post(link, data={"password": "plums and apples and pears"}).status_code == 404


def test_capitals_and_forms_of_one_address_are_one(
    client: TestClient, everybody: dict[Role, Somebody], database: Database
) -> None:
    delivery = invite(client, everybody[Role.admin], email="Tom@BÜCHER.example")
    assert client.get(path_of(opened(client, delivery))).status_code == 200


def test_a_link_to_an_address_that_takes_no_mail_is_none(
    client: TestClient, everybody: dict[Role, Somebody], database: Database
) -> None:
    admin = everybody[Role.admin].user
    with database.write() as session:
        session.add(Suppression(address=admin.email, reason="There is no such mailbox."))
    client.post("/sign-in/forgot", data={"email": admin.email})
    assert newest(database).state == State.suppressed
    assert kept(database) == []
    with database.read() as session:
        assert session.exec(select(OneTimeLink)).all() == []


# ---- it goes when its delivery has come to an end -------------------------------------------------------------------


def later() -> dict[str, Any]:
    return {"next_at": now() + timedelta(minutes=10)}


def _outcome(kind: OutcomeKind, **members: Any) -> Callable[[Session, Crm, Delivery], None]:
    return lambda session, _, it: store.apply(session, [outcome_of(it, kind=kind, **members)], now())


def _cancelled(session: Session, crm: Crm, delivery: Delivery) -> None:
    actions.cancel(session, delivery.id, crm.principal)


def _whole_message_cancelled(session: Session, crm: Crm, delivery: Delivery) -> None:
    actions.cancel_message(session, delivery.message_id, crm.principal)


def _discarded(session: Session, crm: Crm, delivery: Delivery) -> None:
    session.execute(update(Delivery).values(state=State.unknown))  # as an earlier version would have left it
    session.expire_all()
    session.execute(update(Message).values(pending=0, unknown=1))
    actions.discard(session, delivery.id, crm.principal)


def _given_up_by_the_broker(session: Session, _: Crm, delivery: Delivery) -> None:
    found = Found(delivery_key(delivery.id, 1), "mail.send.v1", "dead.urgent", 1, "delivery_limit", now())
    rows = list(dead_letters._deliveries(session, [delivery.id]))
    dead_letters.settle(session, [(rows[0], found)], now())


def _lost_too_long_ago(session: Session, _: Crm, delivery: Delivery) -> None:
    session.execute(update(Delivery).values(state=State.queued, queued_at=now() - timedelta(days=1)))
    session.execute(update(Message).values(pending=0, queued=1))
    rows = letters.lost(session, Lane.urgent, letters.Seen(now(), now()), 10)
    assert letters.give_up(session, rows, "Ida") == 1


ENDS: dict[str, tuple[Callable[[Session, Crm, Delivery], None], bool, bool]] = {
    # what happens: whether the secret is still kept afterwards, and whether a link still opens
    "accepted": (_outcome(OutcomeKind.accepted), False, True),
    "failed": (_outcome(OutcomeKind.failed), False, False),
    "expired": (_outcome(OutcomeKind.failed, phase="expired"), False, False),
    "unknown for good": (_outcome(OutcomeKind.unknown), False, False),
    "deferred": (lambda *its: _outcome(OutcomeKind.deferred, **later())(*its), True, True),
    "unknown, tried again": (lambda *its: _outcome(OutcomeKind.unknown, **later())(*its), True, True),
    "cancelled": (_cancelled, False, False),
    "the message cancelled": (_whole_message_cancelled, False, False),
    "discarded": (_discarded, False, False),
    "given up by the broker": (_given_up_by_the_broker, False, False),
    "lost too long ago": (_lost_too_long_ago, False, False),
}


@pytest.mark.parametrize("way", ENDS)
def test_the_secret_leaves_with_the_end_of_its_delivery(
    client: TestClient, everybody: dict[Role, Somebody], crm: Crm, database: Database, way: str
) -> None:
    happens, stays, opens = ENDS[way]
    delivery = invite(client, everybody[Role.admin])
    link = path_of(opened(client, delivery))
    assert kept(database) == [delivery.id]
    with database.write() as session:
        happens(session, crm, session.get_one(Delivery, delivery.id))
    assert kept(database) == ([delivery.id] if stays else [])
    assert newest(database).fields["secret_link"] == NOT_SHOWN
    assert client.get(link).status_code == (200 if opens else 404)


def test_what_cannot_be_opened_is_left_out_of_the_letter(
    client: TestClient, everybody: dict[Role, Somebody], database: Database
) -> None:
    """Then the mail room says which field is missing; it never sends the words that stand for it."""
    delivery = invite(client, everybody[Role.admin])
    with database.write() as session:
        claimed = outbox.claim(session, Lane.urgent, now(), 10)
        for seal in (Seal(["another key, as long as it must be"]), None):
            known = outbox.Letters(seal)
            known.load(session, claimed)
            command = known.command(claimed[0], Lane.urgent)
            assert "secret_link" not in command.fields
            assert command.fields["name"] == "Tom Ek"
    assert delivery.id == command.delivery


def test_one_deliverys_secret_is_not_anothers(
    client: TestClient, everybody: dict[Role, Somebody], database: Database
) -> None:
    """Who can write to the database, but has not the key, cannot have an admin's link sent to himself."""
    of_admin = invite(client, everybody[Role.admin])
    mine = invite(client, everybody[Role.admin], email="mine@holt-trees.example", role="viewer")
    with database.write() as session:
        sealed = session.get_one(DeliverySecret, of_admin.id).sealed
        session.get_one(DeliverySecret, mine.id).sealed = sealed
    assert "secret_link" not in opened(client, mine)


# ---- it lies nowhere in the clear -----------------------------------------------------------------------------------


def everything_in(url: str) -> bytes:
    """Every byte that a copy of the database, or a dump, would hold."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        return b"".join(part.read_bytes() for part in path.parent.glob(f"{path.name}*"))
    found = []
    with psycopg.connect(url) as connection:
        for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            rows = connection.execute(f'SELECT "{name}"::text FROM "{name}"'.encode())  # type: ignore[arg-type]
            found += [str(row).encode() for (row,) in rows]
    return b"\n".join(found)


def test_no_secret_of_any_kind_lies_in_the_database(
    client: TestClient, everybody: dict[Role, Somebody], settings: CrmSettings, database_url: str, database: Database
) -> None:
    admin = everybody[Role.admin]
    birds: dict[str, str] = {"key": admin.key}
    birds["invitation"] = opened(client, invite(client, admin))["secret_link"].rpartition("/")[2]
    client.post("/sign-in/forgot", data={"email": admin.user.email})
    birds["reset"] = opened(client, newest(database))["secret_link"].rpartition("/")[2]
    draft = {
        "to": [{"email": "ada@example.com", "fields": {"secret_code": "canary-418220"}}],
        "subject": "Your code",
        "text": "It is {{ secret_code }}.",
    }
    headers = admin.with_key | {"Idempotency-Key": "order-1"}
    for _ in range(2):
        assert client.post("/api/v1/messages", json=draft, headers=headers).status_code == 202
    birds["field"] = "canary-418220"
    link = path_of({"secret_link": birds["invitation"]})
    client.post(link, data={"password": "canary plums and apples"})
    birds["password"] = "canary plums and apples"
    signed_in = client.post("/sign-in", data={"email": ADMIN["email"], "password": birds["password"]})
    birds["cookie"] = re.findall(r"=([^;]{30,});", signed_in.headers["Set-Cookie"])[0]
    client.post("/sign-in", data={"email": ADMIN["email"], "password": "canary typed"})
    birds["typed"] = "canary typed"
    found = everything_in(database_url)
    assert b"tom@holt-trees.example" in found, "the search finds what is there"
    assert {name for name, bird in birds.items() if bird.encode() in found} == set()
    # a code is short: who has the database and knows the rest of the body must not be able to try them all
    assert hash_of("canary-418220").encode() not in found


def test_the_hash_of_a_request_with_a_secret_cannot_be_guessed_without_the_key(
    client: TestClient, everybody: dict[Role, Somebody], database: Database
) -> None:
    import hashlib

    from crm_api.messages.models import IdempotencyKey
    from crm_api.messages.schemas import MessageDraft

    draft = {
        "to": [{"email": "a@b.example", "fields": {"secret_code": "418220"}}],
        "subject": "x",
        "text": "y {{ secret_code }}",
    }
    headers = everybody[Role.admin].with_key | {"Idempotency-Key": "1"}
    first, again = (client.post("/api/v1/messages", json=draft, headers=headers) for _ in range(2))
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json() == again.json()
    plain = hashlib.sha256(MessageDraft.model_validate(draft).model_dump_json().encode()).hexdigest()
    with database.read() as session:
        assert session.exec(select(IdempotencyKey)).one().request_hash != plain


def test_what_an_earlier_version_wrote_in_the_clear_is_sealed(
    client: TestClient, everybody: dict[Role, Somebody], database: Database, database_url: str
) -> None:
    delivery = invite(client, everybody[Role.admin])
    fields = opened(client, delivery)
    with database.write() as session:
        session.execute(update(Delivery).values(fields=fields))
        session.delete(session.get_one(DeliverySecret, delivery.id))
    seal = client.app.state.seal  # type: ignore[attr-defined]
    with database.write() as session:
        assert secret_fields.seal_old(session, seal) == 1
        assert secret_fields.seal_old(session, seal) == 0
    assert newest(database).fields["secret_link"] == NOT_SHOWN
    assert opened(client, newest(database)) == fields
