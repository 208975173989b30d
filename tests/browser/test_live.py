"""What happens elsewhere is seen on a page that is open, without disturbing who uses it."""

from playwright.sync_api import Page, expect

from tests.support.crm import Crm
from tests.support.pages import Visitor
from tests.support.reconciling import lost_letters
from tests.support.scenes import heartbeats, settle
from tests.support.stack import Stack


def connected(page: Page) -> None:
    """The stream is open and has said its first word."""
    page.wait_for_selector("html[data-live]")


def test_the_list(visitor: Visitor, crm: Crm) -> None:
    with visitor.page("/messages") as page:
        connected(page)
        message = crm.send("ada@example.com", subject="Appears by itself")
        row = page.locator(f"#row-{message.id}")
        expect(row).to_contain_text("Appears by itself")
        expect(row.locator(".mark")).to_have_text("Pending")
        settle(crm, message.id, **{"ada@example.com": "accepted"})
        expect(row.locator(".mark")).to_have_text("Sent")


def test_a_letters_page(visitor: Visitor, crm: Crm) -> None:
    message = crm.send("ada@example.com", subject="Watched")
    with visitor.page(f"/messages/{message.id}") as page:
        connected(page)
        expect(page.locator(".mark.chip")).to_have_text("Pending")
        expect(page.locator(".postmark")).to_contain_text("NOT YET")
        settle(crm, message.id, **{"ada@example.com": "accepted"})
        expect(page.locator(".mark.chip")).to_have_text("Sent")
        expect(page.locator(".lede")).to_contain_text("Sent to ada@example.com in")
        expect(page.locator(".way li.is-accepted")).to_have_count(5)
        expect(page.locator(".postmark")).to_contain_text("POSTHASTE")
        expect(page.get_by_role("link", name="Waiting")).to_be_visible()


def test_what_is_open_and_typed_stays(visitor: Visitor, crm: Crm) -> None:
    """A fold that is open, a field with the focus and what was typed into it outlive a refresh."""
    message = crm.send("ada@example.com", "bob@example.com", subject="Two at once")
    settle(crm, message.id, **{"ada@example.com": "failed", "bob@example.com": ""})
    ada, bob = crm.deliveries(message.id)
    with visitor.page(f"/messages/{message.id}") as page:
        connected(page)
        page.locator(f"#delivery-{ada.id} .fold summary").click()
        expect(page.locator(f"#delivery-{ada.id} .talk")).to_be_visible()
        address = page.locator(f"#fix-{ada.id}")
        address.fill("ada@new.example")
        settle(crm, message.id, **{"bob@example.com": "accepted"})
        expect(page.locator(f"#delivery-{bob.id} .mark.chip")).to_have_text("Sent")
        expect(page.locator(f"#delivery-{ada.id} .talk")).to_be_visible()
        expect(address).to_be_focused()
        expect(address).to_have_value("ada@new.example")


def test_a_new_mail_in_the_sandbox(newcomer: Visitor, new_crm: Crm) -> None:
    from crm_api.sandbox.store import SANDBOX_FILE, NewMail, SandboxStore

    store = SandboxStore(new_crm.settings.data_dir / SANDBOX_FILE)
    with newcomer.page("/sandbox") as page:
        connected(page)
        expect(page.locator(".empty")).to_be_visible()
        store.add([NewMail("a@example.com", ("ada@example.com",), b"Subject: There it is\r\n\r\nhello\r\n")])
        expect(page.get_by_role("link", name="There it is")).to_be_visible()
        page.get_by_role("link", name="Empty…").click()
        page.get_by_role("button", name="Delete 1 mail").click()
        expect(page.locator(".toast")).to_contain_text("1 mail deleted.")
        expect(page.locator(".empty")).to_be_visible()


def test_a_page_catches_up_when_the_server_is_back(newcomer: Visitor, new_crm: Crm, new_stack: Stack) -> None:
    heartbeats(new_crm)
    message = new_crm.send("ada@example.com", subject="While it was away")
    with newcomer.page(f"/messages/{message.id}") as page:
        connected(page)
        assert new_stack.stop("web") == {"web": 0}
        settle(new_crm, message.id, **{"ada@example.com": "accepted"})
        new_stack.start("web")
        expect(page.locator(".mark.chip")).to_have_text("Sent", timeout=15_000)
        newcomer.errors.clear()  # the browser says that the stream was cut


def test_a_tab_that_is_not_seen_holds_no_connection(visitor: Visitor, crm: Crm) -> None:
    """A browser has six connections to a server: with a stream in each of seven tabs, none would load any more."""
    with visitor.page("/messages") as page:
        connected(page)
        for name, hidden in (("hidden", True), ("visible", False)):
            page.evaluate(
                """([name, hidden]) => {
                  Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
                  Object.defineProperty(document, "visibilityState", {value: name, configurable: true});
                  document.dispatchEvent(new Event("visibilitychange"));
                }""",
                [name, hidden],
            )
            if hidden:
                expect(page.locator("html[data-live]")).to_have_count(0)
                message = crm.send("ada@example.com", subject="While nobody looked")
        expect(page.locator(f"#row-{message.id}")).to_be_visible()


def test_a_comparison(newcomer: Visitor, new_crm: Crm) -> None:
    """What is lost appears by itself, in the header, too, and is gone when it has been requeued."""
    with newcomer.page("/reconciliation") as page:
        connected(page)
        expect(page.locator(".lede")).to_contain_text("Nothing has been compared yet.")
        message = lost_letters(new_crm, 3, subject="Lost")
        expect(page.locator(".lede")).to_contain_text("The broker has lost 3 letters.")
        expect(page.locator("#truth")).to_contain_text("Differences 3")
        page.get_by_role("button", name="Requeue 3 letters").click()
        expect(page.locator(".lede")).to_contain_text("Everything adds up.")
        expect(page.locator("#truth")).not_to_contain_text("Differences")
        page.goto(f"/messages/{message.id}")
        expect(page.locator(".line").first).to_contain_text("Ida Holt queued it again")
