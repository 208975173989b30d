"""The web application: all wiring in one place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool

from crm_api.account.pages import router as account_pages
from crm_api.audit.api import router as audit_api
from crm_api.audit.pages import router as audit_pages
from crm_api.auth import access
from crm_api.auth.door import Door
from crm_api.auth.guard import guard
from crm_api.auth.pages import router as auth_router
from crm_api.auth.sealing import seal_of
from crm_api.changes import ChangeFeed
from crm_api.customers.api import router as customers_api
from crm_api.customers.pages import router as customers_pages
from crm_api.db import Database
from crm_api.errors import install_error_handlers
from crm_api.keys.api import router as keys_api
from crm_api.keys.pages import router as keys_pages
from crm_api.messages.api import router as messages_api
from crm_api.messages.fast_lane import FastLane
from crm_api.messages.intake import Intake
from crm_api.messages.pages import router as messages_pages
from crm_api.monitoring.api import router as monitoring_router
from crm_api.openid.pages import router as openid_router
from crm_api.reconciliation.api import router as reconciliation_api
from crm_api.reconciliation.pages import router as reconciliation_pages
from crm_api.sandbox.api import router as sandbox_api
from crm_api.sandbox.pages import router as sandbox_pages
from crm_api.sandbox.service import finish_clearing
from crm_api.sandbox.store import SANDBOX_FILE, SandboxStore
from crm_api.settings import CrmSettings
from crm_api.users.api import router as users_api
from crm_api.users.pages import router as users_pages
from crm_api.web.body_limit import BodyLimit, largest_request
from crm_api.web.openapi import describe_problems
from crm_api.web.pages import router as web_router
from crm_api.web.proxies import TrustedProxies
from crm_api.web.reference import router as reference_router
from crm_api.web.search import router as search_router
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
    feed = ChangeFeed(database.url, {"sandbox": sandbox.path})
    feed.on(access.TOPIC, access.look_again)

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
        dependencies=[Depends(guard)],
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
    app.add_middleware(ReadersZone)
    app.add_middleware(BodyLimit, most=largest_request(settings))
    app.add_middleware(SecurityHeaders)
    app.add_middleware(TrustedProxies, networks=settings.proxies)
    app.include_router(messages_api)  # routes are tried in this order, and most requests are clicks of programs
    app.include_router(auth_router)
    app.include_router(openid_router)
    app.include_router(customers_api)
    app.include_router(customers_pages)
    app.include_router(messages_pages)
    app.include_router(monitoring_router)
    app.include_router(reconciliation_api)
    app.include_router(reconciliation_pages)
    app.include_router(sandbox_api)
    app.include_router(sandbox_pages)
    app.include_router(users_api)
    app.include_router(users_pages)
    app.include_router(keys_api)
    app.include_router(keys_pages)
    app.include_router(account_pages)
    app.include_router(audit_api)
    app.include_router(audit_pages)
    app.include_router(reference_router)
    app.include_router(search_router)
    app.include_router(web_router)
    describe_problems(app)
    return app


def _openid(settings: CrmSettings) -> Any:
    """The provider, if there is one; else its libraries are not even read (6 MB)."""
    if not settings.openid_issuer:
        return None
    from crm_api.openid.provider import Provider

    return Provider(settings)
