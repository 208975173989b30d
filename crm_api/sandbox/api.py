"""/api/v1/sandbox: the mails that the sandbox took, for trials and tests."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from crm_api.auth.deps import SignedIn
from crm_api.auth.stay import StayDep
from crm_api.deps import DatabaseDep, FeedDep
from crm_api.paging import Cursor, Limit, Page, make_cursor, read_cursor
from crm_api.sandbox import service
from crm_api.sandbox.deps import StoreDep
from crm_api.sandbox.mail import read_head
from crm_api.sandbox.schemas import Cleared, MailOut, MailSummary
from crm_api.sandbox.store import StoredMail
from crm_api.web.downloads import download

router = APIRouter(prefix="/api/v1/sandbox", tags=["sandbox"])

MAX_ID = 2**62
MailId = Annotated[int, Path(ge=1, lt=MAX_ID)]
_AS_IT_CAME: dict[int | str, dict[str, Any]] = {
    200: {"content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/messages", response_model_by_alias=True)
async def messages(
    store: StoreDep,
    feed: FeedDep,
    stay: StayDep,
    _: SignedIn,
    to: Annotated[str | None, Query(max_length=320, description="an address of the envelope")] = None,
    after: Annotated[int, Query(ge=0, lt=MAX_ID, description="only mails with a higher id")] = 0,
    wait: Annotated[float, Query(ge=0, le=30, description="seconds to wait for the first one")] = 0,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[MailSummary]:
    """Newest first. With `wait` it answers as soon as there is one, at the latest then."""
    before = read_cursor(cursor, int)[0] if cursor is not None else None

    async def look() -> list[StoredMail]:
        return await run_in_threadpool(store.list, to, before=before, after=after, limit=limit + 1)

    found = await look()
    if not found and wait:
        deadline = asyncio.get_running_loop().time() + wait
        with feed.subscribe() as subscription:
            while not (found := await look()):
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or feed.closed:
                    break
                await subscription.until({"sandbox", stay.topic}, stay.at_most(left))
                await stay.check_again()
    items = [MailSummary.of(read_head(mail)) for mail in found[:limit]]
    return Page(items=items, next=make_cursor(items[-1].id) if len(found) > limit else None)


@router.delete("/messages")
def clear(store: StoreDep, signed_in: SignedIn, database: DatabaseDep) -> Cleared:
    """Empties the inbox."""
    return Cleared(deleted=service.clear(store, database, signed_in))


@router.get("/messages/{mail_id}", response_model_by_alias=True)
def message(store: StoreDep, signed_in: SignedIn, mail_id: MailId) -> MailOut:
    """One mail, read: headers decoded, text, HTML, attachments."""
    return MailOut.of(service.get(store, signed_in, mail_id))


@router.get("/messages/{mail_id}/raw", response_class=Response, responses=_AS_IT_CAME)
def raw(store: StoreDep, signed_in: SignedIn, mail_id: MailId) -> Response:
    """The mail as it came."""
    return download(service.get(store, signed_in, mail_id).stored.content, f"mail-{mail_id}.eml", "message/rfc822")
