"""A receiver that makes the changes it is told of, and whatever else has no end."""

import pytest

from registry.auth.hops import HOP_HEADER, MAX_HOPS
from tests.integration.api.driver import Driver, document_of, problem_of
from tests.receiver import Answer, ReceivedRequest, Receiver
from webhooks import events, subscriptions

UPDATED = "registered_model.updated"
FRAUD = "/models/fraud"


def deliveries_of(api: Driver) -> list[tuple[str, str | None]]:
    """State and reason of every delivery, oldest first."""
    (webhook,) = api.read("/webhooks")["items"]
    items = api.read(f"/webhooks/{webhook['id']}/deliveries")["items"]
    return [(one["state"], one["reason"]) for one in reversed(items)]


def change(api: Driver, description: str, hop: str | None = None) -> Answer:
    """Change the model as a receiver would that passes the hop on."""
    headers = {} if hop is None else {HOP_HEADER: hop}
    answer = api.patch(FRAUD, {"description": description}, headers=headers)
    control = {
        name: value
        for name, value in answer.headers.items()
        if name.lower() == "webhook-delivery"
    }
    return Answer(answer.status_code, control)


def test_a_loop_ends_and_says_why(api: Driver) -> None:
    def pass_on(request: ReceivedRequest) -> Answer:
        hop = request.headers[HOP_HEADER]
        return change(api, f"after {hop}", hop)

    with Receiver(answers=pass_on) as receiver:
        api.create_model()
        api.post("/webhooks", {"url": receiver.url, "event_types": [UPDATED]})
        change(api, "the first change")
        while api.parts.dispatcher.run_once():
            pass
        hops = [request.headers[HOP_HEADER] for request in receiver.requests]

    assert hops == [str(number) for number in range(1, MAX_HOPS + 1)]
    assert api.read(FRAUD)["description"] == f"after {MAX_HOPS - 1}"
    asked = ("dead", "the receiver asked for no further attempt")
    assert deliveries_of(api) == [("delivered", None)] * (MAX_HOPS - 1) + [asked]


def test_what_is_refused_for_its_hops_is_not_done(api: Driver) -> None:
    api.create_model()
    before = api.dump()

    answer = api.patch(
        FRAUD, {"description": "again"}, headers={HOP_HEADER: str(MAX_HOPS)}
    )

    problem = problem_of(answer, 409, "webhook-loop")
    assert f"{MAX_HOPS} webhooks led to this request" in problem["detail"]
    assert answer.headers["webhook-delivery"] == "abort-message"
    assert api.dump() == before


@pytest.mark.parametrize("hop", ["", "-1", "1.0", "one", "1000", "٣"])
def test_a_hop_that_is_no_number_is_named(api: Driver, hop: str) -> None:
    api.create_model()

    answer = api.patch(FRAUD, {}, headers={HOP_HEADER: hop})

    assert list(problem_of(answer, 422, "invalid")["errors"]) == [HOP_HEADER]


@pytest.mark.parametrize("hop", [str(MAX_HOPS), "999", "no number"])
def test_reading_is_no_hop(api: Driver, hop: str) -> None:
    api.create_model()

    assert api.get(FRAUD, headers={HOP_HEADER: hop}).status_code == 200


def test_sender_and_registry_mean_the_same_header() -> None:
    assert HOP_HEADER == events.HOP_HEADER


def test_more_subscriptions_than_an_event_may_be_told_to_are_refused(
    api: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MAX_SUBSCRIPTIONS", 2)
    url = {"url": "http://127.0.0.1:9/"}
    first, _ = (document_of(api.post("/webhooks", url)) for _ in range(2))

    answer = api.post("/webhooks", url)
    problem = problem_of(answer, 409, "conflict")

    assert "2 subscriptions" in problem["detail"]
    api.delete(f"/webhooks/{first['id']}")
    assert api.post("/webhooks", url).status_code == 201
