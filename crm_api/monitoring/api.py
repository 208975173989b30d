"""/health for those who start and watch the processes; /api/v1/system for those who use them."""

import logging

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from crm_api.auth.deps import SignedIn
from crm_api.deps import DatabaseDep, SettingsDep
from crm_api.monitoring.schemas import Live, SystemOut, SystemState
from crm_api.monitoring.service import system_state
from shared.tasks import deaths

log = logging.getLogger(__name__)
router = APIRouter(tags=["system"])


@router.get("/health/live", response_model=Live, responses={503: {"description": "it ends, to be started again"}})
async def live() -> Response | Live:
    """The process answers, and has all its parts: 503 while it ends because one has died."""
    if deaths().names:
        return JSONResponse({"status": "a part of the process has died"}, 503)
    return Live()


@router.get("/health/ready", response_model=Live, responses={503: {"description": "not ready"}})
def ready(database: DatabaseDep) -> Response | Live:
    """The database is reachable and migrated. The broker does not matter here: letters are accepted without it."""
    try:
        with database.read() as session:
            session.execute(text("SELECT 1 FROM crm_user LIMIT 1"))
    except SQLAlchemyError as problem:
        log.warning("not ready: %s", type(problem).__name__)
        return JSONResponse({"status": "the database is not reachable"}, 503)
    return Live()


@router.get("/api/v1/system", response_model=SystemOut)
def system(database: DatabaseDep, settings: SettingsDep, signed_in: SignedIn) -> SystemState:
    """What is up, how much waits, and how much needs a person."""
    with database.read() as session:
        return system_state(session, settings.console_url, signed_in)
