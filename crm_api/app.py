"""The web application: all wiring in one place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool

from crm_api.auth import access
from crm_api.auth.door import Door
from crm_api.auth.guard import guard
from crm_api.auth.sealing import seal_of
from crm_api.changes import ChangeFeed
from crm_api.db import Database
from crm_api.errors import install_error_handlers
from crm_api.messages.fast_lane import FastLane
from crm_api.messages.intake import Intake
from crm_api.monitoring import alarms
from crm_api.routes import router
from crm_api.sandbox.service import finish_clearing
from crm_api.sandbox.store import SANDBOX_FILE, SandboxStore
from crm_api.senders import allowed as senders
from crm_api.settings import CrmSettings
from crm_api.web.away import DatabaseAway
from crm_api.web.body_limit import BodyLimit, largest_request, ordinary_request
from crm_api.web.openapi import describe_problems
from crm_api.web.proxies import TrustedProxies
from crm_api.web.security import SecurityHeaders
from crm_api.web.zone import ReadersZone
from shared.files import FileStore

DESCRIPTION = """
Customers, and letters to them. A message is answered with 202 as soon as it is committed; what becomes of each of its
deliveries can be asked at any time. Every error is a problem document (RFC 9457) that names the field.
"""


def create_app(settings: CrmSettings) -> FastAPI:
    database = Database(settings.database)
    files = FileStore(settings.files_dir)
    sandbox = SandboxStore(settings.data_dir / SANDBOX_FILE)
    feed = ChangeFeed(database.url, {"sandbox": sandbox.path}, alarms.tell_deaf)
    feed.on(access.TOPIC, access.look_again)
    feed.on(senders.TOPIC, senders.look_again)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await feed.start()
        app.state.intake.start()
        await run_in_threadpool(finish_clearing, sandbox, database)
        yield
        await feed.close()
        app.state.intake.close()
        database.close()

    app = FastAPI(
        title="Posthaste",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(guard)],  # of what is added to the app itself; the routes have it already
    )
    app.state.settings = settings
    app.state.database = database
    app.state.seal = seal_of(settings)
    app.state.openid = _openid(settings)
    app.state.intake = Intake(database, files, settings)
    app.state.feed = feed
    app.state.sandbox = sandbox
    app.state.files = files
    install_error_handlers(app)
    app.add_middleware(FastLane)
    app.add_middleware(Door)
    app.add_middleware(DatabaseAway)
    app.add_middleware(ReadersZone)
    app.add_middleware(BodyLimit, most=largest_request(settings), ordinary=ordinary_request(settings))
    app.add_middleware(SecurityHeaders, public_url=settings.public_url)
    app.add_middleware(TrustedProxies, networks=settings.proxies)
    app.router.routes.extend(router.routes)
    describe_problems(app)
    return app


def _openid(settings: CrmSettings) -> Any:
    """The provider, if there is one; else its libraries are not even read (6 MB)."""
    if not settings.openid_issuer:
        return None
    from crm_api.openid.provider import Provider

    return Provider(settings)
