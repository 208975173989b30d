"""Messages over one connection, one transaction after another (RFC 5321, section 3.3).

Which command comes when, and what its failure means, is decided here, because the same failure means different
things before and after the final dot. docs/decisions/0006 says why the lines are our own and not aiosmtplib's.
"""

import re
import time
from collections.abc import Awaitable, Callable

from email_service.compose import Letter
from email_service.outcome import Stopped, Verdict, of_reply
from email_service.settings import MailRoomSettings
from email_service.transports.connection import Connection, Server
from email_service.transports.dialogue import stop
from email_service.transports.lines import Closed, NoReply
from email_service.transports.talk import Talk
from shared.contracts import OutcomeKind

WHOLE_LETTER_BYTES = 64 * 1024  # a larger one is written in pieces, so that we know whether its end has left
REST_SECONDS = 5  # for the other answers of a group in which one was a refusal
_SERVER_LIMIT = re.compile(r"\d+")


class LeaseLost(Exception):
    """We fell silent for so long that another worker may have taken over; nothing more may be sent."""


class Session:
    def __init__(self, server: Server, settings: MailRoomSettings) -> None:
        self._settings = settings
        self._connection = Connection(server, settings)
        self._opened_at = time.monotonic()
        self.mails = 0
        self.kept = False  # it lay unused since it was opened or since its last message
        self.must_reset = False  # the last transaction was left unfinished
        self.content_begun = False  # some of the message at hand has left: only its own reply may end it well
        self._content_due = False  # the server takes what comes for the message, until its dot
        self.used_at = self._opened_at

    @property
    def tls(self) -> str | None:
        return self._connection.tls

    @property
    def usable(self) -> bool:
        """Whether another letter may go over it: open, and not renewed yet by count or age."""
        settings, lines = self._settings, self._connection.dialogue.lines
        return (
            lines.is_open
            and lines.quiet
            and self.mails < settings.connection_mails
            and time.monotonic() - self._opened_at < settings.connection_seconds
        )

    async def open(self, talk: Talk) -> None:
        """Raises Stopped, closed."""
        await self._connection.open(talk)

    def close(self) -> None:
        """Says goodbye, unless it would be taken for a piece of the message."""
        self.abort() if self._content_due else self._connection.close()

    def abort(self) -> None:
        self._connection.abort()

    # ---- a letter ------------------------------------------------------------------------------------------

    async def send(
        self, letter: Letter, claim: Callable[[], Awaitable[None]], still_ours: Callable[[], bool], talk: Talk
    ) -> Verdict:
        """One transaction. `claim` is awaited before DATA leaves and may raise; raises Stopped or LeaseLost.

        After Stopped with broken=False, or an exception of `claim`, the session can be used again.
        """
        settings, dialogue = self._settings, self._connection.dialogue
        dialogue.talk = talk
        self.content_begun = False
        if self.must_reset:
            await self._reset()
        commands = self._mail_line(letter), f"RCPT TO:<{letter.recipient}>", "DATA"

        async def make_it_ours() -> None:
            await claim()
            if not still_ours():
                raise LeaseLost

        begin = self._pipelined if "pipelining" in self._connection.extensions else self._in_turn
        await begin(*commands, make_it_ours)
        self._content_due = True
        if not still_ours():
            raise LeaseLost
        await self._content(letter.content)
        self._content_due = False
        code, text = await dialogue.read("dot", settings.dot_seconds)
        verdict = of_reply("dot", code, text)
        if verdict.kind is not OutcomeKind.accepted:
            # a refusal of a large one may have come while its end was still on its way, and what the server makes of
            # that end then is its own affair
            clean = verdict.kind is not OutcomeKind.unknown and len(letter.content) <= WHOLE_LETTER_BYTES
            raise Stopped(verdict, broken=code == 421 or not clean)
        self.mails += 1
        self.must_reset = False
        self.used_at = time.monotonic()
        return verdict

    async def _reset(self) -> None:
        code, text = await self._connection.dialogue.say("rset", "RSET", self._settings.reset_seconds)
        if code != 250:
            raise Stopped(of_reply("rset", code, text))
        self.must_reset = False

    async def _in_turn(self, mail: str, rcpt: str, data: str, claim: Callable[[], Awaitable[None]]) -> None:
        """MAIL, RCPT and DATA, each after the answer to the one before; the letter may follow."""
        settings, say = self._settings, self._connection.dialogue.say
        code, text = await say("mail", mail, settings.command_seconds)
        if code != 250:
            raise _refused("mail", code, text)
        self.must_reset = True
        code, text = await say("rcpt", rcpt, settings.command_seconds)
        if not 250 <= code <= 252:
            raise _refused("rcpt", code, text)
        await claim()
        code, text = await say("data", data, settings.data_seconds)
        if code != 354:
            raise _refused("data", code, text)

    async def _pipelined(self, mail: str, rcpt: str, data: str, claim: Callable[[], Awaitable[None]]) -> None:
        """The same in one write (RFC 2920, section 3.1): one round trip instead of three."""
        settings, dialogue = self._settings, self._connection.dialogue
        await claim()
        dialogue.write(f"{mail}\r\n{rcpt}\r\n{data}")
        self.must_reset = True
        code, text = await dialogue.read("mail", settings.command_seconds)
        if code != 250:
            raise await self._after(_refused("mail", code, text), "rcpt", "data")
        code, text = await dialogue.read("rcpt", settings.command_seconds)
        if not 250 <= code <= 252:
            raise await self._after(_refused("rcpt", code, text), "data")
        code, text = await dialogue.read("data", settings.data_seconds)
        if code != 354:
            raise _refused("data", code, text)

    async def _after(self, refused: Stopped, *unread: str) -> Stopped:
        """Hears the other answers out for the connection's sake; what was refused is refused, whatever they are."""
        ends = time.monotonic() + REST_SECONDS
        for phase in () if refused.broken else unread:  # after 421 there may be none
            try:
                code, _ = await self._connection.dialogue.read(phase, max(0.0, ends - time.monotonic()))
            except Stopped:
                refused.broken = self._content_due = True
                break
            # it waits for a letter all the same: only the end of the connection tells it for sure that none comes
            self._content_due = phase == "data" and code == 354
            refused.broken = refused.broken or self._content_due or code == 421
        return refused

    def _mail_line(self, letter: Letter) -> str:
        """Raises Stopped for a letter that this server cannot take."""
        line, extensions = f"MAIL FROM:<{letter.sender}>", self._connection.extensions
        if "size" in extensions:
            limit = _SERVER_LIMIT.match(extensions["size"])
            if limit and 0 < int(limit[0]) < len(letter.content):
                reason = f"The letter is too big for their server ({len(letter.content):,} of {int(limit[0]):,} bytes)."
                raise Stopped(Verdict(OutcomeKind.failed, "mail", reason), broken=False)
            line += f" SIZE={len(letter.content)}"
        if letter.needs_utf8:
            if "smtputf8" not in extensions:
                reason = "The address has letters that the mail server cannot take (it does not know SMTPUTF8)."
                raise Stopped(Verdict(OutcomeKind.failed, "mail", reason), broken=False)
            line += " SMTPUTF8 BODY=8BITMIME" if "8bitmime" in extensions else " SMTPUTF8"
        return line

    async def _content(self, content: bytes) -> None:
        """Writes letter and dot; raises Stopped for phase "data" as long as the dot cannot have left.

        A reply that comes before the dot can only be a refusal: it is heard at once, and nothing more is written.
        """
        dialogue, seconds = self._connection.dialogue, self._settings.data_seconds
        lines, talk = dialogue.lines, dialogue.talk
        talk.us(f"(the letter, {len(content):,} bytes)")
        self.content_begun = True
        try:
            written, view = 0, memoryview(content)
            while len(content) - written > WHOLE_LETTER_BYTES and not lines.has_reply:
                lines.write(bytes(view[written : written + WHOLE_LETTER_BYTES]))
                written += WHOLE_LETTER_BYTES
                await lines.drain(seconds)
            if not lines.has_reply:
                lines.write(content[written:] + b".\r\n")
                talk.us(".")
                return
        except NoReply:
            if not lines.has_reply:
                raise stop("data", "timeout") from None
        except (Closed, OSError):
            if not lines.has_reply:
                raise stop("data", "closed") from None
        talk.us(f"(broken off after {written:,} bytes)")
        raise Stopped(of_reply("data", *await dialogue.read("data", 0)))


def _refused(phase: str, code: int, text: str) -> Stopped:
    return Stopped(of_reply(phase, code, text), broken=code == 421 or not 400 <= code < 600)
