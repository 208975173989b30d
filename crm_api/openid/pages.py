"""/sign-in/openid: to the OpenID provider, and back from there."""

import hmac
import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from crm_api.account.pages import HOME
from crm_api.auth.cookie import clear_trip, set_trip, token_of, trip_of
from crm_api.auth.deps import SignedIn
from crm_api.auth.door import address_of, from_another_site
from crm_api.auth.pages import Wish, let_in, show_code, show_sign_in, show_too_many, visitor_of
from crm_api.auth.sealing import Seal
from crm_api.auth.service import who_has_session
from crm_api.auth.throttle import TooManyTries
from crm_api.db import Database
from crm_api.deps import DatabaseDep, SealDep, SettingsDep
from crm_api.errors import NotFound
from crm_api.openid.failures import NoEntry
from crm_api.openid.service import come_in, remove_link, use_up
from crm_api.openid.travel import BACK, Trip
from crm_api.web.local_url import here
from crm_api.web.toasts import Toast, redirect

if TYPE_CHECKING:
    from crm_api.openid.provider import Provider  # create_app asks for it where it is used: it brings much along

log = logging.getLogger(__name__)
router = APIRouter(include_in_schema=False)

TRIP_SECONDS = 600
_PURPOSE = "way to the OpenID provider"
_MOST_BYTES = 1000  # of an address to go on to: it travels in a cookie, and a browser keeps 4096 bytes of one
Word = Annotated[str, Query(max_length=4000)]


def _provider(request: Request) -> "Provider":
    provider: Provider | None = request.app.state.openid
    if provider is None:
        raise NotFound("Nobody signs in with OpenID Connect here: the settings name no provider.")
    return provider


@router.get("/sign-in/openid")
async def way_there(
    request: Request, database: DatabaseDep, settings: SettingsDep, seal: SealDep, next: Wish = "/"
) -> Response:
    """Begins only where somebody has pressed the button here: another site could send them there unasked."""
    provider, next_page = _provider(request), here(next) if len(next.encode()) <= _MOST_BYTES else "/"
    if await run_in_threadpool(_is_in, database, token_of(request)):
        return RedirectResponse(next_page, 303)
    if from_another_site(request):
        return RedirectResponse(f"/sign-in?{urlencode({'next': next_page})}", 303)
    try:
        url, trip = await provider.way_there(next_page)
    except NoEntry as problem:
        return _failed(request, problem, next_page, settings.openid_label)
    response = RedirectResponse(url, 303)
    response.headers["Cache-Control"] = "no-store"
    set_trip(request, response, seal.close(json.dumps(asdict(trip), ensure_ascii=False), _PURPOSE), TRIP_SECONDS)
    return response


def _is_in(database: Database, token: str | None) -> bool:
    return token is not None and who_has_session(database, token) is not None


@router.get(BACK)
async def way_back(
    request: Request,
    database: DatabaseDep,
    settings: SettingsDep,
    seal: SealDep,
    code: Word = "",
    state: Word = "",
    error: Word = "",
    iss: Word = "",
) -> Response:
    provider, trip = _provider(request), _trip(seal, trip_of(request))
    next_page = trip.next if trip else "/"
    try:
        if trip is None or not hmac.compare_digest(trip.state.encode(), state.encode()):
            raise NoEntry("expired", "no such state in this browser")
        await run_in_threadpool(use_up, database, state, visitor_of(request))
        if error or not code:
            raise NoEntry("cancelled", "the provider sent an error instead of a code")
        if iss and iss != settings.openid_issuer:  # RFC 9207
            raise NoEntry("refused", "another issuer sent the code")
        person = await provider.who_came(code, trip)
        passed = await run_in_threadpool(come_in, database, settings, person, visitor_of(request))
    except NoEntry as problem:
        return _failed(request, problem, next_page, settings.openid_label)
    except TooManyTries as many:
        return show_too_many(request, many, next_page)
    response = show_code(request, next_page, passed.token) if passed.needs_code else let_in(request, passed, next_page)
    clear_trip(request, response)
    return response


def _trip(seal: Seal, cookie: str | None) -> Trip | None:
    opened = seal.open(cookie, _PURPOSE, TRIP_SECONDS) if cookie else None
    return Trip(**json.loads(opened)) if opened else None


def _failed(request: Request, problem: NoEntry, next_page: str, label: str) -> Response:
    log.warning("nobody came in with OpenID Connect: %s", problem, extra={"address": address_of(request)})
    response = show_sign_in(request, next_page, error=problem.sentence(label), status=problem.status)
    clear_trip(request, response)
    return response


@router.post("/account/openid/remove")
def remove(database: DatabaseDep, settings: SettingsDep, signed_in: SignedIn) -> Response:
    with database.write() as session:
        remove_link(session, signed_in, settings)
    return redirect(HOME, Toast("The link is removed.", "Your password alone signs you in."))
