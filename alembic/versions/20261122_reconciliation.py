"""reconciliation"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    turn = op.create_table(
        "reconciliation_turn",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sums_after", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(turn, [{"id": 1, "taken_at": datetime(2026, 1, 1, tzinfo=UTC), "sums_after": None}])
    op.create_table(
        "reconciliation_look",
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("differences", sa.Integer(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("at"),
    )
    op.create_table(
        "reconciliation_finding",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "dead_letter_stranger",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("routing_key", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("died_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def downgrade() -> None:
    op.drop_table("dead_letter_stranger")
    op.drop_table("reconciliation_finding")
    op.drop_table("reconciliation_look")
    op.drop_table("reconciliation_turn")
