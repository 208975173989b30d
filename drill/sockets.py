"""Who is at the other end of a connection on this machine, and whether it has read what was sent. Linux only."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

LOOKS = 10


@dataclass(frozen=True)
class Socket:
    local: int
    remote: int  # ports
    unread: int  # bytes that its process has not read yet
    inode: str


def sockets() -> list[Socket]:
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01":  # established
            local, remote = (int(fields[column].rpartition(":")[2], 16) for column in (1, 2))
            found.append(Socket(local, remote, int(fields[4].rpartition(":")[2], 16), fields[9]))
    return found


def owner(port: int) -> int:
    """pid of the process whose end of a connection has this local port; raises LookupError."""
    for _ in range(LOOKS):  # the kernel's list misses some while others come and go
        for each in sockets():
            if each.local == port and (pid := _process_with(f"socket:[{each.inode}]")):
                return pid
        time.sleep(0.02)
    raise LookupError(f"nobody has a connection from port {port}")


def has_read(port: int) -> bool:
    """Whether the process at this local port has taken all that came."""
    return all(each.unread == 0 for each in sockets() if each.local == port)


def unread_from(pid: int, server_port: int) -> int:
    """Bytes that this process has sent to the server there and that the server has not read."""
    mine = _inodes(pid)
    every = sockets()
    ports = {each.local for each in every if each.inode in mine and each.remote == server_port}
    return sum(each.unread for each in every if each.local == server_port and each.remote in ports)


def connected_to(pid: int, server_ports: set[int]) -> set[int]:
    """To which of these ports the process has connections."""
    mine = _inodes(pid)
    return {each.remote for each in sockets() if each.inode in mine} & server_ports


def _inodes(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                name = str(entry.readlink())
                if name.startswith("socket:["):
                    found.add(name[8:-1])
    return found


def _process_with(link: str) -> int | None:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for entry in (folder / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(entry.readlink()) == link:
                        return int(folder.name)
    return None
