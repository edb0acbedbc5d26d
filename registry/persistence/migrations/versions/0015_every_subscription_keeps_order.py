"""Every subscription keeps its events in order, and none is too old to be delivered.

- Deliveries that were ``expired`` are dead, with the reason that they have.
- One that kept no order was never held up by what had failed: it skips that now, also
  what blocks a key since the time when it kept one.
- What waits for it keeps a key of its own each, as it was promised; what comes is in order.

The CHECK of deliveries' states still allows ``expired``: to have it say less SQLite would
copy the whole table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0013"
branch_labels = None
depends_on = None

_GONE = ("ordering", "max_age_seconds")
_FINAL = "state IN ('delivered', 'dead', 'superseded')"
_CHANGES = """
UPDATE webhook_deliveries SET state = 'dead' WHERE state = 'expired';
UPDATE webhook_deliveries SET state = 'dead' WHERE state = 'blocked' AND {unordered};
UPDATE webhook_deliveries SET state = 'pending', reason = NULL
WHERE state = 'held' AND reason = 'an earlier delivery is blocked' AND {unordered};
UPDATE webhook_ordering_keys SET is_blocked = false WHERE is_blocked AND {unordered};
UPDATE webhook_subscriptions SET on_poison = 'skip' WHERE ordering = 'none'
"""
_UNORDERED = (
    "subscription_id IN (SELECT id FROM webhook_subscriptions WHERE ordering = 'none')"
)


def upgrade() -> None:
    for change in _CHANGES.format(unordered=_UNORDERED).split(";"):
        op.execute(change)
    op.drop_index("ix_webhook_deliveries_final", "webhook_deliveries")
    op.create_index(
        "ix_webhook_deliveries_final",
        "webhook_deliveries",
        ["updated_at"],
        sqlite_where=sa.text(_FINAL),
        postgresql_where=sa.text(_FINAL),
    )
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_subscriptions()
        return
    for name in _GONE:
        op.drop_column("webhook_subscriptions", name)


def _rebuild_subscriptions() -> None:
    """Make the table anew: SQLite drops no column that a CHECK of the table names.

    Its rows come back under their ids before references to them are judged.
    """
    old = sa.Table("webhook_subscriptions", sa.MetaData(), autoload_with=op.get_bind())
    columns = [column for column in old.columns if column.name not in _GONE]
    checks = [
        sa.CheckConstraint(check.sqltext, name=op.f(str(check.name)))
        for check in old.constraints
        if isinstance(check, sa.CheckConstraint) and not str(check.name).endswith(_GONE)
    ]
    names = ", ".join(column.name for column in columns)
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM webhook_subscriptions")
    op.drop_table("webhook_subscriptions")
    op.create_table("webhook_subscriptions", *columns, *checks)
    op.execute(f"INSERT INTO webhook_subscriptions ({names}) SELECT {names} FROM kept")  # noqa: S608  # names of columns
    op.execute("DROP TABLE kept")
