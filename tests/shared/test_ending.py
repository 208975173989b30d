"""A process that was told to stop ends, whatever hangs in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.postgresql import Cluster
from tests.support.databases import Template
from tests.support.ports import free_port
from tests.support.silent_database import Door
from tests.support.waiting import wait_until

HANGS = """
import threading
from shared.ending import end_within
end_within(0.1)
threading.Thread(target=threading.Event().wait).start()
"""


def test_a_thread_that_hangs_is_not_waited_for() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "something hangs" in done.stderr


@pytest.mark.parametrize("name", ["web", "dispatch"])
def test_it_ends_though_its_database_has_fallen_silent(
    name: str, tmp_path: Path, database_template: Template, postgresql: Cluster, amqp_url: str
) -> None:
    url = database_template.copy_postgresql()
    with Door(url) as door:
        port = free_port()
        given = {"DATA_DIR": tmp_path, "DATABASE_URL": door.url, "AMQP_URL": amqp_url, "PORT": port}
        clean = {each: value for each, value in os.environ.items() if not each.startswith("POSTHASTE_")}
        names = {f"POSTHASTE_{each}": str(value) for each, value in given.items()}
        process = subprocess.Popen([sys.executable, "-m", "crm_api", name], env=clean | names)
        try:
            ready = tmp_path / "ready" / "dispatch"
            wait_until(lambda: ready.exists() if name == "dispatch" else _listens(port), f"{name} is up")
            door.freeze()
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) in (0, 1)
        finally:
            process.kill()
            process.wait()
    database_template.drop_postgresql(url)


def _listens(port: int) -> bool:
    return any(line.split()[1].endswith(f":{port:04X}") for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
