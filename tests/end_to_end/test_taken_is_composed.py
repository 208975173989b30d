"""What is accepted with 202 can be composed, and what is composed can be read: any draft goes the whole way from the
check at the door, over the wire of RabbitMQ, to the bytes for SMTP."""

from __future__ import annotations

import base64
import email
import email.policy
import re
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, event, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as some
from pydantic import ValidationError
from sqlmodel import Session, SQLModel, create_engine

import crm_api.models  # noqa: F401 (all tables)
from crm_api.auth.principal import Principal
from crm_api.customers.models import Customer
from crm_api.errors import Problem
from crm_api.messages.models import Message
from crm_api.messages.planning import Plan, plan
from crm_api.messages.schemas import MessageDraft
from crm_api.outbox.store import Letters
from crm_api.senders.models import AllowedSender
from crm_api.settings import CrmSettings
from email_service.compose import Composer, Letter
from shared.addresses import address_key, wire_address
from shared.clock import now
from shared.contracts import Attachment, SendCommand, decode, encode
from shared.fields import Template
from shared.files import FileStore, hash_of
from shared.header_text import unfolded
from shared.lanes import Lane
from shared.mailboxes import parse_mailbox

BAD = ["\r\n", "\n", "\r", "\0", "\x07", "\x1b", "\x7f", "\x9f", "{{ x }}", "{{"]
GOOD = [
    "\t",
    "\x85",
    "\u2028",
    "\u200b",
    "\u202e",
    "\ufeff",
    "=?utf-8?q?x?=",
    " ",
    "\xa0",
    "a",
    "Ida",
    "{{ x|default('') }}",
]
GOOD += ['"', "\\", "<", ">", ",", ";", "@", "(c)", "é", "e\u0301", "ß", "日本", "🌱", "\u05d0", "&", "<br>", ".", "%"]
LONG = ["a" * 400, "é" * 300, "🌱" * 120, "word " * 150, "." * 80, "\u05d0\u05d1\u05d2 " * 40, "&<br>" * 20]

good_locals = some.sampled_from(
    ["ida", "Ida.Berg", "o'neil+x", "jørgen", "ju\u0308rgen", "=?utf-8?q?x?=", "a" * 64, "Ｉda"]
)
domains = some.sampled_from(
    ["example.com", "EXAMPLE.com", "bücher.example", "xn--bcher-kva.example", "ｆｕｌｌ.example", "παράδειγμα.example",
     "a。example", "straße.example", "日本語.example", "x_y.example", "[::1]",
     f"{'x' * 60}.{'y' * 60}.{'z' * 60}.example"]
)  # fmt: skip
names = some.one_of(some.sampled_from(["x", "first_name", "company"]), some.from_regex(r"[a-z_]{1,8}", fullmatch=True))
FILE_NAMES = ["Angebot März.pdf", "見積書.txt", "a b.txt", "x" * 199, "e\u0301\t.csv", "🌱"]
CONTENTS = [b"a\nb\n", b"a\r\nb", b"From x\n.\n..\nFrom ", b"x" * 2000, b"end \t", b"\n", b" "]
KINDS = ["text/plain", "text/csv; x=y", "message/rfc822", "multipart/mixed", "TEXT/Html"]


def drafts_of(texts: some.SearchStrategy[str]) -> some.SearchStrategy[dict[str, Any]]:
    plain = some.builds("{}@{}".format, good_locals, domains)
    addresses = some.one_of(plain, plain, some.emails(), some.builds("{}@{}".format, texts, domains), texts)
    mailboxes = some.one_of(
        plain,
        some.builds("{} <{}>".format, texts, plain),
        some.builds('"{}" <{}>'.format, texts, plain),
        some.builds("{} ({})".format, plain, texts),
        addresses,
    )
    given_fields = some.dictionaries(names, texts, max_size=3)
    recipients = some.one_of(
        some.fixed_dictionaries({"email": mailboxes}, optional={"name": texts, "fields": given_fields}),
        some.just({"customer_id": "the customer"}),
    )
    contents = some.one_of(
        some.binary(min_size=1, max_size=300),
        some.sampled_from(CONTENTS),
        some.text(some.characters(codec="utf-8"), min_size=1, max_size=200).map(str.encode),
    )
    files = some.fixed_dictionaries(
        {"filename": some.one_of(some.sampled_from(FILE_NAMES), texts), "content": contents},
        optional={"content_type": some.one_of(some.sampled_from(KINDS), texts)},
    )
    bodies = some.one_of(
        some.fixed_dictionaries({"markdown": texts}),
        some.fixed_dictionaries({"text": texts}, optional={"html": texts}),
        some.just({"text": "Dear {{ x | default('you') }}", "html": "<p title='{{ x | default('') }}'>x</p>"}),
    )
    senders = some.fixed_dictionaries({"address": mailboxes}, optional={"name": texts})
    draft = some.fixed_dictionaries(
        {"to": some.lists(recipients, min_size=1, max_size=3), "subject": texts},
        optional={"sender": senders, "reply_to": mailboxes, "attachments": some.lists(files, max_size=2)},
    )
    return some.builds(lambda draft, body: draft | body, draft, bodies)


def joined(pieces: list[str], others: some.SearchStrategy[str]) -> some.SearchStrategy[str]:
    return some.lists(some.one_of(some.sampled_from(pieces), others), min_size=1, max_size=6).map("".join)


mild = joined([*GOOD, *LONG], some.text(some.characters(exclude_categories=("C",), exclude_characters="{"), min_size=1))
drafts = some.one_of(drafts_of(mild), drafts_of(mild), drafts_of(joined([*GOOD, *BAD], some.text())))


class House:
    """A database of one customer whose row is older than any rule, and both sides' part of the way."""

    def __init__(self, folder: Path) -> None:
        self.files = FileStore(folder / "files")
        self.settings = CrmSettings(data_dir=folder)
        self.engine = create_engine("sqlite://")
        SQLModel.metadata.create_all(self.engine)
        self.customer = uuid4()
        self.somebody = Principal(uuid4(), "Ida\tBerg", "ida@example.com", "agent", "api", "x")
        old = {"first_name": "A\tda\x85", "last_name": "By\r\nron\x01", "company": "e\u0301\u2028 Mills\x9f"}
        with Session(self.engine) as session:
            session.add(Customer(id=self.customer, email="Ada@Bücher.example", sort_name="", sort_company="", **old))
            for key in ("@*.example", "@example.com"):
                session.add(AllowedSender(key=key, written=key, name="", created_by="tests"))
            session.commit()

    def take(self, members: dict[str, Any]) -> Plan:
        """Raises Problem or ValidationError: refused at the door."""
        to = [each | ({"customer_id": self.customer} if "customer_id" in each else {}) for each in members["to"]]
        attachments = [
            each | {"content": base64.b64encode(each["content"]).decode()} for each in members.get("attachments", [])
        ]
        draft = MessageDraft.model_validate(members | {"to": to, "attachments": attachments})
        with Session(self.engine) as session:
            return plan(session, self.files, self.settings, draft, self.somebody, now())

    def commands(self, taken: Plan) -> Iterator[SendCommand]:
        """As the relay publishes them and the mail room reads them."""
        relay = Letters()
        attached = tuple(Attachment(row.sha256, row.filename, row.content_type, row.size) for row in taken.attachments)
        relay._known[taken.id] = Message(**taken.message), attached
        for row in taken.deliveries:
            command: Any = relay.command(SimpleNamespace(**row), Lane.urgent)  # type: ignore[arg-type]
            read = decode(SendCommand.TYPE, encode(command))
            assert isinstance(read, SendCommand)
            yield read


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house"))


def check_lines(letter: Letter) -> bytes:
    """What RFC 5321 and 5322 demand of the bytes; without the stuffed dots."""
    content = letter.content
    assert content.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", content)
    assert max(map(len, content.split(b"\r\n"))) <= 998 + 1
    assert not re.search(rb"^\.(?!\.)", content, re.MULTILINE)
    head = content.partition(b"\r\n\r\n")[0]
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", head)
    assert all(re.match(rb"[A-Za-z-]+: |[ \t]", line) for line in head.split(b"\r\n"))
    assert letter.needs_utf8 or content.isascii()
    assert letter.sender.isascii()
    return content.replace(b"\r\n..", b"\r\n.")


def header(message: email.message.Message, name: str) -> str:
    return str(make_header(decode_header(str(message[name]).replace("\r\n ", " "))))


def parts_of(message: EmailMessage) -> dict[str, bytes]:
    return {
        part.get_content_type(): part.get_payload(decode=True)
        for part in message.walk()
        if not part.is_multipart() and part.get_content_disposition() is None
    }


def with_line_ends(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else f"{text}\n"


async def check(house: House, taken: Plan) -> None:
    for command, row in zip(house.commands(taken), taken.deliveries, strict=True):
        letter = await Composer(house.files).compose(command)
        content = check_lines(letter)
        message = email.message_from_bytes(content, policy=email.policy.SMTP)
        assert isinstance(message, EmailMessage)
        assert not any(part.defects for part in message.walk())
        raw = email.message_from_string(content.decode(), policy=email.policy.compat32)

        assert header(raw, "Subject") == unfolded(Template(taken.message["subject"]).fill(row["fields"]))
        assert raw["Message-ID"].isascii()
        assert raw["Date"].endswith(" +0000")
        assert letter.recipient == wire_address(row["address"])
        for name, expected in (("From", taken.message["sender_name"]), ("To", row["name"])):
            ((shown, address),) = getaddresses([str(raw[name])])
            assert address_key(address) == address_key(
                taken.message["sender_address"] if name == "From" else row["address"]
            )
            assert str(make_header(decode_header(shown))) == expected
        if taken.message["reply_to"]:
            name, address = parse_mailbox(taken.message["reply_to"])
            assert getaddresses([str(raw["Reply-To"])])[0][1] == wire_address(address)
            assert str(make_header(decode_header(getaddresses([str(raw["Reply-To"])])[0][0]))) == name

        bodies = parts_of(message)
        text = Template(taken.message["text"]).fill(row["fields"])
        assert bodies["text/plain"].decode().replace("\r\n", "\n") == with_line_ends(text)
        assert ("text/html" in bodies) == (taken.message["html"] is not None)
        found = [(part.get_filename(), part.get_payload(decode=True)) for part in message.iter_attachments()]
        assert [name for name, _ in found] == [row.filename for row in taken.attachments]
        assert [hash_of(bytes(kept)) for _, kept in found] == [row.sha256 for row in taken.attachments]


EVERYTHING: dict[str, Any] = {
    "to": [{"email": "ida@example.com", "name": "I\tda"}, {"customer_id": "the customer"}],
    "subject": "A\ttab for {{ x | default('you') }}",
    "text": "x",
    "sender": {"address": "crm@bücher.example", "name": "Bü\tcher"},
    "reply_to": '"Help, please" <help@xn--bcher-kva.example>',
}


@given(draft=drafts)
@example(draft=EVERYTHING)
@hypothesis_settings(
    deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_what_is_taken_can_be_composed_and_read(draft: dict[str, Any], house: House) -> None:
    try:
        taken = house.take(draft)
    except ValidationError:
        return
    except Problem as problem:
        event(f"refused: {problem.errors[0].field}")  # without a field it would fail here
        return
    event("taken")
    await check(house, taken)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"sender": {"address": "Büro <crm@BÜCHER.example>"}},
        {"sender": {"address": "crm@xn--bcher-kva.example"}},
        {"reply_to": "help@παράδειγμα.example"},
        {"reply_to": "Support <help@example.com>"},
        {"to": [{"email": "Ida\tBerg <ida@日本語.example>"}]},
        {"to": [{"email": "jørgen@example.com"}]},
        {"subject": "\u2028Quote\x0bfor\x85you\t"},
        {"to": [{"email": "ida@example.com", "fields": {"x": "1\t2"}}], "subject": "{{ x }}"},
        {"attachments": [{"filename": "e\u0301\t🌱.txt", "content": b"a\nb"}]},
        # three characters, once they are NFC
        {"subject": "\ufb2c" * 998},
        {"to": [{"email": "ida@example.com", "name": "\ufb2c" * 998}]},
        {"to": [{"email": "\U0001d160" * 980 + " <ida@example.com>"}]},
        {"sender": {"address": "crm@example.com", "name": "\ufb2c" * 998}},
        {"reply_to": '"' + '\ufb2c\\"' * 325 + '" <help@example.com>'},
    ],
)
async def test_what_people_mean_is_taken(house: House, change: dict[str, Any]) -> None:
    await check(house, house.take(EVERYTHING | change))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subject": "bell\x07"}, "subject"),
        ({"subject": "{{ x }}", "to": [{"email": "ida@example.com", "fields": {"x": "\x1b[2J"}}]}, "subject"),
        ({"to": [{"email": "ida@example.com", "name": "I\x9fda"}]}, "to[0].name"),
        ({"to": [{"email": "ida@exa\x9fmple.com"}]}, "to[0].email"),
        ({"sender": {"address": "jørgen@example.com"}}, "sender.address"),
        ({"sender": {"address": "a@example.com, b@example.com"}}, "sender.address"),
        ({"sender": {"address": "a@example.com", "name": "\x01"}}, "sender.name"),
        ({"reply_to": "büro@example.com"}, "reply_to"),
        ({"reply_to": "Support <help>"}, "reply_to"),
        ({"reply_to": "Support"}, "reply_to"),
        ({"attachments": [{"filename": "a\x9f.txt", "content": b"x"}]}, "attachments[0].filename"),
    ],
)
def test_what_can_never_be_sent_is_refused_at_the_door(house: House, change: dict[str, Any], field: str) -> None:
    with pytest.raises(Problem) as caught:
        house.take(EVERYTHING | change)
    assert [error.field for error in caught.value.errors] == [field]
