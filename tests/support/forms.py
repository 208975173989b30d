"""What a browser without JavaScript sends when a form of a page is submitted as it stands."""

from html.parser import HTMLParser


class _Fields(HTMLParser):
    def __init__(self, action: str) -> None:
        super().__init__()
        self.action, self.inside = action, False
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.inside = given.get("action") == self.action
        if not self.inside or tag != "input" or "name" not in given:
            return
        if given.get("type") in ("radio", "checkbox") and "checked" not in given:
            return
        self.fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False


def fields_of(page: str, action: str) -> dict[str, str]:
    """Name → value of the form with this action."""
    parser = _Fields(action)
    parser.feed(page)
    assert parser.fields, f"the page has no form for {action}"
    return parser.fields
