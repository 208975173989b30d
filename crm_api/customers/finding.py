"""Lists of customers: sorted, filtered, searched, page by page, as fast with 100,000 of them as with ten.

Each filter (a word, a tag, letters in trouble) can do two things: list the few customers it lets through, or test one
customer. With a filter that lets few through, those are fetched and sorted; with none such, the index of the sort
order is walked and each customer tested, which soon fills a page.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Uuid, func, literal, literal_column, text, type_coerce
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from crm_api.customers.models import Contact, Customer, CustomerTag, CustomerWord
from crm_api.customers.tags import tag_id
from crm_api.customers.words import end_of, query_words, words_of
from crm_api.errors import Invalid
from crm_api.messages.models import WATCHED, Delivery
from crm_api.messages.states import NEEDS_PERSON
from crm_api.paging import after, make_cursor, read_cursor
from crm_api.remembered import Remembered

Sort = Literal["name", "company", "created", "written"]

FEW = 5_000  # fetched and sorted in some 10 ms
MANY = 100_000  # so far each of several filters is counted, in 7 ms
SAMPLE = 1_000
MOST_COUNTED = 1_000
COUNTED_ANEW = 10_000  # up to so many customers are counted for each page, in some 0.5 ms
ENOUGH = 20_000  # entries of a filter that hardly ever are fewer than MOST_COUNTED customers

# sort → column, its Python type, newest first
_SORTS: dict[str, tuple[Any, type, bool]] = {
    "name": (Customer.sort_name, str, False),
    "company": (Customer.sort_company, str, False),
    "created": (Customer.created_at, datetime, True),
    "written": (Customer.written_at, datetime, True),
}


@dataclass(frozen=True)
class _Filter:
    """ids: a select of customer ids that pass, perhaps some twice. passes: whether the customer of this id does."""

    ids: Any
    passes: Callable[[Any], ColumnElement[bool]]


def _by_word(prefix: str) -> _Filter:
    def ids(row: Any) -> Any:
        return select(row.customer_id).where(row.word >= prefix, row.word < end_of(prefix))

    return _Filter(ids(CustomerWord), partial(_among, ids, CustomerWord))


def _by_tag(number: int) -> _Filter:
    def ids(row: Any) -> Any:
        return select(row.customer_id).where(row.tag_id == number)

    return _Filter(ids(CustomerTag), partial(_among, ids, CustomerTag))


def _by_trouble() -> _Filter:
    def ids(row: Any) -> Any:
        # the condition of ix_delivery_watched, word for word, lets SQLite use it
        return select(row.customer_id).where(
            text(WATCHED), row.state.in_(NEEDS_PERSON), col(row.customer_id).is_not(None)
        )

    return _Filter(ids(Delivery), partial(_among, ids, Delivery))


def _among(ids: Callable[[Any], Any], table: Any, customer_id: Any) -> ColumnElement[bool]:
    row = aliased(table)
    return ids(row).where(row.customer_id == customer_id).correlate_except(row).exists()  # type: ignore[no-any-return]


def _filters(session: Session, query: str | None, tag: str | None, trouble: bool) -> list[_Filter] | None:
    """None: nobody can pass."""
    filters = []
    if query and query.strip():
        words = query_words(query)
        if not words:
            return None  # only signs: no word to look for
        filters += [_by_word(word) for word in words]
    if tag:
        number = tag_id(session, tag)
        if number is None:
            return None
        filters.append(_by_tag(number))
    if trouble:
        filters.append(_by_trouble())
    return filters


def _up_to(session: Session, ids: Any, most: int) -> int:
    return session.exec(select(func.count()).select_from(ids.limit(most).subquery())).one()


def _unindexed(session: Session, column: Any) -> Any:
    """SQLite has no statistics and would walk the index and test everybody; a plus before a column forbids it that
    (sqlite.org/optoverview.html, section 2). PostgreSQL knows better by itself."""
    if session.get_bind().dialect.name != "sqlite":
        return column
    return literal_column(f"+{column.table.name}.{column.key}", column.type)


_Counted = tuple[int, _Filter]
Wanted = list[_Counted] | None  # filters, rarest first; None: nobody can pass


def wanted(session: Session, query: str | None = None, tag: str | None = None, trouble: bool = False) -> Wanted:
    """What a page and its count both begin with: several filters that leave few are brought together once."""
    filters = _filters(session, query, tag, trouble)
    if filters is None:
        return None
    counted = _counted(session, filters)
    if len(counted) > 1 and _left(session, counted) <= FEW:
        ids = session.exec(_entries(session, counted).distinct()).all()
        return [(min(len(ids), FEW), _by_ids(session, ids))]
    return counted


def _counted(session: Session, filters: list[_Filter]) -> list[_Counted]:
    """Rarest first. Each is counted up to MANY + 1, one that is alone up to FEW + 1."""
    most = MANY if len(filters) > 1 else FEW
    counted = [(_up_to(session, filter.ids, most + 1), filter) for filter in filters]
    return sorted(counted, key=lambda pair: pair[0])


def _left(session: Session, counted: list[_Counted]) -> int:
    """About how many pass all: two common words may seldom meet, and a sample tells."""
    (count, rarest), *others = counted
    if not FEW < count <= MANY:
        return count
    return count * _up_to(session, _entries(session, [(0, rarest), *others], SAMPLE), SAMPLE) // SAMPLE


def _by_ids(session: Session, ids: Sequence[UUID]) -> _Filter:
    """Known already, and alone."""
    if session.get_bind().dialect.name == "sqlite":
        rows = func.json_each(json.dumps([each.hex for each in ids])).table_valued("value")
        found = select(type_coerce(rows.c.value, Uuid()).label("customer_id"))
    else:
        found = select(func.unnest(literal(ids, ARRAY(Uuid()))).label("customer_id"))
    return _Filter(found, lambda customer_id: customer_id.in_(found))


def _matching(session: Session, counted: list[_Counted], archived: bool) -> tuple[Any, bool]:
    """A select of the customers that pass, and whether it begins with the few of the rarest filter."""
    if counted and counted[0][0] <= FEW:
        return _starting(session, _entries(session, counted), archived), True
    mine = col(Customer.archived).is_(archived)
    return select(Customer).where(mine, *(filter.passes(Customer.id) for _, filter in counted)), False


def _entries(session: Session, counted: list[_Counted], sample: int | None = None) -> Any:
    """The entries of the rarest filter that pass the others. sample: of so many of them only."""
    (count, rarest), *others = counted
    ids = rarest.ids.limit(sample)
    if count > FEW:  # to look up each of them costs more than to read the others' entries, too, if these are not many
        near = [pair for pair in others if pair[0] <= MANY]
        (number,) = ids.selected_columns
        ids = ids.where(*(_unindexed(session, number).in_(filter.ids.correlate(None)) for _, filter in near))
        others = [pair for pair in others if pair not in near]
    (number,) = ids.subquery().c
    return select(number).where(*(filter.passes(number) for _, filter in others))


def _starting(session: Session, entries: Any, archived: bool) -> Any:
    """The customers of these entries, each once."""
    statement = select(Customer).where(_unindexed(session, Customer.archived).is_(archived))
    if session.get_bind().dialect.name == "sqlite":
        few = select(*entries.subquery().c).distinct().cte("few").prefix_with("MATERIALIZED")
        (number,) = few.c
        return statement.join(few, number == Customer.id)
    # as an array, or PostgreSQL likes to read all customers and merge
    return statement.where(col(Customer.id) == func.any(func.array(entries.scalar_subquery())))


def list_page(
    session: Session,
    *,
    query: str | None = None,
    tag: str | None = None,
    trouble: bool = False,
    archived: bool = False,
    sort: Sort = "name",
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[Sequence[Customer], str | None]:
    """A page, and the cursor of the next one. query: each of its words begins a word of the customer."""
    return page_of(session, wanted(session, query, tag, trouble), archived, sort, cursor, limit)


def page_of(
    session: Session, wanted: Wanted, archived: bool, sort: Sort, cursor: str | None, limit: int
) -> tuple[Sequence[Customer], str | None]:
    if wanted is None:
        return [], None
    column, kind, descending = _SORTS[sort]
    statement, few = _matching(session, wanted, archived)
    keys = [_unindexed(session, column) if few else column, col(Customer.id)]
    if cursor:
        name, value, last = read_cursor(cursor, str, kind, UUID)
        if name != sort:
            raise Invalid.field("cursor", "This cursor belongs to another order. Begin with the first page.")
        statement = statement.where(after(keys, (value, last), descending))
    order = [key.desc() if descending else key.asc() for key in keys]
    found = session.exec(statement.order_by(*order).limit(limit + 1)).all()
    if len(found) <= limit:
        return found, None
    last_one = found[limit - 1]
    return found[:limit], make_cursor(sort, getattr(last_one, column.key), last_one.id)


def count_matching(
    session: Session, *, query: str | None = None, tag: str | None = None, trouble: bool = False, archived: bool = False
) -> int:
    """How many a filtered list holds; MOST_COUNTED + 1 means more than that, however many there are."""
    return count_of(session, wanted(session, query, tag, trouble), archived)


def count_of(session: Session, wanted: Wanted, archived: bool) -> int:
    if wanted is None:
        return 0
    if not wanted:
        return min(count_customers(session, archived), MOST_COUNTED + 1)

    # no order is asked for, so no index of an order is walked
    entries = _entries(session, wanted)
    found = _count(session, entries.limit(ENOUGH), archived)
    if found > MOST_COUNTED or _up_to(session, wanted[0][1].ids, ENOUGH + 1) <= ENOUGH:
        return found
    return _count(session, entries, archived)


def _count(session: Session, entries: Any, archived: bool) -> int:
    return _up_to(session, _starting(session, entries, archived).with_only_columns(Customer.id), MOST_COUNTED + 1)


def count_customers(session: Session, archived: bool = False) -> int:
    """Exact, from an index alone; remembered for a moment when there are very many."""
    these = select(Customer.id).where(col(Customer.archived).is_(archived))
    few = _up_to(session, these, COUNTED_ANEW)
    if few < COUNTED_ANEW:
        return few

    def ask() -> int:
        return session.exec(select(func.count()).select_from(these.subquery())).one()

    return _counts.get(session, f"customers {archived}", ask)


_counts: Remembered[int] = Remembered(cheap=0.0)


@dataclass(frozen=True)
class Suggestion:
    """Somebody to write to. value: "customer:<id>" or "contact:<id>"."""

    value: str
    name: str
    address: str
    note: str


def suggest(session: Session, query: str, limit: int = 8) -> list[Suggestion]:
    """Customers that fit and have an address, then the people there; those written to last come first."""
    found, _ = list_page(session, query=query, sort="written", limit=limit)
    words = query_words(query)
    people = session.exec(
        select(Contact)
        .where(col(Contact.customer_id).in_([customer.id for customer in found]), Contact.email != "")
        .order_by(col(Contact.id))
    ).all()
    suggestions = []
    for customer in found:
        if customer.email:
            company = customer.company if customer.company != customer.name else ""
            suggestions.append(Suggestion(f"customer:{customer.id}", customer.name, customer.email, company))
        for person in people:
            if person.customer_id == customer.id and _fits(person, customer, words):
                note = ", ".join(part for part in (person.role, customer.company or customer.name) if part)
                suggestions.append(Suggestion(f"contact:{person.id}", person.name, person.email, note))
    return suggestions[:limit]


def _fits(person: Contact, customer: Customer, words: list[str]) -> bool:
    has = words_of([person.first_name, person.last_name, person.email, customer.company, customer.last_name])
    return all(any(word.startswith(asked) for word in has) for asked in words)
