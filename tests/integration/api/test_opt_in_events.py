"""Events that say in detail what another one says: for those who name their type."""

from tests.integration.api.driver import MODEL, Document, Driver, document_of
from tests.receiver import Receiver

TAG_SET, TAG_DELETED = "model_version.tag_set", "model_version.tag_deleted"


def told(api: Driver, receiver: Receiver) -> list[Document]:
    """What the receiver gets of what is due."""
    before = len(receiver.requests)
    api.parts.dispatcher.run_once()
    return [request.json() for request in receiver.requests[before:]]


def test_each_tag_is_announced_to_those_who_ask_for_tags(
    api: Driver, receiver: Receiver
) -> None:
    api.create_model()
    api.register(tags={"old": "1", "kept": "1"})
    path = f"/models/{MODEL}/versions/1"
    body = {"url": receiver.url, "event_types": [TAG_SET, TAG_DELETED]}
    assert api.post("/webhooks", body).status_code == 201

    changes = {"tags": {"new": "é", "old": None, "absent": None}}
    document_of(api.patch(path, changes))

    first, second = told(api, receiver)
    assert (first["type"], first["data"]["key"]) == (TAG_SET, "new")
    assert (second["type"], second["data"]["key"]) == (TAG_DELETED, "old")
    assert first["data"]["value"] == "é"
    assert "value" not in second["data"]
    for each in (first, second):
        assert each["data"]["version"] == 1
        assert each["data"]["actor"]["name"] == "bootstrap"
    sequences = [each["data"]["sequence"] for each in (first, second)]
    assert sequences == [sequences[0], sequences[0] + 1]


def test_whoever_asks_for_everything_is_told_once(
    api: Driver, receiver: Receiver
) -> None:
    api.create_model()
    api.register()
    for event_types in (["*"], ["model_version.*"]):
        api.post("/webhooks", {"url": receiver.url, "event_types": event_types})

    changes = {"tags": {"a": "b"}, "description": "new"}
    api.patch(f"/models/{MODEL}/versions/1", changes)

    found = told(api, receiver)
    assert [each["type"] for each in found] == ["model_version.updated"] * 2
    assert found[0]["data"]["description"] == "new"
    shown = api.read("/events?limit=200")["items"]
    assert shown[-1]["type"] == TAG_SET
    # Every event is counted: whoever is not told of one sees a gap.
    numbers = [item["data"]["sequence"] for item in shown]
    assert numbers == list(range(1, len(shown) + 1))
