"""who may do what: second factor, one-time links, scopes of keys, the audit"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_RARE = sa.text("action <> 'message.sent'")
_SQLITE_GUARD = (
    "CREATE TRIGGER audit_entry_is_not_{done} BEFORE {verb} ON audit_entry "
    "BEGIN SELECT RAISE(ABORT, 'audit entries are never {done}'); END"
)
_POSTGRESQL_GUARD = (
    """
    CREATE FUNCTION audit_entry_stays() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'audit entries are never changed or deleted'; END $$
    """,
    """
    CREATE TRIGGER audit_entry_stays BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_entry_stays()
    """,
    """
    CREATE TRIGGER audit_entry_is_not_emptied BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_stays()
    """,
)


def upgrade() -> None:
    # plainly, not in a batch: SQLite would copy the table, and others refer to its rows
    op.add_column("crm_user", sa.Column("totp_secret", sa.String(), nullable=True))
    op.add_column("crm_user", sa.Column("totp_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("crm_user", sa.Column("totp_step", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("sign_in", sa.Column("address", sa.String(), nullable=True))
    op.add_column("sign_in", sa.Column("browser", sa.String(), nullable=True))
    op.add_column("api_key", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_key", sa.Column("scope", sa.JSON(), nullable=True))
    op.create_table(
        "one_time_link",
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["crm_user.id"]),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_index(op.f("ix_one_time_link_user_id"), "one_time_link", ["user_id"], unique=False)
    op.create_index(op.f("ix_one_time_link_expires_at"), "one_time_link", ["expires_at"], unique=False)
    op.create_table(
        "recovery_code",
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["crm_user.id"]),
        sa.PrimaryKeyConstraint("code_hash"),
    )
    op.create_index(op.f("ix_recovery_code_user_id"), "recovery_code", ["user_id"], unique=False)
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("object_name", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_audit_entry_object",
        "audit_entry",
        ["object_id", "id"],
        unique=False,
        sqlite_where=_RARE,
        postgresql_where=_RARE,
    )
    op.create_index("ix_audit_entry_actor", "audit_entry", ["actor_id", "id"], unique=False)
    op.create_index(
        "ix_audit_entry_action",
        "audit_entry",
        ["action", "id"],
        unique=False,
        sqlite_where=_RARE,
        postgresql_where=_RARE,
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_SQLITE_GUARD.format(done="changed", verb="UPDATE"))
        op.execute(_SQLITE_GUARD.format(done="deleted", verb="DELETE"))
    else:
        for statement in _POSTGRESQL_GUARD:
            op.execute(statement)


def downgrade() -> None:
    op.drop_table("audit_entry")  # its triggers go with it
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_entry_stays()")
    op.drop_table("recovery_code")
    op.drop_table("one_time_link")
    for table, columns in {
        "api_key": ("scope", "expires_at"),
        "sign_in": ("browser", "address"),
        "crm_user": ("totp_step", "totp_since", "totp_secret"),
    }.items():
        for column in columns:
            op.drop_column(table, column)
