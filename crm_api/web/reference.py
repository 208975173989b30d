"""/help/api: the OpenAPI document as a page that people read, and what each kind of problem means."""

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from crm_api.auth.deps import signed_in
from crm_api.errors import Problem
from crm_api.web.templates import render

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    summary: str
    parameters: list[dict[str, Any]]
    members: list[dict[str, Any]]  # of the request body
    example: str | None  # of the request body, JSON
    answers: list[str]  # status codes

    @property
    def anchor(self) -> str:
        return f"{self.method.lower()}{self.path.replace('/', '-').replace('{', '').replace('}', '')}"


@router.get("/help/api", dependencies=[Depends(signed_in)])
def reference(request: Request) -> Response:
    document = request.app.openapi()
    kinds = [
        (kind.status, kind.kind, kind.meaning)
        for kind in sorted(Problem.__subclasses__(), key=lambda kind: kind.status)
        if kind.kind != "http"
    ]
    return render(request, "reference.html", rooms=operations(document), kinds=kinds, base=str(request.base_url))


def operations(document: dict[str, Any]) -> dict[str, list[Operation]]:
    """By tag, in the order of the document."""
    schemas = document.get("components", {}).get("schemas", {})
    rooms: dict[str, list[Operation]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = _body(operation, schemas)
            rooms[operation.get("tags", ["other"])[0]].append(
                Operation(
                    method=method.upper(),
                    path=path,
                    summary=operation.get("description") or operation.get("summary", ""),
                    parameters=[_parameter(one) for one in operation.get("parameters", [])],
                    members=_members(body, schemas),
                    example=_example(body),
                    answers=sorted(operation["responses"]),
                )
            )
    return dict(rooms)


def _body(operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, dict[str, Any]] = operation.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] = next((kind.get("schema", {}) for kind in content.values()), {})
    return _resolve(schema, schemas)


def _resolve(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    for choice in (schema, *schema.get("anyOf", [])):
        if "$ref" in choice:
            found: dict[str, Any] = schemas[choice["$ref"].rpartition("/")[2]]
            return found
    return schema


def _example(body: dict[str, Any]) -> str | None:
    examples = body.get("examples")
    return json.dumps(examples[0], indent=2, ensure_ascii=False) if examples else None


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    schema = parameter.get("schema", {})
    said = parameter.get("description") or schema.get("description", "")
    return {
        "name": parameter["name"],
        "where": parameter["in"],
        "type": _type(schema),
        "required": parameter.get("required", False),
        "said": said,
    }


def _members(body: dict[str, Any], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    required = body.get("required", [])
    return [
        {"name": name, "type": _type(schema), "required": name in required, "said": schema.get("description", "")}
        for name, schema in body.get("properties", {}).items()
    ]


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    kind = str(schema.get("format") or schema.get("type", "any"))
    return f"list of {_type(schema['items'])}" if kind == "array" and "items" in schema else kind
