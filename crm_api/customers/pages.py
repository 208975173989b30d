"""/customers and /customers/{id}."""

from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response
from sqlmodel import Session

from crm_api.auth.deps import SignedIn
from crm_api.customers import service
from crm_api.customers.checks import MAX_NOTE
from crm_api.customers.editing import router as editing_router
from crm_api.customers.finding import Sort, count_of, page_of, wanted
from crm_api.customers.views import KINDS, SORTS, counted, rows, shown, tabs
from crm_api.deps import DatabaseDep, SettingsDep
from crm_api.errors import Invalid
from crm_api.messages.composer import blank
from crm_api.paging import Cursor
from crm_api.settings import CrmSettings
from crm_api.web.forms import form_id
from crm_api.web.templates import is_htmx, principal_of, render, render_part
from crm_api.web.toasts import Toast, redirect

router = APIRouter(include_in_schema=False)
router.include_router(editing_router)  # /customers/new before /customers/{id}

PAGE = 50
LINES = 30
_LISTS = {"list": "customers/rows.html", "head": "customers/head.html"}
_RECORD = {"facts": "customers/facts.html", "past": "customers/line.html"}


def _url(path: str, query: dict[str, str | None]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


@router.get("/customers")
def customers(
    request: Request,
    _: SignedIn,
    database: DatabaseDep,
    view: Annotated[str, Query(max_length=20)] = "all",
    q: Annotated[str, Query(max_length=200)] = "",
    tag: Annotated[str, Query(max_length=50)] = "",
    sort: Annotated[str, Query(max_length=20)] = "",
    cursor: Cursor = None,
) -> Response:
    view = view if view in ("all", "trouble", "archived") else "all"
    chosen: Sort = sort if sort in SORTS else "written"  # type: ignore[assignment]
    q, tag = q.strip(), tag.strip()
    archived = view == "archived"
    with database.read() as session:
        asked = wanted(session, q, tag or None, trouble=view == "trouble")
        found, following = page_of(session, asked, archived, chosen, cursor, PAGE)
        views = tabs(session, view)
        context: dict[str, Any] = {
            "rows": rows(session, found),
            "tabs": views,
            "all_tags": service.all_tags(session),
            # to count a million customers takes 40 ms: once a page is enough
            "total": counted(count_of(session, asked, archived))
            if q or tag
            else next(tab.count for tab in views if tab.current),
        }
    query = {"view": view if view != "all" else None, "q": q, "tag": tag, "sort": sort if sort in SORTS else None}
    return render(
        request,
        "customers/list.html",
        parts=_LISTS,
        view=view,
        q=q,
        tag=tag,
        sort=chosen,
        sorts=SORTS,
        here=_url("/customers", query | {"cursor": cursor}),
        without_q=_url("/customers", query | {"q": None}),
        without_tag=_url("/customers", query | {"tag": None}),
        first=_url("/customers", query) if cursor else None,
        next=_url("/customers", query | {"cursor": following}) if following else None,
        **context,
    )


@router.get("/customers/suggest")
def suggest(
    request: Request, _: SignedIn, database: DatabaseDep, q: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """The rows below the composer's To field."""
    with database.read() as session:
        found = service.suggest(session, q) if q.strip() else []
    return render_part(request, "customers/suggestions.html", suggestions=found)


@router.get("/customers/{customer_id}")
def customer(
    request: Request,
    _: SignedIn,
    database: DatabaseDep,
    settings: SettingsDep,
    customer_id: UUID,
    kind: Annotated[str, Query(max_length=20)] = "everything",
    cursor: Cursor = None,
) -> Response:
    with database.read() as session:
        return _customer_page(request, session, settings, customer_id, kind, cursor)


def _customer_page(
    request: Request,
    session: Session,
    settings: CrmSettings,
    customer_id: UUID,
    kind: str = "everything",
    cursor: str | None = None,
    note: str = "",
    note_error: str | None = None,
    note_form: str = "",
) -> Response:
    kind = kind if kind in KINDS else "everything"
    found = service.get(session, customer_id)
    lines, following = service.timeline(session, customer_id, kind, cursor, LINES)  # type: ignore[arg-type]
    here = f"/customers/{customer_id}"
    query = {"kind": kind if kind != "everything" else None}
    composer = None
    principal = principal_of(request)
    if found.email and not found.archived and principal and principal.may("messages.send"):
        composer = blank(settings, session, principal, to=[f"customer:{customer_id}"], back=here)
    return render(
        request,
        "customers/customer.html",
        status=422 if note_error else 200,
        parts=_RECORD,
        customer=found,
        tags=service.tags_of(session, [customer_id])[customer_id],
        contacts=service.contacts(session, customer_id),
        same_address=service.same_address(session, found),
        owner=service.owner_of(session, found),
        lines=[shown(line) for line in lines],
        kinds=KINDS,
        kind=kind,
        here=here,
        this_page=_url(here, query | {"cursor": cursor}),
        first=_url(here, query) + "#past" if cursor else None,
        earlier=_url(here, query | {"cursor": following}) + "#past" if following else None,
        composer=composer,
        note=note,
        note_error=note_error,
        note_form=note_form,
    )


@router.post("/customers/{customer_id}/notes")
def add_note(
    request: Request,
    principal: SignedIn,
    database: DatabaseDep,
    settings: SettingsDep,
    customer_id: UUID,
    text: Annotated[str, Form(max_length=4 * MAX_NOTE)] = "",
    form: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    known = form_id(form)
    try:
        with database.write() as session:
            service.add_note(session, principal, customer_id, text, known)
    except Invalid as problem:
        with database.read() as session:
            return _customer_page(
                request,
                session,
                settings,
                customer_id,
                note=text,
                note_error=problem.detail,
                note_form=form if known else "",
            )
    return redirect(f"/customers/{customer_id}#past")


@router.get("/customers/{customer_id}/archive")
def ask_archive(request: Request, _: SignedIn, database: DatabaseDep, customer_id: UUID) -> Response:
    """The question on a page of its own, for browsers without the dialog."""
    with database.read() as session:
        return render(request, "customers/archive.html", customer=service.get(session, customer_id))


@router.post("/customers/{customer_id}/archive")
def archive(principal: SignedIn, database: DatabaseDep, customer_id: UUID) -> Response:
    with database.write() as session:
        name = service.archive(session, principal, customer_id).name
    toast = Toast(f"{name} is archived.", undo=f"/customers/{customer_id}/restore", undo_seconds=10)
    return redirect("/customers", toast)


@router.post("/customers/{customer_id}/restore")
def restore(request: Request, principal: SignedIn, database: DatabaseDep, customer_id: UUID) -> Response:
    with database.write() as session:
        name = service.restore(session, principal, customer_id).name
    toast = Toast(f"{name} is back among the customers.")
    if is_htmx(request):
        return render_part(request, "parts/toast.html", toast=toast)
    return redirect(f"/customers/{customer_id}", toast)
