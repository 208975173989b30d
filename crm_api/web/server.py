"""HTTP as uvicorn speaks it, with the limits that it does not have: for what comes before anybody has said who he is,
and for those who send or read so slowly that they only hold a connection.

A head has a size, a number of headers and a time. So has a body of somebody who is not signed in (its bytes are counted
in crm_api.web.body_limit); of others a body of any length may come over a slow line, and answers may be read over one,
as long as some bytes move all the time. Whatever is sent on after the answer is read for a while, so that the answer
arrives, and then no longer.
"""

import asyncio
import resource
import time
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from crm_api.web.connections import RESERVE, Connections

HEAD_BYTES = 64 * 1024  # request line and headers; a chunk may go over it
MAX_HEADERS = 200
LEAST_RATE = 1024  # bytes a second
LINGER_BYTES = 32 * 1024 * 1024  # read after the answer
OTHER_FILES = 200  # databases, logs, attachments
_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """seconds: for a head, and between two looks at whether a body or a reader has moved."""

    def __init__(self, *arguments: Any, connections_open: Connections, seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._all, self._seconds, self._served = connections_open, seconds, self.app
        self.address, self.since = "", time.monotonic()
        self._answering: RequestResponseCycle | None = None
        self._known = False  # somebody who is signed in has asked something here
        self._in_head, self._head_bytes = True, 0
        self._body_bytes = self._late_bytes = 0
        self._unread, self._has_read = 0, False  # bytes that waited for the client at the last look; whether all went
        self._patience: asyncio.TimerHandle | None = None  # with a head
        self._look: asyncio.TimerHandle | None = None  # at bodies and readers

    # ---- what the connections ask ---------------------------------------------------------------------------------

    @property
    def is_stranger(self) -> bool:
        return not self._is_known()

    @property
    def waits(self) -> bool:
        busy = self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete
        return not busy or self.flow.write_paused

    def give_up(self) -> None:
        self._nobody_is_there()
        self.transport.abort()

    def _is_known(self) -> bool:
        if not self._known and self.cycle is not None:
            self._known = "principal" in self.cycle.scope.get("state", ())  # the door has put it there
        return self._known

    # ---- what happens on the line ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._all.add(self)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        self._wait_no_longer()
        if self._look is not None:
            self._look.cancel()
        self._nobody_is_there()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _nobody_is_there(self) -> None:
        """uvicorn tells the newest request only; the one that is answered may be an earlier one, and would fail."""
        for cycle in (self._answering, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._body_bytes += len(data)
            if self.cycle is not None and self.cycle.response_complete:
                self._late_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._in_head:
            if self._late_bytes > LINGER_BYTES:
                self.give_up()
            self._look_later()
        elif self._head_bytes:
            if self._head_bytes > HEAD_BYTES:
                self.send_400_response("The request line and headers are too long.")
            elif self._patience is None:
                self._wait()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        self._wait_no_longer()
        if len(self.headers) > MAX_HEADERS:
            self.app = _too_many_headers
        else:
            self.app = _busy if self._all.full and not self.url.startswith(b"/health/") else self._served
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._body_bytes, self._late_bytes = True, 0, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._is_known()
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._look_later()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_later()

    def resume_writing(self) -> None:
        self._has_read = True
        super().resume_writing()

    # ---- patience -------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self._seconds, self.transport.close)

    def _wait_no_longer(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _look_later(self) -> None:
        if self._look is None:
            self._unread, self._has_read = self.transport.get_write_buffer_size(), False
            self._look = self.loop.call_later(self._seconds, self._look_now)

    def _look_now(self) -> None:
        self._look = None
        least = LEAST_RATE * self._seconds
        unread = self.transport.get_write_buffer_size()
        if unread and unread > self._unread - least and not self._has_read:
            self.give_up()
            return
        sending = not self._in_head and not self.flow.read_paused and self.cycle is not None
        if sending and (self._body_bytes < least or not self._is_known() or self.cycle.response_complete):
            if not self.cycle.response_started:
                self.transport.write(_SLOW)
            self.transport.close()
            return
        self._body_bytes = 0
        if unread or not self._in_head:
            self._look_later()


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    await _plain(503, b"Too many are connected. Nothing was done; try again in a moment.", send)


async def _too_many_headers(scope: Scope, receive: Receive, send: Send) -> None:
    await _plain(431, b"There are too many headers.", send)


async def _plain(status: int, words: bytes, send: Send) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(words)).encode()),
        (b"connection", b"close"),
        (b"retry-after", b"2"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words})


def room_for(most: int) -> int:
    """How many connections of those this process may have: each is a file, whose number is raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + RESERVE + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft - RESERVE - OTHER_FILES))
