"""What changes the sandbox inbox. Its mails lie in a file of their own, which cannot commit together with an entry: the
entry is the decision and says up to which mail, the file follows, at the latest at web's next start."""

import logging

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from crm_api.audit.models import RARE, AuditEntry
from crm_api.audit.record import record
from crm_api.auth.principal import Principal
from crm_api.db import Database
from crm_api.sandbox.store import SandboxStore

log = logging.getLogger(__name__)

ACTION = "sandbox.cleared"


def clear(store: SandboxStore, database: Database, principal: Principal) -> int:
    """How many mails are deleted: those that were there when it was asked."""
    newest, count = store.newest(), store.count()
    with database.write() as session:
        record(session, principal, ACTION, "", "sandbox inbox", mails=count, up_to=newest)
    store.clear(newest)
    return count


def finish_clearing(store: SandboxStore, database: Database) -> int:
    """Deletes what the last entry names and a crash has left; how many mails. A database that is away is no error."""
    last_entry = (
        select(AuditEntry)
        .where(col(AuditEntry.action) == ACTION, text(RARE))
        .order_by(col(AuditEntry.id).desc())
        .limit(1)
    )
    try:
        with database.read() as session:
            last = session.exec(last_entry).first()
    except SQLAlchemyError as problem:
        log.warning("cannot look whether the sandbox inbox is to be emptied", extra={"reason": type(problem).__name__})
        return 0
    if last is None:
        return 0
    # by time, too: ids begin anew when somebody deletes the file
    return store.clear(int(str(last.data.get("up_to", 0))), received_until=last.at)
