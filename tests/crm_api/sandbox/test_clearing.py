"""Emptying the sandbox inbox: the entry is the decision, the file follows."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from crm_api.app import create_app
from crm_api.audit.models import AuditEntry
from crm_api.db import Database
from crm_api.sandbox import service
from crm_api.sandbox.store import NewMail, SandboxStore
from crm_api.settings import CrmSettings
from tests.support.crm import Crm

MAIL = NewMail("crm@example.com", ("anna@example.com",), b"Subject: Saplings\r\n\r\nHello\r\n")


class Killed(BaseException):
    pass


@pytest.fixture
def store(tmp_path: Path) -> SandboxStore:
    return SandboxStore(tmp_path / "sandbox.sqlite")


def _entries(database: Database) -> list[AuditEntry]:
    with database.read() as session:
        return list(session.exec(select(AuditEntry).where(col(AuditEntry.action) == service.ACTION)))


def _killed_between(crm: Crm, store: SandboxStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> int:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store, "clear", killed)
        with pytest.raises(Killed):
            service.clear(store, crm.database, crm.principal)


def test_an_entry_that_cannot_be_written_leaves_every_mail(
    crm: Crm, store: SandboxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("no audit, no change")

    store.add([MAIL, MAIL])
    monkeypatch.setattr(service, "record", refused)
    with pytest.raises(RuntimeError):
        service.clear(store, crm.database, crm.principal)
    assert store.count() == 2


def test_what_a_kill_left_goes_at_the_next_start_and_nothing_that_came_later(
    crm: Crm, store: SandboxStore, settings: CrmSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add([MAIL, MAIL])
    _killed_between(crm, store, monkeypatch)
    later = store.add([MAIL])
    assert [entry.data for entry in _entries(crm.database)] == [{"mails": 2, "up_to": 2}]
    assert store.count() == 3
    for _ in range(2):
        with TestClient(create_app(settings)):
            assert [mail.id for mail in store.list()] == later
    assert len(_entries(crm.database)) == 1


def test_a_new_file_keeps_its_mails_though_their_ids_begin_anew(
    crm: Crm, store: SandboxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add([MAIL, MAIL])
    _killed_between(crm, store, monkeypatch)
    store.path.unlink()
    new = SandboxStore(store.path)
    new.add([MAIL])
    assert service.finish_clearing(new, crm.database) == 0
    assert new.count() == 1


def test_web_starts_while_the_database_is_away(store: SandboxStore) -> None:
    store.add([MAIL])
    away = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    try:
        assert service.finish_clearing(store, away) == 0
    finally:
        away.close()
    assert store.count() == 1
