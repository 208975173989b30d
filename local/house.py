"""One data directory and what is decided for it: who holds it, its ports, its secrets, its settings."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import IO
from urllib.parse import quote

from local import ports
from local.errors import LocalError
from local.rabbitmq import Node
from local.remembered import Remembered

PREFIX = "POSTHASTE_"
ADMIN_EMAIL = "admin@posthaste.example"
# setting that is a secret → the parts that need it; a test compares it with the settings. Nobody else gets it: what a
# part does not know, nobody learns from it
SECRETS: dict[str, set[str]] = {
    "DATABASE_URL": {"migrate", "web", "dispatch"},
    "SECRET_KEY": {"migrate", "web", "dispatch"},
    "ADMIN_PASSWORD": {"migrate"},
    "API_KEY": {"migrate"},
    "OPENID_CLIENT_SECRET": {"web"},
    "AMQP_URL": {"dispatch", "mailroom"},
    "SMTP_URL": {"mailroom"},
    "LEDGER_URL": {"mailroom"},
    "BROKER_ADMIN_URL": {"broker"},
    "DISPATCH_PASSWORD": {"broker"},
    "MAILROOM_PASSWORD": {"broker"},
    "CONSOLE_PASSWORD": {"broker"},
    # of `python -m crm_api databases`, which is run by hand
    "DATABASE_ADMIN_URL": set(),
    "CRM_DATABASE_PASSWORD": set(),
    "MAILROOM_DATABASE_PASSWORD": set(),
}
# scheme, then host, port and path; neither what stands before an @ nor what follows a ?
_SHOWN = re.compile(r"([a-z]+://)(?:[^@/?#]*@)?([^@/?#]+(?:/[^@?#]*)?)(?:\?[^@#]*)?", re.IGNORECASE)


def given(name: str) -> str | None:
    """A setting from the environment, or from the file that NAME_FILE points to; None when there is none."""
    value = os.environ.get(PREFIX + name)
    if value:
        return value
    file = os.environ.get(f"{PREFIX}{name}_FILE")
    if not file:
        return None
    try:
        return Path(file).read_text("utf-8-sig").rstrip("\r\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no text (UTF-8)"
        raise LocalError(f"{PREFIX}{name}_FILE: {file} cannot be read: {why}.") from None


class House:
    """The data directory, held by this process alone."""

    def __init__(self) -> None:
        self.folder = Path(given("DATA_DIR") or ".run").absolute()
        self.host = given("HOST") or "127.0.0.1"
        self.port = _port("PORT", 8000)
        self._lock = self._hold()
        try:
            self._decide()
        except BaseException:
            self.release()
            raise

    def _decide(self) -> None:
        if not ports.is_ours(self.host):
            raise LocalError(f"{PREFIX}HOST is {self.host!r}; it must be an address of this machine, like 127.0.0.1.")
        if not ports.is_free(self.port, self.host):
            raise LocalError(
                f"Port {self.port} is taken by another program. Choose a free one: "
                f"{PREFIX}PORT={self.port + 1} make run"
            )
        self._remembered = Remembered(self.folder / "local.json")
        self.sandbox_port = _port("SANDBOX_SMTP_PORT", 0) or self._remembered.port("sandbox_smtp_port")
        self.first_start = "started_before" not in self._remembered
        self.admin_email = given("ADMIN_EMAIL") or ADMIN_EMAIL
        self.chosen_password = given("ADMIN_PASSWORD")
        self.admin_password = self.chosen_password or self._remembered.secret("admin_password")
        self.amqp_url = given("AMQP_URL")
        self.smtp_url = given("SMTP_URL")

    def _hold(self) -> IO[str]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self.folder / "lock").open("a")
        except OSError as error:
            raise LocalError(f"The data directory cannot be used: {error}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise LocalError(
                f"Posthaste already runs with the data directory {self.folder}. Stop it, or give this one "
                f"its own: {PREFIX}DATA_DIR=.run2 {PREFIX}PORT={self.port + 1} make run"
            ) from None
        return lock

    def release(self) -> None:
        """Let another process have the data directory; the end of this one does it too."""
        self._lock.close()

    @property
    def url(self) -> str:
        shown = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://[{shown}]:{self.port}" if ":" in shown else f"http://{shown}:{self.port}"

    @property
    def secrets_file(self) -> Path:
        return self._remembered.path

    def log(self, name: str) -> Path:
        return self.folder / "log" / f"{name}.log"

    def ready_file(self, name: str) -> Path:
        return self.folder / "ready" / name

    def filled(self, *, administrator_added: bool) -> None:
        """The first-start data are in: from now on samples are not put in again."""
        if administrator_added:
            self._remembered.put("administrator", self.admin_email)
        self._remembered.put("started_before", True)

    def password_hint(self, *, administrator_added: bool, where: str) -> str:
        """The password itself once, when it has just been made; later where to find it."""
        if self._remembered.get("administrator", str) != self.admin_email:
            return "with an account that the database already had"
        if self.chosen_password:
            return "with the password from POSTHASTE_ADMIN_PASSWORD"
        return self.admin_password if administrator_added else f"first password: see {where}"

    def environment(self, node: Node | None, part: str) -> dict[str, str]:
        """What this part gets to know: all settings but the secrets of others; of the broker's passwords, its own."""
        settings = {
            "DATA_DIR": str(self.folder),
            "HOST": self.host,
            "PORT": str(self.port),
            "SANDBOX_SMTP_PORT": str(self.sandbox_port),
            "ADMIN_EMAIL": self.admin_email,
        }
        if node is not None:
            settings["CONSOLE_URL"] = node.management_url
            if part in node.passwords:
                settings["AMQP_URL"] = node.url_of(part)
            if part == "broker":
                settings |= self._broker_settings(node)
        if part == "migrate":
            settings |= self._first_settings()
        hidden = {name for name, parts in SECRETS.items() if part not in parts} | set(settings)
        inherited = {name: value for name, value in os.environ.items() if _setting(name) not in hidden}
        named = {PREFIX + name: value for name, value in settings.items()}
        return inherited | {"PYTHONUNBUFFERED": "1"} | named

    def _broker_settings(self, node: Node) -> dict[str, str]:
        """What only the setting up of the broker needs: its administrator, and the passwords to give."""
        root = node.management_url.replace("://", f"://{node.user}:{quote(node.password)}@")
        return {"BROKER_ADMIN_URL": root} | {
            f"{user.upper()}_PASSWORD": password for user, password in node.passwords.items()
        }

    def _first_settings(self) -> dict[str, str]:
        """What only the migration needs: the first password, and whether to put samples in."""
        samples = given("SAMPLES") or ("1" if self.first_start else "0")
        return {"ADMIN_PASSWORD": self.admin_password, "SAMPLES": samples}


def _setting(variable: str) -> str:
    """Its name, also if the variable names the file that holds it."""
    return variable.upper().removeprefix(PREFIX).removesuffix("_FILE") if variable.upper().startswith(PREFIX) else ""


def without_secrets(url: str) -> str:
    """A URL, or several with commas, as it may be shown; whoever uses it has refused one that is not clear."""
    shown = []
    for one in url.split(","):
        found = _SHOWN.fullmatch(one.strip())
        shown.append(f"{found[1]}{found[2]}" if found else "(not clear)")
    return ", ".join(shown)


def _port(name: str, default: int) -> int:
    text = given(name)
    if text is None:
        return default
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise LocalError(f"{PREFIX}{name} is {text!r}; it must be a port number from 1 to 65535.")
    return int(text)
