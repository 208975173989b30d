"""Too much is refused, told by its length or found out while it comes."""

from collections.abc import Iterator

from fastapi.testclient import TestClient

from crm_api.settings import CrmSettings
from crm_api.web.body_limit import largest_request


def test_a_body_that_says_it_is_too_long_is_refused_unread(api: TestClient, settings: CrmSettings) -> None:
    answer = api.post("/api/v1/messages", content=b"x", headers={"Content-Length": str(largest_request(settings) + 1)})
    assert (answer.status_code, answer.json()["type"]) == (413, "/help/api#problem-too-large")


def test_a_body_without_a_length_is_counted(api: TestClient, settings: CrmSettings) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(largest_request(settings) // 2**20 + 2):
            yield b" " * 2**20

    answer = api.post("/api/v1/messages", content=chunks(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["status"]) == (413, 413)
