"""A metric over versions, as it is drawn."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.persistence.boards import Point
from registry.ui.plot import HEIGHT, WIDTH, Plot, drawn, plot, shape

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def of(*values: float) -> Plot:
    points = [Point(number, "None", value) for number, value in enumerate(values, 1)]
    picture = plot(points)
    assert picture is not None
    return picture


def test_versions_go_to_the_right_and_greater_values_up() -> None:
    first, second, third = of(0.8, 0.95, 0.9).marks

    assert first.x < second.x < third.x
    assert second.y < third.y < first.y


def test_versions_that_are_gone_leave_a_gap() -> None:
    picture = plot([Point(1, "None", 1), Point(2, "None", 2), Point(10, "None", 3)])

    assert picture is not None
    first, second, third = picture.marks
    assert third.x - second.x == pytest.approx(8 * (second.x - first.x), abs=1)


def test_axes_have_round_numbers() -> None:
    picture = of(0.8, 0.83, 0.97)

    assert [round(tick.value, 9) for tick in picture.up] == [0.8, 0.85, 0.9, 0.95]
    assert [tick.value for tick in picture.along] == [1, 2, 3]


def test_one_value_stands_in_the_middle() -> None:
    picture = of(0.5)

    (mark,) = picture.marks
    assert picture.left < mark.x < picture.right
    assert picture.top < mark.y < picture.bottom
    assert [tick.value for tick in picture.up] == [0.5]


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_any_numbers_make_a_finite_picture(values: list[float]) -> None:
    picture = of(*values)

    for mark in picture.marks:
        assert picture.left <= mark.x <= picture.right < WIDTH
        assert picture.top - 1e-6 <= mark.y <= picture.bottom + 1e-6 < HEIGHT
    assert 0 < len(picture.up) <= 7
    assert all(math.isfinite(tick.place) for tick in picture.up)


def test_stages_differ_by_shape() -> None:
    stages = ("None", "Staging", "Production", "Archived", "Canary")

    assert len({shape(stage) for stage in stages}) == len(stages)


def test_nothing_is_drawn_of_nothing() -> None:
    assert plot([]) is None


def test_stage_and_address_are_quoted_where_marks_are_drawn() -> None:
    points = [Point(number=1, stage='"><b>', value=0.5)]
    picture = plot(points)
    assert picture is not None

    markup = drawn(picture, '/models/a"b/versions/')

    assert '"><b>' not in markup
    assert "&#34;&gt;&lt;b&gt;" in markup
    assert 'href="/models/a&#34;b/versions/1"' in markup
