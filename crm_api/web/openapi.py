"""The OpenAPI document, completed for those who make clients of it: of every operation what else it may answer (the
problem documents of crm_api.errors), names that do not change with our code, and forms that generators know.
"""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from crm_api.errors import PROBLEM_JSON

_UNSAFE = {"post", "put", "patch", "delete"}
_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "where it is explained"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong and what to do, for a person"},
        "errors": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/FieldProblem"},
        },
    },
}
_FIELD_SCHEMA: dict[str, Any] = {
    "title": "FieldProblem",
    "type": "object",
    "required": ["field", "message"],
    "properties": {
        "field": {"type": "string", "description": "as in the request: to[1].email"},
        "message": {"type": "string", "description": "what to write instead, for a person"},
    },
}
_PROBLEM = {
    "description": "Problem document (RFC 9457)",
    "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def operation_id(route: APIRoute) -> str:
    """POST /api/v1/messages/{message_id}/cancel → post_messages_message_id_cancel: by what the API promises, and not
    by what a function is called. Methods of generated clients are named so, and must not change with our code."""
    method = min(route.methods or {"GET"}).lower()
    words = re.sub(r"[^a-z0-9]+", "_", route.path_format.removeprefix("/api/v1").lower()).strip("_")
    return f"{method}_{words}"


def _for_generators(part: Any) -> None:
    """Says the same in the form that generators of clients know, in place."""
    if isinstance(part, list):
        for each in part:
            _for_generators(each)
    elif isinstance(part, dict):
        if part.get("type") == "string" and part.pop("contentMediaType", None):
            part["format"] = "binary"  # a file; as contentMediaType (OpenAPI 3.1) it is taken for a text
        if len(part.get("patternProperties", ())) == 1:
            ((pattern, values),) = part.pop("patternProperties").items()
            part["propertyNames"] = part.get("propertyNames", {}) | {"pattern": pattern}
            part["additionalProperties"] = values
        for each in part.values():
            _for_generators(each)


def describe_problems(app: FastAPI) -> None:
    """Completes the document that FastAPI makes, once."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas |= {"Problem": _SCHEMA, "FieldProblem": _FIELD_SCHEMA}
            for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form, which we never answer
                schemas.pop(name, None)
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    operation["responses"] = dict(sorted(_answers(path, method, operation).items()))
            _for_generators(document)
        return made()

    app.openapi = openapi  # type: ignore[method-assign]


def _answers(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    """A client is told of a status that never comes rather than surprised by one that does."""
    answers: dict[str, Any] = operation["responses"]
    if not path.startswith("/api/"):
        return answers
    statuses = {401, 403, 503}
    if "{" in path:
        statuses.add(404)
    if method in _UNSAFE:
        statuses |= {404, 409, 413}
    if "parameters" in operation or "requestBody" in operation:
        statuses.add(422)
    if any(parameter["name"] == "If-Match" for parameter in operation.get("parameters", ())):
        statuses.add(412)
    written = {status for status, response in answers.items() if status != "422" and status >= "400"}
    return answers | {str(status): _PROBLEM for status in statuses} | dict.fromkeys(written, _PROBLEM)
