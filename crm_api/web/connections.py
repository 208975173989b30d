"""The connections that web has open, and which of them make room when there are too many.

A program or browser that is let in soon shows who it is. A connection that has not (a *stranger*) costs a file and
some memory, and somebody who means harm can open a thousand, send nothing, or a byte now and then. So strangers are
few for each address, and of more the oldest goes; nobody who is signed in loses a connection to them, nor does
anybody who asks and reads at once: he is never the oldest for long. Addresses of trusted proxies are not counted, as
all people come from there. When there are too many in all, only /health is answered: it must say that we live.
"""

import time
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Protocol

from crm_api.web.proxies import Network, household

GRACE_SECONDS = 1.0  # so long nobody goes for his address: many may come at once after a restart
RESERVE = 50  # connections beyond the limit, for /health


class Connection(Protocol):
    address: str  # where it comes from
    since: float  # time.monotonic()

    @property
    def is_stranger(self) -> bool:
        """Nobody has shown who he is."""

    @property
    def waits(self) -> bool:
        """It is their turn to send or to read."""

    def give_up(self) -> None: ...


class Connections:
    """most: in all. per_address: strangers of one address; of trusted networks any number."""

    def __init__(self, most: int, per_address: int, trusted: Iterable[Network] = ()) -> None:
        self._most, self._per_address, self._trusted = most, per_address, list(trusted)
        self._open: dict[Connection, str] = {}  # oldest first; to what it is counted
        self._of: dict[str, dict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """All places are taken by people."""
        return len(self._open) > self._most and sum(not each.is_stranger for each in self._open) >= self._most

    def add(self, one: Connection) -> None:
        """Others may have to go for it, or it for itself."""
        home = self._open[one] = household(one.address)
        its = self._of.setdefault(home, {})
        its[one] = None
        if len(its) > self._per_address and not self._is_trusted(one.address):
            self._thin_out(its)
        if len(self._open) > self._most:
            self._make_room_for(one)

    def remove(self, one: Connection) -> None:
        home = self._open.pop(one, None)
        if home is not None:
            del self._of[home][one]
            if not self._of[home]:
                del self._of[home]

    def _make_room_for(self, one: Connection) -> None:
        strangers = [each for each in self._open if each is not one and each.is_stranger]
        oldest = next((each for each in strangers if each.waits), None)
        if oldest is None and len(self._open) > self._most + RESERVE:
            oldest = strangers[0] if strangers else one  # even if they are being answered
        if oldest is not None:
            self._end(oldest)

    def _thin_out(self, its: Iterable[Connection]) -> None:
        strangers = [each for each in its if each.is_stranger and each.waits]
        young = time.monotonic() - GRACE_SECONDS
        for each in strangers[: max(0, len(strangers) - self._per_address)]:
            if each.since < young:
                self._end(each)

    def _end(self, one: Connection) -> None:
        self.remove(one)  # now, as its end is only heard of when the loop comes round
        one.give_up()

    def _is_trusted(self, address: str) -> bool:
        try:
            return any(ip_address(address) in network for network in self._trusted)
        except ValueError:  # a socket of this machine
            return True
