"""Models remember the names they had, and events those that filters find them by."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "registered_models",
        sa.Column("former_names", sa.JSON(), nullable=False, server_default="[]"),
    )
    op.add_column("webhook_events", sa.Column("former_subjects", sa.Text()))
