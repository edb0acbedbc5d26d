"""When the next request may be sent, from the last one's and the rate."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from webhooks.queue.fairness import MINUTE, SLACK, next_opening

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_an_endpoint_that_was_idle_waits_an_interval_less_the_slack() -> None:
    assert next_opening(None, 6, NOW) == NOW + 10 * SECOND - SLACK
    long_ago = NOW - 100 * MINUTE
    assert next_opening(long_ago, 6, NOW) == NOW + 10 * SECOND - SLACK


def test_a_look_that_comes_late_within_the_slack_loses_nothing() -> None:
    due = NOW - SECOND / 2

    assert next_opening(due, 6, NOW) == due + 10 * SECOND


@given(
    st.integers(1, 6_000),
    st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_no_minute_has_more_than_the_rate_and_the_slack(
    rate: int, waits: list[float]
) -> None:
    open_from: datetime | None = None
    now, sent = NOW, list[datetime]()
    for wait in waits:
        now += timedelta(seconds=wait)
        while (open_from is None or open_from <= now) and len(sent) < 1_000:
            open_from = next_opening(open_from, rate, now)
            sent.append(now)

    most = rate + rate * (SLACK / MINUTE) + 1
    for first in sent:
        in_this_minute = [at for at in sent if first <= at < first + MINUTE]
        assert len(in_this_minute) <= most
