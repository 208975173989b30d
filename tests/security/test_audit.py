"""Every change leaves an entry, in its own transaction, for ever; nothing else does."""

import contextlib
import csv
import io
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pyotp
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select

from crm_api.audit import csv_file, service
from crm_api.audit.actions import ACTIONS, KINDS
from crm_api.audit.models import AuditEntry
from crm_api.audit.record import record
from crm_api.audit.service import Filter
from crm_api.auth import second_factor
from crm_api.auth.hashing import hash_of
from crm_api.auth.models import ApiKey, SignIn, User
from crm_api.auth.principal import COMMAND_LINE
from crm_api.auth.roles import BY_ROUTE, Role
from crm_api.customers import service as customers
from crm_api.db import Database
from crm_api.errors import Invalid
from crm_api.messages import actions
from crm_api.openid.models import OpenIdLink
from crm_api.reconciliation.models import Stranger
from crm_api.senders.models import AllowedSender
from crm_api.settings import CrmSettings
from shared.clock import now
from tests.security.conftest import Somebody
from tests.support.crm import Crm
from tests.support.people import PASSWORD, hashed
from tests.support.reconciling import lost_letters
from tests.support.scenes import settle
from tests.support.statements import counted

DRAFT = {"to": [{"email": "ada@example.com"}], "subject": "Saplings", "text": "On Thursday.", "undo_seconds": 300}
ISSUER = "https://login.example.com"
# what asks, shows or keeps nothing, though it is a POST
CHANGES_NOTHING = {
    "POST /appearance",
    "POST /messages/compose",
    "POST /messages/preview",
    "POST /messages/recipient",
    "POST /reconciliation/compare",
    "POST /api/v1/reconciliation/compare",
}


@pytest.fixture
def settings(settings: CrmSettings) -> CrmSettings:
    """With an OpenID provider, whose links can be removed."""
    return settings.model_copy(update={"openid_issuer": ISSUER, "openid_client_id": "us"})


def entries(database: Database) -> list[AuditEntry]:
    with database.read() as session:
        return list(session.exec(select(AuditEntry).order_by(col(AuditEntry.id))))


class Doer:
    """Does things over the API and by the pages, and notes which routes were tried and which left no entry."""

    def __init__(self, client: TestClient, database: Database, person: Somebody) -> None:
        self.client, self.database, self.person = client, database, person
        self.tried: set[str] = set()
        self.silent: list[str] = []

    def do(self, route: str, *ids: object, page: bool = False, **request: Any) -> Any:
        method, _, path = route.partition(" ")
        self.tried.add(route)
        for one in ids:
            start, end = path.index("{"), path.index("}")
            path = f"{path[:start]}{one}{path[end + 1 :]}"
        before = len(entries(self.database))
        self.client.cookies.clear()
        headers = self.person.with_cookie if page else self.person.with_key
        answer = self.client.request(method, path, headers=headers, **request)
        assert answer.status_code < 400, (route, answer.text)
        if len(entries(self.database)) == before:
            self.silent.append(route)
        return answer


def test_every_route_that_changes_something_leaves_an_entry(
    client: TestClient, crm: Crm, everybody: dict[Role, Somebody]
) -> None:
    """A route that is missing here has not been tried: do something with it."""
    doer = Doer(client, crm.database, everybody[Role.admin])
    do = doer.do
    customer = do("POST /api/v1/customers", json={"email": "a@b.example"}).json()["id"]
    for prefix, page in (("/api/v1", False), ("", True)):
        for verb in ("archive", "restore"):
            do(f"POST {prefix}/customers/{{customer_id}}/{verb}", customer, page=page)
    do("PATCH /api/v1/customers/{customer_id}", customer, json={"phone": "+46 1"})
    do("POST /customers/{customer_id}/edit", customer, page=True, data={"email": "a@b.example", "phone": "+46 2"})
    do("POST /api/v1/customers/{customer_id}/notes", customer, json={"text": "Likes plums"})
    do("POST /customers/{customer_id}/notes", customer, page=True, data={"text": "And pears"})
    contact = do("POST /api/v1/customers/{customer_id}/contacts", customer, json={"email": "c@b.example"}).json()["id"]
    do("POST /customers/{customer_id}/contacts", customer, page=True, data={"email": "d@b.example"})
    path = "/customers/{customer_id}/contacts/{contact_id}"
    do(f"PATCH /api/v1{path}", customer, contact, json={"phone": "1"})
    do(f"POST {path}", customer, contact, page=True, data={"email": "c@b.example", "phone": "2"})
    do(f"DELETE /api/v1{path}", customer, contact)
    do("DELETE /api/v1/customers/{customer_id}", customer)
    do("POST /customers", page=True, data={"email": "e@b.example"})
    _letters(do, crm)
    _reconciliation(do, crm)
    _house(do, crm)
    expected = {
        route
        for route, verb in BY_ROUTE.items()
        if not route.startswith(("GET ", "HEAD ")) and verb.roles and route not in CHANGES_NOTHING
    }
    assert doer.silent == []
    assert expected - doer.tried == set()


def _letters(do: Any, crm: Crm) -> None:
    def sent() -> tuple[str, str]:
        made = do("POST /api/v1/messages", json=DRAFT).json()
        return made["id"], made["deliveries"][0]["id"]

    form = {"to": "email:ada@example.com", "subject": "Saplings", "markdown": "On Thursday.", "do": "send"}
    do("POST /messages", page=True, data=form)
    do("POST /messages/{message_id}/undo", sent()[0], page=True)
    do("POST /messages/{message_id}/cancel", sent()[0], page=True)
    do("POST /api/v1/messages/{message_id}/cancel", sent()[0])
    do("POST /api/v1/deliveries/{delivery_id}/cancel", sent()[1])
    path = "/messages/{message_id}/deliveries/{delivery_id}"
    do(f"POST {path}/cancel", *sent(), page=True)
    do("POST /api/v1/files", files={"file": ("a.txt", b"the plan")})
    do("POST /messages/files", page=True, files={"file": ("b.txt", b"the other plan")})
    for verb in ("retry", "discard"):
        for route, page in ((f"POST /api/v1/deliveries/{{delivery_id}}/{verb}", False), (f"POST {path}/{verb}", True)):
            message = crm.send()
            settle(crm, message.id, **{"ada@example.com": "failed"})
            ids = (message.id, crm.delivery(message.id).id)
            do(route, *(ids if page else ids[1:]), page=page)


def _reconciliation(do: Any, crm: Crm) -> None:
    for prefix, page in (("/api/v1", False), ("", True)):
        do(f"POST {prefix}/messages/{{message_id}}/finish", lost_letters(crm, 1).id, page=page)
        for verb, ago in (("requeue", timedelta(minutes=1)), ("give-up", timedelta(days=20))):
            lost_letters(crm, 1, ago)
            do(f"POST {prefix}/reconciliation/{verb}", page=page)
        with crm.database.write() as session:
            session.add(Stranger(key="some", type="mail.outcomes.v1", reason="rejected", routing_key="x", size=1))
        keys = {"data": {"key": "some"}} if page else {"json": {"keys": ["some"]}}
        do(f"POST {prefix}/reconciliation/strangers/remove", page=page, **keys)


def _house(do: Any, crm: Crm) -> None:
    do("DELETE /api/v1/sandbox/messages")
    do("POST /sandbox/clear", page=True)
    new = {"email": "tom@b.example", "name": "Tom", "role": "agent"}
    tom = do("POST /api/v1/users", json=new).json()["id"]
    do("POST /users", page=True, data=new | {"email": "rut@b.example"})
    do("PATCH /api/v1/users/{user_id}", tom, json={"role": "viewer"})
    do("POST /users/{user_id}", tom, page=True, data={"name": "Tom Ek", "role": "agent"})
    with crm.database.write() as session:
        user = session.get_one(User, UUID(tom))
        user.totp_secret, user.totp_since = second_factor.new_secret(), now()
        session.add(SignIn(token_hash="t" * 64, user_id=user.id))
    do("POST /users/{user_id}/second-factor-off", tom, page=True)
    do("POST /users/{user_id}/end-sessions", tom, page=True)
    for prefix, page in (("/api/v1", False), ("", True)):
        for verb in ("invite", "disable", "enable"):
            do(f"POST {prefix}/users/{{user_id}}/{verb}", tom, page=page)
    key = do("POST /api/v1/keys", json={"name": "shop"}).json()["id"]
    do("POST /api/v1/keys/{key_id}/revoke", key)
    do("POST /keys", page=True, data={"name": "by hand", "all": "yes"})
    with crm.database.read() as session:
        other = session.exec(select(ApiKey.id).where(ApiKey.name == "by hand")).one()
    do("POST /keys/{key_id}/revoke", other, page=True)
    support = do("POST /api/v1/senders", json={"sender": "support@b.example"}).json()["id"]
    do("DELETE /api/v1/senders/{sender_id}", support)
    do("POST /senders", page=True, data={"sender": "c.example"})
    with crm.database.read() as session:
        listed = session.exec(select(AllowedSender.id).where(AllowedSender.key == "@c.example")).one()
    do("POST /senders/{sender_id}/remove", listed, page=True)
    _account(do, crm)


def _account(do: Any, crm: Crm) -> None:
    with crm.database.write() as session:
        me = session.exec(select(User).where(User.email == "admin@holt-trees.example")).one()
        me.password_hash = hashed(PASSWORD)
        me.totp_secret = secret = pyotp.random_base32()
        session.add_all(SignIn(token_hash=letter * 64, user_id=me.id) for letter in "xy")
    do("POST /account/sessions/{handle}/end", "x" * 32, page=True)
    do("POST /account/sessions/end", page=True)
    do("POST /account/second-factor", page=True, data={"code": pyotp.TOTP(secret).now()})
    do("POST /account/second-factor/codes", page=True, data={"password": PASSWORD})
    do("POST /account/second-factor/off", page=True, data={"password": PASSWORD})
    with crm.database.write() as session:
        session.add(OpenIdLink(issuer=ISSUER, subject="me", user_id=me.id))
    do("POST /account/openid/remove", page=True)
    do("POST /account/password", page=True, data={"old": PASSWORD, "new": "plums and apples and pears"})
    with crm.database.write() as session:  # the new password ended the session
        session.add(SignIn(token_hash=hash_of("session of admin"), user_id=me.id))
    do("POST /sign-out", page=True)


def test_a_refused_change_leaves_none(client: TestClient, database: Database, everybody: dict[Role, Somebody]) -> None:
    before = len(entries(database))
    headers = everybody[Role.admin].with_key
    for answer in (
        client.post("/api/v1/messages", json=DRAFT | {"subject": ""}, headers=headers),
        client.post("/api/v1/customers", json={"email": "nobody"}, headers=headers),
        client.post(f"/api/v1/messages/{uuid4()}/cancel", headers=headers),
        client.post("/api/v1/customers", json={"email": "a@b.example"}, headers=everybody[Role.viewer].with_key),
    ):
        assert answer.status_code >= 400
    client.post("/api/v1/messages", json=DRAFT, headers=headers | {"Idempotency-Key": "1"})
    client.post("/api/v1/messages", json=DRAFT, headers=headers | {"Idempotency-Key": "1"})
    assert len(entries(database)) == before + 1, "the same key again sends nothing"


def test_who_what_when_from_where(client: TestClient, database: Database, everybody: dict[Role, Somebody]) -> None:
    agent = everybody[Role.agent]
    began = now()
    message = client.post("/api/v1/messages", json=DRAFT, headers=agent.with_key).json()["id"]
    entry = entries(database)[-1]
    assert began <= entry.at <= now()
    assert (entry.action, entry.object_id, entry.object_name) == ("message.sent", message, "Saplings")
    assert (entry.actor_id, entry.actor, entry.via, entry.key) == (agent.user.id, "agent", "api", "key of agent")
    assert (entry.address, entry.data) == ("testclient", {"to": 1})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'nobody'",
        "DELETE FROM audit_entry",
        "DELETE FROM audit_entry WHERE action = 'user.added'",
        "TRUNCATE audit_entry",
    ],
)
def test_the_database_refuses_to_change_or_delete_entries(database: Database, statement: str) -> None:
    with database.write() as session:
        record(session, COMMAND_LINE, "user.added", uuid4(), "Ida")
    with pytest.raises(DBAPIError), database.write() as session:
        session.execute(text(statement))
    assert [entry.actor for entry in entries(database)] == ["command line"]


def test_an_entry_is_there_only_if_the_change_is(database: Database) -> None:
    with contextlib.suppress(RuntimeError), database.write() as session:
        record(session, COMMAND_LINE, "user.added", uuid4(), "Ida")
        session.flush()
        raise RuntimeError("something else failed")
    assert entries(database) == []


def test_of_a_customer_it_keeps_which_fields_and_not_what_was_in_them(crm: Crm) -> None:
    with crm.database.write() as session:
        one = customers.create(session, crm.principal, {"email": "a@b.example"})
        customers.update(session, crm.principal, one.id, {"phone": "+46 70 123", "email": "new@b.example"}, ["vip"])
    entry = entries(crm.database)[-1]
    assert entry.data == {"fields": ["email", "phone", "tags"]}
    assert "+46" not in str(entry.model_dump())


def fill(database: Database, count: int) -> list[str]:
    """Entries about objects 0, 1, 2 in turn; their object names, newest first."""
    names = [f"n{number}" for number in range(count)]
    with database.write() as session:
        for number, name in enumerate(names):
            record(session, COMMAND_LINE, ("user.added", "key.made")[number % 2], str(number % 3), name)
            session.flush()
    return names[::-1]


@pytest.mark.parametrize("wanted", [Filter(), Filter(action="user."), Filter(action="key.made"), Filter(object_id="2")])
def test_pages_by_key_have_every_entry_once(database: Database, wanted: Filter) -> None:
    names = fill(database, 24)
    found: list[str] = []
    cursor = None
    while True:
        with database.read() as session, counted(database) as statements:
            page, cursor = service.list_page(session, wanted, cursor, 5)
        assert len([one for one in statements if one.startswith("SELECT")]) == 1
        found += [entry.object_name for entry in page]
        if cursor is None:
            break
    step = {"user.": 2, "key.made": 2}.get(wanted.action, 3 if wanted.object_id else 1)
    start = {"user.": 1, "key.made": 0}.get(wanted.action, 0)
    assert found == (names[start::step] if not wanted.object_id else names[0::3])


def test_of_a_message_all_that_was_done_to_it(crm: Crm) -> None:
    message = crm.send(undo_seconds=300)
    crm.send()
    with crm.database.write() as session:
        actions.cancel_message(session, message.id, crm.principal)
    with crm.database.read() as session:
        found, _ = service.list_page(session, Filter(object_id=str(message.id)))
        assert [entry.action for entry in found] == ["message.cancelled", "message.sent"]
        only, _ = service.list_page(session, Filter(object_id=str(message.id), action="message.sent"))
        assert [entry.id for entry in only] == [message.id]
        first, cursor = service.list_page(session, Filter(object_id=str(message.id)), limit=1)
        second, end = service.list_page(session, Filter(object_id=str(message.id)), cursor, 1)
        assert [entry.action for entry in (*first, *second)] == ["message.cancelled", "message.sent"]
        assert end is None


def test_filters_of_time_and_person(crm: Crm) -> None:
    fill(crm.database, 3)
    with crm.database.write() as session:
        record(session, crm.principal, "user.added", uuid4(), "by Ida")
    with crm.database.read() as session:

        def count(**members: Any) -> int:
            return len(service.list_page(session, Filter(**members))[0])

        assert count(actor_id=crm.principal.user_id) == 1
        assert count(since=now() - timedelta(minutes=1)) == 4
        assert count(since=now() + timedelta(minutes=1)) == 0
        assert count(until=now() - timedelta(minutes=1)) == 0
        assert count(until=now() + timedelta(minutes=1), action="user.added") == 3
        with pytest.raises(Invalid):
            count(action="user.eaten")


def test_a_filter_reads_no_more_than_it_shows(database: Database) -> None:
    """Each is a stretch of an index, in the order of the ids."""
    fill(database, 3)
    if not database.sqlite:
        pytest.skip("PostgreSQL plans by what is in the table")
    for wanted, index in (
        (Filter(object_id="1"), "ix_audit_entry_object"),
        (Filter(object_id=str(uuid4())), "ix_audit_entry_object"),
        (Filter(actor_id=uuid4()), "ix_audit_entry_actor"),
        (Filter(action="key.made"), "ix_audit_entry_action"),
    ):
        with database.read() as session:
            with counted(database) as statements:
                service.list_page(session, wanted)
            assert statements
            compiled = service._rows(wanted, None, 50).compile(database.engine, compile_kwargs={"literal_binds": True})
            plan = " ".join(row[3] for row in session.execute(text(f"EXPLAIN QUERY PLAN {compiled}")))
        assert index in plan, plan
        assert "SCAN audit_entry " not in f"{plan} ", plan
        if not wanted.object_id:  # of an object, a page of ids is put in order
            assert "TEMP B-TREE" not in plan, plan


@pytest.mark.parametrize(
    "typed", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", '=HYPERLINK("http://evil.example")', "＝1"]
)
def test_csv_never_begins_like_a_formula(
    client: TestClient, crm: Crm, everybody: dict[Role, Somebody], typed: str
) -> None:
    with crm.database.write() as session:
        record(session, crm.principal, "customer.created", uuid4(), typed)
    answer = client.get("/audit.csv", headers=everybody[Role.admin].with_key)
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in answer.headers["Content-Disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert row["object"] == f"'{typed}"
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())


def test_csv_has_all_that_fits_however_much(
    client: TestClient, database: Database, everybody: dict[Role, Somebody], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BATCH", 7)
    names = fill(database, 30)
    answer = client.get("/audit.csv?action=user.", headers=everybody[Role.admin].with_key)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["object"] for row in rows] == names[1::2]
    assert tuple(rows[0]) == csv_file.COLUMNS


def test_the_page_reads_well(client: TestClient, app: FastAPI, everybody: dict[Role, Somebody]) -> None:
    admin = everybody[Role.admin]
    client.post("/api/v1/customers", json={"first_name": "<b>Ada</b>"}, headers=admin.with_key)
    page = client.get("/audit", headers=admin.with_cookie).text
    assert "&lt;b&gt;Ada&lt;/b&gt;" in page
    assert "key <bdi>key of admin</bdi>" in page
    for query in (f"who={admin.user.id}", "who=x&action=nothing&since=yesterday&until=0001-01-01", "object=%00"):
        assert client.get(f"/audit?{query}", headers=admin.with_cookie).status_code == 200


def test_every_action_has_a_kind_that_is_known() -> None:
    assert {action.kind for action in ACTIONS.values()} <= KINDS.keys()
