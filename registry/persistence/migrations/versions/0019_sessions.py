"""Browsers that are signed in."""

import sqlalchemy as sa
from alembic import op

from webhooks.tables import UTCDateTime

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("principal", "name", "issuer", "subject", "sid")
        ),
        sa.Column("groups", sa.JSON(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("token_id", sa.String(32)),
        *(
            sa.Column(name, UTCDateTime(), nullable=False)
            for name in ("created_at", "expires_at", "last_seen_at")
        ),
        sa.Column("ended_at", UTCDateTime()),
    )
    op.create_index("sessions_by_end", "sessions", ["expires_at"])
    op.create_index("sessions_of_subject", "sessions", ["issuer", "subject"])
