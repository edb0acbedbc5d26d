"""Creating, changing, pausing, deleting subscriptions; secrets at rest."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from tests.integration.webhooks.conftest import (
    DELIVERED,
    FAILED,
    NOW,
    World,
    make_event,
)
from webhooks import outbox, subscriptions
from webhooks.errors import InvalidSubscriptionError, UnknownSubscriptionError
from webhooks.sending.guard import AddressGuard
from webhooks.tables import Subscription, SubscriptionSecret

LATER = NOW + timedelta(hours=1)


def pause(world: World, identity: str) -> None:
    with world.begin() as session:
        subscriptions.pause(session, identity, now=NOW)


def resume(world: World, identity: str) -> None:
    with world.begin() as session:
        subscriptions.resume(session, identity, now=LATER)


def delete(world: World, identity: str) -> None:
    with world.begin() as session:
        subscriptions.delete(session, identity, now=NOW)


def rotate(world: World, identity: str, overlap: timedelta) -> str:
    with world.begin() as session:
        secret, _ = subscriptions.rotate_secret(
            session, world.box, identity, now=NOW, overlap=overlap
        )
    return secret


def live_secrets(world: World) -> list[str]:
    """Give what would sign the next delivery, newest first."""
    world.enqueue()
    (claim,) = world.claim()
    world.record(claim, DELIVERED)
    return [world.box.open(sealed) for sealed in claim.sealed_secrets]


def test_a_new_subscription_is_active_and_shows_its_secret_once(world: World) -> None:
    identity, secret = world.subscribe(description="deploys")

    with world.begin() as session:
        row = subscriptions.get(session, identity)
        stored = session.scalars(select(SubscriptionSecret)).one()
        everything = session.execute(text("SELECT * FROM webhook_subscription_secrets"))
        dump = repr(everything.all())

    assert (row.state, row.description, row.created_by) == (
        "active",
        "deploys",
        "alice",
    )
    assert row.event_types == ["*"]
    assert row.is_open
    assert secret.startswith("whsec_")
    assert world.box.open(stored.sealed) == secret
    assert secret.removeprefix("whsec_") not in dump


def test_a_bad_field_stores_nothing(world: World) -> None:
    with pytest.raises(InvalidSubscriptionError):
        world.subscribe(format="smoke-signals")

    with world.begin() as session:
        assert not list(subscriptions.list_page(session, limit=10))


def test_fields_are_changed_by_name_and_checked_again(world: World) -> None:
    identity, _ = world.subscribe(targets=["Production"])

    with world.begin() as session:
        subscriptions.update_fields(
            session,
            world.guard,
            identity,
            {"targets": None, "url": "https://example.org/hook"},
            box=world.box,
            now=LATER,
        )
    with world.begin() as session:
        row = subscriptions.get(session, identity)

    assert (row.targets, row.url) == (None, "https://example.org/hook")
    assert (row.created_at, row.updated_at) == (NOW, LATER)


@pytest.mark.parametrize("changes", [{"url": "http://example.org/"}, {"colour": "red"}])
def test_a_change_that_breaks_a_rule_changes_nothing(
    world: World, changes: dict[str, str]
) -> None:
    identity, _ = world.subscribe()
    strict = AddressGuard()

    with world.begin() as session, pytest.raises(InvalidSubscriptionError) as refusal:
        subscriptions.update_fields(
            session, strict, identity, changes, box=world.box, now=LATER
        )

    assert refusal.value.field in changes
    with world.begin() as session:
        assert subscriptions.get(session, identity).updated_at == NOW


def test_lists_are_paged_by_id_without_the_deleted(world: World) -> None:
    identities = sorted(world.subscribe()[0] for _ in range(4))
    delete(world, identities[2])

    with world.begin() as session:
        first = list(subscriptions.list_page(session, limit=2))
        second = subscriptions.list_page(session, limit=2, after=first[-1].id)

    assert [row.id for row in first] == identities[:2]
    assert [row.id for row in second] == identities[3:]


def test_pausing_holds_and_resuming_releases_in_order(world: World) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    pause(world, identity)
    world.enqueue()
    assert world.states() == ["held", "held"]

    resume(world, identity)

    assert world.states() == ["pending", "pending"]
    (claim,) = world.claim(now=LATER)
    assert claim.delivery_id == world.deliveries()[0].id


def test_what_is_being_sent_at_the_pause_is_held_when_it_fails(world: World) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    (claim,) = world.claim()
    pause(world, identity)
    assert world.states() == ["sending"]

    world.record(claim, FAILED)

    assert world.states() == ["held"]


@pytest.mark.parametrize(("change", "expected"), [(pause, "held"), (resume, "pending")])
def test_an_event_in_the_same_instant_as_a_pause_or_resume_is_not_forgotten(
    world: World, change: Callable[[World, str], None], expected: str
) -> None:
    identity, _ = world.subscribe()
    if change is resume:
        pause(world, identity)
    changing = threading.Thread(target=change, args=(world, identity))

    with world.begin() as session:
        outbox.enqueue(session, make_event(), now=NOW)
        changing.start()
        changing.join(0.2)
    changing.join()

    assert world.states() == [expected]
    assert len(world.claim()) == (change is resume)


def test_resuming_gives_a_fresh_budget_of_attempts(world: World) -> None:
    identity, _ = world.subscribe()
    world.enqueue()
    (claim,) = world.claim()
    world.record(claim, FAILED)
    pause(world, identity)

    resume(world, identity)

    (delivery,) = world.deliveries()
    assert (delivery.attempt_count, delivery.attempts_forgiven) == (1, 1)
    with world.begin() as session:
        assert subscriptions.get(session, identity).consecutive_failures == 0


def test_deleting_ends_what_waits_and_keeps_the_record(world: World) -> None:
    identity, _ = world.subscribe()
    world.enqueue()

    delete(world, identity)

    (delivery,) = world.deliveries()
    assert (delivery.state, delivery.reason) == ("dead", subscriptions.REASON_DELETED)
    with world.begin() as session:
        assert session.scalars(select(SubscriptionSecret)).all() == []
        assert session.get_one(Subscription, identity).deleted_at == NOW
    assert world.enqueue().fanout == 0


def test_deleting_ends_much_in_parts_and_sends_none_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "BURIED_AT_ONCE", 2)
    kept, _ = world.subscribe()
    for identity in (world.subscribe()[0], world.subscribe()[0]):
        for _ in range(5):
            world.enqueue()
        delete(world, identity)

    (claim,) = world.claim()
    with world.begin() as session:
        assert subscriptions.has_unburied(session)
        buried = [subscriptions.bury(session, now=LATER) for _ in range(6)]

    assert claim.subscription_id == kept
    assert buried == [2, 2, 2, 2, 2, 1]
    ended = [each for each in world.deliveries() if each.subscription_id != kept]
    assert {(each.state, each.reason) for each in ended} == {
        ("dead", subscriptions.REASON_DELETED)
    }
    with world.begin() as session:
        assert not subscriptions.has_unburied(session)


def test_a_deleted_subscription_is_unknown(world: World) -> None:
    identity, _ = world.subscribe()
    delete(world, identity)

    with world.begin() as session, pytest.raises(UnknownSubscriptionError):
        subscriptions.get(session, identity)
    with world.begin() as session, pytest.raises(UnknownSubscriptionError):
        subscriptions.delete(session, identity, now=NOW)
    with world.begin() as session, pytest.raises(UnknownSubscriptionError):
        subscriptions.get(session, "sub_never")


def test_old_and_new_secret_sign_together_until_the_overlap_ends(
    world: World,
) -> None:
    identity, old = world.subscribe()

    new = rotate(world, identity, timedelta(hours=1))

    assert live_secrets(world) == [new, old]
    world.enqueue()
    (claim,) = world.claim(now=LATER)
    assert [world.box.open(sealed) for sealed in claim.sealed_secrets] == [new]


def test_an_overlap_of_zero_revokes_the_old_secret_now(world: World) -> None:
    identity, _ = world.subscribe()

    new = rotate(world, identity, timedelta(0))

    assert live_secrets(world) == [new]


def test_rotating_again_does_not_lengthen_an_older_overlap(world: World) -> None:
    identity, old = world.subscribe()
    rotate(world, identity, timedelta(minutes=1))
    rotate(world, identity, timedelta(hours=9))

    world.enqueue()
    (claim,) = world.claim(now=LATER)

    assert old not in [world.box.open(sealed) for sealed in claim.sealed_secrets]


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=31)])
def test_an_overlap_out_of_range_is_refused(world: World, overlap: timedelta) -> None:
    identity, _ = world.subscribe()

    with pytest.raises(InvalidSubscriptionError):
        rotate(world, identity, overlap)
