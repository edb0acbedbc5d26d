"""The picture of a receiver's days, as geometry."""

from datetime import date, timedelta

from registry.ui.day_charts import day_chart
from webhooks.metrics import Day

FIRST = date(2026, 11, 15)


def days(*counts: tuple[int, int]) -> list[Day]:
    return [Day(FIRST + timedelta(days=n), *each) for n, each in enumerate(counts)]


def test_the_fullest_day_is_as_high_as_there_is_room() -> None:
    chart = day_chart(days((10, 0), (0, 0), (15, 5)), width=30, height=40)

    full, empty, fullest = chart.bars
    assert (full.x, full.delivered_y, full.delivered_height) == (0, 20, 20)
    assert (empty.delivered_height, empty.failed_height) == (0, 0)
    assert (fullest.delivered_height, fullest.failed_height) == (30, 10)
    assert (fullest.failed_y, fullest.delivered_y) == (0, 10)


def test_one_failure_among_very_many_is_seen_and_nothing_stands_out_above() -> None:
    (bar,) = day_chart(days((100_000, 1)), width=10, height=28).bars

    assert bar.failed_height == 2
    assert bar.failed_y == 0
    assert bar.delivered_height == 26


def test_it_says_what_it_shows() -> None:
    chart = day_chart(days((197, 3), (0, 0)), width=30, height=40)

    assert chart.text == "3 of 200 attempts failed in 2 days"
    assert chart.rate == "1.5 %"
    assert chart.bars[0].text == "15 November: 197 delivered, 3 failed"
    assert day_chart(days((0, 0)), width=9, height=9).rate == ""
    assert day_chart(days((0, 2)), width=9, height=9).rate == "100 %"
    assert day_chart(days((0, 0)), width=9, height=9).text == "no attempts in 1 days"
