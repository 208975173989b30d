"""Settings of web, dispatch and the sandbox inbox."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from crm_api.auth.roles import Role
from crm_api.web.proxies import Network, read_networks
from shared.hardening import KEY, MACHINE, PERSON, is_loopback, weak_url, weakness
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
    secret_key: SecretStr | None = Field(
        None,
        description="what second factors are encrypted with in the database; an older one that still opens may follow "
        "after a comma; default: made up once, in secret.key in the data directory",
    )
    openid_issuer: str | None = Field(
        None, description="OpenID Connect provider whose people may sign in, like https://login.example.com/realms/work"
    )
    openid_client_id: str = Field("", validate_default=True, description="how it knows us")
    openid_client_secret: SecretStr | None = Field(None, description="what we prove that with; none: a public client")
    openid_label: str = Field("OpenID", description="what people call it: Sign in with …")
    openid_hosts: str = Field(
        "", description="further hosts that it answers from, separated by commas, beside its issuer's"
    )
    openid_add_domains: str = Field(
        "",
        description="people it knows and we do not are added if their address is at one of these domains, separated by "
        "commas; *: at any; default: nobody is added",
    )
    openid_add_role: Role = Field(Role.viewer, description="as what they are added")
    openid_only: bool = Field(False, description="nobody signs in with a password any more")
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

    @field_validator("openid_issuer")
    @classmethod
    def _is_an_issuer(cls, text: str | None) -> str | None:
        """OpenID Connect Discovery 1.0, 2: a URL without query and fragment."""
        parts = urlsplit(text or "")
        if text and (parts.scheme not in ("https", "http") or not parts.hostname or set(text) & set("?#@ ")):
            raise ValueError("give it as https://host/path, without ? and #")
        return text

    @field_validator("openid_client_id")
    @classmethod
    def _is_known_there(cls, text: str, info: ValidationInfo) -> str:
        if info.data.get("openid_issuer") and not text:
            raise ValueError("with an OPENID_ISSUER it has to be given")
        return text

    @field_validator("openid_only")
    @classmethod
    def _leaves_a_way_in(cls, only: bool, info: ValidationInfo) -> bool:
        if only and not info.data.get("openid_issuer"):
            raise ValueError("without an OPENID_ISSUER nobody could sign in")
        return only

    @property
    def production(self) -> bool:
        return super().production or not is_loopback(self.host)

    def weaknesses(self) -> dict[str, str | None]:
        password, key, client_secret = self.admin_password, self.api_key, self.openid_client_secret
        issuer = urlsplit(self.openid_issuer or "https:")
        return super().weaknesses() | {
            "database_url": weak_url(self.database, needs_password=False),
            "admin_password": weakness(password.get_secret_value(), self.admin_email, PERSON) if password else None,
            "api_key": weakness(key.get_secret_value(), least=KEY) if key else None,
            "secret_key": next((what for each in self.secret_keys if (what := weakness(each, least=KEY))), None),
            "openid_issuer": (
                None
                if issuer.scheme == "https" or is_loopback(issuer.hostname or "")
                else "is not encrypted: give https://…"
            ),
            "openid_client_secret": (
                weakness(client_secret.get_secret_value(), self.openid_client_id, MACHINE) if client_secret else None
            ),
        }

    @property
    def secret_keys(self) -> list[str]:
        """The newest first; none: the one in the data directory."""
        return _listed(self.secret_key.get_secret_value()) if self.secret_key else []

    @property
    def openid_netlocs(self) -> frozenset[str]:
        """host or host:port of all that is asked of the OpenID provider."""
        return frozenset({urlsplit(self.openid_issuer or "").netloc.lower(), *_listed(self.openid_hosts.lower())})

    def openid_adds(self, email: str) -> bool:
        """Whether who has this address, and is not known here yet, is let in."""
        return not {"*", email.rpartition("@")[2]}.isdisjoint(_listed(self.openid_add_domains.casefold()))

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


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
