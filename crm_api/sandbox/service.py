"""What changes the sandbox inbox. Its mails lie in a file of their own, which cannot commit together with an entry: the
entry is the decision and says up to which mail, the file follows, at the latest at web's next start."""

import logging
import re

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from crm_api.audit.models import RARE, AuditEntry
from crm_api.audit.record import record
from crm_api.auth.principal import Principal
from crm_api.auth.reach import is_narrow
from crm_api.db import Database
from crm_api.errors import Forbidden, NotFound
from crm_api.sandbox.mail import ReadMail, read
from crm_api.sandbox.store import SandboxStore

log = logging.getLogger(__name__)

# /links/<256 random bits> (crm_api.auth.mails)
_LETS_IN = re.compile(r"/links/[\w-]{43}")

ACTION = "sandbox.cleared"


def get(store: SandboxStore, by: Principal, mail_id: int) -> ReadMail:
    """A mail with a link that lets somebody choose a password is not for a key that may less than its user."""
    stored = store.get(mail_id)
    if stored is None:
        raise NotFound("There is no such mail. The inbox may have been emptied.")
    mail = read(stored)
    if is_narrow(by) and _LETS_IN.search(_all_words(mail)):
        raise Forbidden(
            "This mail holds a link with which somebody chooses a password. A key reads it only if it may everything "
            "that its user may, without an end."
        )
    return mail


def _all_words(mail: ReadMail) -> str:
    files = [file.content.decode("ascii", "replace") for file in mail.files]
    headers = [value for _, value in mail.headers]
    return "\n".join([mail.text or "", mail.html or "", *headers, *files])


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
