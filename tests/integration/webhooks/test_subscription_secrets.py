"""Credentials, keys and signing secrets of subscriptions in the database."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from tests.certificates import Authority
from tests.hostile_receivers import DONE, HOST
from tests.integration.webhooks.conftest import NOW, World
from tests.integration.webhooks.hostile import hostile_receiver, say
from webhooks import subscriptions
from webhooks.errors import InvalidSubscriptionError
from webhooks.roster.secrets import SecretBox, credential_names, open_credentials
from webhooks.sending.guard import AddressGuard
from webhooks.sending.prepare import public_key_of
from webhooks.tables import Subscription, SubscriptionSecret

LOCAL = "127.0.0.1"
LATER = NOW + timedelta(hours=1)
OVERLAP = timedelta(hours=24)
CLIENT = Authority().issue("client")


def change(world: World, identity: str, **changes: Any) -> Subscription:  # noqa: ANN401  # Any field of SubscriptionSpec.
    with world.begin() as session:
        return subscriptions.update_fields(
            session, world.guard, identity, changes, box=world.box, now=LATER
        )


def opened(world: World, row: Subscription) -> Mapping[str, str]:
    return open_credentials(world.box, row.sealed_credentials)


def keys_of(world: World, identity: str, scheme: str) -> list[str]:
    """Every stored secret of a scheme, opened."""
    with world.begin() as session:
        rows = session.scalars(
            select(SubscriptionSecret).where(
                SubscriptionSecret.subscription_id == identity,
                SubscriptionSecret.scheme == scheme,
            )
        )
        return [world.box.open(row.sealed) for row in rows]


def shown_keys(world: World, identity: str) -> list[str]:
    with world.begin() as session:
        row = subscriptions.get(session, identity)
        return subscriptions.public_keys(session, [row], LATER).get(identity, [])


def test_credentials_are_merged_by_name_and_none_removes_one(world: World) -> None:
    identity, _ = world.subscribe(credentials={"a": "old-a", "b": "old-b"})

    row = change(world, identity, credentials={"a": "new-a", "b": None, "c": "new-c"})

    assert opened(world, row) == {"a": "new-a", "c": "new-c"}
    assert credential_names(row.sealed_credentials) == ["a", "c"]


def test_credentials_stay_when_something_else_is_changed(world: World) -> None:
    identity, _ = world.subscribe(
        url="https://example.com/${a}", credentials={"a": "kept"}
    )

    row = change(world, identity, description="changed", headers={"X": "${a}"})

    assert opened(world, row) == {"a": "kept"}
    assert row.headers == {"x": "${a}"}


def test_a_credential_in_use_cannot_be_removed(world: World) -> None:
    identity, _ = world.subscribe(
        url="https://example.com/${a}", credentials={"a": "kept"}
    )

    with pytest.raises(InvalidSubscriptionError, match="'a'"):
        change(world, identity, credentials={"a": None})


def test_without_credentials_nothing_is_stored(world: World) -> None:
    identity, _ = world.subscribe(credentials={"a": "some"})

    assert change(world, identity, credentials={"a": None}).sealed_credentials is None


def test_credentials_that_cannot_be_opened_are_given_again(world: World) -> None:
    identity, _ = world.subscribe(
        headers={"x": "${a}"},
        credentials={"a": "lost"},
        client_certificate=CLIENT.certificate,
        client_key=CLIENT.key,
    )
    world.box = SecretBox(["a key that came later"])

    with pytest.raises(InvalidSubscriptionError, match="'a'"):
        change(world, identity, description="changed")
    with pytest.raises(InvalidSubscriptionError, match="together"):
        change(world, identity, credentials={"a": "again"})
    row = change(world, identity, credentials={"a": "again"}, client_key=CLIENT.key)

    assert opened(world, row) == {"a": "again"}


def test_a_client_key_stays_and_goes_with_its_certificate(world: World) -> None:
    identity, _ = world.subscribe(
        client_certificate=CLIENT.certificate, client_key=CLIENT.key
    )

    kept = change(world, identity, description="changed")
    assert kept.sealed_client_key is not None
    assert world.box.open(kept.sealed_client_key) == CLIENT.key
    gone = change(world, identity, client_certificate=None)
    assert (gone.client_certificate, gone.sealed_client_key) == (None, None)


def test_a_change_of_nothing_changes_nothing(world: World) -> None:
    identity, _ = world.subscribe()

    assert change(world, identity).updated_at == NOW


def test_a_deleted_subscription_keeps_no_secret(world: World) -> None:
    identity, _ = world.subscribe(
        signatures=["v1", "v1a"],
        credentials={"a": "some"},
        client_certificate=CLIENT.certificate,
        client_key=CLIENT.key,
    )

    with world.begin() as session:
        subscriptions.delete(session, identity, now=LATER)

    with world.begin() as session:
        row = session.get_one(Subscription, identity)
        left = session.execute(text("SELECT * FROM webhook_subscription_secrets")).all()
    assert (row.sealed_credentials, row.sealed_client_key, left) == (None, None, [])


def test_asking_for_v1a_later_makes_a_key_once(world: World) -> None:
    identity, _ = world.subscribe()
    assert shown_keys(world, identity) == []

    for description in ("first", "second"):
        change(world, identity, signatures=["v1a"], description=description)

    (private,) = keys_of(world, identity, "v1a")
    assert shown_keys(world, identity) == [public_key_of(private)]
    assert len(keys_of(world, identity, "v1")) == 1


def test_rotation_makes_a_new_secret_of_each_scheme_in_use(world: World) -> None:
    identity, old = world.subscribe(signatures=["v1", "v1a"])
    (old_public,) = shown_keys(world, identity)

    with world.begin() as session:
        new, _ = subscriptions.rotate_secret(
            session, world.box, identity, now=NOW, overlap=OVERLAP
        )

    assert set(keys_of(world, identity, "v1")) == {old, new}
    newest, second = shown_keys(world, identity)
    assert second == old_public
    assert newest != old_public


def test_ten_keys_of_each_scheme_sign_at_a_time(world: World) -> None:
    identity, _ = world.subscribe(signatures=["v1", "v1a"])

    for _ in range(subscriptions.MAX_LIVE_SECRETS + 2):
        with world.begin() as session:
            subscriptions.rotate_secret(
                session, world.box, identity, now=NOW, overlap=OVERLAP
            )

    world.enqueue()
    (claim,) = world.claim()
    opened_keys = [world.box.open(sealed) for sealed in claim.sealed_secrets]
    prefixes = [secret.partition("_")[0] for secret in opened_keys]
    assert prefixes.count("whsec") == subscriptions.MAX_LIVE_SECRETS
    assert prefixes.count("whsk") == subscriptions.MAX_LIVE_SECRETS


@pytest.mark.parametrize("shows_certificate", [True, False])
def test_a_delivery_shows_its_certificate_to_a_private_receiver(
    world: World, *, shows_certificate: bool
) -> None:
    authority = Authority()
    ours = authority.issue("stagegate.example")
    server = authority.issue(HOST).server_context(authority.certificate)
    choices = {"client_certificate": ours.certificate, "client_key": ours.key}
    world.guard = AddressGuard(["127.0.0.0/8"], resolver=lambda _host, _port: [LOCAL])
    with hostile_receiver(say(DONE), server) as port:
        world.subscribe(
            f"https://{HOST}:{port}/",
            ca_certificate=authority.certificate,
            **(choices if shows_certificate else {}),
        )
        world.enqueue(now=datetime.now(UTC))
        world.dispatcher().run_once()

    assert world.states() == ["delivered" if shows_certificate else "pending"]
