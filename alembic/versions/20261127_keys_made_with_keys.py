"""keys made with keys"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_key", sa.Column("made_with", sa.Uuid(), nullable=True))
    op.create_index("ix_api_key_made_with", "api_key", ["made_with"])


def downgrade() -> None:
    op.drop_index("ix_api_key_made_with", "api_key")
    op.drop_column("api_key", "made_with")
