"""The lines of an SMTP connection: commands out, replies in (RFC 5321, section 4.2).

Replies are kept in order, so several commands can be written at once (RFC 2920). What a server says unasked
would be taken for the answer to the next command: `quiet` tells.

A reply that has come is there to be read, whatever happens to the connection afterwards: it is told before the end is.
"""

import asyncio
import contextlib
import os
import re
import socket
import ssl
from collections import deque
from typing import cast

from email_service.transports.tls import Tls

MAX_REPLY_BYTES = 64 * 1024
_RESCUE_BYTES = 64 * 1024
_REFUSAL_BEGUN = re.compile(rb"[45]\d\d(?:[ \r-]|$)")


class NoReply(Exception):
    """None came in time."""


class Closed(Exception):
    """The connection has ended."""


class Garbage(Exception):
    """The server said something that is no SMTP reply; str() is its beginning."""


class Lines(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self.tls: Tls | None = None
        self._buffer = bytearray()
        self._begun: list[str] = []  # lines of a reply whose last one has not come
        self._begun_bytes = 0
        self._begun_code = 0
        self._replies: deque[tuple[int, str]] = deque()
        self._end: Closed | Garbage | None = None  # after it nothing more is read
        self._waiter: asyncio.Future[None] | None = None
        self._draining = False
        self._full = False  # the transport wants nothing more to be written for now

    @property
    def is_open(self) -> bool:
        return self._end is None and self._transport is not None and not self._transport.is_closing()

    @property
    def quiet(self) -> bool:
        """Whether nothing has been said that nobody asked for."""
        return not (self._replies or self._buffer or self._begun)

    @property
    def has_reply(self) -> bool:
        return bool(self._replies)

    def write(self, data: bytes) -> None:
        """Raises Closed."""
        if not self.is_open:
            raise Closed
        try:
            self._send(data)
        except ssl.SSLError:
            self._ended(Closed())
            raise Closed from None

    async def drain(self, seconds: float) -> None:
        """Returns when most of what was written has left, or a reply has come. Raises NoReply or Closed."""
        await asyncio.sleep(0)  # or a server that reads quickly would never be listened to
        if self._full and not self._replies and self._end is None:
            self._draining = True
            try:
                await self._wait(seconds)
            finally:
                self._draining = False
        if self._replies:
            return
        if not self.is_open:
            raise Closed
        if self._full:
            self._cut_off()
            raise NoReply

    async def reply(self, seconds: float) -> tuple[int, str]:
        """The next reply: code and text, its lines joined by LF. Raises NoReply, Closed or Garbage."""
        if not self._replies and self._end is None:
            await self._wait(seconds)
            if not self._replies and self._end is None:
                self._cut_off()
        if self._replies:
            return self._replies.popleft()
        raise self._end or NoReply

    async def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """Raises ssl.SSLError, OSError, TimeoutError, or Garbage for words that came before the encryption."""
        if not self.quiet:
            raise Garbage("more than one reply to STARTTLS")
        self.tls = Tls(context, host)
        async with asyncio.timeout(seconds):
            while not self._handshake(self.tls):
                await self._wait(seconds)
        self.data_received(b"")  # what came with the end of the handshake

    def close(self, last_words: bytes = b"") -> None:
        """In an orderly way, without waiting for an answer."""
        if self._transport is None:
            return
        if self.is_open and (self.tls is None or self.tls.established):
            with contextlib.suppress(Closed):
                self.write(last_words)
                self._transport.write(self.tls.goodbye() if self.tls else b"")
        self._transport.close()

    def abort(self) -> None:
        """Cuts the line, so that nothing that is still in a buffer can arrive."""
        if self._transport is not None:
            self._transport.abort()

    # ---- what the event loop calls -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._end is not None:
            return
        if self.tls is not None:
            self.tls.feed(data)
            if not self.tls.established:
                self._wake()
                return
            try:
                data = self.tls.decrypt()
            except ssl.SSLError:
                self._ended(Closed())
                return
            self._flush(self.tls)
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if not self._take(line):
                return
        if len(self._buffer) + self._begun_bytes > MAX_REPLY_BYTES:
            self._ended(Garbage("an endless reply"))
        elif self.tls is not None and self.tls.ended and self._transport is not None:  # as eof_received does it
            self._ended(Closed())
            self._transport.write(self.tls.goodbye())
            self._transport.close()

    def eof_received(self) -> bool:
        self._ended(Closed())
        return False

    def connection_lost(self, problem: Exception | None) -> None:
        if problem is not None and self._end is None:
            self._rescue()
        self._ended(Closed())

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._draining:
            self._wake()

    # ---- bytes -----------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data if self.tls is None else self.tls.encrypt(data))

    def _flush(self, tls: Tls) -> None:
        if (data := tls.outgoing()) and self._transport is not None:
            self._transport.write(data)

    def _handshake(self, tls: Tls) -> bool:
        try:
            done = tls.handshake()
        finally:
            self._flush(tls)  # even if only to say why it goes no further
        if not done and self._end is not None:
            raise ConnectionResetError
        return done

    def _rescue(self) -> None:
        """A write that fails ends the transport at once, with a refusal perhaps unread in the socket's buffer."""
        assert self._transport is not None
        found = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(found.fileno())) as again:
            again.setblocking(False)
            while data := again.recv(_RESCUE_BYTES):
                self.data_received(data)

    # ---- replies ---------------------------------------------------------------------------------------------

    def _take(self, line: bytes) -> bool:
        """One line without its LF; False: it is none of SMTP's."""
        code, separator = line[:3], line[3:4]
        if not (len(code) == 3 and code.isdigit() and separator in (b" ", b"-", b"\r", b"")):
            self._buffer.clear()  # whatever follows, nobody knows what it answers
            self._ended(Garbage(line[:200].decode("utf-8", "replace")))
            return False
        self._begin(line)
        if self._begun_bytes > MAX_REPLY_BYTES:
            self._buffer.clear()
            self._ended(Garbage("an endless reply"))
            return False
        if separator != b"-":
            self._finish()
            self._wake()
        return True

    def _begin(self, line: bytes) -> None:
        self._begun_code = int(line[:3])
        self._begun.append(line[4:].strip(b" \t\r").decode("utf-8", "surrogateescape"))
        self._begun_bytes += len(line)

    def _finish(self) -> None:
        self._replies.append((self._begun_code, "\n".join(self._begun)))
        self._begun.clear()
        self._begun_bytes = 0

    def _cut_off(self) -> None:
        """A reply that broke off: all its lines have one code, so a refusal is known by its first (section 4.2.1)."""
        if not (self._begun or _REFUSAL_BEGUN.match(self._buffer)):
            return
        if _REFUSAL_BEGUN.match(self._buffer):
            self._begin(bytes(self._buffer[:MAX_REPLY_BYTES]))
        if 400 <= self._begun_code < 600:
            self._finish()
            self._end = self._end or Closed()

    def _ended(self, how: Closed | Garbage) -> None:
        if self._end is None:
            self._end = how
            self._cut_off()
        self._wake()

    # ---- waiting ---------------------------------------------------------------------------------------------

    async def _wait(self, seconds: float) -> None:
        """For a reply, the end, room for writing, or the end of this time."""
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
