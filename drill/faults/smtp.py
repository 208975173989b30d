"""SMTP servers as they are: busy, strict, mute, confused, and with certificates that nobody renewed."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import trustme

from drill.fault import fault
from drill.house import CONVERSATIONS
from drill.scene import Scene
from drill.sink import SILENCE, Answer, Rule, late

PHASES = ("greeting", "ehlo", "mail", "rcpt", "data", "dot")
ROUTE_RESTS = 3.0  # seconds that a route is refused altogether


def _all_hit(scene: Scene, rules: list[Rule], seconds: float = 40.0) -> None:
    scene.until(lambda: all(rule.hits for rule in rules), "a mail at each phase", seconds)


def _once(chosen: Callable[[str], bool]) -> Callable[[str], bool]:
    """Each of them the first time it comes."""
    seen: set[str] = set()

    def first(recipient: str) -> bool:
        if recipient in seen or not chosen(recipient):
            return False
        seen.add(recipient)
        return True

    return first


@fault("smtp-refused", "SMTP: connection refused", unknowns=CONVERSATIONS)
def refused(scene: Scene) -> None:
    """What was in a conversation is cut: after the dot nobody knows."""
    scene.sink.shut()
    scene.undo.callback(scene.sink.open)
    time.sleep(scene.rng.uniform(2, 5))


@fault("smtp-tarpit", "SMTP: tarpit", seconds=5)
def tarpit(scene: Scene) -> None:
    slow = [scene.sink.on(phase, late(0.7), times=40) for phase in PHASES]
    mute = [scene.sink.on(phase, SILENCE, times=2) for phase in PHASES[2:5]]
    _all_hit(scene, slow)
    _all_hit(scene, mute)


@fault("smtp-421", "SMTP: 421 at each phase")
def busy(scene: Scene) -> None:
    _all_hit(scene, [scene.sink.on(phase, Answer("421 4.3.2 Too busy", close=True), times=3) for phase in PHASES])


@fault("smtp-450", "SMTP: 450 at RCPT")
def greylisted(scene: Scene) -> None:
    _all_hit(scene, [_for_some(scene, "rcpt", "450 4.2.0 Greylisted, come again")])


@fault("smtp-452", "SMTP: 452 at RCPT")
def no_room(scene: Scene) -> None:
    _all_hit(scene, [_for_some(scene, "rcpt", "452 4.2.2 Mailbox full")])


@fault("smtp-550", "SMTP: 550 at RCPT")
def no_mailbox(scene: Scene) -> None:
    _always(scene, "rcpt", "550 5.7.1 Not for you")


@fault("smtp-552", "SMTP: 552 at RCPT and after the dot")
def too_big(scene: Scene) -> None:
    _all_hit(scene, [_for_some(scene, "rcpt", "552 5.2.2 Mailbox full")])
    _always(scene, "dot", "552 5.3.4 Too big")


@fault("smtp-554", "SMTP: 554 at DATA and after the dot")
def forbidden(scene: Scene) -> None:
    _always(scene, "data", "554 5.5.1 Not today", 0.1)
    _always(scene, "dot", "554 5.7.1 Looks like spam")  # the first tenth has not come so far


def _for_some(scene: Scene, phase: str, reply: str) -> Rule:
    return scene.sink.on(phase, Answer(reply), times=None, to=_once(scene.chosen(0.3)))


def _always(scene: Scene, phase: str, reply: str, share: float = 0.2) -> None:
    """For some, from now on; they and nobody else must fail."""
    rule = scene.sink.on(phase, Answer(reply), times=None, to=scene.chosen(share), struck=scene.failing)
    _all_hit(scene, [rule])


@fault("smtp-silence-after-dot", "SMTP: silence after the dot", unknowns=4)
def silence(scene: Scene) -> None:
    _after_dot(scene, Answer(take=scene.rng.random() < 0.5))


@fault("smtp-fin-after-dot", "SMTP: FIN after the dot", unknowns=4)
def fin(scene: Scene) -> None:
    _after_dot(scene, Answer(close=True, take=scene.rng.random() < 0.5))


@fault("smtp-rst-after-dot", "SMTP: RST after the dot", unknowns=4)
def rst(scene: Scene) -> None:
    _after_dot(scene, Answer(abort=True, take=scene.rng.random() < 0.5))


def _after_dot(scene: Scene, answer: Answer) -> None:
    before = scene.unknowns()
    rule = scene.sink.on("dot", answer, times=4)
    scene.until(lambda: rule.hits == 4, "four mails at the dot", 40)
    scene.until(lambda: scene.unknowns() >= before + 4, "four to be unknown", 40)


@fault("smtp-garbage", "SMTP: garbage at each phase", unknowns=2)
def garbage(scene: Scene) -> None:
    nonsense = Answer(raw=b"\xff\xfe\x00 nothing that SMTP knows\r\n", take=True)
    _all_hit(scene, [scene.sink.on(phase, nonsense, times=2) for phase in PHASES])


@fault("smtp-long-reply", "SMTP: a very long reply at each phase", unknowns=2)
def long_reply(scene: Scene) -> None:
    """One that never ends, and one that is long and right."""
    endless = Answer(raw=b"250-" + b"x" * 200_000, take=True)
    right = "".join(f"250-line {number} of a server that likes to talk\r\n" for number in range(500)) + "250 Ok"
    rules = [scene.sink.on(phase, endless, times=2) for phase in PHASES]
    rules += [scene.sink.on(phase, Answer(right), times=5) for phase in ("mail", "rcpt", "dot")]
    _all_hit(scene, rules)


@fault("smtp-few-places", "SMTP: three connections and no more", unknowns=CONVERSATIONS)
def few_places(scene: Scene) -> None:
    """They are ours already, ten of each worker: what stands goes on, and nothing counts as away."""
    scene.sink.places = 3
    scene.undo.callback(setattr, scene.sink, "places", None)
    scene.sink.cut()
    before = sum(scene.sink.taken.values())
    scene.until(lambda: scene.sink.turned_away, "one to be turned away", 40)
    scene.until(lambda: sum(scene.sink.taken.values()) >= before + 30, "thirty mails over three connections", 60)


# ---- the route as a whole ----------------------------------------------------------------------------------------


def _certificates(scene: Scene) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """One that is good and one that has expired; the product is told to trust who made them."""
    authority = trustme.CA()
    file = scene.folder / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    contexts = []
    for end in (None, datetime.now(UTC) - timedelta(days=1)):
        contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        authority.issue_cert("127.0.0.1", not_after=end).configure_cert(contexts[-1])
    scene.product.environment["POSTHASTE_SMTP_CA_FILE"] = str(file)
    return contexts[0], contexts[1]


def _encrypted(scene: Scene) -> None:
    good, expired = _certificates(scene)
    scene.sink.context, scene.sink.user = good, ("crm", "secret")
    scene.sink.expired = expired
    scene.product.environment["POSTHASTE_SMTP_URL"] = f"smtp://crm:secret@127.0.0.1:{scene.sink.port}?tls=starttls"


def _never_in_clear(scene: Scene) -> None:
    scene.require(not scene.sink.in_clear, f"{scene.sink.in_clear} mails were sent without encryption")


@fault("smtp-starttls", "SMTP: STARTTLS fails, then is not offered", prepare=_encrypted, unknowns=CONVERSATIONS)
def starttls(scene: Scene) -> None:
    rule = scene.sink.on("starttls", Answer("454 4.7.0 Not now"), times=4)
    scene.sink.cut()
    _all_hit(scene, [rule])
    good, scene.sink.context = scene.sink.context, None
    scene.undo.callback(setattr, scene.sink, "context", good)
    scene.sink.cut()
    time.sleep(ROUTE_RESTS)
    _never_in_clear(scene)


@fault("smtp-auth", "SMTP: authentication refused", prepare=_encrypted, unknowns=CONVERSATIONS)
def auth(scene: Scene) -> None:
    rule = scene.sink.on("auth", Answer("535 5.7.8 Authentication credentials invalid"), times=None)
    scene.sink.cut()
    _all_hit(scene, [rule])
    time.sleep(ROUTE_RESTS)
    rule.times = 0
    _never_in_clear(scene)


@fault("smtp-certificate", "SMTP: the certificate has expired", prepare=_encrypted, unknowns=CONVERSATIONS)
def certificate(scene: Scene) -> None:
    good, scene.sink.context = scene.sink.context, scene.sink.expired
    scene.undo.callback(setattr, scene.sink, "context", good)
    scene.sink.cut()
    before = sum(scene.sink.taken.values())
    time.sleep(ROUTE_RESTS)
    taken = sum(scene.sink.taken.values()) - before
    scene.require(not taken, f"{taken} mails were sent in spite of the certificate")
    _never_in_clear(scene)


@fault("smtp-relay-denied", "SMTP: everybody is refused at RCPT, as by a relay that does not know us")
def relay_denied(scene: Scene) -> None:
    """It means us, so nobody fails for it; and one message tells when it is mended."""
    rule = scene.sink.on("rcpt", Answer("554 5.7.1 Relay access denied"), times=None)
    _all_hit(scene, [rule])
    time.sleep(ROUTE_RESTS)
    rule.times = 0
