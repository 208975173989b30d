"""Whether a node can read the data that another version has written, and what becomes of data that it cannot.

RabbitMQ goes up one series at a time (3.10 to 3.13 to 4.x, with feature flags enabled before) and never down; a
system's upgrade, like Debian 12 to 13, skips that. The queues hold nothing that the database does not know, so a
private node's data are set aside, and deliveries that were under way are requeued by reconciliation.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

Version = tuple[int, ...]

LAST_OF_3 = (3, 13)  # from there 4.x can be reached
_STARTING = re.compile(r"Starting RabbitMQ (\d+(?:\.\d+)+)")
# a node's last words about data that are not of its version; 3.11 and later, and those of its Mnesia and Khepri
_REFUSES = (
    "disabled_required_feature_flag",
    "disabled_mandatory_feature_flag",
    "failed_to_initialize_feature_flags_registry",
    "required feature flag not enabled",
    "incompatible_feature_flags",
    "unsupported feature flags",
    "cluster_upgrade",
    "schema_integrity_check_failed",
    "inconsistent_database",
    "bad_version",
    "wrong_version",
    "machine_version",
)


def parsed(text: str) -> Version:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def of_programs(server: Path) -> str:
    """The version of the program at this path, as its folders tell it; empty if they do not."""
    place = server.resolve()
    beside = sorted(place.parent.parent.glob("lib/rabbitmq_server-*"), key=lambda path: parsed(path.name))
    for path in (*reversed(beside), *place.parents):
        if found := re.fullmatch(r"(?:rabbitmq_server-)?(\d+\.\d+(?:\.\d+)*)", path.name):
            return found[1]
    return ""


def of_logs(folder: Path) -> str:
    """What the newest log says that was started last: for data from before the version was written down."""
    for log in sorted(folder.glob("*.log"), key=lambda path: -path.stat().st_mtime):
        if found := _STARTING.findall(log.read_text(errors="replace")):
            return str(found[-1])
    return ""


def readable(written_by: str, program: str) -> bool:
    """False: it is known that the program cannot read them. Without a version nobody knows before it is tried."""
    before, now = parsed(written_by)[:2], parsed(program)[:2]
    if not before or not now:
        return True
    return before <= now and not (before < LAST_OF_3 and now >= (4,))


def refused(words: str) -> bool:
    """Whether a node that did not start says that the data are not of its version."""
    return any(each in words for each in _REFUSES)


def set_aside(data: Path, written_by: str) -> Path:
    """Beside where they lay, under a name that says whose they are; in their place is an empty folder."""
    at = datetime.now().strftime("%Y%m%d-%H%M%S")
    number, target = 1, data.with_name(f"{data.name}-of-{written_by or 'another-version'}-{at}")
    while target.exists():
        number, target = number + 1, data.with_name(f"{data.name}-of-{written_by or 'another-version'}-{at}-{number}")
    data.rename(target)
    data.mkdir(mode=0o700)
    return target
