"""When to try again, a message and a receiver: pure functions of what failed and when.

A message:

- Eighteen attempts over 171 h 52 min 35 s (7.16 days), measured without jitter.
- Each delay is scaled by 0.8 to 1.2, so that receivers do not get every retry
  at once; the random number comes in as an argument.
- A subscription may have a schedule of its own: up to 50 delays, 30 days in all.
- ``Retry-After`` is a floor under the delay, capped at 24 hours, and is never
  waited for by a thread: it only moves the row's next attempt.

A receiver, by its health:

- Five failures in a row open the breaker. It lets one delivery through as a probe
  after 30 s, and after each failed probe twice as late, up to 15 min.
- 429, 502, 503 and 504 say that the receiver as a whole has too much to do: it is
  left alone at once, at least as long as ``Retry-After`` asks (up to 24 h) and as
  the message itself waits (up to 15 min: one message's long schedule must not
  silence a receiver that serves others).
- The first 2xx closes. The answer to a request that was under way when the receiver
  asked for rest ends the failures, but not the rest it asked for.
- The owner is warned after 1 h, 24 h and 96 h of only failures. After five days and
  at least ten attempts the subscription is disabled.

Source: Standard Webhooks 1.0, "Deliverability and reliability"; RFC 9110 §10.2.3.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

RETRY_AFTER_CAP = timedelta(hours=24)
JITTER_SHARE = 0.2

_HOUR_SECONDS = 3600
# The delay before attempt number 1, 2, 3 … in seconds.
SCHEDULE_SECONDS = (
    *(0, 5, 30, 120, 300, 900, 1800),
    *(hours * _HOUR_SECONDS for hours in (1, 2, 4, 8, 12, 24, 24, 24, 24, 24, 24)),
)
MAX_ATTEMPTS = len(SCHEDULE_SECONDS)
MAX_SCHEDULE_LENGTH = 50
MAX_SCHEDULE = timedelta(days=30)

# More digits than this is past the cap whatever they are.
_SECONDS = re.compile(r"[0-9]{1,12}")


OPEN_AFTER = 5
FIRST_PROBE = timedelta(seconds=30)
MAX_PROBE = timedelta(minutes=15)
#: Too Many Requests, Bad Gateway, Service Unavailable, Gateway Timeout.
OVERLOAD_STATUSES = frozenset({429, 502, 503, 504})
WARN_AFTER = (timedelta(hours=1), timedelta(hours=24), timedelta(hours=96))
DISABLE_AFTER = timedelta(days=5)
DISABLE_AFTER_FAILURES = 10


def check_schedule(schedule: Sequence[int]) -> None:
    """Judge the delays in seconds before each attempt, the first one included.

    Raises:
        ValueError: there is none, there are too many, one is negative, or they
            take too long in all.
    """
    if not 0 < len(schedule) <= MAX_SCHEDULE_LENGTH:
        raise ValueError(f"must have 1 to {MAX_SCHEDULE_LENGTH} delays")
    if min(schedule) < 0:
        raise ValueError("no delay may be negative")
    if sum(schedule) > MAX_SCHEDULE.total_seconds():
        raise ValueError(f"must take at most {MAX_SCHEDULE.days} days in all")


def is_last(attempt: int, schedule: Sequence[int] | None = None) -> bool:
    """Whether attempt number ``attempt`` uses the schedule up."""
    return attempt >= len(schedule or SCHEDULE_SECONDS)


def next_attempt_at(
    attempt: int,
    now: datetime,
    jitter: float,
    retry_after: timedelta | None = None,
    *,
    schedule: Sequence[int] | None = None,
) -> datetime | None:
    """Return when to try again after attempt number ``attempt`` failed.

    Args:
        attempt: the number of the attempt that failed, from 1.
        now: when it failed.
        jitter: a random number from 0 to 1; 0.5 is the schedule itself.
        retry_after: what the receiver asked for, a floor under the delay.
        schedule: the seconds before each attempt; None is the default one.

    Returns:
        None when the schedule is used up.
    """
    if is_last(attempt, schedule):
        return None
    scale = 1 - JITTER_SHARE + 2 * JITTER_SHARE * jitter
    delay = timedelta(seconds=(schedule or SCHEDULE_SECONDS)[attempt] * scale)
    receiver_delay = min(retry_after or timedelta(0), RETRY_AFTER_CAP)
    return now + max(delay, receiver_delay)


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read a ``Retry-After`` header: seconds or an HTTP date.

    Returns:
        A delay of 0 to 24 hours, or None where the header says nothing usable.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        seconds = min(int(text), int(RETRY_AFTER_CAP.total_seconds()))
        return timedelta(seconds=seconds)
    try:
        instant = parsedate_to_datetime(text)
    except ValueError:
        return None
    # RFC 9110 §5.6.7: an HTTP date is in UTC; "-0000" parses as naive.
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return min(max(instant - now, timedelta(0)), RETRY_AFTER_CAP)


@dataclass(frozen=True)
class Health:
    """What is known of a receiver since its last success.

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
    """Close the breaker; a rest that the receiver asked for goes on."""
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
