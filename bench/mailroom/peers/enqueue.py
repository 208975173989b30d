"""python -m bench.mailroom.peers.enqueue celery_app FIRST COUNT: letters into a peer's queue, by its own producer."""

from __future__ import annotations

import importlib
import sys

from bench.mailroom.letters import letters


def main() -> None:
    peer, first, count = sys.argv[1:]
    importlib.import_module(f"bench.mailroom.peers.{peer}").enqueue(letters(int(first), int(count)))


if __name__ == "__main__":
    main()
