"""Composing, the same for all peers and as the standard library's documentation shows it."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid


def compose(to: str, name: str, subject: str, text: str, html: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = Address("Holt Trees", addr_spec="orders@holt-trees.example")
    mail["To"] = Address(name, addr_spec=to)
    mail["Subject"] = subject
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(domain="holt-trees.example")
    mail.set_content(text)
    mail.add_alternative(html, subtype="html")
    return mail
