"""Writing a letter: recipients, preview, files, errors, sending, undo. Each test has its own subject."""

from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from crm_api.messages import service
from crm_api.messages.models import Message
from tests.support.crm import Crm
from tests.support.pages import Visitor, complaints, sideways
from tests.support.waiting import wait_until

NEW = "/messages/new"


def messages(crm: Crm, subject: str) -> list[Message]:
    with crm.database.read() as session:
        return [row for row in service.list_page(session, query=subject, limit=20)[0] if row.subject == subject]


def write(page: Page, subject: str, text: str = "They leave on Thursday.", to: str | None = "ida@example.com") -> None:
    if to:
        page.get_by_label("Add a recipient").fill(to)
        page.keyboard.press("Enter")
        expect(page.locator("[data-chip]").last).to_contain_text(to)
    page.get_by_label("Subject").fill(subject)
    page.get_by_label("Text", exact=True).fill(text)


def test_ctrl_enter_sends_and_the_letters_page_says_so(visitor: Visitor, crm: Crm) -> None:
    with visitor.page(NEW) as page:
        write(page, "Sent by two keys")
        page.keyboard.press("Control+Enter")
        page.wait_for_url(lambda url: "/messages/" in url and not url.endswith("/new"))
        expect(page.locator(".toast")).to_contain_text("Queued for delivery")
        expect(page.locator(".toast")).to_contain_text("“Sent by two keys” to ida@example.com")
        expect(page.locator("h1")).to_have_text("Sent by two keys")
        assert complaints(page) == []
    (message,) = messages(crm, "Sent by two keys")
    assert (message.planned, message.via, message.lane, message.author) == (1, "page", "urgent", "Ida Holt")
    assert message.text == "They leave on Thursday.\n"
    assert message.undo_until is not None


def test_z_takes_it_back(visitor: Visitor, crm: Crm) -> None:
    with visitor.page(NEW) as page:
        write(page, "Taken back")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".toast")).to_be_visible()
        page.locator("h1").click()
        page.keyboard.press("z")
        expect(page.locator(".toast")).to_contain_text("Taken back.")
        expect(page.locator("#letter .mark").first).to_have_text("Cancelled")
        page.get_by_role("link", name="Write on").click()
        expect(page.get_by_label("Subject")).to_have_value("Taken back")
        expect(page.get_by_label("Text", exact=True)).to_have_value("They leave on Thursday.")
        expect(page.locator("[data-chip]")).to_contain_text("ida@example.com")
    (message,) = messages(crm, "Taken back")
    assert (message.state, message.cancelled) == ("cancelled", 1)


def test_on_a_customers_page_one_stays_there(visitor: Visitor, crm: Crm, scenes: dict[str, str]) -> None:
    """The composer is fresh again, with the customer in place; undo puts the letter back into it."""
    with visitor.page(scenes["customer"]) as page:
        expect(page.locator("[data-chip]")).to_contain_text("Marta")
        write(page, "From her page", "Dear {{ first_name }}", to=None)
        page.get_by_role("button", name="Send message Ctrl Enter").click()
        expect(page.locator(".toast")).to_contain_text("Queued for delivery")
        expect(page.get_by_label("Subject")).to_have_value("")
        expect(page.locator("[data-chip]")).to_contain_text("Marta")
        assert page.url.endswith(scenes["customer"])
        assert complaints(page) == []
        page.locator(".toast [data-undo] button").click()
        expect(page.locator(".toast")).to_contain_text("Taken back.")
        expect(page.get_by_label("Subject")).to_have_value("From her page")
        expect(page.get_by_label("Text", exact=True)).to_have_value("Dear {{ first_name }}")
    (message,) = messages(crm, "From her page")
    assert message.cancelled == 1


def test_undo_does_not_overwrite_the_next_letter(visitor: Visitor, scenes: dict[str, str]) -> None:
    with visitor.page(scenes["customer"]) as page:
        write(page, "The first of two", to=None)
        page.keyboard.press("Control+Enter")
        expect(page.locator(".toast")).to_contain_text("Queued for delivery")
        page.get_by_label("Subject").fill("The second")
        page.locator(".toast [data-undo] button").click()
        expect(page.locator(".toast")).to_contain_text("Taken back.")
        expect(page.get_by_label("Subject")).to_have_value("The second")
        expect(page.get_by_role("link", name="Write on")).to_be_visible()
        page.get_by_label("Subject").fill("")


def test_preview_is_as_each_recipient_will_see_it(visitor: Visitor, scenes: dict[str, str]) -> None:
    marta = scenes["customer"].rpartition("/")[2]
    with visitor.page(f"{NEW}?to=customer:{marta}&to=email:Tom Okoro <tom@example.com>") as page:
        write(page, "About {{ name }}", 'Dear {{ first_name | default("friend") }}, **bold** and <b>not</b>.', to=None)
        seen = page.locator("#seen")
        expect(seen.locator("h3")).to_have_text("As Marta will see it")
        expect(seen.locator("h4")).to_have_text("About Marta Lindqvist")
        expect(seen.locator(".body")).to_have_text("Dear Marta, bold and <b>not</b>.")
        expect(seen.locator(".body mark")).to_have_text("Marta")
        expect(seen.locator(".body strong")).to_have_text("bold")
        seen.get_by_role("button", name="Show it as Tom Okoro will see it").click()
        expect(seen.locator("h3")).to_have_text("As Tom will see it")
        expect(seen.locator(".body")).to_have_text("Dear friend, bold and <b>not</b>.")
        page.get_by_label("Text", exact=True).fill("Dear {{ company }}")
        expect(seen.locator(".error")).to_contain_text("Tom Okoro: The field company is empty.")
        assert complaints(page) == []
        page.get_by_label("Subject").fill("")
        page.get_by_label("Text", exact=True).fill("")


def test_errors_stand_at_their_fields_and_nothing_is_lost(visitor: Visitor, crm: Crm) -> None:
    with visitor.page(NEW, width=390) as page:
        page.get_by_label("Add a recipient").fill("tom@example.com, nobody at all")
        page.get_by_label("Text", exact=True).fill("Dear {{ company }},\n\nall of this stays.")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#compose-subject-error")).to_contain_text("needs a subject")
        expect(page.locator("#compose-to-error")).to_contain_text("Write the whole address")
        expect(page.locator("[data-chip].bad")).to_have_text("nobody at all")
        expect(page.get_by_label("Text", exact=True)).to_have_value("Dear {{ company }},\n\nall of this stays.")
        assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
        assert complaints(page) == []
        assert sideways(page) == []
        page.get_by_role("button", name="Remove nobody at all").click()
        page.get_by_label("Subject").fill("Mended in place")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#compose-markdown-error")).to_contain_text("tom@example.com: The field company is empty.")
        page.get_by_label("Text", exact=True).fill("Dear Tom")
        page.keyboard.press("Control+Enter")
        page.wait_for_url(lambda url: not url.endswith("/new"))
    assert len(messages(crm, "Mended in place")) == 1


def test_a_form_sent_twice_is_one_letter(visitor: Visitor, crm: Crm) -> None:
    """As when a connection breaks after the server has taken it, and the person clicks again."""
    with visitor.page(NEW) as page:
        write(page, "Only once")
        page.evaluate(
            """async () => {
              const body = new FormData(document.querySelector("#composer form"));
              const send = () => fetch("/messages", {method: "POST", body, redirect: "manual"});
              await Promise.all([send(), send(), send()]);
            }"""
        )
        page.keyboard.press("Control+Enter")
        page.wait_for_url(lambda url: not url.endswith("/new"))
        expect(page.locator("h1")).to_have_text("Only once")
    assert len(messages(crm, "Only once")) == 1


def test_no_connection_keeps_the_letter(visitor: Visitor, crm: Crm) -> None:
    with visitor.page(NEW) as page:
        write(page, "Through a tunnel")
        page.context.set_offline(True)
        page.keyboard.press("Control+Enter")
        expect(page.locator(".toast")).to_contain_text("what you wrote is still here")
        expect(page.get_by_label("Subject")).to_have_value("Through a tunnel")
        page.context.set_offline(False)
        page.get_by_role("button", name="Send message Ctrl Enter").click()
        page.wait_for_url(lambda url: not url.endswith("/new"))
    assert len(messages(crm, "Through a tunnel")) == 1
    visitor.errors.clear()  # the browser says that it had no connection


def test_a_draft_outlives_its_page(visitor: Visitor) -> None:
    with visitor.page(NEW) as page:
        write(page, "Half a letter", "Half a", to=None)
        expect(page.locator("[data-saved]")).to_contain_text("Draft kept")
        page.get_by_label("Text", exact=True).fill("Half a word")
        page.goto("/messages")  # at once
        page.goto(NEW)
        expect(page.get_by_label("Subject")).to_have_value("Half a letter")
        expect(page.get_by_label("Text", exact=True)).to_have_value("Half a word")
        expect(page.locator("#seen h4")).to_have_text("Half a letter")
        write(page, "Half a letter", "And the other half.")
        page.keyboard.press("Control+Enter")
        page.wait_for_url(lambda url: not url.endswith("/new"))
        page.goto(NEW)
        expect(page.get_by_label("Subject")).to_have_value("")


def test_files_by_button_and_by_drop(visitor: Visitor, crm: Crm) -> None:
    with visitor.page(NEW) as page:
        write(page, "With two files")
        page.locator("[data-uploads]").set_input_files({"name": "Plan ü.txt", "mimeType": "text/plain", "buffer": b"p"})
        drop = page.evaluate_handle(
            """() => {
              const transfer = new DataTransfer();
              transfer.items.add(new File(["dropped"], "dropped.txt", {type: "text/plain"}));
              return transfer;
            }"""
        )
        page.dispatch_event("[data-drop]", "drop", {"dataTransfer": drop})
        expect(page.locator("[data-file] input")).to_have_count(2)
        expect(page.locator("#seen .files li")).to_have_count(2)
        page.locator("[data-uploads]").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"a"})
        page.get_by_role("button", name="Remove a.txt").click()
        expect(page.locator("[data-file]")).to_have_count(2)
        page.keyboard.press("Control+Enter")
        page.wait_for_url(lambda url: not url.endswith("/new"))
        expect(page.locator(".letter .files li")).to_have_count(2)
    (message,) = messages(crm, "With two files")
    with crm.database.read() as session:
        rows = service.attachments(session, message.id)
    assert sorted((row.filename, crm.files.get(row.sha256)) for row in rows) == [
        ("Plan ü.txt", b"p"),
        ("dropped.txt", b"dropped"),
    ]


def test_a_file_that_is_too_large_says_so(visitor: Visitor) -> None:
    with visitor.page(NEW) as page:
        large = {"name": "film.mp4", "mimeType": "video/mp4", "buffer": b"x" * (10 * 1024 * 1024 + 1)}
        page.locator("[data-uploads]").set_input_files(large)  # type: ignore[arg-type]
        expect(page.locator("[data-files] .error")).to_contain_text("film.mp4 is too large")
        assert page.locator("[data-file] input").count() == 0


def test_a_file_on_its_way_goes_along(visitor: Visitor, crm: Crm) -> None:
    """Who clicks Send while a file is still being stored sends it, too."""
    with visitor.page(NEW) as page:
        write(page, "Faster than the file")
        held = []
        page.route("**/messages/files", lambda route: held.append(route))
        page.locator("[data-uploads]").set_input_files({"name": "slow.txt", "mimeType": "text/plain", "buffer": b"s"})
        wait_until(lambda: page.evaluate("1") and held, "the file is on its way")
        page.get_by_role("button", name="Send message Ctrl Enter").click()
        expect(page.locator("[data-saved]")).to_have_text("Waiting for what is still on its way…")
        assert messages(crm, "Faster than the file") == []
        held[0].continue_()
        page.wait_for_url(lambda url: not url.endswith("/new"))
        expect(page.locator(".letter .files li")).to_have_count(1)


def test_a_recipient_on_their_way_goes_along(visitor: Visitor, crm: Crm) -> None:
    with visitor.page(NEW) as page:
        write(page, "Faster than the chip")
        held = []
        page.route("**/messages/recipient", lambda route: held.append(route))
        page.get_by_label("Add a recipient").fill("tom@example.com")
        page.get_by_label("Subject").focus()
        wait_until(lambda: page.evaluate("1") and held, "the recipient is on their way")
        page.keyboard.press("Control+Enter")
        expect(page.locator("[data-saved]")).to_have_text("Waiting for what is still on its way…")
        held[0].continue_()
        page.wait_for_url(lambda url: not url.endswith("/new"))
    (message,) = messages(crm, "Faster than the chip")
    assert {row.address for row in crm.deliveries(message.id)} == {"ida@example.com", "tom@example.com"}


def test_later(visitor: Visitor, crm: Crm) -> None:
    with visitor.page(NEW) as page:
        write(page, "Next year")
        page.get_by_role("button", name="Later…").click()
        dialog = page.get_by_role("dialog", name="Send later")
        expect(dialog).to_be_visible()
        assert complaints(page) == []
        dialog.get_by_label("When it leaves").fill("2020-01-01T08:00")
        dialog.get_by_role("button", name="Send at this time").click()
        expect(page.locator("#send-at-error")).to_contain_text("This time has passed")
        field = page.get_by_label("When it leaves")
        now = page.evaluate("new Date(Date.now() + 86400000).toISOString().slice(0, 10)")
        field.fill(f"{now}T08:00")
        page.get_by_role("button", name="Send at this time").click()
        expect(page.locator(".toast")).to_contain_text("Planned for")
        expect(page.locator(".lede")).to_contain_text("Planned for")
        page.get_by_role("button", name="Cancel").first.click()
        expect(page.locator("#letter .mark").first).to_have_text("Cancelled")
    (message,) = messages(crm, "Next year")
    assert message.send_at is not None
    assert message.send_at.hour == 7  # eight o'clock in Stockholm's winter


def test_fields_are_inserted_where_one_writes(visitor: Visitor) -> None:
    with visitor.page(NEW) as page:
        text = page.get_by_label("Text", exact=True)
        text.fill("Dear ,")
        text.evaluate("text => text.setSelectionRange(5, 5)")
        page.get_by_text("Insert field").click()
        page.get_by_role("button", name="First name").click()
        expect(text).to_have_value("Dear {{ first_name }},")
        expect(text).to_be_focused()
        text.fill("")


def test_customers_are_suggested_by_name(visitor: Visitor, scenes: dict[str, str]) -> None:
    with visitor.page(NEW) as page:
        field = page.get_by_label("Add a recipient")
        field.press_sequentially("lindq")
        option = page.get_by_role("option", name="Marta Lindqvist")
        expect(option).to_be_visible()
        assert complaints(page) == []
        field.press("ArrowDown")
        expect(option).to_have_attribute("aria-selected", "true")
        field.press("Enter")
        chip = page.locator("[data-chip]")
        expect(chip).to_contain_text("Marta Lindqvist")
        marta = scenes["customer"].rpartition("/")[2]
        expect(chip.locator("input")).to_have_value(f"customer:{UUID(marta)}")
        field.press_sequentially("lindq")
        expect(page.get_by_role("option").first).to_be_visible()
        field.press("Escape")
        expect(page.get_by_role("option")).to_have_count(0)
        field.fill("")
        field.press("Backspace")
        expect(chip).to_have_count(0)


@pytest.mark.parametrize("text", ["ida@example.com;", "ida@example.com,", "Ida Holt <ida@example.com>,"])
def test_a_sign_ends_an_address(visitor: Visitor, text: str) -> None:
    with visitor.page(NEW) as page:
        page.get_by_label("Add a recipient").press_sequentially(text)
        expect(page.locator("[data-chip]")).to_have_count(1)
        expect(page.get_by_label("Add a recipient")).to_have_value("")
