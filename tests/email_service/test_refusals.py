"""A mail server that refuses everybody fails nobody, and one that refuses some fails them."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from email_service.outcome import Verdict, of_reply
from email_service.refusals import Judged, Refusals, Tried
from shared.contracts import OutcomeKind

OK = of_reply("dot", 250, "2.0.0 Ok: queued as 4XYZ12345")
MESSAGE = uuid4()


class Route:
    """One message after another; tells what became of it: accepted, failed, deferred or rest."""

    def __init__(self) -> None:
        self.refusals = Refusals()
        self.last: Judged | None = None

    def tried(self, to: str, attempt: int = 1, sender: str = "crm@x.example", message: UUID = MESSAGE) -> Tried:
        return Tried(to, sender, message, attempt)

    def says(self, reply: str, to: str, phase: str = "rcpt", attempt: int = 1, **more: object) -> str:
        verdict = of_reply(phase, int(reply[:3]), reply[4:])
        self.last = self.refusals.judge(verdict, self.tried(to, attempt, **more))  # type: ignore[arg-type]
        assert not (self.last.verdict.suppress and self.last.verdict.kind is OutcomeKind.deferred)
        return "rest" if self.last.verdict.pause else str(self.last.verdict.kind)

    def takes(self) -> None:
        self.refusals.judge(OK, self.tried("ok@example.net"))


def test_one_refusal_is_the_recipients() -> None:
    assert Route().says("550 5.1.1 unknown user", "ida@example.com") == "failed"


def test_known_words_rest_the_route_at_the_second_domain_and_fail_nobody() -> None:
    route = Route()
    assert route.says("554 5.7.1 <a@one.example>: Relay access denied", "a@one.example") == "deferred"
    assert route.says("554 5.7.1 <b@one.example>: Relay access denied", "b@one.example") == "deferred"
    assert route.says("554 5.7.1 <c@two.example>: Relay access denied", "c@two.example") == "rest"
    assert route.last is not None
    assert (route.last.about, route.last.verdict.reason) == ("relay", "The mail server does not pass mail on for us.")


def test_unknown_words_rest_it_after_five_recipients_of_two_domains() -> None:
    route = Route()
    said = [route.says(f"550 5.7.1 {n} is not served, ticket {n}77", f"u{n}@d{n % 2}.example") for n in range(7)]
    assert said == ["failed", "failed", "deferred", "deferred", "rest", "rest", "rest"]
    assert route.last is not None
    assert route.last.given_up == ("u0@d0.example", "u1@d1.example")


def test_codes_of_mailboxes_need_more_of_them() -> None:
    route = Route()
    said = [route.says("550 5.1.1 User unknown", f"u{n}@d{n % 3}.example") for n in range(15)]
    assert said == ["failed"] * 5 + ["deferred"] * 9 + ["rest"]


def test_one_domain_that_refuses_everybody_stops_no_other() -> None:
    for reply in ("554 5.7.1 Relay access denied", "550 5.7.1 go away"):
        route = Route()
        said = [route.says(reply, f"u{n}@one.example") for n in range(200)]
        assert "rest" not in said
        assert said.count("failed") <= 5  # and few of it are given up before it is doubted
        assert route.last is not None
        assert route.last.alarming


def test_the_same_recipient_again_is_no_further_one() -> None:
    route = Route()
    assert {route.says("550 5.7.1 go away", "u@one.example") for _ in range(20)} == {"failed"}


def test_whatever_is_accepted_ends_a_series() -> None:
    route = Route()
    for number in range(40):
        said = route.says("550 5.7.1 go away", f"u{number}@d{number % 4}.example")
        assert said == ("deferred" if number % 4 == 2 else "failed" if number % 4 < 2 else "deferred")
        if number % 4 == 3:
            route.takes()


def test_other_words_do_not() -> None:
    route = Route()
    for number in range(4):
        route.says("550 5.7.1 go away", f"u{number}@d{number % 2}.example")
        assert route.says("550 5.2.1 closed", f"v{number}@e{number}.example") == "failed"
    assert route.says("550 5.7.1 go away", "u9@d1.example") == "rest"


def test_who_is_refused_again_after_others_were_taken_is_meant() -> None:
    route = Route()
    assert route.says("554 5.7.1 Relay access denied", "a@one.example") == "deferred"
    assert route.says("554 5.7.1 Relay access denied", "a@one.example", attempt=2) == "deferred"
    route.takes()
    assert route.says("554 5.7.1 Relay access denied", "a@one.example", attempt=3) == "failed"


def test_what_is_refused_again_after_others_were_taken_is_no_series() -> None:
    """The last of a mailing are those that are refused: nothing is accepted between their tries any more."""
    route = Route()
    for number in range(9):
        route.says("554 5.6.0 no such content", f"u{number}@d{number % 2}.example", phase="dot", message=uuid4())
    late = {f"v{number}@e{number}.example": uuid4() for number in range(9)}
    for to, message in late.items():
        assert route.says("554 5.6.0 no such content", to, phase="dot", message=message) in ("rest", "deferred")
    route.takes()
    for to, message in late.items():
        assert route.says("554 5.6.0 no such content", to, phase="dot", attempt=2, message=message) == "failed"


@pytest.mark.parametrize(
    ("phase", "reply"),
    [("dot", "552 5.3.4 Too big"), ("data", "552 Too much"), ("mail", "552 5.3.4 x"), ("rcpt", "554 5.2.3 Too long")],
)
def test_too_big_is_never_the_routes(phase: str, reply: str) -> None:
    route = Route()
    said = [route.says(reply, f"u{n}@d{n}.example", phase=phase, message=uuid4()) for n in range(20)]
    assert set(said) == {"failed"}


def test_unknown_words_are_not_doubted_for_ever() -> None:
    route = Route()
    for number in range(3):
        route.says("550 5.7.1 go away", f"u{number}@d{number % 2}.example")
    assert route.says("550 5.7.1 go away", "u2@d0.example", attempt=5) == "deferred"
    assert route.says("550 5.7.1 go away", "u2@d0.example", attempt=6) == "failed"


@pytest.mark.parametrize("reply", ["504 5.5.2 <north>: Helo command rejected: need fully-qualified hostname"])
def test_what_is_about_us_alone_rests_it_at_once(reply: str) -> None:
    assert Route().says(reply, "a@one.example") == "rest"
    proven = Route()
    proven.takes()  # then it is one server behind the mail server that says so
    assert proven.says(reply, "a@one.example") == "deferred"
    assert proven.says(reply, "b@two.example") == "rest"


def test_a_put_off_refusal_in_known_words_counts_too() -> None:
    route = Route()
    assert route.says("454 4.7.1 Relay access denied", "a@one.example") == "deferred"
    assert route.says("454 4.7.1 Relay access denied", "b@two.example") == "rest"
    assert route.says("451 4.2.0 greylisted", "c@three.example") == "deferred"


def test_one_persons_sender_stops_nobody_else() -> None:
    route = Route()
    said = [
        route.says("553 5.7.1 <x@y.example>: Sender address rejected: not owned by user", f"u{n}@d{n}.example")
        for n in range(50)
    ]
    assert set(said) == {"deferred"}
    assert route.last is not None
    assert (route.last.about, route.last.alarming) == ("sender", True)


@pytest.mark.parametrize("reply", ["550 5.7.60 SMTP; Client does not have permissions to send as", "550 5.1.1 no"])
def test_every_sender_is_refused_at_mail(reply: str) -> None:
    route = Route()
    said = [route.says(reply, f"u{n}@d.example", phase="mail", sender=f"s{n % 2}@x.example") for n in range(6)]
    assert said[2:] == ["rest"] * 4
    assert said[1] == "deferred"


def test_a_message_that_is_refused_for_its_content_is_its_own_trouble() -> None:
    route = Route()
    assert "rest" not in [
        route.says("550 5.7.1 rejected as spam", f"u{n}@d{n}.example", phase="dot") for n in range(30)
    ]
    assert route.says("550 5.7.1 rejected as spam", "u@e.example", phase="dot", message=uuid4()) == "rest"
    assert "rest" not in [route.says("552 5.3.4 too big", f"u{n}@d{n}.example", phase="mail") for n in range(4)]


def test_what_we_find_out_ourselves_is_no_refusal() -> None:
    route = Route()
    own = Verdict(OutcomeKind.failed, "mail", "The message is too big for their server.")
    for number in range(20):
        tried = route.tried(f"u{number}@d{number}.example")
        assert route.refusals.judge(own, tried).verdict is own


def test_what_is_remembered_is_bounded() -> None:
    route = Route()
    for number in range(3000):
        route.says(f"550 5.7.1 {'a' * (number % 300)} go away", f"u{number}@d{number}.example", attempt=9)
    assert len(route.refusals._series) <= 50
    assert max(len(series.domain_of) for series in route.refusals._series.values()) <= 1000
