"""What PostgreSQL needs to keep the promises, attached to its engine.

Rules:

- Waits for locks and statements are bounded at the server, so that trouble ends in an
  answer; and at our end, since a server, or what lies between, may fall silent. A
  connection that says nothing for longer than any statement may take is closed.
- The network is asked as well: what stays unacknowledged, and a peer that no longer
  answers probes, end a connection within 30 s.
- A session that may only read is closed: behind the same name another server may be
  the one that writes now.
- PgBouncer in transaction mode gives each transaction another session: nothing may be
  left in one, so no statement is prepared, and the bounds are set in each transaction.
- What the server says of values (DETAIL, and all of the errors of a value) is dropped
  before anybody can log it.

Loaded only where PostgreSQL is used: its driver takes 9 MB.
"""

import math
import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import DataError, ReadOnlySqlTransaction
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from registry.persistence.purposes import PATIENCE, UNLIMITED

Answer = TypeVar("Answer")

_THROUGH_PGBOUNCER: Final = "stagegate_through_pgbouncer"
_BOUNDS = {
    "lock_timeout": "15s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
}
_SET_BOUNDS = "SELECT " + ", ".join(
    f"set_config('{name}', '{bound}', true)" for name, bound in _BOUNDS.items()
)
#: Longer than a statement may take, so that the server's own word comes first.
SILENCE_SECONDS = 35.0
PING_SECONDS = 5.0
#: What an address says of these goes before.
_NETWORK = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_POOL_SIZE = 10  # the threads of a web process, and two to spare


def options(*, through_pgbouncer: bool) -> dict[str, Any]:
    """Keyword arguments for ``create_engine``."""
    bounds = " ".join(f"-c {name}={bound}" for name, bound in _BOUNDS.items())
    return {
        "connect_args": (
            {"prepare_threshold": None} if through_pgbouncer else {"options": bounds}
        ),
        "execution_options": {_THROUGH_PGBOUNCER: through_pgbouncer},
        "pool_size": _POOL_SIZE,
        "max_overflow": 10,
        "pool_timeout": 10,
        "pool_pre_ping": True,
        "pool_recycle": 1800,
    }


def prepare(engine: Engine) -> None:
    """Attach the rules to every connection of an engine."""
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "set_connection_execution_options", _lift_limit)
    event.listen(engine, "handle_error", _judge_error)
    if engine.get_execution_options().get(_THROUGH_PGBOUNCER):
        event.listen(engine, "begin", _bound_transaction)
    event.listen(engine, "begin", _bound_patience)
    _bound_pings(engine.dialect)


class ImpatientConnection(psycopg.Connection[Any]):
    """Is closed when the server says nothing for longer than its patience."""

    patience_seconds = SILENCE_SECONDS

    def wait(self, gen: PQGen[Answer], *args: Any, **kwargs: Any) -> Answer:  # noqa: ANN401  # the driver's own
        """Wait for an exchange to end, as the driver does."""
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: PQGen[Answer]) -> PQGen[Answer]:
        """The same exchange, which the driver resumes ten times a second."""
        give_up_at = time.monotonic() + self.patience_seconds
        try:
            awaited = next(gen)
            while True:
                ready = yield awaited
                if not ready and time.monotonic() > give_up_at:
                    break
                awaited = gen.send(ready)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        self.pgconn.finish()
        raise psycopg.OperationalError(
            f"the server has said nothing for {self.patience_seconds:.0f} s"
        )


def _connect(
    _dialect: object, _record: object, args: list[Any], options: dict[str, Any]
) -> psycopg.Connection[Any]:
    return ImpatientConnection.connect(*args, **{**_NETWORK, **options})


def _bound_pings(dialect: Any) -> None:  # noqa: ANN401  # its ping is no public name
    """A pool asks a connection whether it lives before it lends it: no statement."""
    ping = dialect.do_ping

    def ping_in_time(connection: ImpatientConnection) -> bool:
        connection.patience_seconds = PING_SECONDS
        try:
            is_alive: bool = ping(connection)
        finally:
            connection.patience_seconds = SILENCE_SECONDS
        return is_alive

    dialect.do_ping = ping_in_time


def _lift_limit(connection: Connection, options: Mapping[str, Any]) -> None:
    """Wait as long as it takes, until the connection is next lent."""
    if options.get(UNLIMITED):
        driver: Any = connection.connection.driver_connection
        driver.patience_seconds = math.inf


def _bound_transaction(connection: Connection) -> None:
    connection.exec_driver_sql(_SET_BOUNDS)


def _bound_patience(connection: Connection) -> None:
    patience = connection.get_execution_options().get(PATIENCE)
    if patience is not None:
        # 0 would be no bound at all.
        bound = f"{max(1, round(patience * 1000))}ms"
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{bound}'")


def _judge_error(context: ExceptionContext) -> None:
    error = context.original_exception
    if isinstance(error, ReadOnlySqlTransaction):
        context.is_disconnect = True
    if not isinstance(error, psycopg.Error) or not error.diag.message_primary:
        return
    # The rest of what it says repeats values, and so does the error of a value.
    is_of_value = isinstance(error, DataError)
    said = "a value is refused" if is_of_value else error.diag.message_primary
    error.args = (said,)
    if context.sqlalchemy_exception is not None:
        named = f"({type(error).__module__}.{type(error).__name__}) {said}"
        context.sqlalchemy_exception.args = (named,)
