"""Find processes by a mark in their environment, however far down the tree and in whatever session."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

MARK = "POSTHASTE_TEST_MARK"
can_see_marks = sys.platform.startswith("linux")


def new_mark() -> dict[str, str]:
    """An environment to start processes with, unlike any other."""
    return {MARK: secrets.token_hex(8)}


def alive(mark: dict[str, str]) -> dict[int, str]:
    """pid → command line of every living process with this mark, except ourselves."""
    wanted = f"{MARK}={mark[MARK]}".encode()
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if pid != os.getpid() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if command:  # empty for a process that is already dead
                    found[pid] = command
        except OSError:
            continue  # gone, or not ours
    return found


def listening_addresses(pids: set[int]) -> set[str]:
    """Local addresses on which these processes listen, in the kernel's hexadecimal form (without ports)."""
    sockets = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(str(entry.readlink()))
            except OSError:
                continue
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue  # no IPv6 here
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:  # 0A: LISTEN
                found.add(fields[1].partition(":")[0])
    return found
