"""Settings of the mail room, and the route that POSTHASTE_SMTP_URL describes."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from shared.hardening import is_loopback, weak_url
from shared.settings import PosthasteSettings

Tls = Literal["starttls", "implicit", "none"]
PORTS: dict[Tls, int] = {"starttls": 587, "implicit": 465, "none": 25}


@dataclass(frozen=True)
class Route:
    """One way out: an SMTP server, and who we are there."""

    host: str
    port: int
    tls: Tls = "starttls"
    user: str = ""
    password: str = ""
    name: str = "default"

    def __repr__(self) -> str:  # never the password
        return f"Route({self.server}, tls={self.tls})"

    @property
    def server(self) -> str:
        return f"{self.host}:{self.port}"


def parse_route(url: str) -> Route:
    """smtp://user:password@host:587?tls=starttls|implicit|none; without `tls` it is starttls.

    Raises ValueError.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its own words may hold a piece of the password
        host, port = None, None
    if not host or parts.scheme != "smtp":
        raise ValueError(
            "write it like smtp://user:password@host:587?tls=starttls, "
            "in a password with %40 for @, %2F for / and %3A for a colon"
        )
    tls = parse_qs(parts.query).get("tls", ["starttls"])[0]
    if tls not in PORTS:
        raise ValueError("tls is starttls, implicit or none")
    return Route(
        host=host,
        port=port or PORTS[tls],
        tls=tls,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


class MailRoomSettings(PosthasteSettings):
    smtp_url: SecretStr = Field(
        SecretStr(""),
        description="the way out: smtp://user:password@host:587?tls=starttls|implicit|none; default: the sandbox inbox",
    )
    smtp_ca_file: Path | None = Field(
        None, description="certificates that the SMTP server's must be signed by, if not the system's"
    )
    helo_name: str = Field("", description="how the mail room names itself in EHLO; default: the host name")
    ledger_url: SecretStr = Field(
        SecretStr(""),
        description="what was started and what came of it: sqlite:///<file> or postgresql://…; "
        "default: <data dir>/ledger.sqlite",
    )
    workers: int = Field(2, ge=1, le=64, description="worker processes of this mail room")
    connections: int = Field(10, ge=1, le=500, description="SMTP connections of each worker")
    room: str = Field("", description="name of this mail room; default: the host name")

    connect_seconds: float = Field(30, gt=0, description="longest wait for a TCP or TLS connection, seconds")
    greeting_seconds: float = Field(120, gt=0, description="longest wait for greeting and EHLO, seconds")
    command_seconds: float = Field(300, gt=0, description="longest wait after MAIL and RCPT, seconds")
    data_seconds: float = Field(120, gt=0, description="longest wait after DATA, seconds")
    dot_seconds: float = Field(
        600, gt=0, description="longest wait after the final dot, seconds; short ones cause doubles"
    )
    reset_seconds: float = Field(20, gt=0, description="longest wait after RSET, seconds")
    connection_mails: int = Field(100, ge=1, description="mails after which an SMTP connection is renewed")
    connection_seconds: float = Field(300, gt=0, description="seconds after which it is renewed")
    idle_seconds: float = Field(20, gt=0, description="seconds after which an unused one is closed")

    lease_seconds: float = Field(
        900, gt=0, description="seconds a worker that fell silent keeps a delivery; longer than all SMTP waits"
    )
    probe_seconds: float = Field(
        60, gt=0, description="first pause of a route that refused us, seconds; doubles up to ten times that"
    )
    frozen_seconds: float = Field(
        60, ge=2, description="seconds without a sign of life after which a worker is killed and replaced"
    )
    drain_seconds: float = Field(30, gt=0, description="how long a stopping worker finishes conversations, seconds")
    retry_scale: float = Field(1.0, gt=0, le=1, description="shortens all waits before a retry; for trials only")

    @field_validator("smtp_url")
    @classmethod
    def _is_a_route(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            parse_route(url.get_secret_value())
        return url

    @field_validator("lease_seconds")
    @classmethod
    def _outlasts_the_server(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds <= info.data.get("data_seconds", 0) + info.data.get("dot_seconds", 0):
            raise ValueError("must be longer than DATA_SECONDS and DOT_SECONDS together")
        return seconds

    @property
    def route(self) -> Route:
        return parse_route(self.smtp_url.get_secret_value() or f"smtp://127.0.0.1:{self.sandbox_smtp_port}?tls=none")

    def weaknesses(self) -> dict[str, str | None]:
        plain = self.route.user and self.route.tls == "none" and not is_loopback(self.route.host)
        return super().weaknesses() | {
            "ledger_url": weak_url(self.ledger, needs_password=False),
            "smtp_url": "would sign in without encryption: say tls=starttls or tls=implicit" if plain else None,
        }

    @property
    def ledger(self) -> str:
        return self.ledger_url.get_secret_value() or f"sqlite:///{self.data_dir / 'ledger.sqlite'}"

    @property
    def host(self) -> str:
        return socket.gethostname()

    @property
    def room_name(self) -> str:
        return self.room or self.host

    def owner(self, name: str) -> str:
        """How the ledger knows a worker; with the host, so that two machines with rooms of one name differ."""
        return f"{self.room_name}@{self.host}/{name}"

    @property
    def helo(self) -> str:
        return self.helo_name or self.host

    def tls_context(self) -> ssl.SSLContext:
        """Certificates and host names are always checked."""
        return ssl.create_default_context(cafile=str(self.smtp_ca_file) if self.smtp_ca_file else None)
