"""Sends what is due: claim, sign, POST, settle, again.

Rules:

- One thread, the clerk, claims and records; a pool sends. Whatever has come to an
  end meanwhile is recorded in one transaction, and whatever there is room for is
  claimed in the next: the more there is to do, the less each delivery costs.
- Turns are gathered: the next one begins no sooner than ``GATHER_SECONDS`` after the
  last, unless more of a queue waits for what was claimed. So what comes alone is sent
  at once, and what comes in numbers shares its transactions.
- No more is claimed than there are free senders, so a claim never waits with its
  lease running; ``webhooks.queue.fairness`` says how many are free, and for whom.
- No transaction is open during a request.
- ``wake()`` after a commit makes a delivery start at once; the poll finds what a
  lost wake-up or another process left.
- A database that is away is waited for. A result is offered until its lease ends;
  after that the delivery is sent again, with the same id.
- Several dispatchers, in one process or in many, are safe: the claim is the mutex.
- Logs carry ids and facts, never bodies, secrets or signatures.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webhooks.errors import UnsendableError
from webhooks.queue.claim import (
    claim_due,
    claim_probes,
    start_test,
)
from webhooks.queue.fairness import FRESH_SECONDS, Slots
from webhooks.queue.recorder import Recorder
from webhooks.queue.settle import Answered, settle_results, sweep_expired_leases
from webhooks.roster.secrets import SecretBox
from webhooks.sending.prepare import NOTHING_LENT, Claim, prepare
from webhooks.sending.sender import Sender, SendResult
from webhooks.tables import AttemptOutcome

logger = logging.getLogger(__name__)

Begin = Callable[[], AbstractContextManager[Session]]
Lend = Callable[[Claim], Mapping[str, str]]

SWEEP_SECONDS = 5.0
PROBE_SECONDS = 1.0
DATABASE_RETRY_SECONDS = 0.5
#: From one turn to the next, for more to come together.
GATHER_SECONDS = 0.05
THREADS = 128
#: In this time two clocks drift apart by microseconds.
REREAD_SECONDS = 5.0


def lend_nothing(claim: Claim) -> Mapping[str, str]:
    """Add nothing to any send."""
    del claim
    return NOTHING_LENT


def utc_now() -> datetime:
    """Read this machine's clock."""
    return datetime.now(UTC)


class DatabaseClock:
    """The clock that leases and retries are measured by.

    PostgreSQL's clock is the one that all dispatchers share. Asking it costs a round
    trip in each transaction, so it is asked every five seconds, and carried on between
    by a clock that only grows: a local clock that jumps changes nothing.

    Args:
        fallback: gives aware UTC with SQLite, which has no clock of its own.
    """

    def __init__(self, fallback: Callable[[], datetime]) -> None:
        self._fallback = fallback
        self._read: tuple[datetime, float] | None = None

    def now(self, session: Session) -> datetime:
        """Return the aware instant of a transaction's begin; any thread may ask."""
        # A session begins with its first statement, and on SQLite waits for its turn
        # there: an instant from before would leave out what was stored meanwhile.
        if session.connection().dialect.name != "postgresql":
            return self._fallback()
        read = self._read
        if read is None or time.monotonic() - read[1] >= REREAD_SECONDS:
            instant = session.execute(select(func.clock_timestamp())).scalar_one()
            read = self._read = (instant, time.monotonic())
        return read[0] + timedelta(seconds=time.monotonic() - read[1])


@dataclass(frozen=True)
class PingResult:
    """What a test send found out, and where it is recorded."""

    delivery_id: str
    result: SendResult


class Dispatcher:
    """Delivers in the background between ``start`` and ``stop``.

    Args:
        begin: opens a session in a write transaction (IMMEDIATE on SQLite), which
            commits when the block ends and rolls back when it raises.
        box: opens the signing secrets.
        sender: sends.
        lend: gives what the application adds to a send, by names of
            ``LENT_NAMES``; the same for every attempt at one delivery. Called
            outside any transaction; it may raise what a database raises.
        concurrency: how many young requests may be under way at once. One that
            hangs counts no longer; there are up to 128 in all.
        lease: longer than a send can take in all.
        poll: how long to wait without a wake-up.
        clock: gives aware UTC; PostgreSQL's own clock is used where there is one.
    """

    def __init__(
        self,
        begin: Begin,
        box: SecretBox,
        sender: Sender,
        *,
        concurrency: int = 64,
        lease: timedelta = timedelta(seconds=60),
        poll: timedelta = timedelta(seconds=1),
        clock: Callable[[], datetime] = utc_now,
        lend: Lend = lend_nothing,
    ) -> None:
        self._begin = begin
        self._box = box
        self._sender = sender
        self._lend = lend
        self._slots = Slots(concurrency, THREADS)
        self._concurrency = concurrency
        self._lease = lease
        self._poll_seconds = poll.total_seconds()
        self._clock = clock
        self._database_clock = DatabaseClock(clock)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._recorder = Recorder(self._settle_batch)
        self._thread: threading.Thread | None = None
        self._turned_at = 0.0
        self._is_followed = False
        self._sweep_at = 0.0
        self._probe_at = 0.0

    def start(self) -> None:
        """Begin to deliver; call it after forking, not before.

        Raises:
            RuntimeError: it is running already.
        """
        if self._thread is not None:
            raise RuntimeError("the dispatcher is running already")
        self._stopping.clear()
        self._turned_at = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, name="webhook-dispatcher", daemon=True
        )
        self._thread.start()

    def wake(self) -> None:
        """Look for due deliveries now; cheap, and safe from any thread."""
        self._wake.set()

    def stop(self, timeout: timedelta = timedelta(seconds=25)) -> bool:
        """Claim nothing more and let what is under way end.

        Returns:
            Whether everything ended in time; what did not is sent again by the
            next dispatcher once its lease is over.
        """
        if self._thread is None:
            return True
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout.total_seconds())
        has_ended = not self._thread.is_alive()
        self._thread = None
        logger.info("webhook_dispatcher_stopped drained=%s", has_ended)
        return has_ended

    def silent_seconds(self) -> float:
        """Return how long ago the loop last came round; 0 where it does not run.

        A turn ends whether or not the database answers: after more than a minute the
        thread hangs, or is gone.
        """
        return time.monotonic() - self._turned_at if self._thread else 0.0

    def run_once(self) -> int:
        """Sweep, then send everything that is due, in this thread; return how many.

        Retries that fall due later are left for later.
        """
        self._sweep()
        self._probe_at = 0.0
        count = 0
        while claims := self._claim(self._concurrency):
            for claim in claims:
                self._deliver(claim)
            count += len(claims)
        return count

    def send_test(
        self, subscription_id: str, *, sample: str | None = None
    ) -> PingResult:
        """Send a ping the way every delivery is sent, and wait for the answer.

        It is recorded as a delivery with one attempt and is never retried. What
        ``sample`` chooses, ``claims.start_test`` says.

        Raises:
            UnknownSubscriptionError: there is none.
        """
        with self._begin() as session:
            claim = start_test(
                session,
                subscription_id,
                sample=sample,
                now=self._database_clock.now(session),
                lease=self._lease,
            )
        return PingResult(claim.delivery_id, self._deliver(claim))

    def _run(self) -> None:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="webhook-sender") as pool:
            while True:
                # Cleared before looking: a wake-up that comes while looking is kept.
                self._wake.clear()
                self._turned_at = time.monotonic()
                has_more = self._work(pool)
                if self._stopping.is_set() and self._is_idle():
                    return
                if has_more:
                    continue
                self._wake.wait(self._patience_seconds())
                if not self._is_followed:
                    over = time.monotonic() - self._turned_at
                    self._stopping.wait(max(0.0, GATHER_SECONDS - over))

    def _work(self, pool: ThreadPoolExecutor) -> bool:
        """Settle and claim; return whether there may be more to do now."""
        try:
            self._recorder.flush()
            return not self._stopping.is_set() and self._tick(pool)
        except SQLAlchemyError as error:
            logger.warning(
                "webhook_database_failed step=claim error=%s", type(error).__name__
            )
        except Exception:
            # The last line of defence: a loop that ended would end delivery.
            logger.exception("webhook_dispatcher_failed")
        self._stopping.wait(DATABASE_RETRY_SECONDS)
        return False

    def _is_idle(self) -> bool:
        return not self._slots.count and not self._recorder

    def _patience_seconds(self) -> float:
        # A send that is no longer fresh makes room, and tells nobody.
        return self._poll_seconds if self._is_idle() else FRESH_SECONDS

    def _tick(self, pool: ThreadPoolExecutor) -> bool:
        """Claim for the free senders; return whether to look again at once.

        What is left of shares is claimed as soon as a send ends.
        """
        self._sweep_if_due()
        free = self._slots.free()
        if not free:
            return False
        claims = self._claim(free)
        for claim in claims:
            self._slots.begin(claim)
            pool.submit(self._send_in_background, claim)
        # What waits for nothing but these is sent as soon as they have ended.
        self._is_followed = any(claim.is_followed for claim in claims)
        return len(claims) >= free

    def _send_in_background(self, claim: Claim) -> None:
        give_up_at = time.monotonic() + self._lease.total_seconds()
        try:
            result = self._send(claim)
        except Exception:
            # The lease ends and the delivery is sent again; the pool goes on.
            logger.exception("webhook_delivery_failed delivery=%s", claim.delivery_id)
        else:
            self._recorder.add(claim, result, give_up_at)
        finally:
            self._slots.end(claim)
            self._wake.set()

    def _claim(self, limit: int) -> list[Claim]:
        with self._begin() as session:
            now = self._database_clock.now(session)
            claims = claim_due(
                session,
                now=now,
                limit=limit,
                lease=self._lease,
                quota=self._slots.quota(),
            )
            probes = self._slots.free_probes()
            if probes and time.monotonic() >= self._probe_at:
                self._probe_at = time.monotonic() + PROBE_SECONDS
                claims += claim_probes(
                    session, now=now, limit=probes, lease=self._lease
                )
        return claims

    def _sweep_if_due(self) -> None:
        if time.monotonic() >= self._sweep_at:
            self._sweep()
            self._sweep_at = time.monotonic() + SWEEP_SECONDS

    def _sweep(self) -> None:
        with self._begin() as session:
            sweep_expired_leases(session, now=self._database_clock.now(session))

    def _deliver(self, claim: Claim) -> SendResult:
        """Send in this thread and see to it that the claim is settled."""
        recorder = Recorder(self._settle_batch)
        give_up_at = time.monotonic() + self._lease.total_seconds()
        result = self._send(claim)
        recorder.add(claim, result, give_up_at)
        recorder.flush_all()
        return result

    def _send(self, claim: Claim) -> SendResult:
        now = self._clock()
        try:
            outgoing = prepare(claim, self._box, now, self._lend(claim))
        except UnsendableError as error:
            logger.error(  # noqa: TRY400  # A traceback says nothing more, and could show a secret.
                "webhook_not_prepared delivery=%s reason=%s",
                *(claim.delivery_id, error.message),
            )
            return SendResult(AttemptOutcome.FAILED, error=error.message)
        return self._sender.send(
            outgoing.url,
            outgoing.body,
            outgoing.headers,
            now=now,
            tls=outgoing.tls,
            secrets=outgoing.secrets,
        )

    def _settle_batch(self, answered: Sequence[Answered]) -> None:
        with self._begin() as session:
            settle_results(
                session,
                answered,
                now=self._database_clock.now(session),
                jitter=random.random,
            )
