"""Every table, so that one import knows them all (migrations, tests)."""

from sqlmodel import SQLModel

from crm_api.audit import models as audit
from crm_api.auth import models as auth
from crm_api.changes import Change
from crm_api.customers import models as customers
from crm_api.dead_letters import models as dead_letters
from crm_api.messages import models as messages
from crm_api.monitoring import models as monitoring
from crm_api.openid import models as openid
from crm_api.reconciliation import models as reconciliation
from crm_api.senders import models as senders

metadata = SQLModel.metadata

__all__ = [
    "Change",
    "audit",
    "auth",
    "customers",
    "dead_letters",
    "messages",
    "metadata",
    "monitoring",
    "openid",
    "reconciliation",
    "senders",
]
