"""An SMTP server that does what a test tells it to, and writes down all that it hears.

    async with SmtpServer() as server:
        server.answer("rcpt", "450 4.2.1 later")          # once, then as usual again
        server.answer("dot", TAKEN_THEN_CLOSE, recipient="ida@example.com", always=True)

Phases: greeting, ehlo, starttls, auth, mail, rcpt, data (the reply to DATA), dot (the reply to the letter).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
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
    abort: bool = False  # by RST
    store: bool | None = None
    until: asyncio.Event | None = None  # wait for it first
    raw: bytes | None = None


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
    """extensions: what EHLO offers besides STARTTLS and AUTH, which follow from `context` and `users`."""

    def __init__(
        self,
        *,
        port: int = 0,
        context: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        users: dict[str, str] | None = None,
        extensions: tuple[str, ...] = ("8BITMIME", "SIZE 52428800", "SMTPUTF8", "ENHANCEDSTATUSCODES"),
    ) -> None:
        self.port = port
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
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=LIMIT, ssl=context)
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
            offers.append("AUTH PLAIN LOGIN")
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
        words = text.split(" ")
        if words[1].upper() == "PLAIN":
            _, user, password = base64.b64decode(words[2]).decode().split("\0")
        else:
            user = base64.b64decode(words[2]).decode()
            await self._say(session, "334 UGFzc3dvcmQ6")
            password = base64.b64decode(await session.reader.readline()).decode()
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
        if answer.abort:
            session.lines.append("- reset by the server")
            session.writer.transport.abort()
            return False
        if answer.raw is not None:
            session.writer.write(answer.raw)
            await session.writer.drain()
        elif answer.text is not None:
            await self._say(session, answer.text)
        elif not answer.close:  # silence: until the client has had enough
            while await session.reader.read(65_536):
                pass
            return False
        if answer.close:
            session.lines.append("- closed by the server")
        return not answer.close

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
