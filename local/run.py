"""`make run`: puts all parts on one machine together, looks after them, and takes them down in order."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

from local import leash, leash_wrapper
from local.errors import LocalError
from local.house import House, without_secrets
from local.parts import Part, python
from local.rabbitmq import Node
from local.screen import Screen

TICK_SECONDS = 0.1
IMPATIENT_SECONDS = 30.0
BROKER_TRIES = 3
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StopAsked(BaseException):
    """Ctrl-C or SIGTERM. Not an Exception, so that nothing on the way swallows it."""


def run(*, with_parent: bool = False) -> int:
    """Run until asked to stop; returns the exit code. Ends with its parent if ``with_parent``."""
    os.umask(0o077)  # logs, databases and mails are their user's alone, whichever part writes them
    screen = Screen()
    for number in STOP_SIGNALS:
        signal.signal(number, _ask_to_stop)
    launcher: Launcher | None = None
    try:
        if with_parent:
            _end_with_parent()
        launcher = Launcher(House(), screen)
        launcher.start()
        launcher.look_after()
    except StopAsked:
        code = 0
    except LocalError as problem:
        screen.line(f"\n{problem}")
        code = 1
    else:
        code = 0
    for number in STOP_SIGNALS:
        signal.signal(number, _end_at_once)
    if launcher is not None:
        launcher.stop()
    return code


def _ask_to_stop(number: int, frame: FrameType | None) -> None:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # until the orderly stop has begun
    raise StopAsked


def _end_at_once(number: int, frame: FrameType | None) -> None:
    # The leashes see our end and kill everything.
    os._exit(130)


def _end_with_parent() -> None:
    """Have SIGTERM when `make` dies, even by kill -9 (Linux only)."""
    parent = os.getppid()
    leash_wrapper.end_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        raise StopAsked


class Launcher:
    """The broker, the migration and the four parts."""

    def __init__(self, house: House, screen: Screen) -> None:
        self._house = house
        self._screen = screen
        self._node: Node | None = None
        self._migration: leash.Leashed | None = None
        self._broker: leash.Leashed | None = None
        self._administrator_added = False
        self._parts: list[Part] = []

    def start(self) -> None:
        """Start everything; returns when all parts are up and the addresses are printed."""
        house, screen = self._house, self._screen
        screen.title("Posthaste")
        began = time.monotonic()
        if house.amqp_url is None:
            self._node = Node(house.folder / "rabbitmq", say=screen.step)
        self._migration = self._once("migrate")
        if self._node is not None:
            screen.step("starting RabbitMQ")
            self._node.begin()
            self._broker = self._once("broker")
        self._finish_migration(self._migration)
        self._parts = self._make_parts()
        screen.step("starting web, dispatch, mail room and sandbox inbox")
        without_broker = [part for part in self._parts if part.name in ("web", "sandbox")]
        for part in without_broker:
            part.start()
        if self._node is not None:
            self._node.finish()
            self._finish("broker", self._broker, "RabbitMQ could not be set up")
        for part in self._parts:
            if part not in without_broker:
                part.start()
        self._wait_until_ready()
        self._tell(time.monotonic() - began)

    def _once(self, command: str) -> leash.Leashed:
        """Begins `python -m crm_api migrate | broker`, which end by themselves."""
        log = self._house.log(command)
        log.parent.mkdir(parents=True, exist_ok=True)
        if command == "migrate":
            self._screen.step("migrating the database")
        log.touch(mode=0o600)
        with log.open("wb") as output:
            return leash.start(
                python("crm_api", command),
                env=self._house.environment(self._node, command),
                stdout=output,
                stderr=output,
            )

    def _finish(self, command: str, process: leash.Leashed | None, failed: str) -> str:
        """Its output when it has ended well; raises ``LocalError``."""
        code = process.wait() if process is not None else 0
        log = self._house.log(command)
        text = log.read_text(errors="replace")
        if code != 0:
            end = "\n".join(text.splitlines()[-15:])
            raise LocalError(f"{failed}. The end of {log}:\n{end}")
        return text

    def _finish_migration(self, migration: leash.Leashed) -> None:
        text = self._finish("migrate", migration, "The database could not be migrated")
        self._administrator_added = "administrator added" in text
        self._house.filled(administrator_added=self._administrator_added)

    def _make_parts(self) -> list[Part]:
        house = self._house

        def part(name: str, command: list[str], stop_seconds: float, grace: float = 1.0) -> Part:
            mark = house.ready_file(name)
            mark.unlink(missing_ok=True)  # left by a copy that was killed
            ready = self._web_answers if name == "web" else mark.exists
            show = self._screen.from_part
            environment = house.environment(self._node, name)
            return Part(name, command, environment, house.log(name), show, ready, stop_seconds, grace)

        # In the order in which they are stopped.
        return [
            part("web", python("crm_api", "web"), 10.0),
            part("dispatch", python("crm_api", "dispatch"), 15.0),
            part("mailroom", python("email_service"), 60.0, 3.0),
            part("sandbox", python("crm_api", "sandbox"), 10.0),
        ]

    def _web_answers(self) -> bool:
        try:
            with _opener.open(f"{self._house.url}/health/ready", timeout=2.0) as answer:
                return int(answer.status) == 200
        except (OSError, urllib.error.URLError):
            return False

    def _wait_until_ready(self) -> None:
        waiting = list(self._parts)
        impatient_at = time.monotonic() + IMPATIENT_SECONDS
        while waiting:
            self._look_once()
            waiting = [part for part in waiting if not part.is_ready()]
            if waiting and time.monotonic() > impatient_at:
                names = ", ".join(part.name for part in waiting)
                self._screen.step(f"still waiting for {names}; logs are in {_short(self._house.folder / 'log')}")
                impatient_at = time.monotonic() + IMPATIENT_SECONDS
            time.sleep(TICK_SECONDS)

    def _tell(self, seconds: float) -> None:
        house, node = self._house, self._node
        password = house.password_hint(administrator_added=self._administrator_added, where=_short(house.secrets_file))
        rows = [("Posthaste", house.url, ""), ("Sign in", house.admin_email, password)]
        if node is not None:
            rows.append(("RabbitMQ", node.management_url, f"{node.user} / {node.password}"))
        else:
            rows.append(("RabbitMQ", without_secrets(house.amqp_url or ""), "from POSTHASTE_AMQP_URL"))
        smtp = f"smtp://127.0.0.1:{house.sandbox_port}"
        if house.smtp_url is None:
            rows.append(("Inbox", f"{house.url}/sandbox", f"every mail lands here ({smtp})"))
        else:
            rows.append(("Mail goes to", without_secrets(house.smtp_url), "from POSTHASTE_SMTP_URL"))
            rows.append(("Inbox", f"{house.url}/sandbox", f"not in use ({smtp})"))
        rows.append(("Data, logs", _short(house.folder), "Ctrl-C stops everything"))
        self._screen.facts(rows)
        self._screen.step(f"up in {seconds:.1f} s")
        self._screen.line(f"ready: {house.url}")

    def look_after(self) -> None:
        """Start again what dies, for ever."""
        while True:
            self._look_once()
            time.sleep(TICK_SECONDS)

    def _look_once(self) -> None:
        if self._node is not None and not self._node.is_running():
            self._start_broker_again(self._node)
        for part in self._parts:
            part.look_after()

    def _start_broker_again(self, node: Node) -> None:
        for left in reversed(range(BROKER_TRIES)):
            self._screen.from_part("rabbitmq", "ended, starting again")
            try:
                node.start()
                return
            except LocalError:
                if not left:
                    raise

    def stop(self) -> None:
        """Web first, so that nothing new comes in; the broker last, so that all can hand over their work."""
        if not self._parts and self._node is None:
            return
        self._screen.line()
        self._screen.step("stopping (Ctrl-C again ends at once)")
        for once in (self._migration, self._broker):
            if once is not None:
                once.stop()
        for part in self._parts:
            part.stop()
        if self._node is not None:
            self._node.stop()
        self._screen.step("stopped")


def _short(path: Path) -> str:
    """The path from here, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
