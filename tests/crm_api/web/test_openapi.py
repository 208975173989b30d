"""What generators of clients need of the OpenAPI document (openapi-python-client was tried: it uploads a file)."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crm_api.app import create_app
from crm_api.settings import CrmSettings

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("document")
    return create_app(CrmSettings(data_dir=folder)).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def parts(part: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document."""
    if isinstance(part, dict):
        yield part
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from parts(each)


def test_a_file_is_binary(document: dict[str, Any]) -> None:
    (content,) = document["paths"]["/api/v1/files"]["post"]["requestBody"]["content"].items()
    assert content[0] == "multipart/form-data"
    form = document["components"]["schemas"][content[1]["schema"]["$ref"].rpartition("/")[2]]
    assert form["required"] == ["file"]
    assert form["properties"]["file"] == {"type": "string", "format": "binary", "title": "File"}
    raw = document["paths"]["/api/v1/sandbox/messages/{mail_id}/raw"]["get"]["responses"]["200"]["content"]
    assert raw == {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}}
    assert not any({"contentMediaType", "patternProperties"} & set(part) for part in parts(document))


def test_methods_of_clients_are_named_by_what_they_ask_for(document: dict[str, Any]) -> None:
    names = {where: operation["operationId"] for where, operation in operations(document)}
    assert [name for name, times in Counter(names.values()).items() if times > 1] == []
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names.values())
    assert names["POST /api/v1/messages/{message_id}/cancel"] == "post_messages_message_id_cancel"
    assert names["GET /health/live"] == "get_health_live"


def test_every_answer_has_a_shape(document: dict[str, Any]) -> None:
    without = []
    for where, operation in operations(document):
        for status, answer in operation["responses"].items():
            content = answer.get("content", {})
            if status < "400" and not all("schema" in each for each in content.values()):
                without.append(f"{where} {status}")
            if status >= "400" and "/api/" in where and content != PROBLEM:
                without.append(f"{where} {status}: {content}")
            if status == "200" and not content:
                without.append(f"{where}: 200 without content")
    assert without == []


def test_all_names_can_be_looked_up(document: dict[str, Any]) -> None:
    components = document["components"]
    for kind, named in components.items():
        assert all(re.fullmatch(r"[a-zA-Z0-9._-]+", name) for name in named), kind  # OpenAPI 3.1, section 4.8.7
    for part in parts(document):
        if isinstance(reference := part.get("$ref"), str):
            assert reference.rpartition("/")[2] in components["schemas"], reference


def test_it_says_how_to_sign_in(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    for where, operation in operations(document):
        assert (operation.get("security") == [{"ApiKey": []}]) is ("/api/v1/" in where), where
