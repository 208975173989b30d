"""Pages that belong to no room: the way in, static files, the small truth, keyboard help, appearance."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import RedirectResponse, Response

from crm_api.auth.deps import signed_in
from crm_api.limits import MAX_NEXT
from crm_api.web import static_files
from crm_api.web.cookies import is_secure
from crm_api.web.events import router as events_router
from crm_api.web.local_url import here
from crm_api.web.templates import THEME_COOKIE, render, render_part, system_now

router = APIRouter(include_in_schema=False)
router.include_router(events_router)

ONE_YEAR_SECONDS = 365 * 24 * 3600


@router.get("/")
def root() -> Response:
    return RedirectResponse("/customers", 303)


@router.get("/static/{version}/{name:path}")
def static_file(
    request: Request, version: Annotated[str, Path(max_length=64)], name: Annotated[str, Path(max_length=200)]
) -> Response:
    return static_files.answer(request, version, name)


@router.get("/favicon.ico")
def favicon() -> Response:
    return RedirectResponse(static_files.static("icon.svg"), 302)


@router.get("/system", dependencies=[Depends(signed_in)])
def system(request: Request) -> Response:
    """The small truth and the banner, for pages that are already open."""
    return render_part(request, "parts/system.html", system=system_now(request))


@router.get("/help/keys", dependencies=[Depends(signed_in)])
def keys(request: Request) -> Response:
    return render(request, "keys.html", parts={"keys": "parts/keys.html"})


@router.post("/appearance")
def appearance(
    request: Request,
    theme: Annotated[Literal["light", "dark", "system"], Form()],
    next: Annotated[str, Form(max_length=MAX_NEXT)] = "/",
) -> Response:
    response = RedirectResponse(here(next), 303)
    if theme == "system":
        response.delete_cookie(THEME_COOKIE, samesite="lax", secure=is_secure(request))
    else:
        # app.js sets it, too, so that the page need not come again
        response.set_cookie(THEME_COOKIE, theme, max_age=ONE_YEAR_SECONDS, samesite="lax", secure=is_secure(request))
    return response
