"""An SMTP server that does what a fault tells it to, and writes down every mail that it takes.

    rule = sink.on("rcpt", Answer("450 4.2.1 later"), times=3)
    sink.on("dot", Answer(close=True, take=True), to=chosen)       # takes the letter and hangs up without a word
    sink.on("data", before=lambda talk: os.kill(owner(talk.port), SIGKILL))

Phases: greeting, ehlo, starttls, auth, mail, rcpt, data (the reply to DATA), dot (the reply to the letter). It runs on
a loop in a thread of its own; hooks run in further threads and hold up only their own conversation.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

GOODBYE_SECONDS = 0.5
LIMIT = 64 * 1024 * 1024
_MESSAGE_ID = re.compile(rb"^Message-ID: <([0-9a-f-]{36}\.\d+)@", re.IGNORECASE | re.MULTILINE)
_PHASE = {"MAIL": "mail", "RCPT": "rcpt", "DATA": "data", "EHLO": "ehlo", "HELO": "ehlo", "RSET": "rset"}
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """text None: no reply. take: whether the letter counts as taken, at "dot"; None: if the reply is 2xx."""

    text: str | None = None
    close: bool = False  # in an orderly way, by FIN
    abort: bool = False  # by RST
    take: bool | None = None
    raw: bytes | None = None
    seconds: float = 0.0  # to wait first
    usual: bool = False  # what it would have said anyway


def late(seconds: float) -> Answer:
    return Answer(seconds=seconds, usual=True)


SILENCE = Answer()


@dataclass
class Talk:
    """One conversation. port: the client's."""

    port: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tls: bool = False
    recipient: str = ""
    key: str = ""  # <delivery>.<generation>, known from the dot on


Hook = Callable[[Talk], None]


@dataclass
class Rule:
    phase: str
    answer: Answer | None
    times: int | None  # None: always
    to: Callable[[str], bool] | None
    before: Hook | None
    after: Hook | None
    skip: int = 0  # so many go by first
    struck: set[str] = field(default_factory=set)  # the recipients of all hits
    hits: int = 0
    done: threading.Event = field(default_factory=threading.Event)  # its first hit is over, hooks included
    talk: Talk | None = None  # of the last hit


class Sink:
    def __init__(self) -> None:
        self.port = 0
        self.taken: Counter[str] = Counter()  # <delivery>.<generation> → how often
        self.recipients: dict[str, str] = {}  # the same key → where it went
        self.heard: Counter[str] = Counter()  # phase → how often
        self.in_clear = 0  # mails taken without encryption
        self.problems: list[str] = []  # what went wrong in a hook
        self.pipelining = False
        self.context: ssl.SSLContext | None = None  # offers STARTTLS
        self.expired: ssl.SSLContext | None = None  # for a fault to put into its place
        self.user: tuple[str, str] | None = None  # wants this sign-in
        self.places: int | None = None  # so many connections at once; whoever comes then is turned away
        self.turned_away = 0
        self._rules: list[Rule] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sink", daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- for the driver, from its own thread ---------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()
        self.open()

    def stop(self) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self) -> None:
        """On the port it had before, if any."""
        self._do(self._open())

    def shut(self) -> None:
        """Closes the port and cuts all conversations: whoever comes is refused."""
        self._do(self._shut())

    def on(
        self,
        phase: str,
        answer: Answer | None = None,
        *,
        times: int | None = 1,
        to: Callable[[str], bool] | None = None,
        before: Hook | None = None,
        after: Hook | None = None,
        skip: int = 0,
        struck: set[str] | None = None,
    ) -> Rule:
        """answer None: as usual. before and after: run around the reply, which waits for them. struck: collects the
        recipients of all hits."""
        rule = Rule(phase, answer, times, to, before, after, skip, set() if struck is None else struck)
        self._rules.append(rule)
        return rule

    def behave(self) -> None:
        """Forgets all rules, and how it was set up."""
        self.quieten()
        self.pipelining, self.context, self.user, self.places = False, None, None, None

    def quieten(self) -> None:
        """Forgets all rules: those that did not strike shall not strike later."""
        self._rules = []

    def forget(self) -> None:
        self.taken, self.recipients, self.heard, self.in_clear = Counter(), {}, Counter(), 0
        self.problems, self.turned_away = [], 0

    def cut(self) -> None:
        """Ends all conversations that are idle or under way; the port stays open."""
        self._do(self._cut())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    # ---- in its thread -------------------------------------------------------------------------------------

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=LIMIT, backlog=1000)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = Talk(writer.get_extra_info("peername")[1], reader, writer)
        try:
            if self.places is not None and len(self._tasks) > self.places:
                self.turned_away += 1
                await self._say(talk, "421 4.7.0 Too many concurrent SMTP connections; please try again later")
            elif await self._reply(talk, "greeting", "220 sink.example ESMTP"):
                while await self._command(talk):
                    pass
        except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            # a goodbye in TLS, or one in the midst of STARTTLS, may wait for ever for who says none
            with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
                talk.writer.close()
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await talk.writer.wait_closed()
            talk.writer.transport.abort()

    async def _command(self, talk: Talk) -> bool:
        """False: the conversation has ended."""
        line = (await talk.reader.readline()).decode("utf-8", "replace").rstrip("\r\n")
        word = line.split(" ")[0].upper()
        if word in ("", "QUIT"):
            return False
        if word == "STARTTLS":
            return await self._starttls(talk)
        if word == "AUTH":
            good = self.user is not None and talk.tls
            return await self._reply(talk, "auth", "235 2.7.0 Welcome" if good else "535 5.7.8 No")
        if word == "RCPT":
            talk.recipient = line[line.index("<") + 1 : line.index(">")]
        if word == "DATA":
            return await self._data(talk)
        usual = self._extensions(talk) if word == "EHLO" else "250 2.0.0 Ok"
        return await self._reply(talk, _PHASE.get(word, "other"), usual)

    def _extensions(self, talk: Talk) -> str:
        lines = ["sink.example", "8BITMIME", "SIZE 52428800", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
        lines += ["PIPELINING"] if self.pipelining else []
        lines += ["STARTTLS"] if self.context and not talk.tls else []
        lines += ["AUTH PLAIN"] if self.user and talk.tls else []
        return "\r\n".join(f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines)

    async def _starttls(self, talk: Talk) -> bool:
        context = self.context
        if context is None:
            return await self._reply(talk, "starttls", "502 5.5.1 Not offered")
        rule = self._find("starttls", talk)
        if rule is not None:
            return await self._answer(talk, rule, "220 2.0.0 Ready")
        await self._say(talk, "220 2.0.0 Ready")
        await talk.writer.start_tls(context)
        talk.tls = True
        return True

    async def _data(self, talk: Talk) -> bool:
        rule = self._find("data", talk)
        if rule is not None and (rule.answer is not None or rule.before or rule.after):
            if not await self._answer(talk, rule, "354 End with a dot"):
                return False
            if rule.answer is not None and not (rule.answer.usual or (rule.answer.text or "").startswith("354")):
                return True
        else:
            await self._say(talk, "354 End with a dot")
        content = await talk.reader.readuntil(b"\r\n.\r\n")
        found = _MESSAGE_ID.search(content)
        talk.key = found[1].decode() if found else ""
        return await self._reply(talk, "dot", "250 2.0.0 Ok: queued as S", letter=True)

    async def _reply(self, talk: Talk, phase: str, usual: str, letter: bool = False) -> bool:
        rule = self._find(phase, talk)
        if rule is None:
            if letter:
                self._take(talk)
            return await self._say(talk, usual)
        return await self._answer(talk, rule, usual, letter)

    async def _answer(self, talk: Talk, rule: Rule, usual: str, letter: bool = False) -> bool:
        try:
            answer = rule.answer or Answer(usual)
            if answer.usual:
                answer = replace(answer, text=usual)
            if answer.seconds:
                await asyncio.sleep(answer.seconds)
            if rule.before is not None:
                await self._run(rule.before, talk)
            good = answer.text is not None and answer.text.startswith("2")
            if letter and (good if answer.take is None else answer.take):
                self._take(talk)
            goes_on = await self._send(talk, answer)
            if rule.after is not None:
                await self._run(rule.after, talk)
            return goes_on
        finally:
            rule.talk = talk
            rule.done.set()

    async def _run(self, hook: Hook, talk: Talk) -> None:
        try:
            await asyncio.to_thread(hook, talk)
        except Exception as problem:
            self.problems.append(f"{type(problem).__name__}: {problem}")
            raise

    async def _send(self, talk: Talk, answer: Answer) -> bool:
        if answer.abort:
            talk.writer.transport.abort()
            return False
        if answer.raw is not None:
            talk.writer.write(answer.raw)
            await talk.writer.drain()
        elif answer.text is not None:
            await self._say(talk, answer.text)
        elif not answer.close:  # silence, until the client has had enough
            while await talk.reader.read(65_536):
                pass
            return False
        return not answer.close

    async def _say(self, talk: Talk, text: str) -> bool:
        talk.writer.write(text.encode() + b"\r\n")
        await talk.writer.drain()
        return True

    def _take(self, talk: Talk) -> None:
        self.taken[talk.key] += 1
        self.in_clear += not talk.tls
        self.recipients[talk.key] = talk.recipient

    def _find(self, phase: str, talk: Talk) -> Rule | None:
        self.heard[phase] += 1
        for rule in self._rules:
            if rule.phase != phase or (rule.to is not None and not rule.to(talk.recipient)):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            if rule.times is None or rule.hits < rule.times:
                rule.hits += 1
                rule.struck.add(talk.recipient)
                return rule
        return None
