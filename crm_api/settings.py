"""Settings of web, dispatch and the sandbox inbox."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from crm_api.auth.roles import Role
from crm_api.limits import MAX_BODY_CHARACTERS, MAX_FILE_BYTES, MAX_RECIPIENTS
from crm_api.web.proxies import Network, read_networks
from shared.addresses import ascii_domain, clean_address, clean_sender, domain_of
from shared.database_urls import DatabaseUrl, read_database_url
from shared.hardening import KEY, MACHINE, PERSON, is_loopback, weak_password, weakness
from shared.settings import OneLine, Port, PosthasteSettings, Seconds
from shared.topology import LANE_MAX_MESSAGES
from shared.urls import Form, Url, read, read_host

MEGABYTE = 1024 * 1024
MAX_SECRET_CHARACTERS = 1000  # what a person can still type into the form that asks for it
Bytes = Annotated[int, Field(ge=1, le=1024 * MEGABYTE)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
WEB = Form("https://crm.example.com", ("https", "http"), path="any")
ISSUER = Form("https://login.example.com/realms/work", ("https", "http"), path="any")
CONSOLE = Form("https://rabbitmq.example.com:15671/", ("https", "http"), path="any")


class CrmSettings(PosthasteSettings):
    host: str = Field("127.0.0.1", description="address that web listens on")
    port: Port = Field(8000, description="port that web listens on")
    public_url: str | None = Field(
        None, description="where people reach the pages, for links in mails; default: http://<HOST>:<PORT>"
    )
    trusted_proxies: str = Field(
        "",
        description="networks of reverse proxies, separated by commas, whose X-Forwarded-For and X-Forwarded-Proto "
        "are believed, like 10.0.0.0/8; default: nobody's",
    )
    max_connections: int = Field(
        4000, ge=10, le=100_000, description="connections that web holds at once; beyond them only /health is answered"
    )
    strangers_per_address: int = Field(
        100,
        ge=1,
        le=100_000,
        description="connections of one address on which nobody is signed in; of more, the oldest is closed. Those of "
        "TRUSTED_PROXIES are not counted",
    )
    request_seconds: float = Field(
        30,
        gt=0,
        le=3600,
        description="seconds for the head of a request, and for the body of who is not signed in; in so many seconds a "
        "body or a reader has to move by 1 kB a second, or is given up",
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
        description="what second factors, and links and codes under way, are encrypted with in the database; an older "
        "one that still opens may follow after a comma; default: made up once, in secret.key in the data directory. "
        "Webs and dispatches on several machines need the same one",
    )
    openid_issuer: str | None = Field(
        None, description="OpenID Connect provider whose people may sign in, like https://login.example.com/realms/work"
    )
    openid_client_id: OneLine = Field("", validate_default=True, description="how it knows us")
    openid_client_secret: SecretStr | None = Field(None, description="what we prove that with; none: a public client")
    openid_label: OneLine = Field("OpenID", max_length=60, description="what people call it: Sign in with …")
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
    sender_name: OneLine = Field("Posthaste", description="From, when a message names nobody")
    sender_address: str = Field("crm@posthaste.example", description="From, when a message names nobody")
    undo_seconds: int = Field(5, ge=0, le=300, description="how long a letter sent from a page can be undone")
    expire_hours: int = Field(
        48, ge=1, le=240, description="how long delivery is tried; at least a day less than LEDGER_DAYS"
    )
    max_body_bytes: int = Field(
        256 * 1024, ge=1, le=MAX_BODY_CHARACTERS, description="subject, text and HTML of one message together"
    )
    max_attachment_bytes: int = Field(10 * MEGABYTE, ge=1, le=MAX_FILE_BYTES, description="one attachment")
    max_attachments_bytes: Bytes = Field(20 * MEGABYTE, description="all attachments of one message")
    max_recipients: int = Field(
        1000, ge=1, le=MAX_RECIPIENTS, description="recipients of one message written by hand or over the API"
    )
    sends_per_minute: int = Field(
        100_000,
        ge=0,
        le=10_000_000,
        description="recipients that one person or API key may write to in a minute; each web process counts for "
        "itself; 0: no limit",
    )
    bulk_in_broker: Count = Field(2000, description="how many bulk deliveries lie in the broker at once")
    reconcile_seconds: Seconds = Field(60, description="how often database, broker and dead letters are compared")
    requeue_minutes: float = Field(
        15, gt=0, le=100_000, description="minutes after which a letter that the broker lost is requeued by itself"
    )
    console_url: str | None = Field(None, description="RabbitMQ's management console, linked from the pages")

    @field_validator("host")
    @classmethod
    def _is_an_address(cls, text: str) -> str:
        _, port = read_host(f"[{text}]" if ":" in text else text)
        if port:
            raise ValueError("it is a host without a port: the port is a setting of its own")
        return text

    @field_validator("expire_hours")
    @classmethod
    def _is_remembered(cls, hours: int, info: ValidationInfo) -> int:
        """Else reconciliation gives up what is still tried: nobody would know any more whether it was sent."""
        if hours + 24 > info.data.get("ledger_days", 14) * 24:
            raise ValueError("must be at least a day less than LEDGER_DAYS, or what is lost could not be tried again")
        return hours

    @field_validator("bulk_in_broker")
    @classmethod
    def _fits_the_queue(cls, most: int) -> int:
        if most > LANE_MAX_MESSAGES // 2:
            raise ValueError(f"must be from 1 to {LANE_MAX_MESSAGES // 2:,}: the queue takes twice that")
        return most

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        read_networks(text)
        return text

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            read_database_url(url.get_secret_value())
        return url

    @field_validator("public_url", "openid_issuer", "console_url")
    @classmethod
    def _is_a_page(cls, text: str | None, info: ValidationInfo) -> str | None:
        """The issuer: OpenID Connect Discovery 1.0, 2: a URL without query and fragment."""
        if text:
            read(text, {"openid_issuer": ISSUER, "console_url": CONSOLE}.get(str(info.field_name), WEB))
        return text

    @field_validator("admin_email")
    @classmethod
    def _takes_mail(cls, text: str) -> str:
        return clean_address(text)

    @field_validator("sender_address")
    @classmethod
    def _sends_mail(cls, text: str) -> str:
        return clean_sender(text)

    @field_validator("admin_password", "api_key", "secret_key")
    @classmethod
    def _can_be_given(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        text = secret.get_secret_value() if secret else None
        if text is None:
            return None
        if len(text) > MAX_SECRET_CHARACTERS or not text.isprintable():
            raise ValueError(f"it has at most {MAX_SECRET_CHARACTERS} characters, all of which can be seen")
        if info.field_name == "api_key" and (not text.isascii() or " " in text):
            raise ValueError("it travels in a header: give letters, digits and signs without spaces")
        if info.field_name == "secret_key" and not _listed(text):
            raise ValueError("there is no key in it")
        return secret

    @field_validator("openid_hosts", "openid_add_domains")
    @classmethod
    def _are_hosts(cls, text: str, info: ValidationInfo) -> str:
        for each in _listed(text):
            _, port = (each, None) if each == "*" and info.field_name == "openid_add_domains" else read_host(each)
            if port and info.field_name == "openid_add_domains":
                raise ValueError("these are domains of addresses: they have no port")
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
        issuer = self._issuer
        return super().weaknesses() | {
            "database_url": weak_password(self._database.user, self._database.password, needed=False),
            "admin_password": weakness(password.get_secret_value(), self.admin_email, PERSON) if password else None,
            "api_key": weakness(key.get_secret_value(), least=KEY) if key else None,
            "secret_key": next((what for each in self.secret_keys if (what := weakness(each, least=KEY))), None),
            "openid_issuer": (
                None
                if issuer is None or issuer.scheme == "https" or is_loopback(issuer.host)
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
        issuer = self._issuer.netloc if self._issuer else ""
        return frozenset({issuer, *_listed(self.openid_hosts.lower())})

    def openid_adds(self, email: str) -> bool:
        """Whether who has this address, and is not known here yet, is let in."""
        return not {"*", domain_of(email)}.isdisjoint(map(ascii_domain, _listed(self.openid_add_domains)))

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
    def _issuer(self) -> Url | None:
        return read(self.openid_issuer, ISSUER) if self.openid_issuer else None

    @property
    def _database(self) -> DatabaseUrl:
        if url := self.database_url.get_secret_value():
            return read_database_url(url)
        file = self.data_dir.absolute() / "posthaste.sqlite"
        return DatabaseUrl(file, f"sqlite:///{file}")

    @property
    def database(self) -> str:
        """The URL as SQLAlchemy wants it, with the driver named."""
        return self._database.for_sqlalchemy

    @property
    def database_file(self) -> Path | None:
        return self._database.file


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
