"""/api/v1/reconciliation, and "finish the remainder" of a message."""

from uuid import UUID

from fastapi import APIRouter, Response

from crm_api.auth.deps import SignedIn
from crm_api.db import Database
from crm_api.deps import DatabaseDep, SettingsDep
from crm_api.messages import service as messages
from crm_api.paging import Cursor, Limit, Page
from crm_api.reconciliation import service
from crm_api.reconciliation.schemas import (
    Done,
    FindingOut,
    LaneOut,
    ReconciliationOut,
    RemoveDraft,
    StrangerOut,
)

router = APIRouter(prefix="/api/v1", tags=["reconciliation"])

MOST_AT_ONCE = 100_000  # letters in one request


@router.get("/reconciliation")
def reconciliation(database: DatabaseDep, settings: SettingsDep, _: SignedIn) -> ReconciliationOut:
    """The newest comparison of database, broker and dead letters. Dispatch makes one every minute."""
    with database.read() as session:
        found = service.state(session, settings)
    figures = found.figures
    return ReconciliationOut(
        at=found.at,
        reached=figures.reached,
        obstacle=figures.obstacle or None,
        differences=figures.differences,
        lanes=[LaneOut.model_validate(lane) for lane in figures.lanes],
        waiting=figures.waiting,
        waits=figures.waits,
        failures=figures.failures,
        leaving=figures.leaving,
        dead=figures.dead,
        without=figures.without,
        unequal=figures.unequal,
        strangers=[StrangerOut.model_validate(one) for one in found.strangers],
        requeued_at=found.requeued_at,
    )


@router.get("/reconciliation/findings")
def findings(database: DatabaseDep, _: SignedIn, cursor: Cursor = None, limit: Limit = 50) -> Page[FindingOut]:
    """What did not agree, and what was done about it, newest first; kept for 90 days."""
    with database.read() as session:
        rows, following = service.findings(session, cursor, limit)
        return Page(items=[FindingOut.model_validate(row) for row in rows], next=following)


@router.post("/reconciliation/compare", status_code=202, response_class=Response)
def compare(database: DatabaseDep, _: SignedIn) -> Response:
    """Has dispatch compare now instead of within the minute."""
    with database.write() as session:
        service.ask(session)
    return Response(status_code=202)


@router.post("/reconciliation/requeue")
def requeue(database: DatabaseDep, settings: SettingsDep, signed_in: SignedIn) -> Done:
    """Requeues what the broker has lost. Nothing that was sent is sent again."""
    return Done(count=requeue_all(database, settings, signed_in))


@router.post("/reconciliation/give-up")
def give_up(database: DatabaseDep, settings: SettingsDep, signed_in: SignedIn) -> Done:
    """What was lost too long ago to know whether it was sent becomes `unknown`, for a person to decide."""
    return Done(count=give_up_all(database, settings, signed_in))


@router.post("/reconciliation/strangers/remove")
def remove(draft: RemoveDraft, database: DatabaseDep, signed_in: SignedIn) -> Done:
    """Takes dead letters that are no delivery's out of mail.dead.v1 for good."""
    with database.write() as session:
        return Done(count=service.remove_strangers(session, draft.keys, signed_in))


@router.post("/messages/{message_id}/finish")
def finish(message_id: UUID, database: DatabaseDep, settings: SettingsDep, signed_in: SignedIn) -> Done:
    """Requeues those letters of the message that the broker has lost; nothing that was sent is sent again."""
    with database.read() as session:
        messages.get(session, message_id)
    return Done(count=requeue_all(database, settings, signed_in, message_id))


def requeue_all(database: Database, settings: SettingsDep, principal: SignedIn, message_id: UUID | None = None) -> int:
    """In transactions of a few hundred, so that nobody waits long for the database."""
    done = 0
    while done < MOST_AT_ONCE:
        with database.write() as session:
            some = service.requeue(session, settings, principal, message_id)
        if not some:
            break
        done += some
    return done


def give_up_all(database: Database, settings: SettingsDep, principal: SignedIn) -> int:
    done = 0
    while done < MOST_AT_ONCE:
        with database.write() as session:
            some = service.give_up(session, settings, principal)
        if not some:
            break
        done += some
    return done
