"""What may be sent next is said by a queue's row, and a delivery says what became of it.

- ``webhook_queues`` takes the place of ``webhook_ordering_keys``: its row has the first
  live delivery, when that is due, and the lease of whoever sends it. What is sent again
  or is a test has a queue of its own.
- ``held`` is what the subscription or the queue says now: it is pending. ``blocked`` is
  pending with the reason why it was given up. ``superseded`` is dead with its reason.
- What the release before was sending keeps its lease, and is sent again when that ends.
- ``webhook_roster`` says when the subscriptions are to be read anew.
"""

import sqlalchemy as sa
from alembic import op

from webhooks.tables import UTCDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KEY = ("subscription_id", "ordering_key")
_LEASES = ("lease_token", "lease_until")
_OLD_INDEXES = (
    *("uq_webhook_deliveries_sending", "ix_webhook_deliveries_due"),
    *("ix_webhook_deliveries_leased", "ix_webhook_deliveries_live"),
    "ix_webhook_deliveries_final",
)
_KEPT_INDEXES = {
    "ix_webhook_deliveries_event_id": ("event_id",),
    "ix_webhook_deliveries_subscription_id_id": ("subscription_id", "id"),
}
_LIVE = "state IN ('pending', 'sending')"
_FINAL = "state IN ('delivered', 'dead')"
_ALLOWED = "state IN ('pending', 'sending', 'delivered', 'dead')"
_DUE = "state = 'open' AND lease_token IS NULL AND next_at IS NOT NULL"
_LEASED = "lease_token IS NOT NULL"

_QUEUES = (
    """
INSERT INTO webhook_queues (subscription_id, ordering_key, next_sequence, state)
SELECT subscription_id, ordering_key, next_sequence, 'open' FROM webhook_ordering_keys
""",
    # What is sent again, tests, and what kept no order had no row.
    """
INSERT INTO webhook_queues (subscription_id, ordering_key, next_sequence, state)
SELECT d.subscription_id, d.ordering_key, max(d.sequence) + 1, 'open'
FROM webhook_deliveries AS d
WHERE NOT EXISTS (
    SELECT 1 FROM webhook_queues AS q
    WHERE q.subscription_id = d.subscription_id AND q.ordering_key = d.ordering_key
)
GROUP BY d.subscription_id, d.ordering_key
""",
    """
UPDATE webhook_queues SET lease_token = {lease_token}, lease_until = {lease_until}
""",
)
_SENT = """(
    SELECT d.{column} FROM webhook_deliveries AS d
    WHERE d.subscription_id = webhook_queues.subscription_id
    AND d.ordering_key = webhook_queues.ordering_key AND d.state = 'sending'
)"""
_STATES = (
    """
UPDATE webhook_deliveries SET state = 'pending', reason = NULL WHERE state = 'held'
""",
    """
UPDATE webhook_deliveries
SET state = 'pending', reason = coalesce(reason, 'every attempt failed')
WHERE state = 'blocked'
""",
    """
UPDATE webhook_deliveries SET state = 'dead', reason = 'a newer event took its place'
WHERE state = 'superseded'
""",
)
_FIRST = """(
    SELECT d.{column} FROM webhook_deliveries AS d
    WHERE d.subscription_id = webhook_queues.subscription_id
    AND d.ordering_key = webhook_queues.ordering_key
    AND d.state IN ('pending', 'sending') ORDER BY d.sequence LIMIT 1
)"""
_HEADS = """
UPDATE webhook_queues SET head_id = {id}, next_at = {next_attempt_at},
    state = CASE WHEN {reason} IS NULL THEN 'open' ELSE 'blocked' END
"""


def upgrade() -> None:
    _create_tables()
    leases = {name: _SENT.format(column=name) for name in _LEASES}
    for statement in _QUEUES:
        op.execute(statement.format(**leases))
    op.drop_table("webhook_ordering_keys")
    for name in _OLD_INDEXES:
        op.drop_index(name, "webhook_deliveries")
    _rebuild_deliveries()
    _index("webhook_deliveries", "live", _LIVE, *_KEY, "sequence")
    _index("webhook_deliveries", "final", _FINAL, "updated_at")
    columns = ("id", "next_attempt_at", "reason")
    op.execute(_HEADS.format(**{name: _FIRST.format(column=name) for name in columns}))
    _index("webhook_queues", "due", _DUE, "subscription_id", "next_at", "id")
    _index("webhook_queues", "leased", _LEASED, "lease_until")


def _create_tables() -> None:
    op.create_table(
        "webhook_queues",
        sa.Column("id", _BIG, primary_key=True, autoincrement=True),
        sa.Column(
            "subscription_id",
            sa.Text(),
            sa.ForeignKey(
                "webhook_subscriptions.id",
                name=op.f("fk_webhook_queues_subscription_id"),
            ),
            nullable=False,
        ),
        sa.Column("ordering_key", sa.Text(), nullable=False),
        sa.Column("next_sequence", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("head_id", sa.Text()),
        sa.Column("next_at", UTCDateTime()),
        sa.Column("lease_token", sa.Text()),
        sa.Column("lease_until", UTCDateTime()),
        sa.CheckConstraint(
            "state IN ('open', 'blocked')", name=op.f("ck_webhook_queues_state")
        ),
        sa.CheckConstraint(
            "(lease_token IS NULL) = (lease_until IS NULL)",
            name=op.f("ck_webhook_queues_lease"),
        ),
        sa.UniqueConstraint(
            *reversed(_KEY),
            name=op.f("uq_webhook_queues_ordering_key_subscription_id"),
        ),
    )
    roster = op.create_table(
        "webhook_roster",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_webhook_roster_one_row")),
    )
    op.bulk_insert(roster, [{"id": 1, "revision": ""}])


def _index(table: str, name: str, where: str, *columns: str) -> None:
    condition = sa.text(where)
    op.create_index(
        f"ix_{table}_{name}",
        table,
        list(columns),
        sqlite_where=condition,
        postgresql_where=condition,
    )


def _rebuild_deliveries() -> None:
    """Translate the states, with a CHECK that knows them, and without the leases."""
    if op.get_bind().dialect.name == "sqlite":
        _copy_deliveries()
        return
    op.drop_constraint(op.f("ck_webhook_deliveries_lease"), "webhook_deliveries")
    op.drop_constraint(op.f("ck_webhook_deliveries_state"), "webhook_deliveries")
    for statement in _STATES:
        op.execute(statement)
    op.create_check_constraint(
        op.f("ck_webhook_deliveries_state"), "webhook_deliveries", _ALLOWED
    )
    for name in _LEASES:
        op.drop_column("webhook_deliveries", name)


def _copy_deliveries() -> None:
    """Make the table anew: SQLite drops no column that a CHECK of the table names.

    Its rows come back under their ids before references to them are judged.
    """
    old = sa.Table("webhook_deliveries", sa.MetaData(), autoload_with=op.get_bind())
    columns = [column for column in old.columns if column.name not in _LEASES]
    names = ", ".join(column.name for column in columns)
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM webhook_deliveries")
    for statement in _STATES:
        op.execute(statement.replace("webhook_deliveries", "kept"))
    op.drop_table("webhook_deliveries")
    op.create_table(
        "webhook_deliveries",
        *columns,
        sa.CheckConstraint(
            "kind IN ('event', 'replay', 'test')",
            name=op.f("ck_webhook_deliveries_kind"),
        ),
        sa.CheckConstraint(_ALLOWED, name=op.f("ck_webhook_deliveries_state")),
        sa.UniqueConstraint(
            *_KEY,
            "sequence",
            name=op.f("uq_webhook_deliveries_subscription_id_ordering_key_sequence"),
        ),
    )
    op.execute(f"INSERT INTO webhook_deliveries ({names}) SELECT {names} FROM kept")  # noqa: S608  # names of columns
    op.execute("DROP TABLE kept")
    for name, indexed in _KEPT_INDEXES.items():
        op.create_index(name, "webhook_deliveries", list(indexed))
