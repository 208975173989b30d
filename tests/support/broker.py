"""The broker's users with few rights, in a virtual host of a test."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import quote

from crm_api.broker import BrokerSettings, set_up
from local.management import Management
from local.rabbitmq import Node


@dataclass(frozen=True)
class Users:
    """Made anew: users belong to the whole node, and a later test gives them other passwords."""

    node: Node
    vhost: str
    passwords: dict[str, str]

    def url(self, user: str) -> str:
        return f"amqp://{user}:{self.passwords[user]}@127.0.0.1:{self.node.port}/{self.vhost}"

    def console(self, user: str) -> Management:
        return Management(self.node.management_url, user, self.passwords[user])


def make_users(node: Node, amqp_url: str, passwords: dict[str, str] | None = None) -> Users:
    """As `python -m crm_api broker` does it. passwords: of dispatch, mailroom and console, if not any will do."""
    passwords = passwords or {user: secrets.token_hex(16) for user in ("dispatch", "mailroom", "console")}
    users = Users(node, amqp_url.rpartition("/")[2], passwords)
    root = node.management_url.replace("://", f"://{node.user}:{quote(node.password)}@")
    named = {f"{user}_password": password for user, password in passwords.items()}
    set_up(BrokerSettings(broker_admin_url=root, broker_vhost=users.vhost, **named))  # type: ignore[arg-type]
    return users
