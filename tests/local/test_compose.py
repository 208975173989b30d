"""docker-compose.yml and the Dockerfile, as far as they can be proven without an engine.

Each command and health check of ours is run as it is written there, outside a container, against a real
PostgreSQL and RabbitMQ. What only an engine can show (images, volumes, networks) is not proven here.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
import yaml

from crm_api.settings import CrmSettings
from email_service.settings import MailRoomSettings
from local import leash
from local.postgresql import Cluster
from local.rabbitmq import Node
from shared.setting_names import SETTINGS
from tests.support.ports import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("build")}
LONG_RUNNING = {name: service for name, service in OURS.items() if service.get("restart") != "no"}
# as openssl makes them
MADE_UP = {
    name: secrets.token_hex(24)
    for name in (
        *("POSTGRES_PASSWORD", "CRM_DATABASE_PASSWORD", "MAILROOM_DATABASE_PASSWORD"),
        *("RABBITMQ_PASSWORD", "DISPATCH_PASSWORD", "MAILROOM_PASSWORD", "CONSOLE_PASSWORD"),
        *("POSTHASTE_ADMIN_PASSWORD", "POSTHASTE_SECRET_KEY"),
    )
}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")


def interpolated(text: str) -> str:
    """As Compose does it: `${NAME:-default}`, and `${NAME:?…}` must be there; `$$` is a dollar."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        if kind == "?":
            return MADE_UP[name]
        return str(default or "")

    return VARIABLE.sub(value, text).replace("$$", "$")


def environment_of(name: str) -> dict[str, str]:
    """A service's environment; YAML's merge of several lists is what Compose does too."""
    return {key: interpolated(str(value)) for key, value in SERVICES[name].get("environment", {}).items()}


def health_check_of(name: str) -> list[str]:
    kind, *words = SERVICES[name]["healthcheck"]["test"]
    words = [interpolated(word) for word in words]
    return ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words


def test_the_services_are_those_of_the_design() -> None:
    assert set(OURS) == {"web", "dispatch", "mailroom", "migrate", "broker", "databases"}
    assert set(SERVICES) - set(OURS) == {"rabbitmq", "postgres", "mailpit"}
    assert SERVICES["mailroom"]["deploy"]["replicas"] >= 2


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_health_check_or_runs_once(name: str) -> None:
    service = SERVICES[name]
    waited_for = {
        other["depends_on"][name]["condition"] for other in SERVICES.values() if name in other.get("depends_on", {})
    }
    if "healthcheck" in service:
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
        assert service["restart"] == "unless-stopped"
        assert waited_for <= {"service_healthy"}
    else:
        assert service["restart"] == "no"
        assert waited_for == {"service_completed_successfully"}


@pytest.mark.parametrize("name", OURS)
def test_our_services_wait_for_those_whose_urls_they_have(name: str) -> None:
    hosts = {urlsplit(value).hostname for value in environment_of(name).values() if "://" in value}
    assert hosts & set(SERVICES) <= set(SERVICES[name]["depends_on"])


def test_each_service_knows_its_own_secrets_only() -> None:
    def knows(secret: str) -> set[str]:
        return {name for name in SERVICES if any(secret in str(value) for value in environment_of(name).values())}

    assert knows(MADE_UP["POSTGRES_PASSWORD"]) == {"postgres", "databases"}
    assert knows(MADE_UP["CRM_DATABASE_PASSWORD"]) == {"databases", "migrate", "web", "dispatch"}
    assert knows(MADE_UP["MAILROOM_DATABASE_PASSWORD"]) == {"databases", "mailroom"}
    assert knows(MADE_UP["RABBITMQ_PASSWORD"]) == {"rabbitmq", "broker"}
    assert knows(MADE_UP["DISPATCH_PASSWORD"]) == {"dispatch", "broker"}
    assert knows(MADE_UP["MAILROOM_PASSWORD"]) == {"mailroom", "broker"}
    assert knows(MADE_UP["CONSOLE_PASSWORD"]) == {"broker"}
    assert knows(MADE_UP["POSTHASTE_ADMIN_PASSWORD"]) == {"migrate"}
    assert knows(MADE_UP["POSTHASTE_SECRET_KEY"]) == {"migrate", "web", "dispatch"}


# setting → why nobody gives it to a container
NOT_PASSED_ON = {
    "SANDBOX_SMTP_PORT": "Mailpit stands there instead",
    "ROOM": "each copy of the mail room is named after its host",
    "RETRY_SCALE": "for trials only",
    "BROKER_VHOST": "the broker is ours alone",
    "LEDGER_DATABASE": "so is the server",
}
# what each long-running service reads, but what another one is told instead
READ_BY = {
    "web": set(CrmSettings.model_fields) - {"amqp_url", "admin_email", "admin_password", "api_key", "samples"},
    "mailroom": set(MailRoomSettings.model_fields),
}


def test_every_setting_can_be_given_in_dot_env() -> None:
    given = {key for name in OURS for key in environment_of(name)}
    assert {f"POSTHASTE_{name}" for name in SETTINGS - set(NOT_PASSED_ON)} == given


@pytest.mark.parametrize("name", READ_BY)
def test_each_service_gets_what_it_reads(name: str) -> None:
    read = {f"POSTHASTE_{setting.upper()}" for setting in READ_BY[name]}
    assert read - set(environment_of(name)) <= {f"POSTHASTE_{setting}" for setting in NOT_PASSED_ON}


@pytest.mark.parametrize("setting", ["PUBLIC_URL", "TRUSTED_PROXIES", "OPENID_ISSUER", "SMTP_CA_FILE"])
def test_what_is_not_set_is_the_default_and_what_is_set_arrives(setting: str) -> None:
    name = f"POSTHASTE_{setting}"
    written = [str(service.get("environment", {}).get(name)) for service in OURS.values()]
    assert f"${{{name}:-}}" in written


def test_the_commands_in_the_file_make_each_secret() -> None:
    top = (ROOT / "docker-compose.yml").read_text().partition("name: posthaste")[0]
    assert all(name in top for name in MADE_UP)
    assert set(VARIABLE.findall((ROOT / "docker-compose.yml").read_text())) >= {
        (name, "?", "see the top of docker-compose.yml") for name in MADE_UP
    }


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "files:/data/files" in service["volumes"]
    assert environment_of(name)["POSTHASTE_DATA_DIR"] == "/data"


def test_the_image_does_not_run_as_root_and_is_pinned() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["10001:10001"]
    copied = [line for line in lines if line.startswith("COPY")]
    assert lines.index("USER 10001:10001") > lines.index(copied[-1])
    images = [line.split()[1] for line in lines if line.startswith("FROM ")]
    images += [service["image"] for service in SERVICES.values()]
    for image in images:
        assert re.search(r":v?\d+\.\d+", image), f"{image} is not pinned to a minor version"


def test_what_the_image_copies_exists() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    assert copied == allowed
    for source in copied:
        assert (ROOT / source).exists()


def test_there_are_no_default_secrets() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASS|SECRET|TOKEN", key) and not key.endswith("OPENID_CLIENT_SECRET"):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", str(value)), f"{name}: {key}"
            if key.endswith(("API_KEY", "OPENID_CLIENT_SECRET")):  # who has none leaves it out
                assert re.fullmatch(r"\$\{\w+:-\}", str(value)), f"{name}: {key}"
            # The password in a URL, if it has one, is a variable that must be set.
            for password in re.findall(r"://[^:/@$]+:(.+)@", str(value)):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", password), f"{name}: {key}"


def test_only_loopback_is_published() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port} to the network"


@pytest.fixture
def databases(postgresql: Cluster) -> Iterator[dict[str, str]]:
    """purpose → name. An empty posthaste database, as the postgres service makes it; the other is still to be made."""
    service = SERVICES["postgres"]["environment"]
    assert environment_of("databases")["POSTHASTE_DATABASE_ADMIN_URL"].startswith(
        f"postgresql://{service['POSTGRES_USER']}:{MADE_UP['POSTGRES_PASSWORD']}@postgres:5432/{service['POSTGRES_DB']}"
    )
    mark = secrets.token_hex(4)
    names = {"posthaste": f"posthaste_{mark}", "ledger": f"ledger_{mark}"}
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {names['posthaste']}".encode())
        yield names
        for name in names.values():
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        for user in ("crm", "mailroom"):
            connection.execute(f"DROP ROLE IF EXISTS {user}".encode())


def test_our_commands_and_health_checks_as_written(
    databases: dict[str, str], postgresql: Cluster, rabbitmq: Node, amqp_url: str, tmp_path: Path
) -> None:
    port = str(free_port())
    vhost = amqp_url.rpartition("/")[2]
    console = urlsplit(rabbitmq.management_url).netloc
    # What a container gets from its network and volumes, here from what the tests have.
    here = {
        "POSTHASTE_BROKER_ADMIN_URL": f"http://{rabbitmq.user}:{quote(rabbitmq.password)}@{console}",
        "POSTHASTE_DATABASE_ADMIN_URL": postgresql.url_for(databases["posthaste"]),
        "POSTHASTE_HOST": "127.0.0.1",
        "POSTHASTE_PORT": port,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def environment(name: str) -> dict[str, str]:
        written = environment_of(name)
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("POSTHASTE_")}
        replaced = {key: value for key, value in here.items() if key in written or key == "PATH"}
        if url := written.get("POSTHASTE_AMQP_URL"):
            user = url.partition("@")[0]
            replaced["POSTHASTE_AMQP_URL"] = f"{user}@127.0.0.1:{rabbitmq.port}/{vhost}"
        for setting in ("POSTHASTE_DATABASE_URL", "POSTHASTE_LEDGER_URL"):
            if url := written.get(setting):
                user, _, database = url.partition("@postgres:5432/")
                replaced[setting] = f"{user}@127.0.0.1:{postgresql.port}/{databases[database]}"
        moved = {"POSTHASTE_LEDGER_DATABASE": databases["ledger"]} if name == "databases" else {}
        moved |= {"POSTHASTE_DATA_DIR": str(folder), "POSTHASTE_BROKER_VHOST": vhost}
        return inherited | written | replaced | moved

    def is_healthy(name: str) -> bool:
        seconds = float(SERVICES[name]["healthcheck"]["timeout"].removesuffix("s"))
        check = subprocess.run(
            health_check_of(name), env=environment(name), cwd=ROOT, capture_output=True, timeout=seconds, check=False
        )
        return check.returncode == 0

    def log(name: str) -> str:
        return (tmp_path / f"{name}.log").read_text()

    for once in (
        "databases",
        "migrate",
        "broker",
    ) * 2:  # a second `up` does it again
        with (tmp_path / f"{once}.log").open("ab") as output:
            process = leash.start(
                SERVICES[once]["command"], env=environment(once), cwd=ROOT, stdout=output, stderr=output
            )
            assert process.wait(60) == 0, log(once)

    running: dict[str, leash.Leashed] = {}
    try:
        for name, service in LONG_RUNNING.items():
            assert not is_healthy(name), f"{name} is called healthy before it is started"
            with (tmp_path / f"{name}.log").open("wb") as output:
                running[name] = leash.start(
                    service["command"], env=environment(name), cwd=ROOT, stdout=output, stderr=output
                )
        for name in LONG_RUNNING:
            wait_until(lambda: is_healthy(name), f"{name} healthy; its log:\n{log(name)}", every=0.2)  # noqa: B023
        for name, process in running.items():
            assert process.poll() is None, log(name)
    finally:
        codes = {name: process.stop(30) for name, process in running.items()}
    assert codes == dict.fromkeys(LONG_RUNNING, 0), {name: log(name) for name in codes}
