"""Versions with the names of their models, in the order of number and name.

- The indexes have the number as an expression: SQLite's planner would else take them
  for comparisons of numbers that another way answers sooner.
- A version that a process of the release before registers meanwhile has no name here
  until its model is renamed, and comes first among those of its number.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "model_versions",
        sa.Column("model_name", sa.Text(), nullable=False, server_default=""),
    )
    op.execute(
        "UPDATE model_versions SET model_name = (SELECT name FROM registered_models"
        " WHERE registered_models.id = model_versions.model_id)"
    )
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    collate = ' COLLATE "C"' if is_postgresql else ""
    for name, direction in (("up", ""), ("down", " DESC")):
        op.execute(
            f"CREATE INDEX model_versions_by_number_{name} ON model_versions"
            f" ((number + 0){direction}, model_name{collate}, id)"
            " WHERE deleted_at IS NULL"
        )
