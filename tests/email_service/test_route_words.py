"""Whose trouble a refusal is, in the words of the mail servers that people have."""

from __future__ import annotations

import pytest

from email_service.outcome import of_reply
from email_service.route_words import normal, trouble

OURS = [
    ("rcpt", 554, "5.7.1 <ida@example.com>: Relay access denied", "relay"),  # Postfix
    ("rcpt", 454, "4.7.1 <ida@example.com>: Relay access denied", "relay"),  # Postfix, defer_unauth_destination
    ("rcpt", 550, "relay not permitted", "relay"),  # Exim
    ("rcpt", 550, "5.7.1 Unable to relay", "relay"),  # Exchange, IIS
    ("rcpt", 550, "5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "relay"),
    ("rcpt", 550, "5.7.64 TenantAttribution; Relay Access Denied", "relay"),
    ("rcpt", 553, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", "relay"),  # qmail
    ("rcpt", 550, "5.7.1 <ida@example.com>... Relaying denied", "relay"),  # Sendmail
    ("rcpt", 551, "we do not relay", "relay"),
    ("rcpt", 550, "5.1.1 relaying denied for <ida@example.com>", "relay"),
    ("mail", 530, "5.7.0 Authentication required", "auth"),
    ("mail", 530, "5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM", "auth"),
    ("rcpt", 550, "5.7.1 Authentication required", "auth"),
    ("rcpt", 550, "Please turn on SMTP Authentication in your mail client", "auth"),
    ("rcpt", 554, "You must authenticate before sending", "auth"),
    ("mail", 530, "5.7.0 Must issue a STARTTLS command first", "tls"),
    ("rcpt", 504, "5.5.2 <north>: Helo command rejected: need fully-qualified hostname", "helo"),  # Postfix
    ("rcpt", 450, "4.7.1 <north>: Helo command rejected: Host not found", "helo"),
    ("mail", 550, "5.7.1 Helo", "helo"),
    ("rcpt", 550, "Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", "helo"),  # cPanel's Exim
    ("rcpt", 554, "5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied", "client"),
    ("rcpt", 554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", "client"),
    ("rcpt", 553, "5.7.1 <crm@posthaste.example>: Sender address rejected: not owned by user ida", "sender"),
    ("rcpt", 450, "4.1.8 <crm@posthaste.example>: Sender address rejected: Domain not found", "sender"),
    ("mail", 550, "5.7.60 SMTP; Client does not have permissions to send as this sender", "sender"),  # Exchange
    ("dot", 554, "Message rejected: Email address is not verified.", "sender"),  # SES
    ("rcpt", 550, "5.7.1 Sender verify failed", "sender"),  # Exim
    ("rcpt", 550, "5.4.5 Daily user sending limit exceeded.", "quota"),  # Google
    ("mail", 451, "4.7.1 rate limit exceeded", "quota"),
]
THEIRS = [
    ("rcpt", 550, "5.1.1 <ida@example.com>: Recipient address rejected: User unknown in virtual mailbox table"),
    ("rcpt", 550, "5.1.1 <relay.denied@example.com> unknown user"),
    ("rcpt", 550, "5.7.1 <ida@example.com>: Recipient address rejected: Access denied"),
    ("rcpt", 552, "5.2.2 mailbox quota exceeded"),
    ("rcpt", 550, "5.2.1 The account is disabled"),
    ("rcpt", 550, "5.7.1 rejected by policy"),
    ("rcpt", 550, "Administrative prohibition"),
    ("rcpt", 553, "5.1.3 The recipient address is not a valid RFC 5321 address"),
    ("rcpt", 452, "4.5.3 too many recipients"),
    ("rcpt", 503, "5.5.1 Error: send HELO/EHLO first"),  # it has lost its place in the conversation
    ("mail", 552, "5.3.4 Message size exceeds fixed maximum message size"),
    ("mail", 550, "5.1.1 nobody"),
    ("dot", 550, "5.7.1 message rejected as spam"),
    ("dot", 550, "5.7.1 This message does not pass SPF authentication checks"),
    ("dot", 550, "5.7.26 Unauthenticated email from example.org is not accepted due to domain's DMARC policy"),
    ("rcpt", 550, "5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction"),
    ("dot", 550, "5.7.129 RESOLVER.RST.RestrictedToRecipientsPermission; not authorized; sender not permitted to send"),
]


@pytest.mark.parametrize(("phase", "code", "words", "kind"), OURS)
def test_it_is_ours(phase: str, code: int, words: str, kind: str) -> None:
    found = trouble(of_reply(phase, code, words))
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize(("phase", "code", "words"), THEIRS)
def test_it_may_be_theirs(phase: str, code: int, words: str) -> None:
    assert trouble(of_reply(phase, code, words)) is None


@pytest.mark.parametrize("phase", ["connect", "greeting", "ehlo", "tls", "auth"])
def test_before_a_transaction_the_phase_says_it(phase: str) -> None:
    assert trouble(of_reply(phase, 554, "5.7.1 relay access denied")) is None


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("5.1.1 <ida@example.com>: unknown", "5.1.1 <tom@example.org>: unknown"),
        ("5.7.1 no mail for ida here (mx1.example.net 4711)", "5.7.1 no mail for tom here (mx2.example.net 815)"),
        ("5.7.1 Refused, see id=1wxYZ-0003 [192.0.2.1]", "5.7.1 refused: see ID=2abCD-0009 [192.0.2.77]"),
    ],
)
def test_what_differs_from_one_to_the_next_does_not_count(one: str, another: str) -> None:
    first = normal(of_reply("rcpt", 550, one), "ida@example.com")
    assert first == normal(of_reply("rcpt", 550, another), "tom@example.org")
    assert first != normal(of_reply("rcpt", 550, "5.7.1 something else"), "ida@example.com")
