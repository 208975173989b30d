"""The whole product as its processes, on a broker and a database that the test has."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from local.product import EMAIL, KEY, PASSWORD, Product, running

__all__ = ["EMAIL", "KEY", "PASSWORD", "Stack", "stack"]


class Stack(Product):
    @property
    def data_dir(self) -> Path:
        return self.folder

    def api(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=70)


@contextlib.contextmanager
def stack(data_dir: Path, database_url: str, amqp_url: str, **settings: Any) -> Iterator[Stack]:
    """Migrated, with an administrator and an API key; nothing is started yet. Whatever runs at the end is killed."""
    given = {"room": "north", "workers": 1} | {name.lower(): value for name, value in settings.items()}
    with running(Stack, data_dir, database_url=database_url, amqp_url=amqp_url, **given) as made:
        yield made
