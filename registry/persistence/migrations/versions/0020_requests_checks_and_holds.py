"""Transition requests with their approvals, checks of versions, holds of stages."""

import sqlalchemy as sa
from alembic import op

from webhooks.tables import UTCDateTime

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "registered_models",
        sa.Column("holds", sa.JSON(), nullable=False, server_default="[]"),
    )
    op.add_column("stage_changes", sa.Column("request_id", sa.Text()))
    for name in ("broke_glass", "held"):
        op.add_column(
            "stage_changes",
            sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()),
        )
    _create_checks()
    _create_requests()
    _create_approvals()


def _create_checks() -> None:
    op.create_table(
        "version_checks",
        sa.Column("version_id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("reported_by", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("version_id", "name"),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"]),
        sa.CheckConstraint(
            "status IN ('pending', 'passed', 'failed')", name="version_checks_status"
        ),
    )


def _create_requests() -> None:
    op.create_table(
        "transition_requests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.String(32), nullable=False),
        sa.Column("version_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("from_stage", sa.Text(), nullable=False),
        sa.Column("to_stage", sa.Text(), nullable=False),
        sa.Column("is_rollback", sa.Boolean(), nullable=False),
        sa.Column("archives_others", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("needed", sa.Integer(), nullable=False),
        sa.Column("policy_digest", sa.Text(), nullable=False),
        sa.Column("artifact_digest", sa.Text()),
        sa.Column("entered", sa.Integer(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requester_kind", sa.Text(), nullable=False),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("requester_human", sa.Text(), nullable=False),
        sa.Column("requester_made_by", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("expires_at", UTCDateTime(), nullable=False),
        sa.Column("closed_at", UTCDateTime()),
        sa.Column("closed_by", sa.Text()),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("transition_id", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["model_id"], ["registered_models.id"]),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"]),
        sa.CheckConstraint(
            "state IN ('open', 'approved', 'rejected', 'cancelled', 'expired', 'void')",
            name="transition_requests_state",
        ),
    )
    op.create_index(
        "transition_requests_open",
        "transition_requests",
        ["version_id", "to_stage"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
        sqlite_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "transition_requests_by_model", "transition_requests", ["model_id", "id"]
    )


def _create_approvals() -> None:
    op.create_table(
        "transition_approvals",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("human", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", UTCDateTime(), nullable=False),
        sa.Column("binding", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("request_id", "approver"),
        sa.ForeignKeyConstraint(["request_id"], ["transition_requests.id"]),
    )
