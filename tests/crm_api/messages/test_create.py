"""Taking a message in, and everything that is refused with a clear word and changes nothing."""

import base64
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from crm_api.customers.models import Contact
from crm_api.errors import Invalid, Problem, TooLarge
from crm_api.messages import service
from crm_api.messages.models import Delivery, Message, StoredFile, Suppression
from shared.clock import now
from shared.files import hash_of
from tests.support.crm import Crm


def counts(crm: Crm) -> tuple[int, ...]:
    with crm.database.read() as session:
        return tuple(
            session.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (Message, Delivery, StoredFile)
        )


def refused(crm: Crm, **members: Any) -> Problem:
    before = counts(crm)
    with pytest.raises(Problem) as caught:
        crm.send(**members)
    assert counts(crm) == before, "a refused message must change nothing"
    return caught.value


def test_one_delivery_for_each_recipient(crm: Crm) -> None:
    message = crm.send("ada@example.com", "bob@example.com")
    rows = crm.deliveries(message.id)
    assert [row.address for row in rows] == ["ada@example.com", "bob@example.com"]
    assert {row.state for row in rows} == {"pending"}
    assert (message.planned, message.pending, message.state) == (2, 2, "pending")


def test_fields_are_kept_as_they_were_and_only_those_used(crm: Crm) -> None:
    customer = crm.customer(company="Byron Mills", phone="1")
    message = crm.send(
        to=[{"customer_id": customer.id}], subject="For {{ company }}", text=None, markdown="Dear {{ first_name }}"
    )
    row = crm.delivery(message.id)
    assert row.fields == {"company": "Byron Mills", "first_name": "Ada"}
    assert (row.customer_id, row.name, row.address) == (customer.id, "Ada Byron", "ada@example.com")


def test_a_contact_has_its_own_name_and_its_customers_company(crm: Crm) -> None:
    customer = crm.customer(company="Byron Mills")
    contact = Contact(customer_id=customer.id, first_name="Jonas", last_name="Ek", email="jonas@example.com")
    with crm.database.write() as session:
        session.add(contact)
    message = crm.send(to=[{"contact_id": contact.id}], text="{{ name }} at {{ company }}")
    row = crm.delivery(message.id)
    assert row.fields == {"name": "Jonas Ek", "company": "Byron Mills"}
    assert row.customer_id == customer.id


def test_an_empty_field_names_itself_and_the_recipient(crm: Crm) -> None:
    problem = refused(crm, to=[{"email": "x@example.com", "name": "Xu"}], text="Dear {{ first_name }}")
    (error,) = problem.errors
    assert error.field == "to[0].fields.first_name"
    assert error.message == "Xu: The field first_name is empty."


def test_an_unknown_field_names_itself_for_every_recipient(crm: Crm) -> None:
    problem = refused(crm, to=[{"email": "a@example.com"}, {"email": "b@example.com"}], text="{{ shoe_size }}")
    assert [error.field for error in problem.errors] == ["to[0].fields.shoe_size", "to[1].fields.shoe_size"]
    assert "no field called shoe_size" in problem.errors[0].message


def test_a_default_and_an_own_value_fill_a_field(crm: Crm) -> None:
    message = crm.send(
        to=[{"email": "a@example.com"}, {"email": "b@example.com", "fields": {"shoe_size": "41"}}],
        text='{{ shoe_size | default("any") }}',
    )
    assert [row.fields for row in crm.deliveries(message.id)] == [{}, {"shoe_size": "41"}]


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"to": [{"customer_id": str(uuid4())}]}, "to[0].customer_id"),
        ({"to": [{"contact_id": str(uuid4())}]}, "to[0].contact_id"),
        ({"to": [{"email": "nobody"}]}, "to[0].email"),
        ({"to": [{"email": "a@example.com\r\nBcc: b@example.com"}]}, "to[0].email"),
        ({"to": [{"email": "a@example.com", "name": "A\r\nBcc: b@example.com"}]}, "to[0].name"),
        ({"to": [{"email": "a@example.com"}, {"email": "A@example.com"}]}, "to[1]"),
        ({"to": [{}]}, "to[0]"),
        ({"subject": "Hello\r\nBcc: b@example.com"}, "subject"),
        ({"subject": "Hello\0"}, "subject"),
        ({"subject": "  "}, "subject"),
        ({"subject": "Hi {{ name"}, "subject"),
        ({"to": [{"email": "a@example.com", "fields": {"x": "1\r\n2"}}], "subject": "{{ x }}"}, "subject"),
        ({"text": None}, "markdown"),
        ({"text": " "}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"markdown": "both"}, "markdown"),
        ({"sender": {"address": "x"}}, "sender.address"),
        ({"sender": {"address": "x@example.com", "name": "X\nY"}}, "sender.name"),
        ({"reply_to": "x\r\n@example.com"}, "reply_to"),
        ({"attachments": [{"filename": "a.pdf", "sha256": "0" * 64}]}, "attachments[0]"),
        ({"attachments": [{"filename": "a.pdf"}]}, "attachments[0]"),
        ({"attachments": [{"filename": "../a.pdf", "content": "YQ=="}]}, "attachments[0].filename"),
        ({"attachments": [{"filename": "a\r\n.pdf", "content": "YQ=="}]}, "attachments[0].filename"),
        ({"attachments": [{"filename": "a.pdf", "content": "!"}]}, "attachments[0].content"),
        ({"attachments": [{"filename": "a.pdf", "content": "YQ==", "sha256": "0" * 64}]}, "attachments[0]"),
        ({"attachments": [{"filename": "a.pdf", "content": ""}]}, "attachments[0]"),
    ],
)
def test_bad_input_names_the_field(crm: Crm, members: dict[str, Any], field: str) -> None:
    problem = refused(crm, **members)
    assert isinstance(problem, Invalid)
    assert problem.errors[0].field == field


def test_a_time_that_has_passed_is_refused(crm: Crm) -> None:
    assert refused(crm, send_at=now() - timedelta(seconds=1)).errors[0].field == "send_at"


def test_too_much_is_refused_with_413(crm: Crm) -> None:
    assert isinstance(refused(crm, text="x" * (crm.settings.max_body_bytes + 1)), TooLarge)
    content = base64.b64encode(b"x" * (crm.settings.max_attachment_bytes + 1)).decode()
    problem = refused(crm, attachments=[{"filename": "big.bin", "content": content}])
    assert isinstance(problem, TooLarge)
    assert problem.errors[0].field == "attachments[0]"


def test_all_problems_are_told_at_once(crm: Crm) -> None:
    problem = refused(crm, to=[{"email": "nobody"}], subject="", reply_to="x")
    assert [error.field for error in problem.errors] == ["subject", "to[0].email", "reply_to"]


def test_an_attachment_is_stored_once_under_its_hash(crm: Crm) -> None:
    content = base64.b64encode(b"%PDF-1.7 plan").decode()
    first = crm.send(attachments=[{"filename": "plan.pdf", "content": content, "sha256": hash_of(b"%PDF-1.7 plan")}])
    crm.send(attachments=[{"filename": "again.pdf", "sha256": hash_of(b"%PDF-1.7 plan")}])
    with crm.database.read() as session:
        (row,) = service.attachments(session, first.id)
    assert (row.filename, row.content_type, row.size) == ("plan.pdf", "application/pdf", 13)
    assert crm.files.get(row.sha256) == b"%PDF-1.7 plan"
    assert counts(crm)[2] == 1


def test_due_is_the_latest_of_undo_and_send_at(crm: Crm) -> None:
    later = now() + timedelta(hours=3)
    assert crm.delivery(crm.send(undo_seconds=5, send_at=later).id).due_at == later
    message = crm.send(undo_seconds=5)
    assert crm.delivery(message.id).due_at == message.undo_until == message.created_at + timedelta(seconds=5)


def test_a_suppressed_address_is_not_tried(crm: Crm) -> None:
    with crm.database.write() as session:
        session.add(Suppression(address="gone@example.com", reason="There is no such mailbox."))
    message = crm.send("gone@example.com", "ada@example.com")
    assert [row.state for row in crm.deliveries(message.id)] == ["suppressed", "pending"]
    assert (message.suppressed, message.pending, message.state, message.done_at) == (1, 1, "pending", None)
    alone = crm.send("gone@example.com")
    assert (alone.state, alone.done_at is not None) == ("suppressed", True)


def test_writing_is_seen_on_the_customer(crm: Crm) -> None:
    customer = crm.customer()
    message = crm.send(to=[{"customer_id": customer.id}])
    with crm.database.read() as session:
        assert session.get(type(customer), customer.id).written_at == message.created_at  # type: ignore[union-attr]


def test_the_list_pages_by_key_and_finds_by_state_word_and_address(crm: Crm) -> None:
    sent = [crm.send("ada@example.com", subject=f"Letter {n}") for n in range(5)]
    with crm.database.read() as session:
        first, cursor = service.list_page(session, limit=3)
        rest, end = service.list_page(session, limit=3, cursor=cursor)
        assert [row.id for row in first + rest] == [row.id for row in reversed(sent)]
        assert end is None
        assert [row.id for row in service.list_page(session, query="letter 3")[0]] == [sent[3].id]
        assert len(service.list_page(session, query="ADA@")[0]) == 5
        assert service.list_page(session, state="failed,unknown")[0] == []
        assert service.recipients_summary(session, [sent[0].id]) == {sent[0].id: ["ada@example.com"]}
