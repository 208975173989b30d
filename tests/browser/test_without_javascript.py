"""Every page works with links and forms alone."""

from pathlib import Path

import pyotp
from playwright.sync_api import expect

from tests.support.crm import Crm
from tests.support.pages import Visitor
from tests.support.people import EMAIL, PASSWORD
from tests.support.scenes import settle


def test_compose_and_send(visitor: Visitor, crm: Crm, tmp_path: Path) -> None:
    plan = tmp_path / "plan.txt"
    plan.write_text("the plan")
    with visitor.page("/messages/new", javascript=False) as page:
        page.get_by_label("Add a recipient").fill("ida@example.com, tom@example.com")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("[data-chip]")).to_have_count(2)
        page.get_by_role("button", name="Remove ida@example.com").click()
        expect(page.locator("[data-chip]")).to_have_text("tom@example.com")
        page.get_by_label("Text", exact=True).fill("Dear {{ name }}")
        page.locator("[data-uploads]").set_input_files(plan)
        page.get_by_role("button", name="Send message Ctrl Enter").click()
        expect(page.locator("#compose-subject-error")).to_contain_text("needs a subject")
        expect(page.get_by_label("Text", exact=True)).to_have_value("Dear {{ name }}")
        expect(page.locator("[data-file]")).to_contain_text("plan.txt")
        page.get_by_label("Subject").fill("By a plain form")
        page.get_by_label("Text", exact=True).fill("Dear Tom")
        page.get_by_role("button", name="Show it as they will see it").click()
        expect(page.locator("#seen .body")).to_have_text("Dear Tom")
        page.get_by_label("Subject").press("Enter")
        expect(page.locator("h1")).to_have_text("By a plain form")
        expect(page.locator(".toast")).to_contain_text("Queued for delivery")
        expect(page.locator(".letter .files")).to_contain_text("plan.txt")
        page.locator(".toast").get_by_role("button", name="Undo").click()
        expect(page.locator("h1")).to_have_text("New message")
        expect(page.locator(".toast")).to_contain_text("Taken back.")
        expect(page.get_by_label("Subject")).to_have_value("By a plain form")
        expect(page.locator("[data-file]")).to_contain_text("plan.txt")


def test_from_a_customers_page(visitor: Visitor, scenes: dict[str, str]) -> None:
    with visitor.page(scenes["customer"], javascript=False) as page:
        page.get_by_label("Subject").fill("Back to where it came from")
        page.get_by_label("Text", exact=True).fill("Dear {{ first_name }}")
        page.get_by_role("button", name="Send message Ctrl Enter").click()
        assert page.url.endswith(scenes["customer"])
        expect(page.locator(".toast")).to_contain_text("to Marta Lindqvist")
        page.reload()
        expect(page.locator(".toast")).to_have_count(0)


def test_a_customers_whole_name_is_enough(visitor: Visitor) -> None:
    with visitor.page("/messages/new", javascript=False) as page:
        page.get_by_label("Add a recipient").fill("Marta Lindqvist")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("[data-chip] span")).to_have_attribute("title", "marta@l.example")


def test_later(visitor: Visitor) -> None:
    with visitor.page("/messages/new?to=email:ida@example.com", javascript=False) as page:
        page.get_by_label("Subject").fill("In a while")
        page.get_by_label("Text", exact=True).fill("Dear Ida")
        page.get_by_role("button", name="Later…").click()
        expect(page.get_by_label("Subject")).to_have_value("In a while")
        page.get_by_role("button", name="Send at this time").click()
        expect(page.locator(".lede")).to_contain_text("Planned for")


def test_retry_and_discard(visitor: Visitor, crm: Crm) -> None:
    message = crm.send("ada@example.com", "bob@example.com", subject="By plain buttons")
    settle(crm, message.id, **{"ada@example.com": "failed", "bob@example.com": "failed"})
    ada, bob = crm.deliveries(message.id)
    with visitor.page(f"/messages/{message.id}", javascript=False) as page:
        page.locator(f"#fix-{ada.id}").fill("nowhere")
        page.locator(f"#delivery-{ada.id}").get_by_role("button", name="Send again").click()
        expect(page.locator(f"#fix-{ada.id}-error")).to_be_visible()
        page.locator(f"#fix-{ada.id}").fill("ada@new.example")
        page.locator(f"#delivery-{ada.id}").get_by_role("button", name="Send again").click()
        expect(page.locator(f"#delivery-{ada.id} .mark.chip")).to_have_text("Pending")
        page.locator(f"#delivery-{bob.id}").get_by_role("link", name="Discard…").click()
        expect(page.locator("h1")).to_have_text("Discard the letter to bob@example.com?")
        page.get_by_role("button", name="Discard this letter").click()
        expect(page.locator(f"#delivery-{bob.id} .mark.chip")).to_have_text("Discarded")


def test_requeue_and_remove(visitor: Visitor, scenes: dict[str, str]) -> None:
    with visitor.page(scenes["lost"], javascript=False) as page:
        page.get_by_role("button", name="Finish the remainder").click()
        expect(page.locator(".toast")).to_contain_text("12 letters requeued.")
        expect(page.get_by_role("button", name="Finish the remainder")).to_have_count(0)
        page.goto("/reconciliation")
        expect(page.locator("#figures")).to_contain_text("Ida Holt requeued 12 letters")
        page.get_by_role("button", name="Requeue").click()
        expect(page.locator(".toast")).to_contain_text("requeued.")
        expect(page.get_by_role("button", name="Requeue")).to_have_count(0)
        page.get_by_role("link", name="Remove…").last.click()
        page.get_by_role("button", name="Remove this dead letter").click()
        expect(page.locator(".toast")).to_contain_text("Removed.")


def test_appearance_and_sign_out(stranger: Visitor) -> None:
    stranger.sign_in()
    with stranger.page("/messages", javascript=False) as page:
        page.get_by_role("button", name="your account").click()
        page.get_by_role("button", name="Dark").click()
        assert page.url.endswith("/messages")
        assert page.locator("html").get_attribute("data-theme") == "dark"
        page.get_by_role("button", name="your account").click()
        page.get_by_role("link", name="Keyboard help").click()
        expect(page.locator("h1")).to_have_text("Keyboard")
        page.get_by_role("button", name="your account").click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Password")).to_be_visible()
        page.goto("/messages?view=sent")
        assert page.url.endswith("/sign-in?next=/messages%3Fview%3Dsent")


def test_a_second_factor_from_the_first_click_to_signing_in(newcomer: Visitor) -> None:
    with newcomer.page("/account", javascript=False) as page:
        page.get_by_role("link", name="Turn on the second factor").click()
        app = pyotp.TOTP(page.locator("code.secret").inner_text().replace(" ", ""))
        page.get_by_label("The six digits").fill(app.now())
        page.get_by_role("button", name="Turn it on").click()
        codes = page.locator(".codes code").all_inner_texts()
        page.get_by_role("button", name="your account").click()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Email").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("Code from").fill(codes[0])
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("h1")).to_have_text("Customers")
        page.goto("/account/second-factor/off")
        page.get_by_label("Your password").fill(PASSWORD)
        page.get_by_role("button", name="Turn it off").click()
        expect(page.locator(".toast")).to_contain_text("The second factor is off.")
    newcomer.sign_in()  # the next ones' session


def test_an_invitation(visitor: Visitor, stranger: Visitor, scenes: dict[str, str]) -> None:
    with visitor.page("/users/new", javascript=False) as page:
        page.get_by_label("Name").fill("Rut Berg")
        page.get_by_label("Email").fill("rut@berg.example")
        page.get_by_role("button", name="Send the invitation").click()
        expect(page.locator(".lede")).to_contain_text("Invited.")
    with stranger.page(scenes["link"], javascript=False) as page:
        page.get_by_label("Password").fill("plums and apples and pears")
        page.get_by_role("button", name="Set this password").click()
        expect(page.locator(".toast")).to_contain_text("Your password is set.")
        page.get_by_label("Email").fill("tom@holt-trees.example")
        page.get_by_label("Password").fill("plums and apples and pears")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("h1")).to_have_text("Customers")
        expect(page.locator("#nav")).not_to_contain_text("Users")
