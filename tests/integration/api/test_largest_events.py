"""The longest texts that users may choose, announced to every kind of receiver."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from tests.integration.api.driver import Document, Driver, document_of
from tests.receiver import Answer, ReceivedRequest, Receiver
from tests.receivers.chats import Slack, Teams
from tests.receivers.events import ArgoEvents
from tests.receivers.pipelines import GitHub, GitLab, Jenkins

TOKEN = "token-of-the-receiver"
#: Each character takes four bytes, six in JSON's escapes and twelve in a form.
NAME = "🚀" * 256
SOURCE = "s3://models/" + "ж" * 1988
TAGS = {f"key-{n}": "ж" * 100_000 for n in range(2)}
REASON = "🚀" * 20_000

Answers = Callable[[ReceivedRequest], Answer]
TARGETS: dict[str, tuple[Answers, str, Document]] = {
    "github": (GitHub(TOKEN), "/repos/o/r/dispatches", {}),
    "workflow": (
        GitHub(TOKEN, declared_inputs=frozenset({"event", "deployment_token"})),
        "/repos/o/r/actions/workflows/deploy.yml/dispatches",
        {"format": "github", "options": {"dispatch": "workflow", "ref": "main"}},
    ),
    "gitlab": (
        GitLab(TOKEN),
        "/api/v4/projects/7/trigger/pipeline",
        {"options": {"ref": "main"}},
    ),
    "jenkins": (Jenkins("ci", TOKEN), "/generic-webhook-trigger/invoke", {}),
    "build": (
        Jenkins("ci", TOKEN),
        "/job/deploy/buildWithParameters",
        {"format": "jenkins", "options": {"trigger": "build", "user": "ci"}},
    ),
    "slack": (Slack("/services/a/b"), "/services/a/b", {}),
    "teams": (Teams("abc-def"), "/invoke?sig=abc-def", {}),
    "standard": (
        ArgoEvents(TOKEN),
        "/",
        {"headers": {"Authorization": "Bearer ${token}"}},
    ),
    "cloudevents": (
        ArgoEvents(TOKEN),
        "/",
        {"headers": {"Authorization": "Bearer ${token}"}},
    ),
}
OPT_IN = ["model_version.tag_set", "model_version.commented"]


def subscribe(api: Driver, name: str, url: str, members: Document) -> str:
    body = {
        "url": url,
        "format": name,
        "credentials": {"token": TOKEN},
        "event_types": ["*", *OPT_IN],
        **members,
    }
    answer = api.post("/webhooks", body)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    return str(document_of(answer)["id"])


def happen(api: Driver) -> None:
    """Let everything happen that says what users wrote."""
    text = {"description": "ж" * 20_000}
    api.create_model(NAME, **text)
    number = api.register(NAME, source=SOURCE, run_id="ж" * 1000, **text)
    version = f"/models/{NAME}/versions/{number}"
    for key, value in TAGS.items():
        answer = api.patch(version, {"tags": {key: value}})
        assert answer.status_code == 200, answer.get_data(as_text=True)
    api.put(f"/models/{NAME}/aliases/{'ж' * 255}", json={"version": number})
    for stage in ("Staging", "Production"):
        assert api.move(number, stage, model=NAME, reason=REASON).status_code == 200
    note = {"description": "ж" * 1000, "url": "https://ci.example.com/" + "a" * 1900}
    report = {"environment": "ж" * 250, "status": "succeeded", **note}
    assert api.post(f"{version}/deployments", report).status_code == 200
    api.patch(f"/models/{NAME}", {"name": NAME[:-1] + "x"})


def data_of(name: str, receiver: Receiver) -> list[dict[str, Any]]:
    """What a receiver finds in the event, in each request."""
    found = []
    for request in receiver.requests:
        document = json.loads(request.body)
        found.append(
            {
                "github": lambda d: d["client_payload"]["data"],
                "workflow": lambda d: json.loads(d["inputs"]["event"])["data"],
                "jenkins": lambda d: d["data"],
                "standard": lambda d: d["data"],
                "cloudevents": lambda d: d,
            }[name](document)
        )
    return found


def test_every_receiver_is_sent_what_users_wrote_at_its_longest(api: Driver) -> None:
    with ExitStack() as stack:
        receivers = {}
        webhooks = {}
        for name, (answers, path, members) in TARGETS.items():
            receiver = receivers[name] = stack.enter_context(Receiver(answers=answers))
            url = f"http://127.0.0.1:{receiver.port}{path}"
            webhooks[name] = subscribe(api, members.get("format", name), url, members)

        happen(api)
        while api.parts.dispatcher.run_once():
            pass

        for name, webhook in webhooks.items():
            path = f"/webhooks/{webhook}/deliveries?limit=200"
            items = api.read(path)["items"]
            states = {(item["state"], item["reason"]) for item in items}
            assert states == {("delivered", None)}, name
            assert len(items) > 10
        for name in ("github", "workflow", "jenkins", "standard", "cloudevents"):
            moves = [
                data
                for data in data_of(name, receivers[name])
                if data.get("to_stage") == "Production"
            ]
            (move,) = moves
            assert (move["model"], move["source"]) == (NAME, SOURCE)
            assert move["links"]["version"].startswith("http")
            assert move["links"]["version"].endswith("/versions/1")
            assert move["run_id"] == "ж" * 1000
            is_whole = name in {"standard", "cloudevents"}
            assert (move["reason"] == REASON) is is_whole
