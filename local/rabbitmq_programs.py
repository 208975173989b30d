"""Finds RabbitMQ's programs, or gets them: installed, Debian packages, Homebrew, Docker, in this order."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from local import debian
from local.errors import Unavailable

Say = Callable[[str], None]

ADVICE = (
    "No RabbitMQ here and no way to get one by itself. Install rabbitmq-server (3.10 or newer), "
    "start Docker, or point POSTHASTE_AMQP_URL to a broker that runs elsewhere."
)
IMAGE = "rabbitmq:4.2-management"

_SERVERS = (
    # The one in /usr/sbin of Debian and Fedora is a wrapper that switches to the user rabbitmq.
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
    "/opt/rabbitmq/sbin/rabbitmq-server",
)


@dataclass(frozen=True)
class Programs:
    """What it takes to start a node: either the server script and epmd, or a Docker client."""

    server: Path | None = None
    epmd: Path | None = None
    docker: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)


def find(say: Say = lambda _: None) -> Programs:
    """The first that is there or can be had; raises ``Unavailable`` with advice."""
    installed = _installed()
    if installed is not None:
        return installed
    tried: list[str] = []
    for way in (_from_packages, _from_homebrew, _from_docker):
        try:
            return way(say)
        except Unavailable as error:
            tried.append(str(error))
    raise Unavailable(f"{ADVICE} (Tried: {'; '.join(tried)}.)")


def _installed() -> Programs | None:
    candidates = [Path(path) for path in _SERVERS]
    candidates += sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    in_path = shutil.which("rabbitmq-server")
    if in_path is not None and not _switches_user(Path(in_path)):
        candidates.append(Path(in_path))
    for server in candidates:
        if server.is_file():
            epmd = _epmd_beside_erl()
            if epmd is not None:
                return Programs(server=server, epmd=epmd)
    return None


def _switches_user(script: Path) -> bool:
    text = script.resolve().read_bytes()[:8000]
    return b"runuser" in text or b"su rabbitmq" in text or b"su -" in text


def _epmd_beside_erl() -> Path | None:
    found = shutil.which("epmd")
    if found:
        return Path(found)
    erl = shutil.which("erl")
    if erl is None:
        return None
    # Erlang from source or Homebrew keeps epmd in lib/erlang/erts-*/bin only.
    lib = Path(erl).resolve().parent.parent
    return next(iter(sorted(lib.glob("erts-*/bin/epmd"), reverse=True)), None)


def _from_packages(say: Say) -> Programs:
    root = debian.unpacked(
        "rabbitmq-server",
        own=r"^(erlang-|rabbitmq-server$)",
        # Its daily log rotation and a helper of Debian's init script.
        without=("logrotate", "libpopt0", "socat", "libwrap0", "cron", "cron-daemon-common"),
        prepare=_move_erlang,
        say=say,
    )
    environment = {"PATH": f"{root}/usr/bin:{os.environ.get('PATH', os.defpath)}"}
    libraries = debian.library_path(root)
    if libraries:
        environment["LD_LIBRARY_PATH"] = libraries
    return Programs(
        server=root / "usr/lib/rabbitmq/bin/rabbitmq-server",
        epmd=root / "usr/bin/epmd",
        environment=environment,
    )


def _move_erlang(folder: Path, final: Path) -> None:
    """Debian's scripts ``erl`` and ``start`` name the folder they were built for; name the new one."""
    erlang = folder / "usr/lib/erlang"
    built_for = b"ROOTDIR=/usr/lib/erlang"
    moved = b'ROOTDIR="%s/usr/lib/erlang"' % os.fsencode(final)
    for script in [*erlang.glob("bin/*"), *erlang.glob("erts-*/bin/*")]:
        if script.is_file() and not script.is_symlink():
            text = script.read_bytes()
            if text.startswith(b"#!") and built_for in text:
                script.write_bytes(text.replace(built_for, moved))


def _from_homebrew(say: Say) -> Programs:
    brew = shutil.which("brew")
    if brew is None:
        raise Unavailable("no Homebrew")
    say("installing RabbitMQ with Homebrew")
    done = subprocess.run([brew, "install", "--quiet", "rabbitmq"], stdin=subprocess.DEVNULL, check=False)
    programs = _installed()
    if done.returncode != 0 or programs is None:
        raise Unavailable("brew install rabbitmq failed")
    return programs


def _from_docker(say: Say) -> Programs:
    docker = shutil.which("docker")
    if docker is None:
        raise Unavailable("no Docker")
    if not _succeeds(docker, "version", "--format", "{{.Server.Version}}"):
        raise Unavailable("no Docker engine answers")
    if not _succeeds(docker, "image", "inspect", IMAGE):
        say(f"downloading the Docker image {IMAGE}")
        if not _succeeds(docker, "pull", "--quiet", IMAGE, timeout=1800.0):
            raise Unavailable(f"docker pull {IMAGE} failed")
    return Programs(docker=Path(docker))


def _succeeds(*command: str, timeout: float = 15.0) -> bool:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
