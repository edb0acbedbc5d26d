"""Counts what the application asks of its database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import event

from registry.persistence.database import db

_TRANSACTION_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


@contextmanager
def statements_of(app: Flask) -> Iterator[list[str]]:
    """The statements of the block, as they went to the driver; no BEGIN or COMMIT.

    One that the driver is given with many rows counts once.
    """
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: Any) -> None:  # noqa: ANN401  # SQLAlchemy's own arguments
        if not statement.startswith(_TRANSACTION_CONTROL):
            seen.append(" ".join(statement.split()))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
