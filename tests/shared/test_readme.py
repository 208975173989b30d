"""The README's configuration table says what the settings say: every name, every default, no other."""

import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from crm_api.broker import BrokerSettings
from crm_api.databases import DatabasesSettings
from crm_api.settings import CrmSettings
from email_service.settings import MailRoomSettings
from shared.settings import PosthasteSettings

README = Path(__file__).resolve().parents[2] / "README.md"


def shown(default: Any) -> str:
    plain = default.get_secret_value() if isinstance(default, SecretStr) else default
    if isinstance(plain, bool):
        plain = int(plain)
    return "" if plain in (None, "") else f"`{plain}`"


def test_the_configuration_table_is_true() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (\S*) ?\|", README.read_text(), re.MULTILINE))
    settings = {
        name.upper(): shown(field.default)
        for kind in (PosthasteSettings, CrmSettings, MailRoomSettings, BrokerSettings, DatabasesSettings)
        for name, field in kind.model_fields.items()
    }
    assert rows == settings
