"""Secrets with a mark on them: the real processes are started with them, made to fail, and all they say is searched."""

from __future__ import annotations

import base64
import re
import secrets
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import httpx2
import psycopg
import pytest
from pydantic import BaseModel, SecretStr
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from crm_api.broker import BrokerSettings
from crm_api.db import Database
from crm_api.settings import CrmSettings
from email_service.settings import MailRoomSettings
from local.product import ROOT
from local.rabbitmq import Node
from shared.amqp_link import parse
from shared.settings import load
from tests.support.broker import make_users
from tests.support.openid import CLIENT_ID, Liar
from tests.support.processes import alive, new_mark
from tests.support.smtp_server import SmtpServer, in_thread
from tests.support.stack import Stack, stack
from tests.support.waiting import wait_until

SETTINGS = [CrmSettings, MailRoomSettings, BrokerSettings]
# settings that hold one, by themselves or in a URL
SECRET_NAMES = re.compile(r"password|secret|token|api_key|amqp_url|database_url|ledger_url|smtp_url|admin_url")


def canary(name: str) -> str:
    return f"canary-{name}-{secrets.token_hex(12)}"


def disguises(secret: str, user: str = "me") -> set[bytes]:
    """The ways it may be written."""
    forms = {secret, quote(secret), base64.b64encode(secret.encode()).decode()}
    forms |= {base64.b64encode(f"{who}\0{name}\0{secret}".encode()).decode() for who in ("", user) for name in (user,)}
    forms.add(base64.b64encode(f"{user}:{secret}".encode()).decode())
    return {form.encode().rstrip(b"=")[:40] for form in forms}


def birds_in(where: bytes, canaries: dict[str, str]) -> set[str]:
    return {name for name, secret in canaries.items() if any(form in where for form in disguises(secret))}


# ---- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_that_holds_a_secret_hides_it(kind: type[BaseModel]) -> None:
    for name, field in kind.model_fields.items():
        hidden = "SecretStr" in str(field.annotation)
        assert hidden or not SECRET_NAMES.search(name), f"{name} is shown as it is"


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_do_not_show_them(kind: type[BaseModel]) -> None:
    names = [name for name in kind.model_fields if SECRET_NAMES.search(name)]
    canaries = {name: canary(name) for name in names}
    schemes = {"smtp_url": "smtp", "broker_admin_url": "http", "amqp_url": "amqp"}
    given = {
        name: SecretStr(f"{schemes.get(name, 'postgresql')}://me:{bird}@host/" if name.endswith("url") else bird)
        for name, bird in canaries.items()
    }
    settings = kind(**given)
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {vars(settings)}"
    if isinstance(settings, MailRoomSettings):
        shown += f"{settings.route!r} {settings.route}"
    assert birds_in(shown.encode(), canaries) == set()


@pytest.mark.parametrize("name", ["amqp_url", "smtp_url", "database_url", "ledger_url", "admin_password", "api_key"])
def test_each_may_come_from_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = next(kind for kind in SETTINGS if name in kind.model_fields)
    schemes = {"smtp_url": "smtp", "database_url": "postgresql", "ledger_url": "postgresql"}
    value = f"{schemes.get(name, 'amqp')}://me:word@host:25"
    (tmp_path / name).write_text(f"{value}\n")
    monkeypatch.setenv(f"POSTHASTE_{name.upper()}_FILE", str(tmp_path / name))
    found = getattr(kind(), name)
    assert found.get_secret_value() == value


BIRD = "Canary9d41f0"
BROKEN = ["{}/x", "{}:y", "x:{}", "{}@", "[{}", "{}]", "{}#", "{}?", "{} ", "%ZZ{}", "{}\\", "x/{}", "x@{}", "x?{}=1"]


def reads_amqp(url: str) -> object:
    return parse(url, "test")


def reads_database(url: str) -> object:
    return Database(CrmSettings(database_url=SecretStr(url)).database)


def reads_smtp(url: str) -> object:
    return load(MailRoomSettings)


def reads_console(url: str) -> object:
    return load(BrokerSettings)


@pytest.mark.parametrize("form", BROKEN)
@pytest.mark.parametrize(
    ("read", "url"),
    [
        (reads_amqp, "amqp://me:{}@127.0.0.1:1/"),
        (reads_amqp, "amqps://me:{}@127.0.0.1:1/"),
        (reads_database, "postgresql://me:{}@127.0.0.1:1/crm"),
        (reads_smtp, "smtp://me:{}@127.0.0.1:1"),
        (reads_console, "http://me:{}@127.0.0.1:1"),
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(
    read: Callable[[str], object], url: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password with a slash or a bracket that nobody has quoted: what is said of it must not hold a piece of it."""
    whole = url.format(form.format(BIRD))
    monkeypatch.setenv("POSTHASTE_SMTP_URL", whole if read is reads_smtp else "")
    monkeypatch.setenv("POSTHASTE_BROKER_ADMIN_URL", whole if read is reads_console else "")
    try:
        read(whole)
    except (ValueError, SystemExit, SQLAlchemyError) as problem:
        told = "".join(traceback.format_exception(problem))
        # lines of code name the variable, never its value
        assert BIRD not in told


# ---- processes --------------------------------------------------------------------------------------------------


def once(house: Stack, *command: str, **settings: str) -> bytes:
    """All that a command says that ends by itself."""
    given = {f"POSTHASTE_{name}": value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=house.environment | given,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def rows_of(url: str) -> Iterator[bytes]:
    """All that is in a PostgreSQL database; an SQLite file is searched as it is."""
    if not url.startswith("postgresql"):
        return
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (name,) in names:
            for (row,) in connection.execute(f'SELECT "{name}"::text FROM "{name}"'.encode()):
                yield str(row).encode()


def rename(url: str, old: str, new: str) -> None:
    database = Database(CrmSettings(database_url=SecretStr(url)).database)
    with database.write() as session:
        session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
    database.close()


PAGES = ["/", "/messages", "/customers", "/sandbox", "/messages/new", "/search?q=canary", "/help/api", "/help/keys"]
PATHS = ["/openapi.json", "/api/v1/system", "/api/v1/messages", "/api/v1/deliveries", "/nothing", "/api/v1/nothing"]


def test_the_running_product_says_none_of_its_secrets(
    rabbitmq: Node, amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    mark = new_mark()
    birds = {name: canary(name) for name in ("admin", "dispatch", "mailroom", "console", "smtp", "typed", "wrong")}
    birds |= {name: canary(name) for name in ("seal", "openid", "code")}
    birds["key"] = f"ph_{canary('key')}"
    if database_url.startswith("postgresql"):
        birds["database"] = unquote(urlsplit(database_url).password or "")
        assert birds["database"]
    users = make_users(rabbitmq, amqp_url, {name: birds[name] for name in ("dispatch", "mailroom", "console")})
    nowhere = f"amqp://me:{birds['wrong']}@127.0.0.1:1/"
    said: dict[str, bytes] = {}
    with (
        in_thread(SmtpServer(users={"me": "another"})) as server,
        Liar(birds["openid"]) as provider,
        stack(
            tmp_path / "data",
            database_url,
            nowhere,
            admin_password=birds["admin"],
            api_key=birds["key"],
            smtp_url=f"smtp://me:{birds['smtp']}@127.0.0.1:{server.port}?tls=none",
            log_level="debug",
            probe_seconds=0.2,
            secret_key=birds["seal"],
            openid_issuer=provider.issuer,
            openid_client_id=CLIENT_ID,
            openid_client_secret=birds["openid"],
        ) as house,
    ):
        house.environment |= mark
        house.start("web")
        for part in ("dispatch", "mailroom"):
            house.environment["POSTHASTE_AMQP_URL"] = users.url(part)
            house.start(part)
        program = {"Authorization": f"Bearer {birds['key']}"}
        # a connection is closed after a defect: to use it once more is a race
        with httpx2.Client(base_url=house.url, timeout=70, headers={"Connection": "close"}) as browser:
            right = {"email": "admin@posthaste.example", "password": birds["admin"]}
            for password in (birds["typed"], birds["admin"] + "x"):
                said["refused"] = browser.post("/sign-in", data=right | {"password": password}).content
            for claims in ({"nonce": "wrong"}, {}):  # a token that is refused, and somebody who is unknown
                provider.claims = claims
                sent = provider.sign_in_there(browser.get("/sign-in/openid").headers["Location"])
                answer = browser.get("/sign-in/openid/back", params=sent | {"code": birds["code"]})
                assert answer.status_code == (401 if claims else 403)
                said[f"provider {claims}"] = answer.content + str(list(answer.headers.items())).encode()
            assert browser.post("/sign-in", data=right).status_code == 303
            ours = {name: value for name, value in browser.cookies.items() if "posthaste" in name}
            birds |= {name: value for name, value in ours.items() if value}
            assert len(ours) == 2, "the session's, and the browser's own"
            draft = {"to": [{"email": "ada@example.com"}], "subject": "Saplings", "text": "On Thursday."}
            made = browser.post("/api/v1/messages", json=draft, headers=program).json()
            address = f"/api/v1/deliveries/{made['deliveries'][0]['id']}"
            wait_until(lambda: browser.get(address).json()["state"] == "deferred", "the server refused to sign us in")
            wait_until(lambda: len(server.lines("AUTH")) > 2, "the route is probed")
            assert "AUTH PLAIN ****" in browser.get(address).text
            for path in (*PAGES, *PATHS, address, f"/messages/{made['id']}", f"/api/v1/messages/{made['id']}"):
                answer = browser.get(path)
                assert answer.status_code in (200, 303, 404), path
                said[path] = answer.content + str(list(answer.headers.items())).encode()
            for table, path in (("message", "/messages"), ("crm_user", "/sign-in"), ("api_key", "/api/v1/messages")):
                rename(database_url, table, "gone")
                posted = (
                    browser.post(path, data=right | draft)
                    if path != "/api/v1/messages"
                    else browser.post(path, json=draft, headers={"Authorization": f"Bearer {birds['key']}x"})
                )
                said[f"without {table}"] = posted.content
                said[f"without {table}, a page"] = browser.get("/messages").content
                rename(database_url, "gone", table)
        said["commands"] = "\n".join(alive(mark).values()).encode()
        assert b"crm_api" in said["commands"]
        house.stop("dispatch")
        house.environment["POSTHASTE_AMQP_URL"] = users.url("dispatch").replace(birds["dispatch"], birds["wrong"])
        house.start("dispatch")
        wait_until(lambda: "refused" in house.log("dispatch").lower(), "the broker refuses a wrong password")
        house.stop("web", "dispatch", "mailroom")

        elsewhere = f"postgresql://me:{birds['wrong']}@127.0.0.1:1/crm"
        root = rabbitmq.management_url.replace("://", f"://{rabbitmq.user}:{birds['wrong']}@")
        said["migrate"] = once(house, "crm_api", "migrate")
        said["migrate without a database"] = once(house, "crm_api", "migrate", DATABASE_URL=elsewhere)
        said["mail room without a ledger"] = once(house, "email_service", LEDGER_URL=elsewhere)
        said["broker refused"] = once(house, "crm_api", "broker", BROKER_ADMIN_URL=root)
        for name in ("migrate without a database", "mail room without a ledger", "broker refused"):
            assert b"refused" in said[name] or b"refuses: it answered 401" in said[name], said[name][-1000:]
        for part in ("web", "dispatch", "mailroom"):
            said[f"log of {part}"] = house.log(part).encode()
        assert b"Traceback" in said["log of web"]

    for file in tmp_path.rglob("*"):
        if file.is_file():
            said[str(file.relative_to(tmp_path))] = file.read_bytes()
    said["database"] = b"\n".join(rows_of(database_url))
    found = {name: caught for name, words in said.items() if (caught := birds_in(words, birds))}
    assert found == {}
    assert birds_in(str(house.environment).encode(), birds) >= {"admin", "key", "smtp", "seal", "openid"}, (
        "the search finds them"
    )
