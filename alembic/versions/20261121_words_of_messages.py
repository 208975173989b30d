"""messages are found by words of their subject and by addresses"""

import sqlalchemy as sa
from alembic import op

from crm_api.messages.finding import words_to_find

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TOGETHER = 1000  # messages


def upgrade() -> None:
    words = op.create_table(
        "message_word",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("word", sa.String().with_variant(sa.String(collation="C"), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "word"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO message_word (message_id, word) SELECT DISTINCT message_id, lower(address) FROM delivery")
    _subjects(words)
    op.create_table(
        "message_words_waiting",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "part"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_message_word_found", "message_word", ["word", "message_id"], unique=False)


def _subjects(words: sa.Table) -> None:
    message = sa.table("message", sa.column("id", sa.Uuid()), sa.column("subject", sa.String()))
    connection = op.get_bind()
    some = sa.select(message).order_by(message.c.id).limit(TOGETHER)
    rows = connection.execute(some).all()
    while rows:
        if found := [
            {"message_id": row.id, "word": word} for row in rows for word in sorted(words_to_find(row.subject, ()))
        ]:
            connection.execute(sa.insert(words), found)
        rows = connection.execute(some.where(message.c.id > rows[-1].id)).all()


def downgrade() -> None:
    op.drop_table("message_words_waiting")
    op.drop_table("message_word")
