"""Commands and settings for the mail room's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from email_service.settings import MailRoomSettings
from shared.contracts import Mailbox, SendCommand
from shared.ids import new_id
from shared.lanes import Lane

# waits a test may not sit through; the order between them is the product's
SHORT: dict[str, Any] = {
    "connect_seconds": 5,
    "greeting_seconds": 5,
    "command_seconds": 5,
    "data_seconds": 5,
    "dot_seconds": 5,
    "reset_seconds": 5,
    "lease_seconds": 60,
    "retry_scale": 0.005,
}


def settings(data_dir: Path, port: int = 1, **changes: Any) -> MailRoomSettings:
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "smtp_url": SecretStr(f"smtp://127.0.0.1:{port}?tls=none"),
        "helo_name": "room.example",
        "room": "north",
        "workers": 1,
        **SHORT,
    }
    return MailRoomSettings(**(values | changes))


def command(to: str | Mailbox = "ida@example.com", **changes: Any) -> SendCommand:
    now = datetime.now(UTC)
    delivery = new_id()
    values: dict[str, Any] = {
        "delivery": delivery,
        "generation": 0,
        "lane": Lane.normal,
        "to": to if isinstance(to, Mailbox) else Mailbox(to, "Ida Berg"),
        "sender": Mailbox("crm@posthaste.example", "Posthaste"),
        "subject": "Hello",
        "text": "Good morning.\n",
        "message_id": f"<{delivery}@posthaste.example>",
        "created_at": now,
        "expires_at": now + timedelta(hours=48),
        "message": new_id(),
    }
    return SendCommand(**(values | changes))
