"""/events: one stream a page, of the names of what has changed. The page fetches its own fragments again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from crm_api.auth.access import topic_of
from crm_api.auth.deps import SignedIn
from crm_api.changes import EVERYTHING, ChangeFeed
from crm_api.deps import FeedDep

router = APIRouter(include_in_schema=False)

DEBOUNCE_SECONDS = 0.15
KEEP_ALIVE_SECONDS = 20.0
RETRY_MS = 1000


async def stream(feed: ChangeFeed, topics: set[str], until: str = "") -> AsyncIterator[str]:
    """Server-sent events (HTML Standard, section 9.2). The first says "*": a change may have come between the
    page and its stream. until: the topic that ends it: who asks must show again who they are."""
    with feed.subscribe() as subscription:
        yield f"retry: {RETRY_MS}\nevent: changed\ndata: {EVERYTHING}\n\n"
        while not feed.closed:
            changed = await subscription.next(KEEP_ALIVE_SECONDS)
            if not changed:
                yield ": still here\n\n"
                continue
            if until in changed:
                return
            heard = changed & topics or changed & {EVERYTHING}
            if not heard:
                continue
            yield f"event: changed\ndata: {' '.join(sorted(heard))}\n\n"
            await asyncio.sleep(DEBOUNCE_SECONDS)  # what comes meanwhile is one event


@router.get("/events")
async def events(
    feed: FeedDep, principal: SignedIn, topics: Annotated[str, Query(max_length=4000)] = ""
) -> StreamingResponse:
    return StreamingResponse(
        stream(feed, set(topics.split()), until=topic_of(principal.user_id)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
