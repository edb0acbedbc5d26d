"""GitHub's two ways in."""

from typing import Any

import pytest

from tests.integration.webhooks.conftest import World
from tests.integration.webhooks.receiving import DATA, TOKEN, deliver, receiving
from tests.receivers.pipelines import GitHub

GITHUB_HOST = "/repos/o/r"
WORKFLOW = f"{GITHUB_HOST}/actions/workflows/deploy.yml/dispatches"
INPUTS = {"model": "data.model", "version": "data.version", "tags": "data.tags"}


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


@pytest.mark.parametrize("note", ["x" * 70_000, "ж" * 11_000, "ж" * 70_000])
def test_a_tag_of_any_length_keeps_github_from_nothing(world: World, note: str) -> None:
    github = GitHub(TOKEN)
    data = {**DATA, "tags": {"note": note, "team": "risk"}}
    with receiving(github, f"{GITHUB_HOST}/dispatches") as (_, url):
        delivery, _ = deliver(
            world, url, data=data, format="github", credentials={"token": TOKEN}
        )

    (started,) = github.started
    assert delivery.state == "delivered"
    sent = started["client_payload"]["data"]
    assert {**sent, "tags": None} == {**DATA, "tags": None}
    assert sent["tags"]["team"] == "risk"
    assert sent["tags"]["note"].rstrip("…") in note
    assert (sent["tags"]["note"] == note) is (len(note) == 11_000)
