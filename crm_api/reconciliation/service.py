"""What a person asks of reconciliation. Each verb takes the session of one transaction and never commits."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import Session, col, select

from crm_api.audit.record import record
from crm_api.auth.principal import Principal
from crm_api.changes import announce
from crm_api.dead_letters.models import DeadLetterRemoval
from crm_api.errors import Conflict
from crm_api.messages import service as messages
from crm_api.messages.models import Message
from crm_api.paging import make_cursor, read_cursor
from crm_api.reconciliation import letters
from crm_api.reconciliation.dead_letters import note
from crm_api.reconciliation.figures import Figures, from_row, newest, to_row
from crm_api.reconciliation.models import ASKED, Finding, Look, Stranger
from crm_api.settings import CrmSettings
from shared.clock import now

HERE = "reconciliation", "Reconciliation"  # what the audit calls it
AT_ONCE = 500  # letters in one transaction
MOST_STRANGERS = 200  # shown


@dataclass(frozen=True)
class State:
    """The newest comparison. at is None if there has been none; stale: it should have been repeated long ago."""

    at: datetime | None
    stale: bool
    figures: Figures
    strangers: list[Stranger]
    requeued_at: datetime | None  # about when the missing ones are requeued by themselves


def state(session: Session, settings: CrmSettings) -> State:
    look = newest(session)
    if look is None:
        return State(None, True, Figures([], reached=False), [], None)
    figures = from_row(look)
    strangers = session.exec(select(Stranger).order_by(col(Stranger.found_at).desc()).limit(MOST_STRANGERS)).all()
    stale = look.at < now() - timedelta(seconds=5 * settings.reconcile_seconds)
    return State(look.at, stale, figures, list(strangers), _requeued_at(session, settings, figures))


def _requeued_at(session: Session, settings: CrmSettings, figures: Figures) -> datetime | None:
    """The oldest look in an unbroken row that says that something is missing, and the patience after it."""
    if not figures.missing:
        return None
    first = None
    for look in session.exec(select(Look).order_by(col(Look.at).desc())):
        if not from_row(look).missing:
            break
        first = look.at
    return first + timedelta(minutes=settings.requeue_minutes) if first else None


def findings(session: Session, cursor: str | None = None, limit: int = 50) -> tuple[list[Finding], str | None]:
    """Newest first, and the cursor of what is older."""
    rows = select(Finding).order_by(col(Finding.id).desc()).limit(limit + 1)
    if cursor:
        rows = rows.where(col(Finding.id) < read_cursor(cursor, UUID)[0])
    found = list(session.exec(rows))
    return found[:limit], make_cursor(found[limit - 1].id) if len(found) > limit else None


def missing_of(session: Session, settings: CrmSettings, message: Message) -> int:
    """How many letters of this message wait for nothing: the broker has lost them."""
    if not (message.queued or message.deferred or message.unknown):
        return 0
    return len(_missing(session, settings, message.id))


def requeue(session: Session, settings: CrmSettings, principal: Principal, message_id: UUID | None = None) -> int:
    """Requeues what is missing, of one message if it is named; at most AT_ONCE at a time, 0 when none is left."""
    rows = _missing(session, settings, message_id)[:AT_ONCE]
    done = letters.requeue(session, rows, principal.name)
    if done:
        note(session, "requeued", [row.id for row in rows], now(), principal.name, message_id)
        if message_id:
            subject = messages.get(session, message_id).subject
            record(session, principal, "message.requeued", message_id, subject, letters=done)
        else:
            record(session, principal, "reconciliation.requeued", *HERE, letters=done)
        _lower(session, rows, "missing")
    return done


def give_up(session: Session, settings: CrmSettings, principal: Principal) -> int:
    """What is missing for so long that the ledger may not know it any more becomes `unknown`; at most AT_ONCE."""
    rows = _missing(session, settings, None, old=True)[:AT_ONCE]
    done = letters.give_up(session, rows, principal.name)
    if done:
        note(session, "lost", [row.id for row in rows], now(), principal.name)
        record(session, principal, "reconciliation.given_up", *HERE, letters=done)
        _lower(session, rows, "old")
    return done


def _missing(session: Session, settings: CrmSettings, message_id: UUID | None, old: bool = False) -> list[letters.Lost]:
    """As the newest comparison saw it, without those that have an outcome by now."""
    look = newest(session)
    if look is None:
        return []
    figures, remembered = from_row(look), letters.remembered_since(settings, now())
    found: list[letters.Lost] = []
    for one in figures.lanes:
        if most := one.missing + one.old:
            seen = letters.seen_empty(session, one.lane, look.at)
            found += letters.lost(session, one.lane, seen, most, message_id)
    return [row for row in found if (row.since < remembered) == old]


def _lower(session: Session, rows: list[letters.Lost], name: str) -> None:
    """What the newest comparison says is changed along, so that the page does not offer the same letters again."""
    look = newest(session)
    assert look is not None
    figures = from_row(look)
    for lane in figures.lanes:
        gone = sum(row.lane == lane.lane for row in rows)
        setattr(lane, name, max(0, getattr(lane, name) - gone))
        lane.queued -= min(lane.queued, sum(row.lane == lane.lane and row.state == "queued" for row in rows))
        lane.late -= min(lane.late, sum(row.lane == lane.lane and row.state != "queued" for row in rows))
    session.merge(to_row(look.at, figures))
    announce(session, "system")


def strangers(session: Session, keys: list[str]) -> list[Stranger]:
    asked = [key for key in keys if "\0" not in key]  # no database text holds NUL
    return list(session.exec(select(Stranger).where(col(Stranger.key).in_(asked))))


def remove_strangers(session: Session, keys: list[str], principal: Principal) -> int:
    """Dead letters that are no delivery's are taken out of mail.dead.v1 for good. Raises Conflict if none is there."""
    found = strangers(session, keys)
    if not found:
        raise Conflict("They are gone already. Look again.")
    for one in found:
        session.merge(DeadLetterRemoval(key=one.key))
        session.delete(one)
    note(session, "strangers_removed", [one.key for one in found], now(), principal.name)
    record(session, principal, "reconciliation.removed", *HERE, keys=[one.key for one in found])
    look = newest(session)
    if look is not None:
        figures = from_row(look)
        figures.strangers = max(0, figures.strangers - len(found))
        session.merge(to_row(look.at, figures))
    announce(session, "dead_letters", "reconciliation", "system")
    return len(found)


def ask(session: Session) -> None:
    """Dispatch compares now."""
    announce(session, ASKED)
