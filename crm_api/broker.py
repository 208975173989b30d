"""`python -m crm_api broker`: makes RabbitMQ what the product needs: exchanges, queues, users and their rights.

May be run at every start. It alone has an administrator's password; what runs for long has only what it needs.
"""

import base64
import json
import logging
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from pydantic import Field, SecretStr, field_validator

from shared.broker_rights import definitions
from shared.hardening import weak_password, weakness
from shared.settings import OneLine, PosthasteSettings
from shared.urls import Form, Url, read

log = logging.getLogger("broker")

WAIT_SECONDS = 120  # for a broker that is being started
PAUSE_SECONDS = 0.2
# its management listens before it knows its own paths, and before what it asks is up: 4.3 answers 500 then
NOT_FOUND, FIRST_FAILURE = 404, 500
MAX_REASON, MAX_SAID = 20_000, 300  # bytes read of an answer, characters said of it
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
    deadline = time.monotonic() + WAIT_SECONDS
    version = _version(_patiently(settings, deadline, "GET", "overview"))
    wanted = definitions(settings.passwords, settings.broker_vhost, version)
    _patiently(settings, deadline, "POST", "definitions", wanted)
    log.info("exchanges, queues and users are there", extra={"users": ", ".join(settings.passwords)})


def _version(overview: Any) -> tuple[int, ...]:
    text = str(overview["rabbitmq_version"])
    return tuple(int(number) for number in text.split(".")[:2] if number.isdigit())


def _patiently(settings: BrokerSettings, deadline: float, method: str, path: str, body: Any = None) -> Any:
    """Waits for a broker that is being started. What is asked of it may be asked twice. Raises BrokerRefused."""
    said = ""
    while True:
        try:
            return _call(settings, method, path, body)
        except (OSError, HTTPException, ValueError) as problem:
            # no answer, half of one, or one of a node that has not come up yet
            if time.monotonic() > deadline:
                raise BrokerRefused(f"RabbitMQ's management API is not ready: {problem}") from None
            if (why := str(problem)) != said:
                said = why
                log.info("RabbitMQ's management API is not ready yet: %s", why)
            time.sleep(PAUSE_SECONDS)


def _call(settings: BrokerSettings, method: str, path: str, body: Any = None) -> Any:
    """Raises BrokerRefused for what RabbitMQ will answer again, else OSError, HTTPException or ValueError."""
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
            answered = f"it answered {problem.code}: {_reason(problem)}"
        if problem.code == NOT_FOUND or problem.code >= FIRST_FAILURE:
            raise OSError(answered) from None
        raise BrokerRefused(f"RabbitMQ's management API refuses: {answered}") from None
    return json.loads(text) if text else None


def _reason(problem: HTTPError) -> str:
    """What the body says of it, in one line."""
    try:
        text = problem.read(MAX_REASON).decode(errors="replace")
    except (OSError, HTTPException):
        return problem.reason
    try:
        found = json.loads(text)
        text = ": ".join(str(found[name]) for name in ("error", "reason") if found.get(name)) or text
    except (ValueError, AttributeError):
        pass  # a crash in a booting node is told in Erlang
    return " ".join(text.split())[:MAX_SAID] or problem.reason
