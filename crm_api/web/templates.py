"""Pages from templates.

A fragment's markup exists once: the page includes the partial that its refresh returns. A refresh asks for the
page's own address and names the element it wants (htmx sends `HX-Target: div#rows`); `parts` says which partial
that is, so the same handler answers both.
"""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from crm_api.auth.principal import Principal
from crm_api.monitoring.words import banners
from crm_api.web import navigation, toasts, words
from crm_api.web.static_files import static
from crm_api.web.visible import visible_page
from shared.ids import new_id

ROOMS = Path(__file__).parent.parent
THEME_COOKIE = "theme"
THEMES = ("light", "dark")


def _environment() -> Environment:
    rooms = {path.parent.name: FileSystemLoader(path) for path in ROOMS.glob("*/html") if path.parent.name != "web"}
    environment = Environment(
        loader=ChoiceLoader([PrefixLoader(rooms), FileSystemLoader(ROOMS / "web" / "html")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        address=address, static=static, when=words.when, plural=words.plural, said=words.said, local=words.local
    )
    environment.globals["system_banners"] = banners
    environment.globals["new_id"] = new_id
    environment.globals["state_word"] = words.STATE_WORDS.__getitem__
    environment.filters.update(
        number=words.number,
        size=words.size,
        initials=words.initials,
        first_word=words.first_word,
        listed=words.listed,
        code=words.code,
    )
    return environment


@cache
def environment() -> Environment:
    return _environment()


def address(request: Request) -> str:
    """Path and query, as they were asked for. request.url raises for bytes in a query that are no UTF-8, and for some
    hosts that a client may name: use nothing of it."""
    query = request.scope["query_string"].decode("latin-1")
    path: str = request.scope["path"]
    return f"{path}?{query}" if query else path


def is_htmx(request: Request) -> bool:
    return request.headers.get("HX-Request") == "true"


def wanted_part(request: Request) -> str | None:
    """The id of the element that a refresh asks for; None for a whole page."""
    if request.headers.get("HX-Request-Type") != "partial":
        return None
    return request.headers.get("HX-Target", "").partition("#")[2] or None


def render(
    request: Request,
    template: str,
    /,
    *,
    status: int = 200,
    parts: dict[str, str] | None = None,
    **context: Any,
) -> Response:
    """The page, or the one of its `parts` (element id → template) that the request asks for.

    `request.state.principal` says who is signed in; without one the page has no navigation.
    """
    context |= {"request": request, "principal": principal_of(request)}
    headers = {"Cache-Control": "no-store", "Vary": "HX-Request-Type, HX-Target, Cookie"}
    part = (parts or {}).get(wanted_part(request) or "")
    toast = toasts.kept(request)
    if part:
        content = environment().get_template(part).render(context)
        if toast:
            content += environment().get_template("parts/toast_only.html").render(context | {"toast": toast})
    else:
        content = environment().get_template(template).render(_frame(request, context) | {"toast": toast} | context)
    response = HTMLResponse(visible_page(content), status, headers)
    if toast:
        toasts.forget(request, response)
    return response


def render_part(request: Request, template: str, /, *, status: int = 200, **context: Any) -> Response:
    """A fragment that no page includes as it stands: an answer to a button."""
    context |= {"request": request, "principal": principal_of(request)}
    headers = {"Cache-Control": "no-store"}
    content = environment().get_template(template).render(context)
    return HTMLResponse(visible_page(content), status, headers)


def principal_of(request: Request) -> Principal | None:
    return getattr(request.state, "principal", None)


def system_now(request: Request) -> Any:
    """What the small truth says."""
    from crm_api.monitoring.service import system_state  # the room comes later than the base page

    with request.app.state.database.read() as session:
        return system_state(session, request.app.state.settings.console_url, principal_of(request))


def _frame(request: Request, context: dict[str, Any]) -> dict[str, Any]:
    """What the base page itself needs, if the page has not asked for it already."""
    theme = request.cookies.get(THEME_COOKIE)
    work, operations, house = navigation.entries(principal_of(request))
    return {
        "theme": theme if theme in THEMES else None,
        "work": work,
        "operations": operations,
        "house": house,
        "console_url": request.app.state.settings.console_url,
        "path": request.scope["path"],
        "system": system_now(request) if principal_of(request) and "system" not in context else None,
    }
