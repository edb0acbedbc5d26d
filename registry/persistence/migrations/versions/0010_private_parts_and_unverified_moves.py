"""Private parts of audit entries, entries by chain; moves of unverified artifacts.

A process of the release before writes entries without a private part, of the former
version; they stay as they are, since what is sealed is never written again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_entries", sa.Column("private", sa.Text(), nullable=True))
    op.create_index(
        "audit_entries_by_chain_and_model", "audit_entries", ["chain", "model"]
    )
    op.add_column("stage_changes", sa.Column("verified", sa.Boolean(), nullable=True))
