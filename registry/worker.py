"""What runs beside requests: deliveries and the periodic jobs.

Rules:

- The dispatcher is one thread and its senders; APScheduler only ticks the
  periodic jobs. The queue is the database, never the scheduler's memory.
- Every job is safe to run in many processes at once: rows are claimed. It makes its
  own transactions, one for a batch: none holds a lock long, and what one run leaves
  over the next one finds.
- The same parts run inside ``serve`` and alone in ``worker``.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask
from sqlalchemy.orm import Session, sessionmaker

from registry.domain.actors import SYSTEM, Caller
from registry.persistence.database import db, session_factory
from registry.services import exchange, idempotency, sessions, tokens, uploads
from registry.services.transaction import Transaction, begin
from registry.web.parts import Parts
from webhooks import feed, metrics, record, subscriptions
from webhooks.queue.dispatcher import utc_now

logger = logging.getLogger(__name__)

SEAL_EVERY = timedelta(seconds=2)
FORGET_KEYS_EVERY = timedelta(hours=1)
FORGET_SESSIONS_EVERY = timedelta(hours=1)
FORGET_CI_JOBS_EVERY = timedelta(hours=1)
GIVE_UP_UPLOADS_EVERY = timedelta(hours=1)
PLACE_EVERY = timedelta(seconds=2)
BURY_EVERY = timedelta(seconds=10)
FORGET_DELIVERIES_EVERY = timedelta(hours=1)
BEAT_EVERY = timedelta(seconds=5)
#: A turn waits for statements, each of which ends within 35 s (``persistence``).
DEAD_AFTER = timedelta(seconds=90)
DRAIN = timedelta(seconds=25)
#: A run ends after so many batches of each kind, however much is left.
MAX_BATCHES = 100


class BackgroundWork:
    """Deliveries and periodic jobs, between ``start`` and ``stop``.

    Made after a fork, not before: threads do not survive one.
    """

    def __init__(self, app: Flask, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._parts: Parts = app.extensions["stagegate"]
        with app.app_context():
            self._engine = db.engine
        self._sessions: sessionmaker[Session] = session_factory(self._engine)
        self._keep = timedelta(days=self._parts.settings.webhook_retention_days)
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._beaten_at = 0.0

    def start(self) -> None:
        """Begin to deliver and to tick, and tell by a heartbeat that both go on."""
        self._beat()
        self._parts.readiness.watch(self.problem)
        self._parts.dispatcher.start()
        self._tick(self._beat, BEAT_EVERY)
        self._tick(self.complete_registrations, SEAL_EVERY)
        self._tick(self.forget_old_keys, FORGET_KEYS_EVERY)
        self._tick(self.forget_old_sessions, FORGET_SESSIONS_EVERY)
        self._tick(self.forget_ci_jobs, FORGET_CI_JOBS_EVERY)
        self._tick(self.give_up_uploads, GIVE_UP_UPLOADS_EVERY)
        self._tick(self.place_events, PLACE_EVERY)
        self._tick(self.bury_deliveries, BURY_EVERY)
        self._tick(self.forget_deliveries, FORGET_DELIVERIES_EVERY)
        self._scheduler.start()
        logger.info("background_work_started")

    def stop(self) -> None:
        """Claim nothing more and let what is under way end."""
        self._scheduler.shutdown(wait=False)
        self._parts.dispatcher.stop(DRAIN)

    def problem(self) -> str | None:
        """Why this work is not alive, or None."""
        seconds, what = max(
            (self._parts.dispatcher.silent_seconds(), "webhooks were not looked for"),
            (time.monotonic() - self._beaten_at, "the periodic jobs have not run"),
        )
        is_dead = seconds > DEAD_AFTER.total_seconds()
        return f"{what} for {seconds:.0f} s" if is_dead else None

    def _beat(self) -> None:
        self._beaten_at = time.monotonic()

    def complete_registrations(self) -> None:
        """Hash the artifacts that were left to the background."""
        while uploads.complete_next(self._transaction, self._parts.store):
            self._parts.dispatcher.wake()

    def give_up_uploads(self) -> None:
        """Fail the registrations whose uploads nobody finished in a week."""
        while uploads.give_up_next(self._transaction, self._parts.store):
            self._parts.dispatcher.wake()

    def forget_old_keys(self) -> None:
        """Remove idempotency keys that are older than a day."""
        self._until_done(idempotency.forget_old_keys)

    def forget_old_sessions(self) -> None:
        """Remove the sessions of browsers that have expired."""
        self._until_done(sessions.remove_old)

    def forget_ci_jobs(self) -> None:
        """Remove the tokens that CI jobs had, and what those were exchanged for."""
        self._until_done(exchange.forget_used)
        has_more = True
        while has_more:
            with self._transaction() as tx:
                has_more = tokens.remove_old(tx)

    def _until_done(self, remove: Callable[..., bool]) -> None:
        has_more = True
        while has_more:
            with self._transaction() as tx:
                has_more = remove(tx.cx, now=tx.now)

    def place_events(self) -> None:
        """Give events their places in the feed; mostly there is nothing to do."""
        with self._sessions() as session:
            is_due = feed.has_unplaced(session)
        if is_due:
            self._in_batches(lambda tx: feed.place(tx.session), feed.PLACED_AT_ONCE)

    def bury_deliveries(self) -> None:
        """Give up what deleted webhooks still wait for; mostly there is nothing."""
        with self._sessions() as session:
            is_due = subscriptions.has_unburied(session)
        if is_due:
            self._in_batches(
                lambda tx: subscriptions.bury(tx.session, now=tx.now),
                subscriptions.BURIED_AT_ONCE,
            )

    def forget_deliveries(self) -> None:
        """Remove deliveries and events that were settled long ago."""

        def removing(remove: Callable[..., int]) -> Callable[[Transaction], int]:
            return lambda tx: remove(tx.cx, before=tx.now - self._keep)

        removed = sum(
            self._in_batches(removing(remove), record.REMOVED_AT_ONCE)
            for remove in (record.remove_deliveries, record.remove_events)
        )
        with self._transaction() as tx:
            metrics.remove_days(tx.cx, before=(tx.now - self._keep).date())
        if removed:
            logger.info("webhook_records_removed count=%d", removed)

    def _in_batches(self, work: Callable[[Transaction], int], full: int) -> int:
        total = 0
        for _ in range(MAX_BATCHES):
            with self._transaction() as tx:
                done = work(tx)
            total += done
            if done < full:
                break
        return total

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        caller = Caller(actor=SYSTEM, base_url=self._parts.settings.public_url)
        with begin(
            self._engine, caller=caller, policy=self._parts.policy, now=self._clock()
        ) as tx:
            yield tx

    def _tick(self, job: object, every: timedelta) -> None:
        self._scheduler.add_job(
            job,
            "interval",
            seconds=every.total_seconds(),
            coalesce=True,
            max_instances=1,
        )


def run_worker(app: Flask) -> None:
    """Work until SIGTERM or SIGINT, then drain."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    work = BackgroundWork(app)
    work.start()
    ended.wait()
    work.stop()
