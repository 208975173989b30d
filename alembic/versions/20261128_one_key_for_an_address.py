"""one key for an address, and one tag for all that look the same"""

import re
import unicodedata
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op
from email_validator import EmailNotValidError, validate_email

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TOGETHER = 1000  # rows
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0]"
)
_JOINERS = re.compile("(?<=[\u0000-\u052f])[\u200c\u200d]+|[\u200c\u200d]+(?=[\u0000-\u052f]|$)|^[\u200c\u200d]+")


def upgrade() -> None:
    op.add_column("customer", sa.Column("email_key", sa.String(), nullable=False, server_default=sa.text("''")))
    _customers()
    op.create_index("ix_customer_email_key", "customer", ["email_key"], unique=False)
    op.drop_index("ix_customer_email", table_name="customer")
    _suppressions()
    _users()
    _tags()
    _words()


def downgrade() -> None:
    """What was brought together stays so."""
    op.create_index("ix_customer_email", "customer", ["email"], unique=False)
    op.drop_index("ix_customer_email_key", table_name="customer")
    op.drop_column("customer", "email_key")


def _key(address: str) -> str:
    """As shared.addresses.address_key was on that day."""
    address = address.strip()
    if address.isascii():
        return address.lower()
    name, at, domain = address.rpartition("@")
    return f"{_small(name)}{at}{domain.lower() if domain.isascii() else _ascii(domain)}"


def _ascii(domain: str) -> str:
    try:
        return str(validate_email(f"a@{domain}", check_deliverability=False, test_environment=True).ascii_domain)
    except EmailNotValidError:
        return _small(domain)


def _small(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _look(text: str) -> str:
    """As crm_api.customers.words.same_look was on that day."""
    for _ in range(2):
        text = _JOINERS.sub("", _UNSEEN.sub("", unicodedata.normalize("NFKC", text)))
        text = unicodedata.normalize("NFKC", text.lower())
    return " ".join(text.split())


def _not_ascii(column: str) -> str:
    if op.get_bind().dialect.name == "postgresql":
        return f"{column} ~ '[^\\x01-\\x7f]'"
    return f"{column} GLOB '*[^' || char(1) || '-' || char(127) || ']*'"


def _execute(statement: str, rows: list[dict[str, object]]) -> None:
    if rows:
        op.get_bind().execute(sa.text(statement), rows)


def _customers() -> None:
    collate = ' COLLATE "C"' if op.get_bind().dialect.name == "postgresql" else ""
    op.execute(f"UPDATE customer SET email_key = lower(email{collate})")  # noqa: S608
    for rows in _foreign("SELECT id, email FROM customer", "email"):
        _execute(
            "UPDATE customer SET email_key = :key WHERE id = :id", [{"id": id, "key": _key(it)} for id, it in rows]
        )


def _foreign(select: str, column: str) -> Iterator[list[tuple[object, str]]]:
    """Those few that are not plain ASCII, some at a time."""
    found = op.get_bind().execute(sa.text(f"{select} WHERE {_not_ascii(column)}"))
    rows = [(row[0], row[1]) for row in found]
    for start in range(0, len(rows), TOGETHER):
        yield rows[start : start + TOGETHER]


def _suppressions() -> None:
    """The oldest stays where several are of one address."""
    there: set[str] = set()
    changed, gone = [], []
    rows = op.get_bind().execute(sa.text("SELECT address FROM suppression ORDER BY since, address")).scalars().all()
    for address in rows:
        key = _key(address)
        if key in there:
            gone.append({"address": address})
        elif key != address:
            changed.append({"address": address, "key": key})
        there.add(key)
    _execute("DELETE FROM suppression WHERE address = :address", gone)
    _execute("UPDATE suppression SET address = :key WHERE address = :address", changed)


def _users() -> None:
    """Who would have another's address keeps the one that they have: two people are never made one."""
    bind = op.get_bind()
    rows = bind.execute(sa.text("SELECT id, email FROM crm_user ORDER BY created_at")).all()
    taken = {row.email for row in rows}
    for row in rows:
        key = _key(row.email)
        if key not in taken:
            bind.execute(sa.text("UPDATE crm_user SET email = :key WHERE id = :id"), {"id": row.id, "key": key})
            taken.add(key)


def _tags() -> None:
    bind = op.get_bind()
    rows = bind.execute(sa.text("SELECT id, name FROM tag ORDER BY id")).all()
    by_look: dict[str, int] = {}
    for row in rows:
        name = _look(row.name) or row.name
        if (first := by_look.setdefault(name, row.id)) == row.id:
            continue
        both = {"first": first, "second": row.id}
        bind.execute(
            sa.text(
                "INSERT INTO customer_tag (tag_id, customer_id) SELECT :first, customer_id FROM customer_tag AS had "
                "WHERE tag_id = :second AND NOT EXISTS (SELECT 1 FROM customer_tag AS has WHERE has.tag_id = :first "
                "AND has.customer_id = had.customer_id)"
            ),
            both,
        )
        bind.execute(sa.text("DELETE FROM customer_tag WHERE tag_id = :second"), both)
        bind.execute(sa.text("DELETE FROM tag WHERE id = :second"), both)
    names = {row.id: row.name for row in rows}
    _execute(
        "UPDATE tag SET name = :name WHERE id = :id",
        [{"id": id, "name": name} for name, id in by_look.items() if names[id] != name],
    )


def _words() -> None:
    """Messages and customers at international domains are found by the ASCII form, too."""
    for rows in _foreign("SELECT message_id, address FROM delivery", "address"):
        words = {(id, _key(address)) for id, address in rows}
        _execute(
            "INSERT INTO message_word (message_id, word) VALUES (:id, :word) ON CONFLICT DO NOTHING",
            [{"id": id, "word": word} for id, word in sorted(words, key=str)],
        )
    for select in ("SELECT id, email FROM customer", "SELECT customer_id, email FROM contact"):
        for rows in _foreign(select, "email"):
            _execute(
                "INSERT INTO customer_word (customer_id, word) VALUES (:id, :word) ON CONFLICT DO NOTHING",
                [
                    {"id": id, "word": word[:40]}
                    for id, email in rows
                    for word in sorted(set(re.findall("[a-z0-9]+", _key(email).rpartition("@")[2])))
                ],
            )
