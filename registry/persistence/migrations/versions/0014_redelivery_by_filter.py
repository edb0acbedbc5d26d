"""Replays of a range are no more: a filter chooses what is sent again.

What a running one had stored already is still delivered. How far each had come is
logged, for whoever wants the rest sent: ``stagegate webhooks redeliver``.
"""

import logging

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

logger = logging.getLogger("registry.persistence.migrations")
_RUNNING = sa.text(
    "SELECT id, subscription_id, done, total FROM webhook_replays"
    " WHERE state = 'running' ORDER BY id"
)


def upgrade() -> None:
    for replay in op.get_bind().execute(_RUNNING):
        logger.warning(
            "replay_ended replay=%s subscription=%s done=%d total=%d", *replay
        )
    op.drop_table("webhook_replays")
