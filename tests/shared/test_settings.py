from pathlib import Path

import pytest

from crm_api.settings import CrmSettings
from email_service.settings import MailRoomSettings
from shared.settings import SettingsError, load


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

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


def test_a_wrong_setting_ends_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHASTE_PORT", "many")
    with pytest.raises(SettingsError, match="POSTHASTE_PORT"):
        load(CrmSettings)


def test_a_secret_file_that_is_missing_ends_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHASTE_API_KEY_FILE", "/nowhere/key")
    with pytest.raises(SettingsError, match="POSTHASTE_API_KEY_FILE"):
        load(CrmSettings)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_the_driver_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHASTE_DATABASE_URL", f"{scheme}://u:p@db/crm")
    assert load(CrmSettings).database == "postgresql+psycopg://u:p@db/crm"


def test_several_brokers_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHASTE_AMQP_URL", "amqp://a/, amqp://b/")
    assert load(CrmSettings).amqp_urls == ["amqp://a/", "amqp://b/"]
