"""From a draft to a letter that can be sent: every check, before anything is stored.

Nothing here writes. `prepare` collects every problem it finds and names the field of each; `preview` shows the same
letter as each recipient will see it, with what still keeps it from being sent.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from markupsafe import Markup
from sqlmodel import Session

from crm_api.errors import FieldProblem, Invalid, TooLarge
from crm_api.messages.markdown import parts_of
from crm_api.messages.marking import marked_line, marked_page
from crm_api.messages.recipients import FIELDS, Recipient, resolve
from crm_api.messages.schemas import MessageDraft
from crm_api.senders.allowed import check_sender
from crm_api.settings import CrmSettings
from shared.addresses import BadAddress
from shared.fields import BadTemplate, Field, FieldError, Template, value_of
from shared.header_text import BadHeader, one_line
from shared.html_fields import HtmlTemplate
from shared.mailboxes import format_mailbox, parse_sender

__all__ = ["FIELDS", "Letter", "Prepared", "Preview", "prepare", "preview"]

SHORT = 32 * 1024  # characters
REMEMBERED = 64  # letters; a few megabytes at most
MAX_AHEAD = timedelta(days=366)
_PAGE = (
    '<!doctype html>\n<html><head><meta charset="utf-8"></head>\n'
    '<body style="max-width:40em;font:16px/1.6 Georgia,serif;color:#1a2236">\n{}</body></html>\n'
)


@dataclass(frozen=True, slots=True)
class Letter:
    """The three templates of a message."""

    subject: Template
    text: Template
    html: HtmlTemplate | None

    @property
    def fields(self) -> set[str]:
        return self.subject.fields | self.text.fields | (self.html.fields if self.html else set())

    @property
    def size(self) -> int:
        """Bytes, before fields are filled in."""
        parts = (self.subject, self.text, self.html)
        return sum(len(part.source.encode()) for part in parts if part)


@dataclass(frozen=True, slots=True)
class Prepared:
    letter: Letter
    recipients: list[Recipient]
    sender_name: str
    sender_address: str
    reply_to: str | None


@dataclass(frozen=True, slots=True)
class Preview:
    """One recipient's letter. In subject and body each merged word is a <mark>; body is None for foreign HTML."""

    name: str
    address: str
    subject: Markup
    body: Markup | None
    text: str
    html: str | None
    problems: list[FieldProblem]


def prepare(session: Session, settings: CrmSettings, draft: MessageDraft, now: datetime) -> Prepared:
    """Raises Invalid with every problem found, or TooLarge."""
    problems = _check_times(draft, now)
    if len(draft.to) > settings.max_recipients:
        raise Invalid.field("to", f"One message goes to at most {settings.max_recipients:,} recipients.")
    check_size(draft, sum(map(len, _sources(draft))), settings)  # before it is read, which takes longer
    letter = parse_letter(draft, problems)
    if letter:
        check_size(draft, letter.size, settings)
    found, unresolved = resolve(session, draft.to)
    problems += unresolved
    sender_name, sender_address, reply_to = _headers(session, draft, settings, problems)
    if letter:
        for position, recipient in enumerate(found):
            if recipient:
                problems += fill_problems(letter, recipient, f"to[{position}]", settings.max_body_bytes)
    if problems or letter is None:
        raise Invalid(_sentence(problems), *problems)
    recipients = [recipient for recipient in found if recipient]
    return Prepared(letter, recipients, sender_name, sender_address, reply_to)


def preview(session: Session, settings: CrmSettings, draft: MessageDraft) -> list[Preview]:
    """Never raises for what a writer is still typing: problems stand in each preview."""
    problems: list[FieldProblem] = []
    try:
        check_size(draft, sum(map(len, _sources(draft))), settings)
        letter = parse_letter(draft, problems)
    except TooLarge as problem:
        letter, problems = None, list(problem.errors)
    found, _ = resolve(session, draft.to)
    previews = []
    for position, recipient in enumerate(found):
        if recipient is None:
            continue
        wrong = list(problems)
        if letter is None:
            previews.append(Preview(recipient.name, recipient.address, Markup(""), None, "", None, wrong))
            continue
        wrong += fill_problems(letter, recipient, f"to[{position}]", settings.max_body_bytes)
        if _filled_size(letter, recipient.values) > settings.max_body_bytes:
            previews.append(Preview(recipient.name, recipient.address, Markup(""), None, "", None, wrong))
            continue
        body = parts_of(draft.markdown).html if draft.markdown is not None else None
        previews.append(
            Preview(
                name=recipient.name,
                address=recipient.address,
                subject=marked_line(letter.subject, recipient.values),
                body=marked_page(HtmlTemplate(body), recipient.values) if body is not None else None,
                text=letter.text.fill(_or_blank(letter.text, recipient.values)),
                html=letter.html.fill(_or_blank(letter.html, recipient.values))
                if letter.html and body is None
                else None,
                problems=wrong,
            )
        )
    return previews


def parse_letter(draft: MessageDraft, problems: list[FieldProblem]) -> Letter | None:
    parts: dict[str, Template] = {}
    page: HtmlTemplate | None = None

    def parse(field: str, source: str) -> None:
        try:
            parts[field] = Template(source)
        except BadTemplate as problem:
            problems.append(FieldProblem(field, str(problem)))

    try:
        subject = one_line(draft.subject)
        parse("subject", subject)
        if not subject:
            problems.append(FieldProblem("subject", "A letter needs a subject."))
    except BadHeader as problem:
        problems.append(FieldProblem("subject", str(problem)))
    if draft.markdown is not None:
        if draft.text is not None or draft.html is not None:
            problems.append(FieldProblem("markdown", "Give markdown, or text and html, not both."))
        try:
            made = _remembered(draft.markdown) if len(draft.markdown) <= SHORT else _parse_markdown(draft.markdown)
            parts["text"], page = made
        except BadTemplate as problem:
            problems.append(FieldProblem("markdown", str(problem)))
    elif draft.text is not None:
        parse("text", draft.text)
        if draft.html is not None:
            try:
                page = HtmlTemplate(draft.html)
            except BadTemplate as problem:
                problems.append(FieldProblem("html", str(problem)))
    else:
        problems.append(FieldProblem("markdown", "A letter needs words: give markdown, or text."))
    body = "markdown" if draft.markdown is not None else "text"
    if not (draft.markdown or draft.text or "").strip() and not problems:
        problems.append(FieldProblem(body, "A letter needs words."))
    problems += [
        FieldProblem(field, "A NUL cannot stand in a letter.")
        for field in ("text", "html", "markdown")
        if "\0" in (getattr(draft, field) or "")
    ]
    if "subject" not in parts or "text" not in parts:
        return None
    return Letter(parts["subject"], parts["text"], page)


def _parse_markdown(source: str) -> tuple[Template, HtmlTemplate]:
    """Text and HTML. Raises BadTemplate."""
    made = parts_of(source)
    return Template(made.text), HtmlTemplate(_PAGE.format(made.html))


# a program writes the same letter to one person after the other: it takes longer to read than to store
_remembered = lru_cache(REMEMBERED)(_parse_markdown)


def _sources(draft: MessageDraft) -> list[str]:
    return [part for part in (draft.subject, draft.markdown, draft.text, draft.html) if part]


def check_size(draft: MessageDraft, size: int, settings: CrmSettings) -> None:
    """Raises TooLarge."""
    if size > settings.max_body_bytes:
        field = "markdown" if draft.markdown is not None else "html" if draft.html else "text"
        limit = f"Subject and text are {size:,} bytes; at most {settings.max_body_bytes:,} can be sent."
        raise TooLarge(limit, FieldProblem(field, limit))


def _filled_size(letter: Letter, values: dict[str, str]) -> int:
    """Characters, with the fields filled in: a long value that is used a hundred times makes a very long letter."""
    templates = [template for template in (letter.subject, letter.text, letter.html) if template]
    fields = sum(len(values.get(name, "")) * count for template in templates for name, count in template.uses.items())
    return fields + sum(len(template.source) for template in templates)


def fill_problems(letter: Letter, recipient: Recipient, where: str, most: int) -> list[FieldProblem]:
    """Each field that is unknown or empty for this recipient, once. most: characters of the filled letter."""
    if _filled_size(letter, recipient.values) > most:
        what = f"{recipient.label}: with the fields filled in, the letter is longer than {most:,} characters."
        return [FieldProblem(f"{where}.fields", what)]
    missing: dict[str, str] = {}
    for template in (letter.subject, letter.text, letter.html):
        for part in template.parts if template else ():
            if isinstance(part, Field) and part.name not in missing:
                try:
                    value_of(part, recipient.values)
                except FieldError as problem:
                    missing[part.name] = str(problem)
    found = [FieldProblem(f"{where}.fields.{name}", f"{recipient.label}: {what}") for name, what in missing.items()]
    if not found:
        try:
            one_line(letter.subject.fill(recipient.values))
        except BadHeader as problem:
            found.append(FieldProblem("subject", f"{recipient.label}: {problem}"))
    return found


def _check_times(draft: MessageDraft, now: datetime) -> list[FieldProblem]:
    if draft.send_at is None:
        return []
    if draft.send_at <= now:
        return [FieldProblem("send_at", "This time has passed. Give one that is still to come.")]
    if draft.send_at > now + MAX_AHEAD:
        return [FieldProblem("send_at", "At most a year ahead.")]
    return []


def _headers(
    session: Session, draft: MessageDraft, settings: CrmSettings, problems: list[FieldProblem]
) -> tuple[str, str, str | None]:
    """From says who we are, and is restricted; Reply-To only says where an answer goes, and is not."""
    name, address = settings.sender_name, settings.sender_address
    if draft.sender:
        try:
            name = one_line(draft.sender.name)
        except BadHeader as problem:
            problems.append(FieldProblem("sender.name", str(problem)))
        try:
            said, address = parse_sender(draft.sender.address)
            name = name or said
            check_sender(session, settings, name, address, problems)
        except BadAddress as problem:
            problems.append(FieldProblem("sender.address", str(problem)))
    reply_to = None
    if draft.reply_to:
        try:
            reply_to = format_mailbox(*parse_sender(draft.reply_to))
        except BadAddress as problem:
            problems.append(FieldProblem("reply_to", str(problem)))
    return name, address, reply_to


def _or_blank(template: Template, values: dict[str, str]) -> dict[str, str]:
    """Values for a preview: one that is missing and has no default is shown by its name."""
    bare = {part.name for part in template.parts if isinstance(part, Field) and part.default is None}
    return values | {name: f"[{name}]" for name in bare if not values.get(name)}


def _sentence(problems: list[FieldProblem]) -> str:
    first = problems[0].message
    return first if len(problems) == 1 else f"{first} And {len(problems) - 1} more."
