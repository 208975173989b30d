"""Logs: one line an event, for people or for machines, and the file that says a process is up."""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from shared.settings import PosthasteSettings

_PLAIN = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in _PLAIN}


class _Text(logging.Formatter):
    converter = time.gmtime  # type: ignore[assignment]

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line + "".join(f" {key}={value}" for key, value in _extras(record).items())


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
