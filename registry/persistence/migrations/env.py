"""How Alembic reaches the database: through the engine it is handed."""

from alembic import context
from sqlalchemy import Engine, text

from registry.persistence.purposes import UNLIMITED, WRITES
from registry.persistence.tables import Base
from webhooks.tables import Base as WebhooksBase

_LOCK = 0x57A6E6A7E  # any number: two upgrades at once must choose the same

engine: Engine = context.config.attributes["engine"]

purpose = {WRITES: True, UNLIMITED: True}
with engine.connect().execution_options(**purpose) as connection:
    context.configure(
        connection=connection,
        target_metadata=[Base.metadata, WebhooksBase.metadata],
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            # An index of a large table takes longer than any request may.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        context.run_migrations()
