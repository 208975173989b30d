"""The composer's routes: its own page, sending, preview, files, undo. Each answers a plain form and htmx alike."""

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from anyio import from_thread
from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile
from fastapi.responses import Response
from pydantic import Field
from sqlmodel import Session, col, select

from crm_api.auth.deps import SignedIn
from crm_api.auth.principal import Principal
from crm_api.customers.models import Customer
from crm_api.customers.words import fold
from crm_api.deps import DatabaseDep, FilesDep, IntakeDep, SettingsDep
from crm_api.errors import Conflict, FieldProblem, Invalid, Problem, TooLarge, TooMany
from crm_api.limits import MAX_BODY_CHARACTERS, MAX_CHIPS, MAX_FILES, MAX_NEXT, MAX_SEPARATORS, MAX_TYPED
from crm_api.messages import actions, service
from crm_api.messages.composer import (
    ComposerForm,
    FileChip,
    blank,
    chips,
    copy_of,
    draft_of,
    show,
)
from crm_api.messages.idempotency import key_of
from crm_api.messages.intake import Request as Taken
from crm_api.messages.models import Message
from crm_api.senders.offers import offers
from crm_api.web import words
from crm_api.web.local_url import here, in_header
from crm_api.web.templates import is_htmx, render, render_part
from crm_api.web.toasts import Toast, redirect
from shared.addresses import address_key
from shared.clock import now
from shared.mailboxes import format_mailbox

router = APIRouter(include_in_schema=False)

PLANNED_TOAST_SECONDS = 10
MAX_NAMED = 100  # names that are looked up, each with a statement of its own
NEW = "/messages/new"

# a letter that is only too long comes back as it was, with what is wrong beside it; these are far beyond that
Word = Annotated[str, Form(max_length=1000)]
Line = Annotated[str, Form(max_length=20_000)]
Body = Annotated[str, Form(max_length=MAX_BODY_CHARACTERS)]
Address = Annotated[str, Form(max_length=MAX_NEXT)]
Chosen = Annotated[list[Annotated[str, Field(max_length=1000)]], Form(default_factory=list, max_length=MAX_CHIPS)]
Stored = Annotated[list[Annotated[str, Field(max_length=1000)]], Form(default_factory=list, max_length=2 * MAX_FILES)]
Pasted = Annotated[list[Annotated[str, Field(max_length=MAX_TYPED)]], Form(default_factory=list, max_length=MAX_CHIPS)]


def _check_many(*lists: str) -> None:
    """Raises Invalid for more than a form can hold, before anything of it is read."""
    if sum(text.count(sign) for text in lists for sign in ",;\n") > MAX_SEPARATORS:
        raise Invalid.field("to", f"At most {MAX_CHIPS:,} recipients can be written to from here at once.")


def composer_form(
    to: Chosen,
    file: Stored,
    preset: Chosen,
    typed: Annotated[str, Form(max_length=MAX_TYPED)] = "",
    subject: Line = "",
    markdown: Body = "",
    reply_to: Line = "",
    send_at: Word = "",
    token: Word = "",
    back: Address = NEW,
    do: Word = "send",
    seen: Word = "0",
    sender: Annotated[str, Form(max_length=320)] = "",
) -> ComposerForm:
    _check_many(typed)
    return ComposerForm(
        to=to,
        typed=typed,
        subject=subject,
        markdown=markdown.replace("\r\n", "\n"),
        reply_to=reply_to,
        send_at=send_at,
        file=file,
        token=token[:64],
        back=here(back),
        preset=preset,
        later=do in ("later", "send-later"),
        seen=int(seen) if seen.isdecimal() and len(seen) < 5 else 0,
        sender=sender,
    )


ComposerDep = Annotated[ComposerForm, Depends(composer_form)]
Uploads = Annotated[list[UploadFile], File(default_factory=list, max_length=MAX_FILES)]


@router.get(NEW)
def new_message(
    request: Request,
    signed_in: SignedIn,
    database: DatabaseDep,
    settings: SettingsDep,
    to: Annotated[list[Annotated[str, Field(max_length=1000)]], Query(default_factory=list, max_length=MAX_CHIPS)],
    copy: Annotated[UUID | None, Query(alias="from")] = None,
) -> Response:
    """Empty, or with recipients (`to`), or as a copy of an earlier message (`from`)."""
    with database.read() as session:
        if copy:
            message = service.get(session, copy)
            composer = copy_of(settings, session, signed_in, message, _recipients_of(session, message), NEW)
        else:
            composer = blank(settings, session, signed_in, to=to, back=NEW)
    return render(request, "messages/new.html", composer=composer, heading="New message")


@router.post("/messages/compose")
def compose(
    request: Request,
    signed_in: SignedIn,
    database: DatabaseDep,
    files: FilesDep,
    settings: SettingsDep,
    form: ComposerDep,
    uploads: Uploads,
    do: Word = "show",
) -> Response:
    """The whole form again on a page of its own, after a button that JavaScript would have spared: add or remove
    a recipient or file, show the letter, send later."""
    form, problem = _with_uploads(signed_in, form, uploads, database, files, settings)
    verb, _sep, value = do.partition(":")
    if verb == "remove":
        form = replace(form, to=[other for other in form.to if other != value])
    elif verb == "drop":
        form = replace(form, file=[other for other in form.file if other != value])
    elif verb == "seen" and value.isdecimal():
        form = replace(form, seen=int(value))
    with database.read() as session:
        composer = show(settings, session, signed_in, _named(session, form), problem)
    return render(request, "messages/new.html", composer=composer, heading="Send message")


@router.post("/messages/preview")
def preview(
    request: Request, signed_in: SignedIn, database: DatabaseDep, settings: SettingsDep, form: ComposerDep
) -> Response:
    """As one recipient will see it. What is being typed for To is left alone."""
    with database.read() as session:
        composer = show(settings, session, signed_in, replace(form, typed=""))
    return render_part(request, "messages/preview.html", composer=composer)


@router.post("/messages/recipient")
def recipients(request: Request, _: SignedIn, database: DatabaseDep, value: Pasted) -> Response:
    """The chips for what was typed, chosen or pasted, in their order."""
    _check_many(*value)
    with database.read() as session:
        found = chips(session, value)
    return render_part(request, "messages/chips.html", chips=found)


@router.post("/messages/files")
def upload(
    request: Request,
    signed_in: SignedIn,
    database: DatabaseDep,
    files: FilesDep,
    settings: SettingsDep,
    file: UploadFile,
) -> Response:
    """Stores one file; answers its line for the composer, or the line that says what is wrong with it."""
    try:
        chip = _store(signed_in, file, database, files, settings)
    except (Invalid, TooLarge) as problem:
        return render_part(request, "messages/upload_problem.html", status=problem.status, message=problem.detail)
    return render_part(request, "messages/file_chip.html", file=chip)


@router.post("/messages")
def send(
    request: Request,
    signed_in: SignedIn,
    database: DatabaseDep,
    intake: IntakeDep,
    files: FilesDep,
    settings: SettingsDep,
    form: ComposerDep,
    uploads: Uploads,
) -> Response:
    """Takes the letter in. The same form sent twice makes one message; a wrong one comes back as it was."""
    clicked_at = now()
    form, problem = _with_uploads(signed_in, form, uploads, database, files, settings)
    try:
        if problem:
            raise problem
        with database.read() as session:
            form = _named(session, form)
            senders = offers(session, settings, signed_in, form.sender)
        draft = draft_of(form, settings, senders)
        # the token alone is not the key: who goes back, changes the letter and sends it means another one
        body = intake.digest(draft.model_dump_json())
        key = key_of(signed_in.scope, f"page:{form.token}:{body[:32]}" if form.token else None, draft, intake.digest)
        answer = from_thread.run(intake.take, Taken(draft, signed_in, clicked_at, lambda _: "", key))
    except (Invalid, TooLarge, TooMany) as wrong:
        return _back_with(request, signed_in, database, settings, form, wrong)
    with database.read() as session:
        message = service.get(session, answer.message_id)
        toast = _sent_toast(session, message, settings.undo_seconds)
        if is_htmx(request) and form.back != NEW:
            composer = blank(settings, session, signed_in, to=form.preset, back=form.back)
            return render_part(request, "messages/sent.html", composer=composer, toast=toast)
    if form.back == NEW:
        return _go(request, f"/messages/{message.id}", replace(toast, link=""))
    return _go(request, form.back, toast)


@router.post("/messages/{message_id}/undo")
def undo(
    request: Request,
    message_id: UUID,
    signed_in: SignedIn,
    database: DatabaseDep,
    settings: SettingsDep,
    composer: Word = "",
    back: Address = NEW,
) -> Response:
    """Takes a letter back that has not left. composer=empty: there is one on the page, and nothing in it."""
    try:
        with database.write() as session:
            count = actions.cancel_message(session, message_id, signed_in)
    except Conflict:
        toast = Toast("It has already left.", link=f"/messages/{message_id}", trouble=True)
        if is_htmx(request):
            return render_part(request, "parts/toast.html", toast=toast)
        return redirect(f"/messages/{message_id}", toast)
    again = f"{NEW}?from={message_id}"
    planned = _planned(count)
    toast = Toast("Taken back.", f"Nothing was sent{planned}.", link=again, link_word="Write on")
    if not is_htmx(request):
        return redirect(again, replace(toast, link=""))
    filled = None
    if composer == "empty":
        with database.read() as session:
            message = service.get(session, message_id)
            filled = copy_of(settings, session, signed_in, message, _recipients_of(session, message), here(back))
            toast = replace(toast, link="", text=f"Nothing was sent{planned}. Your letter is in the composer again.")
    return render_part(request, "messages/undone.html", toast=toast, composer=filled)


def _planned(count: int) -> str:
    return f" to any of the {count:,}" if count > 1 else ""


def _recipients_of(session: Session, message: Message) -> list[str]:
    """Who it went to, as the composer names them; at most as many as a form holds."""
    rows, _ = service.deliveries(session, message.id, limit=500)
    return [
        f"customer:{row.customer_id}" if _is_own_address(session, row.customer_id, row.address) else _bare(row)
        for row in rows
    ]


def _is_own_address(session: Session, customer_id: UUID | None, address: str) -> bool:
    customer = session.get(Customer, customer_id) if customer_id else None
    return customer is not None and address_key(customer.email) == address_key(address)


def _bare(row: Any) -> str:
    return f"email:{format_mailbox(row.name, row.address)}"


def _named(session: Session, form: ComposerForm) -> ComposerForm:
    """A name typed in full stands for that customer; one that fits nobody, or several, stays as it is."""

    def found(part: str) -> str:
        if "@" in part or "\0" in part or not part:
            return f"email:{part}"
        wanted = fold(part)
        first, _, last = part.rpartition(" ")
        rows = session.exec(
            select(Customer)
            .where(
                col(Customer.archived).in_((False, True)),  # the indexes begin with it
                (col(Customer.sort_name) == fold(f"{last} {first}")) | (col(Customer.sort_company) == wanted),
            )
            .limit(3)
        )
        fitting = [row for row in rows if wanted in (fold(row.name), fold(row.company))]
        return f"customer:{fitting[0].id}" if len(fitting) == 1 else f"email:{part}"

    typed = [value.partition(":")[2] for value in form.recipients[len(form.to) :]]
    named = [found(part) if n < MAX_NAMED else f"email:{part}" for n, part in enumerate(typed)]
    return replace(form, to=form.to + named, typed="")


def _with_uploads(
    principal: Principal, form: ComposerForm, uploads: list[UploadFile], database: Any, files: Any, settings: Any
) -> tuple[ComposerForm, Problem | None]:
    """Files that came with the form itself, stored at once so that an error does not lose them."""
    kept, wrong = list(form.file), []
    for file in uploads:
        if not file.filename:  # an empty file field sends one without a name
            continue
        try:
            kept.append(_store(principal, file, database, files, settings).value)
        except (Invalid, TooLarge) as problem:
            wrong.append(FieldProblem("uploads", problem.detail))
    return replace(form, file=kept), Invalid(wrong[0].message, *wrong) if wrong else None


def _store(principal: Principal, file: UploadFile, database: Any, files: Any, settings: Any) -> FileChip:
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
    content = file.file.read(settings.max_attachment_bytes + 1)
    with database.write() as session:
        stored = service.store_file(session, principal, files, settings, content, name, file.content_type)
        return FileChip(stored.sha256, name, stored.size)


def _back_with(
    request: Request, signed_in: Principal, database: Any, settings: Any, form: ComposerForm, problem: Problem
) -> Response:
    with database.read() as session:
        composer = show(settings, session, signed_in, form, problem)
    if is_htmx(request):
        return render_part(request, "messages/composer.html", status=problem.status, composer=composer)
    return render(request, "messages/new.html", status=problem.status, composer=composer, heading="Send message")


def _sent_toast(session: Session, message: Message, undo_seconds: int) -> Toast:
    names = service.recipients_summary(session, [message.id])[message.id]
    text = f"“{message.subject}” to {words.listed(names, message.planned)}"
    link = f"/messages/{message.id}"
    undo = f"{link}/undo"
    if message.send_at:
        title = f"Planned for {words.said(message.send_at)}"
        return Toast(title, text, undo=undo, undo_seconds=PLANNED_TOAST_SECONDS, link=link)
    return Toast("Queued for delivery", text, undo=undo if undo_seconds else "", undo_seconds=undo_seconds, link=link)


def _go(request: Request, url: str, toast: Toast) -> Response:
    response = redirect(url, toast)
    if is_htmx(request):
        response.status_code = 200
        response.headers["HX-Redirect"] = in_header(url)
        del response.headers["location"]
    return response
