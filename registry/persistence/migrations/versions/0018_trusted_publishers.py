"""CI jobs that are given tokens by what their platform signs of them."""

import sqlalchemy as sa
from alembic import op

from webhooks.tables import UTCDateTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trusted_publishers",
        sa.Column("id", sa.String(32), primary_key=True),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("provider", "name", "issuer", "place", "role", "models")
        ),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.UniqueConstraint("name"),
        sa.CheckConstraint(
            "provider IN ('github', 'gitlab', 'kubernetes')",
            name="trusted_publishers_provider",
        ),
        sa.CheckConstraint(
            "role IN ('reader', 'writer', 'promoter')", name="trusted_publishers_role"
        ),
    )
    op.create_index(
        "trusted_publishers_by_place", "trusted_publishers", ["issuer", "place"]
    )
    op.create_table(
        "used_jtis",
        sa.Column("issuer", sa.Text(), primary_key=True),
        sa.Column("jti", sa.String(64), primary_key=True),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
    )
    op.create_index("used_jtis_by_end", "used_jtis", ["expires_at"])
    op.create_index("tokens_of_publisher", "tokens", ["publisher_id", "expires_at"])
    op.create_index("tokens_by_end", "tokens", ["kind", "expires_at"])
