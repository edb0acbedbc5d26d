"""Whether the head of an ordering key is blocked, and what is held behind it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "webhook_ordering_keys",
        sa.Column(
            "is_blocked", sa.Boolean(), nullable=False, server_default=sa.false()
        ),
    )
    op.execute(
        "UPDATE webhook_ordering_keys SET is_blocked = true WHERE EXISTS ("
        "SELECT 1 FROM webhook_deliveries WHERE state = 'blocked'"
        " AND subscription_id = webhook_ordering_keys.subscription_id"
        " AND ordering_key = webhook_ordering_keys.ordering_key)"
        " AND EXISTS (SELECT 1 FROM webhook_subscriptions"
        " WHERE id = webhook_ordering_keys.subscription_id AND on_poison = 'hold')"
    )
    op.execute(
        "UPDATE webhook_deliveries SET state = 'held',"
        " reason = 'an earlier delivery is blocked'"
        " WHERE state = 'pending' AND EXISTS ("
        "SELECT 1 FROM webhook_ordering_keys k WHERE k.is_blocked"
        " AND k.subscription_id = webhook_deliveries.subscription_id"
        " AND k.ordering_key = webhook_deliveries.ordering_key)"
    )
