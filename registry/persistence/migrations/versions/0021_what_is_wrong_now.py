"""Indexes of the few rows that wait for somebody, among the many that do not."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

#: By name: the table, the column, and which rows.
_INDEXES = {
    "deployments_unfinished": ("deployments", "updated_at", "status <> 'succeeded'"),
    "registered_models_held": (
        "registered_models",
        "name",
        "deleted_at IS NULL AND CAST(holds AS TEXT) <> '[]'",
    ),
    "transition_requests_left_open": ("transition_requests", "id", "state = 'open'"),
    "ix_webhook_queues_blocked": (
        "webhook_queues",
        "subscription_id",
        "state = 'blocked'",
    ),
}


def upgrade() -> None:
    for name, (table, column, which) in _INDEXES.items():
        rows = sa.text(which)
        op.create_index(name, table, [column], sqlite_where=rows, postgresql_where=rows)
