"""`python -m crm_api broker`: makes RabbitMQ what the product needs: exchanges, queues, users and their rights.

May be run at every start. It alone has an administrator's password; what runs for long has only what it needs.
"""

import base64
import json
import logging
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from pydantic import Field, SecretStr, field_validator

from shared.broker_rights import definitions
from shared.hardening import weak_password, weakness
from shared.settings import OneLine, PosthasteSettings
from shared.urls import Form, Url, read

log = logging.getLogger("broker")

WAIT_SECONDS = 120  # for a broker that is being started
PAUSE_SECONDS = 0.2
NOT_YET = (404, 503)  # its management is being started: it listens before it knows its own paths
ANSWER_SECONDS = 30
FORM = Form("http://administrator:password@127.0.0.1:15672", ("http", "https"), sign_in="both", path="any")
_opener = build_opener(ProxyHandler({}))  # never by way of a proxy from the environment


class BrokerSettings(PosthasteSettings):
    broker_admin_url: SecretStr = Field(
        SecretStr("http://guest:guest@127.0.0.1:15672"),
        description="RabbitMQ's management API, with an administrator's name and password",
    )
    broker_vhost: OneLine = Field("/", max_length=255, description="virtual host that Posthaste lives in")
    dispatch_password: SecretStr | None = Field(None, description="of the broker's user dispatch")
    mailroom_password: SecretStr | None = Field(None, description="of the broker's user mailroom")
    console_password: SecretStr | None = Field(None, description="of the broker's user console, for people who look")

    @field_validator("broker_admin_url")
    @classmethod
    def _is_http(cls, url: SecretStr) -> SecretStr:
        read(url.get_secret_value(), FORM)
        return url

    @property
    def administration(self) -> Url:
        return read(self.broker_admin_url.get_secret_value(), FORM)

    @property
    def passwords(self) -> dict[str, str]:
        """user → password, of those that are given."""
        given = {
            "dispatch": self.dispatch_password,
            "mailroom": self.mailroom_password,
            "console": self.console_password,
        }
        return {user: password.get_secret_value() for user, password in given.items() if password}

    def weaknesses(self) -> dict[str, str | None]:
        each = {f"{user}_password": weakness(password, user) for user, password in self.passwords.items()}
        root = self.administration
        return (
            super().weaknesses()
            | each
            | {"broker_admin_url": weak_password(root.user or "", root.password or "", True)}
        )


class BrokerRefused(SystemExit):
    """It did not do what was asked; says what it answered."""


def set_up(settings: BrokerSettings) -> None:
    """Raises BrokerRefused."""
    version = _version(settings)
    wanted = definitions(settings.passwords, settings.broker_vhost, version)
    _call(settings, "POST", "definitions", wanted)
    log.info("exchanges, queues and users are there", extra={"users": ", ".join(settings.passwords)})


def _version(settings: BrokerSettings) -> tuple[int, ...]:
    """Waits for the broker."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            text = str(_call(settings, "GET", "overview")["rabbitmq_version"])
            return tuple(int(number) for number in text.split(".")[:2] if number.isdigit())
        except (URLError, OSError) as problem:
            if time.monotonic() > deadline:
                raise BrokerRefused(f"RabbitMQ's management API does not answer: {problem}") from None
            time.sleep(PAUSE_SECONDS)


def _call(settings: BrokerSettings, method: str, path: str, body: Any = None) -> Any:
    """Raises BrokerRefused for what RabbitMQ answers, OSError when nobody does."""
    root = settings.administration
    base = f"{root.scheme}://{root.netloc}/{root.path or ''}".rstrip("/")
    token = base64.b64encode(f"{root.user}:{root.password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        request = Request(f"{base}/api/{path}", data, headers, method=method)  # noqa: S310 (the scheme is checked)
        with _opener.open(request, timeout=ANSWER_SECONDS) as answer:
            text = answer.read()
    except HTTPError as problem:
        with problem:
            said = problem.read(500).decode(errors="replace")
        answered = f"RabbitMQ answered {problem.code}: {said}"
        if problem.code in NOT_YET and method == "GET":
            raise OSError(answered) from None
        raise BrokerRefused(answered) from None
    return json.loads(text) if text else None
