"""The page about the API tells every operation that the document has, and every problem that the code raises."""

from fastapi.testclient import TestClient

from crm_api.errors import Problem


def test_every_operation_and_problem_is_on_the_page(browser: TestClient) -> None:
    page = browser.get("/help/api").text
    document = browser.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()}</code> <code>{path}</code>" in page
    for kind in Problem.__subclasses__():
        assert kind.meaning, kind
        if kind.kind != "http":
            assert f'id="problem-{kind.kind}"' in page


def test_a_problems_type_leads_to_its_meaning(api: TestClient) -> None:
    problem = api.get("/api/v1/messages?state=lost").json()
    assert problem["type"] == "/help/api#problem-invalid"
    assert api.get("/api/v1/nowhere").json()["type"] == "/help/api#problem-http"
