"""The composer as a form: what a person has typed so far, what is wrong with it, and the draft that it makes.

Everything typed is in the form itself and comes back with every answer, so nothing is lost by an error, and the
composer works without JavaScript.
"""

import re
import secrets
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from uuid import UUID

from pydantic import ValidationError
from sqlmodel import Session, col, select

from crm_api.auth.principal import Principal
from crm_api.errors import FieldProblem, Invalid, Problem
from crm_api.messages.compose import FIELDS, Preview, preview
from crm_api.messages.models import Message, MessageAttachment, StoredFile
from crm_api.messages.recipients import resolve
from crm_api.messages.schemas import AttachmentDraft, MessageDraft, RecipientDraft, SenderDraft
from crm_api.senders.offers import Offer, chosen_of, offers
from crm_api.settings import CrmSettings
from crm_api.web import words
from shared.address_lists import address_list
from shared.addresses import BadAddress, address_key, clean_address
from shared.clock import now
from shared.mailboxes import format_mailbox, mailboxes

SOMEBODY = RecipientDraft(email="somebody@example.com")  # whom a letter without recipients is shown to
DEFAULT_LATER = time(8, 0)
_AT_RECIPIENT = re.compile(r"to\[(\d+)\](.*)")
_LIMITS = {
    "subject": "A subject has at most 998 characters.",
    "reply_to": "A name and an address have at most 1,000 characters.",
    "attachments": "A message takes at most 50 files.",
}


@dataclass(frozen=True)
class Chip:
    """One recipient. value: "customer:<id>", "contact:<id>" or "email:Ida <ida@example.com>" (shared/mailboxes.py)."""

    value: str
    label: str
    address: str = ""
    bad: bool = False


@dataclass(frozen=True)
class FileChip:
    sha256: str
    filename: str
    size: int

    @property
    def value(self) -> str:
        return f"{self.sha256}:{self.filename}"


@dataclass(frozen=True)
class Composer:
    """All that the template needs. back: the page it stands on. preset: recipients a fresh one starts with."""

    senders: list[Offer]
    sender: Offer
    undo_seconds: int
    token: str
    back: str
    preset: list[str] = field(default_factory=list)
    to: list[Chip] = field(default_factory=list)
    subject: str = ""
    markdown: str = ""
    reply_to: str = ""
    send_at: str = ""  # as <input type=datetime-local> has it, in the reader's zone
    later: bool = False
    files: list[FileChip] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    seen: int = 0  # whose letter the preview shows
    preview: Preview | None = None
    preview_problems: list[str] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, str]:
        return FIELDS

    @property
    def seen_by(self) -> str:
        """As Marta will see it."""
        chip = self.to[self.seen] if self.to else None
        return words.first_word(chip.label) if chip else "they"


@dataclass(frozen=True)
class ComposerForm:
    """What came with a POST. file: "<sha256>:<name>" for each file that is stored already."""

    to: list[str]
    typed: str
    subject: str
    markdown: str
    reply_to: str
    send_at: str
    file: list[str]
    token: str
    back: str
    preset: list[str]
    later: bool
    seen: int
    sender: str = ""  # its address; empty: the settings'

    @property
    def recipients(self) -> list[str]:
        """The chips, and what is typed but not yet a chip; who is there already is not added again."""
        known = {address_key(it.address) for chip in self.to for it in mailboxes(chip.removeprefix("email:"))}
        typed = []
        for entry in address_list(self.typed):
            key = address_key(entry.address) if entry.address else None
            if key is None or key not in known:
                typed.append(f"email:{format_mailbox(entry.name, entry.address) if entry.address else entry.text}")
                known |= {key} if key else set()
        return self.to + typed


def blank(
    settings: CrmSettings, session: Session, by: Principal, *, to: Iterable[str] = (), back: str = "/messages/new"
) -> Composer:
    """A fresh composer with recipients in place: "customer:<id>", "contact:<id>", "email:<address>"."""
    form = ComposerForm(list(to), "", "", "", "", "", [], new_token(), back, list(to), False, 0)
    return show(settings, session, by, form)


def copy_of(
    settings: CrmSettings, session: Session, by: Principal, message: Message, to: Iterable[str], back: str
) -> Composer:
    """A composer filled with a message that was written before."""
    rows = session.exec(
        select(MessageAttachment)
        .where(MessageAttachment.message_id == message.id)
        .order_by(col(MessageAttachment.position))
    )
    form = ComposerForm(
        to=list(to),
        typed="",
        subject=message.subject,
        markdown=message.markdown if message.markdown is not None else message.text,
        reply_to=message.reply_to or "",
        send_at="",
        file=[f"{row.sha256}:{row.filename}" for row in rows],
        token=new_token(),
        back=back,
        preset=[],
        later=False,
        seen=0,
        sender=message.sender_address,
    )
    return show(settings, session, by, form)


def show(
    settings: CrmSettings, session: Session, by: Principal, form: ComposerForm, problem: Problem | None = None
) -> Composer:
    """The form as it is sent back, with each problem at its field. What was typed for To has become chips."""
    values = list(dict.fromkeys(form.recipients))
    problems, bad = _sorted_problems(problem.errors if problem else ())
    if problem and not problem.errors:
        problems["form"] = [problem.detail]
    senders = offers(session, settings, by, form.sender)
    composer = Composer(
        senders=senders,
        sender=chosen_of(senders, form.sender),
        undo_seconds=settings.undo_seconds,
        token=form.token or new_token(),
        back=form.back,
        preset=form.preset,
        to=chips(session, values, bad),
        subject=form.subject,
        markdown=form.markdown,
        reply_to=form.reply_to,
        send_at=form.send_at or default_later(),
        later=form.later,
        files=_files(session, form.file),
        problems=problems,
        seen=min(max(form.seen, 0), max(len(values) - 1, 0)),
    )
    return with_preview(settings, session, composer)


def with_preview(settings: CrmSettings, session: Session, composer: Composer) -> Composer:
    """The letter as one of the recipients will see it. Never raises for what is still being typed."""
    to = SOMEBODY
    if composer.to:
        to = _recipient(composer.to[composer.seen].value) or SOMEBODY
    try:
        draft = MessageDraft(to=[to], subject=composer.subject, markdown=composer.markdown)
    except ValidationError:
        return composer
    found = preview(session, settings, draft)
    if not found:
        return composer
    typed = {"subject": composer.subject.strip(), "markdown": composer.markdown.strip()}
    said = [
        problem.message
        for problem in found[0].problems
        if (composer.to and ".fields." in problem.field) or typed.get(problem.field)
    ]
    return replace(composer, preview=found[0], preview_problems=said)


def draft_of(form: ComposerForm, settings: CrmSettings, senders: list[Offer]) -> MessageDraft:
    """The draft that service.create checks; raises Invalid for what cannot even be a draft."""
    problems: list[FieldProblem] = []
    recipients = []
    for position, value in enumerate(dict.fromkeys(form.recipients)):
        recipient = _recipient(value)
        if recipient is None:
            text = value.partition(":")[2]
            problems.append(FieldProblem(f"to[{position}].email", f"“{text[:60]}” is nobody to write to."))
            continue
        recipients.append(recipient)
        if recipient.email is not None:
            try:
                clean_address(recipient.email)
            except BadAddress as problem:
                problems.append(FieldProblem(f"to[{position}].email", f"“{recipient.email[:60]}”: {problem}"))
    if not form.recipients:
        problems.append(FieldProblem("to", "Write to whom it goes: a name or an address, like ida@example.com."))
    if not form.subject.strip():
        problems.append(FieldProblem("subject", "A letter needs a subject."))
    if not form.markdown.strip():
        problems.append(FieldProblem("markdown", "A letter needs words."))
    send_at = None
    if form.later:
        send_at = read_local(form.send_at)
        if send_at is None:
            problems.append(FieldProblem("send_at", "Choose a day and a time, like 24 November, 08:00."))
    if problems:
        raise Invalid(problems[0].message, *problems)
    try:
        return MessageDraft(
            to=recipients,
            subject=form.subject,
            markdown=form.markdown.replace("\r\n", "\n"),
            sender=_sender(form, settings, senders),
            reply_to=form.reply_to.strip() or None,
            attachments=[
                AttachmentDraft(sha256=value.partition(":")[0], filename=value.partition(":")[2]) for value in form.file
            ],
            send_at=send_at,
            undo_seconds=0 if send_at else settings.undo_seconds,
        )
    except ValidationError as error:
        found = [
            FieldProblem(str(item["loc"][0]), _LIMITS.get(str(item["loc"][0]), item["msg"])) for item in error.errors()
        ]
        raise Invalid(found[0].message, *found) from error


def _sender(form: ComposerForm, settings: CrmSettings, senders: list[Offer]) -> SenderDraft | None:
    """None for the settings' own. Whether they may write so is asked where every message is taken in."""
    address = form.sender.strip()
    if not address or address_key(address) == address_key(settings.sender_address):
        return None
    known = chosen_of(senders, address)
    return SenderDraft(address=address, name=known.name if address_key(known.address) == address_key(address) else "")


def chips(session: Session, values: list[str], bad: AbstractSet[int] = frozenset()) -> list[Chip]:
    """Names for the values; one that names nobody keeps its own text, so that it can be corrected."""
    drafts = [_recipient(value) or SOMEBODY for value in values]
    found, _ = resolve(session, drafts)
    made = []
    for position, (value, recipient) in enumerate(zip(values, found, strict=True)):
        text = value.partition(":")[2]
        known = recipient is not None and _recipient(value) is not None
        label = (recipient.label if recipient and known else "") or text
        address = recipient.address if recipient and known else ""
        made.append(Chip(value, label, address, bad=not known or position in bad))
    return made


def new_token() -> str:
    return secrets.token_urlsafe(18)


def default_later() -> str:
    """Tomorrow morning in the reader's zone."""
    tomorrow = words.local(now()).date() + timedelta(days=1)
    return f"{tomorrow:%Y-%m-%d}T{DEFAULT_LATER:%H:%M}"


def read_local(text: str) -> datetime | None:
    """A datetime-local value, in the reader's zone; None if it is none."""
    try:
        return words.from_local(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def _recipient(value: str) -> RecipientDraft | None:
    kind, _, text = value.partition(":")
    try:
        if kind == "customer":
            return RecipientDraft(customer_id=UUID(text))
        if kind == "contact":
            return RecipientDraft(contact_id=UUID(text))
        found = mailboxes(text)
        if len(found) == 1 and found[0].address:
            return RecipientDraft(email=found[0].address, name=found[0].name)
        return RecipientDraft(email=text)
    except ValueError:
        return None


def _sorted_problems(errors: Iterable[FieldProblem]) -> tuple[dict[str, list[str]], set[int]]:
    """By the composer's own fields; and the positions of recipients with something wrong."""
    problems: dict[str, list[str]] = {}
    bad = set()
    for error in errors:
        name = error.field.partition("[")[0].partition(".")[0]
        if at := _AT_RECIPIENT.fullmatch(error.field):
            bad.add(int(at[1]))
            # a field that is empty for somebody is mended in the text
            name = "markdown" if at[2].startswith(".fields.") else "to"
        name = "markdown" if name in ("text", "html") else name
        problems.setdefault(name, []).append(error.message)
    return problems, bad


def _files(session: Session, values: list[str]) -> list[FileChip]:
    """Those that are stored; anything else in the form is dropped."""
    wanted = [value.partition(":") for value in values if "\0" not in value]  # no database text holds NUL
    known = {
        row.sha256: row.size
        for row in session.exec(
            select(StoredFile).where(col(StoredFile.sha256).in_([sha256 for sha256, _, _ in wanted]))
        )
    }
    return [FileChip(sha256, name, known[sha256]) for sha256, _, name in wanted if sha256 in known]
