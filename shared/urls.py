"""The one reader of URLs in settings (RFC 3986). What it does not understand it refuses.

Libraries guess: for smtp://me:2024#Xy@host they see the host `me`, the port 2024 and a fragment, so that a piece of
the password stands in the log and nobody signs in. Here such a URL is refused, with what to do about it; no sentence
holds a piece of it.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal
from urllib.parse import quote, unquote

SignIn = Literal["never", "both or none", "both", "user alone may do"]
Host = tuple[str, int | None]

MAX_PORT = 65535
_ENCODE = "In a user name or password write % as %25, @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and , as %2C"
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_MAX_HOST = 253


class BadUrl(ValueError):
    """What is wrong with it and what to do, to be put after the name of the setting. Never a piece of the URL."""


@dataclass(frozen=True)
class Form:
    """What the URL of one setting may hold. parameters: name → its values, None where any will do."""

    example: str
    schemes: tuple[str, ...]
    sign_in: SignIn = "never"
    path: Literal["none", "one name", "any"] = "none"
    parameters: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    several_hosts: bool = False  # host1:1,host2:2
    host_needed: bool = True


@dataclass(frozen=True)
class Url:
    """Everything decoded. path: without its first slash; None: there is not even that."""

    scheme: str
    hosts: tuple[Host, ...]
    user: str | None
    password: str | None = field(repr=False)
    path: str | None
    parameters: Mapping[str, str] = field(repr=False)

    @property
    def host(self) -> str:
        return self.hosts[0][0] if self.hosts else ""

    @property
    def port(self) -> int | None:
        return self.hosts[0][1] if self.hosts else None

    @property
    def netloc(self) -> str:
        """host:port, as often as there are hosts; nobody's name or password."""
        return ",".join(_netloc(*each) for each in self.hosts)


def read(text: str, form: Form) -> Url:
    """Raises BadUrl."""
    try:
        return _read(text, form)
    except _Wrong as wrong:
        encode = "" if form.sign_in == "never" else f" {_ENCODE}."
        raise BadUrl(f"{wrong}. Write it like {form.example}.{encode}") from None


class _Wrong(ValueError):
    """What is wrong, without what to do."""


def _read(text: str, form: Form) -> Url:
    if not all(character.isprintable() and character != " " for character in text):
        raise _Wrong("it holds a space, a line break or another character that cannot be seen (a space is %20)")
    scheme, mark, rest = text.partition("://")
    if not mark or scheme.lower() not in form.schemes:
        raise _Wrong(f"it does not begin with {' or '.join(f'{each}://' for each in form.schemes)}")
    if "#" in rest:
        raise _Wrong("there is a # in it, which begins a fragment, and it may have none")
    before, question, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    if "@" in path or "@" in query:
        raise _Wrong("there is an @ after a / or ?, so that it is not clear where the password ends")
    user, password, where = _signs_in(authority, form)
    return Url(
        scheme.lower(),
        _hosts(where, form),
        user,
        password,
        _path(path, form) if slash else None,
        _parameters(query, form) if question else {},
    )


def _signs_in(authority: str, form: Form) -> tuple[str | None, str | None, str]:
    """User, password, and what is left: the hosts."""
    who, at, where = authority.rpartition("@")
    if "@" in who:
        raise _Wrong("there is more than one @ in it, so that it is not clear where the password ends")
    if not at:
        if form.sign_in == "both":
            raise _Wrong("it names no user and password")
        return None, None, where
    if form.sign_in == "never":
        raise _Wrong("it may hold no user and password, as others see it")
    name, colon, word = who.partition(":")
    if ":" in word:
        raise _Wrong("there is more than one : before the @, so that it is not clear where the password begins")
    if set(who) & set("[]"):
        raise _Wrong("there is a bracket before the @ (write [ as %5B and ] as %5D)")
    if not name:
        raise _Wrong("there is no user before the @")
    if not word and (colon or form.sign_in != "user alone may do"):
        raise _Wrong("it names a user and no password")
    return decoded(name), decoded(word) if colon else None, where


def _hosts(where: str, form: Form) -> tuple[Host, ...]:
    if not where and not form.host_needed:
        return ()
    if "," in where and not form.several_hosts:
        raise _Wrong("there is a comma in the name of its host")
    return tuple(read_host(each) for each in where.split(","))


def read_host(text: str) -> Host:
    """`host`, `host:port` or `[IPv6]:port`. Raises ValueError, which says what is wrong and no piece of it."""
    if text.startswith("["):
        inside, bracket, port = text[1:].partition("]")
        try:
            host = str(ipaddress.IPv6Address(inside))
        except ValueError:
            raise _Wrong("what is in brackets is no IPv6 address") from None
        if not bracket or "%" in host or (port and not port.startswith(":")):
            raise _Wrong("its IPv6 address is not written correctly, like [2001:db8::1]:1234")
        return host, _port(port[1:]) if port else None
    host, colon, port = text.partition(":")
    if ":" in port:
        raise _Wrong("there is more than one : in its host (an IPv6 address stands in brackets)")
    if not host:
        raise _Wrong("it names no host")
    return _host(host.lower()), _port(port) if colon else None


def _host(name: str) -> str:
    labels = name.split(".")
    if len(name) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise _Wrong(
            "its host is neither a name nor an address (letters, digits, hyphens and points; "
            "a name with other letters in its form xn--…)"
        )
    if labels[-1].isdigit():
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            raise _Wrong("its host is no IPv4 address") from None
    return name


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= MAX_PORT):
        raise _Wrong(f"its port is no number from 1 to {MAX_PORT}")
    return int(text)


def _path(path: str, form: Form) -> str:
    if path and form.path == "none":
        raise _Wrong("there is something after the / behind its host")
    if "/" in path and form.path == "one name":
        raise _Wrong("there is more than one / behind its host (one that belongs to the name is written %2F)")
    return decoded(path)


def _parameters(query: str, form: Form) -> dict[str, str]:
    if not form.parameters:
        raise _Wrong("there is a ? in it, and it may have no parameters")
    found: dict[str, str] = {}
    for each in query.split("&"):
        name, _, value = (decoded(part) for part in each.partition("="))
        if name not in form.parameters:
            known = get_close_matches(name, form.parameters, 1) or sorted(form.parameters)[:10]
            raise _Wrong(f"after the ? there is a parameter that is not known; known is {', '.join(known)}")
        # from here on the name is one of ours and may be said
        if name in found:
            raise _Wrong(f"{name}= is there twice")
        values = form.parameters[name]
        if not value or (values is not None and value not in values):
            raise _Wrong(f"{name}= needs a value" + (f": {', '.join(values)}" if values else ""))
        found[name] = value
    return found


def decoded(text: str) -> str:
    """Without percent-encoding. Raises ValueError where that is broken, or hides what cannot be sent."""
    if _BROKEN_PERCENT.search(text):
        raise _Wrong("there is a % that two hexadecimal digits do not follow")
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _Wrong("what is percent-encoded in it is no UTF-8") from None
    if any(ord(character) < 32 or ord(character) == 127 for character in plain):
        raise _Wrong("a control character is percent-encoded in it")
    return plain


def _netloc(host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port else host


def encoded(text: str) -> str:
    return quote(text, safe="")
