"""/events: one stream a page, of the names of what has changed. The page fetches its own fragments again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from crm_api.auth.deps import SignedIn
from crm_api.auth.stay import Stay, StayDep
from crm_api.changes import EVERYTHING, ChangeFeed
from crm_api.deps import FeedDep
from crm_api.errors import Problem

router = APIRouter(include_in_schema=False)

DEBOUNCE_SECONDS = 0.15
KEEP_ALIVE_SECONDS = 20.0
RETRY_MS = 1000


async def stream(feed: ChangeFeed, topics: set[str], until: str = "", stay: Stay | None = None) -> AsyncIterator[str]:
    """Server-sent events (HTML Standard, section 9.2). The first says "*": a change may have come between the
    page and its stream. until: the topic that ends it: who asks must show again who they are. stay: until when."""
    with feed.subscribe() as subscription:
        if await _is_over(stay):  # it may have ended before anybody listened to that
            return
        yield f"retry: {RETRY_MS}\nevent: changed\ndata: {EVERYTHING}\n\n"
        while not feed.closed:
            changed = await subscription.next(stay.at_most(KEEP_ALIVE_SECONDS) if stay else KEEP_ALIVE_SECONDS)
            if until in changed or (stay and stay.is_over) or (EVERYTHING in changed and await _is_over(stay)):
                return
            if not changed:
                yield ": still here\n\n"
                continue
            heard = changed & topics or changed & {EVERYTHING}
            if not heard:
                continue
            yield f"event: changed\ndata: {' '.join(sorted(heard))}\n\n"
            await asyncio.sleep(DEBOUNCE_SECONDS)  # what comes meanwhile is one event


async def _is_over(stay: Stay | None) -> bool:
    try:
        if stay:
            await stay.check_again()
    except Problem:
        return True
    return False


@router.get("/events")
async def events(
    feed: FeedDep, _: SignedIn, stay: StayDep, topics: Annotated[str, Query(max_length=4000)] = ""
) -> StreamingResponse:
    return StreamingResponse(
        stream(feed, set(topics.split()), stay.topic, stay),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
