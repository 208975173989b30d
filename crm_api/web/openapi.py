"""The OpenAPI document says of every operation what else it may answer: the problem documents of crm_api.errors."""

from typing import Any

from fastapi import FastAPI

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
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_PROBLEM = {
    "description": "Problem document (RFC 9457)",
    "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def describe_problems(app: FastAPI) -> None:
    """Completes the document that FastAPI makes, once."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = _SCHEMA
            for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form, which we never answer
                schemas.pop(name, None)
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    operation["responses"] = dict(sorted(_answers(path, method, operation).items()))
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
