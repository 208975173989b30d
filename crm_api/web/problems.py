"""What a person sees when something cannot be done."""

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from crm_api.limits import MAX_NEXT
from crm_api.web.local_url import here
from crm_api.web.templates import address, is_htmx, render, render_part
from crm_api.web.toasts import Toast

if TYPE_CHECKING:
    from crm_api.errors import Problem

HEADINGS = {
    401: "Sign in first",
    403: "This is not for you",
    404: "There is no such page",
    405: "That cannot be done here",
    409: "That cannot be done now",
    413: "That is too large",
    422: "Something does not fit",
    429: "That was too much at once",
    503: "One moment, please",
}


def problem_page(request: Request, problem: "Problem") -> Response:
    """401 leads to the sign-in page; a button's failure is a toast on the page it was pressed on; else a page."""
    if problem.status == 401:
        return _to_sign_in(request)
    heading = HEADINGS.get(problem.status, "Something went wrong")
    if problem.status == 503:
        request.state.principal = None  # what else stands on a page for them is asked of the database, too
    if is_htmx(request):
        toast = Toast(heading, problem.detail, trouble=True)
        response = render_part(request, "parts/toast_only.html", status=problem.status, toast=toast)
        response.headers["HX-Reswap"] = "none"  # what is on the page stays; the toast is a partial of its own
        return response
    return render(request, "problem.html", status=problem.status, heading=heading, problem=problem)


def _to_sign_in(request: Request) -> Response:
    if not is_htmx(request):
        wanted = here(address(request))
        wish = _wish(wanted) if request.method == "GET" and wanted != "/" else ""
        return RedirectResponse(f"/sign-in{wish}", 303)
    wanted = here(_of_page(request.headers.get("HX-Current-URL", "")))
    return Response(status_code=401, headers={"HX-Redirect": f"/sign-in{_wish(wanted)}"})


def _wish(wanted: str) -> str:
    """Where they wanted to go, unless that is longer than the sign-in page takes."""
    return f"?next={quote(wanted)}" if len(wanted) <= MAX_NEXT else ""


def _of_page(url: str) -> str:
    """Path and query."""
    try:
        page = urlsplit(url)
    except ValueError:  # a header may hold any text
        return "/"
    return page.path + (f"?{page.query}" if page.query else "")
