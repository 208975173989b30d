"""What is for production does not start with secrets that everybody knows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crm_api.__main__ import SECRETS
from crm_api.settings import CrmSettings
from shared.hardening import KEY, PERSON, is_loopback, weakness

ROOT = Path(__file__).resolve().parents[2]
GOOD = "f3a9c17be2d84056a1b2c3d4"
AMQP, DATABASE = f"amqp://dispatch:{GOOD}@rabbitmq:5672/", f"postgresql://crm:{GOOD}@postgres/crm"


@pytest.mark.parametrize(
    "secret",
    [
        *("", "guest", "Guest", "password", "postgres123", "Changeme!", "admin-2026", "dispatch", "posthaste"),
        *("short", "aaaaaaaaaaaaaaaaaaaaaaaa", "1212121212121212"),
    ],
)
def test_what_is_no_secret(secret: str) -> None:
    found = weakness(secret, "dispatch")
    assert found


@pytest.mark.parametrize("least", [16, PERSON, KEY])
def test_what_is_one(least: int) -> None:
    assert weakness("f3a9c17be2d84056" * 2, "dispatch", least) is None
    assert weakness("f3a9c17be2d84056f3a9c17be2d84056"[: least - 1], "dispatch", least) is not None


@pytest.mark.parametrize(
    ("settings", "name", "good"),
    [
        ({"amqp_url": AMQP}, "amqp_url", True),
        ({"amqp_url": "amqp://rabbitmq:5672/"}, "amqp_url", False),
        ({"amqp_url": "amqp://guest:guest@127.0.0.1:5672/"}, "amqp_url", False),
        ({"database_url": "postgresql:///crm"}, "database_url", True),
        ({"database_url": "postgresql://postgres:postgres@db/crm"}, "database_url", False),
        ({"database_url": "postgresql:///crm?host=db&user=postgres&password=postgres"}, "database_url", False),
        ({"database_url": "sqlite:////tmp/posthaste.sqlite"}, "database_url", True),
        ({"database_url": "postgresql://crm:pass%77ord@db/crm"}, "database_url", False),
    ],
)
def test_passwords_in_urls(settings: dict[str, str], name: str, good: bool) -> None:
    assert (CrmSettings(**settings).weaknesses()[name] is None) is good  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")),
        *((host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "192.168.1.5", "posthaste.example")),
    ],
)
def test_who_listens_beyond_loopback_is_for_production(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    assert CrmSettings(host=host).production is not loopback
    assert CrmSettings(host=host, environment="production").production


def test_unless_told_otherwise_only_this_machine_reaches_us() -> None:
    assert CrmSettings.model_fields["host"].default == "127.0.0.1"
    assert not CrmSettings(environment="local").production


def start(tmp_path: Path, *command: str, **settings: str) -> tuple[int, str]:
    """The real command; what it says before it ends."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
    given = {"DATA_DIR": str(tmp_path), "AMQP_URL": AMQP, "DATABASE_URL": DATABASE} | settings
    environment = inherited | {f"POSTHASTE_{name}": value for name, value in given.items()}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


WEAK = [
    (("crm_api", "web"), "DATABASE_URL", "postgresql://crm:crm@postgres/crm"),
    (("crm_api", "dispatch"), "AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/"),
    (("crm_api", "dispatch"), "AMQP_URL", f"{AMQP},amqp://dispatch:dispatch@two:5672/"),
    (("crm_api", "migrate"), "ADMIN_PASSWORD", "admin"),
    (("crm_api", "migrate"), "API_KEY", "ph_short"),
    (("crm_api", "web"), "SECRET_KEY", "k3y-for-second-factors"),
    (("crm_api", "migrate"), "SECRET_KEY", "k3y-for-second-factors"),
    (("crm_api", "web"), "OPENID_ISSUER", "http://login.example.com/realms/work"),
    (("crm_api", "web"), "OPENID_CLIENT_SECRET", "posthaste-2026"),
    (("crm_api", "broker"), "BROKER_ADMIN_URL", "http://guest:guest@127.0.0.1:15672"),
    (("crm_api", "broker"), "MAILROOM_PASSWORD", "mailroom"),
    (("email_service",), "AMQP_URL", "amqp://mailroom:secret@rabbitmq:5672/"),
    (("email_service",), "LEDGER_URL", "postgresql://crm:password@postgres/ledger"),
    (("email_service",), "SMTP_URL", "smtp://me:secret@mail.example:25?tls=none"),
    (("email_service",), "SMTP_URL", "smtp://me:Password123456@mail.example:587"),
    (("crm_api", "migrate"), "ADMIN_PASSWORD", "Changeme-Changeme-1"),
    (("crm_api", "web"), "SECRET_KEY", "please-change-this-secret-key-in-production"),
]


@pytest.mark.parametrize(
    ("command", "name", "value"), WEAK, ids=[f"{'-'.join(each[0])}-{each[1]}-{n}" for n, each in enumerate(WEAK)]
)
def test_a_weak_secret_ends_the_start(command: tuple[str, ...], name: str, value: str, tmp_path: Path) -> None:
    if command == ("crm_api", "broker") and name != "BROKER_ADMIN_URL":
        more = {"BROKER_ADMIN_URL": f"http://root:{GOOD}@127.0.0.1:1"}
    else:
        more = {"OPENID_CLIENT_ID": "us"}
    code, said = start(tmp_path, *command, ENVIRONMENT="production", **{**more, name: value})
    assert code == 2
    assert f"POSTHASTE_{name} " in said
    assert "Traceback" not in said
    assert value not in said


def test_a_host_that_others_reach_is_enough(tmp_path: Path) -> None:
    code, said = start(tmp_path, "crm_api", "web", HOST="0.0.0.0", DATABASE_URL="postgresql://crm:crm@postgres/crm")
    assert (code, "POSTHASTE_DATABASE_URL has a password that everybody knows." in said) == (2, True)


def test_each_process_answers_for_its_own_secrets_only() -> None:
    """Web has no AMQP connection: what it does not use need not be there."""
    assert "amqp_url" not in SECRETS["web"]
    assert "admin_password" not in SECRETS["web"] + SECRETS["dispatch"]
    found = CrmSettings(environment="production", database_url=DATABASE).weaknesses()  # type: ignore[arg-type]
    assert found["amqp_url"], "guest, by default"
    assert not any(found[name] for name in SECRETS["web"])
