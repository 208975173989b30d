"""/sandbox: the inbox where trial mails go. What came in is foreign: it is shown in a frame that can do nothing."""

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from crm_api.auth.deps import SignedIn
from crm_api.deps import DatabaseDep, SettingsDep
from crm_api.errors import NotFound
from crm_api.sandbox import service
from crm_api.sandbox.deps import StoreDep
from crm_api.sandbox.mail import read_head
from crm_api.sandbox.scripts import EXAMPLES
from crm_api.web.downloads import download
from crm_api.web.security import mail_page
from crm_api.web.templates import render
from crm_api.web.toasts import Toast, redirect
from crm_api.web.words import plural
from shared.mailboxes import mailboxes

router = APIRouter(include_in_schema=False)

PAGE = 50
MAX_ID = 2**62
MAX_SOURCE_BYTES = 200_000
MAX_SHOWN_CHARACTERS = 500_000
MailId = Annotated[int, Path(ge=1, lt=MAX_ID)]
Shown = Literal["html", "text", "headers", "source"]


@router.get("/sandbox")
def inbox(
    request: Request,
    store: StoreDep,
    settings: SettingsDep,
    _: SignedIn,
    to: Annotated[str, Query(max_length=320)] = "",
    before: Annotated[int | None, Query(ge=1, lt=MAX_ID)] = None,
) -> Response:
    to = next((it.address for it in mailboxes(to.strip()) if it.address), to.strip())
    found = store.list(to or None, before=before, limit=PAGE + 1)
    mails = [read_head(mail) for mail in found[:PAGE]]
    query = {"to": to} if to else {}
    more = urlencode(query | {"before": str(mails[-1].stored.id)}) if len(found) > PAGE else None
    return render(
        request,
        "sandbox/list.html",
        parts={"inbox": "sandbox/inbox.html"},
        mails=mails,
        to=to,
        total=store.count(to or None),
        everything=store.count() if to else None,
        examples=EXAMPLES,
        smtp_port=settings.sandbox_smtp_port,
        first=f"/sandbox?{urlencode(query)}" if before else None,
        next=f"/sandbox?{more}" if more else None,
    )


@router.get("/sandbox/clear")
def confirm_clear(request: Request, store: StoreDep, _: SignedIn) -> Response:
    """The question on a page of its own, for browsers without JavaScript."""
    return render(request, "sandbox/clear.html", total=store.count())


@router.post("/sandbox/clear")
def clear(store: StoreDep, signed_in: SignedIn, database: DatabaseDep) -> Response:
    count = service.clear(store, database, signed_in)
    return redirect("/sandbox", Toast("Inbox emptied.", f"{plural(count, 'mail')} deleted."))


@router.get("/sandbox/{mail_id}")
def mail(
    request: Request, mail_id: MailId, store: StoreDep, signed_in: SignedIn, show: Shown | None = None
) -> Response:
    found = service.get(store, signed_in, mail_id)
    there: list[tuple[Shown, str]] = [("headers", "Headers"), ("source", "Source")]
    if found.text is not None:
        there.insert(0, ("text", "Text"))
    if found.html is not None:
        there.insert(0, ("html", "HTML"))
    shown = show if show in dict(there) else there[0][0]
    content = found.stored.content
    return render(
        request,
        "sandbox/mail.html",
        mail=found,
        tabs=there,
        shown=shown,
        text=(found.text or "")[:MAX_SHOWN_CHARACTERS],
        text_cut=len(found.text or "") > MAX_SHOWN_CHARACTERS,
        source=content[:MAX_SOURCE_BYTES].decode("utf-8", "replace").replace("\r\n", "\n"),
        cut=len(content) > MAX_SOURCE_BYTES,
    )


@router.get("/sandbox/{mail_id}/html")
def mail_html(mail_id: MailId, store: StoreDep, signed_in: SignedIn) -> Response:
    """The mail's own HTML for its frame: no script, nothing from elsewhere."""
    found = service.get(store, signed_in, mail_id)
    if found.html is None:
        raise NotFound("This mail has no HTML.")
    return mail_page(found.html)


@router.get("/sandbox/{mail_id}/source")
def source(mail_id: MailId, store: StoreDep, signed_in: SignedIn) -> Response:
    found = service.get(store, signed_in, mail_id)
    return download(found.stored.content, f"mail-{mail_id}.eml")


@router.get("/sandbox/{mail_id}/files/{position}")
def file(
    mail_id: MailId, position: Annotated[int, Path(ge=0, lt=MAX_ID)], store: StoreDep, signed_in: SignedIn
) -> Response:
    """Always a download: a browser never opens what somebody attached."""
    found = service.get(store, signed_in, mail_id)
    if not 0 <= position < len(found.files):
        raise NotFound("There is no such file.")
    one = found.files[position]
    return download(one.content, one.filename)
