"""Settings of web, dispatch and the sandbox inbox."""

from pydantic import Field, SecretStr, field_validator

from crm_api.web.proxies import Network, read_networks
from shared.hardening import KEY, PERSON, is_loopback, weak_url, weakness
from shared.settings import PosthasteSettings

MEGABYTE = 1024 * 1024


class CrmSettings(PosthasteSettings):
    host: str = Field("127.0.0.1", description="address that web listens on")
    port: int = Field(8000, description="port that web listens on")
    public_url: str | None = Field(
        None, description="where people reach the pages, for links in mails; default: http://<HOST>:<PORT>"
    )
    trusted_proxies: str = Field(
        "",
        description="networks of reverse proxies, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto "
        "are believed, like 10.0.0.0/8; default: nobody's",
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="sqlite:///… or postgresql://…; default: posthaste.sqlite in the data directory",
    )
    admin_email: str = Field("admin@posthaste.example", description="who signs in first")
    admin_password: SecretStr | None = Field(
        None, description="the administrator's first password; made up and printed if not given"
    )
    api_key: SecretStr | None = Field(None, description="a first API key, for `Authorization: Bearer …`")
    samples: bool = Field(False, description="put in sample customers when there are none")
    sender_name: str = Field("Posthaste", description="From, when a message names nobody")
    sender_address: str = Field("crm@posthaste.example", description="From, when a message names nobody")
    undo_seconds: int = Field(5, ge=0, le=300, description="how long a letter sent from a page can be undone")
    expire_hours: int = Field(48, ge=1, le=240, description="how long delivery is tried")
    max_body_bytes: int = Field(256 * 1024, description="subject, text and HTML of one message together")
    max_attachment_bytes: int = Field(10 * MEGABYTE, description="one attachment")
    max_attachments_bytes: int = Field(20 * MEGABYTE, description="all attachments of one message")
    max_recipients: int = Field(1000, description="recipients of one message written by hand or over the API")
    sends_per_minute: int = Field(
        100_000,
        ge=0,
        description="recipients that one person or API key may write to in a minute; each web process counts for "
        "itself; 0: no limit",
    )
    bulk_in_broker: int = Field(2000, description="how many bulk deliveries lie in the broker at once")
    reconcile_seconds: float = Field(60, gt=0, description="how often database, broker and dead letters are compared")
    requeue_minutes: float = Field(
        15, gt=0, description="minutes after which a letter that the broker lost is requeued by itself"
    )
    console_url: str | None = Field(None, description="RabbitMQ's management console, linked from the pages")

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        read_networks(text)
        return text

    @property
    def production(self) -> bool:
        return super().production or not is_loopback(self.host)

    def weaknesses(self) -> dict[str, str | None]:
        password, key = self.admin_password, self.api_key
        return super().weaknesses() | {
            "database_url": weak_url(self.database, needs_password=False),
            "admin_password": weakness(password.get_secret_value(), self.admin_email, PERSON) if password else None,
            "api_key": weakness(key.get_secret_value(), least=KEY) if key else None,
        }

    @property
    def proxies(self) -> list[Network]:
        return read_networks(self.trusted_proxies)

    @property
    def base_url(self) -> str:
        """Without a slash at the end. Never from a request: who asks could name another host."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def database(self) -> str:
        """The URL as SQLAlchemy wants it, with the driver named."""
        url = self.database_url.get_secret_value() or f"sqlite:///{self.data_dir.absolute()}/posthaste.sqlite"
        for prefix in ("postgresql://", "postgres://"):
            if url.startswith(prefix):
                return "postgresql+psycopg://" + url.removeprefix(prefix)
        return url
