"""The buttons on a message's page."""

import pytest
from playwright.sync_api import expect

from tests.support.crm import Crm
from tests.support.pages import Visitor, complaints
from tests.support.scenes import settle


def failed(crm: Crm, subject: str) -> str:
    message = crm.send("ada@example.com", subject=subject)
    settle(crm, message.id, **{"ada@example.com": "failed"})
    return f"/messages/{message.id}"


def test_send_again_to_another_address(visitor: Visitor, crm: Crm) -> None:
    with visitor.page(failed(crm, "Again")) as page:
        page.get_by_label("Send it to").fill("ada at new")
        page.get_by_role("button", name="Send again").click()
        expect(page.locator(".fix .error")).to_contain_text("Write the whole address")
        expect(page.get_by_label("Send it to")).to_have_value("ada at new")
        assert complaints(page) == []
        page.get_by_label("Send it to").fill("ada@new.example")
        page.get_by_role("button", name="Send again").click()
        expect(page.locator(".mark.chip")).to_have_text("Pending")
        expect(page.locator(".toast")).to_contain_text("To ada@new.example, once more.")
        expect(page.locator(".line")).to_contain_text("Ida Holt sent it again")


def test_discard_asks_first(visitor: Visitor, crm: Crm) -> None:
    with visitor.page(failed(crm, "Let it be")) as page:
        page.get_by_role("link", name="Discard…").click()
        dialog = page.get_by_role("dialog", name="Discard the letter to ada@example.com?")
        expect(dialog).to_be_visible()
        assert complaints(page) == []
        dialog.get_by_role("link", name="Keep it").click()
        expect(dialog).not_to_be_visible()
        expect(page.locator(".mark.chip")).to_have_text("Failed")
        page.get_by_role("link", name="Discard…").click()
        dialog.get_by_role("button", name="Discard this letter").click()
        expect(page.locator(".mark.chip")).to_have_text("Discarded")
        expect(page.locator(".toast")).to_contain_text("Discarded.")
        expect(dialog).not_to_be_visible()


def test_too_late_to_cancel(visitor: Visitor, crm: Crm) -> None:
    """The page was open while the letter left: the button says so, and nothing changes."""
    message = crm.send("ada@example.com", subject="Too late")
    with visitor.page("/messages") as page:
        page.route("**/events*", lambda route: route.abort())  # before it opens: its first word would update the page
        page.goto(f"{visitor.url}/messages/{message.id}")
        settle(crm, message.id, **{"ada@example.com": "accepted"})
        page.get_by_role("button", name="Cancel").first.click()
        expect(page.locator(".toast")).to_contain_text("can be cancelled any more")
    visitor.errors.clear()  # the browser says that requests were cut
    assert crm.delivery(message.id).state == "accepted"


@pytest.mark.parametrize("action", ["cancel", "retry", "discard"])
def test_a_delivery_of_another_message_is_none(visitor: Visitor, crm: Crm, action: str) -> None:
    one, other = crm.send(subject="One"), crm.send(subject="Other")
    with visitor.page("/messages") as page:
        answer = page.request.post(f"/messages/{one.id}/deliveries/{crm.delivery(other.id).id}/{action}")
        assert answer.status == 404
    assert crm.delivery(other.id).state == "pending"


def test_many_recipients_one_opened(visitor: Visitor, scenes: dict[str, str]) -> None:
    with visitor.page(scenes["many"]) as page:
        page.get_by_role("link", name="Reader 3", exact=True).click()
        page.wait_for_url("**open=**")
        expect(page.locator("tr.open")).to_have_count(1)
        expect(page.locator("tr.open")).to_contain_text("Why it was not sent")
        expect(page.locator(".letter header")).to_contain_text("Reader 3")
