"""Who asked for a model by its name hears of it after it was renamed."""

import pytest

from tests.integration.api.driver import ON_BOTH_DATABASES, Driver, document_of

SOURCE = "s3://elsewhere/model"
RENAMED = "registered_model.renamed"
MOVED = "model_version.stage_changed"


def subscribe(api: Driver, pattern: str | None = None, **members: object) -> str:
    body = {"url": "http://127.0.0.1:9/", "model_pattern": pattern, **members}
    answer = api.post("/webhooks", body)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return str(document_of(answer)["id"])


def rename(api: Driver, name: str, new_name: str) -> None:
    answer = api.patch(f"/models/{name}", {"name": new_name})
    assert answer.status_code == 200, answer.get_data(as_text=True)


def heard(api: Driver, webhook: str) -> list[tuple[str, str]]:
    """Type and model of what it is told, oldest first."""
    items = api.read(f"/webhooks/{webhook}/deliveries?limit=200")["items"]
    events = {
        each["id"]: each["data"]["model"] for each in api.read("/events")["items"]
    }
    return [(one["event_type"], events[one["event_id"]]) for one in reversed(items)]


@ON_BOTH_DATABASES
@pytest.mark.parametrize("pattern", ["a", "b", "a*", "?", "[ab]"])
def test_a_renaming_is_heard_by_either_name(api: Driver, pattern: str) -> None:
    api.create_model("a")
    webhook = subscribe(api, pattern)
    other = subscribe(api, "c")

    rename(api, "a", "b")

    assert heard(api, webhook) == [(RENAMED, "b")]
    assert heard(api, other) == []


@ON_BOTH_DATABASES
def test_what_happens_after_a_renaming_is_heard_by_the_name_before(
    api: Driver,
) -> None:
    api.create_model("a")
    number = api.register("a", source=SOURCE)
    webhook = subscribe(api, "a")
    moves = subscribe(api, "a", event_types=[MOVED], to_stages=["Production"])

    rename(api, "a", "b")
    rename(api, "b", "c")
    api.moved(number, "Staging", "Production", model="c")

    assert [model for _, model in heard(api, webhook)] == ["b", "c", "c", "c"]
    assert heard(api, moves) == [(MOVED, "c")]


def test_a_name_leads_to_whoever_has_it_now(api: Driver) -> None:
    api.create_model("fraud")
    webhook = subscribe(api, "fraud")
    rename(api, "fraud", "fraud-old")
    api.create_model("candidate")

    rename(api, "candidate", "fraud")
    api.patch("/models/fraud-old", {"description": "no longer heard"})
    api.patch("/models/fraud", {"description": "heard"})

    assert heard(api, webhook) == [
        (RENAMED, "fraud-old"),
        (RENAMED, "fraud"),
        ("registered_model.updated", "fraud"),
    ]


def test_a_model_that_is_renamed_back_is_heard_once(api: Driver) -> None:
    api.create_model("a")
    webhook = subscribe(api, "[ab]")

    rename(api, "a", "b")
    rename(api, "b", "a")
    api.patch("/models/a", {"name": "a", "description": "the same name"})

    assert heard(api, webhook) == [
        (RENAMED, "b"),
        (RENAMED, "a"),
        ("registered_model.updated", "a"),
    ]


def test_the_name_of_a_deleted_model_leads_back_to_who_had_it(api: Driver) -> None:
    api.create_model("a")
    webhook = subscribe(api, "a")
    rename(api, "a", "b")
    api.create_model("a")
    assert api.delete("/models/a").status_code == 204

    api.patch("/models/b", {"description": "heard again"})

    assert heard(api, webhook)[-1] == ("registered_model.updated", "b")


def test_the_last_names_are_remembered_and_no_more(api: Driver) -> None:
    api.create_model("n0")
    first, recent = subscribe(api, "n0"), subscribe(api, "n20")
    for number in range(30):
        rename(api, f"n{number}", f"n{number + 1}")

    assert heard(api, first)[-1] == (RENAMED, "n20")
    assert heard(api, recent)[-1] == (RENAMED, "n30")


@ON_BOTH_DATABASES
def test_the_feed_of_a_name_goes_on_with_its_model(api: Driver) -> None:
    name = 'Ä "b"'
    api.create_model(name)
    api.create_model(name.lower())
    rename(api, name, "c")
    api.patch("/models/c", {"description": "x"})

    def feed(model: str) -> list[str]:
        answer = api.get("/events", query_string={"model": model})
        return [each["type"].split(".")[1] for each in document_of(answer)["items"]]

    assert feed(name) == ["created", "renamed", "updated"]
    assert feed("c") == ["renamed", "updated"]
    assert feed(name.lower()) == ["created"]
