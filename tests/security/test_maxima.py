"""Whatever somebody may send has a maximum that is looked at before anything is done with it: each text, number and
list in a path, query, header, cookie, form or body, however deep it stands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field, TypeAdapter

import crm_api
from crm_api.limits import MAX_FILES, MAX_FORM_FIELDS
from crm_api.routes import router

CODE = {".py", ".html"}

SHORT_BY_ITSELF = {"uuid", "date-time", "binary"}  # a UUID has 36 characters; files are counted as they come in


def without_maximum(schema: dict[str, Any], where: str, definitions: dict[str, Any]) -> Iterator[str]:
    """Each text without maxLength, number without maximum, list without maxItems, open object without maxProperties."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from without_maximum(definitions[name], f"{where}:{name}", definitions)
        return
    if "anyOf" in schema or "oneOf" in schema:
        for each in schema.get("anyOf", schema.get("oneOf")):
            yield from without_maximum(each, where, definitions)
        return
    if "enum" in schema or "const" in schema:
        return
    match schema.get("type"):
        case "string":
            if not {"maxLength", "contentMediaType"} & set(schema) and schema.get("format") not in SHORT_BY_ITSELF:
                yield f"{where}: maxLength"
        case "integer" | "number":
            if not {"maximum", "exclusiveMaximum"} & set(schema) or not {"minimum", "exclusiveMinimum"} & set(schema):
                yield f"{where}: minimum and maximum"
        case "array":
            if "maxItems" not in schema:
                yield f"{where}: maxItems"
            yield from without_maximum(schema["items"], f"{where}[]", definitions)
        case "object":
            for name, member in schema.get("properties", {}).items():
                yield from without_maximum(member, f"{where}.{name}", definitions)
            yield from _open_object(schema, where, definitions)
        case "boolean" | "null":
            return
        case _:
            yield f"{where}: any"


def _open_object(schema: dict[str, Any], where: str, definitions: dict[str, Any]) -> Iterator[str]:
    if schema.get("additionalProperties") is False:
        return
    values = [schema["additionalProperties"]] if isinstance(schema.get("additionalProperties"), dict) else []
    values += schema.get("patternProperties", {}).values()
    if "properties" in schema and not values:
        return  # further members are dropped unread
    if "maxProperties" not in schema:
        yield f"{where}: maxProperties"
    if "maxLength" not in schema.get("propertyNames", {}):
        yield f"{where}: propertyNames"
    for value in values:
        yield from without_maximum(value, f"{where}{{}}", definitions)


def dependants(one: Dependant) -> Iterator[Dependant]:
    yield one
    for each in one.dependencies:
        yield from dependants(each)


def parameters() -> Iterator[tuple[str, Any]]:
    """Where it stands, and its type with all that is said about it."""
    for route in iter_route_contexts(router.routes):
        for dependant in dependants(route.dependant):
            kinds = ("path", "query", "header", "cookie", "body")
            for kind in kinds:
                for field in getattr(dependant, f"{kind}_params"):
                    yield f"{sorted(route.methods)[0]} {route.path} {kind} {field.name}", field


def test_every_parameter_has_a_maximum() -> None:
    missing = set()
    for where, field in parameters():
        schema = field._type_adapter.json_schema()
        missing |= set(without_maximum(schema, where, schema.get("$defs", {})))
    assert sorted(missing) == []


def test_what_is_read_by_hand_has_limits_too() -> None:
    """Forms that no parameter describes; addresses that raise (crm_api.web.templates.address says which)."""
    sources = {path: path.read_text() for path in Path(crm_api.__file__).parent.rglob("*") if path.suffix in CODE}
    for path, source in sources.items():
        for call in re.findall(r"\.form\(([^)]*)\)", source):
            assert {"max_files", "max_fields", "max_part_size"} <= set(re.findall(r"\w+(?==)", call)), path
        if path.parent.name != "openid":  # there it is a request of ours
            assert not re.search(r"\brequest\.url\b(?! raises)", source), f"{path}: not of request.url"
        assert "request.json()" not in source, path


def test_the_walk_finds_what_has_no_maximum() -> None:
    class Inner(BaseModel):
        word: str
        number: int = Field(ge=0)
        fine: str = Field(max_length=3)

    class Outer(BaseModel):
        many: list[Inner]
        named: dict[str, str]
        perhaps: float | None = None
        anything: Any

    schema = TypeAdapter(Outer).json_schema()
    found = {each.rpartition(".")[2] for each in without_maximum(schema, "", schema["$defs"])}
    assert found == {
        "many: maxItems", "word: maxLength", "number: minimum and maximum", "named: maxProperties",
        "named: propertyNames", "named{}: maxLength", "perhaps: minimum and maximum", "anything: any",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/messages", "/api/v1/files", "/customers"])
def test_a_form_has_so_many_fields_and_files(browser: TestClient, path: str) -> None:
    assert browser.post(path, data={f"x{n}": "x" for n in range(MAX_FORM_FIELDS + 1)}).status_code == 422
    files = [("uploads", (f"{n}.txt", b"x")) for n in range(MAX_FILES + 1)]
    assert browser.post(path, files=files).status_code == 422
