"""A data directory: held once, remembered, never shared by accident."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crm_api import __main__ as commands
from crm_api.broker import BrokerSettings
from crm_api.databases import DatabasesSettings
from crm_api.settings import CrmSettings
from email_service.settings import MailRoomSettings
from local.errors import LocalError
from local.house import SECRETS, House, without_secrets
from local.rabbitmq import Node
from tests.support.ports import free_port

MakeHouse = Callable[..., House]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHouse]:
    """Makes houses from settings in the environment, and releases them at the end."""
    for name in [name for name in os.environ if name.startswith("POSTHASTE_")]:
        monkeypatch.delenv(name)
    made: list[House] = []

    def make(folder: Path, **settings: str) -> House:
        for name, value in {"DATA_DIR": str(folder), "PORT": str(free_port()), **settings}.items():
            monkeypatch.setenv(f"POSTHASTE_{name}", value)
        made.append(House())
        return made[-1]

    yield make
    for one in made:
        one.release()


def test_two_side_by_side_share_nothing(house: MakeHouse, tmp_path: Path) -> None:
    one = house(tmp_path / "one")
    two = house(tmp_path / "two")
    for fact in ("folder", "port", "sandbox_port", "admin_password", "url", "secrets_file"):
        assert getattr(one, fact) != getattr(two, fact)
    mine, others = one.environment(None, "web"), two.environment(None, "web")
    shared = {name for name in mine if name.startswith("POSTHASTE_") and mine[name] == others[name]}
    assert shared == {"POSTHASTE_HOST", "POSTHASTE_ADMIN_EMAIL"}


def test_the_second_start_remembers_the_first(house: MakeHouse, tmp_path: Path) -> None:
    first = house(tmp_path)
    assert first.first_start
    assert first.environment(None, "migrate")["POSTHASTE_SAMPLES"] == "1"
    first.filled(administrator_added=True)
    said = first.password_hint(administrator_added=True, where="local.json")
    assert said == first.admin_password
    first.release()
    second = house(tmp_path)
    assert not second.first_start
    assert second.environment(None, "migrate")["POSTHASTE_SAMPLES"] == "0"
    assert second.password_hint(administrator_added=False, where="local.json").endswith("local.json")
    assert (second.sandbox_port, second.admin_password) == (first.sandbox_port, first.admin_password)
    assert second.secrets_file.stat().st_mode & 0o077 == 0
    assert json.loads(second.secrets_file.read_text())["admin_password"] == second.admin_password


def test_a_data_directory_is_held_by_one_only(house: MakeHouse, tmp_path: Path) -> None:
    held = house(tmp_path)
    with pytest.raises(LocalError, match="already runs with the data directory"):
        house(tmp_path)
    held.release()
    house(tmp_path)


def test_a_taken_port_is_named(house: MakeHouse, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(LocalError, match=f"Port {port} is taken"):
            house(tmp_path, PORT=port)


@pytest.mark.parametrize("wrong", ["eighty", "0", "65536", "-1"])
def test_a_port_that_is_none(house: MakeHouse, tmp_path: Path, wrong: str) -> None:
    with pytest.raises(LocalError, match="POSTHASTE_PORT"):
        house(tmp_path, PORT=wrong)


@pytest.mark.parametrize("wrong", ["203.0.113.7", "a b", "127.0.0.1:8000", "2001:db8::7", "nobody.invalid"])
def test_a_host_that_is_none_of_ours(house: MakeHouse, tmp_path: Path, wrong: str) -> None:
    with pytest.raises(LocalError, match="POSTHASTE_HOST"):
        house(tmp_path, HOST=wrong)


def test_a_secret_that_is_no_text_is_said_of_its_file(house: MakeHouse, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hunter2\xff")
    with pytest.raises(LocalError, match=r"POSTHASTE_ADMIN_PASSWORD_FILE: .*no text") as problem:
        house(tmp_path / "data", ADMIN_PASSWORD_FILE=str(tmp_path / "secret"))
    assert "hunter2" not in str(problem.value)


def test_secrets_may_come_from_files(house: MakeHouse, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("amqp://user:word@broker.example/\n")
    found = house(tmp_path / "data", AMQP_URL_FILE=str(secret))
    assert found.amqp_url == "amqp://user:word@broker.example/"
    found.release()
    with pytest.raises(LocalError, match="POSTHASTE_AMQP_URL_FILE"):
        house(tmp_path / "data", AMQP_URL_FILE=str(tmp_path / "missing"))


def test_passwords_in_urls_are_not_shown() -> None:
    shown = without_secrets("amqp://me:hunter2@one.example:5672/v, amqps://me:hunter2@two.example/v")
    assert shown == "amqp://one.example:5672/v, amqps://two.example/v"
    for unclear in (
        "amqp://me:hun,ter2@one/",
        "smtp://me:20#hunter2@one",
        "smtp://me:20/hunter2@one",
        "me:hunter2@one",
    ):
        assert "ter2" not in without_secrets(unclear)
    assert without_secrets("smtp://a%40b:pass@mail.example:587?tls=starttls") == "smtp://mail.example:587"


def test_a_password_is_shown_only_if_it_is_right(house: MakeHouse, tmp_path: Path) -> None:
    known = house(tmp_path / "chosen", ADMIN_PASSWORD="chosen by me")
    known.filled(administrator_added=True)
    assert "chosen" not in known.password_hint(administrator_added=True, where="local.json")
    assert "chosen" not in known.secrets_file.read_text()
    # A database that others made has its own accounts.
    stranger = house(tmp_path / "stranger", ADMIN_PASSWORD="")
    stranger.filled(administrator_added=False)
    said = stranger.password_hint(administrator_added=False, where="local.json")
    assert said == "with an account that the database already had"


PARTS = {"migrate", "broker", "web", "dispatch", "mailroom", "sandbox"}


def test_every_secret_is_kept_from_whom_it_is_no_business() -> None:
    secret = {
        name.upper()
        for kind in (CrmSettings, MailRoomSettings, BrokerSettings, DatabasesSettings)
        for name, field in kind.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    assert set(SECRETS) == secret
    assert all(parts < PARTS for parts in SECRETS.values())
    # who is checked for a weak one has it
    for part, names in commands.SECRETS.items():
        for name in names:
            assert name.upper() not in SECRETS or part in SECRETS[name.upper()] or part not in PARTS, (part, name)


@pytest.mark.parametrize("variable", ["{}", "{}_FILE"])
def test_each_part_gets_its_own_secrets_only(house: MakeHouse, tmp_path: Path, variable: str) -> None:
    (tmp_path / "secret").write_text("amqp://me:word@broker.example/\n")
    given = {variable.format(name): str(tmp_path / "secret") for name in SECRETS}
    made = house(tmp_path / "data", WORKERS="3", **given)
    node = Node(tmp_path / "node")
    for part in PARTS:
        told = made.environment(node, part)
        assert told["POSTHASTE_WORKERS"] == "3"
        for name, parts in SECRETS.items():
            known = {f"POSTHASTE_{name}", f"POSTHASTE_{name}_FILE"} & set(told)
            assert len(known) == (part in parts), f"{part} is told {known}"
    assert made.environment(node, "migrate")["POSTHASTE_ADMIN_PASSWORD"] == made.admin_password
