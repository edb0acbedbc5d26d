"""Real deliveries to servers that keep the receivers' contracts."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from tests.integration.webhooks.conftest import World
from tests.receiver import Answer, ReceivedRequest, Receiver
from tests.receivers.chats import Slack, Teams
from tests.receivers.events import ArgoEvents, CloudEventsReceiver, TektonListener
from tests.receivers.pipelines import GitHub, GitLab, Jenkins
from webhooks import subscriptions
from webhooks.claims import Claim
from webhooks.clock import utc_now
from webhooks.errors import InvalidSubscriptionError
from webhooks.tables import Attempt, Delivery

TOKEN = "token-of-the-receiver"
DATA = {"model": "Betrug ü", "version": 7, "to_stage": "Production", "tags": {"a": "b"}}
GITHUB_HOST = "/repos/o/r"


def lend(claim: Claim) -> dict[str, str]:
    return {"deployment_token": f"lent-{claim.event_id}"}


@contextmanager
def receiving(
    answers: Callable[[ReceivedRequest], Answer], path: str
) -> Iterator[tuple[Receiver, str]]:
    with Receiver(answers=answers) as receiver:
        yield receiver, f"http://127.0.0.1:{receiver.port}{path}"


def deliver(
    world: World,
    url: str,
    *,
    data: dict[str, Any] | None = None,
    **choices: Any,  # noqa: ANN401  # Any field of SubscriptionSpec.
) -> tuple[Delivery, Attempt]:
    """Subscribe, let one event happen, and send it once."""
    world.subscribe(url, **choices)
    world.enqueue(now=utc_now(), data=DATA if data is None else data)
    world.dispatcher(lend=lend).run_once()
    with world.begin() as session:
        return session.query(Delivery).one(), session.query(Attempt).one()


def test_github_starts_what_listens_to_the_event(world: World) -> None:
    github = GitHub(TOKEN)
    with receiving(github, f"{GITHUB_HOST}/dispatches") as (receiver, url):
        delivery, _ = deliver(world, url, format="github", credentials={"token": TOKEN})

    (started,) = github.started
    assert delivery.state == "delivered"
    assert started["event_type"] == "model_version.stage_changed"
    assert started["client_payload"]["data"] == DATA
    assert started["client_payload"]["id"] == delivery.event_id
    assert started["client_payload"]["deployment_token"] == f"lent-{delivery.event_id}"
    headers = receiver.requests[0].headers
    assert headers["accept"] == "application/vnd.github+json"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert "webhook-deployment-token" not in headers


def test_github_names_its_event_and_payload_as_chosen(world: World) -> None:
    github = GitHub(TOKEN)
    options = {
        "event_type": "deploy",
        "payload": {
            "model": "data.model",
            "nothing": "data.not.there",
            "cluster": {"value": "eu ${zone}"},
        },
    }
    with receiving(github, f"{GITHUB_HOST}/dispatches") as (_, url):
        deliver(
            world,
            url,
            format="github",
            options=options,
            credentials={"token": TOKEN, "zone": 'zone "1"'},
        )

    assert github.started == [
        {
            "event_type": "deploy",
            "client_payload": {
                "model": "Betrug ü",
                "nothing": None,
                "cluster": 'eu zone "1"',
            },
        }
    ]


def test_a_ping_does_not_look_like_a_deployment_to_github(world: World) -> None:
    github = GitHub(TOKEN)
    with receiving(github, f"{GITHUB_HOST}/dispatches") as (_, url):
        identity, _ = world.subscribe(
            url,
            format="github",
            options={"event_type": "deploy"},
            credentials={"token": TOKEN},
        )
        sent = world.dispatcher().send_test(identity)

    assert sent.result.is_delivered
    assert [entry["event_type"] for entry in github.started] == ["webhook.ping"]


WORKFLOW = f"{GITHUB_HOST}/actions/workflows/deploy.yml/dispatches"
INPUTS = {"model": "data.model", "version": "data.version", "tags": "data.tags"}


@pytest.mark.parametrize("returns_details", [True, False])
def test_githubs_workflow_run_is_the_receipt(
    world: World, *, returns_details: bool
) -> None:
    github = GitHub(
        TOKEN, declared_inputs=frozenset(INPUTS), knows_run_details=returns_details
    )
    options = {
        "dispatch": "workflow",
        "ref": "main",
        "inputs": INPUTS,
        "return_run_details": returns_details,
    }
    with receiving(github, WORKFLOW) as (_, url):
        delivery, _ = deliver(
            world, url, format="github", options=options, credentials={"token": TOKEN}
        )

    (started,) = github.started
    assert started["inputs"] == {
        "model": "Betrug ü",
        "version": "7",
        "tags": '{"a":"b"}',
    }
    assert delivery.receipt == (
        "https://github.com/o/r/actions/runs/1" if returns_details else None
    )


@pytest.mark.parametrize(
    ("github", "path", "options", "status"),
    [
        (GitHub("another token"), "/dispatches", {}, 401),
        (GitHub(TOKEN, may_write=False), "/dispatches", {}, 404),
        (GitHub(TOKEN), "/elsewhere", {}, 404),
        (
            GitHub(TOKEN),
            "/actions/workflows/deploy.yml/dispatches",
            {"dispatch": "workflow", "ref": "gone"},
            422,
        ),
        (
            GitHub(TOKEN),
            "/actions/workflows/deploy.yml/dispatches",
            {"dispatch": "workflow", "ref": "main", "inputs": INPUTS},
            422,
        ),
    ],
)
def test_what_github_refuses_is_tried_again_with_its_answer_on_record(
    world: World, *, github: GitHub, path: str, options: dict[str, Any], status: int
) -> None:
    with receiving(github, GITHUB_HOST + path) as (_, url):
        delivery, attempt = deliver(
            world, url, format="github", options=options, credentials={"token": TOKEN}
        )

    assert (delivery.state, attempt.status) == ("pending", status)
    assert attempt.response_body
    assert github.started == []
    assert delivery.receipt is None


def test_what_github_would_refuse_for_its_size_is_dead_from_birth(world: World) -> None:
    github = GitHub(TOKEN)
    with receiving(github, f"{GITHUB_HOST}/dispatches") as (receiver, url):
        world.subscribe(url, format="github", credentials={"token": TOKEN})
        world.enqueue(now=utc_now(), data={"note": "x" * 70_000})
        world.dispatcher().run_once()

    (delivery,) = world.deliveries()
    assert delivery.state == "dead"
    assert delivery.reason is not None
    assert "GitHub" in delivery.reason
    assert receiver.requests == ()


GITLAB = "/api/v4/projects/7/trigger/pipeline"


def test_gitlabs_pipeline_is_the_receipt(world: World) -> None:
    gitlab = GitLab(TOKEN)
    with receiving(gitlab, GITLAB) as (receiver, url):
        delivery, _ = deliver(
            world,
            url,
            format="gitlab",
            options={"ref": "main"},
            credentials={"token": TOKEN},
        )

    (variables,) = gitlab.started
    assert variables["WEBHOOK_ID"] == delivery.event_id
    assert variables["EVENT_TYPE"] == "model_version.stage_changed"
    assert json.loads(variables["EVENT"])["data"] == DATA
    assert variables["DEPLOYMENT_TOKEN"] == f"lent-{delivery.event_id}"
    assert delivery.receipt == "https://gitlab.example.com/g/p/-/pipelines/1"
    assert TOKEN not in receiver.requests[0].path
    assert TOKEN.encode() not in delivery.body


@pytest.mark.parametrize(
    ("token", "path", "ref", "status"),
    [
        ("another token", GITLAB, "main", 404),
        (TOKEN, "/api/v4/projects/8/trigger/pipeline", "main", 404),
        (TOKEN, GITLAB, "gone", 400),
    ],
)
def test_what_gitlab_refuses_is_tried_again(
    world: World, *, token: str, path: str, ref: str, status: int
) -> None:
    with receiving(GitLab(token), path) as (_, url):
        delivery, attempt = deliver(
            world,
            url,
            format="gitlab",
            options={"ref": ref},
            credentials={"token": TOKEN},
        )

    assert (delivery.state, attempt.status) == ("pending", status)


GENERIC = "/generic-webhook-trigger/invoke"


@pytest.mark.parametrize("path", [GENERIC, f"{GENERIC}?token=${{key}}"])
def test_jenkins_plugin_starts_the_jobs_of_the_token(world: World, path: str) -> None:
    jenkins = Jenkins("ci", TOKEN)
    name = "key" if "key" in path else "token"
    with receiving(jenkins, path) as (_, url):
        delivery, _ = deliver(world, url, format="jenkins", credentials={name: TOKEN})

    (started,) = jenkins.started
    assert started["data"] == DATA
    assert started["deployment_token"] == f"lent-{delivery.event_id}"
    assert delivery.receipt == "queue/item/1/"


def test_a_test_of_the_jenkins_plugin_starts_nothing(world: World) -> None:
    jenkins = Jenkins("ci", TOKEN)
    with receiving(jenkins, GENERIC) as (_, url):
        identity, _ = world.subscribe(
            url, format="jenkins", credentials={"token": TOKEN}
        )
        sent = world.dispatcher().send_test(identity)

    assert sent.result.is_delivered
    assert jenkins.started == []


BUILD = "/job/deploy/buildWithParameters"
BUILD_OPTIONS = {
    "trigger": "build",
    "user": "ci",
    "parameters": {"MODEL": "data.model", "VERSION": "data.version"},
}


def test_jenkins_queue_item_is_the_receipt(world: World) -> None:
    jenkins = Jenkins("ci", TOKEN)
    with receiving(jenkins, BUILD) as (_, url):
        delivery, _ = deliver(
            world,
            url,
            format="jenkins",
            options=BUILD_OPTIONS,
            credentials={"token": TOKEN},
        )

    assert jenkins.started == [{"MODEL": "Betrug ü", "VERSION": "7"}]
    assert delivery.receipt == "https://jenkins.example.com/queue/item/1/"


@pytest.mark.parametrize(
    ("token", "path", "options", "status"),
    [
        ("another token", GENERIC, {}, 404),
        ("another token", BUILD, BUILD_OPTIONS, 403),
        (TOKEN, "/job/gone/buildWithParameters", BUILD_OPTIONS, 404),
    ],
)
def test_what_jenkins_refuses_is_tried_again(
    world: World, *, token: str, path: str, options: dict[str, Any], status: int
) -> None:
    with receiving(Jenkins("ci", token), path) as (_, url):
        delivery, attempt = deliver(
            world, url, format="jenkins", options=options, credentials={"token": TOKEN}
        )

    assert (delivery.state, attempt.status) == ("pending", status)


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

    assert (delivery.state, attempt.status) == (state, trouble.status)


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
    assert card["body"][0]["inlines"][0]["text"] == "model_version.stage_changed"
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
    SvixWebhook(secret).verify(request.body, request.headers)
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
