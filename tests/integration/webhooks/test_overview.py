"""What pages ask of receivers and deliveries: bounded, whatever there is."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.integration.webhooks.conftest import DELIVERED, FAILED, NOW, World
from webhooks import endpoints, metrics, preview, record, subscriptions
from webhooks.feed import place
from webhooks.metrics import Day
from webhooks.queue.settle import sweep_expired_leases
from webhooks.record import Page, Wanted
from webhooks.roster.specs import OnPoison
from webhooks.tables import AttemptDay, Delivery, ShownState

TODAY = NOW.date()


def fared(world: World, subscription_id: str, today: date = TODAY) -> list[Day]:
    with world.engine.connect() as cx:
        return list(metrics.read_days(cx, [subscription_id], today)[subscription_id])


def found(world: World, before: str | None = None, **wanted: Any) -> Page:  # noqa: ANN401  # Any of Wanted
    with world.engine.connect() as cx:
        return record.find(cx, Wanted(**wanted), before=before, limit=2)


def ids(world: World, **wanted: Any) -> list[str]:  # noqa: ANN401  # as above
    """All that is found, page by page."""
    page = found(world, **wanted)
    shown = [each.id for each in page.items]
    while page.next_before:
        page = found(world, page.next_before, **wanted)
        shown += [each.id for each in page.items]
    return shown


def newest(world: World, count: int) -> list[str]:
    with world.begin() as session:
        rows = session.scalars(select(Delivery.id).order_by(Delivery.id.desc()))
        return list(rows)[:count]


def test_attempts_are_counted_on_the_day_they_end(world: World) -> None:
    subscription_id, _ = world.subscribe()
    other, _ = world.subscribe("https://example.com/other")
    for number in range(3):
        world.enqueue(ordering_key=f"key-{number}")
    for number, claim in enumerate(world.claim()):
        world.record(claim, DELIVERED if number else FAILED)
    tomorrow = NOW + timedelta(days=1)
    for claim in world.claim(now=tomorrow):
        world.record(claim, now=tomorrow)

    first, second = fared(world, subscription_id), fared(world, other)
    assert [day.day for day in first] == [
        TODAY - timedelta(days=back) for back in reversed(range(metrics.SHOWN_DAYS))
    ]
    assert first[-1].delivered + second[-1].delivered == 5
    assert first[-1].failed + second[-1].failed == 1
    assert first[0] == Day(TODAY - timedelta(days=13))
    last = [
        fared(world, each, tomorrow.date())[-1] for each in (subscription_id, other)
    ]
    assert sum(day.delivered for day in last) == 1


def test_what_nobody_saw_the_end_of_counts_as_failed(world: World) -> None:
    subscription_id, _ = world.subscribe()
    world.enqueue()
    world.claim()

    with world.begin() as session:
        sweep_expired_leases(session, now=NOW + timedelta(hours=1))

    assert fared(world, subscription_id)[-1] == Day(NOW.date(), 0, 1)


def test_old_days_are_removed(world: World) -> None:
    subscription_id, _ = world.subscribe()
    world.enqueue()
    (claim,) = world.claim()
    world.record(claim)

    with world.begin() as session:
        metrics.remove_days(session.connection(), before=NOW.date())
    assert fared(world, subscription_id)[-1].delivered == 1
    with world.begin() as session:
        metrics.remove_days(session.connection(), before=NOW.date() + timedelta(days=1))
        assert session.scalars(select(AttemptDay)).all() == []


def test_deliveries_are_found_by_each_filter_page_by_page(world: World) -> None:
    first, _ = world.subscribe(on_poison=OnPoison.SKIP, schedule_seconds=[0])
    second, _ = world.subscribe("https://example.com/b")
    for number in range(4):
        world.enqueue(
            now=NOW + timedelta(seconds=number),
            type="registered_model.created" if number == 3 else "model_version.updated",
            ordering_key=f"id-{number}",
            subject=f"model-{number}",
            data={"version": number},
        )
    for claim in world.claim(now=NOW + timedelta(seconds=9), limit=8):
        if claim.subscription_id == first:
            failed = "model-0" in str(claim.body) or claim.created_at == NOW
            world.record(claim, FAILED if failed else DELIVERED)
    everything = newest(world, 8)

    assert ids(world) == everything
    of_first = ids(world, subscription_id=first)
    assert len(of_first) == 4
    assert set(of_first) | set(ids(world, subscription_id=second)) == set(everything)
    assert len(ids(world, event_type="registered_model.created")) == 2
    assert ids(world, event_type="registered_model.created") == everything[:2]
    assert ids(world, subject="model-2") == everything[2:4]
    assert ids(world, subject="renamed", ordering_key="id-2") == everything[2:4]
    assert ids(world, since=NOW + timedelta(seconds=2)) == everything[:4]
    assert ids(world, until=NOW + timedelta(seconds=1)) == everything[4:]
    assert len(ids(world, state=ShownState.DEAD)) == 1
    assert len(ids(world, state=ShownState.DEAD, subscription_id=second)) == 0
    assert len(ids(world, state=ShownState.DELIVERED)) == 3
    assert len(ids(world, state=ShownState.SENDING)) == 4


def test_deliveries_of_an_event_are_found_with_what_it_is_about(world: World) -> None:
    world.subscribe()
    world.subscribe("https://example.com/b")
    world.enqueue()
    world.enqueue()

    first, second = found(world).items  # which of the four is by chance

    assert (first.subject, first.version, first.target) == ("fraud", "7", "Production")
    of_first = ids(world, event_ids=[first.event_id])
    assert len(of_first) == 2
    assert first.id in of_first
    assert (second.id in of_first) is (second.event_id == first.event_id)
    assert set(of_first) < set(ids(world))
    assert ids(world, event_ids=[]) == []


@pytest.mark.parametrize("state", [None, ShownState.HELD])
def test_a_look_for_something_rare_ends_and_says_how_far_it_went(
    world: World, state: ShownState | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "LOOKED_AT", 3)
    subscription_id, _ = world.subscribe()
    with world.begin() as session:
        subscriptions.pause(session, subscription_id, now=NOW)
    for number in range(8):
        subject = "rare" if number == 1 else "usual"
        at = NOW + timedelta(seconds=number)
        world.enqueue(now=at, ordering_key=f"id-{number}", subject=subject)

    page = found(world, subject="rare", state=state)

    assert page.items == []
    assert page.looked_back_to == NOW + timedelta(seconds=4)
    assert len(ids(world, subject="rare", state=state)) == 1
    # What is older than is asked for is not looked at.
    recent = found(world, subject="rare", state=state, since=NOW + timedelta(seconds=6))
    assert recent == Page([])


def test_blocked_deliveries_are_found_however_many_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "LOOKED_AT", 1)
    subscription_id, _ = world.subscribe(schedule_seconds=[0])
    for number in range(5):
        world.enqueue(now=NOW + timedelta(seconds=number))
    (claim,) = world.claim(now=NOW + timedelta(minutes=1))
    world.record(claim, FAILED)

    assert len(ids(world, state=ShownState.BLOCKED)) == 1
    with world.engine.connect() as cx:
        assert endpoints.blocked(cx, subscription_id) == 1
        assert endpoints.blocked(cx, "nobody") == 0


def test_receivers_in_trouble_come_first(world: World) -> None:
    well, _ = world.subscribe("https://example.com/well", description="well")
    blocked, _ = world.subscribe("https://example.com/bad", schedule_seconds=[0])
    paused, _ = world.subscribe("https://example.com/paused")
    deleted, _ = world.subscribe("https://example.com/deleted")
    with world.begin() as session:
        subscriptions.pause(session, paused, now=NOW)
        subscriptions.delete(session, deleted, now=NOW)
    world.enqueue()
    for claim in world.claim():
        world.record(claim, FAILED if claim.subscription_id == blocked else DELIVERED)

    with world.engine.connect() as cx:
        rows = endpoints.list_endpoints(cx, after=None, limit=10)
        behind = endpoints.list_endpoints(cx, after=rows[0][:2], limit=1)
        names = endpoints.list_names(cx)
        waiting = endpoints.waiting(cx, [well, blocked, paused])
        backlog = endpoints.backlog(cx, paused, most=5)

    assert [row.id for row in rows] == [blocked, paused, well]
    assert [row.blocked for row in rows] == [1, 0, 0]
    assert [row.id for row in behind] == [paused]
    assert ("well", "https://example.com/well") in [tuple(row[1:]) for row in names]
    assert len(names) == 3
    assert waiting == {well: 0, blocked: 1, paused: 1}
    assert backlog == [("fraud", 1)]


def test_the_last_event_of_a_type_is_found_among_the_last_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "LOOKED_AT", 2)
    for number, name in enumerate(("a.old", "a.b", "a.b", "c.d")):
        world.enqueue(
            type=name, data={"n": number}, occurred_at=NOW + timedelta(seconds=number)
        )
    with world.begin() as session:
        place(session)

    with world.engine.connect() as cx:
        last = preview.last_event(cx, "a.b", is_opt_in=False)
        old = preview.last_event(cx, "a.old", is_opt_in=False)

    assert last is not None
    assert (last.data, last.subject, last.target) == ({"n": 2}, "fraud", "Production")
    assert old is None
