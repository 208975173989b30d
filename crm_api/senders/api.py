"""/api/v1/senders."""

from uuid import UUID

from fastapi import APIRouter, Response

from crm_api.auth.deps import SignedIn
from crm_api.deps import DatabaseDep, SettingsDep
from crm_api.senders import service
from crm_api.senders.allowed import default
from crm_api.senders.schemas import SenderIn, SenderOut, Senders

router = APIRouter(prefix="/api/v1/senders", tags=["senders"])


@router.get("")
def list_senders(database: DatabaseDep, settings: SettingsDep, _: SignedIn) -> Senders:
    """Who may stand in From. Any other sender is refused with 422."""
    with database.read() as session:
        rows = [SenderOut.of(row) for row in service.list_all(session)]
    domain = default(settings).written
    only = SenderOut(id=None, sender=domain, name="", created_at=None, created_by="")
    return Senders(default=settings.sender_address, items=rows or [only])


@router.post("", status_code=201)
def allow_sender(
    database: DatabaseDep, settings: SettingsDep, signed_in: SignedIn, body: SenderIn, response: Response
) -> SenderOut:
    """Acts at once. The first one keeps the domain of the settings' sender beside it."""
    with database.write() as session:
        row = service.add(session, settings, signed_in, body.sender, body.name)
        response.headers["Location"] = "/api/v1/senders"
        return SenderOut.of(row)


@router.delete("/{sender_id}", status_code=204)
def remove_sender(database: DatabaseDep, signed_in: SignedIn, sender_id: UUID) -> None:
    """Acts at once on what is written from now on; messages that were taken in still go."""
    with database.write() as session:
        service.remove(session, signed_in, sender_id)
