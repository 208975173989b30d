"""Whom the composer offers to write as: the settings' sender, the listed addresses, and who writes, if they may."""

from dataclasses import dataclass

from sqlmodel import Session

from crm_api.auth.principal import Principal
from crm_api.senders.allowed import is_allowed, listed
from crm_api.settings import CrmSettings
from shared.addresses import address_key


@dataclass(frozen=True, slots=True)
class Offer:
    address: str
    name: str

    @property
    def label(self) -> str:
        return f"{self.name}, {self.address}" if self.name else self.address


def offers(session: Session, settings: CrmSettings, by: Principal, chosen: str = "") -> list[Offer]:
    """The settings' sender first, each once. chosen: of a message that is written on, if it is still allowed."""
    found = [Offer(settings.sender_address, settings.sender_name)]
    found += [Offer(one.written, one.name) for one in listed(session, settings) if not one.is_domain]
    if by.email and is_allowed(session, settings, by.email):
        found.append(Offer(by.email, by.name))
    if chosen and is_allowed(session, settings, chosen):
        found.append(Offer(chosen, ""))
    each: dict[str, Offer] = {}
    for offer in found:
        each.setdefault(address_key(offer.address), offer)
    return list(each.values())


def chosen_of(choices: list[Offer], address: str) -> Offer:
    """The first if there is no such one."""
    key = address_key(address)
    return next((offer for offer in choices if address_key(offer.address) == key), choices[0])
