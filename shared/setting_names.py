"""The names of all settings, of all processes: who misspells one is told, instead of being left with a default."""

import logging
import os
from collections.abc import Mapping
from difflib import get_close_matches

log = logging.getLogger("settings")

PREFIX = "POSTHASTE_"
_NAMES = """
DATA_DIR ENVIRONMENT AMQP_URL LOG_LEVEL LOG_FORMAT SANDBOX_SMTP_PORT LEDGER_DAYS

HOST PORT PUBLIC_URL TRUSTED_PROXIES MAX_CONNECTIONS STRANGERS_PER_ADDRESS REQUEST_SECONDS DATABASE_URL ADMIN_EMAIL
ADMIN_PASSWORD API_KEY SECRET_KEY OPENID_ISSUER
OPENID_CLIENT_ID OPENID_CLIENT_SECRET OPENID_LABEL OPENID_HOSTS OPENID_ADD_DOMAINS OPENID_ADD_ROLE OPENID_ONLY SAMPLES
SENDER_NAME SENDER_ADDRESS UNDO_SECONDS EXPIRE_HOURS MAX_BODY_BYTES MAX_ATTACHMENT_BYTES MAX_ATTACHMENTS_BYTES
MAX_RECIPIENTS SENDS_PER_MINUTE BULK_IN_BROKER RECONCILE_SECONDS REQUEUE_MINUTES CONSOLE_URL

SMTP_URL SMTP_CA_FILE HELO_NAME LEDGER_URL WORKERS CONNECTIONS ROOM CONNECT_SECONDS GREETING_SECONDS COMMAND_SECONDS
DATA_SECONDS DOT_SECONDS RESET_SECONDS CONNECTION_MAILS CONNECTION_SECONDS IDLE_SECONDS LEASE_SECONDS PROBE_SECONDS
FROZEN_SECONDS DRAIN_SECONDS RETRY_SCALE

BROKER_ADMIN_URL BROKER_VHOST DISPATCH_PASSWORD MAILROOM_PASSWORD CONSOLE_PASSWORD

DATABASE_ADMIN_URL CRM_DATABASE_PASSWORD MAILROOM_DATABASE_PASSWORD LEDGER_DATABASE
"""
# no process knows the settings of the others; a test compares this with all of them
SETTINGS = frozenset(_NAMES.split())
# of `make`, the launcher and the tests
TOOLS = frozenset({"CACHE_DIR", "CHROMIUM", "VERBOSE", "TEST_MARK"})


def warn_of_unknown() -> None:
    for sentence in unknown(os.environ):
        log.warning(sentence)


def unknown(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that begins as ours do and is none. Its value is not said."""
    return [_sentence(name) for name in sorted(environment) if _is_unknown(name.upper())]


def _is_unknown(name: str) -> bool:
    if not name.startswith(PREFIX):
        return False
    name = name.removeprefix(PREFIX)
    return not {name, name.removesuffix("_FILE")} & (SETTINGS | TOOLS)


def _sentence(name: str) -> str:
    known = sorted(SETTINGS | {f"{each}_FILE" for each in SETTINGS})
    near = get_close_matches(name.upper().removeprefix(PREFIX), known, 1, 0.75)
    meant = f": did you mean {PREFIX}{near[0]}?" if near else "."
    return f"There is no setting {name}, so it does nothing{meant}"
