"""A part that dies ends its process, loudly, and health says so: it does not go on as if all were well."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from crm_api.app import create_app
from crm_api.changes import ChangeFeed
from crm_api.messages.intake import Intake
from crm_api.settings import CrmSettings
from tests.support.dying import dying
from tests.support.ports import free_port

DISPATCH = [
    "crm_api.outcomes.listener.OutcomeListener._apply_forever",
    "crm_api.outbox.relay.Relay.run",
    "crm_api.messages.filing.Filing.run",
    "crm_api.monitoring.heartbeats.Heartbeats.run",
    "crm_api.dead_letters.sweeper.DeadLetterSweeper.run",
    "crm_api.reconciliation.job.Reconciler.run",
    "crm_api.outbox.clock.keep_right",
    "crm_api.changes.ChangeFeed._keep",
    "shared.amqp_link.Link._run",
]
WEB = ["crm_api.changes.ChangeFeed._keep", "crm_api.messages.intake.Intake._run"]


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "POSTHASTE_DATABASE_URL": database_url,
        "POSTHASTE_DATA_DIR": str(tmp_path / "data"),
        "POSTHASTE_PORT": str(free_port()),
    }


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("part", DISPATCH)
def test_dispatch_ends_with_each_of_its_parts(
    part: str, environment: dict[str, str], amqp_url: str, tmp_path: Path
) -> None:
    done = dying(part, "crm_api", "dispatch", environment | {"POSTHASTE_AMQP_URL": amqp_url})
    assert done.returncode == 1, done.stderr[-2000:]
    assert "Dispatch ended because it had lost a part" in done.stderr
    assert "a defect" in done.stderr, "and says why"
    assert not (tmp_path / "data" / "ready" / "dispatch").exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("part", WEB)
def test_web_ends_with_each_of_its_parts(part: str, environment: dict[str, str]) -> None:
    done = dying(part, "crm_api", "web", environment)
    assert done.returncode == 1, done.stderr[-2000:]
    assert "Web ended because it had lost a part" in done.stderr


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("part", [(ChangeFeed, "_keep"), (Intake, "_run")], ids=lambda part: part[1])
def test_health_means_it(
    part: tuple[type, str], database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = part

    def dies(*_: object) -> None:
        raise KeyError("a defect")

    async def dies_later(*_: object) -> None:
        dies()

    monkeypatch.setattr(owner, name, dies if name == "_run" else dies_later)
    app = create_app(CrmSettings(data_dir=tmp_path, database_url=database_url))
    with TestClient(app) as client:
        assert client.get("/health/live").status_code == 503
