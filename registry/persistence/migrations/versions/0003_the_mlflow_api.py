"""What MLflow's clients expect to read besides what is kept already.

Columns and tables are only added, with defaults in the database, so that web
processes of the release before go on writing while it runs.
"""

import sqlalchemy as sa
from alembic import op

from webhooks.tables import UTCDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = ("registered_models", "model_versions")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(
            table,
            sa.Column(
                "mlflow_updated_at",
                UTCDateTime(),
                nullable=False,
                server_default=_now_or_long_ago(),
            ),
        )
        op.execute(f"UPDATE {table} SET mlflow_updated_at = updated_at")  # noqa: S608  # our own names
    for column in (
        sa.Column("download_uri", sa.Text(), nullable=True),
        sa.Column("run_link", sa.Text(), nullable=False, server_default=""),
        sa.Column("run", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("logged_model_id", sa.Text(), nullable=True),
    ):
        op.add_column("model_versions", column)
    op.create_table(
        "version_comments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version_id", sa.String(32), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("author_token", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", UTCDateTime(), nullable=False),
        sa.Column("updated_at", UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "version_comments_by_version", "version_comments", ["version_id", "id"]
    )


def _now_or_long_ago() -> sa.TextClause:
    """What a process of the release before leaves in the new column.

    SQLite adds columns with constant defaults only; there, one process at a time
    serves, and is stopped for the upgrade.
    """
    if op.get_bind().dialect.name == "sqlite":
        return sa.text("'1970-01-01 00:00:00.000000'")
    return sa.text("now()")
