"""Indexes for searching as MLflow's clients do.

- Texts without bound are indexed by their first 200 characters: PostgreSQL refuses
  an entry above 2.7 kB.
- Texts are indexed by their code points, the order that pages of a search have. On
  SQLite that is every index; so a name's unique one serves there.
- With the id behind it, an index of instants answers what is asked of a row's tags
  without reading the row.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_LIVE = "deleted_at IS NULL"


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    collate = ' COLLATE "C"' if is_postgresql else ""
    for name, on, where in (
        (
            "registered_models_by_mlflow_update",
            "registered_models (mlflow_updated_at, id)",
            _LIVE,
        ),
        (
            "model_versions_by_mlflow_update",
            "model_versions (mlflow_updated_at, id)",
            _LIVE,
        ),
        ("model_versions_by_creation", "model_versions (created_at, id)", _LIVE),
        (
            "model_versions_by_run",
            f"model_versions ((substr(run_id, 1, 200){collate}))",
            _LIVE,
        ),
        (
            "model_versions_by_source",
            f"model_versions ((substr(source, 1, 200){collate}))",
            _LIVE,
        ),
        (
            "model_tags_by_value",
            f"model_tags (key, (substr(value, 1, 200){collate}), model_id)",
            None,
        ),
        (
            "version_tags_by_value",
            f"version_tags (key, (substr(value, 1, 200){collate}), version_id)",
            None,
        ),
    ):
        op.execute(f"CREATE INDEX {name} ON {on}{f' WHERE {where}' if where else ''}")
    if is_postgresql:
        op.execute(
            "CREATE INDEX registered_models_by_code_points ON registered_models "
            f'(name COLLATE "C", id) WHERE {_LIVE}'
        )
