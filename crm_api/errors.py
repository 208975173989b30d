"""What can go wrong, and its one handler.

Problem                       answered as RFC 9457 problem document under /api, as a page elsewhere
├── Invalid            422    names each field and what to write instead
├── NotFound           404
├── Conflict           409    the thing is not in a state in which that can be done
├── PreconditionFailed 412    If-Match names another version than the one that is there
├── TooLarge           413
├── NotSignedIn        401
├── Forbidden          403
├── TooMany            429    says when to try again
├── Unavailable        503    the database does not answer, the disk takes no more
└── Internal           500    a defect of ours; its traceback is in the log
"""

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from crm_api.web.security import secured

log = logging.getLogger("web")

PROBLEM_JSON = "application/problem+json"
MAX_ERRORS = 1000  # told of one request
MAX_TOLD = 2000  # characters of one sentence
_SENTENCES = {  # of pydantic's that people read on forms, too
    "string_too_long": "Write at most {max_length:,} characters.",
    "too_long": "At most {max_length:,} of them.",
}


@dataclass(frozen=True)
class FieldProblem:
    field: str  # as in the request: "to[1].email"
    message: str  # what to write instead, for a person


class Problem(Exception):
    status = 500
    kind = "internal"
    meaning = ""  # for the page about the API

    def __init__(self, detail: str, *errors: FieldProblem) -> None:
        super().__init__(detail)
        self.detail, self.errors = detail, errors

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase

    def document(self) -> dict[str, object]:
        document: dict[str, object] = {
            "type": f"/help/api#problem-{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": _written(self.detail),
        }
        if self.errors:
            document["errors"] = [
                {"field": _written(error.field), "message": _written(error.message)}
                for error in self.errors[:MAX_ERRORS]
            ]
        return document


class Invalid(Problem):
    status, kind = 422, "invalid"
    meaning = "Something in the request cannot be taken. `errors` names each field and says what to write instead."

    @classmethod
    def field(cls, field: str, message: str) -> "Invalid":
        return cls(message, FieldProblem(field, message))


class NotFound(Problem):
    status, kind = 404, "not-found"
    meaning = "There is no such thing."


class Conflict(Problem):
    status, kind = 409, "conflict"
    meaning = "The thing is not, or no longer, in a state in which that can be done. Look at it again."


class PreconditionFailed(Problem):
    status, kind = 412, "precondition-failed"
    meaning = (
        "`If-Match` names no version that is there now: somebody has changed it since it was read. Nothing was done. "
        "`ETag` of this answer is the version that is there; read it again and decide anew."
    )

    def __init__(self, detail: str, etag: str) -> None:
        super().__init__(detail)
        self.etag = etag


class TooLarge(Problem):
    status, kind = 413, "too-large"
    meaning = "More than the settings allow. `errors` names the field and the limit."


class NotSignedIn(Problem):
    status, kind = 401, "not-signed-in"
    meaning = "The key is missing, wrong or revoked."


class Forbidden(Problem):
    status, kind = 403, "forbidden"
    meaning = "You may not do that."


class TooMany(Problem):
    status, kind = 429, "too-many"
    meaning = "More than you may do in a minute. Nothing was done; Retry-After says how many seconds to wait."

    def __init__(self, detail: str, seconds: int) -> None:
        super().__init__(detail)
        self.seconds = seconds


class Unavailable(Problem):
    status, kind = 503, "unavailable"
    meaning = "The database or the disk does not answer, or is full. Nothing was done; send the same again in a moment."


class Internal(Problem):
    status, kind = 500, "internal"
    meaning = "A defect of ours. Sending again with the same Idempotency-Key is safe."


class _Http(Problem):
    """What Starlette itself refuses: unknown path, wrong method."""

    kind = "http"
    meaning = "Unknown path, or a method that the path does not have."

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def _written(text: str) -> str:
    """What a client sent may stand in what it is told, but not all of it, and no half of a surrogate pair: that has no
    UTF-8."""
    short = text if len(text) <= MAX_TOLD else text[:MAX_TOLD] + "…"
    return short.encode("utf-8", "replace").decode()


def _field_name(location: tuple[int | str, ...]) -> str:
    """("body", "to", 1, "email") → "to[1].email"."""
    name = ""
    for part in location[1:] if len(location) > 1 else location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name


def _sentence(item: dict[str, Any]) -> str:
    pattern, context = _SENTENCES.get(item["type"]), item.get("ctx", {})
    said: str = pattern.format(**context) if pattern and "max_length" in context else item["msg"]
    return said.removeprefix("Value error, ")


def answer(request: Request, problem: Problem) -> Response:
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "2"}}.get(problem.status, {})
    if isinstance(problem, TooMany):
        headers = {"Retry-After": str(problem.seconds)}
    elif isinstance(problem, PreconditionFailed):
        headers = {"ETag": problem.etag}
    elif problem.status == 405:
        headers = {"Allow": ", ".join(sorted(_methods(request)))}
    if request.scope["path"].startswith("/api/"):
        return JSONResponse(problem.document(), problem.status, headers, PROBLEM_JSON)
    from crm_api.web.problems import problem_page  # pages need the app's templates, which need this module

    response = problem_page(request, problem)
    response.headers.update(headers)
    return response


def _methods(request: Request) -> set[str]:
    """What can be done with this path: of the routes that spell it out, else of those with parameters."""
    path, routes = request.scope["path"], list(iter_route_contexts(request.app.routes))
    fitting = [route for route in routes if route.path == path] or [
        route for route in routes if _pattern(route.path).match(path)
    ]
    return {method for route in fitting for method in route.methods or ()}


@lru_cache(1000)
def _pattern(path: str) -> re.Pattern[str]:
    return compile_path(path)[0]


def install_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def on_problem(request: Request, problem: Problem) -> Response:
        return answer(request, problem)

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> Response:
        if any(item["loc"][0] == "path" for item in error.errors()) and request.method not in _methods(request):
            return answer(request, _Http(405, "Method Not Allowed"))  # a word that is no id, and a path of its own
        found = [FieldProblem(_field_name(tuple(item["loc"])), _sentence(item)) for item in error.errors()[:MAX_ERRORS]]
        return answer(request, Invalid("The request does not have the right form.", *found))

    @app.exception_handler(DataError)
    async def on_unstorable(request: Request, error: DataError) -> Response:
        # PostgreSQL's NUL, or a number beyond a column: whoever sent it is told, and we are, as it came too far
        log.warning("the database cannot hold what came in", exc_info=error)
        return answer(request, Invalid("Something in the request can be stored nowhere: a NUL, or a number too large."))

    @app.exception_handler(Exception)
    async def on_defect(request: Request, error: Exception) -> Response:
        # Starlette raises it again afterwards, so that the traceback is logged
        response = answer(request, Internal("Something of ours went wrong. It is in the log."))
        return secured(response, request.scope)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        detail = str(error.detail)
        if error.status_code == 413:
            return answer(request, TooLarge(detail))
        if error.status_code == 400:  # a body that is no JSON or no form, in a way that validation does not know
            return answer(request, Invalid("The body of the request cannot be read."))
        return answer(request, _Http(error.status_code, detail))
