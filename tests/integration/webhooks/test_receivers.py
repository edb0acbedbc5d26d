"""CloudEvents' receivers, chats, and both signatures."""

from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.integration.webhooks.conftest import World
from tests.integration.webhooks.receiving import (
    DATA,
    TOKEN,
    deliver,
    lend,
    receiving,
    verify_by_svix,
)
from tests.receiver import Answer, Receiver
from tests.receivers.chats import Slack, Teams
from tests.receivers.events import ArgoEvents, CloudEventsReceiver, TektonListener
from webhooks import subscriptions
from webhooks.errors import InvalidSubscriptionError
from webhooks.queue.dispatcher import utc_now


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_a_cloudevents_library_reads_what_is_sent(world: World, mode: str) -> None:
    target = CloudEventsReceiver()
    options = {"mode": mode, "source": "/registry", "type_prefix": "com.example."}
    with receiving(target, "/") as (receiver, url):
        world.subscribe(url, format="cloudevents", options=options)
        row = world.enqueue(now=utc_now(), data=DATA, subject='50 % "ü"')
        world.dispatcher(lend=lend).run_once()

    (event,) = target.events
    assert event.get_id() == row.id
    assert event.get_type() == "com.example.model_version.stage_changed"
    assert event.get_source() == "/registry"
    assert event.get_subject() == '50 % "ü"'
    assert event.get_time() == row.occurred_at
    assert event.get_data() == DATA
    headers = receiver.requests[0].headers
    assert headers["webhook-deployment-token"] == f"lent-{row.id}"
    assert "ce-datacontenttype" not in headers


@pytest.mark.parametrize("name", ["standard", "cloudevents"])
def test_argo_dispatches_what_has_its_secret(world: World, name: str) -> None:
    argo = ArgoEvents(TOKEN)
    with receiving(argo, "/stagegate") as (_, url):
        delivery, _ = deliver(
            world,
            url,
            format=name,
            headers={"Authorization": "Bearer ${argo}"},
            credentials={"argo": TOKEN},
        )

    assert delivery.state == "delivered"
    (dispatched,) = argo.dispatched
    body = dispatched["body"]
    assert (body["data"] if name == "standard" else body) == DATA


def test_argo_refuses_another_secret(world: World) -> None:
    with receiving(ArgoEvents("another"), "/stagegate") as (_, url):
        delivery, attempt = deliver(
            world,
            url,
            headers={"Authorization": "Bearer ${argo}"},
            credentials={"argo": TOKEN},
        )

    assert (delivery.state, attempt.status) == ("pending", 401)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("standard", {}),
        ("cloudevents", {}),
        ("cloudevents", {"mode": "structured"}),
    ],
)
def test_tekton_takes_the_hub_signature_and_its_event_id_is_the_receipt(
    world: World, name: str, options: dict[str, Any]
) -> None:
    listener = TektonListener(TOKEN)
    with receiving(listener, "/") as (_, url):
        delivery, _ = deliver(
            world,
            url,
            format=name,
            options={**options, "hub_signature": "${hub}"},
            credentials={"hub": TOKEN},
        )

    assert len(listener.triggered) == 1
    assert (delivery.state, delivery.receipt) == ("delivered", "e-17")


def test_slack_gets_a_message_that_nothing_in_an_event_can_format(world: World) -> None:
    slack = Slack("/services/T0/B0/secret")
    options = {
        "text": "{data.model} goes to {data.to_stage}",
        "facts": {"Version": "data.version", "Why": "data.reason"},
        "link": "data.link",
    }
    data = {
        **DATA,
        "model": "<!channel> & co",
        "reason": "*bold*",
        "link": "https://registry.example.com/a|b",
    }
    with receiving(slack, slack.path) as (_, url):
        delivery, _ = deliver(world, url, data=data, format="slack", options=options)

    (message,) = slack.messages
    section, context = message["blocks"]
    assert delivery.state == "delivered"
    assert message["text"] == "&lt;!channel&gt; &amp; co goes to Production"
    assert section["text"]["type"] == "plain_text"
    assert [entry["text"] for entry in section["fields"]] == [
        "Version: 7",
        "Why: *bold*",
    ]
    assert context["elements"][0]["text"] == "<https://registry.example.com/a%7Cb|Open>"


@pytest.mark.parametrize(
    ("trouble", "state"),
    [
        (Answer(403, body=b"action_prohibited"), "pending"),
        (Answer(404, body=b"channel_not_found"), "pending"),
        (Answer(410, body=b"channel_is_archived"), "held"),
        (Answer(429, {"Retry-After": "30"}), "pending"),
    ],
)
def test_what_slack_refuses_waits_or_is_held(
    world: World, trouble: Answer, state: str
) -> None:
    slack = Slack("/services/T0/B0/secret", trouble=trouble)
    with receiving(slack, slack.path) as (_, url):
        delivery, attempt = deliver(world, url, format="slack")

    assert (delivery.shown_state, attempt.status) == (state, trouble.status)


def test_teams_gets_a_card_in_its_envelope(world: World) -> None:
    teams = Teams("abc-def")
    path = "/workflows/1/triggers/manual/paths/invoke?api-version=1&sig=abc-def"
    with receiving(teams, path) as (_, url):
        delivery, _ = deliver(
            world,
            url,
            format="teams",
            data={**DATA, "link": "https://registry.example.com/"},
            options={"link": "data.link"},
        )

    (card,) = teams.cards
    assert delivery.state == "delivered"
    title = card["body"][0]["inlines"][0]["text"]
    assert title == "Betrug ü version 7: stage changed"
    assert card["actions"][0]["url"] == "https://registry.example.com/"


def test_teams_refuses_another_signature(world: World) -> None:
    with receiving(Teams("abc-def"), "/invoke?sig=something") as (_, url):
        delivery, attempt = deliver(world, url, format="teams")

    assert (delivery.state, attempt.status) == ("pending", 401)


def test_both_schemes_sign_and_both_libraries_verify(
    world: World, receiver: Receiver
) -> None:
    identity, secret = world.subscribe(receiver.url, signatures=["v1", "v1a"])
    world.enqueue(now=utc_now())
    world.dispatcher().run_once()

    (request,) = receiver.requests
    schemes = [e.split(",")[0] for e in request.headers["webhook-signature"].split()]
    assert sorted(schemes) == ["v1", "v1a"]
    verify_by_svix(secret, request)
    Webhook(secret).verify(request.body, request.headers)
    with world.begin() as session:
        assert subscriptions.get(session, identity).signatures == ["v1", "v1a"]


@pytest.mark.parametrize(
    ("name", "options", "credentials", "field"),
    [
        ("github", {}, {}, "credentials"),
        ("gitlab", {"ref": "main"}, {}, "options"),
        ("gitlab", {}, {"token": TOKEN}, "options.ref"),
        ("jenkins", {"trigger": "build", "user": "ci"}, {}, "credentials"),
        (
            "github",
            {"payload": {str(n): "id" for n in range(11)}},
            {"token": TOKEN},
            "options.payload",
        ),
        (
            "github",
            {
                "dispatch": "workflow",
                "ref": "main",
                "inputs": {str(n): "id" for n in range(26)},
            },
            {"token": TOKEN},
            "options.inputs",
        ),
        ("github", {"event_type": "x" * 101}, {"token": TOKEN}, "options.event_type"),
        (
            "github",
            {"payload": {"a": {"value": "x" * 70_000}}},
            {"token": TOKEN},
            "options",
        ),
    ],
)
def test_what_a_receiver_could_never_take_is_refused_when_it_is_saved(
    world: World,
    *,
    name: str,
    options: dict[str, Any],
    credentials: dict[str, str],
    field: str,
) -> None:
    with pytest.raises(InvalidSubscriptionError) as caught:
        world.subscribe(format=name, options=options, credentials=credentials)

    assert caught.value.field == field
