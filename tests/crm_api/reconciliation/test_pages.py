"""What a person sees of a comparison, and the buttons; the API says and does the same."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlmodel import select

from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.messages.models import Delivery, DeliveryEntry
from crm_api.outcomes import store as outcomes
from crm_api.reconciliation.models import Stranger
from shared.clock import now
from shared.contracts import OutcomeKind
from tests.support.crm import Crm
from tests.support.outcomes import outcome_of
from tests.support.people import KEY
from tests.support.reconciling import comparing, lost_letters, queue_all

REFRESH = {"HX-Request": "true", "HX-Request-Type": "partial"}


@pytest.fixture
def program(app: FastAPI) -> TestClient:
    """A program with an API key, beside a browser that has started the application."""
    return TestClient(app, headers={"Authorization": f"Bearer {KEY}"}, follow_redirects=False)


def stranger(crm: Crm, key: str = "some-event") -> None:
    async def find() -> None:
        async with comparing(crm) as made:
            await made.look()

    asyncio.run(find())
    with crm.database.write() as session:
        session.add(Stranger(key=key, type="mail.outcomes.v1", reason="rejected", routing_key="dead.event", size=812))


def states(crm: Crm, message_id: Any) -> list[str]:
    return sorted(row.state for row in crm.deliveries(message_id))


def test_before_the_first_comparison(browser: TestClient, program: TestClient) -> None:
    assert "Nothing has been compared yet." in browser.get("/reconciliation").text
    answer = program.get("/api/v1/reconciliation").json()
    assert (answer["at"], answer["lanes"], answer["differences"]) == (None, [], 0)
    assert program.post("/api/v1/reconciliation/requeue").json() == {"count": 0}


def test_all_is_well(browser: TestClient, crm: Crm) -> None:
    async def look() -> None:
        async with comparing(crm) as made:
            await made.look()

    asyncio.run(look())
    page = browser.get("/reconciliation").text
    assert "Everything adds up." in page
    assert "Nothing had to be mended" in page
    assert "Differences" not in page
    part = browser.get("/reconciliation", headers=REFRESH | {"HX-Target": "div#figures"}).text
    assert part.lstrip().startswith('<div id="figures"')


def test_a_button_requeues_what_is_missing(browser: TestClient, program: TestClient, crm: Crm) -> None:
    message = lost_letters(crm, 3)
    page = browser.get("/reconciliation").text
    assert "The broker has lost 3 letters." in page
    assert "Requeue 3 letters" in page
    assert "Differences <b>3</b>" in page
    assert program.get("/api/v1/system").json()["differences"] == 3
    answer = browser.post("/reconciliation/requeue")
    assert (answer.status_code, answer.headers["location"]) == (303, "/reconciliation")
    page = browser.get("/reconciliation").text
    assert "3 letters requeued." in page
    assert "Ida Holt requeued 3 letters" in page
    assert "Everything adds up." in page
    assert states(crm, message.id) == ["pending"] * 3
    assert "Ida Holt queued it again" in browser.get(f"/messages/{message.id}").text
    browser.post("/reconciliation/requeue")
    assert "Nothing to requeue." in browser.get("/reconciliation").text


def test_finish_the_remainder_sends_nothing_again_that_was_accepted(browser: TestClient, crm: Crm) -> None:
    other, message = lost_letters(crm, 1), lost_letters(crm, 4)
    accepted, failed, *_ = crm.deliveries(message.id)
    with crm.database.write() as session:
        kinds = {accepted.id: OutcomeKind.accepted, failed.id: OutcomeKind.failed}
        found = [outcome_of(row, kind=kinds[row.id]) for row in (accepted, failed)]
        outcomes.apply(session, found, now())
    assert "Finish the remainder (2)" in browser.get(f"/messages/{message.id}").text
    answer = browser.post(f"/messages/{message.id}/finish")
    assert answer.headers["location"] == f"/messages/{message.id}"
    page = browser.get(answer.headers["location"]).text
    assert "2 letters requeued." in page
    assert "Finish the remainder" not in page
    assert states(crm, message.id) == ["accepted", "failed", "pending", "pending"]
    assert {row.generation for row in crm.deliveries(message.id)} == {1}
    assert states(crm, other.id) == ["queued"], "another message’s letters are not touched"


def test_a_message_without_lost_letters_offers_nothing(browser: TestClient, program: TestClient, crm: Crm) -> None:
    lost_letters(crm, 2)
    message = crm.send()
    queue_all(crm)
    assert "Finish the remainder" not in browser.get(f"/messages/{message.id}").text
    assert program.post(f"/api/v1/messages/{message.id}/finish").json() == {"count": 0}
    assert program.post("/api/v1/messages/01a1fbb9-dc7f-7b58-8f5b-953c220da784/finish").status_code == 404
    assert states(crm, message.id) == ["queued"]


def test_a_requeued_letter_cannot_be_cancelled(browser: TestClient, program: TestClient, crm: Crm) -> None:
    message = lost_letters(crm, 1)
    assert program.post(f"/api/v1/messages/{message.id}/finish").json() == {"count": 1}
    assert program.post(f"/api/v1/messages/{message.id}/cancel").status_code == 409


def test_what_was_lost_too_long_ago_is_for_a_person_to_decide(
    browser: TestClient, program: TestClient, crm: Crm
) -> None:
    message = lost_letters(crm, 2, ago=timedelta(days=20))
    page = browser.get("/reconciliation").text
    assert "2 letters were lost too long ago" in page
    assert "Requeue" not in page
    assert "Finish the remainder" not in browser.get(f"/messages/{message.id}").text
    assert program.post("/api/v1/reconciliation/requeue").json() == {"count": 0}
    browser.post("/reconciliation/give-up")
    assert states(crm, message.id) == ["unknown", "unknown"]
    assert "Ida Holt stopped waiting for 2 letters" in browser.get("/reconciliation").text
    page = browser.get(f"/messages/{message.id}").text
    assert "The broker has lost it" in page
    assert "Send again" in page


def test_a_dead_letter_that_is_no_letters_can_be_removed(browser: TestClient, program: TestClient, crm: Crm) -> None:
    stranger(crm)
    page = browser.get("/reconciliation").text
    assert "Dead letters that belong to no letter" in page
    question = browser.get("/reconciliation/strangers/remove?key=some-event").text
    assert "Remove this dead letter?" in question
    assert browser.post("/reconciliation/strangers/remove", data={"key": "some-event"}).status_code == 303
    with crm.database.read() as session:
        assert session.exec(select(DeadLetterRemoval.key)).all() == ["some-event"]
    assert "Ida Holt removed 1 dead letter" in browser.get("/reconciliation").text
    assert browser.get("/reconciliation/strangers/remove?key=some-event").status_code == 404
    answer = program.post("/api/v1/reconciliation/strangers/remove", json={"keys": ["some-event"]})
    assert answer.status_code == 409


@pytest.mark.parametrize("count", [60])
def test_findings_page_by_key(api: TestClient, crm: Crm, count: int) -> None:
    from crm_api.reconciliation.models import Finding

    with crm.database.write() as session:
        session.add_all(Finding(kind="removed", count=number) for number in range(count))
    first = api.get("/api/v1/reconciliation/findings").json()
    second = api.get(f"/api/v1/reconciliation/findings?cursor={first['next']}").json()
    assert [row["count"] for row in first["items"] + second["items"]] == list(reversed(range(count)))
    assert second["next"] is None


def test_the_page_says_when_nobody_compares(browser: TestClient, crm: Crm) -> None:
    from crm_api.reconciliation.models import Look

    lost_letters(crm, 1)
    with crm.database.write() as session:
        for look in session.exec(select(Look)).all():
            session.add(Look(at=look.at - timedelta(hours=1), differences=look.differences, figures=look.figures))
            session.delete(look)
    assert "is dispatch running?" in browser.get("/reconciliation").text


def test_a_letter_that_has_an_outcome_meanwhile_is_not_requeued(api: TestClient, crm: Crm) -> None:
    message = lost_letters(crm, 1)
    delivery = crm.delivery(message.id)
    with crm.database.write() as session:
        outcomes.apply(session, [outcome_of(delivery)], now())
    assert api.post("/api/v1/reconciliation/requeue").json() == {"count": 0}
    assert states(crm, message.id) == ["accepted"]
    with crm.database.read() as session:
        assert session.exec(select(DeliveryEntry)).all() == []
        assert session.get_one(Delivery, delivery.id).attempt == 1


def test_compare_now_is_heard_by_dispatch(browser: TestClient, crm: Crm) -> None:
    from crm_api.changes import ChangeFeed

    async def heard() -> bool:
        feed = ChangeFeed(crm.database.url)
        await feed.start()
        with feed.subscribe() as changes:
            if not crm.database.sqlite:
                await changes.next(30)  # the connection listens
            await asyncio.to_thread(browser.post, "/reconciliation/compare")
            found = await changes.until({"reconcile"}, 30)
        await feed.close()
        return found

    assert asyncio.run(heard())
