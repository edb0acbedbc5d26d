"""A manifest becomes a row for each file; its canonical JSON is made of them again."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

#: One manifest is read at a time, by the database itself.
_FILES = {
    "sqlite": (
        "json_extract(file.value, '$.path'), json_extract(file.value, '$.size'),"
        " json_extract(file.value, '$.sha256')"
        " FROM version_manifests, json_each(canonical, '$.files') AS file"
    ),
    "postgresql": (
        "file.value ->> 'path', CAST(file.value ->> 'size' AS BIGINT),"
        " file.value ->> 'sha256' FROM version_manifests,"
        " json_array_elements(CAST(canonical AS JSON) -> 'files') AS file"
    ),
}


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    path = sa.Text(collation="C") if dialect == "postgresql" else sa.Text()
    of_versions = sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"])
    op.create_table(
        "manifest_files",
        sa.Column("version_id", sa.String(32), nullable=False),
        sa.Column("path", path, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("version_id", "path"),
        *([of_versions] if dialect == "sqlite" else []),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO manifest_files SELECT version_id, {_FILES[dialect]}")
    if dialect == "postgresql":  # which would remember each row until all are there
        op.create_foreign_key(
            None, "manifest_files", "model_versions", ["version_id"], ["id"]
        )
    op.drop_table("version_manifests")
