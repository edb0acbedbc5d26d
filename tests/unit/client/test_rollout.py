"""Waiting for a stage change by the client: what it asks, and what it answers."""

import pytest

from registry import errors
from registry.client import RegistryClient, Transition
from tests.unit.fake_registry import FakeRegistry, transition_document

DEPLOYMENTS = "/models/fraud/versions/2/deployments"
TRANSITION = Transition.from_json(transition_document())


def page(*items: object) -> dict[str, object]:
    return {"items": items, "next_cursor": None}


def test_rollout_is_answered_with_what_was_delivered_and_deployed(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/deliveries", page({"id": "d", "state": "delivered"}))
    fake.json(
        "GET",
        DEPLOYMENTS,
        page({"id": "1", "environment": "eu", "status": "succeeded"}),
    )

    found = client.wait_for_rollout(TRANSITION, timeout_seconds=5)

    assert [one.id for one in found.deliveries] == ["d"]
    assert [one.environment for one in found.deployments] == ["eu"]


def test_deliveries_are_read_before_deployments(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    """Who reports, then acknowledges, would be missed the other way round."""
    fake.json("GET", "/deliveries", page({"id": "d", "state": "delivered"}))
    fake.json("GET", DEPLOYMENTS, page())

    client.wait_for_rollout(TRANSITION, timeout_seconds=5)

    assert [one.path.rpartition("/")[2] for one in fake.asked] == [
        "deliveries",
        "deployments",
    ]
    assert fake.asked[1].query["transition_id"] == "t-1"


def test_delivery_that_is_stuck_ends_the_waiting(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/deliveries", page({"id": "d", "state": "dead", "reason": "410"}))
    fake.json("GET", DEPLOYMENTS, page())

    with pytest.raises(errors.RegistryError, match="Delivery d is dead: 410"):
        client.wait_for_rollout(TRANSITION, timeout_seconds=5)
