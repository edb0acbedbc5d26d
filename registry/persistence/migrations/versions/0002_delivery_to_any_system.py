"""What delivery to any CI/CD system needs besides the first schema.

Columns and tables are only added, with defaults in the database, so that web
processes of the release before go on writing while it runs.
"""

import sqlalchemy as sa
from alembic import op

from webhooks.tables import UTCDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _extend_subscriptions()
    _extend_the_record()
    _add_the_feed()
    _add_replays()
    _add_deployments()
    # The reconciler looks at the last day, each minute.
    op.create_index("stage_changes_by_time", "stage_changes", ["at"])


def _extend_subscriptions() -> None:
    for column in (
        sa.Column("options", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("headers", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("sealed_credentials", sa.Text(), nullable=True),
        sa.Column("ca_certificate", sa.Text(), nullable=True),
        sa.Column("client_certificate", sa.Text(), nullable=True),
        sa.Column("sealed_client_key", sa.Text(), nullable=True),
        sa.Column("signatures", sa.JSON(), nullable=False, server_default='["v1"]'),
        sa.Column("schedule_seconds", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("breaker_trips", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("warnings", sa.Integer(), nullable=False, server_default="0"),
    ):
        op.add_column("webhook_subscriptions", column)
    for column in (
        sa.Column("scheme", sa.Text(), nullable=False, server_default="v1"),
        sa.Column("public_key", sa.Text(), nullable=True),
    ):
        op.add_column("webhook_subscription_secrets", column)


def _extend_the_record() -> None:
    op.add_column(
        "webhook_deliveries",
        sa.Column("headers", sa.JSON(), nullable=False, server_default="{}"),
    )
    op.add_column("webhook_attempts", sa.Column("address", sa.Text(), nullable=True))
    op.add_column(
        "webhook_attempts",
        sa.Column("timings", sa.JSON(none_as_null=True), nullable=True),
    )
    # Retention looks for what is final and old.
    op.create_index(
        "ix_webhook_deliveries_final",
        "webhook_deliveries",
        ["updated_at"],
        sqlite_where=sa.text("state IN ('delivered', 'dead', 'superseded', 'expired')"),
        postgresql_where=sa.text(
            "state IN ('delivered', 'dead', 'superseded', 'expired')"
        ),
    )


def _add_the_feed() -> None:
    for column in (
        sa.Column("sequence", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("position", sa.BigInteger(), nullable=True),
    ):
        op.add_column("webhook_events", column)
    op.create_index(
        "uq_webhook_events_position", "webhook_events", ["position"], unique=True
    )
    op.create_index(
        "ix_webhook_events_unplaced",
        "webhook_events",
        ["occurred_at", "sequence"],
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    )
    op.create_table(
        "webhook_feed",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("last_position", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_webhook_feed_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_feed")),
    )
    op.execute("INSERT INTO webhook_feed (id, last_position) VALUES (1, 0)")


def _add_replays() -> None:
    op.create_table(
        "webhook_replays",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("since", UTCDateTime(), nullable=True),
        sa.Column("until", UTCDateTime(), nullable=False),
        sa.Column("event_types", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("subject_pattern", sa.Text(), nullable=True),
        sa.Column("delivery_states", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("per_second", sa.Double(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("next_at", UTCDateTime(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "state IN ('running', 'done', 'cancelled')",
            name=op.f("ck_webhook_replays_state"),
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            ["webhook_subscriptions.id"],
            name=op.f("fk_webhook_replays_subscription_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_replays")),
    )
    op.create_index(
        "ix_webhook_replays_running",
        "webhook_replays",
        ["next_at"],
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )


def _add_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("model_id", sa.String(32), nullable=False),
        sa.Column("version_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("transition_id", sa.Text(), nullable=True),
        sa.Column("delivery_id", sa.Text(), nullable=True),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("reported_by", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'in_progress', 'succeeded', 'failed')",
            name="deployments_status",
        ),
        sa.ForeignKeyConstraint(["model_id"], ["registered_models.id"]),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("deployments_by_version", "deployments", ["version_id", "id"])
    op.create_index("deployments_by_transition", "deployments", ["transition_id"])
