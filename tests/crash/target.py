"""The process that is killed: the real application, serving and delivering.

- ``create_app`` and ``BackgroundWork`` as ``stagegate serve`` runs them, behind a
  threaded WSGI server, in one process. Nothing in production code knows of this.
- What is watched is watched from outside: engine and session events, and the
  dispatcher, sender, guard and socket by subclasses that say where they are and
  call what they inherit.
- Only the pace differs: a short lease (a crash is found soon), a short sweep, and
  retries without delay.
- Import this module in a fork server: a target then starts in a tenth of a second.
"""

import dataclasses
import logging
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, ClassVar

from flask import Flask, Response, request, request_finished, request_started
from sqlalchemy import Connection, Engine, event
from werkzeug.serving import make_server

from registry.app import create_app
from registry.persistence.database import db, write_transaction
from registry.settings import Settings
from registry.web.parts import Parts
from registry.worker import BackgroundWork
from tests.crash.databases import Environment
from tests.crash.points import Plan, Trap, points_of, statement_name
from webhooks.queue import dispatcher as dispatcher_module
from webhooks.queue import schedule
from webhooks.queue.dispatcher import Dispatcher
from webhooks.queue.settle import Answered
from webhooks.sending.guard import AddressGuard, Step
from webhooks.sending.prepare import Claim
from webhooks.sending.sender import Sender, SendResult
from webhooks.sending.tls import PUBLIC, Tls

WRITES = "stagegate_writes"  # the execution option that ``change`` sets
WRITING_VERBS = frozenset({"insert", "update", "delete"})


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """How one target runs; ``plan`` None is a target that survives."""

    environment: Environment
    log_file: Path
    plan: Plan | None = None
    lease_seconds: float
    sweep_seconds: float
    poll_seconds: float = 0.1


class _Socket(socket.socket):
    """A connection to a receiver that says what has passed through it."""

    trap: ClassVar[Trap]
    _has_answer = False

    def sendall(self, request: bytes) -> None:  # type: ignore[override]  # As the sender calls it.
        head, end, body = request.partition(b"\r\n\r\n")
        super().sendall(head + end)
        self.trap.reach("head sent")
        super().sendall(body)
        self.trap.reach("body sent")

    def recv_into(self, *arguments: Any) -> int:  # noqa: ANN401  # as above
        count = super().recv_into(*arguments)
        if not self._has_answer:
            self._has_answer = True
            self.trap.reach("answer arrived")
        return count


class _Guard(AddressGuard):
    trap: Trap

    def connect(
        self,
        host: str,
        port: int,
        *,
        scheme: str,
        timeout_seconds: float,
        on_step: Step = lambda _step, _address: None,
    ) -> socket.socket:
        self.trap.reach("before connect")
        made = super().connect(
            host,
            port,
            scheme=scheme,
            timeout_seconds=timeout_seconds,
            on_step=on_step,
        )
        self.trap.reach("connected")
        return _Socket(fileno=made.detach())


class _Sender(Sender):
    trap: Trap

    def send(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        now: datetime,
        tls: Tls = PUBLIC,
        secrets: Sequence[str] = (),
    ) -> SendResult:
        with self.trap.during("send"):
            result = super().send(url, body, headers, now=now, tls=tls, secrets=secrets)
            self.trap.reach("answer read")
        return result


class _Dispatcher(Dispatcher):
    trap: Trap

    def wake(self) -> None:
        super().wake()
        if self.trap.phase == "change":
            self.trap.reach("woken")

    def _claim(self, limit: int) -> list[Claim]:
        with self.trap.during("claim"):
            return super()._claim(limit)

    def _sweep(self) -> None:
        with self.trap.during("sweep"):
            super()._sweep()

    def _settle_batch(self, answered: Sequence[Answered]) -> None:
        with self.trap.during("record"):
            super()._settle_batch(answered)


#: They say how long a lock is waited for, and read or write nothing.
_NO_POINTS = ("BEGIN", "PRAGMA", "SET")


class _Transactions:
    """Follows the statements of the transactions that write."""

    def __init__(self, engine: Engine, trap: Trap) -> None:
        self._trap = trap
        self._thread = threading.local()
        event.listen(engine, "begin", self._begun)
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)
        event.listen(engine, "commit", self._commit)
        self._do_commit = engine.dialect.do_commit
        dialect: Any = engine.dialect
        dialect.do_commit = self._commit_and_note

    def _begun(self, connection: Connection) -> None:
        self._thread.wrote = False
        if _is_writing(connection):
            self._trap.reach("begun")

    def _before(
        self, connection: Connection, _cursor: object, statement: str, *_: object
    ) -> None:
        self._pass("before", connection, statement)

    def _after(
        self, connection: Connection, _cursor: object, statement: str, *_: object
    ) -> None:
        self._pass("after", connection, statement)

    def _pass(self, moment: str, connection: Connection, statement: str) -> None:
        if not _is_writing(connection) or statement.startswith(_NO_POINTS):
            return
        name = statement_name(statement)
        if name.split()[0] in WRITING_VERBS:
            self._thread.wrote = True
        self._trap.reach(f"{moment} {name}")

    def _commit(self, connection: Connection) -> None:
        # Most claims and sweeps find nothing; their commits are no points.
        if not self._has_written:
            return
        self._trap.reach("before commit")
        if self._trap.is_due("during commit"):
            self._kill_during(connection)

    def _kill_during(self, connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            self._trap.kill_within_commit()
            return
        driver: Any = connection.connection.driver_connection
        driver.pgconn.send_query(b"COMMIT")
        driver.pgconn.flush()
        self._trap.kill(f"{self._trap.phase} during commit")

    def _commit_and_note(self, connection: Any) -> None:  # noqa: ANN401  # the driver's
        self._do_commit(connection)
        if self._has_written:
            self._trap.reach("after commit")

    @property
    def _has_written(self) -> bool:
        return bool(getattr(self._thread, "wrote", False))


def _is_writing(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(WRITES))


def _watch_requests(app: Flask, trap: Trap) -> None:
    def begin(_app: Flask) -> None:
        trap.phase = "change" if request.method == "POST" else None
        trap.reach("request received")

    def end(_app: Flask, response: Response) -> None:
        trap.reach("answer made")
        response.call_on_close(partial(trap.reach, "answer sent"))

    request_started.connect(begin, app, weak=False)
    request_finished.connect(end, app, weak=False)


def _watched_dispatcher(
    parts: Parts, engine: Engine, trap: Trap, options: TargetOptions
) -> Dispatcher:
    settings = parts.settings
    guard = _Guard(
        settings.webhook_allowed_networks, allow_http=settings.webhook_allow_http
    )
    sender = _Sender(guard)
    dispatcher = _Dispatcher(
        partial(write_transaction, engine),
        parts.webhooks.box,
        sender,
        lease=timedelta(seconds=options.lease_seconds),
        poll=timedelta(seconds=options.poll_seconds),
    )
    guard.trap = sender.trap = dispatcher.trap = _Socket.trap = trap
    return dispatcher


@cache
def application(environment: Environment) -> Flask:
    """The application as it is in production; a fork server has built it before."""
    return create_app(Settings.from_env(dict(environment)))


def build(options: TargetOptions, trap: Trap) -> Flask:
    """The application with its dispatcher replaced by one that is watched."""
    dispatcher_module.SWEEP_SECONDS = options.sweep_seconds
    dispatcher_module.PROBE_SECONDS = 0.0
    dispatcher_module.GATHER_SECONDS = 0.0  # for many turns, each of which may die
    dispatcher_module.REREAD_SECONDS = 0.0
    schedule.FIRST_PROBE = timedelta(0)
    schedule.SCHEDULE_SECONDS = (0,) * schedule.MAX_ATTEMPTS
    app = application(options.environment)
    parts: Parts = app.extensions["stagegate"]
    with app.app_context():
        engine = db.engine
    watched = _watched_dispatcher(parts, engine, trap, options)
    app.extensions["stagegate"] = dataclasses.replace(parts, dispatcher=watched)
    _Transactions(engine, trap)
    _watch_requests(app, trap)
    return app


def run(options: TargetOptions, to_driver: Pipe) -> None:
    """Serve and deliver until killed; the first message is the port."""
    with options.log_file.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    logging.basicConfig(level=logging.WARNING, force=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    database = (
        "sqlite"
        if dict(options.environment)["STAGEGATE_DATABASE_URL"].startswith("sqlite")
        else "postgresql"
    )
    trap = Trap(options.plan, to_driver.send, frozenset(points_of(database)))
    app = build(options, trap)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    BackgroundWork(app).start()
    to_driver.send(server.port)
    server.serve_forever()
