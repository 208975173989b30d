"""One SMTP connection: greeting, EHLO, STARTTLS, AUTH, then one transaction after another (RFC 5321).

Which command comes when, and what its failure means, is decided here, because the same failure means different
things before and after the final dot. docs/decisions/0006 says why the lines are our own and not aiosmtplib's.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiosmtplib import SMTPException
from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode
from aiosmtplib.esmtp import parse_esmtp_extensions

from email_service.compose import Letter
from email_service.outcome import Stopped, Verdict, of_break, of_reply
from email_service.settings import MailRoomSettings, Route
from email_service.transports.lines import Closed, Garbage, Lines, NoReply
from email_service.transports.talk import Talk
from shared.contracts import OutcomeKind

WHOLE_LETTER_BYTES = 64 * 1024  # a larger one is written in pieces, so that we know whether its end has left
_SERVER_LIMIT = re.compile(r"\d+")


class LeaseLost(Exception):
    """We fell silent for so long that another worker may have taken over; nothing more may be sent."""


def _stop(phase: str, what: str, **changes: Any) -> Stopped:
    verdict = of_break(phase, what)
    for name, value in changes.items():
        setattr(verdict, name, value)
    return Stopped(verdict)


class Session:
    def __init__(self, route: Route, settings: MailRoomSettings, context: ssl.SSLContext | None) -> None:
        self._route, self._settings, self._context = route, settings, context
        self._lines = Lines()
        self._extensions: dict[str, str] = {}
        self._auth_methods: list[str] = []
        self._opened_at = time.monotonic()
        self.tls: str | None = None
        self.mails = 0
        self.must_reset = False  # the last transaction was left unfinished
        self.used_at = self._opened_at

    @property
    def usable(self) -> bool:
        """Whether another letter may go over it: open, and not renewed yet by count or age."""
        settings = self._settings
        return (
            self._lines.is_open
            and self._lines.quiet
            and self.mails < settings.connection_mails
            and time.monotonic() - self._opened_at < settings.connection_seconds
        )

    # ---- opening -------------------------------------------------------------------------------------------

    async def open(self, talk: Talk) -> None:
        """Connected, encrypted as the route wants it, and signed in; else raises Stopped, closed."""
        try:
            await self._connect(talk)
            await self._greeting(talk)
            await self._ehlo(talk)
            if self._route.tls == "starttls":
                await self._starttls(talk)
                await self._ehlo(talk)
            if self._route.user:
                await self._sign_in(talk)
        except BaseException:
            self.close()
            raise

    async def _connect(self, talk: Talk) -> None:
        route, seconds = self._route, self._settings.connect_seconds
        loop = asyncio.get_running_loop()
        implicit = self._context if route.tls == "implicit" else None
        try:
            async with asyncio.timeout(seconds):
                await loop.create_connection(
                    lambda: self._lines,
                    route.host,
                    route.port,
                    ssl=implicit,
                    server_hostname=route.host if implicit else None,
                )
        except TimeoutError:
            raise _stop("connect", "timeout", reason="The mail server could not be reached in time.") from None
        except ssl.SSLError as problem:
            raise self._tls_failed(problem) from None
        except socket.gaierror:
            raise _stop("connect", "closed", reason="The mail server's name is not known (DNS).") from None
        except ConnectionRefusedError:
            reason = "The mail server could not be reached: nobody listens there."
            raise _stop("connect", "closed", reason=reason) from None
        except OSError as problem:
            reason = f"The mail server could not be reached ({problem.strerror or 'network error'})."
            raise _stop("connect", "closed", reason=reason) from None
        talk.us(f"(connected to {route.server})")
        if implicit:
            self._encrypted(talk)

    async def _greeting(self, talk: Talk) -> None:
        code, text = await self._read("greeting", talk, self._settings.greeting_seconds)
        if code != 220:
            raise Stopped(of_reply("greeting", code, text))

    async def _ehlo(self, talk: Talk) -> None:
        seconds = self._settings.greeting_seconds
        code, text = await self._say("ehlo", f"EHLO {self._settings.helo}", talk, seconds)
        if code == 250:
            self._extensions, self._auth_methods = parse_esmtp_extensions(text)
            return
        if code in (500, 502):  # a server from before 1995
            code, text = await self._say("ehlo", f"HELO {self._settings.helo}", talk, seconds)
        if code != 250:
            raise Stopped(of_reply("ehlo", code, text))
        self._extensions, self._auth_methods = {}, []

    async def _starttls(self, talk: Talk) -> None:
        if "starttls" not in self._extensions:
            reason = "The mail server offers no encryption (STARTTLS). Nothing was sent."
            raise _stop("tls", "closed", reason=reason, pause="tls")
        seconds = self._settings.connect_seconds
        try:
            code, text = await self._say("tls", "STARTTLS", talk, seconds)
        except Stopped as stopped:
            stopped.verdict.pause = "tls"
            raise
        if code != 220:
            raise Stopped(of_reply("tls", code, text))
        assert self._context is not None
        try:
            await self._lines.start_tls(self._context, self._route.host, seconds)
        except ssl.SSLError as problem:
            raise self._tls_failed(problem) from None
        except Garbage:
            reason = "Somebody spoke into the connection before it was encrypted. Nothing was sent."
            raise _stop("tls", "garbage", reason=reason, pause="tls") from None
        except (TimeoutError, OSError) as problem:
            what = "timeout" if isinstance(problem, TimeoutError) else "closed"
            reason = "The connection broke while it was being encrypted."
            raise _stop("tls", what, reason=reason, pause="tls") from None
        self._encrypted(talk)

    def _encrypted(self, talk: Talk) -> None:
        assert self._lines.transport is not None
        connection = self._lines.transport.get_extra_info("ssl_object")
        cipher = connection.cipher()
        self.tls = f"{connection.version()} {cipher[0] if cipher else ''}".strip()
        talk.tls(f"{self.tls}, certificate of {self._route.host} checked")

    def _tls_failed(self, problem: ssl.SSLError) -> Stopped:
        if isinstance(problem, ssl.SSLCertVerificationError):
            reason = f"The mail server's certificate is not good ({problem.verify_message}). Nothing was sent."
        else:
            reason = f"The connection could not be encrypted ({problem.reason or 'TLS error'}). Nothing was sent."
        return _stop("tls", "closed", reason=reason, pause="tls")

    async def _sign_in(self, talk: Talk) -> None:
        user, password = self._route.user, self._route.password
        seconds = self._settings.greeting_seconds
        encrypted = self._route.tls != "none"
        wanted = ("plain", "login", "cram-md5") if encrypted else ("cram-md5", "plain", "login")
        method = next((each for each in wanted if each in self._auth_methods), None)
        if method == "plain":
            secret = auth_plain_encode(user, password).decode()
            code, text = await self._say("auth", f"AUTH PLAIN {secret}", talk, seconds, "AUTH PLAIN ****")
        elif method == "login":
            name, secret_bytes = auth_login_encode(user, password)
            code, text = await self._say("auth", f"AUTH LOGIN {name.decode()}", talk, seconds, "AUTH LOGIN ****")
            if code == 334:
                code, text = await self._say("auth", secret_bytes.decode(), talk, seconds, "****")
        elif method == "cram-md5":
            code, text = await self._say("auth", "AUTH CRAM-MD5", talk, seconds)
            if code == 334:
                try:
                    answer = auth_crammd5_verify(user, password, text).decode()
                except SMTPException:
                    raise _stop("auth", "garbage") from None
                code, text = await self._say("auth", answer, talk, seconds, "****")
        else:
            reason = "The mail server offers no way to sign in that we know."
            raise _stop("auth", "closed", reason=reason, pause="auth")
        if code != 235:
            raise Stopped(of_reply("auth", code, text))

    # ---- a letter ------------------------------------------------------------------------------------------

    async def send(
        self, letter: Letter, claim: Callable[[], Awaitable[None]], still_ours: Callable[[], bool], talk: Talk
    ) -> Verdict:
        """One transaction. `claim` is awaited before DATA leaves and may raise; raises Stopped or LeaseLost.

        After Stopped with broken=False, or an exception of `claim`, the session can be used again.
        """
        settings = self._settings
        if self.must_reset:
            code, text = await self._say("mail", "RSET", talk, settings.reset_seconds)
            if code != 250:
                raise Stopped(of_reply("mail", code, text))
            self.must_reset = False
        commands = self._mail_line(letter), f"RCPT TO:<{letter.recipient}>", "DATA"

        async def make_it_ours() -> None:
            await claim()
            if not still_ours():
                raise LeaseLost

        begin = self._pipelined if "pipelining" in self._extensions else self._in_turn
        await begin(*commands, talk, make_it_ours)
        if not still_ours():
            raise LeaseLost
        await self._content(letter.content, talk)
        code, text = await self._read("dot", talk, settings.dot_seconds)
        verdict = of_reply("dot", code, text)
        if verdict.kind is not OutcomeKind.accepted:
            raise Stopped(verdict, broken=code == 421 or verdict.kind is OutcomeKind.unknown)
        self.mails += 1
        self.must_reset = False
        self.used_at = time.monotonic()
        return verdict

    async def _in_turn(self, mail: str, rcpt: str, data: str, talk: Talk, claim: Callable[[], Awaitable[None]]) -> None:
        """MAIL, RCPT and DATA, each after the answer to the one before; the letter may follow."""
        settings = self._settings
        code, text = await self._say("mail", mail, talk, settings.command_seconds)
        if code != 250:
            raise self._refused("mail", code, text)
        self.must_reset = True
        code, text = await self._say("rcpt", rcpt, talk, settings.command_seconds)
        if not 250 <= code <= 252:
            raise self._refused("rcpt", code, text)
        await claim()
        code, text = await self._say("data", data, talk, settings.data_seconds)
        if code != 354:
            raise self._refused("data", code, text)

    async def _pipelined(
        self, mail: str, rcpt: str, data: str, talk: Talk, claim: Callable[[], Awaitable[None]]
    ) -> None:
        """The same in one write (RFC 2920, section 3.1): one round trip instead of three."""
        settings = self._settings
        await claim()
        self._write("mail", f"{mail}\r\n{rcpt}\r\n{data}", talk)
        self.must_reset = True
        mail_answer = await self._read("mail", talk, settings.command_seconds)
        if mail_answer[0] == 421:  # it closes; there may be no further answer
            raise self._refused("mail", *mail_answer)
        rcpt_answer = await self._read("rcpt", talk, settings.command_seconds)
        if mail_answer[0] == 250 and rcpt_answer[0] == 421:
            raise self._refused("rcpt", *rcpt_answer)
        code, text = await self._read("data", talk, settings.data_seconds)
        refused: Stopped | None = None
        if mail_answer[0] != 250:
            refused = self._refused("mail", *mail_answer)
        elif not 250 <= rcpt_answer[0] <= 252:
            refused = self._refused("rcpt", *rcpt_answer)
        if refused is not None:
            # it waits for a letter all the same: only the end of the connection tells it for sure that none comes
            refused.broken = refused.broken or code == 354
            raise refused
        if code != 354:
            raise self._refused("data", code, text)

    def _mail_line(self, letter: Letter) -> str:
        """Raises Stopped for a letter that this server cannot take."""
        line = f"MAIL FROM:<{letter.sender}>"
        if "size" in self._extensions:
            limit = _SERVER_LIMIT.match(self._extensions["size"])
            if limit and 0 < int(limit[0]) < len(letter.content):
                reason = f"The letter is too big for their server ({len(letter.content):,} of {int(limit[0]):,} bytes)."
                raise Stopped(Verdict(OutcomeKind.failed, "mail", reason), broken=False)
            line += f" SIZE={len(letter.content)}"
        if letter.needs_utf8:
            if "smtputf8" not in self._extensions:
                reason = "The address has letters that the mail server cannot take (it does not know SMTPUTF8)."
                raise Stopped(Verdict(OutcomeKind.failed, "mail", reason), broken=False)
            line += " SMTPUTF8 BODY=8BITMIME" if "8bitmime" in self._extensions else " SMTPUTF8"
        return line

    async def _content(self, content: bytes, talk: Talk) -> None:
        """Writes letter and dot; raises Stopped for phase "data" as long as the dot cannot have left."""
        talk.us(f"(the letter, {len(content):,} bytes)")
        try:
            written, view = 0, memoryview(content)
            while len(content) - written > WHOLE_LETTER_BYTES:
                self._lines.write(bytes(view[written : written + WHOLE_LETTER_BYTES]))
                written += WHOLE_LETTER_BYTES
                async with asyncio.timeout(self._settings.data_seconds):
                    await self._lines.drain()
            self._lines.write(content[written:] + b".\r\n")
        except TimeoutError:
            raise _stop("data", "timeout") from None
        except (Closed, OSError):
            raise _stop("data", "closed") from None
        talk.us(".")

    def _refused(self, phase: str, code: int, text: str) -> Stopped:
        return Stopped(of_reply(phase, code, text), broken=code == 421 or not 200 <= code < 600)

    # ---- lines ---------------------------------------------------------------------------------------------

    async def _say(
        self, phase: str, line: str, talk: Talk, seconds: float, shown: str | None = None
    ) -> tuple[int, str]:
        self._write(phase, line, talk, shown)
        return await self._read(phase, talk, seconds)

    def _write(self, phase: str, lines: str, talk: Talk, shown: str | None = None) -> None:
        for line in (lines if shown is None else shown).split("\r\n"):
            talk.us(line)
        try:
            self._lines.write(lines.encode() + b"\r\n")
        except (Closed, OSError):
            talk.them(0, "(connection closed)")
            raise _stop(phase, "closed") from None

    async def _read(self, phase: str, talk: Talk, seconds: float) -> tuple[int, str]:
        try:
            code, text = await self._lines.reply(seconds)
        except NoReply:
            talk.them(0, "(no answer)")
            raise _stop(phase, "timeout") from None
        except Garbage as problem:
            talk.them(0, f"(no SMTP reply: {problem})")
            raise _stop(phase, "garbage") from None
        except (Closed, OSError):
            talk.them(0, "(connection closed)")
            raise _stop(phase, "closed") from None
        talk.them(code, text)
        return code, text

    # ---- end -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Says goodbye and does not wait for the answer."""
        if (transport := self._lines.transport) is None:
            return
        if self._lines.is_open:
            transport.write(b"QUIT\r\n")
        transport.close()

    def abort(self) -> None:
        """Cuts the line, so that nothing that is still in a buffer can arrive."""
        if self._lines.transport is not None:
            self._lines.transport.abort()
