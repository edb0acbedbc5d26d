"""What paces webhooks, keeps their renderings, and says where the feed begins.

Columns are only added, with defaults in the database, so that web processes of the
release before go on writing while it runs.
"""

import sqlalchemy as sa
from alembic import op

from webhooks.tables import UTCDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("rate_per_minute", sa.Integer(), nullable=True),
        sa.Column("open_from", UTCDateTime(), nullable=True),
    ):
        op.add_column("webhook_subscriptions", column)
    op.add_column(
        "webhook_deliveries",
        sa.Column("rendered_as", sa.JSON(none_as_null=True), nullable=True),
    )
    op.add_column(
        "webhook_feed",
        sa.Column(
            "removed_position", sa.BigInteger(), nullable=False, server_default="0"
        ),
    )
    # What lies before the first event that is left has been removed already.
    op.execute(
        "UPDATE webhook_feed SET removed_position = coalesce("
        "(SELECT min(position) - 1 FROM webhook_events), last_position)"
    )
