"""Who waits gets nothing more when session, key, role or user end meanwhile: long polls, streams, long files."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.audit import service as audit
from crm_api.auth import access
from crm_api.auth.hashing import hash_of
from crm_api.auth.models import ApiKey, SignIn, User
from crm_api.auth.roles import Role
from crm_api.auth.service import ABSOLUTE, sign_out, sign_out_everywhere
from crm_api.changes import Subscription
from crm_api.db import Database
from crm_api.sandbox.store import SANDBOX_FILE, NewMail, SandboxStore
from crm_api.settings import CrmSettings
from crm_api.web.events import stream
from shared.clock import now
from tests.security.conftest import Somebody
from tests.support.crm import Crm
from tests.support.waiting import wait_until

End = Callable[[Database, Somebody], None]


def revoke(database: Database, person: Somebody) -> None:
    with database.write() as session:
        session.exec(select(ApiKey).where(ApiKey.user_id == person.user.id)).one().revoked_at = now()
        access.changed(session, person.user.id)


def disable(database: Database, person: Somebody) -> None:
    with database.write() as session:
        session.get_one(User, person.user.id).disabled_at = now()
        sign_out_everywhere(session, person.user.id)
        access.changed(session, person.user.id)


def lower(database: Database, person: Somebody) -> None:
    with database.write() as session:
        session.get_one(User, person.user.id).role = "none"
        access.changed(session, person.user.id)


def leave(database: Database, person: Somebody) -> None:
    with database.write() as session:
        sign_out(session, person.token)


WAYS: list[tuple[str, End, int]] = [
    ("key", revoke, 401),
    ("key", disable, 401),
    ("key", lower, 403),
    ("session", disable, 401),
    ("session", lower, 403),
    ("session", leave, 401),
]


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether somebody waits in a subscription."""
    begun = threading.Event()
    made = Subscription.until

    async def noted(self: Subscription, topics: set[str], seconds: float) -> bool:
        begun.set()
        return await made(self, topics, seconds)

    monkeypatch.setattr(Subscription, "until", noted)
    return begun.is_set


def headers_of(person: Somebody, way: str) -> dict[str, str]:
    return person.with_key if way == "key" else person.with_cookie


def meanwhile(client: TestClient, path: str, headers: dict[str, str], waiting: Callable[[], bool], act: Any) -> Any:
    """The answer to a request that waits while something happens."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(client.get(path, headers=headers)))
    thread.start()
    wait_until(waiting, "the request waits")
    act()
    thread.join(30)
    assert answers, "it waits for no longer"
    return answers[0]


@pytest.mark.parametrize(("way", "end", "expected"), WAYS)
def test_a_message_that_is_waited_for(
    client: TestClient,
    crm: Crm,
    everybody: dict[Role, Somebody],
    waiting: Callable[[], bool],
    way: str,
    end: End,
    expected: int,
) -> None:
    message = crm.send(subject="a secret subject")
    agent = everybody[Role.agent]
    path = f"/api/v1/messages/{message.id}?wait=60"
    answer = meanwhile(client, path, headers_of(agent, way), waiting, lambda: end(crm.database, agent))
    assert answer.status_code == expected
    assert "a secret subject" not in answer.text


@pytest.mark.parametrize(("way", "end", "expected"), WAYS)
def test_a_mail_that_is_waited_for(
    client: TestClient,
    settings: CrmSettings,
    database: Database,
    everybody: dict[Role, Somebody],
    waiting: Callable[[], bool],
    way: str,
    end: End,
    expected: int,
) -> None:
    admin = everybody[Role.admin]
    answer = meanwhile(
        client,
        "/api/v1/sandbox/messages?wait=30",
        headers_of(admin, way),
        waiting,
        lambda: end(database, admin),
    )
    assert answer.status_code == expected


def test_what_comes_with_the_end_is_not_given_out(
    client: TestClient,
    settings: CrmSettings,
    database: Database,
    everybody: dict[Role, Somebody],
    waiting: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even by a process that hears of the mail and not of the end."""
    admin = everybody[Role.admin]
    store = SandboxStore(settings.data_dir / SANDBOX_FILE)

    def act() -> None:
        with database.write() as session:  # nobody is told
            session.exec(select(ApiKey).where(ApiKey.user_id == admin.user.id)).one().revoked_at = now()
        store.add([NewMail("crm@x.example", ("ada@x.example",), b"Subject: secret\r\n\r\nx\r\n")])

    answer = meanwhile(client, "/api/v1/sandbox/messages?wait=30", admin.with_key, waiting, act)
    assert answer.status_code == 401
    assert "secret" not in answer.text


@pytest.mark.parametrize("way", ["key", "session"])
def test_its_own_end_is_an_end(
    client: TestClient, crm: Crm, everybody: dict[Role, Somebody], waiting: Callable[[], bool], way: str
) -> None:
    agent = everybody[Role.agent]
    soon = now() + timedelta(seconds=2)
    with crm.database.write() as session:
        if way == "key":
            session.exec(select(ApiKey).where(ApiKey.user_id == agent.user.id)).one().expires_at = soon
        else:
            session.get_one(SignIn, hash_of(agent.token)).created_at = soon - ABSOLUTE
    path = f"/api/v1/messages/{crm.send().id}?wait=60"
    answer = meanwhile(client, path, headers_of(agent, way), waiting, lambda: None)
    assert answer.status_code == 401
    assert now() < soon + timedelta(seconds=30), "not after the whole minute"


class Ended:
    """A stay that is over when it is asked."""

    topic = "user:1"
    is_over = False

    def __init__(self) -> None:
        self.over = False

    def at_most(self, seconds: float) -> float:
        return seconds

    async def check_again(self) -> None:
        from crm_api.errors import NotSignedIn

        if self.over:
            raise NotSignedIn("over")


async def test_a_stream_that_may_have_missed_the_end_looks(app: FastAPI) -> None:
    feed, stay = app.state.feed, Ended()
    lines = stream(feed, {"messages"}, stay.topic, stay)  # type: ignore[arg-type]
    assert "data: *" in await anext(lines)
    stay.over = True
    feed._tell({"*"})
    assert [line async for line in lines] == []
    assert [line async for line in stream(feed, {"messages"}, stay.topic, stay)] == []  # type: ignore[arg-type]


def test_a_long_file_is_cut(
    client: TestClient, database: Database, everybody: dict[Role, Somebody], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = everybody[Role.admin]
    monkeypatch.setattr(audit, "BATCH", 1)
    for number in range(3):
        client.post("/api/v1/customers", json={"email": f"a{number}@b.example"}, headers=admin.with_key)
    whole = client.get("/audit.csv", headers=admin.with_key).text
    assert "cut here" not in whole
    made = audit.every

    def ends(*arguments: Any) -> Iterator[Any]:
        for position, batch in enumerate(made(*arguments)):
            if position == 1:
                revoke(database, admin)
            yield batch

    monkeypatch.setattr(audit, "every", ends)
    lines = client.get("/audit.csv", headers=admin.with_key).text.splitlines()
    assert len(lines) == 3, lines
    assert lines[-1].startswith("cut here,")
