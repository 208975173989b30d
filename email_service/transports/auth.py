"""Signing in (RFC 4954): each mechanism that the server offers and we know, until one is taken.

A wrong password is tried once a mechanism: servers count. Which one was taken is remembered, so that the next
connection begins with it and does not collect the same refusals again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace

from aiosmtplib import SMTPException
from aiosmtplib.auth import auth_crammd5_verify, auth_login_encode, auth_plain_encode

from email_service.outcome import Stopped, of_reply
from email_service.settings import Route
from email_service.transports.dialogue import Dialogue, Reply, stop

CONTINUE, WELCOME = 334, 235
_OTHER_MECHANISM_NEEDED = 432  # section 4.7.12: a password transition, which PLAIN can do
_NOT_HERE = (421, 503)  # to a second try on one connection: it is the connection that has had enough
WRONG = 535

Say = Callable[..., Awaitable[Reply]]  # a line, and what the transcript shows instead


@dataclass
class Remembered:
    """For all connections of this process to one server.

    Until one has been let in they sign in one after another, and a refusal is shared by all that had begun before it:
    ten connections at once would otherwise try a wrong password ten times.
    """

    mechanism: str = ""  # that was taken last; empty: none yet, or not any more
    refusal: Stopped | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @contextlib.asynccontextmanager
    async def one_at_a_time(self, before: Stopped | None) -> AsyncIterator[None]:
        """before: `refusal` as it was when this connection began. Raises Stopped."""
        if self.mechanism:
            yield
            return
        async with self.turn:
            if self.refusal is not before and self.refusal is not None and not self.mechanism:
                raise Stopped(replace(self.refusal.verdict))
            yield

    def refused(self, stopped: Stopped) -> None:
        self.mechanism, self.refusal = "", stopped


class SignIn:
    """At one server, over as many connections as it takes."""

    def __init__(self, route: Route, remembered: Remembered, seconds: float) -> None:
        self._route, self._remembered, self._seconds = route, remembered, seconds
        # within TLS those first that every server can check; without it the one first that does not tell the password
        order = ("cram-md5", "plain", "login") if route.tls == "none" else ("plain", "login", "cram-md5")
        self._left = sorted(order, key=lambda each: each != remembered.mechanism)
        self._refusals: list[Stopped] = []

    async def over(self, dialogue: Dialogue, offered: Collection[str]) -> bool:
        """Whether we are signed in; False: the next mechanism needs another connection. Raises Stopped."""
        route = self._route
        _, secret = auth_login_encode(route.user, route.password)
        dialogue.secrets = (auth_plain_encode(route.user, route.password).decode(), secret.decode(), route.password)

        async def say(line: str, shown: str | None = None) -> Reply:
            return await dialogue.say("auth", line, self._seconds, shown)

        first = True
        while mechanism := self._next(offered):
            self._left.remove(mechanism)
            answer = await self._answer(mechanism, say)
            if isinstance(answer, Stopped):
                if not answer.verdict.hung_up:
                    self._refusals.append(answer)
                    break
            elif answer[0] == WELCOME:
                self._remembered.mechanism, dialogue.secrets = mechanism, ()
                return True
            if not first and _says_enough(answer):
                self._left.insert(0, mechanism)  # it has not been looked at
                return False
            if not self._refused(answer):
                break
            first = False
            if not dialogue.lines.is_open and self._next(offered):
                return False
        reason = "The mail server offers no way to sign in that we know."
        raise self.refusal or stop("auth", "closed", reason=reason, pause="auth")

    @property
    def refusal(self) -> Stopped | None:
        """What tells most of those so far: that the password is wrong says more than that a mechanism is not known."""
        return max(self._refusals, key=_how_telling, default=None)

    def _next(self, offered: Collection[str]) -> str | None:
        return next((each for each in self._left if each in offered), None)

    async def _answer(self, mechanism: str, say: Say) -> Reply | Stopped:
        try:
            code, text = await _MECHANISMS[mechanism](say, self._route.user, self._route.password)
            if code == CONTINUE:  # it wants something that this mechanism has not
                code, text = await say("*")
        except Stopped as stopped:
            return stopped
        return code, text

    def _refused(self, answer: Reply | Stopped) -> bool:
        """Whether another mechanism may mend it."""
        stopped = answer if isinstance(answer, Stopped) else Stopped(of_reply("auth", *answer))
        self._refusals.append(stopped)
        code = stopped.verdict.code
        return code is None or code >= 500 or code == _OTHER_MECHANISM_NEEDED


def _says_enough(answer: Reply | Stopped) -> bool:
    return isinstance(answer, Stopped) or answer[0] in _NOT_HERE


def _how_telling(refusal: Stopped) -> int:
    code = refusal.verdict.code
    return 0 if code is None else 2 if code == WRONG else 1


async def _plain(say: Say, user: str, password: str) -> Reply:
    """RFC 4616. In one step, and in two for servers that know no initial response or do not look at it."""
    secret = auth_plain_encode(user, password).decode()
    code, text = await say(f"AUTH PLAIN {secret}", "AUTH PLAIN ****")
    if code in (500, 501):  # it could not read the line, so the password has not been looked at
        code, text = await say("AUTH PLAIN")
    if code == CONTINUE:
        code, text = await say(secret, "****")
    return code, text


async def _login(say: Say, user: str, password: str) -> Reply:
    """In its two steps: a server that skips an initial response would be told the password as the name."""
    code, text = await say("AUTH LOGIN")
    for secret in auth_login_encode(user, password):
        if code == CONTINUE:
            code, text = await say(secret.decode(), "****")
    return code, text


async def _cram_md5(say: Say, user: str, password: str) -> Reply:
    """RFC 2195."""
    code, text = await say("AUTH CRAM-MD5")
    if code != CONTINUE:
        return code, text
    try:
        answer = auth_crammd5_verify(user, password, text).decode()
    except SMTPException:
        return await say("*")
    return await say(answer, "****")


_MECHANISMS: dict[str, Callable[[Say, str, str], Awaitable[Reply]]] = {
    "plain": _plain,
    "login": _login,
    "cram-md5": _cram_md5,
}
