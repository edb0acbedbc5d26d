"""Rows that cannot be sent, however they came to be so: the others are sent."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import JSON, bindparam, text

from tests.integration.webhooks.conftest import World
from tests.receiver import Receiver

#: Table, column and what it is overwritten with.
POISONS: dict[str, tuple[str, str, object]] = {
    "options of another shape": ("webhook_subscriptions", "options", [1]),
    "headers of another shape": ("webhook_subscriptions", "headers", "text"),
    "no signatures": ("webhook_subscriptions", "signatures", []),
    "signatures of another shape": ("webhook_subscriptions", "signatures", 7),
    "a URL that is none": ("webhook_subscriptions", "url", "http://[::nonsense"),
    "a URL with a line break": ("webhook_subscriptions", "url", "http://a\r\nb/"),
    "a format that is gone": ("webhook_subscriptions", "format", "gone"),
    "credentials that are not sealed": (
        "webhook_subscriptions",
        "sealed_credentials",
        "not sealed",
    ),
    "an authority that is none": ("webhook_subscriptions", "ca_certificate", "PEM"),
    "a certificate without its key": (
        "webhook_subscriptions",
        "client_certificate",
        "PEM",
    ),
    "frozen headers of another shape": ("webhook_deliveries", "headers", [1]),
    "a frozen header with a line break": (
        "webhook_deliveries",
        "headers",
        {"x": "a\r\nb: c"},
    ),
    "a rendering of another shape": ("webhook_deliveries", "rendered_as", [1]),
    "a content type with a line break": (
        "webhook_deliveries",
        "content_type",
        "a\r\nb: c",
    ),
    "a placeholder that nothing fills": ("webhook_deliveries", "body", b"\0gone\0"),
}


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
@pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS.keys())
def test_a_row_that_cannot_be_sent_keeps_nobody_waiting(
    world: World, poison: tuple[str, str, object]
) -> None:
    table, column, value = poison
    is_json = not isinstance(value, str | bytes) or column == "headers"
    with Receiver(answers=lambda _: 500) as receiver, Receiver() as healthy:
        poisoned, _ = world.subscribe(receiver.url)
        world.subscribe(healthy.url)
        now = datetime.now(UTC)
        world.enqueue(now=now)
        identity = "id" if table == "webhook_subscriptions" else "subscription_id"
        overwrite = text(
            f"UPDATE {table} SET {column} = :value WHERE {identity} = :identity"  # noqa: S608  # names of ours
        )
        if is_json:
            overwrite = overwrite.bindparams(bindparam("value", type_=JSON))
        with world.begin() as session:
            session.execute(overwrite, {"value": value, "identity": poisoned})
        dispatcher = world.dispatcher()
        dispatcher.start()
        try:
            healthy.wait_for(1)
            rows = [world.enqueue(now=datetime.now(UTC)) for _ in range(2)]
            dispatcher.wake()
            requests = healthy.wait_for(3)
        finally:
            assert dispatcher.stop()
    assert [one.message_id for one in requests[1:]] == [row.id for row in rows]
