"""People for a house with very many customers: person number 31 is always the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from crm_api.customers.words import fold, words_of

FIRST = (
    "Anna", "Björn", "Chloé", "Dmitri", "Emi", "Fatima", "Giulia", "Hanna", "Ivo", "Jürgen", "Kwame", "Ludo",
    "Marta", "Nils", "Olga", "Piet", "Quentin", "Rut", "Sofía", "Théo", "Ursula", "Věra", "Wanda", "Xenia",
    "Yusuf", "Zoë", "Aylin", "Bengt", "Carla", "Doris", "Ebba", "Filip", "Greta", "Hugo", "Ines", "Jakob",
    "Klara", "Leon", "Mira", "Noah",
)  # fmt: skip
LAST = (
    "Ek", "Nilsson", "Okafor", "Demir", "Lindqvist", "Moreau", "Nair", "Peeters", "Reid", "Tanaka", "Kowalska",
    "Nordmann", "Mensah", "García", "Müller", "Rossi", "Novák", "Horváth", "Petrov", "Jansen", "Silva", "Kaya",
    "Dubois", "Weber", "Fischer", "Larsen", "Virtanen", "Papadopoulos", "Schmidt", "Berg", "Achterberg",
    "Bianchi", "Castro", "Dahl", "Eriksen", "Ferrari", "Gruber", "Hansen", "Ivanova", "Jensen", "Keller",
    "Lund", "Maier", "Nagy", "Olsen", "Popescu", "Quist", "Romero", "Sato", "Toth", "Ulrich", "Vogel", "Wagner",
    "Xhaka", "Yilmaz", "Zeller", "Adler", "Brandt", "Cohen", "Doyle",
)  # fmt: skip
KINDS = (
    "Nursery", "Trädgård", "Gartenbau", "Orchards", "Café", "Hotel", "Interiors", "Landscapes", "Bloembollen",
    "Atelier",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Person:
    number: int
    first: str
    last: str
    shop: str

    @property
    def company(self) -> str:
        return f"{self.shop} {self.number}"

    @property
    def email(self) -> str:
        return f"{fold_cached(self.first)}.{fold_cached(self.last)}@company-{self.number}.example"

    @property
    def phone(self) -> str:
        return f"+46 31 {self.number:07}"

    @property
    def sort_name(self) -> str:
        return f"{fold_cached(self.last)} {fold_cached(self.first)}"

    @property
    def texts(self) -> list[str]:
        return [self.first, self.last, self.company, self.email, self.phone]

    @property
    def words(self) -> frozenset[str]:
        """words_of(texts), a hundred times as fast."""
        known = words_cached(f"{self.first} {self.last} {self.shop} company example 46 31")
        return known | {str(self.number), f"{self.number:07}"}


def person(number: int) -> Person:
    last = LAST[number * 31 % len(LAST)]
    shop = f"{LAST[number * 17 % 53]} {KINDS[number // 53 % len(KINDS)]}"
    return Person(number, FIRST[number * 13 % 37], last, shop)


@cache
def fold_cached(text: str) -> str:
    return fold(text)


@cache
def words_cached(text: str) -> frozenset[str]:
    return frozenset(words_of([text]))
