"""SMTP with kept connections: a pool of sessions for one route."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from email_service.compose import Letter
from email_service.outcome import Stopped, Verdict, of_connection
from email_service.settings import MailRoomSettings, Route
from email_service.transports.addresses import Addresses, Resolve, resolve
from email_service.transports.connection import Server
from email_service.transports.places import NoPlace, Places, is_crowded
from email_service.transports.session import LeaseLost, Session
from email_service.transports.talk import Talk
from shared.fields import without
from shared.tasks import run_forever

log = logging.getLogger("smtp")

SWEEP_SECONDS = 1


@dataclass(slots=True)
class Conversation:
    """What one attempt over a transport came to."""

    verdict: Verdict
    server: str
    route: str
    tls: str | None = None
    talk: Talk = field(default_factory=Talk)

    def hide(self, words: list[str]) -> None:
        """Servers quote what they do not like, such as a link in the message, and others read their replies."""
        if words:
            verdict, self.talk.hidden = self.verdict, words
            verdict.reply = verdict.reply and without(words, verdict.reply)
            verdict.queue_id = verdict.queue_id and without(words, verdict.queue_id)


class SmtpTransport:
    def __init__(self, settings: MailRoomSettings, resolve: Resolve = resolve) -> None:
        self.route: Route = settings.route
        self._settings = settings
        self._server = _server(settings, resolve)
        self._idle: list[Session] = []
        self._places = Places(settings.data_dir / "ready" / "connections-wanted")
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sweeper = run_forever(self._sweep(), "smtp sweeper")

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait({self._sweeper})
        self._forget()

    async def send(
        self, letter: Letter, claim: Callable[[], Awaitable[None]], still_ours: Callable[[], bool]
    ) -> Conversation:
        """Raises LeaseLost, and NoPlace before anything was claimed; what `claim` raises passes through."""
        talk = Talk()
        kept = self._kept()
        if kept is not None:
            talk.tls(f"(connection to {self.route.server} kept from the letter before)")
            if (conversation := await self._over(kept, letter, claim, still_ours, talk)) is not None:
                return conversation
            talk.tls("(that says nothing about this message: over another connection)")
        session = self._new()
        try:
            with self._places.opening():
                await session.open(talk)
        except Stopped as stopped:
            free = await self._instead(stopped.verdict, first_try=kept is None)
            done = None if free is None else await self._over(free, letter, claim, still_ours, talk)
            return done or self._conversation(stopped.verdict, session, talk)
        conversation = await self._over(session, letter, claim, still_ours, talk)
        assert conversation is not None
        return conversation

    async def _instead(self, verdict: Verdict, first_try: bool) -> Session | None:
        """After a connection that could not be opened: one that has become free meanwhile. Raises NoPlace."""
        if not verdict.unreachable:
            return None
        await self._places.settled()
        standing = self._places.talking
        if not (standing or self._idle or is_crowded(verdict)):
            return None
        self._places.found_none()
        if (free := self._kept()) is not None:
            return free
        if first_try and (standing or is_crowded(verdict)):
            raise NoPlace(verdict, standing)
        verdict.unreachable = not standing  # it serves others of ours, so it is not away
        return None

    async def probe(self) -> Verdict | None:
        """Connects, encrypts and signs in, without a message: None if all is well. The next message goes over it."""
        session = self._new()
        try:
            await session.open(Talk())
        except Stopped as stopped:
            return stopped.verdict
        self._idle.append(session)
        return None

    async def _over(
        self,
        session: Session,
        letter: Letter,
        claim: Callable[[], Awaitable[None]],
        still_ours: Callable[[], bool],
        talk: Talk,
    ) -> Conversation | None:
        """None: it was kept, and its end tells of itself alone. A new one is never asked a second time."""
        self._places.talking += 1
        try:
            verdict = await session.send(letter, claim, still_ours, talk)
        except Stopped as stopped:
            worn = session.kept and not session.content_begun and of_connection(stopped.verdict)
            if not stopped.broken and not worn:
                self._keep(session)
            elif stopped.verdict.code is None:
                session.abort()
            else:
                session.close()
            if worn and stopped.verdict.code is None and not stopped.verdict.hung_up:
                self._forget()  # silence: something on the way has dropped it, and perhaps the others with it
            return None if worn else self._conversation(stopped.verdict, session, talk)
        except (LeaseLost, asyncio.CancelledError):
            session.abort()
            raise
        except BaseException:
            self._keep(session)  # `claim` did not want to: the transaction is reset before the next letter
            raise
        finally:
            self._places.talking -= 1
        self._keep(session)
        return self._conversation(verdict, session, talk)

    def _new(self) -> Session:
        return Session(self._server, self._settings)

    def _conversation(self, verdict: Verdict, session: Session, talk: Talk) -> Conversation:
        return Conversation(verdict, self.route.server, self.route.name, session.tls, talk)

    def _kept(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if session.usable:
                session.kept = True
                return session
            session.close()
        return None

    def _keep(self, session: Session) -> None:
        if session.usable:
            self._idle.append(session)
        else:
            session.close()

    def _forget(self) -> None:
        for session in self._idle:
            session.close()
        self._idle.clear()

    async def _sweep(self) -> None:
        """Closes connections that nobody has used for a while: servers count them against us."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            oldest = time.monotonic() - self._places.idle_seconds(self._settings.idle_seconds)
            for session in [each for each in self._idle if each.used_at < oldest or not each.usable]:
                self._idle.remove(session)
                session.close()


def _server(settings: MailRoomSettings, resolve: Resolve) -> Server:
    route = settings.route
    context = None if route.tls == "none" else settings.tls_context()
    if context is not None:
        context.options |= ssl.OP_NO_RENEGOTIATION  # it could ask us to read before we may write
    return Server(route, context, Addresses(route.host, route.port, resolve))
