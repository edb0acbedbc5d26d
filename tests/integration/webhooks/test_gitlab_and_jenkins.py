"""GitLab's pipelines and both of Jenkins' ways in."""

import json
from typing import Any

import pytest

from tests.integration.webhooks.conftest import World
from tests.integration.webhooks.receiving import DATA, TOKEN, deliver, receiving
from tests.receivers.pipelines import GitLab, Jenkins

GITLAB = "/api/v4/projects/7/trigger/pipeline"
GENERIC = "/generic-webhook-trigger/invoke"
BUILD = "/job/deploy/buildWithParameters"
BUILD_OPTIONS = {
    "trigger": "build",
    "user": "ci",
    "parameters": {"MODEL": "data.model", "VERSION": "data.version"},
}


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
