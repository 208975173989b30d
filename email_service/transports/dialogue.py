"""Commands and replies over one connection: written down as they come, and breaks turned into verdicts."""

import contextlib
from typing import Any

from email_service.outcome import Stopped, of_break
from email_service.transports.lines import Closed, Garbage, Lines, NoReply
from email_service.transports.talk import Talk

Reply = tuple[int, str]  # code and text


def stop(phase: str, what: str, **changes: Any) -> Stopped:
    """what: as in outcome.of_break. changes: to members of the verdict."""
    verdict = of_break(phase, what)
    for name, value in changes.items():
        setattr(verdict, name, value)
    return Stopped(verdict)


class Dialogue:
    """talk: what is being written down at the moment; another one for each attempt."""

    def __init__(self, lines: Lines, talk: Talk) -> None:
        self.lines, self.talk = lines, talk
        self.secrets: tuple[str, ...] = ()  # what a server must not repeat into the transcript

    async def say(self, phase: str, line: str, seconds: float, shown: str | None = None) -> Reply:
        """shown: what the transcript says instead. Raises Stopped."""
        self.write(line, shown)
        return await self.read(phase, seconds)

    def write(self, lines: str, shown: str | None = None) -> None:
        """That it cannot be written any more shows when its reply is read, and there may be one from before the end."""
        for line in (lines if shown is None else shown).split("\r\n"):
            self.talk.us(line)
        with contextlib.suppress(Closed, OSError):
            self.lines.write(lines.encode() + b"\r\n")

    async def read(self, phase: str, seconds: float) -> Reply:
        """Raises Stopped."""
        try:
            code, text = await self.lines.reply(seconds)
        except NoReply:
            self.talk.them(0, "(no answer)")
            raise stop(phase, "timeout") from None
        except Garbage as problem:
            self.talk.them(0, f"(no SMTP reply: {problem})")
            raise stop(phase, "garbage") from None
        except (Closed, OSError):
            self.talk.them(0, "(connection closed)")
            raise stop(phase, "closed") from None
        told = self._masked(text)
        self.talk.them(code, told)
        return code, text if code < 400 else told  # a challenge has to stay what it is

    def _masked(self, text: str) -> str:
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "****")
        return text
