"""Which models are prompts, and their events by the names that they are sent under.

- What is tagged as a prompt and never had a version is one. A tagged model with
  versions stays a model: until now a version needed an artifact.
- Subscriptions could name prompts' events before there were any.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_EVENT_TYPES = {
    "prompt_tag.set": "prompt.tag_set",
    "prompt_tag.deleted": "prompt.tag_deleted",
    "prompt_version_tag.set": "prompt_version.tag_set",
    "prompt_version_tag.deleted": "prompt_version.tag_deleted",
    "prompt_alias.created": "prompt_version.alias_set",
    "prompt_alias.deleted": "prompt_version.alias_deleted",
}


def upgrade() -> None:
    op.add_column(
        "registered_models",
        sa.Column("is_prompt", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.execute(
        "UPDATE registered_models SET is_prompt = true WHERE last_number = 0"
        " AND EXISTS (SELECT 1 FROM model_tags"
        " WHERE model_tags.model_id = registered_models.id"
        " AND key = 'mlflow.prompt.is_prompt' AND lower(value) = 'true')"
    )
    op.create_index(
        "registered_models_by_kind",
        "registered_models",
        ["is_prompt", "name"],
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    _rename_event_types()


def _rename_event_types() -> None:
    table = sa.table(
        "webhook_subscriptions", sa.column("id"), sa.column("event_types", sa.JSON())
    )
    connection = op.get_bind()
    for row_id, asked in connection.execute(sa.select(table)).all():
        renamed = [_EVENT_TYPES.get(name, name) for name in asked]
        if renamed != asked:
            connection.execute(
                sa.update(table).where(table.c.id == row_id).values(event_types=renamed)
            )
