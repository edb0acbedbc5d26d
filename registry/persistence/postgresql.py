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
- A transaction begins where one is asked for: what only reads is answered without, and
  costs no BEGIN and no ROLLBACK.
- What is lent was not hung up on as far as its socket knows, and has ``PING_SECONDS``
  for its first answer; nothing is asked of it in between.
- What the server says of values (DETAIL, and all of the errors of a value) is dropped
  before anybody can log it.

Loaded only where PostgreSQL is used: its driver takes 9 MB.
"""

import math
import select
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import DataError, ReadOnlySqlTransaction
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from registry.persistence.purposes import PATIENCE, READS, SNAPSHOT, UNLIMITED

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
        "connect_args": {
            # Transactions begin below, and not with whatever statement comes first.
            "autocommit": True,
            **(
                {"prepare_threshold": None}
                if through_pgbouncer
                else {"options": bounds}
            ),
        },
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
    event.listen(engine, "begin", _begin)
    dialect: Any = engine.dialect  # the ping is no name that others are to set
    dialect.do_ping = _is_open


class ImpatientConnection(psycopg.Connection[Any]):
    """Is closed when the server says nothing for longer than its patience."""

    patience_seconds = SILENCE_SECONDS
    is_newly_lent = False

    def wait(self, gen: PQGen[Answer], *args: Any, **kwargs: Any) -> Answer:  # noqa: ANN401  # the driver's own
        """Wait for an exchange to end, as the driver does."""
        seconds = PING_SECONDS if self.is_newly_lent else self.patience_seconds
        self.is_newly_lent = False
        return super().wait(self._bounded(gen, seconds), *args, **kwargs)

    def rollback(self) -> None:
        """Roll back what was begun: nothing, where each statement was by itself."""
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            super().rollback()

    def _bounded(self, gen: PQGen[Answer], seconds: float) -> PQGen[Answer]:
        """Yield the same exchange, which the driver resumes ten times a second."""
        give_up_at = time.monotonic() + seconds
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
            f"the server has said nothing for {seconds:.0f} s"
        )


class _Cursor(psycopg.Cursor[Any]):
    """Describes a column once it is looked at.

    SQLAlchemy knows those of its statements, and asks with each whether there are any.
    """

    @property
    def description(self) -> Any:  # noqa: ANN401  # a list of them to the driver
        """The columns of the result, or None."""
        result = self.pgresult
        return _Columns(self, result.nfields) if result and result.nfields else None


class _Columns(Sequence[psycopg.Column]):
    def __init__(self, cursor: _Cursor, count: int) -> None:
        self._places = range(count)
        self._cursor = cursor

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401  # or a slice of them
        places = self._places[place]
        if isinstance(places, range):
            return [psycopg.Column(self._cursor, number) for number in places]
        return psycopg.Column(self._cursor, places)


def _connect(
    _dialect: object, _record: object, args: list[Any], options: dict[str, Any]
) -> psycopg.Connection[Any]:
    return ImpatientConnection.connect(
        *args, cursor_factory=_Cursor, **{**_NETWORK, **options}
    )


def _is_open(connection: ImpatientConnection) -> bool:
    """Whether nobody has hung up: who is idle has nothing to read but that."""
    connection.patience_seconds = SILENCE_SECONDS
    connection.is_newly_lent = True
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    return not socket.poll(0)


def _lift_limit(connection: Connection, options: Mapping[str, Any]) -> None:
    """Wait as long as it takes, until the connection is next lent."""
    if options.get(UNLIMITED):
        driver: Any = connection.connection.driver_connection
        driver.patience_seconds = math.inf


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    is_bound_anew = options.get(_THROUGH_PGBOUNCER)
    if options.get(READS) and not is_bound_anew:
        return
    level = " ISOLATION LEVEL REPEATABLE READ" if options.get(SNAPSHOT) else ""
    connection.exec_driver_sql(f"BEGIN{level}")
    if is_bound_anew:
        connection.exec_driver_sql(_SET_BOUNDS)
    patience = options.get(PATIENCE)
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
