"""Logs: one line an event, for people or for machines, and the file that says a process is up."""

import asyncio
import contextlib
import json
import logging
import os
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.settings import PosthasteSettings

_PLAIN = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in _PLAIN}


# what a terminal obeys (ECMA-48), what turns the direction of writing, what some program takes for the end of a line
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def harmless(text: str) -> str:
    """Text of others for a log that people read in a terminal: \\x1b instead of the sign itself."""
    return _OBEYED.sub(lambda sign: ascii(sign[0])[1:-1], text)


def _one_line(text: str) -> str:
    """Nobody writes a line of the log but us."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


class _Text(logging.Formatter):
    converter = time.gmtime  # type: ignore[assignment]

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return harmless(line + "".join(f" {key}={_one_line(str(value))}" for key, value in _extras(record).items()))

    def formatMessage(self, record: logging.LogRecord) -> str:  # the name is logging's
        """The event alone, without a traceback, is one line."""
        return _one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """Further in than any event, whatever line breaks an exception's own words have."""
        return "  " + super().formatException(ei).replace("\n", "\n  ")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "event": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


def set_up_logging(settings: PosthasteSettings) -> None:
    """Everything goes to standard error; log details as `extra={...}`, never secrets or letters."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Json()
        if settings.log_format == "json"
        else _Text("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("pika").setLevel(
        logging.CRITICAL
    )  # it logs every lost connection as an error; shared.amqp says it once
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd


def mark_ready(settings: PosthasteSettings, name: str) -> Path:
    """Writes <data dir>/ready/<name>; the process removes it when it ends."""
    path = settings.data_dir / "ready" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(datetime.now(UTC)))
    return path


SIGN_OF_LIFE_SECONDS = 0.5


async def give_signs_of_life(marker: Path) -> None:
    """Whoever watches the process looks at the marker's time: it stands still if the process does."""
    while True:
        with contextlib.suppress(OSError):
            os.utime(marker)
        await asyncio.sleep(SIGN_OF_LIFE_SECONDS)
