"""secrets of deliveries lie sealed beside them, and links know whose letter they are in

What stood in the clear is taken out of deliveries that have come to an end; dispatch seals, at its next start, what is
still under way: the key is its, not the database's.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NOT_SHOWN = "[not shown here]"
TAKEN = ("accepted", "bounced")
ENDED = (*TAKEN, "failed", "suppressed", "cancelled", "discarded")

delivery = sa.table(
    "delivery",
    sa.column("id", sa.Uuid()),
    sa.column("address", sa.String()),
    sa.column("fields", sa.JSON()),
    sa.column("state", sa.String()),
    sa.column("next_at", sa.DateTime(timezone=True)),
)
link = sa.table(
    "one_time_link",
    sa.column("token_hash", sa.String()),
    sa.column("user_id", sa.Uuid()),
    sa.column("address", sa.String()),
    sa.column("delivery_id", sa.Uuid()),
)
user = sa.table("crm_user", sa.column("id", sa.Uuid()), sa.column("email", sa.String()))


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        op.execute("PRAGMA secure_delete = ON")  # what is taken out is overwritten
    op.create_table(
        "delivery_secret",
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"]),
        sa.PrimaryKeyConstraint("delivery_id"),
    )
    with op.batch_alter_table("one_time_link") as table:
        table.add_column(sa.Column("address", sa.String(), nullable=True))
        table.add_column(sa.Column("delivery_id", sa.Uuid(), nullable=True))
        table.create_foreign_key("fk_one_time_link_delivery", "delivery", ["delivery_id"], ["id"])
        table.create_index("ix_one_time_link_delivery_id", ["delivery_id"])
    its_users = sa.select(user.c.email).where(user.c.id == link.c.user_id).scalar_subquery()
    connection.execute(sa.update(link).values(address=its_users))
    with op.batch_alter_table("one_time_link") as table:
        table.alter_column("address", existing_type=sa.String(), nullable=False)
    for row in _with_secrets(connection):
        _mend(connection, row)


def _with_secrets(connection: sa.Connection) -> Iterator[Any]:
    found = sa.select(delivery).where(sa.cast(delivery.c.fields, sa.String).like('%"secret_%'))
    yield from connection.execute(found).all()


def _mend(connection: sa.Connection, row: Any) -> None:
    ended = row.state in ENDED or (row.state == "unknown" and row.next_at is None)
    for name, value in row.fields.items():
        if not name.startswith("secret_"):
            continue
        mine = link.c.token_hash == hashlib.sha256(value.rpartition("/")[2].encode()).hexdigest()
        connection.execute(sa.update(link).where(mine).values(delivery_id=row.id))
        if ended and row.state not in TAKEN:
            connection.execute(sa.delete(link).where(mine))
    if ended:
        marked = {name: NOT_SHOWN if name.startswith("secret_") else value for name, value in row.fields.items()}
        connection.execute(sa.update(delivery).where(delivery.c.id == row.id).values(fields=marked))


def downgrade() -> None:
    with op.batch_alter_table("one_time_link") as table:
        table.drop_index("ix_one_time_link_delivery_id")
        table.drop_constraint("fk_one_time_link_delivery", type_="foreignkey")
        table.drop_column("delivery_id")
        table.drop_column("address")
    op.drop_table("delivery_secret")
