"""The verbs of senders."""

from collections.abc import Sequence
from uuid import UUID

from sqlmodel import Session, select

from crm_api.audit.record import record
from crm_api.auth.principal import Principal
from crm_api.errors import FieldProblem, Invalid, NotFound
from crm_api.senders.allowed import changed, default
from crm_api.senders.models import AllowedSender
from crm_api.settings import CrmSettings
from shared.addresses import BadAddress, address_key, ascii_domain, clean_sender
from shared.header_text import BadHeader, one_line

MAX_NAME = 100
MOST = 500  # it is read whole, and a list that nobody can look through guards nothing


def list_all(session: Session) -> Sequence[AllowedSender]:
    return session.exec(select(AllowedSender).order_by(AllowedSender.key)).all()


def add(session: Session, settings: CrmSettings, by: Principal, text: str, name: str = "") -> AllowedSender:
    """The first one keeps the domain of the settings' sender beside it, so that to add takes nothing away.

    Raises Invalid that names every wrong field.
    """
    problems: list[FieldProblem] = []
    key, written = _read(text, problems)
    cleaned = _name(name, key, problems)
    there = {row.key for row in list_all(session)}
    if key and key in there:
        problems.append(FieldProblem("sender", f"{written} is in the list already."))
    if len(there) >= MOST:
        problems.append(FieldProblem("sender", f"The list has at most {MOST} senders: allow a domain instead."))
    if problems:
        raise Invalid(problems[0].message, *problems)
    before = default(settings)
    if not there and before.key != key:
        _store(session, by, before.key, before.written)
    added = _store(session, by, key, written, cleaned)
    changed(session)
    return added


def _store(session: Session, by: Principal, key: str, written: str, name: str = "") -> AllowedSender:
    row = AllowedSender(key=key, written=written, name=name, created_by=by.name)
    session.add(row)
    session.flush()
    record(session, by, "sender.allowed", row.id, written)
    return row


def remove(session: Session, by: Principal, sender_id: UUID) -> AllowedSender:
    """Nobody writes as it from this commit on. What was taken in before still goes."""
    row = session.get(AllowedSender, sender_id, with_for_update=True)
    if row is None:
        raise NotFound("There is no such sender in the list any more.")
    session.delete(row)
    changed(session)
    record(session, by, "sender.removed", row.id, row.written)
    return row


def _read(text: str, problems: list[FieldProblem]) -> tuple[str, str]:
    """Key and how it is written: of ida@example.com, example.com, @example.com or *.example.com."""
    name, _, domain = text.strip().rpartition("@")
    star = "*." if not name and domain.startswith("*.") else ""
    try:
        # what no message could have as its sender is no use in the list
        written = clean_sender(f"{name or 'a'}@{domain.removeprefix(star)}")
    except BadAddress as problem:
        problems.append(FieldProblem("sender", _advice(str(problem), bool(name))))
        return "", ""
    if not name:
        there = written.removeprefix("a@")
        return f"@{star}{ascii_domain(there)}", f"@{star}{there}"
    return address_key(written), written


def _advice(problem: str, is_address: bool) -> str:
    return problem if is_address else "Write an address, like ida@example.com, or a domain, like example.com."


def _name(name: str, key: str, problems: list[FieldProblem]) -> str:
    try:
        cleaned = one_line(name)
    except BadHeader as problem:
        problems.append(FieldProblem("name", str(problem)))
        return ""
    if len(cleaned) > MAX_NAME:
        problems.append(FieldProblem("name", f"A name has at most {MAX_NAME} characters."))
    if cleaned and key.startswith("@"):
        problems.append(FieldProblem("name", "A name goes with an address, not with a whole domain."))
    return cleaned
