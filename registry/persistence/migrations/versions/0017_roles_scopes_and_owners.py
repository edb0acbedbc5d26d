"""Tokens of any role, for some models or confined to scopes; roles of people and groups.

A process of the release before makes tokens that are what the columns' defaults say.
"""

import sqlalchemy as sa
from alembic import op

from webhooks.tables import UTCDateTime

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_ROLES = (
    "role IN ('viewer', 'auditor', 'admin', 'reader', 'writer', 'promoter', 'approver',"
    " 'break-glass')"
)


def upgrade() -> None:
    with op.batch_alter_table("tokens") as tokens:
        tokens.add_column(
            sa.Column("models", sa.Text(), nullable=False, server_default="*")
        )
        tokens.add_column(sa.Column("scopes", sa.JSON(), nullable=True))
        for name in ("owner", "made_by"):
            tokens.add_column(
                sa.Column(name, sa.Text(), nullable=False, server_default="")
            )
        tokens.add_column(
            sa.Column("kind", sa.Text(), nullable=False, server_default="token")
        )
        tokens.add_column(sa.Column("publisher_id", sa.Text(), nullable=True))
        tokens.add_column(sa.Column("on_behalf_of", sa.JSON(), nullable=True))
        tokens.drop_constraint("tokens_role", type_="check")
        tokens.create_check_constraint("tokens_role", _ROLES)
        tokens.create_check_constraint("tokens_kind", "kind IN ('token', 'ci')")
    op.create_table(
        "role_bindings",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "subject_kind IN ('user', 'group')", name="role_bindings_subject_kind"
        ),
        sa.CheckConstraint(_ROLES, name="role_bindings_role"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("subject_kind", "subject", "role", "models"),
    )
