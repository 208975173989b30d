"""Settings of the mail room, and the route that POSTHASTE_SMTP_URL describes."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from email_service.helo import is_name, own_name
from shared.database_urls import DatabaseUrl, read_database_url
from shared.hardening import GIVEN, is_loopback, weak_password, weakness
from shared.readable import trusting
from shared.settings import DAY_SECONDS, OneLine, PosthasteSettings, Seconds
from shared.urls import Form, read

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
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


FORM = Form(
    "smtp://user:password@host:587?tls=starttls, or :465?tls=implicit",
    ("smtp",),
    sign_in="both or none",
    parameters={"tls": tuple(PORTS)},
)


def parse_route(url: str) -> Route:
    """smtp://user:password@host:587?tls=starttls|implicit|none; without `tls` it is starttls. Raises ValueError."""
    found = read(url, FORM)
    tls = cast(Tls, found.parameters.get("tls", "starttls"))
    return Route(
        host=found.host,
        port=found.port or PORTS[tls],
        tls=tls,
        user=found.user or "",
        password=found.password or "",
    )


class MailRoomSettings(PosthasteSettings):
    smtp_url: SecretStr = Field(
        SecretStr(""),
        description="the way out: smtp://user:password@host:587?tls=starttls|implicit|none; default: the sandbox inbox",
    )
    smtp_ca_file: Path | None = Field(
        None, description="certificates that the SMTP server's must be signed by, if not the system's"
    )
    helo_name: OneLine = Field(
        "",
        description="how the mail room names itself in EHLO, like mail.example.com; default: the full host name, else "
        "the address, [192.0.2.1]",
    )
    ledger_url: SecretStr = Field(
        SecretStr(""),
        description="what was started and what came of it: sqlite:///<file> or postgresql://…; "
        "default: <data dir>/ledger.sqlite",
    )
    workers: int = Field(2, ge=1, le=64, description="worker processes of this mail room")
    connections: int = Field(10, ge=1, le=500, description="SMTP connections of each worker")
    room: OneLine = Field("", max_length=64, description="name of this mail room; default: the host name")

    connect_seconds: Seconds = Field(
        30, description="longest wait for a TCP or TLS connection, shared by the addresses of the server, seconds"
    )
    greeting_seconds: Seconds = Field(
        120, description="longest wait for the greeting, shared likewise, and for EHLO, seconds"
    )
    command_seconds: Seconds = Field(300, description="longest wait after MAIL and RCPT, seconds")
    data_seconds: Seconds = Field(120, description="longest wait after DATA, seconds")
    dot_seconds: Seconds = Field(600, description="longest wait after the final dot, seconds; short ones cause doubles")
    reset_seconds: Seconds = Field(20, description="longest wait after RSET, seconds")
    connection_mails: int = Field(
        100, ge=1, le=1_000_000, description="mails after which an SMTP connection is renewed"
    )
    connection_seconds: Seconds = Field(300, description="seconds after which it is renewed")
    idle_seconds: Seconds = Field(20, description="seconds after which an unused one is closed")

    lease_seconds: Seconds = Field(
        900, description="seconds a worker that fell silent keeps a delivery; longer than all SMTP waits"
    )
    probe_seconds: Seconds = Field(
        60, description="first pause of a route that refused us, seconds; doubles up to ten times that"
    )
    frozen_seconds: float = Field(
        60,
        ge=2,
        le=DAY_SECONDS,
        description="seconds without a sign of life after which a worker is killed and replaced",
    )
    drain_seconds: Seconds = Field(30, description="how long a stopping worker finishes conversations, seconds")
    retry_scale: float = Field(1.0, gt=0, le=1, description="shortens all waits before a retry; for trials only")

    @field_validator("smtp_url")
    @classmethod
    def _is_a_route(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            parse_route(url.get_secret_value())
        return url

    @field_validator("helo_name")
    @classmethod
    def _is_a_host(cls, name: str) -> str:
        if name and not is_name(name):
            raise ValueError("write a full host name like mail.example.com, or an address like [192.0.2.1]")
        return name

    @field_validator("smtp_ca_file")
    @classmethod
    def _holds_certificates(cls, path: Path | None) -> Path | None:
        if path:
            trusting(path)
        return path

    @field_validator("ledger_url")
    @classmethod
    def _is_a_database(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            read_database_url(url.get_secret_value())
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
        route = self.route
        plain = route.user and route.tls == "none" and not is_loopback(route.host)
        guessed = weakness(route.password or "", route.user, GIVEN) if route.user else None
        return super().weaknesses() | {
            "ledger_url": weak_password(self._ledger.user, self._ledger.password, needed=False),
            "smtp_url": "would sign in without encryption: say tls=starttls or tls=implicit" if plain else guessed,
        }

    @property
    def _ledger(self) -> DatabaseUrl:
        if url := self.ledger_url.get_secret_value():
            return read_database_url(url)
        file = self.data_dir / "ledger.sqlite"
        return DatabaseUrl(file, f"sqlite:///{file}")

    @property
    def ledger(self) -> str:
        """sqlite:///<file>, or a URL that libpq reads."""
        return self._ledger.plain

    @property
    def ledger_file(self) -> Path | None:
        return self._ledger.file

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
        """Asked for the first time without a setting, it may wait for the DNS for some seconds."""
        return self.helo_name or own_name(self.host, self.route.host, self.route.port)

    def tls_context(self) -> ssl.SSLContext:
        """Certificates and host names are always checked."""
        return trusting(self.smtp_ca_file)
