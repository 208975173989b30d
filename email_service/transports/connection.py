"""From a server's name to a connection that takes messages: address, greeting, EHLO, STARTTLS, AUTH (RFC 5321)."""

import asyncio
import ssl
import time
from dataclasses import dataclass, field

from aiosmtplib.esmtp import parse_esmtp_extensions

from email_service.outcome import Stopped, of_reply
from email_service.settings import MailRoomSettings, Route
from email_service.transports.addresses import Addresses
from email_service.transports.auth import Remembered, SignIn
from email_service.transports.dialogue import Dialogue, stop
from email_service.transports.lines import Garbage, Lines
from email_service.transports.talk import Talk


@dataclass
class Server:
    """A route's server, and what this process has learned about it."""

    route: Route
    context: ssl.SSLContext | None  # None: without TLS
    addresses: Addresses
    sign_in: Remembered = field(default_factory=Remembered)


class Connection:
    def __init__(self, server: Server, settings: MailRoomSettings) -> None:
        self._server, self._route, self._settings = server, server.route, settings
        self.dialogue: Dialogue
        self.extensions: dict[str, str] = {}
        self._auth_methods: list[str] = []
        self.tls: str | None = None

    @property
    def is_open(self) -> bool:
        return self.dialogue.lines.is_open

    async def open(self, talk: Talk) -> None:
        """Connected, encrypted as the route wants it, and signed in; else raises Stopped, closed."""
        self.dialogue = Dialogue(Lines(), talk)
        refusal_before = self._server.sign_in.refusal
        try:
            await self._introduced()
            if self._route.user:
                async with self._server.sign_in.one_at_a_time(refusal_before):
                    await self._sign_in()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Says goodbye and does not wait for the answer."""
        self.dialogue.lines.close(b"QUIT\r\n")

    def abort(self) -> None:
        """Cuts the line, so that nothing that is still in a buffer can arrive."""
        self.dialogue.lines.abort()

    async def _introduced(self) -> None:
        """Everything before AUTH."""
        await self._reach()
        await self._ehlo()
        if self._route.tls == "starttls":
            await self._starttls()
            await self._ehlo()

    async def _sign_in(self) -> None:
        """Over this connection, or over another one where the next mechanism needs it."""
        remembered = self._server.sign_in
        sign_in = SignIn(self._route, remembered, self._settings.greeting_seconds)
        try:
            while not await sign_in.over(self.dialogue, self._auth_methods):
                self.close()
                await self._introduced()
        except Stopped as stopped:
            refusal = sign_in.refusal or stopped
            remembered.refused(refusal)
            raise refusal from None

    # ---- the address ---------------------------------------------------------------------------------------

    async def _reach(self) -> None:
        """Greeted by the first address that does so; each has its share of the time that is left."""
        settings, addresses = self._settings, self._server.addresses
        connecting, greeting = settings.connect_seconds, settings.greeting_seconds  # what is left of them
        began = time.monotonic()
        found = await self._look_up()
        connecting -= time.monotonic() - began
        failures: list[Stopped] = []
        for address, turns in zip(found, range(len(found), 0, -1), strict=True):
            began = time.monotonic()
            try:
                await self._connect(address, connecting / turns)
                connecting -= time.monotonic() - began
                began = time.monotonic()
                await self._greeting(greeting / turns)
            except Stopped as stopped:
                if stopped.verdict.pause:  # encryption that fails is a matter for a person
                    raise
                if stopped.verdict.code is None:
                    addresses.avoid(address)
                failures.append(stopped)
            else:
                addresses.trust(address)
                return
            if failures[-1].verdict.phase == "connect":
                connecting -= time.monotonic() - began
            else:
                greeting -= time.monotonic() - began
            self.close()
            self.dialogue.talk.us(f"({address}: {failures[-1].verdict.reason})")
        # what a server said itself tells more than that another one was silent
        raise max(reversed(failures), key=lambda each: each.verdict.code is not None)

    async def _look_up(self) -> list[str]:
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                return await self._server.addresses.in_turn()
        except TimeoutError:
            raise stop("connect", "timeout", reason="The mail server's name was not found in time (DNS).") from None
        except (OSError, UnicodeError):
            raise stop("connect", "closed", reason="The mail server's name is not known (DNS).") from None

    async def _connect(self, address: str, seconds: float) -> None:
        route, talk = self._route, self.dialogue.talk
        self.dialogue = Dialogue(lines := Lines(), talk)
        ends = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().create_connection(lambda: lines, address, route.port)
        except TimeoutError:
            raise stop("connect", "timeout", reason="The mail server could not be reached in time.") from None
        except ConnectionRefusedError:
            reason = "The mail server could not be reached: nobody listens there."
            raise stop("connect", "closed", reason=reason) from None
        except OSError as problem:
            reason = f"The mail server could not be reached ({problem.strerror or 'network error'})."
            raise stop("connect", "closed", reason=reason) from None
        talk.us(f"(connected to {route.server}{'' if address == route.host else f' at {address}'})")
        if route.tls == "implicit":
            await self._encrypt("connect", max(0.0, ends - time.monotonic()))

    async def _greeting(self, seconds: float) -> None:
        code, text = await self.dialogue.read("greeting", seconds)
        if code != 220:
            raise Stopped(of_reply("greeting", code, text))

    # ---- introductions -------------------------------------------------------------------------------------

    async def _ehlo(self) -> None:
        name, seconds = self._settings.helo, self._settings.greeting_seconds
        code, text = await self.dialogue.say("ehlo", f"EHLO {name}", seconds)
        if code == 250:
            self.extensions, self._auth_methods = parse_esmtp_extensions(text)
            return
        refused = Stopped(of_reply("ehlo", code, text))
        if code not in (500, 502):
            raise refused
        try:  # a server from before 1995
            code, text = await self.dialogue.say("ehlo", f"HELO {name}", seconds)
        except Stopped:
            raise refused from None
        if code != 250:
            raise Stopped(of_reply("ehlo", code, text))
        self.extensions, self._auth_methods = {}, []

    async def _starttls(self) -> None:
        if "starttls" not in self.extensions:
            reason = "The mail server offers no encryption (STARTTLS). Nothing was sent."
            raise stop("tls", "closed", reason=reason, pause="tls")
        seconds = self._settings.connect_seconds
        try:
            code, text = await self.dialogue.say("tls", "STARTTLS", seconds)
        except Stopped as stopped:
            stopped.verdict.pause = "tls"
            raise
        if code != 220:
            raise Stopped(of_reply("tls", code, text))
        await self._encrypt("tls", seconds, pause="tls")

    async def _encrypt(self, phase: str, seconds: float, pause: str | None = None) -> None:
        """phase and pause: of a connection that breaks meanwhile; a bad certificate always rests the route."""
        assert self._server.context is not None
        lines = self.dialogue.lines
        try:
            await lines.start_tls(self._server.context, self._route.host, seconds)
        except ssl.SSLError as problem:
            raise _tls_failed(problem) from None
        except Garbage:
            reason = "Somebody spoke into the connection before it was encrypted. Nothing was sent."
            raise stop("tls", "garbage", reason=reason, pause="tls") from None
        except (TimeoutError, OSError) as problem:
            what = "timeout" if isinstance(problem, TimeoutError) else "closed"
            reason = "The connection broke while it was being encrypted."
            raise stop(phase, what, reason=reason, pause=pause) from None
        self.tls = str(lines.tls)
        self.dialogue.talk.tls(f"{self.tls}, certificate of {self._route.host} checked")


def _tls_failed(problem: ssl.SSLError) -> Stopped:
    if isinstance(problem, ssl.SSLCertVerificationError):
        reason = f"The mail server's certificate is not good ({problem.verify_message}). Nothing was sent."
    else:
        reason = f"The connection could not be encrypted ({problem.reason or 'TLS error'}). Nothing was sent."
    return stop("tls", "closed", reason=reason, pause="tls")
