"""What the client asks about the stage policy."""

import pytest

from registry.client import RegistryClient
from registry.errors import RegistryError
from tests.unit.fake_registry import FakeRegistry

POLICY = {
    "stages": ["None", "Staging"],
    "transitions": {"None": ["Staging"], "Staging": []},
    "exclusive": {},
    "deletable": ["None"],
    "digest": "sha256:0",
}


def test_the_rules_of_a_model_are_asked_for_by_its_name(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/policy", POLICY)

    found = client.policy("naïve & co")

    assert found.transitions == {"None": ["Staging"], "Staging": []}
    assert fake.asked_for("GET", "/policy")[0].query == {"model": "naïve & co"}


def test_without_a_model_nothing_is_said_of_one(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/policy", POLICY)

    assert client.policy().deletable == ["None"]
    assert fake.asked_for("GET", "/policy")[0].query == {}


def test_an_answer_without_transitions_is_no_policy(
    fake: FakeRegistry, client: RegistryClient
) -> None:
    fake.json("GET", "/policy", {"stages": []})

    with pytest.raises(RegistryError, match="not a StagePolicyRecord"):
        client.policy()
