"""Who held which stage when, as it is drawn."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from registry.domain.rows import StageChangeRow
from registry.ui.timeline import WIDTH, Bar, Tenure, Timeline, draw, tenures

DAY_0 = datetime(2026, 11, 1, 12, tzinfo=UTC)
STAGES = ("Production", "Staging")


def moved(
    number: int, to_stage: str, *, day: float, by: str = "ann", sequence: int = 0
) -> StageChangeRow:
    return StageChangeRow(
        model_id="m",
        version_id=f"v{number}",
        number=number,
        sequence=sequence or int(day * 100) + number,
        transition_id=f"t{day}",
        from_stage="None",
        to_stage=to_stage,
        cause="promotion",
        reason="",
        actor_kind="token",
        actor_name=by,
        at=DAY_0 + timedelta(days=day),
        verified=True,
    )


def found(
    *changes: StageChangeRow, **of_before: Sequence[StageChangeRow]
) -> list[Tenure]:
    standing = of_before.get("standing", ())
    return tenures(changes, standing=standing, deletions={}, stages=STAGES)


def drawn(*changes: StageChangeRow, **of_before: Sequence[StageChangeRow]) -> Timeline:
    picture = draw(found(*changes, **of_before), STAGES)
    assert picture is not None
    return picture


def bar_of(picture: Timeline, number: int, stage: str = "Production") -> Bar:
    (bar,) = (
        bar
        for bar in picture.bars
        if (bar.tenure.number, bar.tenure.stage) == (number, stage)
    )
    return bar


def test_a_version_holds_a_stage_from_its_change_to_its_next() -> None:
    held = found(
        moved(1, "Staging", day=0),
        moved(1, "Production", day=2),
        moved(1, "Archived", day=5),
    )

    spans = [(each.stage, each.entered.at, each.ended_at) for each in held]
    days = [DAY_0 + timedelta(days=day) for day in (0, 2, 5)]
    assert spans == [("Staging", days[0], days[1]), ("Production", days[1], days[2])]


def test_what_still_stands_reaches_to_the_right_edge() -> None:
    bar = bar_of(drawn(moved(1, "Staging", day=0), moved(1, "Production", day=1)), 1)

    assert bar.tenure.ended_at is None
    assert bar.x + bar.width == WIDTH


def test_what_stood_before_begins_at_the_left_edge() -> None:
    before = moved(1, "Production", day=-9)
    picture = drawn(
        moved(1, "Archived", day=1),
        moved(2, "Production", day=1),
        standing=[before],
    )

    old, new = bar_of(picture, 1), bar_of(picture, 2)
    assert old.x == picture.left < new.x
    assert old.x + old.width == new.x
    assert old.y == new.y, "the one takes the place of the other"


def test_a_deleted_version_stands_no_longer() -> None:
    gone_at = DAY_0 + timedelta(days=3)

    (tenure,) = tenures(
        [moved(1, "Production", day=0)],
        standing=(),
        deletions={1: gone_at},
        stages=STAGES,
    )

    assert tenure.ended_at == gone_at


def test_versions_that_share_a_stage_do_not_cover_each_other() -> None:
    picture = drawn(*(moved(number, "Staging", day=number) for number in (1, 2, 3)))

    (lane,) = picture.lanes
    assert len({bar.y for bar in picture.bars}) == 3
    assert all(
        lane.y <= bar.y and bar.y + bar.height <= lane.y + lane.height
        for bar in picture.bars
    )


def test_those_that_find_no_row_are_counted() -> None:
    picture = drawn(*(moved(number, "Staging", day=number) for number in range(1, 11)))

    (lane,) = picture.lanes
    assert len(picture.bars) + lane.hidden == 10
    assert lane.hidden > 0


def test_a_busy_hour_can_be_told_apart_beside_a_quiet_month() -> None:
    picture = drawn(
        moved(1, "Production", day=0),
        moved(1, "Archived", day=30),
        moved(2, "Production", day=30.001),
        moved(2, "Archived", day=30.002),
        moved(3, "Production", day=30.002),
    )

    places = [tick.x for tick in picture.ticks]
    assert all(later - earlier > 15 for earlier, later in itertools.pairwise(places))
    assert bar_of(picture, 1).width > 10 * bar_of(picture, 2).width


def test_all_is_within_the_picture() -> None:
    picture = drawn(
        *(moved(number, "Production", day=number) for number in range(1, 200)),
    )

    assert all(
        picture.left <= bar.x < bar.x + bar.width <= WIDTH for bar in picture.bars
    )
    assert all(
        bar.y > 0 and bar.y + bar.height <= picture.bottom for bar in picture.bars
    )
    assert picture.bottom < picture.height


def test_texts_stand_where_there_is_room_for_them() -> None:
    picture = drawn(
        moved(1, "Production", day=0, by="a-very-long-name-of-some-pipeline"),
        moved(1, "Archived", day=0.01),
        moved(2, "Production", day=20, by="bob"),
    )

    assert bar_of(picture, 1).text in {"1", ""}
    assert bar_of(picture, 2).text == "2 · bob"
    texts = [tick for tick in picture.ticks if tick.text]
    assert all(later.x - earlier.x > 80 for earlier, later in itertools.pairwise(texts))


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw([], STAGES) is None
    assert draw(found(standing=[moved(1, "Production", day=0)]), STAGES) is None
