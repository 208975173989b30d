"""What changes the sandbox inbox. Its mails lie in a file of their own."""

from crm_api.audit.record import record
from crm_api.auth.principal import Principal
from crm_api.db import Database
from crm_api.sandbox.store import SandboxStore


def clear(store: SandboxStore, database: Database, principal: Principal) -> int:
    """How many mails were deleted. Two databases cannot commit together: the entry follows the file."""
    with database.write() as session:
        count = store.clear()
        record(session, principal, "sandbox.cleared", "", "sandbox inbox", mails=count)
    return count
