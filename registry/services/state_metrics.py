"""Gauges that are read from the database when Prometheus asks for them.

Rules:

- Every process answers the same, because the database is one: take one process'
  figure, not their sum.
- A reading serves for a few seconds: whoever asks more often costs the database
  nothing.
- A database that does not answer shows as ``stagegate_database_up 0``, and the
  other gauges are left out rather than made up.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from webhooks.metrics import Backlog, read_backlogs
from webhooks.queue.dispatcher import utc_now
from webhooks.tables import ShownState

logger = logging.getLogger(__name__)

FRESH = timedelta(seconds=5)
_UNSETTLED = (
    *(ShownState.PENDING, ShownState.SENDING),
    *(ShownState.HELD, ShownState.BLOCKED),
)


class StateCollector(Collector):
    """Reads the gauges of one database."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._lock = threading.Lock()
        self._gauges: Sequence[Metric] = ()
        self._fresh_until = 0.0

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges, read anew when they are older than a few seconds."""
        with self._lock:
            if time.monotonic() >= self._fresh_until:
                self._gauges = list(self._read())
                self._fresh_until = time.monotonic() + FRESH.total_seconds()
            yield from self._gauges

    def _read(self) -> Iterator[Metric]:
        now = self._clock()
        try:
            with self._sessions() as session:
                backlogs = read_backlogs(session, now=now)
        except SQLAlchemyError as error:
            logger.warning("metrics_not_read error=%s", type(error).__name__)
            yield _gauge("database_up", "Whether the database answers", 0)
            return
        yield _gauge("database_up", "Whether the database answers", 1)
        yield from _backlog_gauges(backlogs, now)


def metrics_registry(sessions: sessionmaker[Session]) -> CollectorRegistry:
    """This process' counters and these gauges; nothing is read yet."""
    metrics = CollectorRegistry()
    metrics.register(REGISTRY)
    metrics.register(StateCollector(sessions))
    return metrics


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"stagegate_{name}", meaning, value=value)


def _backlog_gauges(backlogs: Sequence[Backlog], now: datetime) -> Iterator[Metric]:
    yield _gauge(
        "webhook_breakers_open",
        "Endpoints that rest because they failed",
        sum(backlog.is_breaker_open for backlog in backlogs),
    )
    waiting = GaugeMetricFamily(
        "stagegate_webhook_deliveries",
        "Deliveries that are not settled",
        labels=["webhook", "state"],
    )
    age = GaugeMetricFamily(
        "stagegate_webhook_oldest_pending_age_seconds",
        "How long the oldest pending delivery has waited; 0 when there is none",
        labels=["webhook"],
    )
    active = GaugeMetricFamily(
        "stagegate_webhook_active",
        "Whether the endpoint is sent to: 0 when it is paused or disabled",
        labels=["webhook"],
    )
    for backlog in backlogs:
        name = backlog.subscription_id
        for state in _UNSETTLED:
            waiting.add_metric([name, state], backlog.counts.get(state, 0))
        since = backlog.oldest_pending_at or now
        age.add_metric([name], max(0.0, (now - since).total_seconds()))
        active.add_metric([name], backlog.state == "active")
    yield from (waiting, age, active)
