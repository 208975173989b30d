"""One running product for all tests of a module, on each kind of database."""

from collections.abc import Iterator
from dataclasses import dataclass

import pika
import pytest

from local.rabbitmq import Node
from shared.topology import DEAD_QUEUE
from tests.support.databases import Template
from tests.support.stack import Stack, stack
from tests.support.vhosts import Vhosts


@dataclass
class Product:
    stack: Stack
    node: Node
    vhost: str

    @property
    def dead(self) -> int:
        """Depth of mail.dead.v1, as the broker itself counts it."""
        with pika.BlockingConnection(pika.URLParameters(self.node.url_for(self.vhost))) as connection:
            declared = connection.channel().queue_declare(DEAD_QUEUE, passive=True)
            return int(declared.method.message_count)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def product(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    database_template: Template,
    rabbitmq: Node,
    vhosts: Vhosts,
) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    if request.param == "sqlite":
        url = database_template.copy_sqlite(folder / "posthaste.sqlite")
    else:
        request.getfixturevalue("postgresql")  # skips if there is none
        url = database_template.copy_postgresql()
    vhost = vhosts.make()
    with stack(folder / "data", url, rabbitmq.url_for(vhost), RETRY_SCALE=0.01, SAMPLES=1, UNDO_SECONDS=3) as made:
        made.start()
        yield Product(made, rabbitmq, vhost)
        assert made.stop() == dict.fromkeys(("web", "dispatch", "sandbox", "mailroom"), 0)
    vhosts.leave(vhost)
    if request.param == "postgresql":
        database_template.drop_postgresql(url)
