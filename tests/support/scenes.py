"""A house in which everything has happened once: a message in each state, long names, many recipients."""

from datetime import timedelta
from uuid import UUID

from crm_api.auth import links, second_factor
from crm_api.auth.models import SignIn
from crm_api.customers import service as customers
from crm_api.customers.models import Customer
from crm_api.keys import service as keys
from crm_api.messages import actions, service
from crm_api.messages.models import Delivery
from crm_api.monitoring.models import Process
from crm_api.outbox import store as outbox
from crm_api.outcomes import store as outcomes
from crm_api.reconciliation.figures import from_row, newest, to_row
from crm_api.reconciliation.models import Finding, Stranger
from crm_api.reconciliation.words import ICONS
from crm_api.sandbox.store import SANDBOX_FILE, NewMail, SandboxStore
from crm_api.users import service as users
from shared.clock import now
from shared.contracts import Outcome, OutcomeKind, TalkLine
from shared.lanes import Lane
from tests.support.crm import Crm
from tests.support.outcomes import outcome_of
from tests.support.reconciling import lost_letters

LETTER = """Dear {{ first_name | default("friend") }},

the saplings on **M26** leave on *Thursday* and reach {{ company | default("you") }} on Friday.

- keep the roots covered
- plant within two days

> As agreed on the telephone

| Sort | Number |
|---|---|
| Apple | 400 |

Kind regards
[Holt & Daughter](https://holt-trees.example)
"""
LONG = "Maximiliane-Theodora von Hohenfels-Wittgenstein zu Schwarzenberg"
LONG_ADDRESS = "maximiliane-theodora.von-hohenfels-wittgenstein@koeniglich-bayerische-baumschulen.example"
LONG_WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
MAIL = b"""From: Ida Holt <ida@holt-trees.example>\r
To: Marta Lindqvist <marta@lindqvist.example>\r
Subject: Your saplings leave on Thursday\r
Message-ID: <0193-5d1e@posthaste.example>\r
Date: Sat, 21 Nov 2026 02:00:00 +0000\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="b"\r
\r
--b\r
Content-Type: multipart/alternative; boundary="a"\r
\r
--a\r
Content-Type: text/plain; charset=utf-8\r
\r
They leave on Thursday.\r
--a\r
Content-Type: text/html; charset=utf-8\r
\r
<p style="color: #060">They leave on <b>Thursday</b>.</p><script>document.title = "taken over"</script>\r
--a--\r
--b\r
Content-Type: text/plain\r
Content-Disposition: attachment; filename="plan.txt"\r
\r
the plan\r
--b--\r
"""


def heartbeats(crm: Crm, broker: str = "up") -> None:
    """Dispatch and two workers that are heard of for a day."""
    with crm.database.write() as session:
        seen = now() + timedelta(days=1)
        session.merge(Process(name="dispatch here 1", kind="dispatch", seen_at=seen, data={"broker": broker}))
        for number in (1, 2):
            data: dict[str, object] = {"room": "north", "workers": 2}
            session.merge(Process(name=f"north/{number}", kind="worker", seen_at=seen, data=data))


def settle(crm: Crm, message: UUID, **kinds: str) -> None:
    """Each address's delivery goes through the broker and comes to the outcome given for it ("" is none yet)."""
    rows = {row.address: row for row in crm.deliveries(message)}
    with crm.database.write() as session:
        claimed = outbox.claim(session, Lane.urgent, now(), 1000)
        outbox.mark_queued(session, claimed, now())
    found = [_outcome(rows[address], kind) for address, kind in kinds.items() if kind]
    with crm.database.write() as session:
        outcomes.apply(session, found, now())


_WORDS = {
    "accepted": ("Their server has taken it.", 250, "Ok: queued as 4F7kQz2hXnz1R", None),
    "deferred": ("Their server asks every new sender to wait a few minutes.", 451, "Greylisted", "4.7.1"),
    "failed": ("Their server says there is no such mailbox.", 550, "no mailbox here by that name", "5.1.1"),
    "unknown": ("The line broke after the final dot, before their server answered.", None, None, None),
}


def _outcome(delivery: Delivery, kind: str) -> Outcome:
    reason, code, reply, enhanced = _WORDS[kind]
    talk = (
        TalkLine(0, "them", "220 mx.example ESMTP"),
        TalkLine(1, "us", "EHLO mail.holt-trees.example"),
        TalkLine(112, "tls", "TLSv1.3, TLS_AES_256_GCM_SHA384"),
        TalkLine(169, "us", f"RCPT TO:<{delivery.address}>"),
        TalkLine(221, "them", f"{code} {enhanced or '2.0.0'} {reply}" if code else "354 go ahead"),
    )
    return outcome_of(
        delivery,
        kind=OutcomeKind(kind),
        reason=reason,
        code=code,
        reply=reply,
        enhanced=enhanced,
        queue_id="4F7kQz2hXnz1R" if kind == "accepted" else None,
        next_at=now() + timedelta(minutes=9) if kind == "deferred" else None,
        tls="TLSv1.3",
        talk=talk,
    )


def people(crm: Crm) -> tuple[Customer, Customer]:
    """Marta, and somebody whose name and address are as long as they get."""
    with crm.database.write() as session:
        marta = {"first_name": "Marta", "last_name": "Lindqvist", "company": "Lindqvist Trädgård"}
        long = {"first_name": LONG, "company": f"{LONG_WORD} mbH & Co. KG", "email": LONG_ADDRESS}
        return (
            customers.create(session, crm.principal, marta | {"email": "marta@l.example"}, ["architect", "sv"]),
            customers.create(session, crm.principal, long, ["wholesale"]),
        )


def compared(crm: Crm) -> dict[str, str]:
    """Lost letters, old and new; dead letters that are nobody's; something of all that can be found."""
    lost_letters(crm, 2, timedelta(days=20), subject="Long lost")
    lost = lost_letters(crm, 12, subject="Frost warning, zone 7")
    with crm.database.write() as session:
        look = newest(session)
        assert look
        figures = from_row(look)
        figures.strangers, figures.dead, figures.unequal = 2, 5, [lost.id]
        session.merge(to_row(look.at, figures))
        for key, kind in (("01a1fbb9-dc7f-7b58-8f5b-953c220da784", "mail.outcomes.v1"), (f"sha256:{'9f3c' * 16}", "")):
            reason = "rejected" if kind else ""
            session.add(Stranger(key=key, type=kind, reason=reason, routing_key="dead.event", size=81_204))
        for count, kind in enumerate(ICONS, 1):
            by = "Ida Holt" if kind in ("lost", "strangers_removed") else ""
            bent: dict[str, object] = {"figures": {"queued": [5, 0], "accepted": [12_043, 12_048]}}
            session.add(
                Finding(kind=kind, by=by, count=count, message_id=lost.id if kind == "sums" else None, data=bent)
            )
    return {
        "reconciliation": "/reconciliation",
        "lost": f"/messages/{lost.id}",
        "stranger": f"/reconciliation/strangers/remove?key={key}",
    }


def house(crm: Crm) -> dict[str, str]:
    """Users in every condition, sessions, keys, and with all of it the audit."""
    browser = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
    by = crm.principal
    with crm.database.write() as session:
        invited = users.add(session, by, "tom@holt-trees.example", "Tom Ek", "agent")
        operator = users.add(session, by, LONG_ADDRESS, LONG, "operator")
        gone = users.add(session, by, "gone@holt-trees.example", "Gone Person", "viewer")
        operator.password_hash = gone.password_hash = "x"
        operator.totp_secret, operator.totp_since = second_factor.new_secret(), now()
        users.disable(session, by, gone.id)
        session.add(SignIn(token_hash="a" * 64, user_id=by.user_id, browser=browser, address="203.0.113.9"))
        shop, _ = keys.make(session, by, by.user_id, "web shop", ["messages.send", "messages.read"], 365)
        old, _ = keys.make(session, by, operator.id, "monitoring", None, None)
        keys.revoke(session, by, old.id)
        link = links.make(session, invited, "invite")
    return {
        "user": f"/users/{operator.id}",
        "user, invited": f"/users/{invited.id}",
        "user, disabled": f"/users/{gone.id}",
        "user, disable": f"/users/{operator.id}/disable",
        "key, revoke": f"/keys/{shop.id}/revoke",
        "link": f"/links/{link}",
    }


def everything(crm: Crm) -> dict[str, str]:
    """Name of a scene → the page that shows it."""
    heartbeats(crm)
    with crm.database.write() as session:
        plan = service.store_file(
            session, crm.principal, crm.files, crm.settings, b"the plan", "Planting plan, north field.txt"
        )
    attached = [{"sha256": plan.sha256, "filename": "Planting plan, north field.txt"}]
    marta, long = people(crm)
    with crm.database.write() as session:
        nils = customers.add_contact(
            session, crm.principal, marta.id, {"first_name": "Nils", "email": "nils@l.example"}
        )
    pages = house(crm) | {
        "customer": f"/customers/{marta.id}",
        "long customer": f"/customers/{long.id}",
        "customer, edit": f"/customers/{long.id}/edit",
        "customer, archive": f"/customers/{marta.id}/archive",
        "contact, new": f"/customers/{marta.id}/contacts/new",
        "contact": f"/customers/{marta.id}/contacts/{nils.id}",
    }

    def scene(name: str, *to: dict[str, str], subject: str, **members: object) -> UUID:
        members = {"markdown": LETTER, "text": None} | members
        message = crm.send(subject=subject, to=list(to), **members)
        pages[name] = f"/messages/{message.id}"
        return message.id

    bare = {"email": "jonas@ek.example", "name": "Jonas Ek"}
    two = scene(
        "sent and deferred", {"customer_id": str(marta.id)}, bare, subject="Order confirmed", attachments=attached
    )
    settle(crm, two, **{"marta@l.example": "accepted", "jonas@ek.example": "deferred"})
    for kind in ("failed", "unknown"):
        settle(crm, scene(kind, bare, subject=f"Invoice {kind}"), **{"jonas@ek.example": kind})
    given_up = crm.delivery(UUID(pages["failed"].rpartition("/")[2]))
    pages["discard"] = f"{pages['failed']}/deliveries/{given_up.id}/discard"
    let_be = scene("discarded", bare, subject="Old address")
    settle(crm, let_be, **{"jonas@ek.example": "failed"})
    with crm.database.write() as session:
        actions.discard(session, crm.delivery(let_be).id, crm.principal)
    subject = f"{LONG_WORD}: die vollständige Bestellbestätigung für {{{{ name }}}}"
    settle(crm, scene("long", {"customer_id": str(long.id)}, subject=subject), **{LONG_ADDRESS: ""})
    html = '<body style="background: #efe"><h1>Prices</h1><script>document.title = "taken over"</script></body>'
    foreign = scene("foreign HTML", bare, subject="Prices", markdown=None, text="Prices", html=html)
    settle(crm, foreign, **{"jonas@ek.example": "accepted"})
    plain = scene("plain text", bare, subject="Your code", markdown=None, text="Your code is 482913.")
    settle(crm, plain, **{"jonas@ek.example": "accepted"})
    readers = [{"email": f"reader{n}@example.com", "name": f"Reader {n}"} for n in range(60)]
    kinds = ("accepted", "accepted", "deferred", "failed", "", "unknown")
    many = scene("many", *readers, subject="Winter catalogue")
    settle(crm, many, **{f"reader{n}@example.com": kinds[n % 6] for n in range(60)})
    pages |= compared(crm)
    # last, or the relay's claim would take them along
    planned = scene("planned", bare, subject="Frost warning", send_at=now() + timedelta(days=2))
    stopped = scene("cancelled", bare, subject="Christmas wreaths", undo_seconds=300)
    with crm.database.write() as session:
        actions.cancel_message(session, stopped, crm.principal)
    assert crm.message(planned).pending == 1
    store = SandboxStore(crm.settings.data_dir / SANDBOX_FILE)
    (mail,) = store.add([NewMail("bounce@holt-trees.example", ("marta@lindqvist.example",), MAIL)])
    for part in ("html", "text", "headers", "source"):
        pages[f"mail, {part}"] = f"/sandbox/{mail}?show={part}"
    return pages
