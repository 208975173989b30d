"""What no process can mend by itself is seen by whoever can, wherever they look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import select

from crm_api.auth.models import User
from crm_api.db import Database
from crm_api.messages.states import State
from crm_api.monitoring import alarms
from crm_api.monitoring.heartbeats import Heartbeats
from crm_api.monitoring.models import Process
from crm_api.monitoring.service import ALIVE
from crm_api.writer import Writer
from shared.alarms import MAX_ADVICE, MAX_ALARMS, MAX_SENTENCE, Alarm, Alarms
from shared.clock import now
from shared.contracts import Heartbeat, decode, encode
from tests.support.crm import Crm
from tests.support.people import EMAIL, KEY, PASSWORD

REFUSED = "The mail server refuses our sign-in."
ADVICE = "mail.example.com:587 said “535 wrong”. Find out the right password."


def beat(room: str = "north", worker: int = 1, *said: Alarm, of: int = 1, **changes: Any) -> Heartbeat:
    state = f"paused: {said[0].sentence}" if said else "open"
    values: dict[str, Any] = {"route_state": state, "alarms": said} | changes
    return Heartbeat(
        room=room, worker=worker, workers=of, host="h", pid=1, at=now(), started_at=now(),
        in_flight=0, accepted=0, deferred=0, failed=0, unknown=0, **values,
    )  # fmt: skip


def refused(minutes: int = 5) -> Alarm:
    return Alarm("route", REFUSED, ADVICE, now() - timedelta(minutes=minutes))


class Town:
    """Dispatch as it hears workers; its rows are what the pages read."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._writer = Writer(database)

        class Link:
            connected, blocked = True, False

        self._heartbeats = Heartbeats(self._writer, Link())  # type: ignore[arg-type]

    def hear(self, *beats: Heartbeat) -> None:
        for one in beats:
            heard = decode(Heartbeat.TYPE, encode(one))
            assert isinstance(heard, Heartbeat)
            self._heartbeats.hear(heard)
        with self.database.write() as session:
            self._heartbeats._write(session)

    def silent(self, name: str) -> None:
        """It was not heard of for too long."""
        with self.database.write() as session:
            session.get_one(Process, name).seen_at = now() - ALIVE - timedelta(seconds=1)

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def town(database: Database) -> Iterator[Town]:
    town = Town(database)
    yield town
    town.close()


@pytest.fixture(autouse=True)
def no_alarms() -> Iterator[None]:
    yield
    for alarm in alarms.own():
        alarms.clear(alarm.kind)


def queue(database: Database, state: State = State.queued, reason: str | None = None) -> None:
    with database.write() as session:
        session.execute(
            text("UPDATE delivery SET state = :state, reason = :reason, due_at = :at, queued_at = :at"),
            {"state": state, "reason": reason, "at": now() - timedelta(seconds=9)},
        )


def role(database: Database, name: str) -> None:
    with database.write() as session:
        session.exec(select(User).where(User.email == EMAIL)).one().role = name


def sign_in(visitor: TestClient) -> TestClient:
    assert visitor.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).status_code == 303
    return visitor


def asked(client: TestClient, path: str) -> Any:
    """As a program asks, over a browser's connection."""
    return client.get(path, headers={"Authorization": f"Bearer {KEY}"}).json()


# ---- the registry ------------------------------------------------------------------------------------------


def test_of_each_kind_there_is_one_and_it_keeps_its_beginning() -> None:
    here = Alarms()
    here.raise_alarm("route", "It refuses us.", "Do this.")
    (first,) = here.all
    here.raise_alarm("route", "It refuses us in other words.")
    (second,) = here.all
    assert (second.sentence, second.advice, second.since) == ("It refuses us in other words.", "", first.since)
    here.clear("route")
    here.clear("never raised")
    assert here.all == ()


def test_it_is_bounded_so_that_the_heartbeat_can_be_read() -> None:
    here = Alarms()
    for number in range(MAX_ALARMS * 2):
        here.raise_alarm(f"kind {number}" * 100, "s" * 10_000, "a" * 10_000)
    assert len(here.all) == MAX_ALARMS
    assert (len(here.all[0].sentence), len(here.all[0].advice)) == (MAX_SENTENCE, MAX_ADVICE)
    heard = decode(Heartbeat.TYPE, encode(beat("north", 1, *here.all)))
    assert isinstance(heard, Heartbeat)
    assert heard.alarms == here.all


def test_a_mail_room_of_before_says_nothing_of_alarms() -> None:
    heard = decode(Heartbeat.TYPE, encode(beat()).replace(b',"alarms":[]', b""))
    assert isinstance(heard, Heartbeat)
    assert heard.alarms == ()


# ---- /api/v1/system ----------------------------------------------------------------------------------------


def test_nothing_is_wrong(api: TestClient, town: Town) -> None:
    town.hear(beat())
    state = api.get("/api/v1/system").json()
    assert (state["well"], state["alarms"], state["mail_room_resting"]) == (True, [], 0)


def test_a_refused_worker_is_an_alarm(api: TestClient, town: Town) -> None:
    town.hear(beat("north", 1, refused(5), of=2), beat("north", 2, refused(9), of=2))
    state = api.get("/api/v1/system").json()
    assert (state["well"], state["mail_room_up"], state["mail_room_resting"]) == (False, 2, 2)
    (alarm,) = state["alarms"]  # two workers that say the same are one alarm
    assert (alarm["kind"], alarm["sentence"], alarm["advice"]) == ("route", REFUSED, ADVICE)
    assert alarm["where"] == ["north/1", "north/2"]
    assert alarm["since"][:16] == (now() - timedelta(minutes=9)).isoformat()[:16]


def test_what_this_process_and_dispatch_know_is_shown_too(api: TestClient, town: Town) -> None:
    alarms.raise_alarm("changes", "The database tells us nothing.", "Connect directly.")
    town.hear(beat())  # here dispatch is this process, too
    (alarm,) = api.get("/api/v1/system").json()["alarms"]
    assert (alarm["kind"], len(alarm["where"])) == ("changes", 1)
    alarms.clear("changes")
    town.hear(beat())
    assert api.get("/api/v1/system").json()["alarms"] == []


@pytest.mark.parametrize("how", ["opens", "stops", "falls silent"])
def test_it_ends_with_its_cause_or_with_the_worker(api: TestClient, town: Town, how: str) -> None:
    town.hear(beat("north", 1, refused()), beat("south"))
    assert api.get("/api/v1/system").json()["alarms"]
    if how == "opens":
        town.hear(beat())
    elif how == "stops":
        town.hear(beat("north", 1, refused(), stopping=True))
    else:
        town.silent("north/1")
    assert api.get("/api/v1/system").json()["alarms"] == []


def test_a_row_of_another_version_breaks_no_page(api: TestClient, town: Town, database: Database) -> None:
    town.hear(beat("north", 1, refused()))
    with database.write() as session:
        row = session.get_one(Process, "north/1")
        row.data = row.data | {"alarms": [{"kind": 7}]}
    assert api.get("/api/v1/system").json()["alarms"] == []


# ---- pages -------------------------------------------------------------------------------------------------

PAGES = ("/customers", "/messages", "/messages/new", "/reconciliation", "/users", "/account", "/audit", "/help/keys")


@pytest.mark.parametrize("page", PAGES)
def test_the_banner_of_every_page_says_it(browser: TestClient, town: Town, page: str) -> None:
    town.hear(beat())
    assert REFUSED not in browser.get(page).text
    town.hear(beat("north", 1, refused()))
    shown = unescape(browser.get(page).text)
    assert REFUSED in shown
    assert ADVICE in shown
    assert "Mail room <b>rests</b>" in shown


def test_pages_that_are_open_hear_of_it(browser: TestClient, town: Town, database: Database) -> None:
    town.hear(beat())
    town.hear(beat("north", 1, refused()))
    part = unescape(browser.get("/system").text)
    assert REFUSED in part
    assert "hx-partial" in part


def test_not_all_is_well(browser: TestClient, town: Town, database: Database, crm: Crm) -> None:
    crm.send("ida@example.com")
    town.hear(beat())
    assert "All is well" in browser.get("/messages").text
    town.hear(beat("north", 1, refused()))
    assert "All is well" not in browser.get("/messages").text


def test_one_room_of_two_rests(browser: TestClient, town: Town, database: Database, crm: Crm) -> None:
    message = crm.send("ida@example.com")
    queue(database)
    town.hear(beat("north"), beat("south", 1, refused()))
    shown = unescape(browser.get(f"/messages/{message.id}").text)
    assert "It rests in mail room south; the others go on sending." in shown
    assert "2 of 2, 1 at rest" in shown
    assert "Why it waits" not in shown  # the other room takes it
    assert asked(browser, "/api/v1/deliveries")["items"][0]["waits"] is None


@pytest.mark.parametrize("state", [State.queued, State.deferred])
def test_a_message_that_waits_says_why(
    browser: TestClient, town: Town, database: Database, crm: Crm, state: State
) -> None:
    message = crm.send("ida@example.com")
    queue(database, state, REFUSED if state == State.deferred else None)
    town.hear(beat("north", 1, refused()))
    shown = unescape(browser.get(f"/messages/{message.id}").text)
    assert "Why it waits" in shown
    assert "takes it next" not in shown
    assert "asks us to wait" not in shown
    # the banner, the first sentence, why (once)
    assert shown.count(REFUSED) == 3
    (delivery,) = asked(browser, "/api/v1/deliveries")["items"]
    assert delivery["waits"] == REFUSED
    assert asked(browser, f"/api/v1/deliveries/{delivery['id']}")["waits"] == REFUSED
    assert asked(browser, f"/api/v1/messages/{message.id}")["deliveries"][0]["waits"] == REFUSED


@pytest.mark.parametrize("name", ["viewer", "agent", "manager", "operator", "admin"])
def test_everybody_sees_that_it_waits_and_who_may_mend_it_what_to_do(
    visitor: TestClient, user: User, town: Town, database: Database, crm: Crm, name: str
) -> None:
    message = crm.send("ida@example.com")
    queue(database)
    town.hear(beat("north", 1, refused()))
    role(database, name)
    shown = unescape(sign_in(visitor).get(f"/messages/{message.id}").text)
    assert REFUSED in shown
    assert (ADVICE in shown) is (name in ("operator", "admin"))


def test_a_key_without_the_right_is_not_told_what_to_do(api: TestClient, town: Town, database: Database) -> None:
    town.hear(beat("north", 1, refused()))
    role(database, "viewer")
    (alarm,) = api.get("/api/v1/system").json()["alarms"]
    assert (alarm["sentence"], alarm["advice"]) == (REFUSED, None)


@pytest.mark.parametrize(
    ("rows", "state", "words"),
    [
        ((), State.pending, "is not running"),
        (("up",), State.queued, "No worker of the mail room"),
        (("down",), State.pending, "The broker is down"),
        (("down",), State.deferred, "The broker is down"),
        (("blocked",), State.pending, "short of memory"),
    ],
)
def test_whatever_holds_messages_up_is_said_of_them(
    api: TestClient, app: FastAPI, database: Database, crm: Crm, rows: tuple[str, ...], state: State, words: str
) -> None:
    crm.send("ida@example.com")
    queue(database, state)
    with database.write() as session:
        for broker in rows:
            session.add(Process(name="dispatch north 7", kind="dispatch", data={"broker": broker}))
    assert words in api.get("/api/v1/deliveries").json()["items"][0]["waits"]


def test_one_that_is_planned_for_later_waits_for_nothing_else(api: TestClient, crm: Crm, database: Database) -> None:
    crm.send("ida@example.com")
    with database.write() as session:
        session.execute(text("UPDATE delivery SET due_at = :at"), {"at": now() + timedelta(hours=1)})
    assert api.get("/api/v1/deliveries").json()["items"][0]["waits"] is None
