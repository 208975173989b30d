"""/audit: who did what, and the same as CSV."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse
from sqlmodel import Session, select

from crm_api.audit import csv_file, service
from crm_api.audit.actions import ACTIONS, KINDS
from crm_api.audit.models import AuditEntry
from crm_api.auth.deps import SignedIn
from crm_api.auth.models import User
from crm_api.auth.stay import Stay, StayDep
from crm_api.deps import DatabaseDep
from crm_api.paging import Cursor
from crm_api.web.templates import render
from crm_api.web.words import from_local

router = APIRouter(include_in_schema=False)

Query_ = dict[str, str]


def _query(
    who: Annotated[str, Query(max_length=50)] = "",
    action: Annotated[str, Query(max_length=50)] = "",
    object: Annotated[str, Query(max_length=100)] = "",
    since: Annotated[str, Query(max_length=20)] = "",
    until: Annotated[str, Query(max_length=20)] = "",
) -> Query_:
    return {"who": who, "action": action, "object": object.strip(), "since": since, "until": until}


QueryDep = Annotated[Query_, Depends(_query)]


def _filter(query: Query_) -> service.Filter:
    """What is no date, person or action is as if it were not there."""
    last = _day(query["until"], 1)
    known = query["action"] in ACTIONS or query["action"].removesuffix(".") in KINDS
    return service.Filter(
        actor_id=_uuid(query["who"]),
        action=query["action"] if known else "",
        object_id=query["object"],
        since=_day(query["since"]),
        until=last,
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _day(text: str, after: int = 0) -> datetime | None:
    """Its first moment by the reader's clock, or that of the day so many days after it; None if there is none."""
    try:
        return from_local(datetime.strptime(text, "%Y-%m-%d") + timedelta(days=after)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@router.get("/audit")
def audit(
    request: Request,
    _: SignedIn,
    database: DatabaseDep,
    query: QueryDep,
    cursor: Cursor = None,
) -> Response:
    with database.read() as session:
        found, following = service.list_page(session, _filter(query), cursor)
        people = _people(session)
    given = {name: value for name, value in query.items() if value}
    return render(
        request,
        "audit/list.html",
        parts={"list": "audit/rows.html"},
        entries=found,
        query=query,
        people=people,
        actions=ACTIONS,
        kinds=KINDS,
        href=_href,
        more=_more,
        here=_url("/audit", given | ({"cursor": cursor} if cursor else {})),
        csv=_url("/audit.csv", given),
        first=_url("/audit", given) if cursor else None,
        next=_url("/audit", given | {"cursor": following}) if following else None,
    )


def _people(session: Session) -> list[tuple[UUID, str]]:
    return [(row.id, row.name) for row in session.execute(select(User.id, User.name).order_by(User.name).limit(500))]


def _href(entry: AuditEntry) -> str | None:
    """Where the object is looked at."""
    pattern = KINDS[ACTIONS[entry.action].kind][1]
    return pattern.format(entry.object_id) if pattern else None


def _more(entry: AuditEntry) -> str:
    """The rest in few words: fields: email, phone."""
    return "; ".join(f"{name}: {_said(value)}" for name, value in entry.data.items())


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _url(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _while_they_may(stay: Stay, batches: Iterator[list[AuditEntry]]) -> Iterator[list[AuditEntry]]:
    """Raises a Problem when session, key or role end while a long file is on its way."""
    for position, batch in enumerate(batches):
        if position:
            stay.check()
        yield batch


@router.get("/audit.csv")
def audit_csv(_: SignedIn, stay: StayDep, database: DatabaseDep, query: QueryDep) -> Response:
    lines = csv_file.lines(_while_they_may(stay, service.every(database, _filter(query))))
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)
