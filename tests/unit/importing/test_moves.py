"""Which stage changes are planned, case by case."""

import pytest

from registry.importing.moves import MovePlan, Obstacle, Route, plan_moves, shortest_way
from registry.importing.states import Rules, TargetVersion
from tests.unit.importing.world import OPEN, STRICT, target_version

SHADOWED = Rules(
    transitions={
        "None": ("Shadow", "Staging"),
        "Shadow": ("Staging",),
        "Staging": ("Production",),
        "Production": ("Archived",),
        "Archived": (),
    },
    exclusive={"Production": "Archived"},
)


def planned(
    wanted: dict[int, str], *here: TargetVersion, rules: Rules = STRICT
) -> MovePlan:
    return plan_moves(wanted, {one.number: one for one in here}, rules)


def test_production_is_reached_over_staging() -> None:
    plan = planned({1: "Production"}, target_version(1))

    assert plan == MovePlan((Route(1, ("Staging", "Production")),))


def test_the_open_policy_needs_one_move() -> None:
    plan = planned({1: "Production"}, target_version(1), rules=OPEN)

    assert plan.routes == (Route(1, ("Production",)),)


def test_archived_is_reached_past_production_even_where_that_is_empty() -> None:
    plan = planned({1: "Archived"}, target_version(1))

    assert plan.routes == (Route(1, ("Staging", "Archived")),)


def test_production_is_passed_only_where_there_is_no_other_way() -> None:
    plan = planned({1: "Archived"}, target_version(1), rules=SHADOWED)

    assert plan.routes == (Route(1, ("Staging", "Production", "Archived")),)


def test_nobody_is_moved_aside_by_who_only_passes() -> None:
    plan = planned(
        {1: "Production", 2: "Archived"},
        target_version(1, "Production"),
        target_version(2),
        rules=SHADOWED,
    )

    assert plan.routes == ()
    assert plan.obstacles == (
        Obstacle(2, "the policy has no way from None to Archived"),
    )


def test_the_highest_number_enters_production_last_and_stays() -> None:
    plan = planned(
        {1: "Archived", 2: "Production", 3: "Production", 4: "Staging"},
        *(target_version(number) for number in (1, 2, 3, 4)),
    )

    assert [route.number for route in plan.routes] == [1, 4, 2, 3]
    assert plan.routes[2:] == (
        Route(2, ("Staging", "Production")),
        Route(3, ("Staging", "Production")),
    )
    assert plan.ceding == {2: "Production"}


def test_who_came_too_late_is_archived_past_the_one_that_stays() -> None:
    plan = planned(
        {2: "Production", 3: "Production"},
        target_version(2),
        target_version(3, "Production"),
    )

    assert plan.routes == (Route(2, ("Staging", "Archived")),)


def test_an_incumbent_is_superseded_and_not_archived_beforehand() -> None:
    """Nothing would serve in between."""
    plan = planned(
        {1: "Archived", 2: "Production"},
        target_version(1, "Production"),
        target_version(2, "Staging"),
    )

    assert plan.routes == (Route(2, ("Production",)),)


def test_an_incumbent_stays_when_its_successor_cannot_come() -> None:
    plan = planned(
        {1: "Production", 2: "Archived"},
        target_version(1, "Archived"),
        target_version(2, "Production"),
    )

    assert plan.routes == ()
    assert plan.obstacles == (
        Obstacle(1, "the policy has no way from Archived to Production"),
        Obstacle(2, "stays in Production, as version 1 cannot enter"),
    )


def test_an_incumbent_that_is_archived_at_the_source_is_archived() -> None:
    plan = planned({1: "Archived"}, target_version(1, "Production"))

    assert plan.routes == (Route(1, ("Archived",)),)


def test_what_was_moved_here_is_left_where_it_is() -> None:
    plan = planned({1: "Production"}, target_version(1, "Archived", is_ours=False))

    assert plan.routes == ()
    assert plan.obstacles == (
        Obstacle(
            1,
            "was moved to Archived here, and is in Production there",
            is_conflict=True,
        ),
    )


def test_what_was_moved_here_to_where_it_is_at_the_source_is_fine() -> None:
    plan = planned({1: "Staging"}, target_version(1, "Staging", is_ours=False))

    assert plan == MovePlan()


def test_nobody_takes_the_place_of_what_was_put_into_production_here() -> None:
    plan = planned(
        {1: "Archived", 2: "Production"},
        target_version(1, "Production", is_ours=False),
        target_version(2),
    )

    assert plan.routes == ()
    assert Obstacle(2, "version 1 was put into Production here", is_conflict=True) in (
        plan.obstacles
    )


def test_who_has_waited_for_another_to_leave_goes_in_the_same_plan() -> None:
    one_by_one = Rules(
        transitions={"None": ("Staging",), "Staging": ("Production", "None")},
        exclusive={"Staging": "None", "Production": "None"},
    )

    plan = planned(
        {1: "None", 2: "Production"},
        target_version(1, "Staging"),
        target_version(2),
        rules=one_by_one,
    )

    assert plan.routes == (Route(1, ("None",)), Route(2, ("Staging", "Production")))
    assert plan.obstacles == ()


def test_a_stage_that_the_policy_does_not_know_is_told() -> None:
    plan = planned({1: "Blessed"}, target_version(1))

    assert plan.obstacles == (
        Obstacle(1, "the policy has no way from None to Blessed"),
    )


@pytest.mark.parametrize(
    ("start", "end", "avoid", "way"),
    [
        ("None", "Production", (), ("Staging", "Production")),
        ("None", "None", (), ()),
        ("None", "Production", ("Staging",), None),
        ("None", "Staging", ("Staging",), ("Staging",)),
        ("Archived", "None", (), None),
    ],
)
def test_the_shortest_way_ends_where_it_should_and_avoids_what_it_must(
    start: str, end: str, avoid: tuple[str, ...], way: tuple[str, ...] | None
) -> None:
    assert shortest_way(STRICT, start, end, avoid=avoid) == way
