"""/messages and /messages/{id}, and the buttons on them."""

from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import Response

from crm_api.auth.deps import SignedIn
from crm_api.deps import DatabaseDep, FilesDep, SettingsDep
from crm_api.errors import Invalid, NotFound
from crm_api.limits import MAX_FILENAME, MAX_FILES
from crm_api.messages import actions, sayings, service
from crm_api.messages.composer_pages import router as composer_router
from crm_api.messages.models import Delivery
from crm_api.messages.views import VIEWS, Fix, foreign_html, list_rows, message_view, tabs
from crm_api.paging import Cursor
from crm_api.reconciliation.service import missing_of
from crm_api.web.downloads import download
from crm_api.web.forms import address_of
from crm_api.web.security import mail_page
from crm_api.web.templates import principal_of, render, system_now
from crm_api.web.toasts import Toast, redirect
from shared.addresses import address_key
from shared.files import FileStoreError

router = APIRouter(include_in_schema=False)
router.include_router(composer_router)

View = Annotated[str, Query(max_length=20)]
LETTER = {"letter": "messages/letter.html"}


@router.get("/messages")
def messages(
    request: Request,
    _: SignedIn,
    database: DatabaseDep,
    view: View = "all",
    q: Annotated[str, Query(max_length=200)] = "",
    cursor: Cursor = None,
) -> Response:
    view = view if view in VIEWS else "all"
    states = ",".join(VIEWS[view][1])
    with database.read() as session:
        found, following = service.list_page(session, state=states or None, query=q.strip() or None, cursor=cursor)
        context: dict[str, Any] = {
            "rows": list_rows(session, found),
            "tabs": tabs(session, view),
        }
    context["system"] = system_now(request)
    query = {"view": view if view != "all" else "", "q": q.strip()}
    return render(
        request,
        "messages/list.html",
        parts={"list": "messages/rows.html"},
        view=view,
        q=q.strip(),
        first=_url("/messages", query) if cursor else None,
        next=_url("/messages", query | {"cursor": following}) if following else None,
        **context,
    )


@router.get("/messages/{message_id}")
def message(
    request: Request,
    message_id: UUID,
    _: SignedIn,
    database: DatabaseDep,
    view: View = "all",
    cursor: Cursor = None,
    open: UUID | None = None,
) -> Response:
    return _message_page(request, database, message_id, view, cursor, open)


def _message_page(
    request: Request,
    database: Any,
    message_id: UUID,
    view: str = "all",
    cursor: str | None = None,
    opened: UUID | None = None,
    fix: Fix | None = None,
) -> Response:
    state = view if view in VIEWS and view != "all" else None
    with database.read() as session:
        found = service.get(session, message_id)
        missing = missing_of(session, request.app.state.settings, found)
        shown = message_view(session, found, state=state, cursor=cursor, opened=opened, fix=fix, missing=missing)
    here = f"/messages/{message_id}"
    query = {"view": state or "", "cursor": cursor or ""}
    return render(
        request,
        "messages/message.html",
        status=422 if fix else 200,
        parts=LETTER,
        view=shown,
        message=found,
        may_change=actions.may_change(found, by) if (by := principal_of(request)) else False,
        here=here,
        since=sayings.since,
        this_page=_url(here, query | {"open": str(opened) if opened else ""}),
        open_url=lambda delivery: _url(here, query | {"open": str(delivery.id)}) + f"#delivery-{delivery.id}",
        first=_url(here, {"view": state or ""}) if cursor else None,
        next=_url(here, query | {"cursor": shown.following}) if shown.following else None,
    )


@router.get("/messages/{message_id}/html")
def letter_html(message_id: UUID, _: SignedIn, database: DatabaseDep, delivery: UUID | None = None) -> Response:
    """The HTML that came over the API, for its frame: no script, nothing from elsewhere."""
    with database.read() as session:
        found = service.get(session, message_id)
        one = service.get_delivery(session, delivery) if delivery else None
        if found.html is None or (one and one.message_id != found.id):
            raise NotFound("There is no such letter.")
        content = foreign_html(found, one)
    return mail_page(content)


@router.get("/messages/{message_id}/files/{position}/{name}")
def attachment(
    message_id: UUID,
    position: Annotated[int, Path(ge=0, lt=MAX_FILES)],
    name: Annotated[str, Path(max_length=MAX_FILENAME)],
    _: SignedIn,
    database: DatabaseDep,
    files: FilesDep,
) -> Response:
    """Always a download: a browser never opens what somebody attached."""
    with database.read() as session:
        service.get(session, message_id)
        rows = service.attachments(session, message_id)
    found = next((row for row in rows if row.position == position), None)
    if found is None:
        raise NotFound("There is no such file.")
    try:
        content = files.get(found.sha256)
    except FileStoreError as problem:
        raise NotFound(f"{found.filename} is no longer stored here.") from problem
    return download(content, found.filename)


@router.post("/messages/{message_id}/cancel")
def cancel_message(message_id: UUID, signed_in: SignedIn, database: DatabaseDep) -> Response:
    with database.write() as session:
        count = actions.cancel_message(session, message_id, signed_in)
    left = "It will not leave." if count == 1 else f"{count:,} letters will not leave."
    return redirect(f"/messages/{message_id}", Toast("Cancelled.", left))


@router.post("/messages/{message_id}/deliveries/{delivery_id}/cancel")
def cancel(message_id: UUID, delivery_id: UUID, signed_in: SignedIn, database: DatabaseDep) -> Response:
    with database.write() as session:
        _belongs(session, message_id, delivery_id)
        delivery = actions.cancel(session, delivery_id, signed_in)
    return redirect(_back(message_id, delivery_id), Toast("Cancelled.", f"Nothing leaves for {delivery.address}."))


@router.post("/messages/{message_id}/deliveries/{delivery_id}/retry")
def retry(
    request: Request,
    message_id: UUID,
    delivery_id: UUID,
    signed_in: SignedIn,
    database: DatabaseDep,
    settings: SettingsDep,
    address: Annotated[str, Form(max_length=1000)] = "",
    generation: Annotated[int | None, Form(ge=0, le=2**31 - 1)] = None,
) -> Response:
    """Sends it again; an address that is none comes back with what to write instead.

    generation: as the form showed it. The same form twice is one letter, and one that somebody else has sent again
    meanwhile is looked at first: its address may be another by now.
    """
    try:
        with database.write() as session:
            found = _belongs(session, message_id, delivery_id)
            _, to = address_of(address.strip(), "address")
            if generation is not None and generation != found.generation:
                return redirect(_back(message_id, delivery_id), _sent_again(found, to))
            delivery = actions.retry(session, settings, delivery_id, signed_in, to or None)
    except Invalid as problem:
        fix = Fix(delivery_id, address, problem.detail)
        return _message_page(request, database, message_id, opened=delivery_id, fix=fix)
    return redirect(_back(message_id, delivery_id), Toast("Queued for delivery", f"To {delivery.address}, once more."))


def _sent_again(delivery: Delivery, to: str) -> Toast:
    if address_key(to) == address_key(delivery.address):
        return Toast("Sent again already.", f"To {delivery.address}.")
    return Toast("Not sent.", f"Somebody has sent it again meanwhile, to {delivery.address}. Look first.", trouble=True)


@router.get("/messages/{message_id}/deliveries/{delivery_id}/discard")
def confirm_discard(
    request: Request, message_id: UUID, delivery_id: UUID, _: SignedIn, database: DatabaseDep
) -> Response:
    """The question on a page of its own, for browsers without JavaScript."""
    with database.read() as session:
        delivery = _belongs(session, message_id, delivery_id)
        found = service.get(session, message_id)
    return render(request, "messages/discard.html", delivery=delivery, message=found)


@router.post("/messages/{message_id}/deliveries/{delivery_id}/discard")
def discard(message_id: UUID, delivery_id: UUID, signed_in: SignedIn, database: DatabaseDep) -> Response:
    with database.write() as session:
        _belongs(session, message_id, delivery_id)
        delivery = actions.discard(session, delivery_id, signed_in)
    text = f"{delivery.address} does not get this letter."
    return redirect(_back(message_id, delivery_id), Toast("Discarded.", text))


def _belongs(session: Any, message_id: UUID, delivery_id: UUID) -> Any:
    delivery = service.get_delivery(session, delivery_id)
    if delivery.message_id != message_id:
        raise NotFound("There is no such delivery.")
    return delivery


def _back(message_id: UUID, delivery_id: UUID) -> str:
    return f"/messages/{message_id}?open={delivery_id}"


def _url(path: str, query: dict[str, str]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path
