"""Tags of customers."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, delete, select

from crm_api.customers.checks import MAX_TAGS
from crm_api.customers.models import CustomerTag, Tag
from crm_api.customers.words import same_look
from crm_api.errors import Invalid


def tags_of(session: Session, customers: Iterable[UUID]) -> dict[UUID, list[str]]:
    """Customer → names in alphabetical order, for all of them in one statement."""
    found: dict[UUID, list[str]] = {customer: [] for customer in customers}
    if found:
        rows = session.exec(
            select(CustomerTag.customer_id, Tag.name)
            .join(Tag, col(Tag.id) == CustomerTag.tag_id)
            .where(col(CustomerTag.customer_id).in_(found))
            .order_by(Tag.name)
        )
        for customer, name in rows:
            found[customer].append(name)
    return found


def all_tags(session: Session) -> list[str]:
    return list(session.exec(select(Tag.name).order_by(Tag.name).limit(1000)))


def tag_id(session: Session, name: str) -> int | None:
    name = same_look(name.replace("\0", ""))  # PostgreSQL refuses NUL in any text
    return session.exec(select(Tag.id).where(Tag.name == name)).one_or_none()


def make_tags(session: Session, names: Iterable[str]) -> dict[str, int]:
    """Name → id; makes those that are new, even when another does the same at this moment."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    insert = (postgresql if session.get_bind().dialect.name == "postgresql" else sqlite).insert(Tag)
    session.execute(insert.on_conflict_do_nothing(), [{"name": name} for name in wanted])
    rows = session.exec(select(Tag.name, Tag.id).where(col(Tag.name).in_(wanted)))
    return {name: number for name, number in rows if number is not None}


def set_tags(session: Session, customer: UUID, wanted: list[str]) -> tuple[list[str], list[str]]:
    """All that the customer has afterwards. (added, removed)"""
    had = tags_of(session, [customer])[customer]
    return _change(session, customer, had, wanted, [name for name in had if name not in wanted])


def add_and_remove(session: Session, customer: UUID, more: list[str], less: list[str]) -> tuple[list[str], list[str]]:
    """The others stay, whoever gave them. (added, removed)"""
    return _change(session, customer, tags_of(session, [customer])[customer], more, less) if more or less else ([], [])


def _change(
    session: Session, customer: UUID, had: list[str], more: list[str], less: list[str]
) -> tuple[list[str], list[str]]:
    added = [name for name in more if name not in had]
    removed = sorted(name for name in less if name in had and name not in more)
    if len(had) + len(added) - len(removed) > MAX_TAGS:
        raise Invalid.field("tags", f"A customer has at most {MAX_TAGS} tags.")
    if removed:
        ids = select(Tag.id).where(col(Tag.name).in_(removed))
        session.execute(
            delete(CustomerTag).where(col(CustomerTag.customer_id) == customer, col(CustomerTag.tag_id).in_(ids))
        )
    for number in make_tags(session, added).values():
        session.add(CustomerTag(tag_id=number, customer_id=customer))
    return added, removed
