"""Decisions have a number each, without a gap, which their titles say; whoever refers to one finds it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
REFERENCE = re.compile(r"(?:decision (?P<said>\d+)\]\(\S*)?decisions/(?P<number>\d{4})(?P<name>-[a-z-]+\.md)?")


def test_each_has_a_number_of_its_own_and_its_title_says_it() -> None:
    titles = [path.read_text().partition("\n")[0] for path in DECISIONS]
    assert [path.name[:4] for path in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]
    assert [title for number, title in enumerate(titles, 1) if not title.startswith(f"# {number}. ")] == []


def test_each_reference_leads_to_one() -> None:
    places = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    places += [
        path for folder in ("crm_api", "email_service", "shared", "local") for path in (ROOT / folder).rglob("*.py")
    ]
    names = {path.name for path in DECISIONS}
    numbers = {name[:4] for name in names}
    found = [(path.name, each) for path in places for each in REFERENCE.finditer(path.read_text())]
    wrong = [
        (where, each[0])
        for where, each in found
        if each["number"] not in numbers
        or (each["name"] and each["number"] + each["name"] not in names)
        or (each["said"] and int(each["said"]) != int(each["number"]))
    ]
    assert len(found) > 5
    assert wrong == []
