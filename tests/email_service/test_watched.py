"""A part of the mail room that dies ends its process, to be started again: it does not go on without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.dying import dying

WORKER = [
    "email_service.report.Reporter._run",
    "email_service.worker.Worker._beat",
    "email_service.transports.smtp.SmtpTransport._sweep",
    "email_service.ledger_store.Store._run",
    "shared.amqp_link.Link._run",
]


@pytest.mark.parametrize("part", WORKER)
def test_a_worker_ends_with_each_of_its_parts(part: str, amqp_url: str, tmp_path: Path) -> None:
    environment = {"POSTHASTE_AMQP_URL": amqp_url, "POSTHASTE_DATA_DIR": str(tmp_path), "POSTHASTE_DRAIN_SECONDS": "1"}
    done = dying(part, "email_service", "worker 1", environment)
    assert done.returncode == 1, done.stderr[-2000:]
    assert "The worker ended because it had lost a part" in done.stderr
    assert not (tmp_path / "ready" / "mailroom-1").exists()


def test_the_supervisor_ends_with_its_own(amqp_url: str, tmp_path: Path) -> None:
    environment = {"POSTHASTE_AMQP_URL": amqp_url, "POSTHASTE_DATA_DIR": str(tmp_path), "POSTHASTE_WORKERS": "1"}
    done = dying("email_service.supervisor.Supervisor._clean", "email_service", "", environment)
    assert done.returncode == 1, done.stderr[-2000:]
    assert "The mail room ended because it had lost a part" in done.stderr
    assert not (tmp_path / "ready" / "mailroom").exists()
