"""Attempts by day, dead deliveries by time, the last report of each environment.

What was attempted before is counted here, as far as it was kept.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_IS_DEAD = sa.text("state = 'dead'")


def upgrade() -> None:
    op.create_table(
        "webhook_attempt_days",
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "subscription_id", "day", name="pk_webhook_attempt_days"
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["webhook_subscriptions.id"],
            name="fk_webhook_attempt_days_subscription_id",
        ),
    )
    _count_attempts()
    op.create_index(
        "ix_webhook_deliveries_dead",
        "webhook_deliveries",
        ["id"],
        postgresql_where=_IS_DEAD,
        sqlite_where=_IS_DEAD,
    )
    op.create_index(
        "deployments_by_environment",
        "deployments",
        ["model_id", "environment", "updated_at", "id"],
    )


def _count_attempts() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    day = "date(finished_at)" if is_sqlite else "(finished_at AT TIME ZONE 'UTC')::date"
    op.execute(
        "INSERT INTO webhook_attempt_days (subscription_id, day, delivered, failed)"  # noqa: S608  # a day of one of two texts
        f" SELECT subscription_id, {day} AS ended,"
        " sum(CASE outcome WHEN 'delivered' THEN 1 ELSE 0 END),"
        " sum(CASE outcome WHEN 'delivered' THEN 0 ELSE 1 END)"
        " FROM webhook_attempts JOIN webhook_deliveries ON id = delivery_id"
        " WHERE finished_at IS NOT NULL AND kind <> 'test'"
        " GROUP BY subscription_id, ended"
    )
