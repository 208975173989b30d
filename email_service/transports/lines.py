"""The lines of an SMTP connection: commands out, replies in (RFC 5321, section 4.2).

Replies are kept in order, so several commands can be written at once (RFC 2920). What a server says unasked
would be taken for the answer to the next command: `quiet` tells.
"""

import asyncio
import ssl
from collections import deque
from typing import cast

MAX_REPLY_BYTES = 64 * 1024


class NoReply(Exception):
    """None came in time."""


class Closed(Exception):
    """The connection has ended."""


class Garbage(Exception):
    """The server said something that is no SMTP reply; str() is its beginning."""


class Lines(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._begun: list[str] = []  # lines of a reply whose last one has not come
        self._begun_bytes = 0
        self._replies: deque[tuple[int, str]] = deque()
        self._end: Closed | Garbage | None = None  # after it nothing more is read
        self._waiter: asyncio.Future[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()

    @property
    def is_open(self) -> bool:
        return self._end is None and self.transport is not None and not self.transport.is_closing()

    @property
    def quiet(self) -> bool:
        """Whether nothing has been said that nobody asked for."""
        return not (self._replies or self._buffer or self._begun)

    def write(self, data: bytes) -> None:
        """Raises Closed."""
        if not self.is_open:
            raise Closed
        assert self.transport is not None
        self.transport.write(data)

    async def drain(self) -> None:
        """Returns when most of what was written has left. Raises Closed."""
        await self._can_write.wait()
        if not self.is_open:
            raise Closed

    async def reply(self, seconds: float) -> tuple[int, str]:
        """The next reply: code and text, its lines joined by LF. Raises NoReply, Closed or Garbage."""
        if not self._replies and self._end is None:
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            timer = loop.call_later(seconds, self._wake)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiter = None
        if self._replies:
            return self._replies.popleft()
        raise self._end or NoReply

    async def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """Raises ssl.SSLError, OSError, TimeoutError, or Garbage for words that came before the encryption."""
        if not self.quiet:
            raise Garbage("more than one reply to STARTTLS")
        loop = asyncio.get_running_loop()
        assert self.transport is not None
        async with asyncio.timeout(seconds):
            encrypted = await loop.start_tls(self.transport, self, context, server_hostname=host)
        if encrypted is None:  # uvloop's answer to a connection that ended meanwhile
            raise ConnectionResetError
        self.transport = encrypted

    # ---- what the event loop calls -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._end is not None:
            return
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if not self._take(line):
                return
        if len(self._buffer) + self._begun_bytes > MAX_REPLY_BYTES:
            self._ended(Garbage("an endless reply"))

    def eof_received(self) -> bool:
        self._ended(Closed())
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self._ended(Closed())

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    # ---- parsing --------------------------------------------------------------------------------------------

    def _take(self, line: bytes) -> bool:
        """One line without its LF; False: it is none of SMTP's."""
        code, separator = line[:3], line[3:4]
        if not (len(code) == 3 and code.isdigit() and separator in (b" ", b"-", b"\r", b"")):
            self._ended(Garbage(line[:200].decode("utf-8", "replace")))
            return False
        self._begun.append(line[4:].strip(b" \t\r").decode("utf-8", "surrogateescape"))
        self._begun_bytes += len(line)
        if self._begun_bytes > MAX_REPLY_BYTES:
            self._ended(Garbage("an endless reply"))
            return False
        if separator != b"-":
            self._replies.append((int(code), "\n".join(self._begun)))
            self._begun.clear()
            self._begun_bytes = 0
            self._wake()
        return True

    def _ended(self, how: Closed | Garbage) -> None:
        if self._end is None:
            self._end = how
        self._can_write.set()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
