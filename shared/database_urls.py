"""URLs of databases: sqlite:///<file>, and postgresql://… as libpq takes it (PostgreSQL's manual, 34.1.1.2).

SQLAlchemy and libpq read the same URL differently (a plus sign, an @, several hosts with ports); both get one that is
written anew from what was understood here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

import psycopg.pq

from shared.readable import readable_file, writable_file
from shared.urls import BadUrl, Form, Url, encoded, read, read_host

SQLITE = "sqlite:///"
_EXAMPLES = "sqlite:////var/lib/posthaste/file.sqlite or postgresql://user:password@host:5432/database"
_ENTRY = {"postgres": "postgresql", "postgresql+psycopg": "postgresql"}
_VALUES: Mapping[str, tuple[str, ...]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "gssencmode": ("disable", "prefer", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_FILES = ("sslcert", "sslkey", "sslrootcert", "sslcrl", "passfile")
_NUMBERS = ("connect_timeout", "tcp_user_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count")
# what stands in the authority and path may also be said by a parameter, but not twice
_PLACES = ("host", "port", "user", "password", "dbname")


@dataclass(frozen=True)
class DatabaseUrl:
    """Either a file, or a PostgreSQL server; `plain` as both libpq and SQLAlchemy read it."""

    file: Path | None
    plain: str = field(repr=False)
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def for_sqlalchemy(self) -> str:
        return self.plain.replace("postgresql://", "postgresql+psycopg://", 1)


def read_database_url(text: str) -> DatabaseUrl:
    """Raises BadUrl."""
    if text.lower().startswith("sqlite:"):
        return _sqlite(text)
    url = read(text, _form())
    given = dict(url.parameters)
    said = _said(url)
    for name in _PLACES:
        if name in given:
            if said[name]:
                raise BadUrl(f"{name}= is given twice, before the ? and after it. Write it like {_EXAMPLES}.")
            said[name] = given.pop(name)
    _check(given, said["port"])
    return DatabaseUrl(None, _written(said, given), said["user"], said["password"])


@cache
def _form() -> Form:
    names = [option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()]
    known = {name: _VALUES.get(name) for name in names}
    return Form(
        _EXAMPLES,
        ("postgresql", *_ENTRY),
        sign_in="user alone may do",
        path="one name",
        parameters=MappingProxyType(known),
        several_hosts=True,
        host_needed=False,
    )


def _sqlite(text: str) -> DatabaseUrl:
    how = "Write it like sqlite:////var/lib/posthaste/file.sqlite, the path as it is."
    name = text[len(SQLITE) :]
    if not text.startswith(SQLITE) or not name:
        raise BadUrl(f"three slashes and the path of a file follow sqlite:. {how}")
    if set(name) & set("?#%") or name != name.strip() or not name.isprintable():
        raise BadUrl(f"neither ? nor # nor % nor a space at an end may stand in it, as it has no parameters. {how}")
    if name == ":memory:" or name.startswith("file:"):
        raise BadUrl(f"it has to be a file, as several processes use it. {how}")
    try:
        writable_file(Path(name))
    except ValueError as problem:
        raise BadUrl(f"{problem}.") from None
    return DatabaseUrl(Path(name), text)


def _said(url: Url) -> dict[str, str]:
    ports = [str(port or "") for _, port in url.hosts]
    return {
        "host": ",".join(host for host, _ in url.hosts),
        "port": ",".join(ports) if any(ports) else "",
        "user": url.user or "",
        "password": url.password or "",
        "dbname": url.path or "",
    }


def _check(given: dict[str, str], ports: str) -> None:
    wrong = [name for name in _NUMBERS if name in given and not _is_number(given[name])]
    if wrong:
        raise BadUrl(f"{wrong[0]}= is a number of seconds or tries.")
    for port in filter(None, ports.split(",")):
        read_host(f"host:{port}")
    for name in _FILES:
        if name in given and not (name == "sslrootcert" and given[name] == "system"):
            try:
                readable_file(Path(given[name]))
            except ValueError as problem:
                raise BadUrl(f"{name}= names a file: {problem}.") from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _written(said: dict[str, str], given: dict[str, str]) -> str:
    who = encoded(said["user"]) + (f":{encoded(said['password'])}" if said["password"] else "")
    hosts = said["host"]
    if "," in hosts or "/" in hosts or said["port"].count(","):  # several, or the folder of a socket
        where = ""
        given = {"host": hosts} | ({"port": said["port"]} if said["port"] else {}) | given
    else:
        where = (f"[{hosts}]" if ":" in hosts else hosts) + (f":{said['port']}" if said["port"] else "")
    if said["password"] and not said["user"]:  # whose it is, says the system's user; a URL cannot
        given = {"password": said["password"]} | given
        who = ""
    query = "&".join(f"{name}={encoded(value)}" for name, value in given.items())
    return f"postgresql://{who}{'@' if who else ''}{where}/{encoded(said['dbname'])}{'?' if query else ''}{query}"
