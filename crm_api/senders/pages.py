"""/senders: who may stand in From."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from crm_api.auth.deps import SignedIn
from crm_api.db import Database
from crm_api.deps import DatabaseDep, SettingsDep
from crm_api.errors import Invalid
from crm_api.senders import service
from crm_api.senders.allowed import default
from crm_api.settings import CrmSettings
from crm_api.web.templates import render
from crm_api.web.toasts import Toast, redirect

router = APIRouter(include_in_schema=False)

HOME = "/senders"
Text = Annotated[str, Form(max_length=1000)]


@router.get(HOME)
def senders(request: Request, _: SignedIn, database: DatabaseDep, settings: SettingsDep) -> Response:
    return _page(request, database, settings, {"sender": "", "name": ""})


def _page(
    request: Request,
    database: Database,
    settings: CrmSettings,
    typed: dict[str, str],
    problem: Invalid | None = None,
) -> Response:
    with database.read() as session:
        rows = service.list_all(session)
    return render(
        request,
        "senders/list.html",
        status=422 if problem else 200,
        senders=rows,
        typed=typed,
        errors={error.field: error.message for error in problem.errors} if problem else {},
        own=settings.sender_address,
        default=default(settings).written,
    )


@router.post(HOME)
def allow(
    request: Request,
    signed_in: SignedIn,
    database: DatabaseDep,
    settings: SettingsDep,
    sender: Text = "",
    name: Text = "",
) -> Response:
    try:
        with database.write() as session:
            row = service.add(session, settings, signed_in, sender, name)
    except Invalid as problem:
        return _page(request, database, settings, {"sender": sender, "name": name}, problem)
    return redirect(HOME, Toast("Allowed.", f"Who writes messages may choose {row.written} from now on."))


@router.post("/senders/{sender_id}/remove")
def remove(signed_in: SignedIn, database: DatabaseDep, sender_id: UUID) -> Response:
    with database.write() as session:
        row = service.remove(session, signed_in, sender_id)
    return redirect(HOME, Toast("Removed.", f"Nobody writes as {row.written} any more. What waits still goes."))
