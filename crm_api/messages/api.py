"""/api/v1/messages, /api/v1/deliveries, /api/v1/files."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Header, Query, Response, UploadFile
from sqlmodel import Session

from crm_api.auth.deps import SignedIn
from crm_api.auth.stay import StayDep
from crm_api.deps import DatabaseDep, FeedDep, FilesDep, IntakeDep, SettingsDep
from crm_api.errors import Invalid
from crm_api.messages import actions, service, timeline
from crm_api.messages.idempotency import MAX_CHARACTERS, key_of
from crm_api.messages.intake import Request
from crm_api.messages.models import Delivery, Message
from crm_api.messages.planning import MOST_DELIVERIES, Plan
from crm_api.messages.schemas import (
    AttachmentOut,
    Counts,
    DeliveryDetail,
    DeliveryOut,
    FileOut,
    MessageDetail,
    MessageDraft,
    MessageOut,
    RetryDraft,
    StepOut,
)
from crm_api.messages.states import OPEN, State
from crm_api.monitoring.service import parts
from crm_api.monitoring.words import held_up
from crm_api.paging import Cursor, Limit, Page
from shared.clock import now

router = APIRouter(prefix="/api/v1", tags=["messages"])

MAX_WAIT_SECONDS = 60

States = Annotated[
    str | None,
    Query(max_length=200, description="one or several, separated by commas", examples=["failed,unknown"]),
]
IdempotencyKey = Annotated[
    str | None,
    Header(max_length=MAX_CHARACTERS, description="same key and body: same answer, nothing sent again"),
]


@router.post("/messages", status_code=202, response_model=MessageDetail, responses={429: {}})
async def create_message(
    draft: MessageDraft,
    signed_in: SignedIn,
    intake: IntakeDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Takes a message in. 202 means it is committed: it is sent, or a person sees it fail."""
    key = key_of(signed_in.scope, idempotency_key, draft, intake.digest)
    answer = await intake.take(Request(draft, signed_in, now(), _tell, key))
    headers = {"Location": f"/api/v1/messages/{answer.message_id}"}
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.body, 202, headers, "application/json")


def _tell(plan: Plan) -> str:
    return plan.detail.model_dump_json()


@router.get("/messages")
def list_messages(
    signed_in: SignedIn,
    database: DatabaseDep,
    state: States = None,
    q: Annotated[
        str | None, Query(max_length=200, description="beginnings of words in the subject, or of an address")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[MessageOut]:
    """Newest first."""
    check_states(state)
    with database.read() as session:
        rows, following = service.list_page(session, state=state, query=q, cursor=cursor, limit=limit)
        return Page(items=[out_of(row) for row in rows], next=following)


@router.get("/messages/{message_id}")
async def get_message(
    message_id: UUID,
    signed_in: SignedIn,
    database: DatabaseDep,
    feed: FeedDep,
    stay: StayDep,
    wait: Annotated[int, Query(ge=0, le=MAX_WAIT_SECONDS, description="seconds to wait until it is done")] = 0,
) -> MessageDetail:
    """With `wait`: answers as soon as no delivery is open any more, at the latest after that time."""

    def look() -> MessageDetail:
        with database.read() as session:
            return detail_of(session, service.get(session, message_id))

    deadline = asyncio.get_running_loop().time() + wait
    with feed.subscribe() as changes:
        while True:
            found = await asyncio.to_thread(look)
            left = deadline - asyncio.get_running_loop().time()
            if found.done_at or left <= 0 or feed.closed:
                return found
            await changes.until({f"message:{message_id}", stay.topic}, stay.at_most(left))
            await stay.check_again()


@router.post("/messages/{message_id}/cancel")
def cancel_message(message_id: UUID, signed_in: SignedIn, database: DatabaseDep) -> MessageDetail:
    """Cancels every delivery that has not left yet; 409 if none is left."""
    with database.write() as session:
        actions.cancel_message(session, message_id, signed_in)
        return detail_of(session, service.get(session, message_id))


@router.get("/deliveries")
def list_deliveries(
    signed_in: SignedIn,
    database: DatabaseDep,
    message_id: UUID | None = None,
    customer_id: UUID | None = None,
    state: States = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DeliveryOut]:
    """In the order they were written."""
    check_states(state)
    with database.read() as session:
        rows, following = service.deliveries(
            session, message_id, customer_id=customer_id, state=state, cursor=cursor, limit=limit
        )
        return Page(items=_delivery_rows(session, rows), next=following)


@router.get("/deliveries/{delivery_id}")
def get_delivery(delivery_id: UUID, signed_in: SignedIn, database: DatabaseDep) -> DeliveryDetail:
    """With every hop and every line of the SMTP conversations."""
    with database.read() as session:
        return _delivery_detail(session, service.get_delivery(session, delivery_id))


@router.post("/deliveries/{delivery_id}/cancel")
def cancel_delivery(delivery_id: UUID, signed_in: SignedIn, database: DatabaseDep) -> DeliveryDetail:
    """Only while it is pending; 409 afterwards."""
    with database.write() as session:
        return _delivery_detail(session, actions.cancel(session, delivery_id, signed_in))


@router.post("/deliveries/{delivery_id}/retry")
def retry_delivery(
    delivery_id: UUID,
    signed_in: SignedIn,
    database: DatabaseDep,
    settings: SettingsDep,
    draft: RetryDraft | None = None,
) -> DeliveryDetail:
    """Sends a failed, unknown, suppressed or bounced one again and takes it out of mail.dead.v1."""
    with database.write() as session:
        address = draft.address if draft else None
        return _delivery_detail(session, actions.retry(session, settings, delivery_id, signed_in, address))


@router.post("/deliveries/{delivery_id}/discard")
def discard_delivery(delivery_id: UUID, signed_in: SignedIn, database: DatabaseDep) -> DeliveryDetail:
    """Lets a failed or unknown one be and takes it out of mail.dead.v1."""
    with database.write() as session:
        return _delivery_detail(session, actions.discard(session, delivery_id, signed_in))


@router.post("/files", status_code=201)
def upload_file(
    file: UploadFile,
    signed_in: SignedIn,
    database: DatabaseDep,
    files: FilesDep,
    settings: SettingsDep,
    sha256: Annotated[
        str | None, Form(pattern=r"^([0-9a-f]{64})?$", max_length=64, description="checked if given")
    ] = None,
) -> FileOut:
    """Stores an attachment; a message names it by its hash."""
    content = file.file.read(settings.max_attachment_bytes + 1)
    with database.write() as session:
        stored = service.store_file(
            session, signed_in, files, settings, content, file.filename or "", file.content_type, sha256
        )
        return FileOut.model_validate(stored)


def check_states(state: str | None) -> None:
    if state and (wrong := set(state.split(",")) - set(State)):
        raise Invalid.field("state", f"There is no state {', '.join(sorted(wrong))}. Take: {', '.join(State)}.")


def out_of(message: Message) -> MessageOut:
    return MessageOut.model_validate(_members(message))


def _members(message: Message) -> dict[str, object]:
    row = message.model_dump()
    return row | {"counts": Counts.model_validate(row)}


def detail_of(session: Session, message: Message) -> MessageDetail:
    rows, _ = service.deliveries(session, message.id, limit=MOST_DELIVERIES)
    return MessageDetail.model_validate(
        _members(message)
        | {
            "attachments": [AttachmentOut.model_validate(row) for row in service.attachments(session, message.id)],
            "deliveries": _delivery_rows(session, rows),
        }
    )


def _delivery_detail(session: Session, delivery: Delivery) -> DeliveryDetail:
    session.flush()
    steps = timeline.steps(session, delivery, service.get(session, delivery.message_id))
    (shown,) = _delivery_rows(session, [delivery])
    return DeliveryDetail.model_validate(
        shown.model_dump() | {"timeline": [StepOut.model_validate(step) for step in steps]}
    )


def _delivery_rows(session: Session, rows: list[Delivery]) -> list[DeliveryOut]:
    shown = [DeliveryOut.model_validate(row) for row in rows]
    due = [row for row in shown if row.state in OPEN and row.due_at <= now()]
    system = parts(session) if due else None
    for row in due:
        row.waits = held_up(system, row.state) if system else None
    return shown
