"""/reconciliation: what agrees, what does not, what was mended by itself, and what a person can do."""

from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from crm_api.auth.deps import SignedIn
from crm_api.deps import DatabaseDep, SettingsDep
from crm_api.errors import NotFound
from crm_api.messages import service as messages
from crm_api.paging import Cursor
from crm_api.reconciliation import service, words
from crm_api.reconciliation.api import give_up_all, requeue_all
from crm_api.web.templates import render
from crm_api.web.toasts import Toast, redirect
from crm_api.web.words import plural

router = APIRouter(include_in_schema=False)

HERE = "/reconciliation"


@router.get("/reconciliation")
def page(
    request: Request,
    database: DatabaseDep,
    settings: SettingsDep,
    _: SignedIn,
    cursor: Cursor = None,
) -> Response:
    with database.read() as session:
        state = service.state(session, settings)
        findings, following = service.findings(session, cursor)
        unequal = [messages.get(session, one) for one in state.figures.unequal]
    return render(
        request,
        "reconciliation/reconciliation.html",
        parts={"figures": "reconciliation/figures.html"},
        state=state,
        figures=state.figures,
        lede=words.lede(state),
        unequal=unequal,
        findings=findings,
        words=words,
        first=HERE if cursor else None,
        next=f"{HERE}?{urlencode({'cursor': following})}" if following else None,
    )


@router.post("/reconciliation/compare")
def compare(database: DatabaseDep, _: SignedIn) -> Response:
    with database.write() as session:
        service.ask(session)
    return redirect(HERE, Toast("Compared in a moment.", "The figures change by themselves."))


@router.post("/reconciliation/requeue")
def requeue(database: DatabaseDep, settings: SettingsDep, signed_in: SignedIn) -> Response:
    return redirect(HERE, _requeued(requeue_all(database, settings, signed_in)))


@router.post("/messages/{message_id}/finish")
def finish(message_id: UUID, database: DatabaseDep, settings: SettingsDep, signed_in: SignedIn) -> Response:
    with database.read() as session:
        messages.get(session, message_id)
    return redirect(f"/messages/{message_id}", _requeued(requeue_all(database, settings, signed_in, message_id)))


def _requeued(count: int) -> Toast:
    if not count:
        return Toast("Nothing to requeue.", "Each of them has an outcome by now, or is on its way.")
    return Toast(f"{plural(count, 'letter')} requeued.", "What was sent already is not sent again.")


@router.post("/reconciliation/give-up")
def give_up(database: DatabaseDep, settings: SettingsDep, signed_in: SignedIn) -> Response:
    count = give_up_all(database, settings, signed_in)
    return redirect(HERE, Toast(f"{plural(count, 'letter needs', 'letters need')} a person now.", "Outcome unknown."))


@router.get("/reconciliation/strangers/remove")
def confirm_remove(
    request: Request, database: DatabaseDep, _: SignedIn, key: Annotated[str, Query(max_length=500)] = ""
) -> Response:
    """The question on a page of its own, for browsers without JavaScript."""
    with database.read() as session:
        found = service.strangers(session, [key])
    if not found:
        raise NotFound("There is no such dead letter any more.")
    return render(request, "reconciliation/remove.html", stranger=found[0], words=words)


@router.post("/reconciliation/strangers/remove")
def remove(database: DatabaseDep, signed_in: SignedIn, key: Annotated[str, Form(max_length=500)]) -> Response:
    with database.write() as session:
        service.remove_strangers(session, [key], signed_in)
    return redirect(HERE, Toast("Removed.", "It leaves the dead-letter queue in a moment."))
