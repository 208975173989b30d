"""URLs of brokers: the nodes of one cluster, separated by commas."""

import re
from pathlib import Path

from shared.readable import trusting
from shared.urls import BadUrl, Form, Url, encoded, read

FORM = Form(
    "amqp://user:password@host:5672/, or amqps://user:password@host:5671/?cacertfile=/etc/ca.pem",
    ("amqp", "amqps"),
    sign_in="both or none",
    path="one name",
    parameters={"cacertfile": None},
)


def read_amqp_url(text: str) -> Url:
    """Of one node. Raises BadUrl."""
    url = read(text, FORM)
    if authorities := url.parameters.get("cacertfile"):
        if url.scheme != "amqps":
            raise BadUrl("cacertfile= is for amqps://: without encryption there is no certificate.")
        try:
            trusting(Path(authorities))
        except ValueError as problem:
            raise BadUrl(f"cacertfile= names a file of certificates: {problem}.") from None
    return url


def split(text: str) -> list[str]:
    """Spaces beside a comma belong to nobody; at the ends they do not belong there."""
    return re.split(" *, *", text)


def read_amqp_urls(text: str) -> list[Url]:
    """Raises BadUrl."""
    nodes = split(text)
    urls = []
    for number, node in enumerate(nodes, 1):
        try:
            urls.append(read_amqp_url(node))
        except BadUrl as problem:
            which = f"node {number} of {len(nodes)} (they are separated by commas): " if len(nodes) > 1 else ""
            raise BadUrl(f"{which}{problem}") from None
    if len({url.path or "/" for url in urls}) > 1:
        raise BadUrl("its nodes name different virtual hosts: what is put into one is not seen in the other.")
    return urls


def written(url: Url) -> str:
    """As pika reads it, without parameters; without a user it would be guest."""
    who = f"{encoded(url.user)}:{encoded(url.password or '')}@" if url.user else ""
    return f"{url.scheme}://{who}{url.netloc}/{encoded(url.path or '')}"
