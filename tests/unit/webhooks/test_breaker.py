"""The breaker's decisions, without a database."""

from datetime import UTC, datetime, timedelta

import pytest

from webhooks.queue.schedule import (
    FIRST_PROBE,
    MAX_PROBE,
    OPEN_AFTER,
    WELL,
    Health,
    after_failure,
    after_success,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def fail(
    health: Health,
    now: datetime = NOW,
    *,
    status: int | None = 500,
    retry_after: timedelta | None = None,
    retry_at: datetime | None = NOW,
) -> Health:
    return after_failure(
        health, now, status=status, retry_after=retry_after, retry_at=retry_at
    )


def tripped() -> Health:
    health = WELL
    for _ in range(OPEN_AFTER):
        health = fail(health)
    return health


def test_four_failures_leave_the_breaker_closed_and_the_fifth_opens_it() -> None:
    health = WELL
    for _ in range(OPEN_AFTER - 1):
        health = fail(health)

    assert (health.is_tripped, health.held_back_until) == (False, None)
    opened = fail(health)
    assert opened.is_tripped
    assert opened.held_back_until == NOW + FIRST_PROBE


def test_each_failed_probe_doubles_the_wait_up_to_a_quarter_of_an_hour() -> None:
    health = tripped()
    waits = []
    for _ in range(12):
        assert health.held_back_until is not None
        now = health.held_back_until
        health = fail(health, now)
        assert health.held_back_until is not None
        waits.append((health.held_back_until - now).total_seconds())

    assert waits == [60, 120, 240, 480] + [MAX_PROBE.total_seconds()] * 8


def test_what_was_under_way_when_it_opened_does_not_open_it_further() -> None:
    opened = tripped()

    again = fail(opened, NOW + SECOND)

    assert again.consecutive_failures == OPEN_AFTER + 1
    assert (again.held_back_until, again.trips) == (
        opened.held_back_until,
        opened.trips,
    )


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_endpoint_rests_as_long_as_the_message_waits(
    status: int,
) -> None:
    health = fail(WELL, status=status, retry_at=NOW + 5 * SECOND)

    assert health.held_back_until == NOW + 5 * SECOND
    assert not health.is_tripped


@pytest.mark.parametrize("status", [None, 400, 401, 404, 500, 501, 599, 999])
def test_other_failures_give_no_rest_before_the_fifth(status: int | None) -> None:
    assert fail(WELL, status=status, retry_after=HOUR).held_back_until is None


def test_one_old_message_does_not_silence_its_endpoint_for_a_day() -> None:
    health = fail(WELL, status=503, retry_at=NOW + 24 * HOUR)

    assert health.held_back_until == NOW + MAX_PROBE


def test_a_used_up_message_gives_no_rest_of_its_own() -> None:
    assert fail(WELL, status=503, retry_at=None).held_back_until is None


@pytest.mark.parametrize(("asked_hours", "given_hours"), [(3, 3), (24, 24), (900, 24)])
def test_retry_after_is_honoured_up_to_a_day(
    asked_hours: int, given_hours: int
) -> None:
    health = fail(WELL, status=429, retry_after=asked_hours * HOUR)

    assert health.held_back_until == NOW + given_hours * HOUR


def test_a_rest_that_was_asked_for_outlasts_the_breaker() -> None:
    health = fail(WELL, status=429, retry_after=HOUR)
    for _ in range(OPEN_AFTER):
        health = fail(health)

    assert health.is_tripped
    assert health.held_back_until == NOW + HOUR


def test_the_first_success_forgets_everything() -> None:
    assert after_success(tripped(), NOW + SECOND) == WELL
    assert after_success(fail(WELL), NOW) == WELL


def test_a_success_of_before_does_not_end_a_rest_that_was_asked_for() -> None:
    resting = fail(WELL, status=429, retry_after=HOUR)

    assert after_success(resting, NOW + SECOND) == Health(held_back_until=NOW + HOUR)
    assert after_success(resting, NOW + HOUR) == WELL


@pytest.mark.parametrize(
    ("hours", "warnings"), [(0, 0), (0.9, 0), (1, 1), (23, 1), (24, 2), (96, 3)]
)
def test_warnings_are_due_after_1_24_and_96_hours(hours: float, warnings: int) -> None:
    health = fail(fail(WELL), NOW + hours * HOUR)

    assert health.warnings == warnings
    assert health.has_been_announced == (warnings > 0)


@pytest.mark.parametrize(
    ("hours", "failures", "must"),
    [(120, 10, True), (119, 10, False), (120, 9, False), (900, 1000, True)],
)
def test_five_days_of_only_failures_and_ten_attempts_disable(
    hours: int, failures: int, *, must: bool
) -> None:
    health = Health(consecutive_failures=failures, failing_since=NOW)

    assert health.must_be_disabled(NOW + hours * HOUR) == must
    assert not WELL.must_be_disabled(NOW)
