"""An SMTP server that does what a test tells it to, and writes down all that it hears.

    async with SmtpServer() as server:
        server.answer("rcpt", "450 4.2.1 later")          # once, then as usual again
        server.answer("dot", TAKEN_THEN_CLOSE, recipient="ida@example.com", always=True)

Phases: greeting, ehlo, starttls, auth, mail, rcpt, data (the reply to DATA), content (a reply before the letter's
end, once `after` bytes of it have come), dot (the reply to the letter), rset. Of signing in also "auth plain" and so
on: what is said to that mechanism at once; `auth` is what is said to the password.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """text None: no reply. store: whether the letter counts as taken, at "dot"; None: if the reply is 2xx."""

    text: str | None = None
    close: bool = False  # in an orderly way, by FIN
    half: bool = False  # by FIN, and listens on
    abort: bool = False  # by RST
    store: bool | None = None
    until: asyncio.Event | None = None  # wait for it first
    raw: bytes | None = None
    silent: bool = False  # from then on; without any words at all it is that anyway
    after: int = 0  # bytes of the content, at "content"


SILENCE = Answer()
CLOSE = Answer(close=True)
RESET = Answer(abort=True)
TAKEN_THEN_SILENCE = Answer(store=True)
TAKEN_THEN_CLOSE = Answer(store=True, close=True)
TAKEN_THEN_RESET = Answer(store=True, abort=True)
GARBAGE = Answer(raw=b"\xff\xfe\x00 nothing that SMTP knows\r\n")
ENDLESS = Answer(raw=b"250-" + b"x" * 100_000 + b"\r\n")


@dataclass(frozen=True)
class Mail:
    """One accepted letter; content as it was before dot-stuffing, without the final dot."""

    id: str
    sender: str
    recipient: str
    content: bytes
    tls: bool
    user: str | None
    connection: int

    @property
    def subject_line(self) -> str:
        head = self.content.split(b"\r\n\r\n", 1)[0].decode("utf-8", "replace")
        return next(line for line in head.split("\r\n") if line.startswith("Subject:"))


@dataclass
class _Session:
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lines: list[str]
    sender: str | None = None
    recipient: str | None = None
    user: str | None = None
    tls: bool = False


@dataclass
class _Rule:
    answer: Answer
    recipient: str | None
    always: bool


class SmtpServer:
    """extensions: what EHLO offers besides STARTTLS and AUTH, which follow from `context` and `users`.

    auth: the line with which it offers to sign in, if there are users.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        context: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        users: dict[str, str] | None = None,
        auth: str = "AUTH PLAIN LOGIN",
        host: str = "127.0.0.1",
        extensions: tuple[str, ...] = ("8BITMIME", "SIZE 52428800", "SMTPUTF8", "ENHANCEDSTATUSCODES"),
    ) -> None:
        self.port, self._host, self._auth_offer = port, host, auth
        self.takes_initial_response = True  # False: AUTH in one step is taken for the first of two
        self.passwords: list[tuple[str, str, str]] = []  # mechanism, user and password of each try
        self.mails: list[Mail] = []
        self.conversations: list[list[str]] = []
        self.extensions = extensions
        self.offer_starttls = context is not None and not implicit_tls
        self.checks_recipients = True  # False: answers 354 to a DATA without any recipient
        self.most_at_once = self.open = 0
        self._context, self._implicit, self._users = context, implicit_tls, users or {}
        self._rules: dict[str, list[_Rule]] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def answer(self, phase: str, *answers: str | Answer, recipient: str | None = None, always: bool = False) -> None:
        """The next replies at this phase, in this order; always: this one every time."""
        for each in answers:
            reply = Answer(each) if isinstance(each, str) else each
            self._rules.setdefault(phase, []).append(_Rule(reply, recipient, always))

    def behave(self) -> None:
        """Forgets all that was scripted."""
        self._rules.clear()

    def lines(self, start: str = "") -> list[str]:
        """All commands heard that begin so, over all connections."""
        said = [line[3:] for lines in self.conversations for line in lines if line.startswith("C: ")]
        return [line for line in said if line.upper().startswith(start.upper())]

    def mails_to(self, recipient: str) -> list[Mail]:
        return [mail for mail in self.mails if mail.recipient == recipient]

    async def __aenter__(self) -> SmtpServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        context = self._context if self._implicit else None
        self._server = await asyncio.start_server(self._accept, self._host, self.port, limit=LIMIT, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Closes the port and cuts all connections."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines: list[str] = []
        self.conversations.append(lines)
        session = _Session(len(self.conversations), reader, writer, lines, tls=self._implicit)
        self.open += 1
        self.most_at_once = max(self.most_at_once, self.open)
        try:
            if await self._reply(session, "greeting", "220 sink.example ESMTP"):
                while await self._command(session):
                    pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            lines.append("- connection lost")
        finally:
            self.open -= 1
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                session.writer.close()
                await session.writer.wait_closed()

    async def _command(self, session: _Session) -> bool:
        """False: the connection has ended."""
        line = await session.reader.readline()
        if not line.endswith(b"\n"):
            session.lines.append("- connection closed by the client")
            return False
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        session.lines.append(f"C: {text}")
        word = text.split(" ")[0].upper()
        if word in ("EHLO", "HELO"):
            return await self._ehlo(session)
        if word == "STARTTLS" and self.offer_starttls:
            return await self._starttls(session)
        if word == "AUTH":
            return await self._auth(session, text)
        if word == "MAIL":
            session.sender, session.recipient = _address(text), None
            return await self._reply(session, "mail", "250 2.1.0 Ok")
        if word == "RCPT":
            session.recipient = _address(text)
            goes_on = await self._reply(session, "rcpt", "250 2.1.5 Ok")
            if not session.lines[-1].startswith("S: 25"):
                session.recipient = None
            return goes_on
        if word == "DATA":
            return await self._data(session)
        if word == "QUIT":
            await self._say(session, "221 2.0.0 Bye")
            return False
        if word in ("RSET", "NOOP"):
            return await self._reply(session, word.lower(), "250 2.0.0 Ok")
        return await self._say(session, "502 5.5.2 Not known here")

    async def _ehlo(self, session: _Session) -> bool:
        offers = list(self.extensions)
        if self.offer_starttls and not session.tls:
            offers.append("STARTTLS")
        if self._users:
            offers.append(self._auth_offer)
        lines = ["sink.example", *offers]
        text = "\r\n".join(f"250{'-' if line is not lines[-1] else ' '}{line}" for line in lines)
        return await self._reply(session, "ehlo", text)

    async def _starttls(self, session: _Session) -> bool:
        if not await self._reply(session, "starttls", "220 2.0.0 Ready"):
            return False
        if not session.lines[-1].startswith("S: 220"):
            return True
        assert self._context is not None
        await session.writer.start_tls(self._context)
        session.tls = True
        session.lines.append("- encrypted")
        return True

    async def _auth(self, session: _Session, text: str) -> bool:
        _, mechanism, initial = (*text.split(" "), "")[:3]
        mechanism = mechanism.lower()
        if (answer := self._scripted(f"auth {mechanism}", session)) is not None:
            return await self._give(session, answer)
        if mechanism not in self._auth_offer.lower():
            return await self._say(session, "504 5.5.4 Unrecognized authentication type")

        async def asked(challenge: bytes = b"") -> bytes:
            await self._say(session, f"334 {base64.b64encode(challenge).decode()}")
            return base64.b64decode(await session.reader.readline())

        first = base64.b64decode(initial) if initial and self.takes_initial_response else None
        if mechanism == "plain":
            said = await asked() if first is None else first
            if said.count(b"\0") != 2:
                return await self._say(session, "501 5.5.2 Cannot decode that")
            _, user, password = said.decode().split("\0")
        elif mechanism == "login":
            user = (await asked(b"Username:") if first is None else first).decode()
            password = (await asked(b"Password:")).decode()
        else:
            challenge = b"<1.2@sink.example>"
            user, digest = (await asked(challenge)).decode().rsplit(" ", 1)
            known = self._users.get(user, "")
            password = known if hmac.new(known.encode(), challenge, "md5").hexdigest() == digest else "?"
        self.passwords.append((mechanism, user, password))
        if self._users.get(user) != password:
            return await self._reply(session, "auth", "535 5.7.8 Authentication credentials invalid")
        session.user = user
        return await self._reply(session, "auth", "235 2.7.0 Welcome")

    async def _data(self, session: _Session) -> bool:
        if session.recipient is None and self.checks_recipients:
            return await self._say(session, "554 5.5.1 No valid recipients")
        if not await self._reply(session, "data", "354 End with a dot"):
            return False
        if not session.lines[-1].startswith("S: 354"):
            return True
        if (early := self._scripted("content", session)) is not None:
            await session.reader.readexactly(early.after)
            session.lines.append(f"C: ({early.after} bytes, so far)")
            if not await self._give(session, early):
                return False
        content = await session.reader.readuntil(b"\r\n.\r\n")
        content = content.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
        session.lines.append(f"C: ({len(content)} bytes)")
        number = f"{len(self.mails) + 1:010X}"
        return await self._reply(session, "dot", f"250 2.0.0 Ok: queued as {number}", content)

    async def _reply(self, session: _Session, phase: str, usual: str, content: bytes | None = None) -> bool:
        answer = self._scripted(phase, session) or Answer(usual)
        if answer.until is not None:
            await answer.until.wait()
        good = answer.text is not None and answer.text.startswith("2")
        if content is not None and (good if answer.store is None else answer.store):
            number = f"{len(self.mails) + 1:010X}"
            recipient, sender = session.recipient or "", session.sender or ""
            mail = Mail(number, sender, recipient, content, session.tls, session.user, session.number)
            self.mails.append(mail)
        return await self._give(session, answer)

    async def _give(self, session: _Session, answer: Answer) -> bool:
        if answer.until is not None:
            await answer.until.wait()
        if answer.raw is not None:
            session.writer.write(answer.raw)
            await session.writer.drain()
        elif answer.text is not None:
            await self._say(session, answer.text)
        if answer.abort:
            session.lines.append("- reset by the server")
            linger = struct.pack("ii", 1, 0)  # by RST, and not by FIN
            session.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            session.writer.transport.abort()
            return False
        if answer.close:
            session.lines.append("- closed by the server")
            return False
        if answer.half:
            session.lines.append("- half closed by the server")
            session.writer.write_eof()
        if answer.half or answer.silent or (answer.raw is None and answer.text is None):
            while await session.reader.read(65_536):  # until the client has had enough
                pass
            return False
        return True

    async def _say(self, session: _Session, text: str) -> bool:
        session.lines.append(f"S: {text}")
        session.writer.write(text.encode("utf-8", "surrogateescape") + b"\r\n")
        await session.writer.drain()
        return True

    def _scripted(self, phase: str, session: _Session) -> Answer | None:
        rules = self._rules.get(phase, [])
        for rule in rules:
            if rule.recipient in (None, session.recipient):
                if not rule.always:
                    rules.remove(rule)
                return rule.answer
        return None


def _address(text: str) -> str:
    return text[text.index("<") + 1 : text.index(">")]


@dataclass
class _Thread:
    loop: asyncio.AbstractEventLoop
    ready: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def in_thread(server: SmtpServer) -> Iterator[SmtpServer]:
    """The server on a loop of its own, for tests that block."""
    running = _Thread(asyncio.new_event_loop())

    def run() -> None:
        asyncio.set_event_loop(running.loop)
        running.loop.run_until_complete(server.start())
        running.ready.set()
        running.loop.run_forever()
        running.loop.run_until_complete(server.stop())
        running.loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    running.ready.wait()
    try:
        yield server
    finally:
        running.loop.call_soon_threadsafe(running.loop.stop)
        thread.join()
