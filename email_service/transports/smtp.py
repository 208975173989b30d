"""SMTP with kept connections: a pool of sessions for one route."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from email_service.compose import Letter
from email_service.outcome import Stopped, Verdict
from email_service.settings import MailRoomSettings, Route
from email_service.transports.session import LeaseLost, Session
from email_service.transports.talk import Talk

log = logging.getLogger("smtp")

SWEEP_SECONDS = 5


@dataclass(slots=True)
class Conversation:
    """What one attempt over a transport came to."""

    verdict: Verdict
    server: str
    route: str
    tls: str | None = None
    talk: Talk = field(default_factory=Talk)


class SmtpTransport:
    def __init__(self, settings: MailRoomSettings) -> None:
        self.route: Route = settings.route
        self._settings = settings
        self._context = None if self.route.tls == "none" else settings.tls_context()
        self._idle: list[Session] = []
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sweeper = asyncio.create_task(self._sweep(), name="smtp sweeper")

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait({self._sweeper})
        for session in self._idle:
            session.close()
        self._idle.clear()

    async def send(
        self, letter: Letter, claim: Callable[[], Awaitable[None]], still_ours: Callable[[], bool]
    ) -> Conversation:
        """Never raises for what a server does; what `claim` raises passes through. Raises LeaseLost."""
        talk = Talk()
        session = self._kept()
        if session is not None:
            talk.tls(f"(connection to {self.route.server} kept from the letter before)")
            conversation = await self._try(session, letter, claim, still_ours, talk)
            verdict = conversation.verdict
            # the server had hung up meanwhile: that says nothing about this letter
            if not (verdict.phase == "mail" and verdict.hung_up):
                return conversation
        session = Session(self.route, self._settings, self._context)
        try:
            await session.open(talk)
        except Stopped as stopped:
            return self._conversation(stopped.verdict, session, talk)
        return await self._try(session, letter, claim, still_ours, talk)

    async def probe(self) -> Verdict | None:
        """Connects, encrypts and signs in, without a letter: None if all is well."""
        session = Session(self.route, self._settings, self._context)
        try:
            await session.open(Talk())
        except Stopped as stopped:
            return stopped.verdict
        self._idle.append(session)
        return None

    async def _try(
        self,
        session: Session,
        letter: Letter,
        claim: Callable[[], Awaitable[None]],
        still_ours: Callable[[], bool],
        talk: Talk,
    ) -> Conversation:
        try:
            verdict = await session.send(letter, claim, still_ours, talk)
        except Stopped as stopped:
            if stopped.broken:
                session.abort() if stopped.verdict.code is None else session.close()
            else:
                self._keep(session)
            return self._conversation(stopped.verdict, session, talk)
        except (LeaseLost, asyncio.CancelledError):
            session.abort()
            raise
        except BaseException:
            self._keep(session)  # `claim` did not want to: the transaction is reset before the next letter
            raise
        self._keep(session)
        return self._conversation(verdict, session, talk)

    def _conversation(self, verdict: Verdict, session: Session, talk: Talk) -> Conversation:
        return Conversation(verdict, self.route.server, self.route.name, session.tls, talk)

    def _kept(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if session.usable:
                return session
            session.close()
        return None

    def _keep(self, session: Session) -> None:
        if session.usable:
            self._idle.append(session)
        else:
            session.close()

    async def _sweep(self) -> None:
        """Closes connections that nobody has used for a while: servers count them against us."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            oldest = time.monotonic() - self._settings.idle_seconds
            for session in [each for each in self._idle if each.used_at < oldest or not each.usable]:
                self._idle.remove(session)
                session.close()
