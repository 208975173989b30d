"""/events: one stream a page, of the names of what has changed. The page fetches its own fragments again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from crm_api.auth.deps import signed_in
from crm_api.changes import EVERYTHING, ChangeFeed
from crm_api.deps import FeedDep

router = APIRouter(include_in_schema=False)

DEBOUNCE_SECONDS = 0.15
KEEP_ALIVE_SECONDS = 20.0
RETRY_MS = 1000


async def stream(feed: ChangeFeed, topics: set[str]) -> AsyncIterator[str]:
    """Server-sent events (HTML Standard, section 9.2). The first says "*": a change may have come between the
    page and its stream."""
    with feed.subscribe() as subscription:
        yield f"retry: {RETRY_MS}\nevent: changed\ndata: {EVERYTHING}\n\n"
        while not feed.closed:
            changed = await subscription.next(KEEP_ALIVE_SECONDS)
            if not changed:
                yield ": still here\n\n"
                continue
            heard = changed & topics or changed & {EVERYTHING}
            if not heard:
                continue
            yield f"event: changed\ndata: {' '.join(sorted(heard))}\n\n"
            await asyncio.sleep(DEBOUNCE_SECONDS)  # what comes meanwhile is one event


@router.get("/events", dependencies=[Depends(signed_in)])
async def events(feed: FeedDep, topics: Annotated[str, Query(max_length=4000)] = "") -> StreamingResponse:
    return StreamingResponse(
        stream(feed, set(topics.split())),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
