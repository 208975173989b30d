"""URLs in settings: read as they are meant, or refused with what to do and without a piece of a secret."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from crm_api.broker import BrokerSettings
from crm_api.settings import CrmSettings
from email_service.settings import MailRoomSettings, parse_route
from shared.amqp_link import parse
from shared.amqp_urls import read_amqp_urls
from shared.database_urls import read_database_url
from shared.settings import PosthasteSettings, SettingsError, load

SECRET = "S3kr1t9d41f0"

# setting → the class that has it, and a URL that is right, with {} where the password stands
SIGNED_IN: dict[str, tuple[type[PosthasteSettings], str]] = {
    "SMTP_URL": (MailRoomSettings, "smtp://apikey:{}@mail.example.com:587"),
    "AMQP_URL": (CrmSettings, "amqp://dispatch:{}@rabbit.example.com:5672/vhost"),
    "DATABASE_URL": (CrmSettings, "postgresql://crm:{}@db.example.com:5432/posthaste"),
    "LEDGER_URL": (MailRoomSettings, "postgresql://ledger:{}@db.example.com:5432/ledger"),
    "BROKER_ADMIN_URL": (BrokerSettings, "http://root:{}@rabbit.example.com:15672"),
}
PLAIN = {
    "PUBLIC_URL": (CrmSettings, "https://crm.example.com"),
    "CONSOLE_URL": (CrmSettings, "https://rabbit.example.com:15671/"),
    "OPENID_ISSUER": (CrmSettings, "https://login.example.com/realms/work"),
}
# what people have in passwords, typed as it is
TYPED = [
    *("2024#{}", "2024/{}", "2024?{}", "a@{}", "a:{}", "a%{}", "{}%", "%zz{}", "[{}", "{}]", "{}\\@x", "a b{}", "{}\t"),
    *("#{}", "/{}", "?{}", "@{}", ":{}", "{}@host/", "2024/{}?tls=none", "{}\u00a0", "\u200b{}", "%00{}", "%0d{}"),
    *("{}\r\n", "%ff{}"),
]


def refused(kind: type[PosthasteSettings], name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(f"POSTHASTE_{name}", value)
    monkeypatch.setenv("POSTHASTE_OPENID_CLIENT_ID", "us")
    with pytest.raises(SettingsError) as raised:
        load(kind)
    said = "".join(traceback.format_exception(raised.value))
    assert len(str(raised.value).splitlines()) == 1
    assert str(raised.value).startswith(f"POSTHASTE_{name}: ")
    return said


@pytest.mark.parametrize("name", SIGNED_IN)
@pytest.mark.parametrize("typed", TYPED)
def test_a_password_typed_as_it_is(name: str, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, url = SIGNED_IN[name]
    said = refused(kind, name, url.format(typed.format(SECRET)), monkeypatch)
    assert SECRET not in said
    assert "2024" not in said
    assert "# as %23" in said or "%" not in said  # what to do is said


@pytest.mark.parametrize("name", SIGNED_IN)
def test_the_same_password_percent_encoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, url = SIGNED_IN[name]
    monkeypatch.setenv(f"POSTHASTE_{name}", url.format("2024%23a%40b%3Ac%2Fd%3Fe%25f%2Cg+h%20i%C3%A4ä^"))
    settings = load(kind)
    password = "2024#a@b:c/d?e%f,g+h iää^"
    match settings:
        case MailRoomSettings() if name == "SMTP_URL":
            found = settings.route.password
        case MailRoomSettings():
            found = make_url(settings.ledger).password or ""
        case BrokerSettings():
            found = settings.administration.password or ""
        case CrmSettings() if name == "AMQP_URL":
            found = parse(settings.amqp_urls[0], "test").credentials.password
        case _:
            assert isinstance(settings, CrmSettings)
            found = make_url(settings.database).password or ""
    assert found == password
    assert password not in repr(settings)


WRONG_PARTS = [
    *("{scheme}://{host}:0", "{scheme}://{host}:65536", "{scheme}://{host}:", "{scheme}://{host}:5x", "{scheme}://"),
    *("{scheme}://{host}:٥٨٧", "{scheme}://{host}:+25", "{scheme}://::1", "{scheme}://[::1", "{scheme}://[::1]x"),
    *("{scheme}://[12345::]", "{scheme}://1.2.3.400", "{scheme}://a..b", "{scheme}://-a", "{scheme}://a_b c"),
    *("{scheme}://{host}?nonsense=1", "{scheme}://{host}?", "{scheme}://{host}#", "gopher://{host}", "{host}"),
    *("{scheme}:{host}", "{scheme}:/{host}", " {scheme}://{host}", "{scheme}://{host}\n", "'{scheme}://{host}'"),
    *("{scheme}://:word@{host}", "{scheme}://@{host}", "{scheme}://user:@{host}", "{scheme}://mäil.example.com"),
    "https//{host}",
]


# without a host it is PostgreSQL on this machine, by its socket
NO_HOST_NEEDED = {("DATABASE_URL", "{scheme}://"), ("LEDGER_URL", "{scheme}://")}
WRONG = [(name, form) for name in [*SIGNED_IN, *PLAIN] for form in WRONG_PARTS if (name, form) not in NO_HOST_NEEDED]


@pytest.mark.parametrize(("name", "form"), WRONG)
def test_parts_that_are_wrong(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, url = (SIGNED_IN | PLAIN)[name]
    scheme, host = url.partition("://")[0], "mail.example.com"
    refused(kind, name, form.format(scheme=scheme, host=host), monkeypatch)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("SMTP_URL", "smtp://me@mail.example.com"),
        ("SMTP_URL", "smtps://me:word@mail.example.com"),
        ("SMTP_URL", "smtp://mail.example.com/inbox"),
        ("SMTP_URL", "smtp://mail.example.com?tls=no"),
        ("SMTP_URL", "smtp://mail.example.com?tls="),
        ("SMTP_URL", "smtp://mail.example.com?TLS=none"),
        ("SMTP_URL", "smtp://mail.example.com?tls=none&tls=starttls"),
        ("SMTP_URL", "smtp://mail.example.com?tls=none&verify=no"),
        ("SMTP_URL", "smtp://mail.example.com?tls=none;verify=no"),
        ("SMTP_URL", "smtp://one.example.com,two.example.com"),
        ("AMQP_URL", "amqp://me@rabbit/"),
        ("AMQP_URL", "amqp://rabbit/a/b"),
        ("AMQP_URL", "amqp://rabbit//"),
        ("AMQP_URL", "amqp://rabbit/?heartbeat=5"),
        ("AMQP_URL", "amqps://rabbit/?verify=verify_none"),
        ("AMQP_URL", "amqp://one/,"),
        ("AMQP_URL", ","),
        ("AMQP_URL", "amqp://one/,amqp://two:0/"),
        ("AMQP_URL", "amqp://one/,amqp://two/other"),
        ("AMQP_URL", "amqp://me:pa,ss@one/"),
        ("DATABASE_URL", "mysql://me:word@db/crm"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "sqlite://host/file"),
        ("DATABASE_URL", "sqlite:////tmp/a.sqlite?mode=ro"),
        ("DATABASE_URL", "sqlite:////tmp/a%20b.sqlite"),
        ("DATABASE_URL", "sqlite:////tmp"),
        ("DATABASE_URL", "sqlite:////etc/passwd/file"),
        ("DATABASE_URL", "postgresql://db/crm/more"),
        ("DATABASE_URL", "postgresql://db/crm?sslmod=require"),
        ("DATABASE_URL", "postgresql://db/crm?sslmode=yes"),
        ("DATABASE_URL", "postgresql://db/crm?sslmode=require&sslmode=disable"),
        ("DATABASE_URL", "postgresql://me:word@db/crm?password=other"),
        ("DATABASE_URL", "postgresql://db/crm?connect_timeout=soon"),
        ("DATABASE_URL", "postgresql://db/crm?sslrootcert=/nowhere.pem"),
        ("LEDGER_URL", "postgresql://db/crm?port=0"),
        ("PUBLIC_URL", "https://me:word@crm.example.com"),
        ("PUBLIC_URL", "javascript://crm.example.com"),
        ("CONSOLE_URL", "http://guest:guest@rabbit.example.com:15672"),
        ("BROKER_ADMIN_URL", "http://rabbit.example.com:15672"),
    ],
)
def test_parts_that_are_not_of_this_url(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, _ = (SIGNED_IN | PLAIN)[name]
    assert "word" not in refused(kind, name, url, monkeypatch).replace("password", "")


@pytest.mark.parametrize(
    ("url", "server", "user"),
    [
        ("smtp://mail.example.com", "mail.example.com:587", ""),
        ("SMTP://Mail.Example.Com/?tls=implicit", "mail.example.com:465", ""),
        ("smtp://[2001:DB8::1]:25?tls=none", "[2001:db8::1]:25", ""),
        ("smtp://me%40example.com:word@10.0.0.1:2525", "10.0.0.1:2525", "me@example.com"),
    ],
)
def test_routes(url: str, server: str, user: str) -> None:
    route = parse_route(url)
    assert (route.server, route.user) == (server, user)


def test_brokers() -> None:
    one, two = read_amqp_urls("amqp://a:b%2Cc@one:1/v%2Fw, amqps://two/v%2Fw")
    assert (one.password, one.path, two.host) == ("b,c", "v/w", "two")
    parameters = parse("amqp://me:word@[::1]:5673/a%2Fb", "test")
    assert (parameters.host, parameters.port, parameters.virtual_host) == ("::1", 5673, "a/b")
    assert parse("amqp://rabbit", "test").virtual_host == "/"
    assert parse("amqp://rabbit/", "test").credentials.username == "guest"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:a+b@one:1,two:2/crm", {"host": "one,two", "port": "1,2", "password": "a+b"}),
        ("postgres:///crm?host=/run/postgresql&user=me", {"host": "/run/postgresql", "user": "me"}),
        ("postgresql+psycopg://me:word@[::1]:5/d%2Fb", {"host": "::1", "port": 5, "dbname": "d/b"}),
        ("postgresql://db/crm?application_name=a+b%20c", {"application_name": "a+b c"}),
    ],
)
def test_both_readers_of_a_database_url_understand_the_same(url: str, said: dict[str, object]) -> None:
    from psycopg.conninfo import conninfo_to_dict

    found = read_database_url(url)
    by_libpq = conninfo_to_dict(found.plain)
    parsed = make_url(found.for_sqlalchemy)
    by_sqlalchemy = parsed.get_dialect()().create_connect_args(parsed)[1]
    assert {name: by_sqlalchemy[name] for name in said} == said
    assert {name: str(value) for name, value in by_sqlalchemy.items()} == by_libpq


# ---- files that a setting names ---------------------------------------------------------------------------------


def certificates(folder: Path, kind: str) -> Path:
    path = folder / "authorities.pem"
    good = trustme.CA().cert_pem.bytes()
    match kind:
        case "a folder":
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "no certificate":
            path.write_text("hello\n")
        case "a key":
            path.write_bytes(trustme.CA().private_key_pem.bytes())
        case "garbled":
            path.write_bytes(good[:200] + b"!!!!" + good[210:])
        case "the second garbled":
            path.write_bytes(good + good[:200] + b"!!!!" + good[210:])
        case "DER":
            path.write_bytes(b"\x30\x82\x01\x02\xff\xfe")
        case "good":
            path.write_bytes(good)
        case "unreadable":
            path.write_bytes(good)
            path.chmod(0)
    return path


BAD_FILES = ["missing", "a folder", "empty", "no certificate", "a key", "garbled", "the second garbled", "DER"]


@pytest.mark.parametrize("kind", BAD_FILES)
def test_authorities_that_are_none(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = certificates(tmp_path, kind)
    said = refused(MailRoomSettings, "SMTP_CA_FILE", str(path), monkeypatch)
    assert str(path) in said
    monkeypatch.delenv("POSTHASTE_SMTP_CA_FILE")
    said = refused(CrmSettings, "AMQP_URL", f"amqps://me:{SECRET}@rabbit/?cacertfile={path}", monkeypatch)
    assert str(path) in said
    assert SECRET not in said


def test_authorities_that_are_good(tmp_path: Path) -> None:
    path = certificates(tmp_path, "good")
    assert MailRoomSettings(smtp_ca_file=path).tls_context().cert_store_stats()["x509"] == 1
    assert CrmSettings(amqp_url=SecretStr(f"amqps://rabbit/?cacertfile={path}")).amqp_urls
