"""What the addresses of the sandbox mean."""

import pytest

from crm_api.sandbox.scripts import EXAMPLES, NONE, Script, script_of


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("smtp-550@example.com", "550 5.7.1"),
        ("SMTP-550-anna@example.com", "550 5.7.1"),
        ("smtp-550+tag@example.com", "550 5.7.1"),
        ("smtp-550-5-1-1@example.com", "550 5.1.1"),
        ("smtp-550-5-1-1-anna@example.com", "550 5.1.1"),
        ("smtp-450@example.com", "450 4.2.1"),
        ("smtp-450-4-7-1@example.com", "450 4.7.1"),
        ("smtp-421@example.com", "421 4.3.2"),
        ("smtp-552@example.com", "552 5.2.2"),
        ("smtp-599@example.com", "599 5.0.0"),
    ],
)
def test_refusals(address: str, code: str) -> None:
    refuse = script_of(address).refuse
    assert refuse is not None
    assert refuse.startswith(code + " ")
    assert len(refuse.split(" ", 2)[2]) > 10, "it says why, in words"


@pytest.mark.parametrize(
    ("address", "script"),
    [
        ("slow-10@example.com", Script(wait=10)),
        ("slow-10-anna@example.com", Script(wait=10)),
        ("slow-dot-3@example.com", Script(wait_after=3)),
        ("slow-9999@example.com", Script(wait=3600)),
        ("flaky-2@example.com", Script(defer=2)),
        ("flaky-12.x@example.com", Script(defer=12)),
        ("drop@example.com", Script(hang_up=True, keep=False)),
        ("drop-anna@example.com", Script(hang_up=True, keep=False)),
        ("drop-kept@example.com", Script(hang_up=True)),
    ],
)
def test_other_scripts(address: str, script: Script) -> None:
    assert script_of(address) == script


@pytest.mark.parametrize(
    "address",
    ["anna@example.com", "smtp-250@example.com", "smtp-55@example.com", "smtp-5500@example.com", "slow@example.com",
     "flaky-x@example.com", "anna@smtp-550.example", "mrsmtp-550@example.com", "", "@"],
)  # fmt: skip
def test_everybody_else_is_just_delivered(address: str) -> None:
    assert script_of(address) == NONE


def test_the_examples_do_what_they_say() -> None:
    assert all(script_of(address) != NONE for address, _ in EXAMPLES)
