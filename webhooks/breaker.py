"""How well an endpoint is, and what follows from it: pure.

Rules:

- Five failures in a row open the breaker. It lets one delivery through as a probe
  after 30 s, and after each failed probe twice as late, up to 15 min.
- 429, 502, 503 and 504 say that the endpoint as a whole has too much to do: it is
  left alone at once, at least as long as ``Retry-After`` asks (up to 24 h) and as
  the message itself waits (up to 15 min: one message's long schedule must not
  silence an endpoint that serves others).
- The first 2xx closes. The answer to a request that was under way when the endpoint
  asked for rest ends the failures, but not the rest it asked for.
- The owner is warned after 1 h, 24 h and 96 h of only failures. After five days and
  at least ten attempts the endpoint is disabled.
- Source: Standard Webhooks 1.0, "Deliverability and reliability".
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from webhooks.retry import RETRY_AFTER_CAP

OPEN_AFTER = 5
FIRST_PROBE = timedelta(seconds=30)
MAX_PROBE = timedelta(minutes=15)
#: Too Many Requests, Bad Gateway, Service Unavailable, Gateway Timeout.
OVERLOAD_STATUSES = frozenset({429, 502, 503, 504})
WARN_AFTER = (timedelta(hours=1), timedelta(hours=24), timedelta(hours=96))
DISABLE_AFTER = timedelta(days=5)
DISABLE_AFTER_FAILURES = 10


@dataclass(frozen=True)
class Health:
    """What is known of an endpoint since its last success.

    ``held_back_until`` is when it may be sent to again; ``trips`` counts how often the
    breaker opened, ``warnings`` how many warnings were due.
    """

    consecutive_failures: int = 0
    failing_since: datetime | None = None
    held_back_until: datetime | None = None
    trips: int = 0
    warnings: int = 0

    @property
    def is_tripped(self) -> bool:
        """Whether only probes are sent."""
        return self.consecutive_failures >= OPEN_AFTER

    @property
    def has_been_announced(self) -> bool:
        """Whether somebody may be waiting to hear that it is well again."""
        return self.warnings > 0 or self.trips > 0

    def is_resting(self, now: datetime) -> bool:
        """Whether nothing at all is sent at this instant."""
        return self.held_back_until is not None and self.held_back_until > now

    def must_be_disabled(self, now: datetime) -> bool:
        """Whether it has done nothing but fail for too long."""
        return (
            self.failing_since is not None
            and now - self.failing_since >= DISABLE_AFTER
            and self.consecutive_failures >= DISABLE_AFTER_FAILURES
        )


WELL = Health()


def after_success(health: Health, now: datetime) -> Health:
    """Close the breaker; a rest that the endpoint asked for goes on."""
    if health.is_tripped or not health.is_resting(now):
        return WELL
    return Health(held_back_until=health.held_back_until)


def after_failure(
    health: Health,
    now: datetime,
    *,
    status: int | None,
    retry_after: timedelta | None,
    retry_at: datetime | None,
) -> Health:
    """Count a failure.

    Args:
        health: what was known before.
        now: when it failed.
        status: the answer, if there was one.
        retry_after: what the answer asked for.
        retry_at: when the message itself is tried again; None if never.
    """
    since = health.failing_since or now
    failing = replace(
        health,
        consecutive_failures=health.consecutive_failures + 1,
        failing_since=since,
        warnings=sum(now - since >= limit for limit in WARN_AFTER),
    )
    rests = [health.held_back_until or now]
    # What was under way when the breaker opened makes it stay open no longer.
    if failing.is_tripped and not (health.is_tripped and health.is_resting(now)):
        rests.append(now + min(FIRST_PROBE * 2 ** min(health.trips, 8), MAX_PROBE))
        failing = replace(failing, trips=health.trips + 1)
    if status in OVERLOAD_STATUSES:
        rests.append(now + min(retry_after or timedelta(0), RETRY_AFTER_CAP))
        rests.append(min(retry_at or now, now + MAX_PROBE))
    until = max(rests)
    return replace(failing, held_back_until=until if until > now else None)
