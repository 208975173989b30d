"""Second factors lie sealed in the database: who reads only that makes no code."""

from __future__ import annotations

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyotp
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import inspect, text
from sqlmodel import select

from crm_api.auth import second_factor
from crm_api.auth.models import User
from crm_api.auth.sealing import KEY_FILE, Seal, is_sealed, seal_of
from crm_api.db import Database
from crm_api.first_start import migrate_and_fill
from crm_api.settings import CrmSettings
from shared.clock import now
from shared.settings import SettingsError
from tests.support.people import EMAIL, PASSWORD

OLD, NEW = "old-" + "4f0c9b7d" * 5, "new-" + "a81e63c2" * 5


def everything(database: Database) -> str:
    """All that the database holds."""
    with database.engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        return repr([connection.execute(text(f'SELECT * FROM "{table}"')).all() for table in tables])


def turn_on(browser: TestClient) -> str:
    """Through the pages; the secret that the telephone is shown."""
    page = browser.get("/account/second-factor").text
    found = re.search(r'<code class="secret">([A-Z2-7 ]+)</code>', page)
    assert found
    secret = found[1].replace(" ", "")
    assert secret in browser.get("/account/second-factor").text.replace(" ", ""), "the same until it is confirmed"
    assert browser.post("/account/second-factor", data={"code": pyotp.TOTP(secret).now()}).status_code == 200
    return secret


def signs_in(client: TestClient, database: Database, secret: str) -> int:
    """With a code of half a minute later, which has not been taken yet."""
    client.cookies.clear()
    page = client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).text
    hidden = dict(re.findall(r'name="(token|next)" value="([^"]*)"', page))
    with database.write() as session:
        session.exec(select(User)).one().totp_step = 0
    return client.post("/sign-in/code", data=hidden | {"code": pyotp.TOTP(secret).now()}).status_code


def test_the_database_never_holds_the_secret(browser: TestClient, database: Database) -> None:
    secret = turn_on(browser)
    held = everything(database)
    assert EMAIL in held, "it was looked at"
    assert secret not in held
    assert signs_in(browser, database, secret) == 303
    assert secret not in everything(database)


def test_what_an_earlier_version_left_is_sealed_by_migrate(
    settings: CrmSettings, user: User, database: Database, visitor: TestClient
) -> None:
    secret = second_factor.new_secret()
    with database.write() as session:
        stored = session.get_one(User, user.id)
        stored.totp_secret, stored.totp_since = secret, now()
    assert signs_in(visitor, database, secret) == 303, "it opens before that, too"
    for _ in range(2):
        migrate_and_fill(settings)
        assert secret not in everything(database)
    assert signs_in(visitor, database, secret) == 303


def test_a_new_key_opens_what_the_old_one_has_sealed(user: User) -> None:
    second_factor.keep(Seal([OLD]), user, "JBSWY3DPEHPK3PXP")
    assert second_factor.kept(Seal([NEW, OLD]), user) == "JBSWY3DPEHPK3PXP"
    assert second_factor.kept(Seal([NEW]), user) is None
    second_factor.keep(Seal([NEW, OLD]), user, "JBSWY3DPEHPK3PXP")
    assert second_factor.kept(Seal([NEW]), user) == "JBSWY3DPEHPK3PXP", "the newest one closes"


def test_with_the_wrong_key_no_code_fits_but_a_recovery_code(
    browser: TestClient, app: FastAPI, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    secret = turn_on(browser)
    with database.write() as session:
        codes = second_factor.make_codes(session, session.exec(select(User)).one())
    app.state.seal = Seal([NEW])
    assert signs_in(browser, database, secret) == 401
    assert "SECRET_KEY" in caplog.text
    assert secret not in caplog.text
    page = browser.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).text
    hidden = dict(re.findall(r'name="(token|next)" value="([^"]*)"', page))
    assert browser.post("/sign-in/code", data=hidden | {"code": codes[0]}).status_code == 303


def test_what_is_sealed_for_one_opens_for_no_other(user: User) -> None:
    seal = Seal([OLD])
    second_factor.keep(seal, user, "JBSWY3DPEHPK3PXP")
    other = User(email="x@y.example", name="x", password_hash="x", totp_secret=user.totp_secret)
    assert second_factor.kept(seal, other) is None
    sealed = seal.close("a", "one thing")
    assert (seal.open(sealed, "one thing"), seal.open(sealed, "another")) == ("a", None)
    assert seal.open(sealed, "one thing", -1) is None, "too long ago"
    for wrong in ("", "x", sealed[:-4] + "AAA=", "é"):
        assert seal.open(wrong, "one thing") is None
    assert is_sealed(sealed)
    assert not any(is_sealed(second_factor.new_secret()) for _ in range(100))


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    settings = CrmSettings(data_dir=tmp_path / "new")
    with ThreadPoolExecutor(8) as pool:
        seals = list(pool.map(lambda _: seal_of(settings), range(8)))
    sealed = seals[0].close("a", "x")
    assert {seal.open(sealed, "x") for seal in seals} == {"a"}
    assert [path.name for path in settings.data_dir.iterdir()] == [KEY_FILE]
    path = settings.data_dir / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) == 43, "256 bits"


def test_a_key_from_the_settings_needs_no_file(tmp_path: Path) -> None:
    settings = CrmSettings(data_dir=tmp_path, secret_key=SecretStr(f"{NEW}, {OLD}"))
    assert seal_of(settings).open(Seal([OLD]).close("a", "x"), "x") == "a"
    assert list(tmp_path.iterdir()) == []


def test_where_none_can_be_kept_it_has_to_be_given(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(SettingsError, match="POSTHASTE_SECRET_KEY: give one"):
        seal_of(CrmSettings(data_dir=tmp_path))
    (tmp_path / KEY_FILE).rmdir()
    (tmp_path / KEY_FILE).touch()
    with pytest.raises(SettingsError, match="is empty"):
        seal_of(CrmSettings(data_dir=tmp_path))


@pytest.mark.parametrize(("key", "good"), [(NEW, True), (f"{NEW},{OLD}", True), (f"{NEW},short", False), ("x", False)])
def test_a_weak_one_is_refused_in_production(key: str, good: bool) -> None:
    found = CrmSettings(environment="production", secret_key=SecretStr(key)).weaknesses()["secret_key"]
    assert (found is None) is good
