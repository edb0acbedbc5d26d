"""The audit log is found by actor, by action and by time, newest first."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, columns in {
        "audit_entries_by_actor": ["actor", "id"],
        "audit_entries_by_action": ["action", "id"],
        "audit_entries_by_actor_and_action": ["actor", "action", "id"],
        "audit_entries_by_time": ["at"],
    }.items():
        op.create_index(name, "audit_entries", columns)
