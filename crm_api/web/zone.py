"""Every request is answered by its reader's clock."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from crm_api.web.words import use_zone, zone_of


class ReadersZone:
    """Sets the time zone that crm_api.web.words speaks in, for this request only."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            use_zone(zone_of(Request(scope)))
        await self.app(scope, receive, send)
