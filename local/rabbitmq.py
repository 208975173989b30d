"""A private RabbitMQ node: own name, free ports, random password, on the loopback interface only.

Everything it writes lies in one folder: data, log, configuration, the Erlang cookie. The next start in the
same folder has the same ports and password and finds the queues as they were. The node and its epmd hang on
a leash: they die with the process that started them.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from local import leash, ports, rabbitmq_data, rabbitmq_names
from local.environment import without_settings
from local.errors import LocalError
from local.management import Management
from local.rabbitmq_programs import IMAGE, Programs, find
from local.remembered import Remembered

USER = "posthaste"  # may do everything
USERS = ("dispatch", "mailroom", "console")  # with few rights; shared/broker_rights.py has the table
START_SECONDS = 120.0
STOP_SECONDS = 30.0

_CONFIGURATION = """\
listeners.tcp.local = {host}:{amqp}
management.tcp.ip = {host}
management.tcp.port = {management}
default_user = {user}
default_pass = {password}
default_user_tags.administrator = true
log.file.level = info
log.console = false
# What the console and the API show is a second old at most.
collect_statistics_interval = 1000
# The write-ahead log of quorum queues may grow to half a gigabyte by default.
raft.wal_max_size_bytes = 64000000
"""


class Node:
    """One private node. ``start()`` returns when it takes connections; ``stop()`` leaves its data."""

    def __init__(
        self, folder: Path, *, say: Callable[[str], None] = lambda _: None, epmd_port: int | None = None
    ) -> None:
        """epmd_port: where an epmd runs already, for nodes that are to find each other; default: one of its own."""
        self.folder = folder.absolute()
        self._say = say
        self._epmd_port = epmd_port
        self._remembered = Remembered(self.folder / "node.json")
        self._programs: Programs | None = None
        self._epmd: leash.Leashed | None = None
        self._server: leash.Leashed | None = None
        self._ready = False
        self._environment: dict[str, str] = {}
        self._anew = False
        self._said_before: dict[Path, int] = {}  # the lengths of the logs when it was started
        self._choose()

    def _choose(self) -> None:
        known = self._remembered
        self.user = USER
        self.password = known.secret("password")
        self.name = f"posthaste-{known.get('name', lambda: secrets.token_hex(4))}@localhost"
        self.port = known.port("amqp_port")
        self.management_port = known.port("management_port")

    @property
    def amqp_url(self) -> str:
        return self.url_for("/")

    def url_for(self, vhost: str) -> str:
        """The AMQP URL with another vhost."""
        return f"amqp://{self.user}:{quote(self.password)}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def url_of(self, user: str) -> str:
        """The AMQP URL of one of the users that `python -m crm_api broker` makes; see `passwords`."""
        return f"amqp://{user}:{quote(self.passwords[user])}@127.0.0.1:{self.port}/"

    @property
    def passwords(self) -> dict[str, str]:
        """Of the users with few rights, made up once."""
        return {user: self._remembered.secret(f"{user}_password") for user in USERS}

    @property
    def management_url(self) -> str:
        return f"http://127.0.0.1:{self.management_port}"

    @property
    def management(self) -> Management:
        return Management(self.management_url, self.user, self.password)

    @property
    def pid(self) -> int:
        """Process id of the running node (of the Docker client, if it runs in Docker)."""
        if self._server is None:
            raise LocalError("the RabbitMQ node is not running")
        return self._server.pid

    def is_running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Start and wait until AMQP and the management API answer; raises ``LocalError``."""
        if not self.is_running():
            self.begin()
            self.finish()

    def begin(self) -> None:
        """The first half of ``start()``: find the programs, start the processes."""
        self.kill()  # the epmd of a node that died
        _check_localhost()
        if self._programs is None:
            self._programs = find(self._say)
        # After kill() the ports are the same, so that clients find the node again.
        self._choose()
        self.folder.chmod(0o700)
        for part in ("data", "log", "home"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        if not rabbitmq_data.readable(self._data_version, self._program_version):
            self._set_data_aside()
        self._said_before = {log: log.stat().st_size for log in (self.folder / "log").glob("*.log")}
        try:
            if self._programs.docker is not None:
                self._start_in_docker(self._programs.docker)
            else:
                self._start_programs(self._programs)
        except BaseException:
            self.kill()
            raise

    def finish(self) -> None:
        """The second half of ``start()``: wait."""
        assert self._server is not None
        try:
            self._wait_for(
                lambda: ports.listens(self.port) and self.management.answers(), "RabbitMQ", START_SECONDS, self._server
            )
        except LocalError:
            self.kill()
            if self._anew or not rabbitmq_data.refused(self._words_of_this_start()):
                raise
            self._set_data_aside()
            self._anew = True  # if it does not start with new ones either, it is something else
            self.start()
            return
        except BaseException:
            self.kill()
            raise
        self._ready, self._anew = True, False
        if self._program_version and self._program_version != self._remembered.get("version", str):
            self._remembered.put("version", self._program_version)

    @property
    def _program_version(self) -> str:
        assert self._programs is not None
        if self._programs.server is None:
            return IMAGE.partition(":")[2].partition("-")[0]
        return rabbitmq_data.of_programs(self._programs.server)

    @property
    def _data_version(self) -> str:
        if not any((self.folder / "data").iterdir()):
            return ""
        return self._remembered.get("version", str) or rabbitmq_data.of_logs(self.folder / "log")

    def _words_of_this_start(self) -> str:
        words = []
        for log in (self.folder / "log").glob("*.log"):
            with log.open("rb") as file:
                file.seek(self._said_before.get(log, 0))
                words.append(file.read().decode(errors="replace"))
        return "\n".join(words)

    def _set_data_aside(self) -> None:
        written_by = self._data_version
        target = rabbitmq_data.set_aside(self.folder / "data", written_by)
        self._say(
            f"The queues were made by RabbitMQ {written_by or 'of another version'}, and "
            f"{self._program_version or 'this one'} cannot read them: it starts with new ones. What was under way is "
            f"requeued from the database, within the quarter of an hour that POSTHASTE_REQUEUE_MINUTES says. The old "
            f"ones lie in {target}; delete them when nothing is missed."
        )

    def stop(self) -> None:
        """Stop in order; the queues and what is in them stay."""
        if not self._ready:
            self.kill()  # while it boots it is deaf to SIGTERM, and has nothing to lose
            return
        if self._server is not None:
            self._server.stop(STOP_SECONDS)
            self._server = None
        if self._epmd is not None:
            self._epmd.stop()
            self._epmd = None
        self._ready = False

    def kill(self) -> None:
        """As a power cut would: no time to write anything."""
        for part in (self._server, self._epmd):
            if part is not None:
                part.kill()
                part.wait()
        self._server = self._epmd = None
        self._ready = False

    def control(self, *words: str) -> str:
        """What rabbitmqctl answers; raises ``LocalError``, also for a node in Docker."""
        if self._programs is None or self._programs.server is None:
            raise LocalError("rabbitmqctl is not at hand here")
        command: list[str | Path] = [self._programs.server.with_name("rabbitmqctl"), "--node", self.name, *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise LocalError(f"rabbitmqctl {words[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")
        return str(done.stdout)

    def _write_configuration(self, host: str, amqp: int, management: int) -> Path:
        path = self.folder / "rabbitmq.conf"
        path.touch(mode=0o600)
        path.write_text(
            _CONFIGURATION.format(host=host, amqp=amqp, management=management, user=self.user, password=self.password)
        )
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        return path

    def _start_programs(self, programs: Programs) -> None:
        assert programs.server is not None
        assert programs.epmd is not None
        configuration = self._write_configuration("127.0.0.1", self.port, self.management_port)
        epmd_port = self._epmd_port or self._remembered.port("epmd_port")
        # Settings of another node in the environment would quietly become ours.
        clean = {
            name: value
            for name, value in without_settings(os.environ).items()
            if not re.match("(RABBITMQ|ERL|EPMD)_|NOTIFY_SOCKET$", name)
        }
        environment = (
            clean
            | programs.environment
            | {
                "HOME": str(self.folder / "home"),  # for .erlang.cookie
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "ERL_EPMD_PORT": str(epmd_port),
            }
        )
        self._find_queues(["erl"], environment)
        if self._epmd_port is None:
            self._epmd = self._run([programs.epmd], environment)
            self._wait_for(lambda: ports.listens(epmd_port), "epmd", 15.0, self._epmd)
        environment |= {
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._remembered.port("dist_port")),
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "data" / "config"),
            "RABBITMQ_PID_FILE": str(self.folder / "node.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # Makes the script become the node, instead of waiting for it and stopping it by rabbitmqctl.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        self._environment = environment
        self._server = self._run([programs.server], environment)

    def _start_in_docker(self, docker: Path) -> None:
        configuration = self._write_configuration("0.0.0.0", 5672, 15672)  # noqa: S104 inside the container only
        as_us = ("--user", f"{os.getuid()}:{os.getgid()}", "-v", f"{self.folder / 'data'}:/var/lib/rabbitmq")
        self._find_queues(
            [docker, "run", "--rm", "--network", "none", *as_us, "--entrypoint", "erl", IMAGE],
            without_settings(os.environ),
            Path("/var/lib/rabbitmq"),
        )
        self._server = self._run(
            [
                *(docker, "run", "--rm", "--name", self.name.partition("@")[0], "--hostname", "localhost"),
                *as_us,
                *("-p", f"127.0.0.1:{self.port}:5672", "-p", f"127.0.0.1:{self.management_port}:15672"),
                *("-v", f"{configuration}:/etc/rabbitmq/rabbitmq.conf:ro"),
                *("-v", f"{self.folder / 'enabled_plugins'}:/etc/rabbitmq/enabled_plugins:ro"),
                *("-e", "RABBITMQ_NODENAME=" + self.name),
                IMAGE,
            ],
            without_settings(os.environ),
            # Docker's own process keeps the container alive; only a signal to its client stops it.
            grace=STOP_SECONDS,
        )

    def _find_queues(
        self, erl: Sequence[str | os.PathLike[str]], environment: Mapping[str, str], data: Path | None = None
    ) -> None:
        added = rabbitmq_names.add_missing(self.folder / "data", erl, environment, data_as_erl_sees_it=data)
        if added:
            self._say(f"RabbitMQ was killed just after these queues were declared; they are kept: {', '.join(added)}")

    def _run(
        self, command: Sequence[str | os.PathLike[str]], environment: dict[str, str], grace: float = 0.0
    ) -> leash.Leashed:
        with (self.folder / "log" / "console.log").open("ab") as output:
            return leash.start(
                command,
                env=environment,
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                grace=grace,
            )

    def _wait_for(self, ready: Callable[[], bool], what: str, seconds: float, process: leash.Leashed) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            code = process.poll()
            if code is not None:
                raise LocalError(f"{what} ended with exit code {code} while starting. {self._last_words()}")
            if time.monotonic() > deadline:
                raise LocalError(f"{what} does not answer after {seconds:.0f} s. {self._last_words()}")
            time.sleep(0.1)

    def _last_words(self) -> str:
        logs = sorted((self.folder / "log").glob("*.log"), key=lambda path: path.stat().st_mtime)
        if not logs:
            return "It left no log."
        lines = logs[-1].read_text(errors="replace").splitlines()[-15:]
        return f"The end of {logs[-1]}:\n" + "\n".join(lines)


def _check_localhost() -> None:
    """The node is called …@localhost; a bare chroot or container may not know that name."""
    try:
        socket.getaddrinfo("localhost", None)
    except OSError as problem:
        raise LocalError(
            "This machine does not know the name localhost. Add the line “127.0.0.1 localhost” to /etc/hosts."
        ) from problem
