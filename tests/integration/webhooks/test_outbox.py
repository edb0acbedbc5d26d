"""Enqueuing in the caller's transaction: all of it or none, at a fixed cost."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event

from tests.integration.webhooks.conftest import NOW, World, make_event
from webhooks import formats, outbox
from webhooks.errors import RenderError
from webhooks.events import Event
from webhooks.formats.contract import Format, Options, Rendered
from webhooks.tables import REASON_SUPERSEDED, Subscription


@contextmanager
def counted_statements(engine: Engine) -> Iterator[list[str]]:
    seen: list[str] = []

    def remember(*arguments: object) -> None:
        seen.append(str(arguments[2]))

    event.listen(engine, "before_cursor_execute", remember)
    yield seen
    event.remove(engine, "before_cursor_execute", remember)


def test_every_matching_subscription_gets_one_delivery(world: World) -> None:
    all_of_them, _ = world.subscribe()
    exact, _ = world.subscribe(event_types=["model_version.stage_changed"])
    by_prefix, _ = world.subscribe(event_types=["model_version.*"])
    by_pattern, _ = world.subscribe(subject_pattern="fr*")
    by_target, _ = world.subscribe(targets=["Production", "Staging"])
    world.subscribe(event_types=["registered_model.*"])
    world.subscribe(subject_pattern="churn*")
    world.subscribe(targets=["Archived"])

    row = world.enqueue()

    stored = world.deliveries()
    wanted = {all_of_them, exact, by_prefix, by_pattern, by_target}
    assert {entry.subscription_id for entry in stored} == wanted
    assert row.fanout == len(wanted)
    assert {entry.event_id for entry in stored} == {row.id}


def test_an_event_without_a_target_passes_no_list_of_targets(world: World) -> None:
    world.subscribe(targets=["Production"])

    assert world.enqueue(target=None).fanout == 0


def test_an_event_nobody_wants_is_stored_all_the_same(world: World) -> None:
    row = world.enqueue()

    assert row.fanout == 0
    assert world.deliveries() == []


def test_the_frozen_body_is_the_standard_one(world: World) -> None:
    world.subscribe()

    world.enqueue(data={"model": "fraud", "reason": "größer"})

    (delivery,) = world.deliveries()
    assert json.loads(delivery.body) == {
        "type": "model_version.stage_changed",
        "timestamp": "2026-11-20T12:00:00.000000Z",
        "data": {"model": "fraud", "reason": "größer"},
    }
    assert delivery.content_type == "application/json"
    assert delivery.created_at == NOW


def test_a_rolled_back_change_leaves_neither_event_nor_number(world: World) -> None:
    world.subscribe()

    def change_and_fail() -> None:
        with world.begin() as session:
            outbox.enqueue(session, make_event(), now=NOW)
            raise KeyError

    with pytest.raises(KeyError):
        change_and_fail()
    world.enqueue()

    assert [entry.sequence for entry in world.deliveries()] == [1]


def test_numbers_of_a_key_have_no_gap_and_keys_do_not_share_them(
    world: World,
) -> None:
    world.subscribe()
    for _ in range(3):
        world.enqueue(ordering_key="fraud")
    world.enqueue(ordering_key="churn")

    numbers = [(entry.ordering_key, entry.sequence) for entry in world.deliveries()]

    assert sorted(numbers) == [("churn", 1), ("fraud", 1), ("fraud", 2), ("fraud", 3)]


def test_the_number_of_statements_does_not_grow(world: World) -> None:
    counts = []
    for total in (1, 20):
        while len(world.deliveries()) < total:
            world.subscribe(on_poison="latest_wins")
            world.enqueue()
        with counted_statements(world.engine) as seen:
            world.enqueue()
        counts.append(
            len([line for line in seen if not line.startswith(("BEGIN", "SELECT pg"))])
        )

    assert counts == [6, 6]


def test_a_subscription_that_is_not_active_gets_its_deliveries_held(
    world: World,
) -> None:
    identity, _ = world.subscribe()
    with world.begin() as session:
        session.get_one(Subscription, identity).state = "paused"

    world.enqueue()

    (delivery,) = world.deliveries()
    assert (delivery.state, delivery.reason) == ("held", "paused")
    assert world.claim() == []


def test_latest_wins_supersedes_what_waits_for_the_same_target(world: World) -> None:
    world.subscribe(on_poison="latest_wins")
    world.enqueue(target="Production")
    world.enqueue(target="Staging")
    world.enqueue(target="Production")

    assert world.states() == ["superseded", "pending", "pending"]
    assert world.deliveries()[0].reason == REASON_SUPERSEDED


def test_events_of_one_change_are_numbered_and_superseded_as_if_one_by_one(
    world: World,
) -> None:
    latest, _ = world.subscribe(on_poison="latest_wins")
    every, _ = world.subscribe()
    targets = ("Production", "Staging", "Production")

    for target in targets:
        world.enqueue(ordering_key="by one", target=target)
    with world.begin() as session:
        changes = [
            make_event(ordering_key=key, target=target)
            for target in targets
            for key in ("at once", "beside")
        ]
        outbox.enqueue_all(session, changes, now=NOW)

    numbered: dict[str, list[tuple[str, int, str]]] = {}
    for one in world.deliveries():
        what = (one.subscription_id, one.sequence, str(one.state))
        numbered.setdefault(one.ordering_key, []).append(what)
    expected = sorted(
        [(latest, 1, "superseded"), (latest, 2, "pending"), (latest, 3, "pending")]
        + [(every, number, "pending") for number in (1, 2, 3)]
    )
    for key in ("by one", "at once", "beside"):
        assert sorted(numbered[key]) == expected


def test_latest_wins_leaves_alone_what_is_being_sent(world: World) -> None:
    world.subscribe(on_poison="latest_wins")
    world.enqueue()
    world.claim()

    world.enqueue()

    assert world.states() == ["sending", "pending"]


@pytest.mark.parametrize("error", [RenderError("too large"), KeyError("version")])
def test_a_failing_format_makes_a_blocked_delivery_and_no_error(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def fail(_message_id: str, _event: Event, _options: Options) -> Rendered:
        raise error

    def accept(_options: Options) -> None:
        return None

    world.subscribe()
    failing = Format(check=accept, render=fail)
    monkeypatch.setattr(formats, "FORMATS", {"standard": failing})

    with caplog.at_level(logging.CRITICAL):
        world.enqueue()

    (delivery,) = world.deliveries()
    assert delivery.state == "blocked"
    assert delivery.reason is not None
    assert delivery.reason.startswith("not rendered: ")
