import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crm_api.broker import BrokerSettings
from crm_api.databases import DatabasesSettings
from crm_api.settings import CrmSettings
from email_service.settings import MailRoomSettings
from shared.setting_names import PREFIX, SETTINGS, TOOLS, unknown, warn_of_unknown
from shared.settings import PosthasteSettings, SettingsError, load

ROOT = Path(__file__).resolve().parents[2]
KINDS: list[type[PosthasteSettings]] = [CrmSettings, MailRoomSettings, BrokerSettings, DatabasesSettings]


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("POSTHASTE_"):
            monkeypatch.delenv(name)


def test_a_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "smtp"
    file.write_text("smtp://u:p@mail.example:465?tls=implicit\n")
    monkeypatch.setenv("POSTHASTE_SMTP_URL_FILE", str(file))
    settings = load(MailRoomSettings)
    assert settings.route.server == "mail.example:465"
    assert "u:p" not in repr(settings)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_what_a_file_ends_with_is_no_part_of_a_secret(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"\xef\xbb\xbf" + " wörd with spaces ".encode() + ending.encode())
    monkeypatch.setenv("POSTHASTE_ADMIN_PASSWORD_FILE", str(file))
    password = load(CrmSettings).admin_password
    assert password is not None
    assert password.get_secret_value() == " wörd with spaces "


def folder(path: Path) -> None:
    path.mkdir()


def both(path: Path) -> None:
    path.write_text("one\n")
    os.environ["POSTHASTE_API_KEY"] = "two"


BAD_FILES: dict[str, Callable[[Path], object]] = {
    "cannot be read: No such file": lambda path: None,
    "is a folder": folder,
    "is empty": lambda path: path.write_text(""),
    "empty.": lambda path: path.write_text(" \n\n"),
    "more than one line": lambda path: path.write_text("s3kr1t\nmore\n"),
    "holds no text": lambda path: path.write_bytes(b"s3kr1t\xff\xfe"),
    "more than one line.": lambda path: path.write_bytes(b"s3kr1t" * 100_000),
    "is given, too": both,
    "cannot be read: Too many levels": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("said", BAD_FILES)
def test_a_secret_file_that_is_none(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    monkeypatch.setenv("POSTHASTE_API_KEY_FILE", str(file))
    monkeypatch.setenv("POSTHASTE_API_KEY", "")  # as Compose passes on what nobody has set
    BAD_FILES[said](file)
    with pytest.raises(SettingsError, match=r"^POSTHASTE_API_KEY_FILE: ") as raised:
        load(CrmSettings)
    assert said.rstrip(".") in str(raised.value)
    assert "s3kr1t" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_what_is_wrong_in_a_file_is_said_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "smtp").write_text("smtp://me:s3k#r1t@host\n")
    monkeypatch.setenv("POSTHASTE_SMTP_URL_FILE", str(tmp_path / "smtp"))
    with pytest.raises(SettingsError, match=r"^POSTHASTE_SMTP_URL_FILE: .*# as %23"):
        load(MailRoomSettings)


WRONG: list[tuple[type[PosthasteSettings], str, str]] = [
    *((CrmSettings, "PORT", value) for value in ("many", "0", "65536", "-1", "80.5", "1e3x")),
    *((CrmSettings, "SANDBOX_SMTP_PORT", value) for value in ("0", "70000")),
    *((CrmSettings, "SAMPLES", value) for value in ("maybe", "2", "ja")),
    *((CrmSettings, "OPENID_ONLY", value) for value in ("1", "si")),
    *((CrmSettings, "HOST", value) for value in ("a b", "127.0.0.1:8000", "999.0.0.1", "http://me", "::g")),
    *((CrmSettings, "TRUSTED_PROXIES", value) for value in ("10.0.0.0/33", "proxy", "10.0.0.1/8")),
    *((CrmSettings, "ENVIRONMENT", value) for value in ("prod", "Production")),
    *((CrmSettings, "UNDO_SECONDS", value) for value in ("-1", "301", "nan")),
    *((CrmSettings, "RECONCILE_SECONDS", value) for value in ("0", "nan", "inf", "-inf", "1e300", "90000")),
    *((CrmSettings, "MAX_RECIPIENTS", value) for value in ("0", "-5", "99999999999999999999")),
    *((CrmSettings, "MAX_BODY_BYTES", value) for value in ("0", "1 MB", "1e30")),
    *((CrmSettings, "BULK_IN_BROKER", value) for value in ("0", "-2000")),
    *((CrmSettings, "SENDER_ADDRESS", value) for value in ("crm", "crm@", "a b@example.com", "Crm <crm@example.com>")),
    *((CrmSettings, "ADMIN_EMAIL", value) for value in ("admin", "admin@two@example.com")),
    *((CrmSettings, "SENDER_NAME", value) for value in ("Post\nhaste", "Post\thaste", "Post\u202ehaste")),
    *((CrmSettings, "API_KEY", value) for value in ("ph with spaces", "ph_ä", "ph_\r\n", "k" * 1001)),
    *((CrmSettings, "SECRET_KEY", value) for value in (",", " , ")),
    *((CrmSettings, "ADMIN_PASSWORD", value) for value in ("p" * 1001, "two\nlines")),
    *((CrmSettings, "OPENID_ADD_ROLE", value) for value in ("boss", "Admin")),
    *((CrmSettings, "OPENID_HOSTS", value) for value in ("https://keys.example.com", "keys.example.com:no", "a b")),
    *((CrmSettings, "OPENID_ADD_DOMAINS", value) for value in ("@example.com", "example.com:443", "*.example.com")),
    *((CrmSettings, "DATA_DIR", value) for value in ("/etc/passwd", "/etc/passwd/below", "what?")),
    *((MailRoomSettings, "WORKERS", value) for value in ("0", "65", "two")),
    *((MailRoomSettings, "CONNECT_SECONDS", value) for value in ("0", "-1", "inf", "soon", "1e9")),
    *((MailRoomSettings, "DOT_SECONDS", value) for value in ("nan", "100000")),
    *((MailRoomSettings, "LEASE_SECONDS", value) for value in ("700",)),
    *((MailRoomSettings, "RETRY_SCALE", value) for value in ("0", "1.1", "nan")),
    *((MailRoomSettings, "ROOM", value) for value in ("north\nsouth", "r" * 65)),
    *((BrokerSettings, "BROKER_VHOST", value) for value in ("v" * 256, "v\n")),
]


@pytest.mark.parametrize(("kind", "name", "value"), WRONG)
def test_a_wrong_setting_ends_with_its_name(
    kind: type[PosthasteSettings], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"POSTHASTE_{name}", value)
    with pytest.raises(SettingsError, match=f"^POSTHASTE_{name}: [^\n]+$"):
        load(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_no_number_is_without_a_least_and_a_most(kind: type[PosthasteSettings]) -> None:
    for name, field in kind.model_fields.items():
        if field.annotation in (int, float):
            said = {type(limit).__name__ for limit in field.metadata}
            assert said & {"Ge", "Gt"}, f"{name} may be as low as it likes"
            assert said & {"Le", "Lt"}, f"{name} may be as high as it likes"


def start(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("POSTHASTE_")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=inherited | {f"POSTHASTE_{name}": value for name, value in settings.items()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        *(("crm_api", name) for name in ("web", "dispatch", "sandbox", "migrate", "broker")),
        ("crm_api", "sign-in-link", "ida@example.com"),
        ("email_service",),
        ("email_service", "worker", "1"),
    ],
)
def test_every_process_ends_with_a_line_for_each_fault(command: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    done = start(*command, AMQP_URL="amqp://me:s3k#r1t@host/", DATA_DIR=str(file), LEDGER_DAYS_FILE="/nowhere")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    names = [line.partition(":")[0].removeprefix("POSTHASTE_") for line in done.stderr.splitlines()]
    assert sorted(names) == ["AMQP_URL", "DATA_DIR", "LEDGER_DAYS_FILE"], done.stderr
    assert "r1t" not in done.stderr


# ---- names ------------------------------------------------------------------------------------------------------


def test_the_list_of_all_settings_is_true() -> None:
    assert {name.upper() for kind in KINDS for name in kind.model_fields} == SETTINGS


def test_the_list_of_other_variables_is_true() -> None:
    """Whatever the code asks the environment for."""
    asked = set()
    for part in ("crm_api", "email_service", "shared", "local", "drill", "bench", "tools", "tests/support"):
        for file in (ROOT / part).rglob("*.py"):
            asked |= set(re.findall(rf'["\']{PREFIX}([A-Z_]+)["\']', file.read_text()))
    assert asked - SETTINGS - {f"{name}_FILE" for name in SETTINGS} <= TOOLS


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("POSTHASTE_SMPT_URL", "POSTHASTE_SMTP_URL"),
        ("POSTHASTE_SMTP_URI", "POSTHASTE_SMTP_URL"),
        ("POSTHASTE_ADMIN_PASWORD_FILE", "POSTHASTE_ADMIN_PASSWORD_FILE"),
        ("POSTHASTE_MAX_RECIPIENT", "POSTHASTE_MAX_RECIPIENTS"),
        ("posthaste_databse_url", "POSTHASTE_DATABASE_URL"),
    ],
)
def test_who_misspells_a_setting_is_told(name: str, meant: str, caplog: pytest.LogCaptureFixture) -> None:
    (said,) = unknown({name: "s3kr1t", "PATH": "/bin", "POSTHASTE_PORT": "1", "POSTHASTE_API_KEY_FILE": "/x"})
    assert said == f"There is no setting {name}, so it does nothing: did you mean {meant}?"
    assert unknown({"POSTHASTE_TOTALLY_DIFFERENT": ""})[0].endswith("so it does nothing.")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, "s3kr1t")
        warn_of_unknown()
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, said)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"EXPIRE_HOURS": "72", "LEDGER_DAYS": "3"}, "EXPIRE_HOURS"),
        ({"EXPIRE_HOURS": "240", "LEDGER_DAYS": "10"}, "EXPIRE_HOURS"),
        ({"LEDGER_DAYS": "3", "EXPIRE_HOURS": "49"}, "EXPIRE_HOURS"),
        ({"BULK_IN_BROKER": "1000000"}, "BULK_IN_BROKER"),
        ({"BULK_IN_BROKER": "0"}, "BULK_IN_BROKER"),
    ],
)
def test_promises_that_cannot_be_kept_together_are_refused(
    wrong: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, value in wrong.items():
        monkeypatch.setenv(f"POSTHASTE_{setting}", value)
    with pytest.raises(SettingsError, match=f"POSTHASTE_{name}"):
        load(CrmSettings)


def test_promises_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHASTE_EXPIRE_HOURS", "240")
    assert load(CrmSettings).expire_hours == 240
    monkeypatch.setenv("POSTHASTE_LEDGER_DAYS", "11")
    assert load(CrmSettings).expire_hours == 240


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_the_driver_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHASTE_DATABASE_URL", f"{scheme}://u:p@db/crm")
    assert load(CrmSettings).database == "postgresql+psycopg://u:p@db/crm"


def test_several_brokers_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHASTE_AMQP_URL", "amqp://a/, amqp://b/")
    assert load(CrmSettings).amqp_urls == ["amqp://a/", "amqp://b/"]
